//! The log of each run: what was done, line by line, in a file of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::clock::Clock;
use crate::domain::command::Refusal;

/// A log that grows past this takes no more lines: a run that fails on a million files says so once.
const MOST_BYTES: u64 = 4 << 20;
/// Logs kept; the oldest go first.
const LOGS_KEPT: usize = 1000;

/// Where the logs are.
pub(super) fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("logs")
}

/// The log of one run. What cannot be written is dropped: a full disk must not fail a backup because of its log.
pub(super) struct RunLog {
    clock: Clock,
    file: Mutex<Option<(std::fs::File, u64)>>,
}

impl RunLog {
    /// Opens the log of a run; a further attempt goes on in the same file.
    pub fn open(directory: &Path, run: &str, clock: Clock) -> Self {
        let file = std::fs::create_dir_all(directory).and_then(|()| {
            trim(directory);
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(directory.join(format!("{run}.log")))
        });
        if let Err(error) = &file {
            tracing::warn!("the log of {run} cannot be written: {error}");
        }
        let file = file.ok().map(|file| {
            let written = file.metadata().map_or(0, |meta| meta.len());
            (file, written)
        });
        Self {
            clock,
            file: Mutex::new(file),
        }
    }

    /// Adds a line.
    pub fn line(&self, text: &str) {
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((file, written)) = slot.as_mut() else { return };
        if *written > MOST_BYTES {
            return;
        }
        let mut line = format!("{} {text}\n", self.clock.now().format("%Y-%m-%dT%H:%M:%S%.3fZ"));
        if *written + line.len() as u64 > MOST_BYTES {
            line.push_str("(the log is full; later lines are left out)\n");
        }
        *written += line.len() as u64;
        let _ = file.write_all(line.as_bytes());
    }
}

fn trim(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    let mut logs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    if logs.len() >= LOGS_KEPT {
        // Run ids sort by time, so the names do.
        logs.sort();
        for old in &logs[..=logs.len() - LOGS_KEPT] {
            let _ = std::fs::remove_file(old);
        }
    }
}

/// Reads the log of a run.
pub(super) async fn read(directory: &Path, run: &str) -> Result<String, Refusal> {
    let none = || {
        Refusal::not_found(
            format!("there is no log of {run}"),
            "list runs with: lifeboat job show JOB",
        )
    };
    let valid = run.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !valid {
        return Err(none());
    }
    let bytes = tokio::fs::read(directory.join(format!("{run}.log")))
        .await
        .map_err(|_| none())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
