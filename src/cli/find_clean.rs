//! `lifeboat snapshot find-clean`: which snapshot of a job is the last one from before something happened to the data.
//!
//! The figures of the snapshots, of expired ones too, say where to look; a person restores one somewhere else, looks, and says
//! what it was with `--clean` or `--bad`, until nothing is left between the last clean and the first bad one. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::args::FindCleanArgs;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::output::{Column, Paint, Render, Text, moment};
use super::stats::all_snapshots;
use crate::api::types::Query;
use crate::domain::anomaly::{Found, Sample, Search, Signs, judge, line, search};
use crate::domain::id::SnapshotId;
use crate::domain::snapshot::SnapshotRecord;

/// What was found out about the snapshots of a job.
#[derive(Debug, Serialize)]
struct Finding {
    job: String,
    #[serde(flatten)]
    search: Search,
    /// Oldest first.
    snapshots: Vec<Line>,
}

/// One snapshot, with the figures that speak for or against it.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    sample: Sample,
    /// How much of it was new, in thousandth parts.
    change_rate: u64,
    /// What is left of what was new after compression, in thousandth parts.
    entropy: Option<u64>,
    /// How many files changed, went or got another name, in thousandth parts.
    churn: u64,
    #[serde(flatten)]
    signs: Signs,
    /// Whether it can be restored.
    there: bool,
    /// What a person found who looked into it.
    found: Option<Found>,
}

/// Runs the verb.
pub(super) async fn run(args: FindCleanArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let records = all(&args.job, ctx).await?;
    let mut found = BTreeMap::new();
    for (ids, what) in [(&args.clean, Found::Clean), (&args.bad, Found::Bad)] {
        for id in ids {
            let id = named(&records, id)?;
            if found.insert(id.clone(), what).is_some_and(|other| other != what) {
                return Err(CliError::usage(format!(
                    "snapshot {} cannot be both clean and bad",
                    id.short()
                )));
            }
        }
    }
    ctx.print(&finding(args.job, &records, &found))?;
    Ok(Exit::Done)
}

/// Every snapshot the journal knows of a job, those that are gone included.
async fn all(job: &str, ctx: &Ctx) -> Result<Vec<SnapshotRecord>, CliError> {
    let client = ctx.client().await?;
    let query = Query {
        job: Some(job.to_owned()),
        gone: Some(true),
        ..Query::default()
    };
    let records = all_snapshots(&client, query).await?;
    if records.is_empty() {
        return Err(CliError::usage(format!("job {job} has no snapshot")).hint("see the jobs with: lifeboat job list"));
    }
    Ok(records)
}

/// The one snapshot whose id begins so.
fn named(records: &[SnapshotRecord], prefix: &str) -> Result<SnapshotId, CliError> {
    let prefix = prefix.to_ascii_lowercase();
    let fits = records.iter().filter(|record| record.id.as_str().starts_with(&prefix));
    let fits: BTreeSet<&SnapshotId> = fits.map(|record| &record.id).collect();
    match (fits.first(), fits.len()) {
        (Some(id), 1) => Ok((*id).clone()),
        (None, _) => Err(CliError::usage(format!("no snapshot of the job begins with {prefix}"))),
        _ => Err(CliError::usage(format!("several snapshots of the job begin with {prefix}")).hint("give more digits")),
    }
}

fn finding(job: String, records: &[SnapshotRecord], found: &BTreeMap<SnapshotId, Found>) -> Finding {
    let (samples, restorable) = line(records);
    let search = search(&samples, |id| restorable.contains(id), found);
    let signs = judge(&samples);
    let snapshots = samples.into_iter().zip(signs).map(|(sample, signs)| Line {
        change_rate: sample.change_rate(),
        entropy: sample.entropy(),
        churn: sample.churn(),
        there: restorable.contains(&sample.id),
        found: found.get(&sample.id).copied(),
        signs,
        sample,
    });
    Finding {
        job,
        search,
        snapshots: snapshots.collect(),
    }
}

impl Line {
    fn cells(&self) -> Vec<String> {
        let percent = |parts: u64| format!("{}%", parts / 10);
        let words = [
            (self.found == Some(Found::Clean), "CLEAN, looked at"),
            (self.found == Some(Found::Bad), "BAD, looked at"),
            (self.signs.encryption, "ENCRYPTED?"),
            (self.signs.usual_size.is_some(), "odd size"),
            (!self.there, "not there"),
        ];
        let words = words.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word);
        vec![
            self.sample.id.short().to_owned(),
            self.sample.at.format("%Y-%m-%d %H:%M").to_string(),
            self.sample.size.to_string(),
            percent(self.change_rate),
            self.entropy.map_or_else(|| "-".to_owned(), percent),
            percent(self.churn),
            words.collect::<Vec<_>>().join(", "),
        ]
    }
}

impl Render for Finding {
    fn text(&self, out: &mut Text) {
        let columns = [
            Column::left("ID"),
            Column::left("TAKEN (UTC)"),
            Column::right("SIZE"),
            Column::right("NEW"),
            Column::right("PACKED TO"),
            Column::right("FILES"),
            Column::cut("REMARK"),
        ];
        let rows: Vec<Vec<String>> = self.snapshots.iter().map(Line::cells).collect();
        out.table(&columns, &rows);
        out.heading("where it stands");
        if self.snapshots.is_empty() {
            out.line("nothing was counted in these snapshots: there is nothing to go by");
            return;
        }
        let when = |id: &SnapshotId| {
            let line = self.snapshots.iter().find(|line| line.sample.id == *id);
            let at = line.map_or_else(String::new, |line| format!(", taken {} UTC", moment(line.sample.at)));
            format!("{}{at}", id.short())
        };
        match &self.search.clean {
            Some(id) if self.search.looked_at => out.painted(Paint::Good, format!("last clean: {}", when(id))),
            Some(id) => out.line(format!("last clean by its figures, not looked at: {}", when(id))),
            None => out.painted(Paint::Bad, "none of those that are there is known to be clean"),
        }
        match &self.search.bad {
            Some(id) => out.painted(Paint::Bad, format!("first bad: {}", when(id))),
            None => out.line("nothing in the figures is suspect; say what you found with --bad ID"),
        }
        if let Some(next) = &self.search.next {
            let (id, job) = (next.short(), &self.job);
            out.line(format!(
                "look into {id} next; at most {} looks are left:",
                self.search.looks
            ));
            out.line(format!("  lifeboat restore {id} --target DIR"));
            out.line(format!(
                "  lifeboat snapshot find-clean {job} --clean {id}   (or --bad {id}, with those you gave)"
            ));
        }
    }
}
