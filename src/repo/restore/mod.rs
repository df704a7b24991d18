//! Restore: from a snapshot to a directory, planned first.
//!
//! **Plan.** [`Repository::plan_restore`] walks the same way the restore does and says what would be written, fetched
//! and overwritten; it changes nothing.
//!
//! **Order.** Directories, then file contents pack by pack (each blob is fetched and opened once, and written to every
//! place that needs it), then links and special files, then the metadata of directories from the deepest up. A file gets
//! its metadata when its last blob is written.
//!
//! **Never outside the target.** Every path is opened relative to the target with `openat2(RESOLVE_BENEATH |
//! RESOLVE_NO_SYMLINKS)`: neither a hostile tree nor a link that somebody put into the target leads out of it.
//!
//! **Errors.** What fails for one item is listed and the rest goes on; a full disk or a dead store ends the restore.

mod contents;
mod meta;
mod plan;
mod select;
mod target;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::Repository;
use super::archive::ItemError;
use super::error::{RepoError, plain};
use super::pack::BlobKind;
use super::progress::{Phase, Progress};
use super::stop::{Stop, Stopped};
use super::tree::{Node, NodeKind};
use contents::Contents;
use rustix::fs::FileType;
use select::Selection;
use std::sync::PoisonError;
use target::{DirCache, Target};

/// What to do with files that are already there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overwrite {
    /// Replace those that differ.
    #[default]
    Always,
    /// Replace those that are older than the snapshot's.
    IfNewer,
    /// Keep them.
    Never,
}

/// What to restore and where to.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The snapshot: an id, a prefix, `latest`; `ID:/sub/path` sets `subpath` too.
    pub snapshot: String,
    /// Restore what is below this path of the snapshot, without the path itself.
    pub subpath: Option<String>,
    /// Where to; created when missing.
    pub target: PathBuf,
    /// Restore only what matches one of these, in gitignore syntax.
    pub include: Vec<String>,
    /// Leave out what matches one of these.
    pub exclude: Vec<String>,
    /// Compare files that are there and write only the blobs that differ.
    pub delta: bool,
    /// What to do with files that are there.
    pub overwrite: Overwrite,
    /// Read everything back and compare.
    pub verify: bool,
}

impl RestoreOptions {
    /// Everything of a snapshot to a directory.
    pub fn new(snapshot: impl Into<String>, target: impl Into<PathBuf>) -> Self {
        Self {
            snapshot: snapshot.into(),
            subpath: None,
            target: target.into(),
            include: Vec::new(),
            exclude: Vec::new(),
            delta: false,
            overwrite: Overwrite::Always,
            verify: false,
        }
    }
}

/// What a restore would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorePlan {
    /// The whole id of the snapshot.
    pub snapshot: String,
    /// Where to.
    pub target: PathBuf,
    /// Files to write.
    pub files: u64,
    /// Directories to make.
    pub dirs: u64,
    /// Links and special files to make.
    pub others: u64,
    /// Bytes to write into files.
    pub bytes_to_write: u64,
    /// Bytes to fetch from the store.
    pub bytes_to_fetch: u64,
    /// Packs they lie in.
    pub packs: u64,
    /// Different blobs among them.
    pub blobs: u64,
    /// Files that are there and would be replaced.
    pub overwritten: u64,
    /// The first twenty of them.
    pub overwritten_names: Vec<String>,
    /// Files that are there and are the same already.
    pub unchanged: u64,
    /// Files that are there and would be kept.
    pub kept: u64,
}

/// A finished restore; with errors it is Partial.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreResult {
    /// The whole id of the snapshot.
    pub snapshot: String,
    /// Files written.
    pub files: u64,
    /// Directories made.
    pub dirs: u64,
    /// Links and special files made.
    pub others: u64,
    /// Bytes written into files.
    pub bytes: u64,
    /// Bytes fetched from the store.
    pub bytes_fetched: u64,
    /// Files that were the same already.
    pub unchanged: u64,
    /// Files that were read back and compared.
    pub verified: u64,
    /// How long it took.
    pub duration: Duration,
    /// What could not be restored.
    pub errors: Vec<ItemError>,
}

