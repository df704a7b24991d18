//! A wish into a plan.
//!
//! Planning has two steps, because some wishes (a time, a transaction, a name) say nothing about a place. [`search`] says
//! which stretch of the log has to be looked through; somebody who may read does that; [`plan`] takes the [`Place`] that was
//! found and chooses the newest base backup in front of it.

use serde::Serialize;

use super::interval::on_timeline;
use super::{Base, Interval, Leg, Log, Place, Refusal, Target, TimelineChoice, Wish};
use crate::domain::id::SnapshotId;
use crate::domain::units::{Bytes, Timestamp};
use crate::domain::wal::{Lsn, SegmentName, SegmentSize, TimelineId};

/// How a target is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The snapshot to begin from.
    pub base: SnapshotId,
    /// When the base backup ended.
    pub base_at: Timestamp,
    /// Its major version of PostgreSQL.
    pub major: u32,
    /// What is laid down first.
    pub lay_down: Bytes,
    /// The line of history that is followed.
    pub timeline: TimelineId,
    /// The way, oldest first, beginning with the base backup's timeline.
    pub way: Vec<Leg>,
    /// Where replay begins.
    pub from: Lsn,
    /// Where it is consistent: nothing before can be stopped at.
    pub consistent: Lsn,
    /// Where replay ends: at the target when its place is known, else at the end of the log.
    pub to: Lsn,
    /// Whether that is the exact place of the target.
    pub exact: bool,
    /// The size of the segments of the log.
    pub segment_size: SegmentSize,
    /// The first segment that is needed.
    pub first: SegmentName,
    /// The last segment that is needed.
    pub last: SegmentName,
    /// What is replayed.
    pub replay: Bytes,
    /// Where it ends.
    pub target: Target,
    /// Whether what happened exactly there is included.
    pub inclusive: bool,
}

/// A stretch of the log to be looked through for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The way.
    pub way: Vec<Leg>,
    /// The place to begin at.
    pub from: Lsn,
    /// The first byte that is not there.
    pub to: Lsn,
}

impl Plan {
    /// The settings that make PostgreSQL end there, `name` and value.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let target = match &self.target {
            Target::Latest => None,
            Target::Immediate => Some(("recovery_target", "immediate".to_owned())),
            Target::Time(at) => Some((
                "recovery_target_time",
                at.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string(),
            )),
            Target::Lsn(lsn) => Some(("recovery_target_lsn", lsn.to_string())),
            Target::Xid(xid) => Some(("recovery_target_xid", xid.to_string())),
            Target::Name(name) => Some(("recovery_target_name", name.clone())),
        };
        // Whatever stands in the copy's own files: only one of them may be set.
        let names = [
            "recovery_target",
            "recovery_target_time",
            "recovery_target_lsn",
            "recovery_target_xid",
            "recovery_target_name",
        ];
        let mut settings: Vec<(&'static str, String)> = names.map(|name| (name, String::new())).to_vec();
        settings.extend(target);
        // PostgreSQL wants the history of a timeline that is given by its number; of the first there is none.
        let no_history = matches!(self.way.as_slice(), [leg] if leg.from == Lsn(0) && self.timeline.0 > 1);
        let timeline = if no_history {
            "current".to_owned()
        } else {
            self.timeline.to_string()
        };
        settings.push(("recovery_target_timeline", timeline));
        let inclusive = if self.inclusive { "on" } else { "off" };
        settings.push(("recovery_target_inclusive", inclusive.to_owned()));
        settings
    }
}

/// The line of history that a wish means.
fn timeline(bases: &[Base], log: &Log, wish: &Wish) -> Result<TimelineId, Refusal> {
    let known = log.timelines(bases);
    let newest_base = bases
        .iter()
        .max_by_key(|base| (base.facts.stopped_at, base.facts.stop_lsn));
    let newest_base = newest_base.ok_or(Refusal::NoBase)?;
    match wish.timeline {
        TimelineChoice::Current => Ok(newest_base.facts.timeline),
        TimelineChoice::Number(timeline) if !known.contains(&timeline) => {
            Err(Refusal::NoSuchTimeline { timeline, known })
        }
        TimelineChoice::Number(timeline) => Ok(timeline),
        TimelineChoice::Latest => {
            let reached = |timeline: &&TimelineId| {
                let legs = log.way_from(bases, **timeline);
                legs.is_some_and(|legs| bases.iter().any(|base| log.reach(base, &legs).is_some()))
            };
            // The newest timeline of all may belong to a copy whose history file is elsewhere: that must not hide ours.
            let newest = known.iter().rev().find(reached).copied();
            Ok(newest.unwrap_or(newest_base.facts.timeline))
        }
    }
}

