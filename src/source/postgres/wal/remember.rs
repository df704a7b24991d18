//! What of an archive never changes, and need not be read again: the size of the segments, and the histories of timelines.
//!
//! Objects of an archive are created once and these are never removed, so what was read once is what would be read now. Only
//! what was read whole and sound is remembered, never that something is absent or damaged. A verification has a memory of its
//! own, empty: it looks at what is there.
//!
//! **Memory.** A few hundred bytes a timeline, of the clusters whose log is looked at.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::wal::{History, SegmentSize, SystemId, TimelineId};

/// What is remembered of archives, by repository and cluster; cheap to clone, and shared between the clones.
#[derive(Debug, Clone, Default)]
pub struct Remembered(Arc<Mutex<HashMap<(String, SystemId), Fixed>>>);

/// What never changes in the archive of a cluster.
#[derive(Debug, Default)]
struct Fixed {
    size: Option<SegmentSize>,
    histories: BTreeMap<TimelineId, History>,
}

impl Remembered {
    fn all(&self) -> MutexGuard<'_, HashMap<(String, SystemId), Fixed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn size(&self, repository: &str, system: SystemId) -> Option<SegmentSize> {
        self.all().get(&(repository.to_owned(), system))?.size
    }

    pub(super) fn set_size(&self, repository: &str, system: SystemId, size: SegmentSize) {
        self.all().entry((repository.to_owned(), system)).or_default().size = Some(size);
    }

    pub(super) fn history(&self, repository: &str, system: SystemId, timeline: TimelineId) -> Option<History> {
        let all = self.all();
        all.get(&(repository.to_owned(), system))?
            .histories
            .get(&timeline)
            .cloned()
    }

    pub(super) fn set_history(&self, repository: &str, system: SystemId, history: History) {
        let mut all = self.all();
        let fixed = all.entry((repository.to_owned(), system)).or_default();
        fixed.histories.insert(history.timeline, history);
    }
}
