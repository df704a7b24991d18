//! Backup of streams: a dump, standard input. The bytes never touch the disk of this machine.
//!
//! Dropping a [`StreamSnapshot`] without [`StreamSnapshot::commit`] leaves no snapshot, only data a prune collects.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::saver::Feed;
use super::session::{Labels, Session, Sizes};
use super::ticket::{FileEnd, Ticket};
use super::{BackupResult, BackupStats, Compression, Parent};
use crate::repo::chunk::{Chunker, Chunks, Cut};
use crate::repo::error::RepoError;
use crate::repo::gotime::Time;
use crate::repo::id::Id;
use crate::repo::progress::{Phase, Progress};
use crate::repo::stop::{Stop, Stopped};
use crate::repo::tree::{self, Node, NodeKind};
use crate::repo::{Repository, host};

/// How to store streams.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// Labels of the snapshot.
    pub tags: Vec<String>,
    /// A comment of the operator.
    pub comment: Option<String>,
    /// The host to record; this machine when `None`.
    pub hostname: Option<String>,
    /// The paths the snapshot shows, such as `/shop.dump`.
    pub paths: Vec<String>,
    /// Recorded as the snapshot's parent; streams are read whole in any case.
    pub parent: Parent,
    /// How hard to compress.
    pub compression: Compression,
    /// How many bytes of content may be in memory at once.
    pub memory_budget_bytes: u64,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            tags: Vec::new(),
            comment: None,
            hostname: None,
            paths: Vec::new(),
            parent: Parent::None,
            compression: Compression::Auto,
            memory_budget_bytes: 32 << 20,
        }
    }
}

/// What a stream was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamStats {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

/// How many pieces of a stream may wait between the runtime and the thread that cuts it.
const WAITING_PIECES: usize = 4;
/// How much is read from a stream at a time.
const PIECE: usize = 512 << 10;

/// A snapshot of streams that is being written.
#[derive(Debug)]
pub struct StreamSnapshot {
    session: Session,
    labels: Labels,
    nodes: Vec<Node>,
    stats: BackupStats,
}

impl Repository {
    /// Begins a snapshot of streams.
    pub async fn begin_stream_snapshot(
        &self,
        options: StreamOptions,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<StreamSnapshot, RepoError> {
        let host = options.hostname.clone().unwrap_or_else(host::hostname);
        let parent = self.find_parent(&options.parent, &host, &options.paths).await?;
        let labels = Labels {
            paths: options.paths,
            tags: options.tags,
            excludes: Vec::new(),
            hostname: Some(host),
            comment: options.comment,
            parent: parent.and_then(|info| Id::parse(&info.id)),
        };
        let sizes = Sizes {
            compression: options.compression,
            memory_budget_bytes: options.memory_budget_bytes,
            cpu_threads: None,
            pack_bytes: 16 << 20,
            adopt: false,
        };
        let session = Session::begin(self, sizes, progress, cancel).await?;
        session.progress.set_phase(Phase::Copying);
        Ok(StreamSnapshot {
            session,
            labels,
            nodes: Vec::new(),
            stats: BackupStats::default(),
        })
    }
}

impl StreamSnapshot {
    /// Stores a stream to its end as the file `name`.
    ///
    /// An error of the reader is an error of the call; the snapshot may then still be committed without this stream.
    pub async fn put_stream<R>(&mut self, name: &str, reader: R) -> Result<StreamStats, RepoError>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        self.check_name(name)?;
        self.session.progress.set_current(name);
        let ticket = Ticket::new();
        let (pieces, inbox) = mpsc::channel(WAITING_PIECES);
        let cutter = Cutter {
            chunker: Arc::clone(&self.session.chunker),
            budget: Arc::clone(&self.session.budget),
            feed: self.session.feed()?,
            progress: Arc::clone(&self.session.progress),
            ticket: Arc::clone(&ticket),
        };
        let cutting = tokio::task::spawn_blocking(move || cutter.run(Pieces::new(inbox)));
        let pumped = pump(reader, pieces, &self.session.stop).await;
        let cut = cutting
            .await
            .map_err(|error| RepoError::internal(format!("the cutter ended: {error}")))?;
        self.session.stop.result()?;
        pumped.map_err(|error| RepoError::local("read", Path::new(name), &error))?;
        let (Ok(stats), Ok(Ok(content))) = (cut, ticket.wait(&self.session.stop)) else {
            self.session.stop.result()?;
            return Err(RepoError::internal("the stream was not stored whole"));
        };
        self.add(name, stats.bytes, content.content);
        Ok(stats)
    }

    /// Stores some bytes as the file `name`.
    pub async fn put_bytes(&mut self, name: &str, data: &[u8]) -> Result<StreamStats, RepoError> {
        self.put_stream(name, std::io::Cursor::new(data.to_vec())).await
    }

    /// Writes the index and the snapshot.
    pub async fn commit(mut self) -> Result<BackupResult, RepoError> {
        self.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let stored = self.session.feed()?.tree(tree::encode(&self.nodes));
        match stored {
            Ok(root) => self.session.commit(root, self.labels, self.stats, Vec::new()).await,
            Err(Stopped) => Err(self.session.abort().await),
        }
    }

