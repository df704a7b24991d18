//! An execution of a runbook: every step with what became of it, and who said what.

use serde::{Deserialize, Serialize};

use super::check::{CheckOutcome, CheckResult, together};
use super::template::Values;
use super::{Phase, Runbook, Step};
use crate::domain::id::{RunbookName, RunbookRunId};
use crate::domain::run::Failure;
use crate::domain::units::{Millis, Timestamp};

/// An execution that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunbookRun {
    /// Its id.
    pub id: RunbookRunId,
    /// The document, as it was when this began.
    pub runbook: Runbook,
    /// Whether it is for practice.
    pub drill: bool,
    /// Whether it goes on without people as far as it can.
    pub unattended: bool,
    /// Why it began.
    pub cause: Cause,
    /// Who began it.
    pub started_by: String,
    /// When.
    pub started_at: Timestamp,
    /// When what it cures began, when that is known: its time counts from there.
    pub incident_at: Option<Timestamp>,
    /// How long the whole may take.
    pub objective: Option<Millis>,
    /// What is known: variables, and what steps found out.
    pub values: Values,
    /// Every step of the document, in its order.
    pub steps: Vec<StepRun>,
    /// Who leads it.
    pub held_by: String,
    /// Since when nothing new begins, and who said so.
    pub paused: Option<Word>,
    /// That it is to end before its time.
    pub ending: Option<Ending>,
    /// Who said what: pauses, takeovers.
    pub words: Vec<(String, Word)>,
}

/// Why an execution began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// Somebody asked.
    Person,
    /// The agent itself, because of what it saw.
    Auto {
        /// What it saw.
        why: String,
    },
}

/// That an execution is to end before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Who said so, or that a step failed.
    pub word: Word,
    /// Whether what was done is taken back first.
    pub undo: bool,
    /// Whether a failure is the cause.
    pub failed: bool,
}

/// What somebody said, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, or what was typed.
    pub text: String,
}

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StepRun {
    /// Where it stands.
    pub state: StepState,
    /// How often it has acted.
    pub attempt: u32,
    /// What its checks last came to.
    pub checked: Option<Checked>,
    /// How often they were asked since anybody last said something that counts for it.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub looks: u32,
    /// That somebody said go.
    pub released: Option<Word>,
    /// Who agreed.
    pub approvals: Vec<Word>,
    /// Checks that somebody set aside, with the reason.
    pub overridden: Option<Override>,
    /// When it last began to act.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What was done, exactly, with all values in place.
    pub did: Option<String>,
    /// What its verification saw.
    pub evidence: Vec<CheckResult>,
    /// What it found out.
    pub outputs: Values,
    /// What went wrong.
    pub error: Option<Failure>,
    /// Why it was passed over, or by whom.
    pub note: Option<String>,
    /// Whether it was found to have been done after the agent had died.
    pub recovered: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_none_yet(looks: &u32) -> bool {
    *looks == 0
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not begun.
    #[default]
    Pending,
    /// Something is being done.
    Acting,
    /// It was acting when the agent died; whether it was done is not known.
    InDoubt,
    /// Done, and verified.
    Done,
    /// Something went wrong.
    Failed,
    /// A person passed it over.
    Skipped,
    /// Its condition does not hold.
    NotNeeded,
    /// In a drill: what it would do was said.
    Simulated,
    /// It is being taken back.
    Undoing,
    /// It was taken back.
    Undone,
    /// It could not be taken back, or it is not known.
    UndoFailed,
}

impl StepState {
    /// The word for it; at most eight letters.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Acting => "acting",
            Self::InDoubt => "in doubt",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::NotNeeded => "not due",
            Self::Simulated => "simul.",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::UndoFailed => "no undo",
        }
    }

    /// Whether the steps after it may go on.
    pub const fn is_settled(self) -> bool {
        matches!(
            self,
            Self::Done | Self::Skipped | Self::NotNeeded | Self::Simulated | Self::Undone
        )
    }

    /// Whether something may be going on in the world because of it.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Acting | Self::InDoubt | Self::Undoing)
    }
}

/// What the checks of a step came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// When.
    pub at: Timestamp,
    /// One each.
    pub results: Vec<CheckResult>,
}

