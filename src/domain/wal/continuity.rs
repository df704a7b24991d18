//! What the names in an archive add up to: ranges without a hole, gaps by name, the tree of timelines.
//!
//! Everything here follows from names and history files alone, so a listing is enough to know what can be replayed.
//! Two servers that write one timeline leave a mark here: a timeline that goes on **beyond** the place where a child left
//! it. That alone may be innocent (somebody recovered to an earlier moment while the old line went on, and then stopped
//! it); whether the old line was still being written **after** the child began is for those to say who know the times.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{History, Lsn, SegmentName, SegmentSize, TimelineId, WalName};

/// Segments without a hole between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The first.
    pub first: SegmentName,
    /// The last.
    pub last: SegmentName,
    /// How many.
    pub count: u64,
}

/// Segments that are not there, between some that are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first that is missing.
    pub first: SegmentName,
    /// The last that is missing.
    pub last: SegmentName,
    /// How many.
    pub count: u64,
}

/// Where a timeline branched off another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Branch {
    /// The timeline that was left.
    pub parent: TimelineId,
    /// The first byte that is not the parent's any more.
    pub at: Lsn,
}

/// One timeline in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimelineContinuity {
    /// The timeline.
    pub timeline: TimelineId,
    /// What it branched off, when its history file is there.
    pub branch: Option<Branch>,
    /// Its segments, in order.
    pub ranges: Vec<Range>,
    /// What lies between the ranges, and between the branch and the first of them.
    pub gaps: Vec<Gap>,
    /// Segments of it that lie wholly behind the place where some child left it.
    pub beyond: Vec<Beyond>,
}

/// A timeline that goes on behind the place where a child left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Beyond {
    /// The child.
    pub child: TimelineId,
    /// Where it left.
    pub at: Lsn,
    /// The first segment that the child never saw.
    pub first: SegmentName,
    /// The newest segment of the parent.
    pub last: SegmentName,
}

impl TimelineContinuity {
    /// Its first segment.
    pub fn first(&self) -> Option<SegmentName> {
        self.ranges.first().map(|range| range.first)
    }

    /// Its newest segment.
    pub fn last(&self) -> Option<SegmentName> {
        self.ranges.last().map(|range| range.last)
    }

    /// How many segments it has.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|range| range.count).sum()
    }
}

/// All timelines of a system in an archive, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Continuity {
    /// The timelines.
    pub timelines: Vec<TimelineContinuity>,
    /// Timelines above 1 whose history file is missing: nothing says what they descend from.
    pub without_history: Vec<TimelineId>,
    /// Names that segments of this size do not have.
    pub misnamed: Vec<SegmentName>,
}

impl Continuity {
    /// Works out what an archive holds.
    pub fn of(names: impl IntoIterator<Item = WalName>, histories: &[History], size: SegmentSize) -> Self {
        let mut numbers: BTreeMap<TimelineId, BTreeSet<u64>> = BTreeMap::new();
        let mut result = Self::default();
        for name in names {
            let of_timeline = numbers.entry(name.timeline()).or_default();
            let Some(segment) = name.segment() else { continue };
            match segment.number(size) {
                Some(number) => drop(of_timeline.insert(number)),
                None => result.misnamed.push(segment),
            }
        }
        let branches: BTreeMap<TimelineId, Branch> = histories.iter().filter_map(branch_of).collect();
        result.timelines = numbers
            .iter()
            .map(|(timeline, numbers)| one_timeline(*timeline, numbers, &branches, size))
            .collect();
        let known: BTreeSet<TimelineId> = histories.iter().map(|history| history.timeline).collect();
        let orphans = numbers.keys().filter(|id| id.0 > 1 && !known.contains(id));
        result.without_history = orphans.copied().collect();
        result
    }

    /// A timeline, when there is anything of it.
    pub fn timeline(&self, id: TimelineId) -> Option<&TimelineContinuity> {
        self.timelines.iter().find(|timeline| timeline.timeline == id)
    }
}

fn branch_of(history: &History) -> Option<(TimelineId, Branch)> {
    let switch = history.parent()?;
    let (parent, at) = (switch.timeline, switch.at);
    Some((history.timeline, Branch { parent, at }))
}

fn one_timeline(
    timeline: TimelineId,
    numbers: &BTreeSet<u64>,
    branches: &BTreeMap<TimelineId, Branch>,
    size: SegmentSize,
) -> TimelineContinuity {
    let name = |number| SegmentName::numbered(timeline, number, size);
    let runs = runs(numbers);
    let branch = branches.get(&timeline).copied();
    // The segment in which a timeline begins is its own: the server copies what its parent had of it.
    let begins = branch.map(|branch| branch.at.0 / size.bytes());
    let before_first = begins.zip(runs.first()).map(|(begins, (first, _))| (begins, *first));
    let between = runs.windows(2).map(|pair| (pair[0].1 + 1, pair[1].0));
    let gaps = before_first
        .into_iter()
        .chain(between)
        .filter(|(from, to)| from < to)
        .map(|(from, to)| Gap {
            first: name(from),
            last: name(to - 1),
            count: to - from,
        })
        .collect();
    let newest = runs.last().map(|(_, last)| *last);
    let beyond = branches.iter().filter(|(_, branch)| branch.parent == timeline);
    let beyond = beyond.filter_map(|(child, branch)| {
        // A switch exactly at the beginning of a segment: nothing of that segment is shared.
        let first = branch.at.0.div_ceil(size.bytes());
        let first = *numbers.range(first..).next()?;
        Some(Beyond {
            child: *child,
            at: branch.at,
            first: name(first),
            last: name(newest?),
        })
    });
    TimelineContinuity {
        timeline,
        branch,
        beyond: beyond.collect(),
        gaps,
        ranges: runs
            .iter()
            .map(|(from, to)| Range {
                first: name(*from),
                last: name(*to),
                count: to - from + 1,
            })
            .collect(),
    }
}

/// The runs of consecutive numbers, each with its first and its last.
fn runs(numbers: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    runs
}
