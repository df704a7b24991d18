//! The way from a base backup along the timelines, and how far it is whole.
//!
//! PostgreSQL takes each segment from the newest timeline of the way that had begun by then; the segment in which a
//! timeline begins is its own, because the server copies what its parent had of it. While that one is not there yet, the
//! parent's brings it as far as the branch.

use serde::{Deserialize, Serialize};

use super::{Base, Log};
use crate::domain::wal::{Lsn, SegmentName, TimelineId};

/// A stretch of the way on one timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Leg {
    /// The timeline.
    pub timeline: TimelineId,
    /// Where it begins.
    pub from: Lsn,
    /// Where the next one branches off; none for the last.
    pub until: Option<Lsn>,
}

/// A hole in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The first segment that is missing.
    pub first: SegmentName,
    /// The first after it that is there; none when nothing came after.
    pub resumes: Option<SegmentName>,
}

/// How far the log is whole, beginning at the end of a base backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// The first byte that cannot be had.
    pub to: Lsn,
    /// What is missing there, when there is more behind it.
    pub gap: Option<Missing>,
}

impl Log {
    /// The way to a timeline from the beginning of its cluster, oldest first; none while nothing says what it descends from.
    fn way_to(&self, timeline: TimelineId) -> Option<Vec<Leg>> {
        let mut legs = Vec::new();
        let mut from = Lsn(0);
        match self.histories.get(&timeline) {
            Some(history) => {
                for switch in &history.ancestors {
                    let (timeline, until) = (switch.timeline, Some(switch.at));
                    legs.push(Leg { timeline, from, until });
                    from = switch.at;
                }
            }
            None if timeline.0 == 1 => {}
            None => return None,
        }
        let until = None;
        legs.push(Leg { timeline, from, until });
        Some(legs)
    }

    /// The way to a timeline from one of some base backups, oldest first; none when nothing leads there.
    ///
    /// Nothing has to say what a timeline descends from where a base backup was taken on it: everything before is in that.
    pub fn way_from(&self, bases: &[Base], timeline: TimelineId) -> Option<Vec<Leg>> {
        let (from, until) = (Lsn(0), None);
        let alone = || vec![Leg { timeline, from, until }];
        let of_timeline = || bases.iter().any(|base| base.facts.timeline == timeline);
        self.way_to(timeline).or_else(|| of_timeline().then(alone))
    }

    /// The timelines that anything is known of, by the archive or by some base backups, oldest first.
    pub fn timelines(&self, bases: &[Base]) -> Vec<TimelineId> {
        let archived = self.continuity.timelines.iter().map(|line| line.timeline);
        let mut all: Vec<TimelineId> = archived.chain(self.histories.keys().copied()).collect();
        all.extend(bases.iter().map(|base| base.facts.timeline));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The number of the segment that holds a place.
    pub fn number(&self, lsn: Lsn) -> u64 {
        lsn.0 / self.size.bytes()
    }

    fn start(&self, number: u64) -> Lsn {
        Lsn(number.saturating_mul(self.size.bytes()))
    }

    /// The leg that a segment is taken from.
    fn leg_of(&self, legs: &[Leg], number: u64) -> Option<usize> {
        legs.iter().rposition(|leg| self.number(leg.from) <= number)
    }

    /// The segment of that number on the way; none in front of the way.
    pub fn segment(&self, legs: &[Leg], number: u64) -> Option<SegmentName> {
        let leg = self.leg_of(legs, number)?;
        Some(SegmentName::numbered(legs[leg].timeline, number, self.size))
    }

    /// The last number of the run of whole segments of a timeline that this one is in; none when it is not there.
    fn run_end(&self, timeline: TimelineId, number: u64) -> Option<u64> {
        let line = self.continuity.timeline(timeline)?;
        line.ranges.iter().find_map(|range| {
            let (first, last) = (range.first.number(self.size)?, range.last.number(self.size)?);
            (first..=last).contains(&number).then_some(last)
        })
    }

    /// The first whole or growing segment of the way behind a number.
    fn next_there(&self, legs: &[Leg], number: u64) -> Option<u64> {
        let of_leg = |(index, leg): (usize, &Leg)| {
            let ends = legs.get(index + 1).map_or(u64::MAX, |next| self.number(next.from));
            let begins = self.number(leg.from).max(number + 1);
            let line = self.continuity.timeline(leg.timeline);
            let ranges = line.into_iter().flat_map(|line| &line.ranges);
            let whole = ranges.filter_map(|range| {
                let (first, last) = (range.first.number(self.size)?, range.last.number(self.size)?);
                (last >= begins).then_some(first.max(begins))
            });
            let growing = self.growing.keys().filter(|name| name.timeline == leg.timeline);
            let growing = growing.filter_map(|name| name.number(self.size));
            whole
                .chain(growing)
                .filter(|found| (begins..ends).contains(found))
                .min()
        };
        legs.iter().enumerate().filter_map(of_leg).min()
    }

    /// How much of a segment there is on the way: the first byte of it that cannot be had.
    fn part(&self, legs: &[Leg], index: usize, number: u64) -> Option<Lsn> {
        let leg = legs[index];
        let name = SegmentName::numbered(leg.timeline, number, self.size);
        if let Some(length) = self.growing.get(&name) {
            return Some(Lsn(self.start(number).0 + length));
        }
        // The segment it begins in has not come yet: its parent's holds the log up to there.
        let parent = index.checked_sub(1).map(|index| legs[index])?;
        let shared = self.number(leg.from) == number && leg.from > self.start(number);
        let name = SegmentName::numbered(parent.timeline, number, self.size);
        let whole = self.run_end(parent.timeline, number).map(|_| self.size.bytes());
        let length = whole.or_else(|| self.growing.get(&name).copied()).filter(|_| shared)?;
        Some(Lsn(self.start(number).0 + length).min(leg.from))
    }

    /// How far the way is whole behind the end of a base backup; none when the backup is not on that way.
    pub fn reach(&self, base: &Base, legs: &[Leg]) -> Option<Reach> {
        let own = legs.iter().find(|leg| leg.timeline == base.facts.timeline)?;
        if own.until.is_some_and(|until| until < base.facts.stop_lsn) {
            return None;
        }
        let mut number = self.number(base.facts.stop_lsn);
        let (index, part) = loop {
            let index = self.leg_of(legs, number)?;
            let Some(last) = self.run_end(legs[index].timeline, number) else {
                break (index, self.part(legs, index, number));
            };
            let ends = legs.get(index + 1).map_or(u64::MAX, |next| self.number(next.from));
            number = (last + 1).min(ends.max(number + 1));
        };
        let whole = self.start(number).max(base.facts.stop_lsn);
        let to = match part {
            Some(end) if end > whole => end,
            _ => whole,
        };
        let resumes = self.next_there(legs, number);
        let gap = resumes.map(|resumes| Missing {
            first: SegmentName::numbered(legs[index].timeline, number, self.size),
            resumes: self.segment(legs, resumes),
        });
        Some(Reach { to, gap })
    }
}
