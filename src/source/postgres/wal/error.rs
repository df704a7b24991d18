//! What can go wrong with the archive of a log, and what to do about it.

use std::path::Path;

use crate::domain::wal::SystemId;
use crate::repo::RepoError;
use crate::source::SourceError;

/// A failed operation on a log or its archive: what failed, on what; [`WalError::hint`] says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The repository, the server or this machine failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file is not what its name says.
    #[error("{file} is corrupt: {why}")]
    Corrupt {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file belongs to a cluster, and not to the one it was offered for.
    #[error("{file} is from another cluster: system identifier {found}, expected {expected}")]
    Foreign {
        /// The file.
        file: String,
        /// What it says.
        found: SystemId,
        /// What it should say.
        expected: SystemId,
    },
    /// The archive holds something else under this name.
    #[error(
        "the archive already holds another {name} of system {system}: two servers write the same timeline, or one copy is corrupt"
    )]
    Conflict {
        /// The name.
        name: String,
        /// The cluster.
        system: SystemId,
    },
    /// The request makes no sense.
    #[error("{what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
        /// What to do instead.
        hint: &'static str,
    },
}

impl From<RepoError> for WalError {
    fn from(error: RepoError) -> Self {
        Self::Source(SourceError::Repo(error))
    }
}

impl WalError {
    pub(super) fn local(action: &'static str, path: &Path, error: &std::io::Error) -> Self {
        Self::Source(SourceError::local(action, path, error))
    }

    pub(super) fn corrupt(file: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Corrupt {
            file: file.into(),
            why: why.into(),
        }
    }

    /// A worker that ended without a result.
    pub(in crate::source::postgres) fn worker(error: &tokio::task::JoinError) -> Self {
        RepoError::internal(format!("a worker ended: {error}")).into()
    }

    /// Whether the same request may succeed when it is repeated.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Source(error) if error.retryable())
    }

    /// Whether it was refused, so that asking again does not help until somebody has looked.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Corrupt { .. }
                | Self::Foreign { .. }
                | Self::Conflict { .. }
                // It has to be opened anew first, and somebody told.
                | Self::Source(SourceError::Repo(RepoError::Replaced { .. }))
        )
    }

    /// Whether the caller asked for this end.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Source(error) if error.is_cancelled())
    }

    /// What the operator should do next.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Source(error) => return error.hint(),
            Self::Corrupt { .. } => {
                "look at the disk of the server; take a new base backup, because what is in this file cannot be replayed"
            }
            Self::Foreign { .. } => {
                "check which cluster this is; after initdb, pg_upgrade or a mixed-up data directory it is a new system"
            }
            Self::Conflict { .. } => {
                "stop one of the two servers, find out which one is right, and look at: lifeboat wal verify"
            }
            Self::Invalid { hint, .. } => hint,
        };
        Some(hint.to_owned())
    }
}
