//! Executions played by hand: what people say, what the engine sees, agents that die; and many random ones.

mod drills;
mod instead;
mod phases;
mod play;
mod random;
mod shown;

use play::*;

#[test]
fn a_step_waits_for_its_go_and_is_looked_at_again_right_before_it_acts() {
    let mut play = Play::of(vec![step("a"), step("b")]);
    play.begin(&wish()).unwrap();
    assert_eq!(play.work(), [("a".to_owned(), Doing::Look)]);
    play.along();
    assert_eq!(next::waits(play.run()), [(0, vec![Need::Go { typed: None }])]);
    play.go("a");
    // What was seen before the go is old by now.
    assert_eq!(play.work(), [("a".to_owned(), Doing::Look)]);
    let now = play.now + chrono::Duration::seconds(1);
    play.see("a", checked(now, CheckOutcome::Fails));
    assert_eq!(next::waits(play.run()), [(0, vec![Need::Obstacles(1)])]);
    play.say("ana", &Saying::Recheck { step: "a".to_owned() }).unwrap();
    play.along();
    assert_eq!(play.state_of("a"), StepState::Done);
    assert_eq!(next::waits(play.run())[0].0, 1);
    play.go("b");
    play.along();
    let Some(RunbookFact::Finished { record }) = play.facts.last() else {
        panic!()
    };
    assert_eq!(record.outcome, RunbookOutcome::Completed);
    let text = report::report(record);
    assert!(
        text.contains("ana at 2026") && text.contains("- [ ] Sleep") && text.contains("was kept"),
        "{text}"
    );
    assert_eq!(
        play.state.runbook_facts[&"fix".into()]
            .last_real
            .as_ref()
            .unwrap()
            .outcome,
        RunbookOutcome::Completed
    );
}

#[test]
fn the_second_of_two_enters_is_told_who_was_first() {
    let mut play = Play::of(vec![step("a")]);
    play.begin(&wish()).unwrap();
    play.along();
    let go = Saying::Go {
        step: "a".to_owned(),
        attempt: 0,
        typed: None,
    };
    play.say("ana", &go).unwrap();
    let refusal = play.say("ana", &go).unwrap_err();
    assert!(refusal.reason.contains("ana has already said go"), "{}", refusal.reason);
    let refusal = play.say("ben", &go).unwrap_err();
    assert!(refusal.reason.contains("led by ana"), "{}", refusal.reason);
    play.say("ben", &Saying::Take { reason: " ".to_owned() }).unwrap_err();
    play.say(
        "ben",
        &Saying::Take {
            reason: "ana is asleep".to_owned(),
        },
    )
    .unwrap();
    assert_eq!(play.run().held_by, "ben");
    // The attempt that was shown is over.
    play.along();
    let refusal = play
        .say(
            "ben",
            &Saying::Go {
                step: "a".to_owned(),
                attempt: 0,
                typed: None,
            },
        )
        .unwrap_err();
    assert!(refusal.reason.contains("not under way"), "{}", refusal.reason);
}

#[test]
fn two_people_are_two_people() {
    let mut two = step("a");
    two.needs.two_person = true;
    two.needs.typed = Some(Template::plain("db2"));
    let mut play = Play::of(vec![two.clone()]);
    play.begin(&wish()).unwrap();
    play.along();
    let go = |typed: &str| Saying::Go {
        step: "a".to_owned(),
        attempt: 0,
        typed: Some(typed.to_owned()),
    };
    let approve = Saying::Approve { step: "a".to_owned() };
    play.say("ana", &approve).unwrap_err();
    play.say("ana", &go("db2")).unwrap_err();
    play.say("ben", &approve).unwrap();
    play.along();
    let refusal = play.say("ana", &go("db1")).unwrap_err();
    assert_eq!(refusal.hint.unwrap(), "type db2");
    play.say("ana", &go("db2")).unwrap();
    play.along();
    assert!(play.state.runbooks.is_empty());
    // Whoever begins a run that goes on by itself is still one person.
    let mut play = Play::of(vec![two]);
    play.begin(&unattended()).unwrap();
    play.along();
    assert_eq!(next::waits(play.run()), [(0, vec![Need::Approval { other: true }])]);
}

