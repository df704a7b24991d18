//! The trees of a snapshot that its caller puts together, from what is told of it.
//!
//! One thread takes the events in order, waits for the contents of each file, and stores the tree of a directory when that
//! ends. A directory is in memory until then. The root's own tree is what a snapshot names; without the end of the root
//! there is none.

use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::BackupStats;
use super::saver::Feed;
use super::ticket::Ticket;
use crate::repo::error::RepoError;
use crate::repo::id::Id;
use crate::repo::stop::{Stop, Stopped};
use crate::repo::tree::{self, Node, NodeKind};

/// What the ticket of a file says that is not there any more.
pub(super) const GONE: &str = "gone";

/// What is told of the tree.
#[derive(Debug)]
pub(super) enum Event {
    Enter(Box<Node>),
    File(Box<Node>, Arc<Ticket>),
    Entry(Box<Node>),
    Leave,
}

/// What was built of it.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) root: Option<Id>,
    pub(super) stats: BackupStats,
}

/// A directory that has begun.
struct Open {
    node: Box<Node>,
    nodes: Vec<Node>,
}

/// Takes what is told in order, and writes the trees from the bottom up; blocks.
pub(super) fn build(events: &Receiver<Event>, feed: &Feed, stop: &Stop) -> Result<Built, Stopped> {
    let mut built = Built::default();
    let mut open: Vec<Open> = Vec::new();
    for event in events {
        stop.check()?;
        match event {
            Event::Enter(node) => open.push(Open {
                node,
                nodes: Vec::new(),
            }),
            Event::Entry(node) => {
                if node.kind == NodeKind::File {
                    built.stats.files_unmodified += 1;
                    built.count(node.size);
                }
                open.last_mut().ok_or(Stopped)?.nodes.push(*node);
            }
            Event::File(mut node, ticket) => match ticket.wait(stop)? {
                Ok(file) => {
                    built.stats.bytes_read += file.end.size;
                    built.stats.files_changed += 1;
                    built.count(file.end.size);
                    (node.size, node.content) = (file.end.size, file.content);
                    open.last_mut().ok_or(Stopped)?.nodes.push(*node);
                }
                Err(why) if why == GONE => {}
                Err(why) => {
                    let what = format!("{}: {why}", node.display_name());
                    stop.fail(RepoError::internal(what));
                    return Err(Stopped);
                }
            },
            Event::Leave => {
                let dir = open.pop().ok_or(Stopped)?;
                let id = close(dir.nodes, feed, stop)?;
                match open.last_mut() {
                    None => built.root = Some(id),
                    Some(parent) => {
                        built.stats.dirs_changed += 1;
                        let mut node = *dir.node;
                        node.subtree = Some(id);
                        parent.nodes.push(node);
                    }
                }
            }
        }
    }
    Ok(built)
}

/// Stores the tree of a directory.
fn close(mut nodes: Vec<Node>, feed: &Feed, stop: &Stop) -> Result<Id, Stopped> {
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twice) = nodes.windows(2).find(|pair| pair[0].name == pair[1].name) {
        let what = format!("{} is in one directory twice", twice[0].display_name());
        stop.fail(RepoError::internal(what));
        return Err(Stopped);
    }
    feed.tree(tree::encode(&nodes))
}

impl Built {
    fn count(&mut self, size: u64) {
        self.stats.files_total += 1;
        self.stats.bytes_total += size;
    }
}
