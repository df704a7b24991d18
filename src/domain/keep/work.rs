//! What maintenance is due, what may begin, and what its end means.
//!
//! A prune has the repository to itself: it waits for what is going on there, and what comes meanwhile waits for it. Only
//! a person's recovery does not wait: it stops a prune that is under way. The rest is short, or shares.

use super::{ask, requested};
use crate::domain::decide::Context;
use crate::domain::event::Event;
use crate::domain::id::{JobName, MaintenanceId, RepositoryName};
use crate::domain::job::Definitions;
use crate::domain::maintenance::{
    Maintenance, MaintenanceRecord, MaintenanceResult, MaintenanceState, SnapshotChange, Task,
};
use crate::domain::react::Effect;
use crate::domain::recovery::RecoveryState;
use crate::domain::run::{Failure, Outcome, RunState};
use crate::domain::schedule::Schedule;
use crate::domain::snapshot::Mark;
use crate::domain::state::State;
use crate::domain::units::{Bytes, Timestamp};
use crate::domain::upkeep::{UpkeepFacts, resumes};

/// Due times counted at most when many were missed: only the latest matters.
const DUE_COUNTED: usize = 10_000;

/// Prunes and checks whose time has come.
pub fn due_maintenance(context: &Context<'_>) -> Vec<Event> {
    let mut events = Vec::new();
    let mut unique = context.unique;
    for (name, repository) in &context.definitions.repositories {
        let Some(facts) = context.state.upkeep.get(name) else {
            continue;
        };
        let upkeep = &repository.upkeep;
        let prune = upkeep
            .prune
            .as_ref()
            .map(|schedule| (schedule, facts.prune_due, Task::Prune));
        let check = upkeep.check.as_ref().map(|check| {
            let subset = check.read_data_subset.clone();
            (&check.schedule, facts.check_due, Task::Check { subset })
        });
        for (schedule, last_due, task) in prune.into_iter().chain(check) {
            if let Some(due) = due(context, schedule, last_due, facts) {
                let context = Context { unique, ..*context };
                unique = unique.wrapping_add(1);
                // One that is under way, or was asked for by hand, is this one too.
                if ask(&context, "agent", name, task.clone()).is_ok() {
                    events.push(requested(&context, "agent", name, task, Some(due)));
                }
            }
        }
    }
    events
}

fn due(context: &Context<'_>, schedule: &Schedule, last: Option<Timestamp>, facts: &UpkeepFacts) -> Option<Timestamp> {
    let baseline = last.unwrap_or(facts.since);
    let (due, _) = schedule.latest_due(baseline, context.now, DUE_COUNTED)?;
    Some(due)
}

/// When maintenance is due next.
pub fn wake_at(definitions: &Definitions, now: Timestamp) -> Option<Timestamp> {
    let policies = definitions.repositories.values().map(|repository| &repository.upkeep);
    let schedules = policies.flat_map(|upkeep| {
        let check = upkeep.check.as_ref().map(|check| &check.schedule);
        upkeep.prune.iter().chain(check)
    });
    schedules.filter_map(|schedule| schedule.next_after(now)).min()
}

/// Whether a run has to wait because its repository is being pruned, or is about to be.
pub fn holds_back(state: &State, definitions: &Definitions, job: &JobName) -> bool {
    let place = definitions.jobs.get(job).map(|job| &job.repository);
    place.is_some_and(|place| exclusive(state, place).next().is_some())
}

fn exclusive<'a>(state: &'a State, repository: &'a RepositoryName) -> impl Iterator<Item = &'a Maintenance> {
    let here = state
        .maintenance
        .values()
        .filter(move |live| live.repository == *repository);
    here.filter(|live| live.task.is_exclusive())
}

/// Whether a recovery has to wait for a prune, and the prune that has to make way for it.
pub fn holds_back_recovery<'a>(
    state: &'a State,
    repository: &'a RepositoryName,
    is_verification: bool,
) -> (bool, Option<&'a MaintenanceId>) {
    let mut prunes = exclusive(state, repository);
    let Some(prune) = prunes.next() else {
        return (false, None);
    };
    let running = prune.state == MaintenanceState::Running;
    match (is_verification, running) {
        (true, _) => (true, None),
        (false, true) => (true, Some(&prune.id)),
        (false, false) => (false, None),
    }
}

/// The maintenance that may begin now, and what has to stop.
pub fn effects(state: &State, definitions: &Definitions) -> Vec<Effect> {
    let mut effects = Vec::new();
    for live in state.maintenance.values() {
        match live.state {
            MaintenanceState::Running if live.cancel_requested.is_some() => {
                effects.push(Effect::StopMaintenance(live.id.clone()));
            }
            MaintenanceState::Queued if may_begin(state, definitions, live, &effects) => {
                effects.push(Effect::ExecuteMaintenance(live.id.clone()));
            }
            _ => {}
        }
    }
    for recovery in state
        .recoveries
        .values()
        .filter(|live| live.state == RecoveryState::Queued)
    {
        let request = &recovery.request;
        let (_, stop) = holds_back_recovery(state, &request.repository, request.target.is_verification());
        effects.extend(stop.map(|prune| Effect::StopMaintenance(prune.clone())));
    }
    effects
}

