//! What an event does to the state. The only code that changes it.
//!
//! An event is a fact: applying one never fails and never asks whether it was wise. A fact about something unknown (an
//! attempt of a run that is not live) changes nothing, so that an old journal always replays.

mod recovery;

use std::collections::VecDeque;

pub(super) use recovery::time_to_usable;

use super::anomaly::Sample;
use super::event::{Event, EventRecord};
use super::id::SnapshotId;
use super::recovery::RecoveryState;
use super::run::{Outcome, Run, RunRecord, RunState, Trigger};
use super::snapshot::{Evidence, SnapshotRecord};
use super::state::{AgentFacts, FIGURES_KEPT, JobFacts, OUTCOMES_KEPT, RESTORE_POINTS_KEPT, RepositoryFacts, State};
use super::units::Timestamp;
use super::upkeep::UpkeepFacts;

/// Applies one event. Events must come in order, without gaps.
pub fn apply(state: &mut State, record: &EventRecord) {
    debug_assert_eq!(record.seq, state.seq + 1, "events are applied in order, without gaps");
    state.seq = record.seq;
    apply_event(state, record.at, &record.event);
    state.last_event_at = Some(record.at);
}

fn apply_event(state: &mut State, at: Timestamp, event: &Event) {
    match event {
        Event::AgentStarted { .. } | Event::AgentStopped { .. } => apply_agent(state, at, event),
        Event::JobAppeared { .. }
        | Event::JobDisappeared { .. }
        | Event::JobEnabled { .. }
        | Event::JobDisabled { .. }
        | Event::ScheduleMissed { .. } => apply_job(state, at, event),
        Event::RunQueued { .. }
        | Event::RunStarted { .. }
        | Event::RunRetryScheduled { .. }
        | Event::RunCancelRequested { .. } => apply_run(state, at, event),
        Event::RunFinished { record } => finish_run(state, record),
        Event::SnapshotRecorded { snapshot } => record_snapshot(state, snapshot),
        Event::Runbook { run, fact } => super::runbook::apply::apply(state, run, at, fact),
        Event::SnapshotVanished { snapshot } => drop_restore_point(state, snapshot),
        Event::MaintenanceRequested { .. }
        | Event::MaintenanceStarted { .. }
        | Event::MaintenanceCancelRequested { .. }
        | Event::MaintenanceFinished { .. }
        | Event::RetentionApplied { .. }
        | Event::RetentionRefused { .. }
        | Event::SnapshotForgotten { .. }
        | Event::SnapshotUnforgotten { .. }
        | Event::SnapshotPurged { .. }
        | Event::SnapshotPinned { .. }
        | Event::SnapshotUnpinned { .. }
        | Event::SnapshotRetagged { .. } => super::upkeep::apply(state, at, event),
        Event::EvidenceRaised { snapshot, level } => with_evidence(state, snapshot, |evidence| {
            raise(evidence, *level, at);
        }),
        Event::EvidenceRefuted { snapshot, failure } => with_evidence(state, snapshot, |evidence| {
            evidence.failure = Some(failure.clone());
        }),
        Event::RecoveryRequested { recovery } => {
            state.recoveries.insert(recovery.id.clone(), recovery.clone());
        }
        Event::RecoveryStarted { recovery } => {
            if let Some(recovery) = state.recoveries.get_mut(recovery) {
                recovery.state = RecoveryState::Running;
                recovery.started_at = Some(at);
            }
        }
        Event::RecoveryPhaseReached { recovery, phase } => {
            if let Some(recovery) = state.recoveries.get_mut(recovery) {
                recovery.phase = *phase;
            }
        }
        Event::RecoveryCancelRequested { recovery, by } => {
            if let Some(recovery) = state.recoveries.get_mut(recovery) {
                recovery.cancel_requested = Some(by.clone());
            }
        }
        Event::RecoveryFinished { record } => recovery::finish(state, record),
        Event::RepositoryReached { repository } => {
            state
                .upkeep
                .entry(repository.clone())
                .or_insert_with(|| UpkeepFacts::since(at));
            state.repositories.insert(
                repository.clone(),
                RepositoryFacts {
                    since: at,
                    failure: None,
                },
            );
        }
        Event::RepositoryLost { repository, failure } => {
            let facts = RepositoryFacts {
                since: at,
                failure: Some(failure.clone()),
            };
            state.repositories.insert(repository.clone(), facts);
        }
        Event::AlertOpened { .. }
        | Event::AlertAcknowledged { .. }
        | Event::AlertResolved { .. }
        | Event::AlertRearmed { .. } => apply_alert(state, at, event),
        Event::DrillAppeared { .. }
        | Event::DrillDisappeared { .. }
        | Event::DrillBegun { .. }
        | Event::DrillSkipped { .. } => super::drill::apply(state, at, event),
        Event::FollowUpRequested { .. }
        | Event::FollowUpStarted { .. }
        | Event::FollowUpDoubted { .. }
        | Event::FollowUpCancelRequested { .. }
        | Event::FollowUpEnded { .. }
        | Event::RecoveredServerSeen { .. } => super::follow_up::apply(state, at, event),
        Event::RestorePointRequested { .. } | Event::RestorePointCreated { .. } | Event::RestorePointFailed { .. } => {
            super::restore_point::apply(state, at, event);
        }
        Event::CommandRefused { .. } => {}
    }
}

