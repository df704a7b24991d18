//! Executions played by hand: what people say, what the engine sees, agents that die; and many random ones.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::action::{Action, Manual, Nothing, Program};
use super::check::{Check, CheckOutcome, CheckResult, Path, Question};
use super::decide::{say, start};
use super::next::{self, Doing, Need, Next};
use super::observe::{self, RunbookFact, StepEnd, StepSeen};
use super::run::Checked;
use super::template::Template;
use super::*;
use crate::domain::apply::apply as apply_event;
use crate::domain::command::{Actor, Refusal};
use crate::domain::decide::Context;
use crate::domain::event::{EVENT_VERSION, Event, EventRecord};
use crate::domain::id::RunbookRunId;
use crate::domain::job::{Definitions, Limits};
use crate::domain::run::Failure;
use crate::domain::seen::Seen;
use crate::domain::state::State;
use crate::domain::units::Timestamp;

fn actor(name: &str) -> Actor {
    Actor {
        name: name.to_owned(),
        host: "laptop".to_owned(),
        via: "console".to_owned(),
    }
}

fn path_check() -> Check {
    Check {
        title: Some(Template::plain("the file is there")),
        question: Question::Path(Path {
            path: Template::plain("/x"),
            exists: true,
        }),
    }
}

fn step(id: &str) -> Step {
    Step {
        id: id.to_owned(),
        title: Template::plain(id),
        why: Template::default(),
        action: Action::Command(Program {
            command: vec![Template::plain("true")],
            shell: false,
        }),
        precheck: vec![path_check()],
        verify: vec![path_check()],
        class: Class::Idempotent,
        timeout: Millis::from_secs(60),
        on_failure: OnFailure::Ask,
        undo: Undo::NotNeeded,
        needs: Needs::default(),
        when: Vec::new(),
        parallel: None,
        drill: InDrill::Execute,
        phase: Phase::Restore,
    }
}

fn runbook(steps: Vec<Step>) -> Runbook {
    Runbook {
        name: "fix".into(),
        title: "Fix it".to_owned(),
        why: "It is broken.".to_owned(),
        file: None,
        objective: Some(Millis::from_secs(600)),
        before: Vec::new(),
        during: Vec::new(),
        after: vec!["Sleep".to_owned()],
        variables: vec![Variable {
            name: "reason".to_owned(),
            ask: "why".to_owned(),
            kind: VariableKind::Text,
            default: Some(Template::plain("none")),
            chosen: false,
        }],
        steps,
        hash: "abcdef0123456789".to_owned(),
    }
}

/// A world of one runbook, with everything that has happened in it.
struct Play {
    state: State,
    definitions: Definitions,
    now: Timestamp,
    facts: Vec<RunbookFact>,
}

impl Play {
    fn of(steps: Vec<Step>) -> Self {
        let runbook = runbook(steps);
        Self {
            state: State::default(),
            definitions: Definitions {
                site: "eu".to_owned(),
                environment: "TEST".to_owned(),
                repositories: BTreeMap::new(),
                sources: BTreeMap::new(),
                jobs: BTreeMap::new(),
                services: BTreeMap::new(),
                clusters: BTreeMap::new(),
                drills: BTreeMap::new(),
                runbooks: BTreeMap::from([(runbook.name.clone(), runbook)]),
                limits: Limits::default(),
            },
            now: "2026-03-01T03:12:00Z".parse().unwrap(),
            facts: Vec::new(),
        }
    }

    fn commit(&mut self, events: Vec<Event>) -> usize {
        let count = events.len();
        for event in events {
            if let Event::Runbook { fact, .. } = &event {
                self.facts.push(fact.clone());
            }
            let record = EventRecord {
                seq: self.state.seq + 1,
                at: self.now,
                actor: actor("agent"),
                version: EVENT_VERSION,
                event,
                previous_hash: String::new(),
                hash: String::new(),
            };
            apply_event(&mut self.state, &record);
        }
        count
    }

    fn tick(&mut self) {
        self.now += chrono::Duration::seconds(1);
    }

