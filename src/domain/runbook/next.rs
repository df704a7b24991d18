//! What happens next in an execution: a function of the execution alone, so that after a crash a replay and one look go on
//! where it was.
//!
//! The rule for a step in doubt, which was acting when its agent died:
//!
//! | its verification | `idempotent`, `resumable` | `once` |
//! | --- | --- | --- |
//! | holds | done, recovered | done, recovered |
//! | does not hold | again | a person decides |
//! | cannot tell | a person decides | a person decides |
//! | there is none | again | a person decides |
//!
//! A restore and a recovery are verified by the engine's own record of them, too.

use super::action::Action;
use super::run::{Ending, RunbookOutcome, RunbookRun, StepRun, StepState, Word};
use super::template::Values;
use super::{Class, InDrill, OnFailure, Runbook, Step, Undo};
use crate::domain::run::Failure;
use crate::domain::units::Timestamp;

/// What the engine does for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doing {
    /// Ask its checks.
    Look,
    /// Act, and verify.
    Act,
    /// Ask whether it was done.
    Verify,
    /// Take it back.
    Undo,
    /// Stop acting.
    Stop,
}

/// What a step needs from a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Say go, typing this.
    Go { typed: Option<String> },
    /// Do it, and say so.
    Done,
    /// A value for this variable.
    Value { variable: String },
    /// Agree; somebody else than who leads.
    Approval { other: bool },
    /// So many checks do not hold: mend it and look again, set them aside, or pass the step over.
    Obstacles(usize),
    /// It failed: again, pass it over, or end.
    Failure,
    /// Whether it was done is not known: look, and say.
    Doubt,
    /// It could not be taken back: again, or leave it.
    UndoFailed,
}

/// What comes next for one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is not its turn, or it is over.
    Nothing,
    /// The engine has something to do.
    Do(Doing),
    /// People have something to do.
    Wait(Vec<Need>),
    /// It is passed over, and why.
    Pass(StepState, String),
    /// It has failed before it acted.
    Refuse(Failure),
    /// It is done again.
    Again,
    /// The execution ends because of it; what was done is taken back or not.
    End { undo: bool },
}

/// The steps whose turn it is: the first that is not settled, with those that are done at the same time.
pub fn current(run: &RunbookRun) -> Vec<usize> {
    let settled = |at: usize| {
        let (step, done) = (&run.runbook.steps[at], &run.steps[at]);
        done.state.is_settled() || (done.state == StepState::Failed && step.on_failure == OnFailure::Continue)
    };
    let length = run.runbook.steps.len().min(run.steps.len());
    let Some(first) = (0..length).find(|at| !settled(*at)) else {
        return Vec::new();
    };
    let group = run.runbook.steps[first].parallel.as_deref();
    (first..length)
        .take_while(|at| *at == first || (group.is_some() && run.runbook.steps[*at].parallel.as_deref() == group))
        .filter(|at| !settled(*at))
        .collect()
}

/// The steps an execution would begin with, as far as that is known before it does: the first that its values do not rule out,
/// with those that are done at the same time.
pub fn opening(runbook: &Runbook, values: &Values) -> Vec<usize> {
    let steps = &runbook.steps;
    let comes = |at: &usize| steps[*at].when.iter().all(|one| one.holds(values) != Ok(false));
    let Some(first) = (0..steps.len()).find(comes) else {
        return Vec::new();
    };
    let together = |at: &usize| steps[first].parallel.is_some() && steps[*at].parallel == steps[first].parallel;
    (first..steps.len())
        .take_while(|at| *at == first || together(at))
        .filter(comes)
        .collect()
}

/// What comes next for a step.
pub fn of_step(run: &RunbookRun, at: usize) -> Next {
    let (step, done) = (&run.runbook.steps[at], &run.steps[at]);
    if run.ending.is_some() {
        return of_ending(run, at);
    }
    if !current(run).contains(&at) {
        return Next::Nothing;
    }
    match done.state {
        StepState::InDoubt => of_doubt(step, done),
        _ if run.paused.is_some() => Next::Nothing,
        StepState::Pending => of_pending(run, step, done),
        StepState::Failed => match step.on_failure {
            OnFailure::Ask if !run.unattended => Next::Wait(vec![Need::Failure]),
            OnFailure::Ask | OnFailure::Stop => Next::End { undo: false },
            OnFailure::Undo => Next::End { undo: true },
            OnFailure::Continue => Next::Nothing,
        },
        _ => Next::Nothing,
    }
}

fn of_doubt(step: &Step, done: &StepRun) -> Next {
    let can_tell = !step.verify.is_empty() || step.action.leaves_a_record();
    if can_tell && done.evidence.is_empty() {
        return Next::Do(Doing::Verify);
    }
    // Only what a verification could not settle is left here with evidence.
    if !can_tell && step.class != Class::Once {
        return Next::Again;
    }
    // What only looks or waits has done nothing that could be done twice.
    if matches!(step.action, Action::Check(_) | Action::Wait(_)) {
        return Next::Again;
    }
    Next::Wait(vec![Need::Doubt])
}

