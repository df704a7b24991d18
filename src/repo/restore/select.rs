//! Which entries of a snapshot to restore, and where they go below the target.
//!
//! A snapshot is walked once, depth first, and handed out in windows of a bounded number of entries, so that a restore of
//! a hundred million files needs no more memory than one of a hundred thousand. A directory is made in the window of its
//! first entry and gets its metadata in the window of its last.
//!
//! A tree that cannot be read costs what is below it and is listed; the rest is restored. A snapshot with more entries
//! than its trees could honestly hold (trees may be named many times, so a few kilobytes can describe 2^40 directories) is
//! refused.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;

use super::RestoreOptions;
use super::thaw::Thaw;
use crate::repo::archive::exclude::Excludes;
use crate::repo::browse::Found;
use crate::repo::error::RepoError;
use crate::repo::gotime::Time;
use crate::repo::id::Id;
use crate::repo::index::Index;
use crate::repo::pack::BlobKind;
use crate::repo::snapshot::SnapshotInfo;
use crate::repo::stop::Stop;
use crate::repo::tree::{Node, NodeKind};
use crate::repo::{DESCRIPTION_NAME, Repository};

/// How much one window holds: an entry counts one, four blobs count one. Small in the tests, so that they cross windows.
const WINDOW: usize = if cfg!(test) { 3 } else { 32 << 10 };
/// How deep directories may lie in each other.
const MAX_DEPTH: usize = 4096;
/// An entry takes more bytes than this in a tree.
const LEAST_ENTRY_BYTES: u64 = 100;
/// How often the same trees may honestly be met, and how many entries are fine in any case.
const HONEST_REPEATS: u64 = 16;
const HONEST_ENTRIES: u64 = 50_000;

/// One entry and its place below the target.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) path: PathBuf,
    pub(super) node: Node,
}

/// A file with several names: what is needed to give it another one.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) path: PathBuf,
    pub(super) mtime: Time,
    pub(super) size: u64,
    content: Vec<Id>,
}

/// A further name of a file that is restored in this window or before it.
#[derive(Debug)]
pub(super) struct HardLink {
    pub(super) path: PathBuf,
    pub(super) original: Arc<Original>,
}

/// A part of what to restore, in the order of the snapshot.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Directories to make, parents before children.
    pub(super) make: Vec<PathBuf>,
    pub(super) files: Vec<Item>,
    pub(super) links: Vec<HardLink>,
    pub(super) others: Vec<Item>,
    /// Directories that are complete with this window, children before parents.
    pub(super) finish: Vec<Item>,
    /// Directories that could not be read, and why.
    pub(super) lost: Vec<(PathBuf, String)>,
    weight: usize,
}

#[derive(Debug)]
struct Filter {
    include: Option<Excludes>,
    exclude: Excludes,
}

/// What the walk begins with.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) snapshot: SnapshotInfo,
    pub(super) index: Arc<Index>,
    filter: Filter,
    base: PathBuf,
    root: Root,
    /// Nothing of the snapshot is left out, so that its own numbers are the totals.
    pub(super) whole: bool,
}

#[derive(Debug)]
enum Root {
    Tree(Id),
    Node(Box<Node>),
}

/// Splits `ID:/sub/path`.
fn split(options: &RestoreOptions) -> (String, String) {
    match (&options.subpath, options.snapshot.split_once(':')) {
        (Some(path), _) => (options.snapshot.clone(), path.clone()),
        (None, Some((id, path))) => (id.to_owned(), path.to_owned()),
        (None, None) => (options.snapshot.clone(), "/".to_owned()),
    }
}

