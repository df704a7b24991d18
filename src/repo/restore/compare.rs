//! Comparing files with what the snapshot says, on all cores: before a delta, and after a restore that is verified.
//!
//! Files are taken in batches by as many threads as there are cores. A small file is opened, read and hashed once, and
//! when it is the same its metadata is put right through the same descriptor. A large file is cut into pieces of some
//! mebibytes, so that one large file keeps all cores busy too.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::Stat;

use super::select::Item;
use super::target::{DirCache, Target};
use crate::repo::archive::session::cores;
use crate::repo::id::Id;
use crate::repo::index::Index;
use crate::repo::pack::BlobKind;
use crate::repo::stop::Stop;

/// How many bytes are read at a time; a file below it is compared in one go.
const PIECE: u64 = 4 << 20;
/// No honest blob is larger, and none that claims to be is read.
const MAX_BLOB: u64 = 128 << 20;
/// How many files a thread takes at a time: neighbours, because they lie in the same directory.
const BATCH: usize = 64;

/// What each thread has for itself.
#[derive(Debug, Default)]
pub(super) struct Local {
    pub(super) dirs: DirCache,
    /// A directory that is not there, so that nothing below it need be looked for.
    missing: Option<PathBuf>,
    buffer: Vec<u8>,
}

impl Local {
    /// What is at a path below the target.
    pub(super) fn stat(&mut self, target: Option<&Target>, path: &Path) -> Option<Stat> {
        let target = target?;
        if self.missing.as_ref().is_some_and(|missing| path.starts_with(missing)) {
            return None;
        }
        if let Ok(dir) = self.dirs.parent(target, path) {
            return dir.stat(path).ok().flatten();
        }
        self.missing = path.parent().map(Path::to_path_buf);
        None
    }

    pub(super) fn open(&mut self, target: &Target, path: &Path) -> io::Result<File> {
        self.dirs.parent(target, path)?.open_quietly(path)
    }
}

/// Calls `each` with every number below `count`, on all cores; ends early when stopped.
pub(super) fn parallel(count: usize, batch: usize, stop: &Stop, each: impl Fn(usize, &mut Local) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut local = Local::default();
        while !stop.is_stopped() {
            let from = next.fetch_add(batch, Ordering::Relaxed);
            if from >= count {
                return;
            }
            (from..(from + batch).min(count)).for_each(|number| each(number, &mut local));
        }
    };
    let threads = cores().min(count.div_ceil(batch));
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
}

/// A run of blobs of a file that are read together.
#[derive(Debug, Clone, Copy)]
struct Piece {
    file: usize,
    from: usize,
    to: usize,
    offset: u64,
    length: u64,
}

/// The lengths of blobs as the index knows them; a blob that it does not know has none.
fn length(index: &Index, id: &Id) -> u64 {
    index.find(BlobKind::Data, id).map_or(0, |at| at.plain_length())
}

fn pieces(file: usize, item: &Item, index: &Index) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut offset = 0;
    for (position, id) in item.node.content.iter().enumerate() {
        let length = length(index, id);
        match pieces.last_mut() {
            Some(piece) if piece.length + length <= PIECE => {
                piece.to = position + 1;
                piece.length += length;
            }
            _ => pieces.push(Piece {
                file,
                from: position,
                to: position + 1,
                offset,
                length,
            }),
        }
        offset += length;
    }
    pieces
}

impl Piece {
    /// Which blobs of the piece the file holds.
    fn compare(&self, handle: &File, item: &Item, index: &Index, buffer: &mut Vec<u8>) -> Vec<bool> {
        let mut same = vec![false; self.to - self.from];
        let Some(room) = usize::try_from(self.length).ok().filter(|_| self.length <= MAX_BLOB) else {
            return same;
        };
        if buffer.len() < room {
            buffer.resize(room, 0);
        }
        let Ok(read) = read_at(handle, &mut buffer[..room], self.offset) else {
            return same;
        };
        let mut at = 0;
        for (same, id) in same.iter_mut().zip(&item.node.content[self.from..self.to]) {
            let end = at + usize::try_from(length(index, id)).unwrap_or(0);
            // A blob is never empty; what the file is too short for is not the same.
            *same = end > at && end <= read && Id::of(&buffer[at..end]) == *id;
            at = end;
        }
        same
    }
}

/// Reads until the buffer is full or the file ends.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Which blobs of some files are in place.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    pub(super) index: &'a Index,
    pub(super) target: &'a Target,
    pub(super) stop: &'a Stop,
}

impl Comparison<'_> {
    /// Compares the files that `wanted` says; for each, `seen` is called once with the descriptor and which blobs are in
    /// place. A file that cannot be read has none in place, and no descriptor.
    pub(super) fn run(
        &self,
        files: &[Item],
        wanted: impl Fn(usize, &mut Local) -> bool + Sync,
        seen: impl Fn(usize, Option<&File>, Vec<bool>) + Sync,
    ) {
        let large: Mutex<Vec<Piece>> = Mutex::default();
        let kept: Vec<Mutex<Vec<bool>>> = std::iter::repeat_with(Mutex::default).take(files.len()).collect();
        parallel(files.len(), BATCH, self.stop, |number, local| {
            if !wanted(number, local) {
                return;
            }
            let item = &files[number];
            let pieces = pieces(number, item, self.index);
            if pieces.len() > 1 {
                *lock(&kept[number]) = vec![false; item.node.content.len()];
                lock(&large).extend(pieces);
                return;
            }
            let handle = local.open(self.target, &item.path).ok();
            let same = match (pieces.first(), &handle) {
                (Some(piece), Some(handle)) => piece.compare(handle, item, self.index, &mut local.buffer),
                _ => vec![false; item.node.content.len()],
            };
            seen(number, handle.as_ref(), same);
        });
        let large = large.into_inner().unwrap_or_else(PoisonError::into_inner);
        parallel(large.len(), 1, self.stop, |number, local| {
            let piece = &large[number];
            let item = &files[piece.file];
            if let Ok(handle) = local.open(self.target, &item.path) {
                let same = piece.compare(&handle, item, self.index, &mut local.buffer);
                lock(&kept[piece.file])[piece.from..piece.to].copy_from_slice(&same);
            }
        });
        let mut local = Local::default();
        for piece in large.iter().filter(|piece| piece.from == 0) {
            let handle = local.open(self.target, &files[piece.file].path).ok();
            seen(
                piece.file,
                handle.as_ref(),
                std::mem::take(&mut *lock(&kept[piece.file])),
            );
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
