//! From what the engine saw of a step to what has happened, and what an execution brings about by itself.

use serde::{Deserialize, Serialize};

use super::check::{CheckOutcome, CheckResult, together};
use super::next::{self, Next};
use super::run::{Checked, Ending, Override, RunbookRecord, RunbookRun, StepState, Word};
use super::template::Values;
use super::{Class, RunbookOutcome};
use crate::domain::event::Event;
use crate::domain::id::RunbookRunId;
use crate::domain::run::Failure;
use crate::domain::state::State;
use crate::domain::units::Timestamp;

/// What has happened in an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum RunbookFact {
    /// It began.
    Started { execution: Box<RunbookRun> },
    /// Somebody said a value.
    ValueSet { name: String, value: String, by: String },
    /// The checks of a step were asked.
    Checked { step: String, checked: Checked },
    /// Somebody wants them asked again.
    Recheck { step: String, by: String },
    /// Somebody said go.
    Released { step: String, word: Word },
    /// Somebody agreed.
    Approved { step: String, word: Word },
    /// Somebody set checks aside.
    Overridden { step: String, aside: Override },
    /// A step began to act.
    StepStarted { step: String, attempt: u32, did: String },
    /// A step was acting when its agent died.
    StepInDoubt { step: String },
    /// Its verification could not settle the doubt.
    StepUnresolved { step: String, evidence: Vec<CheckResult> },
    /// A step ended.
    StepEnded { step: String, end: Box<StepEnd> },
    /// A step was passed over.
    StepPassed {
        step: String,
        state: StepState,
        note: String,
        by: String,
    },
    /// A step is done again.
    StepAgain { step: String, by: String },
    /// A step begins to be taken back.
    UndoStarted { step: String, did: String },
    /// It was taken back, or not.
    UndoEnded { step: String, error: Option<Failure> },
    /// Somebody wants it tried again.
    UndoAgain { step: String, by: String },
    /// Somebody lets it be.
    UndoLeft { step: String, word: Word },
    /// Nothing new begins.
    Paused { word: Word },
    /// A step that looks for a snapshot is told another.
    Instead { step: String, outputs: Values, word: Word },
    /// It goes on.
    Resumed { word: Word },
    /// Somebody else leads.
    Taken { word: Word },
    /// It is to end before its time.
    Ending { ending: Ending },
    /// It ended.
    Finished { record: Box<RunbookRecord> },
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StepEnd {
    /// What it found out.
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub outputs: Values,
    /// What its verification saw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<CheckResult>,
    /// What went wrong; nothing when it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Whether it was found to have been done after the agent had died.
    #[serde(default)]
    pub recovered: bool,
    /// What a person said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Whether it was stopped on the way, so that it may have been done in part.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
}

/// What the engine saw of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum StepSeen {
    /// Its checks.
    Checked(Checked),
    /// It is about to act.
    Starting { did: String },
    /// It acted and was verified, or it failed.
    Ended(Box<StepEnd>),
    /// Whether it was done, after the agent had died.
    Verified(Vec<CheckResult>),
    /// That it was done, after the agent had died, with what it had found out.
    FoundDone {
        evidence: Vec<CheckResult>,
        outputs: Values,
    },
    /// It is about to be taken back.
    Undoing { did: String },
    /// It was taken back, or not.
    Undone(Option<Failure>),
}

impl RunbookFact {
    /// The step it is about.
    pub fn step(&self) -> Option<&str> {
        match self {
            Self::Checked { step, .. }
            | Self::Recheck { step, .. }
            | Self::Released { step, .. }
            | Self::Approved { step, .. }
            | Self::Overridden { step, .. }
            | Self::StepStarted { step, .. }
            | Self::StepInDoubt { step }
            | Self::StepUnresolved { step, .. }
            | Self::StepEnded { step, .. }
            | Self::StepPassed { step, .. }
            | Self::StepAgain { step, .. }
            | Self::UndoStarted { step, .. }
            | Self::UndoEnded { step, .. }
            | Self::UndoAgain { step, .. }
            | Self::UndoLeft { step, .. } => Some(step),
            _ => None,
        }
    }