/// What a wish is about: the bases that may be used, the line of history, what can be restored on it.
struct Ground<'a> {
    bases: Vec<&'a Base>,
    timeline: TimelineId,
    legs: Vec<Leg>,
    intervals: Vec<Interval>,
}

fn ground<'a>(bases: &'a [Base], log: &Log, wish: &Wish) -> Result<Ground<'a>, Refusal> {
    let chosen = |base: &&Base| wish.base.as_ref().is_none_or(|id| base.id.0.starts_with(&id.0));
    let usable: Vec<&Base> = bases.iter().filter(chosen).collect();
    if let (Some(id), true) = (&wish.base, usable.is_empty()) {
        return Err(Refusal::NoSuchBase { base: id.to_string() });
    }
    let owned: Vec<Base> = usable.iter().map(|base| (*base).clone()).collect();
    let timeline = timeline(&owned, log, wish)?;
    let legs = log.way_from(&owned, timeline);
    let legs = legs.ok_or(Refusal::NoHistory { timeline })?;
    let intervals = on_timeline(&owned, log, timeline);
    if intervals.is_empty() {
        return Err(Refusal::NotOnTimeline { timeline });
    }
    Ok(Ground {
        bases: usable,
        timeline,
        legs,
        intervals,
    })
}

/// Says which stretches of the log have to be read before a wish can be planned, in the order in which they are to be looked
/// through; none when its place is known without.
///
/// # Errors
/// The reason why no reading will help.
pub fn search(bases: &[Base], log: &Log, wish: &Wish) -> Result<Vec<Search>, Refusal> {
    let ground = ground(bases, log, wish)?;
    let intervals: Vec<&Interval> = match &wish.target {
        Target::Latest | Target::Immediate | Target::Lsn(_) => Vec::new(),
        Target::Time(at) => {
            let before = ground.intervals.iter().rev().find(|interval| interval.from_at <= *at);
            vec![before.ok_or_else(|| before_first(&ground, wish))?]
        }
        Target::Xid(_) | Target::Name(_) => ground.intervals.iter().rev().collect(),
    };
    let stretch = |interval: &Interval| Search {
        way: ground.legs.clone(),
        from: interval.from,
        to: interval.to,
    };
    Ok(intervals.into_iter().map(stretch).collect())
}

fn before_first(ground: &Ground<'_>, wish: &Wish) -> Refusal {
    let first = &ground.intervals[0];
    Refusal::BeforeFirst {
        target: wish.target.clone(),
        first: first.from,
        first_at: first.from_at,
    }
}

/// Turns a wish into a plan; `place` is what reading the stretch that [`search`] named has found.
///
/// # Errors
/// The exact reason why it cannot be reached.
pub fn plan(bases: &[Base], log: &Log, wish: &Wish, place: Place) -> Result<Plan, Refusal> {
    let ground = ground(bases, log, wish)?;
    let newest = ground.intervals.last().ok_or(Refusal::NoBase)?;
    let (base, to, exact) = match &wish.target {
        Target::Latest => (newest_before(&ground, newest, newest.to, None), newest.to, true),
        Target::Immediate => {
            let base = newest_before(&ground, newest, newest.to, None);
            let to = base.map_or(newest.to, |base| base.facts.stop_lsn);
            (base, to, true)
        }
        Target::Lsn(lsn) => {
            let interval = interval_of(&ground, wish, *lsn)?;
            (newest_before(&ground, interval, *lsn, None), *lsn, true)
        }
        Target::Time(at) => time(&ground, wish, *at, place)?,
        Target::Xid(_) | Target::Name(_) => match place {
            Place::At { lsn } => {
                let interval = interval_of(&ground, wish, lsn)?;
                (newest_before(&ground, interval, lsn, None), lsn, true)
            }
            Place::Unknown => (newest_before(&ground, newest, newest.from, None), newest.to, false),
            Place::Behind { .. } | Place::Nowhere => {
                return Err(Refusal::NotFound {
                    target: wish.target.clone(),
                    from: ground.intervals[0].from,
                    to: newest.to,
                });
            }
        },
    };
    let base = base.ok_or_else(|| before_first(&ground, wish))?;
    Ok(made(&ground, log, wish, base, to, exact))
}

