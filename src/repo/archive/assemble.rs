//! A snapshot that its caller puts together: directories, files and their contents, told one after the other.
//!
//! The walk of [`Repository::backup`] reads a tree of files as it stands. A cluster of PostgreSQL is no such tree: its files
//! come from several places or out of a stream, pages are looked at while they are read, files may vanish, and the last ones
//! are known only when the rest is stored. Here the caller says what there is, from one thread and in the order of a walk
//! ([`Assembler`]); the contents are handed over from as many threads as it likes ([`Content`]).
//!
//! **Memory.** Contents are bounded by the byte budget, what was told and is not yet stored by a queue; a directory is in
//! memory until it ends, and its tree leaves it then.
//!
//! **Commit.** As for every backup: packs, index, snapshot. What is dropped before [`Assembly::commit`] leaves no snapshot. A
//! content that is dropped before its end fails the whole: a file is never stored by half.

use std::fs::Metadata;
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::Sender;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::saver::Feed;
use super::session::{Labels, Session, Sizes};
use super::ticket::{FileEnd, Ticket};
use super::told::{Built, Event, GONE, build};
use super::{BackupResult, Compression, meta};
use crate::repo::error::RepoError;
use crate::repo::gotime::Time;
use crate::repo::id::Id;
use crate::repo::index::Index;
use crate::repo::pack::BlobKind;
use crate::repo::progress::{Phase, Progress};
use crate::repo::snapshot::SnapshotInfo;
use crate::repo::stop::{Stop, Stopped};
use crate::repo::tree::{Node, NodeKind, gomode};
use crate::repo::{Repository, host};

/// How many entries may wait for the builder.
const WAITING: usize = 4096;

/// How to store what is put together.
#[derive(Debug, Clone, Default)]
pub struct AssemblyOptions {
    /// Labels of the snapshot.
    pub tags: Vec<String>,
    /// A comment of the operator.
    pub comment: Option<String>,
    /// The host to record; this machine when `None`.
    pub hostname: Option<String>,
    /// The paths the snapshot shows.
    pub paths: Vec<String>,
    /// The snapshot that unchanged files are taken over from.
    pub parent: Option<SnapshotInfo>,
    /// How many bytes of content may be in memory at once.
    pub memory_budget_bytes: u64,
}

/// A snapshot that is being put together.
#[derive(Debug)]
pub struct Assembly {
    session: Session,
    labels: Labels,
    builder: std::thread::JoinHandle<Result<Built, Stopped>>,
}

/// Says what is in the snapshot, in the order of a walk: a directory ends before its neighbour begins. Blocks.
#[derive(Debug)]
pub struct Assembler {
    events: Sender<Event>,
    feed: Feed,
    budget: Arc<Budget>,
    progress: Arc<Progress>,
    index: Arc<Index>,
    repo: Repository,
    runtime: Handle,
    names: host::Names,
}

/// The content of one file on its way; blocks. Dropped before its end, it fails the snapshot.
#[derive(Debug)]
pub struct Content {
    feed: Feed,
    budget: Arc<Budget>,
    progress: Arc<Progress>,
    ticket: Arc<Ticket>,
    size: u64,
    open: bool,
}

/// A file whose content comes before its place.
#[derive(Debug)]
pub struct Aside(Box<Node>, Arc<Ticket>);

