//! Looking into repositories and snapshots.

use std::collections::BTreeSet;
use std::path::Path;

use tokio::io::AsyncReadExt;

use super::failure::of_repo;
use super::found;
use crate::domain::id::{RepositoryName, SnapshotId};
use crate::domain::run::Failure;
use crate::domain::units::Bytes;
use crate::domain::view::TreeEntryView;
use crate::engine::hands::Listing;
use crate::repo::lsmode::mode_text;
use crate::repo::{Repository, TreeEntry};

/// Lists a repository and looks at what is not known yet.
pub(super) async fn list(
    name: &RepositoryName,
    repo: &Repository,
    url: &str,
    known: &BTreeSet<SnapshotId>,
) -> Result<Listing, Failure> {
    let keys = repo
        .store()
        .list("snapshots/")
        .await
        .map_err(|error| of_repo(&error.into()))?;
    let ids = keys.iter().filter_map(|object| object.key.rsplit('/').next());
    let held: BTreeSet<SnapshotId> = ids.map(|id| SnapshotId(id.to_owned())).collect();
    let mut appeared = Vec::new();
    for id in held.difference(known) {
        match repo.snapshot(id.as_str()).await {
            Ok(info) => appeared.push(found::record(name, repo, &info).await),
            // One damaged snapshot must not hide the others; `repo check` names it.
            Err(error) => tracing::warn!("snapshot {} of repository {name} cannot be read: {error}", id.short()),
        }
    }
    Ok(Listing {
        held,
        appeared,
        used_percent: used_percent(url),
    })
}

/// What is used of the file system a local repository is on, in percent.
fn used_percent(url: &str) -> Option<u8> {
    let path = Path::new(url.strip_prefix("file://").unwrap_or(url));
    let stat = rustix::fs::statvfs(path).ok()?;
    let used = stat.f_blocks.saturating_sub(stat.f_bfree);
    let usable = used + stat.f_bavail;
    u8::try_from((used * 100).div_ceil(usable.max(1))).ok()
}

/// The first bytes of a file.
pub(super) async fn content(repo: &Repository, snapshot: &str, path: &str, limit: Bytes) -> Result<Vec<u8>, Failure> {
    let file = repo.open_file(snapshot, path).await.map_err(|error| of_repo(&error))?;
    let mut bytes = Vec::new();
    let read = file.take(limit.0).read_to_end(&mut bytes).await;
    read.map_err(|error| Failure {
        message: format!("{path} cannot be read: {error}"),
        hint: None,
        retryable: true,
    })?;
    Ok(bytes)
}

/// An entry of a directory, as it goes over the wire.
pub(super) fn view(entry: TreeEntry) -> TreeEntryView {
    TreeEntryView {
        mode: mode_text(entry.kind, entry.mode),
        kind: entry.kind.as_str().to_owned(),
        name: entry.name,
        size: Bytes(entry.size),
        modified: Some(entry.mtime),
        link_target: entry.link_target,
    }
}
