//! One restore as one blocking piece of work: plan a window, make its directories, contents, links and metadata.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::FileType;
use tokio::runtime::Handle;

use super::compare::Comparison;
use super::contents::Contents;
use super::plan::{Planner, Reading, Work};
use super::select::{Selection, Walk, Window};
use super::target::{Dir, DirCache, Target};
use super::thaw::Thaw;
use super::{Overwrite, RestoreOptions, RestorePlan, RestoreResult, meta, survey};
use crate::repo::Repository;
use crate::repo::archive::ItemError;
use crate::repo::error::{RepoError, plain};
use crate::repo::gotime::Time;
use crate::repo::progress::{Phase, Progress};
use crate::repo::stop::Stop;
use crate::repo::tree::{Node, NodeKind};

/// A restore under way.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) repo: Repository,
    pub(super) selection: Selection,
    pub(super) options: RestoreOptions,
    pub(super) target: Target,
    pub(super) progress: Arc<Progress>,
    pub(super) stop: Stop,
    pub(super) runtime: Handle,
    thaw: Thaw,
    pub(super) done: Done,
}

/// What has been done so far.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) bytes: AtomicU64,
    pub(super) bytes_fetched: AtomicU64,
    whole: AtomicU64,
    verified: AtomicU64,
    missing: AtomicU64,
    errors: Mutex<Vec<ItemError>>,
}

impl Run {
    /// Makes the target if it is missing.
    pub(super) fn begin(
        repo: Repository,
        selection: Selection,
        options: RestoreOptions,
        (progress, stop): (Arc<Progress>, Stop),
        (thaw, runtime): (Thaw, Handle),
    ) -> Result<Self, RepoError> {
        stop.result()?;
        let fail = |error: std::io::Error| RepoError::local("write to", &options.target, &error);
        std::fs::create_dir_all(&options.target).map_err(fail)?;
        let target = Target::open(&options.target).map_err(fail)?;
        Ok(Self {
            repo,
            selection,
            options,
            target,
            progress,
            stop,
            runtime,
            thaw,
            done: Done::default(),
        })
    }

    /// Restores everything; blocks.
    pub(super) fn run(self) -> Result<RestoreResult, RepoError> {
        let summary = self.selection.snapshot.snapshot.summary.as_ref();
        let known = summary.filter(|_| self.selection.whole);
        if let Some(summary) = known {
            Progress::add(&self.progress.files_total, summary.total_files_processed);
            Progress::add(&self.progress.bytes_total, summary.total_bytes_processed);
        }
        // No room: besides the window that is written there is one that waits, and no more.
        let (sender, windows) = sync_channel(0);
        let planned = std::thread::scope(|scope| {
            let planning = scope.spawn(|| {
                let sender = sender;
                self.plan(known.is_none(), &sender)
            });
            if let Err(error) = self.work_off(windows) {
                self.stop.fail(error);
            }
            planning.join()
        });
        let plan = planned.map_err(|_| RepoError::internal("the planner ended"))?;
        self.stop.result()?;
        self.repo.0.trees.clear();
        let plan = plan?;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let whole = read(&self.done.whole);
        Ok(RestoreResult {
            snapshot: plan.snapshot,
            files: whole - plan.unchanged.min(whole),
            dirs: plan.dirs,
            others: plan.others,
            bytes: read(&self.done.bytes),
            bytes_fetched: read(&self.done.bytes_fetched),
            unchanged: plan.unchanged,
            verified: read(&self.done.verified),
            duration: Duration::ZERO,
            missing: read(&self.done.missing),
            errors: std::mem::take(&mut *self.done.errors.lock().unwrap_or_else(PoisonError::into_inner)),
        })
    }

    pub(super) fn remote(&self) -> bool {
        self.repo.store().capabilities().remote
    }

    pub(super) fn report(&self, path: &Path, message: &str) {
        Progress::add(&self.progress.errors, 1);
        let mut errors = self.done.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.push(ItemError {
            path: self.target.display(path),
            message: message.to_owned(),
        });
    }

    /// The same of what the repository cannot give.
    pub(super) fn report_missing(&self, path: &Path, message: &str) {
        self.done.missing.fetch_add(1, Ordering::Relaxed);
        self.report(path, message);
    }

    /// Waits until every pack of this restore can be read.
    pub(super) fn thaw_data(&self) -> Result<(), RepoError> {
        self.thaw.data(&self.runtime, &self.repo, &self.stop, || {
            let places = (Some(&self.target), Some(&self.thaw));
            let surveyed = survey(
                &self.repo,
                &self.selection,
                &self.options,
                places,
                Reading::Contents,
                &self.stop,
                &self.runtime,
            );
            surveyed.map(|(_, packs)| packs)
        })
    }

    /// Walks and compares, a window ahead of the writing.
    fn plan(&self, count: bool, windows: &SyncSender<Work>) -> Result<RestorePlan, RepoError> {
        let mut walk = Walk::new(
            &self.repo,
            &self.selection,
            Some(&self.thaw),
            &self.stop,
            self.runtime.clone(),
        );
        let (target, acting) = (Some(&self.target), Some(self.progress.as_ref()));
        let looking = (target, Reading::Contents);
        let mut planner = Planner::new(&self.selection, &self.options, looking, &self.stop, acting);
        loop {
            let window = match walk.next_window() {
                Ok(Some(window)) => window,
                Ok(None) => return Ok(planner.totals),
                Err(error) => {
                    self.stop.fail(error.clone());
                    return Err(error);
                }
            };
            if count {
                let sizes = window.files.iter().map(|item| item.node.size);
                let links = window.links.iter().map(|link| link.original.size);
                Progress::add(
                    &self.progress.files_total,
                    (window.files.len() + window.links.len()) as u64,
                );
                Progress::add(&self.progress.bytes_total, sizes.chain(links).sum());
            }
            let sent = planner.window(window).is_ok_and(|work| windows.send(work).is_ok());
            if !sent {
                // Whoever stopped or no longer listens has said why.
                return Err(RepoError::Cancelled);
            }
        }
    }

