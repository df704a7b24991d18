//! What the state, the definitions and the time call for: level-triggered, so that after a crash a replay followed by one
//! look finds all unfinished work again.

use super::decide::{Context, live_run, verification_of, verify};
use super::drill;
use super::event::Event;
use super::follow_up::FollowUpState;
use super::id::{ClusterName, MaintenanceId, RecoveryId, RunId, RunbookRunId, time_ordered_id};
use super::job::{Definitions, Job, MissedPolicy};
use super::keep;
use super::recovery::{Recovery, RecoveryState};
use super::rules;
use super::run::{Run, RunState, Trigger};
use super::runbook::{self, next::Doing};
use super::snapshot::EvidenceLevel;
use super::state::{JobFacts, State};
use super::units::{Millis, Timestamp};

/// A due time older than this was missed: nobody acted on it when it came.
const LATE_AFTER: Millis = Millis::from_secs(90);
/// Due times counted at most when many were missed.
const MISSED_COUNTED: usize = 10_000;
/// Verifications of one snapshot that may end without a verdict before a person must look.
const INCONCLUSIVE_ATTEMPTS: u32 = 3;

/// Work that has to be done now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Begin an attempt of a run.
    ExecuteRun(RunId),
    /// Stop a run that is working.
    StopRun(RunId),
    /// Begin a recovery.
    ExecuteRecovery(RecoveryId),
    /// Stop a recovery that is working.
    StopRecovery(RecoveryId),
    /// Begin a follow-up of a recovery.
    FollowUp(RecoveryId),
    /// Stop a follow-up that is working.
    StopFollowUp(RecoveryId),
    /// Name a place in the log of a cluster.
    CreateRestorePoint(ClusterName, String),
    /// Begin maintenance.
    ExecuteMaintenance(MaintenanceId),
    /// Stop maintenance that is working.
    StopMaintenance(MaintenanceId),
    /// Do something for a step of a runbook.
    Step(RunbookRunId, String, Doing),
}

/// The work that has to be done now, in the order it should begin. Asked again, it says the same until the state changes.
pub fn effects(state: &State, definitions: &Definitions, now: Timestamp) -> Vec<Effect> {
    let mut effects = Vec::new();
    let running = |run: &&Run| matches!(run.state, RunState::Running);
    let mut places = definitions
        .limits
        .concurrent_runs
        .saturating_sub(state.runs.values().filter(running).count());
    for run in state.runs.values() {
        let ready = match run.state {
            RunState::Queued => true,
            RunState::WaitingRetry { at } => at <= now,
            RunState::Running => {
                if run.cancel_requested.is_some() {
                    effects.push(Effect::StopRun(run.id.clone()));
                }
                false
            }
        };
        if ready && places > 0 && !keep::holds_back(state, definitions, &run.job) {
            places -= 1;
            effects.push(Effect::ExecuteRun(run.id.clone()));
        }
    }
    // What a person asked for goes before verifications.
    let mut recoveries: Vec<_> = state.recoveries.values().collect();
    recoveries.sort_by_key(|recovery| (recovery.request.target.is_verification(), recovery.id.clone()));
    let busy = recoveries
        .iter()
        .filter(|recovery| recovery.state == RecoveryState::Running)
        .count();
    let mut places = definitions.limits.concurrent_recoveries.saturating_sub(busy);
    for recovery in recoveries {
        match recovery.state {
            RecoveryState::Running if recovery.cancel_requested.is_some() => {
                effects.push(Effect::StopRecovery(recovery.id.clone()));
            }
            RecoveryState::Queued if places > 0 && !waits_for_prune(state, recovery) => {
                places -= 1;
                effects.push(Effect::ExecuteRecovery(recovery.id.clone()));
            }
            _ => {}
        }
    }
    effects.extend(server_effects(state));
    effects.extend(keep::effects(state, definitions));
    for run in state.runbooks.values() {
        let work = runbook::next::work(run).into_iter();
        effects.extend(work.map(|(step, doing)| Effect::Step(run.id.clone(), step, doing)));
    }
    effects
}

/// What a person said becomes of a recovered server is not kept waiting by other work.
fn server_effects(state: &State) -> impl Iterator<Item = Effect> + '_ {
    let follow_ups = state.waiting.values().filter_map(|waiting| {
        let live = waiting.follow_up.as_ref()?;
        let id = waiting.recovery.clone();
        match live.state {
            FollowUpState::Running if live.cancel_requested.is_some() => Some(Effect::StopFollowUp(id)),
            FollowUpState::Queued => Some(Effect::FollowUp(id)),
            _ => None,
        }
    });
    let points = state.restore_points.iter().flat_map(|(cluster, known)| {
        let names = known.asked.keys();
        names.map(|name| Effect::CreateRestorePoint(cluster.clone(), name.clone()))
    });
    follow_ups.chain(points)
}

fn waits_for_prune(state: &State, recovery: &Recovery) -> bool {
    let request = &recovery.request;
    keep::holds_back_recovery(state, &request.repository, request.target.is_verification()).0
}

/// What time and the state bring about by themselves: jobs that come and go, due runs, verifications that follow backups,
/// alerts that open and end. Asked again after its events are applied, it has nothing more to say.
pub fn settle(context: &Context<'_>) -> Vec<Event> {
    let mut events = jobs_come_and_go(context);
    events.extend(drill::come_and_go(context));
    if events.is_empty() {
        events = super::runbook::observe::settle(context.state, context.now);
    }
    if events.is_empty() {
        events = due_runs(context);
    }
    if events.is_empty() {
        events = due_verifications(context);
    }
    if events.is_empty() {
        events = keep::due_maintenance(context);
    }
    if events.is_empty() {
        events = rules::alert_events(context);
    }
    events
}

