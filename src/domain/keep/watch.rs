//! What is worth an alert about the keeping of repositories.

use crate::domain::alert::{AlertKind, AlertSubject};
use crate::domain::id::RepositoryName;
use crate::domain::job::{Definitions, Job};
use crate::domain::maintenance::Task;
use crate::domain::retention::TooMany;
use crate::domain::rules::Condition;
use crate::domain::state::State;
use crate::domain::upkeep::{UpkeepFacts, UpkeepRun};

/// The conditions that hold.
pub(in crate::domain) fn conditions(state: &State, definitions: &Definitions) -> Vec<Condition> {
    let mut all = Vec::new();
    for name in definitions.repositories.keys() {
        if let Some(facts) = state.upkeep.get(name) {
            all.extend(damage(name, facts));
            all.extend(failure(state, name, facts));
        }
    }
    for job in definitions.jobs.values().filter(|job| job.retention.is_some()) {
        let facts = state.jobs.get(&job.name).and_then(|facts| facts.retention.as_ref());
        all.extend(
            facts
                .and_then(|facts| facts.refused)
                .map(|over| refused(definitions, job, over)),
        );
    }
    all
}

fn damage(name: &RepositoryName, facts: &UpkeepFacts) -> Option<Condition> {
    let damage = facts.damage.as_ref()?;
    Some(Condition {
        kind: AlertKind::RepositoryDamaged,
        subject: AlertSubject::default(),
        name: name.to_string(),
        message: format!("repository {name} is damaged: {damage}"),
        next_step: format!("forget and prune nothing; see what is wrong: lifeboat maintenance check {name}"),
        opens: true,
    })
}

fn failure(state: &State, name: &RepositoryName, facts: &UpkeepFacts) -> Option<Condition> {
    let live = |word: &str| {
        let mut live = state.maintenance.values();
        live.any(|live| live.repository == *name && live.task.word() == word)
    };
    let failed = |run: &Option<UpkeepRun>, task: Task| {
        let run = run.as_ref().filter(|run| run.outcome.is_failure())?;
        // While it is tried again, an alert stays, but none opens.
        Some((task.word(), run.error.clone()?, !live(task.word())))
    };
    let (word, why, opens) = failed(&facts.prune, Task::Prune)
        .or_else(|| failed(&facts.check, Task::Check { subset: None }))
        .or_else(|| facts.failure.clone().map(|why| ("the last change", why, true)))?;
    Some(Condition {
        kind: AlertKind::MaintenanceFailed,
        subject: AlertSubject::default(),
        name: name.to_string(),
        message: format!("{word} of repository {name} failed: {why}"),
        next_step: why
            .hint
            .unwrap_or_else(|| format!("mend the cause, then: lifeboat maintenance check {name}")),
        opens,
    })
}

fn refused(definitions: &Definitions, job: &Job, over: TooMany) -> Condition {
    let TooMany { forget, of, allowed } = over;
    let name = &job.name;
    Condition {
        kind: AlertKind::RetentionRefused,
        subject: AlertSubject {
            service: definitions.service_of(&job.source),
            job: Some(name.clone()),
            snapshot: None,
        },
        name: name.to_string(),
        message: format!("retention of job {name} would forget {forget} of {of} snapshots at once; {allowed} may go"),
        next_step: format!(
            "lifeboat retention plan --job {name}; if that is right: lifeboat retention apply --job {name} --yes {name}"
        ),
        opens: true,
    }
}
