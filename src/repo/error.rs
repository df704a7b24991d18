//! What can go wrong in a repository, and what to do about it.

use std::io;
use std::path::Path;

use crate::store::{ErrorKind, StoreError};

/// A failed repository operation: what failed, on what; [`RepoError::hint`] says what to do next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RepoError {
    /// The store below failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No key opens with this password.
    #[error("the password opens none of the keys of {location}")]
    WrongPassword {
        /// The address of the repository.
        location: String,
    },
    /// There is no repository at this address.
    #[error("{location} is not a repository: {why}")]
    NotARepository {
        /// The address.
        location: String,
        /// What is missing.
        why: String,
    },
    /// What was opened is not what is there any more.
    #[error("another repository is at {location} than the one that was opened, {id}; nothing was written to it")]
    Replaced {
        /// The address.
        location: String,
        /// The short id of the one that was opened.
        id: String,
    },
    /// The key that opened the repository was removed.
    #[error("key {key}, which {location} was opened with, was removed")]
    KeyRemoved {
        /// The address.
        location: String,
        /// The short name of the key file.
        key: String,
    },
    /// A repository is already there.
    #[error("{location} already holds a repository")]
    AlreadyInitialised {
        /// The address.
        location: String,
    },
    /// The repository has a version this program does not know.
    #[error("{location} has repository format version {version}, this program reads 1 and 2")]
    UnsupportedVersion {
        /// The address.
        location: String,
        /// The version found.
        version: u32,
    },
    /// A stored file is not what was written.
    #[error("{file} is damaged: {why}")]
    Damaged {
        /// The kind and name of the file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// A blob that something refers to is in no pack.
    #[error("blob {blob} is not in the index")]
    MissingBlob {
        /// The id of the blob.
        blob: String,
    },
    /// No snapshot matches.
    #[error("no snapshot matches {query:?}")]
    NoSuchSnapshot {
        /// What was asked for.
        query: String,
    },
    /// More than one snapshot matches.
    #[error("{query:?} matches {count} snapshots")]
    AmbiguousSnapshot {
        /// What was asked for.
        query: String,
        /// How many match.
        count: usize,
    },
    /// No snapshot in the trash matches.
    #[error("no snapshot in the trash matches {query:?}")]
    NotInTrash {
        /// What was asked for.
        query: String,
    },
    /// Another program has removed data of a snapshot in the trash.
    #[error("snapshot {snapshot} cannot come back: its blob {blob} was removed, by a prune of another program")]
    LostInTrash {
        /// The short id of the snapshot.
        snapshot: String,
        /// The blob.
        blob: String,
    },
    /// No pin matches.
    #[error("no pinned snapshot matches {query:?}")]
    NotPinned {
        /// What was asked for.
        query: String,
    },
    /// The snapshot has no such path.
    #[error("snapshot {snapshot} has no {path}")]
    NoSuchPath {
        /// The short id of the snapshot.
        snapshot: String,
        /// The path asked for.
        path: String,
    },
    /// Somebody else holds a lock that excludes this.
    #[error("the repository is locked {how} by {holder}")]
    Locked {
        /// `exclusively`, or empty.
        how: &'static str,
        /// Who holds it, since when.
        holder: String,
    },
    /// The machine this runs on failed: a source file, a target directory.
    #[error("cannot {action} {path}: {message}")]
    Local {
        /// The verb.
        action: &'static str,
        /// The path.
        path: String,
        /// The class of the operating-system error.
        kind: io::ErrorKind,
        /// The reason.
        message: String,
    },
    /// A tree that would write outside the target, or that is otherwise hostile.
    #[error("refused: {what}")]
    Refused {
        /// What was refused and why.
        what: String,
    },
    /// The request makes no sense.
    #[error("{what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
    },
    /// An interlock stopped a prune before it changed anything.
    #[error(transparent)]
    Prune(#[from] super::prune::PruneRefusal),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A stage of the pipeline ended without saying why.
    #[error("internal error: {what}")]
    Internal {
        /// The stage.
        what: String,
    },
}

impl RepoError {
    /// Wraps an operating-system error on a local path.
    pub(crate) fn local(action: &'static str, path: &Path, error: &io::Error) -> Self {
        let path = path.display().to_string();
        Self::Local {
            action,
            path,
            kind: error.kind(),
            message: plain(error),
        }
    }

    pub(crate) fn damaged(file: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Damaged {
            file: file.into(),
            why: why.into(),
        }
    }

    pub(crate) fn internal(what: impl Into<String>) -> Self {
        Self::Internal { what: what.into() }
    }

    /// Whether the same request may succeed when it is repeated.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.retryable(),
            Self::Locked { .. } | Self::Replaced { .. } | Self::KeyRemoved { .. } => true,
            _ => false,
        }
    }

    /// Whether the caller asked for this end.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// What the operator should do next.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Store(error) => error.hint(),
            Self::WrongPassword { .. } => {
                Some("check the password file; every key of the repository has its own password")
            }
            Self::NotARepository { .. } => Some("check the address, or create one with `lifeboat repo init`"),
            Self::Replaced { .. } => Some(
                "if nobody of you replaced it, stop here and find out who did; else do it again, which opens the new one",
            ),
            Self::KeyRemoved { .. } => {
                Some("if that was meant, do it again with a password that still has a key: lifeboat repo key list")
            }
            Self::AlreadyInitialised { .. } => Some("use it as it is, or choose another address"),
            Self::UnsupportedVersion { .. } => Some("it was written by a newer program: update this one"),
            Self::Damaged { .. } | Self::MissingBlob { .. } => {
                Some("run `lifeboat repo check --read-data` to see which snapshots are affected")
            }
            Self::NoSuchSnapshot { .. } => Some("`lifeboat snapshot list` shows what there is"),
            Self::NotInTrash { .. } => Some("`lifeboat repo trash list` shows what can come back"),
            Self::LostInTrash { .. } => Some("restore it from a copy of this repository, if there is one"),
            Self::NotPinned { .. } => Some("`lifeboat snapshot list` shows which are pinned"),
            Self::AmbiguousSnapshot { .. } => Some("give more characters of the id"),
            Self::NoSuchPath { .. } => Some("`lifeboat snapshot ls` shows what there is"),
            Self::Locked { .. } => {
                Some("wait for it to finish; if that process is gone, `lifeboat repo unlock` removes its lock")
            }
            Self::Local {
                kind: io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded,
                ..
            } => Some("free space on that file system and run again"),
            Self::Local {
                kind: io::ErrorKind::PermissionDenied,
                ..
            } => Some("run as a user with permission there, or choose another target"),
            Self::Local {
                kind: io::ErrorKind::ReadOnlyFilesystem,
                ..
            } => Some("choose a target that can be written"),
            Self::Refused { .. } => Some("the snapshot was not made by an honest backup; do not restore it as root"),
            Self::Prune(refusal) => Some(refusal.hint()),
            Self::Local { .. } | Self::Invalid { .. } | Self::Cancelled => None,
            Self::Internal { .. } => Some("this is a defect of the program: please report it"),
        }
    }

    /// Whether the store said that there is no such object.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind == ErrorKind::NotFound)
    }

    /// Whether the store has the object in a cold storage class.
    pub(crate) fn is_cold(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind == ErrorKind::Cold)
    }
}

/// The reason of an operating-system error, without the number Rust appends.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
