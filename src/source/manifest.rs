//! `lifeboat.json`: what a snapshot says of itself, readable by anybody with restic.
//!
//! It lies at the top of every snapshot a job makes. A database's row counts and fingerprints in it were taken in the
//! very transaction the dump was taken in, so a restored copy can be held against them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::SourceError;
use crate::domain::id::{JobName, RunId, SnapshotId, SourceName};
use crate::domain::snapshot::{ClusterFacts, DatabaseFacts};
use crate::domain::source::DumpSelection;
use crate::domain::units::{Bytes, Timestamp};
use crate::domain::wal::{Lsn, SegmentSize, SystemId, TimelineId};
use crate::repo::{RepoError, Repository};

/// The name of the file.
pub const MANIFEST_NAME: &str = "lifeboat.json";
/// The version of its format this program writes.
const FORMAT: u32 = 1;
/// A manifest of a hundred thousand tables is about ten megabytes.
const LIMIT: u64 = 64 << 20;

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format.
    pub format: u32,
    /// The program that wrote it, with its version.
    pub program: String,
    /// The kind of source: `files`, `postgres-dump`, `postgres-physical`.
    pub kind: String,
    /// The source.
    pub source: SourceName,
    /// The job.
    pub job: JobName,
    /// The run.
    pub run: RunId,
    /// The machine it was made on.
    pub host: String,
    /// The moment whose data it holds.
    pub taken_at: Timestamp,
    /// What was read: paths, or the server and database.
    pub subject: Vec<String>,
    /// The files in it that this program made.
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
    /// The database, when it holds one.
    #[serde(default)]
    pub database: Option<DatabaseManifest>,
    /// The cluster, when it holds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterManifest>,
    /// What a reader should know.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A file this program made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name at the top of the snapshot.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

/// What was recorded of a database, in the transaction of the dump.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DatabaseManifest {
    /// What history keeps.
    #[serde(flatten)]
    pub facts: DatabaseFacts,
    /// The name of the dump among the artifacts.
    pub dump: String,
    /// What of it was dumped.
    #[serde(default)]
    pub selection: DumpSelection,
    /// The schemas of the tables that were chosen: a dump of tables does not bring those.
    #[serde(default)]
    pub schemas: Vec<String>,
    /// Its size on the server.
    pub size: Bytes,
    /// Whether it was dumped from a standby.
    pub standby: bool,
    /// Its encoding.
    pub encoding: String,
    /// Its collation.
    pub collate: String,
    /// Its character classes.
    pub ctype: String,
    /// The letter of its locale provider: `c` libc, `i` ICU, `b` built in.
    #[serde(default)]
    pub locale_provider: Option<String>,
    /// The locale of that provider, when it is not libc.
    #[serde(default)]
    pub locale: Option<String>,
    /// Roles that own something in it or were granted something.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Extensions it uses.
    #[serde(default)]
    pub extensions: Vec<String>,
    /// An order-free checksum of a table's rows by `schema.table`, for tables as long as they are small in all.
    #[serde(default)]
    pub fingerprints: BTreeMap<String, String>,
}

/// What was recorded of a cluster while its files were copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterManifest {
    /// The cluster.
    pub system: SystemId,
    /// The server's version, for example `15.14`.
    pub server_version: String,
    /// The first number of it.
    pub major: u32,
    /// The timeline the backup began on.
    pub timeline: TimelineId,
    /// Where recovery begins to read the log.
    pub start_lsn: Lsn,
    /// Where the copy is consistent.
    pub stop_lsn: Lsn,
    /// When the backup began, by the server's clock.
    pub started_at: Timestamp,
    /// When the stop record was written, by the server's clock.
    pub stopped_at: Timestamp,
    /// The size of the segments of the log.
    pub segment_size: SegmentSize,
    /// The size of a page in bytes.
    pub block_size: u32,
    /// Whether pages carry checksums.
    pub checksums: bool,
    /// The first pages whose checksum was wrong, also when they were read a second time.
    #[serde(default)]
    pub damaged_pages: Vec<DamagedPage>,
    /// How many there were in all.
    #[serde(default)]
    pub damaged_total: u64,
    /// Whether it was read from a standby.
    pub standby: bool,
    /// How its files were read.
    pub method: PhysicalMethod,
    /// The label of the backup on the server.
    pub label: String,
    /// Its tablespaces beside the two that lie in the data directory.
    #[serde(default)]
    pub tablespaces: Vec<Tablespace>,
    /// What its files take, without the log.
    pub size: Bytes,
}

