//! Export: a snapshot, or a part of it, as an archive that needs no Lifeboat to be opened.
//!
//! ```text
//! walk + fetch ahead (async) ─▶ bounded channel ─▶ archive + compression (one blocking thread) ─▶ writer
//! ```
//!
//! **Forms.** `tar.zst` keeps everything a snapshot has: owners, times to the nanosecond, links (also hard ones), devices,
//! extended attributes, names of any length and any bytes (PAX records). `zip` keeps names, times, permissions and symbolic
//! links; names that are not UTF-8 are refused rather than changed. Sockets are in neither, and are reported.
//!
//! **Memory.** A few blobs; the paths of files that have several names.
//!
//! **Hostile snapshots.** A name that is empty, `.` or `..`, or holds a slash or a zero byte is refused: whoever unpacks
//! the archive elsewhere must not pay for it.
//!
//! **Crash window.** [`Repository::export_to`] writes under another name beside the target, syncs, and renames without ever
//! replacing: the target is whole or absent. A crash leaves `NAME.part-…`, which nothing takes for an archive.

mod archive;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::archive::ItemError;
use super::browse::Found;
use super::error::RepoError;
use super::index::Index;
use super::progress::{Phase, Progress};
use super::reader::BlobReader;
use super::stop::Stop;
use super::tree::{Node, NodeKind};
use super::{Repository, SnapshotInfo};

/// How many pieces may wait for the archive.
const WAITING: usize = 8;

/// The form of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// A tar archive with PAX records, zstd-compressed.
    TarZst,
    /// A zip archive.
    Zip,
}

/// What an export wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportReport {
    /// Entries in the archive.
    pub entries: u64,
    /// Bytes of the files in it.
    pub bytes: u64,
    /// What the form cannot hold.
    pub skipped: Vec<ItemError>,
}

/// What goes to the archive.
enum Piece {
    /// An entry with its path in the archive; the content of a file follows.
    Entry(Vec<u8>, Box<Node>),
    /// Another name of a file that was written before: path, first path.
    HardLink(Vec<u8>, Vec<u8>, Box<Node>),
    /// Content of the last file.
    Data(Vec<u8>),
    /// Everything has been sent; without it the archive is not finished.
    End,
}

impl Repository {
    /// Writes a snapshot, or what is below `subpath`, as an archive; the writer is flushed, not synced.
    pub async fn export<W>(
        &self,
        snapshot: &str,
        subpath: Option<&str>,
        format: ExportFormat,
        writer: W,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<(ExportReport, W), RepoError>
    where
        W: Write + Send + 'static,
    {
        progress.set_phase(Phase::Preparing);
        let lock = self.lock_for_reading().await?;
        let stop = Stop::new(cancel);
        let info = self.snapshot(snapshot).await?;
        let (pieces, inbox) = mpsc::channel(WAITING);
        let writing = tokio::task::spawn_blocking(move || archive::write(inbox, writer, format));
        let mut walk = Walk {
            repo: self,
            index: self.load_index().await?,
            pieces,
            progress: &progress,
            stop: &stop,
            format,
            linked: HashMap::new(),
            report: ExportReport::default(),
        };
        progress.set_phase(Phase::Copying);
        let walked = walk.run(&info, subpath.unwrap_or("/")).await;
        let report = std::mem::take(&mut walk.report);
        drop(walk);
        let written = writing.await;
        if let Some(lock) = lock {
            let _ = lock.release().await;
        }
        self.0.trees.clear();
        progress.set_phase(Phase::Done);
        let written = written.map_err(|error| RepoError::internal(format!("the archive ended: {error}")))?;
        match (walked, written) {
            // A walk that could not hand over its piece failed because the archive did.
            (Err(Broken::Elsewhere) | Ok(()), Err(error)) => {
                Err(RepoError::local("write", Path::new("the archive"), &error))
            }
            (Err(Broken::Here(error)), _) => Err(error),
            (Err(Broken::Elsewhere), Ok(_)) => Err(RepoError::internal("the archive ended early")),
            (Ok(()), Ok(writer)) => Ok((report, writer)),
        }
    }

    /// Writes an archive to a new file; one that exists is never replaced.
    pub async fn export_to(
        &self,
        snapshot: &str,
        subpath: Option<&str>,
        format: ExportFormat,
        target: &Path,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<ExportReport, RepoError> {
        let part = Part::create(target)?;
        let file = part.file()?;
        let (report, file) = self.export(snapshot, subpath, format, file, progress, cancel).await?;
        part.publish(file).await?;
        Ok(report)
    }
}

/// A file that is being written beside its target; removed when it does not become the target.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    target: PathBuf,
}

impl Part {
    /// Makes the file beside the target; refuses a target that exists.
    pub fn create(target: &Path) -> Result<Self, RepoError> {
        if fs::symlink_metadata(target).is_ok() {
            let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(RepoError::local("write", target, &exists));
        }
        let random = getrandom::u32().map_err(|error| RepoError::internal(format!("no randomness: {error}")))?;
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".part-{random:08x}"));
        let this = Self {
            path: target.with_file_name(name),
            target: target.to_path_buf(),
        };
        let mut options = OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(&this.path);
        made.map_err(|error| RepoError::local("write", &this.path, &error))?;
        Ok(this)
    }

    /// Opens it for writing.
    pub fn file(&self) -> Result<File, RepoError> {
        let opened = OpenOptions::new().write(true).open(&self.path);
        opened.map_err(|error| RepoError::local("write", &self.path, &error))
    }

    /// Syncs it and gives it the name of the target, which must still be free.
    pub async fn publish(self, file: File) -> Result<(), RepoError> {
        let work = tokio::task::spawn_blocking(move || {
            let failed = |error: std::io::Error| RepoError::local("write", &self.target, &error);
            file.sync_all().map_err(failed)?;
            drop(file);
            crate::store::local::rename_new(&self.path, &self.target).map_err(failed)?;
            let parent = self.target.parent().filter(|parent| !parent.as_os_str().is_empty());
            crate::store::local::sync_dir(parent.unwrap_or(Path::new("."))).map_err(failed)
        });
        work.await
            .map_err(|error| RepoError::internal(format!("the rename ended: {error}")))?
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After the rename there is nothing of this name.
        let _ = fs::remove_file(&self.path);
    }
}

