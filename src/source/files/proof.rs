//! The proof of a snapshot of files: its tree walked, restored into a scratch directory, every entry compared.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::free_space;
use crate::domain::recovery::Finding;
use crate::domain::units::Bytes;
use crate::repo::pack::BlobKind;
use crate::repo::tree::gomode;
use crate::repo::{Id, NodeKind, Phase, RestoreOptions};
use crate::source::scratch_dir::ScratchDir;
use crate::source::verify::VerifyJob;
use crate::source::{MANIFEST_NAME, SourceError, Subject, Work};

/// How many differences are told one by one.
const WRONG_KEPT: usize = 10;

/// A snapshot of files that is being proved; the scratch directory it may hold is removed with it.
pub(in crate::source) struct Proof {
    snapshot: String,
    size: Bytes,
    files: u64,
    protects_manifest: bool,
    tree: Vec<Expected>,
    scratch: Option<ScratchDir>,
}

/// One entry of the snapshot, as the restored tree must have it.
struct Expected {
    /// The directory it is in, as an index into the tree; none at the top.
    parent: Option<u32>,
    name: Box<[u8]>,
    kind: NodeKind,
    size: u64,
    mode: u32,
    modified: (i64, u32),
    link_target: Box<[u8]>,
    content: Box<[Id]>,
}

impl Proof {
    /// Nothing is proved yet.
    pub(in crate::source) fn new(subject: &Subject, job: &VerifyJob) -> Self {
        let _ = job;
        Self {
            snapshot: subject.snapshot.id.0.clone(),
            size: subject.snapshot.size,
            files: subject.snapshot.files,
            protects_manifest: subject
                .snapshot
                .paths
                .iter()
                .any(|path| path == "/" || path.trim_start_matches('/') == MANIFEST_NAME),
            tree: Vec::new(),
            scratch: None,
        }
    }

    /// How much it restores.
    pub(in crate::source) fn size(&self) -> (Bytes, u64) {
        (self.size, self.files)
    }

    /// Walks the whole tree.
    pub(in crate::source) async fn decode(&mut self, work: &Work<'_>) -> Result<Vec<Finding>, SourceError> {
        work.progress.set_current("walking the tree");
        let mut tree: Vec<Expected> = Vec::new();
        // The walk is depth first, so the directories that are open form a stack; display paths may repeat where names
        // are not UTF-8, places on the stack do not.
        let mut open: Vec<(String, u32)> = Vec::new();
        let protects_it = self.protects_manifest;
        let visiting = work.repo.visit(&self.snapshot, "/", |entry, node| {
            let parent_path = entry.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            while open.last().is_some_and(|(path, _)| path != parent_path) {
                open.pop();
            }
            let modified = node.mtime.to_utc();
            let parent = open.last().map(|(_, index)| *index);
            // What a snapshot says of itself is not part of what it protects, and restores leave it out.
            if parent.is_none() && node.kind == NodeKind::File && node.name == MANIFEST_NAME.as_bytes() && !protects_it
            {
                return;
            }
            if node.kind == NodeKind::Dir {
                open.push((entry.path.clone(), u32::try_from(tree.len()).unwrap_or(u32::MAX)));
            }
            tree.push(Expected {
                parent,
                name: node.name.as_slice().into(),
                kind: node.kind,
                size: node.size,
                mode: gomode::to_unix_permissions(node.mode),
                modified: (modified.timestamp(), modified.timestamp_subsec_nanos()),
                link_target: node.link_target.as_slice().into(),
                content: node.content.as_slice().into(),
            });
        });
        work.cancellable(async { visiting.await.map_err(SourceError::from) })
            .await?;
        let count = |kind| tree.iter().filter(|entry| entry.kind == kind).count();
        let bytes: u64 = tree.iter().map(|entry| entry.size).sum();
        let detail = format!(
            "{} files, {} directories, {} links, {}",
            count(NodeKind::File),
            count(NodeKind::Dir),
            count(NodeKind::Symlink),
            Bytes(bytes)
        );
        self.tree = tree;
        Ok(vec![Finding {
            what: "tree walked".to_owned(),
            ok: !self.tree.is_empty(),
            detail,
        }])
    }

    /// Restores into a new scratch directory.
    pub(in crate::source) async fn restore(
        &mut self,
        subject: &Subject,
        job: &VerifyJob,
        work: &Work<'_>,
    ) -> Result<Vec<Finding>, SourceError> {
        if let Some(free) = free_space(&job.scratch_dir).filter(|free| *free < self.size) {
            return Err(SourceError::NoRoom {
                place: job.scratch_dir.clone(),
                free,
                needed: self.size,
            });
        }
        let scratch = ScratchDir::create(&job.scratch_dir, &job.id, &subject.host, work.clock)?;
        let options = RestoreOptions::new(self.snapshot.clone(), scratch.data());
        self.scratch = Some(scratch);
        let result = work
            .repo
            .restore(options, work.progress.clone(), work.cancel.clone())
            .await?;
        let mut wrong: Vec<String> = result
            .errors
            .iter()
            .take(WRONG_KEPT)
            .map(|error| format!("{}: {}", error.path, error.message))
            .collect();
        if result.errors.len() > WRONG_KEPT {
            wrong.push(format!("and {} more", result.errors.len() - WRONG_KEPT));
        }
        Ok(vec![Finding {
            what: "restored".to_owned(),
            ok: wrong.is_empty(),
            detail: if wrong.is_empty() {
                format!(
                    "{} files, {} into a scratch directory",
                    result.files,
                    Bytes(result.bytes)
                )
            } else {
                wrong.join("; ")
            },
        }])
    }

