//! The core with hands that do what the tests say, a real journal and a clock turned by hand.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

use super::hands::{ClusterLook, Doing, Known, Listing, StepOrder, Work};
use super::*;
use crate::domain::cluster::Cluster;
use crate::domain::command::{RefusalKind, RunResult, written_evidence};
use crate::domain::follow_up::{FollowUpResult, ServerSeen, Waiting};
use crate::domain::id::{MemberName, SnapshotId};
use crate::domain::job::{Hooks, Job, Limits, MissedPolicy, RetryPolicy, UpkeepPolicy, VerifyPolicy};
use crate::domain::maintenance::{Maintenance, MaintenanceResult};
use crate::domain::observe::ended_recovery;
use crate::domain::recovery::{Recovery, RecoveryTarget};
use crate::domain::run::{Failure, Outcome, Run, RunStats};
use crate::domain::runbook::StepSeen;
use crate::domain::schedule::Schedule;
use crate::domain::snapshot::EvidenceLevel;
use crate::domain::source::{FilesSource, SecretRef, Source, SourceKind};
use crate::domain::state::SourceFacts;
use crate::domain::wal::Lsn;

mod bad;
mod failing;
mod keeping;
mod puppet;
mod runbooks;
mod servers;
mod upkeep;

use puppet::Puppet;

struct Bench {
    dir: TempDir,
    clock: Clock,
    hands: Arc<Puppet>,
    definitions: Definitions,
}

impl Bench {
    fn new() -> Self {
        Self::with(definitions())
    }

    fn with(definitions: Definitions) -> Self {
        let clock = Clock::manual("2026-03-01T00:01:00Z".parse().unwrap());
        let hands = Puppet {
            clock: clock.clone(),
            digest: Mutex::new("one".into()),
            held: Mutex::new(Ok(Vec::new())),
            trash: Mutex::default(),
            kept: Mutex::default(),
            keeping: Mutex::default(),
            stage: Mutex::default(),
            cluster: Mutex::default(),
            asked: Mutex::default(),
        };
        Self {
            dir: TempDir::new().unwrap(),
            clock,
            hands: Arc::new(hands),
            definitions,
        }
    }

    fn options(&self) -> EngineOptions {
        EngineOptions {
            definitions: self.definitions.clone(),
            config_path: None,
            journal: self.dir.path().join("journal.db"),
            state_dir: self.dir.path().to_owned(),
            clock: self.clock.clone(),
            host: "h".into(),
            hands: Some(self.hands.clone()),
            practice: None,
        }
    }

    async fn start(&self) -> Engine {
        Engine::start(self.options()).await.unwrap()
    }
}

fn definitions() -> Definitions {
    let job = |name: &str, schedule: Option<&str>| Job {
        name: name.into(),
        source: "docs".into(),
        repository: "near".into(),
        schedule: schedule.map(|text| Schedule::parse(text, "").unwrap()),
        missed: MissedPolicy::RunOnce,
        retry: RetryPolicy::default(),
        timeout: None,
        verify: VerifyPolicy::default(),
        hooks: Hooks::default(),
        tags: Vec::new(),
        retention: None,
    };
    let repository = RepositoryDefinition {
        name: "near".into(),
        url: "/nowhere".into(),
        password: SecretRef::Env("NOTHING".into()),
        upkeep: UpkeepPolicy::default(),
        access: crate::domain::job::StoreAccess::default(),
    };
    let source = Source {
        name: "docs".into(),
        kind: SourceKind::Files(FilesSource::default()),
    };
    let jobs = [job("docs", Some("*/15 * * * *")), job("slow", None)];
    Definitions {
        site: "here".into(),
        environment: "TEST".into(),
        repositories: BTreeMap::from([("near".into(), repository)]),
        sources: BTreeMap::from([("docs".into(), source)]),
        jobs: jobs.into_iter().map(|job| (job.name.clone(), job)).collect(),
        services: BTreeMap::new(),
        clusters: BTreeMap::new(),
        drills: BTreeMap::new(),
        runbooks: std::collections::BTreeMap::new(),
        limits: Limits::default(),
    }
}

fn ana() -> Actor {
    Actor {
        name: "ana".into(),
        host: "h".into(),
        via: "cli".into(),
    }
}

/// Waits until the picture is as expected; fails after ten seconds with the last picture.
async fn until(engine: &Engine, what: &str, expected: impl Fn(&Overview) -> bool) {
    let mut pictures = engine.overview();
    let seen = tokio::time::timeout(Duration::from_secs(10), pictures.wait_for(|picture| expected(picture))).await;
    assert!(seen.is_ok(), "never {what}: {:#?}", engine.overview().borrow());
}

fn outcomes(overview: &Overview, job: &str) -> Vec<Outcome> {
    overview
        .jobs
        .iter()
        .find(|view| view.name.as_str() == job)
        .map(|view| view.outcomes.clone())
        .unwrap_or_default()
}

