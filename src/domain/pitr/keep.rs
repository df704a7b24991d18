//! Which log nobody needs any more.
//!
//! Log is needed from the beginning of the oldest base backup that somebody may still recover from. Everything before that
//! place is needed by nobody, on any timeline: a base backup brings what is before its own beginning. So there is one number,
//! the floor, and nothing at or behind it ever goes, whatever timeline it is on; that keeps a little more than is needed, and
//! never less. Histories stay for ever: they are small, and the way through the timelines is lost without them.
//!
//! With a window, log is kept so that every instant of the last so many days can be had: from the newest base backup that
//! is at least that old. Older base backups are then restored to their own end only, which needs no log but their own.
//!
//! A base backup that is in use, by a recovery or by a recovered server that waits, needs its log whatever the window says.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Base;
use crate::domain::id::SnapshotId;
use crate::domain::units::{Millis, Timestamp};
use crate::domain::wal::{Lsn, SegmentSize, WalName};

/// Why nothing may go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum KeepAll {
    /// Nothing says from where log is needed.
    #[error("there is no base backup of this cluster, so nothing says which log is needed")]
    NoBase,
}

/// From where log is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Floor {
    /// The number of the first segment that is needed, on whatever timeline.
    pub number: u64,
    /// The place that is needed first.
    pub lsn: Lsn,
    /// The base backup that needs it.
    pub base: Base,
}

/// Works out from where log is needed: by every base backup, or by a window of time up to `now` and by those in use.
///
/// # Errors
/// Keep everything, when there is nothing to go by.
pub fn floor(
    bases: &[Base],
    in_use: &BTreeSet<SnapshotId>,
    window: Option<Millis>,
    now: Timestamp,
    size: SegmentSize,
) -> Result<Floor, KeepAll> {
    let old_enough = window.and_then(|window| {
        let begins = now.checked_sub_signed(window.to_chrono())?;
        let older = bases.iter().filter(|base| base.facts.stopped_at <= begins);
        older.map(|base| base.facts.stopped_at).max()
    });
    let needed = bases
        .iter()
        .filter(|base| in_use.contains(&base.id) || old_enough.is_none_or(|oldest| base.facts.stopped_at >= oldest));
    let base = needed.min_by_key(|base| base.facts.start_lsn).ok_or(KeepAll::NoBase)?;
    Ok(Floor {
        number: base.facts.start_lsn.0 / size.bytes(),
        lsn: base.facts.start_lsn,
        base: base.clone(),
    })
}

/// Whether a file of the log lies wholly in front of the floor; histories never do.
pub fn may_go(name: WalName, floor: u64, size: SegmentSize) -> bool {
    let number = name.of_segment().and_then(|segment| segment.number(size));
    number.is_some_and(|number| number < floor)
}
