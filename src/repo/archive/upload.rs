//! The end of the pipeline: finished packs go to the store, several at once, and into the index.
//!
//! Crash window: a pack that is stored but not yet indexed is garbage until the next backup adopts it (see `adopt`). Index
//! files are therefore also written on the way, so that an interrupted backup of a large tree does not begin from nothing:
//! early at first, and then whenever a sixteenth more has been stored, so that a long backup does not leave thousands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::buffers::Buffers;
use crate::repo::Repository;
use crate::repo::error::RepoError;
use crate::repo::files::{FileKind, pack_key};
use crate::repo::index::{IndexFile, IndexPack};
use crate::repo::pack::FinishedPack;
use crate::repo::progress::Progress;
use crate::repo::stop::Stop;

/// An index file is written when it names so many blobs: at 160 bytes each, with one more pack, below 8 MiB.
const BLOBS_PER_INDEX: usize = 35_000;
/// Or so many packs, or this share of all that were stored.
const PACKS_PER_INDEX: usize = 16;
const SHARE: usize = 16;
/// Or, when so much time has passed, a smaller share.
const INDEX_EVERY: Duration = Duration::from_secs(20);
const SHARE_IN_TIME: usize = 64;

/// Uploads packs until the channel closes, then writes the rest of the index.
pub(super) async fn run(
    repo: Repository,
    mut packs: mpsc::Receiver<FinishedPack>,
    buffers: Buffers,
    stop: Stop,
    progress: Arc<Progress>,
) {
    let parallel = repo.store().capabilities().parallel_puts.max(1);
    let mut running: JoinSet<Result<IndexPack, RepoError>> = JoinSet::new();
    let mut index = Collected::new(&repo);
    let mut open = true;
    while open || !running.is_empty() {
        if stop.is_stopped() {
            break;
        }
        let outcome = tokio::select! {
            pack = packs.recv(), if open && running.len() < parallel => {
                match pack {
                    Some(pack) => drop(running.spawn(upload(repo.clone(), pack, buffers.clone(), Arc::clone(&progress)))),
                    None => open = false,
                }
                continue;
            }
            Some(done) = running.join_next() => done,
            () = stop.token().cancelled() => break,
        };
        let stored = match outcome {
            Ok(Ok(pack)) => index.add(pack).await,
            Ok(Err(error)) => Err(error),
            Err(error) => Err(RepoError::internal(format!("an upload ended: {error}"))),
        };
        if let Err(error) = stored {
            stop.fail(error);
        }
    }
    // Whoever still waits to hand over a pack must not wait for ever.
    packs.close();
    while packs.recv().await.is_some() {}
    running.shutdown().await;
    // Also when stopped: what is stored and indexed, the next backup need not store again.
    if let Err(error) = index.flush().await {
        stop.fail(error);
    }
}

async fn upload(
    repo: Repository,
    pack: FinishedPack,
    buffers: Buffers,
    progress: Arc<Progress>,
) -> Result<IndexPack, RepoError> {
    let entry = IndexPack::new(pack.id, &pack.blobs);
    let data = Bytes::from(pack.data);
    repo.put_new(&pack_key(&entry.id), data.clone(), Some(&progress))
        .await?;
    Progress::add(&progress.bytes_stored, data.len() as u64);
    buffers.give_back(data);
    Ok(entry)
}

/// Packs that are stored and wait for an index file to name them.
pub(in crate::repo) struct Collected {
    repo: Repository,
    file: IndexFile,
    blobs: usize,
    /// All packs so far.
    packs: usize,
    written: Instant,
    /// Only full index files, for packs that have long been stored.
    large: bool,
}

impl Collected {
    /// Index files as a backup writes them, early.
    pub(in crate::repo) fn new(repo: &Repository) -> Self {
        Self {
            repo: repo.clone(),
            file: IndexFile::default(),
            blobs: 0,
            packs: 0,
            written: repo.clock().monotonic(),
            large: false,
        }
    }

    /// Index files as large as they may be, for packs that have long been stored.
    pub(in crate::repo) fn large(repo: &Repository) -> Self {
        Self {
            large: true,
            ..Self::new(repo)
        }
    }

    /// Takes a stored pack; writes an index file when enough have come together.
    pub(in crate::repo) async fn add(&mut self, pack: IndexPack) -> Result<(), RepoError> {
        self.blobs += pack.blobs.len();
        self.file.packs.push(pack);
        self.packs += 1;
        if self.is_due() {
            self.flush().await?;
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        let waiting = self.file.packs.len();
        let early = waiting >= PACKS_PER_INDEX.max(self.packs / SHARE)
            || waiting >= self.packs / SHARE_IN_TIME && self.repo.clock().elapsed(self.written) >= INDEX_EVERY;
        self.blobs >= BLOBS_PER_INDEX || early && !self.large
    }

    /// Writes an index file of what is left.
    pub(in crate::repo) async fn flush(&mut self) -> Result<(), RepoError> {
        let file = std::mem::take(&mut self.file);
        self.blobs = 0;
        self.written = self.repo.clock().monotonic();
        if !file.packs.is_empty() {
            self.repo.save_json(FileKind::Index, &file).await?;
        }
        Ok(())
    }
}
