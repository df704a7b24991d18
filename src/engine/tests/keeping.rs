//! Retention, the trash, pins and maintenance through the core.

use super::upkeep::Mood;
use super::*;
use crate::domain::alert::AlertKind;
use crate::domain::id::MaintenanceId;
use crate::domain::job::UpkeepPolicy;
use crate::domain::maintenance::Task;
use crate::domain::retention::RetentionPolicy;

fn kept(max_delete: u8) -> RetentionPolicy {
    RetentionPolicy {
        keep_last: 2,
        max_delete,
        ..RetentionPolicy::default()
    }
}

fn options(bench: &Bench, policy: RetentionPolicy, upkeep: UpkeepPolicy) -> EngineOptions {
    let mut options = bench.options();
    options.definitions.jobs.get_mut(&"docs".into()).unwrap().retention = Some(policy);
    options.definitions.repositories.get_mut(&"near".into()).unwrap().upkeep = upkeep;
    options
}

/// Puts snapshots into the repository that are an hour apart and older than now, oldest first.
fn seed(bench: &Bench, count: u8) -> Vec<SnapshotId> {
    let mut held = bench.hands.held.lock().unwrap();
    let mut ids = Vec::new();
    for n in 0..count {
        let run: Run = serde_json::from_value(serde_json::json!({
            "id": format!("run-{n}"), "job": "docs", "trigger": {"trigger": "manual", "by": "ana"},
            "queued_at": bench.clock.now(), "started_at": null, "attempt": 1, "state": {"state": "running"},
            "cancel_requested": null, "last_error": null,
        }))
        .unwrap();
        let job = definitions().jobs[&"docs".into()].clone();
        let taken_at = bench.clock.now() - chrono::Duration::hours(i64::from(count - n));
        let snapshot = SnapshotRecord {
            id: SnapshotId(hex::encode([0x20 + n; 32])),
            taken_at,
            ..bench.hands.snapshot(&job, &run)
        };
        ids.push(snapshot.id.clone());
        held.as_mut().unwrap().push(snapshot);
    }
    ids
}

async fn listed(engine: &Engine, count: u64) {
    until(engine, "listed", |picture| picture.repositories[0].snapshots == count).await;
}

async fn settled(engine: &Engine) {
    until(engine, "done", |picture| {
        picture.maintenance.is_empty() && picture.runs.is_empty()
    })
    .await;
}

fn has_alert(picture: &Overview, kind: AlertKind) -> bool {
    picture.alerts.iter().any(|alert| alert.kind == kind)
}

async fn run_docs(engine: &Engine) {
    engine
        .submit(ana(), Command::RunJob { job: "docs".into() })
        .await
        .unwrap();
    until(engine, "succeeded", |picture| {
        outcomes(picture, "docs").contains(&Outcome::Succeeded)
    })
    .await;
    settled(engine).await;
}

async fn trash(engine: &Engine) -> Vec<SnapshotRecord> {
    let query = Query {
        trash: Some(true),
        ..Query::default()
    };
    engine.snapshots(query).await.unwrap().items
}

