//! Reading directories ahead of the driver, several at once.
//!
//! A directory is a [`Slot`]. Scanning it lists the entries, compares them with the parent snapshot's tree and makes a
//! slot for each directory below, which goes on a stack: the pool works depth-first, near where the driver is. The driver
//! takes slots in order; one that nobody has begun it scans itself, so it can never wait for something that waits for it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::ItemError;
use super::exclude::Excludes;
use super::meta;
use crate::repo::Repository;
use crate::repo::error::{RepoError, plain};
use crate::repo::host::Names;
use crate::repo::id::Id;
use crate::repo::index::Index;
use crate::repo::pack::BlobKind;
use crate::repo::progress::Progress;
use crate::repo::stop::{Stop, Stopped};
use crate::repo::tree::{Node, NodeKind};

/// How many entries may be scanned ahead of the driver.
const AHEAD: usize = 40_000;

/// How an entry compares with the parent snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    New,
    Changed,
    /// A file with the same size, times and inode: its content is taken over.
    Same,
}

/// An entry of a scanned directory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) node: Node,
    pub(super) known: Known,
    pub(super) dir: Option<Arc<Slot>>,
}

/// A directory whose entries are all as the parent snapshot has them, so that they need no nodes: its tree stays the same
/// unless something further below changed.
#[derive(Debug, Default)]
pub(super) struct Same {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// The directories in it, in order.
    pub(super) dirs: Vec<(OsString, Arc<Slot>)>,
}

/// A scanned directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) entries: Vec<Entry>,
    pub(super) errors: Vec<ItemError>,
    /// Instead of the entries.
    pub(super) same: Option<Same>,
}

impl Listing {
    /// How much memory it takes, roughly, in entries.
    fn weight(&self) -> usize {
        self.entries.len() + self.same.as_ref().map_or(0, |same| same.dirs.len())
    }
}

/// An entry as the file system has it, beside the one of the parent snapshot.
struct Seen<'a> {
    name: OsString,
    path: PathBuf,
    meta: std::fs::Metadata,
    before: Option<&'a Node>,
}

/// A directory to scan.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) path: PathBuf,
    /// The tree of this directory in the parent snapshot.
    pub(super) before: Option<Id>,
    base: Arc<Base>,
    state: Mutex<State>,
    done: Condvar,
}

/// What all directories below one backed-up path share.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) excludes: Excludes,
    /// The only device to enter, when asked for.
    pub(super) device: Option<u64>,
}

#[derive(Debug)]
enum State {
    Waiting,
    Running,
    Done(Listing),
    Taken,
}

impl Slot {
    pub(super) fn new(path: PathBuf, before: Option<Id>, base: Arc<Base>) -> Arc<Self> {
        Arc::new(Self {
            path,
            before,
            base,
            state: Mutex::new(State::Waiting),
            done: Condvar::new(),
        })
    }

    /// Keeps a mount point as an empty directory, when other devices are not to be entered.
    fn keep_out_of(&self, device: u64) {
        if self.base.device.is_some_and(|only| only != device) {
            *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Done(Listing::default());
        }
    }

    /// Claims the slot for scanning.
    fn begin(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = matches!(*state, State::Waiting);
        if waiting {
            *state = State::Running;
        }
        waiting
    }
}

/// The scanners and their stack.
#[derive(Debug)]
pub(super) struct Scanner {
    repo: Repository,
    index: Arc<Index>,
    runtime: Handle,
    names: Names,
    progress: Arc<Progress>,
    stop: Stop,
    stack: Mutex<Vec<Arc<Slot>>>,
    pushed: Condvar,
    ahead: AtomicUsize,
    closed: AtomicBool,
}