/// Raises evidence to a level; a level at or above the one that failed before takes the failure away.
pub fn raise(evidence: &mut Evidence, level: super::snapshot::EvidenceLevel, at: Timestamp) {
    if level >= evidence.level {
        evidence.level = level;
        evidence.at = at;
    }
    if evidence.failure.as_ref().is_some_and(|failure| level >= failure.level) {
        evidence.failure = None;
    }
}

fn apply_agent(state: &mut State, at: Timestamp, event: &Event) {
    super::upkeep::begin_again(state);
    super::follow_up::doubt_all(&mut state.waiting);
    state.agent = match event {
        Event::AgentStarted { version, host, pid } => Some(AgentFacts {
            version: version.clone(),
            host: host.clone(),
            pid: *pid,
            started_at: at,
        }),
        _ => None,
    };
}

fn apply_job(state: &mut State, at: Timestamp, event: &Event) {
    match event {
        Event::JobAppeared { job } => {
            state.jobs.entry(job.clone()).or_insert_with(|| JobFacts::appeared(at));
        }
        Event::JobDisappeared { job } => {
            state.jobs.remove(job);
        }
        Event::JobEnabled { job } => {
            if let Some(facts) = state.jobs.get_mut(job) {
                facts.enabled = true;
                facts.disabled_reason = None;
                // What was due while the job was disabled was not missed; nobody wanted it.
                facts.last_due = Some(at);
            }
        }
        Event::JobDisabled { job, reason } => {
            if let Some(facts) = state.jobs.get_mut(job) {
                facts.enabled = false;
                facts.disabled_reason.clone_from(reason);
                facts.missed = None;
            }
        }
        Event::ScheduleMissed { job, due, .. } => {
            if let Some(facts) = state.jobs.get_mut(job) {
                facts.last_due = facts.last_due.max(Some(*due));
                facts.missed = Some(*due);
            }
        }
        _ => {}
    }
}

fn apply_run(state: &mut State, at: Timestamp, event: &Event) {
    match event {
        Event::RunQueued { run, job, trigger } => {
            if let (Trigger::Schedule { due } | Trigger::Missed { due }, Some(facts)) =
                (trigger, state.jobs.get_mut(job))
            {
                facts.last_due = facts.last_due.max(Some(*due));
            }
            let live = Run {
                id: run.clone(),
                job: job.clone(),
                trigger: trigger.clone(),
                queued_at: at,
                started_at: None,
                attempt: 0,
                state: RunState::Queued,
                cancel_requested: None,
                last_error: None,
            };
            state.runs.insert(run.clone(), live);
        }
        Event::RunStarted { run, attempt } => {
            if let Some(run) = state.runs.get_mut(run) {
                run.state = RunState::Running;
                run.attempt = *attempt;
                run.started_at = Some(at);
            }
        }
        Event::RunRetryScheduled {
            run,
            at: retry_at,
            error,
            ..
        } => {
            if let Some(run) = state.runs.get_mut(run) {
                run.state = RunState::WaitingRetry { at: *retry_at };
                run.last_error = Some(error.clone());
            }
        }
        Event::RunCancelRequested { run, by } => {
            if let Some(run) = state.runs.get_mut(run) {
                run.cancel_requested = Some(by.clone());
            }
        }
        _ => {}
    }
}

