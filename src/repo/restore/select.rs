//! Which entries of a snapshot to restore, and where they go below the target.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::RestoreOptions;
use crate::repo::archive::exclude::Excludes;
use crate::repo::browse::Found;
use crate::repo::error::RepoError;
use crate::repo::id::Id;
use crate::repo::index::Index;
use crate::repo::snapshot::SnapshotInfo;
use crate::repo::stop::Stop;
use crate::repo::tree::{Node, NodeKind};
use crate::repo::{DESCRIPTION_NAME, Repository};

/// One entry and its place below the target.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) path: PathBuf,
    pub(super) node: Node,
}

/// A further name of a file that is restored already.
#[derive(Debug, Clone)]
pub(super) struct HardLink {
    pub(super) path: PathBuf,
    /// The position of the first name in the files.
    pub(super) first: usize,
}

/// Everything to restore, parents before children.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) snapshot: SnapshotInfo,
    pub(super) index: Arc<Index>,
    pub(super) dirs: Vec<Item>,
    pub(super) files: Vec<Item>,
    pub(super) links: Vec<HardLink>,
    pub(super) others: Vec<Item>,
}

/// A directory that is needed only if something below it is selected.
struct Dir {
    item: Item,
    parent: Option<usize>,
    needed: bool,
}

struct Filter {
    include: Option<Excludes>,
    exclude: Excludes,
}

/// Splits `ID:/sub/path`.
pub(super) fn split(options: &RestoreOptions) -> (String, String) {
    match (&options.subpath, options.snapshot.split_once(':')) {
        (Some(path), _) => (options.snapshot.clone(), path.clone()),
        (None, Some((id, path))) => (id.to_owned(), path.to_owned()),
        (None, None) => (options.snapshot.clone(), "/".to_owned()),
    }
}

impl Repository {
    pub(super) async fn select(&self, options: &RestoreOptions, stop: &Stop) -> Result<Selection, RepoError> {
        let (id, subpath) = split(options);
        let snapshot = self.snapshot(&id).await?;
        let index = self.load_index().await?;
        let base = Path::new("/").join(subpath.trim_start_matches('/'));
        let include = (!options.include.is_empty())
            .then(|| Excludes::new(&options.include, &base))
            .transpose()?;
        let filter = Filter {
            include,
            exclude: Excludes::new(&options.exclude, &base)?,
        };
        let mut walk = Walk::new(filter, snapshot.clone());
        match self.resolve(&index, &snapshot, &subpath).await? {
            Found::Node(node) => {
                let path = PathBuf::from(OsStr::from_bytes(&node.name));
                walk.add(Item { path, node: *node }, None);
            }
            Found::Tree(tree) => {
                let is_root = base == Path::new("/");
                walk.todo.push(Todo {
                    tree,
                    path: PathBuf::new(),
                    inside: base,
                    parent: None,
                    whole: false,
                });
                while let Some(todo) = walk.todo.pop() {
                    stop.result()?;
                    let nodes = self.load_tree(&index, &todo.tree).await?;
                    walk.directory(&todo, nodes, is_root && todo.parent.is_none())?;
                }
            }
        }
        self.0.trees.clear();
        Ok(walk.finish(index))
    }
}

struct Todo {
    tree: Id,
    /// Below the target.
    path: PathBuf,
    /// In the snapshot.
    inside: PathBuf,
    parent: Option<usize>,
    /// An include pattern has matched a directory above.
    whole: bool,
}

struct Walk {
    filter: Filter,
    snapshot: SnapshotInfo,
    todo: Vec<Todo>,
    dirs: Vec<Dir>,
    files: Vec<Item>,
    links: Vec<HardLink>,
    others: Vec<Item>,
    inodes: HashMap<(u64, u64), usize>,
}

impl Walk {
    fn new(filter: Filter, snapshot: SnapshotInfo) -> Self {
        Self {
            filter,
            snapshot,
            todo: Vec::new(),
            dirs: Vec::new(),
            files: Vec::new(),
            links: Vec::new(),
            others: Vec::new(),
            inodes: HashMap::new(),
        }
    }

    fn directory(&mut self, todo: &Todo, nodes: Vec<Node>, is_root: bool) -> Result<(), RepoError> {
        let before = self.todo.len();
        for node in nodes {
            if is_root && self.is_description(&node) {
                continue;
            }
            let name = OsStr::from_bytes(&node.name);
            let (path, inside) = (todo.path.join(name), todo.inside.join(name));
            let is_dir = node.kind == NodeKind::Dir;
            if self.filter.exclude.matches(&inside, is_dir) {
                continue;
            }
            let included = self
                .filter
                .include
                .as_ref()
                .is_none_or(|include| include.matches(&inside, is_dir));
            let whole = todo.whole || included;
            if !is_dir {
                if whole {
                    self.add(Item { path, node }, todo.parent);
                }
                continue;
            }
            let tree = node.subtree.ok_or_else(|| {
                RepoError::damaged(format!("tree {}", todo.tree.short()), "a directory without a tree")
            })?;
            self.dirs.push(Dir {
                item: Item {
                    path: path.clone(),
                    node,
                },
                parent: todo.parent,
                needed: false,
            });
            let this = self.dirs.len() - 1;
            if whole {
                self.need(Some(this));
            }
            self.todo.push(Todo {
                tree,
                path,
                inside,
                parent: Some(this),
                whole,
            });
        }
        // The last pushed is the next taken: the first directory comes first again.
        self.todo[before..].reverse();
        Ok(())
    }

    /// Whether this is our own description, which is about the snapshot and not part of what was backed up.
    fn is_description(&self, node: &Node) -> bool {
        let theirs = |path: &String| path == "/" || path.trim_start_matches('/') == DESCRIPTION_NAME;
        node.name == DESCRIPTION_NAME.as_bytes()
            && self.snapshot.snapshot.program_version.starts_with("lifeboat ")
            && !self.snapshot.snapshot.paths.iter().any(theirs)
    }

    fn need(&mut self, mut dir: Option<usize>) {
        while let Some(at) = dir {
            if std::mem::replace(&mut self.dirs[at].needed, true) {
                return;
            }
            dir = self.dirs[at].parent;
        }
    }

    fn add(&mut self, item: Item, parent: Option<usize>) {
        self.need(parent);
        if item.node.kind != NodeKind::File {
            self.others.push(item);
            return;
        }
        if item.node.links > 1 && item.node.inode != 0 {
            let inode = (item.node.device_id, item.node.inode);
            let first = *self.inodes.entry(inode).or_insert(self.files.len());
            if let Some(original) = self.files.get(first)
                && original.node.content == item.node.content
            {
                self.links.push(HardLink { path: item.path, first });
                return;
            }
        }
        self.files.push(item);
    }

    fn finish(self, index: Arc<Index>) -> Selection {
        let dirs = self
            .dirs
            .into_iter()
            .filter(|dir| dir.needed)
            .map(|dir| dir.item)
            .collect();
        let Self {
            snapshot,
            files,
            links,
            others,
            ..
        } = self;
        Selection {
            snapshot,
            index,
            dirs,
            files,
            links,
            others,
        }
    }
}
