//! From a person's word to events, or to a refusal that says who was first and what to do instead.

mod step;

use std::collections::BTreeMap;

use super::next;
use super::observe::RunbookFact;
use super::run::{Cause, Ending, RunbookRun, StepRun, Word};
use super::saying::{Saying, StartRunbook};
use super::template::Values;
use super::{Runbook, Step, Undo, values};
use crate::domain::command::{Actor, Refusal, RefusalKind};
use crate::domain::decide::Context;
use crate::domain::event::Event;
use crate::domain::id::{RunbookRunId, ServiceName, time_ordered_id};
use crate::domain::units::Millis;

fn invalid(reason: impl Into<String>, hint: &str) -> Refusal {
    Refusal {
        reason: reason.into(),
        hint: Some(hint.to_owned()),
        kind: RefusalKind::Invalid,
    }
}

/// The values that are known without being said.
pub fn built_in(context: &Context<'_>, id: &RunbookRunId, drill: bool, by: &str, host: &str) -> Values {
    let mode = if drill { "drill" } else { "real" };
    let definitions = context.definitions;
    BTreeMap::from([
        ("run".to_owned(), id.to_string()),
        ("mode".to_owned(), mode.to_owned()),
        ("by".to_owned(), by.to_owned()),
        ("host".to_owned(), host.to_owned()),
        ("site".to_owned(), definitions.site.clone()),
        ("environment".to_owned(), definitions.environment.clone()),
    ])
}

/// Makes the execution that a wish would begin; nothing has happened yet.
///
/// # Errors
/// When there is no such runbook, it is another than was looked at, or a value is wrong.
pub fn prepare(
    context: &Context<'_>,
    by: &str,
    cause: Cause,
    wish: &StartRunbook,
) -> Result<(RunbookRun, Vec<String>), Refusal> {
    let list = "list them with: lifeboat runbook list";
    let Some(runbook) = context.definitions.runbooks.get(&wish.runbook) else {
        return Err(Refusal::not_found(
            format!("there is no runbook {}", wish.runbook),
            list,
        ));
    };
    if wish.hash.as_ref().is_some_and(|hash| *hash != runbook.hash) {
        return Err(Refusal::interlock(
            format!("runbook {} has changed since it was shown", wish.runbook),
            "nothing was done; look at the new plan and confirm it",
        ));
    }
    let id = RunbookRunId(time_ordered_id("rb", context.now, context.unique));
    let host = context.state.agent.as_ref().map_or("", |agent| agent.host.as_str());
    let known = built_in(context, &id, wish.drill, by, host);
    let filled = values::fill(runbook, &wish.set, known, context.definitions);
    let (known, missing) = filled.map_err(|problems| {
        invalid(
            problems.join("; "),
            "say them with --set NAME=VALUE, or choose them when asked",
        )
    })?;
    let run = RunbookRun {
        id,
        drill: wish.drill,
        unattended: wish.unattended,
        cause,
        started_by: by.to_owned(),
        started_at: context.now,
        incident_at: wish.incident_at.filter(|at| *at <= context.now),
        objective: runbook.objective.or_else(|| promised(context, runbook, &known)),
        steps: vec![StepRun::default(); runbook.steps.len()],
        runbook: runbook.clone(),
        values: known,
        held_by: by.to_owned(),
        paused: None,
        ending: None,
        words: Vec::new(),
    };
    Ok((run, missing))
}

/// What the service of the runbook's variables promises.
fn promised(context: &Context<'_>, runbook: &Runbook, known: &Values) -> Option<Millis> {
    let services = &context.definitions.services;
    let of = |wanted: &str| {
        let variable = runbook
            .variables
            .iter()
            .find(|variable| variable.kind.word() == wanted)?;
        known.get(&variable.name)
    };
    let named = of("service").and_then(|name| services.get(&ServiceName::from(name.as_str())));
    let by_source = || {
        let source = of("source")?.as_str().into();
        services.get(&context.definitions.service_of(&source)?)
    };
    named.or_else(by_source).map(|service| service.objective.rto)
}

/// Begins an execution.
///
/// # Errors
/// As [`prepare`]; and when the runbook is being executed already, or values are missing that nobody would be asked for.
pub fn start(context: &Context<'_>, actor: &Actor, cause: Cause, wish: &StartRunbook) -> Result<Vec<Event>, Refusal> {
    let (run, missing) = prepare(context, &actor.name, cause, wish)?;
    if !missing.is_empty() {
        let text = format!("runbook {} needs a value for {}", wish.runbook, missing.join(", "));
        return Err(invalid(text, "say it with --set NAME=VALUE"));
    }
    // The same thing twice on the same targets is never meant; a drill beside the real thing would be in its way.
    let same = |live: &&RunbookRun| {
        live.runbook.name == run.runbook.name
            && live.runbook.variables.iter().all(|variable| {
                let name = &variable.name;
                variable.chosen || live.values.get(name) == run.values.get(name)
            })
    };
    if let Some(live) = context.state.runbooks.values().find(same) {
        let hint = format!("go on with it: lifeboat runbook resume {}", live.id);
        return Err(Refusal::conflict(
            format!(
                "{} is already going through runbook {}, begun by {}",
                live.id, wish.runbook, live.started_by
            ),
            Some(&hint),
        ));
    }
    Ok(vec![Event::Runbook {
        run: run.id.clone(),
        fact: RunbookFact::Started {
            execution: Box::new(run),
        },
    }])
}

