//! The fetcher in the background of `restore_command`: keeps the next segments at hand, several on their way at a time.
//!
//! It follows the position that the calls note, on that timeline, and keeps a window of segments behind it. Every segment is
//! whole and verified before it gets its name. What lies outside the window is removed, but for the one at the position: a
//! call may be about to take it, or wait for it; when nobody has asked for a while,
//! everything is, and the fetcher ends.
//!
//! **Crash windows.** Killed, it leaves at most a window of segments, which the next call uses or removes. A segment it could
//! not read is no answer: the call that needs it asks the archive itself, and tells what is wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::fetch::FetchSpool;
use super::{WalArchive, WalError};
use crate::clock::Clock;
use crate::domain::wal::{SegmentName, SegmentSize, WalName};

/// How often the position is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long nobody may ask before the fetcher ends.
const IDLE: Duration = Duration::from_secs(15);
/// How long the archive is believed that it has no more.
const END_HOLDS: Duration = Duration::from_secs(2);

/// How many segments are kept at hand.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// How many segments behind the position.
    pub segments: usize,
    /// How many are fetched at once.
    pub jobs: usize,
}

/// Fetches ahead until nobody asks any more.
pub async fn run(spool: &FetchSpool, archive: &WalArchive, window: Window, clock: &Clock) -> Result<(), WalError> {
    let Some(size) = archive.segment_size().await? else {
        return Ok(());
    };
    let result = follow(spool, archive, window, size, clock).await;
    spool.keep_only(|_| false);
    result
}

async fn follow(
    spool: &FetchSpool,
    archive: &WalArchive,
    window: Window,
    size: SegmentSize,
    clock: &Clock,
) -> Result<(), WalError> {
    let mut last = None;
    let mut moved = clock.monotonic();
    let mut end: Option<(SegmentName, std::time::Instant)> = None;
    let (mut coming, mut on_their_way) = (FuturesUnordered::new(), BTreeSet::new());
    loop {
        let Some(position) = spool.position() else {
            return Ok(());
        };
        if last != Some(position) {
            (last, moved) = (Some(position), clock.monotonic());
        } else if clock.elapsed(moved) > IDLE {
            return Ok(());
        }
        let wanted = after(position, window.segments, size);
        // The one at the position may be on its way to a call that waits for it.
        spool.keep_only(|name| name == position || wanted.contains(&name) || on_their_way.contains(&name));
        end = end.filter(|(_, since)| clock.elapsed(*since) < END_HOLDS);
        let known_end = end.map(|(name, _)| name);
        let may_be = |name: &SegmentName| known_end.is_none_or(|end| *name < end || name.timeline != end.timeline);
        for name in wanted.into_iter().filter(may_be) {
            if coming.len() == window.jobs {
                break;
            }
            if !on_their_way.contains(&name) && !spool.has(name) {
                spool.announce(name)?;
                on_their_way.insert(name);
                let path = spool.path(name);
                coming.push(async move { (archive.unpack(WalName::Segment(name), path).await, name) });
            }
        }
        tokio::select! {
            Some((found, name)) = coming.next(), if !coming.is_empty() => {
                on_their_way.remove(&name);
                spool.arrived(name);
                if !found? && end.is_none_or(|(end, _)| name < end) {
                    end = Some((name, clock.monotonic()));
                }
            }
            () = clock.sleep(LOOK_EVERY) => {}
        }
    }
}

/// The segments behind a position, in order.
fn after(position: SegmentName, count: usize, size: SegmentSize) -> Vec<SegmentName> {
    std::iter::successors(position.next(size), |name| name.next(size))
        .take(count)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::wal::SystemId;
    use crate::repo::Repository;
    use crate::source::postgres::wal::file::Content;
    use crate::source::postgres::wal::page::sample;
    use crate::store::memory::MemoryStore;

    const SYSTEM: SystemId = SystemId(7);

    fn size() -> SegmentSize {
        SegmentSize::try_from(1 << 20).unwrap()
    }

    fn name(number: u64) -> SegmentName {
        SegmentName::numbered(crate::domain::wal::TimelineId(1), number, size())
    }

    fn names(dir: &std::path::Path) -> Vec<u64> {
        let entries = std::fs::read_dir(dir).unwrap().flatten();
        let inner = entries.flat_map(|entry| std::fs::read_dir(entry.path()).into_iter().flatten().flatten());
        let found = inner.filter_map(|entry| entry.file_name().to_string_lossy().parse::<SegmentName>().ok());
        let mut numbers: Vec<u64> = found.filter_map(|name| name.number(size())).collect();
        numbers.sort_unstable();
        numbers
    }

    #[tokio::test]
    async fn it_keeps_a_window_behind_the_position_and_leaves_nothing() {
        let password = "secret".to_owned().into();
        let repo = Repository::init(Arc::new(MemoryStore::new()), &password, Clock::system());
        let archive = WalArchive::new(repo.await.unwrap(), SYSTEM);
        archive.ensure(size()).await.unwrap();
        for number in 1..=9 {
            let name = name(number);
            let bytes = sample(name, SYSTEM, size(), 3, 128);
            let size = Some(size());
            let name = WalName::Segment(name);
            archive.put(Content { name, bytes, size }).await.unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let spool = FetchSpool::open(dir.path(), "a key").unwrap();
        spool.set_position(name(2)).unwrap();
        let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
        let window = Window { segments: 4, jobs: 2 };
        let work = run(&spool, &archive, window, &clock);
        let ask = async {
            let until = async |wanted: &[u64]| {
                for _ in 0..1000 {
                    if names(dir.path()) == wanted {
                        return;
                    }
                    clock.advance(LOOK_EVERY);
                    Clock::system().sleep(Duration::from_millis(5)).await;
                }
                panic!("{:?} instead of {wanted:?}", names(dir.path()));
            };
            until(&[3, 4, 5, 6]).await;
            let target = dir.path().join("taken");
            assert!(spool.take(name(3), &target, &clock).await.unwrap());
            assert_eq!(std::fs::read(&target).unwrap(), sample(name(3), SYSTEM, size(), 3, 128));
            assert!(!spool.take(name(3), &target, &clock).await.unwrap(), "it is taken once");
            spool.set_position(name(6)).unwrap();
            // A call may be about to take the one at the position.
            until(&[6, 7, 8, 9]).await;
            assert!(spool.take(name(6), &target, &clock).await.unwrap());
            spool.set_position(name(8)).unwrap();
            until(&[8, 9]).await;
            loop {
                clock.advance(IDLE);
                Clock::system().sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            ended = work => ended.unwrap(),
            () = ask => unreachable!("it ends when nobody asks"),
        }
        assert!(names(dir.path()).is_empty());
        let other = FetchSpool::open(dir.path(), "another key").unwrap();
        assert!(!spool.log().parent().unwrap().exists(), "what nobody uses is removed");
        drop(other);
    }
}
