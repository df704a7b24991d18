//! The byte budget: whoever holds file content in memory holds a permit for it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::repo::stop::{Stop, Stopped};

/// How often a waiting thread looks whether the work has been stopped.
const LOOK: Duration = Duration::from_millis(100);

/// A number of bytes to share.
#[derive(Debug)]
pub(in crate::repo) struct Budget {
    total: u64,
    free: Mutex<u64>,
    returned: Condvar,
}

/// A part of the budget, returned when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(total: u64) -> Arc<Self> {
        Arc::new(Self {
            total,
            free: Mutex::new(total),
            returned: Condvar::new(),
        })
    }

    /// Waits until `bytes` are free; a request above the whole budget is treated as one for the whole.
    pub(super) fn acquire(self: &Arc<Self>, bytes: usize, stop: &Stop) -> Result<Permit, Stopped> {
        let bytes = (bytes as u64).min(self.total);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free < bytes {
            stop.check()?;
            free = self
                .returned
                .wait_timeout(free, LOOK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *free -= bytes;
        Ok(Permit {
            budget: Arc::clone(self),
            bytes,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.budget.free.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        self.budget.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::sync::CancellationToken;

    #[test]
    fn waits_for_returned_bytes_and_gives_up_when_stopped() {
        let (budget, stop) = (Budget::new(100), Stop::new(CancellationToken::new()));
        let held = budget.acquire(80, &stop).unwrap();
        let waiting = std::thread::spawn({
            let (budget, stop) = (budget.clone(), stop.clone());
            move || budget.acquire(1000, &stop).map(|permit| permit.bytes)
        });
        drop(held);
        assert_eq!(waiting.join().unwrap(), Ok(100));
        let _held = budget.acquire(100, &stop).unwrap();
        stop.fail(crate::repo::RepoError::Cancelled);
        assert!(budget.acquire(1, &stop).is_err());
    }
}
