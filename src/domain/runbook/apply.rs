//! What a fact does to an execution.

use std::collections::BTreeMap;

use super::check::PLAN;
use super::observe::{RunbookFact, StepEnd};
use super::run::{Cause, Checked, RunbookOutcome, RunbookRecord, StepRun, StepState};
use crate::domain::id::RunbookRunId;
use crate::domain::state::State;
use crate::domain::units::{Millis, Timestamp};

use serde::{Deserialize, Serialize};

/// What is known of a runbook from its executions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunbookFacts {
    /// Its last drill.
    pub last_drill: Option<LastRun>,
    /// Its last use in earnest.
    pub last_real: Option<LastRun>,
    /// When an agent last went through it by itself, by the cluster it was about.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub automatic: BTreeMap<String, Timestamp>,
}

/// How an execution ended, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// Which.
    pub run: RunbookRunId,
    /// When it ended.
    pub at: Timestamp,
    /// How.
    pub outcome: RunbookOutcome,
    /// How long it took.
    pub took: Millis,
    /// The hash of the document it went by.
    pub hash: String,
}

/// Applies a fact about an execution.
pub fn apply(state: &mut State, id: &RunbookRunId, at: Timestamp, fact: &RunbookFact) {
    match fact {
        RunbookFact::Started { execution } => {
            state.runbooks.insert(id.clone(), (**execution).clone());
            return;
        }
        RunbookFact::Finished { record } => {
            state.runbooks.remove(id);
            remember(state, record);
            return;
        }
        _ => {}
    }
    let Some(run) = state.runbooks.get_mut(id) else {
        return;
    };
    match fact {
        RunbookFact::ValueSet { name, value, .. } => {
            run.values.insert(name.clone(), value.clone());
            // What was seen with another value is not what will be acted on.
            for step in run.steps.iter_mut().filter(|step| step.state == StepState::Pending) {
                step.checked = None;
            }
        }
        RunbookFact::Paused { word } => {
            run.paused = Some(word.clone());
            run.words.push(("paused".to_owned(), word.clone()));
        }
        RunbookFact::Resumed { word } => {
            run.paused = None;
            run.words.push(("resumed".to_owned(), word.clone()));
        }
        RunbookFact::Taken { word } => {
            run.held_by.clone_from(&word.by);
            run.words.push(("taken over".to_owned(), word.clone()));
        }
        RunbookFact::Ending { ending } => run.ending = Some(ending.clone()),
        RunbookFact::Instead { step, outputs, word } => super::instead::apply(run, at, step, outputs, word),
        about_a_step => apply_step(run, at, about_a_step),
    }
    // What people said since a look, they said about a picture that is old by now.
    match fact {
        RunbookFact::Paused { .. } | RunbookFact::Resumed { .. } | RunbookFact::Taken { .. } => {
            run.steps.iter_mut().for_each(|step| step.looks = 0);
        }
        RunbookFact::Released { step, .. }
        | RunbookFact::Approved { step, .. }
        | RunbookFact::Overridden { step, .. } => {
            run.step_mut(step).into_iter().for_each(|step| step.looks = 0);
        }
        _ => {}
    }
}

fn remember(state: &mut State, record: &RunbookRecord) {
    let facts = state.runbook_facts.entry(record.name().clone()).or_default();
    let last = Some(LastRun {
        run: record.run.id.clone(),
        at: record.finished_at,
        outcome: record.outcome,
        took: record.took(),
        hash: record.run.runbook.hash.clone(),
    });
    let by_itself = matches!(record.run.cause, Cause::Auto { .. });
    if let Some(cluster) = record.run.values.get("cluster").filter(|_| by_itself) {
        facts.automatic.insert(cluster.clone(), record.finished_at);
    }
    if record.run.drill {
        facts.last_drill = last;
    } else {
        facts.last_real = last;
    }
}