/// Decides what a person says in an execution.
///
/// # Errors
/// When somebody else leads it or was first, when it is not the time for it, or when a reason is missing.
pub fn say(context: &Context<'_>, actor: &Actor, id: &RunbookRunId, saying: &Saying) -> Result<Vec<Event>, Refusal> {
    let Some(run) = context.state.runbooks.get(id) else {
        return Err(Refusal::not_found(
            format!("{id} is not under way"),
            "see what is with: lifeboat runbook list",
        ));
    };
    if saying.reason().is_some_and(|reason| reason.trim().is_empty()) {
        return Err(invalid("a reason is needed", "it goes into the report"));
    }
    let free = matches!(
        saying,
        Saying::Approve { .. } | Saying::Pause { .. } | Saying::Take { .. }
    );
    if run.held_by != actor.name && !free {
        return Err(Refusal::conflict(
            format!("{id} is led by {}", run.held_by),
            Some("agree to a step, pause it, or take it over with a reason"),
        ));
    }
    let fact = match saying.step() {
        Some(step) => {
            let Some(at) = run.runbook.position(step) else {
                return Err(Refusal::not_found(
                    format!("{id} has no step {step}"),
                    "look at it again",
                ));
            };
            step::of_step(context, actor, run, at, saying)?
        }
        None => of_run(context, actor, run, saying)?,
    };
    Ok(fact
        .map(|fact| Event::Runbook { run: id.clone(), fact })
        .into_iter()
        .collect())
}

fn word(context: &Context<'_>, actor: &Actor, text: &str) -> Word {
    Word {
        by: actor.name.clone(),
        at: context.now,
        text: text.trim().to_owned(),
    }
}

fn of_run(
    context: &Context<'_>,
    actor: &Actor,
    run: &RunbookRun,
    saying: &Saying,
) -> Result<Option<RunbookFact>, Refusal> {
    let word = |text: &str| word(context, actor, text);
    Ok(Some(match saying {
        Saying::Pause { .. } if run.paused.is_some() => return Ok(None),
        Saying::Pause { reason } => RunbookFact::Paused { word: word(reason) },
        Saying::Resume if run.paused.is_none() => return Ok(None),
        Saying::Resume => RunbookFact::Resumed { word: word("") },
        Saying::Take { .. } if run.held_by == actor.name => return Ok(None),
        Saying::Take { reason } => RunbookFact::Taken { word: word(reason) },
        Saying::Set { name, value } => {
            let Some(variable) = run.runbook.variables.iter().find(|known| known.name == *name) else {
                return Err(Refusal::not_found(
                    format!("there is no variable {name}"),
                    "look at it again",
                ));
            };
            let used = |(step, done): (&Step, &StepRun)| done.started_at.is_some() && refers_to(step, name);
            if run.values.contains_key(name) && run.rows().any(used) {
                return Err(Refusal::interlock(
                    format!("a step has acted on {name} = {} already", run.values[name]),
                    "abort this run and begin another",
                ));
            }
            let value = values::check(variable, value, &run.values, context.definitions)
                .map_err(|problem| invalid(problem, "choose one that is known"))?;
            let (name, by) = (name.clone(), actor.name.clone());
            RunbookFact::ValueSet { name, value, by }
        }
        Saying::Abort { .. } if run.ending.is_some() => {
            return Err(Refusal::conflict(format!("{} is ending already", run.id), None));
        }
        Saying::Abort { reason, undo } => RunbookFact::Ending {
            ending: Ending {
                word: word(reason),
                undo: *undo,
                failed: false,
            },
        },
        _ => return Ok(None),
    }))
}

fn refers_to(step: &Step, name: &str) -> bool {
    let mut found = false;
    step.clone()
        .visit(&mut |_, template| found |= template.places().any(|(place, _)| place == name));
    found
}

/// What was done and what of it can be taken back, for somebody who is about to end it.
pub fn undo_list(run: &RunbookRun) -> Vec<(String, String)> {
    let rows: Vec<_> = run.rows().filter(|(_, done)| done.started_at.is_some()).collect();
    rows.into_iter()
        .rev()
        .map(|(step, done)| {
            let how = match &step.undo {
                Undo::Action(_) if next::can_be_undone(step, done) => {
                    let words = match &step.undo {
                        Undo::Action(action) => action
                            .resolved(&run.values)
                            .map_or_else(|_| action.words(), |a| a.words()),
                        other => other.words(),
                    };
                    format!("taken back by: {words}")
                }
                other => other.words(),
            };
            let title = step.title.sentence(&run.values);
            (title, how)
        })
        .collect()
}
