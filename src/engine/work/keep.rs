//! Maintenance on the real repository: the trash, pins, words, prune, check.
//!
//! What may have been done before the agent died counts as done when it is found done: a snapshot that is in the trash
//! already was forgotten, one that is pinned was pinned.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Worker;
use super::browse::names;
use super::failure::of_repo;
use super::log_keep;
use crate::domain::id::SnapshotId;
use crate::domain::job::RepositoryDefinition;
use crate::domain::maintenance::{Maintenance, MaintenanceResult, SnapshotChange, Task};
use crate::domain::run::{Failure, Outcome};
use crate::domain::units::{Bytes, Timestamp};
use crate::engine::hands::{Known, Work};
use crate::repo::rate::sampler;
use crate::repo::short;
use crate::repo::{
    CheckOptions, CheckReport, Note, Progress, PruneOptions, PruneReport, ReadData, RepoError, Repository, TagChange,
};

/// How many lines of what was found are kept.
const FINDINGS_KEPT: usize = 50;

/// What a piece of maintenance is done with.
struct Desk<'w> {
    work: &'w Work,
    definition: &'w RepositoryDefinition,
    repo: Repository,
    progress: Arc<Progress>,
    by: String,
}

/// Does maintenance; what goes wrong is in the result.
pub(super) async fn maintain(worker: &Worker, work: Work, maintenance: Maintenance) -> MaintenanceResult {
    match attempt(worker, &work, &maintenance).await {
        Ok(result) => result,
        Err(failure) => {
            let cancelled = work.cancel.is_cancelled();
            let outcome = if cancelled { Outcome::Cancelled } else { Outcome::Failed };
            MaintenanceResult::failed(outcome, failure)
        }
    }
}

async fn attempt(worker: &Worker, work: &Work, maintenance: &Maintenance) -> Result<MaintenanceResult, Failure> {
    let name = &maintenance.repository;
    let definition = work.definitions.repositories.get(name).ok_or_else(|| {
        Failure::permanent(
            format!("repository {name} is not in the configuration"),
            "lifeboat config check",
        )
    })?;
    let progress = Progress::new();
    let _ = work.progress.set(sampler(progress.clone(), worker.clock.clone()));
    let desk = Desk {
        work,
        definition,
        repo: worker.repositories.get(definition, &worker.clock).await?,
        progress,
        by: maintenance.requested_by.clone(),
    };
    let done = match &maintenance.task {
        Task::Forget { snapshots, reason, .. } => desk.forget(snapshots, reason).await,
        Task::Untrash { snapshot } => desk.untrash(snapshot).await,
        Task::Pin { snapshot, reason } => desk.pin(snapshot, reason.clone()).await,
        Task::Unpin { snapshot, reason } => desk.unpin(snapshot, reason.clone()).await,
        Task::Tag { snapshot, add, remove } => desk.tag(snapshot, add, remove).await,
        Task::Prune => {
            let done = desk.prune().await;
            // Packs moved: what the open repository remembers of its index no longer holds, however the prune ended.
            worker.repositories.forget(name).await;
            match done {
                Ok(mut result) => {
                    let logs = log_keep::prune(worker, work, definition, &desk.repo).await;
                    result.freed.0 += logs.freed.0;
                    result.findings.extend(logs.findings);
                    Ok(result)
                }
                failed => failed,
            }
        }
        Task::Check { subset } => desk.check(subset.as_deref()).await,
    };
    done.map_err(|error| of_repo(&error))
}