    fn decided<T>(&self, decide: impl FnOnce(&Context<'_>) -> T) -> T {
        let seen = Seen::default();
        decide(&Context {
            state: &self.state,
            seen: &seen,
            definitions: &self.definitions,
            now: self.now,
            unique: 1,
        })
    }

    fn begin(&mut self, wish: &StartRunbook) -> Result<(), Refusal> {
        let events = self.decided(|context| start(context, &actor("ana"), Cause::Person, wish))?;
        self.commit(events);
        self.settle();
        Ok(())
    }

    fn id(&self) -> RunbookRunId {
        self.state
            .runbooks
            .keys()
            .next()
            .cloned()
            .unwrap_or_else(|| "over".into())
    }

    fn run(&self) -> &RunbookRun {
        self.state.runbooks.values().next().unwrap()
    }

    fn say(&mut self, who: &str, saying: &Saying) -> Result<(), Refusal> {
        self.tick();
        let id = self.id();
        let events = self.decided(|context| say(context, &actor(who), &id, saying))?;
        self.commit(events);
        self.settle();
        Ok(())
    }

    fn see(&mut self, step: &str, seen: StepSeen) -> usize {
        self.tick();
        let events = observe::step(&self.state, &self.id(), step, seen);
        let count = self.commit(events);
        self.settle();
        count
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            let events = observe::settle(&self.state, self.now);
            if events.is_empty() {
                return;
            }
            self.commit(events);
        }
        panic!("it does not settle: {:?}", self.facts.last());
    }

    fn work(&self) -> Vec<(String, Doing)> {
        self.state.runbooks.values().flat_map(next::work).collect()
    }

    fn state_of(&self, step: &str) -> StepState {
        self.run().row(step).unwrap().1.state
    }

    /// The agent dies, and another begins.
    fn restart(&mut self) {
        let events = observe::interrupted(&self.state);
        self.commit(events);
        self.settle();
    }

    fn go(&mut self, step: &str) {
        let attempt = self.run().row(step).unwrap().1.attempt;
        self.say(
            "ana",
            &Saying::Go {
                step: step.to_owned(),
                attempt,
                typed: None,
            },
        )
        .unwrap();
    }

    /// Everything the engine would do, until people are needed; every check holds.
    fn along(&mut self) {
        for _ in 0..200 {
            let Some((step, doing)) = self.work().into_iter().next() else {
                return;
            };
            self.perform(&step, doing, CheckOutcome::Holds);
        }
        panic!("it goes on for ever: {:?}", self.work());
    }

    fn perform(&mut self, step: &str, doing: Doing, outcome: CheckOutcome) {
        match doing {
            Doing::Look => drop(self.see(step, checked(self.now + chrono::Duration::seconds(1), outcome))),
            Doing::Act => {
                if self.see(step, StepSeen::Starting { did: "true".to_owned() }) > 0 {
                    self.see(step, done());
                }
            }
            Doing::Verify => drop(self.see(step, StepSeen::Verified(vec![result(outcome)]))),
            Doing::Undo => {
                self.see(
                    step,
                    StepSeen::Undoing {
                        did: "false".to_owned(),
                    },
                );
                self.see(step, StepSeen::Undone(None));
            }
            Doing::Stop => drop(self.see(step, failed())),
        }
    }
}

fn result(outcome: CheckOutcome) -> CheckResult {
    CheckResult {
        title: "the file is there".to_owned(),
        outcome,
        detail: "seen".to_owned(),
    }
}

fn checked(at: Timestamp, outcome: CheckOutcome) -> StepSeen {
    StepSeen::Checked(Checked {
        at,
        results: vec![result(outcome)],
    })
}

fn done() -> StepSeen {
    StepSeen::Ended(Box::new(StepEnd {
        evidence: vec![result(CheckOutcome::Holds)],
        ..StepEnd::default()
    }))
}

fn failed() -> StepSeen {
    StepSeen::Ended(Box::new(StepEnd {
        error: Some(Failure::permanent("no", "look")),
        ..StepEnd::default()
    }))
}

fn wish() -> StartRunbook {
    StartRunbook {
        runbook: "fix".into(),
        drill: false,
        unattended: false,
        set: BTreeMap::new(),
        hash: None,
        incident_at: None,
    }
}

