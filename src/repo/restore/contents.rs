//! File contents: fetch ranges of packs, open their blobs, write them to every place that needs them.
//!
//! A few threads each take the next range, so a blob is fetched and opened once and memory is bounded by the threads. The
//! thread that writes the last blob of a file also sets its metadata.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use super::meta;
use super::plan::{Action, Want, Work};
use super::select::Selection;
use super::target::{Dir, DirCache, Target};
use crate::repo::Repository;
use crate::repo::archive::ItemError;
use crate::repo::error::{RepoError, plain};
use crate::repo::files::{decode_blob, pack_key};
use crate::repo::pack::BlobKind;
use crate::repo::progress::Progress;
use crate::repo::stop::Stop;
use crate::store::ErrorKind;

/// The most bytes one request fetches.
const RANGE_BYTES: u64 = 8 << 20;
/// Unneeded bytes that are rather fetched than skipped.
const GAP_BYTES: u64 = 64 << 10;
/// How many files may stay open between two of their blobs.
const OPEN_FILES: usize = 256;
/// Zeros of this length are left as a hole.
const HOLE: usize = 64 << 10;

/// Everything the threads share.
pub(super) struct Contents<'a> {
    pub(super) repo: &'a Repository,
    pub(super) selection: &'a Selection,
    pub(super) work: &'a Work,
    pub(super) target: &'a Target,
    pub(super) progress: &'a Progress,
    pub(super) stop: &'a Stop,
    files: Vec<FileState>,
    open: AtomicUsize,
    next: AtomicUsize,
    runs: Vec<Range<usize>>,
    runtime: Handle,
    pub(super) bytes: AtomicU64,
    pub(super) bytes_fetched: AtomicU64,
    pub(super) errors: Mutex<Vec<ItemError>>,
}

#[derive(Debug)]
struct FileState {
    pending: AtomicU32,
    state: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    made: bool,
    failed: bool,
    handle: Option<Arc<File>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Joins neighbouring blobs of a pack into ranges.
fn runs(wants: &[Want]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (at, want) in wants.iter().enumerate() {
        if let Some(run) = runs.last_mut() {
            let (first, last) = (&wants[run.start].at, &wants[run.end - 1].at);
            let end = |at: &crate::repo::index::Location| u64::from(at.offset) + u64::from(at.length);
            let near = u64::from(want.at.offset) <= end(last) + GAP_BYTES;
            let small = end(&want.at).saturating_sub(u64::from(first.offset)) <= RANGE_BYTES;
            if first.pack_number() == want.at.pack_number() && near && small {
                run.end = at + 1;
                continue;
            }
        }
        runs.push(at..at + 1);
    }
    runs
}

impl<'a> Contents<'a> {
    pub(super) fn new(
        repo: &'a Repository,
        (selection, work): (&'a Selection, &'a Work),
        target: &'a Target,
        progress: &'a Progress,
        stop: &'a Stop,
    ) -> Self {
        let state = |pending: &u32| FileState {
            pending: AtomicU32::new(*pending),
            state: Mutex::default(),
        };
        Self {
            repo,
            selection,
            work,
            target,
            progress,
            stop,
            files: work.pending.iter().map(state).collect(),
            open: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            runs: runs(&work.wants),
            runtime: Handle::current(),
            bytes: AtomicU64::new(0),
            bytes_fetched: AtomicU64::new(0),
            errors: Mutex::default(),
        }
    }

    /// Writes all contents; blocks.
    pub(super) fn run(&self) {
        let parallel = if self.repo.store().capabilities().remote {
            8
        } else {
            crate::repo::archive::session::cores() + 2
        };
        std::thread::scope(|scope| {
            for _ in 0..parallel {
                scope.spawn(|| self.work_off());
            }
        });
    }

    fn work_off(&self) {
        let mut dirs = DirCache::default();
        while !self.stop.is_stopped() {
            let Some(run) = self.runs.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            if let Err(error) = self.range(&self.work.wants[run.clone()], &mut dirs) {
                self.stop.fail(error);
            }
        }
    }

