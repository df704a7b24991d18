//! Keeping repositories in order, decided: pins, words, the trash, retention, prune and check.
//!
//! | file | what it decides |
//! | --- | --- |
//! | this | what a person asked for; the interlocks before anything is forgotten |
//! | `retain` | what a job's retention comes to |
//! | `work` | what is due, what may begin, what its end means |
//!
//! **Promises.** Whatever is done to a repository is asked for by an event first, so that a crash between the decision and
//! the deed loses neither. Nothing forgets what is pinned, in use, or the last good snapshot of its job.
//!
//! Pure, like all of [`crate::domain`].

mod retain;
mod watch;
mod work;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use retain::{due_retention, plan_of, retention};
pub(super) use watch::conditions;
pub use work::{
    due_maintenance, effects, ended, found, holds_back, holds_back_recovery, interrupted, started, wake_at,
};

use super::command::{Actor, Command, Refusal, RefusalKind};
use super::decide::{Context, LookedUp};
use super::event::Event;
use super::id::{MaintenanceId, RecoveryId, RepositoryName, SnapshotId, time_ordered_id};
use super::maintenance::{Maintenance, MaintenanceState, Task};
use super::run::Outcome;
use super::snapshot::SnapshotRecord;
use super::state::State;
use super::units::Timestamp;

/// The labels that say what a snapshot is; without them nobody would know.
const OURS: [&str; 5] = ["job=", "source=", "kind=", "run=", "service="];

/// Decides what a person asked for.
///
/// # Errors
/// A refusal that says why and what to do instead; nothing has happened then.
pub fn command(
    context: &Context<'_>,
    actor: &Actor,
    command: &Command,
    looked_up: &LookedUp,
) -> Result<Vec<Event>, Refusal> {
    match command {
        Command::PinSnapshot { reason, .. } => pin(context, actor, looked_up, reason.clone()),
        Command::UnpinSnapshot { reason, .. } => {
            let record = one(looked_up)?;
            if !context.state.pinned.contains(&record.id) {
                return Err(conflict(record, "is not pinned"));
            }
            let task = Task::Unpin {
                snapshot: record.id.clone(),
                reason: reason.clone(),
            };
            ask(context, &actor.name, &record.repository, task)
        }
        Command::TagSnapshot { add, remove, .. } => tag(context, actor, one(looked_up)?, add, remove),
        Command::ForgetSnapshots { reason, .. } => forget(context, actor, looked_up, reason),
        Command::RestoreForgotten { .. } => {
            let record = one(looked_up)?;
            if record.forgotten.is_none() || record.vanished_at.is_some() {
                return Err(conflict(record, "is not in the trash"));
            }
            let snapshot = record.id.clone();
            ask(context, &actor.name, &record.repository, Task::Untrash { snapshot })
        }
        Command::ApplyRetention { job, confirmed } => {
            retain::by_hand(context, actor, job.as_ref(), *confirmed, &looked_up.retention)
        }
        Command::PruneRepository { repository } => ask(context, &actor.name, repository, Task::Prune),
        Command::CheckRepository { repository, subset } => {
            let subset = subset.clone();
            if let Some(wrong) = subset.as_ref().filter(|text| !is_subset(text)) {
                return Err(invalid(
                    format!("\"{wrong}\" is not a part of a repository"),
                    "write 5%, 1/7 or all",
                ));
            }
            ask(context, &actor.name, repository, Task::Check { subset })
        }
        Command::CancelMaintenance { maintenance } => cancel(context, actor, maintenance),
        _ => Ok(Vec::new()),
    }
}

/// Whether a text says how much of a repository's data is read: `5%`, `1/7` or `all`.
pub fn is_subset(text: &str) -> bool {
    let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    let part = text
        .split_once('/')
        .and_then(|(part, of)| Some((part.parse::<u32>().ok()?, of.parse::<u32>().ok()?)));
    text == "all"
        || percent.is_some_and(|percent| percent > 0.0 && percent <= 100.0)
        || part.is_some_and(|(part, of)| part >= 1 && part <= of)
}

fn invalid(reason: impl Into<String>, hint: &str) -> Refusal {
    Refusal {
        reason: reason.into(),
        hint: Some(hint.to_owned()),
        kind: RefusalKind::Invalid,
    }
}

