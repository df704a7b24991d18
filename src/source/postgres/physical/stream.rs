//! A tar of `pg_basebackup` into the snapshot, entry by entry as it comes.
//!
//! A walk of directories comes out of it, but for three things that come late: the control file, the segments of the log, and
//! the manifest. The files of the directories they belong to are put aside, contents stored, until the end. Of the manifest
//! only its end is kept, which tells where the backup ended.

use std::io::Read;
use std::sync::Mutex;

use chrono::{DateTime, Utc};

use super::PhysicalError;
use super::control::Control;
use super::label::BackupLabel;
use super::names::{self, Keep};
use super::page::PAGE;
use super::read::{BLOCK, Damage, Pages, Spot};
use crate::domain::wal::{Lsn, TimelineId};
use crate::repo::tree::Node;
use crate::repo::{Aside, Assembler, Content, NodeKind};
use crate::source::SourceError;

/// How much of a file without pages becomes one blob.
const PART: usize = 1 << 20;
/// What is kept of the end of the manifest.
const TAIL: usize = 64 << 10;
/// Labels, maps and control files are smaller than this.
const SMALL: u64 = 1 << 20;
/// Directories whose last files come at the very end.
const LATE: [&str; 2] = ["global", "pg_wal"];

/// Where a backup began and ended, as its manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) timeline: TimelineId,
    pub(super) end: Lsn,
}

/// What came out of the streams.
#[derive(Debug, Default)]
pub(super) struct Streamed {
    pub(super) bytes: u64,
    pub(super) label: Option<BackupLabel>,
    pub(super) control: Option<Control>,
    pub(super) range: Option<Range>,
    /// The names in `pg_wal`.
    pub(super) log: Vec<String>,
    /// The look at pages, once it is known where the backup began; none when they have no checksums.
    pages: Option<Pages>,
    late: Vec<(&'static str, Aside)>,
    late_dirs: Vec<(&'static str, Node)>,
    /// Directories that have begun.
    open: Vec<String>,
}

/// What a stream is read with.
pub(super) struct Sink<'a> {
    pub(super) assembler: &'a Assembler,
    /// How many pages a file of a relation has at most, when they have checksums.
    pub(super) checked: Option<u32>,
    /// Whether pages have the usual size, so that blocks hold whole ones.
    pub(super) blocks: bool,
    /// The directory in the snapshot, `/data` or `/tablespaces/16385`.
    pub(super) shown: &'a str,
    pub(super) now: DateTime<Utc>,
}

impl Streamed {
    /// The damage that was seen in all streams.
    pub(super) fn take_damage(&mut self) -> Damage {
        self.pages.take().map(Pages::into_damage).unwrap_or_default()
    }

    /// Reads a tar to its end; the directory it belongs into has begun, and its late parts are added at the end.
    pub(super) fn read(&mut self, tar: impl Read, sink: &Sink<'_>) -> Result<(), SourceError> {
        let failed = |error: std::io::Error| malformed(format!("it breaks off: {error}"));
        let mut archive = tar::Archive::new(tar);
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            let path = entry.path_bytes().into_owned();
            let path = String::from_utf8(path).map_err(|_| malformed("a name in it is not UTF-8".to_owned()))?;
            let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
            if path.is_empty() {
                continue;
            }
            if path
                .split('/')
                .any(|part| part.is_empty() || part == "." || part == "..")
                || path.starts_with('/')
            {
                return Err(malformed(format!("the name {path:?} leads out of it")));
            }
            self.entry(&path, &mut entry, sink)?;
        }
        self.close(0, sink)?;
        self.finish(sink)
    }

