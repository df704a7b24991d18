//! `lifeboat stats`: success rate, sizes, what is stored, the latest and the next.

use serde::Serialize;

use super::args::StatsArgs;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::moment::moment as parse_moment;
use super::output::{Column, Render, Row, Style, Text, moment};
use crate::api::Client;
use crate::api::types::{JobView, Query};
use crate::domain::run::{Outcome, RunRecord};
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::{Bytes, Millis, Timestamp};

/// The figures of a period.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Stats {
    /// From when.
    since: Timestamp,
    /// All jobs together.
    #[serde(flatten)]
    total: Figures,
    /// Each job.
    jobs: Vec<JobStats>,
}

/// The figures of one job.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct JobStats {
    job: String,
    #[serde(flatten)]
    figures: Figures,
}

/// What counts.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
struct Figures {
    /// Runs that have ended, of any outcome but cancelled: those say nothing.
    runs: u64,
    /// Of these, complete successes.
    succeeded: u64,
    /// Of these, partial ones.
    partial: u64,
    /// Of these, failed, timed out or interrupted.
    failed: u64,
    /// Runs that somebody cancelled.
    cancelled: u64,
    /// Complete successes as a part of the runs, 0 to 1; none without a run.
    success_rate: Option<f64>,
    /// The mean size of what a complete success held.
    average_size: Option<Bytes>,
    /// The mean duration of a complete success.
    average_duration: Option<Millis>,
    /// Snapshots of the period that are still there.
    snapshots: u64,
    /// What these added to their repositories.
    stored: Bytes,
    /// The end of the latest complete success.
    latest: Option<Timestamp>,
    /// When the next run is due.
    next: Option<Timestamp>,
}

impl Figures {
    fn of<'a>(
        runs: impl Iterator<Item = &'a RunRecord>,
        snapshots: impl Iterator<Item = &'a SnapshotRecord>,
        jobs: impl Iterator<Item = &'a JobView>,
    ) -> Self {
        let mut figures = Self::default();
        let (mut size, mut duration) = (0_u64, 0_u64);
        for run in runs {
            match run.outcome {
                Outcome::Cancelled => {
                    figures.cancelled += 1;
                    continue;
                }
                Outcome::Succeeded => {
                    figures.succeeded += 1;
                    figures.latest = figures.latest.max(Some(run.finished_at));
                    size = size.saturating_add(run.stats.size.0);
                    duration = duration.saturating_add(run.duration.0);
                }
                Outcome::Partial => figures.partial += 1,
                Outcome::Failed | Outcome::TimedOut | Outcome::Interrupted => figures.failed += 1,
            }
            figures.runs += 1;
        }
        if figures.runs > 0 {
            figures.success_rate = Some(figures.succeeded as f64 / figures.runs as f64);
        }
        figures.average_size = size.checked_div(figures.succeeded).map(Bytes);
        figures.average_duration = duration.checked_div(figures.succeeded).map(Millis);
        for snapshot in snapshots.filter(|snapshot| snapshot.is_there()) {
            figures.snapshots += 1;
            figures.stored += snapshot.added;
        }
        figures.next = jobs.filter(|job| job.enabled).filter_map(|job| job.next_due).min();
        figures
    }

    fn rate(&self) -> String {
        // Rounded down: 100 % means all of them.
        self.success_rate
            .map_or_else(|| "-".to_owned(), |rate| format!("{}%", (rate * 100.0).floor()))
    }
}

impl Row for JobStats {
    const COLUMNS: &'static [Column] = &[
        Column::cut("JOB"),
        Column::right("RUNS"),
        Column::right("SUCCESS"),
        Column::right("AVG SIZE"),
        Column::right("AVG TIME"),
        Column::right("STORED"),
        Column::left("LATEST"),
        Column::left("NEXT"),
    ];
    const EMPTY: &'static str = "no jobs";

    fn cells(&self, style: &Style) -> Vec<String> {
        let figures = &self.figures;
        vec![
            self.job.clone(),
            figures.runs.to_string(),
            figures.rate(),
            figures
                .average_size
                .map_or_else(|| "-".to_owned(), |size| size.to_string()),
            figures
                .average_duration
                .map_or_else(|| "-".to_owned(), |length| length.to_string()),
            figures.stored.to_string(),
            style.ago(figures.latest),
            figures
                .next
                .map_or_else(|| "-".to_owned(), |next| style.ago(Some(next))),
        ]
    }
}

