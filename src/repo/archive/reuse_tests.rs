//! Tests of what a backup does not do again: packs of an interrupted one, unchanged directories, pages and holes.

use std::fs;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::tests::rule;
use super::{BackupOptions, Parent};
use crate::clock::Clock;
use crate::repo::browse::Found;
use crate::repo::testing::{
    backup, below, check, contents, fresh, noise, open, options, password, restore, small_tree,
};
use crate::repo::{BackupResult, Id, Progress, RepoError, Repository, RestoreOptions};
use crate::store::Store;
use crate::store::fault::{Fault, FaultStore, Op};
use crate::store::memory::MemoryStore;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backup_is_not_stored_twice() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..40u64 {
        fs::write(dir.path().join(format!("file{n:02}")), noise(2 * n + 1, 300_000)).unwrap();
    }
    for damaged in [false, true] {
        let (store, _) = fresh().await;
        let crash = rule(Op::Put, "data/", 31, Fault::Crash);
        let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
        let faulty = Arc::new(FaultStore::new(store.clone(), clock.clone(), vec![crash]));
        let repo = Repository::open(faulty, &password(), clock).await.unwrap();
        assert!(backup(&repo, dir.path()).await.is_err());
        let stored = store.list("data/").await.unwrap();
        let indexed = repo_index(&store).await;
        assert!(
            stored.len() >= 25 && indexed < stored.len(),
            "{} packs, {indexed} indexed",
            stored.len()
        );
        if damaged {
            let known = open(store.clone()).await.unwrap().load_index().await.unwrap();
            let stray = |key: &str| !known.packs().iter().any(|id| key.ends_with(&id.hex()));
            let stray = stored.iter().find(|object| stray(&object.key)).unwrap();
            store.damage(&stray.key, |data| data.truncate(200_000));
        }
        // Half an hour later its lock says nothing any more.
        let later = Clock::manual(chrono::DateTime::UNIX_EPOCH + chrono::Duration::hours(1));
        let repo = Repository::open(store.clone(), &password(), later).await.unwrap();
        let result = backup(&repo, dir.path()).await.unwrap();
        let again = 40 - stored.len() as u64 + u64::from(damaged);
        assert_eq!(
            result.stats.data_blobs, again,
            "only what was not stored whole is stored now"
        );
        assert_eq!(result.stats.bytes_read, 40 * 300_000);
        let target = tempfile::tempdir().unwrap();
        let restored = restore(&repo, RestoreOptions::new("latest", target.path()))
            .await
            .unwrap();
        assert_eq!(restored.errors, []);
        assert_eq!(contents(&below(target.path(), dir.path())), contents(dir.path()));
        assert_eq!(check(&repo).await.errors, []);
    }
}

async fn tree(repo: &Repository, result: &BackupResult, path: &std::path::Path) -> Id {
    let index = repo.load_index().await.unwrap();
    let found = repo
        .resolve(&index, &result.snapshot, path.to_str().unwrap())
        .await
        .unwrap();
    match found {
        Found::Tree(id) => id,
        Found::Node(_) => unreachable!("it is a directory"),
    }
}

