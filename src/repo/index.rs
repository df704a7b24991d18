//! The index: which pack holds which blob.
//!
//! Stored as JSON files below 8 MiB; in memory two tables from id to a 16-byte location, about 56 bytes a blob. Each blob has
//! a number, so that whoever needs a set of blobs needs a bit for each and no more.

use serde::{Deserialize, Serialize};

use super::id::Id;
use super::pack::{BlobKind, PackedBlob};

/// One blob of an index file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IndexBlob {
    /// The id of the blob.
    pub id: Id,
    /// Data or tree.
    #[serde(rename = "type")]
    pub kind: BlobKind,
    /// Where it begins in the pack.
    pub offset: u32,
    /// Its stored length.
    pub length: u32,
    /// Its plain length, when compressed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uncompressed_length: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// One pack of an index file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IndexPack {
    /// The name of the pack.
    pub id: Id,
    /// What is in it.
    pub blobs: Vec<IndexBlob>,
}

/// An index file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct IndexFile {
    /// The index files this one replaces; written by old versions of restic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supersedes: Vec<Id>,
    /// The packs it describes.
    pub packs: Vec<IndexPack>,
}

impl IndexPack {
    /// Describes a pack that has just been stored.
    pub fn new(id: Id, blobs: &[PackedBlob]) -> Self {
        let blob = |blob: &PackedBlob| IndexBlob {
            id: blob.id,
            kind: blob.kind,
            offset: blob.offset,
            length: blob.length,
            uncompressed_length: blob.plain_length.unwrap_or(0),
        };
        Self {
            id,
            blobs: blobs.iter().map(blob).collect(),
        }
    }
}

/// Where a blob lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    pack: u32,
    /// Where its envelope begins.
    pub offset: u32,
    /// How long its envelope is.
    pub length: u32,
    plain: u32,
}

impl Location {
    /// The plain length when the blob is compressed.
    pub fn uncompressed(&self) -> Option<u32> {
        (self.plain != 0).then_some(self.plain)
    }

    /// The length of the plain bytes.
    pub fn plain_length(&self) -> u64 {
        let envelope = u32::try_from(super::crypto::OVERHEAD).unwrap_or(0);
        u64::from(self.uncompressed().unwrap_or(self.length.saturating_sub(envelope)))
    }

    /// A number that is the same for blobs of the same pack.
    pub fn pack_number(&self) -> u32 {
        self.pack
    }
}

/// A blob and where it lies.
#[derive(Debug, Clone, Copy)]
struct Entry {
    id: Id,
    at: Location,
}

/// The blobs of one kind: entries in the order they came, and a table of their numbers, found by the id.
///
/// Ids are hashes already, so their first bytes say where to look; a place that is taken sends the search to the next.
/// At 48 bytes an entry and four a place, a blob takes about 56 bytes, also while the table grows: large blocks of memory
/// move by changing the page table, not by copying.
#[derive(Debug, Clone, Default)]
struct Table {
    entries: Vec<Entry>,
    /// The number of an entry and one, or zero; a power of two of them, at most three quarters taken.
    places: Vec<u32>,
}

impl Table {
    fn start(&self, id: &Id) -> usize {
        let first = id.0.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        usize::try_from(first & (self.places.len() as u64).wrapping_sub(1)).unwrap_or(0)
    }

    /// The place of this id, or the free one where it belongs; there must be a free one.
    fn place(&self, id: &Id) -> usize {
        let mut at = self.start(id);
        while self.places[at] != 0 && self.entries[self.places[at] as usize - 1].id != *id {
            at = (at + 1) & (self.places.len() - 1);
        }
        at
    }

    fn number(&self, id: &Id) -> Option<u32> {
        if self.places.is_empty() {
            return None;
        }
        self.places[self.place(id)].checked_sub(1)
    }

    fn reserve(&mut self, more: usize) {
        let wanted = self.entries.len() + more;
        if wanted > self.entries.capacity() {
            // Not twice as much: the last growth of a large index would waste as much again.
            self.entries.reserve_exact(more.max(self.entries.len() / 8));
        }
        if wanted * 4 > self.places.len() * 3 {
            self.places = Vec::new();
            self.places.resize((wanted * 3 / 2).next_power_of_two().max(16), 0);
            for number in 0..self.entries.len() {
                let place = self.place(&self.entries[number].id);
                self.places[place] = u32::try_from(number + 1).unwrap_or(0);
            }
        }
    }

    /// Adds a blob unless it is known.
    fn add(&mut self, id: Id, at: Location) {
        self.reserve(1);
        let place = self.place(&id);
        if self.places[place] == 0
            && let Ok(number) = u32::try_from(self.entries.len() + 1)
        {
            self.entries.push(Entry { id, at });
            self.places[place] = number;
        }
    }
}

/// Every blob of the repository, in memory.
#[derive(Debug, Clone, Default)]
pub struct Index {
    packs: Vec<Id>,
    data: Table,
    trees: Table,
}

impl Index {
    /// Adds an index file.
    pub fn add(&mut self, file: &IndexFile) {
        let count = |kind| {
            let blobs = file.packs.iter().flat_map(|pack| &pack.blobs);
            blobs.filter(|blob| blob.kind == kind).count()
        };
        for kind in [BlobKind::Data, BlobKind::Tree] {
            let more = count(kind);
            if more > 0 {
                self.table_mut(kind).reserve(more);
            }
        }
        for pack in &file.packs {
            self.add_pack(pack);
        }
    }