impl Render for Stats {
    fn text(&self, out: &mut Text) {
        let total = &self.total;
        out.field("since", moment(self.since));
        let (partial, failed, cancelled) = (total.partial, total.failed, total.cancelled);
        out.field(
            "runs",
            format!(
                "{}, {} complete, {partial} partial, {failed} failed, {cancelled} cancelled",
                total.runs, total.succeeded
            ),
        );
        out.field("success rate", total.rate());
        out.maybe("average size", total.average_size.map(|size| size.to_string()));
        out.maybe("average time", total.average_duration.map(|length| length.to_string()));
        out.field("stored", format!("{} by {} snapshots", total.stored, total.snapshots));
        out.field("latest", out.style.ago(total.latest));
        out.maybe("next", total.next.map(|next| out.style.ago(Some(next))));
        if !self.jobs.is_empty() {
            out.line("");
            let rows: Vec<_> = self.jobs.iter().map(|job| job.cells(&out.style)).collect();
            out.table(JobStats::COLUMNS, &rows);
        }
    }
}

/// Runs `lifeboat stats`.
pub async fn run(args: StatsArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let since = parse_moment(&args.since, ctx.clock.now())?;
    let client = ctx.client().await?;
    let failed = |error| CliError::from_client("the figures cannot be gathered", error);
    let mut jobs = client.overview().await.map_err(failed)?.jobs;
    if let Some(name) = &args.job {
        jobs.retain(|job| job.name.as_str() == name);
        if jobs.is_empty() {
            return Err(CliError::usage(format!("there is no job {name}")).hint("see them with: lifeboat job list"));
        }
    }
    let query = Query {
        job: args.job,
        since: Some(since),
        limit: Some(1000),
        ..Query::default()
    };
    let runs = all_runs(&client, query.clone()).await?;
    let snapshots = all_snapshots(&client, query).await?;
    let each = jobs.iter().map(|job| {
        let runs = runs.iter().filter(|run| run.job == job.name);
        let snapshots = snapshots
            .iter()
            .filter(|snapshot| snapshot.job.as_ref() == Some(&job.name));
        JobStats {
            job: job.name.to_string(),
            figures: Figures::of(runs, snapshots, std::iter::once(job)),
        }
    });
    let each = each.collect();
    let total = Figures::of(runs.iter(), snapshots.iter(), jobs.iter());
    ctx.print(&Stats {
        since,
        total,
        jobs: each,
    })?;
    Ok(Exit::Done)
}

async fn all_runs(client: &Client, mut query: Query) -> Result<Vec<RunRecord>, CliError> {
    let mut all = Vec::new();
    loop {
        let page = client.runs(&query).await;
        let page = page.map_err(|error| CliError::from_client("the runs cannot be listed", error))?;
        all.extend(page.items);
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(all);
        }
    }
}

/// Every snapshot a query means, page by page.
pub(super) async fn all_snapshots(client: &Client, query: Query) -> Result<Vec<SnapshotRecord>, CliError> {
    let mut all = Vec::new();
    let mut query = Query {
        limit: Some(1000),
        ..query
    };
    loop {
        let page = client.snapshots(&query).await;
        let page = page.map_err(|error| CliError::from_client("the snapshots cannot be listed", error))?;
        all.extend(page.items);
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::{RunStats, Trigger};

    fn ended(outcome: Outcome, size: u64) -> RunRecord {
        let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        RunRecord {
            id: "run-1".into(),
            job: "orders".into(),
            trigger: Trigger::Manual { by: "ana".to_owned() },
            queued_at: at,
            started_at: Some(at),
            finished_at: at,
            outcome,
            attempts: 1,
            duration: Millis(1000),
            stats: RunStats {
                size: Bytes(size),
                ..RunStats::default()
            },
            snapshot: None,
            error: None,
            item_errors: vec![],
        }
    }

    #[test]
    fn partial_is_no_success_and_cancelled_is_no_failure() {
        let runs = [
            ended(Outcome::Succeeded, 100),
            ended(Outcome::Succeeded, 300),
            ended(Outcome::Partial, 1),
            ended(Outcome::Failed, 1),
            ended(Outcome::Cancelled, 1),
        ];
        let figures = Figures::of(runs.iter(), std::iter::empty(), std::iter::empty());
        assert_eq!((figures.runs, figures.succeeded, figures.cancelled), (4, 2, 1));
        assert_eq!(figures.success_rate, Some(0.5));
        assert_eq!(figures.average_size, Some(Bytes(200)), "of complete ones only");
        let none = Figures::of(std::iter::empty(), std::iter::empty(), std::iter::empty());
        assert_eq!((none.success_rate, none.average_size), (None, None));
    }
}
