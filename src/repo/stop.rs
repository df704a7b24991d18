//! How the stages of a pipeline learn that they should stop: the caller cancelled, or one of them failed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::repo::error::RepoError;

/// The work has been stopped; why is in the [`Stop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

/// Shared by all stages; the first failure wins.
#[derive(Debug, Clone)]
pub(crate) struct Stop(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cancel: CancellationToken,
    failed: AtomicBool,
    error: Mutex<Option<RepoError>>,
}

impl Stop {
    pub(crate) fn new(cancel: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            cancel,
            failed: AtomicBool::new(false),
            error: Mutex::new(None),
        }))
    }

    /// Stops everything because of `error`.
    pub(crate) fn fail(&self, error: RepoError) {
        self.0
            .error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        self.0.failed.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.failed.load(Ordering::Acquire) || self.0.cancel.is_cancelled()
    }

    pub(crate) fn check(&self) -> Result<(), Stopped> {
        if self.is_stopped() { Err(Stopped) } else { Ok(()) }
    }

    /// The token of the caller.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.0.cancel
    }

    /// Why it stopped, if it did.
    pub(crate) fn result(&self) -> Result<(), RepoError> {
        if let Some(error) = self.0.error.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(error);
        }
        if self.0.cancel.is_cancelled() {
            Err(RepoError::Cancelled)
        } else {
            Ok(())
        }
    }
}
