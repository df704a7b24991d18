//! From what an effect reports to what has happened: pure decisions, like those about commands.

use super::command::{Observation, RunResult};
use super::decide::Context;
use super::event::Event;
use super::id::RunId;
use super::recovery::{Recovery, RecoveryRecord, RecoveryState};
use super::run::{Failure, Outcome, Run, RunRecord, RunState, RunStats};
use super::units::{Bytes, Millis, Timestamp};
use super::{follow_up, restore_point};

/// Decides what an effect reported.
pub fn observation(context: &Context<'_>, observation: Observation) -> Vec<Event> {
    let state = context.state;
    match observation {
        Observation::AgentStarted { version, host, pid } => {
            let mut events = interrupted(context);
            events.extend(super::runbook::observe::interrupted(state));
            events.push(Event::AgentStarted { version, host, pid });
            events
        }
        Observation::AgentStopping { reason } => {
            let mut events = interrupted(context);
            events.extend(super::runbook::observe::interrupted(state));
            events.push(Event::AgentStopped { reason });
            events
        }
        Observation::RunStarting { run } => match state.runs.get(&run) {
            Some(live) if !matches!(live.state, RunState::Running) => {
                vec![Event::RunStarted {
                    run,
                    attempt: live.attempt + 1,
                }]
            }
            _ => Vec::new(),
        },
        Observation::RunEnded { run, result } => run_ended(context, &run, *result),
        Observation::RecoveryStarting { recovery } => match state.recoveries.get(&recovery) {
            Some(live) if live.state == RecoveryState::Queued => vec![Event::RecoveryStarted { recovery }],
            _ => Vec::new(),
        },
        Observation::RecoveryPhaseReached { recovery, phase } => match state.recoveries.get(&recovery) {
            Some(live) if live.phase != phase => vec![Event::RecoveryPhaseReached { recovery, phase }],
            _ => Vec::new(),
        },
        Observation::RecoveryEnded { recovery, record } => match state.recoveries.get(&recovery) {
            Some(_) => vec![Event::RecoveryFinished { record: *record }],
            None => Vec::new(),
        },
        Observation::FollowUpStarting { recovery } => follow_up::starting(state, &recovery),
        Observation::FollowUpEnded { recovery, result } => follow_up::ended(context, &recovery, *result),
        Observation::RecoveredServerLooked { recovery, seen } => follow_up::looked(context, &recovery, *seen),
        Observation::RestorePointEnded { cluster, name, result } => restore_point::ended(state, cluster, name, result),
        Observation::EvidenceGathered {
            snapshot,
            level,
            failure: None,
        } => {
            vec![Event::EvidenceRaised { snapshot, level }]
        }
        Observation::EvidenceGathered {
            snapshot,
            failure: Some(failure),
            ..
        } => {
            vec![Event::EvidenceRefuted { snapshot, failure }]
        }
        Observation::RepositoryListed {
            repository,
            appeared,
            vanished,
            changes,
        } => {
            let reached = state
                .repositories
                .get(&repository)
                .is_some_and(|facts| facts.failure.is_none());
            let news = (!reached).then_some(Event::RepositoryReached { repository });
            let changed = super::keep::found(context, changes);
            let appeared = appeared
                .into_iter()
                .map(|snapshot| Event::SnapshotRecorded { snapshot });
            let vanished = vanished
                .into_iter()
                .map(|snapshot| Event::SnapshotVanished { snapshot });
            news.into_iter()
                .chain(appeared)
                .chain(vanished)
                .chain(changed)
                .collect()
        }
        Observation::MaintenanceStarting { maintenance } => super::keep::started(state, &maintenance),
        Observation::MaintenanceEnded { maintenance, result } => super::keep::ended(context, &maintenance, *result),
        Observation::Step { run, step, seen } => super::runbook::observe::step(state, &run, &step, seen),
        Observation::RepositoryUnreachable { repository, failure } => {
            let known = state
                .repositories
                .get(&repository)
                .and_then(|facts| facts.failure.as_ref());
            let same = known.is_some_and(|known| known.message == failure.message);
            if same {
                Vec::new()
            } else {
                vec![Event::RepositoryLost { repository, failure }]
            }
        }
    }
}

