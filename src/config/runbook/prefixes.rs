//! Every shipped runbook, gone through in a pure world by an agent that dies after each prefix of its journal.
//!
//! In the world a deed has one effect, which its verification sees: who does a deed adds it, who takes it back removes it. The
//! agent that dies has done what was acting, or it has not; both are played.

mod world;

use super::tests::read;
use crate::domain::runbook::{RunbookOutcome, Saying, Undo};
use world::{FLAGS, Play};

#[test]
fn whatever_prefix_of_its_journal_is_left_a_shipped_runbook_ends_the_same_and_does_nothing_twice_that_is_once() {
    let (runbooks, _) = read(&[]);
    let mut deaths = 0;
    for (runbook, flags) in runbooks.values().flat_map(|one| FLAGS.map(|flags| (one, flags))) {
        let mut whole = Play::begin(runbook, flags);
        assert_eq!(
            whole.go_on(usize::MAX),
            Some(RunbookOutcome::Completed),
            "{}",
            runbook.name
        );
        for (length, done) in (1..whole.journal.len()).flat_map(|length| [(length, true), (length, false)]) {
            let mut play = whole.dies(length, done);
            let after = format!("after {length} events, done: {done}");
            let outcome = play.go_on(usize::MAX);
            assert_eq!(outcome, Some(RunbookOutcome::Completed), "{} {after}", runbook.name);
            assert_eq!(play.effects, whole.effects, "{} {after}", runbook.name);
            play.once(runbook, &after);
            deaths += 1;
        }
    }
    assert!(deaths > 600, "{deaths}");
}

#[test]
fn at_every_prefix_of_its_journal_a_shipped_runbook_can_be_taken_back_and_an_agent_may_die_in_that_too() {
    let (runbooks, _) = read(&[]);
    for (runbook, flags) in runbooks.values().flat_map(|one| FLAGS.map(|flags| (one, flags))) {
        let mut whole = Play::begin(runbook, flags);
        whole.go_on(usize::MAX);
        for length in 1..whole.journal.len() {
            let after = format!("{} after {length} events", runbook.name);
            let mut aborted = whole.dies(length, true);
            if aborted.run().is_none() {
                continue;
            }
            let reason = "enough".to_owned();
            aborted.say("ana", &Saying::Abort { reason, undo: true });
            let from = aborted.journal.len();
            let mut to_the_end = aborted.clone();
            let outcome = to_the_end.go_on(usize::MAX);
            assert!(
                matches!(outcome, Some(RunbookOutcome::Undone | RunbookOutcome::Aborted)),
                "{after}: {outcome:?}"
            );
            for (step, effect) in runbook
                .steps
                .iter()
                .map(|step| (step, to_the_end.effects.contains(&step.id)))
            {
                assert!(
                    !(effect && matches!(step.undo, Undo::Action(_))),
                    "{after}: {} is still there",
                    step.id
                );
            }
            for (length, done) in (from..to_the_end.journal.len()).flat_map(|length| [(length, true), (length, false)])
            {
                let mut play = to_the_end.dies(length, done);
                assert_eq!(
                    play.go_on(usize::MAX),
                    outcome,
                    "{after}, died after {length}, done: {done}"
                );
                play.once(runbook, &after);
            }
        }
    }
}
