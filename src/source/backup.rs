//! A source into a snapshot, and the record of it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Secrets, SourceError, Work, files, postgres};
use crate::clock::Clock;
use crate::domain::anomaly::Changes;
use crate::domain::command::written_evidence;
use crate::domain::id::{JobName, RepositoryName, RunId, SnapshotId};
use crate::domain::run::RunStats;
use crate::domain::snapshot::{ClusterFacts, DatabaseFacts, SnapshotRecord};
use crate::domain::source::{Source, SourceKind};
use crate::domain::units::{Bytes, Millis, Timestamp};
use crate::repo::{BackupResult, Progress, Repository};

/// How many things that could not be read are kept by name.
const ERRORS_KEPT: usize = 50;

/// On whose behalf a backup is made.
#[derive(Debug, Clone)]
pub struct BackupJob {
    /// The job.
    pub job: JobName,
    /// The run.
    pub run: RunId,
    /// The repository's name, for the record.
    pub repository: RepositoryName,
    /// The job's own labels.
    pub tags: Vec<String>,
    /// A person's remark.
    pub comment: Option<String>,
    /// This machine.
    pub host: String,
    /// How much of the data may be in memory at once.
    pub memory_budget: Bytes,
    /// When the attempt began.
    pub started_at: Timestamp,
}

/// A committed snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUp {
    /// What history keeps of it.
    pub snapshot: SnapshotRecord,
    /// What the run did.
    pub stats: RunStats,
    /// The first things that could not be read; then the snapshot is partial.
    pub item_errors: Vec<String>,
    /// What should be known of a snapshot that is complete.
    pub warning: Option<String>,
}

/// What a kind of source hands back.
pub(super) struct Finished {
    pub(super) result: BackupResult,
    pub(super) taken_at: Timestamp,
    pub(super) database: Option<DatabaseFacts>,
    pub(super) cluster: Option<ClusterFacts>,
    pub(super) errors: Vec<String>,
    /// What should be known of a snapshot that is complete.
    pub(super) warning: Option<String>,
}

/// Backs a source up into a new snapshot. When it returns an error, no snapshot was committed.
pub async fn back_up(
    source: &Source,
    secrets: &Secrets,
    repo: &Repository,
    job: BackupJob,
    clock: &Clock,
    progress: Arc<Progress>,
    cancel: CancellationToken,
) -> Result<BackedUp, SourceError> {
    let began = clock.monotonic();
    let work = Work {
        repo,
        clock,
        progress,
        cancel,
        reached: &|_| {},
    };
    let finished = match &source.kind {
        SourceKind::Files(paths) => files::back_up(source, paths, &job, &work).await?,
        SourceKind::PostgresDump(database) => {
            let login = postgres::Login::new(database.connection.clone(), secrets.source.clone());
            Box::pin(postgres::back_up(source, database, &login, &job, &work)).await?
        }
        SourceKind::PostgresPhysical(cluster) => {
            Box::pin(postgres::physical::back_up(source, cluster, secrets, &job, &work)).await?
        }
    };
    Ok(record(source, job, finished, clock, Millis::from(clock.elapsed(began))))
}

fn record(source: &Source, job: BackupJob, finished: Finished, clock: &Clock, duration: Millis) -> BackedUp {
    let Finished {
        result,
        taken_at,
        database,
        cluster,
        errors,
        warning,
    } = finished;
    let BackupResult {
        snapshot,
        stats,
        errors: items,
    } = result;
    let count = (items.len() + errors.len()) as u64;
    let items = items.into_iter().map(|item| format!("{}: {}", item.path, item.message));
    let item_errors: Vec<String> = errors.into_iter().chain(items).take(ERRORS_KEPT).collect();
    let committed_at = clock.now();
    BackedUp {
        stats: RunStats {
            files: stats.files_total,
            files_changed: stats.files_new + stats.files_changed,
            size: Bytes(stats.bytes_total),
            read: Bytes(stats.bytes_read),
            added: Bytes(stats.bytes_stored),
            errors: count,
        },
        snapshot: SnapshotRecord {
            id: SnapshotId(snapshot.id),
            repository: job.repository,
            source: Some(source.name.clone()),
            job: Some(job.job),
            run: Some(job.run),
            kind: source.kind.word().to_owned(),
            taken_at,
            committed_at,
            host: job.host,
            paths: snapshot.snapshot.paths,
            tags: snapshot.snapshot.tags,
            comment: job.comment,
            size: Bytes(stats.bytes_total),
            added: Bytes(stats.bytes_stored),
            files: stats.files_total,
            changes: Some(Changes {
                new: Bytes(stats.bytes_added),
                files_new: stats.files_new,
                files_changed: stats.files_changed,
                files_removed: stats.files_removed,
            }),
            duration,
            partial: count > 0,
            errors: count,
            database,
            evidence: written_evidence(committed_at),
            cluster,
            vanished_at: None,
            pinned: None,
            forgotten: None,
            replaced_by: None,
            expiry: None,
        },
        item_errors,
        warning,
    }
}
