//! Recoveries carried out: the restore, the verification, and what becomes of them.

use std::sync::Arc;

use super::Worker;
use super::claim::{Claims, Place, going_on};
use super::failure::of_source;
use super::plan::looked;
use crate::domain::command::Observation;
use crate::domain::follow_up::LeftServer;
use crate::domain::id::RepositoryName;
use crate::domain::job::{Definitions, RepositoryDefinition, SqlProbe};
use crate::domain::observe::ended_recovery;
use crate::domain::recovery::{Recovery, RecoveryRecord, RecoveryRequest, RecoveryTarget};
use crate::domain::run::{Failure, Outcome};
use crate::domain::snapshot::{EvidenceLevel, SnapshotRecord};
use crate::engine::hands;
use crate::repo::rate::sampler;
use crate::repo::{Progress, Repository};
use crate::source::{self, Milestone, Restored, Subject, Verified, VerifyJob};

/// Findings kept in history.
const FINDINGS_KEPT: usize = 500;

pub(super) struct Opened {
    pub(super) subject: Subject,
    pub(super) repo: Repository,
}

/// Opens what a recovery reads from.
pub(super) async fn open(
    worker: &Worker,
    definitions: &Definitions,
    snapshot: &SnapshotRecord,
    request: &RecoveryRequest,
) -> Result<Opened, Failure> {
    let target = &request.target;
    let place = repository(definitions, &snapshot.repository)?;
    let source = snapshot
        .source
        .as_ref()
        .and_then(|source| definitions.sources.get(source))
        .cloned();
    let secrets = super::secrets::of_recovery(source.as_ref(), target).await?;
    let repo = worker.repositories.get(place, &worker.clock).await?;
    let subject = Subject {
        snapshot: snapshot.clone(),
        instant: request.instant.as_deref().cloned(),
        source,
        secrets,
        repository_url: place.url.clone(),
        owner: request.reason.clone(),
        host: worker.host.clone(),
    };
    Ok(Opened { subject, repo })
}

pub(super) fn repository<'a>(
    definitions: &'a Definitions,
    name: &RepositoryName,
) -> Result<&'a RepositoryDefinition, Failure> {
    definitions.repositories.get(name).ok_or_else(|| {
        Failure::permanent(
            format!("repository {name} is not in the configuration"),
            "add it again, or use the repository directly with --repository",
        )
    })
}

/// Restores or verifies, and says how it ended.
pub(super) async fn recover(
    worker: &Worker,
    work: hands::Work,
    recovery: Recovery,
    snapshot: SnapshotRecord,
) -> RecoveryRecord {
    let result = attempt(worker, &work, &recovery, &snapshot).await;
    let now = worker.clock.now();
    match result {
        Ok(Ended::Restored(done)) => restored(&recovery, done, now),
        Ok(Ended::Verified(done)) => verified(&recovery, &done, now),
        Err(failure) => {
            let cancelled = work.cancel.is_cancelled();
            let outcome = if cancelled { Outcome::Cancelled } else { Outcome::Failed };
            ended_recovery(&recovery, outcome, Some(failure), now)
        }
    }
}

enum Ended {
    Restored(Restored),
    Verified(Verified),
}

async fn attempt(
    worker: &Worker,
    work: &hands::Work,
    recovery: &Recovery,
    snapshot: &SnapshotRecord,
) -> Result<Ended, Failure> {
    let target = &recovery.request.target;
    let opened = open(worker, &work.definitions, snapshot, &recovery.request).await?;
    let progress = Progress::new();
    let _ = work.progress.set(sampler(progress.clone(), worker.clock.clone()));
    let reached = |milestone| (work.observe)(observed(recovery, snapshot, milestone));
    let source_work = source::Work {
        repo: &opened.repo,
        clock: &worker.clock,
        progress,
        cancel: work.cancel.clone(),
        reached: &reached,
    };
    let ended = if let RecoveryTarget::Scratch { level } = target {
        let job = VerifyJob {
            id: recovery.id.to_string(),
            level: *level,
            probes: probes(&work.definitions, recovery, snapshot),
            scratch_dir: worker.scratch_dir(),
        };
        source::verify(&opened.subject, &job, &source_work)
            .await
            .map(Ended::Verified)
    } else {
        let target = claimed(worker, &recovery.request).await?;
        let restored = source::restore(&opened.subject, &target, recovery.id.as_str(), &source_work).await;
        if restored.is_ok() {
            off_runtime(worker, &recovery.request, |claims, request| {
                claims.whole(request);
                Ok(())
            })
            .await?;
        }
        restored.map(Ended::Restored)
    };
    ended.map_err(|error| of_source(&error))
}

/// Claims the place a restore goes to before its first byte; where it is to go, and whether it goes on with what is there.
async fn claimed(worker: &Worker, request: &RecoveryRequest) -> Result<RecoveryTarget, Failure> {
    match looked(worker, request).await? {
        Place::Ours => Ok(going_on(&request.target)),
        Place::Taken(why) => Err(why),
        Place::Unclaimed => {
            off_runtime(worker, request, Claims::take).await?;
            Ok(request.target.clone())
        }
    }
}

