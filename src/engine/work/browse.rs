//! Looking into repositories and snapshots.

use std::collections::BTreeSet;

use tokio::io::AsyncReadExt;

use super::failure::of_repo;
use super::found;
use crate::domain::id::SnapshotId;
use crate::domain::job::RepositoryDefinition;
use crate::domain::run::Failure;
use crate::domain::units::Bytes;
use crate::domain::view::TreeEntryView;
use crate::engine::hands::{Known, Listing};
use crate::repo::lsmode::mode_text;
use crate::repo::{Repository, TreeEntry};

/// Lists a repository and looks at what is not known yet.
pub(super) async fn list(
    definition: &RepositoryDefinition,
    repo: &Repository,
    known: &Known,
) -> Result<Listing, Failure> {
    let name = &definition.name;
    // The trash before the snapshots: what is forgotten between the two looks is seen in both, and not gone.
    let trash = names(repo, "trash/").await?;
    let held = names(repo, "snapshots/").await?;
    let changes = super::keep::changes(definition, repo, known, &held, &trash).await?;
    let mut appeared = Vec::new();
    for id in held.difference(&known.listed) {
        match repo.snapshot(id.as_str()).await {
            Ok(info) => appeared.push(found::record(name, repo, &info).await),
            // One damaged snapshot must not hide the others; `repo check` names it.
            Err(error) => tracing::warn!("snapshot {} of repository {name} cannot be read: {error}", id.short()),
        }
    }
    // Not knowing it keeps nobody from the snapshots.
    let room = repo.store().room().await.unwrap_or_else(|error| {
        tracing::warn!("nobody can say how much room repository {name} has: {error}");
        None
    });
    Ok(Listing {
        held,
        appeared,
        changes,
        room,
    })
}

/// The names of the objects in a folder of a repository.
pub(super) async fn names(repo: &Repository, folder: &str) -> Result<BTreeSet<SnapshotId>, Failure> {
    let objects = repo
        .store()
        .list(folder)
        .await
        .map_err(|error| of_repo(&error.into()))?;
    let names = objects.iter().filter_map(|object| object.key.rsplit('/').next());
    Ok(names.map(|name| SnapshotId(name.to_owned())).collect())
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
