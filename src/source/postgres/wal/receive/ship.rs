//! From the directory to the archive: finished files, and the beginning of the one that still grows.
//!
//! **Crash windows.** put → note in memory → remove. Killed before the removal, the file is put again by the next receiver, and
//! the archive recognises it. The growing form of a segment goes after the whole one is there.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::local::{Arrived, LocalDir};
use super::{Note, Tell};
use crate::clock::Clock;
use crate::domain::units::Bytes;
use crate::domain::wal::{Lsn, SegmentName, SegmentSize, WalName};
use crate::source::postgres::wal::archive::Entry;
use crate::source::postgres::wal::{WalArchive, WalError, WalFile, fetch, page, push, workers};

/// What has gone to the archive, and what is to go.
#[derive(Debug)]
pub(super) struct Shipper {
    archive: WalArchive,
    size: SegmentSize,
    done: BTreeSet<WalName>,
    growing: Option<(SegmentName, usize)>,
    grown_at: Option<Instant>,
    anew: bool,
}

impl Shipper {
    pub(super) fn new(archive: WalArchive) -> Self {
        Self {
            archive,
            size: SegmentSize::default(),
            done: BTreeSet::new(),
            growing: None,
            grown_at: None,
            anew: false,
        }
    }

    pub(super) fn archive(&self) -> &WalArchive {
        &self.archive
    }

    /// The size of a segment in bytes.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.size.bytes()
    }

    /// Ships what has arrived; the growing segment when the last time is `every` ago.
    pub(super) async fn ship(
        &mut self,
        dir: &LocalDir,
        every: Duration,
        tell: Tell<'_>,
        clock: &Clock,
    ) -> Result<(), WalError> {
        let arrived = dir.arrived()?;
        let todo: Vec<WalFile> = arrived
            .files
            .iter()
            .filter(|file| !self.done.contains(&file.name))
            .cloned()
            .collect();
        let archive = &self.archive;
        let mut puts = futures_util::stream::iter(todo)
            .map(|file| async move { put(archive, &file).await.map(|()| file.name) })
            .buffer_unordered(workers(4, self.size));
        let mut arrived_there = Vec::new();
        let mut failed = None;
        while let Some(put) = puts.next().await {
            match put {
                Ok(name) => {
                    tell(Note::Archived(name));
                    arrived_there.push(name);
                }
                // The others go on: what has arrived there need not wait for what has not.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        drop(puts);
        self.done.extend(arrived_there);
        self.remove_done(&arrived)?;
        if let Some(error) = failed {
            return Err(error);
        }
        if self.grown_at.is_none_or(|at| clock.elapsed(at) >= every) {
            self.grown_at = Some(clock.monotonic());
            self.ship_growing(dir, &arrived, tell).await?;
        }
        Ok(())
    }

    /// Removes what the archive has, but for the file behind which `pg_receivewal` continues, and histories, which it looks for.
    fn remove_done(&mut self, arrived: &Arrived) -> Result<(), WalError> {
        for file in &arrived.files {
            let Some(segment) = file.name.segment() else { continue };
            if self.done.contains(&file.name) && !arrived.is_newest(segment) {
                match fs::remove_file(&file.path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(WalError::local("remove", &file.path, &error));
                    }
                    _ => drop(self.done.remove(&file.name)),
                }
            }
        }
        Ok(())
    }

    async fn ship_growing(&mut self, dir: &LocalDir, arrived: &Arrived, tell: Tell<'_>) -> Result<(), WalError> {
        let Some(name) = arrived.growing else { return Ok(()) };
        let path = dir.growing(name);
        let reading = tokio::task::spawn_blocking(move || match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            // Finished between the two looks.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(WalError::local("read", &path, &error)),
        });
        let Some(mut bytes) = reading.await.map_err(|error| WalError::worker(&error))?? else {
            return Ok(());
        };
        // A file that has just been made has no page yet.
        if bytes.iter().take(8192).all(|byte| *byte == 0) {
            return Ok(());
        }
        let (first, length) = page::filled(name, &bytes)?;
        if first.system != self.archive.system() {
            return Err(WalError::Foreign {
                file: WalName::Partial(name).to_string(),
                found: first.system,
                expected: self.archive.system(),
            });
        }
        self.size = first.size;
        if self.growing.is_some_and(|(known, had)| known == name && had >= length) {
            return Ok(());
        }
        bytes.truncate(length);
        self.archive.put_growing(name, bytes).await?;
        self.growing = Some((name, length));
        let start = name.start(first.size).unwrap_or_default();
        tell(Note::Reached(Lsn(start.0 + length as u64)));
        Ok(())
    }

    /// How much has arrived and is not in the archive.
    pub(super) fn waiting(&self, dir: &LocalDir) -> Bytes {
        let files = dir.arrived().map(|arrived| arrived.files).unwrap_or_default();
        let waiting = files.iter().filter(|file| !self.done.contains(&file.name)).count() as u64;
        Bytes(waiting * self.size.bytes())
    }

    /// Empties the directory, so that the stream begins where the server can; all of it is in the archive, and what was to
    /// come next the server does not have any more.
    pub(super) fn begin_anew(&mut self, dir: &LocalDir) -> Result<(), WalError> {
        self.anew = true;
        dir.start_over()
    }

    /// Puts the newest segment of the archive into an empty directory, so that the stream continues behind it.
    pub(super) async fn seed(&mut self, dir: &LocalDir) -> Result<(), WalError> {
        let arrived = dir.arrived()?;
        if self.anew || arrived.growing.is_some() || arrived.files.iter().any(|file| file.name.segment().is_some()) {
            return Ok(());
        }
        let listed = self.archive.list().await?;
        let segments = listed.iter().filter_map(|listed| match listed.entry {
            Entry::File(name) => name.segment(),
            _ => None,
        });
        let Some(newest) = segments.max() else { return Ok(()) };
        let name = WalName::Segment(newest);
        let target = dir.incoming().join(name.to_string());
        if fetch::one(&self.archive, name, &target, false).await? {
            self.done.insert(name);
        }
        Ok(())
    }
}

async fn put(archive: &WalArchive, file: &WalFile) -> Result<(), WalError> {
    push::one(archive, file).await?;
    match file.name.segment() {
        Some(segment) => archive.remove_growing(segment).await,
        None => Ok(()),
    }
}
