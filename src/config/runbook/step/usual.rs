//! What holds for a step that says nothing of it, by its kind.

use crate::domain::runbook::action::Action;
use crate::domain::runbook::{Class, Phase};
use crate::domain::units::Millis;

/// What nobody said anything about is not done twice unless it is known to be harmless.
pub(super) fn class(action: &Action) -> Class {
    match action {
        Action::Command(_) | Action::Http(_) | Action::Sql(_) | Action::Notify(_) | Action::Route(_) => Class::Once,
        Action::Restore(_) | Action::Recover(_) | Action::Backup(_) | Action::Rewind(_) => Class::Resumable,
        _ => Class::Idempotent,
    }
}

/// How long it may take.
pub(super) fn timeout(action: &Action) -> Millis {
    Millis::from_secs(match action {
        Action::Check(_) => 120,
        Action::Wait(_) | Action::Replay(_) => 1800,
        Action::Manual(_) | Action::Choose(_) | Action::Approve(_) => 24 * 3600,
        Action::Restore(_)
        | Action::Recover(_)
        | Action::Backup(_)
        | Action::Verify(_)
        | Action::Drill(_)
        | Action::Rewind(_)
        | Action::FindClean(_) => 12 * 3600,
        _ => 600,
    })
}

/// What its time counts for.
pub(super) fn phase(action: &Action) -> Phase {
    match action {
        Action::Manual(_) | Action::Check(_) | Action::Choose(_) | Action::Approve(_) | Action::FindClean(_) => {
            Phase::Identify
        }
        Action::Verify(_) | Action::Drill(_) => Phase::Verify,
        Action::Route(_) | Action::Service(_) | Action::Notify(_) | Action::Http(_) | Action::Unfence(_) => {
            Phase::Restart
        }
        _ => Phase::Restore,
    }
}
