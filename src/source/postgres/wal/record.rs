//! What is written in the log about time: the ends of transactions, and named restore points.
//!
//! Only the beginnings of records are looked at. Layout of `XLogRecord` (`src/include/access/xlogrecord.h`, the same in
//! PostgreSQL 13 to 18): length 4, transaction 4, previous 8, info 1, manager 1, padding 2, checksum 4; then headers of data,
//! each with an id; then the data, which begins with a time, in microseconds since 2000, in the records we look for. Records
//! begin at multiples of eight and may go over pages and segments.
//!
//! What this file never does: judge a record by its checksum. The server that replays it does; here a wrong record could only
//! make an estimate wrong, or a target look as if it were not there.

use crate::domain::Timestamp;
use crate::domain::wal::Lsn;

/// The length of a record's header.
const HEADER: usize = 24;
/// How much of a record is kept: the header, the headers of its data, a time and the longest name of a restore point.
const KEPT: usize = HEADER + 16 + 8 + 64;
const CONTINUES: u16 = 0x0001;
const LONG_PAGE: u16 = 0x0002;
/// 2000-01-01 in microseconds since 1970.
const EPOCH: i64 = 946_684_800_000_000;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A transaction was committed.
    Commit,
    /// A transaction was rolled back.
    Abort,
    /// A restore point was named.
    RestorePoint(String),
}

/// A record that has a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated {
    /// Where it begins.
    pub lsn: Lsn,
    /// When it was written, by the server's clock.
    pub at: Timestamp,
    /// The transaction; none for one that was prepared earlier, and for restore points.
    pub xid: Option<u32>,
    /// What happened.
    pub event: Event,
}

/// A record whose end has not come yet.
#[derive(Debug)]
struct Pending {
    lsn: Lsn,
    kept: Vec<u8>,
    left: usize,
}

/// Reads segments one after the other.
#[derive(Debug, Default)]
pub struct Reader {
    pending: Option<Pending>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn aligned(length: usize) -> usize {
    length.saturating_add(7) & !7
}

impl Reader {
    /// Reads a segment that begins at `start`, up to the end of what is written in it; `tell` hears of each dated record.
    pub fn segment(&mut self, start: Lsn, content: &[u8], tell: &mut dyn FnMut(Dated)) {
        self.pages(start, content, false, tell);
    }

    /// Reads the pages of a segment, or only those that the record goes on in which the last one ended within.
    fn pages(&mut self, start: Lsn, content: &[u8], rest: bool, tell: &mut dyn FnMut(Dated)) {
        let size = number(content, 36).map_or(8192, u32::from_le_bytes) as usize;
        if !size.is_power_of_two() || !(512..=65_536).contains(&size) {
            return;
        }
        for (index, page) in content.chunks_exact(size).enumerate() {
            let at = Lsn(start.0 + (index * size) as u64);
            let address = number(page, 8).map(u64::from_le_bytes);
            // Zeros, or what a recycled file still holds of an older segment.
            if address != Some(at.0) || number(page, 0).map(u16::from_le_bytes) == Some(0) {
                self.pending = None;
                return;
            }
            if rest && self.pending.as_ref().is_none_or(|pending| pending.lsn >= start) {
                return;
            }
            self.page(at, page, tell);
        }
    }

    /// Whether the segments read so far end within a record that may have a time.
    pub fn is_amid(&self) -> bool {
        self.pending
            .as_ref()
            .is_some_and(|pending| may_have_time(&pending.kept))
    }

    /// Reads on, in the segment that begins at `start`, to the end of the record that the last one ended within.
    pub fn rest(&mut self, start: Lsn, content: &[u8], tell: &mut dyn FnMut(Dated)) {
        let mut own = |dated: Dated| {
            if dated.lsn < start {
                tell(dated);
            }
        };
        self.pages(start, content, true, &mut own);
        self.pending.take_if(|pending| pending.lsn >= start);
    }

    fn page(&mut self, at: Lsn, page: &[u8], tell: &mut dyn FnMut(Dated)) {
        let flags = number(page, 2).map_or(0, u16::from_le_bytes);
        let left = number(page, 16).map_or(0, u32::from_le_bytes) as usize;
        let mut place: usize = if flags & LONG_PAGE == 0 { 24 } else { 40 };
        if flags & CONTINUES == 0 {
            self.pending = None;
        } else {
            let end = place.saturating_add(left).min(page.len());
            self.go_on(page.get(place..end).unwrap_or_default(), tell);
            place = place.saturating_add(aligned(left));
        }
        while let Some(length) = number(page, place).map(u32::from_le_bytes) {
            let length = length as usize;
            if length < HEADER {
                return;
            }
            let lsn = Lsn(at.0 + place as u64);
            self.pending = Some(Pending {
                lsn,
                kept: Vec::new(),
                left: length,
            });
            let end = place.saturating_add(length).min(page.len());
            self.go_on(&page[place..end], tell);
            place = place.saturating_add(aligned(length));
        }
    }

