//! A directory as a store, laid out the way restic lays out a local repository.
//!
//! **Durability.** An object is written to a temporary file beside its final place, synced, renamed without ever
//! replacing (`RENAME_NOREPLACE`), and the directory is synced: after a crash the object is whole or absent.
//! **Leftovers** of a crash carry restic's temporary suffix and are left out of every listing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Capabilities, ErrorKind, ObjectInfo, Store, StoreError, StoreResult, check_key, direct};
use crate::domain::capacity::{Bound, Room};
use crate::domain::units::Bytes as Amount;

/// The marker in the name of an unfinished file; restic names its own the same way and both ignore them.
const TEMP_MARK: &str = "-tmp-";

static TEMP_COUNTER: AtomicU64 = AtomicU64::new(0);

/// A store in a directory of this machine.
#[derive(Debug, Clone)]
pub struct LocalStore(Arc<Root>);

#[derive(Debug)]
struct Root {
    path: PathBuf,
    location: String,
}

impl LocalStore {
    /// A store in `path`, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        let location = path.to_string_lossy().into_owned();
        Self(Arc::new(Root { path, location }))
    }

    /// Runs file system work off the async runtime.
    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        key: &str,
        work: impl FnOnce(&Root, &str) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let root = Arc::clone(&self.0);
        let owned = key.to_owned();
        match tokio::task::spawn_blocking(move || work(&root, &owned)).await {
            Ok(result) => result,
            Err(error) => Err(StoreError::new(
                ErrorKind::Other,
                action,
                key,
                format!("the worker ended: {error}"),
            )),
        }
    }
}

impl Root {
    fn file(&self, action: &'static str, key: &str) -> StoreResult<PathBuf> {
        check_key(action, key)?;
        Ok(self.path.join(key))
    }

    fn fail(&self, action: &'static str, key: &str, error: &io::Error) -> StoreError {
        StoreError::from_io(action, self.path.join(key).to_string_lossy(), error)
    }

    fn create(&self) -> StoreResult<()> {
        let mut dirs: Vec<PathBuf> = vec![self.path.clone()];
        dirs.extend(["data", "index", "keys", "locks", "snapshots"].map(|name| self.path.join(name)));
        dirs.extend((0..=255u8).map(|byte| self.path.join(format!("data/{byte:02x}"))));
        for dir in &dirs {
            make_dir(dir).map_err(|error| StoreError::from_io("create", dir.to_string_lossy(), &error))?;
        }
        sync_dir(&self.path.join("data"))
            .and_then(|()| sync_dir(&self.path))
            .map_err(|e| self.fail("create", "", &e))
    }

    fn put(&self, key: &str, data: &[u8]) -> StoreResult<()> {
        let target = self.file("write", key)?;
        let parent = target.parent().unwrap_or(&self.path).to_path_buf();
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let unique = TEMP_COUNTER.fetch_add(1, Ordering::Relaxed);
        let temp = parent.join(format!("{name}{TEMP_MARK}{}-{unique}", std::process::id()));
        let written = write_synced(&temp, &parent, data).and_then(|()| rename_new(&temp, &target));
        if let Err(error) = written {
            // The temporary file may not exist; what matters is that a half-written one does not eat the disk.
            let _ = fs::remove_file(&temp);
            return Err(self.fail("write", key, &error));
        }
        sync_dir(&parent).map_err(|error| self.fail("write", key, &error))
    }

    fn range(&self, key: &str, offset: u64, length: u64) -> StoreResult<Bytes> {
        let path = self.file("read", key)?;
        let read = || -> io::Result<Vec<u8>> {
            let file = File::open(&path)?;
            let size = file.metadata()?.len();
            // Checked before allocating, so a damaged index cannot ask for the whole memory.
            if offset.checked_add(length).is_none_or(|end| end > size) {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("{length} bytes from {offset} were asked for, the file has {size}"),
                ));
            }
            let mut data = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            file.read_exact_at(&mut data, offset)?;
            Ok(data)
        };
        read().map(Bytes::from).map_err(|error| self.fail("read", key, &error))
    }

    fn list(&self, prefix: &str) -> StoreResult<Vec<ObjectInfo>> {
        let (dir, _) = prefix.rsplit_once('/').unwrap_or(("", prefix));
        let mut found = Vec::new();
        if !dir.is_empty() {
            check_key("list", dir)?;
        }
        // A root that is not there is an error, not an empty store: an unmounted disk must not look like lost data.
        fs::metadata(&self.path).map_err(|error| self.fail("list", "", &error))?;
        self.list_dir(dir, prefix, &mut found)?;
        found.sort();
        Ok(found)
    }

    fn list_dir(&self, dir: &str, prefix: &str, found: &mut Vec<ObjectInfo>) -> StoreResult<()> {
        let entries = match fs::read_dir(self.path.join(dir)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.fail("list", dir, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| self.fail("list", dir, &error))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let key = if dir.is_empty() { name } else { format!("{dir}/{name}") };
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                // Deleted between the directory read and now: it is not part of the store any more.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(self.fail("list", &key, &error)),
            };
            if meta.is_dir() {
                if key.starts_with(prefix) || prefix.starts_with(&key) {
                    self.list_dir(&key, prefix, found)?;
                }
            } else if meta.is_file() && key.starts_with(prefix) && !key.contains(TEMP_MARK) {
                found.push(ObjectInfo { key, size: meta.len() });
            }
        }
        Ok(())
    }
}

