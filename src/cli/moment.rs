//! Times as people give them.

use super::error::CliError;
use crate::domain::Timestamp;
use crate::domain::moment::{EXPECTED, read};

/// Reads a moment as people and PostgreSQL write it ([`crate::domain::moment`]).
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, CliError> {
    read(text, now).map_err(|wrong| CliError::usage(wrong).hint(EXPECTED))
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