impl Repository {
    /// Begins a snapshot that the caller puts together.
    pub async fn begin_assembly(
        &self,
        options: AssemblyOptions,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<(Assembly, Assembler), RepoError> {
        let labels = Labels {
            paths: options.paths,
            tags: options.tags,
            excludes: Vec::new(),
            hostname: options.hostname.or_else(|| Some(host::hostname())),
            comment: options.comment,
            parent: options.parent.as_ref().and_then(|info| Id::parse(&info.id)),
        };
        let sizes = Sizes {
            compression: Compression::Auto,
            memory_budget_bytes: options.memory_budget_bytes,
            cpu_threads: None,
            pack_bytes: 16 << 20,
            adopt: false,
        };
        let session = Session::begin(self, sizes, progress, cancel).await?;
        session.progress.set_phase(Phase::Copying);
        let (events, inbox) = crossbeam_channel::bounded(WAITING);
        let feed = session.feed()?;
        let assembler = Assembler {
            events,
            budget: Arc::clone(&session.budget),
            progress: Arc::clone(&session.progress),
            index: feed.index(),
            repo: self.clone(),
            runtime: Handle::current(),
            names: host::Names::default(),
            feed: feed.clone(),
        };
        let stop = session.stop.clone();
        let builder = std::thread::spawn(move || build(&inbox, &feed, &stop));
        let assembly = Assembly {
            session,
            labels,
            builder,
        };
        Ok((assembly, assembler))
    }
}

impl Assembly {
    /// Writes packs, index and snapshot. Every [`Assembler`] and [`Content`] must be gone.
    pub async fn commit(self) -> Result<BackupResult, RepoError> {
        let Self {
            session,
            labels,
            builder,
        } = self;
        let built = tokio::task::spawn_blocking(move || builder.join()).await;
        match built {
            Ok(Ok(Ok(Built {
                root: Some(root),
                stats,
            }))) => session.commit(root, labels, stats, Vec::new()).await,
            Ok(Ok(_)) => {
                // A builder that did not reach the end of the root was either stopped, or never told of it.
                session
                    .stop
                    .fail(RepoError::internal("the snapshot was not put together to its end"));
                Err(session.abort().await)
            }
            _ => {
                session.stop.fail(RepoError::internal("the builder ended"));
                Err(session.abort().await)
            }
        }
    }

    /// Ends without a snapshot, and returns why the pipeline stopped, if it did by itself.
    pub async fn abort(self) -> Option<RepoError> {
        let why = self.session.stop.result().err();
        self.session.stop.fail(RepoError::Cancelled);
        let _ = self.session.abort().await;
        why
    }
}

impl Assembler {
    /// Begins a directory; the first is the root, whose own entry nobody sees.
    pub fn enter(&self, node: Node) -> Result<(), RepoError> {
        self.say(Event::Enter(Box::new(node)))
    }

    /// Ends the directory that began last.
    pub fn leave(&self) -> Result<(), RepoError> {
        self.say(Event::Leave)
    }

    /// Adds a file whose content follows.
    pub fn file(&self, node: Node) -> Result<Content, RepoError> {
        let (aside, content) = self.aside(node);
        self.place(aside)?;
        Ok(content)
    }

    /// Begins the content of a file whose place has not come yet: [`Assembler::place`] adds it where it belongs.
    pub fn aside(&self, node: Node) -> (Aside, Content) {
        let ticket = Ticket::new();
        let content = Content {
            feed: self.feed.clone(),
            budget: Arc::clone(&self.budget),
            progress: Arc::clone(&self.progress),
            ticket: Arc::clone(&ticket),
            size: 0,
            open: true,
        };
        (Aside(Box::new(node), ticket), content)
    }

    /// Adds a file whose content was begun before.
    pub fn place(&self, Aside(node, ticket): Aside) -> Result<(), RepoError> {
        Progress::add(&self.progress.files_total, 1);
        Progress::add(&self.progress.bytes_total, node.size);
        self.say(Event::File(node, ticket))
    }

    /// Adds a small file.
    pub fn bytes(&self, mut node: Node, bytes: &[u8]) -> Result<(), RepoError> {
        node.size = bytes.len() as u64;
        let mut content = self.file(node)?;
        if !bytes.is_empty() {
            content.push(bytes.to_vec())?;
        }
        content.end();
        Ok(())
    }

