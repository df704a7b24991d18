//! The note beside a server that says which process it is, and how one that was left behind is ended.
//!
//! A process number may have been given to somebody else since: a process is ours only while its arguments name the data
//! directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::{ServerError, place};
use crate::clock::Clock;
use crate::source::postgres::process::{Occupant, has_argument, processes, server_on};

const MARK_NAME: &str = "server.json";
/// How many times it is looked whether the processes of a killed server are gone, 30 ms apart.
const PATIENCE: usize = 700;

/// What is known of a server that runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Its process.
    pub(super) pid: u32,
    /// Its data directory, as it stands in its arguments.
    pub(super) data: PathBuf,
    /// The directory of its socket.
    pub(super) sockets: PathBuf,
    /// The port in the name of its socket.
    pub(super) port: u16,
    /// Who we log in as.
    pub(super) role: String,
    /// The directory of its programs.
    pub(super) bin_dir: PathBuf,
    /// The first number of its version.
    pub(super) major: u32,
    /// Whether it was left running on purpose.
    pub(super) kept: bool,
}

impl Mark {
    pub(super) fn write(&self, home: &Path) -> Result<(), ServerError> {
        let path = home.join(MARK_NAME);
        let temp = home.join("server.json.new");
        let text = serde_json::to_vec(self).unwrap_or_default();
        let written = fs::write(&temp, text).and_then(|()| fs::rename(&temp, &path));
        written.map_err(|error| ServerError::local("write", &path, error))
    }

    pub(super) fn read(home: &Path) -> Result<Option<Self>, ServerError> {
        let path = home.join(MARK_NAME);
        match fs::read(&path) {
            // One that cannot be understood names no process that could be ours.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ServerError::local("read", &path, error)),
        }
    }

    pub(super) fn remove(home: &Path) {
        // One that stays names a process that is gone.
        let _ = fs::remove_file(home.join(MARK_NAME));
    }

    /// Whether its process is there and is the one that was marked.
    pub(super) fn is_running(&self) -> bool {
        has_argument(self.pid, self.data.as_os_str())
    }
}

/// Ends a marked server in steps; returns when it is gone, or cannot be ended.
pub(super) fn end(mark: &Mark, clock: &Clock) {
    for (signal, rounds) in [(Signal::SIGINT, 100), (Signal::SIGQUIT, 100), (Signal::SIGKILL, 100)] {
        if !mark.is_running() {
            return;
        }
        signal_process(mark.pid, signal);
        for _ in 0..rounds {
            if !mark.is_running() {
                return;
            }
            clock.block(Duration::from_millis(30));
        }
    }
}

pub(super) fn signal_process(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        // A process that is gone already is what was wanted.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Ends the server whose home this is, if it still runs and was not left running on purpose. Blocks.
pub fn reap(home: &Path, clock: &Clock) {
    let Ok(Some(mark)) = Mark::read(home) else { return };
    if mark.kept && mark.is_running() {
        return;
    }
    end(&mark, clock);
    Mark::remove(home);
    place::remove_far_sockets(&mark.sockets, home);
}

/// The same for a directory that is a home, or holds homes.
pub fn reap_below(dir: &Path, clock: &Clock) {
    reap(dir, clock);
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    for home in entries
        .map(|entry| entry.path())
        .filter(|path| path.join(MARK_NAME).is_file())
    {
        reap(&home, clock);
    }
}

/// Refuses a data directory a server runs on, or may run on.
pub fn refuse_in_use(data: &Path) -> Result<(), ServerError> {
    let path = data.to_owned();
    match server_on(data) {
        Occupant::Nobody => Ok(()),
        Occupant::Server(pid) => Err(ServerError::InUse { path, pid }),
        Occupant::Unclear(why) => Err(ServerError::Unclear { path, why }),
    }
}

/// The processes that work in a data directory, as every process of a server does; those we may not look at are not seen.
fn workers_in(data: &Path) -> Vec<u32> {
    let Ok(place) = fs::canonicalize(data) else {
        return Vec::new();
    };
    let works = |pid: &u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == place);
    let own = std::process::id();
    processes().filter(|pid| *pid != own).filter(works).collect()
}

/// Waits until nobody works in a data directory whose server is gone: what a server that was killed leaves behind ends by
/// itself when it notices, and must not write to a copy that another server has begun to use.
pub(super) fn wait_for_orphans(data: &Path, clock: &Clock) -> Result<(), ServerError> {
    for _ in 0..PATIENCE {
        if workers_in(data).is_empty() {
            return Ok(());
        }
        clock.block(Duration::from_millis(30));
    }
    match workers_in(data).first() {
        None => Ok(()),
        Some(pid) => Err(ServerError::InUse {
            path: data.to_owned(),
            pid: *pid,
        }),
    }
}

/// Ends whatever server of ours runs on a data directory: one whose arguments name it. Blocks.
///
/// # Errors
/// In use, when a server runs on it that was not started by this program; unclear, when that cannot be told.
pub fn end_on(data: &Path, home: &Path, clock: &Clock) -> Result<(), ServerError> {
    if let Some(mark) = Mark::read(home)? {
        end(&mark, clock);
        Mark::remove(home);
        place::remove_far_sockets(&mark.sockets, home);
    }
    // Started by us a moment before we were killed, without a mark yet: its socket is in our home.
    let sockets = place::socket_dir(home);
    if let Occupant::Server(pid) = server_on(data)
        && has_argument(pid, data.as_os_str())
        && has_argument(pid, sockets.as_os_str())
    {
        let found = Mark {
            pid,
            data: data.to_owned(),
            sockets,
            port: super::PORT,
            role: String::new(),
            bin_dir: PathBuf::new(),
            major: 0,
            kept: false,
        };
        end(&found, clock);
    }
    refuse_in_use(data)?;
    wait_for_orphans(data, clock)
}