    /// What has happened, in a word, and to which step: `step_ended.promote`.
    pub fn mark(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        let text = |key: &str| value.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        format!("{}.{}", text("fact"), self.step().unwrap_or_default())
    }

    /// The fact in one line, for the audit.
    pub fn summary(&self) -> String {
        let failed = |error: &Option<Failure>| error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
        match self {
            Self::Started { execution } => {
                let (name, mode) = (&execution.runbook.name, execution.mode());
                format!("{mode} of runbook {name} begun by {}", execution.started_by)
            }
            Self::ValueSet { name, value, by } => format!("{name} = {value}, said {by}"),
            Self::Checked { step, checked } => {
                let (all, held) = (
                    checked.results.len(),
                    checked.results.iter().filter(|one| one.holds()).count(),
                );
                format!("{step}: {held} of {all} checks hold")
            }
            Self::Recheck { step, by } => format!("{step}: {by} wants the checks asked again"),
            Self::Released { step, word } => format!("{step}: go, said {}", word.by),
            Self::Approved { step, word } => format!("{step}: agreed by {}", word.by),
            Self::Overridden { step, aside } => {
                let (by, why) = (&aside.word.by, &aside.word.text);
                format!("{step}: {} set aside by {by}: {why}", aside.checks.join("; "))
            }
            Self::StepStarted { step, attempt, did } => format!("{step}: attempt {attempt}: {did}"),
            Self::StepInDoubt { step } => format!("{step}: in doubt, the agent ended while it acted"),
            Self::StepUnresolved { step, .. } => format!("{step}: still in doubt, a person has to look"),
            Self::StepEnded { step, end } if end.error.is_some() => format!("{step}: FAILED{}", failed(&end.error)),
            Self::StepEnded { step, end } if end.recovered => format!("{step}: was done"),
            Self::StepEnded { step, .. } => format!("{step}: done"),
            Self::StepPassed { step, state, note, .. } => format!("{step}: {}: {note}", state.word()),
            Self::StepAgain { step, by } => format!("{step}: again, says {by}"),
            Self::UndoStarted { step, did } => format!("{step}: taken back by {did}"),
            Self::UndoEnded { step, error: None } => format!("{step}: taken back"),
            Self::UndoEnded { step, error } => format!("{step}: NOT taken back{}", failed(error)),
            Self::UndoAgain { step, by } => format!("{step}: {by} wants it taken back once more"),
            Self::UndoLeft { step, word } => format!("{step}: left as it is by {}: {}", word.by, word.text),
            Self::Paused { word } => format!("paused by {}: {}", word.by, word.text),
            Self::Instead { step, outputs, word } => {
                let snapshot = outputs.get("snapshot").map_or("", String::as_str);
                format!("{step}: snapshot {snapshot}, says {}: {}", word.by, word.text)
            }
            Self::Resumed { word } => format!("resumed by {}", word.by),
            Self::Taken { word } => format!("taken over by {}: {}", word.by, word.text),
            Self::Ending { ending } => format!("is to end, says {}: {}", ending.word.by, ending.word.text),
            Self::Finished { record } => format!("{} after {}", record.outcome.word(), record.took()),
        }
    }
}

fn event(run: &RunbookRunId, fact: RunbookFact) -> Event {
    Event::Runbook { run: run.clone(), fact }
}