/// Why a walk ended.
enum Broken {
    /// It failed itself.
    Here(RepoError),
    /// Nobody takes its pieces any more.
    Elsewhere,
}

impl From<RepoError> for Broken {
    fn from(error: RepoError) -> Self {
        Self::Here(error)
    }
}

struct Walk<'a> {
    repo: &'a Repository,
    index: Arc<Index>,
    pieces: mpsc::Sender<Piece>,
    progress: &'a Arc<Progress>,
    stop: &'a Stop,
    format: ExportFormat,
    /// The first paths of files that have several names.
    linked: HashMap<(u64, u64), Vec<u8>>,
    report: ExportReport,
}

/// A path in the archive.
fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        return name.to_vec();
    }
    [parent, b"/", name].concat()
}

/// Refuses names that would lead whoever unpacks the archive out of it.
fn honest(node: &Node) -> Result<(), RepoError> {
    let name = node.name.as_slice();
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
        let what = format!("the snapshot has an entry named {:?}", node.display_name());
        return Err(RepoError::Refused { what });
    }
    Ok(())
}

impl Walk<'_> {
    async fn run(&mut self, info: &SnapshotInfo, subpath: &str) -> Result<(), Broken> {
        let mut todo: Vec<(Vec<u8>, Node)> = match self.repo.resolve(&self.index, info, subpath).await? {
            Found::Node(node) => vec![(Vec::new(), *node)],
            Found::Tree(tree) => self.children(&[], tree).await?,
        };
        while let Some((parent, node)) = todo.pop() {
            self.stop.result()?;
            honest(&node)?;
            let path = join(&parent, &node.name);
            let subtree = node.subtree;
            self.entry(path.clone(), node).await?;
            if let Some(tree) = subtree {
                todo.extend(self.children(&path, tree).await?);
            }
        }
        self.send(Piece::End).await
    }

    /// The entries of a directory, last first.
    async fn children(&self, parent: &[u8], tree: super::Id) -> Result<Vec<(Vec<u8>, Node)>, RepoError> {
        let nodes = self.repo.load_tree(&self.index, &tree).await?;
        Ok(nodes.into_iter().rev().map(|node| (parent.to_vec(), node)).collect())
    }

    async fn send(&self, piece: Piece) -> Result<(), Broken> {
        self.pieces.send(piece).await.map_err(|_| Broken::Elsewhere)
    }

    async fn entry(&mut self, path: Vec<u8>, node: Node) -> Result<(), Broken> {
        let shown = String::from_utf8_lossy(&path).into_owned();
        self.progress.set_current(&shown);
        if let Some(message) = archive::cannot_hold(self.format, &path, &node)? {
            self.report.skipped.push(ItemError { path: shown, message });
            return Ok(());
        }
        self.report.entries += 1;
        Progress::add(&self.progress.files_done, 1);
        if node.kind != NodeKind::File {
            return self.send(Piece::Entry(path, Box::new(node))).await;
        }
        if node.links > 1 && self.format == ExportFormat::TarZst {
            let inode = (node.device_id, node.inode);
            if let Some(first) = self.linked.get(&inode) {
                return self.send(Piece::HardLink(path, first.clone(), Box::new(node))).await;
            }
            self.linked.insert(inode, path.clone());
        }
        let (content, size) = (node.content.clone(), node.size);
        self.send(Piece::Entry(path, Box::new(node))).await?;
        let mut reader = BlobReader::new(self.repo.clone(), Arc::clone(&self.index), content, size);
        let mut sent = 0;
        while let Some(data) = reader.next_blob().await? {
            self.stop.result()?;
            sent += data.len() as u64;
            Progress::add(&self.progress.bytes_done, data.len() as u64);
            self.send(Piece::Data(data)).await?;
        }
        self.report.bytes += sent;
        if sent != size {
            let why = format!("its content has {sent} bytes, it should have {size}");
            return Err(RepoError::damaged(shown, why).into());
        }
        Ok(())
    }
}
