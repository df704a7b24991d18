//! Errors of sources and repositories, as the failures people are shown.

use crate::domain::run::Failure;
use crate::repo::RepoError;
use crate::source::SourceError;

/// A failure of a repository.
pub(super) fn of_repo(error: &RepoError) -> Failure {
    Failure {
        message: error.to_string(),
        hint: error.hint().map(str::to_owned),
        retryable: error.retryable(),
    }
}

/// A failure of a source.
pub(super) fn of_source(error: &SourceError) -> Failure {
    Failure {
        message: error.to_string(),
        hint: error.hint(),
        retryable: error.retryable(),
    }
}