/// Checks that somebody set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Who, when, why.
    pub word: Word,
    /// Which, by their titles. Another that fails later is not among them.
    pub checks: Vec<String>,
}

impl StepRun {
    /// The checks that stand in the way: those that do not hold and that nobody set aside.
    pub fn obstacles(&self) -> impl Iterator<Item = &CheckResult> {
        let aside = self.overridden.as_ref().map_or(&[][..], |aside| &aside.checks);
        let results = self.checked.as_ref().map_or(&[][..], |checked| &checked.results);
        results
            .iter()
            .filter(move |result| !result.holds() && !aside.contains(&result.title))
    }

    /// What the evidence of it comes to.
    pub fn proof(&self) -> CheckOutcome {
        together(&self.evidence)
    }

    /// How long it took, or takes.
    pub fn took(&self, now: Timestamp) -> Option<Millis> {
        let started = self.started_at?;
        Some(Millis::between(started, self.ended_at.unwrap_or(now)))
    }
}

impl RunbookRun {
    /// The words for what it is: `DRILL` or `REAL`.
    pub const fn mode(&self) -> &'static str {
        if self.drill { "DRILL" } else { "REAL" }
    }

    /// The steps with what became of them.
    pub fn rows(&self) -> impl Iterator<Item = (&Step, &StepRun)> {
        self.runbook.steps.iter().zip(&self.steps)
    }

    /// One step with what became of it.
    pub fn row(&self, step: &str) -> Option<(&Step, &StepRun)> {
        let at = self.runbook.position(step)?;
        Some((&self.runbook.steps[at], self.steps.get(at)?))
    }

    /// What became of a step, to be changed.
    pub fn step_mut(&mut self, step: &str) -> Option<&mut StepRun> {
        let at = self.runbook.position(step)?;
        self.steps.get_mut(at)
    }

    /// How long it has been going on.
    pub fn elapsed(&self, now: Timestamp) -> Millis {
        Millis::between(self.incident_at.unwrap_or(self.started_at), now)
    }

    /// How much of the time was spent on each part of the recovery, waiting for people included.
    pub fn phases(&self, now: Timestamp) -> Vec<(Phase, Millis)> {
        let mut from = self.started_at;
        let mut spent: Vec<(Phase, Millis)> = Vec::new();
        // Until somebody began, it had to be noticed.
        if let Some(happened) = self.incident_at.filter(|happened| *happened < from) {
            spent.push((Phase::Detect, Millis::between(happened, from)));
        }
        // The time of a step begins where the step before it ended: waiting for its go belongs to it.
        for (step, run) in self.rows() {
            let Some(until) = run.ended_at.or_else(|| run.state.is_live().then_some(now)) else {
                continue;
            };
            if until <= from {
                continue;
            }
            let took = Millis::between(from, until);
            match spent.iter_mut().find(|(phase, _)| *phase == step.phase) {
                Some((_, sum)) => sum.0 += took.0,
                None => spent.push((step.phase, took)),
            }
            from = until;
        }
        spent.sort_by_key(|(phase, _)| *phase);
        spent
    }
}

/// How an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunbookOutcome {
    /// Every step was done, or was not needed.
    Completed,
    /// Every step was gone through; some were passed over, failed, or done against a check.
    Deviated,
    /// Somebody ended it.
    Aborted,
    /// A step failed.
    Failed,
    /// What was done was taken back.
    Undone,
}

impl RunbookOutcome {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Deviated => "completed with deviations",
            Self::Aborted => "aborted",
            Self::Failed => "failed",
            Self::Undone => "undone",
        }
    }

    /// Whether it went through to the end.
    pub const fn is_through(self) -> bool {
        matches!(self, Self::Completed | Self::Deviated)
    }
}

/// An execution that has ended, as history keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunbookRecord {
    /// All of it.
    pub run: RunbookRun,
    /// How it ended.
    pub outcome: RunbookOutcome,
    /// When.
    pub finished_at: Timestamp,
}

impl RunbookRecord {
    /// How long it took.
    pub fn took(&self) -> Millis {
        self.run.elapsed(self.finished_at)
    }

    /// The runbook it was of.
    pub fn name(&self) -> &RunbookName {
        &self.run.runbook.name
    }
}
