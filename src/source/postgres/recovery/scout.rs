//! Looks for a place in the archived log: an instant, a transaction, a named restore point; and for the newest commit.
//!
//! An instant is found by halving: commits are in order of time but for the microseconds in which several are written at
//! once, so a few segments are read and not all. A transaction or a name has no order and is looked for from the beginning,
//! several segments at a time. What is found decides which base backup is chosen and what is told; where recovery really ends
//! is PostgreSQL's own decision, made record by record.
//!
//! **Memory.** A bounded number of segments, as everywhere in the archive.

use futures_util::StreamExt;

use crate::domain::Timestamp;
use crate::domain::pitr::{Base, Interval, Log, Place, Search, Target};
use crate::domain::wal::Lsn;
use crate::source::postgres::wal::record::{Dated, Event, Reader};
use crate::source::postgres::wal::{WalArchive, WalError, workers};

/// How many segments are read for one that says when it was written, before it is given up.
const PATIENCE: u64 = 16;

/// Reads the dated records that begin in one segment; the last of them may end in the next.
async fn dated(archive: &WalArchive, log: &Log, search: &Search, number: u64) -> Result<Vec<Dated>, WalError> {
    let (mut reader, mut found) = (Reader::default(), Vec::new());
    let (_, last) = numbers(log, search);
    for read in number..=last {
        let name = log.segment(&search.way, read);
        let Some((name, start)) = name.and_then(|name| Some((name, name.start(log.size)?))) else {
            break;
        };
        let Some(content) = archive.get_whole_or_growing(name).await? else {
            break;
        };
        let content = content.bytes;
        let reading = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            if read == number {
                reader.segment(start, &content, &mut |dated| found.push(dated));
            } else {
                reader.rest(start, &content, &mut |dated| found.push(dated));
            }
            (reader, found)
        });
        let (back, more) = reading.await.map_err(|error| WalError::worker(&error))?;
        (reader, found) = (back, [found, more].concat());
        if !reader.is_amid() {
            break;
        }
    }
    found.retain(|dated| dated.lsn >= search.from && dated.lsn < search.to);
    Ok(found)
}

fn is_end(dated: &Dated) -> bool {
    matches!(dated.event, Event::Commit | Event::Abort)
}

/// The first and last number of a stretch.
fn numbers(log: &Log, search: &Search) -> (u64, u64) {
    let last = log.number(Lsn(search.to.0.saturating_sub(1)));
    (log.number(search.from), last)
}

/// Looks through stretches, in their order, for a target.
pub async fn find(
    archive: &WalArchive,
    log: &Log,
    stretches: &[Search],
    target: &Target,
    inclusive: bool,
) -> Result<Place, WalError> {
    let mut place = Place::Unknown;
    for stretch in stretches {
        place = match target {
            Target::Time(at) => instant(archive, log, stretch, *at, inclusive).await?,
            Target::Xid(xid) => {
                let xid = (xid & 0xffff_ffff) as u32;
                let is_it = move |dated: &Dated| dated.xid == Some(xid);
                through(archive, log, stretch, is_it).await?
            }
            Target::Name(name) => {
                let is_it = |dated: &Dated| matches!(&dated.event, Event::RestorePoint(found) if found == name);
                through(archive, log, stretch, is_it).await?
            }
            Target::Latest | Target::Immediate | Target::Lsn(_) => Place::Unknown,
        };
        if matches!(place, Place::At { .. }) {
            break;
        }
    }
    Ok(place)
}

/// The first segment from a number on that ends a transaction, with those ends; none up to `hi`.
async fn first_with_ends(
    archive: &WalArchive,
    log: &Log,
    search: &Search,
    from: u64,
    hi: u64,
) -> Result<Option<(u64, Vec<Dated>)>, WalError> {
    for number in from..=hi {
        let mut ends = dated(archive, log, search, number).await?;
        ends.retain(is_end);
        if !ends.is_empty() {
            return Ok(Some((number, ends)));
        }
    }
    Ok(None)
}

/// Finds the first end of a transaction behind an instant: what PostgreSQL stops in front of.
async fn instant(
    archive: &WalArchive,
    log: &Log,
    search: &Search,
    at: Timestamp,
    inclusive: bool,
) -> Result<Place, WalError> {
    let behind = |dated: &Dated| if inclusive { dated.at > at } else { dated.at >= at };
    let (first, last) = numbers(log, search);
    let (mut lo, mut hi) = (first, last);
    let mut best: Option<Vec<Dated>> = None;
    let mut newest = None;
    while lo <= hi {
        let middle = lo + (hi - lo) / 2;
        let found = first_with_ends(archive, log, search, middle, hi).await?;
        match found {
            Some((_, ends)) if ends.iter().any(behind) => best = Some(ends),
            Some((number, ends)) => {
                newest = newest.max(ends.iter().map(|dated| dated.at).max());
                lo = number + 1;
                continue;
            }
            None => {}
        }
        let Some(below) = middle.checked_sub(1).filter(|below| *below >= lo) else {
            break;
        };
        hi = below;
    }
    let stop = best.and_then(|ends| ends.into_iter().find(behind));
    Ok(match stop {
        Some(stop) => Place::At { lsn: stop.lsn },
        None => Place::Behind { last: newest },
    })
}

/// Looks through a whole stretch for the first record that is the one.
async fn through(
    archive: &WalArchive,
    log: &Log,
    search: &Search,
    is_it: impl Fn(&Dated) -> bool,
) -> Result<Place, WalError> {
    let (first, last) = numbers(log, search);
    let names = (first..=last).filter_map(|number| log.segment(&search.way, number));
    let contents = futures_util::stream::iter(names)
        .map(|name| async move { Ok((name, archive.get_whole_or_growing(name).await?)) })
        .buffered(workers(4, log.size));
    let mut contents = std::pin::pin!(contents);
    let mut reader = Reader::default();
    while let Some(read) = contents.next().await {
        let (name, content) = read.map_err(|error: WalError| error)?;
        let (Some(content), Some(start)) = (content, name.start(log.size)) else {
            break;
        };
        let reading = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            reader.segment(start, &content.bytes, &mut |dated| found.push(dated));
            (reader, found)
        });
        let (back, found) = reading.await.map_err(|error| WalError::worker(&error))?;
        reader = back;
        let inside = |dated: &&Dated| dated.lsn >= search.from && dated.lsn < search.to;
        if let Some(one) = found.iter().filter(inside).find(|dated| is_it(dated)) {
            return Ok(Place::At { lsn: one.lsn });
        }
    }
    Ok(Place::Nowhere)
}

/// When the newest transaction of a stretch was committed; none when the end of it says nothing about time.
pub async fn newest_commit(
    archive: &WalArchive,
    (bases, log): (&[Base], &Log),
    interval: &Interval,
) -> Result<Option<Timestamp>, WalError> {
    let Some(way) = log.way_from(bases, interval.timeline) else {
        return Ok(None);
    };
    let search = Search {
        way,
        from: interval.from,
        to: interval.to,
    };
    let (first, last) = numbers(log, &search);
    for number in (first..=last).rev().take(usize::try_from(PATIENCE).unwrap_or(16)) {
        let found = dated(archive, log, &search, number).await?;
        if let Some(newest) = found.iter().filter(|dated| is_end(dated)).map(|dated| dated.at).max() {
            return Ok(Some(newest));
        }
    }
    // Nothing was committed since the base backup ended, as far as was looked.
    Ok((last - first < PATIENCE).then_some(interval.from_at))
}
