//! Runbooks: versioned tables of steps that lead a person, or nobody, through a recovery or a failover.
//!
//! A [`Runbook`] is the document, with the runbooks it uses already in their places ([`Step::id`] is then `outer.inner`). A
//! [`RunbookRun`] is one execution of it, a drill or the real thing; it carries the whole document it began with, so an edit
//! never changes what is under way.
//!
//! ```text
//!            checks hold, a person said go            acted and verified
//!  Pending ──────────────────────────────▶ Acting ──────────────────────▶ Done ──────▶ Undone
//!     │                                     │  │                           ▲
//!     │ when = false, drill = skip          │  └─ failed ─▶ Failed ─ retry ─┤ (again from Pending)
//!     ▼                                     │ the agent died               │
//!  Skipped, NotNeeded, Simulated            ▼                              │
//!                                        InDoubt ─ verify: was done ───────┘
//! ```
//!
//! **Durable before acting.** A step is journalled as acting before anything acts. A step found acting by an agent that just
//! began is in doubt: it is verified, never blindly repeated ([`next`] has the rule).
//!
//! **Two at once.** Every word of a person names the step and the attempt it is about; the second of two that say the same is
//! refused and told who was first.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `mod`, `step` | the document, and its steps |
//! | [`action`], [`check`], [`template`] | what steps do, what is asked, texts with places for values |
//! | [`values`] | which values a variable takes; what is known without being said |
//! | [`run`] | an execution: every step with what became of it |
//! | [`next`] | what happens next, as a function of the execution |
//! | [`saying`], [`instead`] | what people say; another snapshot than a step found |
//! | [`decide`], [`observe`], [`apply`] | from a person's word, or what was seen, to events; what they do to the execution |
//! | [`tidy`] | what a step may say: bounded, and nothing that steers a terminal |
//! | [`view`] | what is shown of them |
//! | [`report`], [`show`] | the report of an execution, the document for people |
//! | `by_hand` | what people type when this program is gone |
//!
//! What this room never does: act, ask the time, or take a value for part of a program.

pub mod action;
pub mod apply;
mod by_hand;
pub mod check;
pub mod decide;
pub mod instead;
pub mod next;
pub mod observe;
pub mod report;
pub mod run;
pub mod saying;
pub mod show;
mod step;
pub mod template;
pub mod tidy;
pub mod values;
pub mod view;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::id::RunbookName;
use super::units::Millis;
pub use apply::{LastRun, RunbookFacts};
pub use observe::{RunbookFact, StepEnd, StepSeen};
pub use run::{Cause, RunbookOutcome, RunbookRecord, RunbookRun, StepRun, StepState};
pub use saying::{Saying, StartRunbook};
pub use step::{Class, Condition, InDrill, Needs, OnFailure, Phase, Step, Undo};
use template::Template;

/// A document: what is done, in which order, by whom, and how one knows that it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runbook {
    /// Its name.
    pub name: RunbookName,
    /// What it is for, in a line.
    pub title: String,
    /// When it is the right one, and when it is not.
    pub why: String,
    /// Where it is written; none for those that come with the program.
    pub file: Option<String>,
    /// How long the whole may take; what the service of its variables promises when absent.
    pub objective: Option<Millis>,
    /// What to have ready.
    pub before: Vec<String>,
    /// What to keep in mind.
    pub during: Vec<String>,
    /// What to do when it is over.
    pub after: Vec<String>,
    /// What has to be known.
    pub variables: Vec<Variable>,
    /// What is done.
    pub steps: Vec<Step>,
    /// SHA-256 of all the above, hexadecimal: another one is another runbook.
    pub hash: String,
}

impl Runbook {
    /// The first digits of the hash, as people compare them.
    pub fn short_hash(&self) -> &str {
        self.hash.get(..8).unwrap_or(&self.hash)
    }

    /// Where a step stands.
    pub fn position(&self, step: &str) -> Option<usize> {
        self.steps.iter().position(|known| known.id == step)
    }
}

/// Something that has to be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name; `outer.inner` when it came with another runbook.
    pub name: String,
    /// What is asked for.
    pub ask: String,
    /// Which values it takes.
    pub kind: VariableKind,
    /// Its value when nobody says one; may refer to variables before it.
    pub default: Option<Template>,
    /// Whether a step of the runbook gives it its value.
    pub chosen: bool,
}

/// Which values a variable takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum VariableKind {
    /// Any text.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A length of time.
    Duration,
    /// An absolute path.
    Path,
    /// One of these.
    Choice {
        /// Which.
        of: Vec<String>,
    },
    /// A service of the configuration.
    Service,
    /// A source of the configuration.
    Source,
    /// A job of the configuration.
    Job,
    /// A drill of the configuration.
    Drill,
    /// A repository of the configuration.
    Repository,
    /// A cluster of the configuration.
    Cluster,
    /// A member of a cluster.
    Member {
        /// The variable that names the cluster.
        cluster: String,
    },
    /// The id of a snapshot.
    Snapshot,
    /// An instant: a time with its zone, an LSN, a transaction, a named point, or `latest`.
    Instant,
}

impl VariableKind {
    /// The word for it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Flag => "flag",
            Self::Duration => "duration",
            Self::Path => "path",
            Self::Choice { .. } => "choice",
            Self::Service => "service",
            Self::Source => "source",
            Self::Job => "job",
            Self::Drill => "drill",
            Self::Repository => "repository",
            Self::Cluster => "cluster",
            Self::Member { .. } => "member",
            Self::Snapshot => "snapshot",
            Self::Instant => "instant",
        }
    }
}
