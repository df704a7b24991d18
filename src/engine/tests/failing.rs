//! Failovers that the agent begins itself, and agents that die at every moment of one.

use super::runbooks::{document, with_runbook};
use super::*;
use crate::domain::cluster::health::Known as KnownPrimary;
use crate::domain::cluster::tests::{cluster, local, seen, server};
use crate::domain::cluster::{LocalState, Record, Role};
use crate::domain::event::Event;
use crate::domain::runbook::{Cause, RunbookFact, Variable, VariableKind};
use crate::domain::wal::{SystemId, TimelineId};

const STEPS: [&str; 4] = ["look", "fence", "promote", "route"];

fn watched() -> Definitions {
    let mut definitions = with_runbook(definitions(), &STEPS);
    let mut cluster = cluster(2);
    cluster.failover.automatic = true;
    cluster.failover.runbook = "fix".into();
    definitions.clusters.insert(cluster.name.clone(), cluster);
    let runbook = definitions.runbooks.get_mut(&"fix".into()).unwrap();
    let cluster = || "cluster".to_owned();
    let kinds = [
        ("cluster", VariableKind::Cluster),
        ("primary", VariableKind::Member { cluster: cluster() }),
        ("standby", VariableKind::Member { cluster: cluster() }),
        ("allow_loss", VariableKind::Text),
    ];
    runbook.variables = kinds
        .into_iter()
        .map(|(name, kind)| Variable {
            name: name.to_owned(),
            ask: name.to_owned(),
            kind,
            default: None,
            chosen: false,
        })
        .collect();
    runbook.steps = STEPS.iter().map(|id| document("/x", id)).collect();
    definitions
}

/// A primary that is dead, and a standby that has everything.
fn lost(now: crate::domain::Timestamp) -> ClusterLook {
    let mut standby = server(Role::Standby, 1000);
    standby.received = Some(Lsn(1000));
    standby.receiver = None;
    let mut seen = seen(vec![None, Some(standby)]);
    seen.members[0].local = Some(local(LocalState::Stopped, false));
    ClusterLook {
        seen,
        record: Record::default(),
        known: Some(KnownPrimary {
            primary: "db1".into(),
            system: SystemId(7),
            timeline: TimelineId(1),
            lsn: Lsn(1000),
            at: now,
            here: true,
            followers: BTreeMap::from([("db2".into(), now)]),
        }),
    }
}

/// Every execution the agent began itself.
async fn begun(engine: &Engine) -> Vec<String> {
    let query = Query {
        limit: Some(1000),
        ..Query::default()
    };
    let events = engine.journal(query).await.unwrap().items;
    let by_itself = |record: EventRecord| match record.event {
        Event::Runbook {
            run,
            fact: RunbookFact::Started { execution },
        } if matches!(execution.cause, Cause::Auto { .. }) => Some(run.to_string()),
        _ => None,
    };
    events.into_iter().filter_map(by_itself).collect()
}

/// Lives until `enough`, turning the clock, and then dies as a killed process does: nothing is said, nothing is closed.
fn life(bench: &Bench, what: &str, enough: impl Fn(&Engine) -> bool) -> Option<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let begun = runtime.block_on(async {
        // The lock of an agent that died goes with it, which takes a moment here.
        let mut tries = 0;
        let engine = loop {
            match Engine::start(bench.options()).await {
                Ok(engine) => break engine,
                Err(error) if tries > 2000 => panic!("{error}"),
                Err(_) => tries += 1,
            }
            std::thread::yield_now();
            tokio::task::yield_now().await;
        };
        for _ in 0..10_000 {
            if enough(&engine) {
                return Some(begun(&engine).await);
            }
            // Not faster than looks can be made.
            Clock::system().sleep(Duration::from_millis(1)).await;
            bench.clock.advance(Duration::from_millis(200));
        }
        None
    });
    drop(runtime);
    assert!(begun.is_some(), "never {what}");
    begun
}

#[test]
fn an_automatic_failover_is_begun_once_whatever_the_moment_its_agent_died() {
    let unfinished = std::cell::Cell::new(0);
    // The number of the event at which the agent dies: before the failover begins, in each of its steps, after it.
    for moment in [1, 3, 5, 6, 7, 9, 12, 16] {
        let bench = Bench::with(watched());
        *bench.hands.cluster.lock().unwrap() = Some(lost(bench.clock.now()));
        let events = |engine: &Engine| engine.state().seq;
        life(&bench, "died", |engine| {
            let over = || {
                engine
                    .state()
                    .runbook_facts
                    .values()
                    .any(|facts| !facts.automatic.is_empty())
            };
            events(engine) >= moment || over()
        });
        // What the one that died saw of the time does not count: the next counts anew.
        *bench.hands.cluster.lock().unwrap() = Some(lost(bench.clock.now()));
        let all = life(&bench, "failed over", |engine| {
            let state = engine.state();
            let over = state.runbook_facts.values().any(|facts| !facts.automatic.is_empty());
            unfinished.set(unfinished.get() + usize::from(!over && !state.runbooks.is_empty()));
            over && state.runbooks.is_empty()
        });
        let all = all.unwrap();
        assert_eq!(all.len(), 1, "killed at event {moment}: {all:?}");
        // And a third, which only looks on.
        let before = bench.clock.now();
        let all = life(&bench, "looked on", |_| {
            bench.clock.now() - before > chrono::Duration::seconds(60)
        });
        assert_eq!(all.unwrap().len(), 1, "killed at event {moment}, looked on");
    }
    assert!(
        unfinished.get() > 0,
        "no second agent ever found an execution under way"
    );
}
