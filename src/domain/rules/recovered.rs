//! A recovered server that waits for a person and is not there any more.
//!
//! It rests on what the last look saw, which the journal has. It ends when the server waits again, was opened, or was thrown
//! away; while somebody acts on it, what is open stays open and nothing opens.

use super::Condition;
use crate::domain::alert::{AlertKind, AlertSubject};
use crate::domain::decide::Context;
use crate::domain::follow_up::{Fate, Waiting};

pub(super) fn conditions(context: &Context<'_>) -> Vec<Condition> {
    let waiting = context.state.waiting.values();
    waiting.filter_map(|waiting| of(context, waiting)).collect()
}

fn of(context: &Context<'_>, waiting: &Waiting) -> Option<Condition> {
    let (id, server) = (&waiting.recovery, &waiting.server);
    let place = server.directory.display();
    let (message, next_step) = match server.seen.fate {
        Fate::Gone => (
            format!("the recovered server in {place} that waited has ended; what was laid down is there"),
            format!("start it again: lifeboat recovery resume {id}; or throw it away: lifeboat recovery discard {id}"),
        ),
        Fate::Lost => (
            format!("{place}, where a recovered server waited, is not there any more"),
            format!(
                "put it back if it was moved or is not mounted; else recover again, and clear away what is left: \
                 lifeboat recovery discard {id}"
            ),
        ),
        Fate::Waiting | Fate::Promoted | Fate::Discarded => return None,
    };
    let source = waiting.source.as_ref();
    Some(Condition {
        kind: AlertKind::RecoveredServerGone,
        subject: AlertSubject {
            service: source.and_then(|source| context.definitions.service_of(source)),
            ..AlertSubject::default()
        },
        name: id.to_string(),
        message,
        next_step,
        opens: waiting.follow_up.is_none(),
    })
}
