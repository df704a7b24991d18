//! Tests of pruning: what is reachable stays, whatever the history; the interlocks hold; nobody's late backup loses a blob.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::super::testing::{
    backup, below, check, contents, fresh, noise, open, password, restore, small_tree, tree_of,
};
use super::super::tree::{Node, NodeKind};
use super::super::{Note, RestoreOptions, SnapshotInfo};
use super::*;
use crate::clock::Clock;
use crate::repo::files::pack_key;
use crate::repo::index::{IndexFile, IndexPack};
use crate::repo::pack::{BlobKind, PackBuilder};
use crate::store::fault::{Fault, FaultStore, Op, Rule};
use crate::store::memory::MemoryStore;
use crate::store::{Capabilities, ErrorKind, ObjectInfo, Store, StoreResult};

const HOUR: Duration = Duration::from_hours(1);

fn at_once() -> PruneOptions {
    PruneOptions {
        grace: Duration::ZERO,
        trash_period: Duration::ZERO,
        accept_shrink: true,
        max_unused_percent: 0.0,
        pack_bytes: 64 << 10,
        ..PruneOptions::default()
    }
}

fn with_grace() -> PruneOptions {
    PruneOptions {
        grace: HOUR * 24,
        ..at_once()
    }
}

async fn prune(repo: &Repository, options: PruneOptions) -> Result<PruneReport, RepoError> {
    repo.prune(options, Progress::new(), CancellationToken::new()).await
}