fn apply_step(run: &mut super::RunbookRun, at: Timestamp, fact: &RunbookFact) {
    let (RunbookFact::Checked { step: name, .. }
    | RunbookFact::Recheck { step: name, .. }
    | RunbookFact::Released { step: name, .. }
    | RunbookFact::Approved { step: name, .. }
    | RunbookFact::Overridden { step: name, .. }
    | RunbookFact::StepStarted { step: name, .. }
    | RunbookFact::StepInDoubt { step: name }
    | RunbookFact::StepUnresolved { step: name, .. }
    | RunbookFact::StepEnded { step: name, .. }
    | RunbookFact::StepPassed { step: name, .. }
    | RunbookFact::StepAgain { step: name, .. }
    | RunbookFact::UndoStarted { step: name, .. }
    | RunbookFact::UndoEnded { step: name, .. }
    | RunbookFact::UndoAgain { step: name, .. }
    | RunbookFact::UndoLeft { step: name, .. }) = fact
    else {
        return;
    };
    if let RunbookFact::StepEnded { end, .. } = fact {
        for (output, value) in &end.outputs {
            run.values.insert(format!("{name}.{output}"), value.clone());
        }
    }
    let Some(step) = run.step_mut(name) else { return };
    match fact {
        RunbookFact::Checked { checked, .. } => looked(step, checked),
        RunbookFact::Recheck { .. } => step.checked = None,
        RunbookFact::Released { word, .. } => step.released = Some(word.clone()),
        RunbookFact::Approved { word, .. } => step.approvals.push(word.clone()),
        RunbookFact::Overridden { aside, .. } => step.overridden = Some(aside.clone()),
        RunbookFact::StepStarted { attempt, did, .. } => {
            step.state = StepState::Acting;
            step.attempt = *attempt;
            step.did = Some(did.clone());
            step.started_at = Some(at);
            step.ended_at = None;
            step.error = None;
            step.evidence.clear();
        }
        RunbookFact::StepInDoubt { .. } => {
            step.state = StepState::InDoubt;
            step.evidence.clear();
        }
        RunbookFact::StepUnresolved { evidence, .. } => step.evidence.clone_from(evidence),
        RunbookFact::StepEnded { end, .. } => ended(step, at, end),
        RunbookFact::StepPassed { state, note, .. } => {
            step.state = *state;
            step.note = Some(note.clone());
            step.ended_at = Some(at);
        }
        RunbookFact::StepAgain { by, .. } => again(step, by == "agent"),
        RunbookFact::UndoStarted { .. } => step.state = StepState::Undoing,
        RunbookFact::UndoEnded { error, .. } => {
            step.state = if error.is_none() {
                StepState::Undone
            } else {
                StepState::UndoFailed
            };
            step.error.clone_from(error);
            step.note = None;
        }
        RunbookFact::UndoAgain { .. } => step.state = StepState::Done,
        RunbookFact::UndoLeft { word, .. } => step.note = Some(format!("left as it is by {}: {}", word.by, word.text)),
        _ => {}
    }
}

/// A go that was said of one plan says nothing of another.
fn looked(step: &mut StepRun, checked: &Checked) {
    let plan = |checked: &Checked| {
        let line = checked.results.iter().find(|result| result.title == PLAN);
        line.map(|result| result.detail.clone())
    };
    if step
        .checked
        .as_ref()
        .is_some_and(|before| plan(before) != plan(checked))
    {
        step.released = None;
    }
    step.checked = Some(checked.clone());
    step.looks = step.looks.saturating_add(1);
}

fn ended(step: &mut StepRun, at: Timestamp, end: &StepEnd) {
    step.state = if end.error.is_none() {
        StepState::Done
    } else {
        StepState::Failed
    };
    step.ended_at = Some(at);
    step.outputs.clone_from(&end.outputs);
    step.evidence.clone_from(&end.evidence);
    step.error.clone_from(&end.error);
    step.recovered = end.recovered;
    step.note.clone_from(&end.note);
}

/// Makes a step ready to be done once more. What people said of the last attempt counts only when they did not have to look
/// at what became of it.
fn again(step: &mut StepRun, by_itself: bool) {
    step.state = StepState::Pending;
    step.checked = None;
    step.evidence.clear();
    step.ended_at = None;
    if !by_itself {
        step.released = None;
        step.overridden = None;
    }
}
