//! How much a repository holds.

use serde::{Deserialize, Serialize};

use super::Repository;
use super::error::RepoError;
use crate::domain::capacity::Room;

/// The size of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoStats {
    /// How many snapshots there are.
    pub snapshots: u64,
    /// How many packs.
    pub packs: u64,
    /// How many blobs.
    pub blobs: u64,
    /// Bytes in the store, all kinds of files.
    pub bytes_stored: u64,
    /// Bytes of the blobs before compression.
    pub bytes_plain: u64,
    /// What is in its place and not its own, the largest first; at most [`FOREIGN_NAMED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign: Vec<Foreign>,
    /// How many bytes that is in all.
    #[serde(default)]
    pub bytes_foreign: u64,
    /// How much room there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Room>,
}

/// Something in the place of a repository that is not its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    /// What it is called there.
    pub name: String,
    /// How large it is.
    pub bytes: u64,
}

/// So many of those are named.
pub const FOREIGN_NAMED: usize = 5;

/// Where a repository keeps what it has: restic's folders, and ours.
const OWN: [&str; 9] = [
    "data/",
    "index/",
    "keys/",
    "locks/",
    "snapshots/",
    "wal/",
    "trash/",
    "pins/",
    "marks/",
];

impl Repository {
    /// Measures the repository: one listing and the index.
    pub async fn stats(&self) -> Result<RepoStats, RepoError> {
        let index = self.load_index().await?;
        let objects = self.retry(None, || self.store().list("")).await?;
        let count = |prefix: &str| objects.iter().filter(|object| object.key.starts_with(prefix)).count() as u64;
        let own = |key: &str| key == "config" || OWN.iter().any(|folder| key.starts_with(folder));
        let foreign = objects.iter().filter(|object| !own(&object.key));
        let mut foreign: Vec<Foreign> = foreign
            .map(|object| Foreign {
                name: object.key.clone(),
                bytes: object.size,
            })
            .collect();
        let bytes_foreign = foreign.iter().map(|one| one.bytes).sum();
        foreign.sort_by_key(|one| std::cmp::Reverse(one.bytes));
        foreign.truncate(FOREIGN_NAMED);
        let room = self.store().room().await?;
        Ok(RepoStats {
            foreign,
            bytes_foreign,
            room,
            snapshots: count("snapshots/"),
            packs: count("data/"),
            blobs: index.len() as u64,
            bytes_stored: objects.iter().map(|object| object.size).sum(),
            bytes_plain: index.iter().map(|(_, _, at)| at.plain_length()).sum(),
        })
    }
}
