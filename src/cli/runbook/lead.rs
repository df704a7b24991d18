//! Going through a run at a terminal, or watching it: what happens is written line by line, what it needs is asked for.
//!
//! Leaving is always possible and stops nothing. Where nobody can be asked, a run that waits for a person is left waiting, and
//! the exit code says so.

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use super::words::{Report, check_line, need_words};
use crate::api::Client;
use crate::api::types::{Overview, StreamItem};
use crate::cli::context::Ctx;
use crate::cli::error::{CliError, Exit};
use crate::cli::follow::connect;
use crate::domain::command::Command;
use crate::domain::event::Event;
use crate::domain::id::RunbookRunId;
use crate::domain::runbook::next::{self, Need};
use crate::domain::runbook::report::report;
use crate::domain::runbook::show::planned;
use crate::domain::runbook::{RunbookFact, RunbookOutcome, RunbookRecord, RunbookRun, Saying, Variable};

/// How long an agent that has gone may stay away before we stop waiting for it.
const AWAY: Duration = Duration::from_mins(2);

/// Asks for a value at the terminal.
///
/// # Errors
/// When nobody can be asked.
pub(super) fn ask_value(ctx: &Ctx, variable: &Variable) -> Result<String, CliError> {
    let hint = format!("say it with: --set {}=VALUE", variable.name);
    if !can_ask(ctx) {
        return Err(CliError::usage(format!("a value for {} is needed: {}", variable.name, variable.ask)).hint(hint));
    }
    ask(&format!("{} ({}): ", variable.ask, variable.kind.word()))
}

fn can_ask(ctx: &Ctx) -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && !ctx.out.json
}

fn ask(question: &str) -> Result<String, CliError> {
    let failed = |error: std::io::Error| CliError::cancelled("nothing was said").why(error);
    let mut err = std::io::stderr().lock();
    write!(err, "{question}").and_then(|()| err.flush()).map_err(failed)?;
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line).map_err(failed)? {
        0 => Err(CliError::cancelled("nothing was said")),
        _ => Ok(line.trim().to_owned()),
    }
}

/// Follows a run to its end; asks for what it needs when `only_watch` does not forbid it.
pub(super) async fn follow(ctx: &Ctx, client: &Client, id: &RunbookRunId, only_watch: bool) -> Result<Exit, CliError> {
    let interrupts = ctx.interrupts();
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut troubles = Vec::new();
    loop {
        let stream = connect(ctx, client, &interrupts, AWAY).await;
        let stream = stream.map_err(|error| CliError::from_client(format!("{id} cannot be followed"), error))?;
        let mut stream = stream.ok_or_else(|| left(id))?;
        loop {
            let item = tokio::select! {
                biased;
                () = interrupts.stop.cancelled() => return Err(left(id)),
                item = stream.next() => item,
            };
            match item {
                Some(Ok(StreamItem::Event { record })) => {
                    if let Event::Runbook { run, fact } = &record.event
                        && run == id
                    {
                        if let RunbookFact::Finished { record } = fact {
                            return end(ctx, record);
                        }
                        told(ctx, fact);
                    }
                }
                Some(Ok(StreamItem::Overview { overview })) => {
                    // What keeps all of it from going on has to be seen by whoever waits for it.
                    let now: Vec<String> = overview.troubles().collect();
                    if troubles != now {
                        for trouble in &now {
                            ctx.out.remark(trouble);
                        }
                        troubles = now;
                    }
                    let Some(run) = live(&overview, id) else {
                        return ended(ctx, client, id).await;
                    };
                    if let Some(exit) = needs(ctx, client, run, only_watch, &mut asked).await? {
                        return Ok(exit);
                    }
                }
                Some(Ok(StreamItem::Alive { .. })) => {}
                Some(Err(error)) if !error.is_unreachable() => {
                    return Err(CliError::from_client(format!("{id} cannot be followed"), error));
                }
                Some(Err(_)) | None => {
                    ctx.out.remark("the agent has gone; waiting for it");
                    break;
                }
            }
        }
    }
}

fn live<'a>(overview: &'a Overview, id: &RunbookRunId) -> Option<&'a RunbookRun> {
    overview
        .executions
        .iter()
        .map(|view| &view.run)
        .find(|run| run.id == *id)
}

fn left(id: &RunbookRunId) -> CliError {
    CliError::cancelled(format!("{id} goes on without you"))
        .hint(format!("come back with: lifeboat runbook resume {id}"))
}

async fn ended(ctx: &Ctx, client: &Client, id: &RunbookRunId) -> Result<Exit, CliError> {
    end(ctx, &super::ended(client, id.as_str()).await?)
}

fn end(ctx: &Ctx, record: &RunbookRecord) -> Result<Exit, CliError> {
    if ctx.out.json {
        ctx.print(&Report::of(record.clone(), report(record)))?;
    } else {
        let id = &record.run.id;
        ctx.out.remark(&format!(
            "{id} {} after {}; its report: lifeboat runbook report {id}",
            record.outcome.word(),
            record.took()
        ));
    }
    Ok(match record.outcome {
        RunbookOutcome::Completed => Exit::Done,
        RunbookOutcome::Deviated => Exit::Partial,
        RunbookOutcome::Aborted => Exit::Cancelled,
        RunbookOutcome::Failed | RunbookOutcome::Undone => Exit::Failed,
    })
}

fn told(ctx: &Ctx, fact: &RunbookFact) {
    ctx.out.remark(&fact.summary());
    if let RunbookFact::Checked { checked, .. } = fact {
        for result in &checked.results {
            ctx.out.remark(&check_line(result).1);
        }
    }
}

