//! How repositories are kept in order: the facts, and what events of maintenance do to them.
//!
//! Like [`super::apply`], whose part this is, it never fails and never asks whether something was wise.

use serde::{Deserialize, Serialize};

use super::apply::{drop_restore_point, record_snapshot};
use super::event::Event;
use super::id::SnapshotId;
use super::maintenance::{Maintenance, MaintenanceRecord, MaintenanceState, RESUMED_AT_MOST, Task};
use super::run::{Failure, Outcome};
use super::snapshot::SnapshotRecord;
use super::state::{RetentionFacts, State};
use super::units::{Bytes, Timestamp};

/// How a repository is kept in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpkeepFacts {
    /// Since when it is known; schedules count from here.
    pub since: Timestamp,
    /// The latest due time of a prune that was acted on.
    pub prune_due: Option<Timestamp>,
    /// The latest due time of a check that was acted on.
    pub check_due: Option<Timestamp>,
    /// The last prune.
    pub prune: Option<UpkeepRun>,
    /// The last check.
    pub check: Option<UpkeepRun>,
    /// Why the last forgetting, pinning or tagging failed; none after one that did not.
    pub failure: Option<Failure>,
    /// What the last check that looked found wrong.
    pub damage: Option<String>,
}

impl UpkeepFacts {
    /// A repository that was just heard of.
    pub const fn since(since: Timestamp) -> Self {
        Self {
            since,
            prune_due: None,
            check_due: None,
            prune: None,
            check: None,
            failure: None,
            damage: None,
        }
    }
}

/// How a prune or a check went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpkeepRun {
    /// When it ended.
    pub at: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// What it did, in a line.
    pub summary: String,
    /// What became free.
    pub freed: Bytes,
    /// What went wrong.
    pub error: Option<Failure>,
}

/// Applies an event of maintenance.
pub(super) fn apply(state: &mut State, at: Timestamp, event: &Event) {
    match event {
        Event::MaintenanceRequested { maintenance } => request(state, maintenance),
        Event::MaintenanceStarted { maintenance } => {
            if let Some(live) = state.maintenance.get_mut(maintenance) {
                live.state = MaintenanceState::Running;
                live.started_at = Some(at);
                live.attempt += 1;
            }
        }
        Event::MaintenanceCancelRequested { maintenance, by } => {
            if let Some(live) = state.maintenance.get_mut(maintenance) {
                live.cancel_requested = Some(by.clone());
            }
        }
        Event::MaintenanceFinished { record, sound } => finish(state, record, *sound),
        Event::RetentionApplied { job, kept, forgotten } => {
            if let Some(facts) = state.jobs.get_mut(job) {
                facts.retention_due = false;
                facts.retention = Some(RetentionFacts {
                    at,
                    kept: *kept,
                    forgotten: *forgotten,
                    refused: None,
                });
            }
        }
        Event::RetentionRefused { job, over } => {
            if let Some(facts) = state.jobs.get_mut(job) {
                facts.retention_due = false;
                facts.retention = Some(RetentionFacts {
                    at,
                    kept: over.of,
                    forgotten: 0,
                    refused: Some(*over),
                });
            }
        }
        Event::SnapshotForgotten { snapshot, .. } | Event::SnapshotPurged { snapshot } => {
            drop_restore_point(state, snapshot);
        }
        Event::SnapshotPinned { snapshot, mark } => {
            state.pinned.insert(snapshot.clone());
            with_point(state, snapshot, |point| point.pinned = Some(mark.clone()));
        }
        Event::SnapshotUnpinned { snapshot } => {
            state.pinned.remove(snapshot);
            with_point(state, snapshot, |point| point.pinned = None);
        }
        Event::SnapshotRetagged { old, new, tags } => retag(state, old, new, tags),
        // Who comes back from the trash is recorded beside this.
        _ => {}
    }
}

fn request(state: &mut State, maintenance: &Maintenance) {
    if let Some(facts) = state.upkeep.get_mut(&maintenance.repository) {
        match maintenance.task {
            Task::Prune => facts.prune_due = facts.prune_due.max(maintenance.due),
            Task::Check { .. } => facts.check_due = facts.check_due.max(maintenance.due),
            _ => {}
        }
    }
    state.maintenance.insert(maintenance.id.clone(), maintenance.clone());
}

fn finish(state: &mut State, record: &MaintenanceRecord, sound: Option<bool>) {
    state.maintenance.remove(&record.id);
    let facts = state
        .upkeep
        .entry(record.repository.clone())
        .or_insert_with(|| UpkeepFacts::since(record.finished_at));
    let run = || UpkeepRun {
        at: record.finished_at,
        outcome: record.outcome,
        summary: record.summary.clone(),
        freed: record.freed,
        error: record.error.clone(),
    };
    if record.outcome != Outcome::Cancelled {
        match record.task {
            Task::Prune => facts.prune = Some(run()),
            Task::Check { .. } => facts.check = Some(run()),
            _ => facts.failure = record.error.clone().filter(|_| record.outcome.is_failure()),
        }
    }
    match sound {
        Some(true) => facts.damage = None,
        Some(false) => facts.damage = Some(record.summary.clone()),
        None => {}
    }
}

fn with_point(state: &mut State, snapshot: &SnapshotId, change: impl Fn(&mut SnapshotRecord)) {
    for facts in state.sources.values_mut() {
        facts
            .restore_points
            .iter_mut()
            .filter(|point| point.id == *snapshot)
            .for_each(&change);
    }
}

fn retag(state: &mut State, old: &SnapshotId, new: &SnapshotId, tags: &[String]) {
    let points = state.sources.values().flat_map(|facts| &facts.restore_points);
    let found = points.into_iter().find(|point| point.id == *old).cloned();
    drop_restore_point(state, old);
    if let Some(point) = found {
        record_snapshot(state, &retagged(&point, new, tags));
    }
    let figures = state.jobs.values_mut().flat_map(|facts| &mut facts.figures);
    figures
        .filter(|sample| sample.id == *old)
        .for_each(|sample| sample.id = new.clone());
    if state.pinned.remove(old) {
        state.pinned.insert(new.clone());
    }
    for facts in state.sources.values_mut() {
        facts
            .inconclusive
            .iter_mut()
            .filter(|last| last.snapshot == *old)
            .for_each(|last| last.snapshot = new.clone());
    }
}

/// The record of a snapshot under the id it has with other words.
pub fn retagged(known: &SnapshotRecord, new: &SnapshotId, tags: &[String]) -> SnapshotRecord {
    SnapshotRecord {
        id: new.clone(),
        tags: tags.to_vec(),
        replaced_by: None,
        ..known.clone()
    }
}

/// An agent begins, or ends: what it can do twice waits for its turn again.
pub(super) fn begin_again(state: &mut State) {
    for live in state.maintenance.values_mut().filter(|live| resumes(live)) {
        live.state = MaintenanceState::Queued;
    }
}

/// Whether running maintenance begins again after its agent ended.
pub(super) fn resumes(live: &Maintenance) -> bool {
    live.state == MaintenanceState::Running && live.task.is_resumed() && live.attempt < RESUMED_AT_MOST
}
