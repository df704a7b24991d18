//! Moments as people write them: what the command line and the console take alike.
//!
//! A length of time is so long ago (`17m`, `7d`), a time of day is its last occurrence (`03:05`), a date its midnight; with an
//! offset, the name of a time zone after it, or in UTC. PostgreSQL's own form with the hours of the offset only is read too.

use chrono::{LocalResult, NaiveDate, NaiveDateTime, NaiveTime};

use super::pitr;
use super::units::{Timestamp, parse_duration};

/// How moments are written, for people who wrote something else.
pub const EXPECTED: &str =
    "write 7d, 24h, 03:05, 2026-03-01, \"2026-03-01 14:30\", \"2026-03-01 14:30 Europe/Paris\" or 2026-03-01T14:30:00Z";

/// Reads a moment; `now` is what lengths of time and times of day are counted from.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn read(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Some(read) = pitr::in_zone(text) {
        let wrong = |why: &str| Err(format!("\"{text}\" is not a time: {why}; write it in UTC"));
        return match read {
            LocalResult::Single(at) => Ok(at.to_utc()),
            LocalResult::Ambiguous(..) => wrong("the clock was put back, so it was that time twice"),
            LocalResult::None => wrong("the clock was put forward, so it was never that time"),
        };
    }
    if let Ok(length) = parse_duration(text)
        && let Some(then) = now.checked_sub_signed(length.to_chrono())
    {
        return Ok(then);
    }
    // PostgreSQL's own form has the hours of the offset only: 2026-03-01 14:30:00.123456+00
    let offset = text.len().checked_sub(3).and_then(|at| text.get(at..));
    let short = offset
        .is_some_and(|offset| offset.starts_with(['+', '-']) && offset[1..].bytes().all(|byte| byte.is_ascii_digit()));
    let full = if short && text.contains(':') {
        format!("{text}:00")
    } else {
        text.to_owned()
    };
    if let Ok(time) = full.parse::<Timestamp>() {
        return Ok(time);
    }
    for format in [
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%dT%H:%M",
    ] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Ok(time.and_utc());
        }
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(date.and_time(NaiveTime::MIN).and_utc());
    }
    let of_day = ["%H:%M:%S", "%H:%M"]
        .iter()
        .find_map(|format| NaiveTime::parse_from_str(text, format).ok());
    if let Some(time) = of_day {
        let today = now.date_naive().and_time(time).and_utc();
        return Ok(if today > now {
            today - chrono::Duration::days(1)
        } else {
            today
        });
    }
    Err(format!("\"{text}\" is not a time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_moments_in_many_ways() {
        let now: Timestamp = "2026-03-10T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2d", "2026-03-08T12:00:00Z"),
            ("17m", "2026-03-10T11:43:00Z"),
            ("03:05", "2026-03-10T03:05:00Z"),
            ("14:30", "2026-03-09T14:30:00Z"),
            (" 2026-03-01 ", "2026-03-01T00:00:00Z"),
            ("2026-03-01 14:30", "2026-03-01T14:30:00Z"),
            ("2026-03-01T14:30:00+02:00", "2026-03-01T12:30:00Z"),
            ("2026-03-01 14:30:00.5+00", "2026-03-01T14:30:00.5Z"),
            ("2026-03-01 14:30 Europe/Paris", "2026-03-01T13:30:00Z"),
        ] {
            let expected: Timestamp = expected.parse().unwrap();
            assert_eq!(read(text, now), Ok(expected), "{text}");
        }
        for bad in [
            "yesterday",
            "",
            "2026-13-01",
            "99999999999w",
            "25:00",
            "2026-03-29 02:30 Europe/Paris",
        ] {
            assert!(read(bad, now).is_err(), "{bad}");
        }
    }
}
