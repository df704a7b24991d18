//! What can go wrong with a cluster, and what to do about it.

use std::path::{Path, PathBuf};

use crate::domain::cluster::Refusal;
use crate::source::SourceError;

/// A step that was refused or failed: what, on what; [`ClusterError::hint`] says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A server, a program or this machine failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A precondition does not hold; nothing was changed.
    #[error("{}", words(.0))]
    Refused(Vec<Refusal>),
    /// It was done, and what it was to bring about did not come about.
    #[error("{what}: {why}")]
    NotProved {
        /// What was to be.
        what: String,
        /// What was seen instead.
        why: String,
        /// What to do next.
        next: String,
    },
    /// Somebody else of this machine is acting on the cluster.
    #[error("another process is acting on this cluster: {} is locked", path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// The notes cannot be read.
    #[error("the notes on this cluster cannot be read: {}: {why}", path.display())]
    Notes {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// A command of the configuration failed.
    #[error("{name} failed: {why}")]
    Command {
        /// Which: `the fence command`, `start of db1` …
        name: String,
        /// How it ended, and the end of what it said.
        why: String,
        /// The command line, for trying it by hand.
        line: String,
    },
}

fn words(refusals: &[Refusal]) -> String {
    let lines: Vec<&str> = refusals.iter().map(|refusal| refusal.what.as_str()).collect();
    lines.join("\n")
}

impl ClusterError {
    pub(super) fn local(action: &'static str, path: &Path, error: &std::io::Error) -> Self {
        SourceError::local(action, path, error).into()
    }

    /// Whether the same request may succeed when it is repeated.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Source(error) => error.retryable(),
            Self::Busy { .. } | Self::Command { .. } | Self::NotProved { .. } => true,
            Self::Refused(_) | Self::Notes { .. } => false,
        }
    }

    /// What the operator should do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.hint(),
            Self::Refused(refusals) => {
                let lines: Vec<&str> = refusals.iter().map(|refusal| refusal.how.as_str()).collect();
                Some(lines.join("\n"))
            }
            Self::NotProved { next, .. } => Some(next.clone()),
            Self::Busy { .. } => Some("wait for it; `lifeboat cluster status` shows how far it is".to_owned()),
            Self::Notes { path, .. } => Some(format!(
                "look at `lifeboat cluster status` of another machine, then move {} away",
                path.display()
            )),
            Self::Command { line, .. } => Some(format!("run it by hand to see what is wrong: {line}")),
        }
    }
}