    fn entry<R: Read>(
        &mut self,
        path: &str,
        entry: &mut tar::Entry<'_, R>,
        sink: &Sink<'_>,
    ) -> Result<(), SourceError> {
        let header = entry.header();
        let kind = header.entry_type();
        let number = |value: std::io::Result<u64>| value.ok().and_then(|value| i64::try_from(value).ok()).unwrap_or(0);
        let mtime = DateTime::from_timestamp(number(header.mtime()), 0).unwrap_or(sink.now);
        let name = path.rsplit('/').next().unwrap_or(path);
        let of = |kind| {
            let mut node = sink.assembler.plain(name, kind, mtime);
            node.size = header.size().unwrap_or(0);
            node.mode = node.mode & !0o777 | header.mode().unwrap_or(0o600) & 0o777;
            let id =
                |value: std::io::Result<u64>, own: u32| value.ok().and_then(|id| id.try_into().ok()).unwrap_or(own);
            let (uid, gid) = (id(header.uid(), node.uid), id(header.gid(), node.gid));
            if (uid, gid) != (node.uid, node.gid) {
                (node.uid, node.gid) = (uid, gid);
                (node.user, node.group) = (String::new(), String::new());
            }
            node
        };
        if kind.is_dir() {
            let keep = names::keep(path, true);
            if keep == Keep::No {
                return Ok(());
            }
            return self.directory(path, of(NodeKind::Dir), sink);
        }
        if kind.is_symlink() {
            // A tablespace is a stream of its own.
            if path.starts_with("pg_tblspc/") {
                return Ok(());
            }
            let mut node = of(NodeKind::Symlink);
            node.link_target = entry
                .link_name_bytes()
                .map(std::borrow::Cow::into_owned)
                .unwrap_or_default();
            self.parent(path, sink)?;
            return Ok(sink.assembler.entry(node)?);
        }
        if !kind.is_file() {
            return Ok(());
        }
        let node = of(NodeKind::File);
        match path {
            "backup_manifest" => {
                let tail = tail(entry).map_err(|error| malformed(format!("its manifest breaks off: {error}")))?;
                self.range = Some(parse_range(&tail)?);
                Ok(())
            }
            "backup_label" | "tablespace_map" | "global/pg_control" => self.small(path, node, entry, sink),
            _ if names::keep(path, false) == Keep::No => Ok(()),
            _ => self.file(path, node, entry, sink),
        }
    }

    fn small<R: Read>(
        &mut self,
        path: &str,
        node: Node,
        entry: &mut tar::Entry<'_, R>,
        sink: &Sink<'_>,
    ) -> Result<(), SourceError> {
        let mut bytes = Vec::new();
        let read = entry.take(SMALL).read_to_end(&mut bytes);
        read.map_err(|error| malformed(format!("{path} breaks off: {error}")))?;
        if path == "backup_label" {
            let label = BackupLabel::parse(&String::from_utf8_lossy(&bytes))?;
            self.pages = sink.checked.map(|per_file| Pages {
                start: label.start,
                per_file,
                damage: Mutex::default(),
            });
            self.label = Some(label);
        } else if path == "global/pg_control" {
            self.control = Some(Control::parse(&bytes)?);
            let (aside, mut content) = sink.assembler.aside(node);
            content.push(bytes)?;
            content.end();
            self.late.push((LATE[0], aside));
            return Ok(());
        }
        self.parent(path, sink)?;
        Ok(sink.assembler.bytes(node, &bytes)?)
    }

    fn file<R: Read>(
        &mut self,
        path: &str,
        node: Node,
        entry: &mut tar::Entry<'_, R>,
        sink: &Sink<'_>,
    ) -> Result<(), SourceError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let late = LATE.into_iter().find(|late| *late == parent && sink.shown == "/data");
        let content = if let Some(late) = late {
            let (aside, content) = sink.assembler.aside(node);
            self.late.push((late, aside));
            content
        } else if path.starts_with("pg_wal/") {
            // The marks of what was archived.
            return Ok(());
        } else {
            self.parent(path, sink)?;
            sink.assembler.file(node)?
        };
        if late == Some(LATE[1]) {
            self.log.push(name.to_owned());
        } else {
            self.bytes += entry.size();
        }
        let relation = names::relation(name).filter(|_| names::is_database(parent));
        let shown = format!("{}/{path}", sink.shown);
        let spot = Spot {
            file: &shown,
            segment: relation.map_or(0, |relation| relation.segment),
        };
        let pages = self.pages.as_ref().filter(|_| relation.is_some());
        let part = if relation.is_some() && sink.blocks { BLOCK } else { PART };
        pour(entry, content, spot, pages, part)
    }

    /// A directory is told; one that is late is put aside.
    fn directory(&mut self, path: &str, node: Node, sink: &Sink<'_>) -> Result<(), SourceError> {
        if let Some(late) = LATE.into_iter().find(|late| *late == path && sink.shown == "/data") {
            self.late_dirs.push((late, node));
            return Ok(());
        }
        if path.starts_with("pg_wal/") {
            return Ok(());
        }
        self.parent(path, sink)?;
        sink.assembler.enter(node)?;
        self.open.push(path.to_owned());
        Ok(())
    }

    /// Ends the directories that `path` is not in.
    fn parent(&mut self, path: &str, sink: &Sink<'_>) -> Result<(), SourceError> {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let within = |open: &String| parent == open || parent.starts_with(&format!("{open}/"));
        let keep = self.open.iter().take_while(|open| within(open)).count();
        self.close(keep, sink)?;
        let reached = self.open.last().map_or("", String::as_str);
        if reached != parent {
            return Err(malformed(format!("{path} comes before or after its directory")));
        }
        Ok(())
    }

    fn close(&mut self, keep: usize, sink: &Sink<'_>) -> Result<(), SourceError> {
        while self.open.len() > keep {
            self.open.pop();
            sink.assembler.leave()?;
        }
        Ok(())
    }

    /// Adds what came late.
    fn finish(&mut self, sink: &Sink<'_>) -> Result<(), SourceError> {
        for (late, node) in std::mem::take(&mut self.late_dirs) {
            let owner = node.clone();
            sink.assembler.enter(node)?;
            let (now, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.late)
                .into_iter()
                .partition(|(of, _)| *of == late);
            self.late = rest;
            for (_, aside) in now {
                sink.assembler.place(aside)?;
            }
            if late == LATE[1] {
                let node = |name: &str, kind| super::segments::beside(&owner, name, kind, sink.now);
                sink.assembler.enter(node("archive_status", NodeKind::Dir))?;
                for name in &self.log {
                    sink.assembler
                        .bytes(node(&format!("{name}.done"), NodeKind::File), b"")?;
                }
                sink.assembler.leave()?;
            }
            sink.assembler.leave()?;
        }
        if self.late.is_empty() {
            Ok(())
        } else {
            Err(malformed("files came without their directory".to_owned()))
        }
    }
}

