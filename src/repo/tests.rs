//! Tests of creating, opening, damage, locks and looking into snapshots.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::testing::{
    backup, below, check, contents, forged, fresh, noise, open, password, restore, small_tree, tree_of, turning,
};
use super::tree::{Node, NodeKind};
use super::{RepoError, Repository, RestoreOptions};
use crate::clock::Clock;
use crate::store::fault::{Fault, FaultStore, Op, Rule};
use crate::store::memory::MemoryStore;
use crate::store::quota::QuotaStore;
use crate::store::{ErrorKind, Store};

async fn keys_of(store: &MemoryStore, prefix: &str) -> Vec<String> {
    store
        .list(prefix)
        .await
        .unwrap()
        .into_iter()
        .map(|object| object.key)
        .collect()
}

#[tokio::test]
async fn opening_tells_the_reasons_apart() {
    let (store, repo) = fresh().await;
    assert_eq!(open(store.clone()).await.unwrap().id(), repo.id());
    let wrong = Repository::open(store.clone(), &SecretString::from("wrong".to_owned()), Clock::system()).await;
    assert!(matches!(wrong, Err(RepoError::WrongPassword { .. })));
    let empty = open(Arc::new(MemoryStore::new())).await.unwrap_err();
    assert!(matches!(empty, RepoError::NotARepository { .. }), "{empty}");
    let again = Repository::init(store.clone(), &password(), Clock::system()).await;
    assert!(matches!(again, Err(RepoError::AlreadyInitialised { .. })));

    store.damage("config", |data| data[20] ^= 1);
    let error = open(store.clone()).await.unwrap_err();
    assert!(
        matches!(&error, RepoError::Damaged { file, .. } if file == "config"),
        "{error}"
    );
    let key = keys_of(&store, "keys/").await.remove(0);
    store.damage(&key, |data| data.truncate(50));
    let error = open(store.clone()).await.unwrap_err();
    assert!(
        matches!(&error, RepoError::Damaged { file, .. } if file.starts_with("key ")),
        "{error}"
    );
    assert!(error.hint().is_some());
    store.delete(&key).await.unwrap();
    assert!(matches!(open(store).await, Err(RepoError::NotARepository { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_without_room_fails_and_leaves_what_was_there_and_one_with_room_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    small_tree(&source);
    let (store, repo) = fresh().await;
    let first = backup(&repo, &source).await.unwrap();
    let used: u64 = store.list("").await.unwrap().iter().map(|object| object.size).sum();
    std::fs::write(source.join("scan.bin"), noise(5, 400_000)).unwrap();
    let bounded = |most| Arc::new(QuotaStore::new(store.clone(), most, Clock::system()));
    let full = open(bounded(used + 200_000)).await.unwrap();
    let error = backup(&full, &source).await.unwrap_err();
    assert!(error.to_string().contains("the repository is full"), "{error}");
    assert!(error.hint().unwrap().contains("nothing was lost"), "{error}");
    assert_eq!(full.snapshots().await.unwrap().len(), 1, "no snapshot of half of it");
    let report = check(&open(store.clone()).await.unwrap()).await;
    assert!(report.is_sound(), "{report:?}");
    let options = RestoreOptions::new(first.snapshot.id.clone(), dir.path().join("restored"));
    restore(&full, options).await.unwrap();
    // With room again, what the failed one had stored already is not stored twice.
    let wide = open(bounded(used + 1_000_000)).await.unwrap();
    backup(&wide, &source).await.unwrap();
    assert!(check(&wide).await.is_sound());
    assert_eq!(wide.snapshots().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_named_and_never_restored_as_if_sound() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    small_tree(&source);
    for prefix in ["data/", "index/", "snapshots/"] {
        for (how, change) in [
            ("flipped", (|data: &mut Vec<u8>| data[40] ^= 4) as fn(&mut Vec<u8>)),
            ("truncated", |data: &mut Vec<u8>| data.truncate(data.len() / 2)),
            ("gone", |data: &mut Vec<u8>| data.clear()),
        ] {
            let (store, repo) = fresh().await;
            let snapshot = backup(&repo, &source).await.unwrap().snapshot;
            let keys = keys_of(&store, prefix).await;
            for key in &keys {
                assert!(store.damage(key, change));
            }
            let repo = open(store.clone()).await.unwrap();
            let report = check(&repo).await;
            assert!(report.errors.len() >= keys.len(), "{prefix} {how}: {report:?}");
            let names_snapshot = report
                .errors
                .iter()
                .any(|problem| problem.snapshots.contains(&snapshot.short_id().to_owned()));
            assert!(names_snapshot || prefix == "snapshots/", "{prefix} {how}: {report:?}");
            let target = dir.path().join("out");
            let result = restore(&repo, RestoreOptions::new(snapshot.id, &target)).await;
            assert!(result.is_err() || !result.unwrap().errors.is_empty(), "{prefix} {how}");
            if prefix == "snapshots/" {
                assert!(repo.snapshots().await.is_err());
                assert_eq!(repo.snapshots_lossy().await.unwrap().1.len(), 1);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_pack_costs_its_files_only() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    small_tree(&source);
    let (store, repo) = fresh().await;
    backup(&repo, &source).await.unwrap();
    // The pack of the large file is the only one of this size.
    let objects = store.list("data/").await.unwrap();
    let big = objects.iter().find(|object| object.size > 200_000).unwrap();
    store.damage(&big.key, |data| data[1000] ^= 1);
    let target = dir.path().join("out");
    let result = restore(&repo, RestoreOptions::new("latest", &target)).await.unwrap();
    assert_eq!(result.errors.len(), 1, "{:?}", result.errors);
    assert!(result.errors[0].path.ends_with("three.bin") && result.errors[0].message.starts_with("incomplete"));
    let restored = contents(&below(&target, &source));
    for (name, data) in contents(&source) {
        assert_eq!(restored.get(&name) == Some(&data), !name.ends_with(b"three.bin"));
    }
}

#[tokio::test]
async fn half_a_listing_is_an_error() {
    let (store, _) = fresh().await;
    let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
    let rule = Rule {
        op: Some(Op::List),
        prefix: "snapshots/".into(),
        nth: 0,
        fault: Fault::ListMidway,
    };
    let faulty = Arc::new(FaultStore::new(store, clock.clone(), vec![rule]));
    let repo = Repository::open(faulty, &password(), clock.clone()).await.unwrap();
    let error = turning(&clock, repo.snapshots()).await.unwrap_err();
    assert!(
        matches!(&error, RepoError::Store(inner) if inner.kind == ErrorKind::Transient),
        "{error}"
    );
    assert!(error.to_string().contains("tried 5 times"), "{error}");
}

#[tokio::test]
async fn locks_exclude_and_go_stale() {
    let store = Arc::new(MemoryStore::new());
    let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
    let repo = Repository::init(store.clone(), &password(), clock.clone())
        .await
        .unwrap();
    let (first, second) = (repo.lock(false).await.unwrap(), repo.lock(false).await.unwrap());
    let refused = repo.lock(true).await.unwrap_err();
    assert!(matches!(refused, RepoError::Locked { .. }) && refused.retryable());
    first.release().await.unwrap();
    second.release().await.unwrap();
    assert_eq!(repo.locks().await.unwrap().len(), 0);

    let held = repo.lock(true).await.unwrap();
    assert!(repo.lock(false).await.unwrap_err().to_string().contains("exclusively"));
    // The holder refreshes; only when it has gone silent for half an hour is its lock ignored.
    std::mem::forget(held);
    let other = Repository::open(store.clone(), &password(), Clock::manual(later(29)))
        .await
        .unwrap();
    assert!(other.lock(false).await.is_err());
    let other = Repository::open(store, &password(), Clock::manual(later(31)))
        .await
        .unwrap();
    // Met by somebody else it goes, because restic's own check would not pass it.
    other.lock(true).await.unwrap().release().await.unwrap();
    assert_eq!(other.locks().await.unwrap().len(), 0);
}

fn later(minutes: u64) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::UNIX_EPOCH + Duration::from_mins(minutes)
}

#[tokio::test]
async fn a_held_lock_is_refreshed() {
    let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
    let repo = Repository::init(Arc::new(MemoryStore::new()), &password(), clock.clone())
        .await
        .unwrap();
    let lock = repo.lock(false).await.unwrap();
    let wait = async {
        loop {
            let locks = repo.locks().await.unwrap();
            assert!(!locks.is_empty(), "never without a lock");
            if locks.iter().all(|(_, lock)| lock.time.timestamp() >= 600) {
                break locks.len();
            }
            tokio::task::yield_now().await;
        }
    };
    let count = tokio::time::timeout(Duration::from_secs(20), turning(&clock, wait))
        .await
        .unwrap();
    assert!(count <= 2 && !lock.lost().is_cancelled());
}

#[tokio::test]
async fn snapshots_are_found_by_prefix() {
    let (_, repo) = fresh().await;
    let (json, _) = tree_of(&[]);
    let (first, second) = (forged(&repo, &[], &json).await, forged(&repo, &[], &json).await);
    assert_eq!(repo.snapshot("latest").await.unwrap().id, second.id);
    assert_eq!(repo.snapshot(&first.id[..20]).await.unwrap().id, first.id);
    assert!(matches!(
        repo.snapshot("zz").await,
        Err(RepoError::NoSuchSnapshot { .. })
    ));
    assert!(matches!(repo.snapshot("").await, Err(RepoError::NoSuchSnapshot { .. })));
    let common: String = first
        .id
        .chars()
        .zip(second.id.chars())
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a)
        .collect();
    if !common.is_empty() {
        assert!(matches!(
            repo.snapshot(&common).await,
            Err(RepoError::AmbiguousSnapshot { count: 2, .. })
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_can_be_looked_into() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    small_tree(&source);
    let (_, repo) = fresh().await;
    let first = backup(&repo, &source).await.unwrap().snapshot.id;
    std::fs::write(source.join("one.txt"), b"changed").unwrap();
    std::fs::remove_file(source.join("a/two.txt")).unwrap();
    std::fs::write(source.join("new"), b"new").unwrap();
    let second = backup(&repo, &source).await.unwrap().snapshot.id;

    let path = |name: &str| format!("{}/{name}", source.display());
    let names: Vec<String> = repo
        .ls(&first, &path("a"))
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(names, ["b", "two.txt"]);
    assert_eq!(
        repo.ls(&first, &path("one.txt")).await.unwrap()[0].path,
        path("one.txt")
    );
    assert!(matches!(
        repo.ls(&first, "/nope").await,
        Err(RepoError::NoSuchPath { .. })
    ));
    let walked: Vec<String> = repo
        .walk(&first, &path(""))
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.path)
        .collect();
    assert_eq!(
        walked,
        ["a", "a/b", "a/b/empty", "a/b/three.bin", "a/two.txt", "one.txt"].map(path)
    );
    assert_eq!(repo.read_file(&first, &path("one.txt"), 100).await.unwrap(), b"one");
    assert!(
        repo.read_file(&first, &path("a/b/three.bin"), 100).await.is_err(),
        "larger than allowed"
    );
    assert!(repo.read_file(&first, &path("a"), 100).await.is_err(), "a directory");

    let mut out = Vec::new();
    assert_eq!(
        repo.dump(&first, &path("a/b/three.bin"), &mut out).await.unwrap(),
        300_000
    );
    assert_eq!(out, std::fs::read(source.join("a/b/three.bin")).unwrap());
    let found = repo.find(&[], "t*.txt").await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].snapshot, first);

    let diff = repo.diff(&first, &second).await.unwrap();
    let changes: Vec<_> = diff
        .differences
        .iter()
        .map(|d| format!("{:?} {}", d.change, d.entry.name))
        .collect();
    let files: Vec<_> = changes
        .iter()
        .filter(|change| !change.starts_with("Metadata"))
        .collect();
    assert_eq!(files, ["Removed two.txt", "Added new", "Modified one.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_names_are_refused() {
    let (_, repo) = fresh().await;
    for name in ["..", "../../etc/evil", "/etc/evil", ""] {
        let json = serde_json::json!({"nodes": [{"name": name, "type": "file", "content": []}]}).to_string();
        let snapshot = forged(&repo, &[], json.as_bytes()).await;
        let target = tempfile::tempdir().unwrap();
        let error = restore(&repo, RestoreOptions::new(snapshot.id, target.path()))
            .await
            .unwrap_err();
        assert!(matches!(error, RepoError::Damaged { .. }), "{name}: {error}");
    }
    let mut dir = Node::new(b"dir", NodeKind::Dir);
    dir.subtree = None;
    let (json, _) = tree_of(&[dir]);
    let snapshot = forged(&repo, &[], &json).await;
    let target = tempfile::tempdir().unwrap();
    let result = restore(&repo, RestoreOptions::new(snapshot.id, target.path()))
        .await
        .unwrap();
    assert_eq!(
        result.errors.len(),
        1,
        "a directory without a tree is listed: {result:?}"
    );
}

/// Whoever uses a repository may spawn what it does.
#[expect(dead_code, reason = "only its compilation counts")]
fn everything_can_be_spawned(repo: &Repository, mut stream: super::StreamSnapshot) {
    fn sends<T: Send>(_: T) {}
    let (progress, cancel) = (super::Progress::new(), tokio_util::sync::CancellationToken::new());
    let (backup, options) = (super::BackupOptions::default(), RestoreOptions::new("latest", "/"));
    sends(repo.backup(backup, progress.clone(), cancel.clone()));
    sends(repo.plan_restore(&options));
    sends(repo.restore(options.clone(), progress.clone(), cancel.clone()));
    sends(repo.check(super::CheckOptions::default(), progress.clone(), cancel.clone()));
    sends(repo.begin_stream_snapshot(super::StreamOptions::default(), progress, cancel));
    sends(stream.put_reader("x", std::io::empty()));
    sends(stream.commit());
    sends(repo.snapshots());
    sends(repo.walk("", ""));
    sends(repo.find(&[], ""));
    sends(repo.diff("", ""));
    sends(repo.open_file("", ""));
    sends(repo.read_file("", "", 0));
    sends(repo.lock(true));
    sends(repo.unlock(true));
    sends(repo.stats());
}
