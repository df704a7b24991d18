//! What can go wrong with a source or a target, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::postgres::physical::PhysicalError;
use crate::domain::run::Failure;
use crate::domain::units::Bytes;
use crate::repo::RepoError;

/// A failed operation on a source or a target: what failed, on what; [`SourceError::hint`] says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The repository below failed.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// A whole cluster could not be copied or laid down.
    #[error(transparent)]
    Physical(#[from] PhysicalError),
    /// No server answers there.
    #[error("cannot connect to PostgreSQL at {server}: {why}")]
    Unreachable {
        /// `user@host:port`.
        server: String,
        /// The reason.
        why: String,
    },
    /// A server answers there, and lets nobody in now.
    #[error("PostgreSQL at {server} lets nobody in now: {why}")]
    Closed {
        /// `user@host:port`.
        server: String,
        /// What it said.
        why: String,
    },
    /// Something accepts the connection and then says nothing.
    #[error("PostgreSQL at {server} accepted the connection but did not answer within {seconds} s")]
    Silent {
        /// `user@host:port`.
        server: String,
        /// How long it was given.
        seconds: u64,
    },
    /// The server does not let this role in, or not to do this.
    #[error("PostgreSQL at {server} refused: {why}")]
    Denied {
        /// `user@host:port`.
        server: String,
        /// What the server said.
        why: String,
    },
    /// There is no such database.
    #[error("there is no database {database:?} on {server}")]
    NoSuchDatabase {
        /// `user@host:port`.
        server: String,
        /// The name.
        database: String,
    },
    /// Nothing may be restored over what exists.
    #[error("database {database:?} already exists on {server}")]
    DatabaseExists {
        /// `user@host:port`.
        server: String,
        /// The name.
        database: String,
    },
    /// The server is of a version this program does not work with.
    #[error("PostgreSQL at {server} has version {version}; this program works with 13 and later")]
    UnsupportedServer {
        /// `user@host:port`.
        server: String,
        /// Its version.
        version: String,
    },
    /// A client program is nowhere to be found, or only too old.
    #[error("no {program} fit for PostgreSQL {major}: {found}")]
    NoClientTool {
        /// `pg_dump`, `pg_restore`, `pg_dumpall`.
        program: &'static str,
        /// The major version of the server.
        major: u32,
        /// What was found, or where it was looked for.
        found: String,
    },
    /// The server could not carry out a statement.
    #[error("cannot {doing} on {server}: {why}")]
    Query {
        /// The verb and its object.
        doing: String,
        /// `user@host:port`.
        server: String,
        /// What the server said.
        why: String,
        /// Whether it may pass.
        retryable: bool,
    },
    /// A client program failed.
    #[error("{program} of {subject} failed ({status}): {stderr}")]
    Child {
        /// Its name.
        program: &'static str,
        /// What it worked on.
        subject: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        stderr: String,
    },
    /// The transport encryption could not be set up.
    #[error("cannot set up TLS to {server}: {why}")]
    Tls {
        /// `user@host:port`.
        server: String,
        /// The reason.
        why: String,
    },
    /// The machine this runs on failed.
    #[error("cannot {action} {path}: {why}")]
    Local {
        /// The verb.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The class of the operating-system error.
        kind: io::ErrorKind,
        /// The reason.
        why: String,
    },
    /// There is not enough room for what would be written.
    #[error("{place} has {free} free, {needed} are needed")]
    NoRoom {
        /// The directory.
        place: PathBuf,
        /// What is free.
        free: Bytes,
        /// What is needed.
        needed: Bytes,
    },
    /// The snapshot is not of the kind that was asked for, or says nothing sensible of itself.
    #[error("snapshot {snapshot} {why}")]
    Snapshot {
        /// The short id.
        snapshot: String,
        /// What is wrong with it.
        why: String,
    },
    /// The request makes no sense.
    #[error("{what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// A private server could not be had.
    #[error(transparent)]
    Server(#[from] super::postgres::server::ServerError),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl SourceError {
    /// Wraps an operating-system error on a local path.
    pub(crate) fn local(action: &'static str, path: &Path, error: &io::Error) -> Self {
        let text = error.to_string();
        Self::Local {
            action,
            path: path.to_owned(),
            kind: error.kind(),
            why: text.split(" (os error").next().unwrap_or(&text).to_owned(),
        }
    }

    /// Whether the same request may succeed when it is repeated.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Repo(error) => error.retryable(),
            Self::Physical(error) => error.retryable(),
            Self::Unreachable { .. } | Self::Closed { .. } | Self::Silent { .. } | Self::Child { .. } => true,
            Self::Query { retryable, .. } => *retryable,
            Self::Server(error) => error.retryable(),
            _ => false,
        }
    }

    /// Whether the caller asked for this end.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Cancelled => true,
            Self::Repo(error) => error.is_cancelled(),
            _ => false,
        }
    }

    /// What the operator should do next.
    pub fn hint(&self) -> Option<String> {
        let fixed = match self {
            Self::Repo(error) => return error.hint().map(str::to_owned),
            Self::Physical(error) => error.hint(),
            Self::NoClientTool { major, .. } => {
                return Some(format!(
                    "install the client programs of that version (Debian: apt-get install postgresql-client-{major}), \
                     or set bin_dir of the source to where they are"
                ));
            }
            Self::Child { program, stderr, .. } => return child_hint(program, stderr),
            Self::Invalid { hint, .. } => return hint.clone(),
            Self::Server(error) => return Some(error.hint()),
            Self::Unreachable { .. } => {
                "check that the server runs and that host and port are right; for a Unix socket the host is its directory"
            }
            Self::Closed { .. } => "it is starting, stopping or full: wait, or look into its log",
            Self::Silent { .. } => {
                "something else may listen there, or the server is overloaded or stopped: look at it with pg_isready"
            }
            Self::Denied { .. } => "check the role, its password and pg_hba.conf of the server",
            Self::NoSuchDatabase { .. } => "check the name in the configuration; names are case-sensitive",
            Self::DatabaseExists { .. } => "choose another name, or put the dump in its place with --drop-existing",
            Self::UnsupportedServer { .. } => "dump it with the tools of its own version",
            Self::Tls { .. } => "check tls of the source: disable, prefer, require or verify-full",
            Self::Local {
                kind: io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded,
                ..
            }
            | Self::NoRoom { .. } => "free space there, or choose another place",
            Self::Local {
                kind: io::ErrorKind::PermissionDenied,
                ..
            } => "run as a user with permission there, or choose another place",
            Self::Snapshot { .. } => "`lifeboat snapshot ls` shows what it holds",
            Self::Query { .. } | Self::Local { .. } | Self::Cancelled => return None,
        };
        Some(fixed.to_owned())
    }
}

/// What to do about a client program that failed, when its words tell.
fn child_hint(program: &str, stderr: &str) -> Option<String> {
    let says = |text: &str| stderr.contains(text);
    let hint = if says("server version mismatch") {
        "install the client programs of the server's version, or set bin_dir of the source to where they are"
    } else if says("connection to server") && says("failed") {
        "our own connection works and the client program's does not: check tls of the source and pg_hba.conf of the server"
    } else if says("permission denied") {
        "give the role the right to read everything it dumps (pg_read_all_data), or dump as the owner"
    } else if says("lock timeout") || says("canceling statement due to lock timeout") {
        "something holds an exclusive lock (a migration, VACUUM FULL); try again when it is over"
    } else if says("No space left on device") {
        "free space on the server"
    } else if says("is not available") && says("extension") {
        "install that extension on the server that is restored to"
    } else if program == "pg_dump" {
        "look into the server's log"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

impl From<&SourceError> for Failure {
    fn from(error: &SourceError) -> Self {
        Self {
            message: error.to_string(),
            hint: error.hint(),
            retryable: error.retryable(),
        }
    }
}
