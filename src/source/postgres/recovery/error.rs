//! Why a recovery did not get where it should, in words an operator can act on.
//!
//! A server that ends says why in its log, in PostgreSQL's words; those that are met in recoveries are translated here.

use std::path::{Path, PathBuf};

use crate::domain::pitr::{Refusal, Target};
use crate::domain::wal::Lsn;
use crate::source::SourceError;
use crate::source::postgres::server::ServerError;
use crate::source::postgres::wal::WalError;

/// A recovery that failed: what failed, on what; [`RecoveryError::hint`] says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// There is no plan.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The repository or this machine failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The archive failed.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The server could not be had.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The log ended first.
    #[error("the log ended before {target} was reached{}", last.as_ref().map(|last| format!("; the last transaction in it was completed at {last}")).unwrap_or_default())]
    NotReached {
        /// What was to be reached.
        target: Target,
        /// When the last transaction was completed, in the server's words.
        last: Option<String>,
    },
    /// The archive could not tell whether it has a file; the server was stopped so that it does not open too early.
    #[error("the recovery was stopped because the archive could not be read: {why}")]
    Archive {
        /// The reason.
        why: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The server ended.
    #[error("the recovering server ended: {why}")]
    Ended {
        /// The reason, from its log.
        why: String,
        /// What to do.
        hint: Option<String>,
    },
    /// No role is known to log in with.
    #[error("none of the roles {} can log in to the recovered server", tried.join(", "))]
    NoRole {
        /// Those that were tried.
        tried: Vec<String>,
    },
    /// The target lies behind where the copy is already.
    #[error("the copy has been replayed to {at} already, and a log is only replayed forward")]
    Passed {
        /// Where it is.
        at: Lsn,
    },
    /// It was opened.
    #[error("{path} was opened already: it is a cluster of its own now")]
    Opened {
        /// The directory.
        path: PathBuf,
    },
    /// Its files are not all there.
    #[error("the files of {path} are not all laid down")]
    NotLaid {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing of ours is in it.
    #[error("nothing was laid into {path} yet, so what is in it is not ours")]
    Untouched {
        /// The directory.
        path: PathBuf,
    },
    /// Somebody else acts on it.
    #[error("{} acts on {path}", by.as_ref().as_ref().map_or_else(|| "another process".to_owned(), ToString::to_string))]
    Held {
        /// The directory.
        path: PathBuf,
        /// Who, as far as that is known.
        by: Box<Option<super::Holder>>,
    },
    /// There is no recovery of ours.
    #[error("{path} is not a recovery of this program: {why}")]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl RecoveryError {
    /// What the operator should do next.
    pub fn hint(&self) -> Option<String> {
        let fixed = match self {
            Self::Refused(refusal) => refusal.hint(),
            Self::Source(error) => return error.hint(),
            Self::Wal(error) => return error.hint(),
            Self::Server(error) => return Some(error.hint()),
            Self::Archive { hint, .. } | Self::Ended { hint, .. } => return hint.clone(),
            Self::NotReached { .. } => "choose an earlier target, or --latest for everything there is",
            Self::NoRole { .. } => "say with --user which role the superuser of that cluster is",
            Self::Passed { .. } => "discard this copy and recover again: lifeboat recover --discard DIR",
            Self::Opened { .. } => "stop its server and remove the directory yourself when it is not needed",
            Self::NotLaid { .. } => "run the recovery again first",
            Self::Untouched { .. } => "remove it yourself when it is not needed",
            Self::Held { .. } => "wait until it has ended, look at how the server stands then, and ask again",
            Self::NotOurs { .. } => "give the directory that an earlier `lifeboat recover` was given with --target",
        };
        Some(fixed.to_owned())
    }

    /// Whether an interlock refused it, so that nothing was changed.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_)
            | Self::Passed { .. }
            | Self::Opened { .. }
            | Self::NotLaid { .. }
            | Self::Held { .. }
            | Self::Untouched { .. } => true,
            Self::Server(error) => error.is_refusal(),
            Self::Wal(error) => error.is_refusal(),
            _ => false,
        }
    }

    /// Whether the caller asked for this end.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Source(error) => error.is_cancelled(),
            Self::Wal(error) => error.is_cancelled(),
            _ => false,
        }
    }

    /// Whether the same request may succeed when it is repeated.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Source(error) => error.retryable(),
            Self::Wal(error) => error.retryable(),
            Self::Archive { .. } | Self::Held { .. } => true,
            _ => false,
        }
    }

    pub(super) fn local(action: &'static str, path: &Path, error: &std::io::Error) -> Self {
        Self::Source(SourceError::local(action, path, error))
    }

    pub(super) fn cancelled() -> Self {
        Self::Source(SourceError::Cancelled)
    }
}

