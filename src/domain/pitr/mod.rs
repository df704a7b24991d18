//! Point-in-time recovery, thought through before anything is touched: which instants can be had, and how.
//!
//! A cluster can be brought to every place of its log that lies behind the end of some base backup and in front of the
//! first segment that is missing after it. This room works out those stretches ([`interval`]), turns a wish into a plan or
//! into the exact reason why not ([`plan`](mod@plan)), and says which log nobody needs any more ([`keep`]). Everything follows
//! from what a listing of the archive says, the facts of the snapshots, and the places somebody found by reading the log.
//!
//! **Exact, and bounds.** The end of a base backup is exact: its stop record was written at that place at that time. The time
//! of a commit record that was read is exact. Whatever is between two such places is not known by time, only by place; a
//! [`Place`] says which it is.
//!
//! **Never across a gap.** A plan names the segments it needs, and every one of them is in the archive or in the snapshot.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `mod` | what is known: [`Base`], [`Log`]; what is wished: [`Wish`] |
//! | [`line`] | the way from a base along the timelines, and how far it is whole |
//! | [`interval`] | what can be restored, stretch by stretch, and what lies between |
//! | [`plan`](mod@plan) | a wish into a plan |
//! | [`refusal`] | why there is no plan, and what to do instead |
//! | [`keep`] | what may go |
//! | [`watch`] | how far the archive is behind the server |
//!
//! What this room never does: read a file, ask for the time, or guess what lies behind a missing segment.

pub mod interval;
pub mod keep;
pub mod line;
pub mod plan;
mod read;
pub mod refusal;
pub mod watch;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use interval::{Hole, Interval, intervals};
pub use line::{Leg, Missing, Reach};
pub use plan::{Plan, Search, plan, search};
pub use read::in_zone;
pub use refusal::Refusal;
pub use watch::{LogSight, LogWatch, Looked, ReceiverSight, Written};

use super::id::SnapshotId;
use super::snapshot::ClusterFacts;
use super::units::{Bytes, Timestamp};
use super::wal::{Continuity, History, Lsn, SegmentName, SegmentSize, TimelineId};

/// A snapshot of a cluster to begin from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The snapshot.
    pub id: SnapshotId,
    /// What it says of its cluster.
    #[serde(flatten)]
    pub facts: ClusterFacts,
    /// What it holds, in bytes to be laid down.
    pub size: Bytes,
}

/// What an archive holds of one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// The size of its segments.
    pub size: SegmentSize,
    /// What is there, and what is not.
    pub continuity: Continuity,
    /// Where timelines branched off, by timeline.
    pub histories: BTreeMap<TimelineId, History>,
    /// The longest beginnings of segments that were still growing, with their lengths in bytes.
    pub growing: BTreeMap<SegmentName, u64>,
}

/// Where recovery is to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "value")]
pub enum Target {
    /// With everything the archive has.
    Latest,
    /// As soon as the copy is consistent: the end of its base backup.
    Immediate,
    /// With what was committed by then.
    Time(Timestamp),
    /// At a place of the log.
    Lsn(Lsn),
    /// At the end of a transaction.
    Xid(u64),
    /// At a named restore point.
    Name(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("the end of the log"),
            Self::Immediate => f.write_str("the end of a base backup"),
            Self::Time(at) => write!(f, "{}", instant(*at)),
            Self::Lsn(lsn) => write!(f, "position {lsn}"),
            Self::Xid(xid) => write!(f, "transaction {xid}"),
            Self::Name(name) => write!(f, "restore point \"{name}\""),
        }
    }
}

/// An instant as it is told: to the microsecond where that matters, in UTC.
pub fn instant(at: Timestamp) -> String {
    if at.timestamp_subsec_micros() == 0 {
        at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
    } else {
        at.format("%Y-%m-%d %H:%M:%S%.6f UTC").to_string()
    }
}

/// Which line of history is followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimelineChoice {
    /// The newest that descends from a base backup.
    #[default]
    Latest,
    /// The one the base backup was taken on.
    Current,
    /// This one.
    Number(TimelineId),
}

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Where to end.
    pub target: Target,
    /// Whether what happened exactly there is included.
    pub inclusive: bool,
    /// The line of history.
    pub timeline: TimelineChoice,
    /// The snapshot to begin from; the newest that fits when absent.
    pub base: Option<SnapshotId>,
}

/// What reading the log has found about a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Nobody has looked.
    Unknown,
    /// Recovery ends at the record that begins here.
    At {
        /// Where that record begins.
        lsn: Lsn,
    },
    /// The log that was searched ends before it; the newest commit in it.
    Behind {
        /// When the newest transaction in the log was committed.
        last: Option<Timestamp>,
    },
    /// The log that was searched does not have it.
    Nowhere,
}
