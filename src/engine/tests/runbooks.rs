//! Executions of runbooks through the engine: durable before acting, resumed after a kill, one agent after another.

use super::*;
use crate::domain::Millis;
use crate::domain::runbook::action::{Action, Nothing, Program};
use crate::domain::runbook::check::{Check, CheckOutcome, CheckResult, Path as PathCheck, Question};
use crate::domain::runbook::next::Doing as Do;
use crate::domain::runbook::run::Checked;
use crate::domain::runbook::template::Template;
use crate::domain::runbook::{
    Class, InDrill, Needs, OnFailure, Phase, Runbook, RunbookOutcome, Saying, StartRunbook, Step, StepSeen, StepState,
    Undo,
};

/// What was done in the world, in order; a step whose name is "hang" never ends.
pub(super) static DONE: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn held(title: &str) -> CheckResult {
    CheckResult {
        title: title.to_owned(),
        outcome: CheckOutcome::Holds,
        detail: String::new(),
    }
}

pub(super) async fn step(puppet: &Puppet, work: Work, order: StepOrder) -> StepSeen {
    let document = &order.run.runbook.steps[order.at];
    let name = format!("{}/{}", order.run.id, document.id);
    let asked = format!("{:?} {}", order.doing, document.id);
    puppet.asked.lock().unwrap().push(asked);
    match order.doing {
        Do::Look => StepSeen::Checked(Checked {
            at: puppet.clock.now(),
            results: vec![held("ready")],
        }),
        Do::Verify => {
            let was_done = DONE.lock().unwrap().contains(&name);
            let outcome = if was_done {
                CheckOutcome::Holds
            } else {
                CheckOutcome::Fails
            };
            StepSeen::Verified(vec![CheckResult {
                outcome,
                ..held("done")
            }])
        }
        Do::Undo => StepSeen::Undone(None),
        Do::Act | Do::Stop => {
            (order.tell)("acting".to_owned());
            let hangs = document.id.starts_with("hang");
            if document.id != "hang-before" {
                DONE.lock().unwrap().push(name);
            }
            if hangs {
                work.cancel.cancelled().await;
                puppet.asked.lock().unwrap().push(format!("stopped {}", document.id));
                // A killed program says nothing.
                std::future::pending::<()>().await;
            }
            StepSeen::Ended(Box::default())
        }
    }
}

pub(super) fn document(name: &str, id: &str) -> Step {
    let path = PathCheck {
        path: Template::plain(name),
        exists: true,
    };
    let check = Check {
        title: None,
        question: Question::Path(path),
    };
    Step {
        id: id.to_owned(),
        title: Template::plain(id),
        why: Template::default(),
        action: Action::Command(Program {
            command: vec![Template::plain("x")],
            shell: false,
        }),
        precheck: vec![check.clone()],
        verify: vec![check],
        class: Class::Resumable,
        timeout: Millis::from_secs(3600),
        on_failure: OnFailure::Ask,
        undo: Undo::NotNeeded,
        needs: Needs {
            auto: true,
            ..Needs::default()
        },
        when: Vec::new(),
        parallel: None,
        drill: InDrill::Execute,
        phase: Phase::Restore,
    }
}

pub(super) fn with_runbook(mut definitions: Definitions, steps: &[&str]) -> Definitions {
    let runbook = Runbook {
        name: "fix".into(),
        title: "Fix".to_owned(),
        why: String::new(),
        file: None,
        objective: None,
        before: Vec::new(),
        during: Vec::new(),
        after: Vec::new(),
        variables: Vec::new(),
        steps: steps.iter().map(|id| document("/x", id)).collect(),
        hash: "1234567890".to_owned(),
    };
    definitions.runbooks = BTreeMap::from([(runbook.name.clone(), runbook)]);
    definitions
}

pub(super) fn begin() -> Command {
    Command::StartRunbook {
        wish: StartRunbook {
            runbook: "fix".into(),
            drill: false,
            unattended: true,
            set: BTreeMap::new(),
            hash: None,
            incident_at: None,
        },
    }
}

pub(super) fn states(overview: &Overview) -> Vec<StepState> {
    let live = overview.executions.iter().flat_map(|view| &view.run.steps);
    live.map(|step| step.state).collect()
}

