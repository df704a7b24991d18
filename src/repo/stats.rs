//! How much a repository holds.

use serde::{Deserialize, Serialize};

use super::Repository;
use super::error::RepoError;

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
}

impl Repository {
    /// Measures the repository: one listing and the index.
    pub async fn stats(&self) -> Result<RepoStats, RepoError> {
        let index = self.load_index().await?;
        let objects = self.retry(None, || self.store().list("")).await?;
        let count = |prefix: &str| objects.iter().filter(|object| object.key.starts_with(prefix)).count() as u64;
        Ok(RepoStats {
            snapshots: count("snapshots/"),
            packs: count("data/"),
            blobs: index.len() as u64,
            bytes_stored: objects.iter().map(|object| object.size).sum(),
            bytes_plain: index.iter().map(|(_, _, at)| at.plain_length()).sum(),
        })
    }
}
