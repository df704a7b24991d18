//! The archive on stores that work, fail and crash.

use std::sync::Arc;

use super::*;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::fault::{Fault, FaultStore, Op, Rule};
use crate::store::memory::MemoryStore;
use crate::store::{ErrorKind, ObjectInfo};

const SYSTEM: SystemId = SystemId(7_301_234_567_890_123_456);

fn size() -> SegmentSize {
    SegmentSize::try_from(1 << 20).unwrap()
}

fn name(text: &str) -> SegmentName {
    text.parse().unwrap()
}

fn segment(text: &str, seed: u8) -> Content {
    let bytes = page::sample(name(text), SYSTEM, size(), seed, 128);
    Content {
        name: WalName::Segment(name(text)),
        bytes,
        size: Some(size()),
    }
}

async fn fresh() -> (Arc<MemoryStore>, WalArchive) {
    let store = Arc::new(MemoryStore::new());
    let password = "secret".to_owned().into();
    Repository::init(store.clone(), &password, Clock::system())
        .await
        .unwrap();
    let archive = over(store.clone()).await;
    (store, archive)
}

async fn over(store: Arc<dyn Store>) -> WalArchive {
    let repo = Repository::open(store, &"secret".to_owned().into(), Clock::system()).await;
    WalArchive::new(repo.unwrap(), SYSTEM)
}

async fn objects(store: &MemoryStore) -> Vec<ObjectInfo> {
    store.list("wal/").await.unwrap()
}

const ONE: &str = "000000010000000000000001";

