//! What an archive holds of a cluster, and what is wrong with it.
//!
//! | finding | when |
//! | --- | --- |
//! | found | the archive has it |
//! | late | the server has had it ready for longer than it should be, or still has what the archive is missing |
//! | lost | the archive is missing it between what it has, and the server does not have it any more, or was not asked |
//! | split brain | two servers wrote one timeline: a file was refused because another content had its name, or a timeline was still being archived after a child of it had begun |
//!
//! A timeline that goes on behind the place where a child left it, and was not archived to after the child had begun, was left
//! on purpose by a recovery to an earlier moment: it is told, and nothing is wrong with it.
//!
//! What this file never does: change anything, or count what it could not list.

use std::path::Path;

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use serde::Serialize;

use super::archive::Entry;
use super::{Listed, WalArchive, WalError, WalFile, pusher, workers};
use crate::domain::units::{Bytes, Millis};
use crate::domain::wal::continuity::Beyond;
use crate::domain::wal::{
    Branch, Continuity, Gap, History, Lsn, Range, SegmentName, SegmentSize, SystemId, TimelineId, WalName,
};

/// What to look at beside the listing.
#[derive(Debug, Clone, Default)]
pub struct Look<'a> {
    /// The data directory of the server, when it is on this machine.
    pub data: Option<&'a Path>,
    /// How long a file may be ready before it is late.
    pub late_after: Millis,
    /// Whether to read every object again and hold it against its hash.
    pub read_data: bool,
    /// Whether to read when the newest transactions were committed.
    pub read_times: bool,
}

/// What an archive holds of one cluster.
#[derive(Debug, Clone, Serialize)]
pub struct SystemReport {
    /// The cluster.
    pub system: SystemId,
    /// The size of its segments; none when no segment was archived.
    pub segment_size: Option<SegmentSize>,
    /// What it takes in the store.
    pub stored: Bytes,
    /// Its timelines, in order.
    pub timelines: Vec<TimelineReport>,
    /// Files the server waits to have archived for too long, oldest first.
    pub late: Vec<LateFile>,
    /// Files that were refused because the archive has another content under their name.
    pub conflicts: Vec<String>,
    /// Objects that cannot be read, or are not what their name says.
    pub damaged: Vec<String>,
    /// Objects that have no meaning here.
    pub strange: Vec<String>,
    /// How many objects were read again.
    pub read: u64,
}

/// One timeline.
#[derive(Debug, Clone, Serialize)]
pub struct TimelineReport {
    /// The timeline.
    pub timeline: TimelineId,
    /// What it branched off.
    pub branch: Option<Branch>,
    /// Whether nothing says what it branched off.
    pub history_missing: bool,
    /// Its first segment.
    pub first: Option<SegmentName>,
    /// Its newest segment.
    pub last: Option<SegmentName>,
    /// How many segments it has.
    pub segments: u64,
    /// Its segments without a hole.
    pub ranges: Vec<Range>,
    /// Segments that are missing, and the server still has them.
    pub late: Vec<Gap>,
    /// Segments that are missing.
    pub lost: Vec<Gap>,
    /// The newest, growing segment.
    pub growing: Option<Growing>,
    /// The first byte that is not in the archive, behind the newest that is.
    pub end: Option<Lsn>,
    /// What it takes in the store.
    pub stored: Bytes,
    /// Children that left it before its end, while it was not being archived any more.
    pub left_by: Vec<TimelineId>,
    /// Signs that two servers wrote it.
    pub split_brain: Vec<String>,
}

/// The beginning of a segment.
#[derive(Debug, Clone, Serialize)]
pub struct Growing {
    /// The segment.
    pub segment: SegmentName,
    /// How much of it.
    pub length: Bytes,
}

/// A file that the server has ready.
#[derive(Debug, Clone, Serialize)]
pub struct LateFile {
    /// Its name.
    pub name: String,
    /// Since when.
    pub ready_since: DateTime<Utc>,
    /// How long that is, in milliseconds.
    pub age_millis: Millis,
}

impl SystemReport {
    /// Whether something is lost, damaged, or written by two servers.
    pub fn is_broken(&self) -> bool {
        let timeline =
            |line: &TimelineReport| !line.lost.is_empty() || !line.split_brain.is_empty() || line.history_missing;
        !self.conflicts.is_empty() || !self.damaged.is_empty() || self.timelines.iter().any(timeline)
    }

