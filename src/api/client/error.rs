//! Why a request was not answered as wished.

use thiserror::Error;

use crate::api::types::Problem;

/// Why a request was not answered as wished.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ClientError {
    /// What sort of failure.
    pub kind: ErrorKind,
    /// What failed, on what.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// The sorts of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No agent answers; trying again helps once there is one.
    Unreachable,
    /// The agent is of another version and what it said is not understood.
    VersionMismatch,
    /// There is no such thing.
    NotFound,
    /// It makes no sense now.
    Conflict,
    /// An interlock: it would endanger data.
    Interlock,
    /// The request itself is wrong.
    Invalid,
    /// This client or this agent may not change anything.
    ReadOnly,
    /// It was tried and failed.
    Failed,
    /// The agent is starting or stopping.
    Unavailable,
}

impl ErrorKind {
    /// The word for it on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::VersionMismatch => "version_mismatch",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Interlock => "interlock",
            Self::Invalid => "invalid",
            Self::ReadOnly => "read_only",
            Self::Failed => "failed",
            Self::Unavailable => "unavailable",
        }
    }

    /// The sort of that word; what an agent of another version may add counts as failed.
    pub fn from_word(word: &str) -> Self {
        match word {
            "not_found" => Self::NotFound,
            "conflict" => Self::Conflict,
            "interlock" => Self::Interlock,
            "invalid" => Self::Invalid,
            "read_only" => Self::ReadOnly,
            "unavailable" => Self::Unavailable,
            _ => Self::Failed,
        }
    }
}

impl ClientError {
    /// No agent answers.
    pub(super) fn unreachable(message: impl Into<String>, hint: &str) -> Self {
        Self {
            kind: ErrorKind::Unreachable,
            message: message.into(),
            hint: Some(hint.to_owned()),
        }
    }

    /// Whether there was no agent to ask, so that asking again later may help.
    pub fn is_unreachable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unreachable | ErrorKind::Unavailable)
    }
}

impl From<Problem> for ClientError {
    fn from(problem: Problem) -> Self {
        Self {
            kind: ErrorKind::from_word(&problem.kind),
            message: problem.message,
            hint: problem.hint,
        }
    }
}
