//! Another snapshot than the one a step found: whoever leads an execution says which, and why.
//!
//! A step that looks for the last clean snapshot goes by figures, and figures can be wrong. What people find by looking goes
//! before them. Every step that refers to what was found is then asked again from the beginning: what was proved of one
//! snapshot, and what a second engineer agreed to, says nothing of another.
//!
//! Never once something was done with the first: a restore that has begun is not talked into having been of another snapshot.

use super::Step;
use super::action::Action;
use super::observe::RunbookFact;
use super::run::{RunbookRun, StepRun, StepState, Word};
use super::template::{Values, instant};
use crate::domain::command::{Refusal, RefusalKind};
use crate::domain::id::SnapshotId;
use crate::domain::units::Timestamp;

/// Decides that a step is to have found another snapshot, whose data is of that `time`.
///
/// # Errors
/// When the step finds no snapshots or has not looked yet, or when something was done with what it found.
pub fn decide(
    run: &RunbookRun,
    at: usize,
    snapshot: &SnapshotId,
    time: Timestamp,
    word: Word,
) -> Result<RunbookFact, Refusal> {
    if let Some(why) = refused(run, at) {
        return Err(Refusal::interlock(why, "look at it again"));
    }
    let id = snapshot.as_str();
    if id.len() < 8 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Refusal {
            reason: format!("\"{id}\" is not the id of a snapshot"),
            hint: Some("give at least its first eight digits".to_owned()),
            kind: RefusalKind::Invalid,
        });
    }
    Ok(RunbookFact::Instead {
        step: run.runbook.steps[at].id.clone(),
        outputs: Values::from([
            ("snapshot".to_owned(), id.to_owned()),
            ("time".to_owned(), instant(time)),
        ]),
        word,
    })
}

/// Why a step cannot be told now that it should have found another snapshot; none when it can.
pub fn refused(run: &RunbookRun, at: usize) -> Option<String> {
    let (step, done) = (&run.runbook.steps[at], &run.steps[at]);
    if !matches!(step.action, Action::FindClean(_)) {
        return Some(format!("step {} looks for no snapshot", step.id));
    }
    if run.ending.is_some() {
        return Some(format!("{} is ending", run.id));
    }
    let looked = matches!(done.state, StepState::Done | StepState::Failed | StepState::Skipped);
    if !looked {
        return Some(format!("step {} is {}", step.id, done.state.word()));
    }
    let (acted, how) = run
        .rows()
        .filter(|(other, _)| refers_to(other, &step.id))
        .find(|(other, done)| is_bound(other, done))?;
    let known = run.values.get(&format!("{}.snapshot", step.id));
    let known = known.map_or(String::new(), |id| {
        format!(" with {}", SnapshotId::from(id.as_str()).short())
    });
    Some(format!("step {} is {}{known} already", acted.id, how.state.word()))
}

/// The step that looks for a snapshot of a job and could be told another now.
pub fn of_job(run: &RunbookRun, job: &str) -> Option<usize> {
    (0..run.runbook.steps.len()).find(|at| {
        let action = run.runbook.steps[*at].action.resolved(&run.values);
        matches!(action, Ok(Action::FindClean(find)) if find.job.text() == job) && refused(run, *at).is_none()
    })
}

/// Whether something is going on or was done in the world with what a step refers to.
fn is_bound(step: &Step, done: &StepRun) -> bool {
    let only_words = step.action.only_looks() || step.action.needs_a_person();
    done.state.is_live() || (done.started_at.is_some() && !only_words)
}

fn refers_to(step: &Step, found_by: &str) -> bool {
    let mut found = false;
    step.clone().visit(&mut |_, template| {
        found |= template.places().any(|(place, _)| {
            place
                .strip_prefix(found_by)
                .is_some_and(|rest| matches!(rest, ".snapshot" | ".time"))
        });
    });
    found
}

/// What it does to an execution.
pub(super) fn apply(run: &mut RunbookRun, at: Timestamp, step: &str, outputs: &Values, word: &Word) {
    for (name, value) in outputs {
        run.values.insert(format!("{step}.{name}"), value.clone());
    }
    let again: Vec<usize> = (0..run.steps.len().min(run.runbook.steps.len()))
        .filter(|place| refers_to(&run.runbook.steps[*place], step))
        .collect();
    for place in again {
        let attempt = run.steps[place].attempt;
        run.steps[place] = StepRun {
            attempt,
            ..StepRun::default()
        };
    }
    let Some(done) = run.step_mut(step) else { return };
    done.state = StepState::Done;
    done.error = None;
    done.outputs.clone_from(outputs);
    done.ended_at = done.ended_at.or(Some(at));
    done.note = Some(format!("chosen by {}: {}", word.by, word.text));
    run.words.push((format!("{step} told another snapshot"), word.clone()));
}