#[test]
fn a_step_in_doubt_is_verified_and_never_blindly_repeated() {
    let acting = |class: Class, verify: bool| {
        let mut one = step("a");
        one.class = class;
        if !verify {
            one.verify.clear();
        }
        let mut play = Play::of(vec![one]);
        play.begin(&unattended()).unwrap();
        play.see("a", checked(play.now, CheckOutcome::Holds));
        play.see("a", StepSeen::Starting { did: "x".to_owned() });
        play.restart();
        play
    };
    let mut play = acting(Class::Once, true);
    assert_eq!(play.work(), [("a".to_owned(), Doing::Verify)]);
    play.see("a", StepSeen::Verified(vec![result(CheckOutcome::Holds)]));
    let Some(RunbookFact::Finished { record }) = play.facts.last() else {
        panic!()
    };
    assert!(record.run.steps[0].recovered && report::report(record).contains("found done after the agent had died"));
    let mut play = acting(Class::Once, true);
    play.see("a", StepSeen::Verified(vec![result(CheckOutcome::Fails)]));
    assert_eq!(next::waits(play.run()), [(0, vec![Need::Doubt])]);
    assert_eq!(play.work(), []);
    play.restart();
    assert_eq!(play.work(), [], "another restart changes nothing");
    play.say(
        "ana",
        &Saying::WasDone {
            step: "a".to_owned(),
            reason: "I saw it".to_owned(),
        },
    )
    .unwrap();
    assert!(play.state.runbooks.is_empty());
    let mut play = acting(Class::Resumable, true);
    play.see("a", StepSeen::Verified(vec![result(CheckOutcome::Fails)]));
    assert_eq!(play.work(), [("a".to_owned(), Doing::Look)], "again from its checks");
    let mut play = acting(Class::Resumable, true);
    play.see("a", StepSeen::Verified(vec![result(CheckOutcome::Unknown)]));
    assert_eq!(
        next::waits(play.run()),
        [(0, vec![Need::Doubt])],
        "what cannot be told is not done again"
    );
    let mut play = acting(Class::Resumable, true);
    play.see("a", StepSeen::Verified(Vec::new()));
    assert_ne!(
        play.work(),
        [("a".to_owned(), Doing::Look)],
        "nothing asked proves nothing"
    );
    assert_eq!(acting(Class::Once, false).work(), []);
    assert_eq!(acting(Class::Idempotent, false).work(), [("a".to_owned(), Doing::Look)]);
}

#[test]
fn what_failed_is_decided_by_people_or_by_the_document() {
    let run = |on_failure: OnFailure, wish: StartRunbook| {
        let mut first = step("a");
        first.undo = Undo::Action(Box::new(Action::Check(Nothing {})));
        let mut second = step("b");
        second.on_failure = on_failure;
        let mut play = Play::of(vec![first, second, step("c")]);
        play.begin(&wish).unwrap();
        play.perform("a", Doing::Look, CheckOutcome::Holds);
        play.perform("a", Doing::Act, CheckOutcome::Holds);
        play.perform("b", Doing::Look, CheckOutcome::Holds);
        play.see("b", StepSeen::Starting { did: "x".to_owned() });
        play.see("b", failed());
        play
    };
    let end = |play: &Play| match play.facts.last() {
        Some(RunbookFact::Finished { record }) => Some(record.outcome),
        _ => None,
    };
    assert_eq!(end(&run(OnFailure::Ask, unattended())), Some(RunbookOutcome::Failed));
    assert_eq!(end(&run(OnFailure::Stop, unattended())), Some(RunbookOutcome::Failed));
    let mut play = run(OnFailure::Continue, unattended());
    play.along();
    assert_eq!(end(&play), Some(RunbookOutcome::Deviated));
    let mut play = run(OnFailure::Undo, unattended());
    assert_eq!(play.work(), [("a".to_owned(), Doing::Undo)]);
    play.along();
    assert_eq!(end(&play), Some(RunbookOutcome::Undone));
}

#[test]
fn what_cannot_be_taken_back_waits_for_a_decision() {
    let mut one = step("a");
    one.undo = Undo::Action(Box::new(Action::Check(Nothing {})));
    let mut play = Play::of(vec![one, step("b")]);
    play.begin(&wish()).unwrap();
    play.along();
    play.go("a");
    play.along();
    assert_eq!(
        decide::undo_list(play.run())[0].1,
        "taken back by: ask the checks below"
    );
    play.say(
        "ana",
        &Saying::Abort {
            reason: "enough".to_owned(),
            undo: true,
        },
    )
    .unwrap();
    assert_eq!(play.work(), [("a".to_owned(), Doing::Undo)]);
    play.see("a", StepSeen::Undoing { did: "x".to_owned() });
    play.restart();
    assert_eq!(
        next::waits(play.run()),
        [(0, vec![Need::UndoFailed])],
        "an undo in doubt is not repeated blindly"
    );
    play.say("ana", &Saying::UndoAgain { step: "a".to_owned() }).unwrap();
    play.along();
    let Some(RunbookFact::Finished { record }) = play.facts.last() else {
        panic!()
    };
    assert_eq!(record.outcome, RunbookOutcome::Undone);
}

