//! What people say: to begin an execution, and in one.

use serde::{Deserialize, Serialize};

use super::template::Values;
use crate::domain::id::{RunbookName, SnapshotId};
use crate::domain::units::Timestamp;

/// What an execution is begun with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRunbook {
    /// Which.
    pub runbook: RunbookName,
    /// Whether it is for practice.
    #[serde(default)]
    pub drill: bool,
    /// Whether it goes on without people as far as it can.
    #[serde(default)]
    pub unattended: bool,
    /// What is said of its variables.
    #[serde(default)]
    pub set: Values,
    /// The document that was looked at; refused when it is another by now.
    #[serde(default)]
    pub hash: Option<String>,
    /// When what it cures began.
    #[serde(default)]
    pub incident_at: Option<Timestamp>,
}

/// What a person says in an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Saying {
    /// Go, or done, for the attempt that is shown.
    Go {
        step: String,
        attempt: u32,
        #[serde(default)]
        typed: Option<String>,
    },
    /// Ask the checks again.
    Recheck { step: String },
    /// Agreed.
    Approve { step: String },
    /// Set the checks aside that do not hold.
    Override { step: String, reason: String },
    /// Pass it over.
    Skip { step: String, reason: String },
    /// Do it again.
    Retry { step: String },
    /// A step in doubt was done.
    WasDone { step: String, reason: String },
    /// A value.
    Set { name: String, value: String },
    /// A step that looks for the last clean snapshot is to have found another.
    Instead {
        step: String,
        snapshot: SnapshotId,
        /// The moment whose data it holds.
        time: Timestamp,
        reason: String,
    },
    /// Nothing new begins.
    Pause { reason: String },
    /// It goes on.
    Resume,
    /// I lead from here.
    Take { reason: String },
    /// It ends, what was done is taken back or not.
    Abort { reason: String, undo: bool },
    /// Try again to take it back.
    UndoAgain { step: String },
    /// Let it be.
    UndoLeave { step: String, reason: String },
}

impl Saying {
    /// The words for it in the audit log.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Go { .. } => "begin a step",
            Self::Recheck { .. } => "check a step again",
            Self::Approve { .. } => "agree to a step",
            Self::Override { .. } => "set checks aside",
            Self::Skip { .. } => "pass a step over",
            Self::Retry { .. } => "do a step again",
            Self::WasDone { .. } => "settle a doubt",
            Self::Set { .. } => "say a value",
            Self::Instead { .. } => "choose another snapshot",
            Self::Pause { .. } => "pause a runbook",
            Self::Resume => "resume a runbook",
            Self::Take { .. } => "take over a runbook",
            Self::Abort { .. } => "end a runbook",
            Self::UndoAgain { .. } | Self::UndoLeave { .. } => "take a step back",
        }
    }

    /// The step it is about.
    pub fn step(&self) -> Option<&str> {
        match self {
            Self::Go { step, .. }
            | Self::Recheck { step }
            | Self::Approve { step }
            | Self::Override { step, .. }
            | Self::Skip { step, .. }
            | Self::Retry { step }
            | Self::WasDone { step, .. }
            | Self::UndoAgain { step }
            | Self::Instead { step, .. }
            | Self::UndoLeave { step, .. } => Some(step),
            _ => None,
        }
    }

    /// The reason that has to be given.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Override { reason, .. }
            | Self::Skip { reason, .. }
            | Self::WasDone { reason, .. }
            | Self::Instead { reason, .. }
            | Self::Pause { reason }
            | Self::Take { reason }
            | Self::Abort { reason, .. }
            | Self::UndoLeave { reason, .. } => Some(reason),
            _ => None,
        }
    }
}
