//! Tests of export: what GNU tar and a zip reader make of our archives, and what is refused.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use super::super::testing::{backup, below, contents, forged, fresh, noise, small_tree, tree_of};
use super::*;

async fn export(
    repo: &Repository,
    format: ExportFormat,
    target: &Path,
    subpath: &str,
) -> Result<ExportReport, RepoError> {
    repo.export_to(
        "latest",
        Some(subpath),
        format,
        target,
        Progress::new(),
        CancellationToken::new(),
    )
    .await
}

fn nasty(root: &Path) {
    small_tree(root);
    let bytes = |name: &[u8]| root.join(std::ffi::OsStr::from_bytes(name));
    fs::write(bytes(b"latin1-\xe9\xff"), b"not UTF-8").unwrap();
    fs::write(root.join("x".repeat(200)), b"long").unwrap();
    let deep = root.join("deep".repeat(40)).join("deeper".repeat(30));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), noise(5, 100_000)).unwrap();
    symlink("y".repeat(150), root.join("long-link")).unwrap();
    symlink("one.txt", root.join("link")).unwrap();
    fs::hard_link(root.join("one.txt"), root.join("a/hard")).unwrap();
    fs::set_permissions(root.join("one.txt"), fs::Permissions::from_mode(0o4640)).unwrap();
    std::os::unix::fs::chown(root.join("a/two.txt"), Some(3_000_000), Some(1234)).unwrap();
    xattr::set(root.join("one.txt"), "user.origin", b"by hand\0\xff").unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(20 << 20).unwrap();
    let mut touch = Command::new("touch");
    touch
        .args(["-d", "1999-12-31T23:59:59.123456789Z"])
        .arg(root.join("a/two.txt"));
    assert!(touch.status().unwrap().success());
    assert!(
        Command::new("mkfifo")
            .arg(root.join("pipe"))
            .status()
            .unwrap()
            .success()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tar_archive_keeps_everything() {
    let (_, repo) = fresh().await;
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    nasty(&source);
    backup(&repo, &source).await.unwrap();
    let (archive, out) = (dir.path().join("out.tar.zst"), dir.path().join("out"));
    let report = export(&repo, ExportFormat::TarZst, &archive, "/").await.unwrap();
    assert!(report.skipped.is_empty() && report.entries > 15, "{report:?}");
    assert!(fs::metadata(&archive).unwrap().len() < 2 << 20, "holes cost nothing");
    fs::create_dir(&out).unwrap();
    let plain = dir.path().join("out.tar");
    let unpacked = zstd::stream::decode_all(File::open(&archive).unwrap()).unwrap();
    fs::write(&plain, unpacked).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--xattrs", "--xattrs-include=*", "-xpf"])
        .arg(&plain)
        .arg("-C")
        .arg(&out);
    let made = tar.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let copy = below(&out, &source);
    // A pipe cannot be read.
    for root in [&source, &copy] {
        assert_eq!(fs::metadata(root.join("pipe")).unwrap().mode() & 0o170_000, 0o010_000);
        fs::remove_file(root.join("pipe")).unwrap();
        fs::remove_file(root.join("long-link")).unwrap_or_default();
    }
    assert!(contents(&copy) == contents(&source));
    let meta = |name: &str| fs::symlink_metadata(copy.join(name)).unwrap();
    assert_eq!((meta("one.txt").mode() & 0o7777, meta("one.txt").nlink()), (0o4640, 2));
    assert_eq!((meta("a/two.txt").uid(), meta("a/two.txt").gid()), (3_000_000, 1234));
    assert_eq!(
        (meta("a/two.txt").mtime(), meta("a/two.txt").mtime_nsec()),
        (946_684_799, 123_456_789)
    );
    assert_eq!(
        xattr::get(copy.join("one.txt"), "user.origin").unwrap().unwrap(),
        b"by hand\0\xff"
    );
    assert_eq!(fs::read_link(copy.join("link")).unwrap(), Path::new("one.txt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zip_archive_keeps_contents_and_links() {
    let (_, repo) = fresh().await;
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    small_tree(&source);
    symlink("one.txt", source.join("link")).unwrap();
    backup(&repo, &source).await.unwrap();
    let archive = dir.path().join("out.zip");
    export(&repo, ExportFormat::Zip, &archive, source.to_str().unwrap())
        .await
        .unwrap();
    let mut zip = zip::ZipArchive::new(File::open(&archive).unwrap()).unwrap();
    for (name, data) in contents(&source) {
        let mut entry = zip.by_name(std::str::from_utf8(&name).unwrap()).unwrap();
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut read).unwrap();
        if entry.is_symlink() {
            assert_eq!(read, b"one.txt");
        } else {
            assert!(read == data, "{name:?}");
        }
    }
    // What it cannot hold is said before half an archive is there.
    fs::remove_dir_all(&source).unwrap();
    nasty(&source);
    backup(&repo, &source).await.unwrap();
    let second = dir.path().join("second.zip");
    let error = export(&repo, ExportFormat::Zip, &second, "/").await.unwrap_err();
    assert!(
        matches!(&error, RepoError::Invalid { what } if what.contains("UTF-8")),
        "{error}"
    );
    let left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_exists_is_never_replaced_and_failures_leave_nothing() {
    let (store, repo) = fresh().await;
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    small_tree(&source);
    backup(&repo, &source).await.unwrap();
    let target = dir.path().join("out.tar.zst");
    fs::write(&target, b"precious").unwrap();
    let error = export(&repo, ExportFormat::TarZst, &target, "/").await.unwrap_err();
    assert!(
        matches!(
            &error,
            RepoError::Local {
                kind: std::io::ErrorKind::AlreadyExists,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    fs::remove_file(&target).unwrap();
    for object in crate::store::Store::list(store.as_ref(), "data/").await.unwrap() {
        store.damage(&object.key, |data| {
            if data.len() > 100_000 {
                data[50_000] ^= 1;
            }
        });
    }
    let error = export(&repo, ExportFormat::TarZst, &target, "/").await.unwrap_err();
    assert!(matches!(error, RepoError::Damaged { .. }), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "only the source");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_refused() {
    for name in [&b".."[..], b"a/b", b"/etc", b"."] {
        let (_, repo) = fresh().await;
        let (tree, _) = tree_of(&[Node::new(name, NodeKind::File)]);
        forged(&repo, &[], &tree).await;
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out.tar.zst");
        let error = export(&repo, ExportFormat::TarZst, &target, "/").await.unwrap_err();
        assert!(
            matches!(error, RepoError::Refused { .. } | RepoError::Damaged { .. }),
            "{error}"
        );
        assert!(!target.exists());
    }
}