    /// Reads the restored tree and compares it with the snapshot: every file's content by hash, size, mode, time, links.
    pub(in crate::source) async fn probe(&mut self, work: &Work<'_>) -> Result<Vec<Finding>, SourceError> {
        let Some(scratch) = &self.scratch else {
            return Ok(Vec::new());
        };
        work.progress.set_phase(Phase::Verifying);
        work.progress.set_current("comparing files");
        let index = work.repo.load_index().await?;
        let lengths = |entry: &Expected| -> Vec<u64> {
            let length = |id| index.find(BlobKind::Data, id).map_or(0, |at| at.plain_length());
            entry.content.iter().map(length).collect()
        };
        let lengths: HashMap<usize, Vec<u64>> = self
            .tree
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.content.len() > 1)
            .map(|(number, entry)| (number, lengths(entry)))
            .collect();
        let (tree, root, cancel) = (std::mem::take(&mut self.tree), scratch.data(), work.cancel.clone());
        let comparing = tokio::task::spawn_blocking(move || compare(&tree, &root, &lengths, &cancel));
        let (files, bytes, wrong) = comparing.await.map_err(|error| SourceError::Invalid {
            what: format!("comparing the restored files ended early: {error}"),
            hint: None,
        })??;
        Ok(vec![Finding {
            what: "content, size, mode, time and links of every file".to_owned(),
            ok: wrong.is_empty(),
            detail: if wrong.is_empty() {
                format!("{files} entries, {} as in the snapshot", Bytes(bytes))
            } else {
                wrong.join("; ")
            },
        }])
    }

    /// Removes the scratch directory.
    pub(in crate::source) fn clean_up(&mut self) -> Result<(), SourceError> {
        self.scratch.take().map_or(Ok(()), ScratchDir::remove)
    }
}

type Comparison = (u64, u64, Vec<String>);

fn compare(
    tree: &[Expected],
    root: &Path,
    lengths: &HashMap<usize, Vec<u64>>,
    cancel: &tokio_util::sync::CancellationToken,
) -> Result<Comparison, SourceError> {
    let mut paths: Vec<PathBuf> = Vec::with_capacity(tree.len());
    let (mut bytes, mut wrong) = (0, Vec::new());
    for (number, entry) in tree.iter().enumerate() {
        if cancel.is_cancelled() {
            return Err(SourceError::Cancelled);
        }
        let parent = entry
            .parent
            .and_then(|parent| paths.get(parent as usize))
            .map_or(root, PathBuf::as_path);
        let path = parent.join(OsStr::from_bytes(&entry.name));
        let single = [entry.size];
        let lengths = lengths.get(&number).map_or(single.as_slice(), Vec::as_slice);
        match difference(entry, &path, lengths) {
            Ok(None) => bytes += entry.size,
            Ok(Some(what)) => wrong.push(format!("{}: {what}", path.display())),
            Err(error) => wrong.push(format!("{}: {error}", path.display())),
        }
        // Only directories are parents, but an index must find its own place.
        paths.push(if entry.kind == NodeKind::Dir {
            path
        } else {
            PathBuf::new()
        });
    }
    let count = wrong.len();
    wrong.truncate(WRONG_KEPT);
    if count > WRONG_KEPT {
        wrong.push(format!("and {} more", count - WRONG_KEPT));
    }
    Ok((tree.len() as u64, bytes, wrong))
}

fn difference(entry: &Expected, path: &Path, lengths: &[u64]) -> std::io::Result<Option<String>> {
    let found = fs::symlink_metadata(path)?;
    if entry.kind == NodeKind::Symlink {
        let same = fs::read_link(path)?.as_os_str().as_bytes() == &*entry.link_target;
        return Ok((!same).then(|| "points elsewhere".to_owned()));
    }
    if entry.kind == NodeKind::Dir && !found.is_dir() || entry.kind == NodeKind::File && !found.is_file() {
        return Ok(Some("is of another kind".to_owned()));
    }
    // Only root may give set-id bits to files of others.
    let bits = if nix::unistd::geteuid().is_root() {
        0o7777
    } else {
        0o777
    };
    if found.mode() & bits != entry.mode & bits {
        return Ok(Some(format!(
            "mode is {:o}, expected {:o}",
            found.mode() & bits,
            entry.mode & bits
        )));
    }
    let modified = (found.mtime(), u32::try_from(found.mtime_nsec()).unwrap_or(0));
    if modified != entry.modified {
        return Ok(Some("time of last change differs".to_owned()));
    }
    if entry.kind != NodeKind::File {
        return Ok(None);
    }
    if found.len() != entry.size {
        return Ok(Some(format!("has {} bytes, expected {}", found.len(), entry.size)));
    }
    let mut file = fs::File::open(path)?;
    let mut buffer = Vec::new();
    for (id, length) in entry.content.iter().zip(lengths) {
        buffer.resize(usize::try_from(*length).unwrap_or(0), 0);
        file.read_exact(&mut buffer)?;
        if Id::of(&buffer) != *id {
            return Ok(Some("content differs".to_owned()));
        }
    }
    Ok(None)
}
