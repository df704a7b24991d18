//! Which rows of history somebody wants to see.

use serde::{Deserialize, Serialize};

use crate::domain::snapshot::EvidenceLevel;
use crate::domain::units::Timestamp;

/// Which rows of history are wanted. Absent means any.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Query {
    /// Of this job.
    pub job: Option<String>,
    /// Of this source.
    pub source: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// With this tag.
    pub tag: Option<String>,
    /// Proved at least to this level.
    pub evidence: Option<EvidenceLevel>,
    /// Snapshots: begins with these digits. Runs and recoveries: this id. Journal: this event word.
    pub id: Option<String>,
    /// Contains this text, anywhere people can see it.
    pub text: Option<String>,
    /// Snapshots: only those in the trash.
    pub trash: Option<bool>,
    /// Snapshots: those that are gone, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<bool>,
    /// Where the page begins.
    pub cursor: Option<String>,
    /// How many rows, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
}
