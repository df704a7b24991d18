//! Files of a cluster's log, looked at before they are believed.
//!
//! A segment must begin with the header of a segment, of the cluster it is offered for, at the place its name says, and have
//! the whole length. A history must read as one. Nothing is sent anywhere that was not looked at here.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{WalError, page};
use crate::domain::wal::{History, SegmentSize, SystemId, WalName};

/// History and backup files are a few hundred bytes; what is larger than this is something else.
const MAX_TEXT: u64 = 1 << 20;

/// Tells one file from another of the same name: a recycled or replaced one has another of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity(String);

impl Identity {
    fn of(meta: &fs::Metadata) -> Self {
        let (device, inode, size) = (meta.dev(), meta.ino(), meta.len());
        Self(format!(
            "{device}:{inode}:{size}:{}.{:09}",
            meta.mtime(),
            meta.mtime_nsec()
        ))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A file in the log directory of a cluster.
#[derive(Debug, Clone)]
pub struct WalFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it is, by its name.
    pub name: WalName,
    pub(super) identity: Identity,
}

/// A file that was read and is what its name says.
#[derive(Debug)]
pub struct Content {
    /// What it is.
    pub name: WalName,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The size of the segments of its cluster, when it says.
    pub size: Option<SegmentSize>,
}

impl WalFile {
    /// Finds the file at a path.
    pub fn at(path: &Path) -> Result<Self, WalError> {
        let last = path.file_name().unwrap_or_default().to_string_lossy();
        let name = last.parse().map_err(|error| WalError::Invalid {
            what: format!("{} is not a file of a write-ahead log: {error}", path.display()),
            hint: "PostgreSQL gives the path itself: archive_command = 'lifeboat wal push %p'",
        })?;
        let meta = fs::metadata(path).map_err(|error| WalError::local("read", path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            name,
            identity: Identity::of(&meta),
        })
    }

    /// Reads it and looks at what it is; for a cluster that is already known.
    pub fn read(&self, system: SystemId) -> Result<Content, WalError> {
        let failed = |error: std::io::Error| WalError::local("read", &self.path, &error);
        let mut file = File::open(&self.path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let text = matches!(self.name, WalName::History(_) | WalName::Backup(..));
        let limit = if text { MAX_TEXT } else { 1 << 30 };
        if length > limit {
            return Err(self.corrupt(format!("it has {length} bytes")));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        file.by_ref().take(limit).read_to_end(&mut bytes).map_err(failed)?;
        let size = self.inspect(&bytes, system)?;
        let name = self.name;
        Ok(Content { name, bytes, size })
    }

    fn inspect(&self, bytes: &[u8], system: SystemId) -> Result<Option<SegmentSize>, WalError> {
        match self.name {
            WalName::Segment(name) | WalName::Partial(name) => {
                let first = page::first_page(name, bytes)?;
                if first.system != system {
                    return Err(WalError::Foreign {
                        file: self.name.to_string(),
                        found: first.system,
                        expected: system,
                    });
                }
                if bytes.len() as u64 != first.size.bytes() {
                    let whole = first.size.bytes();
                    return Err(self.corrupt(format!("it has {} bytes of {whole}", bytes.len())));
                }
                Ok(Some(first.size))
            }
            WalName::History(timeline) => {
                let history = History::parse(timeline, &String::from_utf8_lossy(bytes));
                let history = history.map_err(|error| self.corrupt(error.to_string()))?;
                if history.ancestors.is_empty() {
                    return Err(self.corrupt("it names no ancestor".to_owned()));
                }
                Ok(None)
            }
            WalName::Backup(..) if bytes.starts_with(b"START WAL LOCATION:") => Ok(None),
            WalName::Backup(..) => Err(self.corrupt("it does not begin as a backup history does".to_owned())),
        }
    }

    fn corrupt(&self, why: String) -> WalError {
        WalError::corrupt(self.path.display().to_string(), why)
    }

    /// Where the server notes which files wait to be archived: beside the file.
    pub(super) fn status_dir(&self) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join("archive_status")
    }

    /// Whether the server waits for this file to be archived.
    pub fn is_ready(&self) -> bool {
        self.status_dir().join(format!("{}.ready", self.name)).exists()
    }

    /// The data directory it lies in, by its path: the one above `pg_wal`.
    pub fn data_dir(&self) -> PathBuf {
        let above = self.path.parent().and_then(Path::parent).unwrap_or(Path::new(""));
        if above.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            above.to_owned()
        }
    }

    /// The cluster it lies in, as the segment itself says; other files do not say.
    pub fn system(&self) -> Result<Option<SystemId>, WalError> {
        let (WalName::Segment(name) | WalName::Partial(name)) = self.name else {
            return Ok(None);
        };
        let mut head = Vec::new();
        let failed = |error: std::io::Error| WalError::local("read", &self.path, &error);
        let file = File::open(&self.path).map_err(failed)?;
        file.take(8192).read_to_end(&mut head).map_err(failed)?;
        page::first_page(name, &head).map(|first| Some(first.system))
    }
}

/// The cluster whose data directory this is, by its control file; none when there is no control file.
pub fn system_of(data: &Path) -> Result<Option<SystemId>, WalError> {
    let path = data.join("global/pg_control");
    let mut head = Vec::new();
    match File::open(&path) {
        Ok(file) => file.take(16).read_to_end(&mut head),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error),
    }
    .map_err(|error| WalError::local("read", &path, &error))?;
    let system = head.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
    let version = head
        .get(8..12)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_le_bytes);
    match (system, version) {
        (Some(system), Some(1300..=9999)) => Ok(Some(SystemId(system))),
        _ => Err(WalError::corrupt(
            path.display().to_string(),
            "it is not the control file of PostgreSQL 13 or later",
        )),
    }
}
