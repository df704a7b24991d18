//! The clean-snapshot finder: every snapshot of a job in the order of its data, what speaks for and against each, and the
//! bracket between the last clean and the first bad one.
//!
//! The console's bisect view, `lifeboat snapshot find-clean` and the step of a runbook are all made from [`find`], so they say
//! the same. Snapshots that are gone stay in the line by the figures that were kept of them. Those nobody counted, because they
//! are incomplete or older than the counting, stand there as unknown: the figures never speak for them.
//!
//! What it never does: call a snapshot clean that nobody looked into. By its figures one is at most unsuspicious, and the
//! words say so.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::anomaly::{Changes, Found, Sample, Search, Signs, judge, search};
use super::id::SnapshotId;
use super::snapshot::{Evidence, SnapshotRecord};
use super::units::{Bytes, Timestamp};

/// How many snapshots the usual amount of new data is the median of, at most.
const MOST: usize = 9;
/// The fewest it says something of.
const LEAST: usize = 4;

/// What was found out about the snapshots of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The job.
    pub job: String,
    /// Where the search stands.
    #[serde(flatten)]
    pub search: Search,
    /// Oldest first.
    pub snapshots: Vec<Line>,
}

/// One snapshot, with what speaks for or against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
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
    /// What was new in it; absent when it was not counted.
    #[serde(flatten)]
    pub changes: Option<Changes>,
    /// What is made of that.
    #[serde(flatten)]
    pub figures: Option<Figures>,
    /// What it looks like beside those before it.
    #[serde(flatten)]
    pub signs: Signs,
    /// Whether it can be restored.
    pub there: bool,
    /// Where it went, when it did.
    pub gone: Option<Gone>,
    /// Whether something could not be read.
    pub partial: bool,
    /// How far it has been proved.
    pub evidence: Evidence,
    /// What a person found who looked into it.
    pub found: Option<Found>,
    /// What all of it comes to.
    pub verdict: Verdict,
}

/// The figures of a snapshot, in thousandth parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// How much of it was new.
    pub change_rate: u64,
    /// What is usually new, when there is enough before it to say.
    pub usual_new: Option<Bytes>,
    /// What is left of what was new after compression; absent when too little was new to say.
    pub entropy: Option<u64>,
    /// How many files changed, went or got another name.
    pub churn: u64,
    /// How many of them went or got another name.
    pub removed: u64,
}

/// Where a snapshot went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    /// Into the trash: it can be brought back.
    Trash,
    /// Out of its repository.
    Expired,
}

/// What the figures, its neighbours and whoever looked say of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Somebody looked into it: it is as it should be.
    Clean,
    /// Somebody looked into it: it is not.
    Bad,
    /// It looks encrypted.
    Suspect,
    /// It comes after a bad one.
    After,
    /// Its size is far from usual.
    OddSize,
    /// Nothing in its figures speaks against it; nobody looked.
    Unsuspicious,
    /// It lies between one that is clean and one that is bad, and nothing speaks for either.
    Between,
    /// Something in it could not be read, so nothing was compared.
    Incomplete,
    /// It was not counted.
    Uncounted,
}

impl Line {
    /// The verdict in a few words.
    pub fn words(&self) -> String {
        match self.verdict {
            Verdict::Clean => "clean, looked at".to_owned(),
            Verdict::Bad => "BAD, looked at".to_owned(),
            Verdict::Suspect => format!("suspect: entropy {}", self.bits().unwrap_or_default()),
            Verdict::After => "after a bad one".to_owned(),
            Verdict::OddSize => "odd size".to_owned(),
            Verdict::Unsuspicious => "clean by figures".to_owned(),
            Verdict::Between => "unknown".to_owned(),
            Verdict::Incomplete => "unknown: incomplete".to_owned(),
            Verdict::Uncounted => "unknown: no figures".to_owned(),
        }
    }

    /// The entropy of what was new in bits a byte, as far as compression shows it: `7.9`; 8.0 is noise.
    pub fn bits(&self) -> Option<String> {
        let entropy = self.figures?.entropy?;
        // What compression cannot make smaller becomes a little larger; more than eight bits a byte has not.
        let tenths = entropy.min(1000) * 80 / 1000;
        Some(format!("{}.{}", tenths / 10, tenths % 10))
    }
}