fn refusal(result: Result<PruneReport, RepoError>) -> PruneRefusal {
    match result {
        Err(RepoError::Prune(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

async fn forget(repo: &Repository, id: &str) {
    let done = repo.forget(&[id.to_owned()], &Note::default()).await.unwrap();
    assert_eq!(done.trashed.len(), 1, "{:?}", done.refused);
}

/// A repository with a clock of its own.
async fn timed() -> (Arc<MemoryStore>, Repository, Clock) {
    let (store, clock) = (Arc::new(MemoryStore::new()), Clock::manual(Clock::system().now()));
    let repo = Repository::init(store.clone(), &password(), clock.clone())
        .await
        .unwrap();
    (store, repo, clock)
}

/// Backs up one file of noise; other seeds share nothing.
async fn snapshot_of(repo: &Repository, dir: &Path, seed: u64) -> SnapshotInfo {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("file"), noise(seed * 2 + 1, 200_000)).unwrap();
    backup(repo, dir).await.unwrap().snapshot
}

async fn packs(store: &dyn Store) -> BTreeSet<String> {
    let objects = store.list("data/").await.unwrap();
    objects.into_iter().map(|object| object.key).collect()
}

async fn sound_without_orphans(repo: &Repository) {
    let report = check(repo).await;
    assert!(report.is_sound() && report.notes.is_empty(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_once_only_what_is_needed_is_left_and_it_restores() {
    let (store, repo) = fresh().await;
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    small_tree(&source);
    let old = backup(&repo, &source).await.unwrap().snapshot;
    std::fs::write(source.join("a/b/three.bin"), noise(9, 300_000)).unwrap();
    backup(&repo, &source).await.unwrap();
    forget(&repo, &old.id).await;
    let before = packs(store.as_ref()).await;
    let plan = repo
        .prune_plan(at_once(), Progress::new(), CancellationToken::new())
        .await
        .unwrap();
    assert!(plan.dry_run && plan.packs_deleted > 0);
    assert_eq!(packs(store.as_ref()).await, before, "a plan changes nothing");
    let done = prune(&repo, at_once()).await.unwrap();
    assert_eq!(
        (done.packs_deleted, done.trash_expired.clone()),
        (plan.packs_deleted, vec![old.id])
    );
    assert!(done.bytes_deleted > 250_000 && done.packs_waiting == 0, "{done:?}");
    sound_without_orphans(&repo).await;
    let target = dir.path().join("target");
    let options = RestoreOptions::new("latest", target.clone());
    restore(&repo, options).await.unwrap();
    assert_eq!(contents(&below(&target, &source)), contents(&source));
    let again = prune(&repo, at_once()).await.unwrap();
    assert_eq!(
        (again.packs_deleted, again.packs_repacked, again.packs_marked),
        (0, 0, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_grace_packs_are_marked_first_and_stay_in_the_index() {
    let (store, repo, clock) = timed().await;
    let dir = tempfile::tempdir().unwrap();
    let old = snapshot_of(&repo, &dir.path().join("a"), 1).await;
    snapshot_of(&repo, &dir.path().join("b"), 2).await;
    forget(&repo, &old.id).await;
    let before = packs(store.as_ref()).await;
    let marked = prune(&repo, with_grace()).await.unwrap();
    assert!(marked.packs_marked > 0 && marked.packs_deleted == 0, "{marked:?}");
    assert_eq!(marked.packs_waiting, marked.packs_marked);
    assert!(packs(store.as_ref()).await.is_superset(&before));
    sound_without_orphans(&repo).await;
    clock.advance(HOUR * 23);
    let waiting = prune(&repo, with_grace()).await.unwrap();
    assert_eq!((waiting.packs_marked, waiting.packs_deleted), (0, 0));
    assert_eq!(waiting.next_ripe_at, Some((clock.now() + HOUR).fixed_offset()));
    clock.advance(HOUR);
    let ripe = prune(&repo, with_grace()).await.unwrap();
    assert_eq!((ripe.packs_deleted, ripe.packs_waiting), (marked.packs_marked, 0));
    sound_without_orphans(&repo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_backup_that_relies_on_marked_packs_is_whole_and_rescues_them() {
    let (store, repo, clock) = timed().await;
    let dir = tempfile::tempdir().unwrap();
    let old = snapshot_of(&repo, &dir.path().join("a"), 1).await;
    snapshot_of(&repo, &dir.path().join("b"), 2).await;
    let sealed = store.get(&format!("snapshots/{}", old.id)).await.unwrap();
    forget(&repo, &old.id).await;
    let marked = prune(&repo, with_grace()).await.unwrap().packs_marked;
    assert!(marked > 0);
    // Another client commits a snapshot of the same blobs, found in the index before it was pruned.
    store.put(&format!("snapshots/{}", old.id), sealed).await.unwrap();
    sound_without_orphans(&repo).await;
    clock.advance(HOUR * 48);
    let rescued = prune(&repo, with_grace()).await.unwrap();
    assert_eq!((rescued.packs_rescued, rescued.packs_deleted), (marked, 0));
    sound_without_orphans(&repo).await;
    // Its time begins anew.
    forget(&repo, &old.id).await;
    let again = prune(&repo, with_grace()).await.unwrap();
    assert_eq!((again.packs_marked, again.packs_deleted), (marked, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lock_that_only_looked_stale_nothing_is_deleted_for_a_grace_period() {
    let (store, repo, clock) = timed().await;
    let dir = tempfile::tempdir().unwrap();
    let old = snapshot_of(&repo, &dir.path().join("a"), 1).await;
    snapshot_of(&repo, &dir.path().join("b"), 2).await;
    forget(&repo, &old.id).await;
    prune(&repo, with_grace()).await.unwrap();
    clock.advance(HOUR * 25);
    let asleep = crate::repo::lock::LockFile {
        time: (clock.now() - HOUR).fixed_offset(),
        exclusive: false,
        hostname: "a-laptop".to_owned(),
        username: String::new(),
        pid: 7,
        uid: 0,
        gid: 0,
    };
    repo.save_json(FileKind::Lock, &asleep).await.unwrap();
    let before = packs(store.as_ref()).await;
    for _ in 0..2 {
        let postponed = prune(&repo, with_grace()).await.unwrap();
        assert!(
            postponed.postponed.is_some() && postponed.packs_deleted == 0,
            "{postponed:?}"
        );
        assert_eq!(packs(store.as_ref()).await, before);
        clock.advance(HOUR * 11);
    }
    clock.advance(HOUR * 2);
    assert!(prune(&repo, with_grace()).await.unwrap().packs_deleted > 0);
}

/// A store in which a snapshot appears when an index file is deleted: a client that ignores locks.
#[derive(Debug)]
struct Intruded {
    inner: Arc<MemoryStore>,
    key: String,
    sealed: Bytes,
}

impl Store for Intruded {
    fn put<'a>(&'a self, key: &'a str, data: Bytes) -> BoxFuture<'a, StoreResult<()>> {
        self.inner.put(key, data)
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<Bytes>> {
        self.inner.get(key)
    }

    fn get_range<'a>(&'a self, key: &'a str, offset: u64, length: u64) -> BoxFuture<'a, StoreResult<Bytes>> {
        self.inner.get_range(key, offset, length)
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<u64>> {
        self.inner.head(key)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, StoreResult<Vec<ObjectInfo>>> {
        self.inner.list(prefix)
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            if key.starts_with("index/") {
                self.inner.put(&self.key, self.sealed.clone()).await?;
            }
            self.inner.delete(key).await
        })
    }

    fn create(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.inner.create()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn location(&self) -> &str {
        self.inner.location()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_appears_during_the_prune_gets_its_packs_back() {
    let (store, repo) = fresh().await;
    let dir = tempfile::tempdir().unwrap();
    let old = snapshot_of(&repo, &dir.path().join("a"), 1).await;
    snapshot_of(&repo, &dir.path().join("b"), 2).await;
    let key = format!("snapshots/{}", old.id);
    let sealed = store.get(&key).await.unwrap();
    forget(&repo, &old.id).await;
    let inner = store.clone();
    let repo = open(Arc::new(Intruded { inner, key, sealed })).await.unwrap();
    let report = prune(&repo, at_once()).await.unwrap();
    assert!(report.postponed.is_some() && report.packs_deleted == 0, "{report:?}");
    assert_eq!(repo.snapshots().await.unwrap().len(), 2);
    sound_without_orphans(&repo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trash_protects_until_its_period_is_over_and_pins_beyond() {
    let (_, repo, clock) = timed().await;
    let dir = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    for seed in 1..4 {
        ids.push(snapshot_of(&repo, &dir.path().join(seed.to_string()), seed).await.id);
    }
    forget(&repo, &ids[0]).await;
    forget(&repo, &ids[1]).await;
    let options = PruneOptions {
        trash_period: HOUR * 24,
        ..at_once()
    };
    let kept = prune(&repo, options.clone()).await.unwrap();
    assert_eq!((kept.trash_kept, kept.packs_deleted), (2, 0));
    repo.untrash(&ids[0]).await.unwrap();
    sound_without_orphans(&repo).await;
    forget(&repo, &ids[0]).await;
    // Pinned in the moment it was forgotten.
    repo.pin_whole(&ids[1], &Note::default()).await.unwrap();
    clock.advance(HOUR * 25);
    let expired = prune(&repo, options).await.unwrap();
    assert_eq!((expired.trash_expired, expired.trash_kept), (vec![ids[0].clone()], 1));
    assert!(expired.packs_deleted > 0);
    assert!(repo.untrash(&ids[0]).await.is_err());
    repo.untrash(&ids[1]).await.unwrap();
    sound_without_orphans(&repo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_snapshots_stop_it_until_their_number_is_typed() {
    let (store, repo) = fresh().await;
    let dir = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    for seed in 1..4 {
        ids.push(snapshot_of(&repo, &dir.path().join(seed.to_string()), seed).await.id);
    }
    prune(&repo, at_once()).await.unwrap();
    let before = packs(store.as_ref()).await;
    let tagged = crate::repo::TagChange {
        add: vec!["x".to_owned()],
        remove: Vec::new(),
    };
    repo.tag(&ids[2], &tagged).await.unwrap();
    prune(&repo, at_once()).await.unwrap();
    store.delete(&format!("snapshots/{}", ids[0])).await.unwrap();
    let refused = refusal(prune(&repo, at_once()).await);
    assert!(
        matches!(refused, PruneRefusal::Vanished { count: 1, of: 3, .. }),
        "{refused}"
    );
    store.delete(&format!("snapshots/{}", ids[1])).await.unwrap();
    for info in repo.snapshots().await.unwrap() {
        store.delete(&format!("snapshots/{}", info.id)).await.unwrap();
    }
    let refused = refusal(prune(&repo, at_once()).await);
    assert!(
        matches!(refused, PruneRefusal::NoSnapshots { lost: 3, .. }),
        "{refused}"
    );
    assert_eq!(packs(store.as_ref()).await, before);
    let typed = PruneOptions {
        accept_missing: Some(3),
        ..at_once()
    };
    prune(&repo, typed).await.unwrap();
    assert!(packs(store.as_ref()).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_any_kind_stops_it_before_the_first_change() {
    let dir = tempfile::tempdir().unwrap();
    for prefix in ["snapshots/", "index/", "data/", "trash/"] {
        let (store, repo) = fresh().await;
        let old = snapshot_of(&repo, &dir.path().join("a"), 1).await;
        snapshot_of(&repo, &dir.path().join("b"), 2).await;
        snapshot_of(&repo, &dir.path().join("c"), 3).await;
        forget(&repo, &old.id).await;
        for object in store.list(prefix).await.unwrap() {
            // In a pack of trees, and of data, the first blob.
            store.damage(&object.key, |data| data[20] ^= 1);
        }
        let before = store.list("").await.unwrap();
        let refused = refusal(prune(&repo, at_once()).await);
        assert!(matches!(refused, PruneRefusal::Uncertain { .. }), "{prefix}: {refused}");
        assert_eq!(store.list("").await.unwrap(), before, "{prefix}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_pack_stops_it_when_it_is_needed_and_leaves_the_index_when_not() {
    let (store, repo) = fresh().await;
    let dir = tempfile::tempdir().unwrap();
    let old = snapshot_of(&repo, &dir.path().join("a"), 1).await;
    let of_old = packs(store.as_ref()).await;
    snapshot_of(&repo, &dir.path().join("b"), 2).await;
    let all = packs(store.as_ref()).await;
    forget(&repo, &old.id).await;
    for key in &of_old {
        store.delete(key).await.unwrap();
    }
    assert!(!check(&repo).await.is_sound());
    prune(&repo, at_once()).await.unwrap();
    sound_without_orphans(&repo).await;
    store.delete(all.difference(&of_old).next().unwrap()).await.unwrap();
    let refused = refusal(prune(&repo, at_once()).await);
    assert!(matches!(refused, PruneRefusal::Uncertain { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_listing_is_an_error_and_removes_nothing() {
    for prefix in ["snapshots/", "index/", "data/", "trash/", "pins/", "marks/"] {
        let (store, repo, clock) = timed().await;
        let dir = tempfile::tempdir().unwrap();
        let old = snapshot_of(&repo, &dir.path().join("a"), 1).await;
        snapshot_of(&repo, &dir.path().join("b"), 2).await;
        forget(&repo, &old.id).await;
        let rule = Rule {
            op: Some(Op::List),
            prefix: prefix.into(),
            nth: 0,
            fault: Fault::ListMidway,
        };
        let faulty = Arc::new(FaultStore::new(store.clone(), clock.clone(), vec![rule]));
        let repo = Repository::open(faulty, &password(), clock.clone()).await.unwrap();
        let before = store.list("").await.unwrap();
        let result = super::super::testing::turning(&clock, prune(&repo, at_once())).await;
        assert!(matches!(result, Err(RepoError::Store(_))), "{prefix}: {result:?}");
        assert_eq!(store.list("").await.unwrap(), before, "{prefix}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn much_data_for_few_snapshots_stops_it() {
    let (_, repo) = fresh().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("huge")).unwrap();
    std::fs::write(dir.path().join("huge/file"), noise(7, 2_000_000)).unwrap();
    let huge = backup(&repo, &dir.path().join("huge")).await.unwrap().snapshot;
    for seed in 1..4 {
        snapshot_of(&repo, &dir.path().join(seed.to_string()), seed).await;
    }
    forget(&repo, &huge.id).await;
    let careful = PruneOptions {
        accept_shrink: false,
        ..with_grace()
    };
    let refused = refusal(prune(&repo, careful.clone()).await);
    assert!(
        matches!(refused, PruneRefusal::TooMuch { percent: 60..90 }),
        "{refused}"
    );
    prune(&repo, with_grace()).await.unwrap();
    prune(&repo, careful).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_protects_is_kept_and_tried_again() {
    for prefix in ["data/", "index/"] {
        let (store, repo, clock) = timed().await;
        let dir = tempfile::tempdir().unwrap();
        let old = snapshot_of(&repo, &dir.path().join("a"), 1).await;
        snapshot_of(&repo, &dir.path().join("b"), 2).await;
        forget(&repo, &old.id).await;
        let rule = Rule {
            op: Some(Op::Delete),
            prefix: prefix.into(),
            nth: 0,
            fault: Fault::FailBefore(ErrorKind::Locked),
        };
        let faulty = Arc::new(FaultStore::new(store.clone(), clock.clone(), vec![rule]));
        let guarded = Repository::open(faulty, &password(), clock).await.unwrap();
        let report = prune(&guarded, at_once()).await.unwrap();
        assert!(report.locked > 0 && report.packs_deleted == 0, "{prefix}: {report:?}");
        assert!(report.packs_waiting > 0, "{prefix}: {report:?}");
        assert!(check(&repo).await.is_sound(), "{prefix}");
        let report = prune(&repo, at_once()).await.unwrap();
        assert!(report.packs_deleted > 0 && report.locked == 0);
        sound_without_orphans(&repo).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_packs_become_few() {
    let (store, repo) = fresh().await;
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    std::fs::create_dir_all(&source).unwrap();
    for number in 0..12u64 {
        std::fs::write(source.join(number.to_string()), noise(number * 2 + 1, 3000)).unwrap();
        backup(&repo, &source).await.unwrap();
    }
    let options = PruneOptions {
        max_unused_percent: 100.0,
        ..at_once()
    };
    let before = packs(store.as_ref()).await.len();
    assert_eq!(
        prune(
            &repo,
            PruneOptions {
                repack_small: false,
                ..options.clone()
            }
        )
        .await
        .unwrap()
        .packs_repacked,
        0
    );
    let report = prune(&repo, options.clone()).await.unwrap();
    assert_eq!(
        (report.packs_repacked, packs(store.as_ref()).await.len()),
        (before as u64, 2)
    );
    sound_without_orphans(&repo).await;
    assert_eq!(prune(&repo, options).await.unwrap().packs_repacked, 0);
}

/// One step of a random history; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<u8>),
    Forget(usize),
    Untrash(usize),
    Tag(usize),
    Prune { grace: bool, unused: f64, later: u64 },
    Orphan(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let blobs = proptest::collection::vec(0u8..40, 1..12);
    let step = prop_oneof![
        4 => blobs.prop_map(Step::Commit),
        2 => any::<usize>().prop_map(Step::Forget),
        1 => any::<usize>().prop_map(Step::Untrash),
        1 => any::<usize>().prop_map(Step::Tag),
        3 => (any::<bool>(), 0.0..60.0, 0u64..40).prop_map(|(grace, unused, later)| Step::Prune { grace, unused, later }),
        1 => (0u8..40).prop_map(Step::Orphan),
    ];
    proptest::collection::vec(step, 4..24)
}

/// The content of a blob: some are large, so that packs differ.
fn content(blob: u8) -> Vec<u8> {
    noise(u64::from(blob) * 2 + 1, 500 + usize::from(blob) * 700)
}

/// Commits a snapshot of one directory with a file of these blobs, as another client would: packs, index, snapshot.
async fn commit(repo: &Repository, blobs: &[u8]) -> String {
    let lock = repo.lock(false).await.unwrap();
    let index = repo.load_index().await.unwrap();
    let mut packs = [0, 1].map(|_| PackBuilder::new(Vec::new()));
    let mut stored = BTreeSet::new();
    let mut store = |kind: BlobKind, data: Vec<u8>| {
        let id = Id::of(&data);
        if !index.has(kind, &id) && stored.insert(id) {
            packs[kind as usize].push(kind, id, &repo.key().seal(&data).unwrap(), None);
        }
        id
    };
    let mut file = Node::new(b"file", NodeKind::File);
    for blob in blobs {
        file.content.push(store(BlobKind::Data, content(*blob)));
    }
    let inner = store(BlobKind::Tree, tree_of(&[file]).0);
    let mut directory = Node::new(b"dir", NodeKind::Dir);
    directory.subtree = Some(inner);
    let tree = store(BlobKind::Tree, tree_of(&[directory]).0);
    let mut names = IndexFile::default();
    for pack in packs.into_iter().filter(|pack| !pack.is_empty()) {
        let pack = pack.finish(repo.key()).unwrap();
        names.packs.push(IndexPack::new(pack.id, &pack.blobs));
        repo.put_new(&pack_key(&pack.id), pack.data.into(), None).await.unwrap();
    }
    if !names.packs.is_empty() {
        repo.save_json(FileKind::Index, &names).await.unwrap();
    }
    let file = serde_json::json!({ "time": repo.time(), "tree": tree, "paths": ["/dir"] });
    let id = repo.save_json(FileKind::Snapshot, &file).await.unwrap();
    lock.release().await.unwrap();
    id
}

async fn run_history(steps: Vec<Step>) {
    let (store, repo, clock) = timed().await;
    let mut listed: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut trash: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let pick = |map: &BTreeMap<String, Vec<u8>>, at: usize| map.keys().nth(at % map.len().max(1)).cloned();
    listed.insert(commit(&repo, &[0]).await, vec![0]);
    for step in steps {
        clock.advance(Duration::from_secs(1));
        match step {
            Step::Commit(blobs) => drop(listed.insert(commit(&repo, &blobs).await, blobs)),
            Step::Forget(at) if listed.len() > 1 => {
                let id = pick(&listed, at).unwrap();
                forget(&repo, &id).await;
                trash.insert(id.clone(), listed.remove(&id).unwrap());
            }
            Step::Untrash(at) => {
                if let Some(id) = pick(&trash, at) {
                    repo.untrash(&id).await.unwrap();
                    listed.insert(id.clone(), trash.remove(&id).unwrap());
                }
            }
            Step::Tag(at) => {
                let id = pick(&listed, at).unwrap();
                let add = vec![format!("t{at}")];
                let change = crate::repo::TagChange {
                    add,
                    remove: Vec::new(),
                };
                let new = repo.tag(&id, &change).await.unwrap().new.id;
                let blobs = listed.remove(&id).unwrap();
                listed.insert(new, blobs);
            }
            Step::Orphan(blob) => {
                let data = content(blob);
                store.put(&pack_key(&Id::of(&data)), data.into()).await.ok();
            }
            Step::Prune { grace, unused, later } => {
                clock.advance(HOUR * u32::try_from(later).unwrap());
                let mut options = if grace { with_grace() } else { at_once() };
                options.max_unused_percent = unused;
                options.trash_period = HOUR * 10;
                let report = prune(&repo, options).await.unwrap();
                report.trash_expired.iter().for_each(|id| drop(trash.remove(id)));
            }
            Step::Forget(_) => {}
        }
        model_holds(&repo, &listed, &trash).await;
    }
    let options = PruneOptions {
        trash_period: Duration::from_hours(100_000),
        ..at_once()
    };
    prune(&repo, options).await.unwrap();
    model_holds(&repo, &listed, &trash).await;
    sound_without_orphans(&repo).await;
}

/// Every snapshot of the model is there with all its blobs.
async fn model_holds(repo: &Repository, listed: &BTreeMap<String, Vec<u8>>, trash: &BTreeMap<String, Vec<u8>>) {
    let names: BTreeSet<String> = repo
        .snapshots()
        .await
        .unwrap()
        .into_iter()
        .map(|info| info.id)
        .collect();
    assert_eq!(names, listed.keys().cloned().collect());
    let in_trash: BTreeSet<String> = repo.trash().await.unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(in_trash, trash.keys().cloned().collect());
    for (id, blobs) in listed {
        let mut out = Vec::new();
        repo.dump(id, "/dir/file", &mut out).await.unwrap();
        assert!(
            out == blobs.iter().flat_map(|blob| content(*blob)).collect::<Vec<_>>(),
            "{id}"
        );
    }
    let index = repo.load_index().await.unwrap();
    for blob in trash.values().flatten() {
        let id = Id::of(&content(*blob));
        repo.load_blob(&index, BlobKind::Data, &id).await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn prune_preserves_reachability(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run_history(steps));
    }
}
