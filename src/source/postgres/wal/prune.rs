//! Removing log that nobody needs any more: the only place that deletes whole files of an archive.
//!
//! Which log is needed is [`crate::domain::pitr::keep`]'s to say: everything from the beginning of the oldest base backup on,
//! those in the trash counted, on every timeline. Nothing goes while there is no base backup, or one cannot be read.
//!
//! **Two steps.** The first call notes from where log is needed, and removes nothing. A later one, a grace period after that,
//! removes what lies in front of *both* the noted place and the present one. So a base backup that comes back from the trash,
//! or whose absence was a mistake, has that long to be noticed.
//!
//! **Crash windows.** Oldest first: killed at any point, it leaves an archive that begins a little later and has no hole. Two
//! at a time do the same twice. Between the removal of an old note and the writing of the next there is none, and the grace
//! period begins anew.
//!
//! What this file never does: remove a history, a note of a conflict, or anything it cannot place.

use serde::{Deserialize, Serialize};

use super::archive::{FOLDER, growing_name};
use super::{Entry, Listed, WalArchive, WalError};
use crate::domain::pitr::keep::{Floor, may_go};
use crate::domain::units::{Bytes, Millis, Timestamp};
use crate::domain::wal::{SegmentSize, WalName};
use crate::repo::RepoError;

/// The object that notes from where log is needed.
pub(super) const MARK: &str = "prune";

/// From where log was needed when somebody looked; when that was, the object's header says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    /// The number of the first segment that is needed.
    floor: u64,
}

/// What goes, and what will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// From where log is needed.
    pub floor: Floor,
    /// Files that go now, oldest first.
    pub goes: Vec<String>,
    /// What they take.
    pub frees: Bytes,
    /// How many more go when the grace period is over.
    pub waits: u64,
    /// When that is; none when nothing waits, or it is not noted yet.
    pub due_at: Option<Timestamp>,
    /// How many files stay.
    pub stays: u64,
}

/// What a prune will do, and nothing else: what is shown to somebody who confirms it is what goes.
#[derive(Debug)]
pub struct Pruning {
    outlook: Outlook,
    keys: Vec<String>,
    note: bool,
    grace: Millis,
}

impl Pruning {
    /// What goes, and what will.
    pub fn outlook(&self) -> &Outlook {
        &self.outlook
    }
}

impl WalArchive {
    fn prune_key(&self) -> String {
        format!("{FOLDER}{}/{MARK}", self.system())
    }

    /// The floor that was noted, and when, by the clock of the store where it has one.
    async fn noted(&self) -> Result<Option<(u64, Timestamp)>, WalError> {
        let Some((header, content)) = self.load(&self.prune_key(), MARK).await? else {
            return Ok(None);
        };
        let noted: Noted = serde_json::from_slice(&content)
            .map_err(|error| RepoError::damaged(format!("WAL object {MARK}"), error.to_string()))?;
        Ok(Some((noted.floor, header.at)))
    }

    fn key_of(&self, listed: &Listed) -> Option<(WalName, String, String)> {
        let (name, stored) = match listed.entry {
            Entry::File(name) => (name, name.to_string()),
            Entry::Growing(name, length) => (WalName::Partial(name), growing_name(name, length)),
            Entry::Conflict(_) | Entry::Strange(_) => return None,
        };
        let key = self.key(name.timeline(), &stored);
        Some((name, stored, key))
    }

    /// Says what a prune would do now; changes nothing.
    pub async fn plan_prune(&self, floor: Floor, grace: Millis) -> Result<Pruning, WalError> {
        let size: SegmentSize = self.segment_size().await?.unwrap_or_default();
        let noted = self.noted().await?;
        let now = self.repo().store_time();
        let ripe = |(_, at): &(u64, Timestamp)| Millis::between(*at, now) >= grace;
        // In front of both: of what was noted long enough ago, and of what is needed today.
        let certain = noted
            .as_ref()
            .filter(|noted| ripe(noted))
            .map_or(0, |(noted, _)| floor.number.min(*noted));
        let mut placed: Vec<_> = self
            .list()
            .await?
            .iter()
            .filter_map(|listed| self.key_of(listed).map(|found| (found, listed.stored)))
            .collect();
        placed.sort_by_key(|((name, ..), _)| name.of_segment().and_then(|segment| segment.number(size)));
        let (mut goes, mut keys, mut frees, mut waits, mut stays) = (Vec::new(), Vec::new(), 0, 0, 0);
        for ((name, stored, key), bytes) in placed {
            if may_go(name, certain, size) {
                goes.push(stored);
                keys.push(key);
                frees += bytes;
            } else if may_go(name, floor.number, size) {
                waits += 1;
            } else {
                stays += 1;
            }
        }
        // A note that is not ripe keeps its age, however far the floor has moved on since.
        let note = waits > 0 && noted.as_ref().is_none_or(|noted| ripe(noted) || noted.0 > floor.number);
        let due_at = noted
            .filter(|noted| waits > 0 && !ripe(noted))
            .and_then(|(_, at)| at.checked_add_signed(grace.to_chrono()));
        let outlook = Outlook {
            floor,
            goes,
            frees: Bytes(frees),
            waits,
            due_at,
            stays,
        };
        Ok(Pruning {
            outlook,
            keys,
            note,
            grace,
        })
    }

    /// Removes what was planned to go, and no other file; notes what was not needed then for the next time.
    pub async fn prune(&self, planned: Pruning) -> Result<Outlook, WalError> {
        let Pruning {
            mut outlook,
            keys,
            note,
            grace,
        } = planned;
        for key in keys {
            self.repo().delete_sealed(&key).await?;
        }
        if note {
            self.repo().delete_sealed(&self.prune_key()).await?;
            let noted = Noted {
                floor: outlook.floor.number,
            };
            outlook.due_at = self.repo().store_time().checked_add_signed(grace.to_chrono());
            let text = serde_json::to_vec(&noted).map_err(|error| RepoError::internal(error.to_string()))?;
            self.store(&self.prune_key(), MARK.to_owned(), text).await?;
        }
        Ok(outlook)
    }
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
