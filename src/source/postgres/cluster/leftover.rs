//! Programs that a killed process of ours has left at work on a data directory: found by their argument, and ended.
//!
//! Nobody may work on a directory on which `pg_rewind` or `pg_basebackup` is still at work for somebody who is gone.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{ClusterError, Tell};
use crate::clock::Clock;
use crate::source::SourceError;
use crate::source::postgres::process::pids_with_argument;

/// How long one may take to end when it is asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// The argument by which such a program names its directory, in one word, so that it can be found by it.
pub(super) fn argument(option: &str, directory: &Path) -> OsString {
    let mut word = OsString::from(option);
    word.push("=");
    word.push(directory);
    word
}

/// Ends every process that has this word among its arguments.
pub(super) async fn end(argument: &OsStr, clock: &Clock, tell: Tell<'_>) -> Result<(), ClusterError> {
    let begun = clock.monotonic();
    let mut told = BTreeSet::new();
    loop {
        let left = pids_with_argument(argument);
        if left.is_empty() {
            return Ok(());
        }
        let late = clock.elapsed(begun) > PATIENCE;
        for pid in left {
            if told.insert(pid) {
                tell(&format!("ending process {pid}, which was left at work on it"));
            }
            let signal = if late { Signal::SIGKILL } else { Signal::SIGTERM };
            let Ok(number) = i32::try_from(pid) else { continue };
            if kill(Pid::from_raw(number), signal) == Err(Errno::EPERM) {
                return Err(SourceError::Invalid {
                    what: format!("process {pid} is still at work on the directory, for somebody else"),
                    hint: Some("end it, or wait for it".to_owned()),
                }
                .into());
            }
        }
        clock.sleep(Duration::from_millis(100)).await;
    }
}
