//! The write-ahead log of PostgreSQL in words: positions, timelines, segments, and what a set of them adds up to.
//!
//! A cluster is a **system** ([`SystemId`], given once by `initdb`). Its log is one long line of bytes; a place on it is an
//! [`Lsn`]. The line is cut into **segments** of equal size, which is chosen once for a cluster ([`SegmentSize`]). Whenever a
//! server is promoted, its line branches off: a new [`TimelineId`] begins, and a [`history`] file says where.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `mod` | [`Lsn`], [`TimelineId`], [`SystemId`], [`SegmentSize`] |
//! | [`name`] | names of segments and of the files beside them, read and written |
//! | [`history`] | timeline history files |
//! | [`continuity`] | from the names in an archive: ranges, gaps, the tree of timelines, signs of two servers writing one |
//!
//! What this room never does: read a file, or guess. A name that does not follow PostgreSQL's rules is no name.

pub mod continuity;
pub mod history;
pub mod name;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use continuity::{Branch, Continuity, Gap, Range, TimelineContinuity};
pub use history::{History, Switch};
pub use name::{SegmentName, WalName};

/// A text that is not what it should be: a position, an id, a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not {expected}")]
pub struct NotWal {
    /// What was given.
    pub text: String,
    /// What was expected, with an example.
    pub expected: &'static str,
}

impl NotWal {
    fn new(text: &str, expected: &'static str) -> Self {
        let text = text.chars().take(80).collect();
        Self { text, expected }
    }
}

/// A place in the log of a cluster, in bytes from its beginning; people write it `16/B374D848`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff))
    }
}

impl FromStr for Lsn {
    type Err = NotWal;

    fn from_str(text: &str) -> Result<Self, NotWal> {
        let wrong = || NotWal::new(text, "a position in the log; one looks like 16/B374D848");
        let (high, low) = text.trim().split_once('/').ok_or_else(wrong)?;
        let part = |digits: &str| hexadecimal(digits, 1..=8).map(u64::from).ok_or_else(wrong);
        Ok(Self(part(high)? << 32 | part(low)?))
    }
}

impl Lsn {
    /// How many bytes lie between an earlier place and this one; zero when it is not earlier.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A line of history of a cluster; the first is 1, each promotion begins a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimelineId(pub u32);

impl fmt::Display for TimelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl TimelineId {
    /// The eight hexadecimal digits that stand for it in file names.
    pub fn hex(self) -> String {
        format!("{:08X}", self.0)
    }

    /// Reads the eight digits of a file name; there is no timeline 0.
    pub fn from_hex(text: &str) -> Option<Self> {
        hexadecimal(text, 8..=8).filter(|id| *id > 0).map(Self)
    }
}

/// What `initdb` gave a cluster; the same on its standbys and on everything restored from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemId(pub u64);

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl FromStr for SystemId {
    type Err = NotWal;

    fn from_str(text: &str) -> Result<Self, NotWal> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        text.parse()
            .ok()
            .filter(|_| digits)
            .map(Self)
            .ok_or_else(|| NotWal::new(text, "a system identifier; one looks like 7301234567890123456"))
    }
}

// Numbers of this size do not survive every JSON reader, and people compare them as text.
macro_rules! as_text {
    ($($name:ident),+) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
as_text!(Lsn, SystemId);

/// The size of the segments of a cluster in bytes: a power of two from 1 MiB to 1 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct SegmentSize(u64);

impl Default for SegmentSize {
    /// What `initdb` chooses when nobody says otherwise.
    fn default() -> Self {
        Self(16 << 20)
    }
}

impl TryFrom<u64> for SegmentSize {
    type Error = NotWal;

    fn try_from(bytes: u64) -> Result<Self, NotWal> {
        if bytes.is_power_of_two() && (1 << 20..=1 << 30).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            let expected = "a size of WAL segments: a power of two from 1 MiB to 1 GiB";
            Err(NotWal::new(&bytes.to_string(), expected))
        }
    }
}

impl From<SegmentSize> for u64 {
    fn from(size: SegmentSize) -> Self {
        size.0
    }
}

impl SegmentSize {
    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// How many segments share the middle eight digits of their names.
    pub const fn per_log(self) -> u64 {
        (1 << 32) / self.0
    }
}

/// Reads upper-case hexadecimal digits, as PostgreSQL writes them; positions may also be in lower case.
fn hexadecimal(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let fixed = digits.start() == digits.end();
    let allowed =
        |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte) || !fixed && byte.is_ascii_hexdigit();
    let fine = digits.contains(&text.len()) && text.bytes().all(allowed);
    fine.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}
