//! Maintenance: everything that is done to a repository beside backups and restores, as work that is asked for, begun,
//! ended and kept in history.
//!
//! Intent is durable before anything is touched: a [`Maintenance`] is an event first. What is cheap and may be done twice
//! (forgetting, pinning) begins again after the agent died; what is long (prune, check) ends as interrupted and its
//! schedule decides.

use serde::{Deserialize, Serialize};

use super::id::{JobName, MaintenanceId, RepositoryName, SnapshotId};
use super::run::{Failure, Outcome};
use super::snapshot::SnapshotRecord;
use super::units::{Bytes, Millis, Timestamp};

/// How often work that the agent's end cut off begins again before it is given up.
pub const RESUMED_AT_MOST: u32 = 3;

/// What is done to a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// Snapshots go to the trash.
    Forget {
        snapshots: Vec<SnapshotId>,
        reason: String,
        /// The job whose retention asks for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<JobName>,
    },
    /// A snapshot comes back from the trash.
    Untrash { snapshot: SnapshotId },
    /// A snapshot must not be forgotten.
    Pin {
        snapshot: SnapshotId,
        reason: Option<String>,
    },
    /// It may be again.
    Unpin {
        snapshot: SnapshotId,
        reason: Option<String>,
    },
    /// A snapshot gets other words; its id changes with them.
    Tag {
        snapshot: SnapshotId,
        add: Vec<String>,
        remove: Vec<String>,
    },
    /// What nothing needs any more is removed.
    Prune,
    /// The repository is looked through; `subset` says how much of its data is read: `5%`, `1/7` or `all`.
    Check { subset: Option<String> },
}

impl Task {
    /// The word used on screens, in filters and in `--json`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Forget { .. } => "forget",
            Self::Untrash { .. } => "restore from trash",
            Self::Pin { .. } => "pin",
            Self::Unpin { .. } => "unpin",
            Self::Tag { .. } => "tag",
            Self::Prune => "prune",
            Self::Check { .. } => "check",
        }
    }

    /// What it is done to, in a few words; empty for the whole repository.
    pub fn subject(&self) -> String {
        match self {
            Self::Forget { snapshots, job, .. } => {
                let of = job.as_ref().map_or_else(String::new, |job| format!(" of {job}"));
                match snapshots.as_slice() {
                    [one] => format!("{}{of}", one.short()),
                    many => format!("{} snapshots{of}", many.len()),
                }
            }
            Self::Untrash { snapshot }
            | Self::Pin { snapshot, .. }
            | Self::Unpin { snapshot, .. }
            | Self::Tag { snapshot, .. } => snapshot.short().to_owned(),
            Self::Prune | Self::Check { subset: None } => String::new(),
            Self::Check { subset: Some(subset) } => format!("reading {subset}"),
        }
    }

    /// The snapshots it touches.
    pub fn snapshots(&self) -> &[SnapshotId] {
        match self {
            Self::Forget { snapshots, .. } => snapshots,
            Self::Untrash { snapshot }
            | Self::Pin { snapshot, .. }
            | Self::Unpin { snapshot, .. }
            | Self::Tag { snapshot, .. } => std::slice::from_ref(snapshot),
            Self::Prune | Self::Check { .. } => &[],
        }
    }

    /// Whether doing it twice is doing it once, so that it begins again after the agent died.
    pub const fn is_resumed(&self) -> bool {
        matches!(
            self,
            Self::Forget { .. } | Self::Untrash { .. } | Self::Pin { .. } | Self::Unpin { .. }
        )
    }

    /// Whether it takes the repository for itself.
    pub const fn is_exclusive(&self) -> bool {
        matches!(self, Self::Prune)
    }
}

/// Where live maintenance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaintenanceState {
    /// Waiting for its turn.
    Queued,
    /// Working.
    Running,
}

/// Maintenance that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Its id.
    pub id: MaintenanceId,
    /// What it is done to.
    pub repository: RepositoryName,
    /// What is done.
    pub task: Task,
    /// Who asked: a person, or `agent`.
    pub requested_by: String,
    /// When.
    pub requested_at: Timestamp,
    /// The time of the schedule that it was due at.
    pub due: Option<Timestamp>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// How often it has begun.
    pub attempt: u32,
    /// Where it stands.
    pub state: MaintenanceState,
    /// Whether somebody asked it to stop, and who.
    pub cancel_requested: Option<String>,
}

/// Maintenance as history keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceRecord {
    /// Its id.
    pub id: MaintenanceId,
    /// What it was done to.
    pub repository: RepositoryName,
    /// What was done.
    pub task: Task,
    /// Who asked.
    pub requested_by: String,
    /// When.
    pub requested_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// What it did, in a line.
    pub summary: String,
    /// What became free in the store.
    pub freed: Bytes,
    /// What it found wrong, or left alone: the first lines.
    pub findings: Vec<String>,
    /// What went wrong.
    pub error: Option<Failure>,
}

impl MaintenanceRecord {
    /// How long it took.
    pub fn duration(&self) -> Millis {
        self.started_at
            .map_or(Millis(0), |start| Millis::between(start, self.finished_at))
    }
}

/// What an effect reports of maintenance that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct MaintenanceResult {
    /// How it ended.
    pub outcome: Outcome,
    /// What it did, in a line.
    pub summary: String,
    /// What became free in the store.
    pub freed: Bytes,
    /// What it found wrong, or left alone: the first lines.
    pub findings: Vec<String>,
    /// What went wrong.
    pub error: Option<Failure>,
    /// What became of snapshots.
    pub changes: Vec<SnapshotChange>,
    /// Whether the repository was found to be damaged; none when nobody looked.
    pub sound: Option<bool>,
}

impl MaintenanceResult {
    /// Maintenance that came to nothing.
    pub fn failed(outcome: Outcome, error: Failure) -> Self {
        Self {
            outcome,
            summary: String::new(),
            freed: Bytes(0),
            findings: Vec::new(),
            error: Some(error),
            changes: Vec::new(),
            sound: None,
        }
    }

    /// Maintenance that did what it should.
    pub fn done(summary: impl Into<String>, changes: Vec<SnapshotChange>) -> Self {
        Self {
            outcome: Outcome::Succeeded,
            summary: summary.into(),
            freed: Bytes(0),
            findings: Vec::new(),
            error: None,
            changes,
            sound: None,
        }
    }
}

/// What became of a snapshot, as seen in its repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotChange {
    /// It is in the trash.
    Forgotten {
        snapshot: SnapshotId,
        until: Option<Timestamp>,
        by: String,
        reason: String,
    },
    /// It is back from the trash.
    Unforgotten { snapshot: SnapshotId },
    /// It is gone from the trash for good.
    Purged { snapshot: SnapshotId },
    /// It is pinned.
    Pinned {
        snapshot: SnapshotId,
        by: String,
        reason: Option<String>,
    },
    /// It is pinned no more.
    Unpinned { snapshot: SnapshotId },
    /// It has other words, and so another id.
    Retagged {
        old: SnapshotId,
        new: SnapshotId,
        tags: Vec<String>,
    },
    /// It was found in the repository.
    Appeared(Box<SnapshotRecord>),
}
