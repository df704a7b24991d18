//! Recoveries planned: what one would do, said before anything is done, and bound by its digest to what was shown.

use sha2::{Digest, Sha256};

use super::Worker;
use super::claim::{Claims, Place, going_on};
use super::failure::of_source;
use super::recover::open;
use crate::domain::gauge;
use crate::domain::job::Definitions;
use crate::domain::pitr::Target;
use crate::domain::recovery::{RecoveryPlan, RecoveryRequest, RecoveryTarget};
use crate::domain::run::Failure;
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::state::SourceFacts;
use crate::repo::Progress;
use crate::source::{self, PlanParts};

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
    let place = looked(worker, &request).await?;
    let target = match place {
        Place::Ours => going_on(&request.target),
        _ => request.target.clone(),
    };
    let mut parts = source::plan(&opened.subject, &target, &work)
        .await
        .map_err(|error| of_source(&error))?;
    match place {
        Place::Unclaimed => {}
        Place::Ours => parts
            .warnings
            .push("the beginning of this very restore is there already, and it is gone on with".to_owned()),
        Place::Taken(why) => parts.blockers.push(format!(
            "{why} ({})",
            why.hint.as_deref().unwrap_or("choose another place")
        )),
    }
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

/// What is in the place it is to go, off the runtime.
pub(super) async fn looked(worker: &Worker, request: &RecoveryRequest) -> Result<Place, Failure> {
    let (claims, request) = (Claims::of(&worker.state_dir), request.clone());
    let looking = tokio::task::spawn_blocking(move || claims.look(&request));
    looking
        .await
        .map_err(|_| Failure::transient("the agent is ending before it could look at the directory"))
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