    /// Takes the next bytes of the record that is being read.
    fn go_on(&mut self, bytes: &[u8], tell: &mut dyn FnMut(Dated)) {
        let Some(pending) = &mut self.pending else { return };
        let room = KEPT.saturating_sub(pending.kept.len()).min(bytes.len());
        pending.kept.extend_from_slice(&bytes[..room]);
        pending.left = pending.left.saturating_sub(bytes.len());
        if pending.left == 0 {
            if let Some(dated) = dated(pending.lsn, &pending.kept) {
                tell(dated);
            }
            self.pending = None;
        }
    }
}

/// Whether the beginning of a record, as far as it is known, may be that of one with a time.
fn may_have_time(record: &[u8]) -> bool {
    let (info, manager) = (record.get(16), record.get(17));
    manager.is_none_or(|manager| {
        matches!(
            (manager, info.map(|info| info & 0x70)),
            (1, Some(0x00 | 0x20 | 0x30 | 0x40)) | (0, Some(0x70))
        )
    })
}

/// Reads the beginning of a record; none when it has no time we look for.
fn dated(lsn: Lsn, record: &[u8]) -> Option<Dated> {
    let xid = u32::from_le_bytes(number(record, 4)?);
    let (info, manager) = (*record.get(16)?, *record.get(17)?);
    let prepared = matches!((manager, info & 0x70), (1, 0x30 | 0x40));
    let kind = match (manager, info & 0x70) {
        (1, 0x00 | 0x30) => Event::Commit,
        (1, 0x20 | 0x40) => Event::Abort,
        (0, 0x70) if info & 0xf0 == 0x70 => Event::RestorePoint(String::new()),
        _ => return None,
    };
    let mut place = HEADER;
    let data = loop {
        match *record.get(place)? {
            255 => break place + 2,
            254 => break place + 5,
            253 => place += 3,
            252 => place += 5,
            _ => return None,
        }
    };
    let micros = i64::from_le_bytes(number(record, data)?).checked_add(EPOCH)?;
    let at = Timestamp::from_timestamp_micros(micros)?;
    let event = match kind {
        Event::RestorePoint(_) => {
            let name = record.get(data + 8..)?;
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            Event::RestorePoint(String::from_utf8_lossy(&name[..end]).into_owned())
        }
        other => other,
    };
    let has_xid = !prepared && !matches!(event, Event::RestorePoint(_));
    Some(Dated {
        lsn,
        at,
        xid: has_xid.then_some(xid),
        event,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: usize = 1 << 20;

    fn record(manager: u8, info: u8, xid: u32, data: &[u8]) -> Vec<u8> {
        let long = data.len() > 255;
        let length = HEADER + if long { 5 } else { 2 } + data.len();
        let mut record = vec![0; HEADER];
        record[..4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        record[4..8].copy_from_slice(&xid.to_le_bytes());
        (record[16], record[17]) = (info, manager);
        if long {
            record.push(254);
            record.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        } else {
            record.extend([255, u8::try_from(data.len()).unwrap()]);
        }
        record.extend(data);
        record
    }

    /// Lays records into segments as the server does.
    fn log(records: &[Vec<u8>], segments: usize) -> Vec<Vec<u8>> {
        let mut stream = records.iter().fold(Vec::new(), |mut all: Vec<u8>, record| {
            all.resize(aligned(all.len()), 0);
            all.extend(record);
            all
        });
        let mut ends = Vec::new();
        let mut end = 0;
        for record in records {
            end = aligned(end) + record.len();
            ends.push(end);
        }
        stream.reverse();
        let (mut laid, mut done) = (Vec::new(), 0);
        for segment in 0..segments {
            let mut content = vec![0; SIZE];
            for (index, page) in content.chunks_mut(8192).enumerate() {
                let header = if index == 0 { 40 } else { 24 };
                let inside = ends.iter().find(|end| **end > done).copied().unwrap_or(0);
                let begun = records.len() - ends.iter().filter(|end| **end > done).count();
                let start = if begun == 0 { 0 } else { aligned(ends[begun - 1]) };
                let continues = done > start && inside > done;
                page[..2].copy_from_slice(&0xd110u16.to_le_bytes());
                page[2] = u8::from(index == 0) * 2 + u8::from(continues);
                page[8..16].copy_from_slice(&((segment * SIZE + index * 8192) as u64).to_le_bytes());
                if continues {
                    page[16..20].copy_from_slice(&u32::try_from(inside - done).unwrap().to_le_bytes());
                }
                if index == 0 {
                    page[36..40].copy_from_slice(&8192u32.to_le_bytes());
                }
                let room = stream.len().min(8192 - header);
                for byte in &mut page[header..header + room] {
                    *byte = stream.pop().unwrap();
                }
                done += 8192 - header;
            }
            laid.push(content);
        }
        laid
    }

    fn read(segments: &[Vec<u8>]) -> Vec<Dated> {
        let (mut reader, mut found) = (Reader::default(), Vec::new());
        for (index, content) in segments.iter().enumerate() {
            reader.segment(Lsn((index * SIZE) as u64), content, &mut |dated| found.push(dated));
        }
        found
    }

    fn commit(xid: u32, seconds: i64) -> Vec<u8> {
        record(1, 0, xid, &(seconds * 1_000_000).to_le_bytes())
    }

    #[test]
    fn ends_of_transactions_and_names_are_read() {
        let mut point = 7_000_000i64.to_le_bytes().to_vec();
        point.extend(b"before the deploy\0");
        point.resize(72, 0);
        let records = [
            commit(7, 1),
            record(10, 0, 8, &[1; 90]),
            record(1, 0x20, 9, &2_000_000i64.to_le_bytes()),
            record(0, 0x70, 0, &point),
            record(1, 0x30, 0, &3_000_000i64.to_le_bytes()),
        ];
        let found = read(&log(&records, 1));
        let told: Vec<(Option<u32>, &Event)> = found.iter().map(|dated| (dated.xid, &dated.event)).collect();
        let name = Event::RestorePoint("before the deploy".to_owned());
        let expected = [
            (Some(7), &Event::Commit),
            (Some(9), &Event::Abort),
            (None, &name),
            (None, &Event::Commit),
        ];
        assert_eq!(told, expected);
        assert_eq!(found[0].at.to_rfc3339(), "2000-01-01T00:00:01+00:00");
        assert_eq!(found[0].lsn, Lsn(40));
    }

    /// Each segment by itself, with as much of the next as its last record needs.
    fn read_apart(segments: &[Vec<u8>]) -> Vec<Dated> {
        let mut found = Vec::new();
        for (index, content) in segments.iter().enumerate() {
            let mut reader = Reader::default();
            reader.segment(Lsn((index * SIZE) as u64), content, &mut |dated| found.push(dated));
            for (next, content) in segments.iter().enumerate().skip(index + 1) {
                if !reader.is_amid() {
                    break;
                }
                reader.rest(Lsn((next * SIZE) as u64), content, &mut |dated| found.push(dated));
            }
        }
        found
    }

    #[test]
    fn a_commit_over_the_edge_of_a_segment_is_read_with_the_segment_it_begins_in() {
        // A commit whose header is cut at every place by the end of the first segment.
        let room = SIZE - 40 - 127 * 24;
        for cut in (8..40).step_by(8) {
            let filler = record(10, 0, 1, &vec![5; room - cut - HEADER - 5]);
            let segments = log(&[filler, commit(77, 1), commit(78, 2)], 2);
            let xids: Vec<_> = read_apart(&segments).iter().filter_map(|dated| dated.xid).collect();
            assert_eq!(xids, [77, 78], "{cut} bytes of it are in the first");
        }
    }

    proptest! {
        #[test]
        fn records_over_pages_and_segments_are_found(lengths in prop::collection::vec(1usize..40_000, 1..60)) {
            let mut records = Vec::new();
            for (xid, length) in lengths.iter().enumerate() {
                records.push(record(10, 0, 1, &vec![5; *length]));
                records.push(commit(u32::try_from(xid).unwrap(), 1));
            }
            let segments = log(&records, 3);
            let found = read(&segments);
            let xids: Vec<u32> = found.iter().filter_map(|dated| dated.xid).collect();
            prop_assert_eq!(xids, (0..u32::try_from(lengths.len()).unwrap()).collect::<Vec<_>>());
            prop_assert_eq!(read_apart(&segments), found);
        }

        #[test]
        fn no_bytes_make_it_panic(at in prop::collection::vec((0usize..20_000, any::<u8>()), 0..200)) {
            let mut segment = log(&[commit(7, 1), record(10, 0, 8, &[1; 9000]), commit(8, 1)], 1).remove(0);
            for (place, byte) in at {
                segment[place] = byte;
            }
            read(&[segment]);
        }
    }
}
