//! What a repository holds, held against what the journal knows.

use std::collections::BTreeSet;

use super::failure;
use super::hands::{Hands, Listing};
use crate::domain::command::Observation;
use crate::domain::id::{RepositoryName, SnapshotId};
use crate::domain::job::RepositoryDefinition;
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
    let known: BTreeSet<SnapshotId> = journal
        .snapshot_ids(name)
        .await
        .map_err(|error| failure::of_journal(&error))?
        .into_iter()
        .collect();
    let listing = hands.list(repository, known.clone()).await?;
    let observation = Observation::RepositoryListed {
        repository: name.clone(),
        appeared: listing.appeared.clone(),
        vanished: known.difference(&listing.held).cloned().collect(),
    };
    Ok((listing, observation))
}
