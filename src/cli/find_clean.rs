//! `lifeboat snapshot find-clean`: which snapshot of a job is the last one from before something happened to the data.
//!
//! The figures of the snapshots, of expired ones too, say where to look; a person restores one somewhere else, looks, and says
//! what it was with `--clean` or `--bad`, until nothing is left between the last clean and the first bad one. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::args::FindCleanArgs;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::output::{Column, Paint, Render, Text, moment};
use super::stats::all_snapshots;
use crate::api::types::Query;
use crate::domain::anomaly::Found;
use crate::domain::finder::{Finding, Gone, Line, find};
use crate::domain::id::SnapshotId;
use crate::domain::snapshot::SnapshotRecord;

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
    ctx.print(&find(&args.job, &records, &found))?;
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

fn cells(line: &Line) -> Vec<String> {
    let percent = |parts: u64| format!("{}%", parts / 10);
    let of = |figure: Option<u64>| figure.map_or_else(|| "-".to_owned(), percent);
    let figures = line.figures;
    let gone = match line.gone {
        Some(Gone::Trash) => ", in the trash",
        Some(Gone::Expired) => ", gone",
        None => "",
    };
    vec![
        line.id.short().to_owned(),
        line.at.format("%Y-%m-%d %H:%M").to_string(),
        line.size.to_string(),
        of(figures.map(|figures| figures.change_rate)),
        line.bits().unwrap_or_else(|| "-".to_owned()),
        of(figures.map(|figures| figures.churn)),
        format!("{}{gone}", line.words()),
    ]
}

impl Render for Finding {
    fn text(&self, out: &mut Text) {
        let columns = [
            Column::left("ID"),
            Column::left("TAKEN (UTC)"),
            Column::right("SIZE"),
            Column::right("NEW"),
            Column::right("ENTROPY"),
            Column::right("FILES"),
            Column::cut("VERDICT"),
        ];
        let rows: Vec<Vec<String>> = self.snapshots.iter().map(cells).collect();
        out.table(&columns, &rows);
        out.heading("where it stands");
        if self.snapshots.is_empty() {
            out.line("nothing was counted in these snapshots: there is nothing to go by");
            return;
        }
        let when = |id: &SnapshotId| {
            let line = self.snapshots.iter().find(|line| line.id == *id);
            let at = line.map_or_else(String::new, |line| format!(", taken {} UTC", moment(line.at)));
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
