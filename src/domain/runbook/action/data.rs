//! What people, snapshots and recoveries are asked for: the options of the actions on data, and of those that only wait or ask.

use serde::{Deserialize, Serialize};

use super::Visit;
use crate::domain::runbook::template::Template;
use crate::domain::snapshot::EvidenceLevel;

/// An action without options.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl Nothing {
    #[expect(clippy::unused_self, reason = "called like that of every other action")]
    pub(super) fn visit(&mut self, _: Visit<'_>) {}
}

/// What a person does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manual {
    /// The instruction.
    pub instruction: Template,
}

impl Manual {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [instruction], [], []);
    }
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// How long; until the checks of the step hold when absent.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub length: Option<Template>,
}

impl Wait {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [], [length], []);
    }
}

/// A value somebody decides on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choose {
    /// The variable that gets the value.
    pub variable: String,
    /// What to consider.
    pub question: Template,
}

impl Choose {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [question], [], []);
    }
}

/// What another person agrees to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// The question.
    pub question: Template,
}

impl Approve {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [question], [], []);
    }
}

/// A job that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Its name.
    pub job: Template,
}

impl Backup {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [job], [], []);
    }
}

/// A snapshot that is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// Its id, or `latest:SOURCE`.
    pub snapshot: Template,
    /// The directory, or the name of the new database.
    pub target: Template,
    /// Only these paths, or tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<Template>,
    /// Whether what is in the target already is compared and kept where it is the same.
    #[serde(default)]
    pub delta: bool,
}

impl Restore {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [snapshot, target], [], [include]);
    }
}

/// A recovery to an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recover {
    /// The source.
    pub source: Template,
    /// The instant: a time, an LSN, a transaction, a named point, or `latest`.
    pub to: Template,
    /// The directory of the new server.
    pub target: Template,
}

impl Recover {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [source, to, target], [], []);
    }
}

/// A snapshot that is proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// Its id, or `latest:SOURCE`.
    pub snapshot: Template,
    /// How far.
    pub level: EvidenceLevel,
}

impl Verify {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [snapshot], [], []);
    }
}

/// A drill that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// Its name in the configuration.
    #[serde(rename = "name")]
    pub drill: Template,
}

impl Drill {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [drill], [], []);
    }
}

/// A search for the last snapshot before something bad happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindClean {
    /// The job whose snapshots are looked through.
    pub job: Template,
}

impl FindClean {
    pub(super) fn visit(&mut self, visit: Visit<'_>) {
        walk!(visit, self, [job], [], []);
    }
}
