//! From what somebody wants, or what an effect reports, to what has happened: pure decisions.

use super::alert::BY_HAND;
use super::command::{Actor, Command, Observation, Refusal, RefusalKind, RunResult};
use super::event::Event;
use super::id::{JobName, RecoveryId, RunId, time_ordered_id};
use super::job::Definitions;
use super::recovery::{
    Recovery, RecoveryPhase, RecoveryPlan, RecoveryRecord, RecoveryRequest, RecoveryState, RecoveryTarget,
};
use super::run::{Failure, Outcome, Run, RunRecord, RunState, RunStats, Trigger};
use super::snapshot::{EvidenceLevel, SnapshotRecord};
use super::state::State;
use super::units::{Bytes, Millis, Timestamp};

/// What a decision may look at besides its subject.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// What is live.
    pub state: &'a State,
    /// What is configured.
    pub definitions: &'a Definitions,
    /// The time.
    pub now: Timestamp,
    /// A number no other decision of the same millisecond has; makes ids unique.
    pub unique: u32,
}

impl Context<'_> {
    fn run_id(&self) -> RunId {
        RunId(time_ordered_id("run", self.now, self.unique))
    }

    fn recovery_id(&self) -> RecoveryId {
        RecoveryId(time_ordered_id("rec", self.now, self.unique))
    }
}

/// What was looked up for a command before it is decided.
#[derive(Debug, Clone, Default)]
pub struct LookedUp {
    /// The snapshot it names.
    pub snapshot: Option<SnapshotRecord>,
    /// The plan of the recovery it asks for, made a moment ago.
    pub plan: Option<RecoveryPlan>,
}

/// Decides what a person asked for.
///
/// # Errors
/// A refusal that says why and what to do instead; nothing has happened then.
pub fn command(
    context: &Context<'_>,
    actor: &Actor,
    command: &Command,
    looked_up: LookedUp,
) -> Result<Vec<Event>, Refusal> {
    let state = context.state;
    match command {
        Command::RunJob { job } => run_job(context, actor, job),
        Command::CancelRun { run } => cancel_run(context, actor, run),
        Command::EnableJob { job } => {
            known_job(context, job)?;
            let enabled = state.jobs.get(job).is_some_and(|facts| facts.enabled);
            Ok(if enabled {
                Vec::new()
            } else {
                vec![Event::JobEnabled { job: job.clone() }]
            })
        }
        Command::DisableJob { job, reason } => {
            known_job(context, job)?;
            let enabled = state.jobs.get(job).is_none_or(|facts| facts.enabled);
            let event = Event::JobDisabled {
                job: job.clone(),
                reason: reason.clone(),
            };
            Ok(if enabled { vec![event] } else { Vec::new() })
        }
        Command::StartRecovery { request } => start_recovery(context, actor, request, looked_up),
        Command::VerifySnapshot { snapshot, level } => {
            let Some(record) = looked_up.snapshot else {
                return Err(Refusal::not_found(
                    format!("there is no snapshot {}", snapshot.short()),
                    "list them with: lifeboat snapshot list",
                ));
            };
            verify(context, &actor.name, &record, *level)
        }
        Command::CancelRecovery { recovery } => cancel_recovery(context, actor, recovery),
        Command::AcknowledgeAlert { key, note } => match state.alerts.get(key) {
            None => Err(no_alert(key.as_str())),
            Some(alert) => match &alert.acknowledged {
                Some(taken) if taken.by != actor.name => Err(Refusal::conflict(
                    format!("alert {key} is already held by {}", taken.by),
                    None,
                )),
                _ => {
                    let (key, by, note) = (key.clone(), actor.name.clone(), note.clone());
                    Ok(vec![Event::AlertAcknowledged { key, by, note }])
                }
            },
        },
        Command::ResolveAlert { key, reason } => {
            state.alerts.get(key).ok_or_else(|| no_alert(key.as_str()))?;
            let reason = format!("{BY_HAND}{}: {reason}", actor.name);
            Ok(vec![Event::AlertResolved {
                key: key.clone(),
                reason,
            }])
        }
    }
}

fn no_alert(key: &str) -> Refusal {
    Refusal::not_found(format!("no open alert {key}"), "list them with: lifeboat alert list")
}

