//! Where a clone is built, and how it takes the place of what was there.
//!
//! It is built beside the directory (`….lifeboat-new`), the old directory is renamed (`….lifeboat-old-TIME`), the clone takes
//! its name. What tells a clone that is whole from one that is not is its `standby.signal`, which is made last.
//!
//! | killed … | what is found | what is done then |
//! | --- | --- | --- |
//! | while it is built | the old directory, half a clone | the half is thrown away |
//! | before the first renaming | the old directory, a whole clone | the clone is thrown away |
//! | between the two | no directory, a whole clone | the clone takes its name, and is what is replaced |
//!
//! The last matters: the owner and the member's own settings are then in the clone and, under a name of another time, in the old
//! directory only; a clone that is thrown away would take the last that is known of them along.
//!
//! What it never does: delete a directory a server may have run on.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::follow::{OwnSettings, beside, remove};
use super::{ClusterError, local};
use crate::source::SourceError;

/// What is added to the name of a directory for the one that is built beside it.
const NEW: &str = ".lifeboat-new";
/// The file that makes a standby of a directory, and the last of a clone.
const WHOLE: &str = "standby.signal";

/// Where a clone is built, and what it will replace.
#[derive(Debug)]
pub(super) struct Place {
    /// What is replaced.
    pub(super) directory: PathBuf,
    /// Where it is built.
    pub(super) building: PathBuf,
    /// Where the old directory goes; none when there is nothing in it.
    old: Option<PathBuf>,
    /// The settings that are the member's own, when there is a member.
    pub(super) own: Option<OwnSettings>,
    /// To whom it belongs, when that is somebody else.
    pub(super) owner: Option<(u32, u32)>,
}

impl Place {
    /// Makes a directory to build in, beside the one that will be replaced; what a clone that was killed has left is removed.
    pub(super) fn prepare(directory: &Path, stamp: &str) -> Result<Self, ClusterError> {
        let parent = directory.parent().unwrap_or(Path::new("/"));
        finish_renaming(directory, parent)?;
        let (owner, exists) = match fs::metadata(directory) {
            Ok(_) => (local::owner(directory)?, true),
            Err(error) if error.kind() == ErrorKind::NotFound => (local::owner(parent)?, false),
            Err(error) => return Err(ClusterError::local("read", directory, &error)),
        };
        if exists && is_mount_point(directory, parent) {
            return Err(SourceError::Invalid {
                what: format!("{} is a mount point: it cannot be renamed", directory.display()),
                hint: Some("let data_directory be a directory below it".to_owned()),
            }
            .into());
        }
        let building = building(directory);
        remove(&building)?;
        let failed = |error: std::io::Error| ClusterError::local("create", &building, &error);
        fs::DirBuilder::new().mode(0o700).create(&building).map_err(failed)?;
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(&building, Some(user), Some(group)).map_err(failed)?;
        }
        let full = exists && fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
        Ok(Self {
            own: full.then(|| OwnSettings::read(directory)).transpose()?,
            old: exists.then(|| beside(directory, &format!(".lifeboat-old-{stamp}"))),
            directory: directory.to_owned(),
            building,
            owner,
        })
    }

    /// Puts the new directory in the place of the old one; says where that is.
    pub(super) fn put_in(self) -> Result<Option<PathBuf>, ClusterError> {
        let failed = |error: std::io::Error| ClusterError::local("rename", &self.directory, &error);
        if let Some(old) = &self.old {
            fs::rename(&self.directory, old).map_err(failed)?;
        }
        let parent = self.directory.parent().unwrap_or(Path::new("/"));
        take_name(&self.building, &self.directory, parent)?;
        Ok(self.old)
    }
}

/// Where the clone of a directory is built.
pub(super) fn building(directory: &Path) -> PathBuf {
    beside(directory, NEW)
}

/// Does the second renaming of a clone that was killed before it.
fn finish_renaming(directory: &Path, parent: &Path) -> Result<(), ClusterError> {
    let building = building(directory);
    let there = |path: &Path| {
        path.try_exists()
            .map_err(|error| ClusterError::local("read", path, &error))
    };
    if there(directory)? || !there(&building.join(WHOLE))? {
        return Ok(());
    }
    take_name(&building, directory, parent)
}

fn take_name(building: &Path, directory: &Path, parent: &Path) -> Result<(), ClusterError> {
    let renamed = fs::rename(building, directory);
    let durable = renamed.and_then(|()| fs::File::open(parent)?.sync_all());
    durable.map_err(|error| ClusterError::local("rename", building, &error))
}

fn is_mount_point(directory: &Path, parent: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    device(directory) != device(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_killed_between_its_renamings_keeps_what_is_the_members_own() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let whole = building(&data);
        fs::create_dir(&whole).unwrap();
        fs::write(whole.join("postgresql.conf"), "port = 5544\n").unwrap();
        fs::write(whole.join(WHOLE), "").unwrap();
        // Killed, begun again, killed while the next one is built, begun again: each time they are there.
        for stamp in ["1", "2"] {
            let place = Place::prepare(&data, stamp).unwrap();
            assert!(
                format!("{:?}", place.own).contains("postgresql.conf"),
                "{:?}",
                place.own
            );
            assert_eq!(
                fs::read_to_string(data.join("postgresql.conf")).unwrap(),
                "port = 5544\n"
            );
            assert_eq!(fs::read_dir(&place.building).unwrap().count(), 0);
            fs::write(place.building.join("PG_VERSION"), "15").unwrap();
        }
        // Half a clone takes nobody's name.
        fs::remove_dir_all(&data).unwrap();
        assert!(Place::prepare(&data, "3").unwrap().own.is_none());
        assert!(!data.exists());
    }

    #[test]
    fn a_clone_takes_the_place_of_the_old_directory_which_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("postgresql.conf"), "old").unwrap();
        let place = Place::prepare(&data, "1").unwrap();
        fs::write(place.building.join("postgresql.conf"), "new").unwrap();
        let old = place.put_in().unwrap().unwrap();
        assert_eq!(fs::read_to_string(data.join("postgresql.conf")).unwrap(), "new");
        assert_eq!(fs::read_to_string(old.join("postgresql.conf")).unwrap(), "old");
    }
}