fn unattended() -> StartRunbook {
    StartRunbook {
        unattended: true,
        ..wish()
    }
}

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
fn drills_conditions_groups_and_people() {
    let mut simulated = step("simulated");
    simulated.drill = InDrill::Simulate;
    let mut passed = step("passed");
    passed.drill = InDrill::Skip;
    let mut real = step("real");
    real.when = vec![Condition::parse("{mode} = real").unwrap()];
    let mut by_hand = step("by-hand");
    by_hand.action = Action::Manual(Manual {
        instruction: Template::plain("do it"),
    });
    let (mut left, mut right) = (step("left"), step("right"));
    (left.parallel, right.parallel) = (Some("both".to_owned()), Some("both".to_owned()));
    let mut play = Play::of(vec![simulated, passed, real, left, right, by_hand]);
    play.begin(&StartRunbook {
        drill: true,
        ..unattended()
    })
    .unwrap();
    play.perform("simulated", Doing::Look, CheckOutcome::Holds);
    assert_eq!(play.state_of("simulated"), StepState::Simulated);
    assert_eq!(play.state_of("passed"), StepState::NotNeeded);
    assert_eq!(play.state_of("real"), StepState::NotNeeded);
    let both = play.work();
    assert_eq!(
        both,
        [("left".to_owned(), Doing::Look), ("right".to_owned(), Doing::Look)]
    );
    play.along();
    assert_eq!(
        next::waits(play.run()),
        [(5, vec![Need::Done])],
        "nobody but a person does what a person does"
    );
    play.say(
        "ana",
        &Saying::Pause {
            reason: "lunch".to_owned(),
        },
    )
    .unwrap();
    assert_eq!(next::of_step(play.run(), 5), Next::Nothing);
    play.say("ana", &Saying::Resume).unwrap();
    play.go("by-hand");
    play.along();
    assert!(play.state.runbooks.is_empty());
    assert!(play.state.runbook_facts[&"fix".into()].last_drill.is_some());
}

#[test]
fn what_stands_on_a_step_that_was_only_said_is_only_said_too() {
    let mut first = step("first");
    first.drill = InDrill::Simulate;
    let mut second = step("second");
    second.action = Action::Manual(Manual {
        instruction: Template::parse("look at {first.output}").unwrap(),
    });
    let mut play = Play::of(vec![first, second, step("third")]);
    play.begin(&StartRunbook {
        drill: true,
        ..unattended()
    })
    .unwrap();
    play.along();
    let Some(RunbookFact::Finished { record }) = play.facts.last() else {
        panic!("{:?}", next::waits(play.run()))
    };
    let states: Vec<StepState> = record.run.steps.iter().map(|done| done.state).collect();
    assert_eq!(states, [StepState::Simulated, StepState::Simulated, StepState::Done]);
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

/// What may happen at any moment.
#[derive(Debug, Clone, Copy)]
enum Move {
    Work(u8),
    Say(u8, u8),
    Restart,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => any::<u8>().prop_map(Move::Work),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(who, what)| Move::Say(who, what)),
        1 => Just(Move::Restart),
    ]
}

fn any_step(number: usize, kind: u8) -> Step {
    let mut one = step(&format!("s{number}"));
    one.class = [Class::Idempotent, Class::Resumable, Class::Once][usize::from(kind) % 3];
    one.on_failure = [OnFailure::Ask, OnFailure::Stop, OnFailure::Continue, OnFailure::Undo][usize::from(kind / 3) % 4];
    one.needs.auto = kind & 0x10 != 0;
    one.needs.two_person = kind & 0x60 == 0x60;
    if kind & 0x80 != 0 {
        one.undo = Undo::Action(Box::new(Action::Check(Nothing {})));
    }
    if kind.is_multiple_of(5) {
        one.verify.clear();
    }
    one
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever people say and agents do: nothing acts without its checks, its go and its second person, nothing acts twice
    /// without having been looked at, and every execution can be brought to its end.
    #[test]
    fn no_step_acts_that_may_not(kinds in prop::collection::vec(any::<u8>(), 1..5), moves in prop::collection::vec(any_move(), 0..60), by_itself: bool) {
        let steps = kinds.iter().enumerate().map(|(number, kind)| any_step(number, *kind)).collect();
        let mut play = Play::of(steps);
        play.begin(&StartRunbook { unattended: by_itself, ..wish() }).unwrap();
        for one in moves {
            if play.state.runbooks.is_empty() {
                break;
            }
            let before = play.run().clone();
            let facts = play.facts.len();
            make(&mut play, one);
            for fact in &play.facts[facts..] {
                if let RunbookFact::StepStarted { step, .. } = fact {
                    may_act(&before, step);
                }
            }
        }
        finish(&mut play);
        prop_assert!(play.state.runbooks.is_empty(), "{:?}", play.work());
    }
}

