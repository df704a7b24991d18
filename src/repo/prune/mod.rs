//! Prune: removes what no snapshot needs, in two phases, so that a mistake about who else is at work costs nothing.
//!
//! **Phase one** finds, under an exclusive lock, what neither a listed snapshot nor one in the trash needs, moves the
//! rest out of packs that are mostly unneeded, and *marks* the unneeded packs. Marked packs stay where they are and stay in
//! the index. **Phase two**, in a later prune, finds out again what is needed. A marked pack that is needed after all is
//! rescued: its mark goes. One that has been unneeded for the whole grace period leaves the index and is deleted. A grace
//! period of zero does both at once, which is what restic does.
//!
//! **Why nobody loses a blob.** The danger is a backup under way that relies on an unneeded pack.
//!
//! - A client with a fresh lock: we do not begin; its lock excludes ours, and ours excludes it.
//! - A client whose lock counts as stale only by its age (a machine that slept, a wrong clock): a prune that meets such a
//!   lock removes nothing, and neither does any other until a grace period has passed since. When that client commits
//!   meanwhile, its snapshot is whole, because marked packs are in the index; the next prune sees it, and rescues.
//! - A client that ignores locks: before packs leave the index, and again before they are deleted, the snapshots are
//!   listed once more. A new one ends the prune; what has left the index is put back.
//!
//! What is left is a client that ignores our lock, or sleeps longer than the grace period under a lock nobody saw, and
//! wakes in the moment between the last look and the deletion. Our own backups do not commit when they lost their lock.
//!
//! **Crash windows**, in the order of the steps:
//!
//! 1. *Repack*: new packs, then the index files that name them. A crash leaves blobs twice; the next prune keeps one copy.
//! 2. *State*: one object in `marks/` with the marks and the snapshots seen. After it the packs are marked; before it
//!    nothing has happened. It precedes the expiry of the trash, which would else look like snapshots that vanished.
//! 3. *Trash*: entries whose period is over go. What they needed may leave only after that, so that nothing can be
//!    brought back whose data is gone.
//! 4. *Index*: new index files without the ripe packs, then the old ones go. In between a pack is named twice.
//! 5. *Packs*: deleted last; no index names them any more. What a crash leaves is marked, in no index, and goes next time.
//! 6. *State* again, without what is gone; a crash before it leaves marks of packs that are not there, which count for
//!    nothing.
//!
//! At every point every listed snapshot has all its blobs in the index and in the store.
//!
//! **Refusals.** [`PruneRefusal`] lists the interlocks; all come before the first change. Objects that the store protects
//! ([`crate::store::ErrorKind::Locked`]) are counted, kept, and tried again by the next prune.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `mod` | the order of the steps |
//! | `report` | options and report |
//! | `catalogue` | packs and blobs, in little memory |
//! | `reach` | what the snapshots need |
//! | `choose` | what becomes of each pack; pure |
//! | `guard` | the interlocks; pure |
//! | `state` | what one prune leaves for the next |
//! | `act` | the changes |

mod act;
mod catalogue;
mod choose;
mod guard;
mod reach;
mod report;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset};
use tokio_util::sync::CancellationToken;

use super::Repository;
use super::beside::Beside;
use super::error::RepoError;
use super::files::FileKind;
use super::id::Id;
use super::lock::Lock;
use super::progress::{Phase, Progress};
use super::snapshot::SnapshotFile;
use super::stop::Stop;
use catalogue::Catalogue;
use choose::{Choice, Limits};
use guard::Facts;
use reach::Follow;
use state::{Seen, State};

pub use guard::PruneRefusal;
pub use report::{PruneOptions, PruneReport};

