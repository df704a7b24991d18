//! Why there is no plan, in words that name the segment, the instant and what to do instead.

use serde::Serialize;

use super::{Missing, Target, instant};
use crate::domain::units::Timestamp;
use crate::domain::wal::{Lsn, TimelineId};

/// Why a target cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Refusal {
    /// There is nothing to begin from.
    #[error("there is no base backup of this cluster to begin from")]
    NoBase,
    /// The snapshot that was asked for is not a base backup of this cluster.
    #[error("snapshot {base} is no base backup of this cluster")]
    NoSuchBase {
        /// The id that was asked for.
        base: String,
    },
    /// Nothing is known of that timeline.
    #[error("nothing is known of timeline {timeline}; there is {}", list(known))]
    NoSuchTimeline {
        /// The one that was asked for.
        timeline: TimelineId,
        /// Those that are known.
        known: Vec<TimelineId>,
    },
    /// Nothing says what a timeline descends from.
    #[error("the history file of timeline {timeline} is not in the archive, so nothing says what it descends from")]
    NoHistory {
        /// The timeline.
        timeline: TimelineId,
    },
    /// No base backup lies on the way to that timeline.
    #[error("no base backup lies on the way to timeline {timeline}")]
    NotOnTimeline {
        /// The timeline.
        timeline: TimelineId,
    },
    /// It lies before everything that can be restored.
    #[error("{target} is before the first restorable instant, {} (position {first})", instant(*first_at))]
    BeforeFirst {
        /// What was asked for.
        target: Target,
        /// The first place.
        first: Lsn,
        /// When it was written.
        first_at: Timestamp,
    },
    /// It lies behind everything that can be restored.
    #[error("{target} is after the last restorable instant, {}position {last}", at_and(*last_at))]
    AfterLast {
        /// What was asked for.
        target: Target,
        /// The first byte that is not there.
        last: Lsn,
        /// When the newest transaction in the archive was committed.
        last_at: Option<Timestamp>,
    },
    /// It lies where the log has a hole.
    #[error(
        "{target} cannot be reached: segment {} is missing{}; restorable is everything up to {}position {from}{}",
        missing.first, resumes(missing), at_and(*from_at), again(*to, *to_at)
    )]
    Gap {
        /// What was asked for.
        target: Target,
        /// What is missing.
        missing: Missing,
        /// The first place that cannot be had.
        from: Lsn,
        /// When the newest transaction before it was committed, when that is known.
        from_at: Option<Timestamp>,
        /// The first place that can be had again.
        to: Option<Lsn>,
        /// When that one was written.
        to_at: Option<Timestamp>,
    },
    /// The log does not have it.
    #[error("{target} is not in the log from {from} to {to}")]
    NotFound {
        /// What was asked for.
        target: Target,
        /// Where the search began.
        from: Lsn,
        /// Where it ended.
        to: Lsn,
    },
}

fn list(timelines: &[TimelineId]) -> String {
    let words: Vec<String> = timelines.iter().map(ToString::to_string).collect();
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}

fn at_and(at: Option<Timestamp>) -> String {
    at.map(|at| format!("{}, ", instant(at))).unwrap_or_default()
}

fn resumes(missing: &Missing) -> String {
    let text = missing
        .resumes
        .map(|resumes| format!(" (the archive goes on with {resumes})"));
    text.unwrap_or_default()
}

fn again(to: Option<Lsn>, at: Option<Timestamp>) -> String {
    match (to, at) {
        (Some(to), Some(at)) => format!(", and again from {}, position {to}", instant(at)),
        _ => String::new(),
    }
}

impl Refusal {
    /// What to do instead.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoBase | Self::NotOnTimeline { .. } => {
                "take a base backup: a job whose source is of the kind postgres-physical"
            }
            Self::NoSuchBase { .. } => "see them with: lifeboat snapshot list",
            Self::NoSuchTimeline { .. } => "see what the archive holds with: lifeboat wal list",
            Self::NoHistory { .. } => {
                "find that file in pg_wal of the server that was promoted, and push it: lifeboat wal push"
            }
            Self::BeforeFirst { .. } => "choose a later target, or --immediate",
            Self::AfterLast { .. } => "choose an earlier target, or --latest for everything there is",
            Self::Gap { .. } => {
                "look for that segment in pg_wal of the server or its standbys and push it (lifeboat wal push), or choose another target"
            }
            Self::NotFound { .. } => "check the name or number, and the timeline",
        }
    }
}
