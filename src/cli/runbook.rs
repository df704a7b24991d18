//! `lifeboat runbook`: plans, begins, leads and reports runs of runbooks, all through the agent, which carries them out.
//!
//! A run belongs to the agent: whoever follows it here may leave at any time, and it goes on. At a terminal the steps ask for
//! what they need ([`lead`]); elsewhere every word is a command of its own.

mod lead;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use super::args::{BeginArgs, OfStep, OfStepBecause, RunArgs, RunbookCommand};
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::job::give;
use super::launch;
use super::output::Listing;
use super::recover::instant;
use super::views;
use crate::api::types::Query;
use crate::api::{Client, ClientError};
use crate::config::Config;
use crate::domain::command::Command;
use crate::domain::id::RunbookRunId;
use crate::domain::runbook::decide::undo_list;
use crate::domain::runbook::report::report;
use crate::domain::runbook::view::{ExecutionView, Ready, RunbookPlan};
use crate::domain::runbook::{Runbook, RunbookRecord, Saying, StartRunbook, next};
use words::{Document, Report};

/// How long an agent may take to read files that have changed.
const READ_WITHIN: Duration = Duration::from_secs(6);

/// Runs a verb of `lifeboat runbook`.
pub async fn run(command: RunbookCommand, ctx: &Ctx) -> Result<Exit, CliError> {
    match command {
        RunbookCommand::List => ctx.print(&Listing(views::overview(ctx).await?.runbooks))?,
        RunbookCommand::Show { name } => {
            ctx.print(&Document(document_of(ctx, &name).await?))?;
        }
        RunbookCommand::Ready { name } => {
            let client = ctx.client().await?;
            let found = client.ask_readiness(&name).await;
            let found = found.map_err(|error| CliError::from_client(format!("runbook {name}"), error))?;
            let refused = matches!(found.state, Ready::No { .. });
            ctx.print(&found)?;
            return Ok(if refused { Exit::Refused } else { Exit::Done });
        }
        RunbookCommand::Plan(args) => return plan(ctx, &args).await,
        RunbookCommand::Run(args) => return begin(ctx, args).await,
        RunbookCommand::Resume(of) => {
            let client = ctx.client().await?;
            let id = execution(&client, of.run.as_deref()).await?.run.id;
            return lead::follow(ctx, &client, &id, false).await;
        }
        RunbookCommand::Status { run } => {
            let mut live = views::overview(ctx).await?.executions;
            live.retain(|one| run.as_ref().is_none_or(|wanted| *wanted == one.run.id.0));
            if let (Some(run), true) = (run, live.is_empty()) {
                return Err(CliError::failed(format!("{run} is not under way")).hint("see lifeboat runbook history"));
            }
            ctx.print(&Listing(live))?;
        }
        RunbookCommand::Report { run, output } => return print_report(ctx, &run, output).await,
        RunbookCommand::History => {
            let client = ctx.client().await?;
            let page = client.executions(&Query::default()).await;
            let page = page.map_err(|error| CliError::from_client("there is no history", error))?;
            ctx.print(&Listing(page.items))?;
        }
        word => return say(ctx, word).await,
    }
    Ok(Exit::Done)
}

/// The document of a runbook: that of the agent when one runs; else as the files say, because it may be wanted on paper when no
/// agent can be had.
async fn document_of(ctx: &Ctx, name: &str) -> Result<Runbook, CliError> {
    let failed = |error| CliError::from_client(format!("runbook {name}"), error);
    let socket = ctx.socket();
    if ctx.global.embedded || socket.as_ref().is_ok_and(|socket| launch::answers(socket)) {
        return ctx.client().await?.runbook(name).await.map_err(failed);
    }
    let config = ctx.config()?;
    let found = config.definitions.runbooks.get(&name.into()).cloned();
    found.ok_or_else(|| {
        CliError::usage(format!("there is no runbook {name}")).hint("list them with: lifeboat runbook list")
    })
}

/// Reads `NAME=VALUE`, any number of times.
fn set(given: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let read = |text: &String| {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| CliError::usage(format!("--set {text} says no value")).hint("write --set NAME=VALUE"))?;
        Ok((name.trim().to_owned(), value.to_owned()))
    };
    given.iter().map(read).collect()
}

fn wish(args: &BeginArgs) -> Result<StartRunbook, CliError> {
    Ok(StartRunbook {
        runbook: args.name.as_str().into(),
        drill: args.drill,
        unattended: false,
        set: set(&args.set)?,
        hash: None,
        incident_at: None,
    })
}

async fn plan(ctx: &Ctx, args: &BeginArgs) -> Result<Exit, CliError> {
    let client = ctx.client().await?;
    let planned = planned(ctx, &client, &wish(args)?).await;
    let planned =
        planned.map_err(|error| CliError::from_client(format!("runbook {} has no plan", args.name), error))?;
    let refused = planned
        .steps
        .first()
        .is_some_and(|step| step.passed.is_none() && step.checks.iter().any(|check| !check.holds()));
    ctx.print(&planned)?;
    Ok(if refused || !planned.missing.is_empty() {
        Exit::Refused
    } else {
        Exit::Done
    })
}

