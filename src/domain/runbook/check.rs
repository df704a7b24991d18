//! Checks: questions with an expected answer, asked before a step acts and after.
//!
//! A check holds, does not hold, or **cannot be told** ([`CheckOutcome::Unknown`]): a server that does not answer is not a
//! server that is down. What cannot be told never counts as held.

use serde::{Deserialize, Serialize};

use super::action::{Visit, put_in};
use super::template::{Template, Values};
use crate::domain::snapshot::EvidenceLevel;

mod options;

pub use options::{
    Answers, Cluster, ClusterIs, Member, MemberIs, Path, Query, Recoverable, Repository, Runs, Snapshot, Value,
};

/// A question with an expected answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it is about, for people; said by the question itself when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Template>,
    /// The question.
    #[serde(flatten)]
    pub question: Question,
}

macro_rules! questions {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        /// What is asked.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "check", rename_all = "kebab-case")]
        pub enum Question {
            $($(#[$doc])* $variant($variant),)+
        }

        impl Question {
            /// Every kind, as it is written.
            pub const KINDS: &'static [&'static str] = &[$($word),+];

            fn visit(&mut self, visit: Visit<'_>) {
                match self { $(Self::$variant(options) => options.visit(visit),)+ }
            }
        }
    };
}

questions! {
    /// A member of a cluster is what it should be.
    Member = "member",
    /// A cluster is what it should be.
    Cluster = "cluster",
    /// A query gives the expected answer.
    Query = "query",
    /// A request is answered as expected.
    Answers = "answers",
    /// A program ends well.
    Runs = "runs",
    /// A source has a snapshot that is good and young enough.
    Snapshot = "snapshot",
    /// A source can be restored to an instant that is near enough.
    Recoverable = "recoverable",
    /// A repository answers.
    Repository = "repository",
    /// A path is there, or not.
    Path = "path",
    /// A value is as expected.
    Value = "value",
}

impl Check {
    /// Walks over all templates.
    pub fn visit(&mut self, visit: Visit<'_>) {
        self.title.iter_mut().for_each(|template| visit("title", template));
        self.question.visit(visit);
    }

    /// The check with all values in place.
    ///
    /// # Errors
    /// The name of the first value that is not known.
    pub fn resolved(&self, values: &Values) -> Result<Self, String> {
        let mut check = self.clone();
        put_in(values, |visit| check.visit(visit))?;
        Ok(check)
    }

    /// The check with the values that are known in place, to be shown.
    #[must_use]
    pub fn filled(&self, values: &Values) -> Self {
        let mut check = self.clone();
        check.visit(&mut |_, template| *template = template.filled(values));
        check
    }

    /// What it is about and what is expected, in a few words.
    pub fn words(&self) -> String {
        if let Some(title) = &self.title {
            return title.text();
        }
        match &self.question {
            Question::Member(ask) => {
                let lag = ask.max_lag.as_ref();
                let lag = lag.map_or_else(String::new, |lag| format!(", at most {} behind", lag.text()));
                format!("{} {}{lag}", ask.member.text(), ask.is.words())
            }
            Question::Cluster(ask) => format!("{} {}", ask.cluster.text(), ask.is.words()),
            Question::Query(ask) => format!("{} at {} is {}", ask.sql.text(), ask.at.words(), ask.expect),
            Question::Answers(ask) => {
                let status = ask.status.map_or_else(String::new, |status| format!(" {status}"));
                format!("{} answers{status}{}", ask.url.text(), saying(ask.contains.as_ref()))
            }
            Question::Runs(ask) => {
                let exit = ask.exit.filter(|exit| *exit != 0);
                let ends = exit.map_or("ends well".to_owned(), |exit| format!("ends with status {exit}"));
                format!(
                    "{} {ends}{}",
                    command_words(&ask.command),
                    saying(ask.contains.as_ref())
                )
            }
            Question::Snapshot(ask) => {
                let level = ask.level.map_or("written", EvidenceLevel::word);
                let age = ask.max_age.as_ref();
                let age = age.map_or_else(String::new, |age| format!(" and at most {} old", age.text()));
                format!("{} has a snapshot that is {level}{age}", ask.source.text())
            }
            Question::Recoverable(ask) => {
                format!("{} loses at most {}", ask.source.text(), ask.max_loss.text())
            }
            Question::Repository(ask) => {
                let name = ask.repository.text();
                ask.max_used.map_or_else(
                    || format!("repository {name} answers"),
                    |most| format!("at most {most}% of what repository {name} may take is used"),
                )
            }
            Question::Path(ask) if ask.exists => format!("{} is there", ask.path.text()),
            Question::Path(ask) => format!("{} is not there", ask.path.text()),
            Question::Value(ask) => format!("{} {}", ask.value.text(), ask.expect),
        }
    }
}

fn saying(contains: Option<&Template>) -> String {
    contains.map_or_else(String::new, |text| format!(" and says \"{}\"", text.text()))
}

/// A command as it would be typed.
pub(super) fn command_words(command: &[Template]) -> String {
    command
        .iter()
        .map(|word| quoted(&word.text()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A word as it would be typed.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,{}%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// It holds.
    Holds,
    /// It does not.
    Fails,
    /// Nobody can tell.
    Unknown,
}

/// The title of the check that says what a restore would do now.
pub const PLAN: &str = "plan";

/// What was asked and what came of it; kept as evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// What it is about.
    pub title: String,
    /// What it came to.
    pub outcome: CheckOutcome,
    /// What was seen.
    pub detail: String,
}

impl CheckResult {
    /// Whether it holds.
    pub fn holds(&self) -> bool {
        self.outcome == CheckOutcome::Holds
    }
}

/// What several checks came to: the worst of them. None at all hold.
pub fn together(results: &[CheckResult]) -> CheckOutcome {
    let any = |outcome| results.iter().any(|result| result.outcome == outcome);
    if any(CheckOutcome::Fails) {
        CheckOutcome::Fails
    } else if any(CheckOutcome::Unknown) {
        CheckOutcome::Unknown
    } else {
        CheckOutcome::Holds
    }
}
