//! Tests of restore: hostile trees, targets with surprises, deltas, policies.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::{Overwrite, RestoreOptions};
use crate::repo::testing::{
    SmallDisk, backup, below, contents, forged, fresh, noise, options, restore, small_tree, tree_of,
};
use crate::repo::tree::{Node, NodeKind};
use crate::repo::{Progress, RepoError};

#[tokio::test(flavor = "multi_thread")]
async fn links_in_the_target_are_replaced_and_never_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (source, outside) = (dir.path().join("source"), dir.path().join("outside"));
    small_tree(&source);
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("one.txt"), b"precious").unwrap();
    let (_, repo) = fresh().await;
    backup(&repo, &source).await.unwrap();
    let target = dir.path().join("target");
    let place = below(&target, &source);
    fs::create_dir_all(&place).unwrap();
    symlink(&outside, place.join("a")).unwrap();
    symlink(outside.join("one.txt"), place.join("one.txt")).unwrap();
    for delta in [false, true] {
        let options = RestoreOptions {
            delta,
            ..RestoreOptions::new("latest", &target)
        };
        let result = restore(&repo, options).await.unwrap();
        assert_eq!(result.errors, []);
        assert_eq!(contents(&place), contents(&source));
        assert_eq!(fs::read(outside.join("one.txt")).unwrap(), b"precious");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_link_and_directory_of_one_name_write_nothing_outside() {
    let (_, repo) = fresh().await;
    let outside = tempfile::tempdir().unwrap();
    let (inner, inner_id) = tree_of(&[Node::new(b"evil", NodeKind::File)]);
    let mut link = Node::new(b"x", NodeKind::Symlink);
    link.link_target = outside.path().as_os_str().as_encoded_bytes().to_vec();
    let mut below = Node::new(b"x", NodeKind::Dir);
    below.subtree = Some(inner_id);
    let (root, _) = tree_of(&[link, below]);
    let snapshot = forged(&repo, &[inner], &root).await;
    let target = tempfile::tempdir().unwrap();
    let error = restore(&repo, RestoreOptions::new(snapshot.id, target.path()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_hard_link_does_not_lead_out() {
    // Two files claim one inode but have different contents: they are two files.
    let (_, repo) = fresh().await;
    let file = |name: &[u8]| {
        let mut node = Node::new(name, NodeKind::File);
        (node.links, node.inode, node.device_id) = (2, 7, 7);
        node
    };
    let mut second = file(b"b");
    second.content = vec![crate::repo::Id::of(b"nowhere")];
    let (root, _) = tree_of(&[file(b"a"), second]);
    let snapshot = forged(&repo, &[], &root).await;
    let target = tempfile::tempdir().unwrap();
    let result = restore(&repo, RestoreOptions::new(snapshot.id, target.path()))
        .await
        .unwrap();
    assert_eq!(result.errors.len(), 1, "{:?}", result.errors);
    assert!(result.errors[0].message.contains("not in the index"));
    assert_eq!(fs::metadata(target.path().join("a")).unwrap().nlink(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_writes_only_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let big = noise(1, 12 << 20);
    fs::write(source.join("big"), &big).unwrap();
    fs::write(source.join("same"), noise(2, 2 << 20)).unwrap();
    fs::write(source.join("long"), b"short").unwrap();
    let (_, repo) = fresh().await;
    backup(&repo, &source).await.unwrap();
    let target = dir.path().join("out");
    restore(&repo, RestoreOptions::new("latest", &target)).await.unwrap();
    let place = below(&target, &source);
    let mut rotten = big.clone();
    rotten[6 << 20] ^= 1;
    fs::write(place.join("big"), &rotten).unwrap();
    fs::write(place.join("long"), b"short and then some").unwrap();

    let options = RestoreOptions {
        delta: true,
        verify: true,
        ..RestoreOptions::new("latest", &target)
    };
    let plan = repo.plan_restore(&options).await.unwrap();
    assert_eq!((plan.files, plan.unchanged, plan.overwritten), (2, 1, 2), "{plan:?}");
    assert!(plan.bytes_to_write < 9 << 20, "{plan:?}");
    let result = restore(&repo, options).await.unwrap();
    assert_eq!(
        (result.errors.len(), result.bytes, result.unchanged),
        (0, plan.bytes_to_write, 1)
    );
    assert_eq!(result.verified, 3);
    assert_eq!(contents(&place), contents(&source));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quick_delta_believes_length_time_and_mode() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    for name in ["same", "written", "touched", "opened"] {
        fs::write(source.join(name), noise(1, 100_000)).unwrap();
    }
    let (_, repo) = fresh().await;
    backup(&repo, &source).await.unwrap();
    let target = dir.path().join("out");
    restore(&repo, RestoreOptions::new("latest", &target)).await.unwrap();
    let place = below(&target, &source);
    // Changed and set back to its time: only reading can tell.
    let time = fs::metadata(place.join("same")).unwrap().modified().unwrap();
    fs::write(place.join("same"), noise(2, 100_000)).unwrap();
    let hidden = fs::File::options().write(true).open(place.join("same")).unwrap();
    hidden.set_modified(time).unwrap();
    fs::write(place.join("written"), noise(3, 100_000)).unwrap();
    let touched = fs::File::options().write(true).open(place.join("touched")).unwrap();
    touched.set_modified(time + std::time::Duration::from_nanos(1)).unwrap();
    fs::set_permissions(place.join("opened"), fs::Permissions::from_mode(0o666)).unwrap();

    let options = RestoreOptions {
        delta: true,
        quick: true,
        ..RestoreOptions::new("latest", &target)
    };
    let result = restore(&repo, options.clone()).await.unwrap();
    assert_eq!((result.errors.len(), result.bytes), (0, 100_000));
    assert_eq!(fs::read(place.join("same")).unwrap(), noise(2, 100_000));
    let thorough = RestoreOptions {
        quick: false,
        ..options
    };
    assert_eq!(restore(&repo, thorough).await.unwrap().bytes, 100_000);
    assert_eq!(contents(&place), contents(&source));
    let mode = |name: &str| fs::metadata(place.join(name)).unwrap().permissions().mode();
    assert_eq!(mode("opened"), mode("same"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_reads_nothing_and_counts_what_may_differ_as_different() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("same"), noise(1, 100_000)).unwrap();
    fs::write(source.join("touched"), noise(2, 200_000)).unwrap();
    fs::write(source.join("gone"), noise(3, 300_000)).unwrap();
    let (_, repo) = fresh().await;
    backup(&repo, &source).await.unwrap();
    let target = dir.path().join("out");
    restore(&repo, RestoreOptions::new("latest", &target)).await.unwrap();
    let place = below(&target, &source);
    fs::remove_file(place.join("gone")).unwrap();
    let touched = fs::File::options().write(true).open(place.join("touched")).unwrap();
    touched.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let delta = RestoreOptions {
        delta: true,
        ..RestoreOptions::new("latest", &target)
    };
    let (plan, estimate) = (
        repo.plan_restore(&delta).await.unwrap(),
        repo.estimate_restore(&delta).await.unwrap(),
    );
    assert_eq!((plan.bytes_to_write, plan.unchanged), (300_000, 2));
    assert_eq!((estimate.bytes_to_write, estimate.unchanged), (500_000, 1));
    // There is room for what is there already.
    assert_eq!((plan.bytes_in_place, estimate.bytes_in_place), (0, 200_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_says_what_happens_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    small_tree(&source);
    let (_, repo) = fresh().await;
    backup(&repo, &source).await.unwrap();
    let target = dir.path().join("out");
    let plan = repo
        .plan_restore(&RestoreOptions::new("latest", &target))
        .await
        .unwrap();
    assert!(!target.exists());
    assert_eq!((plan.files, plan.overwritten), (4, 0));
    let place = below(&target, &source);
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("one.txt"), b"mine").unwrap();
    let plan = repo
        .plan_restore(&RestoreOptions::new("latest", &target))
        .await
        .unwrap();
    assert_eq!(plan.overwritten, 1);
    assert!(plan.overwritten_names[0].ends_with("one.txt"));

    let keep = RestoreOptions {
        overwrite: Overwrite::Never,
        ..RestoreOptions::new("latest", &target)
    };
    let result = restore(&repo, keep.clone()).await.unwrap();
    assert_eq!((result.files, result.errors.len()), (3, 0));
    assert_eq!(fs::read(place.join("one.txt")).unwrap(), b"mine");
    let newer = RestoreOptions {
        overwrite: Overwrite::IfNewer,
        ..keep
    };
    restore(&repo, newer).await.unwrap();
    assert_eq!(
        fs::read(place.join("one.txt")).unwrap(),
        b"mine",
        "it is newer than the snapshot's"
    );
    let result = restore(&repo, RestoreOptions::new("latest", &target)).await.unwrap();
    assert_eq!(result.files, 4);
    assert_eq!(contents(&place), contents(&source));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_restored_by_path_and_pattern() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    small_tree(&source);
    let (_, repo) = fresh().await;
    let id = backup(&repo, &source).await.unwrap().snapshot.id;
    let restored = async |options: RestoreOptions| {
        let target = options.target.clone();
        restore(&repo, options).await.unwrap();
        contents(&target)
            .into_keys()
            .map(|name| String::from_utf8(name).unwrap())
            .collect::<Vec<_>>()
    };
    let out = |name: &str| dir.path().join(name);
    let sub = format!("{id}:{}/a", source.display());
    assert_eq!(
        restored(RestoreOptions::new(&sub, out("1"))).await,
        ["b/empty", "b/three.bin", "two.txt"]
    );
    let file = format!("{id}:{}/a/two.txt", source.display());
    assert_eq!(restored(RestoreOptions::new(&file, out("2"))).await, ["two.txt"]);
    let include = RestoreOptions {
        include: vec!["*.bin".into()],
        ..RestoreOptions::new(&sub, out("3"))
    };
    assert_eq!(restored(include).await, ["b/three.bin"]);
    let exclude = RestoreOptions {
        exclude: vec!["b/".into()],
        ..RestoreOptions::new(&sub, out("4"))
    };
    assert_eq!(restored(exclude).await, ["two.txt"]);
    assert!(!out("4").join("b").exists());
    let nowhere = RestoreOptions::new(format!("{id}:/nowhere"), out("5"));
    assert!(matches!(
        restore(&repo, nowhere).await,
        Err(RepoError::NoSuchPath { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_target_is_a_clear_error() {
    let disk = SmallDisk::new(4 << 20);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("big"), noise(5, 20 << 20)).unwrap();
    let (_, repo) = fresh().await;
    backup(&repo, dir.path()).await.unwrap();
    let error = restore(&repo, RestoreOptions::new("latest", disk.path()))
        .await
        .unwrap_err();
    assert!(
        matches!(
            &error,
            RepoError::Local {
                kind: std::io::ErrorKind::StorageFull,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.hint().unwrap().contains("free space") && error.to_string().contains("big"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_restore_says_so() {
    let dir = tempfile::tempdir().unwrap();
    small_tree(dir.path());
    let (_, repo) = fresh().await;
    repo.backup(options(dir.path()), Progress::new(), CancellationToken::new())
        .await
        .unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let target = tempfile::tempdir().unwrap();
    let ended = repo
        .restore(RestoreOptions::new("latest", target.path()), Progress::new(), cancel)
        .await;
    assert!(matches!(ended, Err(RepoError::Cancelled)));
    assert_eq!(fs::read_dir(Path::new(target.path())).unwrap().count(), 0);
}
