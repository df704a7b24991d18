//! `restore_command`: one file out of the archive, or out of what was fetched ahead.
//!
//! **Not there** is an answer, not an error: PostgreSQL asks for histories and segments that never were, to find the end of the
//! log. That answer is given only when the archive said so. An archive that cannot be read is an error, and whoever calls must
//! not let PostgreSQL take it for the end of the log: it would open the server before the data is back.
//!
//! **A growing segment** is handed out, filled up with zeros, when the whole one never came: that is the newest that can be
//! replayed. PostgreSQL stops where the zeros begin.
//!
//! **Crash windows.** The file appears under its name whole or not at all; what a killed call leaves beside it is replaced by
//! the next. PostgreSQL syncs what it keeps.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::spool::{private_dir, try_lock};
use super::{SpoolLock, WalArchive, WalError};
use crate::clock::Clock;
use crate::domain::wal::{SegmentName, WalName};

/// How often a call looks for a file that is on its way.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a call waits for a file that is on its way, before it fetches the file itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fetches a file to a path; false when the archive does not have it.
pub async fn one(archive: &WalArchive, name: WalName, target: &Path, growing: bool) -> Result<bool, WalError> {
    let found = match name.segment() {
        Some(segment) if growing => archive.get_whole_or_growing(segment).await?,
        _ => archive.get(name).await?,
    };
    let Some(fetched) = found else { return Ok(false) };
    let target = target.to_owned();
    let placing = tokio::task::spawn_blocking(move || place(&target, &fetched.bytes));
    placing.await.map_err(|error| WalError::worker(&error))??;
    Ok(true)
}

/// Writes a file beside its place and moves it there. Blocks.
pub fn place(target: &Path, bytes: &[u8]) -> Result<(), WalError> {
    let temp = beside(target);
    let written = fs::write(&temp, bytes).and_then(|()| fs::rename(&temp, target));
    written.map_err(|error| {
        // A half-written file must not eat the disk that has just run full.
        let _ = fs::remove_file(&temp);
        WalError::local("write", target, &error)
    })
}

fn beside(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".lifeboat");
    target.with_file_name(name)
}

/// Where segments are fetched ahead to: a directory for one cluster of one repository.
///
/// It is also named after the present boot of the machine: what a crash may have left of its files is never looked at.
#[derive(Debug, Clone)]
pub struct FetchSpool {
    dir: PathBuf,
}

impl FetchSpool {
    /// Opens the directory below `dir` that `key` has, and removes those of others that nobody uses.
    pub fn open(dir: &Path, key: &str) -> Result<Self, WalError> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let name = crate::repo::Id::of(format!("{key}\n{boot}").as_bytes()).short();
        let own = dir.join(format!("fetch-{name}"));
        private_dir(&own)?;
        for entry in fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
            let other = entry.path();
            let name = entry.file_name();
            if other != own
                && name.to_string_lossy().starts_with("fetch-")
                && matches!(try_lock(&other, FlockOperation::NonBlockingLockExclusive), Ok(Some(_)))
            {
                // What cannot be removed now is tried again by the next call.
                let _ = fs::remove_dir_all(&other);
            }
        }
        Ok(Self { dir: own })
    }

    /// The file a segment is fetched to.
    fn path(&self, name: SegmentName) -> PathBuf {
        self.dir.join(name.to_string())
    }

    fn mark(&self, name: SegmentName) -> PathBuf {
        self.dir.join(format!("{name}.coming"))
    }

    /// Notes how far the server has come.
    pub fn set_position(&self, name: SegmentName) -> Result<(), WalError> {
        place(&self.dir.join("position"), name.to_string().as_bytes())
    }

    /// How far the server has come.
    pub fn position(&self) -> Option<SegmentName> {
        fs::read_to_string(self.dir.join("position")).ok()?.parse().ok()
    }

    /// Moves a segment that was fetched ahead to its place, waiting for one that is on its way; false when there is none.
    pub async fn take(&self, name: SegmentName, target: &Path, clock: &Clock) -> Result<bool, WalError> {
        let begun = clock.monotonic();
        loop {
            let coming = self.mark(name).exists() && self.is_busy();
            if self.move_out(name, target)? {
                return Ok(true);
            }
            if !coming || clock.elapsed(begun) > PATIENCE {
                return Ok(false);
            }
            clock.sleep(LOOK_EVERY).await;
        }
    }

    fn move_out(&self, name: SegmentName, target: &Path) -> Result<bool, WalError> {
        let path = self.path(name);
        let failed = |error: std::io::Error| WalError::local("write", target, &error);
        match fs::rename(&path, target) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
                let temp = beside(target);
                fs::copy(&path, &temp).map_err(failed)?;
                fs::rename(&temp, target).map_err(failed)?;
                // The fetcher removes what lies behind the position.
                let _ = fs::remove_file(&path);
                Ok(true)
            }
            // Not there, or the target's directory is not: then fetching it says so.
            Err(_) => Ok(false),
        }
    }

    /// Whether a segment is there or on its way.
    pub(super) fn has(&self, name: SegmentName) -> bool {
        self.path(name).exists()
    }

    pub(super) fn announce(&self, name: SegmentName) -> Result<(), WalError> {
        let mark = self.mark(name);
        fs::write(&mark, b"").map_err(|error| WalError::local("write", &mark, &error))
    }

    pub(super) fn arrived(&self, name: SegmentName) {
        // A mark that stays makes a call wait only while there is a fetcher, and not for long.
        let _ = fs::remove_file(self.mark(name));
    }

    pub(super) fn place(&self, name: SegmentName, bytes: &[u8]) -> Result<(), WalError> {
        place(&self.path(name), bytes)
    }

    /// Removes every segment that `wanted` does not want.
    pub(super) fn keep_only(&self, wanted: impl Fn(SegmentName) -> bool) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().filter_map(Result::ok) {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let stem = name.split('.').next().unwrap_or_default();
            if stem.parse().is_ok_and(|name| !wanted(name)) {
                // The next round tries again.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Becomes the fetcher; none when there is one.
    pub fn lock(&self) -> Result<Option<SpoolLock>, WalError> {
        Ok(try_lock(&self.dir, FlockOperation::NonBlockingLockExclusive)?.map(SpoolLock::new))
    }

    /// Whether there is a fetcher.
    pub fn is_busy(&self) -> bool {
        matches!(try_lock(&self.dir, FlockOperation::NonBlockingLockShared), Ok(None))
    }

    /// Where the fetcher writes what goes wrong.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }
}