fn of_pending(run: &RunbookRun, step: &Step, done: &StepRun) -> Next {
    let value = |variable: String| missing(run, variable);
    for condition in &step.when {
        match condition.holds(&run.values) {
            Ok(true) => {}
            Ok(false) => {
                let words = if condition.equal { "is not" } else { "is" };
                let note = format!("{} {words} {}", condition.value, condition.to);
                return Next::Pass(StepState::NotNeeded, note);
            }
            Err(name) => return value(name),
        }
    }
    if run.drill && step.drill == InDrill::Skip {
        return Next::Pass(StepState::NotNeeded, "passed over in a drill".to_owned());
    }
    if let Action::Choose(choose) = &step.action
        && !run.values.contains_key(&choose.variable)
    {
        return value(choose.variable.clone());
    }
    let action = match step.action.resolved(&run.values) {
        Ok(action) => action,
        Err(name) => return value(name),
    };
    if let Err(name) = resolvable(run, step) {
        return value(name);
    }
    let planned = matches!(step.action, Action::Restore(_) | Action::Recover(_));
    if (planned || !step.precheck.is_empty()) && done.checked.is_none() {
        return Next::Do(Doing::Look);
    }
    let simulated = run.drill && step.drill == InDrill::Simulate;
    if simulated {
        return Next::Pass(StepState::Simulated, action.words());
    }
    let obstacles = done.obstacles().count();
    if obstacles > 0 && run.unattended {
        return Next::Refuse(refused(done));
    }
    let mut needs: Vec<Need> = (obstacles > 0)
        .then_some(Need::Obstacles(obstacles))
        .into_iter()
        .collect();
    needs.extend(wanted(run, step, done));
    if !needs.is_empty() {
        return Next::Wait(needs);
    }
    // What was shown a while ago is never acted on: what people said since, they said about a picture that is now old.
    // The order in which it was said and seen decides, not the clock, which somebody may have turned; only of the first look
    // after a word the clock says whether it had begun before.
    let old =
        |at: Timestamp| last_word(run, done).is_some_and(|word| done.looks == 0 || (done.looks == 1 && at < word));
    if done.checked.as_ref().is_some_and(|checked| old(checked.at)) {
        Next::Do(Doing::Look)
    } else {
        Next::Do(Doing::Act)
    }
}

/// What follows from a value that is not known: somebody has to say it, unless it would have come from a step that was only said,
/// was passed over, or failed while the rest goes on; then there is nothing to be done here either.
fn missing(run: &RunbookRun, variable: String) -> Next {
    let passed = |(step, done): (&Step, &StepRun)| {
        let from_it = variable
            .strip_prefix(step.id.as_str())
            .is_some_and(|rest| rest.starts_with('.'));
        let failed = done.state == StepState::Failed && step.on_failure == OnFailure::Continue;
        from_it && (failed || matches!(done.state, StepState::Simulated | StepState::NotNeeded))
    };
    if run.rows().any(passed) {
        let state = if run.drill {
            StepState::Simulated
        } else {
            StepState::NotNeeded
        };
        return Next::Pass(state, format!("it needs {{{variable}}} of a step that was not done"));
    }
    Next::Wait(vec![Need::Value { variable }])
}

/// Whether everything else a step refers to is known, so that nothing is missing once it acts.
fn resolvable(run: &RunbookRun, step: &Step) -> Result<(), String> {
    // What a step asks after it has acted may need what it finds out; one that only asks has nothing else to do.
    let asks = matches!(step.action, Action::Check(_) | Action::Wait(_));
    let asked = step.verify.iter().filter(|_| asks);
    step.precheck
        .iter()
        .chain(asked)
        .try_for_each(|check| check.resolved(&run.values).map(|_| ()))?;
    step.needs
        .typed
        .iter()
        .try_for_each(|typed| typed.resolve(&run.values).map(|_| ()))
}

fn refused(done: &StepRun) -> Failure {
    let first = done.obstacles().next();
    let why = first.map_or_else(String::new, |check| format!("{}: {}", check.title, check.detail));
    Failure::permanent(
        format!("a check before it does not hold: {why}"),
        "nothing was done by this step; mend it, or go through the runbook with a person",
    )
}

