//! Times as Go writes them: RFC 3339 with up to nine digits, trailing zeros removed.
//!
//! Hand-written because a tree has three times a node and an unchanged tree is written again at every backup.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment with nanoseconds, as a file system stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Time {
    /// Seconds since 1970.
    pub secs: i64,
    /// Nanoseconds of the second.
    pub nanos: u32,
}

/// The first and the last second that RFC 3339 can write.
const RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

impl Time {
    /// Builds a time from `stat`.
    pub fn new(secs: i64, nanos: i64) -> Self {
        Self {
            secs,
            nanos: u32::try_from(nanos).unwrap_or(0).min(999_999_999),
        }
    }

    /// The time for people and for arithmetic.
    pub fn to_utc(self) -> chrono::DateTime<chrono::Utc> {
        chrono::DateTime::from_timestamp(self.secs, self.nanos).unwrap_or_default()
    }

    /// Appends the time as a JSON string, in UTC.
    pub fn push_json(self, out: &mut Vec<u8>) {
        let secs = self.secs.clamp(*RANGE.start(), *RANGE.end());
        let (day, second) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
        let (year, month, date) = civil(day);
        out.push(b'"');
        push_digits(out, year, 4);
        out.push(b'-');
        push_digits(out, month, 2);
        out.push(b'-');
        push_digits(out, date, 2);
        out.push(b'T');
        push_digits(out, second / 3600, 2);
        out.push(b':');
        push_digits(out, second / 60 % 60, 2);
        out.push(b':');
        push_digits(out, second % 60, 2);
        if self.nanos != 0 {
            out.push(b'.');
            push_digits(out, i64::from(self.nanos), 9);
            while out.last() == Some(&b'0') {
                out.pop();
            }
        }
        out.extend_from_slice(b"Z\"");
    }

    /// Reads RFC 3339.
    pub fn parse(text: &str) -> Option<Self> {
        // The offset is left to chrono; the common form, in UTC, is read by hand.
        if let Some(time) = parse_utc(text.as_bytes()) {
            return Some(time);
        }
        let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
        Some(Self {
            secs: time.timestamp(),
            nanos: time.timestamp_subsec_nanos().min(999_999_999),
        })
    }
}

fn push_digits(out: &mut Vec<u8>, value: i64, width: usize) {
    let mut digits = [b'0'; 9];
    let mut left = value.unsigned_abs();
    for digit in digits[..width].iter_mut().rev() {
        *digit += u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
    }
    out.extend_from_slice(&digits[..width]);
}

/// The date of a day since 1970 (Howard Hinnant's `civil_from_days`, <https://howardhinnant.github.io/date_algorithms.html>).
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, date)
}

/// The day since 1970 of a date (`days_from_civil`, same source).
fn days(year: i64, month: i64, date: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + date - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn parse_utc(text: &[u8]) -> Option<Time> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.iter().try_fold(0, |value, d| {
            d.is_ascii_digit().then(|| value * 10 + i64::from(d - b'0'))
        })
    };
    let is = |at: usize, byte: u8| text.get(at) == Some(&byte);
    if !(is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':') && text.last() == Some(&b'Z')) {
        return None;
    }
    let (month, date) = (number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&date) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanos = match text.len() {
        20 => 0,
        length @ 22..=30 if is(19, b'.') => {
            let scale = 10i64.pow(u32::try_from(30 - length).ok()?);
            number(20, length - 1)? * scale
        }
        _ => return None,
    };
    Some(Time::new(
        days(number(0, 4)?, month, date) * 86_400 + hour * 3600 + minute * 60 + second,
        nanos,
    ))
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = Vec::with_capacity(36);
        self.push_json(&mut out);
        serializer.serialize_str(&String::from_utf8_lossy(&out[1..out.len() - 1]))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(time: Time) -> String {
        serde_json::to_value(time).unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn writes_like_go() {
        for (secs, nanos, expected) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (1_577_836_800, 120_000_000, "2020-01-01T00:00:00.12Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000000001Z"),
            (-1, 500_000_000, "1969-12-31T23:59:59.5Z"),
            (i64::MAX, 0, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(text(Time { secs, nanos }), expected);
        }
        assert_eq!(
            Time::parse("2020-01-01T01:00:00.5+01:00"),
            Some(Time {
                secs: 1_577_836_800,
                nanos: 500_000_000
            })
        );
        assert_eq!(Time::parse("0001-01-01T00:00:00Z").unwrap().secs, -62_135_596_800);
        for bad in ["", "2020", "2020-13-01T00:00:00Z", "2020-01-01T00:00:00.Z", "yesterday"] {
            assert_eq!(Time::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_chrono(secs in RANGE, nanos in 0u32..1_000_000_000) {
            let time = Time { secs, nanos };
            prop_assert_eq!(Time::parse(&text(time)), Some(time));
            prop_assert_eq!(chrono::DateTime::parse_from_rfc3339(&text(time)).unwrap(), time.to_utc());
        }
    }
}
