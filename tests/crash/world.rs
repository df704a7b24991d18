//! The world of the crash tests: small trees, repositories in memory that can be copied, and what must always hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use lifeboat::clock::Clock;
use lifeboat::repo::{
    BackupOptions, CheckOptions, Progress, PruneOptions, ReadData, RepoError, Repository, RestoreOptions, SnapshotInfo,
};
use lifeboat::store::Store;
use lifeboat::store::memory::MemoryStore;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

pub const PASSWORD: &str = "correct horse battery staple";

/// The files of a tree, by their paths below it.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

pub fn password() -> SecretString {
    SecretString::from(PASSWORD.to_owned())
}

/// Bytes that look random and are the same at every run.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed * 2 + 1;
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

/// The regular files below a directory.
pub fn files_of(root: &Path) -> Files {
    let mut found = Files::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_path_buf();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// The files of a version of the tree: some of its own, some in common with the version before, one in all.
pub fn version(number: u64) -> Files {
    let mut files = Files::new();
    files.insert("same".into(), noise(100, 30_000));
    files.insert("changing".into(), noise(number, 40_000));
    for file in number..number + 4 {
        files.insert(format!("dir/{file}").into(), noise(1000 + file, 9_000));
    }
    files
}

/// Makes a directory hold exactly that version.
pub fn write_version(root: &Path, number: u64) {
    let _ = fs::remove_dir_all(root.join("dir"));
    fs::create_dir_all(root.join("dir")).unwrap();
    for (name, data) in version(number) {
        fs::write(root.join(name), data).unwrap();
    }
}

/// A repository in memory, and the directory that is backed up into it.
pub struct World {
    pub store: Arc<MemoryStore>,
    pub clock: Clock,
    pub source: tempfile::TempDir,
}

impl World {
    /// A new repository with so many snapshots.
    pub async fn new(snapshots: u64) -> Self {
        let this = Self {
            store: Arc::new(MemoryStore::new()),
            clock: Clock::manual(Clock::system().now()),
            source: tempfile::tempdir().unwrap(),
        };
        let repo = Repository::init(this.store.clone(), &password(), this.clock.clone())
            .await
            .unwrap();
        for number in 0..snapshots {
            this.backup(&repo, number).await.unwrap();
        }
        this
    }

    /// Backs up a version of the tree.
    pub async fn backup(&self, repo: &Repository, number: u64) -> Result<SnapshotInfo, RepoError> {
        write_version(self.source.path(), number);
        backup(repo, self.source.path()).await
    }

    /// The same bytes in a store of their own.
    pub async fn copy(&self) -> Arc<MemoryStore> {
        let copy = Arc::new(MemoryStore::new());
        for object in self.store.list("").await.unwrap() {
            let data = self.store.get(&object.key).await.unwrap();
            copy.put(&object.key, data).await.unwrap();
        }
        copy
    }

    pub async fn open(&self, store: Arc<dyn Store>) -> Result<Repository, RepoError> {
        Repository::open(store, &password(), self.clock.clone()).await
    }
}

pub async fn backup(repo: &Repository, path: &Path) -> Result<SnapshotInfo, RepoError> {
    let options = BackupOptions {
        paths: vec![path.to_path_buf()],
        pack_bytes: 64 << 10,
        cpu_threads: Some(2),
        ..BackupOptions::default()
    };
    let done = repo.backup(options, Progress::new(), CancellationToken::new()).await?;
    assert!(done.errors.is_empty(), "{:?}", done.errors);
    Ok(done.snapshot)
}

/// A prune that keeps nothing unneeded.
pub fn at_once() -> PruneOptions {
    PruneOptions {
        grace: std::time::Duration::ZERO,
        trash_period: std::time::Duration::ZERO,
        max_unused_percent: 0.0,
        accept_shrink: true,
        pack_bytes: 64 << 10,
        ..PruneOptions::default()
    }
}

pub async fn prune(repo: &Repository, options: PruneOptions) -> Result<(), RepoError> {
    let done = repo.prune(options, Progress::new(), CancellationToken::new());
    done.await.map(drop)
}

/// Nothing is wrong; with `tidy`, nothing is left over either.
pub async fn sound(repo: &Repository, tidy: bool, at: &str) {
    let options = CheckOptions {
        read_data: ReadData::All,
        snapshot: None,
    };
    let report = repo.check(options, Progress::new(), CancellationToken::new());
    let report = report.await.unwrap();
    assert!(report.is_sound(), "{at}: {:?}", report.errors);
    assert!(!tidy || report.notes.is_empty(), "{at}: {:?}", report.notes);
}

/// Restores a snapshot and returns its files.
pub async fn restored(repo: &Repository, id: &str, source: &Path) -> Files {
    let out = tempfile::tempdir().unwrap();
    let options = RestoreOptions::new(id, out.path().join("out"));
    let done = repo.restore(options, Progress::new(), CancellationToken::new());
    done.await.unwrap();
    files_of(&out.path().join("out").join(source.strip_prefix("/").unwrap()))
}

/// Writes the objects of a store into a directory, as the local store lays them out.
pub async fn write_out(store: &MemoryStore, dir: &Path) {
    for name in ["data", "index", "keys", "locks", "snapshots"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    for object in store.list("").await.unwrap() {
        let path = dir.join(&object.key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, store.get(&object.key).await.unwrap()).unwrap();
    }
}

/// Runs stock restic on a directory and returns what it printed.
pub fn restic(dir: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new("restic")
        .args(["--no-cache", "-q", "-r"])
        .arg(dir)
        .args(args)
        .env("RESTIC_PASSWORD", PASSWORD)
        .output()
        .unwrap_or_else(|error| panic!("restic cannot be run ({error}): install it with `apt-get install restic`"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{}{}", text(&output.stdout), text(&output.stderr)))
    }
}
