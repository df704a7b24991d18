//! What a person says about one step: refused when it is not its turn, when somebody else was first, or when something is missing.

use super::word;
use crate::domain::command::{Actor, Refusal};
use crate::domain::decide::Context;
use crate::domain::runbook::action::Action;
use crate::domain::runbook::next::{self, Need, Next};
use crate::domain::runbook::observe::{RunbookFact, StepEnd};
use crate::domain::runbook::run::{Override, RunbookRun, StepRun, StepState};
use crate::domain::runbook::saying::Saying;

pub(super) fn of_step(
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
        } => crate::domain::runbook::instead::decide(run, at, snapshot, *time, word(reason))?,
        Saying::Recheck { .. } if pending => RunbookFact::Recheck { step, by },
        Saying::Approve { .. } if pending => {
            let document = &run.runbook.steps[at];
            let two_person = document.needs.two_person;
            let asks = two_person || document.needs.approval || matches!(document.action, Action::Approve(_));
            if !asks {
                return Err(Refusal::conflict(
                    format!("step {step} needs nobody's word"),
                    Some("see what it waits for with: lifeboat runbook status"),
                ));
            }
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
