//! From what somebody says of a recovered server, and what is seen of it, to what has happened, and what that does to the state.

use std::collections::BTreeMap;

use super::{FollowUp, FollowUpResult, FollowUpState, LeftServer, LiveFollowUp, STEPS_KEPT, ServerSeen, Step, Waiting};
use crate::domain::command::{Actor, Refusal};
use crate::domain::decide::Context;
use crate::domain::event::Event;
use crate::domain::id::RecoveryId;
use crate::domain::recovery::{RecoveryRecord, RecoveryTarget};
use crate::domain::run::{Failure, Outcome};
use crate::domain::state::State;
use crate::domain::units::Timestamp;

/// The server a recovery left, when it is one of which somebody has to say what becomes of it.
pub(in crate::domain) fn left(state: &mut State, record: &RecoveryRecord) {
    let Some(server) = record.left.as_ref().filter(|left| left.seen.fate.is_undecided()) else {
        return;
    };
    let waiting = Waiting {
        recovery: record.id.clone(),
        source: record.source.clone(),
        repository: record.request.repository.clone(),
        base: Some(record.request.snapshot.clone()),
        server: server.clone(),
        follow_up: None,
    };
    state.waiting.insert(record.id.clone(), waiting);
}

/// Asks for a follow-up.
pub(in crate::domain) fn ask(
    context: &Context<'_>,
    actor: &Actor,
    id: &RecoveryId,
    what: &FollowUp,
) -> Result<Vec<Event>, Refusal> {
    let Some(waiting) = context.state.waiting.get(id) else {
        return Err(Refusal::not_found(
            format!("{id} has left no server that waits"),
            "see what does with: lifeboat recovery waiting",
        ));
    };
    if let Some(why) = waiting.why_not(what) {
        return Err(Refusal::conflict(format!("{id}: {why}"), None));
    }
    Ok(vec![Event::FollowUpRequested {
        recovery: id.clone(),
        what: what.clone(),
        by: actor.name.clone(),
    }])
}

/// Asks a follow-up to stop; none when this recovery has none.
pub(in crate::domain) fn cancel(state: &State, actor: &Actor, id: &RecoveryId) -> Option<Result<Vec<Event>, Refusal>> {
    let live = state.waiting.get(id)?.follow_up.as_ref()?;
    if !live.what.can_stop() {
        let why = format!("{id}: {} cannot be stopped half-way", live.what.doing());
        return Some(Err(Refusal::conflict(why, None)));
    }
    let event = Event::FollowUpCancelRequested {
        recovery: id.clone(),
        by: actor.name.clone(),
    };
    Some(Ok(live
        .cancel_requested
        .is_none()
        .then_some(event)
        .into_iter()
        .collect()))
}

/// The recovered server that waits in the place a recovery is to go.
pub(in crate::domain) fn in_the_way<'a>(state: &'a State, target: &RecoveryTarget) -> Option<&'a Waiting> {
    let RecoveryTarget::Directory { path, .. } = target else {
        return None;
    };
    state.waiting.values().find(|waiting| waiting.server.directory == *path)
}

/// A follow-up is about to act.
pub(in crate::domain) fn starting(state: &State, id: &RecoveryId) -> Vec<Event> {
    let live = state.waiting.get(id).and_then(|waiting| waiting.follow_up.as_ref());
    match live {
        Some(live) if live.state == FollowUpState::Queued => vec![Event::FollowUpStarted { recovery: id.clone() }],
        _ => Vec::new(),
    }
}

/// A follow-up has ended.
pub(in crate::domain) fn ended(context: &Context<'_>, id: &RecoveryId, result: FollowUpResult) -> Vec<Event> {
    let Some(waiting) = context.state.waiting.get(id) else {
        return Vec::new();
    };
    // How it stands could not be found out: it stays in doubt and is looked at until that can be said.
    let Some(seen) = result.seen else {
        return vec![Event::FollowUpDoubted { recovery: id.clone() }];
    };
    followed(context.now, waiting, seen, (result.outcome, result.error))
        .into_iter()
        .collect()
}