/// What stands after a phrase in a log, up to the end of the line; the last time it is there.
pub(super) fn after<'a>(log: &'a str, phrase: &str) -> Option<&'a str> {
    let line = log.lines().rev().find(|line| line.contains(phrase))?;
    line.split_once(phrase).map(|(_, rest)| rest.trim())
}

/// PostgreSQL's reasons to end a recovery, and what to do about each.
const REASONS: [(&str, &str); 11] = [
    (
        "before consistent recovery point",
        "the target lies inside the base backup: choose a later target, or an older base with --base",
    ),
    (
        "WAL ends before consistent recovery point",
        "the log between the beginning and the end of the base backup is not whole: choose another base with --base",
    ),
    (
        "WAL ends before end of online backup",
        "the log between the beginning and the end of the base backup is not whole: choose another base with --base",
    ),
    (
        "is not a child of this server's history",
        "that timeline does not descend from the base backup: choose another with --timeline",
    ),
    (
        "insufficient parameter settings",
        "the log raises a limit of the server: run the same command again, which takes the new one",
    ),
    (
        "could not locate required checkpoint record",
        "the base backup is not whole: choose another with --base",
    ),
    (
        "resource manager with ID",
        "an extension wrote to the log and has to be loaded: add --set shared_preload_libraries=NAME",
    ),
    (
        "could not access file",
        "a library is not installed on this machine: install it, or leave it out of shared_preload_libraries",
    ),
    (
        "No space left on device",
        "free space there, and run the same command again",
    ),
    (
        "could not execute",
        "the server's user must be able to run this program: put it where everybody may, for example /usr/local/bin",
    ),
    (
        "database files are incompatible with server",
        "the programs were built otherwise than the server's: say with bin_dir where the right ones are",
    ),
];

/// Says why a server ended, from its log.
pub(super) fn explain(log: &str, target: &Target, archive: Option<(String, Option<String>)>) -> RecoveryError {
    if log.contains("recovery ended before configured recovery target was reached") {
        let last = after(log, "last completed transaction was at log time ").map(str::to_owned);
        let target = target.clone();
        return RecoveryError::NotReached { target, last };
    }
    if let Some((why, hint)) = archive {
        return RecoveryError::Archive { why, hint };
    }
    let said = after(log, "FATAL:")
        .or_else(|| after(log, "PANIC:"))
        .or_else(|| after(log, "ERROR:"));
    let last = || log.lines().last().unwrap_or("it said nothing").to_owned();
    let known = REASONS.iter().find(|(phrase, _)| log.contains(phrase));
    RecoveryError::Ended {
        why: said.map_or_else(last, str::to_owned),
        hint: Some(
            known
                .map_or(
                    "look into the server's log, which is kept beside its data",
                    |(_, hint)| hint,
                )
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_s_words_are_translated() {
        let log = "2026-03-01 10:00:00.000 UTC [1] LOG:  last completed transaction was at log time 2026-03-01 09:59:58.1+00\n\
                   2026-03-01 10:00:00.000 UTC [1] FATAL:  recovery ended before configured recovery target was reached\n";
        let error = explain(log, &Target::Xid(7), None);
        assert!(
            error.to_string().contains("transaction 7") && error.to_string().contains("09:59:58.1+00"),
            "{error}"
        );
        let log =
            "x [1] FATAL:  requested recovery stop point is before consistent recovery point\nx [2] LOG:  shut down\n";
        let error = explain(log, &Target::Latest, None);
        assert!(
            error.to_string().ends_with("is before consistent recovery point"),
            "{error}"
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("--base")));
        let error = explain(log, &Target::Latest, Some(("the disk is gone".to_owned(), None)));
        assert!(
            matches!(error, RecoveryError::Archive { .. }),
            "the real reason is the one behind the server's"
        );
        assert!(matches!(
            explain("", &Target::Latest, None),
            RecoveryError::Ended { .. }
        ));
    }
}
