//! Helpers of the tests of this room.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::archive::session::{Labels, Session, Sizes};
use super::tree::{self, Node};
use super::{
    BackupOptions, BackupResult, CheckOptions, CheckReport, Compression, Id, Progress, ReadData, RepoError, Repository,
    RestoreOptions, RestoreResult, SnapshotInfo,
};
use crate::clock::Clock;
use crate::store::Store;
use crate::store::memory::MemoryStore;

pub(super) fn password() -> SecretString {
    SecretString::from("a password".to_owned())
}

/// A new repository in memory.
pub(super) async fn fresh() -> (Arc<MemoryStore>, Repository) {
    let store = Arc::new(MemoryStore::new());
    let repo = Repository::init(store.clone(), &password(), Clock::system())
        .await
        .unwrap();
    (store, repo)
}

pub(super) async fn open(store: Arc<dyn Store>) -> Result<Repository, RepoError> {
    Repository::open(store, &password(), Clock::system()).await
}

/// Options with small packs, so that small trees make several.
pub(super) fn options(path: &Path) -> BackupOptions {
    BackupOptions {
        paths: vec![path.to_path_buf()],
        pack_bytes: 64 << 10,
        ..BackupOptions::default()
    }
}

pub(super) async fn backup(repo: &Repository, path: &Path) -> Result<BackupResult, RepoError> {
    repo.backup(options(path), Progress::new(), CancellationToken::new())
        .await
}

pub(super) async fn restore(repo: &Repository, options: RestoreOptions) -> Result<RestoreResult, RepoError> {
    repo.restore(options, Progress::new(), CancellationToken::new()).await
}

pub(super) async fn check(repo: &Repository) -> CheckReport {
    let options = CheckOptions {
        read_data: ReadData::All,
        snapshot: None,
    };
    repo.check(options, Progress::new(), CancellationToken::new())
        .await
        .unwrap()
}

/// Bytes that look random and are the same at every run.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
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

/// A small tree: a few files in two directories.
pub(super) fn small_tree(root: &Path) {
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("one.txt"), b"one").unwrap();
    fs::write(root.join("a/two.txt"), b"two".repeat(1000)).unwrap();
    fs::write(root.join("a/b/three.bin"), noise(3, 300_000)).unwrap();
    fs::write(root.join("a/b/empty"), b"").unwrap();
}

/// The files of a directory and their contents.
pub(super) fn contents(root: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

/// Where a restore of `source` to `target` puts it.
pub(super) fn below(target: &Path, source: &Path) -> std::path::PathBuf {
    target.join(source.strip_prefix("/").unwrap())
}

/// Commits a snapshot whose trees were written by hand: what no honest client would store.
pub(super) async fn forged(repo: &Repository, trees: &[Vec<u8>], root: &[u8]) -> SnapshotInfo {
    let sizes = Sizes {
        compression: Compression::Auto,
        memory_budget_bytes: 1 << 20,
        cpu_threads: Some(1),
        pack_bytes: 1 << 20,
        adopt: false,
    };
    let session = Session::begin(repo, sizes, Progress::new(), CancellationToken::new())
        .await
        .unwrap();
    let feed = session.feed().unwrap();
    for tree in trees {
        feed.tree(tree.clone()).unwrap();
    }
    let root = feed.tree(root.to_vec()).unwrap();
    drop(feed);
    let labels = Labels {
        paths: vec!["/forged".into()],
        ..Labels::default()
    };
    session
        .commit(root, labels, super::BackupStats::default(), Vec::new())
        .await
        .unwrap()
        .snapshot
}

/// A tree of these nodes, and its name.
pub(super) fn tree_of(nodes: &[Node]) -> (Vec<u8>, Id) {
    let json = tree::encode(nodes);
    let id = Id::of(&json);
    (json, id)
}

/// Turns a manual clock until the work is done, so that retries and stalls take no time.
pub(super) fn turning<'a, T: 'a>(clock: &'a Clock, work: impl Future<Output = T> + 'a) -> LocalBoxFuture<'a, T> {
    turning_by(clock, std::time::Duration::from_secs(1), work)
}

/// Turns a manual clock by so much in every millisecond.
///
/// Not as fast as it goes: who holds a lock must get to renew it before the half hour is over after which it is lost.
pub(super) fn turning_by<'a, T: 'a>(
    clock: &'a Clock,
    step: std::time::Duration,
    work: impl Future<Output = T> + 'a,
) -> LocalBoxFuture<'a, T> {
    Box::pin(async move {
        let real = Clock::system();
        let turn = async {
            loop {
                clock.advance(step);
                real.sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            done = work => done,
            () = turn => unreachable!("the clock turns for ever"),
        }
    })
}

/// A small file system of its own, unmounted when dropped.
pub(super) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub(super) fn new(bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(dir.path())
            .status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "mounting a tmpfs needs root: run the tests as root"
        );
        Self(dir)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status();
    }
}
