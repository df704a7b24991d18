//! The tree builder: takes the driver's events in order and writes the trees from the bottom up.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::saver::Feed;
use super::scan::{Known, item};
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
    /// The directory that began last ends; `None` for the root.
    Leave(Option<Node>),
    /// Something could not be read.
    Error(ItemError),
}

/// The result of building.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) root: Option<Id>,
    pub(super) stats: BackupStats,
    pub(super) errors: Vec<ItemError>,
}

/// Builds until the root has ended.
pub(super) fn run(events: &Receiver<Event>, feed: &Feed, progress: &Progress) -> Result<Built, Stopped> {
    let mut built = Built::default();
    let mut open: Vec<(Option<Id>, Vec<Node>)> = Vec::new();
    for event in events {
        feed.stop().check()?;
        match event {
            Event::Enter(before) => open.push((before, Vec::new())),
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
            Event::Leave(node) => {
                let Some((before, nodes)) = open.pop() else { continue };
                let id = feed.tree(tree::encode(&nodes))?;
                built.count_dir(before, id, node.is_some());
                match node {
                    Some(mut node) => {
                        node.subtree = Some(id);
                        built.push(&mut open, node, Known::Changed);
                    }
                    None => built.root = Some(id),
                }
            }
        }
    }
    Ok(built)
}

impl Built {
    fn push(&mut self, open: &mut [(Option<Id>, Vec<Node>)], node: Node, known: Known) {
        if node.kind == NodeKind::File {
            self.stats.files_total += 1;
            self.stats.bytes_total += node.size;
            match known {
                Known::New => self.stats.files_new += 1,
                Known::Changed => self.stats.files_changed += 1,
                Known::Same => self.stats.files_unmodified += 1,
            }
        }
        if let Some((_, nodes)) = open.last_mut() {
            nodes.push(node);
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