    /// Adds an entry without content of its own, or a file whose content was taken over.
    pub fn entry(&self, node: Node) -> Result<(), RepoError> {
        if node.kind == NodeKind::File {
            for counter in [&self.progress.files_total, &self.progress.files_done] {
                Progress::add(counter, 1);
            }
            for counter in [&self.progress.bytes_total, &self.progress.bytes_done] {
                Progress::add(counter, node.size);
            }
        }
        self.say(Event::Entry(Box::new(node)))
    }

    /// Reads one directory of an earlier snapshot.
    pub fn load(&self, tree: &Id) -> Result<Vec<Node>, RepoError> {
        self.runtime.block_on(self.repo.load_tree(&self.index, tree))
    }

    /// The node of something on this machine's disk, without its content.
    pub fn node(&self, name: &[u8], path: &Path, meta: &Metadata) -> std::io::Result<Node> {
        let mut node = meta::node(name, meta, &self.names);
        meta::complete(&mut node, path).map_err(std::io::Error::other)?;
        Ok(node)
    }

    /// A node for what is not read from a disk: owned by this user, private.
    pub fn plain(&self, name: &str, kind: NodeKind, now: chrono::DateTime<chrono::Utc>) -> Node {
        let (uid, gid) = host::ids();
        let mut node = bare_node(name, kind, now);
        (node.uid, node.gid) = (uid, gid);
        (node.user, node.group) = (self.names.user(uid), self.names.group(gid));
        node
    }

    /// Takes over the content of a file that has not changed since an earlier snapshot was made of it, as far as its size,
    /// times and inode tell and the repository has all of it.
    pub fn take_over(&self, node: &mut Node, before: &Node) -> bool {
        let whole = before.content.iter().all(|id| self.index.has(BlobKind::Data, id));
        let same = whole && meta::unchanged(node, before);
        if same {
            node.content.clone_from(&before.content);
        }
        same
    }

    fn say(&self, event: Event) -> Result<(), RepoError> {
        self.feed.stop().result()?;
        self.events.send(event).map_err(|_| stopped(self.feed.stop()))
    }
}

impl Content {
    /// Hands over the next part, which becomes one blob.
    pub fn push(&mut self, part: Vec<u8>) -> Result<(), RepoError> {
        let length = part.len();
        let permit = self.budget.acquire(length, self.feed.stop());
        let sent = permit.and_then(|permit| self.feed.chunk(part, permit, &self.ticket));
        sent.map_err(|Stopped| stopped(self.feed.stop()))?;
        self.size += length as u64;
        Progress::add(&self.progress.bytes_done, length as u64);
        Ok(())
    }

    /// Says what is being read, for whoever watches.
    pub fn announce(&self, what: &str) {
        self.progress.set_current(what);
    }

    /// That was all.
    pub fn end(mut self) {
        self.open = false;
        let (size, warning) = (self.size, None);
        self.ticket.close(Ok(FileEnd { size, warning }));
        Progress::add(&self.progress.files_done, 1);
    }

    /// The file is not there any more; it will not be in the snapshot.
    pub fn gone(mut self) {
        self.open = false;
        self.ticket.close(Err(GONE.to_owned()));
        Progress::add(&self.progress.files_done, 1);
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if self.open {
            self.ticket.close(Err("it was not read to its end".to_owned()));
        }
    }
}

/// A node for what is not read from a disk: private, and root's until somebody says whose it is.
pub fn bare_node(name: &str, kind: NodeKind, now: chrono::DateTime<chrono::Utc>) -> Node {
    let now = Time::new(now.timestamp(), i64::from(now.timestamp_subsec_nanos()));
    let mut node = Node::new(name.as_bytes(), kind);
    node.mode = if kind == NodeKind::Dir {
        gomode::DIR | 0o700
    } else {
        0o600
    };
    (node.mtime, node.atime, node.ctime) = (now, now, now);
    node.links = u64::from(kind == NodeKind::File);
    node
}

fn stopped(stop: &Stop) -> RepoError {
    stop.result().err().unwrap_or(RepoError::Cancelled)
}

#[cfg(test)]
#[path = "assemble_tests.rs"]
mod tests;