/// Every snapshot of a job, oldest first, and where the search stands after what people `found`.
pub fn find(job: &str, records: &[SnapshotRecord], found: &BTreeMap<SnapshotId, Found>) -> Finding {
    let known: BTreeSet<&SnapshotId> = records.iter().map(|record| &record.id).collect();
    // One whose words were changed is known under its new id as well; it counts once.
    let superseded = |record: &SnapshotRecord| record.replaced_by.as_ref().is_some_and(|new| known.contains(new));
    let mut line: Vec<&SnapshotRecord> = records.iter().filter(|record| !superseded(record)).collect();
    line.sort_by(|a, b| (a.taken_at, &a.id).cmp(&(b.taken_at, &b.id)));
    line.dedup_by(|a, b| a.id == b.id);
    let counted: Vec<Sample> = line.iter().filter_map(|record| Sample::of(record)).collect();
    let mut judged: BTreeMap<SnapshotId, (Signs, Figures)> = BTreeMap::new();
    for (place, signs) in judge(&counted).into_iter().enumerate() {
        let sample = &counted[place];
        judged.insert(sample.id.clone(), (signs, figures(&counted[..place], sample)));
    }
    // What somebody looked into counts although nobody counted it.
    let searched: Vec<Sample> = line
        .iter()
        .filter_map(|record| Sample::of(record).or_else(|| found.contains_key(&record.id).then(|| bare(record))))
        .collect();
    let restorable: BTreeSet<&SnapshotId> = line
        .iter()
        .filter(|record| record.is_restorable())
        .map(|record| &record.id)
        .collect();
    let search = search(&searched, |id| restorable.contains(id), found);
    let place = |id: &Option<SnapshotId>| line.iter().position(|record| Some(&record.id) == id.as_ref());
    let (clean, bad) = (place(&search.clean), place(&search.bad));
    let snapshots = line.iter().enumerate().map(|(at, record)| {
        let known = judged.get(&record.id);
        let mut one = Line {
            id: record.id.clone(),
            at: record.taken_at,
            size: record.size,
            files: record.files,
            packed: record.added,
            changes: record.changes.filter(|_| known.is_some()),
            figures: known.map(|(_, figures)| *figures),
            signs: known.map(|(signs, _)| *signs).unwrap_or_default(),
            there: restorable.contains(&record.id),
            gone: gone(record),
            partial: record.partial,
            evidence: record.evidence.clone(),
            found: found.get(&record.id).copied(),
            verdict: Verdict::Uncounted,
        };
        one.verdict = verdict(&one, at, clean, bad);
        one
    });
    let snapshots = snapshots.collect();
    Finding {
        job: job.to_owned(),
        search,
        snapshots,
    }
}

/// The place of a snapshot in the line that has no figures.
fn bare(record: &SnapshotRecord) -> Sample {
    Sample {
        id: record.id.clone(),
        at: record.taken_at,
        size: record.size,
        files: record.files,
        packed: record.added,
        changes: Changes::default(),
    }
}

fn figures(before: &[Sample], sample: &Sample) -> Figures {
    let mut new: Vec<u64> = before.iter().rev().take(MOST).map(|one| one.changes.new.0).collect();
    new.sort_unstable();
    let changes = sample.changes;
    let files = (sample.files + changes.files_removed).saturating_sub(changes.files_new);
    Figures {
        change_rate: sample.change_rate(),
        usual_new: (new.len() >= LEAST).then(|| Bytes(new[new.len() / 2])),
        entropy: sample.entropy(),
        churn: sample.churn(),
        removed: (changes.files_removed.saturating_mul(1000) / files.max(1)).min(1000),
    }
}

fn gone(record: &SnapshotRecord) -> Option<Gone> {
    if record.vanished_at.is_some() || record.replaced_by.is_some() {
        Some(Gone::Expired)
    } else if record.forgotten.is_some() {
        Some(Gone::Trash)
    } else {
        None
    }
}

fn verdict(line: &Line, at: usize, clean: Option<usize>, bad: Option<usize>) -> Verdict {
    match line.found {
        Some(Found::Clean) => return Verdict::Clean,
        Some(Found::Bad) => return Verdict::Bad,
        None => {}
    }
    let after_clean = clean.is_none_or(|clean| at > clean);
    if line.signs.encryption {
        Verdict::Suspect
    } else if bad.is_some_and(|bad| at > bad) && after_clean {
        Verdict::After
    } else if line.partial {
        Verdict::Incomplete
    } else if line.figures.is_none() {
        Verdict::Uncounted
    } else if bad.is_some() && after_clean {
        Verdict::Between
    } else if line.signs.usual_size.is_some() {
        Verdict::OddSize
    } else {
        Verdict::Unsuspicious
    }
}

#[cfg(test)]
#[path = "finder_tests.rs"]
mod tests;