impl Repository {
    /// Removes what no snapshot needs; the essay of this module says in which order.
    pub async fn prune(
        &self,
        options: PruneOptions,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<PruneReport, RepoError> {
        progress.set_phase(Phase::Preparing);
        // Before the lock: taking it removes the locks that count as stale.
        let doubt = self.doubts_a_lock().await?;
        let lock = self.lock(true).await?;
        let stop = Stop::new(cancel);
        let result = async {
            let mut prune = Prune::look(self, options, &progress, &stop).await?;
            if doubt {
                prune.state.doubt = Some(prune.now);
            }
            prune.act(&lock).await
        }
        .await;
        let released = lock.release().await;
        self.0.trees.clear();
        progress.set_phase(Phase::Done);
        result.and_then(|report| released.map(|()| report))
    }

    /// Says what a prune would do; changes nothing.
    pub async fn prune_plan(
        &self,
        options: PruneOptions,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<PruneReport, RepoError> {
        progress.set_phase(Phase::Preparing);
        let lock: Option<Lock> = self.lock_for_reading().await?;
        let stop = Stop::new(cancel);
        let result = Prune::look(self, options, &progress, &stop).await;
        if let Some(lock) = lock {
            let _ = lock.release().await;
        }
        self.0.trees.clear();
        progress.set_phase(Phase::Done);
        result.map(Prune::planned)
    }
}

/// A prune that has looked at everything and knows what to do.
struct Prune<'a> {
    repo: &'a Repository,
    options: PruneOptions,
    progress: &'a Arc<Progress>,
    stop: &'a Stop,
    now: DateTime<FixedOffset>,
    catalogue: Catalogue,
    choice: Choice,
    state: State,
    /// The names of the listed snapshots when it looked.
    listed: HashSet<String>,
    /// Entries of the trash that go: expired, or left over beside a listed snapshot.
    trash_goes: Vec<String>,
    report: PruneReport,
}

fn seen(id: &str, snapshot: &SnapshotFile) -> Option<Seen> {
    Some(Seen {
        id: Id::parse(id)?,
        original: snapshot.original,
    })
}

/// An error that leaves open what is needed becomes a refusal; one of the store, or a cancellation, stays what it is.
fn uncertain(error: RepoError) -> RepoError {
    match error {
        RepoError::Damaged { .. } | RepoError::MissingBlob { .. } => {
            PruneRefusal::Uncertain { why: error.to_string() }.into()
        }
        RepoError::Store(ref store) if store.kind == crate::store::ErrorKind::NotFound => {
            PruneRefusal::Uncertain { why: error.to_string() }.into()
        }
        other => other,
    }
}

impl<'a> Prune<'a> {
    /// Reads everything, decides, and passes the interlocks; changes nothing.
    async fn look(
        repo: &'a Repository,
        mut options: PruneOptions,
        progress: &'a Arc<Progress>,
        stop: &'a Stop,
    ) -> Result<Self, RepoError> {
        let now = repo.time();
        // What is moved is there twice for a while: a repository that is nearly full makes room by what it can delete.
        if let Some(room) = repo.store().room().await? {
            let left = room.left().0;
            options.max_repack_bytes = Some(options.max_repack_bytes.map_or(left, |most| most.min(left)));
        }
        // Snapshots before the index, as every reader does.
        let snapshots = repo.snapshots().await.map_err(uncertain)?;
        let trash = repo.trash().await.map_err(uncertain)?;
        let listed: HashSet<String> = snapshots.iter().map(|info| info.id.clone()).collect();
        let pins = repo.list_beside(Beside::Pin).await?;
        let mut trash_goes = repo.list_beside(Beside::Trash).await?;
        trash_goes.retain(|name| listed.contains(name));
        let period = chrono::Duration::from_std(options.trash_period).unwrap_or(chrono::Duration::MAX);
        let over = |at: DateTime<FixedOffset>| now.signed_duration_since(at) >= period;
        let (expired, stays): (Vec<_>, Vec<_>) = trash
            .into_iter()
            .partition(|one| over(one.at) && !pins.contains(&one.id));
        trash_goes.extend(expired.iter().map(|one| one.id.clone()));
        let state = State::load(repo).await?;
        let catalogue = Catalogue::load(repo).await.map_err(uncertain)?;
        let mut this = Self {
            repo,
            progress,
            stop,
            now,
            catalogue,
            choice: Choice::default(),
            state,
            listed,
            trash_goes,
            report: PruneReport {
                snapshots: snapshots.len() as u64,
                trash_kept: stays.len() as u64,
                trash_expired: expired.iter().map(|one| one.id.clone()).collect(),
                ..PruneReport::default()
            },
            options,
        };
        let kept = snapshots.iter().map(|info| seen(&info.id, &info.snapshot));
        let kept: Vec<Seen> = kept
            .chain(stays.iter().map(|one| seen(&one.id, &one.snapshot)))
            .flatten()
            .collect();
        let expired: Vec<Seen> = expired.iter().filter_map(|one| seen(&one.id, &one.snapshot)).collect();
        let pinned: Vec<Id> = pins.iter().filter_map(|name| Id::parse(name)).collect();
        this.check_snapshots(&kept, &expired, &pinned)?;
        for info in &snapshots {
            this.reach(info.snapshot.tree, Follow::Whole).await?;
        }
        for one in &stays {
            if !this.reach(one.snapshot.tree, Follow::WhatIsLeft).await? {
                this.report.trash_broken.push(one.id.clone());
            }
        }
        this.decide();
        this.check_share(&kept, &expired)?;
        this.state.seen = Some(kept);
        Ok(this)
    }

    async fn reach(&mut self, root: Id, follow: Follow) -> Result<bool, RepoError> {
        let reached = self.catalogue.reach(self.repo, root, follow, self.stop).await;
        Progress::add(&self.progress.files_done, 1);
        reached.map_err(uncertain)
    }

    fn facts<'b>(&'b self, kept: &'b [Seen], expired: &'b [Seen], pinned: &'b [Id]) -> Facts<'b> {
        Facts {
            kept,
            expired,
            seen: self.state.seen.as_deref(),
            pinned,
            packs: self.catalogue.packs.iter().filter(|pack| pack.size.is_some()).count(),
            accept_missing: self.options.accept_missing,
        }
    }