    /// Fetches one range and writes its blobs. An error ends the restore; what concerns single files is listed.
    fn range(&self, wants: &[Want], dirs: &mut DirCache) -> Result<(), RepoError> {
        let (Some(first), Some(last)) = (wants.first(), wants.last()) else {
            return Ok(());
        };
        let key = pack_key(&self.selection.index.pack(&first.at));
        let start = u64::from(first.at.offset);
        let length = u64::from(last.at.offset) + u64::from(last.at.length) - start;
        let fetch = self.repo.retry(Some(&self.progress.retries), || {
            self.repo.store().get_range(&key, start, length)
        });
        let data = match self.runtime.block_on(self.stop.token().run_until_cancelled(fetch)) {
            None => return Ok(()),
            Some(Ok(data)) => data,
            Some(Err(error)) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::ShortRead) => {
                for want in wants {
                    self.lose(want, &error.to_string());
                }
                return Ok(());
            }
            Some(Err(error)) => return Err(error.into()),
        };
        Progress::add(&self.progress.bytes_stored, length);
        self.bytes_fetched.fetch_add(length, Ordering::Relaxed);
        let mut data = Vec::from(data);
        for want in wants {
            if self.stop.is_stopped() {
                return Ok(());
            }
            // Both ends lie within the range by construction of the runs.
            let from = usize::try_from(u64::from(want.at.offset) - start).unwrap_or(usize::MAX);
            let Some(sealed) = data.get_mut(from..from.saturating_add(want.at.length as usize)) else {
                continue;
            };
            match decode_blob(
                self.repo.key(),
                BlobKind::Data,
                sealed,
                want.at.uncompressed(),
                &want.id,
            ) {
                Ok(plain) => self.place(want, &plain, dirs)?,
                Err(error) => self.lose(want, &error.to_string()),
            }
        }
        Ok(())
    }

    /// A blob cannot be had: every file that needs it is incomplete, and is said to be.
    fn lose(&self, want: &Want, why: &str) {
        for (number, _) in &want.places {
            let number = *number as usize;
            self.fail_file(number, &format!("incomplete: {why}"));
            self.files[number].pending.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn fail_file(&self, number: usize, why: &str) {
        let first = !std::mem::replace(&mut lock(&self.files[number].state).failed, true);
        if first {
            self.report(self.target.display(&self.selection.files[number].path), why);
        }
    }

    pub(super) fn report(&self, path: String, message: &str) {
        Progress::add(&self.progress.errors, 1);
        lock(&self.errors).push(ItemError {
            path,
            message: message.to_owned(),
        });
    }

    fn place(&self, want: &Want, plain_bytes: &[u8], dirs: &mut DirCache) -> Result<(), RepoError> {
        for (number, offset) in &want.places {
            let number = *number as usize;
            let written = self.write(number, *offset, plain_bytes, dirs);
            if let Err(error) = written {
                self.fail_write(number, &error)?;
            }
            Progress::add(&self.progress.bytes_done, plain_bytes.len() as u64);
            self.bytes.fetch_add(plain_bytes.len() as u64, Ordering::Relaxed);
            if self.files[number].pending.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.finish(number, dirs)?;
            }
        }
        Ok(())
    }

    /// A full or read-only disk ends the restore; anything else concerns this file only.
    fn fail_write(&self, number: usize, error: &io::Error) -> Result<(), RepoError> {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        if matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem) {
            let path = self.target.display(&self.selection.files[number].path);
            return Err(RepoError::local("write", path.as_ref(), error));
        }
        self.fail_file(number, &plain(error));
        Ok(())
    }

    fn write(&self, number: usize, offset: u64, data: &[u8], dirs: &mut DirCache) -> io::Result<()> {
        let file = self.handle(number, dirs)?;
        let size = self.selection.files[number].node.size;
        if self.work.actions[number] == Action::Patch || size < HOLE as u64 {
            return file.write_all_at(data, offset);
        }
        write_around_holes(&file, offset, data)
    }

