//! `lifeboat job`: what is done, when, and how it fares.

use serde::Serialize;

use super::args::JobCommand;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::follow::{RunWork, follow};
use super::output::{Column, Listing, Paint, Render, Row, Style, Text, moment};
use super::{job_edit, views};
use crate::api::Client;
use crate::api::types::{JobView, Query, Receipt};
use crate::domain::command::Command;
use crate::domain::id::{JobName, RunId};
use crate::domain::run::{Outcome, RunRecord};

/// Runs a verb of `lifeboat job`.
pub async fn run(command: JobCommand, ctx: &Ctx) -> Result<Exit, CliError> {
    match command {
        JobCommand::List => {
            ctx.print(&Listing(views::overview(ctx).await?.jobs))?;
            Ok(Exit::Done)
        }
        JobCommand::Show { name } => show(ctx, &name).await,
        JobCommand::Run { name, wait } => start(ctx, name, wait).await,
        JobCommand::Log { name } => log(ctx, &name).await,
        JobCommand::Cancel { name } => cancel(ctx, &name).await,
        JobCommand::Enable { name } => {
            let command = Command::EnableJob {
                job: name.as_str().into(),
            };
            order(ctx, command, format!("job {name} enabled")).await
        }
        JobCommand::Disable { name, reason } => {
            let job = name.as_str().into();
            let command = Command::DisableJob { job, reason };
            order(
                ctx,
                command,
                format!("job {name} disabled; run it by hand with: lifeboat job run {name}"),
            )
            .await
        }
        JobCommand::Add(args) => job_edit::add(ctx, args),
        JobCommand::Edit(args) => job_edit::edit(ctx, args),
        JobCommand::Remove { name } => job_edit::remove(ctx, &name),
    }
}

/// What a command without a result of its own led to.
#[derive(Debug, Serialize)]
pub struct Ordered {
    /// What was done, in words.
    pub message: String,
    /// What the agent says it led to.
    #[serde(flatten)]
    pub receipt: Receipt,
}

impl Render for Ordered {
    fn text(&self, out: &mut Text) {
        out.line(&self.message);
    }
}

/// Gives a command and prints that it was carried out.
pub async fn order(ctx: &Ctx, command: Command, message: String) -> Result<Exit, CliError> {
    let receipt = give(&ctx.client().await?, command).await?;
    ctx.print(&Ordered { message, receipt })?;
    Ok(Exit::Done)
}

/// Gives a command.
pub async fn give(client: &Client, command: Command) -> Result<Receipt, CliError> {
    let what = not_done(&command);
    client
        .command(command)
        .await
        .map_err(|error| CliError::from_client(what, error))
}

/// What to say when a command was not carried out.
fn not_done(command: &Command) -> String {
    match command {
        Command::RunJob { job } => format!("job {job} was not started"),
        Command::CancelRun { run } => format!("{run} was not asked to stop"),
        Command::EnableJob { job } => format!("job {job} was not enabled"),
        Command::DisableJob { job, .. } => format!("job {job} was not disabled"),
        Command::StartRecovery { request } => format!("snapshot {} was not restored", request.snapshot.short()),
        Command::VerifySnapshot { snapshot, .. } => format!("snapshot {} was not verified", snapshot.short()),
        Command::RunDrill { drill, .. } => format!("drill {drill} was not begun"),
        Command::CancelRecovery { recovery } => format!("{recovery} was not asked to stop"),
        Command::FollowUpRecovery { recovery, .. } => format!("nothing was done with the server of {recovery}"),
        Command::CreateRestorePoint { name, .. } => format!("restore point {name} was not created"),
        Command::AcknowledgeAlert { key, .. } => format!("alert {key} was not acknowledged"),
        Command::ResolveAlert { key, .. } => format!("alert {key} was not resolved"),
        Command::PinSnapshot { snapshot, .. } => format!("snapshot {} was not pinned", snapshot.short()),
        Command::UnpinSnapshot { snapshot, .. } => format!("snapshot {} was not unpinned", snapshot.short()),
        Command::TagSnapshot { snapshot, .. } => format!("snapshot {} was not tagged", snapshot.short()),
        Command::ForgetSnapshots { .. } => "nothing was forgotten".to_owned(),
        Command::RestoreForgotten { snapshot } => format!("snapshot {} was not brought back", snapshot.short()),
        Command::ApplyRetention { job: Some(job), .. } => format!("retention of job {job} was not applied"),
        Command::ApplyRetention { job: None, .. } => "retention was not applied".to_owned(),
        Command::PruneRepository { repository } => format!("repository {repository} was not pruned"),
        Command::CheckRepository { repository, .. } => format!("repository {repository} was not checked"),
        Command::StartRunbook { wish } => format!("runbook {} was not begun", wish.runbook),
        Command::SayInRunbook { run, saying } => format!("could not {} in {run}", saying.words()),
        Command::CancelMaintenance { maintenance } => format!("{maintenance} was not asked to stop"),
    }
}

