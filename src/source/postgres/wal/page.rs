//! The header at the beginning of a segment, and how far a growing segment is filled.
//!
//! Layout of `XLogPageHeaderData` and `XLogLongPageHeaderData` (`src/include/access/xlog_internal.h`): magic 2, flags 2,
//! timeline 4, address 8, remaining 4, padding 4; then, on the first page of a segment, system identifier 8, segment size 4,
//! page size 4. Numbers are in the byte order of the server; every platform it is packaged for today has little-endian.

use super::WalError;
use crate::domain::wal::{Lsn, SegmentName, SegmentSize, SystemId, TimelineId};

/// The length of the header of a segment's first page.
const LONG_HEADER: usize = 40;
/// The length of the other pages' headers.
const SHORT_HEADER: usize = 24;
/// The flag that says a header is the long one.
const IS_LONG: u16 = 0x0002;
/// The magics of PostgreSQL 13 to those yet to come; each version counts on.
const MAGICS: std::ops::RangeInclusive<u16> = 0xd106..=0xd15f;

/// What the first page of a segment says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FirstPage {
    /// The cluster.
    pub(super) system: SystemId,
    /// The size of its segments.
    pub(super) size: SegmentSize,
    /// Changes with every major version.
    magic: u16,
    /// The size of a page in bytes.
    page: usize,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Reads the first page of a segment and holds it against the name of its file.
pub(super) fn first_page(name: SegmentName, content: &[u8]) -> Result<FirstPage, WalError> {
    let wrong = |why: String| WalError::corrupt(name.to_string(), why);
    let header = content.get(..LONG_HEADER);
    let header = header.ok_or_else(|| wrong(format!("it has only {} bytes", content.len())))?;
    let short = || wrong("its header is cut".to_owned());
    let [magic, flags] = [0, 2].map(|at| number(header, at).map(u16::from_le_bytes));
    let [timeline, size, page] = [4, 32, 36].map(|at| number(header, at).map(u32::from_le_bytes));
    let [address, system] = [8, 24].map(|at| number(header, at).map(u64::from_le_bytes));
    let magic = magic.ok_or_else(short)?;
    if !MAGICS.contains(&magic) {
        return Err(wrong(format!(
            "it does not begin as a WAL segment does (magic {magic:04X})"
        )));
    }
    if flags.ok_or_else(short)? & IS_LONG == 0 {
        return Err(wrong("its first page has no segment header".to_owned()));
    }
    let size = u64::from(size.ok_or_else(short)?);
    let size = SegmentSize::try_from(size).map_err(|error| wrong(error.to_string()))?;
    let page = page.ok_or_else(short)? as usize;
    if !page.is_power_of_two() || !(512..=65_536).contains(&page) {
        return Err(wrong(format!("it claims pages of {page} bytes")));
    }
    let address = Lsn(address.ok_or_else(short)?);
    if name.start(size) != Some(address) {
        return Err(wrong(format!(
            "it holds the log from {address}, not what its name says"
        )));
    }
    // The first segment of a timeline begins with a copy of what its parent had of it.
    let timeline = TimelineId(timeline.ok_or_else(short)?);
    if timeline.0 == 0 || timeline > name.timeline {
        return Err(wrong(format!("it was written on timeline {timeline}")));
    }
    let system = SystemId(system.ok_or_else(short)?);
    Ok(FirstPage {
        system,
        size,
        magic,
        page,
    })
}

/// How many bytes of a growing segment are written: whole pages that are where they should be, without the zeros behind.
///
/// Zeros at the end are left out even when they belong to a record; whoever reads it fills up with zeros again.
pub(super) fn filled(name: SegmentName, content: &[u8]) -> Result<(FirstPage, usize), WalError> {
    let first = first_page(name, content)?;
    let start = name.start(first.size).unwrap_or_default();
    let right = |(index, page): &(usize, &[u8])| {
        let address = number(page, 8).map(u64::from_le_bytes);
        let magic = number(page, 0).map(u16::from_le_bytes);
        let whole = page.len() >= SHORT_HEADER && magic == Some(first.magic);
        whole && address == Some(start.0 + (index * first.page) as u64)
    };
    let pages = content.chunks(first.page).enumerate().take_while(right).count();
    let end = (pages * first.page).min(content.len());
    let zeros = content[..end].iter().rev().take_while(|byte| **byte == 0).count();
    Ok((first, end - zeros))
}

/// Makes segments for tests: right headers, and a body that depends on `seed`.
#[cfg(test)]
pub(super) fn sample(name: SegmentName, system: SystemId, size: SegmentSize, seed: u8, pages: usize) -> Vec<u8> {
    let mut content = vec![0; usize::try_from(size.bytes()).unwrap()];
    let start = name.start(size).unwrap().0;
    for (index, page) in content.chunks_mut(8192).enumerate().take(pages) {
        page.fill(seed ^ u8::try_from(index % 200).unwrap() | 1);
        page[..SHORT_HEADER].fill(0);
        page[..2].copy_from_slice(&0xd110u16.to_le_bytes());
        page[4..8].copy_from_slice(&name.timeline.0.to_le_bytes());
        page[8..16].copy_from_slice(&(start + index as u64 * 8192).to_le_bytes());
        if index == 0 {
            page[2] = 2;
            page[24..32].copy_from_slice(&system.0.to_le_bytes());
            page[32..36].copy_from_slice(&u32::try_from(size.bytes()).unwrap().to_le_bytes());
            page[36..40].copy_from_slice(&8192u32.to_le_bytes());
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> SegmentName {
        "000000020000000000000003".parse().unwrap()
    }

    fn whole() -> Vec<u8> {
        sample(name(), SystemId(7), SegmentSize::try_from(1 << 20).unwrap(), 9, 128)
    }

    #[test]
    fn a_segment_is_held_against_its_name() {
        let first = first_page(name(), &whole()).unwrap();
        assert_eq!((first.system, first.size.bytes()), (SystemId(7), 1 << 20));
        let older: SegmentName = "000000010000000000000003".parse().unwrap();
        let moved: SegmentName = "000000020000000000000004".parse().unwrap();
        for other in [older, moved] {
            assert!(first_page(other, &whole()).is_err(), "{other}");
        }
        assert!(
            first_page(older.on(TimelineId(9)), &whole()).is_ok(),
            "a copy of the parent's"
        );
        for (at, value) in [(0, 0), (1, 0xff), (2, 0), (4, 3), (9, 1), (32, 1), (36, 7), (7, 255)] {
            let mut bad = whole();
            bad[at] = value;
            assert!(first_page(name(), &bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_growing_segment_ends_where_its_pages_do() {
        let size = SegmentSize::try_from(1 << 20).unwrap();
        let mut content = sample(name(), SystemId(7), size, 9, 3);
        assert_eq!(filled(name(), &content).unwrap().1, 3 * 8192);
        content[2 * 8192 + 100..3 * 8192].fill(0);
        assert_eq!(filled(name(), &content).unwrap().1, 2 * 8192 + 100);
        // What a recycled file still holds of an older segment is not part of it.
        let older = sample("000000020000000000000001".parse().unwrap(), SystemId(7), size, 5, 128);
        content[3 * 8192..].copy_from_slice(&older[3 * 8192..]);
        assert_eq!(filled(name(), &content).unwrap().1, 2 * 8192 + 100);
        assert_eq!(filled(name(), &whole()).unwrap().1, 1 << 20);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), keep in 0usize..60) {
            let mut content = whole()[..keep].to_vec();
            content.extend(bytes);
            let _ = filled(name(), &content);
        }
    }
}