fn known_job(context: &Context<'_>, job: &JobName) -> Result<(), Refusal> {
    if context.definitions.jobs.contains_key(job) {
        return Ok(());
    }
    Err(Refusal::not_found(
        format!("there is no job {job}"),
        "list them with: lifeboat job list",
    ))
}

fn run_job(context: &Context<'_>, actor: &Actor, job: &JobName) -> Result<Vec<Event>, Refusal> {
    known_job(context, job)?;
    if let Some(run) = live_run(context.state, job) {
        let hint = format!("watch it with: lifeboat job show {job}");
        return Err(Refusal::conflict(
            format!("job {job} is already running ({})", run.id),
            Some(&hint),
        ));
    }
    let trigger = Trigger::Manual { by: actor.name.clone() };
    Ok(vec![Event::RunQueued {
        run: context.run_id(),
        job: job.clone(),
        trigger,
    }])
}

/// The run of a job that has not ended.
pub fn live_run<'a>(state: &'a State, job: &JobName) -> Option<&'a Run> {
    state.runs.values().find(|run| run.job == *job)
}

fn cancel_run(context: &Context<'_>, actor: &Actor, id: &RunId) -> Result<Vec<Event>, Refusal> {
    let Some(run) = context.state.runs.get(id) else {
        return Err(Refusal::not_found(
            format!("{id} is not running"),
            "see what runs with: lifeboat status",
        ));
    };
    let mut events = Vec::new();
    if run.cancel_requested.is_none() {
        events.push(Event::RunCancelRequested {
            run: id.clone(),
            by: actor.name.clone(),
        });
    }
    if !matches!(run.state, RunState::Running) {
        let record = ended(run, Outcome::Cancelled, Some(cancelled(&actor.name)), context.now);
        events.push(Event::RunFinished { record });
    }
    Ok(events)
}

fn cancelled(by: &str) -> Failure {
    Failure {
        message: format!("cancelled by {by}"),
        hint: None,
        retryable: false,
    }
}

fn start_recovery(
    context: &Context<'_>,
    actor: &Actor,
    request: &RecoveryRequest,
    looked_up: LookedUp,
) -> Result<Vec<Event>, Refusal> {
    let (Some(snapshot), Some(plan)) = (looked_up.snapshot, looked_up.plan) else {
        return Err(Refusal::not_found(
            format!("there is no snapshot {}", request.snapshot.short()),
            "list them with: lifeboat snapshot list",
        ));
    };
    if let Some(blocker) = plan.blockers.first() {
        return Err(Refusal::interlock(
            blocker.clone(),
            "nothing was touched; mend this and plan again",
        ));
    }
    if request
        .plan_digest
        .as_ref()
        .is_some_and(|digest| *digest != plan.digest)
    {
        return Err(Refusal::interlock(
            "the target has changed since the plan was shown",
            "nothing was touched; look at the new plan and confirm it",
        ));
    }
    let same_target = |live: &&Recovery| live.request.target == request.target && !request.target.is_verification();
    if let Some(live) = context.state.recoveries.values().find(same_target) {
        return Err(Refusal::conflict(
            format!("{} is already writing to that target", live.id),
            None,
        ));
    }
    let mut recovery = new_recovery(context, &actor.name, request.clone(), &snapshot);
    recovery.estimate = plan.estimate;
    Ok(vec![Event::RecoveryRequested { recovery }])
}

/// Asks for a verification of a snapshot up to a level.
///
/// # Errors
/// When the snapshot is gone, or one is already under way.
pub fn verify(
    context: &Context<'_>,
    by: &str,
    snapshot: &SnapshotRecord,
    level: EvidenceLevel,
) -> Result<Vec<Event>, Refusal> {
    if snapshot.vanished_at.is_some() {
        return Err(Refusal::conflict(
            format!("snapshot {} is gone from its repository", snapshot.id.short()),
            None,
        ));
    }
    if level == EvidenceLevel::Written {
        return Err(Refusal {
            reason: "a listed snapshot is written; there is nothing to verify at that level".to_owned(),
            hint: Some("choose checksummed, decoded, restored or probed".to_owned()),
            kind: RefusalKind::Invalid,
        });
    }
    if let Some(live) = verification_of(context.state, snapshot) {
        return Err(Refusal::conflict(
            format!("{} is already verifying that snapshot", live.id),
            None,
        ));
    }
    let request = RecoveryRequest {
        snapshot: snapshot.id.clone(),
        repository: snapshot.repository.clone(),
        target: RecoveryTarget::Scratch { level },
        reason: None,
        plan_digest: None,
    };
    Ok(vec![Event::RecoveryRequested {
        recovery: new_recovery(context, by, request, snapshot),
    }])
}