#[tokio::test]
async fn an_execution_goes_through_and_is_history() {
    let bench = Bench::with(with_runbook(definitions(), &["first", "second"]));
    let engine = bench.start().await;
    let plan = engine
        .plan_runbook(
            ana(),
            match begin() {
                Command::StartRunbook { wish } => wish,
                _ => unreachable!(),
            },
        )
        .await
        .unwrap();
    assert_eq!((plan.steps.len(), plan.steps[0].checks.len()), (2, 1));
    assert_eq!(plan.steps[0].does, "x");
    let receipt = engine.submit(ana(), begin()).await.unwrap();
    let id = receipt.runbook.unwrap();
    until(&engine, "ended", |picture| picture.executions.is_empty()).await;
    let record = engine.executions(Query::default()).await.unwrap().items.remove(0);
    assert_eq!((record.run.id, record.outcome), (id.clone(), RunbookOutcome::Completed));
    let done: Vec<String> = DONE
        .lock()
        .unwrap()
        .iter()
        .filter(|name| name.starts_with(id.as_str()))
        .cloned()
        .collect();
    assert_eq!(done, [format!("{id}/first"), format!("{id}/second")]);
    until(&engine, "remembered", |picture| picture.runbooks[0].last_real.is_some()).await;
    engine.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn the_next_agent_goes_on_with_what_this_one_left() {
    // One step was done when its agent died, of the other nothing was.
    for (hanging, again) in [("hang-after", false), ("hang-before", true)] {
        let bench = Bench::with(with_runbook(definitions(), &["first", hanging, "last"]));
        let engine = bench.start().await;
        let id = engine.submit(ana(), begin()).await.unwrap().runbook.unwrap();
        until(&engine, "acting", |picture| {
            states(picture).get(1) == Some(&StepState::Acting)
        })
        .await;
        let stopping = tokio::spawn({
            let engine = engine.clone();
            async move { engine.stop("the test ends it").await }
        });
        while !stopping.is_finished() {
            bench.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
            std::thread::yield_now();
        }
        let engine = bench.start().await;
        if again {
            until(&engine, "again", |picture| {
                picture
                    .executions
                    .first()
                    .is_some_and(|view| view.run.steps[1].attempt == 2)
            })
            .await;
            let say = |saying| Command::SayInRunbook {
                run: id.clone(),
                saying,
            };
            let reason = "the test is over".to_owned();
            engine
                .submit(ana(), say(Saying::Abort { reason, undo: false }))
                .await
                .unwrap();
            bench.clock.advance(Duration::from_secs(60));
        }
        until(&engine, "ended", |picture| picture.executions.is_empty()).await;
        let record = engine.executions(Query::default()).await.unwrap().items.remove(0);
        let expected = if again {
            RunbookOutcome::Aborted
        } else {
            RunbookOutcome::Completed
        };
        assert_eq!(record.outcome, expected, "{hanging}");
        assert_eq!(record.run.steps[1].recovered, !again);
        let times = DONE
            .lock()
            .unwrap()
            .iter()
            .filter(|name| **name == format!("{id}/first"))
            .count();
        assert_eq!(times, 1, "what was done is not done again");
        engine.stop("the test is over").await.unwrap();
    }
}

#[tokio::test]
async fn a_runbook_is_ready_when_what_it_asks_first_holds_and_nothing_else_is_asked() {
    use crate::domain::runbook::view::Ready;
    use crate::domain::runbook::{Condition, Variable, VariableKind};
    let bench = Bench::with(with_runbook(definitions(), &["first", "second"]));
    let engine = bench.start().await;
    let judged = async |change: &dyn Fn(&mut Runbook)| {
        let mut definitions = with_runbook(definitions(), &["first", "second"]);
        let runbook = definitions.runbooks.get_mut(&"fix".into()).unwrap();
        change(runbook);
        engine.reload(Ok(definitions.clone()));
        while **engine.definitions.borrow() != definitions {
            tokio::task::yield_now().await;
        }
        bench.hands.asked.lock().unwrap().clear();
        let found = engine.readiness(&"fix".into()).await.unwrap();
        (found.state, std::mem::take(&mut *bench.hands.asked.lock().unwrap()))
    };
    let asks_nothing = Vec::new();
    let yes = Ready::Yes {
        asks: asks_nothing.clone(),
    };
    assert_eq!(judged(&|_| {}).await, (yes.clone(), vec!["Look first".to_owned()]));
    // What a step that only asks is about stands in its verification; in these hands it does not hold.
    let only_asks = |runbook: &mut Runbook| runbook.steps[0].action = Action::Check(Nothing {});
    let (state, asked) = judged(&only_asks).await;
    assert_eq!(asked, ["Look first", "Verify first"]);
    let Ready::No { because } = state else {
        panic!("{state:?}")
    };
    assert_eq!(because, ["first: done: "]);
    // Whether the disaster is there says nothing about whether one is prepared for it.
    let detects = |runbook: &mut Runbook| {
        only_asks(runbook);
        runbook.steps[0].phase = Phase::Detect;
    };
    assert_eq!(judged(&detects).await.0, yes);
    // A step that will not be done is not the first.
    let ruled_out = |runbook: &mut Runbook| {
        only_asks(runbook);
        runbook.steps[0].when = vec![Condition::parse("{mode} = drill").unwrap()];
    };
    assert_eq!(judged(&ruled_out).await, (yes, vec!["Look second".to_owned()]));
    // A question that needs what nobody has said yet is not one that does not hold.
    let unsaid = |runbook: &mut Runbook| {
        only_asks(runbook);
        runbook.variables = vec![Variable {
            name: "where".to_owned(),
            ask: "Where?".to_owned(),
            kind: VariableKind::Text,
            default: None,
            chosen: false,
        }];
        let Question::Path(path) = &mut runbook.steps[0].verify[0].question else {
            unreachable!()
        };
        path.path = Template::parse("/{where}").unwrap();
    };
    let asks = vec!["where".to_owned()];
    assert_eq!(judged(&unsaid).await.0, Ready::Yes { asks });

    // Asked by a person, it is asked now, and everybody sees what it came to, and when it is asked again.
    judged(&only_asks).await;
    let found = engine.ask_readiness("fix").await.unwrap();
    assert!(matches!(found.state, Ready::No { .. }));
    assert_eq!(found.next, Some(found.at + chrono::Duration::minutes(5)));
    until(&engine, "what was found", |overview| {
        let line = overview.runbooks.iter().find(|line| line.name == "fix".into());
        line.and_then(|line| line.readiness.clone()) == Some(found.clone())
    })
    .await;
    assert!(engine.ask_readiness("none").await.is_err());
    engine.stop("the test is over").await.unwrap();
}
