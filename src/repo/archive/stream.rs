//! Backup of streams: a dump, standard input. The bytes never touch the disk of this machine.
//!
//! Dropping a [`StreamSnapshot`] without [`StreamSnapshot::commit`] leaves no snapshot, only data a prune collects.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

use super::{BackupResult, Compression, Parent};
use crate::repo::Repository;
use crate::repo::error::RepoError;
use crate::repo::progress::Progress;

/// How to store streams.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// Labels of the snapshot.
    pub tags: Vec<String>,
    /// A comment of the operator.
    pub comment: Option<String>,
    /// The host to record; this machine when `None`.
    pub hostname: Option<String>,
    /// The paths the snapshot shows, such as `/shop.dump`.
    pub paths: Vec<String>,
    /// Recorded as the snapshot's parent; streams are read whole in any case.
    pub parent: Parent,
    /// How hard to compress.
    pub compression: Compression,
    /// How many bytes of content may be in memory at once.
    pub memory_budget_bytes: u64,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            tags: Vec::new(),
            comment: None,
            hostname: None,
            paths: Vec::new(),
            parent: Parent::None,
            compression: Compression::Auto,
            memory_budget_bytes: 64 << 20,
        }
    }
}

/// What a stream was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamStats {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

/// A snapshot of streams that is being written.
#[derive(Debug)]
pub struct StreamSnapshot {
    repo: Repository,
}

impl Repository {
    /// Begins a snapshot of streams.
    pub async fn begin_stream_snapshot(
        &self,
        options: StreamOptions,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<StreamSnapshot, RepoError> {
        let _ = (options, progress, cancel);
        Ok(StreamSnapshot { repo: self.clone() })
    }
}

impl StreamSnapshot {
    /// Stores a stream to its end as the file `name`.
    pub async fn put_stream<R>(&mut self, name: &str, reader: R) -> Result<StreamStats, RepoError>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let _ = (name, reader, &self.repo);
        Err(RepoError::internal("not built yet"))
    }

    /// Stores some bytes as the file `name`.
    pub async fn put_bytes(&mut self, name: &str, data: &[u8]) -> Result<StreamStats, RepoError> {
        self.put_stream(name, std::io::Cursor::new(data.to_vec())).await
    }

    /// Writes the index and the snapshot.
    pub async fn commit(self) -> Result<BackupResult, RepoError> {
        Err(RepoError::internal("not built yet"))
    }
}