impl ClusterManifest {
    /// What history keeps.
    pub fn facts(&self) -> ClusterFacts {
        ClusterFacts {
            system: self.system,
            timeline: self.timeline,
            start_lsn: self.start_lsn,
            stop_lsn: self.stop_lsn,
            stopped_at: self.stopped_at,
            major: self.major,
            damaged_pages: self.damaged_total,
        }
    }
}

/// A page that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedPage {
    /// The file in the snapshot, for example `/data/base/5/16384`.
    pub file: String,
    /// The number of the page in that file.
    pub block: u64,
    /// The checksum that stands in the page.
    pub expected: u16,
    /// The one that its bytes have.
    pub found: u16,
}

/// How the files of a cluster were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhysicalMethod {
    /// From the disk of the machine the server runs on.
    Local,
    /// Over the connection, by `pg_basebackup`.
    Remote,
}

/// A tablespace that lies outside of the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tablespace {
    /// Its number, which is its name in `pg_tblspc` and below `/tablespaces`.
    pub oid: u32,
    /// Its name in SQL.
    pub name: String,
    /// Where it was.
    pub location: PathBuf,
}

impl Manifest {
    /// A manifest with nothing in it yet.
    pub(super) fn new(source: &crate::domain::source::Source, job: &super::BackupJob, taken_at: Timestamp) -> Self {
        Self {
            format: FORMAT,
            program: concat!("lifeboat ", env!("CARGO_PKG_VERSION")).to_owned(),
            kind: source.kind.word().to_owned(),
            source: source.name.clone(),
            job: job.job.clone(),
            run: job.run.clone(),
            host: job.host.clone(),
            taken_at,
            subject: Vec::new(),
            artifacts: Vec::new(),
            database: None,
            cluster: None,
            notes: Vec::new(),
        }
    }

    /// The bytes of the file.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads it from a snapshot; none when the snapshot has none, because somebody else made it.
    pub async fn read(repo: &Repository, snapshot: &SnapshotId) -> Result<Option<Self>, SourceError> {
        Self::read_of(repo, &repo.snapshot(snapshot.as_str()).await?).await
    }

    /// The same of a snapshot that is at hand, whether it is listed or in the trash.
    pub async fn read_of(repo: &Repository, info: &crate::repo::SnapshotInfo) -> Result<Option<Self>, SourceError> {
        let path = format!("/{MANIFEST_NAME}");
        let snapshot = &SnapshotId(info.id.clone());
        let bytes = match repo.read_file_of(info, &path, LIMIT).await {
            Ok(bytes) => bytes,
            Err(RepoError::NoSuchPath { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let manifest: Self = serde_json::from_slice(&bytes).map_err(|error| SourceError::Snapshot {
            snapshot: snapshot.short().to_owned(),
            why: format!("has a {MANIFEST_NAME} that cannot be understood: {error}"),
        })?;
        if manifest.format > FORMAT {
            return Err(SourceError::Snapshot {
                snapshot: snapshot.short().to_owned(),
                why: format!("was written by a newer program (manifest format {})", manifest.format),
            });
        }
        Ok(Some(manifest))
    }

    /// The database and the dump of it, which a snapshot of a database must have.
    pub(super) fn dump(&self, snapshot: &SnapshotId) -> Result<(&DatabaseManifest, &Artifact), SourceError> {
        let lacks = |what: &str| SourceError::Snapshot {
            snapshot: snapshot.short().to_owned(),
            why: format!("holds no {what}"),
        };
        let database = self.database.as_ref().ok_or_else(|| lacks("database"))?;
        let artifact = self.artifacts.iter().find(|artifact| artifact.name == database.dump);
        Ok((database, artifact.ok_or_else(|| lacks(&database.dump))?))
    }
}

/// The labels of a snapshot a job makes, before the job's own.
pub fn labels(source: &crate::domain::source::Source, job: &JobName, run: &RunId) -> Vec<String> {
    vec![
        "lifeboat".to_owned(),
        format!("kind={}", source.kind.word()),
        format!("source={}", source.name),
        format!("job={job}"),
        format!("run={run}"),
    ]
}

/// The value of a label such as `job=…`.
pub fn label<'a>(tags: &'a [String], key: &str) -> Option<&'a str> {
    tags.iter().find_map(|tag| tag.strip_prefix(key)?.strip_prefix('='))
}
