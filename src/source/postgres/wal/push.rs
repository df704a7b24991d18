//! `archive_command`: one file into the archive, directly or through the spool.
//!
//! With a spool, the first call starts a pusher in the background ([`pusher`](super::pusher)); it ships everything the
//! server has ready, several files at a time, and the calls that come after find their file done and return at once.
//!
//! **Crash windows.** The server keeps a file until a call for it ended with success. A call succeeds when the archive has the
//! file durably: because this call put it there, or because a result in the spool says so of this very file. Killed anywhere
//! before, the server calls again; killed after the put, the second put finds the same content. A spool that cannot be
//! written, or a pusher that does not come up, costs speed only: the call then does the work itself.

use std::time::Duration;

use super::{Archived, PushSpool, Verdict, WalArchive, WalError, WalFile};
use crate::clock::Clock;
use crate::domain::wal::SystemId;

/// How often a call looks for its result.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a pusher may take to come up.
const COMING_UP: Duration = Duration::from_secs(5);
/// How many pushers are started for one file, before the call does the work itself.
const STARTS: u32 = 3;

/// Finds out which cluster a file is of, and refuses one that does not belong to the directory it lies in.
pub fn system(file: &WalFile) -> Result<SystemId, WalError> {
    let of_data = super::file::system_of(&file.data_dir())?;
    match (file.system()?, of_data) {
        (Some(found), Some(expected)) if found != expected => Err(WalError::Foreign {
            file: file.name.to_string(),
            found,
            expected,
        }),
        (_, Some(system)) | (Some(system), None) => Ok(system),
        (None, None) => Err(WalError::Invalid {
            what: format!("{} does not say which cluster it is of", file.path.display()),
            hint: "give the path of the file inside its data directory, as archive_command does",
        }),
    }
}

/// Reads a file, looks at it, and archives it.
pub async fn one(archive: &WalArchive, file: &WalFile) -> Result<Archived, WalError> {
    let (reading, system) = (file.clone(), archive.system());
    let read = tokio::task::spawn_blocking(move || reading.read(system));
    let content = read.await.map_err(|error| WalError::worker(&error))??;
    if let Some(size) = content.size {
        archive.ensure(size).await?;
    }
    archive.put(content).await
}

/// Waits for the pusher to archive a file, and starts one when there is none; none when it has to be done without a pusher.
pub async fn through(
    spool: &PushSpool,
    file: &WalFile,
    start: impl Fn() -> std::io::Result<()>,
    clock: &Clock,
    patience: Duration,
) -> Option<Verdict> {
    match spool.take(file) {
        // A failure that nobody took is of an earlier attempt: this is a new one.
        None | Some(Verdict::Failed { .. }) => {}
        done => return done,
    }
    let begun = clock.monotonic();
    let (mut starts, mut coming_up) = (0, None);
    while clock.elapsed(begun) < patience {
        // Asked before the result is looked for: a pusher that ended in between has left its result.
        let busy = spool.is_busy();
        if let Some(verdict) = spool.take(file) {
            return Some(verdict);
        }
        if busy {
            // If it is killed from here on, the next is started at once.
            coming_up = None;
        } else if coming_up.is_none_or(|since| clock.elapsed(since) > COMING_UP) {
            starts += 1;
            if starts > STARTS {
                return None;
            }
            if let Err(error) = start() {
                tracing::warn!(%error, "no pusher could be started");
                return None;
            }
            coming_up = Some(clock.monotonic());
        }
        clock.sleep(LOOK_EVERY).await;
    }
    // Too many before it, or a slow store: the pusher goes on, and the server asks again.
    Some(Verdict::Failed {
        error: format!(
            "{} is not archived yet: it has waited {} s",
            file.name,
            patience.as_secs()
        ),
        hint: Some("PostgreSQL asks again; look at the store if this goes on".to_owned()),
        refused: false,
    })
}
