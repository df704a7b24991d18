//! What a job's retention comes to.

use std::collections::BTreeMap;

use super::{in_use, requested};
use crate::domain::command::{Actor, Refusal};
use crate::domain::decide::Context;
use crate::domain::event::Event;
use crate::domain::id::{JobName, RepositoryName, SnapshotId};
use crate::domain::job::{Definitions, Job};
use crate::domain::maintenance::Task;
use crate::domain::retention::{Decision, RetentionPolicy, SnapshotFacts, TooMany, plan, too_many};
use crate::domain::state::State;

/// What is known of the snapshots of each job.
pub(super) type Facts = BTreeMap<JobName, Vec<SnapshotFacts>>;

/// The jobs that have made a snapshot since their retention was last looked at.
pub fn due_retention(state: &State, definitions: &Definitions) -> Vec<JobName> {
    let due = |job: &&Job| {
        let wanted = state.jobs.get(&job.name).is_some_and(|facts| facts.retention_due);
        // What is on its way to the trash counts as there until it has arrived; the next look waits for it.
        wanted && job.retention.is_some() && !is_forgetting(state, &job.name)
    };
    definitions
        .jobs
        .values()
        .filter(due)
        .map(|job| job.name.clone())
        .collect()
}

fn is_forgetting(state: &State, name: &JobName) -> bool {
    let mut live = state.maintenance.values();
    live.any(|live| matches!(&live.task, Task::Forget { job: Some(job), .. } if job == name))
}

/// Says what the policy of a job keeps of its snapshots now; without a policy, that everything stays.
pub fn plan_of(state: &State, policy: Option<&RetentionPolicy>, facts: &[SnapshotFacts]) -> Vec<Decision> {
    let none = RetentionPolicy::default();
    plan(policy.unwrap_or(&none), facts, &in_use(state))
}

/// Applies the retention of a job after a run of it succeeded. More than may go at once goes only after a person's word.
pub fn retention(context: &Context<'_>, job: &JobName, facts: &[SnapshotFacts]) -> Vec<Event> {
    let Some(policy) = context.definitions.jobs.get(job).and_then(|job| job.retention.as_ref()) else {
        return Vec::new();
    };
    let decisions = plan_of(context.state, Some(policy), facts);
    match too_many(policy, &decisions) {
        Some(over) => vec![Event::RetentionRefused { job: job.clone(), over }],
        None => apply(context, "agent", job, policy, &decisions),
    }
}

/// Applies the retention of a job, or of every job that has a policy, because somebody asked.
pub(super) fn by_hand(
    context: &Context<'_>,
    actor: &Actor,
    job: Option<&JobName>,
    confirmed: bool,
    facts: &Facts,
) -> Result<Vec<Event>, Refusal> {
    let jobs = &context.definitions.jobs;
    if let Some(name) = job {
        let policy = jobs.get(name).map(|job| job.retention.is_some());
        match policy {
            None => {
                return Err(Refusal::not_found(
                    format!("there is no job {name}"),
                    "list them with: lifeboat job list",
                ));
            }
            Some(false) => {
                let hint = format!("give it one: lifeboat job edit {name} --keep-daily 7");
                return Err(Refusal::conflict(
                    format!("job {name} has no retention policy; it keeps everything"),
                    Some(&hint),
                ));
            }
            Some(true) => {}
        }
    }
    let mut events = Vec::new();
    let chosen = jobs.values().filter(|one| job.is_none_or(|name| one.name == *name));
    for (job, nth) in chosen.zip(0_u32..) {
        let Some(policy) = &job.retention else { continue };
        if is_forgetting(context.state, &job.name) {
            let why = format!("snapshots of job {} are on their way to the trash", job.name);
            return Err(Refusal::conflict(why, Some("look again in a moment")));
        }
        let known = facts.get(&job.name).map_or(&[][..], Vec::as_slice);
        let decisions = plan_of(context.state, Some(policy), known);
        if let Some(over) = too_many(policy, &decisions).filter(|_| !confirmed) {
            return Err(refusal(&job.name, over));
        }
        let context = Context {
            unique: context.unique.wrapping_add(nth * 8),
            ..*context
        };
        events.extend(apply(&context, &actor.name, &job.name, policy, &decisions));
    }
    Ok(events)
}

fn refusal(job: &JobName, over: TooMany) -> Refusal {
    let TooMany { forget, of, allowed } = over;
    Refusal::interlock(
        format!("retention of job {job} would forget {forget} of its {of} snapshots at once; {allowed} may go"),
        format!("look at what goes and why: lifeboat retention plan --job {job}; then confirm with --yes {job}"),
    )
}

fn apply(
    context: &Context<'_>,
    by: &str,
    job: &JobName,
    policy: &RetentionPolicy,
    decisions: &[Decision],
) -> Vec<Event> {
    let mut places: BTreeMap<&RepositoryName, Vec<SnapshotId>> = BTreeMap::new();
    for decision in decisions.iter().filter(|decision| !decision.keep) {
        // What a repository that is no longer configured holds cannot be touched.
        if context.definitions.repositories.contains_key(&decision.repository) {
            places
                .entry(&decision.repository)
                .or_default()
                .push(decision.snapshot.clone());
        }
    }
    let forgotten: usize = places.values().map(Vec::len).sum();
    let mut events = vec![Event::RetentionApplied {
        job: job.clone(),
        kept: (decisions.len() - forgotten) as u64,
        forgotten: forgotten as u64,
    }];
    for ((repository, snapshots), unique) in places.into_iter().zip(context.unique..) {
        let task = Task::Forget {
            snapshots,
            reason: format!("retention of job {job}: {}", policy.words()),
            job: Some(job.clone()),
        };
        events.push(requested(&Context { unique, ..*context }, by, repository, task, None));
    }
    events
}