#[tokio::test]
async fn the_same_again_is_fine_and_another_is_refused_and_noted() {
    let (_, archive) = fresh().await;
    archive.ensure(size()).await.unwrap();
    archive.ensure(size()).await.unwrap();
    assert_eq!(archive.put(segment(ONE, 1)).await.unwrap(), Archived::New);
    assert_eq!(archive.put(segment(ONE, 1)).await.unwrap(), Archived::Already);
    let error = archive.put(segment(ONE, 2)).await.unwrap_err();
    assert!(matches!(error, WalError::Conflict { .. }), "{error}");
    let kept = archive.get(WalName::Segment(name(ONE))).await.unwrap().unwrap();
    assert_eq!(kept.bytes, segment(ONE, 1).bytes, "the first stays");
    let entries: Vec<Entry> = archive
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(|listed| listed.entry)
        .collect();
    let file = WalName::Segment(name(ONE));
    assert_eq!(entries, [Entry::File(file), Entry::Conflict(file)]);
    assert!(archive.ensure(SegmentSize::default()).await.is_err(), "another size");
    assert_eq!(WalArchive::systems(archive.repo()).await.unwrap(), [SYSTEM]);
    let other = WalArchive::new(archive.repo().clone(), SystemId(8));
    assert!(other.get(file).await.unwrap().is_none() && other.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_object_under_another_name_is_damaged() {
    let (store, archive) = fresh().await;
    archive.put(segment(ONE, 1)).await.unwrap();
    let two = "000000010000000000000002";
    let bytes = store.get(&archive.key(TimelineId(1), ONE)).await.unwrap();
    store.put(&archive.key(TimelineId(1), two), bytes).await.unwrap();
    let error = archive.get(WalName::Segment(name(two))).await.unwrap_err();
    assert!(error.to_string().contains("another name"), "{error}");
}

#[tokio::test]
async fn a_growing_segment_is_replaced_by_a_longer_one_and_ends_when_it_is_whole() {
    let (_, archive) = fresh().await;
    let whole = segment(ONE, 1).bytes;
    assert_eq!(
        archive.put_growing(name(ONE), whole[..9000].to_vec()).await.unwrap(),
        Archived::New
    );
    assert_eq!(
        archive.put_growing(name(ONE), whole[..20_000].to_vec()).await.unwrap(),
        Archived::New
    );
    assert_eq!(
        archive.put_growing(name(ONE), whole[..9000].to_vec()).await.unwrap(),
        Archived::Longer
    );
    assert_eq!(archive.growing(name(ONE)).await.unwrap(), [20_000]);
    let fetched = archive.get_growing(name(ONE)).await.unwrap().unwrap().bytes;
    assert!(fetched.len() == whole.len() && fetched[..20_000] == whole[..20_000]);
    assert!(fetched[20_000..].iter().all(|byte| *byte == 0));
    let other = segment(ONE, 2).bytes;
    let error = archive
        .put_growing(name(ONE), other[..30_000].to_vec())
        .await
        .unwrap_err();
    assert!(matches!(error, WalError::Conflict { .. }), "{error}");
    archive.put(segment(ONE, 1)).await.unwrap();
    archive.remove_growing(name(ONE)).await.unwrap();
    assert!(archive.get_growing(name(ONE)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_crash_at_any_operation_loses_nothing_that_was_acknowledged() {
    // Opening takes operations too: they are counted on a store of their own.
    let opening = Arc::new(FaultStore::new(fresh().await.0, Clock::system(), Vec::new()));
    over(opening.clone()).await;
    for n in 1.. {
        let (store, sound) = fresh().await;
        let before = segment(ONE, 1).bytes;
        sound.put_growing(name(ONE), before[..9000].to_vec()).await.unwrap();
        let faulty = Arc::new(FaultStore::crash_at(
            store.clone(),
            Clock::system(),
            opening.operations() + n,
        ));
        let archive = over(faulty.clone()).await;
        let all = async |archive: &WalArchive| -> (bool, bool, bool) {
            let ensured = archive.ensure(size()).await.is_ok();
            let grown = archive.put_growing(name(ONE), before[..30_000].to_vec()).await.is_ok();
            let put = archive.put(segment(ONE, 1)).await.is_ok();
            (ensured, grown, put && archive.remove_growing(name(ONE)).await.is_ok())
        };
        let (_, grown, put) = all(&archive).await;
        let had = sound.get_growing(name(ONE)).await.unwrap().map(|fetched| fetched.bytes);
        let whole = sound.get(WalName::Segment(name(ONE))).await.unwrap();
        if whole.is_none() {
            let had = had.expect("what was there before, or more");
            assert!(!put && had[..9000] == before[..9000], "crash at {n}");
            assert!(!grown || had[..30_000] == before[..30_000], "crash at {n}");
        }
        // The next attempt ends well, whatever was left.
        assert_eq!(all(&sound).await, (true, true, true), "crash at {n}");
        let keys: Vec<String> = objects(&store).await.into_iter().map(|object| object.key).collect();
        assert_eq!(keys.len(), 2, "crash at {n}: {keys:?}");
        let whole = sound.get(WalName::Segment(name(ONE))).await.unwrap().unwrap();
        assert_eq!(whole.bytes, before);
        if put {
            assert!(n > 5, "it never crashed");
            return;
        }
    }
}

#[tokio::test]
async fn a_put_that_only_seemed_to_fail_is_recognised() {
    let (store, _) = fresh().await;
    let rule = Rule {
        op: Some(Op::Put),
        prefix: "wal/".to_owned(),
        nth: 1,
        fault: Fault::FailAfter(ErrorKind::Transient),
    };
    let faulty = FaultStore::new(store.clone(), Clock::system(), vec![rule]);
    let archive = over(Arc::new(faulty)).await;
    assert_eq!(archive.put(segment(ONE, 1)).await.unwrap(), Archived::Already);
}

#[tokio::test]
async fn an_archive_that_cannot_be_read_is_not_an_empty_one() {
    let (store, sound) = fresh().await;
    sound.put(segment(ONE, 1)).await.unwrap();
    for (op, fault) in [
        (Op::Get, Fault::FailBefore(ErrorKind::Other)),
        (Op::List, Fault::FailAfter(ErrorKind::Other)),
    ] {
        let rule = Rule {
            op: Some(op),
            prefix: "wal/".to_owned(),
            nth: 0,
            fault,
        };
        let archive = over(Arc::new(FaultStore::new(store.clone(), Clock::system(), vec![rule]))).await;
        let read = archive.get(WalName::Segment(name(ONE))).await.is_err();
        assert!(read || archive.list().await.is_err(), "{op:?}");
    }
}

#[tokio::test]
async fn what_never_changes_is_read_once_and_what_is_not_there_is_looked_for_again() {
    let (store, archive) = fresh().await;
    let shared = Remembered::default();
    let archive = archive.remembering(shared.clone());
    let second = TimelineId(2);
    assert_eq!(archive.segment_size().await.unwrap(), None);
    assert_eq!(
        archive.history(second).await.unwrap(),
        None,
        "and that is not remembered"
    );
    archive.ensure(size()).await.unwrap();
    let history = Content {
        name: WalName::History(second),
        bytes: b"1\t0/3000000\tno recovery target specified\n".to_vec(),
        size: None,
    };
    archive.put(history).await.unwrap();
    let read = archive.history(second).await.unwrap().unwrap();
    assert_eq!(archive.segment_size().await.unwrap(), Some(size()));
    for object in objects(&store).await {
        store.delete(&object.key).await.unwrap();
    }
    let again = over(store.clone()).await.remembering(shared);
    assert_eq!(again.history(second).await.unwrap(), Some(read));
    assert_eq!(again.segment_size().await.unwrap(), Some(size()));
    let other = WalArchive::new(archive.repo().clone(), SystemId(8)).remembering(again.remembered.clone());
    assert_eq!(other.segment_size().await.unwrap(), None, "another cluster");
    assert_eq!(over(store).await.segment_size().await.unwrap(), None, "a fresh look");
}

#[tokio::test]
async fn what_was_put_in_a_hurry_is_the_same_thing() {
    let (store, archive) = fresh().await;
    assert_eq!(archive.hurried().put(segment(ONE, 1)).await.unwrap(), Archived::New);
    let stored = objects(&store).await;
    assert_eq!(archive.put(segment(ONE, 1)).await.unwrap(), Archived::Already);
    let kept = archive.get(WalName::Segment(name(ONE))).await.unwrap().unwrap();
    assert_eq!(kept.bytes, segment(ONE, 1).bytes);
    assert_eq!(objects(&store).await, stored, "nothing beside it");
}