#[tokio::test]
async fn a_command_that_was_answered_is_durable_and_its_run_ends_in_history() {
    let bench = Bench::new();
    let engine = bench.start().await;
    let receipt = engine
        .submit(ana(), Command::RunJob { job: "docs".into() })
        .await
        .unwrap();
    until(&engine, "succeeded", |picture| {
        outcomes(picture, "docs") == [Outcome::Succeeded]
    })
    .await;
    let runs = engine.runs(Query::default()).await.unwrap().items;
    assert_eq!(runs.len(), 1);
    assert_eq!(Some(&runs[0].id), receipt.run.as_ref());
    assert_eq!(engine.snapshots(Query::default()).await.unwrap().items.len(), 1);
    let events = engine.journal(Query::default()).await.unwrap().items;
    let queued = events
        .iter()
        .find(|record| record.event.word() == "run_queued")
        .unwrap();
    assert_eq!(queued.actor, ana());
    engine.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn a_schedule_runs_when_the_clock_comes_to_it() {
    let bench = Bench::new();
    let engine = bench.start().await;
    assert!(outcomes(&engine.overview().borrow(), "docs").is_empty());
    bench.clock.advance(Duration::from_secs(14 * 60));
    until(&engine, "ran", |picture| {
        outcomes(picture, "docs") == [Outcome::Succeeded]
    })
    .await;
    engine.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn work_is_cancelled_when_somebody_asks() {
    let bench = Bench::new();
    let engine = bench.start().await;
    let run = engine
        .submit(ana(), Command::RunJob { job: "slow".into() })
        .await
        .unwrap()
        .run
        .unwrap();
    engine.submit(ana(), Command::CancelRun { run }).await.unwrap();
    until(&engine, "cancelled", |picture| {
        outcomes(picture, "slow") == [Outcome::Cancelled]
    })
    .await;
    engine.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn stopping_records_what_ran_as_interrupted_and_the_next_agent_goes_on() {
    let bench = Bench::new();
    let engine = bench.start().await;
    engine
        .submit(ana(), Command::RunJob { job: "slow".into() })
        .await
        .unwrap();
    engine.stop("the machine restarts").await.unwrap();
    assert!(matches!(
        engine.submit(ana(), Command::RunJob { job: "docs".into() }).await,
        Err(EngineError::Stopping)
    ));
    let next = bench.start().await;
    until(&next, "goes on", |picture| {
        outcomes(picture, "slow") == [Outcome::Interrupted]
            && picture.runs.iter().any(|run| run.run.started_at.is_some())
    })
    .await;
    next.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn one_journal_has_one_agent() {
    let bench = Bench::new();
    let engine = bench.start().await;
    let second = Engine::start(bench.options()).await.unwrap_err();
    assert!(second.to_string().contains("held by"), "{second}");
    assert!(second.hint().is_some());
    engine.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn a_recovery_is_bound_to_the_plan_that_was_shown() {
    let bench = Bench::new();
    let engine = bench.start().await;
    engine
        .submit(ana(), Command::RunJob { job: "docs".into() })
        .await
        .unwrap();
    until(&engine, "succeeded", |picture| {
        outcomes(picture, "docs") == [Outcome::Succeeded]
    })
    .await;
    let snapshot = engine.snapshots(Query::default()).await.unwrap().items.remove(0);
    let request = RecoveryRequest {
        snapshot: snapshot.id,
        repository: snapshot.repository,
        target: RecoveryTarget::Scratch {
            level: EvidenceLevel::Restored,
        },
        instant: None,
        reason: None,
        plan_digest: None,
    };
    let plan = engine.plan(request.clone()).await.unwrap();
    *bench.hands.digest.lock().unwrap() = "two".into();
    let bound = RecoveryRequest {
        plan_digest: Some(plan.digest),
        ..request.clone()
    };
    let refused = engine
        .submit(ana(), Command::StartRecovery { request: bound })
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            EngineError::Refused(Refusal {
                kind: RefusalKind::Interlock,
                ..
            })
        ),
        "{refused:?}"
    );
    let events = engine.journal(Query::default()).await.unwrap().items;
    assert_eq!(events[0].event.word(), "command_refused", "every refusal is journalled");
    let fresh = RecoveryRequest {
        plan_digest: Some("two".into()),
        ..request
    };
    let receipt = engine
        .submit(ana(), Command::StartRecovery { request: fresh })
        .await
        .unwrap();
    let mut recoveries = engine.recoveries(Query::default()).await.unwrap().items;
    while recoveries.is_empty() {
        tokio::task::yield_now().await;
        recoveries = engine.recoveries(Query::default()).await.unwrap().items;
    }
    assert_eq!(Some(&recoveries[0].id), receipt.recovery.as_ref());
    engine.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn what_vanished_from_a_repository_is_no_longer_promised() {
    let bench = Bench::new();
    let engine = bench.start().await;
    engine
        .submit(ana(), Command::RunJob { job: "docs".into() })
        .await
        .unwrap();
    until(&engine, "counted", |picture| picture.repositories[0].snapshots == 1).await;
    bench.hands.held.lock().unwrap().as_mut().unwrap().clear();
    bench.clock.advance(Duration::from_secs(301));
    until(&engine, "gone", |picture| picture.repositories[0].snapshots == 0).await;
    *bench.hands.held.lock().unwrap() = Err(Failure::transient("connection refused"));
    bench.clock.advance(Duration::from_secs(301));
    until(&engine, "alerted", |picture| {
        picture.alerts.iter().any(|alert| alert.key.as_str().contains("near"))
    })
    .await;
    engine.stop("the test is over").await.unwrap();
}

#[tokio::test]
async fn nothing_is_broken_on_purpose_outside_the_sandbox() {
    let bench = Bench::new();
    let engine = bench.start().await;
    assert!(matches!(
        engine.practice("drop-table").await,
        Err(EngineError::Refused(_))
    ));
    engine.stop("the test is over").await.unwrap();
}