fn may_begin(state: &State, definitions: &Definitions, wanted: &Maintenance, begun: &[Effect]) -> bool {
    let repository = &wanted.repository;
    let others = state.maintenance.values().filter(|live| {
        let begins = begun.contains(&Effect::ExecuteMaintenance(live.id.clone()));
        live.repository == *repository && (live.state == MaintenanceState::Running || begins)
    });
    let is_long = |task: &Task| matches!(task, Task::Prune | Task::Check { .. });
    for live in others {
        if wanted.task.is_exclusive() || live.task.is_exclusive() || is_long(&wanted.task) == is_long(&live.task) {
            return false;
        }
    }
    if !wanted.task.is_exclusive() {
        return true;
    }
    let runs_there = state.runs.values().any(|run| {
        let place = definitions.jobs.get(&run.job).map(|job| &job.repository);
        matches!(run.state, RunState::Running) && place == Some(repository)
    });
    let recovers_there = state.recoveries.values().any(|live| {
        let waits = live.state == RecoveryState::Queued && live.request.target.is_verification();
        live.request.repository == *repository && !waits
    });
    !runs_there && !recovers_there
}

/// What it means that maintenance is about to begin.
pub fn started(state: &State, id: &MaintenanceId) -> Vec<Event> {
    let queued = state
        .maintenance
        .get(id)
        .filter(|live| live.state == MaintenanceState::Queued);
    let begun = queued.map(|_| Event::MaintenanceStarted {
        maintenance: id.clone(),
    });
    begun.into_iter().collect()
}

/// What it means that maintenance ended.
pub fn ended(context: &Context<'_>, id: &MaintenanceId, result: MaintenanceResult) -> Vec<Event> {
    let Some(live) = context.state.maintenance.get(id) else {
        return Vec::new();
    };
    let record = MaintenanceRecord {
        summary: result.summary,
        freed: result.freed,
        findings: result.findings,
        ..record(live, result.outcome, result.error, context.now)
    };
    let mut events = found(context, result.changes);
    events.push(Event::MaintenanceFinished {
        record,
        sound: result.sound,
    });
    events
}

fn record(live: &Maintenance, outcome: Outcome, error: Option<Failure>, now: Timestamp) -> MaintenanceRecord {
    MaintenanceRecord {
        id: live.id.clone(),
        repository: live.repository.clone(),
        task: live.task.clone(),
        requested_by: live.requested_by.clone(),
        requested_at: live.requested_at,
        started_at: live.started_at,
        finished_at: now,
        outcome,
        summary: String::new(),
        freed: Bytes(0),
        findings: Vec::new(),
        error,
    }
}

pub(super) fn finished(live: &Maintenance, outcome: Outcome, error: Option<Failure>, now: Timestamp) -> Event {
    Event::MaintenanceFinished {
        record: record(live, outcome, error, now),
        sound: None,
    }
}

/// What was seen to have become of snapshots; what is known already is no news.
pub fn found(context: &Context<'_>, changes: Vec<SnapshotChange>) -> Vec<Event> {
    let mark = |by, reason, until| Mark {
        by,
        at: context.now,
        reason,
        until,
    };
    let pinned = &context.state.pinned;
    let event = |change| match change {
        SnapshotChange::Forgotten {
            snapshot,
            until,
            by,
            reason,
        } => Some(Event::SnapshotForgotten {
            snapshot,
            mark: mark(by, Some(reason).filter(|reason| !reason.is_empty()), until),
        }),
        SnapshotChange::Unforgotten { snapshot } => Some(Event::SnapshotUnforgotten { snapshot }),
        SnapshotChange::Purged { snapshot } => Some(Event::SnapshotPurged { snapshot }),
        SnapshotChange::Pinned { snapshot, by, reason } => {
            (!pinned.contains(&snapshot)).then(|| Event::SnapshotPinned {
                snapshot,
                mark: mark(by, reason, None),
            })
        }
        SnapshotChange::Unpinned { snapshot } => pinned
            .contains(&snapshot)
            .then_some(Event::SnapshotUnpinned { snapshot }),
        SnapshotChange::Retagged { old, new, tags } => {
            (old != new).then_some(Event::SnapshotRetagged { old, new, tags })
        }
        SnapshotChange::Appeared(snapshot) => Some(Event::SnapshotRecorded { snapshot: *snapshot }),
    };
    changes.into_iter().filter_map(event).collect()
}

/// Ends the maintenance that an agent's end cut off and that does not begin again; what its schedule asked for is asked
/// for once more.
pub fn interrupted(context: &Context<'_>, why: &Failure) -> Vec<Event> {
    let mut events = Vec::new();
    let cut_off = context
        .state
        .maintenance
        .values()
        .filter(|live| live.state == MaintenanceState::Running && !resumes(live));
    // The numbers before these are those of the runs that are asked for again.
    for (live, unique) in cut_off.zip(context.unique.wrapping_add(128)..) {
        events.push(finished(live, Outcome::Interrupted, Some(why.clone()), context.now));
        let facts = context.state.upkeep.get(&live.repository);
        let last = facts.and_then(|facts| match live.task {
            Task::Prune => facts.prune.as_ref(),
            Task::Check { .. } => facts.check.as_ref(),
            _ => None,
        });
        let again = live.due.is_some() && last.map(|run| run.outcome) != Some(Outcome::Interrupted);
        if again && context.definitions.repositories.contains_key(&live.repository) {
            let context = Context { unique, ..*context };
            let (by, place) = (live.requested_by.as_str(), &live.repository);
            events.push(requested(&context, by, place, live.task.clone(), live.due));
        }
    }
    events
}
