//! The directory that is restored to, opened so that nothing leads out of it.
//!
//! Directories are opened relative to the target with `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`, or component by
//! component with `O_NOFOLLOW` where the kernel does not offer it; files are opened relative to their directory with
//! `O_NOFOLLOW`. A link that is in the way is replaced, never followed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// The target of a restore.
#[derive(Debug)]
pub(super) struct Target {
    fd: OwnedFd,
    path: PathBuf,
}

/// An open directory of the target.
#[derive(Debug)]
pub(super) struct Dir(OwnedFd);

/// The directory used last, because entries come directory by directory.
#[derive(Debug, Default)]
pub(super) struct DirCache(Option<(PathBuf, Dir)>);

impl DirCache {
    /// The directory an entry is in.
    pub(super) fn parent(&mut self, target: &Target, entry: &Path) -> io::Result<&Dir> {
        let parent = entry.parent().unwrap_or(Path::new(""));
        if self.0.as_ref().is_none_or(|(path, _)| path != parent) {
            self.0 = None;
            self.0 = Some((parent.to_path_buf(), target.dir(parent)?));
        }
        match &self.0 {
            Some((_, dir)) => Ok(dir),
            None => Err(io::Error::other("no directory is open")),
        }
    }
}

impl Target {
    /// Opens the target, which must exist.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::openat(
            CWD,
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self {
            fd,
            path: path.to_path_buf(),
        })
    }

    /// The path of an entry, for messages.
    pub(super) fn display(&self, entry: &Path) -> String {
        self.path.join(entry).display().to_string()
    }

    /// Opens a directory below the target without following any link.
    pub(super) fn dir(&self, path: &Path) -> io::Result<Dir> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if path.as_os_str().is_empty() {
            return Ok(Dir(rustix::fs::openat(&self.fd, ".", flags, Mode::empty())?));
        }
        if path.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(io::Error::other("the path leads out of the target"));
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
            // An old kernel, or a sandbox that does not know the call; or a path too long for one call.
            Err(Errno::NOSYS | Errno::PERM | Errno::NAMETOOLONG) => self.dir_by_steps(path),
            other => Ok(Dir(other?)),
        }
    }

    fn dir_by_steps(&self, path: &Path) -> io::Result<Dir> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut here = rustix::fs::openat(&self.fd, ".", flags, Mode::empty())?;
        for part in path.components() {
            here = rustix::fs::openat(&here, part.as_os_str(), flags, Mode::empty())?;
        }
        Ok(Dir(here))
    }
}

fn name(entry: &Path) -> io::Result<&std::ffi::OsStr> {
    entry
        .file_name()
        .ok_or_else(|| io::Error::other("the path has no name"))
}

impl Dir {
    /// What is there, without following a link.
    pub(super) fn stat(&self, entry: &Path) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.0, name(entry)?, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    /// Makes a new file; whatever is there must be gone.
    pub(super) fn create(&self, entry: &Path) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, name(entry)?, flags, Mode::from_raw_mode(0o600))?.into())
    }

    /// Opens a file that is there.
    pub(super) fn open(&self, entry: &Path, write: bool) -> io::Result<File> {
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, name(entry)?, flags, Mode::empty())?.into())
    }

    /// Opens a file that is there for reading, without changing the time of its last access where that is allowed.
    pub(super) fn open_quietly(&self, entry: &Path) -> io::Result<File> {
        let open = |more: OFlags| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
            Ok::<File, io::Error>(rustix::fs::openat(&self.0, name(entry)?, flags, Mode::empty())?.into())
        };
        match open(OFlags::NOATIME) {
            // Only the owner may leave the time of last access alone.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(OFlags::empty()),
            other => other,
        }
    }

    /// Opens a directory in this one, for its metadata.
    pub(super) fn open_dir(&self, entry: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, name(entry)?, flags, Mode::empty())?.into())
    }

    /// Removes whatever is there but a directory.
    pub(super) fn remove(&self, entry: &Path) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name(entry)?, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => Err(io::Error::other("a directory is in the way")),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a directory, or takes one that is there; a link or a file in its place is replaced when allowed.
    pub(super) fn make_dir(&self, entry: &Path, replace: bool) -> io::Result<()> {
        let make = || rustix::fs::mkdirat(&self.0, name(entry)?, Mode::from_raw_mode(0o700)).map_err(io::Error::from);
        match make() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let there = self.stat(entry)?;
                let is_dir = there.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
                if is_dir {
                    return Ok(());
                }
                if !replace {
                    return Err(io::Error::other("something that is not a directory is in the way"));
                }
                self.remove(entry)?;
                make()
            }
            other => other,
        }
    }

    /// Makes a symbolic link.
    pub(super) fn symlink(&self, entry: &Path, target: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(
            std::ffi::OsStr::from_bytes(target),
            &self.0,
            name(entry)?,
        )?)
    }

    /// Makes a pipe or a device.
    pub(super) fn make_node(&self, entry: &Path, kind: FileType, device: u64) -> io::Result<()> {
        Ok(rustix::fs::mknodat(
            &self.0,
            name(entry)?,
            kind,
            Mode::from_raw_mode(0o600),
            device,
        )?)
    }

    /// Gives a file of another directory a second name here.
    pub(super) fn link(&self, entry: &Path, from: &Dir, original: &Path) -> io::Result<()> {
        Ok(rustix::fs::linkat(
            &from.0,
            name(original)?,
            &self.0,
            name(entry)?,
            AtFlags::empty(),
        )?)
    }

    /// A path that names an entry of this open directory, for the calls that only take paths.
    pub(super) fn proc_path(&self, entry: &Path) -> io::Result<PathBuf> {
        Ok(Path::new("/proc/self/fd")
            .join(self.0.as_fd().as_raw_fd().to_string())
            .join(name(entry)?))
    }

    /// The descriptor, for calls that set metadata without following a link.
    pub(super) fn fd(&self) -> &OwnedFd {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_leads_out_of_the_target() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(inside.path().join("real")).unwrap();
        std::os::unix::fs::symlink(outside.path(), inside.path().join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), inside.path().join("real/deep")).unwrap();
        let target = Target::open(inside.path()).unwrap();
        for path in ["link", "real/deep", "real/deep/x", "..", "real/../..", "/etc"] {
            assert!(target.dir(Path::new(path)).is_err(), "{path}");
            assert!(path.contains("..") || path.starts_with('/') || target.dir_by_steps(Path::new(path)).is_err());
        }
        target.dir_by_steps(Path::new("real")).unwrap();
        let root = target.dir(Path::new("")).unwrap();
        assert!(root.create(Path::new("link")).is_err());
        assert!(root.open(Path::new("link"), true).is_err());
        root.make_dir(Path::new("link"), true).unwrap();
        assert!(std::fs::symlink_metadata(inside.path().join("link")).unwrap().is_dir());
        assert!(outside.path().read_dir().unwrap().next().is_none());
    }
}
