//! Recoveries: the plan, the restore, the verification.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Worker;
use super::failure::of_source;
use crate::domain::command::Observation;
use crate::domain::follow_up::LeftServer;
use crate::domain::gauge;
use crate::domain::id::RepositoryName;
use crate::domain::job::{Definitions, RepositoryDefinition, SqlProbe};
use crate::domain::observe::ended_recovery;
use crate::domain::pitr::Target;
use crate::domain::recovery::{Recovery, RecoveryPlan, RecoveryRecord, RecoveryRequest, RecoveryTarget};
use crate::domain::run::{Failure, Outcome};
use crate::domain::snapshot::{EvidenceLevel, SnapshotRecord};
use crate::domain::state::SourceFacts;
use crate::engine::hands;
use crate::repo::rate::sampler;
use crate::repo::{Progress, Repository};
use crate::source::{self, Milestone, PlanParts, Restored, Subject, Verified, VerifyJob};

/// Findings kept in history.
const FINDINGS_KEPT: usize = 500;

struct Opened {
    subject: Subject,
    repo: Repository,
}

/// Opens what a recovery reads from.
async fn open(
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

/// Says what a recovery would do.
pub(super) async fn plan(
    worker: &Worker,
    definitions: &Definitions,
    request: RecoveryRequest,
    snapshot: SnapshotRecord,
    facts: Option<&SourceFacts>,
) -> Result<RecoveryPlan, Failure> {
    let opened = open(worker, definitions, &snapshot, &request).await?;
    let work = source::Work {
        repo: &opened.repo,
        clock: &worker.clock,
        progress: Progress::new(),
        cancel: tokio_util::sync::CancellationToken::new(),
        reached: &|_| {},
    };
    let parts = source::plan(&opened.subject, &request.target, &work)
        .await
        .map_err(|error| of_source(&error))?;
    // The planner may have taken a nearer snapshot; what is confirmed and carried out names it.
    let request = RecoveryRequest {
        snapshot: parts.base.clone().unwrap_or(request.snapshot),
        ..request
    };
    let estimate = gauge::estimate(facts, parts.write, parts.replay);
    let mut plan = RecoveryPlan {
        kind: snapshot.kind.clone(),
        source: snapshot.source.clone(),
        recover_to: match request.instant.as_ref().map(|instant| &instant.to) {
            Some(Target::Time(at)) => *at,
            _ => snapshot.taken_at,
        },
        evidence: snapshot.evidence.level,
        from: format!(
            "repository {} at {}",
            snapshot.repository, opened.subject.repository_url
        ),
        digest: digest(&request, &parts),
        command: command(&request),
        target_identity: parts.target_identity,
        items: parts.items,
        fetch: parts.fetch,
        write: parts.write,
        overwrites: parts.overwrites,
        overwrites_sample: parts.overwrites_sample,
        target_free: parts.target_free,
        estimate: estimate.median,
        estimate_p90: estimate.p90,
        estimate_samples: estimate.samples,
        estimate_phases: estimate.phases,
        replay: parts.replay,
        blockers: parts.blockers,
        warnings: parts.warnings,
        undo: parts.undo,
        restic_command: parts.restic_command,
        request,
    };
    add_warnings(&mut plan, &snapshot);
    Ok(plan)
}

fn add_warnings(plan: &mut RecoveryPlan, snapshot: &SnapshotRecord) {
    if snapshot.partial {
        plan.warnings.push(format!(
            "the snapshot is partial: {} things could not be read for it",
            snapshot.errors
        ));
    }
    if let Some(failure) = &snapshot.evidence.failure {
        plan.warnings.push(format!(
            "the snapshot failed verification ({}): {}",
            failure.level, failure.message
        ));
    }
    if !snapshot.is_there() {
        plan.blockers
            .push("the snapshot is no longer in its repository".to_owned());
    }
}

/// Identifies what was planned: what is restored, where to, and what stands there now.
fn digest(request: &RecoveryRequest, parts: &PlanParts) -> String {
    let bound = (
        &request.snapshot,
        &request.target,
        &request.instant,
        (
            &parts.target_identity,
            parts.overwrites,
            &parts.overwrites_sample,
            &parts.blockers,
        ),
    );
    let text = serde_json::to_vec(&bound).unwrap_or_default();
    hex::encode(&Sha256::digest(text)[..8])
}

/// The same recovery with our own command line.
fn command(request: &RecoveryRequest) -> String {
    let snapshot = request.snapshot.short();
    let quote = source::quote;
    if let (Some(instant), RecoveryTarget::Directory { path, .. }) = (&request.instant, &request.target) {
        let to = match &instant.to {
            Target::Latest => "--latest".to_owned(),
            Target::Immediate => "--immediate".to_owned(),
            Target::Time(at) => format!("--to {}", quote(&at.to_rfc3339())),
            Target::Lsn(lsn) => format!("--to-lsn {lsn}"),
            Target::Xid(xid) => format!("--to-xid {xid}"),
            Target::Name(name) => format!("--to-name {}", quote(name)),
        };
        let then = if instant.open { "--start" } else { "--pause" };
        return format!(
            "lifeboat recover --repository {} --base {snapshot} {to} {then} --target {}",
            request.repository,
            quote(&path.to_string_lossy())
        );
    }
    match &request.target {
        RecoveryTarget::Directory {
            path,
            include,
            subpath,
            delta,
            quick,
            tablespaces,
        } => {
            let mut words = vec!["lifeboat restore".to_owned()];
            words.push(match subpath {
                Some(subpath) => quote(&format!("{snapshot}:{subpath}")),
                None => snapshot.to_owned(),
            });
            words.push(format!("--target {}", quote(&path.to_string_lossy())));
            words.extend(include.iter().map(|pattern| format!("--include {}", quote(pattern))));
            words.extend(delta.then(|| "--delta".to_owned()));
            words.extend((*delta && *quick).then(|| "--quick".to_owned()));
            let mapped = tablespaces.iter();
            words.extend(
                mapped.map(|(old, new)| format!("--tablespace {}", quote(&format!("{old}={}", new.display())))),
            );
            words.join(" ")
        }
        RecoveryTarget::Database { database, how, .. } => {
            let mut words = vec![format!(
                "lifeboat restore {snapshot} --target-database {}",
                quote(database)
            )];
            words.extend(how.options().iter().map(|option| quote(option)));
            words.join(" ")
        }
        RecoveryTarget::Scratch { level } => format!("lifeboat snapshot verify {snapshot} --level {level}"),
    }
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
        source::restore(&opened.subject, target, recovery.id.as_str(), &source_work)
            .await
            .map(Ended::Restored)
    };
    ended.map_err(|error| of_source(&error))
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
