//! Reading where recovery is to end, as people write it down for later: always with a time zone, never relative to now.

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use super::Target;
use crate::domain::units::Timestamp;

/// What is written, for whoever wrote something else.
const EXPECTED: &str = "write a time with its zone (2026-03-01 14:30:00 UTC), latest, immediate, lsn 16/B374D848, xid 4711 or \
                        name before-release";

impl Target {
    /// Reads a target: a time with its zone, `latest`, `immediate`, `lsn L`, `xid N` or `name N`.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || format!("\"{text}\" is no instant; {EXPECTED}");
        match text {
            "latest" => return Ok(Self::Latest),
            "immediate" => return Ok(Self::Immediate),
            _ => {}
        }
        if let Ok(lsn) = text.strip_prefix("lsn ").unwrap_or(text).parse() {
            return Ok(Self::Lsn(lsn));
        }
        if let Some(xid) = text.strip_prefix("xid ") {
            return xid.trim().parse().map(Self::Xid).map_err(|_| wrong());
        }
        if let Some(name) = text.strip_prefix("name ") {
            let name = name.trim();
            return if name.is_empty() {
                Err(wrong())
            } else {
                Ok(Self::Name(name.to_owned()))
            };
        }
        zoned(text).map(Self::Time).ok_or_else(wrong)
    }

    /// The target as [`Target::read`] reads it.
    pub fn written(&self) -> String {
        match self {
            Self::Latest => "latest".to_owned(),
            Self::Immediate => "immediate".to_owned(),
            Self::Time(at) => at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
            Self::Lsn(lsn) => format!("lsn {lsn}"),
            Self::Xid(xid) => format!("xid {xid}"),
            Self::Name(name) => format!("name {name}"),
        }
    }
}

/// A time that says which zone it is in.
fn zoned(text: &str) -> Option<Timestamp> {
    let offsets = [
        "%Y-%m-%d %H:%M:%S%.f %#z",
        "%Y-%m-%d %H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M%#z",
    ];
    let with_offset = || {
        offsets
            .iter()
            .find_map(|format| DateTime::parse_from_str(text, format).ok())
    };
    if let Some(at) = DateTime::parse_from_rfc3339(text).ok().or_else(with_offset) {
        return Some(at.to_utc());
    }
    // A time that was twice, or never, is no instant.
    in_zone(text)?.single().map(|at| at.to_utc())
}

/// Reads a time followed by the name of its zone, `2026-03-01 14:30 Europe/Berlin`; none when it is not written like that.
///
/// When a clock is put back or forward, a time of that night was twice, or never.
pub fn in_zone(text: &str) -> Option<LocalResult<DateTime<Tz>>> {
    let (time, zone) = text.rsplit_once(' ')?;
    let zone: Tz = zone.parse().ok()?;
    let local = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(time, format).ok())?;
    Some(zone.from_local_datetime(&local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_with_their_zone_and_written_the_same() {
        for (text, written) in [
            ("latest", "latest"),
            ("16/b374d848", "lsn 16/B374D848"),
            ("lsn 0/10", "lsn 0/10"),
            ("xid 4711", "xid 4711"),
            ("name before release", "name before release"),
            ("2026-03-01T14:30:00Z", "2026-03-01T14:30:00Z"),
            ("2026-03-01 14:30:00.25 UTC", "2026-03-01T14:30:00.250Z"),
            ("2026-03-01 14:30:00+00", "2026-03-01T14:30:00Z"),
            ("2026-03-01 14:30:00 +05:30", "2026-03-01T09:00:00Z"),
            ("2026-07-01 14:30 Europe/Berlin", "2026-07-01T12:30:00Z"),
        ] {
            let read = Target::read(text).unwrap();
            assert_eq!(read.written(), written, "{text}");
            assert_eq!(Target::read(&read.written()).unwrap(), read);
        }
        for text in [
            "",
            "yesterday",
            "2026-03-01 14:30:00",
            "xid x",
            "name ",
            "2026-10-25 02:30 Europe/Berlin",
        ] {
            Target::read(text).unwrap_err();
        }
    }
}
