//! Recoveries: a restore point and a target, a plan, a result. A verification is a recovery to a scratch target.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::follow_up::LeftServer;
use super::id::{DrillName, JobName, RecoveryId, RepositoryName, SnapshotId, SourceName};
use super::pitr::{self, TimelineChoice};
use super::run::{Failure, Outcome};
use super::snapshot::EvidenceLevel;
use super::source::PostgresConnection;
use super::units::{Bytes, Millis, Timestamp};

/// A restore that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryRequest {
    /// The snapshot, by full id.
    pub snapshot: SnapshotId,
    /// The repository that holds it.
    pub repository: RepositoryName,
    /// Where it goes.
    pub target: RecoveryTarget,
    /// The instant of a cluster's log to go on to; with none it is what the snapshot holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instant: Option<Box<InstantWish>>,
    /// Why, for the audit.
    pub reason: Option<String>,
    /// The plan this run is bound to: its [`RecoveryPlan::digest`]. Refused when the world no longer matches it.
    pub plan_digest: Option<String>,
}

/// An instant behind the snapshot of a cluster, reached by replaying its archived log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstantWish {
    /// Where to end.
    pub to: pitr::Target,
    /// Whether what happened exactly there is included.
    pub inclusive: bool,
    /// The line of history.
    pub timeline: TimelineChoice,
    /// Whether another snapshot of the cluster may be taken instead, when it is nearer.
    pub any_base: bool,
    /// Whether the server is opened there; else it is paused, so that somebody can look first.
    pub open: bool,
}

/// Where a recovery goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "target", rename_all = "snake_case")]
pub enum RecoveryTarget {
    /// Files into a directory.
    Directory {
        /// The directory; made when missing.
        path: PathBuf,
        /// Only what matches; everything when empty.
        include: Vec<String>,
        /// The directory of the snapshot that becomes the target's top; the whole snapshot when absent.
        subpath: Option<String>,
        /// Whether existing files are compared, and only what differs is written.
        delta: bool,
        /// With `delta`: whether the length and time of a file are believed instead of reading it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        quick: bool,
        /// Where tablespaces of a cluster go: name, number or old place, and the new one. Others go where they were.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tablespaces: Vec<(String, PathBuf)>,
    },
    /// A dump into a new database, or in the place of one that exists; rows alone into one that has the tables.
    Database {
        /// The server; the source's own when absent.
        connection: Option<PostgresConnection>,
        /// The database.
        database: String,
        /// What is brought back, and how.
        #[serde(default, skip_serializing_if = "DatabaseRestore::is_default")]
        how: Box<DatabaseRestore>,
    },
    /// A scratch place that is removed afterwards, to prove the snapshot up to a level.
    Scratch {
        /// The level to reach.
        level: EvidenceLevel,
    },
}

/// What of a dump is brought back, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatabaseRestore {
    /// Whether a database of that name is replaced, after a safety backup of it; else one that exists is refused.
    pub drop_existing: bool,
    /// Only these tables and what belongs to them, as `schema.table` with `*` for any letters; all when empty.
    pub tables: Vec<String>,
    /// How many rows of work go on at one time; with more than one the dump is fetched to a file first. Zero is one.
    pub jobs: u32,
}

impl DatabaseRestore {
    /// Whether nothing was chosen: all of it, into a new database, streamed.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The options of the command line that choose the same.
    pub fn options(&self) -> Vec<String> {
        let existing = self.drop_existing.then(|| "--drop-existing".to_owned());
        let tables = self.tables.iter().map(|table| format!("--table={table}"));
        let jobs = (self.jobs > 1).then(|| format!("--jobs={}", self.jobs));
        existing.into_iter().chain(tables).chain(jobs).collect()
    }
}

impl RecoveryTarget {
    /// The target in a few words.
    pub fn display(&self) -> String {
        match self {
            Self::Directory { path, .. } => path.display().to_string(),
            Self::Database {
                connection: Some(server),
                database,
                ..
            } => format!("database {database} on {}", server.display()),
            Self::Database {
                connection: None,
                database,
                ..
            } => format!("database {database}"),
            Self::Scratch { level } => format!("scratch, up to {level}"),
        }
    }

    /// Whether this proves a snapshot instead of handing data over.
    pub const fn is_verification(&self) -> bool {
        matches!(self, Self::Scratch { .. })
    }
}

