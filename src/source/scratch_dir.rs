//! Directories that are there for one verification only, and the reaper of those left behind.
//!
//! A scratch directory is `lifeboat_scratch_<id>` in the agent's own state directory. Its mark says whose it is; the
//! restored tree lies beside the mark, in `data`. Dropped means removed. A private server on it has its home in it too, and is
//! ended before the directory is removed.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::SourceError;
use super::postgres::{Mark, SCRATCH_PREFIX};
use crate::clock::Clock;

const MARK_NAME: &str = "mark.json";

/// A directory that is removed when it is dropped.
#[derive(Debug)]
pub(super) struct ScratchDir {
    path: PathBuf,
}

impl ScratchDir {
    /// Makes one for `id` below `parent`.
    pub(super) fn create(parent: &Path, id: &str, host: &str, clock: &Clock) -> Result<Self, SourceError> {
        let safe: String = id
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .take(40)
            .collect();
        let path = parent.join(format!("{SCRATCH_PREFIX}{safe}"));
        let failed = |error: std::io::Error| SourceError::local("create", &path, &error);
        fs::create_dir_all(parent).map_err(failed)?;
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        let scratch = Self { path: path.clone() };
        let mark = serde_json::to_vec(&Mark::mine(host, clock)).unwrap_or_default();
        fs::write(path.join(MARK_NAME), mark).map_err(failed)?;
        fs::create_dir(scratch.data()).map_err(failed)?;
        Ok(scratch)
    }

    /// Where the restored tree goes.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// A place beside the restored tree, for what is needed to prove it.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Lets the user of a private server pass through to what is given to it; nobody else can look in.
    pub(super) fn let_servers_in(&self) -> Result<(), SourceError> {
        use std::os::unix::fs::PermissionsExt;
        let passed = fs::set_permissions(&self.path, fs::Permissions::from_mode(0o711));
        passed.map_err(|error| SourceError::local("change", &self.path, &error))
    }

    /// Removes it.
    pub(super) fn remove(self) -> Result<(), SourceError> {
        let result = remove_tree(&self.path);
        result.map_err(|error| SourceError::local("remove", &self.path, &error))
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // What cannot be removed now is found by its mark at the next start.
        let _ = remove_tree(&self.path);
    }
}

/// Removes a tree even when it holds directories that were restored without the right to write in them.
fn remove_tree(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn make_writable(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes the scratch directories below `parent` whose makers are gone.
pub(super) fn reap(parent: &Path, host: &str, clock: &Clock) -> Vec<Result<String, SourceError>> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let ours = |path: &Path| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .starts_with(SCRATCH_PREFIX);
        let mark = fs::read(path.join(MARK_NAME)).ok();
        let mark = mark.and_then(|bytes| serde_json::from_slice::<Mark>(&bytes).ok());
        name && mark.is_some_and(|mark| mark.is_orphaned(host, clock.now()))
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| ours(path))
        // A private server may still run on what it holds.
        .inspect(|path| super::postgres::server::reap_below(path, clock))
        .map(|path| match remove_tree(&path) {
            Ok(()) => Ok(path.display().to_string()),
            Err(error) => Err(SourceError::local("remove", &path, &error)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_directory_goes_away_and_only_orphans_are_reaped() {
        let parent = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let scratch = ScratchDir::create(parent.path(), "rec-1", "here", &clock).unwrap();
        let sealed = scratch.data().join("sealed");
        fs::DirBuilder::new().mode(0o500).create(&sealed).unwrap();
        let path = scratch.path.clone();
        assert!(
            reap(parent.path(), "there", &clock).is_empty(),
            "another machine's is left alone"
        );
        fs::create_dir(parent.path().join("lifeboat_scratch_unmarked")).unwrap();
        scratch.remove().unwrap();
        assert!(!path.exists());

        let left = ScratchDir::create(parent.path(), "rec-2", "here", &clock).unwrap();
        std::mem::forget(left);
        let gone = reap(parent.path(), "here", &clock);
        assert_eq!(gone.len(), 1, "{gone:?}");
        assert!(
            parent.path().join("lifeboat_scratch_unmarked").exists(),
            "what is not marked is not ours"
        );
    }
}
