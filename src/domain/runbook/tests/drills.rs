//! Steps that are only said, passed over, not needed, done at the same time, or done by people.

use super::play::*;

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