/// Pours a file out of the tar into its content.
fn pour<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    mut content: Content,
    spot: Spot<'_>,
    pages: Option<&Pages>,
    part: usize,
) -> Result<(), SourceError> {
    content.announce(spot.file);
    let mut left = entry.size();
    let mut at = 0;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(part);
        let mut bytes = vec![0; length];
        let read = entry.read_exact(&mut bytes);
        read.map_err(|error| malformed(format!("{} breaks off: {error}", spot.file)))?;
        if let Some(pages) = pages {
            // What comes out of a stream cannot be read again here; whoever reads the stream asks the server afterwards.
            pages.look(&mut bytes, at / PAGE as u64, spot, |_| None);
        }
        content.push(bytes)?;
        left -= length as u64;
        at += length as u64;
    }
    content.end();
    Ok(())
}

/// Reads the end of something long.
pub(super) fn tail(mut reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut kept: Vec<u8> = Vec::new();
    let mut piece = vec![0; TAIL];
    loop {
        let count = reader.read(&mut piece)?;
        if count == 0 {
            return Ok(kept);
        }
        kept.extend_from_slice(&piece[..count]);
        let excess = kept.len().saturating_sub(TAIL);
        kept.drain(..excess);
    }
}

/// Reads where a backup ended out of the end of its manifest.
pub(super) fn parse_range(tail: &[u8]) -> Result<Range, SourceError> {
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(rename = "Timeline")]
        timeline: u32,
        #[serde(rename = "End-LSN")]
        end: Lsn,
    }
    let wrong = |why: &str| malformed(format!("its manifest {why}"));
    let text = String::from_utf8_lossy(tail);
    let (_, rest) = text
        .rsplit_once("\"WAL-Ranges\":")
        .ok_or_else(|| wrong("names no WAL-Ranges"))?;
    let list = rest.find(']').and_then(|end| rest.get(..=end));
    let list: Vec<Entry> = list
        .and_then(|list| serde_json::from_str(list.trim()).ok())
        .ok_or_else(|| wrong("has WAL-Ranges that cannot be read"))?;
    // Several only when a standby followed another timeline meanwhile; the newest comes first.
    match list.as_slice() {
        [one] if one.timeline > 0 => Ok(Range {
            timeline: TimelineId(one.timeline),
            end: one.end,
        }),
        [] => Err(wrong("names no range of the log")),
        _ => Err(wrong(
            "names several ranges of the log: the timeline changed while the backup was made",
        )),
    }
}

fn malformed(why: String) -> SourceError {
    PhysicalError::Malformed {
        what: "the stream of pg_basebackup".to_owned(),
        why,
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_manifest_says_where_the_backup_ended() {
        let manifest = b"{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n],\n\"WAL-Ranges\": [\n\
            { \"Timeline\": 3, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000100\" }\n],\n\"Manifest-Checksum\": \"ab\"}\n";
        let range = parse_range(manifest).unwrap();
        assert_eq!((range.timeline, range.end), (TimelineId(3), Lsn(0x200_0100)));
        assert!(parse_range(&manifest[..90]).is_err());
        assert!(parse_range(b"\"WAL-Ranges\": []").is_err());
        let long = [vec![b'x'; 300_000], manifest.to_vec()].concat();
        assert_eq!(parse_range(&tail(long.as_slice()).unwrap()).unwrap(), range);
    }
}
