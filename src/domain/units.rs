//! Quantities whose unit is part of their type, and how people read them.

use std::fmt;
use std::ops::{Add, AddAssign};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment, in UTC.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// A count of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl fmt::Display for Bytes {
    /// Writes at most four digits and a binary unit: `999 B`, `1.5 KiB`, `23.4 GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1023.95 && unit < UNITS.len() - 1 {
            value /= 1024.0;
            unit += 1;
        }
        f.pad(&format!("{value:.1} {}", UNITS[unit]))
    }
}

/// A length of time in whole milliseconds, so that it is the same in memory, in the journal and on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// The length of time from `start` to `end`; zero when `end` is earlier.
    pub fn between(start: Timestamp, end: Timestamp) -> Self {
        Self(u64::try_from((end - start).num_milliseconds()).unwrap_or(0))
    }

    /// A length of time from whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The same length as a fraction of seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The same length for calendar arithmetic; saturates after some hundred million years.
    pub fn to_chrono(self) -> chrono::Duration {
        chrono::Duration::milliseconds(i64::try_from(self.0).unwrap_or(i64::MAX))
    }

    /// The same length for timers.
    pub const fn to_std(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Multiplies by a small ratio, rounding down: `scaled(3, 4)` is three quarters.
    #[must_use]
    pub fn scaled(self, numerator: u64, denominator: u64) -> Self {
        Self(self.0.saturating_mul(numerator) / denominator.max(1))
    }
}

impl From<Duration> for Millis {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Millis {
    /// Writes the two largest units: `850ms`, `12.3s`, `4m05s`, `2h10m`, `3d04h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let text = match seconds {
            0 => format!("{}ms", self.0),
            1..=59 => format!("{:.1}s", (self.0 / 100) as f64 / 10.0),
            60..=3599 => format!("{}m{:02}s", seconds / 60, seconds % 60),
            3600..=86_399 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
            _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
        };
        f.pad(&text)
    }
}

/// Reads a length of time as people write it: `90s`, `15m`, `1h30m`, `2d`, `1w`, `250ms`.
///
/// # Errors
/// A sentence that says what was expected, when the text has no unit, an unknown one, or is empty.
pub fn parse_duration(text: &str) -> Result<Millis, String> {
    let expected = || format!("\"{text}\" is not a duration; write for example 90s, 15m, 1h30m or 2d");
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(expected());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| expected())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &rest[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(expected()),
        };
        total = number
            .checked_mul(unit)
            .and_then(|n| total.checked_add(n))
            .ok_or_else(expected)?;
        rest = rest[letters..].trim_start();
    }
    Ok(Millis(total))
}

/// Reads a size as people write it: `512`, `64KiB`, `16 MiB`, `2GB`.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_bytes(text: &str) -> Result<Bytes, String> {
    let expected = || format!("\"{text}\" is not a size; write for example 512, 64KiB, 16MiB or 2GB");
    let trimmed = text.trim();
    let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = trimmed[..digits].parse().map_err(|_| expected())?;
    let factor: u64 = match trimmed[digits..].trim() {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(expected()),
    };
    number.checked_mul(factor).map(Bytes).ok_or_else(expected)
}

/// Serialises a [`Millis`] as people write it; for settings.
pub mod human_duration {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{Millis, parse_duration};

    /// Writes `90000` as `90s`.
    pub fn serialize<S: Serializer>(value: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
        let text = match value.0 {
            ms if ms % 1000 != 0 => format!("{ms}ms"),
            ms if ms % 86_400_000 == 0 && ms > 0 => format!("{}d", ms / 86_400_000),
            ms if ms % 3_600_000 == 0 && ms > 0 => format!("{}h", ms / 3_600_000),
            ms if ms % 60_000 == 0 && ms > 0 => format!("{}m", ms / 60_000),
            ms => format!("{}s", ms / 1000),
        };
        serializer.serialize_str(&text)
    }

    /// Reads `1h30m` and its kin.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well_at_the_borders() {
        assert_eq!(Bytes(1023).to_string(), "1023 B");
        assert_eq!(Bytes(1536).to_string(), "1.5 KiB");
        assert_eq!(Bytes(1024 * 1024 - 1).to_string(), "1.0 MiB");
        assert_eq!(Bytes(u64::MAX).to_string(), "16.0 EiB");
    }

    #[test]
    fn durations_are_read_and_written() {
        assert_eq!(parse_duration("1h30m").unwrap(), Millis(5_400_000));
        assert_eq!(parse_duration("2d 4h").unwrap(), Millis::from_secs(187_200));
        assert!(parse_duration("15").is_err());
        assert!(parse_duration("").is_err());
        assert!(parse_duration("99999999999999999w").is_err());
        assert_eq!(Millis(245_000).to_string(), "4m05s");
        assert_eq!(Millis(59_999).to_string(), "59.9s");
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_bytes("64KiB").unwrap(), Bytes(65_536));
        assert!(parse_bytes("12 parsecs").is_err());
        assert!(parse_bytes("99999999999999 TB").is_err());
    }
}
