//! The changes of a prune, in the order that the essay of [`super`] states.

use std::collections::HashSet;

use futures_util::StreamExt;

use super::{Choice, Prune, PruneReport, newcomer};
use crate::repo::archive::upload::Collected;
use crate::repo::beside::Beside;
use crate::repo::error::RepoError;
use crate::repo::files::{FileKind, pack_key};
use crate::repo::id::Id;
use crate::repo::index::{IndexFile, IndexPack};
use crate::repo::lock::Lock;
use crate::repo::progress::{Phase, Progress};
use crate::repo::short;
use crate::repo::transfer::Transfer;
use crate::store::ErrorKind;

/// How many objects are deleted at once.
const PARALLEL_DELETES: usize = 16;
/// An index file with fewer packs is small.
const SMALL_INDEX: usize = 16;
/// So many small index files are put together.
const MANY_SMALL: usize = 32;

impl Prune<'_> {
    /// Does what was decided.
    pub(super) async fn act(mut self, lock: &Lock) -> Result<PruneReport, RepoError> {
        self.repack().await?;
        self.still_ours(lock)?;
        self.mark();
        self.state.save(self.repo).await?;
        self.expire_trash().await?;
        let deleted = self.remove(lock).await?;
        if !deleted.is_empty() {
            self.state.marks.retain(|pack, _| !deleted.contains(pack));
            self.state.save(self.repo).await?;
        }
        self.count_waiting(&deleted);
        // Parts of uploads that never ended cost room and no reader sees them; the next prune tries again.
        drop(self.repo.store().tidy().await);
        Ok(self.report)
    }

    /// Stops when somebody cancelled, or when others may take our lock for stale.
    fn still_ours(&self, lock: &Lock) -> Result<(), RepoError> {
        self.stop.result()?;
        if lock.is_lost() {
            let what = "the lock could not be kept, so the prune stopped where it was; nothing is lost";
            return Err(RepoError::Invalid { what: what.to_owned() });
        }
        Ok(())
    }

    async fn repack(&mut self) -> Result<(), RepoError> {
        if self.choice.repack.is_empty() {
            return Ok(());
        }
        self.progress.set_phase(Phase::Copying);
        let wanted = self.choice.wanted(&self.catalogue);
        let bytes = wanted
            .iter()
            .flat_map(|one| &one.blobs)
            .map(|blob| u64::from(blob.length));
        Progress::add(&self.progress.bytes_total, bytes.sum());
        let transfer = Transfer {
            source: self.repo,
            target: self.repo,
            pack_bytes: self.options.pack_bytes.clamp(64 << 10, 128 << 20),
            progress: self.progress,
            stop: self.stop,
        };
        let moved = transfer.run(wanted).await.map_err(super::uncertain)?;
        self.report.bytes_repacked = moved.bytes;
        Ok(())
    }

    /// Removes the entries of the trash whose period is over, and those beside a listed snapshot.
    async fn expire_trash(&mut self) -> Result<(), RepoError> {
        let keys = std::mem::take(&mut self.trash_goes);
        let keys = keys.into_iter().map(|name| Beside::Trash.key(&name)).collect();
        let protected = self.delete(keys).await?;
        self.report.locked += protected.len() as u64;
        Ok(())
    }

    /// Phase two: what is ripe leaves the index, then the store. Returns the packs that are gone.
    async fn remove(&mut self, lock: &Lock) -> Result<HashSet<Id>, RepoError> {
        self.progress.set_phase(Phase::Finishing);
        let mut ripe = self.ripe();
        if let Some(doubt) = self.state.doubt.filter(|doubt| !self.is_ripe(*doubt)) {
            self.report.postponed = (!ripe.is_empty())
                .then(|| format!("a lock that looked stale at {doubt} may belong to a client that is still at work"));
            ripe.clear();
        }
        let mut drop: HashSet<Id> = Choice::ids(&self.catalogue, &ripe).into_iter().collect();
        drop.extend(Choice::ids(&self.catalogue, &self.choice.gone));
        if !self.nobody_came().await? {
            return Ok(HashSet::new());
        }
        self.still_ours(lock)?;
        let held = self.rewrite_index(&drop).await?;
        ripe.retain(|pack| !held.contains(&self.catalogue.packs[*pack as usize].id));
        if ripe.is_empty() {
            return Ok(HashSet::new());
        }
        if !self.nobody_came().await? {
            self.put_back(&ripe).await?;
            return Ok(HashSet::new());
        }
        self.still_ours(lock)?;
        self.delete_packs(&ripe).await
    }

    /// Whether the snapshots are still those we looked at; if not, says so in the report.
    async fn nobody_came(&mut self) -> Result<bool, RepoError> {
        let came = newcomer(self.repo, &self.listed).await?;
        if let Some(id) = &came {
            let short = short(id);
            self.report.postponed = Some(format!("snapshot {short} appeared meanwhile, in spite of the lock"));
        }
        Ok(came.is_none())
    }

    /// Writes the index anew without the packs that leave it; returns packs that an index file we may not delete names.
    async fn rewrite_index(&mut self, drop: &HashSet<Id>) -> Result<HashSet<Id>, RepoError> {
        let packs = &self.catalogue.packs;
        let files = &self.catalogue.files;
        let small = files.values().filter(|named| named.len() < SMALL_INDEX).count();
        let affected: Vec<String> = files
            .iter()
            .filter(|(_, named)| {
                let leaves = named.iter().any(|pack| drop.contains(&packs[*pack as usize].id));
                leaves || (small >= MANY_SMALL && named.len() < SMALL_INDEX)
            })
            .map(|(name, _)| name.clone())
            .collect();
        let mut written = HashSet::new();
        let mut index = Collected::large(self.repo);
        for name in &affected {
            let file: IndexFile = self.repo.load_json(FileKind::Index, name).await?;
            for pack in file.packs {
                if !drop.contains(&pack.id) && written.insert(pack.id) {
                    index.add(pack).await?;
                }
            }
        }
        index.flush().await?;
        let key = |name: &String| format!("{}{name}", FileKind::Index.prefix());
        let protected = self.delete(affected.iter().map(key).collect()).await?;
        self.report.locked += protected.len() as u64;
        let still_there = affected.iter().filter(|name| protected.contains(&key(name)));
        let named = still_there.filter_map(|name| self.catalogue.files.get(name)).flatten();
        Ok(named.map(|pack| self.catalogue.packs[*pack as usize].id).collect())
    }

    /// Names packs in the index again.
    async fn put_back(&self, packs: &[u32]) -> Result<(), RepoError> {
        let packs: HashSet<u32> = packs.iter().copied().collect();
        let mut index = Collected::large(self.repo);
        let mut blobs: std::collections::BTreeMap<u32, Vec<_>> = std::collections::BTreeMap::new();
        for entry in self
            .catalogue
            .entries
            .iter()
            .filter(|entry| packs.contains(&entry.pack))
        {
            blobs.entry(entry.pack).or_default().push(entry.blob());
        }
        for (pack, blobs) in blobs {
            let id = self.catalogue.packs[pack as usize].id;
            index.add(IndexPack { id, blobs }).await?;
        }
        index.flush().await
    }

    async fn delete_packs(&mut self, packs: &[u32]) -> Result<HashSet<Id>, RepoError> {
        Progress::add(&self.progress.files_total, packs.len() as u64);
        let key = |pack: &u32| pack_key(&self.catalogue.packs[*pack as usize].id);
        let protected = self.delete(packs.iter().map(key).collect()).await?;
        self.report.locked += protected.len() as u64;
        let gone = packs.iter().filter(|pack| !protected.contains(&key(pack)));
        let gone: Vec<_> = gone.map(|pack| &self.catalogue.packs[*pack as usize]).collect();
        self.report.packs_deleted = gone.len() as u64;
        self.report.bytes_deleted = gone.iter().filter_map(|info| info.size).sum();
        Ok(gone.into_iter().map(|info| info.id).collect())
    }

    /// Deletes objects, several at once; returns those that the store protects.
    async fn delete(&self, keys: Vec<String>) -> Result<HashSet<String>, RepoError> {
        let deletes = keys.into_iter().map(|key| async move {
            let done = self.repo.delete_gone(&key).await;
            Progress::add(&self.progress.files_done, 1);
            (key, done)
        });
        let mut deletes = futures_util::stream::iter(deletes.collect::<Vec<_>>()).buffer_unordered(PARALLEL_DELETES);
        let mut protected = HashSet::new();
        while let Some((key, done)) = deletes.next().await {
            match done {
                Err(RepoError::Store(error)) if error.kind == ErrorKind::Locked => drop(protected.insert(key)),
                other => other?,
            }
        }
        Ok(protected)
    }
}