    fn check_name(&self, name: &str) -> Result<(), RepoError> {
        let bad = name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']);
        if bad || self.nodes.iter().any(|node| node.name == name.as_bytes()) {
            return Err(RepoError::Invalid {
                what: format!("{name:?} cannot be the name of a stream here"),
            });
        }
        Ok(())
    }

    fn add(&mut self, name: &str, size: u64, content: Vec<Id>) {
        let now = self.session.repo.clock().now();
        let now = Time::new(now.timestamp(), i64::from(now.timestamp_subsec_nanos()));
        let (uid, gid) = host::ids();
        let names = host::Names::default();
        let mut node = Node::new(name.as_bytes(), NodeKind::File);
        node.mode = 0o600;
        (node.mtime, node.atime, node.ctime) = (now, now, now);
        (node.uid, node.gid, node.user, node.group) = (uid, gid, names.user(uid), names.group(gid));
        (node.size, node.links, node.content) = (size, 1, content);
        self.nodes.push(node);
        self.stats.files_new += 1;
        self.stats.files_total += 1;
        self.stats.bytes_total += size;
        self.stats.bytes_read += size;
        Progress::add(&self.session.progress.files_done, 1);
    }
}

/// Moves a stream to the cutter; ends early, without an error of its own, when the work is stopped.
async fn pump<R>(mut reader: R, pieces: mpsc::Sender<io::Result<Vec<u8>>>, stop: &Stop) -> io::Result<()>
where
    R: AsyncRead + Send + Unpin,
{
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        while piece.len() < PIECE {
            let room = (PIECE - piece.len()) as u64;
            let mut limited = (&mut reader).take(room);
            let read = stop.token().run_until_cancelled(limited.read_buf(&mut piece)).await;
            let failed = match read {
                Some(Ok(0)) if piece.is_empty() => return Ok(()),
                Some(Ok(0)) => break,
                Some(Ok(_)) => continue,
                Some(Err(error)) => error,
                None => io::Error::other("cancelled"),
            };
            // The cutter must not take the end of a broken stream for the end of the data.
            let _ = pieces.send(Err(io::Error::other("the stream broke"))).await;
            return Err(failed);
        }
        if pieces.send(Ok(piece)).await.is_err() {
            return Ok(());
        }
    }
}

/// The receiving end of a stream, as a blocking reader.
struct Pieces {
    inbox: mpsc::Receiver<io::Result<Vec<u8>>>,
    current: Bytes,
    at: usize,
    bytes: u64,
    hasher: Option<Hasher>,
}

/// Hashes a stream as a whole on a thread of its own, beside the one that cuts it.
struct Hasher {
    pieces: std::sync::mpsc::SyncSender<Bytes>,
    thread: std::thread::JoinHandle<String>,
}

impl Hasher {
    fn start() -> Self {
        let (pieces, inbox) = std::sync::mpsc::sync_channel::<Bytes>(WAITING_PIECES);
        let thread = std::thread::spawn(move || {
            let mut hash = Sha256::new();
            for piece in inbox {
                hash.update(&piece);
            }
            hex::encode(hash.finalize())
        });
        Self { pieces, thread }
    }

    /// The hash of everything; none only when the thread broke.
    fn finish(self) -> Option<String> {
        drop(self.pieces);
        self.thread.join().ok()
    }
}

impl Pieces {
    fn new(inbox: mpsc::Receiver<io::Result<Vec<u8>>>) -> Self {
        Self {
            inbox,
            current: Bytes::new(),
            at: 0,
            bytes: 0,
            hasher: Some(Hasher::start()),
        }
    }
}

impl io::Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.current.len() {
            let Some(piece) = self.inbox.blocking_recv() else {
                return Ok(0);
            };
            self.current = Bytes::from(piece?);
            self.at = 0;
            self.bytes += self.current.len() as u64;
            if let Some(hasher) = &self.hasher {
                let sent = hasher.pieces.send(self.current.clone());
                sent.map_err(|_| io::Error::other("the hasher ended"))?;
            }
        }
        let length = out.len().min(self.current.len() - self.at);
        out[..length].copy_from_slice(&self.current[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

/// Cuts a stream into chunks on a thread of its own.
struct Cutter {
    chunker: Arc<Chunker>,
    budget: Arc<Budget>,
    feed: Feed,
    progress: Arc<Progress>,
    ticket: Arc<Ticket>,
}

impl Cutter {
    fn run(self, mut pieces: Pieces) -> Result<StreamStats, Stopped> {
        let mut chunks = Chunks::new(Cut::Content(&self.chunker), &mut pieces, u64::MAX);
        loop {
            match chunks.next_chunk() {
                Ok(Some(chunk)) => {
                    Progress::add(&self.progress.bytes_done, chunk.len() as u64);
                    let permit = self.budget.acquire(chunk.len(), self.feed.stop())?;
                    self.feed.chunk(chunk, permit, &self.ticket)?;
                }
                Ok(None) => break,
                Err(error) => {
                    self.ticket.close(Err(error.to_string()));
                    return Err(Stopped);
                }
            }
        }
        let Some(sha256) = pieces.hasher.take().and_then(Hasher::finish) else {
            self.ticket.close(Err("the hasher ended".to_owned()));
            return Err(Stopped);
        };
        let stats = StreamStats {
            bytes: pieces.bytes,
            sha256,
        };
        self.ticket.close(Ok(FileEnd {
            size: stats.bytes,
            warning: None,
        }));
        Ok(stats)
    }
}
