//! Reading single blobs, and trees with a small cache of the packs they lie in.
//!
//! Trees of one snapshot lie together in few packs and are read one by one: after a few reads from the same pack the
//! whole pack is fetched, so that walking a snapshot costs one request a pack instead of one a directory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::Repository;
use super::error::RepoError;
use super::files::{decode_blob, pack_key};
use super::id::Id;
use super::index::{Index, Location};
use super::pack::BlobKind;
use super::tree::{self, Node};

/// After so many reads of one pack the rest of it is fetched too.
const READS_BEFORE_WHOLE: u32 = 3;
/// How many bytes of packs are kept.
const CACHE_BYTES: usize = 48 << 20;

#[derive(Debug, Default)]
pub(super) struct TreePacks(Mutex<Cache>);

#[derive(Debug, Default)]
struct Cache {
    reads: HashMap<Id, u32>,
    whole: Vec<(Id, Bytes)>,
}

impl TreePacks {
    /// The whole pack, or whether it is worth fetching.
    fn look(&self, pack: &Id, at_once: bool) -> (Option<Bytes>, bool) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = cache.whole.iter().position(|(id, _)| id == pack) {
            let entry = cache.whole.remove(at);
            let data = entry.1.clone();
            cache.whole.push(entry);
            return (Some(data), false);
        }
        if cache.reads.len() > 10_000 {
            cache.reads.clear();
        }
        let reads = cache.reads.entry(*pack).or_insert(0);
        *reads += 1;
        (None, at_once || *reads > READS_BEFORE_WHOLE)
    }

    fn keep(&self, pack: Id, data: Bytes) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.whole.retain(|(id, _)| *id != pack);
        cache.whole.push((pack, data));
        while cache.whole.len() > 1 && cache.whole.iter().map(|(_, data)| data.len()).sum::<usize>() > CACHE_BYTES {
            cache.whole.remove(0);
        }
    }

    /// Forgets the packs; called at the end of an operation, so that an idle agent holds none.
    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Cache::default();
    }
}

impl Repository {
    /// Reads one blob and verifies it.
    pub(crate) async fn load_blob(&self, index: &Index, kind: BlobKind, id: &Id) -> Result<Vec<u8>, RepoError> {
        let at = index
            .find(kind, id)
            .ok_or_else(|| RepoError::MissingBlob { blob: id.short() })?;
        let sealed = self.read_range(index, &at).await?;
        decode_blob(self.key(), kind, &mut Vec::from(sealed), at.uncompressed(), id)
    }

    async fn read_range(&self, index: &Index, at: &Location) -> Result<Bytes, RepoError> {
        let key = pack_key(&index.pack(at));
        let (offset, length) = (u64::from(at.offset), u64::from(at.length));
        Ok(self
            .retry(None, || self.0.store.get_range(&key, offset, length))
            .await?)
    }

    /// Reads one directory.
    pub(crate) async fn load_tree(&self, index: &Index, id: &Id) -> Result<Vec<Node>, RepoError> {
        self.load_tree_of(index, id, false).await
    }

    /// Reads one directory; when `all` of the snapshot's will be read, its pack is fetched at once over a network.
    pub(crate) async fn load_tree_of(&self, index: &Index, id: &Id, all: bool) -> Result<Vec<Node>, RepoError> {
        let at_once = all && self.store().capabilities().remote;
        let plain = self.load_tree_bytes(index, id, at_once).await?;
        tree::decode(&plain).map_err(|why| RepoError::damaged(format!("tree {}", id.short()), why))
    }

    async fn load_tree_bytes(&self, index: &Index, id: &Id, at_once: bool) -> Result<Vec<u8>, RepoError> {
        let at = index
            .find(BlobKind::Tree, id)
            .ok_or_else(|| RepoError::MissingBlob { blob: id.short() })?;
        let pack = index.pack(&at);
        let whole = match self.0.trees.look(&pack, at_once) {
            (Some(data), _) => Some(data),
            (None, true) => {
                let key = pack_key(&pack);
                let data = self.retry(None, || self.0.store.get(&key)).await?;
                self.0.trees.keep(pack, data.clone());
                Some(data)
            }
            (None, false) => None,
        };
        let mut sealed = match whole {
            Some(data) => {
                let range = at.offset as usize..at.offset as usize + at.length as usize;
                let short = || RepoError::damaged(format!("pack {}", pack.short()), "it is truncated");
                data.get(range).ok_or_else(short)?.to_vec()
            }
            None => Vec::from(self.read_range(index, &at).await?),
        };
        decode_blob(self.key(), BlobKind::Tree, &mut sealed, at.uncompressed(), id)
    }
}
