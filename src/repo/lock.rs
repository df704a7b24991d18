//! Locks, as restic's: a small file in `locks/` that says who works here.
//!
//! A shared lock keeps others from removing anything, an exclusive one keeps everybody else out. A lock is written anew
//! every five minutes and counts as stale after thirty, or when its process is gone from this machine.
//!
//! Crash window: a killed process leaves its lock, which becomes stale. A refresh writes the new file before it deletes
//! the old, so there is no moment without one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, FixedOffset, Utc};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::error::RepoError;
use super::files::FileKind;
use super::{Repository, host};

const REFRESH: Duration = Duration::from_mins(5);
const STALE_MINUTES: i64 = 30;

/// A lock as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LockFile {
    /// When it was written last.
    pub time: DateTime<FixedOffset>,
    /// Whether it excludes everybody else.
    pub exclusive: bool,
    /// On which machine.
    #[serde(default)]
    pub hostname: String,
    /// Whose process.
    #[serde(default)]
    pub username: String,
    /// Which process.
    #[serde(default)]
    pub pid: i32,
    /// The number of the user.
    #[serde(default)]
    pub uid: u32,
    /// The number of the group.
    #[serde(default)]
    pub gid: u32,
}

impl LockFile {
    fn holder(&self) -> String {
        let since = self.time.format("%Y-%m-%d %H:%M:%S %:z");
        format!(
            "{}@{} (process {}) since {since}",
            self.username, self.hostname, self.pid
        )
    }
}

/// What is in the store for a lock.
#[derive(Debug)]
struct Held {
    /// The file; none once the lock is released.
    name: Option<String>,
    /// When it was written.
    fresh: DateTime<Utc>,
}

/// A lock that is held; released by [`Lock::release`], or in the background when it is dropped.
#[derive(Debug)]
pub struct Lock {
    repo: Repository,
    held: Arc<Mutex<Held>>,
    stop: CancellationToken,
    lost: CancellationToken,
}

/// A lock that is written, and not yet known to be the only one of its kind.
#[derive(Debug)]
pub(crate) struct Claim {
    lock: Lock,
    exclusive: bool,
    /// Somebody left a lock behind and is gone: a backup that was killed.
    pub(crate) left: bool,
}