    /// Whether something should be in the archive by now, and may still come.
    pub fn is_late(&self) -> bool {
        !self.late.is_empty() || self.timelines.iter().any(|line| !line.late.is_empty())
    }
}

/// Looks at what an archive holds of one cluster.
pub async fn system(archive: &WalArchive, look: &Look<'_>) -> Result<SystemReport, WalError> {
    let listed = archive.list().await?;
    let size = archive.segment_size().await?;
    let (histories, mut damaged) = histories(archive, &listed).await?;
    let names = listed.iter().filter_map(|listed| match listed.entry {
        Entry::File(name) => Some(name),
        Entry::Growing(name, _) => Some(WalName::Partial(name)),
        _ => None,
    });
    let continuity = Continuity::of(names, &histories, size.unwrap_or_default());
    let mut timelines = Vec::new();
    for line in &continuity.timelines {
        let mut report = timeline(line, &continuity, &listed, size.unwrap_or_default(), look);
        for beyond in &line.beyond {
            match still_written(archive, beyond).await? {
                Some(sign) => report.split_brain.push(sign),
                None => report.left_by.push(beyond.child),
            }
        }
        timelines.push(report);
    }
    let mut read = 0;
    if look.read_data {
        (read, damaged) = read_all(archive, &listed, size.unwrap_or_default()).await?;
    }
    let named =
        |wanted: fn(&Entry) -> Option<String>| listed.iter().filter_map(|listed| wanted(&listed.entry)).collect();
    let misnamed = continuity.misnamed.iter().map(ToString::to_string);
    let mut strange: Vec<String> = named(|entry| match entry {
        Entry::Strange(name) => Some(name.clone()),
        _ => None,
    });
    strange.extend(misnamed);
    Ok(SystemReport {
        system: archive.system(),
        segment_size: size,
        stored: Bytes(listed.iter().map(|listed| listed.stored).sum()),
        timelines,
        late: late_files(archive, look)?,
        conflicts: named(|entry| match entry {
            Entry::Conflict(name) => Some(name.to_string()),
            _ => None,
        }),
        damaged,
        strange,
        read,
    })
}

