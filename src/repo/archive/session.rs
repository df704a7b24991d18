//! What every backup shares, of files and of streams: lock, index, pool, uploads and the one commit point.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::buffers::Buffers;
use super::saver::{Feed, Saver, SaverOptions};
use super::{BackupResult, BackupStats, Compression, ItemError};
use crate::repo::chunk::Chunker;
use crate::repo::error::RepoError;
use crate::repo::files::FileKind;
use crate::repo::id::Id;
use crate::repo::index::Index;
use crate::repo::lock::Lock;
use crate::repo::progress::{Phase, Progress};
use crate::repo::snapshot::{SnapshotFile, SnapshotInfo, Summary};
use crate::repo::stop::Stop;
use crate::repo::{PROGRAM_VERSION, Repository, host};

/// How many finished packs may wait for an upload.
const WAITING_PACKS: usize = 1;

/// How many bytes all packs together may take that are filled and uploaded.
const PACK_MEMORY: usize = 192 << 20;

/// The sizes of a pipeline.
pub(in crate::repo) struct Sizes {
    pub(in crate::repo) compression: Compression,
    pub(in crate::repo) memory_budget_bytes: u64,
    pub(in crate::repo) cpu_threads: Option<usize>,
    pub(in crate::repo) pack_bytes: usize,
    /// Look for packs of an interrupted backup also where no lock was left.
    pub(in crate::repo) adopt: bool,
}

/// The labels of a snapshot.
#[derive(Debug, Clone, Default)]
pub(in crate::repo) struct Labels {
    pub(in crate::repo) paths: Vec<String>,
    pub(in crate::repo) tags: Vec<String>,
    pub(in crate::repo) excludes: Vec<String>,
    pub(in crate::repo) hostname: Option<String>,
    pub(in crate::repo) comment: Option<String>,
    pub(in crate::repo) parent: Option<Id>,
}

/// A backup under way.
#[derive(Debug)]
pub(in crate::repo) struct Session {
    pub(in crate::repo) repo: Repository,
    pub(in crate::repo) progress: Arc<Progress>,
    pub(in crate::repo) stop: Stop,
    pub(in crate::repo) chunker: Arc<Chunker>,
    pub(in crate::repo) budget: Arc<Budget>,
    saver: Option<Saver>,
    uploads: Option<JoinHandle<()>>,
    lock: Lock,
    began: DateTime<Utc>,
    began_at: Instant,
}

