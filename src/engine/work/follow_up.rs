//! Recovered servers: what somebody said becomes of one, carried out; how one stands; and named places in the log of another.

use tokio_util::sync::CancellationToken;

use super::Worker;
use super::failure::{of_cluster, of_recovery};
use crate::domain::cluster::Cluster;
use crate::domain::follow_up::{FollowUp, FollowUpResult, ServerSeen, Waiting};
use crate::domain::id::MemberName;
use crate::domain::job::Definitions;
use crate::domain::run::{Failure, Outcome};
use crate::domain::source::{PhysicalSource, SourceKind};
use crate::domain::wal::Lsn;
use crate::engine::hands;
use crate::repo::Progress;
use crate::repo::rate::sampler;
use crate::source;
use crate::source::postgres::cluster::ClusterHandle;
use crate::source::postgres::recovery::{RecoveryError, left, order};

/// Carries out what somebody said, and says how the server stands then, also when that failed.
pub(super) async fn follow_up(worker: &Worker, work: hands::Work, waiting: Waiting) -> FollowUpResult {
    let done = act(worker, &work, &waiting).await;
    let (outcome, error) = match done {
        Ok(seen) => {
            return FollowUpResult {
                outcome: Outcome::Succeeded,
                error: None,
                seen: Some(seen),
            };
        }
        // Nothing was done to it by us, and what somebody else does to it is seen when that has ended.
        Err(Stopped::Held(failure)) => {
            return FollowUpResult {
                outcome: Outcome::Failed,
                error: Some(failure),
                seen: Some(waiting.server.seen),
            };
        }
        Err(Stopped::Failed(failure)) if work.cancel.is_cancelled() => (Outcome::Cancelled, failure),
        Err(Stopped::Failed(failure)) => (Outcome::Failed, failure),
    };
    let stands = left::settle(&waiting.server, removes(&waiting), &worker.clock).await;
    if let Err(error) = &stands {
        tracing::warn!("how the server of {} stands is not known: {error}", waiting.recovery);
    }
    FollowUpResult {
        outcome,
        error: Some(error),
        seen: stands.ok(),
    }
}

/// Why a follow-up did not come to a good end.
enum Stopped {
    /// Somebody else acts on the server.
    Held(Failure),
    /// It may have been begun.
    Failed(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<RecoveryError> for Stopped {
    fn from(error: RecoveryError) -> Self {
        match &error {
            RecoveryError::Held { .. } => Self::Held(of_recovery(&error)),
            _ => Self::Failed(of_recovery(&error)),
        }
    }
}

async fn act(worker: &Worker, work: &hands::Work, waiting: &Waiting) -> Result<ServerSeen, Stopped> {
    let Some(live) = &waiting.follow_up else {
        return Err(Failure::permanent(
            "nobody said what becomes of it",
            "see what waits: lifeboat recovery waiting",
        )
        .into());
    };
    if live.what == FollowUp::Discard {
        return Ok(left::discard(&waiting.server, &worker.clock).await?);
    }
    let definitions = &work.definitions;
    let repo = worker
        .repositories
        .get(
            super::recover::repository(definitions, &waiting.repository)?,
            &worker.clock,
        )
        .await?;
    let progress = Progress::new();
    let _ = work.progress.set(sampler(progress.clone(), worker.clock.clone()));
    let source_work = source::Work {
        repo: &repo,
        clock: &worker.clock,
        progress,
        cancel: work.cancel.clone(),
        reached: &|_| {},
    };
    let settings = cluster_of(definitions, waiting);
    let roles = order::roles(None, settings.map(|settings| settings.connection.user.as_str()));
    let bin_dir = settings.and_then(|settings| settings.connection.bin_dir.clone());
    Ok(left::follow_up(&waiting.server, &live.what, roles, bin_dir, &source_work).await?)
}

/// Whether it was to be thrown away.
fn removes(waiting: &Waiting) -> bool {
    let live = waiting.follow_up.as_ref();
    live.is_some_and(|live| live.what == FollowUp::Discard)
}

/// The source as it is configured now.
fn cluster_of<'a>(definitions: &'a Definitions, waiting: &Waiting) -> Option<&'a PhysicalSource> {
    let source = definitions.sources.get(waiting.source.as_ref()?)?;
    match &source.kind {
        SourceKind::PostgresPhysical(cluster) => Some(cluster),
        _ => None,
    }
}

/// Looks at a server that waits; finds out what became of a follow-up that is in doubt.
pub(super) async fn look(worker: &Worker, waiting: Waiting) -> Result<Option<ServerSeen>, Failure> {
    let seen = if waiting.is_in_doubt() {
        left::settle(&waiting.server, removes(&waiting), &worker.clock)
            .await
            .map(Some)
    } else {
        left::look_at(&waiting.server).await
    };
    match seen {
        // It is looked at again when whoever acts on it has ended.
        Err(RecoveryError::Held { .. }) => Ok(None),
        seen => seen.map_err(|error| of_recovery(&error)),
    }
}

/// Has the primary of a cluster name the present place in its log.
pub(super) async fn restore_point(
    worker: &Worker,
    cluster: Cluster,
    name: String,
    by: String,
) -> Result<(MemberName, Lsn), Failure> {
    let (clock, cancel) = (worker.clock.clone(), CancellationToken::new());
    let handle = ClusterHandle::reach(cluster, &worker.state_dir, by, clock, cancel).await;
    let made = handle.restore_point(&name).await;
    made.map_err(|error| of_cluster(&error))
}
