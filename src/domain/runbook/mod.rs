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
//! | `mod` | the document |
//! | [`action`], [`check`], [`template`] | what steps do, what is asked, texts with places for values |
//! | [`values`] | which values a variable takes; what is known without being said |
//! | [`run`] | an execution: every step with what became of it |
//! | [`next`] | what happens next, as a function of the execution |
//! | [`saying`], [`instead`] | what people say; another snapshot than a step found |
//! | [`decide`], [`observe`], [`apply`] | from a person's word, or what was seen, to events; what they do to the execution |
//! | [`view`] | what is shown of them |
//! | [`report`], [`show`] | the report of an execution, the document for people |
//!
//! What this room never does: act, ask the time, or take a value for part of a program.

pub mod action;
pub mod apply;
pub mod check;
pub mod decide;
pub mod instead;
pub mod next;
pub mod observe;
pub mod report;
pub mod run;
pub mod saying;
pub mod show;
pub mod template;
pub mod values;
pub mod view;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::id::RunbookName;
use super::units::Millis;
use action::Action;
pub use apply::{LastRun, RunbookFacts};
use check::{Check, CheckOutcome};
pub use observe::{RunbookFact, StepEnd, StepSeen};
pub use run::{Cause, RunbookOutcome, RunbookRecord, RunbookRun, StepRun, StepState};
pub use saying::{Saying, StartRunbook};
use template::{Template, Values};

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

/// A step: one thing that is done, and how one knows that it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name in the runbook; `outer.inner` when it came with another.
    pub id: String,
    /// What is done, in a line.
    pub title: Template,
    /// Why.
    pub why: Template,
    /// What is done.
    pub action: Action,
    /// What must hold before.
    pub precheck: Vec<Check>,
    /// What must hold after; also how one knows whether a step in doubt was done.
    pub verify: Vec<Check>,
    /// What may be done when it is not known whether it was done.
    pub class: Class,
    /// It has failed after this long.
    pub timeout: Millis,
    /// What follows a failure.
    pub on_failure: OnFailure,
    /// How it is taken back.
    pub undo: Undo,
    /// What it needs from people.
    pub needs: Needs,
    /// When it is done at all; always when empty.
    pub when: Vec<Condition>,
    /// Steps with the same word, one after the other, are done at the same time.
    pub parallel: Option<String>,
    /// What becomes of it in a drill.
    pub drill: InDrill,
    /// The part of the recovery its time counts for.
    pub phase: Phase,
}

impl Step {
    /// Walks over all templates.
    pub fn visit(&mut self, visit: action::Visit<'_>) {
        visit("title", &mut self.title);
        visit("why", &mut self.why);
        self.action.visit(visit);
        self.precheck.iter_mut().for_each(|check| check.visit(visit));
        self.verify.iter_mut().for_each(|check| check.visit(visit));
        if let Undo::Action(undo) = &mut self.undo {
            undo.visit(visit);
        }
        self.needs.typed.iter_mut().for_each(|typed| visit("typed", typed));
        for condition in &mut self.when {
            visit("when", &mut condition.value);
        }
    }

    /// Whether a person says go before it acts, in a run with people.
    pub fn waits_for_go(&self) -> bool {
        !self.needs.auto || self.needs.typed.is_some()
    }
}

/// What may be done when it is not known whether a step was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Doing it twice is doing it once.
    Idempotent,
    /// It goes on where it was.
    Resumable,
    /// It must not be done twice; a person decides.
    Once,
}

impl Class {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Idempotent => "idempotent",
            Self::Resumable => "resumable",
            Self::Once => "once",
        }
    }
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// A person decides; without one, the run ends.
    Ask,
    /// The run ends.
    Stop,
    /// The next step.
    Continue,
    /// What was done is taken back, in reverse, and the run ends.
    Undo,
}

impl OnFailure {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Stop => "stop",
            Self::Continue => "continue",
            Self::Undo => "undo",
        }
    }
}

/// How a step is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "undo", content = "how", rename_all = "snake_case")]
pub enum Undo {
    /// There is nothing to take back.
    NotNeeded,
    /// It cannot be taken back; what to do instead.
    None(String),
    /// By this.
    Action(Box<Action>),
}

impl Undo {
    /// How it is taken back, in a few words.
    pub fn words(&self) -> String {
        match self {
            Self::NotNeeded => "nothing to undo".to_owned(),
            Self::None(instead) => format!("no undo ({instead})"),
            Self::Action(action) => action.words(),
        }
    }
}

/// What a step needs from people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Needs {
    /// Nobody is asked before it acts.
    pub auto: bool,
    /// Somebody agrees.
    pub approval: bool,
    /// Somebody else than who runs it agrees.
    pub two_person: bool,
    /// What is typed before it acts.
    pub typed: Option<Template>,
}

/// When a step is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What is looked at.
    pub value: Template,
    /// Whether it has to be equal, or different.
    pub equal: bool,
    /// To what.
    pub to: String,
}

impl Condition {
    /// Reads `{mode} = real` or `{clone} != true`.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (left, equal, right) = match (text.split_once("!="), text.split_once('=')) {
            (Some((left, right)), _) => (left, false, right),
            (None, Some((left, right))) => (left, true, right.trim_start_matches('=')),
            _ => return Err(format!("\"{text}\" is no condition; write for example {{mode}} = real")),
        };
        Ok(Self {
            value: Template::parse(left.trim())?,
            equal,
            to: right.trim().to_owned(),
        })
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// The name of a value that is not known.
    pub fn holds(&self, values: &Values) -> Result<bool, String> {
        Ok((self.value.resolve(values)? == self.to) == self.equal)
    }
}

/// What becomes of a step in a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InDrill {
    /// It is done.
    Execute,
    /// Its checks are asked, and what it would do is said.
    Simulate,
    /// It is passed over.
    Skip,
}

impl InDrill {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Execute => "execute",
            Self::Simulate => "simulate",
            Self::Skip => "skip",
        }
    }
}

/// The parts of a recovery whose times are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// That something is wrong is noticed.
    Detect,
    /// What is wrong, and what to do, is found out.
    Identify,
    /// What was lost is put back, or another takes over.
    Restore,
    /// It is proved.
    Verify,
    /// People and programs work again.
    Restart,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Detect, Self::Identify, Self::Restore, Self::Verify, Self::Restart];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Identify => "identify",
            Self::Restore => "restore",
            Self::Verify => "verify",
            Self::Restart => "restart",
        }
    }
}