/// Decides what was seen of a step.
pub fn step(state: &State, id: &RunbookRunId, step: &str, seen: StepSeen) -> Vec<Event> {
    let Some(run) = state.runbooks.get(id) else {
        return Vec::new();
    };
    let (Some(at), Some((document, done))) = (run.runbook.position(step), run.row(step)) else {
        return Vec::new();
    };
    let name = step.to_owned();
    let fact = match (seen, done.state) {
        (StepSeen::Checked(checked), StepState::Pending) => RunbookFact::Checked { step: name, checked },
        // Whoever said stop a moment ago is heard: only what is still due begins.
        (StepSeen::Starting { did }, StepState::Pending) if next::of_step(run, at) == Next::Do(next::Doing::Act) => {
            RunbookFact::StepStarted {
                step: name,
                attempt: done.attempt + 1,
                did,
            }
        }
        (StepSeen::Ended(end), StepState::Acting) => RunbookFact::StepEnded { step: name, end },
        (StepSeen::Verified(evidence), StepState::InDoubt) => settled_doubt(document.class, name, evidence),
        (StepSeen::FoundDone { evidence, outputs }, StepState::InDoubt) => {
            let mut fact = settled_doubt(document.class, name, evidence);
            if let RunbookFact::StepEnded { end, .. } = &mut fact {
                end.outputs = outputs;
            }
            fact
        }
        (StepSeen::Undoing { did }, _) if next::of_step(run, at) == Next::Do(next::Doing::Undo) => {
            RunbookFact::UndoStarted { step: name, did }
        }
        (StepSeen::Undone(error), StepState::Undoing) => RunbookFact::UndoEnded { step: name, error },
        _ => return Vec::new(),
    };
    vec![event(id, fact)]
}

fn settled_doubt(class: Class, step: String, evidence: Vec<CheckResult>) -> RunbookFact {
    match (together(&evidence), class) {
        // Nothing that was asked proves nothing.
        _ if evidence.is_empty() => RunbookFact::StepUnresolved { step, evidence },
        (CheckOutcome::Holds, _) => RunbookFact::StepEnded {
            step,
            end: Box::new(StepEnd {
                evidence,
                recovered: true,
                ..StepEnd::default()
            }),
        },
        (CheckOutcome::Fails, Class::Idempotent | Class::Resumable) => RunbookFact::StepAgain {
            step,
            by: "agent".to_owned(),
        },
        _ => RunbookFact::StepUnresolved { step, evidence },
    }
}

/// What an agent that begins says of the executions another left: what was acting is in doubt.
pub fn interrupted(state: &State) -> Vec<Event> {
    let mut events = Vec::new();
    for (id, run) in &state.runbooks {
        for (document, done) in run.rows() {
            let step = document.id.clone();
            match done.state {
                StepState::Acting => events.push(event(id, RunbookFact::StepInDoubt { step })),
                StepState::Undoing => {
                    let error = Some(Failure::permanent(
                        "the agent ended while this was being taken back",
                        "look whether it was, then try again or leave it",
                    ));
                    events.push(event(id, RunbookFact::UndoEnded { step, error }));
                }
                _ => {}
            }
        }
    }
    events
}

/// What executions bring about by themselves: steps that are passed over, ends.
pub fn settle(state: &State, now: Timestamp) -> Vec<Event> {
    state.runbooks.values().filter_map(|run| settle_one(run, now)).collect()
}

fn settle_one(run: &RunbookRun, now: Timestamp) -> Option<Event> {
    if let Some(outcome) = next::outcome(run) {
        return Some(event(&run.id, finished(run, outcome, now)));
    }
    let fact = (0..run.steps.len()).find_map(|at| {
        let document = &run.runbook.steps[at];
        let step = document.id.clone();
        let by = "agent".to_owned();
        match next::of_step(run, at) {
            Next::Pass(state, note) => Some(RunbookFact::StepPassed { step, state, note, by }),
            Next::Refuse(error) => Some(RunbookFact::StepEnded {
                step,
                end: Box::new(StepEnd {
                    error: Some(error),
                    ..StepEnd::default()
                }),
            }),
            Next::Again => Some(RunbookFact::StepAgain { step, by }),
            Next::End { undo } => Some(RunbookFact::Ending {
                ending: next::ending(document, undo, now),
            }),
            _ => None,
        }
    })?;
    Some(event(&run.id, fact))
}

fn finished(run: &RunbookRun, outcome: RunbookOutcome, now: Timestamp) -> RunbookFact {
    RunbookFact::Finished {
        record: Box::new(RunbookRecord {
            run: run.clone(),
            outcome,
            finished_at: now,
        }),
    }
}