#[tokio::test]
async fn a_good_run_is_followed_by_retention_and_nothing_is_called_gone() {
    let bench = Bench::new();
    let ids = seed(&bench, 4);
    let engine = Engine::start(options(&bench, kept(100), UpkeepPolicy::default()))
        .await
        .unwrap();
    listed(&engine, 4).await;
    run_docs(&engine).await;
    listed(&engine, 2).await;
    let trashed = trash(&engine).await;
    assert_eq!(
        trashed.iter().map(|one| &one.id).collect::<Vec<_>>(),
        [&ids[2], &ids[1], &ids[0]]
    );
    assert!(
        trashed[0]
            .forgotten
            .as_ref()
            .unwrap()
            .reason
            .as_ref()
            .unwrap()
            .contains("last 2")
    );
    bench.clock.advance(Duration::from_secs(301));
    run_docs(&engine).await;
    let events = engine
        .journal(Query {
            limit: Some(1000),
            ..Query::default()
        })
        .await
        .unwrap()
        .items;
    assert!(events.iter().all(|record| record.event.word() != "snapshot_vanished"));
    let history = engine.maintenance(Query::default()).await.unwrap().items;
    assert_eq!(
        (history[0].outcome, history[0].requested_by.as_str()),
        (Outcome::Succeeded, "agent")
    );
    let page = engine.snapshots(Query::default()).await.unwrap().items;
    assert!(
        page.iter()
            .all(|one| one.expiry.as_ref().is_some_and(|expiry| !expiry.due)),
        "{page:#?}"
    );
    engine.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn more_than_may_go_at_once_waits_for_a_word() {
    let bench = Bench::new();
    seed(&bench, 9);
    let engine = Engine::start(options(&bench, kept(50), UpkeepPolicy::default()))
        .await
        .unwrap();
    listed(&engine, 9).await;
    run_docs(&engine).await;
    until(&engine, "refused", |picture| {
        has_alert(picture, AlertKind::RetentionRefused)
    })
    .await;
    assert!(trash(&engine).await.is_empty());
    let plan = engine.retention("docs").await.unwrap();
    assert_eq!((plan.over.unwrap().forget, plan.decisions.len()), (8, 10));
    let apply = |confirmed| Command::ApplyRetention {
        job: Some("docs".into()),
        confirmed,
    };
    let refused = engine.submit(ana(), apply(false)).await.unwrap_err();
    assert!(
        matches!(&refused, EngineError::Refused(refusal) if refusal.kind == RefusalKind::Interlock),
        "{refused:?}"
    );
    let receipt = engine.submit(ana(), apply(true)).await.unwrap();
    assert_eq!(receipt.maintenance.len(), 1);
    listed(&engine, 2).await;
    until(&engine, "resolved", |picture| {
        !has_alert(picture, AlertKind::RetentionRefused)
    })
    .await;
    engine.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn what_was_decided_before_the_agent_died_is_done_by_the_next() {
    let bench = Bench::new();
    let ids = seed(&bench, 4);
    *bench.hands.keeping.lock().unwrap() = Mood::Hangs;
    let engine = bench.start().await;
    listed(&engine, 4).await;
    let forget = Command::ForgetSnapshots {
        snapshots: ids[..2].to_vec(),
        reason: "space".into(),
    };
    engine.submit(ana(), forget).await.unwrap();
    until(&engine, "begun", |picture| {
        picture.maintenance.iter().any(|view| view.maintenance.attempt == 1)
    })
    .await;
    engine.stop("the machine restarts").await.unwrap();
    *bench.hands.keeping.lock().unwrap() = Mood::Well;
    let next = bench.start().await;
    listed(&next, 2).await;
    assert_eq!(trash(&next).await.len(), 2);
    let done = bench.hands.kept.lock().unwrap().clone();
    assert_eq!(
        (done.len(), &done[0].id),
        (2, &done[1].id),
        "the same work, begun again"
    );
    next.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn pins_words_and_the_trash_are_changed_and_found_in_history() {
    let bench = Bench::new();
    let ids = seed(&bench, 3);
    let engine = bench.start().await;
    listed(&engine, 3).await;
    let reason = Some("the audit".to_owned());
    let snapshot = ids[0].clone();
    engine
        .submit(
            ana(),
            Command::PinSnapshot {
                snapshot: snapshot.clone(),
                reason,
            },
        )
        .await
        .unwrap();
    settled(&engine).await;
    let pinned = engine.snapshot(snapshot.as_str()).await.unwrap().pinned.unwrap();
    assert_eq!(
        (pinned.by.as_str(), pinned.reason.as_deref()),
        ("ana", Some("the audit"))
    );
    let forget = |snapshots: Vec<SnapshotId>| Command::ForgetSnapshots {
        snapshots,
        reason: "space".into(),
    };
    for (id, why) in [(&ids[0], "pinned"), (&ids[2], "last good")] {
        let refused = engine.submit(ana(), forget(vec![id.clone()])).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    engine.submit(ana(), forget(vec![ids[1].clone()])).await.unwrap();
    listed(&engine, 2).await;
    engine
        .submit(
            ana(),
            Command::RestoreForgotten {
                snapshot: ids[1].clone(),
            },
        )
        .await
        .unwrap();
    listed(&engine, 3).await;
    assert!(trash(&engine).await.is_empty());
    let tag = Command::TagSnapshot {
        snapshot: ids[0].clone(),
        add: vec!["audited".into()],
        remove: vec![],
    };
    engine.submit(ana(), tag).await.unwrap();
    settled(&engine).await;
    let old = engine.snapshot(ids[0].as_str()).await.unwrap();
    let new = engine.snapshot(old.replaced_by.unwrap().as_str()).await.unwrap();
    assert_eq!((new.tags, new.pinned.is_some()), (vec!["audited".to_owned()], true));
    let unpin = Command::UnpinSnapshot {
        snapshot: new.id,
        reason: None,
    };
    engine.submit(ana(), unpin).await.unwrap();
    settled(&engine).await;
    listed(&engine, 3).await;
    engine.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn prunes_and_checks_come_when_they_are_due_and_damage_is_an_alert() {
    let bench = Bench::new();
    let schedule = |text| Schedule::parse(text, "").unwrap();
    let upkeep = UpkeepPolicy {
        prune: Some(schedule("0 4 * * *")),
        check: Some(crate::domain::job::CheckPolicy {
            schedule: schedule("0 5 * * *"),
            read_data_subset: Some("1/7".into()),
        }),
        ..UpkeepPolicy::default()
    };
    let engine = Engine::start(options(&bench, kept(100), upkeep)).await.unwrap();
    until(&engine, "reached", |picture| {
        picture.repositories[0].reachable == Some(true)
    })
    .await;
    *bench.hands.keeping.lock().unwrap() = Mood::Fails;
    bench.clock.advance(Duration::from_secs(4 * 3600));
    until(&engine, "failed", |picture| {
        has_alert(picture, AlertKind::MaintenanceFailed)
    })
    .await;
    *bench.hands.keeping.lock().unwrap() = Mood::FindsDamage;
    bench.clock.advance(Duration::from_secs(3600));
    until(&engine, "damaged", |picture| {
        has_alert(picture, AlertKind::RepositoryDamaged)
    })
    .await;
    *bench.hands.keeping.lock().unwrap() = Mood::Well;
    for command in [
        Command::CheckRepository {
            repository: "near".into(),
            subset: None,
        },
        Command::PruneRepository {
            repository: "near".into(),
        },
    ] {
        engine.submit(ana(), command).await.unwrap();
    }
    until(&engine, "well", |picture| {
        !has_alert(picture, AlertKind::RepositoryDamaged) && !has_alert(picture, AlertKind::MaintenanceFailed)
    })
    .await;
    settled(&engine).await;
    let tasks: Vec<Task> = bench
        .hands
        .kept
        .lock()
        .unwrap()
        .iter()
        .map(|one| one.task.clone())
        .collect();
    let subset = |subset: Option<&str>| Task::Check {
        subset: subset.map(str::to_owned),
    };
    assert_eq!(tasks.len(), 4);
    assert_eq!(tasks[..2], [Task::Prune, subset(Some("1/7"))]);
    engine.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn a_prune_can_be_cancelled_and_holds_back_new_runs_until_then() {
    let bench = Bench::new();
    let engine = bench.start().await;
    *bench.hands.keeping.lock().unwrap() = Mood::Hangs;
    let receipt = engine
        .submit(
            ana(),
            Command::PruneRepository {
                repository: "near".into(),
            },
        )
        .await
        .unwrap();
    until(&engine, "begun", |picture| {
        picture.maintenance.iter().any(|view| view.maintenance.attempt == 1)
    })
    .await;
    engine
        .submit(ana(), Command::RunJob { job: "docs".into() })
        .await
        .unwrap();
    until(&engine, "waits", |picture| {
        picture.runs.iter().all(|view| view.run.started_at.is_none())
    })
    .await;
    let maintenance: MaintenanceId = receipt.maintenance[0].clone();
    engine
        .submit(ana(), Command::CancelMaintenance { maintenance })
        .await
        .unwrap();
    until(&engine, "ran", |picture| {
        outcomes(picture, "docs") == [Outcome::Succeeded]
    })
    .await;
    engine.stop("the test is over").await.unwrap();
}
