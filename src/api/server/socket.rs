//! The Unix socket: who may have it, and what is left of one whose agent was killed.
//!
//! A lock beside the socket, held for the agent's whole life and given back by the kernel however that ends, decides
//! which of two agents that start at once gets the place. The socket file itself only says where to knock: it is made
//! under another name, given mode 0600 and then renamed, so at no moment can others connect to it.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

/// The kernel's limit on a socket's path, less the ending of the name it is made under.
const PATH_LIMIT: usize = 107 - ".new".len();

/// Why the socket could not be had.
#[derive(Debug, Error)]
pub enum BindError {
    /// An agent holds it.
    #[error("an agent is already running on {0}")]
    InUse(PathBuf),
    /// There is something else in its place.
    #[error("{0} exists and is not a socket")]
    NotASocket(PathBuf),
    /// Others could replace it.
    #[error("others may write to the directory {0}")]
    OpenDirectory(PathBuf),
    /// The kernel does not take such a path.
    #[error("the path of the socket is too long: {0}")]
    TooLong(PathBuf),
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl BindError {
    /// What the operator should do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InUse(_) => "use it, or end it first with: lifeboat agent stop",
            Self::NotASocket(_) => "move it away, or choose another place with agent.socket or --socket",
            Self::OpenDirectory(_) => "take the right away with chmod go-w, or choose another place with agent.socket",
            Self::TooLong(_) => "choose a path of at most 103 bytes with agent.socket or --socket",
            Self::Io { .. } => "check the directory's owner and the disk, or choose another place with agent.socket",
        }
    }
}

/// A listening socket; removed when dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    /// Held, never read: the lock is what counts.
    _lock: File,
}

impl Socket {
    /// Takes the place: mode 0600, in a directory of mode 0700 when it has to be made. What a killed agent left is removed.
    pub async fn bind(path: &Path) -> Result<Self, BindError> {
        if path.as_os_str().as_bytes().len() > PATH_LIMIT {
            return Err(BindError::TooLong(path.to_owned()));
        }
        prepare_directory(path)?;
        let lock = lock(path)?;
        remove_stale(path).await?;
        let fresh = with_ending(path, ".new");
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &fresh)(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&fresh).map_err(failed("listen on", &fresh))?;
        std::fs::set_permissions(&fresh, Permissions::from_mode(0o600)).map_err(failed("set the mode of", &fresh))?;
        std::fs::rename(&fresh, path).map_err(failed("rename to", path))?;
        let inode = std::fs::symlink_metadata(path).map_err(failed("look at", path))?.ino();
        Ok(Self {
            listener,
            path: path.to_owned(),
            inode,
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Somebody may have removed ours and another agent may listen there now: that one is not ours to remove.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn prepare_directory(path: &Path) -> Result<(), BindError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(directory)
        .map_err(failed("make the directory", directory))?;
    let metadata = std::fs::metadata(directory).map_err(failed("look at", directory))?;
    if is_open_to_others(&metadata) {
        return Err(BindError::OpenDirectory(directory.to_owned()));
    }
    Ok(())
}

/// Whether others could replace a file in this directory; in a sticky one, such as /tmp, they cannot.
fn is_open_to_others(directory: &Metadata) -> bool {
    let mode = directory.mode();
    mode & 0o022 != 0 && mode & 0o1000 == 0
}

fn lock(path: &Path) -> Result<File, BindError> {
    let lock_path = with_ending(path, ".lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&lock_path).map_err(failed("open", &lock_path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BindError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed("lock", &lock_path)(error)),
    }
}

async fn remove_stale(path: &Path) -> Result<(), BindError> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", path)(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    // The lock is ours, but an agent on another file system name space, or of another program, may still listen.
    match UnixStream::connect(path).await {
        Ok(_) => Err(BindError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(socket = %path.display(), "removing what a killed agent left");
            std::fs::remove_file(path).map_err(failed("remove", path))
        }
        Err(error) => Err(failed("connect to", path)(error)),
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> BindError + 'a {
    move |source| BindError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