fn conflict(record: &SnapshotRecord, what: &str) -> Refusal {
    Refusal::conflict(format!("snapshot {} {what}", record.id.short()), None)
}

fn one(looked_up: &LookedUp) -> Result<&SnapshotRecord, Refusal> {
    looked_up
        .snapshots
        .first()
        .ok_or_else(|| Refusal::not_found("there is no such snapshot", "list them with: lifeboat snapshot list"))
}

/// Refuses what is no longer listed in its repository.
fn there(record: &SnapshotRecord) -> Result<(), Refusal> {
    if let Some(new) = &record.replaced_by {
        return Err(conflict(record, &format!("is {} now", new.short())));
    }
    if record.vanished_at.is_some() {
        return Err(conflict(record, "is gone from its repository"));
    }
    if record.forgotten.is_some() {
        return Err(conflict(record, "is in the trash"));
    }
    Ok(())
}

fn pin(
    context: &Context<'_>,
    actor: &Actor,
    looked_up: &LookedUp,
    reason: Option<String>,
) -> Result<Vec<Event>, Refusal> {
    let record = one(looked_up)?;
    there(record)?;
    if context.state.pinned.contains(&record.id) {
        return Err(conflict(record, "is pinned already"));
    }
    let task = Task::Pin {
        snapshot: record.id.clone(),
        reason,
    };
    ask(context, &actor.name, &record.repository, task)
}

fn tag(
    context: &Context<'_>,
    actor: &Actor,
    record: &SnapshotRecord,
    add: &[String],
    remove: &[String],
) -> Result<Vec<Event>, Refusal> {
    there(record)?;
    let wrong = |tag: &&String| {
        tag.is_empty() || tag.len() > 128 || tag.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control())
    };
    if let Some(tag) = add.iter().find(wrong) {
        return Err(invalid(
            format!("\"{tag}\" cannot be a tag"),
            "use a short word without commas, blanks or control characters",
        ));
    }
    let ours = |tag: &&String| {
        matches!(tag.as_str(), "lifeboat" | "partial") || OURS.iter().any(|label| tag.starts_with(label))
    };
    if let Some(tag) = add.iter().chain(remove).find(ours) {
        return Err(invalid(
            format!("\"{tag}\" says what the snapshot is, and stays as it is"),
            "change other words",
        ));
    }
    let changes =
        add.iter().any(|tag| !record.tags.contains(tag)) || remove.iter().any(|tag| record.tags.contains(tag));
    if !changes {
        return Err(invalid(
            "nothing would be different",
            "say which words to add or remove",
        ));
    }
    if in_use(context.state).contains(&record.id) {
        return Err(conflict(record, "is needed by a recovery, and its id would change"));
    }
    let task = Task::Tag {
        snapshot: record.id.clone(),
        add: add.to_vec(),
        remove: remove.to_vec(),
    };
    ask(context, &actor.name, &record.repository, task)
}

fn forget(context: &Context<'_>, actor: &Actor, looked_up: &LookedUp, reason: &str) -> Result<Vec<Event>, Refusal> {
    one(looked_up)?;
    if reason.trim().is_empty() {
        return Err(invalid(
            "forgetting a snapshot needs a reason",
            "say why; it is kept in the audit log",
        ));
    }
    let used = in_use(context.state);
    let mut places: BTreeMap<&RepositoryName, Vec<SnapshotId>> = BTreeMap::new();
    for record in &looked_up.snapshots {
        there(record)?;
        let refuse = |why: &str, hint: &str| {
            Err(Refusal::interlock(
                format!("snapshot {} {why}", record.id.short()),
                hint,
            ))
        };
        if context.state.pinned.contains(&record.id) || record.pinned.is_some() {
            return refuse("is pinned", "unpin it first: lifeboat snapshot unpin");
        }
        if used.contains(&record.id) {
            if let Some(id) = waits_on(context.state, &record.id) {
                return refuse(
                    &format!("is what the server that {id} has left is moved on and started again from"),
                    &format!("open that server or throw it away first: lifeboat recovery show {id}"),
                );
            }
            return refuse("is being read by a recovery", "wait for it to end, or cancel it");
        }
        if is_last_good(record, looked_up) {
            return refuse(
                "is the last good snapshot of its job",
                "nothing could be restored without it; make a newer one first: lifeboat job run",
            );
        }
        places.entry(&record.repository).or_default().push(record.id.clone());
    }
    let mut events = Vec::new();
    for ((repository, snapshots), unique) in places.into_iter().zip(context.unique..) {
        let task = Task::Forget {
            snapshots,
            reason: reason.trim().to_owned(),
            job: None,
        };
        events.extend(ask(&Context { unique, ..*context }, &actor.name, repository, task)?);
    }
    Ok(events)
}

