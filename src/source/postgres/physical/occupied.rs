//! What is in a directory a cluster is to be laid into: nothing, an old copy, a running server, something else.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::PhysicalError;
use super::control::Control;
use super::lay_down::MARK;
use crate::domain::wal::SystemId;
use crate::source::SourceError;
use crate::source::postgres::server::refuse_in_use;

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

/// Looks at a directory; refuses a running server, unless what is there was begun by whoever asks, and whatever is not a copy of
/// `system`.
pub(super) fn look(directory: &Path, system: SystemId, begun: bool) -> Result<Occupied, SourceError> {
    if is_empty(directory)? {
        return Ok(Occupied::Nothing);
    }
    if !begun {
        refuse_in_use(directory)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_copy_of_the_cluster_is_never_replaced() {
        let place = tempfile::tempdir().unwrap();
        let (ours, path) = (SystemId(7), place.path());
        assert_eq!(look(path, ours, false).unwrap(), Occupied::Nothing);
        assert_eq!(look(&path.join("none"), ours, false).unwrap(), Occupied::Nothing);
        fs::write(path.join("letter"), "dear").unwrap();
        assert!(look(path, ours, false).unwrap_err().to_string().contains("other files"));
        fs::write(path.join(MARK), "8\n").unwrap();
        assert!(look(path, ours, false).is_err());
        fs::write(path.join(MARK), "7\n").unwrap();
        assert_eq!(look(path, ours, false).unwrap(), Occupied::OldCopy);
    }

    #[test]
    fn where_a_server_may_run_nothing_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(MARK), "7\n").unwrap();
        fs::write(place.path().join("postmaster.pid"), "").unwrap();
        let error = look(place.path(), SystemId(7), false).unwrap_err();
        assert!(matches!(error, SourceError::Server(_)), "{error}");
        assert!(
            look(place.path(), SystemId(7), true).is_ok(),
            "its own recovery ends it"
        );
    }
}
