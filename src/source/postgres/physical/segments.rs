//! The log a copy needs to become consistent, into the copy: every segment from its start to its end.
//!
//! A segment is read whole, held against its name and the cluster, and looked for again afterwards: a server gives a segment it
//! no longer needs a new name and writes over it, and what was read across that moment is no segment. What the server no longer
//! has is asked of the archive; what that lacks too fails the backup, by name.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::PhysicalError;
use crate::domain::wal::{Lsn, SegmentName, SegmentSize, SystemId, TimelineId, WalName};
use crate::repo::tree::Node;
use crate::repo::{Assembler, NodeKind, RepoError, bare_node, off_runtime};
use crate::source::postgres::wal::{WalArchive, WalError, WalFile};
use crate::source::{SourceError, Work};

/// How much of a segment becomes one blob.
const PART: usize = 1 << 20;

/// A stretch of the log of one cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) system: SystemId,
    pub(super) timeline: TimelineId,
    pub(super) size: SegmentSize,
    pub(super) start: Lsn,
    pub(super) stop: Lsn,
}

impl Stretch {
    /// The segments it lies in, in order.
    pub(super) fn segments(self) -> impl Iterator<Item = SegmentName> {
        let bytes = self.size.bytes();
        // The end is the place after the last byte, which may be the first of a segment that is not needed.
        let last = self.stop.0.saturating_sub(1).max(self.start.0) / bytes;
        (self.start.0 / bytes..=last).map(move |number| SegmentName::numbered(self.timeline, number, self.size))
    }
}

/// Adds `pg_wal` with the segments of a stretch, and ends the directory it is in; the server's own one is `place`.
///
/// The assembler comes back, for whatever follows.
pub(super) async fn add(
    assembler: Assembler,
    place: &Path,
    stretch: Stretch,
    owner: &Node,
    work: &Work<'_>,
) -> Result<Assembler, SourceError> {
    let archive = WalArchive::new(work.repo.clone(), stretch.system);
    let (now, owner) = (work.clock.now(), owner.clone());
    let node = move |name: &str, kind| beside(&owner, name, kind, now);
    assembler.enter(node("pg_wal", NodeKind::Dir))?;
    let mut assembler = assembler;
    let history = (stretch.timeline.0 > 1).then_some(WalName::History(stretch.timeline));
    let wanted = history.into_iter().chain(stretch.segments().map(WalName::Segment));
    let mut done = Vec::new();
    for name in wanted {
        work.progress.set_current(&format!("pg_wal/{name}"));
        let path = place.join(name.to_string());
        let system = stretch.system;
        let local = off_runtime(move || read(&path, system)).await?;
        let bytes = match local {
            Some(bytes) => Some(bytes),
            None => work.cancellable(async { fetch(&archive, name).await }).await?,
        };
        let Some(bytes) = bytes else {
            match name {
                WalName::Segment(name) => {
                    let place = place.display().to_string();
                    return Err(PhysicalError::WalGone { name, place }.into());
                }
                // Without it recovery takes the timeline for one that has no past, which is enough to start.
                _ => continue,
            }
        };
        done.push(name.to_string());
        let node = node.clone();
        assembler = off_runtime(move || {
            let mut content = assembler.file(node(&name.to_string(), NodeKind::File))?;
            for part in bytes.chunks(PART) {
                content.push(part.to_vec())?;
            }
            content.end();
            Ok::<_, RepoError>(assembler)
        })
        .await??;
    }
    let told = off_runtime(move || {
        // A server that is restored from here need not archive again what came from the archive's own cluster.
        assembler.enter(node("archive_status", NodeKind::Dir))?;
        for name in done {
            assembler.bytes(node(&format!("{name}.done"), NodeKind::File), b"")?;
        }
        for _ in ["archive_status", "pg_wal", "data"] {
            assembler.leave()?;
        }
        Ok::<_, RepoError>(assembler)
    });
    Ok(told.await??)
}

/// A node for what this program adds to a data directory: private, and of the owner of everything else in it.
pub(super) fn beside(owner: &Node, name: &str, kind: NodeKind, now: DateTime<Utc>) -> Node {
    Node {
        uid: owner.uid,
        gid: owner.gid,
        user: owner.user.clone(),
        group: owner.group.clone(),
        ..bare_node(name, kind, now)
    }
}

/// Reads a file of the log from the server's directory; none when it is not there any more, or not what its name says.
fn read(path: &Path, system: SystemId) -> Option<Vec<u8>> {
    let inode = |path: &Path| std::fs::metadata(path).ok().map(|meta| meta.ino());
    let before = inode(path)?;
    let content = WalFile::at(path).ok()?.read(system).ok()?;
    (inode(path) == Some(before)).then_some(content.bytes)
}

async fn fetch(archive: &WalArchive, name: WalName) -> Result<Option<Vec<u8>>, SourceError> {
    match archive.get(name).await {
        Ok(found) => Ok(found.map(|found| found.bytes)),
        Err(WalError::Source(error)) => Err(error),
        Err(error) => Err(PhysicalError::Malformed {
            what: format!("{name} in the archive"),
            why: error.to_string(),
        }
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_has_the_segments_its_bytes_are_in() {
        let of = |start: u64, stop: u64| {
            let stretch = Stretch {
                system: SystemId(7),
                timeline: TimelineId(2),
                size: SegmentSize::default(),
                start: Lsn(start),
                stop: Lsn(stop),
            };
            stretch.segments().map(|name| name.to_string()).collect::<Vec<_>>()
        };
        let first = "000000020000000000000002".to_owned();
        assert_eq!(of(0x200_0028, 0x200_0100), std::slice::from_ref(&first));
        assert_eq!(of(0x200_0028, 0x300_0000), std::slice::from_ref(&first));
        assert_eq!(
            of(0x200_0028, 0x300_0001),
            [first.clone(), "000000020000000000000003".to_owned()]
        );
        assert_eq!(of(0x200_0028, 0x200_0028), [first]);
    }
}
