//! Errors of the rooms below, as the failures and refusals people are shown.

use crate::domain::command::{Refusal, RefusalKind};
use crate::domain::run::Failure;
use crate::journal::JournalError;

/// A failure of the journal.
pub(super) fn of_journal(error: &JournalError) -> Failure {
    Failure {
        message: error.to_string(),
        hint: error.hint(),
        retryable: error.is_retryable(),
    }
}

/// A question to the journal that has no answer; none when the journal itself failed.
pub(super) fn journal_refusal(error: &JournalError) -> Option<Refusal> {
    let kind = match error {
        JournalError::NotFound { .. } => RefusalKind::NotFound,
        JournalError::Ambiguous { .. } | JournalError::BadCursor { .. } => RefusalKind::Invalid,
        _ => return None,
    };
    Some(Refusal {
        reason: error.to_string(),
        hint: error.hint(),
        kind,
    })
}