impl Scanner {
    pub(super) fn new(repo: &Repository, index: Arc<Index>, progress: Arc<Progress>, stop: Stop) -> Self {
        Self {
            repo: repo.clone(),
            index,
            runtime: Handle::current(),
            names: Names::default(),
            progress,
            stop,
            stack: Mutex::default(),
            pushed: Condvar::new(),
            ahead: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// The tree of the parent snapshot, or nothing where there is none.
    pub(super) fn load_before(&self, tree: Option<Id>) -> Result<Vec<Node>, RepoError> {
        match tree {
            Some(id) => self.runtime.block_on(self.repo.load_tree(&self.index, &id)),
            None => Ok(Vec::new()),
        }
    }

    /// Puts directories on the stack so that the first is scanned first.
    pub(super) fn push(&self, slots: impl DoubleEndedIterator<Item = Arc<Slot>>) {
        self.stack
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(slots.rev());
        self.pushed.notify_all();
    }

    /// Lets the scanners end.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.pushed.notify_all();
    }

    /// What a scanner thread does.
    pub(super) fn run(&self) {
        let mut stack = self.stack.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.closed.load(Ordering::Acquire) && !self.stop.is_stopped() {
            let room = self.ahead.load(Ordering::Relaxed) < AHEAD;
            if let Some(slot) = if room { stack.pop() } else { None } {
                drop(stack);
                if slot.begin() {
                    self.scan_into(&slot);
                }
                stack = self.stack.lock().unwrap_or_else(PoisonError::into_inner);
            } else {
                let waited = self.pushed.wait_timeout(stack, Duration::from_millis(20));
                stack = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    fn scan_into(&self, slot: &Slot) {
        let listing = self.scan(slot);
        self.ahead.fetch_add(listing.weight(), Ordering::Relaxed);
        let changed = listing.entries.iter().filter_map(|entry| entry.dir.clone());
        let same = listing.same.iter().flat_map(|same| &same.dirs);
        let dirs: Vec<_> = changed.chain(same.map(|(_, dir)| Arc::clone(dir))).collect();
        self.push(dirs.into_iter());
        *slot.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Done(listing);
        slot.done.notify_all();
    }

    /// The listing of a directory: scanned already, by somebody now, or by the caller.
    pub(super) fn take(&self, slot: &Slot) -> Result<Listing, Stopped> {
        if slot.begin() {
            self.scan_into(slot);
        }
        let mut state = slot.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            self.stop.check()?;
            if matches!(*state, State::Done(_) | State::Taken) {
                let State::Done(listing) = std::mem::replace(&mut *state, State::Taken) else {
                    return Ok(Listing::default());
                };
                self.ahead.fetch_sub(listing.weight(), Ordering::Relaxed);
                return Ok(listing);
            }
            let waited = slot.done.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn scan(&self, slot: &Slot) -> Listing {
        let mut listing = Listing::default();
        let before = match self.load_before(slot.before) {
            Ok(nodes) => nodes,
            Err(error) => {
                // A damaged parent costs time, not data: everything below is read again.
                let message = format!("the parent snapshot cannot be read here: {error}");
                tracing::warn!(path = %slot.path.display(), "{message}");
                Vec::new()
            }
        };
        let by_name: HashMap<&[u8], &Node> = before.iter().map(|node| (node.name.as_slice(), node)).collect();
        let seen = list(slot, &by_name, &mut listing);
        let is_same = |seen: &Seen<'_>| {
            let before = seen
                .before
                .filter(|before| meta::is_same(&seen.meta, before, &self.names));
            before.is_some_and(|before| self.is_stored(before))
        };
        if slot.before.is_some() && seen.len() == before.len() && seen.iter().all(is_same) {
            listing.same = Some(self.same(slot, seen));
            return listing;
        }
        for Seen {
            name,
            path,
            meta,
            before,
        } in seen
        {
            let node = meta::node(name.as_bytes(), &meta, &self.names);
            self.add(&mut listing, slot, path, node, before);
        }
        listing.entries.sort_by(|a, b| a.node.name.cmp(&b.node.name));
        listing
    }

    fn is_stored(&self, before: &Node) -> bool {
        before.content.iter().all(|id| self.index.has(BlobKind::Data, id))
    }

    fn same(&self, slot: &Slot, seen: Vec<Seen<'_>>) -> Same {
        let mut same = Same::default();
        for Seen {
            name,
            path,
            meta,
            before,
        } in seen
        {
            if meta.is_file() {
                same.files += 1;
                same.bytes += meta.len();
            } else if meta.is_dir() {
                let dir = Slot::new(path, before.and_then(|before| before.subtree), Arc::clone(&slot.base));
                dir.keep_out_of(meta.dev());
                same.dirs.push((name, dir));
            }
        }
        Progress::add(&self.progress.files_total, same.files);
        Progress::add(&self.progress.bytes_total, same.bytes);
        same.dirs.sort_by(|a, b| a.0.cmp(&b.0));
        same
    }

    fn add(&self, listing: &mut Listing, slot: &Slot, path: PathBuf, mut node: Node, before: Option<&Node>) {
        let known = self.compare(&mut node, before);
        let same_inode = before.is_some_and(|before| before.kind == node.kind && before.ctime == node.ctime);
        if let Some(before) = before.filter(|_| same_inode) {
            // Whatever belongs to the inode cannot have changed without its change time.
            node.xattrs.clone_from(&before.xattrs);
            node.link_target.clone_from(&before.link_target);
        } else if let Err(why) = meta::complete(&mut node, &path) {
            listing.errors.push(item(&path, &why));
            if node.kind == NodeKind::Symlink && node.link_target.is_empty() {
                return;
            }
        }
        if node.kind == NodeKind::File {
            Progress::add(&self.progress.files_total, 1);
            Progress::add(&self.progress.bytes_total, node.size);
        }
        let dir = (node.kind == NodeKind::Dir).then(|| {
            let before = before.and_then(|before| before.subtree);
            Slot::new(path, before, Arc::clone(&slot.base))
        });
        if let Some(dir) = &dir {
            dir.keep_out_of(node.device_id);
        }
        listing.entries.push(Entry { node, known, dir });
    }

    /// Compares with the parent's entry and takes over the content of a file that is the same.
    pub(super) fn compare(&self, node: &mut Node, before: Option<&Node>) -> Known {
        let Some(before) = before else { return Known::New };
        if meta::unchanged(node, before) && self.is_stored(before) {
            node.content.clone_from(&before.content);
            return Known::Same;
        }
        Known::Changed
    }
}

/// What the file system has; what cannot be looked at is listed as an error.
fn list<'a>(slot: &Slot, before: &HashMap<&[u8], &'a Node>, listing: &mut Listing) -> Vec<Seen<'a>> {
    let mut seen = Vec::with_capacity(before.len());
    let entries = match std::fs::read_dir(&slot.path) {
        Ok(entries) => entries,
        Err(error) => {
            listing.errors.push(item(&slot.path, &plain(&error)));
            return seen;
        }
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let why = format!("the listing ended early: {}", plain(&error));
                listing.errors.push(item(&slot.path, &why));
                break;
            }
        };
        let name = entry.file_name();
        let path = slot.path.join(&name);
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if slot.base.excludes.matches(&path, is_dir) {
            continue;
        }
        let before = before.get(name.as_bytes()).copied();
        match entry.metadata() {
            Ok(meta) => seen.push(Seen {
                name,
                path,
                meta,
                before,
            }),
            Err(error) => listing.errors.push(item(&path, &plain(&error))),
        }
    }
    seen
}

/// An error of one item.
pub(super) fn item(path: &Path, message: &str) -> ItemError {
    ItemError {
        path: path.display().to_string(),
        message: message.to_owned(),
    }
}
