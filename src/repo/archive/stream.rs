//! Backup of streams: a dump, standard input. The bytes never touch the disk of this machine.
//!
//! Dropping a [`StreamSnapshot`] without [`StreamSnapshot::commit`] leaves no snapshot, only data a prune collects.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
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
use crate::repo::stop::Stopped;
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
    /// Stores what `reader` yields to its end as the file `name`; it is read, blocking, on a thread of its own.
    ///
    /// An error of the reader is an error of the call; the snapshot may then still be committed without this stream. A call
    /// that is given up leaves the thread reading until the reader ends: whoever gives up ends what writes to it.
    pub async fn put_reader<R>(&mut self, name: &str, reader: R) -> Result<StreamStats, RepoError>
    where
        R: Read + Send + 'static,
    {
        self.check_name(name)?;
        self.session.progress.set_current(name);
        let ticket = Ticket::new();
        let cutter = Cutter {
            chunker: Arc::clone(&self.session.chunker),
            budget: Arc::clone(&self.session.budget),
            feed: self.session.feed()?,
            progress: Arc::clone(&self.session.progress),
            ticket: Arc::clone(&ticket),
        };
        let cutting = tokio::task::spawn_blocking(move || cutter.run(reader));
        let cancelled = self.session.stop.token().clone();
        let cut = tokio::select! {
            cut = cutting => cut.map_err(|error| RepoError::internal(format!("the cutter ended: {error}")))?,
            () = cancelled.cancelled() => return Err(RepoError::Cancelled),
        };
        self.session.stop.result()?;
        match cut {
            Ok((stats, content)) => {
                self.add(name, stats.bytes, content);
                Ok(stats)
            }
            Err(Broken::Reader(error)) => Err(RepoError::local("read", Path::new(name), &error)),
            Err(Broken::Stopped) => Err(RepoError::internal("the stream was not stored whole")),
        }
    }

    /// Stores some bytes as the file `name`.
    pub async fn put_bytes(&mut self, name: &str, data: &[u8]) -> Result<StreamStats, RepoError> {
        self.put_reader(name, io::Cursor::new(data.to_vec())).await
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

/// A reader whose bytes are hashed and counted as they come, while the processor still has them at hand.
struct Hashing<R> {
    reader: R,
    bytes: u64,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(out)?;
        self.hash.update(&out[..length]);
        self.bytes += length as u64;
        Ok(length)
    }
}

/// Why a stream was not stored.
enum Broken {
    /// It could not be read.
    Reader(io::Error),
    /// The work was stopped, and the session knows why.
    Stopped,
}

impl From<Stopped> for Broken {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

/// Reads a stream, hashes it and cuts it into chunks, on one thread: the pool does the rest.
struct Cutter {
    chunker: Arc<Chunker>,
    budget: Arc<Budget>,
    feed: Feed,
    progress: Arc<Progress>,
    ticket: Arc<Ticket>,
}

impl Cutter {
    fn run(self, reader: impl Read) -> Result<(StreamStats, Vec<Id>), Broken> {
        let mut reader = Hashing {
            reader,
            bytes: 0,
            hash: Sha256::new(),
        };
        let mut chunks = Chunks::new(Cut::Content(&self.chunker), &mut reader, u64::MAX);
        while let Some(chunk) = chunks.next_chunk().map_err(Broken::Reader)? {
            Progress::add(&self.progress.bytes_done, chunk.len() as u64);
            let permit = self.budget.acquire(chunk.len(), self.feed.stop())?;
            self.feed.chunk(chunk, permit, &self.ticket)?;
        }
        let stats = StreamStats {
            bytes: reader.bytes,
            sha256: hex::encode(reader.hash.finalize()),
        };
        self.ticket.close(Ok(FileEnd {
            size: stats.bytes,
            warning: None,
        }));
        match self.ticket.wait(self.feed.stop())? {
            Ok(content) => Ok((stats, content.content)),
            Err(_) => Err(Broken::Stopped),
        }
    }
}
