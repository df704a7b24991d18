//! How to prune, and what a prune did.

use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};

/// How to prune.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct PruneOptions {
    /// How much unneeded data may stay in packs that are partly needed, in percent of what is needed.
    pub max_unused_percent: f64,
    /// At most so many bytes of packs are repacked; what is left over waits for the next prune.
    pub max_repack_bytes: Option<u64>,
    /// Whether many small packs are put together.
    pub repack_small: bool,
    /// How long a forgotten snapshot stays in the trash.
    pub trash_period: Duration,
    /// How long a pack must have been found unneeded before it is deleted; zero deletes at once, as restic does.
    pub grace: Duration,
    /// How many snapshots are known to have vanished without the trash; lets a refused prune go on.
    pub accept_missing: Option<u64>,
    /// More than half of the data may go although the snapshots did not become that many fewer.
    pub accept_shrink: bool,
    /// How large new packs become.
    pub pack_bytes: usize,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            max_unused_percent: 5.0,
            max_repack_bytes: None,
            repack_small: true,
            trash_period: Duration::from_hours(7 * 24),
            grace: Duration::from_hours(24),
            accept_missing: None,
            accept_shrink: false,
            pack_bytes: 16 << 20,
        }
    }
}

/// What a prune did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneReport {
    /// Nothing was changed: this is what would be done.
    pub dry_run: bool,
    /// Listed snapshots.
    pub snapshots: u64,
    /// Snapshots that stay in the trash.
    pub trash_kept: u64,
    /// Snapshots whose time in the trash is over.
    pub trash_expired: Vec<String>,
    /// Snapshots in the trash of which another program has removed something; they cannot come back.
    pub trash_broken: Vec<String>,
    /// Packs before.
    pub packs_before: u64,
    /// Their bytes.
    pub bytes_before: u64,
    /// Packs that are repacked.
    pub packs_repacked: u64,
    /// Bytes of new packs written for them; before it is done, the bytes of the packs to read.
    pub bytes_repacked: u64,
    /// Packs found unneeded for the first time.
    pub packs_marked: u64,
    /// Packs that were marked and are needed again.
    pub packs_rescued: u64,
    /// Packs that were in no index: left by backups that did not end.
    pub orphans: u64,
    /// Packs deleted.
    pub packs_deleted: u64,
    /// Their bytes.
    pub bytes_deleted: u64,
    /// Packs that are unneeded and wait for the end of their grace period.
    pub packs_waiting: u64,
    /// Their bytes.
    pub bytes_waiting: u64,
    /// When the first of them is ripe.
    pub next_ripe_at: Option<DateTime<FixedOffset>>,
    /// Objects that the store protects; they stay and are tried again.
    pub locked: u64,
    /// Unneeded bytes that stay in packs that are needed.
    pub bytes_unused_left: u64,
    /// Why ripe packs were not deleted this time.
    pub postponed: Option<String>,
}
