//! Another snapshot than a step found: who may say so, and what has to be asked again because of it.

use super::super::action::{Approve, FindClean, Restore, Verify};
use super::play::*;
use crate::domain::snapshot::EvidenceLevel;

const FIRST: &str = "77ab0c1377ab0c13";
const OTHER: &str = "9c41e0a29c41e0a2";

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

/// Looks for a snapshot, proves it, has it agreed to by two, restores it.
fn search() -> Play {
    let bare = |id: &str, action: Action| Step {
        precheck: Vec::new(),
        action,
        ..step(id)
    };
    let auto = |mut step: Step| {
        step.needs.auto = true;
        step
    };
    let find = bare(
        "find",
        Action::FindClean(FindClean {
            job: template("documents"),
        }),
    );
    let prove = bare(
        "prove",
        Action::Verify(Verify {
            snapshot: template("{find.snapshot}"),
            level: EvidenceLevel::Restored,
        }),
    );
    let mut agreed = bare(
        "agreed",
        Action::Approve(Approve {
            question: template("Is {find.snapshot} the one?"),
        }),
    );
    agreed.needs.two_person = true;
    let restore = bare(
        "restore",
        Action::Restore(Restore {
            snapshot: template("{find.snapshot}"),
            target: template("/srv/new"),
            include: Vec::new(),
            delta: false,
        }),
    );
    let mut play = Play::of(vec![auto(find), auto(prove), agreed, restore, step("last")]);
    play.begin(&wish()).unwrap();
    play.see("find", StepSeen::Starting { did: "look".to_owned() });
    let outputs = [("snapshot", FIRST), ("time", "2026-02-28T02:00:00+00:00")];
    let end = StepEnd {
        outputs: outputs.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..StepEnd::default()
    };
    play.see("find", StepSeen::Ended(Box::new(end)));
    play
}

fn instead(step: &str, snapshot: &str, reason: &str) -> Saying {
    Saying::Instead {
        step: step.to_owned(),
        snapshot: snapshot.into(),
        time: "2026-02-27T02:00:00Z".parse().unwrap(),
        reason: reason.to_owned(),
    }
}

fn agree(play: &mut Play) {
    let step = "agreed".to_owned();
    play.say("ben", &Saying::Approve { step }).unwrap();
}

#[test]
fn what_was_proved_and_agreed_of_one_snapshot_says_nothing_of_another() {
    let mut play = search();
    play.along();
    agree(&mut play);
    play.along();
    assert_eq!(
        (play.state_of("prove"), play.state_of("agreed")),
        (StepState::Done, StepState::Done)
    );
    play.say("ana", &instead("find", OTHER, "opened its files")).unwrap();
    assert_eq!(play.run().values["find.snapshot"], OTHER);
    assert_eq!(play.run().values["find.time"], "2026-02-27T02:00:00.000Z");
    assert_eq!(play.state_of("find"), StepState::Done);
    assert_eq!(play.state_of("prove"), StepState::Pending);
    assert_eq!(play.state_of("agreed"), StepState::Pending);
    assert!(
        play.run().row("agreed").unwrap().1.approvals.is_empty(),
        "nobody agreed to this one"
    );
    play.along();
    assert_eq!(play.state_of("prove"), StepState::Done, "it is proved again");
    let waits = next::waits(play.run());
    assert_eq!(waits, [(2, vec![Need::Approval { other: true }])]);
    let report = super::super::report::deviations_of(play.run());
    assert!(
        report
            .iter()
            .any(|line| line.contains("find told another snapshot by ana: opened its files")),
        "{report:?}"
    );
}

#[test]
fn a_step_that_found_nothing_or_was_passed_over_is_told() {
    let mut play = search();
    let mut failed = search();
    failed.state.runbooks.values_mut().next().unwrap().steps[0].state = StepState::Failed;
    failed.say("ana", &instead("find", OTHER, "looked")).unwrap();
    assert_eq!(failed.state_of("find"), StepState::Done);
    assert!(failed.run().row("find").unwrap().1.error.is_none());
    for (who, step, snapshot, reason) in [
        ("ben", "find", OTHER, "not mine to say"),
        ("ana", "find", OTHER, "  "),
        ("ana", "find", "latest", "no id"),
        ("ana", "prove", OTHER, "it looks for none"),
        ("ana", "nowhere", OTHER, "no step"),
    ] {
        assert!(
            play.say(who, &instead(step, snapshot, reason)).is_err(),
            "{who} {step} {snapshot} {reason}"
        );
    }
    assert_eq!(play.run().values["find.snapshot"], FIRST);
}

#[test]
fn once_something_was_done_with_it_it_stays() {
    let mut play = search();
    play.along();
    agree(&mut play);
    play.along();
    play.go("restore");
    let (step, doing) = play.work().remove(0);
    if doing == Doing::Look {
        play.perform(&step, doing, CheckOutcome::Holds);
    }
    play.see(
        "restore",
        StepSeen::Starting {
            did: "restore".to_owned(),
        },
    );
    assert_eq!(play.state_of("restore"), StepState::Acting);
    let refused = play.say("ana", &instead("find", OTHER, "too late")).unwrap_err();
    assert!(
        refused.reason.contains("step restore is acting with 77ab0c13"),
        "{}",
        refused.reason
    );
    play.see("restore", failed());
    let refused = play.say("ana", &instead("find", OTHER, "too late")).unwrap_err();
    assert!(refused.reason.contains("step restore is failed"), "{}", refused.reason);
}
