//! Tests of packs in a cold storage class, of restores that are killed, and of snapshots that describe too much.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::RestoreOptions;
use crate::clock::Clock;
use crate::repo::testing::{
    backup, below, contents, forged, fresh, noise, open, options, password, restore, small_tree, tree_of, turning,
};
use crate::repo::tree::{Node, NodeKind};
use crate::repo::{BackupOptions, Phase, Progress, RepoError, Repository};
use crate::store::fault::{Fault, FaultStore, Op, Rule};
use crate::store::memory::MemoryStore;
use crate::store::{Capabilities, ErrorKind, ObjectInfo, Store, StoreError, StoreResult, Thaw};

/// A store whose packs are cold until they were asked for some times.
#[derive(Debug)]
struct ColdStore {
    inner: Arc<MemoryStore>,
    /// How often each pack was asked for.
    asked: Mutex<HashMap<String, u32>>,
    answers: u32,
    reads_of_cold: AtomicU64,
}

impl ColdStore {
    fn new(inner: Arc<MemoryStore>, answers: u32) -> Arc<Self> {
        Arc::new(Self {
            inner,
            asked: Mutex::default(),
            answers,
            reads_of_cold: AtomicU64::new(0),
        })
    }

    fn check(&self, key: &str) -> StoreResult<()> {
        let asked = self.asked.lock().unwrap().get(key).copied().unwrap_or(0);
        if !key.starts_with("data/") || asked > self.answers {
            return Ok(());
        }
        self.reads_of_cold.fetch_add(1, Ordering::SeqCst);
        Err(StoreError::new(ErrorKind::Cold, "read", key, "it is in the archive"))
    }
}