/// The plan of what stands in the files now: the agent reads them every other second, and whoever has just corrected a runbook
/// must not be given the one before.
async fn planned(ctx: &Ctx, client: &Client, wish: &StartRunbook) -> Result<RunbookPlan, ClientError> {
    let known = ctx.config().ok();
    let own = async |config: &Config| {
        let seen = client.overview().await.ok()?;
        (seen.agent.config_path.as_deref() == config.path.to_str()).then_some(())
    };
    let wanted = match &known {
        Some(config) if own(config).await.is_some() => config.definitions.runbooks.get(&wish.runbook),
        _ => None,
    };
    let begun = ctx.clock.monotonic();
    loop {
        let planned = client.plan_runbook(wish.clone()).await;
        let Some(wanted) = wanted else { return planned };
        let fresh = planned.as_ref().is_ok_and(|planned| planned.hash == wanted.hash);
        // A value may be right in one version and wrong in the other.
        if fresh || ctx.clock.elapsed(begun) > READ_WITHIN {
            if let (false, Ok(planned)) = (fresh, &planned) {
                ctx.out.remark(&format!(
                    "the agent goes by version {}, the files here hold {}; see: lifeboat config check",
                    planned.hash.get(..8).unwrap_or_default(),
                    wanted.short_hash()
                ));
            }
            return planned;
        }
        ctx.clock.sleep(Duration::from_millis(200)).await;
    }
}

async fn begin(ctx: &Ctx, args: RunArgs) -> Result<Exit, CliError> {
    ctx.may_change("run a runbook")?;
    let client = ctx.client().await?;
    let mut wish = wish(&args.begin)?;
    wish.unattended = args.yes;
    wish.incident_at = args.incident.map(|text| instant(&text, ctx.clock.now())).transpose()?;
    let name = wish.runbook.clone();
    let failed = |error| CliError::from_client(format!("runbook {name} was not begun"), error);
    let planned = planned(ctx, &client, &wish).await.map_err(failed)?;
    if !ctx.out.json {
        ctx.print(&planned)?;
    }
    for variable in planned
        .missing
        .iter()
        .filter_map(|name| planned.variables.iter().find(|known| known.name == *name))
    {
        let value = lead::ask_value(ctx, variable)?;
        wish.set.insert(variable.name.clone(), value);
    }
    wish.hash = Some(planned.hash);
    let receipt = give(&client, Command::StartRunbook { wish }).await?;
    let Some(id) = receipt.runbook else {
        return Err(CliError::failed(format!("runbook {name} was not begun")));
    };
    if args.no_wait {
        ctx.out
            .remark(&format!("{id} began; go on with: lifeboat runbook resume {id}"));
        if ctx.out.json {
            ctx.print(&Report::begun(&id))?;
        }
        return Ok(Exit::Done);
    }
    lead::follow(ctx, &client, &id, args.yes).await
}

/// The execution that is meant: by its id, or the only one.
async fn execution(client: &Client, run: Option<&str>) -> Result<ExecutionView, CliError> {
    let overview = client
        .overview()
        .await
        .map_err(|error| CliError::from_client("the agent does not answer", error))?;
    let mut live = overview.executions;
    if let Some(run) = run {
        live.retain(|one| one.run.id.as_str() == run);
    }
    match live.len() {
        1 => Ok(live.remove(0)),
        0 => Err(CliError::failed(run.map_or_else(
            || "no runbook is under way".to_owned(),
            |run| format!("{run} is not under way"),
        ))
        .hint("see what ended with: lifeboat runbook history")),
        _ => {
            let ids: Vec<String> = live.iter().map(|one| one.run.id.to_string()).collect();
            Err(CliError::usage("several runbooks are under way").hint(format!("say which: {}", ids.join(", "))))
        }
    }
}

/// The step that is meant: by its name, or the only one that waits for somebody.
fn step_of(live: &ExecutionView, named: Option<String>) -> Result<String, CliError> {
    if let Some(step) = named {
        return Ok(step);
    }
    let waits = next::waits(&live.run);
    match waits.as_slice() {
        [(at, _)] => Ok(live.run.runbook.steps[*at].id.clone()),
        [] => Err(CliError::refused(format!("no step of {} waits for anybody", live.run.id)).hint("name the step")),
        several => {
            let names: Vec<&str> = several
                .iter()
                .map(|(at, _)| live.run.runbook.steps[*at].id.as_str())
                .collect();
            Err(CliError::usage("several steps wait").hint(format!("name one: {}", names.join(", "))))
        }
    }
}