/// What a recovery will do, said before it acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryPlan {
    /// The request it answers.
    pub request: RecoveryRequest,
    /// The kind of snapshot: `files`, `postgres-dump`, `postgres-physical`.
    pub kind: String,
    /// The source the snapshot protects.
    pub source: Option<SourceName>,
    /// The moment whose data comes back.
    pub recover_to: Timestamp,
    /// How far the snapshot has been proved.
    pub evidence: EvidenceLevel,
    /// Where it comes from, in words: the repository and its location.
    pub from: String,
    /// The machine and role it goes to, in words: host, server, role, system identifier.
    pub target_identity: String,
    /// Files, or tables.
    pub items: u64,
    /// Bytes to read from the repository.
    pub fetch: Bytes,
    /// Bytes to write to the target.
    pub write: Bytes,
    /// How many existing things get overwritten.
    pub overwrites: u64,
    /// The first of them.
    pub overwrites_sample: Vec<String>,
    /// What is free at the target, when known.
    pub target_free: Option<Bytes>,
    /// How long it should take, by measured rates: median.
    pub estimate: Option<Millis>,
    /// The ninetieth percentile.
    pub estimate_p90: Option<Millis>,
    /// How many measurements the estimate rests on.
    pub estimate_samples: usize,
    /// How much log is replayed, when it goes on to an instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Bytes>,
    /// The median, phase by phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub estimate_phases: Vec<PhaseTime>,
    /// What stands in the way; a plan with blockers is refused.
    pub blockers: Vec<String>,
    /// What should be known.
    pub warnings: Vec<String>,
    /// How to undo it, or that there is no undo.
    pub undo: String,
    /// The same with our own command line.
    pub command: String,
    /// The same with restic alone.
    pub restic_command: String,
    /// Identifies what was planned: snapshot, target and what it overwrites.
    pub digest: String,
}

/// The phases of a recovery, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryPhase {
    /// What, from where, to where.
    Plan,
    /// Reading the repository and writing the target.
    Restore,
    /// Replaying the log up to an instant.
    Replay,
    /// Comparing and probing.
    Verify,
    /// Removing scratch things.
    Cleanup,
}

impl RecoveryPhase {
    /// The word used on screens.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Restore => "restore",
            Self::Replay => "replay",
            Self::Verify => "verify",
            Self::Cleanup => "clean up",
        }
    }
}

/// Where a live recovery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryState {
    /// Waiting for a place.
    Queued,
    /// Working.
    Running,
}

/// A recovery that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Its id.
    pub id: RecoveryId,
    /// What was asked for.
    pub request: RecoveryRequest,
    /// The source the snapshot protects.
    pub source: Option<SourceName>,
    /// The job that made the snapshot.
    pub job: Option<JobName>,
    /// The kind of snapshot.
    pub kind: String,
    /// Who asked.
    pub requested_by: String,
    /// When.
    pub requested_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// Where it stands.
    pub state: RecoveryState,
    /// What it is doing.
    pub phase: RecoveryPhase,
    /// How long it should take.
    pub estimate: Option<Millis>,
    /// Whether somebody asked it to stop, and who.
    pub cancel_requested: Option<String>,
    /// The drill it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillName>,
}

/// How long one phase took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// Which.
    pub phase: RecoveryPhase,
    /// How long.
    pub took: Millis,
}

/// One thing a recovery found to hold, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// Whether it is as expected.
    pub ok: bool,
    /// What was seen, and what was expected.
    pub detail: String,
}

/// A recovery that has ended, as history keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryRecord {
    /// Its id.
    pub id: RecoveryId,
    /// What was asked for.
    pub request: RecoveryRequest,
    /// The source the snapshot protects.
    pub source: Option<SourceName>,
    /// The job that made the snapshot.
    pub job: Option<JobName>,
    /// The kind of snapshot.
    pub kind: String,
    /// Who asked.
    pub requested_by: String,
    /// When.
    pub requested_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// The highest level of evidence it gave.
    pub evidence: Option<EvidenceLevel>,
    /// Bytes written to the target.
    pub written: Bytes,
    /// Bytes of log replayed.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub replayed: Bytes,
    /// Files or tables brought back.
    pub items: u64,
    /// How long each phase took.
    pub phases: Vec<PhaseTime>,
    /// What was looked at.
    pub findings: Vec<Finding>,
    /// What went wrong.
    pub error: Option<Failure>,
    /// The drill it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillName>,
    /// The server it has left, and what became of it since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<LeftServer>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "as the attribute that calls it demands"
)]
fn is_nothing(bytes: &Bytes) -> bool {
    bytes.0 == 0
}

impl RecoveryRecord {
    /// The time from the start to the end.
    pub fn duration(&self) -> Millis {
        self.started_at
            .map_or(Millis(0), |start| Millis::between(start, self.finished_at))
    }
}