impl Repository {
    /// Finds the snapshot and the path in it; trees in cold packs are thawed when `thaw` says so.
    pub(super) async fn select(
        &self,
        options: &RestoreOptions,
        thaw: Option<&Thaw>,
        stop: &Stop,
    ) -> Result<Selection, RepoError> {
        let (id, subpath) = split(options);
        let (snapshot, index) = if Id::parse(&id).is_some() {
            // Whoever gives a whole id has seen the snapshot, so that an index read now knows all of it.
            tokio::try_join!(self.snapshot(&id), self.load_index())?
        } else {
            (self.snapshot(&id).await?, self.load_index().await?)
        };
        stop.result()?;
        let base = Path::new("/").join(subpath.trim_start_matches('/'));
        let include = (!options.include.is_empty())
            .then(|| Excludes::new(&options.include, &base))
            .transpose()?;
        let filter = Filter {
            include,
            exclude: Excludes::new(&options.exclude, &base)?,
        };
        let found = match self.resolve(&index, &snapshot, &subpath).await {
            Err(error) if error.is_cold() && thaw.is_some() => {
                if let Some(thaw) = thaw {
                    thaw.trees(self, &index, stop).await?;
                }
                self.resolve(&index, &snapshot, &subpath).await?
            }
            other => other?,
        };
        Ok(Selection {
            whole: base == Path::new("/") && options.include.is_empty() && options.exclude.is_empty(),
            snapshot,
            index,
            filter,
            base,
            root: match found {
                Found::Tree(tree) => Root::Tree(tree),
                Found::Node(node) => Root::Node(node),
            },
        })
    }
}

/// A directory that is being walked.
#[derive(Debug)]
struct Frame {
    left: std::vec::IntoIter<Node>,
    /// Below the target.
    path: PathBuf,
    /// In the snapshot.
    inside: PathBuf,
    /// The directory itself; none for the root.
    node: Option<Node>,
    made: bool,
    /// An include pattern has matched it or a directory above.
    whole: bool,
}