type Chosen<'a> = (Option<&'a Base>, Lsn, bool);

/// Plans for an instant.
fn time<'a>(ground: &Ground<'a>, wish: &Wish, at: Timestamp, place: Place) -> Result<Chosen<'a>, Refusal> {
    let before = ground.intervals.iter().rposition(|interval| interval.from_at <= at);
    let index = before.ok_or_else(|| before_first(ground, wish))?;
    let interval = &ground.intervals[index];
    match place {
        Place::At { lsn } => {
            let base = newest_before(ground, interval, lsn, Some(at));
            Ok((base, lsn, true))
        }
        Place::Unknown => {
            let base = newest_before(ground, interval, interval.to, Some(at));
            Ok((base, interval.to, false))
        }
        // Where nothing was committed since, the end of the base backup is the last instant there is.
        Place::Behind { last } => Err(behind(ground, wish, index, last.or(Some(interval.from_at)))),
        Place::Nowhere => Err(behind(ground, wish, index, None)),
    }
}

/// Why what lies behind the end of a stretch cannot be reached.
fn behind(ground: &Ground<'_>, wish: &Wish, index: usize, last: Option<Timestamp>) -> Refusal {
    let interval = &ground.intervals[index];
    let next = ground.intervals.get(index + 1);
    match interval.gap {
        Some(missing) => Refusal::Gap {
            target: wish.target.clone(),
            missing,
            from: interval.to,
            from_at: last,
            to: next.map(|next| next.from),
            to_at: next.map(|next| next.from_at),
        },
        None => Refusal::AfterLast {
            target: wish.target.clone(),
            last: interval.to,
            last_at: last,
        },
    }
}

/// The stretch that a place lies in.
fn interval_of<'a>(ground: &'a Ground<'_>, wish: &Wish, lsn: Lsn) -> Result<&'a Interval, Refusal> {
    let index = ground.intervals.iter().rposition(|interval| interval.from <= lsn);
    let index = index.ok_or_else(|| before_first(ground, wish))?;
    let interval = &ground.intervals[index];
    // PostgreSQL stops at a record that begins there or later, so there has to be one.
    let immediately = lsn == interval.from && interval.to == interval.from;
    if lsn < interval.to || immediately {
        Ok(interval)
    } else {
        Err(behind(ground, wish, index, None))
    }
}

/// The newest base of a stretch that ends in front of a place, and of an instant.
fn newest_before<'a>(ground: &Ground<'a>, interval: &Interval, lsn: Lsn, at: Option<Timestamp>) -> Option<&'a Base> {
    let of_interval = ground.bases.iter().filter(|base| interval.bases.contains(&base.id));
    let before =
        of_interval.filter(|base| base.facts.stop_lsn <= lsn && at.is_none_or(|at| base.facts.stopped_at <= at));
    before
        .copied()
        .max_by_key(|base| (base.facts.stop_lsn, base.facts.stopped_at))
}

fn made(ground: &Ground<'_>, log: &Log, wish: &Wish, base: &Base, to: Lsn, exact: bool) -> Plan {
    let from = base.facts.start_lsn;
    let own = ground.legs.iter().position(|leg| leg.timeline == base.facts.timeline);
    let way: Vec<Leg> = ground.legs[own.unwrap_or(0)..].to_vec();
    let named = |number: u64| {
        let alone = || SegmentName::numbered(base.facts.timeline, number, log.size);
        log.segment(&way, number).unwrap_or_else(alone)
    };
    // The byte before the end is the last that is needed.
    let last = log.number(Lsn(to.0.saturating_sub(1))).max(log.number(from));
    Plan {
        base: base.id.clone(),
        base_at: base.facts.stopped_at,
        major: base.facts.major,
        lay_down: base.size,
        timeline: ground.timeline,
        from,
        consistent: base.facts.stop_lsn,
        to,
        exact,
        segment_size: log.size,
        first: SegmentName::numbered(base.facts.timeline, log.number(from), log.size),
        last: named(last),
        replay: Bytes(to.since(from)),
        target: wish.target.clone(),
        inclusive: wish.inclusive,
        way,
    }
}
