//! What is told of archives that are whole, broken, or written by two servers.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::repo::Repository;
use crate::source::postgres::wal::file::Content;
use crate::source::postgres::wal::page::sample;
use crate::store::Store;
use crate::store::memory::MemoryStore;

const SYSTEM: SystemId = SystemId(7);

struct World {
    store: Arc<MemoryStore>,
    archive: WalArchive,
    clock: Clock,
}

impl World {
    async fn new() -> Self {
        let (store, clock) = (Arc::new(MemoryStore::new()), Clock::manual(DateTime::UNIX_EPOCH));
        let repo = Repository::init(store.clone(), &"secret".to_owned().into(), clock.clone()).await;
        let archive = WalArchive::new(repo.unwrap(), SYSTEM);
        let world = Self { store, archive, clock };
        world
            .archive
            .ensure(SegmentSize::try_from(1 << 20).unwrap())
            .await
            .unwrap();
        world
    }

    async fn put(&self, name: &str) {
        let name: WalName = name.parse().unwrap();
        let size = SegmentSize::try_from(1 << 20).unwrap();
        let bytes = match name.segment() {
            Some(segment) => sample(segment, SYSTEM, size, 3, 128),
            None => b"1\t0/300060\tno recovery target specified\n".to_vec(),
        };
        let size = Some(size);
        self.archive.put(Content { name, bytes, size }).await.unwrap();
        self.clock.advance(Duration::from_secs(60));
    }

    async fn report(&self) -> SystemReport {
        let look = Look {
            read_data: true,
            ..Look::default()
        };
        system(&self.archive, &look).await.unwrap()
    }
}

#[tokio::test]
async fn a_parent_that_is_archived_after_its_child_began_has_two_servers() {
    for (late, broken) in [(false, false), (true, true)] {
        let world = World::new().await;
        for name in ["000000010000000000000002", "000000010000000000000003"] {
            world.put(name).await;
        }
        let (child, old) = ("00000002.history", "000000010000000000000004");
        for name in if late { [child, old] } else { [old, child] } {
            world.put(name).await;
        }
        world.put("000000020000000000000003").await;
        let report = world.report().await;
        assert_eq!(report.is_broken(), broken, "{report:?}");
        let line = &report.timelines[0];
        assert_eq!(
            (line.split_brain.len(), line.left_by.len()),
            (usize::from(late), usize::from(!late))
        );
        assert_eq!(report.timelines[1].branch.unwrap().parent, TimelineId(1));
    }
}

#[tokio::test]
async fn what_is_missing_and_what_is_damaged_is_named() {
    let world = World::new().await;
    for number in [2, 3, 5, 6] {
        world.put(&format!("00000001000000000000000{number}")).await;
    }
    let growing: SegmentName = "000000010000000000000007".parse().unwrap();
    let size = SegmentSize::try_from(1 << 20).unwrap();
    let bytes = sample(growing, SYSTEM, size, 3, 2)[..10_000].to_vec();
    world.archive.put_growing(growing, bytes).await.unwrap();
    world.put("000000030000000000000009").await;
    let key = "wal/7/00000001/000000010000000000000005";
    let mut bytes = world.store.get(key).await.unwrap().to_vec();
    bytes[50] ^= 1;
    world.store.delete(key).await.unwrap();
    world.store.put(key, bytes.into()).await.unwrap();
    world
        .store
        .put("wal/7/00000001/readme.txt", bytes::Bytes::new())
        .await
        .unwrap();
    let report = world.report().await;
    let line = &report.timelines[0];
    assert_eq!(line.lost[0].first.to_string(), "000000010000000000000004");
    assert_eq!((line.lost.len(), line.late.len()), (1, 0));
    assert_eq!(line.end, Some(Lsn(0x70_0000 + 10_000)), "the growing one counts");
    assert!(report.damaged.len() == 1 && report.damaged[0].contains("000000010000000000000005"));
    assert_eq!(report.strange, ["00000001/readme.txt"]);
    assert!(report.timelines[1].history_missing && report.is_broken());
}
