//! The spool of `archive_command`: what a background pusher has done, told to the calls that come after.
//!
//! A result is a small file named after the file it is about: `<name>.ok` once the archive has it durably, `<name>.error`
//! with the reason. An `.ok` also says which file it was (device, inode, size, time of change), so that a file of the same
//! name that is not the same is never taken for archived: the archive itself is asked then. Results are taken once.
//!
//! **Crash windows.** Losing a result costs a second put, which finds the same content. A result that a crash of the machine
//! left half-written is no result. A result is taken before it is told: killed in between, the server asks again, and the
//! archive itself is asked. So whatever happens here, nothing is told to be safe that is not.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{WalError, WalFile};

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The archive has it.
    Archived,
    /// It could not be archived.
    Failed {
        /// What failed.
        error: String,
        /// What to do next.
        hint: Option<String>,
        /// Whether it was refused, so that somebody has to look.
        refused: bool,
    },
}

impl Verdict {
    /// The verdict of an attempt.
    pub fn of<T>(attempt: &Result<T, WalError>) -> Self {
        match attempt {
            Ok(_) => Self::Archived,
            Err(error) => Self::Failed {
                error: error.to_string(),
                hint: error.hint(),
                refused: error.is_refusal(),
            },
        }
    }
}

/// The right to work on a spool in the background; whoever holds it is its pusher, or its fetcher.
#[derive(Debug)]
pub struct SpoolLock {
    /// The lock lives as long as the open file.
    _file: File,
}

impl SpoolLock {
    pub(super) fn new(file: File) -> Self {
        Self { _file: file }
    }
}

/// The spool of one cluster, in a directory of its own.
#[derive(Debug, Clone)]
pub struct PushSpool {
    dir: PathBuf,
}

impl PushSpool {
    /// Opens the spool that a cluster has below `dir`; makes it when there is none.
    pub fn open(dir: &Path, data: &Path) -> Result<Self, WalError> {
        let data = fs::canonicalize(data).map_err(|error| WalError::local("read", data, &error))?;
        let name = crate::repo::Id::of(data.as_os_str().as_encoded_bytes()).short();
        let dir = dir.join(format!("push-{name}"));
        private_dir(&dir)?;
        Ok(Self { dir })
    }

    /// Where the pusher writes what goes wrong.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn path(&self, file: &WalFile, kind: &str) -> PathBuf {
        self.dir.join(format!("{}.{kind}", file.name))
    }

    /// Takes the result of a file, when there is one; it is gone afterwards.
    pub fn take(&self, file: &WalFile) -> Option<Verdict> {
        let verdict = self.look(file)?;
        for kind in ["ok", "error"] {
            // One that stays is taken again: true for an `ok`, and an `error` is cleared by the next pusher.
            let _ = fs::remove_file(self.path(file, kind));
        }
        Some(verdict)
    }

    /// The result of a file, when there is one.
    pub fn look(&self, file: &WalFile) -> Option<Verdict> {
        if let Ok(text) = fs::read_to_string(self.path(file, "ok"))
            && text == format!("{}\n", file.identity.as_str())
        {
            return Some(Verdict::Archived);
        }
        let failed = fs::read(self.path(file, "error")).ok()?;
        serde_json::from_slice(&failed).ok()
    }

    /// Tells what became of a file.
    pub fn tell(&self, file: &WalFile, verdict: &Verdict) -> Result<(), WalError> {
        let (kind, text) = match verdict {
            Verdict::Archived => ("ok", format!("{}\n", file.identity.as_str()).into_bytes()),
            Verdict::Failed { .. } => ("error", serde_json::to_vec(verdict).unwrap_or_default()),
        };
        let path = self.path(file, kind);
        let temp = self.dir.join(format!(".{}.{kind}", file.name));
        fs::write(&temp, text)
            .and_then(|()| fs::rename(&temp, &path))
            .map_err(|error| WalError::local("write", &path, &error))
    }

    /// Forgets failures, which are tried again, and results that nobody waits for.
    pub fn clear(&self, waiting: &[WalFile]) -> Result<(), WalError> {
        let failed = |error: std::io::Error| WalError::local("read", &self.dir, &error);
        let oks: Vec<PathBuf> = waiting.iter().map(|file| self.path(file, "ok")).collect();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let result = path.extension().is_some_and(|kind| kind == "ok" || kind == "error");
            if result && !oks.contains(&path) {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(WalError::local("remove", &path, &error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Becomes the pusher; none when there is one.
    pub fn lock(&self) -> Result<Option<SpoolLock>, WalError> {
        Ok(try_lock(&self.dir, FlockOperation::NonBlockingLockExclusive)?.map(SpoolLock::new))
    }

    /// Whether there is a pusher.
    pub fn is_busy(&self) -> bool {
        // Shared, so that two who only ask do not take each other for the pusher.
        matches!(try_lock(&self.dir, FlockOperation::NonBlockingLockShared), Ok(None))
    }
}

/// Makes a directory that only this user can look into; one that exists stays as it is.
pub(super) fn private_dir(dir: &Path) -> Result<(), WalError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| WalError::local("create", dir, &error))
}

/// Takes the lock of a directory; none when somebody else holds it.
pub(super) fn try_lock(dir: &Path, how: FlockOperation) -> Result<Option<File>, WalError> {
    let path = dir.join("lock");
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let file = opened.map_err(|error| WalError::local("open", &path, &error))?;
    match flock(&file, how) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(WalError::local("lock", &path, &errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_only_of_the_file_it_was_about_and_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let spool = PushSpool::open(&dir.path().join("spool"), dir.path()).unwrap();
        let path = dir.path().join("000000010000000000000001");
        fs::write(&path, b"one").unwrap();
        let file = WalFile::at(&path).unwrap();
        spool.tell(&file, &Verdict::Archived).unwrap();
        fs::write(&path, b"another").unwrap();
        let other = WalFile::at(&path).unwrap();
        assert_eq!(spool.look(&other), None, "the name is the same, the file is not");
        assert_eq!(spool.take(&file), Some(Verdict::Archived));
        assert_eq!(spool.take(&file), None);
        fs::write(spool.path(&file, "ok"), b"").unwrap();
        assert_eq!(spool.take(&file), None, "half-written");
        let failed = Verdict::of::<()>(&Err(WalError::corrupt("x", "y")));
        spool.tell(&file, &failed).unwrap();
        assert_eq!(spool.look(&file), Some(failed));
        spool.clear(std::slice::from_ref(&file)).unwrap();
        assert_eq!(spool.look(&file), None);
    }

    #[test]
    fn there_is_one_pusher() {
        let dir = tempfile::tempdir().unwrap();
        let spool = PushSpool::open(dir.path(), dir.path()).unwrap();
        assert!(!spool.is_busy());
        let lock = spool.lock().unwrap().unwrap();
        assert!(spool.is_busy() && spool.lock().unwrap().is_none());
        drop(lock);
        assert!(!spool.is_busy());
    }
}
