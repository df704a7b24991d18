//! Copying snapshots into another repository: only the blobs it does not have.
//!
//! **What it promises.** The copy restores to the same bytes, and remembers in `original` where it came from, as restic's
//! copies do; a snapshot that was copied before (same origin, time and tree) is left out. Nothing is compressed again.
//! Where both repositories have the same master key ([`Repository::init_like`]) packs that are wanted whole are taken over
//! as they are, under their own names; every blob is verified in any case.
//!
//! **Order and crash windows.** Packs, then index files, then snapshots. What a crash leaves are blobs without a
//! snapshot: the next copy finds them in the index, or a prune collects them.
//!
//! **Memory.** The source's index, the ids of what is wanted, and a fixed number of packs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Repository;
use super::beside::PARALLEL_READS;
use super::error::RepoError;
use super::files::FileKind;
use super::id::{BuildIdHasher, Id};
use super::index::{Index, IndexBlob};
use super::pack::BlobKind;
use super::progress::{Phase, Progress};
use super::snapshot::SnapshotInfo;
use super::stop::Stop;
use super::transfer::{Moved, Transfer, Wanted};
use crate::clock::Clock;
use crate::store::Store;

/// How large new packs become.
const PACK_BYTES: usize = 16 << 20;

/// A snapshot and its copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// The id in the source.
    pub source: String,
    /// The id in the destination.
    pub copy: String,
}

/// What a copy did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyReport {
    /// The snapshots copied, oldest first.
    pub copied: Vec<Copied>,
    /// Snapshots of the source that had been copied before.
    pub skipped: Vec<String>,
    /// New packs in the destination.
    pub packs: u64,
    /// Blobs in them.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Repository {
    /// Creates a repository in an empty store with the master key and the chunk boundaries of another, and a password of
    /// its own: copies between the two move whole packs as they are, and equal data is equal in both.
    pub async fn init_like(
        store: Arc<dyn Store>,
        source: &Self,
        password: &SecretString,
        clock: Clock,
    ) -> Result<Self, RepoError> {
        let polynomial = source.polynomial();
        Self::init_with(store, source.key().clone(), polynomial, password, clock).await
    }

    /// Copies snapshots of `source`, by whole ids or prefixes, into this repository; all of them when none is named.
    pub async fn copy_from(
        &self,
        source: &Self,
        ids: &[String],
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<CopyReport, RepoError> {
        if source.id() == self.id() {
            let what = "the source and the destination are the same repository".to_owned();
            return Err(RepoError::Invalid { what });
        }
        progress.set_phase(Phase::Preparing);
        let reading = source.lock_for_reading().await?;
        let lock = match self.lock(false).await {
            Ok(lock) => lock,
            Err(error) => {
                if let Some(reading) = reading {
                    let _ = reading.release().await;
                }
                return Err(error);
            }
        };
        let stop = Stop::new(cancel);
        let copy = Copy {
            source,
            target: self,
            progress: &progress,
            stop: &stop,
        };
        let mut result = copy.packs(ids).await;
        if result.is_ok() && lock.is_lost() {
            let what = "the lock could not be kept: another client may have removed what this copy relied on";
            result = Err(RepoError::Invalid { what: what.to_owned() });
        }
        let result = match result {
            Ok((chosen, report)) => copy.snapshots(chosen, report).await,
            Err(error) => Err(error),
        };
        let _ = lock.release().await;
        if let Some(reading) = reading {
            let _ = reading.release().await;
        }
        source.0.trees.clear();
        progress.set_phase(Phase::Done);
        result
    }
}

type Ids = HashSet<Id, BuildIdHasher>;

/// A copy under way.
struct Copy<'a> {
    source: &'a Repository,
    target: &'a Repository,
    progress: &'a Arc<Progress>,
    stop: &'a Stop,
}

/// Where a snapshot comes from: the first id it ever had.
fn origin(info: &SnapshotInfo) -> Option<Id> {
    info.snapshot.original.or_else(|| Id::parse(&info.id))
}