/// What people still have to say before a step acts.
fn wanted(run: &RunbookRun, step: &Step, done: &StepRun) -> Vec<Need> {
    let mut needs = Vec::new();
    let other = step.needs.two_person;
    let asks = step.needs.approval || other || matches!(step.action, Action::Approve(_));
    let agreed = done.approvals.iter().any(|word| !other || word.by != run.held_by);
    // Whoever begins a run that goes on by itself has agreed to all of it, as one person.
    if asks && !agreed && (other || !run.unattended) {
        needs.push(Need::Approval { other });
    }
    let released = done.released.is_some();
    match &step.action {
        Action::Manual(_) if !released => needs.push(Need::Done),
        Action::Choose(_) | Action::Approve(_) | Action::Manual(_) => {}
        _ if step.waits_for_go() && !released && !run.unattended => {
            let typed = step
                .needs
                .typed
                .as_ref()
                .and_then(|typed| typed.resolve(&run.values).ok());
            needs.push(Need::Go { typed });
        }
        _ => {}
    }
    needs
}

/// When people last said something that this step goes by.
fn last_word(run: &RunbookRun, done: &StepRun) -> Option<Timestamp> {
    let of_step = done.released.iter().chain(&done.approvals).map(|word| word.at);
    let aside = done.overridden.iter().map(|aside| aside.word.at);
    of_step
        .chain(aside)
        .chain(run.words.iter().map(|(_, word)| word.at))
        .max()
}

fn of_ending(run: &RunbookRun, at: usize) -> Next {
    let done = &run.steps[at];
    if done.state == StepState::Acting {
        return Next::Do(Doing::Stop);
    }
    if done.state == StepState::UndoFailed && done.note.is_none() {
        return Next::Wait(vec![Need::UndoFailed]);
    }
    let quiet = !run
        .steps
        .iter()
        .any(|step| matches!(step.state, StepState::Acting | StepState::Undoing));
    if quiet && next_undo(run) == Some(at) {
        return Next::Do(Doing::Undo);
    }
    Next::Nothing
}

/// The step that is taken back next: the last that did something and can be.
fn next_undo(run: &RunbookRun) -> Option<usize> {
    run.ending.as_ref().filter(|ending| ending.undo)?;
    let stuck = |done: &StepRun| done.state == StepState::UndoFailed && done.note.is_none();
    if run.steps.iter().any(stuck) {
        return None;
    }
    (0..run.steps.len())
        .rev()
        .find(|at| can_be_undone(&run.runbook.steps[*at], &run.steps[*at]))
}

/// Whether a step did something that can be taken back, or may have: one that is to be done again, or was passed over, has
/// acted all the same when it ever began.
pub fn can_be_undone(step: &Step, done: &StepRun) -> bool {
    let did = matches!(
        done.state,
        StepState::Done | StepState::Failed | StepState::InDoubt | StepState::Pending | StepState::Skipped
    );
    did && done.started_at.is_some() && matches!(step.undo, Undo::Action(_))
}

/// How an execution ends now; none while there is something left.
pub fn outcome(run: &RunbookRun) -> Option<RunbookOutcome> {
    if let Some(ending) = &run.ending {
        let waits = |at: usize| of_ending(run, at) != Next::Nothing;
        let live = run
            .steps
            .iter()
            .any(|step| matches!(step.state, StepState::Acting | StepState::Undoing));
        if live || (0..run.steps.len()).any(waits) {
            return None;
        }
        let undone = ending.undo && run.steps.iter().any(|step| step.state == StepState::Undone);
        return Some(match (undone, ending.failed) {
            (true, _) => RunbookOutcome::Undone,
            (false, true) => RunbookOutcome::Failed,
            (false, false) => RunbookOutcome::Aborted,
        });
    }
    if !current(run).is_empty() || run.steps.iter().any(|step| step.state.is_live()) {
        return None;
    }
    let clean = |step: &StepRun| {
        matches!(
            step.state,
            StepState::Done | StepState::NotNeeded | StepState::Simulated
        ) && step.overridden.is_none()
    };
    let all = run.steps.iter().all(clean);
    Some(if all {
        RunbookOutcome::Completed
    } else {
        RunbookOutcome::Deviated
    })
}

/// What the engine has to do for an execution, in the order of the steps.
pub fn work(run: &RunbookRun) -> Vec<(String, Doing)> {
    (0..run.steps.len())
        .filter_map(|at| match of_step(run, at) {
            Next::Do(doing) => Some((run.runbook.steps[at].id.clone(), doing)),
            _ => None,
        })
        .collect()
}

/// What people have to do for an execution, in the order of the steps.
pub fn waits(run: &RunbookRun) -> Vec<(usize, Vec<Need>)> {
    (0..run.steps.len())
        .filter_map(|at| match of_step(run, at) {
            Next::Wait(needs) => Some((at, needs)),
            _ => None,
        })
        .collect()
}

/// How a step that failed ends its execution.
pub(super) fn ending(step: &Step, undo: bool, at: Timestamp) -> Ending {
    let text = format!("step {} failed", step.id);
    let by = "agent".to_owned();
    Ending {
        word: Word { by, at, text },
        undo,
        failed: true,
    }
}
