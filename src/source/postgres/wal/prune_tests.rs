//! What goes, what waits, and what never does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::domain::pitr::{Base, keep};
use crate::domain::snapshot::ClusterFacts;
use crate::domain::wal::{Lsn, SegmentName, SystemId, TimelineId};
use crate::repo::Repository;
use crate::source::postgres::wal::file::Content;
use crate::source::postgres::wal::page::sample;
use crate::store::memory::MemoryStore;

const MIB: u64 = 1 << 20;
const SYSTEM: SystemId = SystemId(7);
const DAY: Millis = Millis::from_secs(86_400);

fn base(start: u64) -> Base {
    Base {
        id: format!("base-{start}").into(),
        facts: ClusterFacts {
            system: SYSTEM,
            timeline: TimelineId(1),
            start_lsn: Lsn(start * MIB + 40),
            stop_lsn: Lsn(start * MIB + 400),
            stopped_at: chrono::DateTime::UNIX_EPOCH,
            major: 15,
            damaged_pages: 0,
        },
        size: Bytes(1),
    }
}

fn size() -> SegmentSize {
    SegmentSize::try_from(MIB).unwrap()
}

fn floor(starts: &[u64]) -> Floor {
    let bases: Vec<Base> = starts.iter().map(|start| base(*start)).collect();
    keep::floor(&bases, &BTreeSet::new(), None, chrono::DateTime::UNIX_EPOCH, size()).unwrap()
}

async fn archive(clock: &Clock) -> WalArchive {
    let password = "secret".to_owned().into();
    let repo = Repository::init(Arc::new(MemoryStore::new()), &password, clock.clone())
        .await
        .unwrap();
    let archive = WalArchive::new(repo, SYSTEM);
    archive.ensure(size()).await.unwrap();
    for number in 1..=9 {
        let segment = SegmentName::numbered(TimelineId(1), number, size());
        let bytes = sample(segment, SYSTEM, size(), 3, 128);
        let size = Some(size());
        archive
            .put(Content {
                name: WalName::Segment(segment),
                bytes,
                size,
            })
            .await
            .unwrap();
    }
    let history = Content {
        name: WalName::History(TimelineId(2)),
        bytes: b"1\t0/200000\tx\n".to_vec(),
        size: None,
    };
    archive.put(history).await.unwrap();
    archive
}

async fn prune(archive: &WalArchive, floor: Floor) -> Outlook {
    let planned = archive.plan_prune(floor, DAY).await.unwrap();
    archive.prune(planned).await.unwrap()
}

async fn numbers(archive: &WalArchive) -> Vec<u64> {
    let listed = archive.list().await.unwrap();
    let segment = |listed: &Listed| match listed.entry {
        Entry::File(name) => name.segment()?.number(size()),
        _ => None,
    };
    listed.iter().filter_map(segment).collect()
}

#[tokio::test]
async fn nothing_goes_before_it_was_noted_a_grace_period_ago() {
    let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
    let archive = archive(&clock).await;
    let first = prune(&archive, floor(&[4, 8])).await;
    assert_eq!((first.goes.len(), first.waits), (0, 3));
    assert!(first.due_at.is_some());
    clock.advance(Duration::from_secs(3600));
    let early = prune(&archive, floor(&[8])).await;
    assert_eq!(
        (early.goes.len(), early.waits),
        (0, 7),
        "the floor has moved on, the note keeps its age"
    );
    clock.advance(Duration::from_secs(86_400));
    let plan = archive.plan_prune(floor(&[8]), DAY).await.unwrap().outlook().clone();
    assert_eq!(numbers(&archive).await.len(), 9, "a plan changes nothing");
    let late = prune(&archive, floor(&[8])).await;
    assert_eq!(late.goes, plan.goes);
    assert_eq!(
        (late.goes.len(), late.waits),
        (3, 4),
        "what was noted goes, what came since waits"
    );
    assert_eq!(numbers(&archive).await, [4, 5, 6, 7, 8, 9]);
    // A base backup has come back from the trash meanwhile.
    clock.advance(Duration::from_secs(2 * 86_400));
    let back = prune(&archive, floor(&[6, 8])).await;
    assert_eq!(back.goes.len(), 2);
    assert_eq!(numbers(&archive).await, [6, 7, 8, 9]);
    assert!(
        archive.get(WalName::History(TimelineId(2))).await.unwrap().is_some(),
        "a history never goes"
    );
    let listed = archive.list().await.unwrap();
    assert!(
        !listed.iter().any(|listed| matches!(listed.entry, Entry::Strange(_))),
        "the note is nothing strange"
    );
}

#[tokio::test]
async fn a_prune_that_is_interrupted_leaves_no_hole() {
    let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
    let archive = archive(&clock).await;
    prune(&archive, floor(&[5])).await;
    clock.advance(Duration::from_secs(2 * 86_400));
    let work = archive.plan_prune(floor(&[5]), DAY).await.unwrap();
    for key in work.keys.iter().take(2) {
        archive.repo().delete_sealed(key).await.unwrap();
    }
    assert_eq!(numbers(&archive).await, [3, 4, 5, 6, 7, 8, 9]);
    prune(&archive, floor(&[5])).await;
    assert_eq!(numbers(&archive).await, [5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn what_was_confirmed_goes_and_nothing_that_has_come_since() {
    let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
    let archive = archive(&clock).await;
    prune(&archive, floor(&[4])).await;
    clock.advance(Duration::from_secs(86_400 - 60));
    let planned = archive.plan_prune(floor(&[4]), DAY).await.unwrap();
    assert!(planned.outlook().goes.is_empty(), "it is a minute too early");
    // Whoever was asked has taken an hour to answer.
    clock.advance(Duration::from_secs(3600));
    let done = archive.prune(planned).await.unwrap();
    assert!(done.goes.is_empty());
    assert_eq!(numbers(&archive).await.len(), 9);
}
