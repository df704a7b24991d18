//! One agent owns a journal: an operating-system lock on a file beside it.
//!
//! The lock dies with the process that holds it, so a killed agent never leaves one behind; the file itself stays and
//! only says who holds, or held, the lock.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::JournalError;

/// The right to write to a journal, for as long as this value lives.
#[derive(Debug)]
pub(super) struct OwnerLock {
    _file: File,
}

impl OwnerLock {
    /// Takes the lock, or names who holds it.
    pub(super) fn take(journal: &Path) -> Result<Self, JournalError> {
        let path = lock_path(journal);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|source| JournalError::io("open the lock file", &path, source))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let (pid, host) = holder(&mut file);
                return Err(JournalError::Held {
                    path: journal.to_path_buf(),
                    pid,
                    host,
                });
            }
            Err(errno) => return Err(JournalError::io("lock", &path, errno.into())),
        }
        sign(&mut file).map_err(|source| JournalError::io("write the lock file", &path, source))?;
        Ok(Self { _file: file })
    }
}

fn lock_path(journal: &Path) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn sign(file: &mut File) -> std::io::Result<()> {
    let host =
        nix::unistd::gethostname().map_or_else(|_| "this host".into(), |name| name.to_string_lossy().into_owned());
    let text = format!("{} {host}\n", std::process::id());
    // Written over the old name before it is cut to length, so that a reader never finds nothing.
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

fn holder(file: &mut File) -> (u32, String) {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    let mut words = text.split_whitespace();
    match (read, words.next().and_then(|pid| pid.parse().ok()), words.next()) {
        (Ok(_), Some(pid), Some(host)) => (pid, host.to_owned()),
        _ => (0, "an unknown host".to_owned()),
    }
}
