//! Retention: which snapshots of a job are kept, and rule by rule why.
//!
//! The calendar rules are restic's: of each hour, day, week, month or year the newest snapshot is kept, so many periods
//! back from the newest; while there are fewer periods than asked for, the oldest snapshot is kept too. Two differences,
//! both to the safe side: a snapshot that is incomplete or was refuted never stands for a period that has a better one,
//! and never uses up a place of `last`.
//!
//! **Promises.** [`plan`] is a function of its arguments: the order of the snapshots does not matter, no clock is asked
//! (`within` reaches back from the newest snapshot), and applying a plan twice changes nothing the second time. Whatever
//! the rules say it never drops what is pinned, the newest good snapshot, the one proved furthest, one that a recovery
//! reads, or an incomplete one that is newer than the newest good one. A policy without rules keeps everything.
//!
//! **Never.** It never deletes: it says what would go. [`too_many`] says when that is more than a person should be asked
//! about first.

mod period;
mod sheet;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDateTime;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::id::{RepositoryName, SnapshotId};
use super::snapshot::EvidenceLevel;
use super::units::{Millis, Timestamp};
pub use period::Period;

/// The part of a job's snapshots, in percent, that may go at once when nothing else is said.
pub const MAX_DELETE_PERCENT: u8 = 50;
/// So many may always go at once: half of three is no measure.
pub const MAX_DELETE_LEAST: usize = 3;

/// What is kept of a job's snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionPolicy {
    /// The newest so many.
    pub keep_last: u32,
    /// The newest of each of the last so many hours that have one.
    pub keep_hourly: u32,
    /// The same by days.
    pub keep_daily: u32,
    /// The same by weeks, from Monday on.
    pub keep_weekly: u32,
    /// The same by months.
    pub keep_monthly: u32,
    /// The same by years.
    pub keep_yearly: u32,
    /// All that are at most so much older than the newest.
    pub keep_within: Option<Millis>,
    /// All that carry one of these words.
    pub keep_tags: Vec<String>,
    /// The part of a job's snapshots, in percent, that may go at once without a person's word.
    pub max_delete: u8,
    /// The name of the time zone whose calendar counts.
    pub zone: String,
}

impl Default for RetentionPolicy {
    fn default() -> Self {
        Self {
            keep_last: 0,
            keep_hourly: 0,
            keep_daily: 0,
            keep_weekly: 0,
            keep_monthly: 0,
            keep_yearly: 0,
            keep_within: None,
            keep_tags: Vec::new(),
            max_delete: MAX_DELETE_PERCENT,
            zone: "UTC".to_owned(),
        }
    }
}

impl RetentionPolicy {
    /// Whether it has no rule at all, and so keeps everything.
    pub fn is_empty(&self) -> bool {
        self.keep_last == 0
            && Period::ALL.into_iter().all(|period| self.count(period) == 0)
            && self.keep_within.is_none()
            && self.keep_tags.is_empty()
    }

    const fn count(&self, period: Period) -> u32 {
        match period {
            Period::Hourly => self.keep_hourly,
            Period::Daily => self.keep_daily,
            Period::Weekly => self.keep_weekly,
            Period::Monthly => self.keep_monthly,
            Period::Yearly => self.keep_yearly,
        }
    }

    /// The policy in words: `last 3, daily 7, weekly 4, within 2d`.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        if self.keep_last > 0 {
            words.push(format!("last {}", self.keep_last));
        }
        for period in Period::ALL.into_iter().filter(|period| self.count(*period) > 0) {
            words.push(format!("{} {}", period.word(), self.count(period)));
        }
        words.extend(self.keep_within.map(|within| format!("within {within}")));
        if !self.keep_tags.is_empty() {
            words.push(format!("tags {}", self.keep_tags.join(" ")));
        }
        if words.is_empty() {
            return "everything".to_owned();
        }
        words.join(", ")
    }

    fn tz(&self) -> Tz {
        // The configuration was refused unless this is a zone; a policy from elsewhere counts in UTC.
        self.zone.parse().unwrap_or(Tz::UTC)
    }
}

/// What a plan has to know of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// Which.
    pub id: SnapshotId,
    /// Where; each repository is planned by itself, so that a copy elsewhere never stands in for one here.
    pub repository: RepositoryName,
    /// The moment whose data it holds.
    pub taken_at: Timestamp,
    /// Its words.
    pub tags: Vec<String>,
    /// Whether something could not be read.
    pub partial: bool,
    /// Whether a verification found it wrong.
    pub refuted: bool,
    /// How far it was proved.
    pub level: EvidenceLevel,
    /// Whether somebody pinned it.
    pub pinned: bool,
}

