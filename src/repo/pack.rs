//! Pack files: `blobs ‖ sealed header ‖ u32 little-endian length of the sealed header`.
//!
//! A header entry is `type(1) ‖ stored length(4) [‖ plain length(4)] ‖ SHA-256(32)`; the types are 0 data, 1 tree, and
//! 2 and 3 for their zstd forms, which carry the plain length. Entries are in the order of the blobs, without gaps.

use super::crypto::{CipherKey, OVERHEAD};
use super::id::Id;

/// What a blob holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobKind {
    /// A piece of a file.
    Data,
    /// A directory.
    Tree,
}

/// One blob of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedBlob {
    /// The SHA-256 of the plain bytes.
    pub id: Id,
    /// Data or tree.
    pub kind: BlobKind,
    /// Where the envelope begins in the pack.
    pub offset: u32,
    /// The length of the envelope.
    pub length: u32,
    /// The plain length, when the blob is compressed.
    pub plain_length: Option<u32>,
}

const PLAIN_ENTRY: usize = 37;
const COMPRESSED_ENTRY: usize = 41;

/// The most bytes a header can have; restic refuses more, and so no forged length makes us allocate it.
pub const MAX_HEADER: u64 = 16 << 20;

/// Writes the plain header of a pack.
pub fn encode_header(blobs: &[PackedBlob]) -> Vec<u8> {
    let mut out = Vec::with_capacity(blobs.len() * COMPRESSED_ENTRY);
    for blob in blobs {
        let base = u8::from(blob.kind == BlobKind::Tree);
        out.push(if blob.plain_length.is_some() { base + 2 } else { base });
        out.extend_from_slice(&blob.length.to_le_bytes());
        if let Some(plain) = blob.plain_length {
            out.extend_from_slice(&plain.to_le_bytes());
        }
        out.extend_from_slice(&blob.id.0);
    }
    out
}

