//! What goes wrong around executions of runbooks: two consoles at once, an edit after the plan, a clock that is turned, an agent
//! that was overtaken by another.

use super::runbooks::{DONE, begin, states, with_runbook};
use super::*;
use crate::domain::runbook::template::Template;
use crate::domain::runbook::{Saying, StartRunbook, StepState};

fn wish(hash: Option<String>) -> StartRunbook {
    let Command::StartRunbook { wish } = begin() else {
        unreachable!()
    };
    StartRunbook {
        unattended: false,
        hash,
        ..wish
    }
}

/// With people: every step waits for its go.
fn led(steps: &[&str]) -> Definitions {
    let mut definitions = with_runbook(definitions(), steps);
    for runbook in definitions.runbooks.values_mut() {
        runbook.steps.iter_mut().for_each(|step| step.needs.auto = false);
    }
    definitions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_consoles_pressing_enter_at_once_begin_a_step_once() {
    let bench = Bench::with(led(&["only"]));
    let engine = bench.start().await;
    let wish = wish(None);
    let run = engine.submit(ana(), Command::StartRunbook { wish }).await.unwrap();
    let run = run.runbook.unwrap();
    until(&engine, "looked at", |picture| {
        let mut steps = picture.executions.iter().flat_map(|view| &view.run.steps);
        steps.any(|step| step.checked.is_some())
    })
    .await;
    let press = || {
        let (engine, run) = (engine.clone(), run.clone());
        tokio::spawn(async move {
            let saying = Saying::Go {
                step: "only".to_owned(),
                attempt: 0,
                typed: None,
            };
            engine.submit(ana(), Command::SayInRunbook { run, saying }).await
        })
    };
    let answers = [press(), press(), press()];
    let mut refused = 0;
    for answer in answers {
        match answer.await.unwrap() {
            Ok(_) => {}
            Err(EngineError::Refused(refusal)) => {
                refused += 1;
                assert_eq!(refusal.kind, RefusalKind::Conflict, "{refusal:?}");
                let known = [
                    "ana has already said go",
                    "begun by ana",
                    "done by now",
                    "is not under way",
                ];
                assert!(known.iter().any(|words| refusal.reason.contains(words)), "{refusal:?}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 2, "one of them was first");
    until(&engine, "ended", |picture| picture.executions.is_empty()).await;
    let name = format!("{run}/only");
    let times = DONE.lock().unwrap().iter().filter(|done| **done == name).count();
    assert_eq!(times, 1);
    engine.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn a_runbook_that_was_edited_since_its_plan_is_refused_and_the_new_plan_is_another() {
    let bench = Bench::with(led(&["old"]));
    let engine = bench.start().await;
    let shown = engine.plan_runbook(ana(), wish(None)).await.unwrap();
    let mut edited = led(&["new"]);
    for runbook in edited.runbooks.values_mut() {
        runbook.hash = "another".to_owned();
        runbook.steps[0].title = Template::plain("Something else");
    }
    engine.reload(Ok(edited.clone()));
    while **engine.definitions.borrow() != edited {
        tokio::task::yield_now().await;
    }
    let old = wish(Some(shown.hash));
    let refused = engine.submit(ana(), Command::StartRunbook { wish: old.clone() }).await;
    let Err(EngineError::Refused(refusal)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(refusal.kind, RefusalKind::Interlock);
    assert!(refusal.reason.contains("has changed since it was shown"), "{refusal:?}");
    assert!(refusal.hint.unwrap().contains("look at the new plan"));
    assert!(engine.state().runbooks.is_empty(), "nothing was begun");
    // A plan that is asked for by the old hash is refused as well; the new one shows what it is now.
    assert!(engine.plan_runbook(ana(), old).await.is_err());
    let shown = engine.plan_runbook(ana(), wish(None)).await.unwrap();
    assert_eq!(
        (shown.hash.as_str(), shown.steps[0].title.as_str()),
        ("another", "Something else")
    );
    let wish = wish(Some(shown.hash));
    engine.submit(ana(), Command::StartRunbook { wish }).await.unwrap();
    engine.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn a_clock_that_is_set_back_by_hours_does_not_stop_the_watch() {
    let mut definitions = with_runbook(definitions(), &["first"]);
    let cluster = crate::domain::cluster::tests::cluster(2);
    definitions.clusters.insert(cluster.name.clone(), cluster);
    let bench = Bench::with(definitions);
    let engine = bench.start().await;
    let count = |what: &str| {
        let asked = bench.hands.asked.lock().unwrap();
        asked.iter().filter(|one| *one == what).count()
    };
    let looked = async |after: (usize, usize)| {
        // A look that was under way when the clock was turned counts; the next comes in its time, which is half an hour.
        let watched = async {
            for turn in 1.. {
                if count("cluster orders") > after.0 && count("Look first") > after.1 {
                    return;
                }
                if turn % 20 == 0 {
                    bench.clock.advance(Duration::from_secs(1));
                }
                tokio::task::yield_now().await;
                std::thread::yield_now();
            }
        };
        assert!(
            tokio::time::timeout(Duration::from_secs(20), watched).await.is_ok(),
            "nobody looks any more: {:?} and {:?}",
            count("cluster orders"),
            count("Look first")
        );
    };
    bench.clock.advance(Duration::from_secs(20));
    looked((0, 0)).await;
    for _ in 0..2 {
        let before = (count("cluster orders"), count("Look first"));
        bench.clock.set_back(Duration::from_secs(5 * 3600));
        looked(before).await;
        // Forwards by hours: what is due is done once, and the watch goes on.
        let before = (count("cluster orders"), count("Look first"));
        bench.clock.advance(Duration::from_secs(5 * 3600));
        looked(before).await;
    }
    engine.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn an_agent_that_was_overtaken_by_another_acts_no_more() {
    let bench = Bench::with(with_runbook(definitions(), &["first", "hang-after", "last"]));
    let old = bench.start().await;
    let run = old.submit(ana(), begin()).await.unwrap().runbook.unwrap();
    until(&old, "acting", |picture| {
        states(picture).get(1) == Some(&StepState::Acting)
    })
    .await;
    // Its lock is lost, as on a file system that forgets locks: another agent takes over while this one still runs.
    let lock = bench.dir.path().join("journal.db.lock");
    std::fs::remove_file(lock).unwrap();
    let new = bench.start().await;
    until(&new, "ended", |picture| picture.executions.is_empty()).await;
    let done = || {
        DONE.lock()
            .unwrap()
            .iter()
            .filter(|name| name.starts_with(run.as_str()))
            .count()
    };
    assert_eq!(done(), 3, "the new agent went on with it");
    // The old one wakes up: whatever it is told, it does nothing.
    let answer = old.submit(ana(), Command::RunJob { job: "docs".into() }).await;
    let Err(EngineError::Failed(failure)) = answer else {
        panic!("{answer:?}")
    };
    assert!(failure.message.contains("another agent has taken over"), "{failure:?}");
    for _ in 0..20 {
        bench.clock.advance(Duration::from_secs(60));
        tokio::task::yield_now().await;
    }
    let stopped = bench
        .hands
        .asked
        .lock()
        .unwrap()
        .contains(&"stopped hang-after".to_owned());
    assert!(stopped, "what the old agent had begun was not stopped");
    assert_eq!(done(), 3, "the old agent acted");
    assert!(
        bench.hands.held.lock().unwrap().as_ref().unwrap().is_empty(),
        "the old agent backed up"
    );
    let trouble = old.overview().borrow().journal_error.clone().unwrap();
    assert!(trouble.contains("taken over"), "{trouble}");
    assert!(new.journal(Query::default()).await.is_ok());
    new.stop("the test is over").await.unwrap();
}
