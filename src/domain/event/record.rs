//! An event with its place in the journal, who caused it and when.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::domain::command::Actor;
use crate::domain::id::RepositoryName;
use crate::domain::maintenance::Task;
use crate::domain::units::Timestamp;

/// What is done to which repository, in a few words.
pub(super) fn task_words(task: &Task, repository: &RepositoryName) -> String {
    match task.subject() {
        none if none.is_empty() => format!("{} {repository}", task.word()),
        subject => format!("{} {subject} in {repository}", task.word()),
    }
}

/// An event as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Its place in the journal, from one, without gaps.
    pub seq: u64,
    /// When it was appended.
    pub at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// The version of the vocabulary it was written in.
    pub version: u32,
    /// What happened.
    pub event: Event,
    /// SHA-256 of the record before it, hexadecimal; zeros for the first.
    pub previous_hash: String,
    /// SHA-256 of this record, hexadecimal.
    pub hash: String,
}