/// Whether it is the newest of its job, in its repository, that is complete and not known to be damaged.
fn is_last_good(record: &SnapshotRecord, looked_up: &LookedUp) -> bool {
    let Some(facts) = record.job.as_ref().and_then(|job| looked_up.retention.get(job)) else {
        return false;
    };
    let good = facts
        .iter()
        .filter(|facts| facts.repository == record.repository && !facts.partial && !facts.refuted);
    good.max_by_key(|facts| (facts.taken_at, &facts.id))
        .is_some_and(|last| last.id == record.id)
}

/// The snapshots that recoveries read, or are about to, and those that recovered servers which wait were laid down from: without
/// them, and the log after them, such a server can neither be moved nor started again.
pub fn in_use(state: &State) -> BTreeSet<SnapshotId> {
    let recoveries = state.recoveries.values();
    let read = recoveries.map(|recovery| recovery.request.snapshot.clone());
    let waiting = state.waiting.values();
    read.chain(waiting.filter_map(|waiting| waiting.base.clone())).collect()
}

/// The recovery whose server waits and was laid down from that snapshot.
fn waits_on<'a>(state: &'a State, snapshot: &SnapshotId) -> Option<&'a RecoveryId> {
    let mut waiting = state.waiting.values();
    let found = waiting.find(|waiting| waiting.base.as_ref() == Some(snapshot));
    found.map(|waiting| &waiting.recovery)
}

/// Asks for maintenance, unless the same is under way.
fn ask(context: &Context<'_>, by: &str, repository: &RepositoryName, task: Task) -> Result<Vec<Event>, Refusal> {
    if !context.definitions.repositories.contains_key(repository) {
        return Err(Refusal::not_found(
            format!("there is no repository {repository} in the configuration"),
            "list them with: lifeboat status",
        ));
    }
    let same = |live: &&Maintenance| {
        live.repository == *repository && live.task.word() == task.word() && live.task.snapshots() == task.snapshots()
    };
    if let Some(live) = context.state.maintenance.values().find(same) {
        return Err(Refusal::conflict(
            format!("{} is doing that already", live.id),
            Some("see how far it is: lifeboat status"),
        ));
    }
    Ok(vec![requested(context, by, repository, task, None)])
}

fn requested(
    context: &Context<'_>,
    by: &str,
    repository: &RepositoryName,
    task: Task,
    due: Option<Timestamp>,
) -> Event {
    let maintenance = Maintenance {
        id: MaintenanceId(time_ordered_id("mnt", context.now, context.unique)),
        repository: repository.clone(),
        task,
        requested_by: by.to_owned(),
        requested_at: context.now,
        due,
        started_at: None,
        attempt: 0,
        state: MaintenanceState::Queued,
        cancel_requested: None,
    };
    Event::MaintenanceRequested { maintenance }
}

fn cancel(context: &Context<'_>, actor: &Actor, id: &MaintenanceId) -> Result<Vec<Event>, Refusal> {
    let Some(live) = context.state.maintenance.get(id) else {
        return Err(Refusal::not_found(
            format!("{id} is not running"),
            "see what runs with: lifeboat status",
        ));
    };
    let mut events = Vec::new();
    if live.cancel_requested.is_none() {
        events.push(Event::MaintenanceCancelRequested {
            maintenance: id.clone(),
            by: actor.name.clone(),
        });
    }
    if live.state == MaintenanceState::Queued {
        let error = super::decide::cancelled(&actor.name);
        events.push(work::finished(live, Outcome::Cancelled, Some(error), context.now));
    }
    Ok(events)
}
