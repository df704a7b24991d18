//! Snapshots that look as if something had happened to the data: the figures of each held against those before it.
//!
//! What was new in a snapshot is counted while it is made and costs nothing: how much of it the repository did not have, how far
//! that could be compressed, how many files came, changed and went. The figures stay in history when the snapshot has expired,
//! so that a slow attack cannot outlive what it is measured against.
//!
//! **Encryption.** Encrypted data is new, and noise. A snapshot is suspect when at least [`MUCH`] of it is new and what is new
//! cannot be compressed, where it could be before; or, of data that never could (pictures, archives), when at the same time
//! [`BURST`] of the files were changed, renamed or removed and that is far from usual. A column of a dump that holds encrypted
//! values is text in hexadecimal or base64: there the ratio doubling to about a half is the sign.
//!
//! **Size.** Half or double the median of the snapshots before it; over when it is within two thirds and one and a half.
//!
//! It is a suspicion and called one: a migration that rewrites everything into a compressed format looks the same. What it
//! never does: call a snapshot clean. That is for whoever restored it and looked ([`search`]).

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::id::SnapshotId;
use super::snapshot::SnapshotRecord;
use super::units::{Bytes, Timestamp};

/// The thousandth parts of a snapshot that have to be new before it can be suspect.
pub const MUCH: u64 = 300;
/// The thousandth parts of the files whose change, renaming or removal is a burst.
pub const BURST: u64 = 500;
/// New data below this says nothing: a few pictures are noise, too.
const TELLING: u64 = 1 << 20;
/// What could not be compressed, in thousandth parts of what it was.
const NOISE: u64 = 970;
/// What could be, before.
const ORDINARY: u64 = 900;
/// How many snapshots a median is taken of, at most.
const MOST: usize = 9;
/// The fewest a median says something about.
const LEAST: usize = 4;

/// What was new in a snapshot, counted while it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Changes {
    /// What the repository did not have yet, as it was read; what it takes is in the snapshot's record.
    pub new: Bytes,
    /// Files that the snapshot before did not have.
    #[serde(default)]
    pub files_new: u64,
    /// Files that differ from it.
    #[serde(default)]
    pub files_changed: u64,
    /// Files it had and this one has not. One that was renamed counts here and among the new.
    #[serde(default)]
    pub files_removed: u64,
}

/// The figures of one snapshot, as they are kept to compare later ones with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The snapshot.
    pub id: SnapshotId,
    /// The moment whose data it holds.
    pub at: Timestamp,
    /// What it holds, uncompressed.
    pub size: Bytes,
    /// How many files.
    pub files: u64,
    /// What was new in it, compressed.
    pub packed: Bytes,
    /// What was new in it.
    #[serde(flatten)]
    pub changes: Changes,
}

/// What a snapshot looks like beside those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Signs {
    /// Most of it may have been encrypted since the one before.
    pub encryption: bool,
    /// What is usual, when its size is far from that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_size: Option<Bytes>,
}

impl Sample {
    /// The figures of a snapshot; none of one that is incomplete, or was made before they were counted.
    pub fn of(record: &SnapshotRecord) -> Option<Self> {
        Some(Self {
            id: record.id.clone(),
            at: record.taken_at,
            size: record.size,
            files: record.files,
            packed: record.added,
            changes: record.changes.filter(|_| !record.partial)?,
        })
    }

    /// How much of it was new, in thousandth parts.
    pub fn change_rate(&self) -> u64 {
        permille(self.changes.new.0, self.size.0).min(1000)
    }

    /// What is left of what was new after compression, in thousandth parts; none when too little was new to say.
    pub fn entropy(&self) -> Option<u64> {
        (self.changes.new.0 >= TELLING).then(|| permille(self.packed.0, self.changes.new.0))
    }

    /// How many of the files there were before changed, went or got another name, in thousandth parts.
    pub fn churn(&self) -> u64 {
        let changes = self.changes;
        let before = (self.files + changes.files_removed).saturating_sub(changes.files_new);
        permille(changes.files_changed + changes.files_removed, before).min(1000)
    }
}

fn permille(part: u64, whole: u64) -> u64 {
    let parts = u128::from(part) * 1000 / u128::from(whole.max(1));
    u64::try_from(parts).unwrap_or(u64::MAX)
}

/// What each snapshot of a job looks like beside those before it; oldest first.
pub fn judge<'a>(line: impl IntoIterator<Item = &'a Sample>) -> Vec<Signs> {
    let (mut all, mut ordinary): (Vec<&Sample>, Vec<&Sample>) = (Vec::new(), Vec::new());
    let mut signs: Vec<Signs> = Vec::new();
    for sample in line {
        let odd_before = signs.last().is_some_and(|last| last.usual_size.is_some());
        let found = Signs {
            encryption: is_encrypted(&ordinary, sample),
            usual_size: odd_size(&all, sample, odd_before),
        };
        all.push(sample);
        if !found.encryption {
            ordinary.push(sample);
        }
        signs.push(found);
    }
    signs
}

