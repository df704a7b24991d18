//! Snapshots, and how far each has been proved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::anomaly::Changes;
use super::id::{JobName, RepositoryName, RunId, SnapshotId, SourceName};
use super::units::{Bytes, Millis, Timestamp};
use super::wal::{Lsn, SystemId, TimelineId};

/// How far a snapshot has been proved to be restorable. Each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceLevel {
    /// Committed to the repository.
    Written,
    /// Every blob it needs was read again and matches its hash.
    Checksummed,
    /// Its contents were understood: the tree walked, the dump's table of contents read.
    Decoded,
    /// It was restored into a scratch place.
    Restored,
    /// The restored copy answered probes as expected.
    Probed,
}

impl EvidenceLevel {
    /// All levels, weakest first.
    pub const ALL: [Self; 5] = [
        Self::Written,
        Self::Checksummed,
        Self::Decoded,
        Self::Restored,
        Self::Probed,
    ];

    /// The word used on screens, in filters and in `--json`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Checksummed => "checksummed",
            Self::Decoded => "decoded",
            Self::Restored => "restored",
            Self::Probed => "probed",
        }
    }

    /// The level of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.word() == word)
    }

    /// How many of the five levels are reached, one to five.
    pub const fn rank(self) -> u8 {
        self as u8 + 1
    }
}

impl std::fmt::Display for EvidenceLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

/// The highest level proved so far, when, and what the last failure was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The highest level proved.
    pub level: EvidenceLevel,
    /// When it was proved.
    pub at: Timestamp,
    /// What a later verification found wrong; a snapshot with a failure here does not count as restorable.
    pub failure: Option<EvidenceFailure>,
}

/// A verification that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceFailure {
    /// The level that could not be reached.
    pub level: EvidenceLevel,
    /// When it failed.
    pub at: Timestamp,
    /// Why.
    pub message: String,
}

/// What is known of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// Its id in the repository.
    pub id: SnapshotId,
    /// The repository that holds it.
    pub repository: RepositoryName,
    /// The source it protects, when a job made it.
    pub source: Option<SourceName>,
    /// The job that made it.
    pub job: Option<JobName>,
    /// The run that made it.
    pub run: Option<RunId>,
    /// The kind of source: `files`, `postgres-dump`, `postgres-physical`.
    pub kind: String,
    /// The moment whose data it holds: when reading began, or the database's exported snapshot.
    pub taken_at: Timestamp,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// The machine it was made on.
    pub host: String,
    /// What was read.
    pub paths: Vec<String>,
    /// Free words.
    pub tags: Vec<String>,
    /// A person's remark.
    pub comment: Option<String>,
    /// The size of what it holds, uncompressed.
    pub size: Bytes,
    /// What it added to the repository, compressed.
    pub added: Bytes,
    /// How many files it holds.
    pub files: u64,
    /// What was new in it; kept when it has expired, so that later ones can be held against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// How long it took to make.
    pub duration: Millis,
    /// Whether something could not be read; such a snapshot never advances the recovery point.
    pub partial: bool,
    /// How many things could not be read.
    pub errors: u64,
    /// The database it holds, when it holds one.
    pub database: Option<DatabaseFacts>,
    /// The cluster it holds, when it holds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterFacts>,
    /// How far it has been proved.
    pub evidence: Evidence,
    /// When it was found to be gone from the repository.
    pub vanished_at: Option<Timestamp>,
    /// Who pinned it, so that nothing forgets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Mark>,
    /// Who forgot it; it is in the trash then, and can be brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten: Option<Mark>,
    /// The id it has now, after its words were changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<SnapshotId>,
    /// What the retention of its job says of it; worked out when it is shown, in no event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<Expiry>,
}

/// Who marked a snapshot, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Option<String>,
    /// When the mark may end: the trash keeps it at least until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What the retention of a job says of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// Whether it goes the next time retention is applied.
    pub due: bool,
    /// When it is to go, when that can be said.
    pub at: Option<Timestamp>,
    /// The rules that keep it, in a line.
    pub why: String,
}

impl SnapshotRecord {
    /// Whether an instant may be promised on the strength of this snapshot: complete, in the store, and not known to be damaged.
    pub fn is_restorable(&self) -> bool {
        !self.partial && self.is_there() && self.evidence.failure.is_none()
    }

    /// Whether it is listed in its repository: not gone, not in the trash, not replaced.
    pub fn is_there(&self) -> bool {
        self.vanished_at.is_none() && self.forgotten.is_none() && self.replaced_by.is_none()
    }
}

impl SnapshotRecord {
    /// This record of a snapshot that is already known by another: found again in its repository, or reported by its run
    /// after a listing saw it. What the run that made it said is richer than what a listing found; proof is kept.
    #[must_use]
    pub fn merged_with(&self, known: &Self) -> Self {
        let richer = if self.run.is_some() || known.run.is_none() {
            self
        } else {
            known
        };
        let more_proof = (self.evidence.level, self.evidence.at) > (known.evidence.level, known.evidence.at);
        let comparable = self.evidence.failure.is_some() == known.evidence.failure.is_some();
        let evidence = if more_proof && comparable {
            &self.evidence
        } else {
            &known.evidence
        };
        Self {
            // Whoever saw it just now saw it in the repository, and not in the trash.
            vanished_at: None,
            forgotten: None,
            replaced_by: None,
            pinned: self.pinned.clone().or_else(|| known.pinned.clone()),
            evidence: evidence.clone(),
            ..richer.clone()
        }
    }
}

/// What was recorded of a database in the same transaction its dump was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DatabaseFacts {
    /// Its name.
    pub name: String,
    /// The server's version, for example `15.14`.
    pub server_version: String,
    /// The version of `pg_dump`.
    pub tool_version: String,
    /// The cluster's system identifier, when the role may read it.
    pub system_identifier: Option<String>,
    /// Rows by `schema.table`.
    pub row_counts: BTreeMap<String, u64>,
    /// Tables in all.
    pub tables: u64,
}

/// What planning needs to know of the cluster in a snapshot without reading the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterFacts {
    /// The cluster.
    pub system: SystemId,
    /// The timeline it was on when the backup began.
    pub timeline: TimelineId,
    /// Where recovery begins to read the log.
    pub start_lsn: Lsn,
    /// Where it is consistent: no earlier place can be recovered to from this snapshot.
    pub stop_lsn: Lsn,
    /// When that place was written, by the server's clock; no earlier instant can be recovered to from this snapshot.
    pub stopped_at: Timestamp,
    /// The major version of the server.
    pub major: u32,
    /// Pages whose checksum was wrong on the server already, and is so in the snapshot.
    #[serde(default)]
    pub damaged_pages: u64,
}
