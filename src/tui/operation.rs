//! Operations: what changes something, or leads to it, and how each is offered.

use crate::domain::anomaly::Found;
use crate::domain::command::Command;
use crate::domain::id::{
    AlertKey, ClusterName, JobName, RecoveryId, RepositoryName, RunId, RunbookName, RunbookRunId, SnapshotId,
};

use super::wizard::Lead;

/// Something that changes something, or leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Give a command that endangers nothing.
    Give(Vec<Command>),
    /// Stop a run.
    StopRun(RunId, JobName),
    /// Keep a job's schedule from running it.
    DisableJob(JobName),
    /// Stop a recovery.
    StopRecovery(RecoveryId),
    /// Open a recovered server that waits.
    Promote(RecoveryId),
    /// Move a recovered server that waits on to a later instant.
    MoveOn(RecoveryId),
    /// Throw a recovered server away.
    Discard(RecoveryId),
    /// Name the present place in the log of a cluster.
    RestorePoint(ClusterName),
    /// Take alerts, with a note.
    Acknowledge(Vec<AlertKey>),
    /// Close an alert by hand, with a reason.
    Resolve(AlertKey),
    /// Plan a restore of a snapshot, or of paths in it.
    Restore(SnapshotId, Vec<String>),
    /// Keep snapshots from being forgotten, with a reason.
    Pin(Vec<SnapshotId>),
    /// Put snapshots in the trash, with a reason.
    Forget(Vec<SnapshotId>),
    /// Change the words of a snapshot.
    Tag(SnapshotId),
    /// Put in the trash what the retention of a job no longer keeps.
    ApplyRetention(JobName),
    /// Remove what nothing in a repository needs.
    Prune(RepositoryName),
    /// Plan an execution of a runbook, as a drill or in earnest.
    BeginRunbook(RunbookName, bool),
    /// Say something in an execution of a runbook.
    Lead(RunbookRunId, Lead),
    /// Search for the last clean snapshot of a job.
    FindClean(JobName),
    /// Say what a snapshot was found to be, or take that back; kept in this console.
    Look(SnapshotId, Option<Found>),
    /// Tell a step of an execution that it should have found another snapshot, with a reason.
    UseInstead {
        /// The execution.
        run: RunbookRunId,
        /// The step.
        step: String,
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// Break something in the sandbox.
    Practice(String),
}

impl Operation {
    /// Whether a dialog stands before it.
    pub const fn is_dangerous(&self) -> bool {
        matches!(
            self,
            Self::StopRun(..)
                | Self::DisableJob(_)
                | Self::StopRecovery(_)
                | Self::Promote(_)
                | Self::Discard(_)
                | Self::ApplyRetention(_)
                | Self::Prune(_)
                | Self::Practice(_)
        )
    }

    /// Whether it reads and shows, and only its last step, guarded by itself, changes something.
    pub const fn only_plans(&self) -> bool {
        matches!(
            self,
            Self::Restore(..) | Self::BeginRunbook(..) | Self::FindClean(_) | Self::Look(..)
        )
    }

    /// Whether it asks for more before anything happens.
    pub const fn asks_first(&self) -> bool {
        !matches!(self, Self::Give(_) | Self::FindClean(_) | Self::Look(_, None))
    }
}

/// An operation on offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What it does.
    pub words: String,
    /// The operation.
    pub operation: Operation,
    /// Why it cannot be done now.
    pub refused: Option<String>,
}

impl Choice {
    /// An operation, and why it cannot be done now.
    pub fn new(words: impl Into<String>, operation: Operation, refused: Option<String>) -> Self {
        Self {
            words: words.into(),
            operation,
            refused,
        }
    }
}
