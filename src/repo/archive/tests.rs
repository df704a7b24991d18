//! Tests of backup: what can go wrong on either side, at every moment.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{BackupOptions, Compression, Parent};
use crate::clock::Clock;
use crate::repo::testing::{
    SmallDisk, backup, below, check, contents, fresh, noise, open, options, password, restore, small_tree, turning,
    turning_by,
};
use crate::repo::{Progress, RepoError, Repository, RestoreOptions, StreamOptions};
use crate::store::fault::{Fault, FaultStore, Op, Rule};
use crate::store::memory::MemoryStore;
use crate::store::{ErrorKind, Store};

pub(super) fn rule(op: Op, prefix: &str, nth: u64, fault: Fault) -> Rule {
    Rule {
        op: Some(op),
        prefix: prefix.into(),
        nth,
        fault,
    }
}

/// The property behind every crash test: whatever is listed restores, and the next backup works.
async fn assert_survives(store: Arc<MemoryStore>, source: &std::path::Path) {
    let repo = open(store).await.unwrap();
    let report = check(&repo).await;
    assert_eq!(report.errors, []);
    backup(&repo, source).await.unwrap();
    for info in repo.snapshots().await.unwrap() {
        let target = tempfile::tempdir().unwrap();
        let result = restore(&repo, RestoreOptions::new(info.id, target.path()))
            .await
            .unwrap();
        assert_eq!(result.errors, []);
        assert_eq!(contents(&below(target.path(), source)), contents(source));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_operation_loses_nothing_that_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    small_tree(dir.path());
    let mut at = 1;
    loop {
        let (store, _) = fresh().await;
        let faulty = Arc::new(FaultStore::crash_at(store.clone(), Clock::system(), at));
        let Ok(repo) = open(faulty.clone()).await else {
            at += 1;
            continue;
        };
        let result = backup(&repo, dir.path()).await;
        // The snapshot is the commit: after it, a crash while the lock is released is still a success.
        let committed = store.list("snapshots/").await.unwrap().len();
        assert_eq!(committed == 1, result.is_ok(), "at operation {at}");
        assert_survives(store, dir.path()).await;
        if faulty.operations() < at {
            assert!(at > 8, "the crash never happened: {at}");
            return;
        }
        at += 1;
    }
}

#[tokio::test]
async fn requests_that_may_have_succeeded_are_repeated_safely() {
    let dir = tempfile::tempdir().unwrap();
    small_tree(dir.path());
    let (store, _) = fresh().await;
    let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
    let rules = vec![
        rule(Op::Put, "data/", 1, Fault::FailAfter(ErrorKind::Transient)),
        rule(Op::Put, "data/", 3, Fault::FailBefore(ErrorKind::Transient)),
        rule(Op::Put, "snapshots/", 1, Fault::FailAfter(ErrorKind::Transient)),
    ];
    let faulty = Arc::new(FaultStore::new(store.clone(), clock.clone(), rules));
    let repo = Repository::open(faulty, &password(), clock.clone()).await.unwrap();
    let progress = Progress::new();
    let work = repo.backup(options(dir.path()), progress.clone(), CancellationToken::new());
    turning(&clock, work).await.unwrap();
    assert_eq!(progress.sample().retries, 2);
    assert_eq!(open(store.clone()).await.unwrap().snapshots().await.unwrap().len(), 1);
    assert_eq!(check(&open(store).await.unwrap()).await.errors, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_within_a_second_and_commits_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("big"), noise(1, 30 << 20)).unwrap();
    let (store, _) = fresh().await;
    let stall = rule(Op::Put, "data/", 0, Fault::Stall(Duration::from_hours(1)));
    let faulty = Arc::new(FaultStore::new(store.clone(), Clock::system(), vec![stall]));
    let repo = open(faulty).await.unwrap();
    let (progress, cancel) = (Progress::new(), CancellationToken::new());
    let running = tokio::spawn({
        let (repo, options, progress, cancel) = (repo.clone(), options(dir.path()), progress.clone(), cancel.clone());
        async move { repo.backup(options, progress, cancel).await }
    });
    while progress.sample().bytes_done == 0 {
        tokio::task::yield_now().await;
    }
    cancel.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), running)
        .await
        .expect("it ends")
        .unwrap();
    assert!(matches!(ended, Err(RepoError::Cancelled)));
    assert_eq!(repo.snapshots().await.unwrap(), []);
    assert_eq!(store.list("locks/").await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_vanish_or_grow_while_they_are_read_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.bin", "b.bin"] {
        fs::write(
            dir.path().join(name),
            noise(name.len() as u64 + u64::from(name.as_bytes()[0]), 40 << 20),
        )
        .unwrap();
    }
    fs::write(dir.path().join("z.txt"), b"soon gone").unwrap();
    let (store, _) = fresh().await;
    // The store stands still until the clock is turned: both readers block on the budget before they reach `z.txt`.
    let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
    let stall = rule(Op::Put, "data/", 0, Fault::Stall(Duration::from_millis(20)));
    let faulty = Arc::new(FaultStore::new(store, clock.clone(), vec![stall]));
    let repo = Repository::open(faulty, &password(), clock.clone()).await.unwrap();
    let progress = Progress::new();
    let options = BackupOptions {
        memory_budget_bytes: 16 << 20,
        ..options(dir.path())
    };
    let running = tokio::spawn({
        let (repo, progress) = (repo.clone(), progress.clone());
        async move { repo.backup(options, progress, CancellationToken::new()).await }
    });
    while progress.sample().files_total < 3 || progress.sample().bytes_done < 10 << 20 {
        tokio::task::yield_now().await;
    }
    fs::remove_file(dir.path().join("z.txt")).unwrap();
    let mut growing = fs::OpenOptions::new()
        .append(true)
        .open(dir.path().join("b.bin"))
        .unwrap();
    growing.write_all(b"more").unwrap();
    let result = turning_by(&clock, Duration::from_millis(20), running)
        .await
        .unwrap()
        .unwrap();
    let listed: Vec<_> = result
        .errors
        .iter()
        .map(|error| error.path.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(listed, ["b.bin", "z.txt"], "{:?}", result.errors);
    assert!(result.errors[0].message.contains("changed while it was read"));
    assert_eq!(progress.errors.load(Ordering::Relaxed), 2);
    assert_eq!(result.stats.files_total, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_listed_and_the_rest_is_backed_up() {
    let dir = tempfile::tempdir().unwrap();
    small_tree(dir.path());
    let (_, repo) = fresh().await;
    // Reading one's own memory at address zero fails for everybody, root included.
    let paths = vec![
        dir.path().to_path_buf(),
        PathBuf::from("/proc/self/mem"),
        dir.path().join("missing"),
    ];
    let options = BackupOptions {
        paths,
        ..options(dir.path())
    };
    let result = repo
        .backup(options, Progress::new(), CancellationToken::new())
        .await
        .unwrap();
    let mut listed: Vec<_> = result.errors.iter().map(|error| error.path.as_str()).collect();
    listed.sort_unstable();
    assert_eq!(listed.len(), 2, "{:?}", result.errors);
    assert!(
        listed[0].contains("/proc/self/mem") && listed[1].ends_with("missing"),
        "{listed:?}"
    );
    assert_eq!(result.stats.files_total, 4);
    let missing = backup(&repo, &dir.path().join("missing")).await.unwrap_err();
    assert!(
        matches!(missing, RepoError::Local { .. }),
        "only missing paths are a failure: {missing}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_clear_error_and_loses_nothing() {
    let disk = SmallDisk::new(6 << 20);
    let dir = tempfile::tempdir().unwrap();
    small_tree(dir.path());
    let store = crate::store::open(disk.path().join("repo").to_str().unwrap()).unwrap();
    let repo = Repository::init(store, &password(), Clock::system()).await.unwrap();
    let first = backup(&repo, dir.path()).await.unwrap();
    let big = dir.path().join("big");
    fs::write(&big, noise(5, 20 << 20)).unwrap();
    let error = backup(&repo, dir.path()).await.unwrap_err();
    assert!(
        matches!(&error, RepoError::Store(inner) if inner.kind == ErrorKind::NoSpace),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("space"));
    fs::remove_file(&big).unwrap();
    let snapshots = repo.snapshots().await.unwrap();
    assert_eq!(snapshots.len(), 1);
    let target = tempfile::tempdir().unwrap();
    let result = restore(&repo, RestoreOptions::new(first.snapshot.id, target.path()))
        .await
        .unwrap();
    assert_eq!(result.errors, []);
    assert_eq!(contents(&below(target.path(), dir.path())), contents(dir.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn excludes_file_systems_and_descriptions() {
    let dir = tempfile::tempdir().unwrap();
    small_tree(dir.path());
    let (_, repo) = fresh().await;
    let description = serde_json::json!({"source": "files"}).as_object().unwrap().clone();
    let excludes = vec!["*.bin".to_owned(), "b/".to_owned()];
    let options = BackupOptions {
        excludes,
        description,
        comment: Some("a comment".into()),
        ..options(dir.path())
    };
    let result = repo
        .backup(options, Progress::new(), CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(result.snapshot.snapshot.description.as_deref(), Some("a comment"));
    let id = &result.snapshot.id;
    let said = repo.read_file(id, "/lifeboat.json", 1000).await.unwrap();
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&said).unwrap()["source"],
        "files"
    );
    let target = tempfile::tempdir().unwrap();
    restore(&repo, RestoreOptions::new(id, target.path())).await.unwrap();
    let names: Vec<_> = contents(&below(target.path(), dir.path())).into_keys().collect();
    assert_eq!(names, [b"a/two.txt".to_vec(), b"one.txt".to_vec()]);
    assert!(
        !target.path().join("lifeboat.json").exists(),
        "the description is not part of the files"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_blob_is_stored_once_and_noise_is_not_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let data = noise(11, 3 << 20);
    for name in ["one", "two", "three"] {
        fs::write(dir.path().join(name), &data).unwrap();
    }
    let (_, repo) = fresh().await;
    let result = backup(&repo, dir.path()).await.unwrap();
    assert_eq!(result.stats.bytes_read, 9 << 20);
    assert!(result.stats.bytes_stored < (3 << 20) + 10_000, "{:?}", result.stats);
    let again = BackupOptions {
        compression: Compression::Off,
        parent: Parent::None,
        ..options(dir.path())
    };
    let again = repo
        .backup(again, Progress::new(), CancellationToken::new())
        .await
        .unwrap();
    assert_eq!((again.stats.data_blobs, again.stats.files_new), (0, 3));
    assert_eq!(check(&repo).await.errors, []);
}

/// A stream that breaks.
struct Gone;

impl std::io::Read for Gone {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("the server went away"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_stream_leaves_no_snapshot() {
    let (store, repo) = fresh().await;
    let begin = || repo.begin_stream_snapshot(StreamOptions::default(), Progress::new(), CancellationToken::new());
    let mut writer = begin().await.unwrap();
    let broken = std::io::Read::chain(std::io::Cursor::new(noise(2, 2 << 20)), Gone);
    let error = writer.put_reader("dump", broken).await.unwrap_err();
    assert!(error.to_string().contains("the server went away"), "{error}");
    drop(writer);
    assert_eq!(repo.snapshots().await.unwrap(), []);
    let mut writer = begin().await.unwrap();
    let stats = writer.put_reader("empty", std::io::empty()).await.unwrap();
    assert_eq!(stats.bytes, 0);
    let result = writer.commit().await.unwrap();
    assert_eq!(repo.read_file(&result.snapshot.id, "empty", 10).await.unwrap(), b"");
    assert_eq!(check(&repo).await.errors, []);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(
        store.list("locks/").await.unwrap().len() <= 1,
        "a dropped writer gives its lock back"
    );
}
