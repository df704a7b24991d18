//! The index: which pack holds which blob.
//!
//! Stored as JSON files below 8 MiB; in memory two hash maps from id to a 16-byte location, about 60 bytes a blob.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::id::{BuildIdHasher, Id};
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

type Map = HashMap<Id, Location, BuildIdHasher>;

/// Every blob of the repository, in memory.
#[derive(Debug, Clone, Default)]
pub struct Index {
    packs: Vec<Id>,
    data: Map,
    trees: Map,
}

impl Index {
    /// Adds an index file.
    pub fn add(&mut self, file: &IndexFile) {
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
            self.map_mut(blob.kind).entry(blob.id).or_insert(at);
        }
    }

    fn map(&self, kind: BlobKind) -> &Map {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }

    fn map_mut(&mut self, kind: BlobKind) -> &mut Map {
        match kind {
            BlobKind::Data => &mut self.data,
            BlobKind::Tree => &mut self.trees,
        }
    }

    /// Where a blob lies.
    pub fn find(&self, kind: BlobKind, id: &Id) -> Option<Location> {
        self.map(kind).get(id).copied()
    }

    /// Whether a blob is stored.
    pub fn has(&self, kind: BlobKind, id: &Id) -> bool {
        self.map(kind).contains_key(id)
    }

    /// The pack of a location.
    pub fn pack(&self, at: &Location) -> Id {
        self.packs.get(at.pack as usize).copied().unwrap_or_default()
    }

    /// How many blobs are known.
    pub fn len(&self) -> usize {
        self.data.len() + self.trees.len()
    }

    /// Whether no blob is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every blob.
    pub fn iter(&self) -> impl Iterator<Item = (BlobKind, &Id, &Location)> {
        let data = self.data.iter().map(|(id, at)| (BlobKind::Data, id, at));
        data.chain(self.trees.iter().map(|(id, at)| (BlobKind::Tree, id, at)))
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
}