/// The median of the newest, when there are enough to have one.
fn median(line: &[&Sample], figure: impl Fn(&Sample) -> u64) -> Option<u64> {
    let mut figures: Vec<u64> = line.iter().rev().take(MOST).map(|sample| figure(sample)).collect();
    figures.sort_unstable();
    (figures.len() >= LEAST).then(|| figures[figures.len() / 2])
}

fn is_encrypted(before: &[&Sample], sample: &Sample) -> bool {
    let Some(entropy) = sample.entropy().filter(|_| sample.change_rate() >= MUCH) else {
        return false;
    };
    // What the data of this job is like, by all that was ever new in it: that is the first snapshot above all.
    let sum = |figure: fn(&Sample) -> u64| before.iter().map(|sample| figure(sample)).sum::<u64>();
    let was = sum(|sample| sample.changes.new.0);
    if was < TELLING {
        return false;
    }
    let usual = permille(sum(|sample| sample.packed.0), was);
    let noise = entropy >= NOISE && usual <= ORDINARY;
    let text = entropy >= 450 && entropy >= 2 * usual;
    let burst = || {
        let usual = median(before, Sample::churn);
        entropy >= NOISE && sample.churn() >= BURST && usual.is_some_and(|usual| sample.churn() >= 5 * usual)
    };
    noise || text || burst()
}

/// What is usual, when a size is far from it; an odd one before it makes the bounds narrower, so that it has to come back.
fn odd_size(before: &[&Sample], sample: &Sample, odd_before: bool) -> Option<Bytes> {
    let usual = median(before, |sample| sample.size.0)?;
    let (bound, size) = (if odd_before { 1500 } else { 2000 }, sample.size.0);
    let far = permille(size, usual) > bound || permille(usual, size) > bound;
    (far && size.abs_diff(usual) >= TELLING).then_some(Bytes(usual))
}

/// The first snapshot since which the data of a job may be encrypted, when it did not come back since.
///
/// It came back when as many files changed again and what was new is no noise any more. A dump has no files to count: what
/// was said of it holds until a person says otherwise.
pub fn encrypted_since(line: &VecDeque<Sample>) -> Option<&Sample> {
    let signs = judge(line);
    let mut since: Option<&Sample> = None;
    for (sample, signs) in line.iter().zip(&signs) {
        match since {
            None if signs.encryption => since = Some(sample),
            Some(first) if !signs.encryption && first.churn() > 0 && sample.churn() >= first.churn() / 2 => {
                since = None;
            }
            _ => {}
        }
    }
    since
}

/// What a person found who looked into a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It is as it should be.
    Clean,
    /// It is not.
    Bad,
}

/// Where the search for the last clean snapshot stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Search {
    /// The newest that is clean, as far as is known.
    pub clean: Option<SnapshotId>,
    /// Whether somebody looked into that one; otherwise only the figures speak for it.
    pub looked_at: bool,
    /// The oldest that is not, as far as is known; none when nothing looks wrong.
    pub bad: Option<SnapshotId>,
    /// The one to restore and look at next; none when there is nothing between the two to look at.
    pub next: Option<SnapshotId>,
    /// How many more looks it takes at most.
    pub looks: u32,
}

/// Narrows down which snapshot of a job is the last clean one, by its figures and what was found by looking; oldest first.
///
/// Only those that are `there` can be looked at, but the figures of all count. The figures say where to look first; what was
/// found by looking counts before them, and halves what is left.
pub fn search(line: &[Sample], there: impl Fn(&SnapshotId) -> bool, found: &BTreeMap<SnapshotId, Found>) -> Search {
    let said = |what: Found| move |place: &usize| found.get(&line[*place].id) == Some(&what);
    let signs = judge(line);
    let low = (0..line.len()).rfind(said(Found::Clean));
    let after = low.map_or(0, |low| low + 1);
    let told = (after..line.len()).find(said(Found::Bad));
    let suspect = (after..told.unwrap_or(line.len())).find(|place| signs[*place].encryption);
    let high = told.or(suspect);
    let between: Vec<usize> = (after..high.unwrap_or(line.len()))
        .filter(|place| there(&line[*place].id))
        .collect();
    // What the figures speak for: everything before the first suspect.
    let unsuspected = between
        .iter()
        .rev()
        .find(|place| suspect.is_none_or(|suspect| **place < suspect));
    // Between what was found clean and what was found bad, nothing speaks for either.
    let clean = unsuspected
        .filter(|_| told.is_none() || suspect.is_some())
        .copied()
        .or(low);
    let next = if high.is_none() {
        None
    } else if suspect.is_some() && unsuspected.is_some() {
        unsuspected.copied()
    } else {
        between.get(between.len() / 2).copied()
    };
    let id = |place: usize| line[place].id.clone();
    Search {
        clean: clean.map(id),
        looked_at: clean.is_some() && clean == low,
        bad: high.map(id),
        looks: next.map_or(0, |_| between.len().ilog2() + 1),
        next: next.map(id),
    }
}

#[cfg(test)]
#[path = "anomaly_tests.rs"]
mod tests;
