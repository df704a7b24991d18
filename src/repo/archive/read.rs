//! The readers: open a file, cut it into chunks, hand them to the pool.
//!
//! Holes are not read: where a chunk would begin in one and end in it, the chunk is the known one of zeros. A file has the
//! same chunks whether its zeros are holes or not.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Receiver;

use super::blocks::Blocks;
use super::budget::Budget;
use super::holes::Holes;
use super::saver::Feed;
use super::ticket::{FileEnd, Ticket};
use crate::repo::chunk::{Chunker, Chunks, Cut};
use crate::repo::error::plain;
use crate::repo::id::Id;
use crate::repo::progress::Progress;
use crate::repo::stop::Stopped;

/// A file to read.
#[derive(Debug)]
pub(super) struct FileJob {
    pub(super) path: PathBuf,
    pub(super) ticket: Arc<Ticket>,
}

/// What a reader works with.
pub(super) struct Reader<'a> {
    pub(super) chunker: &'a Chunker,
    pub(super) budget: &'a Arc<Budget>,
    pub(super) feed: Feed,
    pub(super) progress: &'a Progress,
    /// The files that are cut into blocks.
    pub(super) blocks: Option<&'a Blocks>,
    /// The chunks of zeros that were stored, by their length; shared by all readers.
    pub(super) zeros: &'a Mutex<HashMap<usize, Id>>,
}

impl Reader<'_> {
    /// Reads files until the queue closes.
    pub(super) fn run(&self, jobs: &Receiver<FileJob>) {
        for job in jobs {
            if self.feed.stop().is_stopped() {
                continue;
            }
            self.progress.set_current(&job.path.to_string_lossy());
            match self.read(&job) {
                Ok(Ok(end)) => job.ticket.close(Ok(end)),
                Ok(Err(error)) => job.ticket.close(Err(plain(&error))),
                Err(Stopped) => {}
            }
            Progress::add(&self.progress.files_done, 1);
        }
    }

    fn read(&self, job: &FileJob) -> Result<io::Result<FileEnd>, Stopped> {
        let file = match open(&job.path) {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        let before = match file.metadata() {
            Ok(meta) if meta.is_file() => meta,
            Ok(_) => return Ok(Err(io::Error::other("it is not a regular file any more"))),
            Err(error) => return Ok(Err(error)),
        };
        let cut = match &self.blocks {
            Some(blocks) if blocks.matches(&job.path) => Cut::Blocks(blocks.size()),
            _ => Cut::Content(self.chunker),
        };
        let mut chunks = Chunks::new(cut, &file, before.size());
        let mut holes = Holes::of(&file, &before, chunks.zeros());
        let mut size = 0;
        let mut count = 0;
        loop {
            let skipped = match holes.skip(size) {
                Ok(skipped) => skipped,
                Err(error) => return Ok(Err(error)),
            };
            if skipped > 0 {
                self.zeros(chunks.zeros(), skipped, job)?;
                size += skipped * chunks.zeros() as u64;
                count += skipped;
                chunks.moved(before.size().saturating_sub(size));
            }
            let chunk = match chunks.next_chunk() {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => return Ok(Err(error)),
            };
            size += chunk.len() as u64;
            count += 1;
            Progress::add(&self.progress.bytes_done, chunk.len() as u64);
            let permit = self.budget.acquire(chunk.len(), self.feed.stop())?;
            self.feed.chunk(chunk, permit, &job.ticket)?;
        }
        // A file of one chunk was read in one go; a longer one is looked at again.
        let moved = count > 1
            && file.metadata().map_or(true, |after| {
                (after.mtime(), after.mtime_nsec(), after.size())
                    != (before.mtime(), before.mtime_nsec(), before.size())
            });
        let warning = (moved || size != before.size()).then(|| {
            format!(
                "it changed while it was read: {} bytes at first, {size} read",
                before.size()
            )
        });
        Ok(Ok(FileEnd { size, warning }))
    }

    /// Adds chunks of zeros to a file: one is hashed and stored like any other, the rest only refer to it.
    fn zeros(&self, length: usize, count: u64, job: &FileJob) -> Result<(), Stopped> {
        let mut known = self.zeros.lock().unwrap_or_else(PoisonError::into_inner);
        let id = if let Some(id) = known.get(&length) {
            *id
        } else {
            let zeros = vec![0; length];
            let id = Id::of(&zeros);
            let permit = self.budget.acquire(length, self.feed.stop())?;
            // To a ticket of its own: what counts is that it is stored.
            self.feed.chunk(zeros, permit, &Ticket::new())?;
            known.insert(length, id);
            id
        };
        drop(known);
        for _ in 0..count {
            let position = job.ticket.expect();
            job.ticket.fill(position, id);
        }
        Progress::add(&self.progress.bytes_done, count * length as u64);
        Ok(())
    }
}

/// Opens without following a link, without waiting for a pipe, and without changing the time of last access if allowed.
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::OFlags;
    let flags = |flags: OFlags| i32::try_from(flags.bits()).unwrap_or(0);
    let plain = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let open = |with: OFlags| OpenOptions::new().read(true).custom_flags(flags(with)).open(path);
    match open(plain | OFlags::NOATIME) {
        // Only the owner may leave the time of last access alone.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(plain),
        other => other,
    }
}