#[test]
fn checks_are_set_aside_one_by_one() {
    let mut play = Play::of(vec![step("a")]);
    play.begin(&wish()).unwrap();
    let now = play.now;
    play.see("a", checked(now, CheckOutcome::Unknown));
    let aside = Saying::Override {
        step: "a".to_owned(),
        reason: "INC-77".to_owned(),
    };
    play.say("ana", &aside).unwrap();
    // Another check fails meanwhile: that one was not set aside.
    let now = play.now + chrono::Duration::seconds(1);
    let other = CheckResult {
        title: "another".to_owned(),
        ..result(CheckOutcome::Fails)
    };
    play.see(
        "a",
        StepSeen::Checked(Checked {
            at: now,
            results: vec![result(CheckOutcome::Fails), other],
        }),
    );
    assert!(next::waits(play.run())[0].1.contains(&Need::Obstacles(1)));
    let refusal = play
        .say(
            "ana",
            &Saying::Go {
                step: "a".to_owned(),
                attempt: 0,
                typed: None,
            },
        )
        .unwrap_err();
    assert!(refusal.reason.contains("does not hold"));
}

#[test]
fn a_plan_that_changed_voids_the_go() {
    let mut restore = step("a");
    restore.precheck.clear();
    let plan = |digest: &str| {
        StepSeen::Checked(Checked {
            at: "2027-01-01T00:00:00Z".parse().unwrap(),
            results: vec![CheckResult {
                title: super::check::PLAN.to_owned(),
                outcome: CheckOutcome::Holds,
                detail: digest.to_owned(),
            }],
        })
    };
    restore.precheck = vec![path_check()];
    let mut play = Play::of(vec![restore]);
    play.begin(&wish()).unwrap();
    play.see("a", plan("1"));
    play.go("a");
    play.see("a", plan("2"));
    assert_eq!(next::waits(play.run()), [(0, vec![Need::Go { typed: None }])]);
}

#[test]
fn beginnings_are_refused_with_their_reason() {
    let mut play = Play::of(vec![step("a")]);
    let reason = |refusal: Refusal| refusal.reason;
    let gone = StartRunbook {
        runbook: "gone".into(),
        ..wish()
    };
    assert!(reason(play.begin(&gone).unwrap_err()).contains("no runbook gone"));
    let other = StartRunbook {
        hash: Some("other".to_owned()),
        ..wish()
    };
    assert!(reason(play.begin(&other).unwrap_err()).contains("has changed"));
    let unknown = StartRunbook {
        set: [("x".to_owned(), "1".to_owned())].into(),
        ..wish()
    };
    assert!(reason(play.begin(&unknown).unwrap_err()).contains("no variable x"));
    play.begin(&wish()).unwrap();
    assert!(reason(play.begin(&wish()).unwrap_err()).contains("already going through"));
}

#[test]
fn a_run_that_goes_on_by_itself_calls_for_a_person_when_it_needs_one() {
    let alerts = |play: &Play| {
        play.decided(crate::domain::rules::alert_events)
            .into_iter()
            .filter(|event| matches!(event, Event::AlertOpened { alert } if alert.kind.word() == "runbook-waiting"))
            .count()
    };
    let mut once = step("a");
    once.class = Class::Once;
    let mut play = Play::of(vec![once]);
    play.begin(&unattended()).unwrap();
    play.perform("a", Doing::Look, CheckOutcome::Holds);
    play.see("a", StepSeen::Starting { did: "x".to_owned() });
    assert_eq!(alerts(&play), 0);
    play.restart();
    play.see("a", StepSeen::Verified(vec![result(CheckOutcome::Unknown)]));
    assert_eq!(alerts(&play), 1);
}

#[test]
fn a_clock_that_is_turned_neither_lets_an_old_look_count_nor_looks_for_ever() {
    let hours = chrono::Duration::hours(5);
    for back in [true, false] {
        let turn = |play: &mut Play| play.now = if back { play.now - hours } else { play.now + hours };
        // Turned between the look and the go, and between the go and the next look.
        for before_go in [true, false] {
            let mut play = Play::of(vec![step("a")]);
            play.begin(&wish()).unwrap();
            play.along();
            if before_go {
                turn(&mut play);
            }
            play.go("a");
            if !before_go {
                turn(&mut play);
            }
            let mut looks = 0;
            while play.work() == [("a".to_owned(), Doing::Look)] {
                looks += 1;
                assert!(looks < 5, "it looks for ever: back {back}, before the go {before_go}");
                play.perform("a", Doing::Look, CheckOutcome::Holds);
            }
            assert!(
                looks >= 1,
                "an old look counted: back {back}, before the go {before_go}"
            );
            play.along();
            assert!(play.state.runbooks.is_empty(), "back {back}, before the go {before_go}");
        }
    }
}
