//! Runs: one execution of a job, with its attempts.

use serde::{Deserialize, Serialize};

use super::id::{JobName, RunId, SnapshotId};
use super::units::{Bytes, Millis, Timestamp};

/// Why a run began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "trigger", rename_all = "snake_case")]
pub enum Trigger {
    /// Its schedule was due at this time.
    Schedule { due: Timestamp },
    /// Its schedule was due while no agent was running; the latest such time.
    Missed { due: Timestamp },
    /// Somebody asked.
    Manual { by: String },
}

/// How a run or a recovery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of it.
    Succeeded,
    /// Some of it; never green.
    Partial,
    /// None that counts.
    Failed,
    /// Stopped because it took too long.
    TimedOut,
    /// Stopped because somebody asked.
    Cancelled,
    /// The agent died while it ran.
    Interrupted,
}

impl Outcome {
    /// The word used on screens, in filters and in `--json`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether this is a failure that alerts count: not one that somebody asked for.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut | Self::Interrupted)
    }
}

/// Where a live run stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RunState {
    /// Waiting for a place.
    Queued,
    /// Working.
    Running,
    /// An attempt failed; the next begins at this time.
    WaitingRetry { at: Timestamp },
}

/// A run that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The job.
    pub job: JobName,
    /// Why it began.
    pub trigger: Trigger,
    /// When it was asked for.
    pub queued_at: Timestamp,
    /// When the current attempt began.
    pub started_at: Option<Timestamp>,
    /// The current attempt, from one.
    pub attempt: u32,
    /// Where it stands.
    pub state: RunState,
    /// Whether somebody asked it to stop, and who.
    pub cancel_requested: Option<String>,
    /// Why the last attempt failed.
    pub last_error: Option<Failure>,
}

/// What went wrong, why and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What failed, on what.
    pub message: String,
    /// What the operator should do next.
    pub hint: Option<String>,
    /// Whether trying again can help.
    pub retryable: bool,
}

impl Failure {
    /// A failure that trying again cannot cure.
    pub fn permanent(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: Some(hint.into()),
            retryable: false,
        }
    }

    /// A failure that may pass.
    pub fn transient(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            retryable: true,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// What a run did, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunStats {
    /// Files looked at.
    pub files: u64,
    /// Of these, new or changed.
    pub files_changed: u64,
    /// Bytes the snapshot holds.
    pub size: Bytes,
    /// Bytes read from the source.
    pub read: Bytes,
    /// Bytes added to the repository, compressed.
    pub added: Bytes,
    /// Things that could not be read.
    pub errors: u64,
}

/// A run that has ended, as history keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// The job.
    pub job: JobName,
    /// Why it began.
    pub trigger: Trigger,
    /// When it was asked for.
    pub queued_at: Timestamp,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// How many attempts it took.
    pub attempts: u32,
    /// The last attempt's duration.
    pub duration: Millis,
    /// What it did.
    pub stats: RunStats,
    /// The snapshot it made.
    pub snapshot: Option<SnapshotId>,
    /// What went wrong.
    pub error: Option<Failure>,
    /// The first things that could not be read.
    pub item_errors: Vec<String>,
}