impl Claim {
    /// Makes sure that nobody did the same at the same moment (whoever sees the other's lock gives way), and does
    /// meanwhile what only reads; its answer counts only when the lock stands. Without both there is no lock left.
    pub(crate) async fn confirm<T>(
        self,
        reading: impl Future<Output = Result<T, RepoError>>,
    ) -> Result<(Lock, T), RepoError> {
        let name = self.lock.name();
        let look = self.lock.repo.refuse_conflict(self.exclusive, name.as_deref());
        match tokio::try_join!(look, reading) {
            Ok((_, answer)) => Ok((self.lock, answer)),
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    /// Gives the lock up.
    pub(crate) async fn abandon(self) {
        let _ = self.lock.release().await;
    }
}

impl Repository {
    /// Takes a lock, or says who is in the way.
    pub async fn lock(&self, exclusive: bool) -> Result<Lock, RepoError> {
        let claim = self.claim(exclusive).await?;
        Ok(claim.confirm(async { Ok(()) }).await?.0)
    }

    /// Writes a lock, unless somebody is in the way; it counts when it has been confirmed.
    pub(crate) async fn claim(&self, exclusive: bool) -> Result<Claim, RepoError> {
        let left = self.refuse_conflict(exclusive, None).await?;
        let begun = self.clock().now();
        let name = self.write_lock(exclusive).await?;
        let lock = Lock {
            repo: self.clone(),
            held: Arc::new(Mutex::new(Held {
                name: Some(name),
                fresh: begun,
            })),
            stop: CancellationToken::new(),
            lost: CancellationToken::new(),
        };
        tokio::spawn(refresh(
            self.clone(),
            exclusive,
            lock.held.clone(),
            lock.stop.clone(),
            lock.lost.clone(),
        ));
        Ok(Claim { lock, exclusive, left })
    }

    /// A shared lock for reading; none when the store cannot be written, because reading must still be possible then.
    pub(crate) async fn lock_for_reading(&self) -> Result<Option<Lock>, RepoError> {
        Ok(self.lock_and_read(async { Ok(()) }).await?.0)
    }

    /// The same, and what `reading` answers, which begins before the lock is known to stand.
    pub(crate) async fn lock_and_read<T>(
        &self,
        reading: impl Future<Output = Result<T, RepoError>>,
    ) -> Result<(Option<Lock>, T), RepoError> {
        use crate::store::ErrorKind;
        match self.claim(false).await {
            Ok(claim) => {
                let (lock, answer) = claim.confirm(reading).await?;
                Ok((Some(lock), answer))
            }
            Err(RepoError::Store(error))
                if matches!(
                    error.kind,
                    ErrorKind::ReadOnly | ErrorKind::Permission | ErrorKind::NoSpace
                ) =>
            {
                Ok((None, reading.await?))
            }
            Err(error) => Err(error),
        }
    }

    /// Every readable lock with its name.
    pub async fn locks(&self) -> Result<Vec<(String, LockFile)>, RepoError> {
        self.locks_but(None).await
    }

    /// The same without one's own.
    async fn locks_but(&self, own: Option<&str>) -> Result<Vec<(String, LockFile)>, RepoError> {
        let mut locks = Vec::new();
        for (name, _) in self.list_files(FileKind::Lock).await? {
            if Some(name.as_str()) == own {
                continue;
            }
            match self.load_json(FileKind::Lock, &name).await {
                Ok(lock) => locks.push((name, lock)),
                // Released or refreshed between the listing and now.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(locks)
    }

    /// Removes stale locks, or all of them; returns how many.
    pub async fn unlock(&self, all: bool) -> Result<usize, RepoError> {
        let mut removed = 0;
        for (name, _) in self.list_files(FileKind::Lock).await? {
            let stale = match self.load_json::<LockFile>(FileKind::Lock, &name).await {
                Ok(lock) => self.is_stale(&lock),
                Err(error) if error.is_not_found() => continue,
                // A lock that nobody can read protects nobody.
                Err(RepoError::Damaged { .. }) => true,
                Err(error) => return Err(error),
            };
            if all || stale {
                self.delete_lock(&name).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Refuses when a lock of somebody else is in the way; whether stale ones were found and removed.
    async fn refuse_conflict(&self, exclusive: bool, own: Option<&str>) -> Result<bool, RepoError> {
        let mut left = false;
        for (name, lock) in self.locks_but(own).await? {
            if self.is_stale(&lock) {
                // A killed process left it. We may pass, but restic's own check would not: so it goes. Where that fails
                // it is as harmless to us as before.
                left = true;
                let _ = self.delete_lock(&name).await;
                continue;
            }
            if exclusive || lock.exclusive {
                let how = if lock.exclusive {
                    "exclusively"
                } else {
                    "for shared use"
                };
                return Err(RepoError::Locked {
                    how,
                    holder: lock.holder(),
                });
            }
        }
        Ok(left)
    }

    fn is_stale(&self, lock: &LockFile) -> bool {
        let age = self.clock().now().signed_duration_since(lock.time);
        age > chrono::Duration::minutes(STALE_MINUTES) || is_dead(lock)
    }

    /// Whether somebody holds a lock that counts as stale only because it is old: a machine that slept, or whose clock is
    /// wrong, may still be at work under it.
    pub(crate) async fn doubts_a_lock(&self) -> Result<bool, RepoError> {
        let locks = self.locks().await?;
        Ok(locks.iter().any(|(_, lock)| self.is_stale(lock) && !is_dead(lock)))
    }

    async fn write_lock(&self, exclusive: bool) -> Result<String, RepoError> {
        let (uid, gid) = host::ids();
        let lock = LockFile {
            time: self.clock().now().fixed_offset(),
            exclusive,
            hostname: host::hostname(),
            username: host::username(),
            pid: i32::try_from(std::process::id()).unwrap_or(0),
            uid,
            gid,
        };
        self.save_json(FileKind::Lock, &lock).await
    }

    async fn delete_lock(&self, name: &str) -> Result<(), RepoError> {
        self.delete_gone(&format!("{}{name}", FileKind::Lock.prefix())).await
    }
}

/// Whether the process of a lock was one of this machine and is gone.
fn is_dead(lock: &LockFile) -> bool {
    lock.hostname == host::hostname() && lock.pid > 0 && !process_exists(lock.pid)
}

fn process_exists(pid: i32) -> bool {
    use nix::errno::Errno;
    use nix::sys::signal::kill;
    // Signal 0 only asks; a process of another user answers with a refusal, and exists.
    !matches!(kill(nix::unistd::Pid::from_raw(pid), None), Err(Errno::ESRCH)) && !is_zombie(pid)
}

/// Whether a process has ended and only waits for its parent to notice, which in a container may never happen.
fn is_zombie(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may hold any character.
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, Some('Z' | 'X'))
}

async fn refresh(
    repo: Repository,
    exclusive: bool,
    held: Arc<Mutex<Held>>,
    stop: CancellationToken,
    lost: CancellationToken,
) {
    let mut failures = 0;
    while stop.run_until_cancelled(repo.clock().sleep(REFRESH)).await.is_some() {
        let now = repo.clock().now();
        match repo.write_lock(exclusive).await {
            Ok(new) => {
                failures = 0;
                // Released while this one was being written: then the old name is gone and the new one must go too.
                let obsolete = {
                    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                    held.fresh = now;
                    if held.name.is_some() {
                        held.name.replace(new)
                    } else {
                        Some(new)
                    }
                };
                if let Some(obsolete) = obsolete {
                    let _ = repo.delete_lock(&obsolete).await;
                }
            }
            // After five failures the lock others see is about to be stale.
            Err(_) if failures >= 4 => {
                lost.cancel();
                return;
            }
            Err(_) => failures += 1,
        }
    }
}

impl Lock {
    /// Cancelled when the lock could not be kept fresh and others may soon ignore it.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Whether others may take it for stale: it could not be kept fresh, or this machine slept.
    pub fn is_lost(&self) -> bool {
        let fresh = self.held.lock().unwrap_or_else(PoisonError::into_inner).fresh;
        let age = self.repo.clock().now().signed_duration_since(fresh);
        self.lost.is_cancelled() || age > chrono::Duration::minutes(STALE_MINUTES)
    }

    fn name(&self) -> Option<String> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).name.clone()
    }

    fn take(&self) -> Option<String> {
        self.stop.cancel();
        self.held.lock().unwrap_or_else(PoisonError::into_inner).name.take()
    }

    /// Removes the lock.
    pub async fn release(&self) -> Result<(), RepoError> {
        match self.take() {
            Some(name) => self.repo.delete_lock(&name).await,
            None => Ok(()),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let (Some(name), Ok(runtime)) = (self.take(), tokio::runtime::Handle::try_current()) {
            let repo = self.repo.clone();
            runtime.spawn(async move { repo.delete_lock(&name).await });
        }
    }
}
