//! Timeline history files: where each timeline before this one ended, and why.
//!
//! One line an ancestor, oldest first: its number, the position at which it was left, the reason, separated by tabs.
//! PostgreSQL also allows empty lines and comments (`src/backend/access/transam/timeline.c`).

use serde::{Deserialize, Serialize};

use super::{Lsn, NotWal, TimelineId};

/// The end of one timeline, where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The timeline that was left.
    pub timeline: TimelineId,
    /// Where it was left: the first byte that is not on it any more.
    pub at: Lsn,
    /// Why, in PostgreSQL's words; may be empty.
    pub reason: String,
}

/// What a timeline descends from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The timeline.
    pub timeline: TimelineId,
    /// Its ancestors, oldest first.
    pub ancestors: Vec<Switch>,
}

impl History {
    /// Reads the file of a timeline.
    pub fn parse(timeline: TimelineId, text: &str) -> Result<Self, NotWal> {
        let mut ancestors: Vec<Switch> = Vec::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let wrong = || NotWal::new(line, "a line of a timeline history: a timeline, a position, a reason");
            let mut words = line.splitn(3, char::is_whitespace);
            let mut word = || words.next().map(str::trim).filter(|word| !word.is_empty());
            let number: u32 = word().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
            let at: Lsn = word().ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
            let reason = words.next().unwrap_or_default().trim().to_owned();
            let after = ancestors.last().map_or(0, |before| before.timeline.0);
            let rising = number > after && number < timeline.0;
            if !rising || ancestors.last().is_some_and(|before| before.at > at) {
                return Err(NotWal::new(
                    line,
                    "the next older ancestor: timelines and positions only grow",
                ));
            }
            let timeline = TimelineId(number);
            ancestors.push(Switch { timeline, at, reason });
        }
        Ok(Self { timeline, ancestors })
    }

    /// The timeline it branched off, and where; none for one that began with its cluster.
    pub fn parent(&self) -> Option<&Switch> {
        self.ancestors.last()
    }
}