    fn work_off(&self, windows: Receiver<Work>) -> Result<(), RepoError> {
        for work in windows {
            self.stop.result()?;
            self.progress.set_phase(Phase::Copying);
            let contents = Contents::new(self, &work);
            for (number, blob) in &work.broken {
                let why = format!("blob {} is not in the index", blob.short());
                self.report_missing(&work.window.files[*number].path, &why);
            }
            for (path, why) in &work.window.lost {
                self.report_missing(path, why);
            }
            for (number, why) in &work.refused {
                self.report(&work.window.files[*number].path, why);
            }
            self.make_dirs(&work.window)?;
            contents.without_content()?;
            contents.write_all();
            self.stop.result()?;
            self.progress.set_phase(Phase::Finishing);
            self.make_others(&work.window);
            self.make_links(&work.window);
            let whole: Vec<bool> = (0..work.window.files.len()).map(|at| contents.is_whole(at)).collect();
            let count = whole.iter().filter(|whole| **whole).count() as u64;
            self.done.whole.fetch_add(count, Ordering::Relaxed);
            if self.options.verify {
                self.verify(&work.window, &whole);
            }
            self.finish_dirs(&work.window);
            self.stop.result()?;
        }
        Ok(())
    }

    fn make_dirs(&self, window: &Window) -> Result<(), RepoError> {
        let mut dirs = DirCache::default();
        let replace = self.options.overwrite != Overwrite::Never;
        for path in &window.make {
            self.stop.result()?;
            let made = dirs
                .parent(&self.target, path)
                .and_then(|dir| dir.make_dir(path, replace));
            if let Err(error) = made {
                if error.kind() == std::io::ErrorKind::StorageFull {
                    return Err(RepoError::local("make", &self.options.target.join(path), &error));
                }
                self.report(path, &plain(&error));
            }
        }
        Ok(())
    }

    fn make_others(&self, window: &Window) {
        let mut dirs = DirCache::default();
        for item in &window.others {
            if let Err(why) = self.make_other(&mut dirs, &item.path, &item.node) {
                self.report(&item.path, &why);
            }
        }
    }

    /// Makes a link or a special file. Sockets are made anew by whoever listens on them, so they are left out.
    fn make_other(&self, dirs: &mut DirCache, path: &Path, node: &Node) -> Result<(), String> {
        let said = |error: std::io::Error| plain(&error);
        let dir = dirs.parent(&self.target, path).map_err(said)?;
        if matches!(node.kind, NodeKind::Socket | NodeKind::Irregular)
            || !self.clear(dir, path, node.mtime).map_err(said)?
        {
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
    fn clear(&self, dir: &Dir, path: &Path, mtime: Time) -> std::io::Result<bool> {
        let Some(there) = dir.stat(path)? else { return Ok(true) };
        let keep = match self.options.overwrite {
            Overwrite::Never => true,
            Overwrite::IfNewer => there.st_mtime >= mtime.secs,
            Overwrite::Always => false,
        };
        if !keep {
            dir.remove(path)?;
        }
        Ok(!keep)
    }

    fn make_links(&self, window: &Window) {
        let mut dirs = DirCache::default();
        for link in &window.links {
            let original = &link.original;
            let mut linked = || -> std::io::Result<()> {
                let from = self.target.dir(original.path.parent().unwrap_or(Path::new("")))?;
                let dir = dirs.parent(&self.target, &link.path)?;
                if self.clear(dir, &link.path, original.mtime)? {
                    dir.link(&link.path, &from, &original.path)?;
                }
                Ok(())
            };
            if let Err(error) = linked() {
                self.report(&link.path, &plain(&error));
            }
            Progress::add(&self.progress.files_done, 1);
            Progress::add(&self.progress.bytes_done, original.size);
        }
    }

    /// Directories get their metadata last and from the deepest up, because making entries changes their times.
    fn finish_dirs(&self, window: &Window) {
        let mut dirs = DirCache::default();
        for item in &window.finish {
            let open = dirs
                .parent(&self.target, &item.path)
                .and_then(|dir| dir.open_dir(&item.path));
            let set = open
                .map_err(|error| plain(&error))
                .and_then(|dir| meta::put_right(&dir, &item.node));
            if let Err(why) = set {
                self.report(&item.path, &why);
            }
        }
    }

    /// Reads every restored file back, on all cores, and compares it with the names of its blobs.
    fn verify(&self, window: &Window, whole: &[bool]) {
        self.progress.set_phase(Phase::Verifying);
        let comparison = Comparison {
            index: &self.selection.index,
            target: &self.target,
            stop: &self.stop,
        };
        let seen = |number: usize, handle: Option<&std::fs::File>, same: Vec<bool>| {
            let item = &window.files[number];
            let ends = || handle.and_then(|file| file.metadata().ok()).map(|meta| meta.len());
            if same.iter().all(|same| *same) && ends() == Some(item.node.size) {
                self.done.verified.fetch_add(1, Ordering::Relaxed);
            } else {
                self.report(&item.path, "read back, it is not what was backed up");
            }
        };
        comparison.run(&window.files, |number, _| whole[number], seen);
    }
}
