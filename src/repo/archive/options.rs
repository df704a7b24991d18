//! What a backup is asked for, and what it says it did.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::blocks::FixedBlocks;
use crate::repo::snapshot::SnapshotInfo;

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
    /// Look for packs that an interrupted backup stored and no index names. Done in any case where such a backup left its
    /// lock; asking for it costs a listing of all packs.
    pub adopt: bool,
    /// Files that are cut into blocks of one size; none by default.
    pub fixed_blocks: Option<FixedBlocks>,
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
            memory_budget_bytes: 32 << 20,
            cpu_threads: None,
            pack_bytes: 16 << 20,
            adopt: false,
            fixed_blocks: None,
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
    /// Files of the parent that are not there any more, under the name they had.
    pub files_removed: u64,
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