fn finish_run(state: &mut State, record: &RunRecord) {
    state.runs.remove(&record.id);
    let Some(facts) = state.jobs.get_mut(&record.job) else {
        return;
    };
    push_bounded(&mut facts.outcomes, record.outcome, OUTCOMES_KEPT);
    facts.last_finished_at = Some(record.finished_at);
    if record.outcome.is_failure() {
        facts.failures_in_a_row += 1;
        facts.last_error.clone_from(&record.error);
        return;
    }
    if matches!(record.outcome, Outcome::Succeeded | Outcome::Partial) {
        facts.failures_in_a_row = 0;
        facts.missed = None;
        facts.last_error.clone_from(&record.error);
        push_bounded(&mut facts.durations, record.duration, OUTCOMES_KEPT);
        push_bounded(&mut facts.sizes, record.stats.size, OUTCOMES_KEPT);
    }
    if record.outcome == Outcome::Succeeded {
        facts.last_success_at = Some(record.finished_at);
        facts.retention_due = true;
    }
}

pub(super) fn drop_restore_point(state: &mut State, snapshot: &SnapshotId) {
    for facts in state.sources.values_mut() {
        facts.restore_points.retain(|point| point.id != *snapshot);
    }
}

pub(super) fn record_snapshot(state: &mut State, snapshot: &SnapshotRecord) {
    keep_figures(state, snapshot);
    let Some(source) = &snapshot.source else { return };
    let points = &mut state.sources.entry(source.clone()).or_default().restore_points;
    let known = points
        .iter()
        .position(|point| point.id == snapshot.id)
        .and_then(|place| points.remove(place));
    let point = known.map_or_else(|| snapshot.clone(), |known| snapshot.merged_with(&known));
    let place = points.partition_point(|other| other.taken_at <= point.taken_at);
    points.insert(place, point);
    trim_restore_points(points);
}

/// Keeps the figures of a job's newest snapshots, whatever becomes of those.
fn keep_figures(state: &mut State, snapshot: &SnapshotRecord) {
    let facts = snapshot.job.as_ref().and_then(|job| state.jobs.get_mut(job));
    let (Some(facts), Some(sample)) = (facts, Sample::of(snapshot)) else {
        return;
    };
    let figures = &mut facts.figures;
    if figures.iter().any(|known| known.id == sample.id) {
        return;
    }
    let place = figures.partition_point(|other| other.at <= sample.at);
    figures.insert(place, sample);
    while figures.len() > FIGURES_KEPT {
        figures.pop_front();
    }
}

/// Keeps the newest restore points, and of incomplete ones only those newer than the newest complete one: however many
/// backups fail, the last good one is never forgotten.
fn trim_restore_points(points: &mut VecDeque<SnapshotRecord>) {
    if let Some(newest_good) = points.iter().rposition(SnapshotRecord::is_restorable) {
        let mut place = 0;
        points.retain(|point| {
            place += 1;
            point.is_restorable() || place > newest_good || point.evidence.failure.is_some()
        });
    }
    while points.len() > RESTORE_POINTS_KEPT {
        let newest_good = points.iter().rposition(SnapshotRecord::is_restorable);
        let drop = usize::from(newest_good == Some(0));
        points.remove(drop);
    }
}

fn with_evidence(state: &mut State, snapshot: &SnapshotId, change: impl Fn(&mut Evidence)) {
    for facts in state.sources.values_mut() {
        let mut known = false;
        for point in facts.restore_points.iter_mut().filter(|point| point.id == *snapshot) {
            change(&mut point.evidence);
            known = true;
        }
        if known
            && facts
                .inconclusive
                .as_ref()
                .is_some_and(|last| last.snapshot == *snapshot)
        {
            facts.inconclusive = None;
        }
    }
}

fn apply_alert(state: &mut State, at: Timestamp, event: &Event) {
    match event {
        Event::AlertOpened { alert } => {
            state.alerts.insert(alert.key.clone(), alert.clone());
        }
        Event::AlertAcknowledged { key, by, note } => {
            if let Some(alert) = state.alerts.get_mut(key) {
                let acknowledgement = super::alert::Acknowledgement {
                    by: by.clone(),
                    at,
                    note: note.clone(),
                };
                alert.acknowledged = Some(acknowledgement);
            }
        }
        Event::AlertResolved { key, reason } => {
            state.alerts.remove(key);
            if reason.starts_with(super::alert::BY_HAND) {
                state.dismissed.insert(key.clone());
            }
        }
        Event::AlertRearmed { key } => {
            state.dismissed.remove(key);
        }
        _ => {}
    }
}

pub(super) fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    queue.push_back(item);
    while queue.len() > most {
        queue.pop_front();
    }
}