async fn repo_index(store: &Arc<MemoryStore>) -> usize {
    open(store.clone())
        .await
        .unwrap()
        .load_index()
        .await
        .unwrap()
        .packs()
        .len()
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_that_no_index_names_are_looked_for_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    small_tree(dir.path());
    let (store, repo) = fresh().await;
    backup(&repo, dir.path()).await.unwrap();
    for object in store.list("index/").await.unwrap() {
        store.delete(&object.key).await.unwrap();
    }
    for (adopt, blobs) in [(true, 0), (false, 0)] {
        let options = BackupOptions {
            adopt,
            parent: Parent::None,
            ..options(dir.path())
        };
        let repo = open(store.clone()).await.unwrap();
        let result = repo
            .backup(options, Progress::new(), CancellationToken::new())
            .await
            .unwrap();
        assert_eq!((result.stats.data_blobs, result.errors), (blobs, vec![]));
    }
    assert_eq!(check(&open(store).await.unwrap()).await.errors, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_over_from_the_parent_is_what_would_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    small_tree(root);
    fs::create_dir_all(root.join("x/y/z")).unwrap();
    fs::write(root.join("x/y/z/deep"), b"deep").unwrap();
    fs::hard_link(root.join("one.txt"), root.join("x/one-more")).unwrap();
    std::os::unix::fs::symlink("one.txt", root.join("x/link")).unwrap();
    let (_, repo) = fresh().await;
    backup(&repo, root).await.unwrap();
    let changes: [(&str, &dyn Fn()); 8] = [
        ("nothing", &|| {}),
        ("deep content", &|| {
            fs::write(root.join("x/y/z/deep"), b"other").unwrap();
        }),
        ("a new file", &|| fs::write(root.join("a/new"), b"new").unwrap()),
        ("a file less", &|| fs::remove_file(root.join("a/new")).unwrap()),
        ("a mode", &|| {
            fs::set_permissions(root.join("a/two.txt"), fs::Permissions::from_mode(0o640)).unwrap();
        }),
        ("another link", &|| {
            fs::remove_file(root.join("x/link")).unwrap();
            std::os::unix::fs::symlink("two", root.join("x/link")).unwrap();
        }),
        ("a file for a directory", &|| {
            fs::remove_dir_all(root.join("x/y/z")).unwrap();
            fs::write(root.join("x/y/z"), b"file").unwrap();
        }),
        ("an attribute", &|| {
            xattr::set(root.join("a/b/empty"), "user.note", b"x").unwrap();
        }),
    ];
    for (what, change) in changes {
        change();
        let quick = backup(&repo, root).await.unwrap();
        let whole = BackupOptions {
            parent: Parent::None,
            ..options(root)
        };
        let whole = repo
            .backup(whole, Progress::new(), CancellationToken::new())
            .await
            .unwrap();
        // Of the directory itself: those above it belong to everybody, and change at any time.
        let (quick_tree, whole_tree) = (tree(&repo, &quick, root).await, tree(&repo, &whole, root).await);
        assert_eq!(quick_tree, whole_tree, "{what}");
        let counts = |stats: &super::BackupStats| (stats.files_total, stats.bytes_total);
        assert_eq!(counts(&quick.stats), counts(&whole.stats), "{what}");
        assert!(
            whole.stats.bytes_read > quick.stats.bytes_read,
            "{what}: the rest was not read"
        );
    }
    assert_eq!(check(&repo).await.errors, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_changed_page_makes_one_new_block() {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("base/16384");
    fs::create_dir(dir.path().join("base")).unwrap();
    fs::write(&file, noise(5, 20 << 20)).unwrap();
    let (_, repo) = fresh().await;
    let blocks = |block_bytes| BackupOptions {
        fixed_blocks: Some(super::FixedBlocks {
            patterns: vec!["**/base/**".into()],
            block_bytes,
        }),
        ..options(dir.path())
    };
    let run = async |options| repo.backup(options, Progress::new(), CancellationToken::new()).await;
    for wrong in [0, 1000, 16 << 20] {
        assert!(
            matches!(run(blocks(wrong)).await, Err(RepoError::Invalid { .. })),
            "{wrong}"
        );
    }
    let first = run(blocks(1 << 20)).await.unwrap();
    assert_eq!((first.stats.data_blobs, first.stats.bytes_added > 20 << 20), (20, true));
    let page = noise(6, 8192);
    fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .write_all_at(&page, 77 * 8192)
        .unwrap();
    let second = run(blocks(1 << 20)).await.unwrap();
    assert_eq!(second.stats.data_blobs, 1);
    let target = tempfile::tempdir().unwrap();
    restore(&repo, RestoreOptions::new("latest", target.path()))
        .await
        .unwrap();
    assert!(contents(&below(target.path(), dir.path())) == contents(dir.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_are_zeros_and_take_no_time() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sparse");
    let data = noise(9, 1 << 20);
    let make = |sparse: bool| {
        let file = fs::File::create(&file).unwrap();
        for at in [0, 17 << 20, (30 << 20) + 77] {
            file.write_all_at(&data, at).unwrap();
        }
        file.set_len(60 << 20).unwrap();
        if !sparse {
            let zeros = vec![0; 1 << 20];
            for at in (1 << 20..60 << 20).step_by(1 << 20) {
                let at: u64 = at;
                let taken = [17u64 << 20, (30 << 20) + 77]
                    .iter()
                    .any(|from| at + (1 << 20) > *from && at < from + (1 << 20));
                if !taken {
                    file.write_all_at(&zeros, at).unwrap();
                }
            }
        }
    };
    let (_, repo) = fresh().await;
    make(true);
    assert!(fs::metadata(&file).unwrap().blocks() * 512 < 20 << 20, "it has holes");
    let sparse = backup(&repo, dir.path()).await.unwrap();
    assert_eq!((sparse.errors, sparse.stats.bytes_read), (vec![], 60 << 20));
    make(false);
    assert!(fs::metadata(&file).unwrap().blocks() * 512 > 50 << 20, "it has none");
    let dense = BackupOptions {
        parent: Parent::None,
        ..options(dir.path())
    };
    let dense = repo
        .backup(dense, Progress::new(), CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(dense.stats.data_blobs, 0, "its chunks are the same ones");
    let target = tempfile::tempdir().unwrap();
    restore(&repo, RestoreOptions::new(sparse.snapshot.id, target.path()))
        .await
        .unwrap();
    let restored = below(target.path(), &file);
    assert!(fs::read(&restored).unwrap() == fs::read(&file).unwrap());
    assert!(
        fs::metadata(&restored).unwrap().blocks() * 512 < 20 << 20,
        "holes come back as holes"
    );
}
