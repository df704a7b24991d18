//! The repository: deduplicated, encrypted snapshots in restic's own format, on any [`Store`](crate::store::Store).
//!
//! **Format.** restic repository format, version 2 written, 1 and 2 read (`doc/design.rst` of restic). Everything we
//! write, stock `restic` checks, restores and prunes; everything it writes, we do. `tests/interop.rs` proves both.
//!
//! **Consistency.** There is one commit point: packs, then the index, then the snapshot. A listed snapshot always
//! restores. What a killed or cancelled backup leaves behind is data that no snapshot names: the next backup uses it, or
//! a prune collects it. Readers list snapshots before they load the index, so that they never see a snapshot whose blobs
//! they do not know.
//!
//! **Retries.** Requests to the store are repeated a bounded number of times, in [`files`], and counted in the
//! operation's [`Progress`]; nothing above repeats anything. Every stored file is create-only and named by its hash, so
//! repeating a put that may have succeeded is safe.
//!
//! **Cancellation.** Long operations take a token, look at it at every chunk and end with [`RepoError::Cancelled`].
//!
//! **Memory.** A backup holds its byte budget plus a fixed number of packs; a restore holds a fixed number of ranges; the
//! index takes about 60 bytes a blob. Nothing grows with the size of a file.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `mod` | [`Repository`]: snapshots, index |
//! | `open` | create, open, and whether what was opened is still there |
//! | [`id`], [`crypto`], [`key`] | names, the envelope, passwords |
//! | [`chunk`], [`polynomial`] | where chunks end |
//! | [`pack`], [`index`], [`tree`], [`snapshot`], [`gojson`], [`gotime`] | the formats, pure |
//! | [`files`], [`blob`], [`lock`] | reading and writing them on a store |
//! | [`archive`] | backup: trees of files and streams |
//! | [`restore`] | plan and restore |
//! | [`browse`], [`reader`], [`diff`], [`export`] | ls, walk, find, dump, diff, archives |
//! | [`check`] | structure and data |
//! | [`beside`], [`trash`], [`pins`], [`tag`] | forgetting and its undo, protection, labels |
//! | [`sealed`] | sealed objects of other rooms |
//! | [`prune`], [`copy`], `transfer` | removing what nobody needs, and moving blobs to new packs |
//!
//! What this room never does: overwrite a stored file, delete one but as the essays of [`trash`], [`tag`]
//! and [`prune`] say (or a lock, or a removed key), decide which snapshots expire, trust half a listing, or write outside the target of a restore.

pub mod archive;
pub mod beside;
pub mod blob;
pub mod browse;
pub mod check;
pub mod chunk;
pub mod copy;
pub mod crypto;
pub mod diff;
pub mod error;
pub mod export;
pub mod files;
#[cfg(test)]
mod fuzz;
pub mod gojson;
pub mod gotime;
pub mod host;
pub mod id;
pub mod index;
pub mod key;
pub mod keys;
pub mod lock;
pub mod lsmode;
mod open;
pub mod pack;
pub mod pins;
pub mod polynomial;
pub mod progress;
pub mod prune;
pub mod rate;
pub mod reader;
pub mod restore;
pub mod sealed;
pub mod snapshot;
pub mod stats;
pub(crate) mod stop;
pub mod tag;
#[cfg(test)]
mod testing;
pub(crate) mod transfer;
pub mod trash;
pub mod tree;

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::store::Store;

pub use archive::assemble::{Aside, Assembler, Assembly, AssemblyOptions, Content, bare_node};
pub use archive::stream::{StreamOptions, StreamSnapshot, StreamStats};
pub use archive::{BackupOptions, BackupResult, BackupStats, Compression, FixedBlocks, ItemError, Parent};
pub use beside::Note;
pub use browse::{FindMatch, TreeEntry};
pub use check::{CheckOptions, CheckProblem, CheckReport, ReadData};
pub use copy::{Copied, CopyReport};
pub use diff::{DiffReport, Difference};
pub use error::RepoError;
pub use export::{ExportFormat, ExportReport};
pub use id::{Id, short};
pub use pins::Pin;
pub use progress::{Phase, Progress, ProgressSample};
pub use prune::{PruneOptions, PruneRefusal, PruneReport};
pub use restore::{Overwrite, RestoreOptions, RestorePlan, RestoreResult, WriteBack};
pub use snapshot::{SnapshotFile, SnapshotInfo, Summary};
pub use tag::{Retagged, TagChange};
pub use trash::{Forgotten, Trashed};
pub use tree::NodeKind;

use crypto::CipherKey;
use files::FileKind;
use index::{Index, IndexFile};
use open::Config;

/// What this program writes into its snapshots.
pub const PROGRAM_VERSION: &str = concat!("lifeboat ", env!("CARGO_PKG_VERSION"));
/// The file at the root of our trees that says what a snapshot holds.
pub const DESCRIPTION_NAME: &str = "lifeboat.json";

/// An open repository; cheap to clone.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    key: CipherKey,
    key_id: String,
    config: Config,
    here: open::Here,
    clock: Clock,
    index: Mutex<LoadedIndex>,
    trees: blob::TreePacks,
}

