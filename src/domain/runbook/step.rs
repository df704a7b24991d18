//! A step, and what is said of it: what may be repeated, what follows a failure, who is asked, when it is done, how it is taken back.

use serde::{Deserialize, Serialize};

use super::action::{self, Action};
use super::check::Check;
use super::template::{Template, Values};
use crate::domain::units::Millis;

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
            Self::None(text) => match not_needed(text) {
                Some(why) => format!("nothing to undo{why}"),
                None => format!("no undo: {}", self.instead()),
            },
            Self::Action(action) => action.words(),
        }
    }

    /// Whether something is done that cannot be taken back.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::None(text) if not_needed(text).is_none())
    }

    /// Why it cannot be taken back, or what to do instead; nothing where it can be, or need not.
    pub fn instead(&self) -> &str {
        match self {
            Self::None(text) if self.is_final() => text.strip_prefix("none: ").unwrap_or(text),
            _ => "",
        }
    }
}

/// A text that says that there is nothing to take back, and what it says of it: `not needed: it fills again`.
fn not_needed(text: &str) -> Option<&str> {
    ["not needed", "none needed"]
        .iter()
        .find_map(|words| text.strip_prefix(words))
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

#[cfg(test)]
mod tests {
    use super::Undo;

    #[test]
    fn what_need_not_be_taken_back_is_not_called_final() {
        let text = |text: &str| Undo::None(text.to_owned());
        let fills = text("not needed: it fills again");
        assert_eq!(fills.words(), "nothing to undo: it fills again");
        assert!(!fills.is_final());
        assert!(!text("none needed").is_final());
        let lost = text("none: rebuild it from a snapshot");
        assert_eq!(lost.words(), "no undo: rebuild it from a snapshot");
        assert_eq!(lost.instead(), "rebuild it from a snapshot");
        assert!(lost.is_final() && text("rebuild it").is_final());
        assert!(!Undo::NotNeeded.is_final());
    }
}
