//! Why the engine could not do what it was asked.

use thiserror::Error;

use crate::domain::command::Refusal;
use crate::domain::run::Failure;

/// Why the engine could not do what it was asked.
#[derive(Debug, Clone, Error)]
pub enum EngineError {
    /// It was refused; nothing was changed.
    #[error("{}", .0.reason)]
    Refused(Refusal),
    /// It was tried and failed.
    #[error("{}", .0.message)]
    Failed(Failure),
    /// The engine is stopping.
    #[error("the agent is stopping")]
    Stopping,
}

impl EngineError {
    /// What the operator should do next.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => refusal.hint.as_deref(),
            Self::Failed(failure) => failure.hint.as_deref(),
            Self::Stopping => Some("start it again with: lifeboat agent run"),
        }
    }
}
