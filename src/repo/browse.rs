//! Looking into a snapshot: one directory, everything below a path, names that match, one file.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Repository;
use super::error::RepoError;
use super::id::Id;
use super::index::Index;
use super::reader::BlobReader;
use super::snapshot::SnapshotInfo;
use super::tree::{Node, NodeKind, gomode};

/// One entry of a snapshot, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// The name; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// The whole path in the snapshot.
    pub path: String,
    /// What it is.
    pub kind: NodeKind,
    /// The size of a file, in bytes.
    pub size: u64,
    /// Unix permission bits.
    pub mode: u32,
    /// Last change of the content.
    pub mtime: DateTime<Utc>,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// What a symbolic link points to.
    pub link_target: Option<String>,
}

/// A match of [`Repository::find`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindMatch {
    /// The snapshot it is in.
    pub snapshot: String,
    /// What was found.
    pub entry: TreeEntry,
}

impl TreeEntry {
    pub(crate) fn new(parent: &str, node: &Node) -> Self {
        let name = node.display_name().into_owned();
        let target = String::from_utf8_lossy(&node.link_target).into_owned();
        Self {
            path: join(parent, &name),
            name,
            kind: node.kind,
            size: node.size,
            mode: gomode::to_unix_permissions(node.mode),
            mtime: node.mtime.to_utc(),
            uid: node.uid,
            gid: node.gid,
            link_target: (node.kind == NodeKind::Symlink).then_some(target),
        }
    }
}

/// Joins a path of a snapshot and a name.
pub(crate) fn join(parent: &str, name: &str) -> String {
    format!("{}/{name}", parent.trim_end_matches('/'))
}

/// What a path of a snapshot leads to.
pub(crate) enum Found {
    /// The root, or another directory.
    Tree(Id),
    /// Anything else.
    Node(Box<Node>),
}

impl Repository {
    /// Lists one directory; for anything else the entry itself.
    pub async fn ls(&self, id: &str, path: &str) -> Result<Vec<TreeEntry>, RepoError> {
        let snapshot = self.snapshot(id).await?;
        let index = self.load_index().await?;
        match self.resolve(&index, &snapshot, path).await? {
            Found::Tree(tree) => {
                let nodes = self.load_tree(&index, &tree).await?;
                Ok(nodes.iter().map(|node| TreeEntry::new(&normal(path), node)).collect())
            }
            Found::Node(node) => {
                let parent = normal(path);
                let parent = parent.rsplit_once('/').map_or("", |(parent, _)| parent);
                Ok(vec![TreeEntry::new(parent, &node)])
            }
        }
    }

    /// Lists everything below a path, depth first, in the order of the names.
    pub async fn walk(&self, id: &str, path: &str) -> Result<Vec<TreeEntry>, RepoError> {
        let mut all = Vec::new();
        self.visit(id, path, |entry, _| all.push(entry)).await?;
        Ok(all)
    }

    /// Calls `seen` with everything below a path, depth first, without holding it all.
    pub async fn visit(
        &self,
        id: &str,
        path: &str,
        mut seen: impl FnMut(TreeEntry, &Node) + Send,
    ) -> Result<(), RepoError> {
        let snapshot = self.snapshot(id).await?;
        let index = self.load_index().await?;
        let root = match self.resolve(&index, &snapshot, path).await? {
            Found::Tree(tree) => tree,
            Found::Node(node) => {
                let path = normal(path);
                seen(
                    TreeEntry::new(path.rsplit_once('/').map_or("", |(parent, _)| parent), &node),
                    &node,
                );
                return Ok(());
            }
        };
        let nodes = |nodes: Vec<Node>, path: String| nodes.into_iter().map(move |node| (path.clone(), node));
        let mut todo: VecDeque<(String, Node)> = nodes(self.load_tree(&index, &root).await?, normal(path)).collect();
        while let Some((parent, node)) = todo.pop_front() {
            let entry = TreeEntry::new(&parent, &node);
            let below = node.subtree.map(|tree| (tree, entry.path.clone()));
            seen(entry, &node);
            if let Some((tree, path)) = below {
                for item in nodes(self.load_tree(&index, &tree).await?, path).rev() {
                    todo.push_front(item);
                }
            }
        }
        self.0.trees.clear();
        Ok(())
    }

