//! What differs between two snapshots.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::Repository;
use super::browse::{TreeEntry, join};
use super::error::RepoError;
use super::id::Id;
use super::index::Index;
use super::tree::Node;

/// How an entry differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only in the second.
    Added,
    /// Only in the first.
    Removed,
    /// The content differs.
    Modified,
    /// Only mode, owner, time or attributes differ.
    Metadata,
    /// A different kind of thing has this name.
    Kind,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// How it differs.
    pub change: Change,
    /// The entry of the second snapshot, or of the first when it was removed.
    pub entry: TreeEntry,
    /// The size in the first snapshot, when it was there.
    pub size_before: Option<u64>,
}

/// All differences, in the order of the paths.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffReport {
    /// The first snapshot.
    pub from: String,
    /// The second snapshot.
    pub to: String,
    /// What differs.
    pub differences: Vec<Difference>,
}

type Work = (String, Option<Node>, Option<Node>);

impl Repository {
    /// Compares two snapshots; directories whose trees are the same are not entered.
    pub async fn diff(&self, from: &str, to: &str) -> Result<DiffReport, RepoError> {
        let (from, to) = (self.snapshot(from).await?, self.snapshot(to).await?);
        let index = self.load_index().await?;
        let mut report = DiffReport {
            from: from.id,
            to: to.id,
            differences: Vec::new(),
        };
        let mut todo = self
            .pairs(&index, "", Some(from.snapshot.tree), Some(to.snapshot.tree))
            .await?;
        todo.reverse();
        while let Some((parent, old, new)) = todo.pop() {
            let change = change(old.as_ref(), new.as_ref());
            let Some(node) = new.as_ref().or(old.as_ref()) else {
                continue;
            };
            let entry = TreeEntry::new(&parent, node);
            let path = join(&parent, &node.display_name());
            if let Some(change) = change {
                report.differences.push(Difference {
                    change,
                    entry,
                    size_before: old.as_ref().map(|node| node.size),
                });
            }
            let trees = (old.and_then(|node| node.subtree), new.and_then(|node| node.subtree));
            if trees.0 != trees.1 {
                let mut below = self.pairs(&index, &path, trees.0, trees.1).await?;
                below.reverse();
                todo.append(&mut below);
            }
        }
        self.0.trees.clear();
        Ok(report)
    }

    async fn pairs(&self, index: &Index, path: &str, old: Option<Id>, new: Option<Id>) -> Result<Vec<Work>, RepoError> {
        let mut sides = [Vec::new(), Vec::new()];
        for (side, id) in sides.iter_mut().zip([old, new]) {
            if let Some(id) = id {
                *side = self.load_tree(index, &id).await?;
            }
        }
        let [old, new] = sides;
        let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
        let mut pairs = Vec::new();
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return Ok(pairs),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.name.cmp(&b.name),
            };
            let left = if order == Ordering::Greater { None } else { old.next() };
            let right = if order == Ordering::Less { None } else { new.next() };
            pairs.push((path.to_owned(), left, right));
        }
    }
}

fn change(old: Option<&Node>, new: Option<&Node>) -> Option<Change> {
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (Some(_), None) => return Some(Change::Removed),
        (None, Some(_)) => return Some(Change::Added),
        (None, None) => return None,
    };
    if old.kind != new.kind {
        return Some(Change::Kind);
    }
    if old.content != new.content || old.link_target != new.link_target || old.device != new.device {
        return Some(Change::Modified);
    }
    let metadata = |node: &Node| (node.mode, node.uid, node.gid, node.mtime, node.xattrs.clone());
    (metadata(old) != metadata(new)).then_some(Change::Metadata)
}
