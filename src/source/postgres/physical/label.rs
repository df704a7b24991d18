//! `backup_label` and `tablespace_map`, the two files that tell a restored server where it stands; read and written.
//!
//! `tablespace_map` has a line a tablespace: its number, a blank, its place. A line feed, a carriage return or a backslash in
//! a place has a backslash before it.

use std::path::{Path, PathBuf};

use super::PhysicalError;
use crate::domain::wal::{Lsn, TimelineId};

/// What `backup_label` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackupLabel {
    /// Where recovery begins.
    pub(crate) start: Lsn,
    /// The checkpoint it begins with.
    pub(crate) checkpoint: Lsn,
    /// The timeline it is on.
    pub(crate) timeline: TimelineId,
    /// Whether a standby was copied.
    pub(crate) standby: bool,
    /// The words of whoever made the backup.
    pub(crate) label: String,
}

impl BackupLabel {
    /// Reads it.
    pub(crate) fn parse(text: &str) -> Result<Self, PhysicalError> {
        let wrong = |why: String| PhysicalError::Malformed {
            what: "backup_label".to_owned(),
            why,
        };
        let field = |name: &str| {
            let found = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            found.ok_or_else(|| wrong(format!("it has no line {name}")))
        };
        let start = field("START WAL LOCATION")?;
        let start = start.split_whitespace().next().unwrap_or_default();
        let timeline = field("START TIMELINE")?;
        Ok(Self {
            start: start.parse().map_err(|error| wrong(format!("{error}")))?,
            checkpoint: field("CHECKPOINT LOCATION")?
                .trim()
                .parse()
                .map_err(|error| wrong(format!("{error}")))?,
            timeline: timeline
                .trim()
                .parse()
                .ok()
                .filter(|id| *id > 0)
                .map(TimelineId)
                .ok_or_else(|| wrong(format!("\"{timeline}\" is no timeline")))?,
            standby: field("BACKUP FROM")?.trim() == "standby",
            label: field("LABEL").unwrap_or_default().to_owned(),
        })
    }
}

/// Reads `tablespace_map`.
#[cfg_attr(not(test), expect(dead_code, reason = "for the proof, which follows"))]
pub(crate) fn parse_map(text: &str) -> Result<Vec<(u32, PathBuf)>, PhysicalError> {
    let wrong = |why: &str| PhysicalError::Malformed {
        what: "tablespace_map".to_owned(),
        why: why.to_owned(),
    };
    let mut lines: Vec<String> = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        match c {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '\n' | '\r' if !escaped => lines.push(String::new()),
            c => lines.last_mut().into_iter().for_each(|line| line.push(c)),
        }
        escaped = false;
    }
    let mut map = Vec::new();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let (oid, place) = line.split_once(' ').ok_or_else(|| wrong("a line has no place"))?;
        let oid = oid.parse().map_err(|_| wrong("a line does not begin with a number"))?;
        if !Path::new(place).is_absolute() {
            return Err(wrong("a place is not absolute"));
        }
        map.push((oid, PathBuf::from(place)));
    }
    Ok(map)
}

/// Writes `tablespace_map`.
pub(crate) fn write_map(map: &[(u32, PathBuf)]) -> String {
    let mut text = String::new();
    for (oid, place) in map {
        text.push_str(&oid.to_string());
        text.push(' ');
        for c in place.to_string_lossy().chars() {
            if matches!(c, '\n' | '\r' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: &str = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\n\
        BACKUP METHOD: streamed\nBACKUP FROM: standby\nSTART TIME: 2026-01-02 03:04:05 UTC\nLABEL: lifeboat: a\nSTART TIMELINE: 3\n";

    #[test]
    fn a_label_is_read() {
        let label = BackupLabel::parse(LABEL).unwrap();
        assert_eq!((label.start, label.checkpoint), (Lsn(0x200_0028), Lsn(0x200_0060)));
        assert_eq!((label.timeline, label.standby), (TimelineId(3), true));
        assert_eq!(label.label, "lifeboat: a");
        for gone in ["START WAL", "CHECKPOINT", "START TIMELINE: 3"] {
            assert!(BackupLabel::parse(&LABEL.replace(gone, "X")).is_err(), "{gone}");
        }
    }

    #[test]
    fn a_map_comes_back_whatever_is_in_the_names() {
        let map = vec![
            (16_385, PathBuf::from("/srv/with blank")),
            (16_386, PathBuf::from("/srv/back\\slash\nand line")),
        ];
        assert_eq!(parse_map(&write_map(&map)).unwrap(), map);
        assert_eq!(parse_map("").unwrap(), []);
        for bad in ["x /srv", "16385", "16385 srv"] {
            assert!(parse_map(bad).is_err(), "{bad}");
        }
    }
}