/// Asks for what the run needs, once for each state of it; an exit when nobody here can give it.
async fn needs(
    ctx: &Ctx,
    client: &Client,
    run: &RunbookRun,
    only_watch: bool,
    asked: &mut BTreeSet<String>,
) -> Result<Option<Exit>, CliError> {
    if run.paused.is_some() && run.ending.is_none() {
        return Ok(None);
    }
    let waits = next::waits(run);
    let busy = !next::work(run).is_empty() || run.steps.iter().any(|step| step.state.is_live());
    for (at, needs) in &waits {
        let (step, done) = (&run.runbook.steps[*at], &run.steps[*at]);
        // The same question is not asked twice of the same picture.
        let picture = format!("{}/{needs:?}/{}/{:?}", step.id, done.attempt, done.checked);
        if !asked.insert(picture) {
            continue;
        }
        if asked.insert(format!("{}/{}", step.id, done.attempt)) {
            for line in about(ctx, run, *at) {
                ctx.out.remark(&line);
            }
        }
        let words: Vec<String> = needs.iter().map(need_words).collect();
        ctx.out
            .remark(&format!("step {} waits for {}", step.id, words.join("; ")));
        let other = needs.iter().all(|need| matches!(need, Need::Approval { .. }));
        if other && can_ask(ctx) {
            continue;
        }
        if only_watch || !can_ask(ctx) {
            if busy {
                continue;
            }
            let hint = format!("go on with: lifeboat runbook resume {}", run.id);
            ctx.out.remark(&hint);
            if ctx.out.json {
                ctx.print(&Report::begun(&run.id))?;
            }
            return Ok(Some(Exit::Partial));
        }
        if let Some(saying) = answer(run, *at, needs)? {
            let command = Command::SayInRunbook {
                run: run.id.clone(),
                saying,
            };
            if let Err(error) = client.command(command).await {
                ctx.out.remark(&error.to_string());
                asked.clear();
            }
        }
    }
    Ok(None)
}

/// What whoever is asked for a word about a step has to know: what it does, how it is taken back, what was seen of it.
fn about(ctx: &Ctx, run: &RunbookRun, at: usize) -> Vec<String> {
    let (step, done) = (&run.runbook.steps[at], &run.steps[at]);
    let planned = planned(step, &run.values, run.drill);
    let mut lines = vec![format!(
        "step {} of {}, {}: {}",
        at + 1,
        run.steps.len(),
        step.id,
        planned.title
    )];
    if !step.why.is_empty() {
        lines.push(format!("     why: {}", step.why.filled(&run.values).text().trim()));
    }
    lines.push(format!("     does: {}", planned.does));
    lines.push(format!("     undo: {}", planned.undo));
    lines.extend(planned.proofs.iter().map(|proof| format!("     after: {proof}")));
    let seen = done
        .checked
        .iter()
        .flat_map(|checked| &checked.results)
        .chain(&done.evidence);
    lines.extend(seen.map(|result| check_line(result).1));
    if let Some(error) = &done.error {
        lines.push(format!("     failed: {error}"));
        lines.extend(error.hint.iter().map(|hint| format!("     hint: {hint}")));
    }
    let left = run.objective.map(|objective| (objective, run.elapsed(ctx.clock.now())));
    lines.extend(left.map(|(objective, elapsed)| format!("     time: {elapsed} of {objective}")));
    lines
}

/// Asks one step's question and reads the answer.
fn answer(run: &RunbookRun, at: usize, needs: &[Need]) -> Result<Option<Saying>, CliError> {
    let (step, attempt) = (run.runbook.steps[at].id.clone(), run.steps[at].attempt);
    let reason = || ask("why? ");
    if let Some(Need::Value { variable }) = needs.iter().find(|need| matches!(need, Need::Value { .. })) {
        let value = ask(&format!("{variable}: "))?;
        return Ok(Some(Saying::Set {
            name: variable.clone(),
            value,
        }));
    }
    let failed = needs.iter().any(|need| matches!(need, Need::Failure | Need::Doubt));
    let question = match needs.first() {
        Some(Need::UndoFailed) => "r again, l leave it: ",
        Some(Need::Doubt) => "r again, d it was done, s pass over, a abort: ",
        Some(Need::Failure) => "r again, s pass over, a abort: ",
        Some(Need::Obstacles(_)) => "c check again, o set aside, s pass over, a abort: ",
        Some(Need::Go { typed: Some(typed) }) => {
            &format!("type {typed} to go on; c check again, s pass over, a abort: ")
        }
        _ => "Enter to go on; c check again, s pass over, a abort: ",
    };
    let said = ask(question)?;
    Ok(Some(match said.as_str() {
        "c" => Saying::Recheck { step },
        "o" => Saying::Override {
            step,
            reason: reason()?,
        },
        "s" => Saying::Skip {
            step,
            reason: reason()?,
        },
        "r" if needs.contains(&Need::UndoFailed) => Saying::UndoAgain { step },
        "l" => Saying::UndoLeave {
            step,
            reason: reason()?,
        },
        "r" => Saying::Retry { step },
        "d" => Saying::WasDone {
            step,
            reason: reason()?,
        },
        "a" => {
            let undo = ask("take back what was done? y or n: ")? == "y";
            Saying::Abort {
                reason: reason()?,
                undo,
            }
        }
        _ if failed => return Ok(None),
        typed => Saying::Go {
            step,
            attempt,
            typed: Some(typed.to_owned()),
        },
    }))
}
