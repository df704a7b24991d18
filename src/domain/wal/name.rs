//! Names of the files of a write-ahead log, as PostgreSQL writes them.
//!
//! | name | what it is |
//! | --- | --- |
//! | `0000000100000000000000A3` | a segment: timeline, high and low part of its number, eight digits each |
//! | `0000000100000000000000A3.partial` | the last segment of a timeline, as far as it was when a server left it |
//! | `00000002.history` | where the timelines before 2 ended |
//! | `0000000100000000000000A3.00000028.backup` | where a base backup began and ended |

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Lsn, NotWal, SegmentSize, TimelineId, hexadecimal};

const EXPECTED: &str = "the name of a WAL file; one looks like 0000000100000000000000A3";

/// The name of one segment. The order of the names is the order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The timeline it was written on.
    pub timeline: TimelineId,
    high: u32,
    low: u32,
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}{:08X}{:08X}", self.timeline.hex(), self.high, self.low))
    }
}

impl FromStr for SegmentName {
    type Err = NotWal;

    fn from_str(text: &str) -> Result<Self, NotWal> {
        let part = |from: usize| text.get(from..from + 8).and_then(|digits| hexadecimal(digits, 8..=8));
        let whole = (text.len() == 24).then(|| {
            Some(Self {
                timeline: TimelineId::from_hex(text.get(..8)?)?,
                high: part(8)?,
                low: part(16)?,
            })
        });
        whole.flatten().ok_or_else(|| NotWal::new(text, EXPECTED))
    }
}

impl SegmentName {
    /// The segment of a timeline that holds the byte at `lsn`.
    pub fn holding(lsn: Lsn, timeline: TimelineId, size: SegmentSize) -> Self {
        Self::numbered(timeline, lsn.0 / size.bytes(), size)
    }

    /// The `number`-th segment of a timeline, counted from 0 at the beginning of the log.
    ///
    /// Numbers past the end of the address space, which no log reaches, wrap.
    pub fn numbered(timeline: TimelineId, number: u64, size: SegmentSize) -> Self {
        // Both parts have 32 bits: the remainder is below `per_log`, and the quotient of a position is below 2^32.
        let [high, low] = [number / size.per_log(), number % size.per_log()].map(|part| (part & 0xffff_ffff) as u32);
        Self { timeline, high, low }
    }

    /// Which segment it is, counted from 0; none when segments of that size have no such name.
    pub fn number(self, size: SegmentSize) -> Option<u64> {
        let low = u64::from(self.low);
        (low < size.per_log()).then(|| u64::from(self.high) * size.per_log() + low)
    }

    /// The place of its first byte; none when segments of that size have no such name.
    pub fn start(self, size: SegmentSize) -> Option<Lsn> {
        self.number(size).map(|number| Lsn(number * size.bytes()))
    }

    /// The segment after it on the same timeline.
    pub fn next(self, size: SegmentSize) -> Option<Self> {
        let number = self.number(size)?.checked_add(1)?;
        (number < size.per_log() << 32).then(|| Self::numbered(self.timeline, number, size))
    }

    /// The segment before it on the same timeline; none before the first.
    pub fn previous(self, size: SegmentSize) -> Option<Self> {
        let number = self.number(size)?.checked_sub(1)?;
        Some(Self::numbered(self.timeline, number, size))
    }

    /// The segment at the same place of another timeline.
    #[must_use]
    pub fn on(self, timeline: TimelineId) -> Self {
        Self { timeline, ..self }
    }
}

impl Serialize for SegmentName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SegmentName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The name of any file PostgreSQL archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WalName {
    /// Where the timelines before this one ended. First: whoever follows the log needs these before any segment.
    History(TimelineId),
    /// A whole segment.
    Segment(SegmentName),
    /// The last segment of a timeline, as far as it was when a server left it.
    Partial(SegmentName),
    /// Where a base backup began and ended; the offset is that of its beginning.
    Backup(SegmentName, u32),
}

impl WalName {
    /// The timeline it belongs to; a history file belongs to the one it begins.
    pub fn timeline(self) -> TimelineId {
        match self {
            Self::History(timeline) => timeline,
            Self::Segment(name) | Self::Partial(name) | Self::Backup(name, _) => name.timeline,
        }
    }

    /// The segment it is, or is a part or a note of; none for a history.
    pub fn of_segment(self) -> Option<SegmentName> {
        match self {
            Self::History(_) => None,
            Self::Segment(name) | Self::Partial(name) | Self::Backup(name, _) => Some(name),
        }
    }

    /// The segment, when it is a whole one.
    pub fn segment(self) -> Option<SegmentName> {
        match self {
            Self::Segment(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for WalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::History(timeline) => f.pad(&format!("{}.history", timeline.hex())),
            Self::Segment(name) => name.fmt(f),
            Self::Partial(name) => f.pad(&format!("{name}.partial")),
            Self::Backup(name, offset) => f.pad(&format!("{name}.{offset:08X}.backup")),
        }
    }
}

impl FromStr for WalName {
    type Err = NotWal;

    fn from_str(text: &str) -> Result<Self, NotWal> {
        let Some((stem, kind)) = text.rsplit_once('.') else {
            return text.parse().map(Self::Segment);
        };
        let read = match kind {
            "history" => TimelineId::from_hex(stem).map(Self::History),
            "partial" => stem.parse().ok().map(Self::Partial),
            "backup" => stem.split_once('.').and_then(|(name, offset)| {
                let offset = hexadecimal(offset, 8..=8)?;
                Some(Self::Backup(name.parse().ok()?, offset))
            }),
            _ => None,
        };
        read.ok_or_else(|| NotWal::new(text, EXPECTED))
    }
}
