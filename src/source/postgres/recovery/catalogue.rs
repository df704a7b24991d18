//! What there is to recover from: the base backups of a repository, and the archive of a cluster's log.
//!
//! Both lists are whole or an error; a snapshot whose own file cannot be read is told, because it may be the one that is
//! needed. That a history file cannot be read is an error: the way through the timelines would be another.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt};

use crate::domain::id::{SnapshotId, SourceName};
use crate::domain::pitr::{Base, Log};
use crate::domain::source::POSTGRES_PHYSICAL;
use crate::domain::wal::{Continuity, History, SegmentName, SystemId, TimelineId, WalName};
use crate::repo::{Repository, SnapshotInfo};
use crate::source::postgres::wal::{Entry, WalArchive, WalError};
use crate::source::{Manifest, SourceError, label};

/// How many manifests are read at a time.
const AT_ONCE: usize = 8;
/// The word of the kind of snapshot that holds a cluster.
const KIND: &str = POSTGRES_PHYSICAL;

/// The base backups in a repository.
#[derive(Debug, Clone, Default)]
pub struct Bases {
    /// Those that can be used, oldest first.
    pub found: Vec<Base>,
    /// Snapshots that cannot be read, and why.
    pub unreadable: Vec<String>,
}

/// Finds the base backups of a source, or of a cluster, or all there are.
pub async fn bases(
    repo: &Repository,
    source: Option<&SourceName>,
    system: Option<SystemId>,
) -> Result<Bases, SourceError> {
    let (good, damaged) = repo.snapshots_lossy().await?;
    let mut unreadable: Vec<String> = damaged
        .into_iter()
        .map(|(id, error)| format!("snapshot {}: {error}", id.chars().take(8).collect::<String>()))
        .collect();
    let mut found = Vec::new();
    of_snapshots(repo, good, source, system, &mut found, &mut unreadable).await?;
    found.sort_by_key(|base| (base.facts.stopped_at, base.facts.stop_lsn));
    Ok(Bases { found, unreadable })
}

/// Finds every base backup of a cluster that somebody may still want: those in the trash, too.
pub async fn bases_ever(repo: &Repository, system: SystemId) -> Result<Bases, SourceError> {
    let mut all = bases(repo, None, Some(system)).await?;
    let trash = repo.trash().await?.into_iter().map(|trashed| SnapshotInfo {
        id: trashed.id,
        snapshot: trashed.snapshot,
    });
    of_snapshots(
        repo,
        trash.collect(),
        None,
        Some(system),
        &mut all.found,
        &mut all.unreadable,
    )
    .await?;
    Ok(all)
}

async fn of_snapshots(
    repo: &Repository,
    snapshots: Vec<SnapshotInfo>,
    source: Option<&SourceName>,
    system: Option<SystemId>,
    found: &mut Vec<Base>,
    unreadable: &mut Vec<String>,
) -> Result<(), SourceError> {
    let wanted = snapshots.into_iter().filter(|info| {
        let tags = &info.snapshot.tags;
        let of_source = |name: &SourceName| label(tags, "source") == Some(name.as_str());
        label(tags, "kind") == Some(KIND) && source.is_none_or(of_source)
    });
    let read = futures_util::stream::iter(wanted)
        .map(|info| async move {
            let manifest = Manifest::read_of(repo, &info).await;
            (manifest, SnapshotId(info.id))
        })
        .buffered(AT_ONCE);
    let mut read = std::pin::pin!(read);
    while let Some((manifest, id)) = read.next().await {
        match manifest {
            Ok(manifest) => {
                let Some(cluster) = manifest.and_then(|manifest| manifest.cluster) else {
                    continue;
                };
                if system.is_none_or(|system| cluster.system == system) {
                    let facts = cluster.facts();
                    let size = cluster.size;
                    found.push(Base { id, facts, size });
                }
            }
            Err(SourceError::Repo(error)) if error.retryable() => return Err(error.into()),
            Err(error) => unreadable.push(error.to_string()),
        }
    }
    Ok(())
}

/// Lists what an archive holds of a cluster's log.
pub async fn log(archive: &WalArchive) -> Result<Log, WalError> {
    let listed = archive.list().await?;
    let size = archive.segment_size().await?.unwrap_or_default();
    let timelines: Vec<TimelineId> = listed
        .iter()
        .filter_map(|listed| match listed.entry {
            Entry::File(WalName::History(timeline)) => Some(timeline),
            _ => None,
        })
        .collect();
    let histories = futures_util::stream::iter(timelines).map(|timeline| archive.history(timeline));
    let histories: Vec<Option<History>> = histories.buffered(AT_ONCE).try_collect().await?;
    let histories: Vec<History> = histories.into_iter().flatten().collect();
    let mut growing: BTreeMap<SegmentName, u64> = BTreeMap::new();
    for listed in &listed {
        if let Entry::Growing(name, length) = listed.entry {
            let longest = growing.entry(name).or_default();
            *longest = length.max(*longest);
        }
    }
    let names = listed.iter().filter_map(|listed| match listed.entry {
        Entry::File(name) => Some(name),
        _ => None,
    });
    let continuity = Continuity::of(names, &histories, size);
    growing.retain(|name, _| {
        let line = continuity.timeline(name.timeline);
        let whole = |range: &crate::domain::wal::Range| (range.first..=range.last).contains(name);
        !line.is_some_and(|line| line.ranges.iter().any(whole))
    });
    Ok(Log {
        size,
        continuity,
        histories: histories
            .into_iter()
            .map(|history| (history.timeline, history))
            .collect(),
        growing,
    })
}