#[derive(Default)]
struct LoadedIndex {
    files: HashSet<String>,
    index: Arc<Index>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository")
            .field("location", &self.location())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl Repository {
    /// The id of the repository, 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.0.config.id
    }

    /// Whether both are the same open repository, however often it was cloned.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The address of its store.
    pub fn location(&self) -> &str {
        self.0.store.location()
    }

    /// The store below.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    /// The clock it was opened with.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The version of the format: 1 or 2.
    pub fn version(&self) -> u32 {
        self.0.config.version
    }

    /// The name of the key file that opened it.
    pub fn current_key(&self) -> &str {
        &self.0.key_id
    }

    fn key(&self) -> &CipherKey {
        &self.0.key
    }

    fn polynomial(&self) -> u64 {
        u64::from_str_radix(&self.0.config.chunker_polynomial, 16).unwrap_or(0)
    }

    /// Every snapshot, oldest first; a damaged one is an error that names it.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotInfo>, RepoError> {
        let (good, damaged) = self.snapshots_lossy().await?;
        match damaged.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(good),
        }
    }

    /// Every readable snapshot, oldest first, and the damaged ones by name.
    pub async fn snapshots_lossy(&self) -> Result<(Vec<SnapshotInfo>, Vec<(String, RepoError)>), RepoError> {
        let names = self.list_files(FileKind::Snapshot).await?;
        let names: Vec<String> = names.into_iter().map(|(name, _)| name).collect();
        let mut left = names.len();
        let mut loads = self.load_many::<SnapshotFile>(FileKind::Snapshot, names);
        let (mut good, mut damaged) = (Vec::new(), Vec::new());
        while let Some((id, loaded)) = loads.recv().await {
            left -= 1;
            match loaded {
                Ok(snapshot) => good.push(SnapshotInfo { id, snapshot }),
                // Forgotten by somebody else between the listing and now.
                Err(error) if error.is_not_found() => {}
                Err(error @ RepoError::Damaged { .. }) => damaged.push((id, error)),
                Err(error) => return Err(error),
            }
        }
        if left > 0 {
            return Err(RepoError::internal("the loading of the snapshots ended early"));
        }
        good.sort_by(|a, b| (a.snapshot.time, &a.id).cmp(&(b.snapshot.time, &b.id)));
        damaged.sort_by(|a, b| a.0.cmp(&b.0));
        Ok((good, damaged))
    }

    /// The snapshot whose id begins with `query`, or the newest for `latest`.
    pub async fn snapshot(&self, query: &str) -> Result<SnapshotInfo, RepoError> {
        let none = || RepoError::NoSuchSnapshot {
            query: query.to_owned(),
        };
        if query == "latest" {
            return self.snapshots().await?.pop().ok_or_else(none);
        }
        if query.is_empty() {
            return Err(none());
        }
        if Id::parse(query).is_some() {
            // A whole id needs no list.
            return match self.load_json(FileKind::Snapshot, query).await {
                Ok(snapshot) => Ok(SnapshotInfo {
                    id: query.to_owned(),
                    snapshot,
                }),
                Err(error) if error.is_not_found() => Err(none()),
                Err(error) => Err(error),
            };
        }
        let mut names = self.list_files(FileKind::Snapshot).await?;
        names.retain(|(name, _)| name.starts_with(query));
        match names.as_slice() {
            [] => Err(none()),
            [(id, _)] => Ok(SnapshotInfo {
                id: id.clone(),
                snapshot: self.load_json(FileKind::Snapshot, id).await?,
            }),
            more => Err(RepoError::AmbiguousSnapshot {
                query: query.to_owned(),
                count: more.len(),
            }),
        }
    }

    /// The index as it is now: loads what is new since the last call, everything when something was removed.
    pub async fn load_index(&self) -> Result<Arc<Index>, RepoError> {
        let mut loaded = self.0.index.lock().await;
        let names: Vec<String> = self
            .list_files(FileKind::Index)
            .await?
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let current: HashSet<&str> = names.iter().map(String::as_str).collect();
        if loaded.files.iter().any(|name| !current.contains(name.as_str())) {
            *loaded = LoadedIndex::default();
        }
        let missing: Vec<String> = names.into_iter().filter(|name| !loaded.files.contains(name)).collect();
        let wanted = missing.len();
        let mut loads = self.load_many::<IndexFile>(FileKind::Index, missing.clone());
        let mut added = 0;
        // Until all are there the files count as missing: what was added already is only added again.
        while let Some((_, file)) = loads.recv().await {
            Arc::make_mut(&mut loaded.index).add(&file?);
            added += 1;
        }
        if added < wanted {
            return Err(RepoError::internal("the loading of the index ended early"));
        }
        loaded.files.extend(missing);
        Ok(Arc::clone(&loaded.index))
    }
}

/// Computes where it blocks nobody; how many at once is bounded by the callers.
pub(crate) async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, RepoError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| RepoError::internal(format!("a worker ended: {error}")))
}

#[cfg(test)]
mod tests;
