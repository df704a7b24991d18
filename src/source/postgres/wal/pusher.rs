//! The pusher in the background of `archive_command`: ships what the server has ready, several files at a time.
//!
//! What is ready, the server says itself: `pg_wal/archive_status/<name>.ready`. History files go first, then the oldest.
//!
//! **Crash windows.** A result is written after the put has returned. Killed between the two, the server asks for the file,
//! and it is put again: the same content, accepted. The server alone decides when a file may go, and only after a call for
//! that file; the pusher never touches the server's files.
//!
//! **Behind.** When more is ready than is worked on at once, it is compressed less: to be back in time counts more than room.
//!
//! **Order.** Files may arrive out of order, several are on their way at once. A file behind one that failed is no loss: what
//! failed stays ready, and the archive shows the gap until it came.
//!
//! **End.** After a failure in which trying again may help it ends at once, so that the next call of the server begins anew;
//! otherwise when nothing was ready for a while.

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;

use super::{PushSpool, Verdict, WalArchive, WalError, WalFile, push};
use crate::clock::Clock;
use crate::domain::wal::WalName;

/// How often the server's notes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long nothing may be ready before the pusher ends: opening a repository costs more than waiting.
const IDLE: Duration = Duration::from_secs(10);
/// How long the lock may be held by somebody who only asks.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// The files that a server waits to have archived, in the order in which they are wanted.
pub fn ready(wal_dir: &Path) -> Result<Vec<WalFile>, WalError> {
    let status = wal_dir.join("archive_status");
    let failed = |error: std::io::Error| WalError::local("read", &status, &error);
    let mut names: Vec<WalName> = Vec::new();
    for entry in fs::read_dir(&status).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let stem = name.to_string_lossy();
        if let Some(name) = stem.strip_suffix(".ready").and_then(|stem| stem.parse().ok()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    // A file that is noted and not there was archived and removed between the two looks.
    Ok(names
        .iter()
        .filter_map(|name| WalFile::at(&wal_dir.join(name.to_string())).ok())
        .collect())
}

/// Becomes the pusher of a spool; none when there is one already.
pub async fn take_over(spool: &PushSpool, clock: &Clock) -> Result<Option<super::spool::SpoolLock>, WalError> {
    let begun = clock.monotonic();
    loop {
        if let Some(lock) = spool.lock()? {
            return Ok(Some(lock));
        }
        if clock.elapsed(begun) > LOCK_PATIENCE {
            return Ok(None);
        }
        clock.sleep(LOOK_EVERY).await;
    }
}

/// Ships what is ready until there is nothing for a while, or something failed. Returns how many files it archived.
pub async fn run(
    spool: &PushSpool,
    wal_dir: &Path,
    archive: &WalArchive,
    jobs: usize,
    clock: &Clock,
) -> Result<u64, WalError> {
    spool.clear(&ready(wal_dir)?)?;
    let hurried = archive.hurried();
    let (mut archived, mut idle) = (0, clock.monotonic());
    loop {
        let mut todo = ready(wal_dir)?;
        todo.retain(|file| spool.look(file).is_none());
        if todo.is_empty() {
            if clock.elapsed(idle) > IDLE {
                return Ok(archived);
            }
            clock.sleep(LOOK_EVERY).await;
            continue;
        }
        // More than can be done at once: what comes behind them is lost with the server for as long as they take.
        let archive = if todo.len() > jobs { &hurried } else { archive };
        let mut failed = None;
        let mut attempts = futures_util::stream::iter(todo)
            .map(|file| async move { (push::one(archive, &file).await, file) })
            .buffer_unordered(jobs);
        while let Some((attempt, file)) = attempts.next().await {
            spool.tell(&file, &Verdict::of(&attempt))?;
            match attempt {
                Ok(_) => archived += 1,
                Err(error) if error.is_refusal() => tracing::error!(name = %file.name, %error, "refused"),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        idle = clock.monotonic();
    }
}