impl Session {
    pub(in crate::repo) async fn begin(
        repo: &Repository,
        sizes: Sizes,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<Self, RepoError> {
        let reading = async { Ok(()) };
        Ok(Self::begin_with(repo, sizes, progress, cancel, reading).await?.0)
    }

    /// The same, and what `reading` answers: it is read before the index, so that the index knows it.
    pub(in crate::repo) async fn begin_with<T>(
        repo: &Repository,
        sizes: Sizes,
        progress: Arc<Progress>,
        cancel: CancellationToken,
        reading: impl Future<Output = Result<T, RepoError>>,
    ) -> Result<(Self, T), RepoError> {
        let (began, began_at) = (repo.clock().now(), repo.clock().monotonic());
        progress.set_phase(Phase::Preparing);
        let stop = Stop::new(cancel);
        let prepared = prepare(repo, sizes.adopt, &stop, reading).await;
        let (lock, index, read) = prepared.inspect_err(|_| progress.set_phase(Phase::Done))?;
        let (finished, packs) = mpsc::channel(WAITING_PACKS);
        let buffers = Buffers::new(buffers(repo.store().capabilities().parallel_puts, sizes.pack_bytes));
        let options = SaverOptions {
            key: repo.key().clone(),
            index,
            version: repo.version(),
            compression: sizes.compression,
            threads: sizes.cpu_threads.unwrap_or_else(cores),
            pack_bytes: sizes.pack_bytes,
            buffers: buffers.clone(),
        };
        let saver = Saver::start(options, finished, stop.clone());
        let uploads = tokio::spawn(super::upload::run(
            repo.clone(),
            packs,
            buffers,
            stop.clone(),
            Arc::clone(&progress),
        ));
        let session = Self {
            repo: repo.clone(),
            progress,
            stop,
            chunker: Arc::new(Chunker::new(repo.polynomial())),
            // Below two of the largest chunks the readers would only wait for each other.
            budget: Budget::new(sizes.memory_budget_bytes.max(16 << 20)),
            saver: Some(saver),
            uploads: Some(uploads),
            lock,
            began,
            began_at,
        };
        Ok((session, read))
    }

    /// A handle for feeding the pool; all must be gone before [`Session::commit`].
    pub(in crate::repo) fn feed(&self) -> Result<Feed, RepoError> {
        self.saver
            .as_ref()
            .map(Saver::feed)
            .ok_or_else(|| RepoError::internal("the pipeline has ended"))
    }

    /// Waits for everything under way; afterwards all packs and index files are stored, or the error says why not.
    async fn drain(&mut self, stats: &mut BackupStats) -> Result<(), RepoError> {
        if let Some(saver) = self.saver.take() {
            let ended = tokio::task::spawn_blocking(move || saver.finish()).await;
            let shared = ended.map_err(|error| RepoError::internal(format!("the pool ended: {error}")))?;
            stats.data_blobs = shared.added.data_blobs.load(Ordering::Relaxed);
            stats.tree_blobs = shared.added.tree_blobs.load(Ordering::Relaxed);
            stats.bytes_added = shared.added.plain.load(Ordering::Relaxed);
            stats.bytes_stored = shared.added.stored.load(Ordering::Relaxed);
            // Dropping the last sender is what tells the uploader that nothing follows.
            drop(shared);
        }
        if let Some(uploads) = self.uploads.take() {
            uploads
                .await
                .map_err(|error| RepoError::internal(format!("the uploads ended: {error}")))?;
        }
        self.stop.result()
    }

    /// Ends without a snapshot and returns why; what is stored already stays, indexed.
    pub(in crate::repo) async fn abort(mut self) -> RepoError {
        let drained = self.drain(&mut BackupStats::default()).await;
        let _ = self.lock.release().await;
        self.progress.set_phase(Phase::Done);
        drained.err().unwrap_or(RepoError::Cancelled)
    }

    /// Writes packs, index and snapshot, in this order.
    pub(in crate::repo) async fn commit(
        mut self,
        tree: Id,
        labels: Labels,
        mut stats: BackupStats,
        errors: Vec<ItemError>,
    ) -> Result<BackupResult, RepoError> {
        self.progress.set_phase(Phase::Finishing);
        if let Err(error) = self.drain(&mut stats).await {
            let _ = self.lock.release().await;
            self.progress.set_phase(Phase::Done);
            return Err(error);
        }
        if self.lock.is_lost() {
            let what = "the lock could not be kept: another client may have removed what this backup relied on";
            return Err(RepoError::Invalid { what: what.to_owned() });
        }
        stats.duration = self.repo.clock().elapsed(self.began_at);
        let snapshot = self.snapshot_file(tree, labels, &stats);
        let saved = self.repo.save_json(FileKind::Snapshot, &snapshot).await;
        let _ = self.lock.release().await;
        self.progress.set_phase(Phase::Done);
        Ok(BackupResult {
            snapshot: SnapshotInfo { id: saved?, snapshot },
            stats,
            errors,
        })
    }

    fn snapshot_file(&self, tree: Id, labels: Labels, stats: &BackupStats) -> SnapshotFile {
        let (uid, gid) = host::ids();
        let summary = Summary {
            backup_start: self.began.fixed_offset(),
            backup_end: self.repo.clock().now().fixed_offset(),
            files_new: stats.files_new,
            files_changed: stats.files_changed,
            files_unmodified: stats.files_unmodified,
            dirs_new: stats.dirs_new,
            dirs_changed: stats.dirs_changed,
            dirs_unmodified: stats.dirs_unmodified,
            data_blobs: stats.data_blobs,
            tree_blobs: stats.tree_blobs,
            data_added: stats.bytes_added,
            data_added_packed: stats.bytes_stored,
            total_files_processed: stats.files_total,
            total_bytes_processed: stats.bytes_total,
        };
        SnapshotFile {
            time: self.began.fixed_offset(),
            parent: labels.parent,
            tree,
            paths: labels.paths,
            hostname: labels.hostname.unwrap_or_else(host::hostname),
            username: host::username(),
            uid,
            gid,
            excludes: labels.excludes,
            tags: labels.tags,
            original: None,
            program_version: PROGRAM_VERSION.to_owned(),
            summary: Some(summary),
            description: labels.comment,
        }
    }
}

impl Drop for Session {
    /// A session that is dropped under way stops its threads; they end by themselves.
    fn drop(&mut self) {
        if self.saver.is_some() {
            self.stop.fail(RepoError::Cancelled);
        }
    }
}

/// Takes the lock and loads the index; what can be asked together is. After an error there is no lock.
async fn prepare<T>(
    repo: &Repository,
    adopt: bool,
    stop: &Stop,
    reading: impl Future<Output = Result<T, RepoError>>,
) -> Result<(Lock, Arc<Index>, T), RepoError> {
    let (claim, read) = match tokio::join!(repo.claim(false), reading) {
        (Ok(claim), Ok(read)) => (claim, read),
        (Ok(claim), Err(error)) => {
            claim.abandon().await;
            return Err(error);
        }
        (Err(error), _) => return Err(error),
    };
    let adopt = adopt || claim.left;
    let (lock, index) = claim.confirm(repo.load_index()).await?;
    if !adopt {
        return Ok((lock, index, read));
    }
    match adopted(repo, index, stop).await {
        Ok(index) => Ok((lock, index, read)),
        Err(error) => {
            let _ = lock.release().await;
            Err(error)
        }
    }
}

/// The index, with what an interrupted backup left.
async fn adopted(repo: &Repository, index: Arc<Index>, stop: &Stop) -> Result<Arc<Index>, RepoError> {
    if super::adopt::adopt(repo, &index, stop).await? == 0 {
        return Ok(index);
    }
    // Let go first, so that what is new is added in place.
    drop(index);
    repo.load_index().await
}

/// How many packs may be in memory: as many as the store can take at once, as far as they fit.
fn buffers(parallel_puts: usize, pack_bytes: usize) -> usize {
    // One open for data, one for trees, one being closed, the rest on their way.
    let wanted = 3 + parallel_puts.max(1);
    wanted.min(PACK_MEMORY / pack_bytes.max(1)).max(4)
}

/// How many threads can usefully compute at once.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}
