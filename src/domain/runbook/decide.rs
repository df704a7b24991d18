//! From a person's word to events, or to a refusal that says who was first and what to do instead.

use std::collections::BTreeMap;

use super::next::{self, Need, Next};
use super::observe::{RunbookFact, StepEnd};
use super::run::{Cause, Ending, Override, RunbookRun, StepRun, StepState, Word};
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
            of_step(context, actor, run, at, saying)?
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

fn of_step(
    context: &Context<'_>,
    actor: &Actor,
    run: &RunbookRun,
    at: usize,
    saying: &Saying,
) -> Result<Option<RunbookFact>, Refusal> {
    let done = &run.steps[at];
    let step = run.runbook.steps[at].id.clone();
    let word = |text: &str| word(context, actor, text);
    let by = actor.name.clone();
    let its_turn = run.ending.is_none() && next::current(run).contains(&at);
    let not_now = || Err(too_late(run, at));
    let pending = its_turn && done.state == StepState::Pending;
    Ok(Some(match saying {
        Saying::Go { attempt, typed, .. } => return go(context, actor, run, at, *attempt, typed.as_deref()),
        Saying::Instead {
            snapshot, time, reason, ..
        } => super::instead::decide(run, at, snapshot, *time, word(reason))?,
        Saying::Recheck { .. } if pending => RunbookFact::Recheck { step, by },
        Saying::Approve { .. } if pending => {
            let two_person = run.runbook.steps[at].needs.two_person;
            if two_person && run.held_by == actor.name {
                return Err(Refusal::interlock(
                    format!("step {step} needs the word of somebody else than {}", run.held_by),
                    "ask a second engineer to agree from a console of their own",
                ));
            }
            if done.approvals.iter().any(|known| known.by == actor.name) {
                return Ok(None);
            }
            RunbookFact::Approved { step, word: word("") }
        }
        Saying::Override { reason, .. } if pending => {
            let checks: Vec<String> = done.obstacles().map(|check| check.title.clone()).collect();
            if checks.is_empty() {
                return Err(Refusal::conflict(
                    format!("nothing stands in the way of step {step}"),
                    None,
                ));
            }
            // What was set aside before stays so.
            let before = done.overridden.iter().flat_map(|aside| aside.checks.iter().cloned());
            let aside = Override {
                word: word(reason),
                checks: before.chain(checks).collect(),
            };
            RunbookFact::Overridden { step, aside }
        }
        Saying::Skip { reason, .. } if its_turn && skippable(done) => RunbookFact::StepPassed {
            step,
            state: StepState::Skipped,
            note: reason.trim().to_owned(),
            by,
        },
        Saying::Retry { .. } if its_turn && skippable(done) && done.state != StepState::Pending => {
            RunbookFact::StepAgain { step, by }
        }
        Saying::WasDone { reason, .. } if its_turn && done.state == StepState::InDoubt => RunbookFact::StepEnded {
            step,
            end: Box::new(StepEnd {
                evidence: done.evidence.clone(),
                recovered: true,
                note: Some(format!("{} says it was done: {}", actor.name, reason.trim())),
                ..StepEnd::default()
            }),
        },
        Saying::UndoAgain { .. } if next::of_step(run, at) == Next::Wait(vec![Need::UndoFailed]) => {
            RunbookFact::UndoAgain { step, by }
        }
        Saying::UndoLeave { reason, .. } if next::of_step(run, at) == Next::Wait(vec![Need::UndoFailed]) => {
            RunbookFact::UndoLeft {
                step,
                word: word(reason),
            }
        }
        _ => return not_now(),
    }))
}

/// Whether a step can be passed over or done again: nothing of it may be going on.
fn skippable(done: &StepRun) -> bool {
    matches!(done.state, StepState::Pending | StepState::Failed | StepState::InDoubt)
}

fn go(
    context: &Context<'_>,
    actor: &Actor,
    run: &RunbookRun,
    at: usize,
    attempt: u32,
    typed: Option<&str>,
) -> Result<Option<RunbookFact>, Refusal> {
    let done = &run.steps[at];
    let step = run.runbook.steps[at].id.clone();
    if attempt != done.attempt || done.released.is_some() {
        return Err(too_late(run, at));
    }
    let Next::Wait(needs) = next::of_step(run, at) else {
        return Err(too_late(run, at));
    };
    if needs.iter().any(|need| matches!(need, Need::Obstacles(_))) {
        return Err(Refusal::interlock(
            format!("a check before step {step} does not hold"),
            "mend it and check again, or set it aside with a reason",
        ));
    }
    if needs.iter().any(|need| matches!(need, Need::Approval { .. })) {
        return Err(Refusal::interlock(
            format!("nobody has agreed to step {step} yet"),
            "ask a second engineer to agree from a console of their own",
        ));
    }
    let text = match needs.iter().find(|need| matches!(need, Need::Go { .. } | Need::Done)) {
        Some(Need::Go { typed: Some(wanted) }) if typed.map(str::trim) != Some(wanted) => {
            return Err(Refusal::interlock(
                format!("step {step} needs its target typed"),
                format!("type {wanted}"),
            ));
        }
        Some(_) => typed.unwrap_or_default().to_owned(),
        None => return Err(too_late(run, at)),
    };
    let word = word(context, actor, &text);
    Ok(Some(RunbookFact::Released { step, word }))
}

/// Why a word comes too late, or too early.
fn too_late(run: &RunbookRun, at: usize) -> Refusal {
    let (step, done) = (&run.runbook.steps[at], &run.steps[at]);
    let id = &step.id;
    let reason = match done.state {
        _ if run.ending.is_some() => format!("{} is ending", run.id),
        StepState::Acting => {
            let by = done.released.as_ref().map_or("the agent", |word| word.by.as_str());
            format!("step {id} is already under way, begun by {by}")
        }
        StepState::Pending if done.released.is_some() => {
            let by = done.released.as_ref().map_or("", |word| word.by.as_str());
            format!("{by} has already said go to step {id}")
        }
        StepState::Pending => format!("it is not the turn of step {id}"),
        other => format!("step {id} is {} by now", other.word()),
    };
    Refusal::conflict(reason, Some("look at it again"))
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
            let title = step.title.resolve(&run.values).unwrap_or_else(|_| step.title.text());
            (title, how)
        })
        .collect()
}
