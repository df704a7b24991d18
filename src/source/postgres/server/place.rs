//! Whose a server is, and the directories that are its alone.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::User;

use super::{SERVER_USER, ServerError};

/// The longest path of a Unix socket, with its terminator.
const SOCKET_PATH_LIMIT: usize = 107;

/// Somebody other than ourselves that a server runs as, because we are root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAs {
    uid: u32,
    gid: u32,
}

impl RunAs {
    /// The user of servers on this machine; none when we are not root, and run them as ourselves.
    pub fn server_user() -> Result<Option<Self>, ServerError> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(None);
        }
        let user = User::from_name(SERVER_USER).ok().flatten().ok_or(ServerError::NoUser)?;
        Ok(Some(Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        }))
    }

    /// Who a server on this data runs as: when we are root, its owner, unless that is root.
    pub fn for_data(data: &Path) -> Result<Option<Self>, ServerError> {
        let found = fs::metadata(data).map_err(|error| ServerError::local("look at", data, error))?;
        if nix::unistd::geteuid().is_root() && found.uid() != 0 {
            return Ok(Some(Self {
                uid: found.uid(),
                gid: found.gid(),
            }));
        }
        Self::server_user()
    }

    /// Gives a file or directory away, and all below it; symbolic links are given, not followed.
    pub fn give(self, path: &Path) -> Result<(), ServerError> {
        let failed = |error| ServerError::local("give away", path, error);
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid)).map_err(failed)?;
        let found = fs::symlink_metadata(path).map_err(failed)?;
        if found.is_dir() {
            for entry in fs::read_dir(path).map_err(failed)? {
                self.give(&entry.map_err(failed)?.path())?;
            }
        }
        Ok(())
    }

    /// Gives a cluster away: its data directory and its tablespaces. Blocks for as long as there are files.
    pub fn give_cluster(self, data: &Path) -> Result<(), ServerError> {
        self.give(data)?;
        for entry in fs::read_dir(data.join("pg_tblspc")).into_iter().flatten() {
            let link = entry.map_err(|error| ServerError::local("read", data, error))?.path();
            if let Ok(place) = fs::canonicalize(&link) {
                self.give(&place)?;
            }
        }
        Ok(())
    }

    /// Has a command run as this user.
    pub(super) fn apply(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

/// A command with a clean environment, in a directory everybody may be in, as another user when one is given.
pub(crate) fn clean_command(program: &Path, user: Option<RunAs>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/");
    if let Some(user) = user {
        user.apply(&mut command);
    }
    command
}

/// A directory for the socket: in the server's home, or in the system's temporary directory when that path would be too long.
pub(crate) fn socket_dir(home: &Path) -> PathBuf {
    let near = home.join("s");
    if near.as_os_str().len() + "/.s.PGSQL.5432.lock".len() < SOCKET_PATH_LIMIT {
        return near;
    }
    let name = crate::repo::Id::of(home.as_os_str().as_encoded_bytes()).short();
    std::env::temp_dir().join(format!("lifeboat-s-{name}"))
}

/// Removes a socket directory that is not in the server's home; those that are go with it.
pub(super) fn remove_far_sockets(sockets: &Path, home: &Path) {
    if sockets.parent() != Some(home) && sockets == socket_dir(home) {
        // Gone already in most cases.
        let _ = fs::remove_dir_all(sockets);
    }
}

/// Makes a directory that only the server's user may look into.
pub(crate) fn make_private(path: &Path, user: Option<RunAs>) -> Result<(), ServerError> {
    let failed = |error| ServerError::local("create", path, error);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed)?;
    // A directory of somebody else's in a place everybody may write to must not be taken for ours.
    let found = fs::symlink_metadata(path).map_err(failed)?;
    let ours = [nix::unistd::geteuid().as_raw(), user.map_or(0, |user| user.uid)];
    if !found.is_dir() || !ours.contains(&found.uid()) {
        return Err(failed(std::io::ErrorKind::PermissionDenied.into()));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    if let Some(user) = user {
        std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)).map_err(failed)?;
        open_way_to(path);
    }
    Ok(())
}

/// Lets others pass, not look, through the directory above; what is further up is not ours to change.
fn open_way_to(path: &Path) {
    let Some(parent) = path.parent() else { return };
    if let Ok(found) = fs::metadata(parent) {
        let mode = found.permissions().mode() | 0o001;
        // When it cannot be opened, the server says so in its log, which the error shows.
        let _ = fs::set_permissions(parent, fs::Permissions::from_mode(mode));
    }
}