    /// The open file; the first caller makes it.
    fn handle(&self, number: usize, dirs: &mut DirCache) -> io::Result<Arc<File>> {
        let item = &self.selection.files[number];
        let mut opened = lock(&self.files[number].state);
        if opened.failed {
            return Err(io::Error::other("it could not be made"));
        }
        if let Some(handle) = &opened.handle {
            return Ok(Arc::clone(handle));
        }
        let dir = dirs.parent(self.target, &item.path)?;
        let file = if opened.made || self.work.actions[number] == Action::Patch {
            dir.open(&item.path, true)?
        } else {
            create(dir, &item.path)?
        };
        if !opened.made && item.node.size >= HOLE as u64 || self.work.actions[number] == Action::Patch {
            file.set_len(item.node.size)?;
        }
        opened.made = true;
        let file = Arc::new(file);
        if self.open.load(Ordering::Relaxed) < OPEN_FILES {
            self.open.fetch_add(1, Ordering::Relaxed);
            opened.handle = Some(Arc::clone(&file));
        }
        Ok(file)
    }

    /// Sets the metadata of a file whose content is complete.
    fn finish(&self, number: usize, dirs: &mut DirCache) -> Result<(), RepoError> {
        let result = self.handle(number, dirs);
        let mut opened = lock(&self.files[number].state);
        if opened.handle.take().is_some() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        let failed = opened.failed;
        drop(opened);
        Progress::add(&self.progress.files_done, 1);
        if failed {
            return Ok(());
        }
        match result {
            Ok(file) => {
                let item = &self.selection.files[number];
                if let Err(why) = meta::apply(&file, &item.node, self.work.actions[number] == Action::Create) {
                    self.report(self.target.display(&item.path), &why);
                }
                Ok(())
            }
            Err(error) => self.fail_write(number, &error),
        }
    }

    /// Makes the files without content, patches those that only change in size, and sets the metadata of those that are
    /// the same.
    pub(super) fn without_content(&self) -> Result<(), RepoError> {
        let mut dirs = DirCache::default();
        for (number, action) in self.work.actions.iter().enumerate() {
            if self.work.pending[number] > 0 {
                continue;
            }
            match action {
                Action::Create | Action::Patch => self.finish(number, &mut dirs)?,
                Action::Same => {
                    let item = &self.selection.files[number];
                    let file = dirs
                        .parent(self.target, &item.path)
                        .and_then(|dir| dir.open(&item.path, false));
                    let set = file
                        .map_err(|error| plain(&error))
                        .and_then(|file| meta::apply(&file, &item.node, false));
                    if let Err(why) = set {
                        self.report(self.target.display(&item.path), &why);
                    }
                    Progress::add(&self.progress.files_done, 1);
                }
                Action::Keep | Action::Broken => {}
            }
        }
        Ok(())
    }

    /// Whether a file was restored whole.
    pub(super) fn is_whole(&self, number: usize) -> bool {
        let state = &self.files[number];
        let written = matches!(self.work.actions[number], Action::Create | Action::Patch | Action::Same);
        written && state.pending.load(Ordering::Acquire) == 0 && !lock(&state.state).failed
    }
}

/// Makes a file, replacing whatever is there but a directory.
fn create(dir: &Dir, path: &std::path::Path) -> io::Result<File> {
    match dir.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            dir.remove(path)?;
            dir.create(path)
        }
        other => other,
    }
}

/// Writes everything but long runs of zeros, into a file that is new and already has its length.
fn write_around_holes(file: &File, offset: u64, data: &[u8]) -> io::Result<()> {
    let mut from = 0;
    let mut at = 0;
    while at < data.len() {
        let end = (at + HOLE).min(data.len());
        if data[at..end].iter().all(|byte| *byte == 0) {
            if from < at {
                file.write_all_at(&data[from..at], offset + from as u64)?;
            }
            from = end;
        }
        at = end;
    }
    if from < data.len() {
        file.write_all_at(&data[from..], offset + from as u64)
    } else {
        Ok(())
    }
}
