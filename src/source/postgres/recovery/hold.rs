//! One process at a time acts on a recovered server: an operating-system lock on a file in our own directory beside its copy.
//!
//! Whoever lays a copy down, opens its server, moves it on, starts it again or throws it away holds the lock from the first
//! look to the last note, the agent as well as a command without one. The file says who that is, for whoever is refused.
//!
//! **Crash windows.** The lock ends with its process, so one that was killed leaves none behind; the file stays and is written
//! over. Whoever holds the lock may remove the directory it lies in: a lock on a file that is not there any more is no lock,
//! and is asked for again.
//!
//! What this never does: wait for somebody who acts. Only those who look, who hold it for a blink, are waited out.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Note, RecoveryError, home_of};
use crate::clock::Clock;
use crate::domain::Timestamp;

const NAME: &str = "lock";
/// How often it is tried, and how far apart: those who only look are gone by then.
const TRIES: u32 = 10;
const EVERY: Duration = Duration::from_millis(50);

/// Who acts on a recovered server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// The machine of that process.
    pub host: String,
    /// What it does: `opening`.
    pub doing: String,
    /// Since when.
    pub since: Timestamp,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let since = self.since.format("%Y-%m-%d %H:%M:%S UTC");
        write!(
            f,
            "process {} on {} ({}, since {since})",
            self.pid, self.host, self.doing
        )
    }
}

/// The right to act on a recovered server, for as long as this lives.
#[derive(Debug)]
pub struct Hold {
    file: File,
    home: PathBuf,
}

impl Hold {
    /// Takes it for a copy of which our own directory is there.
    ///
    /// # Errors
    /// Held, which names who acts; not ours, when there is no such directory.
    pub async fn take(data: &Path, doing: &str, clock: &Clock) -> Result<Self, RecoveryError> {
        Self::take_off_runtime(data, doing, clock, false).await
    }

    /// Takes it for a copy that is to be laid down; our own directory is made when there is none, and removed again with the
    /// lock when nothing was noted in it meanwhile.
    ///
    /// # Errors
    /// Held, which names who acts.
    pub async fn begin(data: &Path, doing: &str, clock: &Clock) -> Result<Self, RecoveryError> {
        Self::take_off_runtime(data, doing, clock, true).await
    }

    async fn take_off_runtime(data: &Path, doing: &str, clock: &Clock, make: bool) -> Result<Self, RecoveryError> {
        let (data, doing, clock) = (data.to_owned(), doing.to_owned(), clock.clone());
        let taking = tokio::task::spawn_blocking(move || {
            let mut tries = 1;
            loop {
                match Self::try_once(&data, &doing, &clock, make) {
                    Err(RecoveryError::Held { .. }) if tries < TRIES => tries += 1,
                    taken => return taken,
                }
                clock.block(EVERY);
            }
        });
        taking.await.map_err(|_| RecoveryError::cancelled())?
    }

    fn try_once(data: &Path, doing: &str, clock: &Clock, make: bool) -> Result<Self, RecoveryError> {
        let home = home_of(data);
        let path = home.join(NAME);
        let failed = |action, error: std::io::Error| RecoveryError::local(action, &path, &error);
        if make {
            fs::create_dir_all(&home).map_err(|error| RecoveryError::local("create", &home, &error))?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = match options.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !make => return Err(not_there(data)),
            // It was removed since it was made: whoever did that is asked after once more.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(held(data, None)),
            Err(error) => return Err(failed("open", error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(held(data, read(&mut file))),
            Err(error) => return Err(failed("lock", error.into())),
        }
        if !is_at(&file, &path) {
            return Err(if make { held(data, None) } else { not_there(data) });
        }
        let holder = Holder {
            pid: std::process::id(),
            host: host(),
            doing: doing.to_owned(),
            since: clock.now(),
        };
        sign(&mut file, &holder).map_err(|error| failed("write", error))?;
        Ok(Self { file, home })
    }

    /// Whether somebody acts on the copy whose directory this is; a look, which waits for nobody. Blocks.
    pub fn is_held(home: &Path) -> bool {
        // Shared, so that two who only look do not take each other for somebody who acts.
        File::open(home.join(NAME))
            .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Nothing came of it: nothing of us stays. A directory with anything else in it is not removed by this.
        let path = self.home.join(NAME);
        if is_at(&self.file, &path) && matches!(Note::read(&self.home), Ok(None)) {
            let _ = fs::remove_file(path);
            let _ = fs::remove_dir(&self.home);
        }
    }
}

fn held(data: &Path, by: Option<Holder>) -> RecoveryError {
    let path = data.to_owned();
    RecoveryError::Held { path, by: Box::new(by) }
}

fn not_there(data: &Path) -> RecoveryError {
    RecoveryError::NotOurs {
        path: data.to_owned(),
        why: "there is no note of it beside the directory".to_owned(),
    }
}

/// Whether an open file is still the one of that name.
fn is_at(file: &File, path: &Path) -> bool {
    let number = |meta: fs::Metadata| (meta.dev(), meta.ino());
    let (here, there) = (file.metadata().map(number).ok(), fs::metadata(path).map(number).ok());
    here.is_some() && here == there
}

fn host() -> String {
    nix::unistd::gethostname().map_or_else(|_| "this host".into(), |name| name.to_string_lossy().into_owned())
}

fn sign(file: &mut File, holder: &Holder) -> std::io::Result<()> {
    let text = serde_json::to_vec(holder).unwrap_or_default();
    // Written over the old one before it is cut to length, so that a reader never finds nothing.
    file.rewind()?;
    file.write_all(&text)?;
    file.set_len(text.len() as u64)
}

fn read(file: &mut File) -> Option<Holder> {
    let mut text = Vec::new();
    file.take(4096).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_acts_and_whoever_else_wants_to_is_told_who_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (data, clock) = (dir.path().join("orders"), Clock::system());
        let home = home_of(&data);
        assert!(matches!(
            Hold::take(&data, "opening", &clock).await,
            Err(RecoveryError::NotOurs { .. })
        ));
        assert!(!home.exists(), "looking leaves nothing");
        let first = Hold::begin(&data, "recovering", &clock).await.unwrap();
        assert!(Hold::is_held(&home));
        let refused = Hold::take(&data, "opening", &clock).await.unwrap_err();
        let words = refused.to_string();
        let us = format!("process {} on", std::process::id());
        assert!(words.contains(&us) && words.contains("recovering"), "{words}");
        assert!(refused.is_refusal() && refused.retryable());
        drop(first);
        assert!(!home.exists(), "nothing came of it, so nothing of us stays");
    }

    #[tokio::test]
    async fn a_lock_whose_directory_was_removed_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let (data, clock) = (dir.path().join("orders"), Clock::system());
        let first = Hold::begin(&data, "removing", &clock).await.unwrap();
        let waits = {
            let (data, clock) = (data.clone(), clock.clone());
            tokio::spawn(async move { Hold::take(&data, "opening", &clock).await.map(drop) })
        };
        fs::remove_dir_all(home_of(&data)).unwrap();
        drop(first);
        assert!(matches!(
            waits.await.unwrap(),
            Err(RecoveryError::NotOurs { .. } | RecoveryError::Held { .. })
        ));
        assert!(!home_of(&data).exists());
    }
}