    /// Adds one pack.
    pub fn add_pack(&mut self, pack: &IndexPack) {
        let Ok(number) = u32::try_from(self.packs.len()) else {
            return;
        };
        self.packs.push(pack.id);
        for blob in &pack.blobs {
            let at = Location {
                pack: number,
                offset: blob.offset,
                length: blob.length,
                plain: blob.uncompressed_length,
            };
            self.table_mut(blob.kind).add(blob.id, at);
        }
    }

    fn table(&self, kind: BlobKind) -> &Table {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }

    fn table_mut(&mut self, kind: BlobKind) -> &mut Table {
        match kind {
            BlobKind::Data => &mut self.data,
            BlobKind::Tree => &mut self.trees,
        }
    }

    /// Where a blob lies.
    pub fn find(&self, kind: BlobKind, id: &Id) -> Option<Location> {
        let number = self.number(kind, id)?;
        Some(self.table(kind).entries[number as usize].at)
    }

    /// The number of a blob among those of its kind: below [`Index::count`], and the same as long as the index lives.
    pub fn number(&self, kind: BlobKind, id: &Id) -> Option<u32> {
        self.table(kind).number(id)
    }

    /// The blob with a number.
    pub fn numbered(&self, kind: BlobKind, number: u32) -> Option<(Id, Location)> {
        let entry = self.table(kind).entries.get(number as usize)?;
        Some((entry.id, entry.at))
    }

    /// How many blobs of a kind are known.
    pub fn count(&self, kind: BlobKind) -> usize {
        self.table(kind).entries.len()
    }

    /// Whether a blob is stored.
    pub fn has(&self, kind: BlobKind, id: &Id) -> bool {
        self.number(kind, id).is_some()
    }

    /// The pack of a location.
    pub fn pack(&self, at: &Location) -> Id {
        self.packs.get(at.pack as usize).copied().unwrap_or_default()
    }

    /// Every pack, by its number; the same pack may stand in several index files and have several numbers.
    pub fn packs(&self) -> &[Id] {
        &self.packs
    }

    /// How many blobs are known.
    pub fn len(&self) -> usize {
        self.data.entries.len() + self.trees.entries.len()
    }

    /// Whether no blob is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every blob.
    pub fn iter(&self) -> impl Iterator<Item = (BlobKind, &Id, &Location)> {
        let of = |kind: BlobKind| {
            let entries = self.table(kind).entries.iter();
            entries.map(move |entry| (kind, &entry.id, &entry.at))
        };
        of(BlobKind::Data).chain(of(BlobKind::Tree))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_restic_writes() {
        let text = r#"{"packs":[{"id":"73d04e6125cf3c28a299cc2f3cca3b78ceac396e4fcf9575e34536b26782413c","blobs":[
            {"id":"3ec79977ef0cf5de7b08cd12b874cd0f62bbaf7f07f3497a5b1bbcc8cb39b1ce","type":"data","offset":0,"length":38,"uncompressed_length":22},
            {"id":"9ccb846e60d90d4eb915848add7aa7ea1e4bbabfc60e573db9f7bfb2789afbae","type":"tree","offset":38,"length":112}]}]}"#;
        let file: IndexFile = serde_json::from_str(text).unwrap();
        let mut index = Index::default();
        index.add(&file);
        let blob = &file.packs[0].blobs[0];
        let at = index.find(BlobKind::Data, &blob.id).unwrap();
        assert_eq!((at.offset, at.length, at.uncompressed()), (0, 38, Some(22)));
        assert_eq!(index.pack(&at), file.packs[0].id);
        let tree = index.find(BlobKind::Tree, &file.packs[0].blobs[1].id).unwrap();
        assert_eq!((tree.plain_length(), tree.uncompressed()), (80, None));
        assert!(!index.has(BlobKind::Tree, &blob.id));
        assert_eq!(serde_json::to_string(&file).unwrap(), text.replace(['\n', ' '], ""));
    }

    #[test]
    fn many_blobs_are_found_again_and_the_first_place_of_each_counts() {
        let id = |n: u32| Id::of(&n.to_le_bytes());
        let mut index = Index::default();
        for from in (0..20_000).step_by(100) {
            let blobs = (from..from + 200).map(|n| IndexBlob {
                id: id(n),
                kind: if n % 7 == 0 { BlobKind::Tree } else { BlobKind::Data },
                offset: from,
                length: 50,
                uncompressed_length: 0,
            });
            let packs = vec![IndexPack {
                id: id(from),
                blobs: blobs.collect(),
            }];
            index.add(&IndexFile {
                packs,
                ..IndexFile::default()
            });
        }
        assert_eq!((index.len(), index.packs().len()), (20_100, 200));
        let mut numbers: Vec<u32> = Vec::new();
        for n in 0..20_100 {
            let (kind, other) = if n % 7 == 0 {
                (BlobKind::Tree, BlobKind::Data)
            } else {
                (BlobKind::Data, BlobKind::Tree)
            };
            let at = index.find(kind, &id(n)).unwrap();
            assert_eq!(
                at.offset,
                (n / 100 * 100).saturating_sub(100),
                "the first pack that has it"
            );
            assert!(!index.has(other, &id(n)));
            numbers.extend(index.number(BlobKind::Data, &id(n)));
        }
        numbers.sort_unstable();
        assert!(
            numbers
                .iter()
                .copied()
                .eq(0..u32::try_from(index.count(BlobKind::Data)).unwrap())
        );
        assert!(!index.has(BlobKind::Data, &id(30_000)) && !Index::default().has(BlobKind::Data, &id(1)));
        assert_eq!(index.iter().count(), 20_100);
        let bytes = index.data.entries.capacity() * size_of::<Entry>() + index.data.places.len() * 4;
        assert!(bytes <= index.count(BlobKind::Data) * 64, "{bytes} bytes");
    }
}
