//! The tree builder: takes the driver's events in order and writes the trees from the bottom up.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::saver::Feed;
use super::scan::{Known, Scanner, item};
use super::ticket::Ticket;
use super::{BackupStats, ItemError};
use crate::repo::id::Id;
use crate::repo::progress::Progress;
use crate::repo::stop::Stopped;
use crate::repo::tree::{self, Node, NodeKind};

/// What the driver says, in the order of the tree.
#[derive(Debug)]
pub(super) enum Event {
    /// A directory begins; its tree in the parent snapshot.
    Enter(Option<Id>),
    /// An entry that needs no reading.
    Entry { node: Node, known: Known },
    /// A file whose content is on its way.
    File {
        node: Node,
        known: Known,
        path: PathBuf,
        ticket: Arc<Ticket>,
    },
    /// Everything directly in the directory that began last is as the parent snapshot has it; no entries follow, only the
    /// directories in it.
    Same { files: u64, bytes: u64 },
    /// The directory that began last ends.
    Leave(Left),
    /// Something could not be read.
    Error(ItemError),
}

/// What a directory is to the one it is in.
#[derive(Debug)]
pub(super) enum Left {
    /// Nothing: it is the root.
    Root,
    /// An entry.
    Node(Box<Node>),
    /// An entry the parent snapshot has just like this, but maybe for its tree.
    Same(OsString),
}

/// A directory that has begun.
#[derive(Debug, Default)]
struct Open {
    before: Option<Id>,
    nodes: Vec<Node>,
    /// Its entries are those of the parent snapshot, but for these trees.
    same: Option<Vec<(OsString, Id)>>,
}

/// The result of building.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) root: Option<Id>,
    pub(super) stats: BackupStats,
    pub(super) errors: Vec<ItemError>,
}

/// Builds until the root has ended.
pub(super) fn run(
    events: &Receiver<Event>,
    scanner: &Scanner,
    feed: &Feed,
    progress: &Progress,
) -> Result<Built, Stopped> {
    let mut built = Built::default();
    let mut open: Vec<Open> = Vec::new();
    for event in events {
        feed.stop().check()?;
        match event {
            Event::Enter(before) => open.push(Open {
                before,
                ..Open::default()
            }),
            Event::Same { files, bytes } => {
                Progress::add(&progress.files_done, files);
                Progress::add(&progress.bytes_done, bytes);
                built.stats.files_total += files;
                built.stats.files_unmodified += files;
                built.stats.bytes_total += bytes;
                if let Some(open) = open.last_mut() {
                    open.same = Some(Vec::new());
                }
            }
            Event::Error(error) => built.fail(error, progress),
            Event::Entry { node, known } => {
                if node.kind == NodeKind::File {
                    Progress::add(&progress.files_done, 1);
                    Progress::add(&progress.bytes_done, node.size);
                }
                built.push(&mut open, node, known);
            }
            Event::File {
                mut node,
                known,
                path,
                ticket,
            } => match ticket.wait(feed.stop())? {
                Ok(file) => {
                    built.stats.bytes_read += file.end.size;
                    if let Some(why) = file.end.warning {
                        built.fail(item(&path, &why), progress);
                    }
                    node.size = file.end.size;
                    node.content = file.content;
                    built.push(&mut open, node, known);
                }
                Err(why) => built.fail(item(&path, &why), progress),
            },
            Event::Leave(left) => {
                let Some(dir) = open.pop() else { continue };
                let before = dir.before;
                let id = finish(dir, scanner, feed)?;
                built.count_dir(before, id, !matches!(left, Left::Root));
                match left {
                    Left::Root => built.root = Some(id),
                    Left::Node(mut node) => {
                        node.subtree = Some(id);
                        built.push(&mut open, *node, Known::Changed);
                    }
                    Left::Same(name) => {
                        let parent = open.last_mut().and_then(|parent| parent.same.as_mut());
                        if let Some(changed) = parent.filter(|_| before != Some(id)) {
                            changed.push((name, id));
                        }
                    }
                }
            }
        }
    }
    Ok(built)
}

/// Writes the tree of a directory, unless it is the one the parent snapshot has.
fn finish(dir: Open, scanner: &Scanner, feed: &Feed) -> Result<Id, Stopped> {
    let Open { before, nodes, same } = dir;
    let Some(changed) = same else {
        return feed.tree(tree::encode(&nodes));
    };
    if let Some(before) = before.filter(|_| changed.is_empty()) {
        return Ok(before);
    }
    // Something further below changed: the entries are taken from the parent snapshot after all.
    let mut nodes = match scanner.load_before(before) {
        Ok(nodes) => nodes,
        Err(error) => {
            feed.stop().fail(error);
            return Err(Stopped);
        }
    };
    for (name, id) in changed {
        let at = nodes.binary_search_by(|node| node.name.as_slice().cmp(name.as_bytes()));
        if let Some(node) = at.ok().and_then(|at| nodes.get_mut(at)) {
            node.subtree = Some(id);
        }
    }
    feed.tree(tree::encode(&nodes))
}

impl Built {
    fn push(&mut self, open: &mut [Open], node: Node, known: Known) {
        if node.kind == NodeKind::File {
            self.stats.files_total += 1;
            self.stats.bytes_total += node.size;
            match known {
                Known::New => self.stats.files_new += 1,
                Known::Changed => self.stats.files_changed += 1,
                Known::Same => self.stats.files_unmodified += 1,
            }
        }
        if let Some(open) = open.last_mut() {
            open.nodes.push(node);
        }
    }

    fn count_dir(&mut self, before: Option<Id>, now: Id, counts: bool) {
        match before {
            _ if !counts => {}
            None => self.stats.dirs_new += 1,
            Some(before) if before == now => self.stats.dirs_unmodified += 1,
            Some(_) => self.stats.dirs_changed += 1,
        }
    }

    fn fail(&mut self, error: ItemError, progress: &Progress) {
        Progress::add(&progress.errors, 1);
        self.errors.push(error);
    }
}