impl SnapshotFacts {
    const fn is_good(&self) -> bool {
        !self.partial && !self.refuted
    }
}

/// Why a snapshot stays, or that nothing keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Reason {
    /// There is no rule, so everything stays.
    NoPolicy,
    /// Somebody pinned it.
    Pinned,
    /// It is the newest that is complete and not known to be damaged.
    LastGood,
    /// It is the newest of those proved furthest.
    LastVerified,
    /// A recovery or verification reads it.
    InUse,
    /// It is incomplete, but newer than every good one.
    NewerThanLastGood,
    /// It is among the newest.
    Last { place: u32, of: u32 },
    /// It is the newest of its period.
    Period {
        period: Period,
        /// The first moment of the period, in the policy's zone.
        from: NaiveDateTime,
        /// The how-manieth period it is, back from the newest.
        place: u32,
        /// How many are kept.
        of: u32,
    },
    /// There are fewer periods than asked for, and it is the oldest.
    Oldest { period: Period, of: u32 },
    /// It is young enough, measured from the newest.
    Within { within: Millis },
    /// It carries this word.
    Tagged { tag: String },
    /// Nothing keeps it.
    NoRule,
}

impl Reason {
    /// The reason in a few words.
    pub fn words(&self) -> String {
        match self {
            Self::NoPolicy => "no rule, everything stays".to_owned(),
            Self::Pinned => "pinned".to_owned(),
            Self::LastGood => "last good".to_owned(),
            Self::LastVerified => "last verified".to_owned(),
            Self::InUse => "in use".to_owned(),
            Self::NewerThanLastGood => "newer than the last good".to_owned(),
            Self::Last { place, of } => format!("last {place}/{of}"),
            Self::Period { period, place, of, .. } => format!("{} {place}/{of}", period.word()),
            Self::Oldest { period, .. } => format!("oldest, {} not full", period.word()),
            Self::Within { within } => format!("within {within}"),
            Self::Tagged { tag } => format!("tag {tag}"),
            Self::NoRule => "no rule keeps it".to_owned(),
        }
    }
}

/// What becomes of one snapshot, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Which.
    pub snapshot: SnapshotId,
    /// Where.
    pub repository: RepositoryName,
    /// The moment whose data it holds.
    pub taken_at: Timestamp,
    /// Whether it stays.
    pub keep: bool,
    /// Every rule that keeps it; the one reason when none does.
    pub reasons: Vec<Reason>,
    /// When it is to go if every period to come gets its snapshot; absent when that cannot be said, or it stays for good.
    pub until: Option<Timestamp>,
}

impl Decision {
    /// The reasons in a line.
    pub fn why(&self) -> String {
        self.reasons.iter().map(Reason::words).collect::<Vec<_>>().join(", ")
    }
}

/// Says what stays and what goes of one job's snapshots, newest first.
pub fn plan(policy: &RetentionPolicy, snapshots: &[SnapshotFacts], in_use: &BTreeSet<SnapshotId>) -> Vec<Decision> {
    let mut places: BTreeMap<&RepositoryName, Vec<&SnapshotFacts>> = BTreeMap::new();
    for facts in snapshots {
        places.entry(&facts.repository).or_default().push(facts);
    }
    let mut decisions: Vec<Decision> = places
        .into_values()
        .flat_map(|facts| sheet::plan_place(policy, facts, in_use))
        .collect();
    decisions.sort_by(|a, b| (b.taken_at, &b.snapshot, &b.repository).cmp(&(a.taken_at, &a.snapshot, &a.repository)));
    decisions
}

/// More than may go at once without a person's word: how many would go, of how many, and how many may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TooMany {
    /// Would go.
    pub forget: u64,
    /// Of so many.
    pub of: u64,
    /// May go.
    pub allowed: u64,
}

/// Whether a plan would drop more of a job's snapshots in some repository than may go at once.
pub fn too_many(policy: &RetentionPolicy, decisions: &[Decision]) -> Option<TooMany> {
    let mut places: BTreeMap<&RepositoryName, (usize, usize)> = BTreeMap::new();
    for decision in decisions {
        let (all, going) = places.entry(&decision.repository).or_default();
        *all += 1;
        *going += usize::from(!decision.keep);
    }
    let over = places.into_values().filter_map(|(all, going)| {
        let allowed = (all * usize::from(policy.max_delete) / 100).max(MAX_DELETE_LEAST);
        (going > allowed).then_some(TooMany {
            forget: going as u64,
            of: all as u64,
            allowed: allowed as u64,
        })
    });
    over.max_by_key(|over| over.forget)
}