impl Copy<'_> {
    /// Chooses the snapshots and stores everything they need.
    async fn packs(&self, ids: &[String]) -> Result<(Vec<SnapshotInfo>, CopyReport), RepoError> {
        let (chosen, skipped) = self.choose(ids).await?;
        let (from, into) = (self.source.load_index().await?, self.target.load_index().await?);
        let wanted = self.wanted(&chosen, &from, &into).await?;
        let bytes = wanted
            .iter()
            .flat_map(|one| &one.blobs)
            .map(|blob| u64::from(blob.length));
        Progress::add(&self.progress.bytes_total, bytes.sum());
        Progress::add(&self.progress.files_total, wanted.len() as u64);
        self.progress.set_phase(Phase::Copying);
        let transfer = Transfer {
            source: self.source,
            target: self.target,
            pack_bytes: PACK_BYTES,
            progress: self.progress,
            stop: self.stop,
        };
        let Moved { packs, blobs, bytes } = transfer.run(wanted).await?;
        self.stop.result()?;
        let report = CopyReport {
            skipped,
            packs,
            blobs,
            bytes,
            ..CopyReport::default()
        };
        Ok((chosen, report))
    }

    /// The snapshots to copy, oldest first, and the ids of those that were copied before.
    async fn choose(&self, ids: &[String]) -> Result<(Vec<SnapshotInfo>, Vec<String>), RepoError> {
        let mut all = self.source.snapshots().await?;
        if !ids.is_empty() {
            let mut named = HashSet::new();
            for id in ids {
                named.insert(self.source.snapshot(id).await?.id);
            }
            all.retain(|info| named.contains(&info.id));
        }
        // What is in the destination and cannot be read is no reason not to copy.
        let (there, _) = self.target.snapshots_lossy().await?;
        let is_there = |info: &SnapshotInfo| {
            there.iter().any(|other| {
                let (a, b) = (&info.snapshot, &other.snapshot);
                origin(info) == origin(other) && a.time == b.time && a.tree == b.tree
            })
        };
        let (skipped, chosen): (Vec<_>, Vec<_>) = all.into_iter().partition(is_there);
        Ok((chosen, skipped.into_iter().map(|info| info.id).collect()))
    }

    /// What the destination lacks, by the packs of the source.
    async fn wanted(&self, chosen: &[SnapshotInfo], from: &Index, into: &Index) -> Result<Vec<Wanted>, RepoError> {
        let mut seen: [Ids; 2] = [Ids::default(), Ids::default()];
        let mut packs: BTreeMap<Id, Vec<IndexBlob>> = BTreeMap::new();
        let mut want = |kind: BlobKind, id: Id| -> Result<bool, RepoError> {
            if !seen[kind as usize].insert(id) {
                return Ok(false);
            }
            let at = from.find(kind, &id);
            let at = at.ok_or_else(|| RepoError::MissingBlob { blob: id.short() })?;
            if !into.has(kind, &id) {
                packs.entry(from.pack(&at)).or_default().push(IndexBlob {
                    id,
                    kind,
                    offset: at.offset,
                    length: at.length,
                    uncompressed_length: at.uncompressed().unwrap_or(0),
                });
            }
            Ok(true)
        };
        let mut todo = Vec::new();
        for info in chosen {
            let tree = info.snapshot.tree;
            if want(BlobKind::Tree, tree)? {
                todo.push(tree);
            }
        }
        while !todo.is_empty() {
            self.stop.result()?;
            let batch = todo.split_off(todo.len().saturating_sub(PARALLEL_READS * 2));
            let loads = batch.iter().map(|tree| self.source.load_tree(from, tree));
            let loaded: Vec<_> = futures_util::stream::iter(loads.collect::<Vec<_>>())
                .buffered(PARALLEL_READS)
                .collect()
                .await;
            for nodes in loaded {
                for node in nodes? {
                    for id in node.content {
                        want(BlobKind::Data, id)?;
                    }
                    if let Some(tree) = node.subtree
                        && want(BlobKind::Tree, tree)?
                    {
                        todo.push(tree);
                    }
                }
            }
        }
        self.sized(packs).await
    }

    /// Adds what the store says about the packs.
    async fn sized(&self, packs: BTreeMap<Id, Vec<IndexBlob>>) -> Result<Vec<Wanted>, RepoError> {
        let objects = self.source.retry(None, || self.source.store().list("data/")).await?;
        let sizes: HashMap<Id, u64> = objects
            .into_iter()
            .filter_map(|object| Some((Id::parse(object.key.rsplit('/').next()?)?, object.size)))
            .collect();
        let mut wanted = Vec::with_capacity(packs.len());
        for (pack, mut blobs) in packs {
            let gone = || RepoError::damaged(format!("pack {}", pack.short()), "it is not in the store");
            let size = *sizes.get(&pack).ok_or_else(gone)?;
            blobs.sort_by_key(|blob| blob.offset);
            let whole = super::pack::size_of(&blobs) == size;
            wanted.push(Wanted {
                pack,
                size,
                blobs,
                whole,
            });
        }
        Ok(wanted)
    }

    /// The commit point: lists the copies.
    async fn snapshots(&self, chosen: Vec<SnapshotInfo>, mut report: CopyReport) -> Result<CopyReport, RepoError> {
        self.progress.set_phase(Phase::Finishing);
        for info in chosen {
            let mut file: Value = self.source.load_json(FileKind::Snapshot, &info.id).await?;
            if let (Some(fields), Some(origin)) = (file.as_object_mut(), origin(&info)) {
                // The parent may not be in the destination.
                fields.remove("parent");
                fields.insert("original".to_owned(), origin.hex().into());
            }
            let copy = self.target.save_json(FileKind::Snapshot, &file).await?;
            report.copied.push(Copied { source: info.id, copy });
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::super::archive::Compression;
    use super::super::testing::{backup, below, check, contents, fresh, noise, password, restore, small_tree};
    use super::super::{BackupOptions, RestoreOptions, TagChange};
    use super::*;
    use crate::store::memory::MemoryStore;

    async fn copy(target: &Repository, source: &Repository, ids: &[String]) -> CopyReport {
        let done = target.copy_from(source, ids, Progress::new(), CancellationToken::new());
        done.await.unwrap()
    }

    async fn packs(store: &MemoryStore) -> Vec<String> {
        let objects = store.list("data/").await.unwrap();
        objects.into_iter().map(|object| object.key).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_what_is_missing_is_copied_and_it_restores() {
        let ((_, source), (store, target)) = (fresh().await, fresh().await);
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        small_tree(&tree);
        backup(&source, &tree).await.unwrap();
        std::fs::write(tree.join("new"), noise(9, 100_000)).unwrap();
        let second = backup(&source, &tree).await.unwrap().snapshot;
        let first = copy(&target, &source, &["latest".to_owned()]).await;
        assert_eq!((first.copied.len(), first.copied[0].source == second.id), (1, true));
        let rest = copy(&target, &source, &[]).await;
        assert_eq!((rest.copied.len(), rest.skipped), (1, vec![second.id.clone()]));
        assert!(rest.bytes < 10_000, "only the trees that differ: {}", rest.bytes);
        let before = packs(&store).await;
        let nothing = copy(&target, &source, &[]).await;
        assert_eq!((nothing.copied.len(), nothing.skipped.len(), nothing.blobs), (0, 2, 0));
        assert_eq!(packs(&store).await, before);
        // Other labels do not make another snapshot of it.
        let add = vec!["x".to_owned()];
        let change = TagChange {
            add,
            remove: Vec::new(),
        };
        source.tag(&second.id, &change).await.unwrap();
        assert!(copy(&target, &source, &[]).await.copied.is_empty());
        assert!(check(&target).await.is_sound());
        let out = dir.path().join("out");
        let options = RestoreOptions::new(first.copied[0].copy.clone(), out.clone());
        restore(&target, options).await.unwrap();
        assert_eq!(contents(&below(&out, &tree)), contents(&tree));
        assert!(source.locks().await.unwrap().is_empty() && target.locks().await.unwrap().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn with_the_same_key_packs_are_taken_over_as_they_are() {
        let (from, source) = fresh().await;
        let into = Arc::new(MemoryStore::new());
        let target = Repository::init_like(into.clone(), &source, &password(), Clock::system())
            .await
            .unwrap();
        assert!(target.id() != source.id() && target.polynomial() == source.polynomial());
        let dir = tempfile::tempdir().unwrap();
        small_tree(dir.path());
        backup(&source, dir.path()).await.unwrap();
        let done = copy(&target, &source, &[]).await;
        assert_eq!(packs(&into).await, packs(&from).await);
        assert_eq!(done.packs, packs(&from).await.len() as u64);
        let report = check(&target).await;
        assert!(report.is_sound() && report.notes.is_empty(), "{report:?}");
        // The same data, backed up into the copy, adds no data blob.
        assert_eq!(backup(&target, dir.path()).await.unwrap().stats.data_blobs, 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_damaged_is_not_copied() {
        for like in [false, true] {
            let ((from, source), (_, other)) = (fresh().await, fresh().await);
            let into: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let target = if like {
                Repository::init_like(into, &source, &password(), Clock::system())
                    .await
                    .unwrap()
            } else {
                other
            };
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("file"), noise(5, 400_000)).unwrap();
            let options = BackupOptions {
                paths: vec![dir.path().to_path_buf()],
                compression: Compression::Off,
                ..BackupOptions::default()
            };
            let backup = source.backup(options, Progress::new(), CancellationToken::new());
            backup.await.unwrap();
            for key in packs(&from).await {
                // Behind the trees, in the data.
                from.damage(&key, |data| {
                    if data.len() > 100_000 {
                        data[50_000] ^= 1;
                    }
                });
            }
            let done = target
                .copy_from(&source, &[], Progress::new(), CancellationToken::new())
                .await;
            assert!(matches!(done, Err(RepoError::Damaged { .. })), "{done:?}");
            assert!(target.snapshots().await.unwrap().is_empty());
        }
    }
}