fn make(play: &mut Play, one: Move) {
    let outcome = |n: u8| {
        [
            CheckOutcome::Holds,
            CheckOutcome::Holds,
            CheckOutcome::Fails,
            CheckOutcome::Unknown,
        ][usize::from(n) % 4]
    };
    match one {
        Move::Restart => play.restart(),
        Move::Work(n) => {
            let work = play.work();
            if let Some((step, doing)) = work.get(usize::from(n) % work.len().max(1)).cloned() {
                match doing {
                    // Some acts never end: the agent may die in them.
                    Doing::Act if n > 100 => drop(play.see(&step, StepSeen::Starting { did: "x".to_owned() })),
                    _ => play.perform(&step, doing, outcome(n / 3)),
                }
            } else {
                let acting = play.run().rows().find(|(_, done)| done.state == StepState::Acting);
                if let Some(step) = acting.map(|(document, _)| document.id.clone()) {
                    play.see(&step, if n.is_multiple_of(2) { done() } else { failed() });
                }
            }
        }
        Move::Say(who, what) => {
            let count = play.run().steps.len();
            let step = play.run().runbook.steps[usize::from(what) % count].id.clone();
            let attempt = play.run().row(&step).unwrap().1.attempt;
            let reason = "because".to_owned();
            let saying = match what % 11 {
                0..=3 => Saying::Go {
                    step,
                    attempt,
                    typed: None,
                },
                4 => Saying::Approve { step },
                5 => Saying::Override { step, reason },
                6 => Saying::Skip { step, reason },
                7 => Saying::Retry { step },
                8 => Saying::Take { reason },
                9 => Saying::Recheck { step },
                _ => Saying::WasDone { step, reason },
            };
            let _ = play.say(["ana", "ben"][usize::from(who) % 2], &saying);
        }
    }
}

fn may_act(before: &RunbookRun, step: &str) {
    let (document, done) = before.row(step).unwrap();
    assert_eq!(done.state, StepState::Pending);
    assert!(done.obstacles().next().is_none(), "{step} acted against a check");
    assert!(done.checked.is_some(), "{step} acted unseen");
    if document.needs.two_person {
        assert!(
            done.approvals.iter().any(|word| word.by != before.held_by),
            "{step} acted on one person's word"
        );
    }
    if document.waits_for_go() && !before.unattended {
        let said = done.released.as_ref().expect("a go");
        assert!(
            said.at <= done.checked.as_ref().unwrap().at,
            "{step} acted on an old look"
        );
    }
    assert!(before.ending.is_none() && before.paused.is_none());
}

/// Ends whatever is still going on, as a person would.
fn finish(play: &mut Play) {
    for _ in 0..200 {
        if play.state.runbooks.is_empty() {
            return;
        }
        let leader = play.run().held_by.clone();
        if play.run().ending.is_none() {
            let _ = play.say(
                &leader,
                &Saying::Abort {
                    reason: "over".to_owned(),
                    undo: true,
                },
            );
            continue;
        }
        if let Some((step, doing)) = play.work().into_iter().next() {
            play.perform(&step, doing, CheckOutcome::Holds);
        } else if let Some((at, _)) = next::waits(play.run()).into_iter().next() {
            let step = play.run().runbook.steps[at].id.clone();
            play.say(
                &leader,
                &Saying::UndoLeave {
                    step,
                    reason: "over".to_owned(),
                },
            )
            .unwrap();
        } else {
            play.restart();
        }
    }
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
