//! What can be restored, stretch by stretch, and what lies between the stretches.

use serde::{Deserialize, Serialize};

use super::{Base, Log, Missing};
use crate::domain::id::SnapshotId;
use crate::domain::units::Timestamp;
use crate::domain::wal::{Lsn, TimelineId};

/// A stretch of the log to every place of which the cluster can be brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// The line of history it is a part of.
    pub timeline: TimelineId,
    /// Its first place: the end of a base backup.
    pub from: Lsn,
    /// When that place was written; exact.
    pub from_at: Timestamp,
    /// The first byte that cannot be had any more.
    pub to: Lsn,
    /// When the newest transaction in it was committed; none while nobody has read the end of it.
    pub to_at: Option<Timestamp>,
    /// The base backups in it, oldest first.
    pub bases: Vec<SnapshotId>,
    /// What is missing behind it; none when it goes to the end of the log.
    pub gap: Option<Missing>,
}

/// What cannot be restored between two stretches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hole {
    /// The line of history.
    pub timeline: TimelineId,
    /// The first place that cannot be had.
    pub from: Lsn,
    /// The first that can be had again; none when it never could.
    pub to: Option<Lsn>,
    /// When that one was written.
    pub to_at: Option<Timestamp>,
    /// The segment that is missing.
    pub missing: Missing,
}

/// Works out what can be restored on one line of history, oldest first.
pub fn on_timeline(bases: &[Base], log: &Log, timeline: TimelineId) -> Vec<Interval> {
    let Some(legs) = log.way_from(bases, timeline) else {
        return Vec::new();
    };
    let mut usable: Vec<_> = bases
        .iter()
        .filter_map(|base| log.reach(base, &legs).map(|reach| (base, reach)))
        .collect();
    usable.sort_by_key(|(base, _)| (base.facts.stop_lsn, base.facts.stopped_at));
    let mut found: Vec<Interval> = Vec::new();
    for (base, reach) in usable {
        match found.last_mut() {
            // A base in an earlier stretch reaches exactly as far as the stretch does.
            Some(last) if base.facts.stop_lsn <= last.to && reach.to >= last.to => {
                last.bases.push(base.id.clone());
                (last.to, last.gap) = (reach.to, reach.gap);
            }
            _ => found.push(Interval {
                timeline,
                from: base.facts.stop_lsn,
                from_at: base.facts.stopped_at,
                to: reach.to,
                to_at: None,
                bases: vec![base.id.clone()],
                gap: reach.gap,
            }),
        }
    }
    found
}

/// Works out what can be restored, line of history by line; a line that leads nowhere has none.
pub fn intervals(bases: &[Base], log: &Log) -> Vec<Interval> {
    let timelines = log.timelines(bases).into_iter();
    let all = timelines.flat_map(|timeline| on_timeline(bases, log, timeline));
    all.collect()
}

/// What lies between the stretches of one line of history, and behind them where log goes on.
pub fn holes(intervals: &[Interval]) -> Vec<Hole> {
    let hole = |(index, interval): (usize, &Interval)| {
        let missing = interval.gap?;
        let next = intervals
            .get(index + 1)
            .filter(|next| next.timeline == interval.timeline);
        Some(Hole {
            timeline: interval.timeline,
            from: interval.to,
            to: next.map(|next| next.from),
            to_at: next.map(|next| next.from_at),
            missing,
        })
    };
    intervals.iter().enumerate().filter_map(hole).collect()
}
