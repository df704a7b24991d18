//! What can go wrong with the copy of a cluster, and what to do about it.

use std::path::PathBuf;

use crate::domain::wal::{SegmentName, SystemId, TimelineId};

/// A failed operation on a whole cluster: what failed, on what; [`PhysicalError::hint`] says what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PhysicalError {
    /// The server is newer than the file formats this program knows.
    #[error("PostgreSQL at {server} has version {version}; this program copies clusters of versions 13 to 18")]
    TooNew {
        /// `user@host:port`.
        server: String,
        /// Its version.
        version: String,
    },
    /// The connection ended while the backup was under way.
    #[error("PostgreSQL at {server} went away while {phase}; nothing was kept of this backup")]
    ServerGone {
        /// `user@host:port`.
        server: String,
        /// What was being done.
        phase: &'static str,
    },
    /// A standby became a primary while it was read.
    #[error("the standby at {server} was promoted while it was copied; such a copy cannot be made consistent")]
    Promoted {
        /// `user@host:port`.
        server: String,
    },
    /// The server follows another timeline than when the backup began.
    #[error("the standby at {server} went from timeline {from} to {to} while it was copied")]
    TimelineChanged {
        /// `user@host:port`.
        server: String,
        /// Where the backup began.
        from: TimelineId,
        /// Where it ended.
        to: TimelineId,
    },
    /// The source's snapshots are of another cluster.
    #[error(
        "{server} is another cluster: system identifier {found}, the snapshots of source {source_name} are of {expected}"
    )]
    OtherSystem {
        /// `user@host:port`.
        server: String,
        /// The source.
        source_name: String,
        /// What the server says.
        found: SystemId,
        /// What the newest snapshot says.
        expected: SystemId,
    },
    /// The directory holds another cluster than the server serves.
    #[error("{directory} holds the cluster {found}, the server at {server} serves {expected}")]
    OtherDirectory {
        /// The directory.
        directory: PathBuf,
        /// `user@host:port`.
        server: String,
        /// What the directory says.
        found: SystemId,
        /// What the server says.
        expected: SystemId,
    },
    /// The files of the cluster are not on this machine, or cannot be read.
    #[error("the files of the cluster cannot be read on this machine: {why}")]
    NotLocal {
        /// The reason.
        why: String,
    },
    /// The standby is not fit to be read.
    #[error("the standby at {server} is not fit to be copied: {why}")]
    UnfitStandby {
        /// `user@host:port`.
        server: String,
        /// The reason.
        why: String,
    },
    /// A segment the copy needs is neither on the server nor in the archive.
    #[error(
        "WAL segment {name} is needed and is gone from {place}; the archive in the repository does not have it either"
    )]
    WalGone {
        /// The segment.
        name: SegmentName,
        /// Where it was looked for.
        place: String,
    },
    /// The control file, a label or the stream is not what it should be.
    #[error("{what}: {why}")]
    Malformed {
        /// What was read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The target is not empty, and nobody said that what differs is to be replaced.
    #[error("{directory} exists and is not empty")]
    NotEmpty {
        /// The directory.
        directory: PathBuf,
    },
    /// The target holds something else than an old copy of the cluster.
    #[error("{directory} holds {found}, not a copy of cluster {expected}")]
    NotACopy {
        /// The directory.
        directory: PathBuf,
        /// What it holds.
        found: String,
        /// The cluster in the snapshot.
        expected: SystemId,
    },
    /// Not everything could be written.
    #[error("{count} files could not be laid into {directory}, the first: {first}")]
    Incomplete {
        /// The directory.
        directory: PathBuf,
        /// How many.
        count: usize,
        /// The first, and why.
        first: String,
        /// Whether the repository lacks something they need, so that it is not the place that is to blame.
        missing: bool,
    },
    /// A tablespace was to be mapped that the snapshot does not have, or to an impossible place.
    #[error("tablespace {which}: {why}")]
    Mapping {
        /// As it was written.
        which: String,
        /// What is wrong with it.
        why: String,
    },
}

impl PhysicalError {
    /// Whether the same request may succeed when it is repeated.
    pub const fn retryable(&self) -> bool {
        matches!(
            self,
            Self::ServerGone { .. } | Self::Promoted { .. } | Self::TimelineChanged { .. }
        )
    }

    /// Whether it is an interlock that refused, rather than something that failed.
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::NotEmpty { .. } | Self::NotACopy { .. } | Self::OtherSystem { .. }
        )
    }

    /// What the operator should do next.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::TooNew { .. } => "upgrade this program, or dump the databases with kind = \"postgres-dump\"",
            Self::ServerGone { .. } => {
                "see why it stopped in its log; the next attempt begins anew and stores only what is new"
            }
            Self::Promoted { .. } => "back up from the new primary: correct host and standby of the source",
            Self::TimelineChanged { .. } => "its upstream was promoted; try again now that it follows the new timeline",
            Self::OtherSystem { .. } => {
                "if it was made anew on purpose (initdb, pg_upgrade), give it a source of its own name; else correct host and port"
            }
            Self::OtherDirectory { .. } => "correct data_directory of the source, or leave it out",
            Self::NotLocal { .. } => {
                "run the agent on the server's machine as a user who may read the files, or write method = \"remote\""
            }
            Self::UnfitStandby { .. } => {
                "see why it lags in its log; from = \"prefer-standby\" falls back to the primary"
            }
            Self::WalGone { .. } => {
                "let the role create a replication slot (REPLICATION, and a free one of max_replication_slots), raise \
                 wal_keep_size, or archive the log with `lifeboat wal receive`"
            }
            Self::Malformed { .. } => "look into the server's log; then take a new backup",
            Self::NotEmpty { .. } => {
                "choose an empty directory; --delta replaces what differs in an old copy of the same cluster"
            }
            Self::NotACopy { .. } => "choose another directory, or move away what is there",
            Self::Incomplete { .. } => {
                "mend the cause and lay it again with --delta, which goes on; `lifeboat repo check --read-data` if blobs are missing"
            }
            Self::Mapping { .. } => {
                "write --tablespace OLD=NEW, where OLD is its name, number or old place and NEW an absolute path"
            }
        }
    }
}
