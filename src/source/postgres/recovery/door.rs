//! Where a recovering server gets its log: a socket of this process, through which the server's `restore_command` asks.
//!
//! The server so needs neither the repository nor its password, and runs as a user who may know neither. The process that
//! watches the recovery reads the archive, several segments ahead, and hands them out; when it is gone, `restore_command`
//! fails in the way that stops the server (see [`super`]), and nothing is opened early.
//!
//! **Who may ask.** Whoever may enter the socket's directory: the server's user and root.
//!
//! **What is said.** One line, the name of a file; the answer is one byte: `F`, its length and the file; `N`, the archive does
//! not have it; `E`, a message: that cannot be told.
//!
//! **Memory.** A bounded number of segments ahead, in memory and nowhere else.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::domain::wal::{SegmentName, SegmentSize, WalName};
use crate::source::SourceError;
use crate::source::postgres::wal::fetch::place;
use crate::source::postgres::wal::{WalArchive, WalError, workers};

/// The name of the socket in its directory.
const NAME: &str = "door";
/// The longest name of a file, and then some.
const LONGEST: u64 = 256;
/// How many segments are at hand or on their way.
const AHEAD: usize = 8;
/// The largest segment there is.
const LARGEST: u64 = 1 << 30;

/// What is known of those who asked.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The newest segment that was handed out.
    pub given: Option<SegmentName>,
    /// The segment that was asked for last.
    pub last: Option<SegmentName>,
    /// How often that one was asked for, one time after the other.
    pub times: u32,
    /// Why something could not be told.
    pub failed: Option<(String, Option<String>)>,
}

type Ahead = BTreeMap<SegmentName, JoinHandle<Result<Option<Vec<u8>>, WalError>>>;

/// An open door; closed when dropped.
#[derive(Debug)]
pub struct Door {
    path: PathBuf,
    asked: Arc<Mutex<Asked>>,
    serving: JoinHandle<()>,
}

struct Shelf {
    archive: WalArchive,
    size: SegmentSize,
    asked: Arc<Mutex<Asked>>,
    ahead: tokio::sync::Mutex<Ahead>,
}

impl Door {
    /// Opens it in a directory that only the server's user and root may enter.
    pub async fn open(directory: &Path, archive: WalArchive) -> Result<Self, WalError> {
        let path = directory.join(NAME);
        let failed = |error: std::io::Error| WalError::Source(SourceError::local("listen on", &path, &error));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).map_err(failed)?;
        let size = archive.segment_size().await?.unwrap_or_default();
        let asked = Arc::<Mutex<Asked>>::default();
        let shelf = Arc::new(Shelf {
            archive,
            size,
            asked: asked.clone(),
            ahead: tokio::sync::Mutex::default(),
        });
        let serving = tokio::spawn(async move {
            // One at a time: a server asks for one file at a time.
            while let Ok((stream, _)) = listener.accept().await {
                let shelf = shelf.clone();
                // Whoever hangs up has lost interest.
                let _ = tokio::spawn(async move { shelf.answer(stream).await }).await;
            }
        });
        Ok(Self { path, asked, serving })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of those who asked.
    pub fn asked(&self) -> Asked {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
        // One that stays is replaced by the next.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Shelf {
    async fn answer(&self, mut stream: UnixStream) -> std::io::Result<()> {
        let (reader, mut writer) = stream.split();
        let mut line = String::new();
        tokio::io::BufReader::new(reader.take(LONGEST))
            .read_to_string(&mut line)
            .await?;
        let (answer, body) = match line.trim().parse::<WalName>() {
            Ok(name) => self.look_up(name).await,
            Err(error) => (b'E', error.to_string().into_bytes()),
        };
        writer.write_all(&[answer]).await?;
        writer.write_all(&(body.len() as u64).to_le_bytes()).await?;
        writer.write_all(&body).await?;
        writer.flush().await
    }

    async fn look_up(&self, name: WalName) -> (u8, Vec<u8>) {
        let found = match name.segment() {
            Some(segment) => self.segment(segment).await,
            None => self.archive.get(name).await.map(|found| found.map(|found| found.bytes)),
        };
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = name.segment() {
            asked.times = if asked.last == Some(segment) {
                asked.times + 1
            } else {
                1
            };
            asked.last = Some(segment);
        }
        match found {
            Ok(Some(bytes)) => {
                asked.given = name.segment().or(asked.given);
                (b'F', bytes)
            }
            Ok(None) => (b'N', Vec::new()),
            Err(error) => {
                let text = error.to_string();
                asked.failed = Some((text.clone(), error.hint()));
                (b'E', text.into_bytes())
            }
        }
    }

    /// A segment, from those at hand when it is; begins to fetch those behind it.
    async fn segment(&self, name: SegmentName) -> Result<Option<Vec<u8>>, WalError> {
        let mut ahead = self.ahead.lock().await;
        let coming = ahead.remove(&name);
        let window = workers(AHEAD, self.size);
        let wanted: Vec<SegmentName> = std::iter::successors(name.next(self.size), |name| name.next(self.size))
            .take(window)
            .collect();
        let old = std::mem::take(&mut *ahead);
        for (other, task) in old {
            if wanted.contains(&other) {
                ahead.insert(other, task);
            } else {
                task.abort();
            }
        }
        let whole_or_growing = async || {
            let found = self.archive.get_whole_or_growing(name).await?;
            Ok::<_, WalError>(found.map(|found| found.bytes))
        };
        let first = match coming {
            // What it could not read, or was not there a moment ago, is looked for again.
            Some(task) => match task.await {
                Ok(Ok(Some(bytes))) => Some(bytes),
                _ => whole_or_growing().await?,
            },
            None => whole_or_growing().await?,
        };
        if first.is_some() {
            for next in wanted {
                let archive = self.archive.clone();
                ahead.entry(next).or_insert_with(|| {
                    tokio::spawn(async move {
                        archive
                            .get(WalName::Segment(next))
                            .await
                            .map(|found| found.map(|found| found.bytes))
                    })
                });
            }
        }
        Ok(first)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        for task in self.ahead.get_mut().values() {
            task.abort();
        }
    }
}

/// Asks at a door for a file and puts it in its place, whole or not at all; false when the archive does not have it. Blocks.
///
/// # Errors
/// When nobody answers, or whoever does cannot tell.
pub fn fetch_through(door: &Path, name: &str, target: &Path) -> Result<bool, String> {
    let gone = |error: std::io::Error| format!("nobody answers at {}: {error}", door.display());
    let mut stream = StdStream::connect(door).map_err(gone)?;
    writeln!(stream, "{name}").map_err(gone)?;
    stream.shutdown(std::net::Shutdown::Write).map_err(gone)?;
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).map_err(gone)?;
    let length = u64::from_le_bytes(answer[1..].try_into().unwrap_or_default());
    if length > LARGEST {
        return Err("the answer is no file of a log".to_owned());
    }
    let mut body = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    stream.take(length).read_to_end(&mut body).map_err(gone)?;
    if body.len() as u64 != length {
        return Err("the answer was cut off".to_owned());
    }
    match answer[0] {
        b'F' => {
            let placed = place(target, &body);
            placed.map(|()| true).map_err(|error| error.to_string())
        }
        b'N' => Ok(false),
        _ => Err(String::from_utf8_lossy(&body).into_owned()),
    }
}
