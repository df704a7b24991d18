//! File contents of one window: fetch ranges of packs, open their blobs, write them to every place that needs them.
//!
//! A few threads each take the next range, so a blob is fetched and opened once and memory is bounded by the threads. The
//! thread that writes the last blob of a file also sets its metadata. A pack in a cold storage class makes everybody wait
//! until all the packs of the restore have been thawed.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::plan::{Action, Work};
use super::ranges::{Want, runs, wants};
use super::target::{Dir, DirCache};
use super::{Run, WriteBack, meta};
use crate::repo::error::{RepoError, plain};
use crate::repo::files::{decode_blob, pack_key};
use crate::repo::index::Location;
use crate::repo::pack::BlobKind;
use crate::repo::progress::Progress;
use crate::store::{ErrorKind, StoreError};

/// What is written to a file for one request, at least, to have it sent to the disk at once.
const WORTH_SENDING: u64 = 1 << 20;
/// How many requests are under way over a network.
const PARALLEL_REMOTE: usize = 16;
/// How often a pack that was thawed may still answer that it is cold.
const COLD_ANSWERS: u32 = 4;
/// How many files may stay open between two of their blobs.
const OPEN_FILES: usize = 256;
/// Zeros of this length are left as a hole.
const HOLE: usize = 64 << 10;

/// Everything the threads of one window share.
pub(super) struct Contents<'a> {
    run: &'a Run,
    work: &'a Work,
    wants: Vec<Want>,
    runs: Vec<Range<usize>>,
    files: Vec<FileState>,
    open: AtomicUsize,
    next: AtomicUsize,
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

impl<'a> Contents<'a> {
    pub(super) fn new(run: &'a Run, work: &'a Work) -> Self {
        let state = |pending: &u32| FileState {
            pending: AtomicU32::new(*pending),
            state: Mutex::default(),
        };
        let wants = wants(&run.selection.index, &work.places);
        Self {
            run,
            work,
            files: work.pending.iter().map(state).collect(),
            open: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            runs: runs(&wants, run.remote()),
            wants,
        }
    }

    /// Writes all contents; blocks.
    pub(super) fn write_all(&self) {
        let parallel = if self.run.remote() {
            PARALLEL_REMOTE
        } else {
            crate::repo::archive::session::cores() + 2
        };
        std::thread::scope(|scope| {
            for _ in 0..parallel.min(self.runs.len()) {
                scope.spawn(|| self.work_off());
            }
        });
    }

    fn work_off(&self) {
        let mut dirs = DirCache::default();
        while !self.run.stop.is_stopped() {
            let Some(run) = self.runs.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            if let Err(error) = self.range(&self.wants[run.clone()], &mut dirs) {
                self.run.stop.fail(error);
            }
        }
    }

