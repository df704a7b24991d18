//! The sandbox's directory: marked as ours, removed when dropped, found again when we were killed.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DemoOptions, SandboxError, pair};
use crate::clock::Clock;
use crate::source::postgres;

/// The file that makes a directory ours.
const MARK_NAME: &str = ".lifeboat-demo";
/// What the names of temporary sandboxes begin with.
const PREFIX: &str = "lifeboat-demo-";

/// The directory of the engine's receiver.
const RECEIVER: &str = "state/wal/cluster";

/// Whose sandbox it is.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    pid: u32,
    keep: bool,
}

/// The directory of a sandbox.
#[derive(Debug)]
pub(super) struct SandboxDir {
    path: PathBuf,
    keep: bool,
    clock: Clock,
}

impl SandboxDir {
    /// Takes the directory that was asked for, or a fresh one; never one that holds something else.
    pub(super) fn take(options: &DemoOptions, clock: &Clock) -> Result<Self, SandboxError> {
        let path = match &options.dir {
            Some(dir) => std::path::absolute(dir).map_err(|error| SandboxError::local("find", dir, error))?,
            None => std::env::temp_dir().join(format!("{PREFIX}{:08x}", getrandom::u32().unwrap_or(0))),
        };
        let failed = |action, error| SandboxError::local(action, &path, error);
        if path.exists() {
            make_room(&path, clock)?;
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|error| failed("create", error))?;
        let path = path.canonicalize().map_err(|error| failed("find", error))?;
        let dir = Self {
            path,
            keep: options.keep,
            clock: clock.clone(),
        };
        let mark = Mark {
            pid: std::process::id(),
            keep: options.keep,
        };
        let mark = serde_json::to_vec(&mark).unwrap_or_default();
        fs::write(dir.path.join(MARK_NAME), mark).map_err(|error| SandboxError::local("write", &dir.path, error))?;
        Ok(dir)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SandboxDir {
    fn drop(&mut self) {
        end_processes(&self.path, &self.clock);
        if self.keep {
            return;
        }
        // Somebody who was just told to stop may still finish a file. What remains, the next demo finds by its mark.
        for _ in 0..100 {
            match remove_marked(&self.path) {
                Ok(()) => return,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
                Err(_) => self.clock.block(Duration::from_millis(20)),
            }
        }
    }
}

/// Makes a directory that only the sandbox's owner looks into, with those on the way to it.
pub(super) fn make_private(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Empties a directory that an earlier demo left; refuses any other that is not empty.
fn make_room(path: &Path, clock: &Clock) -> Result<(), SandboxError> {
    let failed = |error| SandboxError::local("read", path, error);
    let Some(mark) = read_mark(path) else {
        let empty = fs::read_dir(path).map_err(failed)?.next().is_none();
        let foreign = || SandboxError::ForeignDirectory { path: path.to_owned() };
        return empty.then_some(()).ok_or_else(foreign);
    };
    if is_alive(mark.pid) {
        return Err(SandboxError::InUse {
            path: path.to_owned(),
            pid: mark.pid,
        });
    }
    clear(path, clock).map_err(|error| SandboxError::local("remove", path, error))
}

fn read_mark(path: &Path) -> Option<Mark> {
    let mark = path.join(MARK_NAME);
    // A mark of somebody else's would have us remove what is not ours.
    let owner = fs::symlink_metadata(&mark).ok()?.uid();
    if owner != nix::unistd::geteuid().as_raw() {
        return None;
    }
    serde_json::from_slice(&fs::read(mark).ok()?).ok()
}

fn is_alive(pid: u32) -> bool {
    pid != std::process::id() && Path::new("/proc").join(pid.to_string()).exists()
}

fn clear(path: &Path, clock: &Clock) -> std::io::Result<()> {
    end_processes(path, clock);
    remove_marked(path)
}

/// The directory a recovery of the sandbox's cluster is laid into.
pub(super) fn recovered(sandbox: &Path) -> PathBuf {
    sandbox.join("recovered")
}

/// Ends every process there may be: the servers, a recovered one, and whoever still receives the log.
fn end_processes(path: &Path, clock: &Clock) {
    pair::end(path, clock);
    let data = recovered(path);
    // One that is somebody else's cannot be in a directory of ours.
    let _ = postgres::server::end_on(&data, &postgres::recovery::home_of(&data), clock);
    postgres::wal::receive::reap(&path.join(RECEIVER), clock);
}

/// Removes a sandbox, its mark last: whoever is killed halfway leaves something that is still known as ours.
fn remove_marked(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() == MARK_NAME {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir_all(path)
}

/// Ends the servers and removes the directories of demos that were killed; returns what it removed.
pub(super) fn reap_killed(clock: &Clock) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return Vec::new();
    };
    let killed = |path: &PathBuf| {
        let named = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        named && read_mark(path).is_some_and(|mark| !mark.keep && !is_alive(mark.pid))
    };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    paths.filter(killed).filter(|path| clear(path, clock).is_ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(dir: &Path) -> DemoOptions {
        DemoOptions {
            dir: Some(dir.to_owned()),
            keep: false,
            ..DemoOptions::default()
        }
    }

    #[test]
    fn only_what_is_ours_or_empty_is_taken_and_it_goes_away() {
        let parent = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let path = parent.path().join("world");
        let dir = SandboxDir::take(&at(&path), &clock).unwrap();
        fs::write(path.join("data"), "x").unwrap();
        drop(dir);
        assert!(!path.exists());

        fs::create_dir(&path).unwrap();
        fs::write(path.join("thesis.tex"), "x").unwrap();
        let error = SandboxDir::take(&at(&path), &clock).unwrap_err();
        assert!(matches!(error, SandboxError::ForeignDirectory { .. }), "{error}");
        assert!(path.join("thesis.tex").exists());
    }

    #[test]
    fn the_directory_of_a_killed_demo_is_used_again_and_that_of_a_living_one_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        fs::write(parent.path().join("left"), "x").unwrap();
        fs::write(parent.path().join(MARK_NAME), r#"{"pid":1,"keep":false}"#).unwrap();
        let error = SandboxDir::take(&at(parent.path()), &clock).unwrap_err();
        assert!(matches!(error, SandboxError::InUse { pid: 1, .. }), "{error}");
        fs::write(parent.path().join(MARK_NAME), r#"{"pid":4194999,"keep":false}"#).unwrap();
        let dir = SandboxDir::take(&at(parent.path()), &clock).unwrap();
        assert!(!dir.path().join("left").exists());
    }
}
