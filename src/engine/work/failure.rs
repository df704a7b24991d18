//! Errors of sources and repositories, as the failures people are shown.

use std::fmt::Display;

use crate::domain::run::Failure;
use crate::repo::RepoError;
use crate::source::SourceError;
use crate::source::postgres::cluster::ClusterError;
use crate::source::postgres::recovery::RecoveryError;
use crate::source::postgres::wal::WalError;

fn failure(error: &impl Display, hint: Option<String>, retryable: bool) -> Failure {
    Failure {
        message: error.to_string(),
        hint,
        retryable,
    }
}

/// A failure of a repository.
pub(super) fn of_repo(error: &RepoError) -> Failure {
    failure(error, error.hint().map(str::to_owned), error.retryable())
}

/// A failure of a source.
pub(super) fn of_source(error: &SourceError) -> Failure {
    failure(error, error.hint(), error.retryable())
}

/// A failure of an archived log.
pub(super) fn of_wal(error: &WalError) -> Failure {
    failure(error, error.hint(), error.retryable())
}

/// A failure of a recovery, or of looking at what could be recovered.
pub(super) fn of_recovery(error: &RecoveryError) -> Failure {
    failure(error, error.hint(), error.retryable())
}

/// A failure of a step on a cluster, or of looking at one.
pub(super) fn of_cluster(error: &ClusterError) -> Failure {
    failure(error, error.hint(), error.retryable())
}
