//! How much room is left where a repository is, and when it will be used up at the pace of the last days.
//!
//! A repository has two bounds: the disk it is on, where it is on one, and what its configuration allows it (`max_size`).
//! The tighter counts. The pace is what the last snapshots of its jobs added, which is measured anyway; what expires is not
//! taken off, so that the estimate errs to the early side.

use serde::{Deserialize, Serialize};

use super::id::RepositoryName;
use super::job::Definitions;
use super::state::State;
use super::units::{Bytes, Millis, Timestamp};

/// From so many percent on, an alert opens.
pub const FULL_FROM: u64 = 90;
/// Below so many, it is over.
pub const ROOM_BELOW: u64 = 85;
/// What was added in less time than this says nothing about a day.
const LEAST: Millis = Millis::from_secs(3600);
const DAY: u64 = 86_400_000;

/// What bounds a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The `max_size` of its configuration.
    Quota,
    /// The file system it is on.
    Disk,
}

impl Bound {
    /// What it is called in a sentence.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Quota => "its max_size",
            Self::Disk => "its disk",
        }
    }
}

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// What is used: of a disk by whomever, under a quota by whatever is in the repository's place.
    pub used: Bytes,
    /// What may be used.
    pub limit: Bytes,
    /// By what it is bounded.
    pub bound: Bound,
}

impl Room {
    /// What is used, in percent, rounded up; more than 100 when more is stored than may be.
    pub fn percent(self) -> u64 {
        let percent = (u128::from(self.used.0) * 100).div_ceil(u128::from(self.limit.0.max(1)));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }

    /// What is left.
    pub const fn left(self) -> Bytes {
        Bytes(self.limit.0.saturating_sub(self.used.0))
    }

    /// The tighter of two bounds.
    #[must_use]
    pub fn tighter(self, other: Option<Self>) -> Self {
        other.filter(|other| other.percent() > self.percent()).unwrap_or(self)
    }
}

impl std::fmt::Display for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (percent, bound) = (self.percent(), self.bound.words());
        write!(f, "{percent}% of {bound} is used ({} of {})", self.used, self.limit)
    }
}

/// How much room there was when last looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomSight {
    /// Where.
    pub repository: RepositoryName,
    /// How much.
    pub room: Room,
}

/// In how many whole days it is full at the pace of the last snapshots; none when nothing grows, or nobody can tell yet.
pub fn days_to_full(
    state: &State,
    definitions: &Definitions,
    name: &RepositoryName,
    room: Room,
    now: Timestamp,
) -> Option<u64> {
    let jobs = definitions.jobs.values().filter(|job| job.repository == *name);
    let facts = jobs.filter_map(|job| state.jobs.get(&job.name));
    let pace = |facts: &super::state::JobFacts| {
        // The oldest is where the counting starts; of a young job it is the first of all, which holds everything.
        let since = Millis::between(facts.figures.front()?.at, now);
        let added: u64 = facts.figures.iter().skip(1).map(|sample| sample.packed.0).sum();
        (since >= LEAST).then(|| u128::from(added) * u128::from(DAY) / u128::from(since.0))
    };
    let a_day: u128 = facts.filter_map(pace).sum();
    (a_day > 0).then(|| u64::try_from(u128::from(room.left().0) / a_day).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(used: u64, limit: u64, bound: Bound) -> Room {
        Room {
            used: Bytes(used),
            limit: Bytes(limit),
            bound,
        }
    }

    #[test]
    fn percents_are_rounded_up_and_the_tighter_bound_counts() {
        assert_eq!(room(899, 1000, Bound::Disk).percent(), 90);
        assert_eq!(room(0, 1000, Bound::Disk).percent(), 0);
        assert_eq!(room(u64::MAX, u64::MAX, Bound::Disk).percent(), 100);
        assert_eq!(room(2, 1, Bound::Quota).percent(), 200);
        assert_eq!(room(2, 1, Bound::Quota).left(), Bytes(0));
        assert_eq!(
            room(5, 0, Bound::Quota).percent(),
            500,
            "and nothing is divided by nothing"
        );
        let (disk, quota) = (room(50, 100, Bound::Disk), room(40, 50, Bound::Quota));
        assert_eq!(disk.tighter(Some(quota)), quota);
        assert_eq!(quota.tighter(Some(disk)), quota);
        assert_eq!(disk.tighter(None), disk);
    }
}
