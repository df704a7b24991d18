//! The promise of a file's content: made when the file is queued, kept when its last chunk has been hashed.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::repo::id::Id;
use crate::repo::stop::{Stop, Stopped};

/// How a file ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileEnd {
    /// How many bytes were read.
    pub(super) size: u64,
    /// Why what was read may not be the whole file; it is kept all the same.
    pub(super) warning: Option<String>,
}

/// The content of one file, filled in by the workers in any order.
#[derive(Debug, Default)]
pub(super) struct Ticket {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    content: Vec<Id>,
    pending: usize,
    end: Option<Result<FileEnd, String>>,
}

/// The finished content of a file.
#[derive(Debug, Clone)]
pub(super) struct FileContent {
    pub(super) content: Vec<Id>,
    pub(super) end: FileEnd,
}

impl Ticket {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Announces one more chunk and returns its position.
    pub(super) fn expect(&self) -> usize {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pending += 1;
        state.content.push(Id::default());
        state.content.len() - 1
    }

    /// Fills in the name of a chunk.
    pub(super) fn fill(&self, position: usize, id: Id) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.content[position] = id;
        state.pending -= 1;
        if state.pending == 0 && state.end.is_some() {
            self.changed.notify_all();
        }
    }

    /// Says that no chunk follows, or that the file could not be read.
    pub(super) fn close(&self, end: Result<FileEnd, String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.end.get_or_insert(end);
        self.changed.notify_all();
    }

    /// Waits for the whole content; the inner error says why there is none.
    pub(super) fn wait(&self, stop: &Stop) -> Result<Result<FileContent, String>, Stopped> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &state.end {
                Some(Err(why)) => return Ok(Err(why.clone())),
                Some(Ok(end)) if state.pending == 0 => {
                    return Ok(Ok(FileContent {
                        content: state.content.clone(),
                        end: end.clone(),
                    }));
                }
                _ => {}
            }
            stop.check()?;
            let waited = self.changed.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