    /// Reads a range of a pack; thaws first when it is cold. The inner error is one that only costs these files.
    fn fetch(&self, at: &Location, length: u64) -> Result<Result<Vec<u8>, StoreError>, RepoError> {
        let key = pack_key(&self.run.selection.index.pack(at));
        let mut cold = 0;
        loop {
            let fetch = self.run.repo.retry(Some(&self.run.progress.retries), || {
                self.run.repo.store().get_range(&key, u64::from(at.offset), length)
            });
            let token = self.run.stop.token();
            match self.run.runtime.block_on(token.run_until_cancelled(fetch)) {
                None => return Err(RepoError::Cancelled),
                Some(Ok(data)) => return Ok(Ok(Vec::from(data))),
                Some(Err(error)) if error.kind == ErrorKind::Cold && cold < COLD_ANSWERS => {
                    cold += 1;
                    self.run.thaw_data()?;
                }
                Some(Err(error)) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::ShortRead) => {
                    return Ok(Err(error));
                }
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// Fetches one range and writes its blobs. An error ends the restore; what concerns single files is listed.
    fn range(&self, wants: &[Want], dirs: &mut DirCache) -> Result<(), RepoError> {
        let (Some(first), Some(last)) = (wants.first(), wants.last()) else {
            return Ok(());
        };
        let start = u64::from(first.at.offset);
        let length = u64::from(last.at.offset) + u64::from(last.at.length) - start;
        let mut data = match self.fetch(&first.at, length)? {
            Ok(data) => data,
            Err(error) => {
                for want in wants {
                    self.lose(want, &error.to_string());
                }
                return Ok(());
            }
        };
        Progress::add(&self.run.progress.bytes_stored, length);
        Progress::add(&self.run.done.bytes_fetched, length);
        for want in wants {
            if self.run.stop.is_stopped() {
                return Ok(());
            }
            // Both ends lie within the range by construction of the runs.
            let from = usize::try_from(u64::from(want.at.offset) - start).unwrap_or(usize::MAX);
            let Some(sealed) = data.get_mut(from..from.saturating_add(want.at.length as usize)) else {
                continue;
            };
            match decode_blob(
                self.run.repo.key(),
                BlobKind::Data,
                sealed,
                want.at.uncompressed(),
                &want.id,
            ) {
                Ok(plain) => self.place(want, &plain, dirs)?,
                Err(error) => self.lose(want, &error.to_string()),
            }
        }
        if self.run.options.write_back == WriteBack::Early {
            self.send(wants, dirs);
        }
        Ok(())
    }

    /// Has the parts of files these blobs were written to sent to the disk. Nobody waits for it, and it may fail: whoever
    /// needs it on the disk asks for that when all is written.
    fn send(&self, wants: &[Want], dirs: &mut DirCache) {
        let mut parts: HashMap<usize, Range<u64>> = HashMap::new();
        for want in wants {
            for (number, offset) in self.places(want) {
                let part = parts.entry(number).or_insert(offset..offset);
                *part = part.start.min(offset)..part.end.max(offset + want.at.plain_length());
            }
        }
        for (number, part) in parts
            .into_iter()
            .filter(|(_, part)| part.end - part.start >= WORTH_SENDING)
        {
            let item = &self.work.window.files[number];
            let known = lock(&self.files[number].state).handle.clone();
            // A file that is complete was closed.
            let opened = || {
                dirs.parent(&self.run.target, &item.path)?
                    .open(&item.path, false)
                    .map(Arc::new)
            };
            if let Ok(file) = known.map_or_else(opened, Ok) {
                let length = NonZeroU64::new(part.end - part.start);
                let _ = rustix::fs::fadvise(&*file, part.start, length, rustix::fs::Advice::DontNeed);
            }
        }
    }

    fn places(&self, want: &Want) -> impl Iterator<Item = (usize, u64)> {
        let places = &self.work.places[want.places.clone()];
        places.iter().map(|place| (place.file as usize, place.offset))
    }

    /// A blob cannot be had: every file that needs it is incomplete, and is said to be.
    fn lose(&self, want: &Want, why: &str) {
        for (number, _) in self.places(want) {
            if self.is_first_failure(number) {
                let path = &self.work.window.files[number].path;
                self.run.report_missing(path, &format!("incomplete: {why}"));
            }
            self.files[number].pending.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn is_first_failure(&self, number: usize) -> bool {
        !std::mem::replace(&mut lock(&self.files[number].state).failed, true)
    }

    fn fail_file(&self, number: usize, why: &str) {
        if self.is_first_failure(number) {
            self.run.report(&self.work.window.files[number].path, why);
        }
    }

    fn place(&self, want: &Want, data: &[u8], dirs: &mut DirCache) -> Result<(), RepoError> {
        let zeros = data.len() >= HOLE && data.iter().all(|byte| *byte == 0);
        for (number, offset) in self.places(want) {
            let written = self.write(number, offset, data, zeros, dirs);
            if let Err(error) = written {
                self.fail_write(number, &error)?;
            }
            Progress::add(&self.run.progress.bytes_done, data.len() as u64);
            Progress::add(&self.run.done.bytes, data.len() as u64);
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
            let path = self.run.target.display(&self.work.window.files[number].path);
            return Err(RepoError::local("write", path.as_ref(), error));
        }
        self.fail_file(number, &plain(error));
        Ok(())
    }

    fn write(&self, number: usize, offset: u64, data: &[u8], zeros: bool, dirs: &mut DirCache) -> io::Result<()> {
        let file = self.handle(number, dirs)?;
        let size = self.work.window.files[number].node.size;
        if self.work.actions[number] == Action::Patch || size < HOLE as u64 {
            return file.write_all_at(data, offset);
        }
        // A new file has its length already, and zeros where nothing was written.
        if zeros {
            return Ok(());
        }
        write_around_holes(&file, offset, data)
    }

    /// The open file; the first caller makes it.
    fn handle(&self, number: usize, dirs: &mut DirCache) -> io::Result<Arc<File>> {
        let item = &self.work.window.files[number];
        let mut opened = lock(&self.files[number].state);
        if opened.failed {
            return Err(io::Error::other("it could not be made"));
        }
        if let Some(handle) = &opened.handle {
            return Ok(Arc::clone(handle));
        }
        let dir = dirs.parent(&self.run.target, &item.path)?;
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
        Progress::add(&self.run.progress.files_done, 1);
        if failed {
            return Ok(());
        }
        match result {
            Ok(file) => {
                let item = &self.work.window.files[number];
                if let Err(why) = meta::apply(&file, &item.node, self.work.actions[number] == Action::Create) {
                    self.run.report(&item.path, &why);
                }
                Ok(())
            }
            Err(error) => self.fail_write(number, &error),
        }
    }

    /// Makes the files without content and patches those that only change in size.
    pub(super) fn without_content(&self) -> Result<(), RepoError> {
        let mut dirs = DirCache::default();
        for (number, action) in self.work.actions.iter().enumerate() {
            if self.work.pending[number] > 0 {
                continue;
            }
            self.run.stop.result()?;
            match action {
                Action::Create | Action::Patch => self.finish(number, &mut dirs)?,
                Action::Same => Progress::add(&self.run.progress.files_done, 1),
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
