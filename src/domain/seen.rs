//! What is known and is neither configured nor in the journal: measurements that are made again every few seconds.
//!
//! Decisions may look at them, and say what they saw in the events they lead to. After a start nothing was seen yet, which is
//! not the same as having seen that nothing is there.

use super::capacity::RoomSight;
use super::cluster::health::Sight;
use super::id::SourceName;
use super::pitr::LogSight;

/// What was seen last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// How the logs of clusters stand, one a source and repository.
    pub logs: Vec<LogSight>,
    /// How much room each repository has, where that can be said.
    pub rooms: Vec<RoomSight>,
    /// How the replicated clusters do, one each.
    pub clusters: Vec<Sight>,
}

impl Seen {
    /// How the log of a source stands, in each repository that has one.
    pub fn logs_of<'a>(&'a self, source: &'a SourceName) -> impl Iterator<Item = &'a LogSight> {
        self.logs.iter().filter(move |sight| sight.source == *source)
    }
}