/// The histories of an archive, and those that cannot be read.
async fn histories(archive: &WalArchive, listed: &[Listed]) -> Result<(Vec<History>, Vec<String>), WalError> {
    let (mut histories, mut damaged) = (Vec::new(), Vec::new());
    for listed in listed {
        let Entry::File(name @ WalName::History(timeline)) = listed.entry else {
            continue;
        };
        match archive.get(name).await {
            Ok(Some(fetched)) => match History::parse(timeline, &String::from_utf8_lossy(&fetched.bytes)) {
                Ok(history) => histories.push(history),
                Err(error) => damaged.push(format!("{name}: {error}")),
            },
            // Removed between the listing and now.
            Ok(None) => {}
            Err(error) if is_damage(&error) => damaged.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok((histories, damaged))
}

/// Whether an object is bad, rather than the way to it.
fn is_damage(error: &WalError) -> bool {
    use crate::repo::RepoError;
    use crate::source::SourceError;
    matches!(
        error,
        WalError::Source(SourceError::Repo(RepoError::Damaged { .. })) | WalError::Corrupt { .. }
    )
}

fn timeline(
    line: &crate::domain::wal::TimelineContinuity,
    all: &Continuity,
    listed: &[Listed],
    size: SegmentSize,
    look: &Look<'_>,
) -> TimelineReport {
    let of_line = |listed: &&Listed| match &listed.entry {
        Entry::File(name) | Entry::Conflict(name) => name.timeline() == line.timeline,
        Entry::Growing(name, _) => name.timeline == line.timeline,
        Entry::Strange(_) => false,
    };
    let longest = listed.iter().filter(of_line).filter_map(|listed| match listed.entry {
        Entry::Growing(name, length) => Some((name, length)),
        _ => None,
    });
    // The beginning of a segment that is there as a whole, or behind which there are more, is not the newest.
    let growing = longest
        .max()
        .filter(|(name, _)| line.last().is_none_or(|last| *name > last));
    let whole_end = line.last().and_then(|last| last.next(size)?.start(size));
    let end = growing.and_then(|(name, length)| Some(Lsn(name.start(size)?.0 + length)));
    let (late, lost) = line.gaps.iter().partition(|gap| server_has(look.data, gap, size));
    TimelineReport {
        timeline: line.timeline,
        branch: line.branch,
        history_missing: all.without_history.contains(&line.timeline),
        first: line.first(),
        last: line.last(),
        segments: line.count(),
        ranges: line.ranges.clone(),
        late,
        lost,
        growing: growing.map(|(segment, length)| Growing {
            segment,
            length: Bytes(length),
        }),
        end: end.or(whole_end),
        stored: Bytes(listed.iter().filter(of_line).map(|listed| listed.stored).sum()),
        left_by: Vec::new(),
        split_brain: Vec::new(),
    }
}

/// Whether a server on this machine still has every segment of a gap.
fn server_has(data: Option<&Path>, gap: &Gap, size: SegmentSize) -> bool {
    let Some(data) = data else { return false };
    let wal = data.join("pg_wal");
    let names = std::iter::successors(Some(gap.first), |name| name.next(size)).take_while(|name| *name <= gap.last);
    // A file that was made ready for a segment still to come has the name of that one.
    names.into_iter().all(|name| wal.join(name.to_string()).exists())
}

/// Whether a timeline was still being archived after a child of it had begun; says so.
async fn still_written(archive: &WalArchive, beyond: &Beyond) -> Result<Option<String>, WalError> {
    let last = archive.get(WalName::Segment(beyond.last)).await?;
    let child = archive.get(WalName::History(beyond.child)).await?;
    let (Some(last), Some(child)) = (last, child) else {
        return Ok(None);
    };
    Ok((last.at > child.at).then(|| {
        format!(
            "timeline {} left it at {} ({}), and {} was archived after that ({})",
            beyond.child,
            beyond.at,
            child.at.format("%Y-%m-%d %H:%M:%S"),
            beyond.last,
            last.at.format("%Y-%m-%d %H:%M:%S")
        )
    }))
}

/// Reads everything again; what is damaged is named.
async fn read_all(archive: &WalArchive, listed: &[Listed], size: SegmentSize) -> Result<(u64, Vec<String>), WalError> {
    let files = listed.iter().filter_map(|listed| match listed.entry {
        Entry::File(name) => Some((name, false)),
        Entry::Growing(name, _) => Some((WalName::Segment(name), true)),
        _ => None,
    });
    let mut reads = futures_util::stream::iter(files)
        .map(|(name, growing)| async move {
            match (growing, name.segment()) {
                (true, Some(segment)) => archive.get_growing(segment).await.map(drop),
                _ => archive.get(name).await.map(drop),
            }
        })
        .buffer_unordered(workers(4, size));
    let (mut read, mut damaged) = (0, Vec::new());
    while let Some(result) = reads.next().await {
        match result {
            Ok(()) => read += 1,
            Err(error) if is_damage(&error) => damaged.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok((read, damaged))
}

/// The files that have been ready for too long on a server of this cluster.
fn late_files(archive: &WalArchive, look: &Look<'_>) -> Result<Vec<LateFile>, WalError> {
    let Some(data) = look.data else { return Ok(Vec::new()) };
    let found = super::file::system_of(data)?.ok_or_else(|| WalError::Invalid {
        what: format!("{} is not the data directory of a server", data.display()),
        hint: "give the directory that holds pg_wal and global",
    })?;
    if found != archive.system() {
        return Ok(Vec::new());
    }
    let now = archive.repo().clock().now();
    let late = |file: WalFile| {
        let note = file
            .path
            .with_file_name("archive_status")
            .join(format!("{}.ready", file.name));
        let since = std::fs::metadata(note).and_then(|meta| meta.modified()).ok()?;
        let ready_since = DateTime::<Utc>::from(since);
        let age_millis = Millis::between(ready_since, now);
        (age_millis >= look.late_after).then(|| LateFile {
            name: file.name.to_string(),
            ready_since,
            age_millis,
        })
    };
    Ok(pusher::ready(&data.join("pg_wal"))?
        .into_iter()
        .filter_map(late)
        .collect())
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