impl Desk<'_> {
    fn note(&self, reason: Option<String>) -> Note {
        let by = self.by.clone();
        Note { by, reason }
    }

    fn kept_until(&self, at: Timestamp) -> Option<Timestamp> {
        at.checked_add_signed(self.definition.upkeep.trash.to_chrono())
    }

    async fn forget(&self, snapshots: &[SnapshotId], reason: &str) -> Result<MaintenanceResult, RepoError> {
        let ids: Vec<String> = snapshots.iter().map(|id| id.0.clone()).collect();
        let done = self.repo.forget(&ids, &self.note(Some(reason.to_owned()))).await?;
        let trash = self.repo.trash().await?;
        let mut changes = Vec::new();
        for trashed in trash.into_iter().filter(|trashed| ids.contains(&trashed.id)) {
            changes.push(SnapshotChange::Forgotten {
                snapshot: SnapshotId(trashed.id),
                until: self.kept_until(trashed.at.to_utc()),
                by: trashed.note.by,
                reason: trashed.note.reason.unwrap_or_default(),
            });
        }
        let forgotten = |id: &String| {
            let is_it = |change: &SnapshotChange| matches!(change, SnapshotChange::Forgotten { snapshot, .. } if snapshot.0 == *id);
            changes.iter().any(is_it)
        };
        let left: Vec<String> = done
            .refused
            .iter()
            .filter(|(id, _)| !forgotten(id))
            .map(|(id, why)| format!("{} was not forgotten: {why}", short(id)))
            .collect();
        let summary = format!("{} in the trash, {} left alone", changes.len(), left.len());
        let mut result = MaintenanceResult::done(summary, changes);
        if !left.is_empty() {
            result.outcome = Outcome::Partial;
        }
        result.findings = left.into_iter().take(FINDINGS_KEPT).collect();
        Ok(result)
    }

    async fn untrash(&self, snapshot: &SnapshotId) -> Result<MaintenanceResult, RepoError> {
        match self.repo.untrash(snapshot.as_str()).await {
            Ok(_) => {}
            // Brought back already, by the attempt before this one or beside the agent.
            Err(RepoError::NotInTrash { .. }) if self.repo.snapshot(snapshot.as_str()).await.is_ok() => {}
            Err(error) => return Err(error),
        }
        let snapshot = snapshot.clone();
        let changes = vec![SnapshotChange::Unforgotten { snapshot }];
        Ok(MaintenanceResult::done("back from the trash", changes))
    }

    async fn pin(&self, snapshot: &SnapshotId, reason: Option<String>) -> Result<MaintenanceResult, RepoError> {
        let pin = self.repo.pin(snapshot.as_str(), &self.note(reason)).await?;
        let change = SnapshotChange::Pinned {
            snapshot: SnapshotId(pin.snapshot),
            by: pin.note.by,
            reason: pin.note.reason,
        };
        Ok(MaintenanceResult::done("pinned", vec![change]))
    }

    async fn unpin(&self, snapshot: &SnapshotId, reason: Option<String>) -> Result<MaintenanceResult, RepoError> {
        match self.repo.unpin(snapshot.as_str(), &self.note(reason)).await {
            Ok(()) | Err(RepoError::NotPinned { .. }) => {}
            Err(error) => return Err(error),
        }
        let snapshot = snapshot.clone();
        Ok(MaintenanceResult::done(
            "pinned no more",
            vec![SnapshotChange::Unpinned { snapshot }],
        ))
    }

    async fn tag(
        &self,
        snapshot: &SnapshotId,
        add: &[String],
        remove: &[String],
    ) -> Result<MaintenanceResult, RepoError> {
        let change = TagChange {
            add: add.to_vec(),
            remove: remove.to_vec(),
        };
        let done = self.repo.tag(snapshot.as_str(), &change).await?;
        let new = SnapshotId(done.new.id);
        let summary = format!("now {}", new.short());
        let change = SnapshotChange::Retagged {
            old: SnapshotId(done.old.id),
            new,
            tags: done.new.snapshot.tags,
        };
        Ok(MaintenanceResult::done(summary, vec![change]))
    }

    async fn prune(&self) -> Result<MaintenanceResult, RepoError> {
        let options = PruneOptions {
            trash_period: self.definition.upkeep.trash.to_std(),
            grace: self.definition.upkeep.grace.to_std(),
            ..PruneOptions::default()
        };
        let cancel = self.work.cancel.clone();
        let report = self.repo.prune(options, self.progress.clone(), cancel).await?;
        let purged = report.trash_expired.iter().map(|id| SnapshotChange::Purged {
            snapshot: SnapshotId(id.clone()),
        });
        let mut result = MaintenanceResult::done(pruned(&report), purged.collect());
        result.freed = Bytes(report.bytes_deleted);
        let broken = report.trash_broken.iter().take(FINDINGS_KEPT);
        let broken = broken.map(|id| format!("{} in the trash cannot come back", short(id)));
        result.findings = report.postponed.iter().cloned().chain(broken).collect();
        Ok(result)
    }

    async fn check(&self, subset: Option<&str>) -> Result<MaintenanceResult, RepoError> {
        let options = CheckOptions {
            read_data: read_data(subset),
            snapshot: None,
        };
        let cancel = self.work.cancel.clone();
        let report = self.repo.check(options, self.progress.clone(), cancel).await?;
        let mut result = MaintenanceResult::done(checked(&report), Vec::new());
        let wrong = report
            .errors
            .iter()
            .map(|problem| format!("{} {}: {}", problem.kind, problem.file, problem.message));
        result.findings = wrong.chain(report.notes.iter().cloned()).take(FINDINGS_KEPT).collect();
        result.sound = Some(report.errors.is_empty());
        if !report.errors.is_empty() {
            result.outcome = Outcome::Failed;
            result.error = Some(Failure::permanent(
                format!("{} things are not as they were written", report.errors.len()),
                "forget and prune nothing; look at what it found, and restore what matters elsewhere",
            ));
        }
        Ok(result)
    }
}

