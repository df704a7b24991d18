//! Proof that the format is right: what we write, stock restic checks and restores; what restic writes, we do.
//!
//! Needs `restic` (`apt-get install restic`); a missing one is a failure, never a skip.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use lifeboat::clock::Clock;
use lifeboat::repo::{
    BackupOptions, CheckOptions, Parent, Progress, ReadData, RepoError, Repository, RestoreOptions, StreamOptions,
};
use lifeboat::store;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

const PASSWORD: &str = "correct horse battery staple";

fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

fn restic_command(repo: &Path, password: &str) -> Command {
    let mut command = Command::new("restic");
    command
        .arg("--no-cache")
        .arg("-r")
        .arg(repo)
        .env("RESTIC_PASSWORD", password)
        .env("TZ", "UTC");
    command.stdin(Stdio::null());
    command
}

fn try_restic(repo: &Path, password: &str, args: &[&str]) -> Output {
    let output = restic_command(repo, password).args(args).output();
    output.unwrap_or_else(|error| panic!("restic cannot be run ({error}): install it with `apt-get install restic`"))
}

fn restic(repo: &Path, args: &[&str]) -> String {
    let output = try_restic(repo, PASSWORD, args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "restic {args:?}\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Bytes that look random and are the same at every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// A tree with everything that has ever gone wrong in a backup program.
fn nasty_tree(root: &Path) {
    let write = |name: &[u8], data: &[u8]| {
        let path = root.join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    };
    write(b"plain.txt", b"hello\n");
    write(b"empty", b"");
    write(b"dir/sub/deep.txt", &b"deep ".repeat(5000));
    write(b"big.bin", &noise(1, 9 << 20));
    write(b"text.log", &b"the same line again and again\n".repeat(150_000));
    write(b"latin1-\xe9\xff.txt", b"not UTF-8");
    write("quotes \" \\ < > & \u{2028} \u{a0}.txt".as_bytes(), b"quoted");
    write(b"control\x01\n\t.txt", b"control");
    write("grün-日本.txt".as_bytes(), b"unicode");
    fs::create_dir(root.join("empty-dir")).unwrap();
    symlink("plain.txt", root.join("link")).unwrap();
    symlink("/nowhere/at/all", root.join("dangling")).unwrap();
    fs::hard_link(root.join("plain.txt"), root.join("dir/hard")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    sparse.write_all_at(b"island", 20 << 20).unwrap();
    let mode = |name: &str, mode: u32| fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("plain.txt", 0o640);
    mode("big.bin", 0o4755);
    mode("text.log", 0o000);
    mode("empty-dir", 0o1777);
    mode("dir", 0o2750);
    assert!(
        Command::new("mkfifo")
            .arg(root.join("pipe"))
            .status()
            .unwrap()
            .success()
    );
    std::os::unix::fs::chown(root.join("empty"), Some(1234), Some(5678)).unwrap();
    xattr::set(root.join("plain.txt"), "user.origin", b"by hand\0and binary\xff").unwrap();
    xattr::set(root.join("dir"), "user.dir", b"x").unwrap();
    for (name, time) in [
        ("link", "2001-02-03T04:05:06.789Z"),
        ("empty-dir", "1999-12-31T23:59:59.123456789Z"),
    ] {
        let set = Command::new("touch")
            .args(["-h", "-d", time])
            .arg(root.join(name))
            .status()
            .unwrap();
        assert!(set.success());
    }
}

/// Everything about a tree that a restore must bring back, one line an entry.
fn fingerprint(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut inodes: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let mut line = format!(
            "{:o} {}:{} {}.{:09}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        if meta.is_file() {
            write!(
                line,
                " {} {}",
                meta.len(),
                lifeboat::repo::Id::of(&fs::read(&path).unwrap())
            )
            .unwrap();
        }
        if meta.is_symlink() {
            write!(line, " -> {}", fs::read_link(&path).unwrap().display()).unwrap();
        }
        let mut names: Vec<_> = xattr::list(&path).unwrap().collect();
        names.sort();
        for name in names {
            write!(line, " {}={:?}", name.display(), xattr::get(&path, &name).unwrap()).unwrap();
        }
        if meta.is_file() && meta.nlink() > 1 {
            let others = inodes.entry(meta.ino()).or_insert_with(|| b"linked".to_vec());
            write!(line, " {}", String::from_utf8_lossy(others)).unwrap();
        }
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(name, line);
    }
    found
}

fn assert_same(expected: &Path, restored: &Path) {
    let (expected, restored) = (fingerprint(expected), fingerprint(restored));
    for (name, line) in &expected {
        assert_eq!(Some(line), restored.get(name), "{:?}", String::from_utf8_lossy(name));
    }
    assert_eq!(
        expected.len(),
        restored.len(),
        "something was restored that was not backed up"
    );
}

fn below(target: &Path, source: &Path) -> PathBuf {
    target.join(source.strip_prefix("/").unwrap())
}

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(world.source()).unwrap();
        nasty_tree(&world.source());
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn source(&self) -> PathBuf {
        self.path("source")
    }

    fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    async fn init(&self) -> Repository {
        let store = store::open(self.repo().to_str().unwrap()).unwrap();
        Repository::init(store, &secret(PASSWORD), Clock::system())
            .await
            .unwrap()
    }

    async fn open(&self, password: &str) -> Result<Repository, RepoError> {
        let store = store::open(self.repo().to_str().unwrap()).unwrap();
        Repository::open(store, &secret(password), Clock::system()).await
    }
}

fn quiet() -> (Arc<Progress>, CancellationToken) {
    (Progress::new(), CancellationToken::new())
}

async fn backup(repo: &Repository, path: &Path, parent: Parent) -> lifeboat::repo::BackupResult {
    let (progress, cancel) = quiet();
    let options = BackupOptions {
        paths: vec![path.to_path_buf()],
        parent,
        ..BackupOptions::default()
    };
    let result = repo.backup(options, progress, cancel).await.unwrap();
    assert_eq!(result.errors, []);
    result
}

async fn restore(repo: &Repository, snapshot: &str, target: &Path) {
    let (progress, cancel) = quiet();
    let options = RestoreOptions {
        verify: true,
        ..RestoreOptions::new(snapshot, target)
    };
    let result = repo.restore(options, progress, cancel).await.unwrap();
    assert_eq!(result.errors, []);
    assert_eq!(result.verified, result.files);
}

async fn assert_sound(repo: &Repository) {
    let (progress, cancel) = quiet();
    let options = CheckOptions {
        read_data: ReadData::All,
        snapshot: None,
    };
    let report = repo.check(options, progress, cancel).await.unwrap();
    assert_eq!(report.errors, []);
    assert!(report.blobs_read >= report.blobs && report.packs_read == report.packs);
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_checks_and_restores_what_we_wrote() {
    let world = World::new();
    let repo = world.init().await;
    let first = backup(&repo, &world.source(), Parent::Auto).await;
    assert!(first.stats.files_new > 10 && first.stats.files_unmodified == 0);
    let again = backup(&repo, &world.source(), Parent::Auto).await;
    assert_eq!(
        (again.stats.bytes_read, again.stats.data_blobs),
        (0, 0),
        "an unchanged tree is not read again"
    );
    assert_eq!(again.stats.files_unmodified, first.stats.files_total);
    fs::write(world.source().join("plain.txt"), b"changed").unwrap();
    let changed = backup(&repo, &world.source(), Parent::Auto).await;
    assert_eq!(
        (changed.stats.files_changed, changed.stats.data_blobs),
        (2, 1),
        "one file with two names"
    );

    restic(&world.repo(), &["check", "--read-data"]);
    assert_eq!(
        restic(&world.repo(), &["snapshots", "--json"])
            .matches("\"short_id\"")
            .count(),
        3
    );
    let out = world.path("by-restic");
    restic(&world.repo(), &["restore", "latest", "--target", out.to_str().unwrap()]);
    assert_same(&world.source(), &below(&out, &world.source()));

    restic(&world.repo(), &["forget", "--keep-last", "1", "--prune"]);
    restic(&world.repo(), &["check", "--read-data"]);
    assert_sound(&repo).await;
    restore(&repo, "latest", &world.path("by-us")).await;
    assert_same(&world.source(), &below(&world.path("by-us"), &world.source()));
}

#[tokio::test(flavor = "multi_thread")]
async fn we_restore_what_restic_wrote_in_both_versions() {
    for version in ["1", "2"] {
        let world = World::new();
        let source = world.source();
        restic(&world.repo(), &["init", "--repository-version", version]);
        restic(&world.repo(), &["backup", source.to_str().unwrap()]);
        fs::write(source.join("more.txt"), noise(9, 3 << 20)).unwrap();
        restic(&world.repo(), &["backup", source.to_str().unwrap(), "--tag", "one,two"]);
        restic(&world.repo(), &["forget", "--keep-last", "1", "--prune"]);
        let new_password = world.path("second");
        fs::write(&new_password, "another password").unwrap();
        restic(
            &world.repo(),
            &["key", "add", "--new-password-file", new_password.to_str().unwrap()],
        );

        assert!(matches!(
            world.open("wrong").await,
            Err(RepoError::WrongPassword { .. })
        ));
        for password in [PASSWORD, "another password"] {
            let repo = world.open(password).await.unwrap();
            assert_eq!(repo.keys().await.unwrap().len(), 2);
            assert_eq!(repo.version().to_string(), version);
        }
        let repo = world.open("another password").await.unwrap();
        assert_sound(&repo).await;
        assert_eq!(repo.snapshot("latest").await.unwrap().snapshot.tags, ["one", "two"]);
        restore(&repo, "latest", &world.path("out")).await;
        assert_same(&source, &below(&world.path("out"), &source));

        // And on: our backup into restic's repository, with restic's snapshot as its parent.
        let next = backup(&repo, &source, Parent::Auto).await;
        assert_eq!(next.stats.bytes_read, 0, "restic's snapshot serves as the parent");
        let whole = backup(&repo, &source, Parent::None).await;
        assert!(whole.stats.bytes_read > 0);
        restic(&world.repo(), &["check", "--read-data"]);
        restic(
            &world.repo(),
            &["restore", "latest", "--target", world.path("back").to_str().unwrap()],
        );
        assert_same(&source, &below(&world.path("back"), &source));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_trees_are_restics_trees_byte_for_byte() {
    let world = World::new();
    // Only files of one chunk: where larger ones are cut is each client's own choice.
    for name in ["big.bin", "text.log", "sparse"] {
        fs::remove_file(world.source().join(name)).unwrap();
    }
    let repo = world.init().await;
    backup(&repo, &world.source(), Parent::Auto).await;
    let text = restic(
        &world.repo(),
        &["backup", "--force", "--json", world.source().to_str().unwrap()],
    );
    let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["data_blobs"], 0, "{summary}");
    // Programs beside us write into the directory of temporary files at any time, which moves its times and with them
    // the trees above ours. One of ours that differs would renew all of those and itself.
    let above = std::env::temp_dir().components().count() - 1;
    let trees = summary["tree_blobs"].as_u64().unwrap();
    assert!(
        trees <= above as u64,
        "{trees} new trees, {above} above ours: {summary}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_files_for_restic() {
    let world = World::new();
    let repo = world.init().await;
    let (progress, cancel) = quiet();
    let options = StreamOptions {
        paths: vec!["/shop.dump".into()],
        tags: vec!["db".into()],
        ..Default::default()
    };
    let mut writer = repo.begin_stream_snapshot(options, progress, cancel).await.unwrap();
    let data = noise(3, 20 << 20);
    let stats = writer
        .put_reader("shop.dump", std::io::Cursor::new(data.clone()))
        .await
        .unwrap();
    assert_eq!(
        (stats.bytes, stats.sha256),
        (20 << 20, lifeboat::repo::Id::of(&data).hex())
    );
    writer.put_bytes("lifeboat.json", b"{}\n").await.unwrap();
    assert!(writer.put_bytes("lifeboat.json", b"{}").await.is_err(), "twice");
    assert!(writer.put_bytes("../x", b"{}").await.is_err(), "out of the root");
    let done = writer.commit().await.unwrap();
    let dumped = restic_command(&world.repo(), PASSWORD)
        .args(["dump", "latest", "/shop.dump"])
        .output()
        .unwrap();
    assert!(dumped.stdout == data);
    restic(&world.repo(), &["check", "--read-data"]);
    let mut back = Vec::new();
    let mut reader = repo.open_file(&done.snapshot.id, "/shop.dump").await.unwrap();
    tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut back)
        .await
        .unwrap();
    assert!(back == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_are_respected_both_ways() {
    let world = World::new();
    let repo = world.init().await;
    let ours = repo.lock(true).await.unwrap();
    let refused = try_restic(&world.repo(), PASSWORD, &["backup", world.source().to_str().unwrap()]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("already locked"));
    ours.release().await.unwrap();

    let mut child = restic_command(&world.repo(), PASSWORD)
        .args(["backup", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let locked = tokio::time::timeout(std::time::Duration::from_secs(30), async {
        while repo.locks().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        (repo.lock(true).await, repo.lock(false).await)
    });
    let (exclusive, shared) = locked.await.expect("restic takes its lock");
    let message = exclusive.expect_err("restic holds a shared lock").to_string();
    assert!(message.contains(&format!("process {}", child.id())), "{message}");
    shared.expect("two shared locks go together").release().await.unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"something").unwrap();
    assert!(child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_we_change_are_changed_for_restic() {
    let world = World::new();
    let repo = world.init().await;
    backup(&repo, &world.source(), Parent::Auto).await;
    let repo = repo.change_password(&secret("new one")).await.unwrap();
    assert!(!try_restic(&world.repo(), PASSWORD, &["snapshots"]).status.success());
    assert!(try_restic(&world.repo(), "new one", &["check"]).status.success());
    assert!(repo.remove_key(repo.current_key()).await.is_err(), "the last key stays");
    assert!(matches!(
        world.open(PASSWORD).await,
        Err(RepoError::WrongPassword { .. })
    ));
}