async fn off_runtime(
    worker: &Worker,
    request: &RecoveryRequest,
    work: impl FnOnce(&Claims, &RecoveryRequest) -> Result<(), Failure> + Send + 'static,
) -> Result<(), Failure> {
    let (claims, request) = (Claims::of(&worker.state_dir), request.clone());
    let working = tokio::task::spawn_blocking(move || work(&claims, &request));
    working
        .await
        .unwrap_or_else(|_| Err(Failure::transient("the agent is ending")))
}

fn observed(recovery: &Recovery, snapshot: &SnapshotRecord, milestone: Milestone) -> Observation {
    let (level, failure) = match milestone {
        Milestone::Phase(phase) => {
            return Observation::RecoveryPhaseReached {
                recovery: recovery.id.clone(),
                phase,
            };
        }
        Milestone::Proved(level, _) => (level, None),
        Milestone::Refuted(failure) => (failure.level, Some(failure)),
    };
    Observation::EvidenceGathered {
        snapshot: snapshot.id.clone(),
        level,
        failure,
    }
}

/// The probes of the drill; of the job that made the snapshot; of any job of its source when that is no longer known.
fn probes(definitions: &Definitions, recovery: &Recovery, snapshot: &SnapshotRecord) -> Vec<SqlProbe> {
    let drill = recovery.drill.as_ref().and_then(|drill| definitions.drills.get(drill));
    if let Some(drill) = drill.filter(|drill| !drill.probes.is_empty()) {
        return drill.probes.clone();
    }
    let own = snapshot.job.as_ref().and_then(|job| definitions.jobs.get(job));
    let of_source = || {
        snapshot
            .source
            .as_ref()
            .and_then(|source| definitions.jobs_of(source).next())
    };
    own.or_else(of_source)
        .map(|job| job.verify.probes.clone())
        .unwrap_or_default()
}

fn restored(recovery: &Recovery, done: Restored, now: crate::domain::Timestamp) -> RecoveryRecord {
    let wrong = done.findings.iter().filter(|finding| !finding.ok).count() + done.errors.len();
    let outcome = if wrong == 0 {
        Outcome::Succeeded
    } else {
        Outcome::Partial
    };
    let error = (wrong > 0).then(|| Failure {
        message: done
            .errors
            .first()
            .cloned()
            .unwrap_or_else(|| format!("{wrong} things are not as they should be")),
        hint: Some("its findings name them".to_owned()),
        retryable: true,
    });
    let place = match &recovery.request.target {
        RecoveryTarget::Directory { path, .. } => Some(path.clone()),
        _ => None,
    };
    let not_restored = done.errors.into_iter().map(|detail| crate::domain::recovery::Finding {
        what: "not restored".to_owned(),
        ok: false,
        detail,
    });
    let left = done.left.zip(place).map(|(seen, directory)| LeftServer {
        directory,
        seen,
        since: now,
        by: recovery.requested_by.clone(),
        steps: Vec::new(),
    });
    let mut findings = done.findings;
    findings.extend(not_restored);
    findings.truncate(FINDINGS_KEPT);
    RecoveryRecord {
        written: done.written,
        replayed: done.replayed,
        items: done.items,
        phases: done.phases,
        evidence: (outcome == Outcome::Succeeded).then_some(EvidenceLevel::Restored),
        left,
        findings,
        ..ended_recovery(recovery, outcome, error, now)
    }
}

fn verified(recovery: &Recovery, done: &Verified, now: crate::domain::Timestamp) -> RecoveryRecord {
    let error = done.failure().map(|failure| Failure {
        message: format!("not {}: {}", failure.level, failure.message),
        hint: Some("take a new backup now; then find the cause with: lifeboat repo check --read-data".to_owned()),
        retryable: false,
    });
    let outcome = if error.is_none() {
        Outcome::Succeeded
    } else {
        Outcome::Failed
    };
    RecoveryRecord {
        written: done.written,
        replayed: done.replayed,
        items: done.items,
        phases: done.phases.clone(),
        evidence: done.level(),
        findings: done.findings().take(FINDINGS_KEPT).cloned().collect(),
        ..ended_recovery(recovery, outcome, error, now)
    }
}

/// Removes what agents that died left behind.
pub(super) async fn reap(worker: &Worker, definitions: Arc<Definitions>) {
    let claims = Claims::of(&worker.state_dir);
    // What cannot be swept now is swept by the next agent.
    let _ = tokio::task::spawn_blocking(move || claims.sweep()).await;
    let mut sources = Vec::new();
    for source in definitions.sources.values() {
        if let Ok(secrets) = super::secrets::of_source(source).await {
            sources.push((source.clone(), secrets));
        }
    }
    for found in source::reap_leftovers(&sources, &worker.scratch_dir(), &worker.host, &worker.clock).await {
        match found {
            Ok(name) => tracing::info!("removed {name}, which an earlier agent left behind"),
            Err(error) => tracing::warn!("leftovers could not be looked for: {error}"),
        }
    }
}
