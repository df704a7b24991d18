//! Alerts about repositories that run out of room.
//!
//! They rest on what was seen a moment ago. While nothing was seen yet, as after a start, what is open stays open and nothing
//! opens.

use super::Condition;
use crate::domain::alert::{AlertKind, AlertSubject};
use crate::domain::capacity::{FULL_FROM, ROOM_BELOW, days_to_full};
use crate::domain::decide::Context;
use crate::domain::id::RepositoryName;

pub(super) fn conditions(context: &Context<'_>) -> Vec<Condition> {
    let names = context.definitions.repositories.keys();
    names.filter_map(|name| of(context, name)).collect()
}

fn of(context: &Context<'_>, name: &RepositoryName) -> Option<Condition> {
    let open = context.state.alerts.get(&AlertKind::StorageFull.key(name.as_str()));
    let condition = |message: String, opens: bool| Condition {
        kind: AlertKind::StorageFull,
        subject: AlertSubject::default(),
        name: name.to_string(),
        message,
        next_step: format!("make room: lifeboat runbook run repository-full --set repository={name}"),
        opens,
    };
    let seen = context.seen.rooms.iter().find(|sight| sight.repository == *name);
    let Some(room) = seen.map(|sight| sight.room) else {
        return open.map(|alert| condition(alert.message.clone(), false));
    };
    let percent = room.percent();
    if percent < ROOM_BELOW || (percent < FULL_FROM && open.is_none()) {
        return None;
    }
    let days = days_to_full(context.state, context.definitions, name, room, context.now);
    let when = match days {
        _ if room.left().0 == 0 => "; it is full, and no backup to it can succeed".to_owned(),
        Some(0) => "; full within a day at the present pace".to_owned(),
        Some(days) => format!("; full in about {days} days at the present pace"),
        None => String::new(),
    };
    let message = format!("repository {name} runs out of room: {room}{when}");
    Some(condition(message, percent >= FULL_FROM))
}
