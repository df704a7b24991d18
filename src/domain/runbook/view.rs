//! What people and programs are shown of runbooks and their executions. Part of the `--json` contract.

use serde::{Deserialize, Serialize};

use super::check::CheckResult;
use super::show::PlannedStep;
use super::template::Values;
use super::{LastRun, RunbookRun, Variable};
use crate::domain::id::RunbookName;
use crate::domain::units::{Millis, Timestamp};

/// A runbook in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunbookLine {
    /// Its name.
    pub name: RunbookName,
    /// What it is for, in a line.
    pub title: String,
    /// Which document it is.
    pub hash: String,
    /// Where it is written; none for those that come with the program.
    pub file: Option<String>,
    /// How many steps it has.
    pub steps: usize,
    /// Whether it could be begun now; none until that was looked at, and after every edit.
    pub readiness: Option<Readiness>,
    /// Its last drill.
    pub last_drill: Option<LastRun>,
    /// Its last use in earnest.
    pub last_real: Option<LastRun>,
}

/// Whether a runbook could be begun now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// When that was looked at.
    pub at: Timestamp,
    /// The document that was looked at.
    pub hash: String,
    /// When it is looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// What it came to.
    #[serde(flatten)]
    pub state: Ready,
}

/// What a look at a runbook came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ready", rename_all = "snake_case")]
pub enum Ready {
    /// It could be begun; these have to be said first.
    Yes {
        /// The names of variables nobody can guess.
        asks: Vec<String>,
    },
    /// Something stands in the way.
    No {
        /// What, a line each.
        because: Vec<String>,
    },
    /// It is about something this site does not have.
    NotHere {
        /// What is missing.
        because: String,
    },
}

/// A live execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionView {
    /// The execution, with its document.
    #[serde(flatten)]
    pub run: RunbookRun,
    /// The last lines its steps said.
    pub said: Vec<String>,
}

/// What an execution would do, said before it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunbookPlan {
    /// The runbook.
    pub runbook: RunbookName,
    /// What it is for.
    pub title: String,
    /// The document that was planned; a start that names it is refused when it is another by then.
    pub hash: String,
    /// Whether it is for practice.
    pub drill: bool,
    /// How long the whole may take.
    pub objective: Option<Millis>,
    /// What has to be known.
    pub variables: Vec<Variable>,
    /// What is known.
    pub values: Values,
    /// What still has to be said.
    pub missing: Vec<String>,
    /// Every step, with what its checks come to now.
    pub steps: Vec<PlannedStep>,
}

impl RunbookPlan {
    /// The checks that do not hold now.
    pub fn obstacles(&self) -> impl Iterator<Item = (&PlannedStep, &CheckResult)> {
        let steps = self.steps.iter().filter(|step| step.passed.is_none());
        steps.flat_map(|step| {
            step.checks
                .iter()
                .filter(|check| !check.holds())
                .map(move |check| (step, check))
        })
    }
}