fn run_ended(context: &Context<'_>, id: &RunId, result: RunResult) -> Vec<Event> {
    let Some(run) = context.state.runs.get(id) else {
        return Vec::new();
    };
    let policy = context
        .definitions
        .jobs
        .get(&run.job)
        .map(|job| job.retry)
        .unwrap_or_default();
    let failed = matches!(result.outcome, Outcome::Failed | Outcome::TimedOut);
    let again = failed && run.attempt < policy.attempts && run.cancel_requested.is_none();
    if let Some(error) = result.error.clone().filter(|error| again && error.retryable) {
        let at = context.now + policy.wait_after(run.attempt).to_chrono();
        return vec![Event::RunRetryScheduled {
            run: id.clone(),
            attempt: run.attempt,
            at,
            error,
        }];
    }
    let mut record = ended(run, result.outcome, result.error, context.now);
    record.stats = result.stats;
    record.snapshot = result.snapshot.as_ref().map(|snapshot| snapshot.id.clone());
    record.item_errors = result.item_errors;
    let snapshot = result.snapshot.map(|snapshot| Event::SnapshotRecorded { snapshot });
    snapshot.into_iter().chain([Event::RunFinished { record }]).collect()
}

pub(super) fn ended(run: &Run, outcome: Outcome, error: Option<Failure>, now: Timestamp) -> RunRecord {
    RunRecord {
        id: run.id.clone(),
        job: run.job.clone(),
        trigger: run.trigger.clone(),
        queued_at: run.queued_at,
        started_at: run.started_at,
        finished_at: now,
        outcome,
        attempts: run.attempt,
        duration: run.started_at.map_or(Millis(0), |start| Millis::between(start, now)),
        stats: RunStats::default(),
        snapshot: None,
        error,
        item_errors: Vec::new(),
    }
}

/// The record of a recovery that ended without a result of its own.
pub fn ended_recovery(recovery: &Recovery, outcome: Outcome, error: Option<Failure>, now: Timestamp) -> RecoveryRecord {
    RecoveryRecord {
        id: recovery.id.clone(),
        request: recovery.request.clone(),
        source: recovery.source.clone(),
        job: recovery.job.clone(),
        kind: recovery.kind.clone(),
        requested_by: recovery.requested_by.clone(),
        requested_at: recovery.requested_at,
        started_at: recovery.started_at,
        finished_at: now,
        outcome,
        evidence: None,
        written: Bytes(0),
        items: 0,
        phases: Vec::new(),
        findings: Vec::new(),
        error,
        replayed: Bytes(0),
        drill: recovery.drill.clone(),
        left: None,
    }
}

/// Ends what was running when an agent ended: nothing of it goes on, and its record says so. An interrupted run is asked
/// for again once; when that too was interrupted, its schedule decides, so that a backup that kills the agent does not
/// do so for ever.
fn interrupted(context: &Context<'_>) -> Vec<Event> {
    let why = Failure {
        message: "the agent ended while this was running".to_owned(),
        hint: Some("nothing was lost in the repository; look at the agent's log for why it ended".to_owned()),
        retryable: true,
    };
    let mut events = Vec::new();
    let running = context
        .state
        .runs
        .values()
        .filter(|run| matches!(run.state, RunState::Running));
    for (run, unique) in running.zip(context.unique..) {
        events.push(Event::RunFinished {
            record: ended(run, Outcome::Interrupted, Some(why.clone()), context.now),
        });
        let again = context
            .state
            .jobs
            .get(&run.job)
            .and_then(super::state::JobFacts::last_outcome);
        if again != Some(Outcome::Interrupted) && context.definitions.jobs.contains_key(&run.job) {
            let id = Context { unique, ..*context }.run_id();
            events.push(Event::RunQueued {
                run: id,
                job: run.job.clone(),
                trigger: run.trigger.clone(),
            });
        }
    }
    for recovery in context
        .state
        .recoveries
        .values()
        .filter(|live| live.state == RecoveryState::Running)
    {
        let record = ended_recovery(recovery, Outcome::Interrupted, Some(why.clone()), context.now);
        events.push(Event::RecoveryFinished { record });
    }
    events.extend(restore_point::interrupted(context.state));
    events.extend(super::keep::interrupted(context, &why));
    events
}