impl Store for ColdStore {
    fn put<'a>(&'a self, key: &'a str, data: Bytes) -> BoxFuture<'a, StoreResult<()>> {
        self.inner.put(key, data)
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<Bytes>> {
        Box::pin(async move {
            self.check(key)?;
            self.inner.get(key).await
        })
    }

    fn get_range<'a>(&'a self, key: &'a str, offset: u64, length: u64) -> BoxFuture<'a, StoreResult<Bytes>> {
        Box::pin(async move {
            self.check(key)?;
            self.inner.get_range(key, offset, length).await
        })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<u64>> {
        self.inner.head(key)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, StoreResult<Vec<ObjectInfo>>> {
        self.inner.list(prefix)
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<()>> {
        self.inner.delete(key)
    }

    fn create(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.inner.create()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            remote: true,
            ..self.inner.capabilities()
        }
    }

    fn location(&self) -> &str {
        self.inner.location()
    }

    fn thaw<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<Thaw>> {
        Box::pin(async move {
            self.inner.head(key).await?;
            let mut asked = self.asked.lock().unwrap();
            let count = asked.entry(key.to_owned()).or_default();
            *count += 1;
            Ok(if *count > self.answers {
                Thaw::Ready
            } else {
                Thaw::Pending
            })
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cold_packs_are_thawed_all_together_and_then_restored() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    small_tree(&source);
    for n in 0..4 {
        fs::write(source.join(format!("big{n}")), noise(n, 200_000)).unwrap();
    }
    let (memory, repo) = fresh().await;
    backup(&repo, &source).await.unwrap();
    let cold = ColdStore::new(memory.clone(), 3);
    let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
    let repo = Repository::open(cold.clone(), &password(), clock.clone())
        .await
        .unwrap();
    let target = dir.path().join("out");

    let refused = repo
        .plan_restore(&RestoreOptions::new("latest", &target))
        .await
        .unwrap_err();
    assert!(refused.is_cold(), "{refused}");
    assert!(
        cold.asked.lock().unwrap().is_empty(),
        "a plan asks for nothing that costs money"
    );

    let progress = Progress::new();
    let work = repo.restore(
        RestoreOptions::new("latest", &target),
        progress.clone(),
        CancellationToken::new(),
    );
    let result = turning(&clock, work).await.unwrap();
    assert_eq!(result.errors, []);
    assert_eq!(contents(&below(&target, &source)), contents(&source));
    let packs = memory.list("data/").await.unwrap().len() as u64;
    let sample = progress.sample();
    assert_eq!((sample.packs_cold, sample.packs_thawed), (packs, packs));
    // One read for the trees, and one for each thread that met the first cold packs.
    let tried = cold.reads_of_cold.load(Ordering::SeqCst);
    assert!(tried <= 18, "{tried} reads of cold packs");
    let plan = repo
        .plan_restore(&RestoreOptions::new("latest", &target))
        .await
        .unwrap();
    assert_eq!(plan.cold_packs, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_cold_packs_can_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    small_tree(dir.path());
    let (memory, repo) = fresh().await;
    backup(&repo, dir.path()).await.unwrap();
    let repo = open(ColdStore::new(memory, u32::MAX)).await.unwrap();
    let (progress, cancel) = (Progress::new(), CancellationToken::new());
    let target = tempfile::tempdir().unwrap();
    let running = tokio::spawn({
        let (options, progress, cancel) = (
            RestoreOptions::new("latest", target.path()),
            progress.clone(),
            cancel.clone(),
        );
        async move { repo.restore(options, progress, cancel).await }
    });
    while progress.sample().phase != Phase::Thawing {
        assert!(!running.is_finished());
        tokio::task::yield_now().await;
    }
    cancel.cancel();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(5), running).await;
    assert!(matches!(ended.expect("it ends").unwrap(), Err(RepoError::Cancelled)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_restore_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    for n in 0..20u64 {
        fs::write(source.join(format!("file{n:02}")), noise(n, 700_000)).unwrap();
    }
    let (memory, repo) = fresh().await;
    backup(&repo, &source).await.unwrap();
    let target = dir.path().join("out");
    // The store dies in the middle, and with it the restore: what was written stays as it is, in any state.
    let die = Rule {
        op: Some(Op::Get),
        prefix: "data/".into(),
        nth: 14,
        fault: Fault::Crash,
    };
    let faulty = Arc::new(FaultStore::new(memory.clone(), Clock::system(), vec![die]));
    let first = restore(&open(faulty).await.unwrap(), RestoreOptions::new("latest", &target)).await;
    assert!(first.is_err());
    let there = contents(&below(&target, &source));
    let whole = contents(&source);
    let done = there.iter().filter(|(name, data)| whole[*name] == **data).count() as u64;
    assert!((4..20).contains(&done), "{done} files were restored before it died");
    let again = RestoreOptions {
        delta: true,
        verify: true,
        ..RestoreOptions::new("latest", &target)
    };
    let result = restore(&repo, again).await.unwrap();
    assert_eq!((result.errors.len(), result.unchanged, result.verified), (0, done, 20));
    // A file that was cut short may have whole blobs in it, which stay.
    let missing = (20 - done) * 700_000;
    assert!(
        result.bytes > 0 && result.bytes <= missing,
        "only what is missing is fetched: {} of {missing}",
        result.bytes
    );
    assert_eq!(contents(&below(&target, &source)), whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_touches_nothing_that_is_right() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    small_tree(&source);
    let (_, repo) = fresh().await;
    backup(&repo, &source).await.unwrap();
    let target = dir.path().join("out");
    restore(&repo, RestoreOptions::new("latest", &target)).await.unwrap();
    let place = below(&target, &source);
    let looks = |name: &str| {
        let meta = fs::metadata(place.join(name)).unwrap();
        (
            meta.ino(),
            meta.mode(),
            meta.mtime_nsec(),
            (meta.ctime(), meta.ctime_nsec()),
        )
    };
    let before = looks("a/two.txt");
    let mode = looks("one.txt").1;
    fs::set_permissions(place.join("one.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    let delta = RestoreOptions {
        delta: true,
        ..RestoreOptions::new("latest", &target)
    };
    let result = restore(&repo, delta).await.unwrap();
    assert_eq!((result.unchanged, result.files, result.bytes), (4, 0, 0));
    assert_eq!(
        looks("a/two.txt"),
        before,
        "not even the time of its last change is new"
    );
    assert_eq!(looks("one.txt").1, mode, "what was wrong was put right");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_trees_that_describe_a_trillion_directories_are_refused() {
    let (_, repo) = fresh().await;
    let (mut trees, mut below) = (Vec::new(), tree_of(&[]));
    for _ in 0..40 {
        let dir = |name: &[u8]| {
            let mut node = Node::new(name, NodeKind::Dir);
            node.subtree = Some(below.1);
            node
        };
        let next = tree_of(&[dir(b"a"), dir(b"b")]);
        trees.push(std::mem::replace(&mut below, next).0);
    }
    let snapshot = forged(&repo, &trees, &below.0).await;
    let target = tempfile::tempdir().unwrap();
    let options = RestoreOptions::new(snapshot.id, target.path().join("out"));
    let error = repo.plan_restore(&options).await.unwrap_err();
    assert!(matches!(error, RepoError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("more entries"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_read_costs_only_what_is_below_it() {
    let (_, repo) = fresh().await;
    let mut lost = Node::new(b"lost", NodeKind::Dir);
    lost.subtree = Some(crate::repo::Id::of(b"nowhere"));
    let files: Vec<Node> = (0..9u8).map(|n| Node::new(&[b'm', b'0' + n], NodeKind::File)).collect();
    let (root, _) = tree_of(&[vec![lost], files].concat());
    let snapshot = forged(&repo, &[], &root).await;
    let target = tempfile::tempdir().unwrap();
    let result = restore(&repo, RestoreOptions::new(snapshot.id, target.path()))
        .await
        .unwrap();
    assert_eq!((result.errors.len(), result.files), (1, 9), "{:?}", result.errors);
    assert!(result.errors[0].path.ends_with("lost") && result.errors[0].message.contains("nothing below it"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_names_of_one_file_are_one_file_also_far_apart() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("z")).unwrap();
    fs::write(source.join("a"), b"one file").unwrap();
    for n in 0..20 {
        fs::write(source.join(format!("m{n:02}")), format!("{n}")).unwrap();
    }
    for n in 0..5 {
        fs::hard_link(source.join("a"), source.join(format!("z/{n}"))).unwrap();
    }
    let (_, repo) = fresh().await;
    let options = BackupOptions { ..options(&source) };
    repo.backup(options, Progress::new(), CancellationToken::new())
        .await
        .unwrap();
    let target = dir.path().join("out");
    let result = restore(&repo, RestoreOptions::new("latest", &target)).await.unwrap();
    assert_eq!(
        (result.files, result.others, result.dirs),
        (
            21,
            5,
            below(&target, &source).components().count() as u64 - target.components().count() as u64 + 1
        )
    );
    let place = below(&target, &source);
    assert_eq!(
        fs::metadata(place.join("z/4")).unwrap().ino(),
        fs::metadata(place.join("a")).unwrap().ino()
    );
    assert_eq!(contents(&place), contents(&source));
}