/// How much a check reads; the text was looked at when it was asked for.
fn read_data(subset: Option<&str>) -> ReadData {
    let Some(text) = subset else { return ReadData::None };
    if let Some(percent) = text.strip_suffix('%').and_then(|number| number.parse().ok()) {
        return ReadData::Percent(percent);
    }
    let part = text.split_once('/');
    match part.and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?))) {
        Some((part, of)) => ReadData::Part { part, of },
        None => ReadData::All,
    }
}

fn pruned(report: &PruneReport) -> String {
    let mut words = vec![format!(
        "{} packs deleted, {} free",
        report.packs_deleted,
        Bytes(report.bytes_deleted)
    )];
    if report.packs_waiting > 0 {
        words.push(format!("{} wait for the grace period", Bytes(report.bytes_waiting)));
    }
    if !report.trash_expired.is_empty() {
        words.push(format!("{} left the trash", report.trash_expired.len()));
    }
    if report.packs_repacked > 0 {
        words.push(format!("{} packs rewritten", report.packs_repacked));
    }
    words.join(", ")
}

fn checked(report: &CheckReport) -> String {
    let read = match report.packs_read {
        0 => "data not read".to_owned(),
        read => format!("{read} packs read"),
    };
    match report.errors.len() {
        0 => format!(
            "{} snapshots and {} packs are sound, {read}",
            report.snapshots, report.packs
        ),
        wrong => format!("{wrong} problems in {} packs, {read}", report.packs),
    }
}

/// What became of known snapshots, as a listing shows it: forgotten, purged, pinned or unpinned beside the agent.
pub(super) async fn changes(
    definition: &RepositoryDefinition,
    repo: &Repository,
    known: &Known,
    held: &BTreeSet<SnapshotId>,
    trash: &BTreeSet<SnapshotId>,
) -> Result<Vec<SnapshotChange>, Failure> {
    let mut changes = Vec::new();
    let forgotten = |id: &SnapshotId| known.listed.contains(id) && !held.contains(id);
    // Entries are read only when there is news in them.
    if trash.iter().any(forgotten) {
        let entries = repo.trash().await.map_err(|error| of_repo(&error))?;
        for entry in entries {
            let snapshot = SnapshotId(entry.id);
            if forgotten(&snapshot) {
                changes.push(SnapshotChange::Forgotten {
                    snapshot,
                    until: entry
                        .at
                        .to_utc()
                        .checked_add_signed(definition.upkeep.trash.to_chrono()),
                    by: entry.note.by,
                    reason: entry.note.reason.unwrap_or_default(),
                });
            }
        }
    }
    let purged = known
        .trashed
        .iter()
        .filter(|id| !trash.contains(*id) && !held.contains(*id));
    changes.extend(purged.cloned().map(|snapshot| SnapshotChange::Purged { snapshot }));
    let pins = names(repo, "pins/").await?;
    let unpinned = known.pinned.difference(&pins).cloned();
    changes.extend(unpinned.map(|snapshot| SnapshotChange::Unpinned { snapshot }));
    if pins.iter().any(|id| !known.pinned.contains(id) && held.contains(id)) {
        for pin in repo.pins().await.map_err(|error| of_repo(&error))? {
            let snapshot = SnapshotId(pin.snapshot);
            if !known.pinned.contains(&snapshot) && held.contains(&snapshot) {
                changes.push(SnapshotChange::Pinned {
                    snapshot,
                    by: pin.note.by,
                    reason: pin.note.reason,
                });
            }
        }
    }
    Ok(changes)
}
