//! Which ranges of packs are fetched for one window, and in what portions the threads take them.
//!
//! Neighbouring blobs become one request; what lies between and is not needed is fetched along when that is cheaper than
//! another request. A portion is bounded by what it fetches and by what it writes, so that no thread is left with more work
//! than all the others together.

use std::ops::Range;

use super::plan::Place;
use crate::repo::id::Id;
use crate::repo::index::{Index, Location};
use crate::repo::pack::BlobKind;

/// The most bytes one request fetches.
const RANGE_BYTES: u64 = 8 << 20;
/// The most bytes that are written for one request: what compresses well makes much of a little, and one thread would still
/// be at work on it when all the others have ended.
const WRITTEN_BYTES: u64 = 32 << 20;
/// Unneeded bytes that are rather fetched than skipped: over a network a request costs as much as some hundred kilobytes.
const GAP_LOCAL: u64 = 64 << 10;
const GAP_REMOTE: u64 = 512 << 10;

/// A blob to fetch and the places it goes to.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) id: Id,
    pub(super) at: Location,
    pub(super) places: Range<usize>,
}

/// The blobs of the places, which stand together by blob.
pub(super) fn wants(index: &Index, places: &[Place]) -> Vec<Want> {
    let mut wants = Vec::new();
    let mut from = 0;
    for same in places.chunk_by(|a, b| a.blob == b.blob) {
        if let Some((id, at)) = same
            .first()
            .and_then(|place| index.numbered(BlobKind::Data, place.blob))
        {
            let places = from..from + same.len();
            wants.push(Want { id, at, places });
        }
        from += same.len();
    }
    wants
}

/// Joins neighbouring blobs of a pack into ranges.
pub(super) fn runs(wants: &[Want], remote: bool) -> Vec<Range<usize>> {
    let gap = if remote { GAP_REMOTE } else { GAP_LOCAL };
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut written = 0;
    for (at, want) in wants.iter().enumerate() {
        let writes = want.at.plain_length().saturating_mul(want.places.len() as u64);
        if let Some(run) = runs.last_mut() {
            let (first, last) = (&wants[run.start].at, &wants[run.end - 1].at);
            let end = |at: &Location| u64::from(at.offset) + u64::from(at.length);
            let near = u64::from(want.at.offset) <= end(last) + gap;
            let small = end(&want.at).saturating_sub(u64::from(first.offset)) <= RANGE_BYTES;
            let little = written + writes <= WRITTEN_BYTES;
            if first.pack_number() == want.at.pack_number() && near && small && little {
                run.end = at + 1;
                written += writes;
                continue;
            }
        }
        runs.push(at..at + 1);
        written = writes;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::index::IndexPack;
    use crate::repo::pack::PackedBlob;

    #[test]
    fn a_portion_is_bounded_by_what_it_fetches_and_by_what_it_writes() {
        // Blobs side by side in one pack: the length of each stored and plain, and how many places it goes to.
        let portions = |count: u32, stored: u32, plain: u32, places: usize| {
            let blobs: Vec<PackedBlob> = (0..count)
                .map(|number| PackedBlob {
                    id: Id::of(&number.to_le_bytes()),
                    kind: BlobKind::Data,
                    offset: number * stored,
                    length: stored,
                    plain_length: Some(plain),
                })
                .collect();
            let mut index = Index::default();
            index.add_pack(&IndexPack::new(Id::of(b"pack"), &blobs));
            let wants: Vec<Want> = blobs
                .iter()
                .map(|blob| Want {
                    id: blob.id,
                    at: index.find(BlobKind::Data, &blob.id).unwrap(),
                    places: 0..places,
                })
                .collect();
            let runs = runs(&wants, false);
            assert_eq!(runs.iter().map(Range::len).sum::<usize>(), count as usize);
            runs.len()
        };
        assert_eq!(portions(16, 1 << 20, 1 << 20, 1), 2);
        assert_eq!(portions(16, 1 << 10, 16 << 20, 1), 8);
        assert_eq!(portions(16, 1 << 10, 1 << 20, 16), 8);
        // One blob is one portion, however much it writes.
        assert_eq!(portions(2, 1 << 10, 1 << 20, 1000), 2);
    }
}