impl Repository {
    /// Says what a restore would do, without doing it.
    pub async fn plan_restore(&self, options: &RestoreOptions) -> Result<RestorePlan, RepoError> {
        let stop = Stop::new(CancellationToken::new());
        let selection = self.select(options, &stop).await?;
        let options = options.clone();
        let planned = tokio::task::spawn_blocking(move || {
            let target = Target::open(&options.target).ok();
            plan::make(&selection, &options, target.as_ref(), &stop).map(|work| work.plan)
        });
        let planned = planned
            .await
            .map_err(|error| RepoError::internal(format!("the plan ended: {error}")))?;
        planned.map_err(|Stopped| RepoError::Cancelled)
    }

    /// Restores a snapshot, or a part of it, to a directory.
    pub async fn restore(
        &self,
        options: RestoreOptions,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<RestoreResult, RepoError> {
        let began = self.clock().monotonic();
        progress.set_phase(Phase::Preparing);
        let lock = self.lock_for_reading().await?;
        let stop = Stop::new(cancel);
        let result = self.restore_locked(options, Arc::clone(&progress), stop).await;
        if let Some(lock) = lock {
            let _ = lock.release().await;
        }
        progress.set_phase(Phase::Done);
        result.map(|result| RestoreResult {
            duration: self.clock().elapsed(began),
            ..result
        })
    }

    async fn restore_locked(
        &self,
        options: RestoreOptions,
        progress: Arc<Progress>,
        stop: Stop,
    ) -> Result<RestoreResult, RepoError> {
        let selection = self.select(&options, &stop).await?;
        let repo = self.clone();
        let work = move || {
            Run {
                repo,
                selection,
                options,
                progress,
                stop,
            }
            .run()
        };
        let ended = tokio::task::spawn_blocking(work).await;
        ended.map_err(|error| RepoError::internal(format!("the restore ended: {error}")))?
    }
}

/// One restore, as one blocking piece of work.
struct Run {
    repo: Repository,
    selection: Selection,
    options: RestoreOptions,
    progress: Arc<Progress>,
    stop: Stop,
}

impl Run {
    fn run(self) -> Result<RestoreResult, RepoError> {
        let fail = |error: std::io::Error| RepoError::local("write to", &self.options.target, &error);
        std::fs::create_dir_all(&self.options.target).map_err(fail)?;
        let target = Target::open(&self.options.target).map_err(fail)?;
        let Ok(work) = plan::make(&self.selection, &self.options, Some(&target), &self.stop) else {
            self.stop.result()?;
            return Err(RepoError::Cancelled);
        };
        Progress::add(&self.progress.files_total, work.plan.files + work.plan.unchanged);
        Progress::add(&self.progress.bytes_total, work.plan.bytes_to_write);
        self.progress.set_phase(Phase::Copying);
        let contents = Contents::new(
            &self.repo,
            (&self.selection, &work),
            &target,
            &self.progress,
            &self.stop,
        );
        for (number, blob) in &work.broken {
            let why = format!("blob {} is not in the index", blob.short());
            contents.report(target.display(&self.selection.files[*number].path), &why);
        }
        self.make_dirs(&contents)?;
        contents.without_content()?;
        contents.run();
        self.stop.result()?;
        self.progress.set_phase(Phase::Finishing);
        self.make_others(&contents);
        self.make_links(&contents);
        self.finish_dirs(&contents);
        let verified = if self.options.verify { self.verify(&contents) } else { 0 };
        self.stop.result()?;
        let whole = (0..self.selection.files.len())
            .filter(|number| contents.is_whole(*number))
            .count() as u64;
        let errors = std::mem::take(&mut *contents.errors.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(RestoreResult {
            snapshot: work.plan.snapshot.clone(),
            files: whole - work.plan.unchanged.min(whole),
            dirs: work.plan.dirs,
            others: work.plan.others,
            bytes: contents.bytes.load(Ordering::Relaxed),
            bytes_fetched: contents.bytes_fetched.load(Ordering::Relaxed),
            unchanged: work.plan.unchanged,
            verified,
            duration: Duration::ZERO,
            errors,
        })
    }

    fn make_dirs(&self, contents: &Contents<'_>) -> Result<(), RepoError> {
        let mut dirs = DirCache::default();
        let replace = self.options.overwrite != Overwrite::Never;
        for item in &self.selection.dirs {
            self.stop.result()?;
            let made = dirs
                .parent(contents.target, &item.path)
                .and_then(|dir| dir.make_dir(&item.path, replace));
            if let Err(error) = made {
                if error.kind() == std::io::ErrorKind::StorageFull {
                    return Err(RepoError::local("make", &self.options.target.join(&item.path), &error));
                }
                contents.report(contents.target.display(&item.path), &plain(&error));
            }
        }
        Ok(())
    }

    fn make_others(&self, contents: &Contents<'_>) {
        let mut dirs = DirCache::default();
        for item in &self.selection.others {
            let made = self.make_other(&mut dirs, contents.target, &item.path, &item.node);
            if let Err(why) = made {
                contents.report(contents.target.display(&item.path), &why);
            }
        }
    }

    /// Makes a link or a special file. Sockets are made anew by whoever listens on them, so they are left out.
    fn make_other(&self, dirs: &mut DirCache, target: &Target, path: &Path, node: &Node) -> Result<(), String> {
        let said = |error: std::io::Error| plain(&error);
        let dir = dirs.parent(target, path).map_err(said)?;
        if matches!(node.kind, NodeKind::Socket | NodeKind::Irregular) || !self.clear(dir, path, node).map_err(said)? {
            return Ok(());
        }
        let made = match node.kind {
            NodeKind::Symlink => dir.symlink(path, &node.link_target),
            NodeKind::Fifo => dir.make_node(path, FileType::Fifo, 0),
            NodeKind::Dev => dir.make_node(path, FileType::BlockDevice, node.device),
            NodeKind::Chardev => dir.make_node(path, FileType::CharacterDevice, node.device),
            _ => return Ok(()),
        };
        made.map_err(said)?;
        meta::apply_unopened(dir, path, node)
    }

    /// Makes room for an entry; `false` when what is there stays.
    fn clear(&self, dir: &target::Dir, path: &Path, node: &Node) -> std::io::Result<bool> {
        let Some(there) = dir.stat(path)? else { return Ok(true) };
        let keep = match self.options.overwrite {
            Overwrite::Never => true,
            Overwrite::IfNewer => there.st_mtime >= node.mtime.secs,
            Overwrite::Always => false,
        };
        if !keep {
            dir.remove(path)?;
        }
        Ok(!keep)
    }

    fn make_links(&self, contents: &Contents<'_>) {
        let mut dirs = DirCache::default();
        for link in &self.selection.links {
            let original = &self.selection.files[link.first];
            let mut linked = || -> std::io::Result<()> {
                let from = contents.target.dir(original.path.parent().unwrap_or(Path::new("")))?;
                let dir = dirs.parent(contents.target, &link.path)?;
                if self.clear(dir, &link.path, &original.node)? {
                    dir.link(&link.path, &from, &original.path)?;
                }
                Ok(())
            };
            if let Err(error) = linked() {
                contents.report(contents.target.display(&link.path), &plain(&error));
            }
        }
    }

    /// Directories get their metadata last and from the deepest up, because making entries changes their times.
    fn finish_dirs(&self, contents: &Contents<'_>) {
        let mut dirs = DirCache::default();
        for item in self.selection.dirs.iter().rev() {
            let open = dirs
                .parent(contents.target, &item.path)
                .and_then(|dir| dir.open_dir(&item.path));
            let set = open
                .map_err(|error| plain(&error))
                .and_then(|dir| meta::apply(&dir, &item.node, false));
            if let Err(why) = set {
                contents.report(contents.target.display(&item.path), &why);
            }
        }
    }

    /// Reads every restored file back and compares it with the names of its blobs.
    fn verify(&self, contents: &Contents<'_>) -> u64 {
        self.progress.set_phase(Phase::Verifying);
        let mut dirs = DirCache::default();
        let mut buffer = Vec::new();
        let mut verified = 0;
        for (number, item) in self.selection.files.iter().enumerate() {
            if self.stop.is_stopped() {
                break;
            }
            if !contents.is_whole(number) {
                continue;
            }
            let opened = dirs
                .parent(contents.target, &item.path)
                .and_then(|dir| dir.open(&item.path, false));
            let same = opened.is_ok_and(|file| {
                let mut offset = 0;
                let blobs_match = item.node.content.iter().all(|id| {
                    let at = self.selection.index.find(BlobKind::Data, id);
                    let length = at.map_or(0, |at| at.plain_length());
                    let here = offset;
                    offset += length;
                    plan::holds(&file, here, length, id, &mut buffer)
                });
                blobs_match && file.metadata().is_ok_and(|meta| meta.len() == offset)
            });
            if same {
                verified += 1;
            } else {
                contents.report(
                    contents.target.display(&item.path),
                    "read back, it is not what was backed up",
                );
            }
        }
        verified
    }
}
