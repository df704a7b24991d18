//! Random moves of people and agents, and what must hold whatever they do.

use proptest::prelude::*;

use super::play::*;

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
