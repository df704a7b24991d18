//! What a repository holds, held against what the journal knows.

use std::collections::BTreeSet;

use super::failure;
use super::hands::{Hands, Known, Listing};
use crate::domain::command::Observation;
use crate::domain::id::{RepositoryName, SnapshotId};
use crate::domain::job::RepositoryDefinition;
use crate::domain::maintenance::SnapshotChange;
use crate::domain::run::Failure;
use crate::journal::Journal;

/// Lists a repository and says what appeared and what vanished.
///
/// The journal is read first: a snapshot that a backup commits between the two looks is then at worst reported as new,
/// which changes nothing, and never as gone.
///
/// # Errors
/// When the repository cannot be opened or its listing is not whole; an unreadable listing is never an empty one.
pub(super) async fn look(
    hands: &dyn Hands,
    journal: &Journal,
    name: &RepositoryName,
    repository: RepositoryDefinition,
) -> Result<(Listing, Observation), Failure> {
    let ids = journal.snapshot_ids(name).await;
    let listed: BTreeSet<SnapshotId> = ids.map_err(|error| failure::of_journal(&error))?.into_iter().collect();
    let marked = journal.marked_ids(name).await;
    let (trashed, pinned) = marked.map_err(|error| failure::of_journal(&error))?;
    let known = Known {
        listed,
        trashed: trashed.into_iter().collect(),
        pinned: pinned.into_iter().collect(),
    };
    let listing = hands.list(repository, known.clone()).await?;
    // What somebody forgot beside the agent did not vanish: it can be brought back.
    let forgotten = |id: &SnapshotId| {
        let is_it =
            |change: &SnapshotChange| matches!(change, SnapshotChange::Forgotten { snapshot, .. } if snapshot == id);
        listing.changes.iter().any(is_it)
    };
    let gone = known.listed.difference(&listing.held);
    let observation = Observation::RepositoryListed {
        repository: name.clone(),
        appeared: listing.appeared.clone(),
        vanished: gone.filter(|id| !forgotten(id)).cloned().collect(),
        changes: listing.changes.clone(),
    };
    Ok((listing, observation))
}