async fn start(ctx: &Ctx, name: String, wait: bool) -> Result<Exit, CliError> {
    let client = ctx.client().await?;
    let job = JobName(name.clone());
    let receipt = give(&client, Command::RunJob { job }).await?;
    let Some(run) = receipt.run.clone() else {
        return Err(CliError::failed(format!("job {name} was accepted, but no run began"))
            .hint("look at it with: lifeboat job show"));
    };
    // In this process the engine ends with the command, so there is nothing to leave running.
    if !wait && !ctx.global.embedded {
        let message =
            format!("{run} of job {name} began; wait for it with: lifeboat job run --wait, or see: lifeboat status");
        ctx.print(&Ordered { message, receipt })?;
        return Ok(Exit::Done);
    }
    let record = follow(ctx, &client, &RunWork(run), &receipt, &name).await?;
    let exit = Exit::from(record.outcome);
    ctx.print(&record)?;
    Ok(exit)
}

impl Render for RunRecord {
    fn text(&self, out: &mut Text) {
        let paint = outcome_paint(self.outcome);
        out.painted(
            paint,
            format!(
                "{} of job {} {} in {}",
                self.id,
                self.job,
                self.outcome.word(),
                self.duration
            ),
        );
        if let Some(snapshot) = &self.snapshot {
            let stats = &self.stats;
            out.line(format!(
                "snapshot {}: {} in {} files, {} changed, {} added",
                snapshot.short(),
                stats.size,
                stats.files,
                stats.files_changed,
                stats.added
            ));
        }
        if self.attempts > 1 {
            out.line(format!("{} attempts", self.attempts));
        }
        for error in &self.item_errors {
            out.painted(Paint::Warn, format!("unreadable: {error}"));
        }
        let untold = self.stats.errors.saturating_sub(self.item_errors.len() as u64);
        if untold > 0 && !self.item_errors.is_empty() {
            out.painted(Paint::Warn, format!("and {untold} more"));
        }
        if let Some(error) = &self.error {
            out.painted(Paint::Bad, format!("why: {error}"));
            if let Some(hint) = &error.hint {
                out.line(format!("hint: {hint}"));
            }
        }
    }
}

fn outcome_paint(outcome: Outcome) -> Paint {
    match outcome {
        Outcome::Succeeded => Paint::Good,
        Outcome::Partial | Outcome::Cancelled => Paint::Warn,
        Outcome::Failed | Outcome::TimedOut | Outcome::Interrupted => Paint::Bad,
    }
}

impl Row for RunRecord {
    const COLUMNS: &'static [Column] = &[
        Column::left("RUN"),
        Column::left("ENDED"),
        Column::left("OUTCOME"),
        Column::right("TOOK"),
        Column::right("SIZE"),
        Column::right("ADDED"),
        Column::cut("WHY"),
    ];
    const EMPTY: &'static str = "no run has ended yet";

    fn cells(&self, style: &Style) -> Vec<String> {
        vec![
            self.id.to_string(),
            style.ago(Some(self.finished_at)),
            self.outcome.word().to_owned(),
            self.duration.to_string(),
            self.stats.size.to_string(),
            self.stats.added.to_string(),
            self.error
                .as_ref()
                .map_or_else(String::new, |error| error.message.clone()),
        ]
    }
}

/// A job and its latest runs.
#[derive(Debug, Serialize)]
struct JobShown {
    #[serde(flatten)]
    job: JobView,
    runs_ended: Vec<RunRecord>,
}