    fn check_snapshots(&self, kept: &[Seen], expired: &[Seen], pinned: &[Id]) -> Result<(), PruneRefusal> {
        self.facts(kept, expired, pinned).check_snapshots()
    }

    fn check_share(&self, kept: &[Seen], expired: &[Seen]) -> Result<(), PruneRefusal> {
        if self.options.accept_shrink {
            return Ok(());
        }
        // What was marked before has passed this interlock then.
        let packs = self.choice.unneeded.iter().chain(&self.choice.orphans);
        let newly = packs
            .map(|pack| &self.catalogue.packs[*pack as usize])
            .filter(|info| !self.state.marks.contains_key(&info.id));
        let going = newly.filter_map(|info| info.size).sum::<u64>() + self.choice.unused_freed;
        self.facts(kept, expired, &[])
            .check_share(going, self.catalogue.stored_bytes())
    }

    fn decide(&mut self) {
        let limits = Limits {
            max_unused_percent: self.options.max_unused_percent,
            max_repack_bytes: self.options.max_repack_bytes,
            repack_small: self.options.repack_small,
            pack_bytes: self.options.pack_bytes as u64,
        };
        self.choice = Choice::make(&self.catalogue, &self.state.marks, limits);
        let (choice, report) = (&self.choice, &mut self.report);
        let bytes = |packs: &[u32]| -> u64 {
            let sizes = packs
                .iter()
                .filter_map(|pack| self.catalogue.packs[*pack as usize].size);
            sizes.sum()
        };
        report.packs_before = self.catalogue.packs.iter().filter(|pack| pack.size.is_some()).count() as u64;
        report.bytes_before = self.catalogue.stored_bytes();
        report.packs_repacked = choice.repack.len() as u64;
        report.bytes_repacked = bytes(&choice.repack);
        report.packs_rescued = choice.rescued.len() as u64;
        report.orphans = choice.orphans.len() as u64;
        report.bytes_unused_left = choice.unused_left;
    }

    /// Renews the marks: what is unneeded now keeps the time since when it is, everything else loses its mark.
    fn mark(&mut self) {
        let packs = &self.catalogue.packs;
        let unneeded = self.choice.unneeded.iter().chain(&self.choice.orphans);
        let old = std::mem::take(&mut self.state.marks);
        self.report.packs_marked = 0;
        for pack in unneeded {
            let id = packs[*pack as usize].id;
            let since = old.get(&id).copied();
            self.report.packs_marked += u64::from(since.is_none());
            self.state.marks.insert(id, since.unwrap_or(self.now));
        }
        for pack in &self.choice.repack {
            self.report.packs_marked += 1;
            self.state.marks.insert(packs[*pack as usize].id, self.now);
        }
    }

    fn is_ripe(&self, since: DateTime<FixedOffset>) -> bool {
        let grace = chrono::Duration::from_std(self.options.grace).unwrap_or(chrono::Duration::MAX);
        self.now.signed_duration_since(since) >= grace
    }

    /// The packs whose grace period is over.
    fn ripe(&self) -> Vec<u32> {
        let choice = &self.choice;
        let packs = choice.unneeded.iter().chain(&choice.orphans).chain(&choice.repack);
        let ripe = |pack: &&u32| {
            let since = self.state.marks.get(&self.catalogue.packs[**pack as usize].id);
            since.is_some_and(|since| self.is_ripe(*since))
        };
        packs.filter(ripe).copied().collect()
    }

    /// Counts what still waits.
    fn count_waiting(&mut self, deleted: &HashSet<Id>) {
        let waits = |info: &&catalogue::PackInfo| {
            info.size.is_some() && self.state.marks.contains_key(&info.id) && !deleted.contains(&info.id)
        };
        let waiting: Vec<_> = self.catalogue.packs.iter().filter(waits).collect();
        let grace = chrono::Duration::from_std(self.options.grace).unwrap_or(chrono::Duration::zero());
        let first = waiting.iter().filter_map(|info| self.state.marks.get(&info.id)).min();
        self.report.packs_waiting = waiting.len() as u64;
        self.report.bytes_waiting = waiting.iter().filter_map(|info| info.size).sum();
        self.report.next_ripe_at = first.and_then(|since| since.checked_add_signed(grace));
    }

    fn planned(mut self) -> PruneReport {
        self.mark();
        self.report.dry_run = true;
        let ripe = self.ripe();
        let deleted: HashSet<Id> = Choice::ids(&self.catalogue, &ripe).into_iter().collect();
        let sizes = ripe.iter().filter_map(|pack| self.catalogue.packs[*pack as usize].size);
        self.report.packs_deleted = ripe.len() as u64;
        self.report.bytes_deleted = sizes.sum();
        self.count_waiting(&deleted);
        self.report
    }
}

/// What the listing says now about the snapshots.
async fn newcomer(repo: &Repository, known: &HashSet<String>) -> Result<Option<String>, RepoError> {
    let names = repo.list_files(FileKind::Snapshot).await?;
    Ok(names
        .into_iter()
        .map(|(name, _)| name)
        .find(|name| !known.contains(name)))
}
