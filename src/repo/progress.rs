//! How far a long operation is: atomics that the pipeline counts in and anybody may sample, beside the journal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// What a long operation is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It has not begun.
    #[default]
    Waiting,
    /// It reads the index and makes its plan.
    Preparing,
    /// It waits for packs to come back from a cold storage class.
    Thawing,
    /// It moves data.
    Copying,
    /// It writes metadata, the index and the snapshot.
    Finishing,
    /// It compares what it wrote.
    Verifying,
    /// It has ended.
    Done,
}

/// The counters of one operation; shared. They begin anew only where another kind of work does.
#[derive(Debug, Default)]
pub struct Progress {
    /// How many files there are, as far as is known.
    pub files_total: AtomicU64,
    /// How many files are done.
    pub files_done: AtomicU64,
    /// How many bytes there are, as far as is known.
    pub bytes_total: AtomicU64,
    /// How many bytes are done.
    pub bytes_done: AtomicU64,
    /// How many bytes went to, or came from, the store.
    pub bytes_stored: AtomicU64,
    /// How many items failed.
    pub errors: AtomicU64,
    /// How many requests to the store were repeated.
    pub retries: AtomicU64,
    /// How many packs were in a cold storage class.
    pub packs_cold: AtomicU64,
    /// How many of them are readable again.
    pub packs_thawed: AtomicU64,
    current: Mutex<String>,
    phase: Mutex<Phase>,
}

/// One look at a [`Progress`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressSample {
    /// What it is doing.
    pub phase: Phase,
    /// How many files there are, as far as is known.
    pub files_total: u64,
    /// How many files are done.
    pub files_done: u64,
    /// How many bytes there are, as far as is known.
    pub bytes_total: u64,
    /// How many bytes are done.
    pub bytes_done: u64,
    /// How many bytes went to, or came from, the store.
    pub bytes_stored: u64,
    /// How many items failed.
    pub errors: u64,
    /// How many requests to the store were repeated.
    pub retries: u64,
    /// How many packs were in a cold storage class.
    #[serde(default)]
    pub packs_cold: u64,
    /// How many of them are readable again.
    #[serde(default)]
    pub packs_thawed: u64,
    /// What it works on now.
    pub current: String,
}

impl Progress {
    /// Fresh counters.
    pub fn new() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self::default())
    }

    /// Adds to a counter.
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    /// Says what is being worked on; skipped when somebody reads it at this moment.
    pub(crate) fn set_current(&self, what: &str) {
        if let Ok(mut current) = self.current.try_lock() {
            current.clear();
            current.push_str(what);
        }
    }

    /// Says what the operation is doing.
    pub fn set_phase(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads all counters.
    pub fn sample(&self) -> ProgressSample {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProgressSample {
            phase: self.phase(),
            files_total: read(&self.files_total),
            files_done: read(&self.files_done),
            bytes_total: read(&self.bytes_total),
            bytes_done: read(&self.bytes_done),
            bytes_stored: read(&self.bytes_stored),
            errors: read(&self.errors),
            retries: read(&self.retries),
            packs_cold: read(&self.packs_cold),
            packs_thawed: read(&self.packs_thawed),
            current: self.current.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
