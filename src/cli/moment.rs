//! Times as people give them.

use chrono::{NaiveDate, NaiveDateTime};

use super::error::CliError;
use crate::domain::Timestamp;
use crate::domain::units::parse_duration;

/// Reads `7d` and `1h30m` (so long ago), `2026-03-01` (its midnight), `2026-03-01 14:30` and full times; UTC unless said otherwise.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, CliError> {
    if let Ok(length) = parse_duration(text)
        && let Some(then) = now.checked_sub_signed(length.to_chrono())
    {
        return Ok(then);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
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
        return Ok(date.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    Err(CliError::usage(format!("\"{text}\" is not a time"))
        .hint("write 7d, 24h, 2026-03-01, \"2026-03-01 14:30\" or 2026-03-01T14:30:00Z"))
}

/// Reads a time that may not be given.
pub fn maybe(text: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, CliError> {
    text.map(|text| moment(text, now)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_times_in_many_ways() {
        let now: Timestamp = "2026-03-10T12:00:00Z".parse().unwrap();
        let read = |text| moment(text, now).map(|time| time.to_rfc3339());
        assert_eq!(read("2d").unwrap(), "2026-03-08T12:00:00+00:00");
        assert_eq!(read("2026-03-01").unwrap(), "2026-03-01T00:00:00+00:00");
        assert_eq!(read("2026-03-01 14:30").unwrap(), "2026-03-01T14:30:00+00:00");
        assert_eq!(read("2026-03-01T14:30:00+02:00").unwrap(), "2026-03-01T12:30:00+00:00");
        for bad in ["yesterday", "", "2026-13-01", "99999999999w"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