/// The verification of a snapshot that has not ended.
pub fn verification_of<'a>(state: &'a State, snapshot: &SnapshotRecord) -> Option<&'a Recovery> {
    let of_it = |live: &&Recovery| live.request.snapshot == snapshot.id && live.request.target.is_verification();
    state.recoveries.values().find(of_it)
}

fn new_recovery(context: &Context<'_>, by: &str, request: RecoveryRequest, snapshot: &SnapshotRecord) -> Recovery {
    Recovery {
        id: context.recovery_id(),
        request,
        source: snapshot.source.clone(),
        job: snapshot.job.clone(),
        kind: snapshot.kind.clone(),
        requested_by: by.to_owned(),
        requested_at: context.now,
        started_at: None,
        state: RecoveryState::Queued,
        phase: RecoveryPhase::Plan,
        estimate: None,
        cancel_requested: None,
    }
}

fn cancel_recovery(context: &Context<'_>, actor: &Actor, id: &RecoveryId) -> Result<Vec<Event>, Refusal> {
    let Some(recovery) = context.state.recoveries.get(id) else {
        return Err(Refusal::not_found(
            format!("{id} is not running"),
            "see what runs with: lifeboat status",
        ));
    };
    let mut events = Vec::new();
    if recovery.cancel_requested.is_none() {
        events.push(Event::RecoveryCancelRequested {
            recovery: id.clone(),
            by: actor.name.clone(),
        });
    }
    if recovery.state == RecoveryState::Queued {
        let record = ended_recovery(recovery, Outcome::Cancelled, Some(cancelled(&actor.name)), context.now);
        events.push(Event::RecoveryFinished { record });
    }
    Ok(events)
}

/// Decides what an effect reported.
pub fn observation(context: &Context<'_>, observation: Observation) -> Vec<Event> {
    let state = context.state;
    match observation {
        Observation::AgentStarted { version, host, pid } => {
            let mut events = interrupted(context);
            events.push(Event::AgentStarted { version, host, pid });
            events
        }
        Observation::AgentStopping { reason } => {
            let mut events = interrupted(context);
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
        } => {
            let reached = state
                .repositories
                .get(&repository)
                .is_some_and(|facts| facts.failure.is_none());
            let news = (!reached).then_some(Event::RepositoryReached { repository });
            let appeared = appeared
                .into_iter()
                .map(|snapshot| Event::SnapshotRecorded { snapshot });
            let vanished = vanished
                .into_iter()
                .map(|snapshot| Event::SnapshotVanished { snapshot });
            news.into_iter().chain(appeared).chain(vanished).collect()
        }
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

fn ended(run: &Run, outcome: Outcome, error: Option<Failure>, now: Timestamp) -> RunRecord {
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
    }
}

/// Ends what was running when an agent ended: nothing of it goes on, and its record says so. An interrupted run is asked
/// for again once; when that too was interrupted, its schedule decides, so that a backup that kills the agent does not
/// do so for ever.
fn interrupted(context: &Context<'_>) -> Vec<Event> {
    let why = || {
        Some(Failure {
            message: "the agent ended while this was running".to_owned(),
            hint: Some("nothing was lost in the repository; look at the agent's log for why it ended".to_owned()),
            retryable: true,
        })
    };
    let mut events = Vec::new();
    let running = context
        .state
        .runs
        .values()
        .filter(|run| matches!(run.state, RunState::Running));
    for (run, unique) in running.zip(context.unique..) {
        events.push(Event::RunFinished {
            record: ended(run, Outcome::Interrupted, why(), context.now),
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
        let record = ended_recovery(recovery, Outcome::Interrupted, why(), context.now);
        events.push(Event::RecoveryFinished { record });
    }
    events
}