    /// Finds names that match a glob (`*.conf`), or paths when the glob has a slash, in some snapshots or in all.
    pub async fn find(&self, snapshots: &[String], pattern: &str) -> Result<Vec<FindMatch>, RepoError> {
        let glob = globset::GlobBuilder::new(pattern)
            .literal_separator(pattern.contains('/'))
            .build()
            .map_err(|error| RepoError::Invalid {
                what: format!("the pattern {pattern:?} is not a glob: {error}"),
            })?
            .compile_matcher();
        let mut wanted: Vec<String> = snapshots.to_vec();
        if wanted.is_empty() {
            wanted = self.snapshots().await?.into_iter().map(|info| info.id).collect();
        }
        let mut matches = Vec::new();
        for query in wanted {
            let id = self.snapshot(&query).await?.id;
            let mut seen = |entry: TreeEntry, _: &Node| {
                let subject = if pattern.contains('/') {
                    &entry.path
                } else {
                    &entry.name
                };
                if glob.is_match(subject) {
                    matches.push(FindMatch {
                        snapshot: id.clone(),
                        entry,
                    });
                }
            };
            self.visit(&id, "/", &mut seen).await?;
        }
        Ok(matches)
    }

    /// Writes the content of one file.
    pub async fn dump<W>(&self, id: &str, path: &str, out: &mut W) -> Result<u64, RepoError>
    where
        W: AsyncWrite + Unpin + Send,
    {
        let mut reader = self.open_file(id, path).await?;
        let mut total = 0;
        let write = |error: std::io::Error| RepoError::local("write", std::path::Path::new("the output"), &error);
        while let Some(data) = reader.next_blob().await? {
            out.write_all(&data).await.map_err(write)?;
            total += data.len() as u64;
        }
        out.flush().await.map_err(write)?;
        Ok(total)
    }

    /// Reads one small file; one larger than `limit` is refused.
    pub async fn read_file(&self, id: &str, path: &str, limit: u64) -> Result<Vec<u8>, RepoError> {
        self.read_file_of(&self.snapshot(id).await?, path, limit).await
    }

    /// The same of a snapshot that is at hand, whether it is listed or in the trash.
    pub async fn read_file_of(&self, snapshot: &SnapshotInfo, path: &str, limit: u64) -> Result<Vec<u8>, RepoError> {
        let reader = self.open_file_of(snapshot, path).await?;
        if reader.size() > limit {
            let what = format!("{path} has {} bytes, more than the {limit} allowed here", reader.size());
            return Err(RepoError::Invalid { what });
        }
        let mut data = Vec::new();
        let mut reader = reader.take(limit.saturating_add(1));
        reader
            .read_to_end(&mut data)
            .await
            .map_err(|error| RepoError::local("read", path.as_ref(), &error))?;
        Ok(data)
    }

    /// Opens one file as a stream that reads ahead and verifies every blob.
    pub async fn open_file(&self, id: &str, path: &str) -> Result<BlobReader, RepoError> {
        self.open_file_of(&self.snapshot(id).await?, path).await
    }

    async fn open_file_of(&self, snapshot: &SnapshotInfo, path: &str) -> Result<BlobReader, RepoError> {
        let index = self.load_index().await?;
        match self.resolve(&index, snapshot, path).await? {
            Found::Node(node) if node.kind == NodeKind::File => {
                Ok(BlobReader::new(self.clone(), index, node.content, node.size))
            }
            _ => Err(RepoError::Invalid {
                what: format!("{path} is not a regular file"),
            }),
        }
    }

    /// Follows a path through the trees of a snapshot.
    pub(crate) async fn resolve(&self, index: &Index, snapshot: &SnapshotInfo, path: &str) -> Result<Found, RepoError> {
        let missing = || RepoError::NoSuchPath {
            snapshot: snapshot.short_id().to_owned(),
            path: path.to_owned(),
        };
        let mut tree = snapshot.snapshot.tree;
        // A list, because the iterator with its closure could not move between threads.
        let parts: Vec<&str> = path
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        for (position, part) in parts.iter().enumerate() {
            let nodes = self.load_tree(index, &tree).await?;
            let matches = |node: &Node| node.name == part.as_bytes() || node.display_name() == *part;
            let node = nodes.into_iter().find(matches).ok_or_else(missing)?;
            match node.subtree {
                Some(subtree) => tree = subtree,
                None if position + 1 == parts.len() => return Ok(Found::Node(Box::new(node))),
                None => return Err(missing()),
            }
        }
        Ok(Found::Tree(tree))
    }
}

/// A path with one leading slash and none at the end.
fn normal(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    format!("/{}", parts.join("/"))
}

/// Keeps the promise that a stream of a file can be handed to any reader.
const _: fn() = || {
    fn reads<T: AsyncRead + Send + Unpin>() {}
    reads::<BlobReader>();
};