/// Makes a directory and its parents for this user only; one that exists keeps its permissions.
fn make_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn write_synced(temp: &Path, parent: &Path, data: &[u8]) -> io::Result<()> {
    let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(temp);
    let file = match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_dir(parent)?;
            // A folder that a crash takes away would take the object with it.
            parent.parent().map_or(Ok(()), sync_dir)?;
            create()?
        }
        other => other?,
    };
    direct::write_all(&file, data)?;
    file.sync_all()?;
    // Objects never change: restic makes them read-only too, and a stray editor cannot damage one.
    file.set_permissions(fs::Permissions::from_mode(0o400))
}

/// Renames without replacing, also where the file system does not know the flag.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        other => Ok(other?),
    }
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        // Some network file systems cannot sync a directory; the rename is then as durable as they make it.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

impl Store for LocalStore {
    fn put<'a>(&'a self, key: &'a str, data: Bytes) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(self.blocking("write", key, move |root, key| root.put(key, &data)))
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<Bytes>> {
        Box::pin(self.blocking("read", key, |root, key| {
            let path = root.file("read", key)?;
            fs::read(path)
                .map(Bytes::from)
                .map_err(|error| root.fail("read", key, &error))
        }))
    }

    fn get_range<'a>(&'a self, key: &'a str, offset: u64, length: u64) -> BoxFuture<'a, StoreResult<Bytes>> {
        Box::pin(self.blocking("read", key, move |root, key| root.range(key, offset, length)))
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<u64>> {
        Box::pin(self.blocking("read", key, |root, key| {
            let path = root.file("read", key)?;
            fs::metadata(path)
                .map(|meta| meta.len())
                .map_err(|error| root.fail("read", key, &error))
        }))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, StoreResult<Vec<ObjectInfo>>> {
        Box::pin(self.blocking("list", prefix, Root::list))
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(self.blocking("delete", key, |root, key| {
            let path = root.file("delete", key)?;
            fs::remove_file(path).map_err(|error| root.fail("delete", key, &error))
        }))
    }

    fn create(&self) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.blocking("create", "", |root, _| root.create()))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            remote: false,
            parallel_puts: 2,
        }
    }

    fn location(&self) -> &str {
        &self.0.location
    }

    fn room(&self) -> BoxFuture<'_, StoreResult<Option<Room>>> {
        Box::pin(self.blocking("measure", "", |root, _| {
            // A file system that cannot say it has no bound that is known.
            Ok(rustix::fs::statvfs(&root.path).ok().map(|disk| {
                let block = disk.f_frsize.max(1);
                let used = disk.f_blocks.saturating_sub(disk.f_bfree);
                Room {
                    used: Amount(used.saturating_mul(block)),
                    // What only root may use is no room of ours.
                    limit: Amount(used.saturating_add(disk.f_bavail).saturating_mul(block)),
                    bound: Bound::Disk,
                }
            }))
        }))
    }

    fn local_path(&self) -> Option<&Path> {
        Some(&self.0.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passes_the_conformance_suite() {
        let dir = tempfile::tempdir().unwrap();
        super::super::conformance::run(&LocalStore::new(dir.path().join("store"))).await;
    }

    #[tokio::test]
    async fn leftovers_of_a_crash_are_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::new(dir.path().to_path_buf());
        store.create().await.unwrap();
        fs::write(dir.path().join("index/abcd-tmp-17-0"), b"half").unwrap();
        store.put("index/abcd", Bytes::from_static(b"whole")).await.unwrap();
        let keys: Vec<_> = store
            .list("index/")
            .await
            .unwrap()
            .into_iter()
            .map(|object| object.key)
            .collect();
        assert_eq!(keys, ["index/abcd"]);
    }

    #[tokio::test]
    async fn a_missing_root_is_an_error_and_not_an_empty_store() {
        let store = LocalStore::new(PathBuf::from("/nonexistent/lifeboat"));
        assert_eq!(store.list("snapshots/").await.unwrap_err().kind, ErrorKind::NotFound);
    }
}