async fn say(ctx: &Ctx, word: RunbookCommand) -> Result<Exit, CliError> {
    ctx.may_change("lead a runbook")?;
    let client = ctx.client().await?;
    let (run, saying) = saying(&client, word).await?;
    let ending = matches!(saying, Saying::Abort { .. });
    if ending {
        let live = execution(&client, Some(run.as_str())).await?;
        for (title, how) in undo_list(&live.run) {
            ctx.out.remark(&format!("was done: {title}; {how}"));
        }
    }
    let command = Command::SayInRunbook {
        run: run.clone(),
        saying,
    };
    give(&client, command).await?;
    if ending {
        // It ended as it was told to; what could not be taken back waits for a decision, and says so.
        return Ok(match lead::follow(ctx, &client, &run, true).await? {
            Exit::Partial => Exit::Partial,
            _ => Exit::Done,
        });
    }
    let said = execution(&client, Some(run.as_str())).await;
    if let Ok(live) = said {
        ctx.print(&Listing(vec![live]))?;
    } else {
        ctx.out
            .remark(&format!("{run} has ended; see: lifeboat runbook report {run}"));
        if ctx.out.json {
            ctx.print(&Listing(Vec::<ExecutionView>::new()))?;
        }
    }
    Ok(Exit::Done)
}

async fn saying(client: &Client, word: RunbookCommand) -> Result<(RunbookRunId, Saying), CliError> {
    let of_step = async |of: OfStep, say: fn(String) -> Saying| {
        let live = execution(client, Some(&of.run)).await?;
        let step = step_of(&live, of.step)?;
        Ok::<_, CliError>((live.run.id, say(step)))
    };
    let because = async |of: OfStepBecause, say: fn(String, String) -> Saying| {
        let live = execution(client, Some(&of.run)).await?;
        let step = step_of(&live, of.step)?;
        Ok::<_, CliError>((live.run.id, say(step, of.reason)))
    };
    let id = |run: String| RunbookRunId(run);
    match word {
        RunbookCommand::Go { run, step, typed } => {
            let live = execution(client, Some(&run)).await?;
            let step = step_of(&live, step)?;
            let attempt = live.run.row(&step).map_or(0, |(_, done)| done.attempt);
            Ok((live.run.id, Saying::Go { step, attempt, typed }))
        }
        RunbookCommand::Recheck(of) => of_step(of, |step| Saying::Recheck { step }).await,
        RunbookCommand::Approve(of) => of_step(of, |step| Saying::Approve { step }).await,
        RunbookCommand::Retry(of) => of_step(of, |step| Saying::Retry { step }).await,
        RunbookCommand::Override(of) => because(of, |step, reason| Saying::Override { step, reason }).await,
        RunbookCommand::Skip(of) => because(of, |step, reason| Saying::Skip { step, reason }).await,
        RunbookCommand::Done(of) => because(of, |step, reason| Saying::WasDone { step, reason }).await,
        RunbookCommand::Set { run, value } => {
            let mut values = set(&[value])?.into_iter();
            let (name, value) = values.next().unwrap_or_default();
            Ok((id(run), Saying::Set { name, value }))
        }
        RunbookCommand::Pause(of) => Ok((id(of.run), Saying::Pause { reason: of.reason })),
        RunbookCommand::Unpause(of) => Ok((execution(client, of.run.as_deref()).await?.run.id, Saying::Resume)),
        RunbookCommand::Take(of) => Ok((id(of.run), Saying::Take { reason: of.reason })),
        RunbookCommand::Abort { run, reason, undo } => Ok((id(run), Saying::Abort { reason, undo })),
        RunbookCommand::Undo { run, step, leave: None } => Ok((id(run), Saying::UndoAgain { step })),
        RunbookCommand::Undo {
            run,
            step,
            leave: Some(reason),
        } => Ok((id(run), Saying::UndoLeave { step, reason })),
        _ => Err(CliError::usage("there is nothing to say")),
    }
}

/// A run that has ended: by its id, or the last one of a runbook.
async fn ended(client: &Client, run: &str) -> Result<RunbookRecord, CliError> {
    let failed = |error| CliError::from_client(format!("there is no report of {run}"), error);
    let by_id = Query {
        id: Some(run.to_owned()),
        limit: Some(1),
        ..Query::default()
    };
    if let Some(record) = client
        .executions(&by_id)
        .await
        .map_err(failed)?
        .items
        .into_iter()
        .next()
    {
        return Ok(record);
    }
    let recent = client
        .executions(&Query {
            limit: Some(200),
            ..Query::default()
        })
        .await
        .map_err(failed)?;
    let last = recent.items.into_iter().find(|record| record.name().as_str() == run);
    last.ok_or_else(|| {
        CliError::failed(format!("there is no run {run} that has ended")).hint("see: lifeboat runbook history")
    })
}

async fn print_report(ctx: &Ctx, run: &str, output: Option<std::path::PathBuf>) -> Result<Exit, CliError> {
    let record = ended(&ctx.client().await?, run).await?;
    let text = report(&record);
    if let Some(path) = output {
        std::fs::write(&path, &text)
            .map_err(|error| CliError::failed(format!("{} cannot be written", path.display())).why(error))?;
        ctx.out.remark(&format!("the report is in {}", path.display()));
        return Ok(Exit::Done);
    }
    ctx.print(&Report::of(record, text))?;
    Ok(Exit::Done)
}
