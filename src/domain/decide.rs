//! From what somebody wants, or what an effect reports, to what has happened: pure decisions.

use std::collections::BTreeMap;

use super::alert::BY_HAND;
use super::command::{Actor, Command, Refusal, RefusalKind};
use super::event::Event;
use super::id::{JobName, RecoveryId, RunId, time_ordered_id};
use super::job::Definitions;
use super::observe::{ended, ended_recovery};
use super::recovery::{Recovery, RecoveryPhase, RecoveryPlan, RecoveryRequest, RecoveryState, RecoveryTarget};
use super::retention::SnapshotFacts;
use super::run::{Failure, Outcome, Run, RunState, Trigger};
use super::runbook::Cause;
use super::seen::Seen;
use super::snapshot::{EvidenceLevel, SnapshotRecord};
use super::state::State;
use super::units::Timestamp;
use super::{drill, follow_up, restore_point};

/// What a decision may look at besides its subject.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// What is live.
    pub state: &'a State,
    /// What was seen a moment ago.
    pub seen: &'a Seen,
    /// What is configured.
    pub definitions: &'a Definitions,
    /// The time.
    pub now: Timestamp,
    /// A number no other decision of the same millisecond has; makes ids unique.
    pub unique: u32,
}

impl Context<'_> {
    pub(super) fn run_id(&self) -> RunId {
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
    /// The snapshots it names, when it is about keeping them.
    pub snapshots: Vec<SnapshotRecord>,
    /// What is known of all snapshots of the jobs it concerns.
    pub retention: BTreeMap<JobName, Vec<SnapshotFacts>>,
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
        Command::RunDrill { drill, point } => {
            drill::begin(context, &actor.name, drill, *point, None, &looked_up.snapshots)
        }
        Command::StartRunbook { wish } => super::runbook::decide::start(context, actor, Cause::Person, wish),
        Command::SayInRunbook { run, saying } => super::runbook::decide::say(context, actor, run, saying),
        Command::FollowUpRecovery { recovery, what } => follow_up::ask(context, actor, recovery, what),
        Command::CreateRestorePoint { cluster, name } => restore_point::ask(context, actor, cluster, name),
        about_keeping => super::keep::command(context, actor, about_keeping, &looked_up),
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

pub(super) fn cancelled(by: &str) -> Failure {
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
    if let Some(waiting) = follow_up::in_the_way(context.state, &request.target) {
        return Err(Refusal::interlock(
            format!("the server that {} has left waits there", waiting.recovery),
            format!(
                "move it on, or throw it away first: lifeboat recovery discard {}",
                waiting.recovery
            ),
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
    if !snapshot.is_there() {
        let where_to = if snapshot.vanished_at.is_none() && snapshot.forgotten.is_some() {
            "is in the trash; bring it back first"
        } else {
            "is gone from its repository"
        };
        let why = format!("snapshot {} {where_to}", snapshot.id.short());
        return Err(Refusal::conflict(why, None));
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
        instant: None,
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

pub(super) fn new_recovery(
    context: &Context<'_>,
    by: &str,
    request: RecoveryRequest,
    snapshot: &SnapshotRecord,
) -> Recovery {
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
        drill: None,
    }
}

fn cancel_recovery(context: &Context<'_>, actor: &Actor, id: &RecoveryId) -> Result<Vec<Event>, Refusal> {
    if let Some(answer) = follow_up::cancel(context.state, actor, id) {
        return answer;
    }
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
