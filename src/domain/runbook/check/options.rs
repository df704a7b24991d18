//! What each kind of question needs to know.

use serde::{Deserialize, Serialize};

use crate::domain::job::Expectation;
use crate::domain::runbook::action::{Server, Visit};
use crate::domain::runbook::template::Template;
use crate::domain::snapshot::EvidenceLevel;

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
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        visit("cluster", &mut self.cluster);
        visit("member", &mut self.member);
        self.max_lag.iter_mut().for_each(|template| visit("max_lag", template));
    }
}

impl Cluster {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        visit("cluster", &mut self.cluster);
    }
}

impl Query {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        self.at.visit(visit);
        visit("sql", &mut self.sql);
    }
}

impl Answers {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        visit("url", &mut self.url);
        self.contains
            .iter_mut()
            .for_each(|template| visit("contains", template));
    }
}

impl Runs {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        self.command.iter_mut().for_each(|template| visit("command", template));
        self.contains
            .iter_mut()
            .for_each(|template| visit("contains", template));
    }
}

impl Snapshot {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        visit("source", &mut self.source);
        self.max_age.iter_mut().for_each(|template| visit("max_age", template));
    }
}

impl Recoverable {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        visit("source", &mut self.source);
        visit("max_loss", &mut self.max_loss);
    }
}

impl Repository {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        visit("name", &mut self.repository);
    }
}

impl Path {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        visit("path", &mut self.path);
    }
}

impl Value {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        visit("value", &mut self.value);
    }
}
