//! Backup: from files and streams to a snapshot.
//!
//! ```text
//! scan (pool) ─▶ drive (1) ─▶ read + chunk (2) ─▶ CPU pool: hash → claim → compress → encrypt ─▶ pack ─▶ uploads
//!                  │                                          │
//!                  └──────────── tree builder (1) ◀───────────┘   then: index ─▶ snapshot
//! ```
//!
//! **Memory.** A buffer carries a permit of the byte budget from the reader until its bytes are in a pack; packs are
//! bounded by number. Nothing else grows with the data.
//!
//! **Claims.** The first worker that sees a blob claims it; everybody else only refers to it, so each blob is compressed
//! and stored once, also within one backup.
//!
//! **Commit.** All packs, then the index files, then the snapshot. What fails or is cancelled before that leaves data
//! that no snapshot names; what was already stored is indexed on the way, so the next backup finds it.
//!
//! **Sources that misbehave.** A file that cannot be read, that vanishes or that changes its size while it is read is
//! listed in [`BackupResult::errors`]; the backup goes on and is Partial. It never fails for one file, and never hides one.

pub mod stream;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::Repository;
use super::error::RepoError;
use super::progress::Progress;
use super::snapshot::SnapshotInfo;

/// With which snapshot a backup is compared, so that unchanged files need not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Parent {
    /// The newest snapshot of the same host and paths.
    #[default]
    Auto,
    /// None: every file is read.
    None,
    /// This one, by id or prefix.
    Id(String),
}

/// How hard to compress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// zstd level 3, and not at all where a sample shows that it does not pay.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// zstd level 12.
    Max,
}

/// What to back up and how.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// Files and directories.
    pub paths: Vec<PathBuf>,
    /// Patterns of what to leave out, in gitignore syntax.
    pub excludes: Vec<String>,
    /// Do not enter other file systems.
    pub one_file_system: bool,
    /// Labels of the snapshot.
    pub tags: Vec<String>,
    /// A comment of the operator.
    pub comment: Option<String>,
    /// The host to record; this machine when `None`.
    pub hostname: Option<String>,
    /// What to compare with.
    pub parent: Parent,
    /// How hard to compress.
    pub compression: Compression,
    /// What `lifeboat.json` at the root of the tree says; not written when empty.
    pub description: serde_json::Map<String, serde_json::Value>,
    /// How many bytes of file content may be in memory at once.
    pub memory_budget_bytes: u64,
    /// How many threads hash, compress and encrypt; as many as there are cores when `None`.
    pub cpu_threads: Option<usize>,
    /// How large packs become.
    pub pack_bytes: usize,
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            excludes: Vec::new(),
            one_file_system: false,
            tags: Vec::new(),
            comment: None,
            hostname: None,
            parent: Parent::Auto,
            compression: Compression::Auto,
            description: serde_json::Map::new(),
            memory_budget_bytes: 64 << 20,
            cpu_threads: None,
            pack_bytes: 16 << 20,
        }
    }
}

/// What a backup did, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupStats {
    /// Files that the parent did not have.
    pub files_new: u64,
    /// Files that differ from the parent's.
    pub files_changed: u64,
    /// Files that were not read again.
    pub files_unmodified: u64,
    /// Directories that the parent did not have.
    pub dirs_new: u64,
    /// Directories that differ.
    pub dirs_changed: u64,
    /// Directories that are the same.
    pub dirs_unmodified: u64,
    /// Files in the snapshot.
    pub files_total: u64,
    /// Bytes in the snapshot.
    pub bytes_total: u64,
    /// Bytes read from the source.
    pub bytes_read: u64,
    /// Plain bytes of new blobs.
    pub bytes_added: u64,
    /// Stored bytes of new blobs.
    pub bytes_stored: u64,
    /// New data blobs.
    pub data_blobs: u64,
    /// New tree blobs.
    pub tree_blobs: u64,
    /// How long it took.
    pub duration: Duration,
}

/// One item that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemError {
    /// Which.
    pub path: String,
    /// Why.
    pub message: String,
}

/// A finished backup; with errors it is Partial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupResult {
    /// The snapshot that was committed.
    pub snapshot: SnapshotInfo,
    /// What it did.
    pub stats: BackupStats,
    /// What could not be backed up.
    pub errors: Vec<ItemError>,
}

impl Repository {
    /// Backs up files and directories.
    pub async fn backup(
        &self,
        options: BackupOptions,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<BackupResult, RepoError> {
        let _ = (options, progress, cancel);
        Err(RepoError::internal("not built yet"))
    }
}
