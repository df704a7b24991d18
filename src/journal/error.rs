//! Why the journal could not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

/// Why the journal could not do what it was asked.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Another agent owns the journal.
    #[error("the journal {} is held by the agent with pid {pid} on {host}", path.display())]
    Held {
        /// The journal.
        path: PathBuf,
        /// The holder's process; zero when it could not be read.
        pid: u32,
        /// The holder's machine.
        host: String,
    },
    /// There is no journal to attach to.
    #[error("there is no journal at {}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file or directory of the journal could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is not a Lifeboat journal ({detail})", path.display())]
    NotAJournal {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        detail: String,
    },
    /// The file was written by a later program.
    #[error("the journal {} is of version {found}; this program knows versions up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version that was found.
        found: u32,
        /// The newest version this program reads.
        known: u32,
    },
    /// The file is damaged.
    #[error("the journal {} is damaged: {detail}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file system is full.
    #[error("cannot write the journal {}: the file system is full", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// This handle only looks; another process owns the journal.
    #[error("this journal was opened for reading only")]
    ReadOnly,
    /// The projections were made by another version of the program, and only the owner may remake them.
    #[error("the history tables of {} are behind its events", path.display())]
    Stale {
        /// The file.
        path: PathBuf,
    },
    /// A page was asked for with a cursor that no page gave.
    #[error("\"{cursor}\" is not a page cursor")]
    BadCursor {
        /// What was given.
        cursor: String,
    },
    /// There is no such thing in the journal.
    #[error("there is no {what} {id}")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// What was asked for.
        id: String,
    },
    /// A prefix fits several snapshots.
    #[error("{prefix} begins the ids of several snapshots: {}", matches.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// The first that fit.
        matches: Vec<String>,
    },
    /// An event could not be turned into text.
    #[error("an event could not be written as JSON: {0}")]
    Encode(serde_json::Error),
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
    /// Another agent has appended to the journal since this one opened it: it has taken over, although this one never let go.
    #[error("another agent has taken over the journal {}", path.display())]
    Overtaken {
        /// The file.
        path: PathBuf,
    },
    /// The database refused for another reason.
    #[error("the journal {} failed: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl JournalError {
    /// What the operator should do next.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Held { .. } => "talk to the running agent, or stop it first with: lifeboat agent stop".to_owned(),
            Self::Missing { .. } => "start the agent, which creates it, or check state_dir in lifeboat.toml".to_owned(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => free_space(),
            Self::Io { .. } | Self::Database { .. } => {
                "check that state_dir in lifeboat.toml exists and belongs to the user that runs the agent".to_owned()
            }
            Self::NotAJournal { .. } => {
                "point state_dir in lifeboat.toml at a directory of Lifeboat's own; nothing was changed".to_owned()
            }
            Self::Newer { .. } => "run the newer lifeboat that wrote it".to_owned(),
            Self::Corrupt { path, .. } => format!(
                "keep the file for the audit, then move it away and start again: mv {0} {0}.damaged; \
                 snapshots are in the repositories and will be found there",
                path.display()
            ),
            Self::Full { .. } => free_space(),
            Self::ReadOnly => "only the agent writes to the journal; send it a command instead".to_owned(),
            Self::Stale { .. } => "start the agent of this version once; it remakes them".to_owned(),
            Self::BadCursor { .. } => "hand back the value of \"next\" of the page before, unchanged".to_owned(),
            Self::NotFound { what: "snapshot", .. } => "see what there is with: lifeboat snapshot list".to_owned(),
            Self::Ambiguous { .. } => "give more digits".to_owned(),
            Self::Overtaken { .. } => {
                "this agent acts no more: stop it, and see how it came to run beside the other".to_owned()
            }
            Self::NotFound { .. } | Self::Encode(_) | Self::Closed => return None,
        };
        Some(text)
    }

    /// Whether trying again, unchanged, can help.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Held { .. })
    }

    /// Says what an error of the database means for the file at `path`.
    pub(super) fn database(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt {
                path,
                detail: source.to_string(),
            },
            Some(ErrorCode::NotADatabase) => Self::NotAJournal {
                path,
                detail: "it is not an SQLite database".to_owned(),
            },
            _ => Self::Database { path, source },
        }
    }

    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }

    pub(super) fn corrupt(path: &Path, detail: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_path_buf(),
            detail: detail.into(),
        }
    }
}

fn free_space() -> String {
    "free some space there; nothing that was acknowledged is lost, and the next attempt continues".to_owned()
}