/// The walk; hands out windows. Used on a thread that may block.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    repo: &'a Repository,
    selection: &'a Selection,
    thaw: Option<&'a Thaw>,
    stop: &'a Stop,
    runtime: Handle,
    begun: bool,
    frames: Vec<Frame>,
    window: Window,
    /// Files with more names to come, by device and inode, and how many.
    inodes: HashMap<(u64, u64), (Arc<Original>, u64)>,
    entries: u64,
    limit: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        repo: &'a Repository,
        selection: &'a Selection,
        thaw: Option<&'a Thaw>,
        stop: &'a Stop,
        runtime: Handle,
    ) -> Self {
        let trees = selection.index.iter().filter(|(kind, ..)| *kind == BlobKind::Tree);
        let bytes: u64 = trees.map(|(_, _, at)| at.plain_length()).sum();
        Self {
            repo,
            selection,
            thaw,
            stop,
            runtime,
            begun: false,
            frames: Vec::new(),
            window: Window::default(),
            inodes: HashMap::new(),
            entries: 0,
            limit: HONEST_ENTRIES + (bytes / LEAST_ENTRY_BYTES).saturating_mul(HONEST_REPEATS),
        }
    }

    /// The next part of the snapshot, or none at its end.
    pub(super) fn next_window(&mut self) -> Result<Option<Window>, RepoError> {
        if !self.begun {
            self.begin()?;
        }
        while self.window.weight < WINDOW {
            self.stop.result()?;
            let Some(frame) = self.frames.last_mut() else { break };
            if let Some(node) = frame.left.next() {
                self.entry(node)?;
            } else if let Some(frame) = self.frames.pop()
                && let Some(node) = frame.node.filter(|_| frame.made)
            {
                self.window.weight += 1;
                self.window.finish.push(Item { path: frame.path, node });
            }
        }
        let window = std::mem::take(&mut self.window);
        Ok((window.weight > 0).then_some(window))
    }

    fn begin(&mut self) -> Result<(), RepoError> {
        self.begun = true;
        match &self.selection.root {
            Root::Node(node) => {
                let path = PathBuf::from(OsStr::from_bytes(&node.name));
                let node = node.as_ref().clone();
                self.add(Item { path, node });
            }
            Root::Tree(tree) => {
                let nodes = self.load(tree)?;
                self.frames.push(Frame {
                    left: nodes.into_iter(),
                    path: PathBuf::new(),
                    inside: self.selection.base.clone(),
                    node: None,
                    made: true,
                    whole: false,
                });
            }
        }
        Ok(())
    }

    fn load(&self, tree: &Id) -> Result<Vec<Node>, RepoError> {
        let load = || {
            let selection = self.selection;
            let load = self.repo.load_tree_of(&selection.index, tree, selection.whole);
            let loaded = self.runtime.block_on(self.stop.token().run_until_cancelled(load));
            loaded.unwrap_or(Err(RepoError::Cancelled))
        };
        match (load(), self.thaw) {
            (Err(error), Some(thaw)) if error.is_cold() => {
                self.runtime
                    .block_on(thaw.trees(self.repo, &self.selection.index, self.stop))?;
                load()
            }
            (loaded, _) => loaded,
        }
    }

    fn entry(&mut self, node: Node) -> Result<(), RepoError> {
        self.entries += 1;
        if self.entries > self.limit {
            return Err(refused("it has more entries than its trees can honestly describe"));
        }
        let is_root = self.frames.len() == 1 && self.selection.base == Path::new("/");
        let Some(frame) = self.frames.last() else { return Ok(()) };
        if is_root && self.is_description(&node) {
            return Ok(());
        }
        let name = OsStr::from_bytes(&node.name);
        let (path, inside) = (frame.path.join(name), frame.inside.join(name));
        let is_dir = node.kind == NodeKind::Dir;
        let filter = &self.selection.filter;
        if filter.exclude.matches(&inside, is_dir) {
            return Ok(());
        }
        let included = filter
            .include
            .as_ref()
            .is_none_or(|include| include.matches(&inside, is_dir));
        let whole = frame.whole || included;
        if is_dir {
            return self.enter(node, path, inside, whole);
        }
        if whole {
            self.add(Item { path, node });
        }
        Ok(())
    }

    fn enter(&mut self, node: Node, path: PathBuf, inside: PathBuf, whole: bool) -> Result<(), RepoError> {
        if self.frames.len() >= MAX_DEPTH {
            return Err(refused("its directories lie too deep in each other"));
        }
        let loaded = match node.subtree {
            Some(tree) => self.load(&tree),
            None => Err(RepoError::damaged("the directory", "it has no tree")),
        };
        let nodes = match loaded {
            Ok(nodes) => nodes,
            Err(error @ (RepoError::Damaged { .. } | RepoError::MissingBlob { .. })) => {
                self.window.weight += 1;
                let why = format!("nothing below it can be restored: {error}");
                self.window.lost.push((path.clone(), why));
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        self.frames.push(Frame {
            left: nodes.into_iter(),
            path,
            inside,
            node: Some(node),
            made: false,
            whole,
        });
        if whole {
            self.need();
        }
        Ok(())
    }

    /// Whether this is our own description, which is about the snapshot and not part of what was backed up.
    fn is_description(&self, node: &Node) -> bool {
        let snapshot = &self.selection.snapshot.snapshot;
        let theirs = |path: &String| path == "/" || path.trim_start_matches('/') == DESCRIPTION_NAME;
        node.name == DESCRIPTION_NAME.as_bytes()
            && snapshot.program_version.starts_with("lifeboat ")
            && !snapshot.paths.iter().any(theirs)
    }

    /// The directories that are open now are needed: something in them is restored.
    fn need(&mut self) {
        let made = self.frames.iter().rposition(|frame| frame.made).map_or(0, |at| at + 1);
        for frame in &mut self.frames[made..] {
            frame.made = true;
            self.window.weight += 1;
            self.window.make.push(frame.path.clone());
        }
    }

    fn add(&mut self, item: Item) {
        self.need();
        self.window.weight += 1 + item.node.content.len() / 4;
        if item.node.kind != NodeKind::File {
            self.window.others.push(item);
            return;
        }
        if item.node.links > 1 && item.node.inode != 0 {
            let inode = (item.node.device_id, item.node.inode);
            if let Some((original, left)) = self.inodes.get_mut(&inode) {
                if original.content == item.node.content {
                    let original = Arc::clone(original);
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        self.inodes.remove(&inode);
                    }
                    self.window.links.push(HardLink {
                        path: item.path,
                        original,
                    });
                    return;
                }
            } else {
                let original = Original {
                    path: item.path.clone(),
                    mtime: item.node.mtime,
                    size: item.node.size,
                    content: item.node.content.clone(),
                };
                self.inodes.insert(inode, (Arc::new(original), item.node.links - 1));
            }
        }
        self.window.files.push(item);
    }
}

fn refused(why: &str) -> RepoError {
    RepoError::Refused {
        what: format!("the snapshot is not what a backup makes: {why}"),
    }
}
