//! The notes on a cluster: one small file of this machine, replaced whole and durably, and a lock beside it.
//!
//! A note that was returned from [`Ledger::write`] is there after a crash of the machine: the new file is synced, renamed over
//! the old one, and the directory is synced. A file that cannot be read is an error, never an empty note.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::ClusterError;
use crate::domain::cluster::Record;
use crate::domain::id::ClusterName;

/// Where the notes on one cluster are.
#[derive(Debug, Clone)]
pub struct Ledger {
    path: PathBuf,
}

/// Held by whoever acts on a cluster; the lock ends with it, and with its process.
#[derive(Debug)]
pub struct ActingLock {
    _file: File,
}

impl Ledger {
    /// The notes on a cluster below the state directory.
    pub fn new(state_dir: &Path, cluster: &ClusterName) -> Self {
        Self {
            path: state_dir.join("clusters").join(format!("{cluster}.json")),
        }
    }

    /// Reads them; nothing was noted when there are none.
    pub fn read(&self) -> Result<Record, ClusterError> {
        let path = || self.path.clone();
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Record::default()),
            Err(error) => {
                return Err(ClusterError::Notes {
                    path: path(),
                    why: error.to_string(),
                });
            }
        };
        serde_json::from_slice(&text).map_err(|error| ClusterError::Notes {
            path: path(),
            why: error.to_string(),
        })
    }

    /// Takes the lock; whoever acts holds it from the first look to the last note.
    pub fn lock(&self) -> Result<ActingLock, ClusterError> {
        let path = self.path.with_extension("lock");
        let failed = |error: std::io::Error| ClusterError::local("lock", &path, &error);
        self.make_dir()?;
        let mut options = fs::OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(ActingLock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(ClusterError::Busy { path }),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Replaces them; needs the lock.
    pub fn write(&self, _lock: &ActingLock, record: &Record) -> Result<(), ClusterError> {
        let failed = |error: std::io::Error| ClusterError::local("write", &self.path, &error);
        self.make_dir()?;
        let temp = self.path.with_extension("new");
        let text = serde_json::to_vec_pretty(record).map_err(|error| failed(error.into()))?;
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temp)
            .map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&temp, &self.path).map_err(failed)?;
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
    }

    /// Reads, changes and replaces them; needs the lock.
    pub fn note(&self, lock: &ActingLock, change: impl FnOnce(&mut Record)) -> Result<(), ClusterError> {
        let mut record = self.read()?;
        change(&mut record);
        self.write(lock, &record)
    }

    fn make_dir(&self) -> Result<(), ClusterError> {
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| ClusterError::local("create", dir, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cluster::record::{RebuildKind, RebuildNote};

    #[test]
    fn notes_come_back_and_only_one_acts() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(dir.path(), &ClusterName::from("orders"));
        assert_eq!(ledger.read().unwrap(), Record::default());
        let lock = ledger.lock().unwrap();
        assert!(matches!(ledger.lock(), Err(ClusterError::Busy { .. })));
        let rebuild = RebuildNote {
            member: "db1".into(),
            kind: RebuildKind::Rewind,
            by: "ana@host".to_owned(),
            begun: chrono::DateTime::UNIX_EPOCH,
        };
        let wanted = Record {
            rebuild: Some(rebuild),
            ..Record::default()
        };
        ledger
            .note(&lock, |record| record.rebuild.clone_from(&wanted.rebuild))
            .unwrap();
        assert_eq!(ledger.read().unwrap(), wanted);
        drop(lock);
        ledger.lock().unwrap();
    }

    #[test]
    fn notes_that_cannot_be_read_are_not_empty() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(dir.path(), &ClusterName::from("orders"));
        drop(ledger.lock().unwrap());
        fs::write(dir.path().join("clusters/orders.json"), "{\"fence\": ").unwrap();
        assert!(matches!(ledger.read(), Err(ClusterError::Notes { .. })));
    }
}