fn jobs_come_and_go(context: &Context<'_>) -> Vec<Event> {
    let (state, definitions) = (context.state, context.definitions);
    let appeared = definitions.jobs.keys().filter(|job| !state.jobs.contains_key(job));
    let gone = state.jobs.keys().filter(|job| !definitions.jobs.contains_key(job));
    let gone = gone.filter(|job| live_run(state, job).is_none());
    let appeared = appeared.map(|job| Event::JobAppeared { job: job.clone() });
    appeared
        .chain(gone.map(|job| Event::JobDisappeared { job: job.clone() }))
        .collect()
}

fn due_runs(context: &Context<'_>) -> Vec<Event> {
    let mut events = Vec::new();
    for (job, unique) in context.definitions.jobs.values().zip(context.unique..) {
        let facts = context.state.jobs.get(&job.name).filter(|facts| facts.enabled);
        // While a run of it is live, a due time waits: one run per job, and what came due meanwhile runs once after it.
        if let Some(facts) = facts.filter(|_| live_run(context.state, &job.name).is_none()) {
            events.extend(due_run(context, job, facts, unique));
        }
    }
    events
}

fn due_run(context: &Context<'_>, job: &Job, facts: &JobFacts, unique: u32) -> Vec<Event> {
    let Some(schedule) = &job.schedule else {
        return Vec::new();
    };
    let baseline = facts.last_due.unwrap_or(facts.appeared_at);
    let Some((due, count)) = schedule.latest_due(baseline, context.now, MISSED_COUNTED) else {
        return Vec::new();
    };
    let run = RunId(time_ordered_id("run", context.now, unique));
    let queued = |trigger| Event::RunQueued {
        run,
        job: job.name.clone(),
        trigger,
    };
    let missed = |ran_late| Event::ScheduleMissed {
        job: job.name.clone(),
        due,
        count: count as u64,
        ran_late,
    };
    let was_running = context
        .state
        .agent
        .as_ref()
        .is_some_and(|agent| agent.started_at <= due);
    let late = Millis::between(due, context.now) > LATE_AFTER;
    if was_running && !late {
        return vec![queued(Trigger::Schedule { due })];
    }
    // A run that was going on when this one came due is no absence of the agent.
    let overran = was_running && facts.last_finished_at.is_some_and(|finished| finished >= due);
    match job.missed {
        _ if overran => vec![queued(Trigger::Schedule { due })],
        MissedPolicy::RunOnce => vec![missed(true), queued(Trigger::Missed { due })],
        MissedPolicy::Skip => vec![missed(false)],
    }
}

/// The newest complete snapshot of each job is proved as far as its job says.
fn due_verifications(context: &Context<'_>) -> Vec<Event> {
    let mut events = Vec::new();
    for (job, unique) in context.definitions.jobs.values().zip(context.unique..) {
        let wanted = job.verify.level;
        let Some(facts) = context.state.sources.get(&job.source) else {
            continue;
        };
        let of_job = facts
            .restore_points
            .iter()
            .rev()
            .find(|point| point.job.as_ref() == Some(&job.name) && !point.partial);
        let Some(snapshot) = of_job else { continue };
        let proved = snapshot.evidence.level >= wanted || wanted == EvidenceLevel::Written;
        if proved || snapshot.evidence.failure.is_some() || verification_of(context.state, snapshot).is_some() {
            continue;
        }
        let tried = facts.inconclusive.as_ref().filter(|last| last.snapshot == snapshot.id);
        if tried.is_some_and(|last| retry_verification_at(last.attempts, last.at).is_none_or(|at| at > context.now)) {
            continue;
        }
        let context = Context { unique, ..*context };
        events.extend(verify(&context, "agent", snapshot, wanted).unwrap_or_default());
    }
    events
}

/// When a verification that gave no verdict is tried again; none when a person must look first.
fn retry_verification_at(attempts: u32, last: Timestamp) -> Option<Timestamp> {
    let wait = Millis::from_secs(60 << attempts.min(6));
    (attempts < INCONCLUSIVE_ATTEMPTS).then(|| last + wait.to_chrono())
}

/// When to look again although nothing happens until then.
pub fn wake_at(state: &State, definitions: &Definitions, now: Timestamp) -> Option<Timestamp> {
    let mut moments: Vec<Timestamp> = rules::next_change(state, definitions, now).into_iter().collect();
    moments.extend(keep::wake_at(definitions, now));
    moments.extend(drill::wake_at(definitions, now));
    for job in definitions.jobs.values() {
        let facts = state.jobs.get(&job.name).filter(|facts| facts.enabled);
        if let (Some(schedule), Some(_)) = (&job.schedule, facts) {
            moments.extend(schedule.next_after(now));
        }
    }
    for run in state.runs.values() {
        if let RunState::WaitingRetry { at } = run.state {
            moments.push(at);
        }
    }
    for facts in state.sources.values() {
        moments.extend(
            facts
                .inconclusive
                .as_ref()
                .and_then(|last| retry_verification_at(last.attempts, last.at)),
        );
    }
    moments.into_iter().filter(|moment| *moment > now).min()
}
