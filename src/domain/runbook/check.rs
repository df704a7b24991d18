//! Checks: questions with an expected answer, asked before a step acts and after.
//!
//! A check holds, does not hold, or **cannot be told** ([`CheckOutcome::Unknown`]): a server that does not answer is not a
//! server that is down. What cannot be told never counts as held.

use serde::{Deserialize, Serialize};

use super::action::{Server, Visit, put_in};
use super::template::{Template, Values};
use crate::domain::job::Expectation;
use crate::domain::snapshot::EvidenceLevel;

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

/// What a member of a cluster may be asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberIs {
    /// It answers and takes writes, or would.
    Primary,
    /// It answers and replays.
    Standby,
    /// It answers.
    Up,
    /// It does not answer, and nothing runs on its data directory as far as this machine can see.
    Down,
    /// It does not answer; whether it is down is another question.
    Silent,
    /// It is fenced, proved.
    Fenced,
    /// It is a primary that new transactions may write to.
    Writable,
    /// It is a standby that streams from the primary.
    Streaming,
}

impl MemberIs {
    /// The words for it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Primary => "is a primary",
            Self::Standby => "is a standby",
            Self::Up => "answers",
            Self::Down => "is down",
            Self::Silent => "does not answer",
            Self::Fenced => "is fenced",
            Self::Writable => "takes writes",
            Self::Streaming => "streams from the primary",
        }
    }
}

/// A member of a cluster is what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The cluster.
    pub cluster: Template,
    /// The member.
    pub member: Template,
    /// What it should be.
    pub is: MemberIs,
    /// A standby may be this far behind, as a length of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lag: Option<Template>,
}

/// What a cluster may be asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterIs {
    /// Exactly one member takes writes.
    OnePrimary,
    /// No member takes writes.
    NoPrimary,
    /// Nothing about it is a sign of trouble.
    Healthy,
}

impl ClusterIs {
    /// The words for it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::OnePrimary => "has exactly one primary",
            Self::NoPrimary => "has no primary that takes writes",
            Self::Healthy => "is healthy",
        }
    }
}

/// A cluster is what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The cluster.
    pub cluster: Template,
    /// What it should be.
    pub is: ClusterIs,
}

/// A query gives the expected answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Where.
    pub at: Server,
    /// A query that yields one value.
    pub sql: Template,
    /// The answer.
    pub expect: Expectation,
}

/// A request is answered as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Where to.
    pub url: Template,
    /// The status; 200 to 299 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What the answer has to contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<Template>,
}

/// A program ends well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runs {
    /// The program and its arguments.
    pub command: Vec<Template>,
    /// The status it should end with; 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// What it has to print.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<Template>,
}

/// A source has a snapshot that is good and young enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The source.
    pub source: Template,
    /// Its evidence, at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<EvidenceLevel>,
    /// Its age, at most, as a length of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Template>,
}

/// A source can be restored to an instant that is near enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recoverable {
    /// The source.
    pub source: Template,
    /// What may be lost, at most, as a length of time.
    pub max_loss: Template,
}

/// A repository answers, and has room left when that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// The repository.
    #[serde(rename = "name")]
    pub repository: Template,
    /// How much of its disk and of its `max_size` may be used at most, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_used: Option<u8>,
}

/// A path is there, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Path {
    /// The path, on the machine of the agent.
    pub path: Template,
    /// Whether it should be there; it should when nothing is said.
    #[serde(default = "yes")]
    pub exists: bool,
}

fn yes() -> bool {
    true
}

/// A value is as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// What is looked at.
    pub value: Template,
    /// What it should be.
    pub expect: Expectation,
}

impl Member {
    fn visit(&mut self, visit: Visit<'_>) {
        visit("cluster", &mut self.cluster);
        visit("member", &mut self.member);
        self.max_lag.iter_mut().for_each(|template| visit("max_lag", template));
    }
}

impl Cluster {
    fn visit(&mut self, visit: Visit<'_>) {
        visit("cluster", &mut self.cluster);
    }
}

impl Query {
    fn visit(&mut self, visit: Visit<'_>) {
        self.at.visit(visit);
        visit("sql", &mut self.sql);
    }
}

impl Answers {
    fn visit(&mut self, visit: Visit<'_>) {
        visit("url", &mut self.url);
        self.contains
            .iter_mut()
            .for_each(|template| visit("contains", template));
    }
}

impl Runs {
    fn visit(&mut self, visit: Visit<'_>) {
        self.command.iter_mut().for_each(|template| visit("command", template));
        self.contains
            .iter_mut()
            .for_each(|template| visit("contains", template));
    }
}

impl Snapshot {
    fn visit(&mut self, visit: Visit<'_>) {
        visit("source", &mut self.source);
        self.max_age.iter_mut().for_each(|template| visit("max_age", template));
    }
}

impl Recoverable {
    fn visit(&mut self, visit: Visit<'_>) {
        visit("source", &mut self.source);
        visit("max_loss", &mut self.max_loss);
    }
}

impl Repository {
    fn visit(&mut self, visit: Visit<'_>) {
        visit("name", &mut self.repository);
    }
}

impl Path {
    fn visit(&mut self, visit: Visit<'_>) {
        visit("path", &mut self.path);
    }
}

impl Value {
    fn visit(&mut self, visit: Visit<'_>) {
        visit("value", &mut self.value);
    }
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

    /// What it is about, in a few words.
    pub fn words(&self) -> String {
        if let Some(title) = &self.title {
            return title.text();
        }
        match &self.question {
            Question::Member(ask) => format!("{} {}", ask.member.text(), ask.is.words()),
            Question::Cluster(ask) => format!("{} {}", ask.cluster.text(), ask.is.words()),
            Question::Query(ask) => format!("{} at {} is {}", ask.sql.text(), ask.at.words(), ask.expect),
            Question::Answers(ask) => format!("{} answers", ask.url.text()),
            Question::Runs(ask) => format!("{} ends well", command_words(&ask.command)),
            Question::Snapshot(ask) => {
                let level = ask.level.map_or("written", EvidenceLevel::word);
                format!("{} has a snapshot that is {level}", ask.source.text())
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

/// A command as it would be typed.
pub(super) fn command_words(command: &[Template]) -> String {
    let word = |template: &Template| {
        let text = template.text();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,{}%+".contains(c);
        if !text.is_empty() && text.chars().all(plain) {
            text
        } else {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
    };
    command.iter().map(word).collect::<Vec<_>>().join(" ")
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
