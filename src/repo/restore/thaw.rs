//! Cold packs: asked for all at once, waited for, and only then read.
//!
//! Bringing an object back from a cold storage class takes minutes to hours and costs money, so the plan never asks for
//! it, and a restore asks for everything it needs when it meets the first cold pack: all come back together. Waiting
//! sleeps on the clock and ends when the restore is cancelled. A pack that is gone is not waited for: reading it says so.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::repo::Repository;
use crate::repo::error::RepoError;
use crate::repo::files::pack_key;
use crate::repo::id::Id;
use crate::repo::index::Index;
use crate::repo::pack::BlobKind;
use crate::repo::progress::{Phase, Progress};
use crate::repo::stop::Stop;
use crate::store::{ErrorKind, Thaw as State};

/// How often the store is asked how far it is.
const POLL: Duration = Duration::from_secs(30);
/// How many packs are asked for at once.
const PARALLEL: usize = 16;
/// A plan asks for the state of at most so many packs.
const MOST_PROBES: usize = 512;

/// The thawing of one restore.
#[derive(Debug)]
pub(super) struct Thaw {
    progress: Arc<Progress>,
    trees: tokio::sync::Mutex<bool>,
    data: Mutex<bool>,
}

impl Thaw {
    pub(super) fn new(progress: Arc<Progress>) -> Self {
        Self {
            progress,
            trees: tokio::sync::Mutex::new(false),
            data: Mutex::new(false),
        }
    }

    /// Thaws every pack with trees: a walk needs most of them, and they are few.
    pub(super) async fn trees(&self, repo: &Repository, index: &Index, stop: &Stop) -> Result<(), RepoError> {
        let mut done = self.trees.lock().await;
        let trees = index.iter().filter(|(kind, ..)| *kind == BlobKind::Tree);
        let packs: BTreeSet<Id> = trees.map(|(_, _, at)| index.pack(at)).collect();
        self.once(&mut done, repo, packs.into_iter().collect(), stop).await
    }

    /// Thaws the packs a restore needs; `needed` finds out which, on the first call only. Blocks.
    pub(super) fn data<F>(&self, runtime: &Handle, repo: &Repository, stop: &Stop, needed: F) -> Result<(), RepoError>
    where
        F: FnOnce() -> Result<Vec<Id>, RepoError>,
    {
        // Whoever comes second waits here until all packs are warm.
        let mut done = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        let packs = if *done { Vec::new() } else { needed()? };
        runtime.block_on(self.once(&mut done, repo, packs, stop))
    }

    /// Waits once; whoever comes later finds the packs warm, or waits a little for a store that is slow to notice.
    async fn once(&self, done: &mut bool, repo: &Repository, packs: Vec<Id>, stop: &Stop) -> Result<(), RepoError> {
        if *done {
            return pause(repo, stop).await;
        }
        let before = self.progress.phase();
        self.progress.set_phase(Phase::Thawing);
        let thawed = thaw(repo, packs, &self.progress, stop).await;
        self.progress.set_phase(before);
        *done = thawed.is_ok();
        thawed
    }
}

async fn pause(repo: &Repository, stop: &Stop) -> Result<(), RepoError> {
    let slept = stop.token().run_until_cancelled(repo.clock().sleep(POLL)).await;
    slept.ok_or(RepoError::Cancelled)
}

async fn thaw(repo: &Repository, packs: Vec<Id>, progress: &Arc<Progress>, stop: &Stop) -> Result<(), RepoError> {
    Progress::add(&progress.packs_cold, packs.len() as u64);
    let mut waiting = packs;
    loop {
        let total = waiting.len();
        let asked = stop.token().run_until_cancelled(ask(repo, waiting, progress)).await;
        waiting = asked.unwrap_or(Err(RepoError::Cancelled))?;
        Progress::add(&progress.packs_thawed, (total - waiting.len()) as u64);
        if waiting.is_empty() {
            return Ok(());
        }
        pause(repo, stop).await?;
    }
}

/// Asks for every pack; returns those that are still cold.
async fn ask(repo: &Repository, packs: Vec<Id>, progress: &Arc<Progress>) -> Result<Vec<Id>, RepoError> {
    let ask = async |repo: Repository, pack: Id, progress: Arc<Progress>| {
        let key = pack_key(&pack);
        match repo.retry(Some(&progress.retries), || repo.store().thaw(&key)).await {
            Ok(State::Pending) => Ok(Some(pack)),
            Ok(State::Ready) => Ok(None),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RepoError::from(error)),
        }
    };
    let tasks = packs
        .into_iter()
        .map(|pack| ask(repo.clone(), pack, Arc::clone(progress)));
    some_at_once(tasks)
        .await?
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map(|states| states.into_iter().flatten().collect())
}

/// How many of these packs cannot be read now; none when there are too many to ask for each.
pub(super) async fn count_cold(repo: &Repository, packs: Vec<Id>) -> Option<u64> {
    if !repo.store().capabilities().remote {
        // A directory has no storage classes.
        return Some(0);
    }
    if packs.len() > MOST_PROBES {
        return None;
    }
    let probe = async |repo: Repository, pack: Id| {
        let read = repo.store().get_range(&pack_key(&pack), 0, 1).await;
        matches!(read, Err(error) if error.kind == ErrorKind::Cold)
    };
    let states = some_at_once(packs.into_iter().map(|pack| probe(repo.clone(), pack)))
        .await
        .ok()?;
    Some(states.into_iter().filter(|cold| *cold).count() as u64)
}

/// Runs requests, a bounded number at a time.
async fn some_at_once<T: Send + 'static>(
    requests: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Result<Vec<T>, RepoError> {
    let ended = |error: tokio::task::JoinError| RepoError::internal(format!("a request ended: {error}"));
    let (mut running, mut done) = (JoinSet::new(), Vec::new());
    for request in requests {
        if running.len() >= PARALLEL
            && let Some(first) = running.join_next().await
        {
            done.push(first.map_err(ended)?);
        }
        running.spawn(request);
    }
    while let Some(next) = running.join_next().await {
        done.push(next.map_err(ended)?);
    }
    Ok(done)
}