/// Reads the plain header of a pack; the error says what is wrong with it.
pub fn decode_header(mut header: &[u8]) -> Result<Vec<PackedBlob>, String> {
    let mut blobs = Vec::with_capacity(header.len() / PLAIN_ENTRY);
    let mut offset: u32 = 0;
    while let Some(kind_byte) = header.first() {
        let (kind, compressed) = match kind_byte {
            0 => (BlobKind::Data, false),
            1 => (BlobKind::Tree, false),
            2 => (BlobKind::Data, true),
            3 => (BlobKind::Tree, true),
            other => return Err(format!("the header has a blob of unknown type {other}")),
        };
        let size = if compressed { COMPRESSED_ENTRY } else { PLAIN_ENTRY };
        let (entry, rest) = header
            .split_at_checked(size)
            .ok_or("the header ends in the middle of an entry")?;
        let number = |at: usize| entry[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let length = number(1);
        let id = Id(*entry
            .last_chunk::<32>()
            .ok_or("the header ends in the middle of an entry")?);
        if (length as usize) < OVERHEAD {
            return Err(format!("blob {} is shorter than its envelope", id.short()));
        }
        blobs.push(PackedBlob {
            id,
            kind,
            offset,
            length,
            plain_length: compressed.then(|| number(5)),
        });
        offset = offset
            .checked_add(length)
            .ok_or("the blobs are longer than a pack can be")?;
        header = rest;
    }
    Ok(blobs)
}

/// A pack that is being filled.
#[derive(Debug)]
pub struct PackBuilder {
    data: Vec<u8>,
    blobs: Vec<PackedBlob>,
}

/// A finished pack.
#[derive(Debug)]
pub struct FinishedPack {
    /// The name: the hash of the bytes.
    pub id: Id,
    /// What is stored.
    pub data: Vec<u8>,
    /// What is in it.
    pub blobs: Vec<PackedBlob>,
}

impl PackBuilder {
    /// An empty pack that fills `buffer`, which is empty and decides how much fits.
    pub fn new(buffer: Vec<u8>) -> Self {
        Self {
            data: buffer,
            blobs: Vec::new(),
        }
    }

    /// Whether a blob of `length` bytes, and the header, still fit into the memory the pack began with.
    pub fn has_room(&self, length: usize) -> bool {
        let header = (self.blobs.len() + 1) * COMPRESSED_ENTRY + OVERHEAD + 4;
        self.data.len() + length + header <= self.data.capacity()
    }

    /// Whether it holds no blob.
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// How many blobs it holds.
    pub fn count(&self) -> usize {
        self.blobs.len()
    }

    /// Appends a sealed blob.
    pub fn push(&mut self, kind: BlobKind, id: Id, sealed: &[u8], plain_length: Option<u32>) {
        // A pack is closed long before 4 GiB, and a blob is at most a chunk or a tree.
        let offset = u32::try_from(self.data.len()).expect("a pack stays below 4 GiB");
        let length = u32::try_from(sealed.len()).expect("a blob stays below 4 GiB");
        self.data.extend_from_slice(sealed);
        self.blobs.push(PackedBlob {
            id,
            kind,
            offset,
            length,
            plain_length,
        });
    }

    /// Appends the header and names the pack.
    pub fn finish(mut self, key: &CipherKey) -> Result<FinishedPack, getrandom::Error> {
        let header = key.seal(&encode_header(&self.blobs))?;
        let length = u32::try_from(header.len()).expect("a header stays below 4 GiB");
        self.data.extend_from_slice(&header);
        self.data.extend_from_slice(&length.to_le_bytes());
        Ok(FinishedPack {
            id: Id::of(&self.data),
            data: self.data,
            blobs: self.blobs,
        })
    }
}

/// The size of a pack that holds these blobs and nothing else.
pub fn size_of(blobs: &[super::index::IndexBlob]) -> u64 {
    let entry = |compressed: bool| {
        if compressed { COMPRESSED_ENTRY } else { PLAIN_ENTRY }
    };
    let blobs = blobs
        .iter()
        .map(|blob| u64::from(blob.length) + entry(blob.uncompressed_length != 0) as u64);
    blobs.sum::<u64>() + OVERHEAD as u64 + 4
}

/// Where the sealed header of a pack of `size` bytes lies, from its last four bytes.
pub fn header_range(size: u64, tail: [u8; 4]) -> Result<(u64, u64), String> {
    let length = u64::from(u32::from_le_bytes(tail));
    if length < OVERHEAD as u64 || length > MAX_HEADER {
        return Err(format!("the header has the impossible length {length}"));
    }
    let start = size
        .checked_sub(4 + length)
        .ok_or("the header is longer than the pack")?;
    Ok((start, length))
}

/// Reads the header of a whole pack.
pub fn read_header(key: &CipherKey, pack: &[u8]) -> Result<Vec<PackedBlob>, String> {
    let tail = pack.last_chunk::<4>().ok_or("it is shorter than a header")?;
    let (start, length) = header_range(pack.len() as u64, *tail)?;
    let range = usize::try_from(start).ok().zip(usize::try_from(start + length).ok());
    let sealed = range
        .and_then(|(from, to)| pack.get(from..to))
        .ok_or("the header is longer than the pack")?;
    open_header(key, sealed, start)
}

/// Opens the sealed header of a pack whose blobs end where it begins, at `start`.
pub fn open_header(key: &CipherKey, sealed: &[u8], start: u64) -> Result<Vec<PackedBlob>, String> {
    let blobs = decode_header(&key.open(sealed).map_err(|_| "the header does not authenticate")?)?;
    let end = blobs
        .last()
        .map_or(0, |blob| u64::from(blob.offset) + u64::from(blob.length));
    if end == start {
        Ok(blobs)
    } else {
        Err("the blobs of the header do not fill the pack".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pack_reads_back() {
        let key = CipherKey::random().unwrap();
        let mut builder = PackBuilder::new(Vec::new());
        builder.push(BlobKind::Data, Id::of(b"a"), &[1; 40], None);
        builder.push(BlobKind::Tree, Id::of(b"b"), &[2; 33], Some(77));
        let pack = builder.finish(&key).unwrap();
        assert_eq!(read_header(&key, &pack.data).unwrap(), pack.blobs);
        for cut in [0, 3, 10, pack.data.len() - 1] {
            assert!(read_header(&key, &pack.data[..cut]).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn headers_round_trip(entries in proptest::collection::vec((any::<bool>(), 32u32..1 << 20, any::<Option<u32>>(), any::<[u8; 32]>()), 0..50)) {
            let mut offset = 0;
            let blobs: Vec<PackedBlob> = entries.into_iter().map(|(tree, length, plain_length, id)| {
                let kind = if tree { BlobKind::Tree } else { BlobKind::Data };
                let blob = PackedBlob { id: Id(id), kind, offset, length, plain_length };
                offset += length;
                blob
            }).collect();
            prop_assert_eq!(decode_header(&encode_header(&blobs)).unwrap(), blobs);
        }

        #[test]
        fn forged_headers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode_header(&bytes);
            let _ = read_header(&CipherKey::new([7; 64]), &bytes);
        }
    }
}
