//! `lifeboat retention`: what is kept of each job's snapshots and why, and putting the rest in the trash.

use serde::Serialize;

use super::args::RetentionCommand;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::job::{Ordered, give};
use super::output::{Column, Paint, Render, Text, moment, short};
use crate::api::Client;
use crate::api::types::RetentionPlan;
use crate::domain::Millis;
use crate::domain::command::Command;
use crate::domain::id::JobName;

/// Runs a verb of `lifeboat retention`.
pub async fn run(command: RetentionCommand, ctx: &Ctx) -> Result<Exit, CliError> {
    let client = ctx.client().await?;
    match command {
        RetentionCommand::Plan { job } => {
            ctx.print(&Plans(plans(&client, job).await?))?;
            Ok(Exit::Done)
        }
        RetentionCommand::Apply { job, yes } => apply(ctx, &client, job, yes).await,
    }
}

/// The plans of one job, or of every job with a policy.
async fn plans(client: &Client, job: Option<String>) -> Result<Vec<RetentionPlan>, CliError> {
    let failed = |error| CliError::from_client("what is kept cannot be shown", error);
    let jobs: Vec<String> = if let Some(job) = job {
        vec![job]
    } else {
        let jobs = client.overview().await.map_err(failed)?.jobs.into_iter();
        jobs.filter(|job| job.retention.is_some())
            .map(|job| job.name.0)
            .collect()
    };
    let mut plans = Vec::new();
    for job in jobs {
        plans.push(client.retention(&job).await.map_err(failed)?);
    }
    Ok(plans)
}

async fn apply(ctx: &Ctx, client: &Client, job: Option<String>, yes: Option<String>) -> Result<Exit, CliError> {
    let name = job.clone().unwrap_or_else(|| "all".to_owned());
    if let Some(typed) = yes.as_ref().filter(|typed| **typed != name) {
        return Err(CliError::refused("retention was not applied; nothing was changed")
            .why(format!("\"{typed}\" is not {name}"))
            .hint(format!("confirm with: --yes {name}")));
    }
    let command = Command::ApplyRetention {
        job: job.map(JobName),
        confirmed: yes.is_some(),
    };
    let receipt = give(client, command).await?;
    if receipt.maintenance.is_empty() {
        let message = "nothing has to go".to_owned();
        ctx.print(&Ordered { message, receipt })?;
        return Ok(Exit::Done);
    }
    let records = super::keep::wait(ctx, client, &receipt, "forgetting").await?;
    super::keep::show(ctx, records)
}

/// What is kept of the snapshots of several jobs.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Plans(Vec<RetentionPlan>);

const COLUMNS: &[Column] = &[
    Column::left("SNAPSHOT"),
    Column::left("TAKEN (UTC)"),
    Column::left("FATE"),
    Column::right("LEFT"),
    Column::cut("WHY"),
];

impl Render for Plans {
    fn text(&self, out: &mut Text) {
        if self.0.is_empty() {
            out.line("no job has a retention policy; everything is kept");
        }
        for plan in &self.0 {
            let policy = plan.policy.as_deref().unwrap_or("everything, it has no policy");
            out.heading(&format!("Job {}", plan.job));
            out.field("keeps", policy);
            let going = plan.decisions.iter().filter(|decision| !decision.keep).count();
            out.field("now", format!("{} stay, {going} go", plan.decisions.len() - going));
            if let Some(over) = plan.over {
                out.painted(
                    Paint::Warn,
                    format!(
                        "at most {} may go at once; confirm with: lifeboat retention apply --job {} --yes {}",
                        over.allowed, plan.job, plan.job
                    ),
                );
            }
            let now = out.style.now;
            let row = |decision: &crate::domain::retention::Decision| {
                let left = decision.until.map(|until| short(Millis::between(now, until)));
                vec![
                    decision.snapshot.short().to_owned(),
                    moment(decision.taken_at),
                    if decision.keep { "keep" } else { "GO" }.to_owned(),
                    left.unwrap_or_else(|| "-".to_owned()),
                    decision.why(),
                ]
            };
            let rows: Vec<_> = plan.decisions.iter().map(row).collect();
            if !rows.is_empty() {
                out.table(COLUMNS, &rows);
            }
        }
    }
}
