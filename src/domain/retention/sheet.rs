//! One repository's sheet: every rule notes what it keeps, and until when; what nothing keeps goes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use super::{Decision, Period, Reason, RetentionPolicy, SnapshotFacts};
use crate::domain::id::SnapshotId;
use crate::domain::units::{Millis, Timestamp};

/// One repository's snapshots of the job, and what is found to keep each.
struct Sheet<'s> {
    /// Newest first.
    snapshots: Vec<&'s SnapshotFacts>,
    reasons: Vec<Vec<Reason>>,
    /// When the rules that end are over.
    ends: Vec<Vec<Option<Timestamp>>>,
    zone: Tz,
}

impl Sheet<'_> {
    fn keep(&mut self, at: usize, reason: Reason, end: Option<Timestamp>) {
        self.reasons[at].push(reason);
        self.ends[at].push(end);
    }

    fn local(&self, at: usize) -> NaiveDateTime {
        let instant = self.snapshots[at].taken_at.naive_utc();
        self.zone.from_utc_datetime(&instant).naive_local()
    }

    fn instant(&self, local: NaiveDateTime) -> Option<Timestamp> {
        let found = self.zone.from_local_datetime(&local).earliest()?;
        Some(found.to_utc())
    }
}

/// Plans the snapshots of one repository.
pub(super) fn plan_place(
    policy: &RetentionPolicy,
    mut snapshots: Vec<&SnapshotFacts>,
    in_use: &BTreeSet<SnapshotId>,
) -> Vec<Decision> {
    snapshots.sort_by(|a, b| (b.taken_at, &b.id).cmp(&(a.taken_at, &a.id)));
    snapshots.dedup_by(|a, b| a.id == b.id);
    let mut sheet = Sheet {
        reasons: vec![Vec::new(); snapshots.len()],
        ends: vec![Vec::new(); snapshots.len()],
        snapshots,
        zone: policy.tz(),
    };
    protect(&mut sheet, in_use);
    if policy.is_empty() {
        for at in 0..sheet.snapshots.len() {
            sheet.keep(at, Reason::NoPolicy, None);
        }
    }
    by_last(&mut sheet, policy.keep_last);
    for period in Period::ALL {
        by_period(&mut sheet, period, policy.count(period));
    }
    by_age_and_word(&mut sheet, policy);
    let decided = sheet.snapshots.iter().zip(sheet.reasons).zip(sheet.ends);
    let decide = |((facts, mut reasons), ends): ((&&SnapshotFacts, Vec<Reason>), Vec<Option<Timestamp>>)| {
        let keep = !reasons.is_empty();
        if !keep {
            reasons.push(Reason::NoRule);
        }
        Decision {
            snapshot: facts.id.clone(),
            repository: facts.repository.clone(),
            taken_at: facts.taken_at,
            keep,
            reasons,
            until: ends
                .into_iter()
                .collect::<Option<Vec<_>>>()
                .and_then(|ends| ends.into_iter().max()),
        }
    };
    decided.map(decide).collect()
}

/// What no rule may drop.
fn protect(sheet: &mut Sheet<'_>, in_use: &BTreeSet<SnapshotId>) {
    let last_good = sheet.snapshots.iter().position(|facts| facts.is_good());
    let furthest = sheet
        .snapshots
        .iter()
        .filter(|facts| facts.is_good())
        .map(|facts| facts.level)
        .max();
    let last_verified = sheet
        .snapshots
        .iter()
        .position(|facts| facts.is_good() && Some(facts.level) == furthest);
    for at in 0..sheet.snapshots.len() {
        let facts = sheet.snapshots[at];
        let reasons = [
            (facts.pinned, Reason::Pinned),
            (last_good == Some(at), Reason::LastGood),
            (last_verified == Some(at), Reason::LastVerified),
            (in_use.contains(&facts.id), Reason::InUse),
            (last_good.is_none_or(|good| at < good), Reason::NewerThanLastGood),
        ];
        for (_, reason) in reasons.into_iter().filter(|(holds, _)| *holds) {
            sheet.keep(at, reason, None);
        }
    }
}

fn by_last(sheet: &mut Sheet<'_>, of: u32) {
    let good: Vec<usize> = (0..sheet.snapshots.len())
        .filter(|at| sheet.snapshots[*at].is_good())
        .collect();
    for (at, place) in good.into_iter().zip(1..=of) {
        sheet.keep(at, Reason::Last { place, of }, None);
    }
}

fn by_period(sheet: &mut Sheet<'_>, period: Period, of: u32) {
    if of == 0 {
        return;
    }
    // Of each period, the one that stands for it.
    let mut periods: BTreeMap<NaiveDateTime, usize> = BTreeMap::new();
    for at in 0..sheet.snapshots.len() {
        let stands = periods.entry(period.start(sheet.local(at))).or_insert(at);
        if !sheet.snapshots[*stands].is_good() && sheet.snapshots[at].is_good() {
            *stands = at;
        }
    }
    let Some(newest) = periods.keys().next_back().copied() else {
        return;
    };
    let full = periods.len() >= of as usize;
    for ((from, at), place) in periods.into_iter().rev().zip(1..=of) {
        let end = period
            .later(newest, of - place + 1)
            .and_then(|local| sheet.instant(local));
        sheet.keep(
            at,
            Reason::Period {
                period,
                from,
                place,
                of,
            },
            end,
        );
    }
    if !full {
        let oldest = sheet.snapshots.iter().rposition(|facts| facts.is_good());
        let oldest = oldest.unwrap_or(sheet.snapshots.len() - 1);
        let stands = |reason: &Reason| matches!(reason, Reason::Period { period: of_it, .. } if *of_it == period);
        if !sheet.reasons[oldest].iter().any(stands) {
            sheet.keep(oldest, Reason::Oldest { period, of }, None);
        }
    }
}

fn by_age_and_word(sheet: &mut Sheet<'_>, policy: &RetentionPolicy) {
    let newest = sheet.snapshots.first().map(|facts| facts.taken_at);
    for at in 0..sheet.snapshots.len() {
        let facts = sheet.snapshots[at];
        if let (Some(within), Some(newest)) = (policy.keep_within, newest)
            && Millis::between(facts.taken_at, newest) < within
        {
            sheet.keep(at, Reason::Within { within }, Some(facts.taken_at + within.to_chrono()));
        }
        for tag in policy.keep_tags.iter().filter(|tag| facts.tags.contains(tag)) {
            sheet.keep(at, Reason::Tagged { tag: tag.clone() }, None);
        }
    }
}
