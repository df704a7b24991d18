//! Restore: from a snapshot to a directory, planned first.
//!
//! **Plan.** [`Repository::plan_restore`] walks the same way the restore does and says what would be written, fetched
//! and overwritten; it changes nothing.
//!
//! **Windows.** The snapshot is walked in windows of some ten thousand entries, so that memory does not grow with it. One
//! thread walks and compares the next window (on all cores) while the last one is being fetched and written.
//!
//! **Order.** In each window directories, then file contents pack by pack (each blob is fetched and opened once, and
//! written to every place that needs it), then links and special files, then the metadata of the directories that are
//! complete, from the deepest up. A file gets its metadata when its last blob is written.
//!
//! **Crash.** A restore that is killed leaves files without some of their blobs, and without their metadata. Running it
//! again with `delta` compares what is there and fetches only what is missing.
//!
//! **Cold packs** are thawed all together before the first of them is read, see [`thaw`].
//!
//! **Never outside the target.** Every path is opened relative to the target with `openat2(RESOLVE_BENEATH |
//! RESOLVE_NO_SYMLINKS)`: neither a hostile tree nor a link that somebody put into the target leads out of it.
//!
//! **Errors.** What fails for one item is listed and the rest goes on; a full disk or a dead store ends the restore.

mod compare;
mod contents;
mod meta;
mod plan;
mod ranges;
#[cfg(test)]
mod resume_tests;
mod run;
mod select;
mod target;
#[cfg(test)]
mod tests;
mod thaw;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::Repository;
use super::archive::ItemError;
use super::error::RepoError;
use super::progress::{Phase, Progress};
use super::stop::{Stop, Stopped};
use plan::{Planner, Reading};
use run::Run;
use select::{Selection, Walk};
use target::Target;
use thaw::Thaw;

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

/// When what is written reaches the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WriteBack {
    /// When the system sees fit.
    #[default]
    Lazy,
    /// As soon as it can be, while other things are still being fetched: for whoever waits for the disk at the end.
    Early,
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
    /// With `delta`: a file of the same length, time, owner and mode counts as the same without being read. What was changed
    /// and set back to its time is then missed.
    pub quick: bool,
    /// What to do with files that are there.
    pub overwrite: Overwrite,
    /// When what is written reaches the disk; nothing here waits for it.
    pub write_back: WriteBack,
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
            quick: false,
            overwrite: Overwrite::Always,
            write_back: WriteBack::Lazy,
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
    /// How many of these find their room taken already, by a file that is there.
    #[serde(default)]
    pub bytes_in_place: u64,
    /// Bytes to fetch from the store.
    pub bytes_to_fetch: u64,
    /// Packs they lie in.
    pub packs: u64,
    /// How many of these are in a cold storage class and have to be thawed first, which may take hours; unknown when
    /// there are too many to ask for each.
    #[serde(default)]
    pub cold_packs: Option<u64>,
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
    /// How many of these the repository is to blame for, because it lacks what they need or holds it damaged.
    #[serde(default)]
    pub missing: u64,
}

impl Repository {
    /// Says what a restore would do, without doing it.
    pub async fn plan_restore(&self, options: &RestoreOptions) -> Result<RestorePlan, RepoError> {
        self.plan_with(options, Reading::Contents).await
    }

    /// Estimates what a restore would do, without reading what is there: with `delta` a file of the same length, time, owner
    /// and mode counts as the same, any other as one to be written whole.
    pub async fn estimate_restore(&self, options: &RestoreOptions) -> Result<RestorePlan, RepoError> {
        let options = RestoreOptions {
            quick: true,
            ..options.clone()
        };
        self.plan_with(&options, Reading::Nothing).await
    }

    async fn plan_with(&self, options: &RestoreOptions, reading: Reading) -> Result<RestorePlan, RepoError> {
        let stop = Stop::new(CancellationToken::new());
        let selection = self.select(options, None, &stop).await?;
        let (repo, options, runtime) = (self.clone(), options.clone(), Handle::current());
        let planned = tokio::task::spawn_blocking(move || {
            let target = Target::open(&options.target).ok();
            let places = (target.as_ref(), None);
            survey(&repo, &selection, &options, places, reading, &stop, &runtime)
        });
        let (mut plan, packs) = planned
            .await
            .map_err(|error| RepoError::internal(format!("the plan ended: {error}")))??;
        plan.cold_packs = thaw::count_cold(self, packs).await;
        Ok(plan)
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
        let stop = Stop::new(cancel);
        let thaw = Thaw::new(Arc::clone(&progress));
        let selecting = Box::pin(self.select(&options, Some(&thaw), &stop));
        let locked = self.lock_and_read(selecting).await;
        let (lock, selection) = locked.inspect_err(|_| progress.set_phase(Phase::Done))?;
        let (repo, runtime, counters) = (self.clone(), Handle::current(), Arc::clone(&progress));
        let work = move || Run::begin(repo, selection, options, (counters, stop), (thaw, runtime))?.run();
        let ended = tokio::task::spawn_blocking(work).await;
        let result = ended.map_err(|error| RepoError::internal(format!("the restore ended: {error}")));
        if let Some(lock) = lock {
            let _ = lock.release().await;
        }
        progress.set_phase(Phase::Done);
        result?.map(|result| RestoreResult {
            duration: self.clock().elapsed(began),
            ..result
        })
    }
}

/// Plans everything and keeps only the totals and the packs that are needed; blocks.
fn survey(
    repo: &Repository,
    selection: &Selection,
    options: &RestoreOptions,
    (target, thaw): (Option<&Target>, Option<&Thaw>),
    reading: Reading,
    stop: &Stop,
    runtime: &Handle,
) -> Result<(RestorePlan, Vec<super::Id>), RepoError> {
    let mut walk = Walk::new(repo, selection, thaw, stop, runtime.clone());
    let mut planner = Planner::new(selection, options, (target, reading), stop, None);
    while let Some(window) = walk.next_window()? {
        if let Err(Stopped) = planner.window(window) {
            stop.result()?;
            return Err(RepoError::Cancelled);
        }
    }
    repo.0.trees.clear();
    let packs = planner.packs();
    Ok((planner.totals, packs))
}
