//! Everything a prune knows of the packs: which are stored, which blobs the index says are in them, and which of those
//! are needed.
//!
//! **Memory.** One entry of 52 bytes and one flag a blob; the trees, which have to be opened, a second time in an
//! [`Index`] of their own. Nothing else grows with the number of blobs.
//!
//! Whole or an error: a listing or an index file that cannot be read ends the prune before it has begun.

use std::collections::{BTreeMap, HashMap};

use futures_util::StreamExt;

use crate::repo::Repository;
use crate::repo::beside::PARALLEL_READS;
use crate::repo::crypto::OVERHEAD;
use crate::repo::error::RepoError;
use crate::repo::files::FileKind;
use crate::repo::id::{BuildIdHasher, Id};
use crate::repo::index::{Index, IndexBlob, IndexFile, IndexPack};
use crate::repo::pack::BlobKind;

/// A blob in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    kind: BlobKind,
    id: Id,
    pub(super) pack: u32,
    offset: u32,
    pub(super) length: u32,
    plain: u32,
}

impl Entry {
    /// As an index file has it.
    pub(super) fn blob(&self) -> IndexBlob {
        IndexBlob {
            id: self.id,
            kind: self.kind,
            offset: self.offset,
            length: self.length,
            uncompressed_length: self.plain,
        }
    }

    /// What it takes in a pack: the envelope and its line in the header.
    pub(super) fn weight(&self) -> u64 {
        u64::from(self.length) + if self.plain == 0 { 37 } else { 41 }
    }
}

/// A pack, from the index or from the listing.
#[derive(Debug, Clone)]
pub(super) struct PackInfo {
    pub(super) id: Id,
    /// Its size in the store; none when it is not there.
    pub(super) size: Option<u64>,
    /// The size its blobs add up to.
    pub(super) expected: u64,
    /// How many blobs the index says it has; none for a pack that no index names.
    pub(super) blobs: u32,
    /// Whether an index names it.
    pub(super) indexed: bool,
    /// Of what kind its first blob is.
    pub(super) kind: BlobKind,
}

impl PackInfo {
    fn new(id: Id, indexed: bool) -> Self {
        Self {
            id,
            size: None,
            expected: OVERHEAD as u64 + 4,
            blobs: 0,
            indexed,
            kind: BlobKind::Data,
        }
    }

    /// Whether it is there as the index says.
    pub(super) fn is_sound(&self) -> bool {
        self.indexed && self.size == Some(self.expected)
    }
}

/// The packs and their blobs.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    pub(super) packs: Vec<PackInfo>,
    /// Sorted by kind, id, pack.
    pub(super) entries: Vec<Entry>,
    /// Whether the blob of an entry is needed; only the first of several copies is flagged.
    pub(super) needed: Vec<bool>,
    /// The trees only, for opening them.
    pub(super) trees: Index,
    /// The index files, and which packs each names.
    pub(super) files: BTreeMap<String, Vec<u32>>,
}

impl Catalogue {
    /// Reads every index file and lists every pack.
    pub(super) async fn load(repo: &Repository) -> Result<Self, RepoError> {
        let mut this = Self::default();
        let mut numbers = HashMap::with_hasher(BuildIdHasher::default());
        let names = repo.list_files(FileKind::Index).await?;
        let loads = names.into_iter().map(|(name, _)| async move {
            let file = repo.load_json::<IndexFile>(FileKind::Index, &name).await;
            file.map(|file| (name, file))
        });
        let mut loads = futures_util::stream::iter(loads).buffered(PARALLEL_READS);
        while let Some(loaded) = loads.next().await {
            let (name, file) = loaded?;
            this.add_file(&mut numbers, name, file)?;
        }
        drop(loads);
        for object in repo.retry(None, || repo.store().list("data/")).await? {
            let Some(id) = object.key.rsplit('/').next().and_then(Id::parse) else {
                continue;
            };
            let number = this.number(&mut numbers, id, false)?;
            this.packs[number as usize].size = Some(object.size);
        }
        this.settle();
        Ok(this)
    }

    fn number(
        &mut self,
        numbers: &mut HashMap<Id, u32, BuildIdHasher>,
        id: Id,
        indexed: bool,
    ) -> Result<u32, RepoError> {
        if let Some(number) = numbers.get(&id) {
            return Ok(*number);
        }
        let number = u32::try_from(self.packs.len()).map_err(|_| RepoError::internal("more packs than can be"))?;
        self.packs.push(PackInfo::new(id, indexed));
        numbers.insert(id, number);
        Ok(number)
    }

    fn add_file(
        &mut self,
        numbers: &mut HashMap<Id, u32, BuildIdHasher>,
        name: String,
        file: IndexFile,
    ) -> Result<(), RepoError> {
        let mut named = Vec::with_capacity(file.packs.len());
        for IndexPack { id, blobs } in file.packs {
            let pack = self.number(numbers, id, true)?;
            named.push(pack);
            self.entries.extend(blobs.into_iter().map(|blob| Entry {
                kind: blob.kind,
                id: blob.id,
                pack,
                offset: blob.offset,
                length: blob.length,
                plain: blob.uncompressed_length,
            }));
        }
        self.files.insert(name, named);
        Ok(())
    }

    /// Sorts the entries, drops those that two index files repeat, and adds up the packs.
    fn settle(&mut self) {
        self.entries.sort_unstable();
        self.entries.dedup();
        self.needed = vec![false; self.entries.len()];
        let mut trees: HashMap<u32, Vec<IndexBlob>> = HashMap::new();
        for entry in &self.entries {
            let pack = &mut self.packs[entry.pack as usize];
            if pack.blobs == 0 {
                pack.kind = entry.kind;
            }
            pack.blobs += 1;
            pack.expected += entry.weight();
            if entry.kind == BlobKind::Tree {
                trees.entry(entry.pack).or_default().push(entry.blob());
            }
        }
        for (pack, blobs) in trees {
            // A tree is opened where it is sure to be.
            let info = &self.packs[pack as usize];
            if info.is_sound() {
                self.trees.add_pack(&IndexPack { id: info.id, blobs });
            }
        }
    }

    /// Flags a blob as needed; says whether it was not before, or none when no sound pack has it.
    pub(super) fn need(&mut self, kind: BlobKind, id: &Id) -> Option<bool> {
        let first = self
            .entries
            .partition_point(|entry| (entry.kind, entry.id) < (kind, *id));
        let copies = self.entries[first..]
            .iter()
            .take_while(|entry| entry.kind == kind && entry.id == *id);
        let mut copies = copies.filter(|entry| self.packs[entry.pack as usize].is_sound());
        copies.next()?;
        Some(!std::mem::replace(&mut self.needed[first], true))
    }

    /// The copies of every needed blob that lie in sound packs: positions of entries, one blob at a time.
    pub(super) fn copies(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            while at < self.entries.len() {
                let start = at;
                let (kind, id) = (self.entries[start].kind, self.entries[start].id);
                while at < self.entries.len() && (self.entries[at].kind, self.entries[at].id) == (kind, id) {
                    at += 1;
                }
                if self.needed[start] {
                    return Some(start..at);
                }
            }
            None
        })
    }

    /// How many bytes all stored packs have.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.packs.iter().filter_map(|pack| pack.size).sum()
    }
}