/// A recovered server was looked at.
pub(in crate::domain) fn looked(context: &Context<'_>, id: &RecoveryId, seen: ServerSeen) -> Vec<Event> {
    let Some(waiting) = context.state.waiting.get(id) else {
        return Vec::new();
    };
    let now = context.now;
    match &waiting.follow_up {
        Some(live) if live.state == FollowUpState::InDoubt => {
            let ended = if live.what.is_fulfilled_by(&seen) {
                (Outcome::Succeeded, None)
            } else {
                let why = Failure {
                    message: "it was interrupted, and what was wanted did not come about".to_owned(),
                    hint: Some("look at how the server stands, and ask again".to_owned()),
                    retryable: true,
                };
                (Outcome::Interrupted, Some(why))
            };
            followed(now, waiting, seen, ended).into_iter().collect()
        }
        // It acts on the server now; what is seen meanwhile is half of the truth.
        Some(_) => Vec::new(),
        None if seen.fate == waiting.server.seen.fate && seen.target == waiting.server.seen.target => Vec::new(),
        None => vec![Event::RecoveredServerSeen {
            recovery: id.clone(),
            server: LeftServer {
                seen: kept(seen, &waiting.server),
                since: now,
                by: "agent".to_owned(),
                ..waiting.server.clone()
            },
        }],
    }
}

/// What a quick look does not tell stays as it was known, as long as the server is at the same place.
fn kept(seen: ServerSeen, before: &LeftServer) -> ServerSeen {
    let same = seen.target == before.seen.target && seen.fate.is_undecided();
    let before = same.then_some(&before.seen);
    ServerSeen {
        lsn: seen.lsn.or(before.and_then(|before| before.lsn)),
        last_commit: seen.last_commit.or(before.and_then(|before| before.last_commit)),
        ..seen
    }
}

fn followed(
    now: Timestamp,
    waiting: &Waiting,
    seen: ServerSeen,
    (outcome, error): (Outcome, Option<Failure>),
) -> Option<Event> {
    let live = waiting.follow_up.as_ref()?;
    let before = &waiting.server;
    let changed = seen.fate != before.seen.fate || seen.target != before.seen.target;
    let (since, by) = match (changed, outcome) {
        (false, _) => (before.since, before.by.clone()),
        (true, Outcome::Succeeded) => (now, live.by.clone()),
        (true, _) => (now, "agent".to_owned()),
    };
    let step = Step {
        what: live.what.clone(),
        by: live.by.clone(),
        at: now,
        outcome,
        error,
    };
    let mut steps = before.steps.clone();
    steps.push(step);
    let old = steps.len().saturating_sub(STEPS_KEPT);
    steps.drain(..old);
    Some(Event::FollowUpEnded {
        recovery: waiting.recovery.clone(),
        server: LeftServer {
            directory: before.directory.clone(),
            seen: kept(seen, before),
            since,
            by,
            steps,
        },
    })
}

/// What an agent that begins or ends does to follow-ups: what was being done is in doubt.
pub(in crate::domain) fn doubt_all(waiting: &mut BTreeMap<RecoveryId, Waiting>) {
    let live = waiting.values_mut().filter_map(|waiting| waiting.follow_up.as_mut());
    for live in live.filter(|live| live.state == FollowUpState::Running) {
        live.state = FollowUpState::InDoubt;
    }
}

/// What an event about a recovered server does to the state.
pub(in crate::domain) fn apply(state: &mut State, at: Timestamp, event: &Event) {
    match event {
        Event::FollowUpRequested { recovery, what, by } => {
            if let Some(waiting) = state.waiting.get_mut(recovery) {
                waiting.follow_up = Some(LiveFollowUp {
                    what: what.clone(),
                    by: by.clone(),
                    asked_at: at,
                    state: FollowUpState::Queued,
                    cancel_requested: None,
                });
            }
        }
        Event::FollowUpStarted { recovery } => with_live(state, recovery, |live| live.state = FollowUpState::Running),
        Event::FollowUpDoubted { recovery } => with_live(state, recovery, |live| live.state = FollowUpState::InDoubt),
        Event::FollowUpCancelRequested { recovery, by } => {
            with_live(state, recovery, |live| live.cancel_requested = Some(by.clone()));
        }
        Event::FollowUpEnded { recovery, server } | Event::RecoveredServerSeen { recovery, server } => {
            if !server.seen.fate.is_undecided() {
                state.waiting.remove(recovery);
            } else if let Some(waiting) = state.waiting.get_mut(recovery) {
                waiting.server = server.clone();
                waiting.follow_up = None;
            }
        }
        _ => {}
    }
}

fn with_live(state: &mut State, recovery: &RecoveryId, change: impl FnOnce(&mut LiveFollowUp)) {
    let waiting = state.waiting.get_mut(recovery);
    if let Some(live) = waiting.and_then(|waiting| waiting.follow_up.as_mut()) {
        change(live);
    }
}
