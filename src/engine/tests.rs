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

mod keeping;
mod runbooks;
mod servers;

/// Hands that succeed, unless the job's name says otherwise.
struct Puppet {
    clock: Clock,
    digest: Mutex<String>,
    held: Mutex<Result<Vec<SnapshotRecord>, Failure>>,
    /// What maintenance was done, and whether it is to fail or to hang until it is stopped.
    kept: Mutex<Vec<Maintenance>>,
    keeping: Mutex<keeping::Mood>,
    /// The server a recovery leaves.
    stage: Mutex<servers::Stage>,
}

impl Puppet {
    fn snapshot(&self, job: &Job, run: &Run) -> SnapshotRecord {
        SnapshotRecord {
            id: SnapshotId(hex::encode([u8::try_from(run.id.0.len() % 7).unwrap() + 1; 32])),
            repository: job.repository.clone(),
            source: Some(job.source.clone()),
            job: Some(job.name.clone()),
            run: Some(run.id.clone()),
            kind: "files".into(),
            taken_at: self.clock.now(),
            committed_at: self.clock.now(),
            host: "h".into(),
            paths: Vec::new(),
            tags: Vec::new(),
            comment: None,
            size: Bytes(10),
            added: Bytes(5),
            files: 1,
            changes: None,
            duration: crate::domain::Millis(1),
            partial: false,
            errors: 0,
            database: None,
            evidence: written_evidence(self.clock.now()),
            cluster: None,
            vanished_at: None,
            pinned: None,
            forgotten: None,
            replaced_by: None,
            expiry: None,
        }
    }
}

impl Hands for Puppet {
    fn look_at_cluster(&self, _: Cluster, _: Duration) -> Doing<'_, Result<ClusterLook, Failure>> {
        Box::pin(async { Err(Failure::transient("nobody looks here")) })
    }

    fn step(&self, work: Work, order: StepOrder) -> Doing<'_, StepSeen> {
        Box::pin(runbooks::step(self, work, order))
    }

    fn back_up(&self, work: Work, job: Job, run: Run) -> Doing<'_, RunResult> {
        Box::pin(async move {
            if job.name.as_str() == "slow" {
                work.cancel.cancelled().await;
                let error = Failure::transient("stopped");
                return RunResult::failed(Outcome::Cancelled, error);
            }
            let snapshot = self.snapshot(&job, &run);
            self.held.lock().unwrap().as_mut().unwrap().push(snapshot.clone());
            RunResult {
                outcome: Outcome::Succeeded,
                stats: RunStats::default(),
                snapshot: Some(snapshot),
                error: None,
                item_errors: Vec::new(),
            }
        })
    }

    fn plan(
        &self,
        _: Arc<Definitions>,
        request: RecoveryRequest,
        snapshot: SnapshotRecord,
        _: Option<SourceFacts>,
    ) -> Doing<'_, Result<RecoveryPlan, Failure>> {
        let digest = self.digest.lock().unwrap().clone();
        Box::pin(async move {
            Ok(RecoveryPlan {
                kind: snapshot.kind,
                source: snapshot.source,
                recover_to: snapshot.taken_at,
                evidence: snapshot.evidence.level,
                from: String::new(),
                target_identity: String::new(),
                items: 1,
                fetch: Bytes(1),
                write: Bytes(1),
                overwrites: 0,
                overwrites_sample: Vec::new(),
                target_free: None,
                estimate: None,
                estimate_p90: None,
                estimate_samples: 0,
                estimate_phases: Vec::new(),
                replay: None,
                blockers: Vec::new(),
                warnings: Vec::new(),
                undo: String::new(),
                command: String::new(),
                restic_command: String::new(),
                digest,
                request,
            })
        })
    }

    fn recover(&self, _: Work, recovery: Recovery, _: SnapshotRecord) -> Doing<'_, RecoveryRecord> {
        let mut record = ended_recovery(&recovery, Outcome::Succeeded, None, self.clock.now());
        record.left = servers::left(&recovery, self.clock.now());
        Box::pin(async move { record })
    }

    fn follow_up(&self, work: Work, waiting: Waiting) -> Doing<'_, FollowUpResult> {
        Box::pin(servers::follow_up(self, work, waiting))
    }

    fn look_at_server(&self, waiting: Waiting) -> Doing<'_, Result<Option<ServerSeen>, Failure>> {
        Box::pin(async move { Ok(Some(servers::look(self, &waiting))) })
    }

    fn restore_point(&self, _: Cluster, name: String, _: String) -> Doing<'_, Result<(MemberName, Lsn), Failure>> {
        Box::pin(async move { servers::restore_point(&name) })
    }

    fn list(&self, _: RepositoryDefinition, known: Known) -> Doing<'_, Result<Listing, Failure>> {
        let held = self.held.lock().unwrap().clone();
        Box::pin(async move {
            held.map(|snapshots| Listing {
                held: snapshots.iter().map(|snapshot| snapshot.id.clone()).collect(),
                appeared: snapshots
                    .into_iter()
                    .filter(|snapshot| !known.listed.contains(&snapshot.id))
                    .collect(),
                changes: Vec::new(),
                room: Some(crate::domain::capacity::Room {
                    used: Bytes(7),
                    limit: Bytes(100),
                    bound: crate::domain::capacity::Bound::Disk,
                }),
            })
        })
    }

    fn look_at_log(
        &self,
        _: Source,
        _: RepositoryDefinition,
        _: Vec<crate::domain::pitr::Base>,
        _: bool,
    ) -> Doing<'_, Result<crate::domain::pitr::Looked, Failure>> {
        Box::pin(async { Err(Failure::permanent("there is no log", "")) })
    }

    fn receive(
        &self,
        _: Work,
        _: Source,
        _: RepositoryDefinition,
        _: Arc<dyn Fn(Option<String>) + Send + Sync>,
    ) -> Doing<'_, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn maintain(&self, work: Work, maintenance: Maintenance) -> Doing<'_, MaintenanceResult> {
        Box::pin(keeping::maintain(self, work, maintenance))
    }

    fn tree(&self, _: RepositoryDefinition, _: String, _: String) -> Doing<'_, Result<Vec<TreeEntryView>, Failure>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn content(&self, _: RepositoryDefinition, _: String, _: String, _: Bytes) -> Doing<'_, Result<Vec<u8>, Failure>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn reap(&self, _: Arc<Definitions>) -> Doing<'_, ()> {
        Box::pin(async {})
    }
}

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
            kept: Mutex::default(),
            keeping: Mutex::default(),
            stage: Mutex::default(),
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