impl Render for JobShown {
    fn text(&self, out: &mut Text) {
        let job = &self.job;
        out.field("job", job.name.as_str());
        out.field("source", format!("{} ({})", job.source, job.kind));
        out.field("protects", &job.subject);
        out.field("repository", job.repository.as_str());
        let words = job.schedule_words.as_deref().unwrap_or("by hand");
        out.field("schedule", words);
        match (job.enabled, &job.disabled_reason) {
            (true, _) => out.maybe(
                "next",
                job.next_due
                    .map(|due| format!("{} ({})", moment(due), out.style.ago(Some(due)))),
            ),
            (false, None) => out.field("enabled", "NO"),
            (false, Some(reason)) => out.field("enabled", format!("NO: {reason}")),
        }
        out.field("proved to", job.verify.word());
        out.field("last success", out.style.ago(job.last_success_at));
        out.maybe("running", job.running.as_ref().map(RunId::as_str));
        if let Some(error) = &job.last_error {
            out.field("last error", &error.message);
            out.maybe("hint", error.hint.as_deref());
        }
        out.heading("Runs");
        Listing(self.runs_ended.clone()).text(out);
    }
}

async fn show(ctx: &Ctx, name: &str) -> Result<Exit, CliError> {
    let client = ctx.client().await?;
    let what = format!("job {name} cannot be shown");
    let overview = client
        .overview()
        .await
        .map_err(|error| CliError::from_client(&what, error))?;
    let job = find(overview.jobs, name)?;
    let runs = client.runs(&latest_of(name, 10)).await;
    let runs_ended = runs.map_err(|error| CliError::from_client(&what, error))?.items;
    ctx.print(&JobShown { job, runs_ended })?;
    Ok(Exit::Done)
}

fn find(jobs: Vec<JobView>, name: &str) -> Result<JobView, CliError> {
    let names: Vec<String> = jobs.iter().map(|job| job.name.to_string()).collect();
    jobs.into_iter().find(|job| job.name.as_str() == name).ok_or_else(|| {
        CliError::usage(format!("there is no job {name}"))
            .why(format!("the configuration defines: {}", names.join(", ")))
            .hint("see them with: lifeboat job list")
    })
}

fn latest_of(job: &str, limit: u32) -> Query {
    Query {
        job: Some(job.to_owned()),
        limit: Some(limit),
        ..Query::default()
    }
}

/// The text of a run's log.
#[derive(Debug, Serialize)]
struct RunLog {
    run: String,
    log: String,
}

impl Render for RunLog {
    fn text(&self, out: &mut Text) {
        for line in self.log.lines() {
            out.line(line);
        }
    }
}

async fn log(ctx: &Ctx, name: &str) -> Result<Exit, CliError> {
    let client = ctx.client().await?;
    let what = format!("the log of {name} cannot be shown");
    let run = match running(&client, name).await? {
        Some(run) => run.0,
        None if name.starts_with("run-") => name.to_owned(),
        None => {
            let page = client.runs(&latest_of(name, 1)).await;
            let page = page.map_err(|error| CliError::from_client(&what, error))?;
            let latest = page.items.into_iter().next().map(|record| record.id.0);
            latest.ok_or_else(|| {
                CliError::usage(what.clone())
                    .why(format!("no run of a job {name} is known"))
                    .hint("see the jobs with: lifeboat job list")
            })?
        }
    };
    let log = client
        .run_log(&run)
        .await
        .map_err(|error| CliError::from_client(what, error))?;
    ctx.print(&RunLog { run, log })?;
    Ok(Exit::Done)
}

async fn cancel(ctx: &Ctx, name: &str) -> Result<Exit, CliError> {
    let client = ctx.client().await?;
    let Some(run) = running(&client, name).await? else {
        return Err(CliError::usage(format!("{name} is not running")).hint("see what is with: lifeboat status"));
    };
    let message = format!("asked {run} to stop");
    let receipt = give(&client, Command::CancelRun { run }).await?;
    ctx.print(&Ordered { message, receipt })?;
    Ok(Exit::Done)
}

/// The live run of that job, or of that id.
async fn running(client: &Client, name: &str) -> Result<Option<RunId>, CliError> {
    let overview = client.overview().await;
    let overview = overview.map_err(|error| CliError::from_client("the state cannot be read", error))?;
    let mut runs = overview.runs.into_iter().map(|view| view.run);
    Ok(runs
        .find(|run| run.job.as_str() == name || run.id.as_str() == name)
        .map(|run| run.id))
}
