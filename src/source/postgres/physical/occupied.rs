//! What is in a directory a cluster is to be laid into: nothing, an old copy, a running server, something else.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::PhysicalError;
use super::control::Control;
use super::lay_down::MARK;
use crate::domain::wal::SystemId;
use crate::source::SourceError;

/// What may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occupied {
    /// Nothing is there.
    Nothing,
    /// A copy of the same cluster, whole or not.
    OldCopy,
}

/// Whether there is nothing in a directory, or no directory.
pub(super) fn is_empty(directory: &Path) -> Result<bool, SourceError> {
    let failed = |error: std::io::Error| SourceError::local("look into", directory, &error);
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().transpose().map_err(failed)?.is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(failed(error)),
    }
}

/// Looks at a directory; refuses a running server and whatever is not a copy of `system`.
pub(super) fn look(directory: &Path, system: SystemId) -> Result<Occupied, SourceError> {
    if is_empty(directory)? {
        return Ok(Occupied::Nothing);
    }
    if let Some(pid) = running(directory) {
        return Err(PhysicalError::Running {
            directory: directory.to_owned(),
            pid,
        }
        .into());
    }
    let other = |found: String| PhysicalError::NotACopy {
        directory: directory.to_owned(),
        found,
        expected: system,
    };
    // A mark counts before a control file: laying was interrupted before that was put in its place.
    if let Ok(text) = fs::read_to_string(directory.join(MARK)) {
        return match text.trim().parse::<SystemId>() {
            Ok(found) if found == system => Ok(Occupied::OldCopy),
            _ => Err(other(format!("the beginning of a copy of cluster {}", text.trim())).into()),
        };
    }
    match fs::read(directory.join("global/pg_control")) {
        Ok(bytes) => match Control::parse(&bytes) {
            Ok(control) if control.system == system => Ok(Occupied::OldCopy),
            Ok(control) => Err(other(format!("cluster {}", control.system)).into()),
            Err(error) => Err(other(format!("a cluster that cannot be recognized ({error})")).into()),
        },
        Err(_) => Err(other("other files".to_owned()).into()),
    }
}

/// The server that runs on a directory, as far as can be seen from here.
pub(crate) fn running(directory: &Path) -> Option<i32> {
    let lock = fs::read_to_string(directory.join("postmaster.pid")).ok()?;
    // A server in single-user mode writes its number with a minus.
    let pid = lock.lines().next()?.trim().parse::<i32>().ok()?.abs();
    // The number may belong to somebody else by now; a server works in its data directory. Where that cannot be seen, a
    // process of that number is reason enough to refuse.
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(place) => (fs::canonicalize(directory).ok()? == place).then_some(pid),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(_) => Some(pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_copy_of_the_cluster_is_never_replaced() {
        let place = tempfile::tempdir().unwrap();
        let (ours, path) = (SystemId(7), place.path());
        assert_eq!(look(path, ours).unwrap(), Occupied::Nothing);
        assert_eq!(look(&path.join("none"), ours).unwrap(), Occupied::Nothing);
        fs::write(path.join("letter"), "dear").unwrap();
        assert!(look(path, ours).unwrap_err().to_string().contains("other files"));
        fs::write(path.join(MARK), "8\n").unwrap();
        assert!(look(path, ours).is_err());
        fs::write(path.join(MARK), "7\n").unwrap();
        assert_eq!(look(path, ours).unwrap(), Occupied::OldCopy);
    }

    #[test]
    fn a_server_is_seen_by_the_place_it_works_in() {
        let place = tempfile::tempdir().unwrap();
        let lock = place.path().join("postmaster.pid");
        let mut sleeper = std::process::Command::new("sleep")
            .arg("60")
            .current_dir(place.path())
            .spawn()
            .unwrap();
        let pid = i32::try_from(sleeper.id()).unwrap();
        fs::write(&lock, format!("{pid}\n/x\n")).unwrap();
        let seen = running(place.path());
        let error = look(place.path(), SystemId(7)).unwrap_err();
        // A process that works elsewhere has only taken over the number.
        fs::write(&lock, format!("{}\n/x\n", std::process::id())).unwrap();
        let somebody_else = running(place.path());
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        fs::write(&lock, format!("{pid}\n/x\n")).unwrap();
        assert_eq!((seen, somebody_else, running(place.path())), (Some(pid), None, None));
        assert!(error.to_string().contains("runs on"), "{error}");
    }
}
