//! Snapshots found in a repository: what can be said of them without having made them.

use crate::domain::anomaly::Changes;
use crate::domain::command::written_evidence;
use crate::domain::id::{RepositoryName, SnapshotId};
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::units::{Bytes, Millis};
use crate::repo::{Repository, SnapshotInfo};
use crate::source::{Manifest, label};

/// The record of a snapshot that is in a repository but not in the journal: made by restic, by hand, or by an agent whose
/// journal is lost. What one of ours says of itself in its manifest is believed; it lies in the encrypted snapshot.
pub(super) async fn record(repository: &RepositoryName, repo: &Repository, info: &SnapshotInfo) -> SnapshotRecord {
    let snapshot = &info.snapshot;
    let summary = snapshot.summary.clone().unwrap_or_default();
    let tags = &snapshot.tags;
    let named = |key: &str| label(tags, key).map(str::to_owned);
    let id = SnapshotId(info.id.clone());
    let ours = tags.iter().any(|tag| tag == "lifeboat");
    let manifest = if ours {
        Manifest::read(repo, &id).await.ok().flatten()
    } else {
        None
    };
    let began = snapshot.time.to_utc();
    let committed_at = began.max(summary.backup_end.to_utc());
    SnapshotRecord {
        repository: repository.clone(),
        source: named("source").map(Into::into),
        job: named("job").map(Into::into),
        run: named("run").map(Into::into),
        kind: named("kind").unwrap_or_else(|| "files".to_owned()),
        taken_at: manifest.as_ref().map_or(began, |manifest| manifest.taken_at),
        committed_at,
        host: snapshot.hostname.clone(),
        paths: snapshot.paths.clone(),
        tags: tags.clone(),
        comment: snapshot.description.clone(),
        size: Bytes(summary.total_bytes_processed),
        added: Bytes(summary.data_added_packed),
        files: summary.total_files_processed,
        changes: snapshot.summary.as_ref().map(|summary| Changes {
            new: Bytes(summary.data_added),
            files_new: summary.files_new,
            files_changed: summary.files_changed,
            files_removed: 0,
        }),
        duration: Millis::between(began, committed_at),
        // Only the run that made it knew whether something could not be read; it says so with this label.
        partial: tags.iter().any(|tag| tag == "partial"),
        errors: 0,
        cluster: manifest
            .as_ref()
            .and_then(|manifest| manifest.cluster.as_ref())
            .map(crate::source::ClusterManifest::facts),
        database: manifest
            .and_then(|manifest| manifest.database)
            .map(|database| database.facts),
        evidence: written_evidence(committed_at),
        vanished_at: None,
        pinned: None,
        forgotten: None,
        replaced_by: None,
        expiry: None,
        id,
    }
}
