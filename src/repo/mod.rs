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
//! | `mod` | [`Repository`]: create, open, snapshots, index |
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

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::store::{ObjectInfo, Store};

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
use key::{KeyFailure, KeyFile};

/// What this program writes into its snapshots.
pub const PROGRAM_VERSION: &str = concat!("lifeboat ", env!("CARGO_PKG_VERSION"));
/// The file at the root of our trees that says what a snapshot holds.
pub const DESCRIPTION_NAME: &str = "lifeboat.json";

/// The `config` file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Config {
    version: u32,
    id: String,
    chunker_polynomial: String,
}

/// An open repository; cheap to clone.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    key: CipherKey,
    key_id: String,
    config: Config,
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
    /// Creates a repository in an empty store.
    pub async fn init(store: Arc<dyn Store>, password: &SecretString, clock: Clock) -> Result<Self, RepoError> {
        let random = |error: getrandom::Error| RepoError::internal(format!("no randomness: {error}"));
        let master = CipherKey::random().map_err(random)?;
        let polynomial = polynomial::random_irreducible().map_err(random)?;
        Self::init_with(store, master, polynomial, password, clock).await
    }

    async fn init_with(
        store: Arc<dyn Store>,
        master: CipherKey,
        polynomial: u64,
        password: &SecretString,
        clock: Clock,
    ) -> Result<Self, RepoError> {
        let location = store.location().to_owned();
        match store.head("config").await {
            Ok(_) => return Err(RepoError::AlreadyInitialised { location }),
            Err(error) if error.kind == crate::store::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        store.create().await?;
        let file = off_runtime({
            let (master, password, clock) = (master.clone(), password.clone(), clock.clone());
            move || KeyFile::create(&master, &password, &clock)
        })
        .await??;
        let key_id = keys::store_key(store.as_ref(), &file).await?;
        let config = Config::fresh(polynomial)?;
        let plain = serde_json::to_vec(&config).map_err(|error| RepoError::internal(error.to_string()))?;
        let sealed = master
            .seal(&plain)
            .map_err(|error| RepoError::internal(format!("no randomness: {error}")))?;
        // The config is written last: before it, the store is not a repository and may be initialised again.
        store
            .put("config", sealed.into())
            .await
            .map_err(|error| match error.kind {
                crate::store::ErrorKind::AlreadyExists => RepoError::AlreadyInitialised { location },
                _ => error.into(),
            })?;
        Ok(Self::assemble(store, master, key_id, config, clock))
    }

    /// Opens a repository with one of its passwords.
    pub async fn open(store: Arc<dyn Store>, password: &SecretString, clock: Clock) -> Result<Self, RepoError> {
        let location = store.location().to_owned();
        let not_found = |error: &crate::store::StoreError| error.kind == crate::store::ErrorKind::NotFound;
        // Asked together: far away, each question takes a twentieth of a second.
        let (sealed, keys) = tokio::join!(store.get("config"), store.list("keys/"));
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) if not_found(&error) => {
                return Err(RepoError::NotARepository {
                    location,
                    why: "it has no config file".to_owned(),
                });
            }
            Err(error) => return Err(error.into()),
        };
        let (key_id, key) = open_keys(store.as_ref(), keys?, password).await?;
        let plain = key
            .open(&sealed)
            .map_err(|_| RepoError::damaged("config", "it does not authenticate"))?;
        let config: Config =
            serde_json::from_slice(&plain).map_err(|error| RepoError::damaged("config", error.to_string()))?;
        if !(1..=2).contains(&config.version) {
            return Err(RepoError::UnsupportedVersion {
                location,
                version: config.version,
            });
        }
        Ok(Self::assemble(store, key, key_id, config, clock))
    }

    fn assemble(store: Arc<dyn Store>, key: CipherKey, key_id: String, config: Config, clock: Clock) -> Self {
        let (index, trees) = (Mutex::default(), blob::TreePacks::default());
        Self(Arc::new(Inner {
            store,
            key,
            key_id,
            config,
            clock,
            index,
            trees,
        }))
    }

    /// The id of the repository, 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.0.config.id
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

/// Tries every key file with the password.
async fn open_keys(
    store: &dyn Store,
    keys: Vec<ObjectInfo>,
    password: &SecretString,
) -> Result<(String, CipherKey), RepoError> {
    let mut damaged = None;
    let mut sound = 0;
    for object in keys {
        let name = object.key.trim_start_matches("keys/").to_owned();
        let label = format!("key {}", short(&name));
        let data = store.get(&object.key).await?;
        let file = match serde_json::from_slice::<KeyFile>(&data) {
            Ok(file) if Id::of(&data).hex() == name => file,
            Ok(_) => {
                damaged = Some(RepoError::damaged(label, "its bytes do not match its name"));
                continue;
            }
            Err(error) => {
                damaged = Some(RepoError::damaged(label, error.to_string()));
                continue;
            }
        };
        let password = password.clone();
        match off_runtime(move || file.open(&password)).await? {
            Ok(key) => return Ok((name, key)),
            Err(KeyFailure::Password) => sound += 1,
            Err(KeyFailure::Damaged(why)) => damaged = Some(RepoError::damaged(label, why)),
        }
    }
    let location = store.location().to_owned();
    match damaged {
        Some(error) if sound == 0 => Err(error),
        _ if sound == 0 => Err(RepoError::NotARepository {
            location,
            why: "it has no key files".to_owned(),
        }),
        _ => Err(RepoError::WrongPassword { location }),
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
