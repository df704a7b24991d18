//! A snapshot of a cluster laid into a directory, so that a server can be started on it.
//!
//! **Refused**, before anything is changed: a directory a server runs on; one that is not empty, unless what differs in it is
//! to be replaced (delta) and it is an old copy of this very cluster, or the beginning of one that was laid here; a place for
//! a tablespace that holds anything else than an old copy of it.
//!
//! **Delta.** What is in the way and not in the snapshot is removed, the log of the old copy and its signals included: the
//! directory becomes what the snapshot holds. What is the same stays; of a file that differs only the blocks that differ are
//! written.
//!
//! **Crash windows.** The control file, without which no server starts, is taken away first and put back last, after all the
//! rest is on disk. So a directory whose laying was interrupted at any point cannot be taken for a cluster; a mark in it says
//! which one it was to become, and laying it again with delta goes on where it ended.
//!
//! **Durable.** When it returns, everything was synced to disk, the names included.
//!
//! What this room never does: start a server, write recovery settings, follow a link that is in the way.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::occupied::Occupied;
use super::places::{Places, clear};
use super::{PhysicalError, label};
use crate::domain::id::SnapshotId;
use crate::domain::units::{Bytes, Millis};
use crate::repo::{RestoreOptions, SnapshotInfo, WriteBack, off_runtime};
use crate::source::manifest::{ClusterManifest, Manifest};
use crate::source::{SourceError, Work};

/// Says that a cluster is being laid here, and which.
pub(super) const MARK: &str = "lifeboat.laying";
/// Whether a cluster is being laid into a directory, or that was interrupted.
pub(crate) fn is_laying(directory: &Path) -> bool {
    directory.join(MARK).exists()
}

/// The file no server starts without.
const CONTROL: &str = "global/pg_control";

/// How to lay a cluster down.
#[derive(Debug, Clone, Default)]
pub struct LayDownOptions {
    /// Whether an old copy that is there becomes the new one, and only what differs is written.
    pub delta: bool,
    /// Where tablespaces go: their name, number or old place, and the new place. Others go where they were.
    pub tablespaces: Vec<(String, PathBuf)>,
}

/// A cluster that lies in a directory.
#[derive(Debug, Clone)]
pub struct LaidDown {
    /// What the snapshot says of it.
    pub cluster: ClusterManifest,
    /// Bytes written.
    pub written: Bytes,
    /// Files in it.
    pub files: u64,
    /// Files that were the same already.
    pub kept: u64,
    /// Files of the old copy that were removed.
    pub removed: u64,
    /// Where its tablespaces are.
    pub tablespaces: Vec<(u32, PathBuf)>,
    /// How long it took.
    pub took: Millis,
}

/// What a snapshot says of its cluster.
pub(super) async fn cluster_of(snapshot: &SnapshotInfo, work: &Work<'_>) -> Result<ClusterManifest, SourceError> {
    let manifest = Manifest::read_of(work.repo, snapshot).await?;
    let cluster = manifest.and_then(|manifest| manifest.cluster);
    cluster.ok_or_else(|| SourceError::Snapshot {
        snapshot: snapshot.short_id().to_owned(),
        why: "holds no cluster of PostgreSQL".to_owned(),
    })
}

/// Lays the cluster of a snapshot into a directory; durable when it returns.
///
/// An error leaves a directory on which no server starts; laying it again with delta goes on.
pub async fn lay_down(
    snapshot: &SnapshotId,
    target: &Path,
    options: &LayDownOptions,
    work: &Work<'_>,
) -> Result<LaidDown, SourceError> {
    let began = work.clock.monotonic();
    let places = work.cancellable(Places::of(snapshot, target, options, work)).await?;
    let (checked, delta) = (places.clone(), options.delta);
    let found = off_runtime(move || checked.check(delta, false)).await??;
    let prepared = places.clone();
    off_runtime(move || prepare(&prepared)).await??;
    let delta = found != Occupied::Nothing;
    let mut total = Total::default();
    if delta {
        work.progress.set_current("removing what the snapshot does not hold");
        total.removed += clear(snapshot, "/data", &places.target, &places.ours(), work).await?;
        for (oid, place) in &places.tablespaces {
            total.removed += clear(snapshot, &format!("/tablespaces/{oid}"), place, &[], work).await?;
        }
    }
    let part = |from: String, to: &Path| RestoreOptions {
        subpath: Some(from),
        delta,
        write_back: WriteBack::Early,
        ..RestoreOptions::new(snapshot.0.clone(), to)
    };
    let mut data = part("/data".to_owned(), &places.target);
    data.exclude.push(format!("/data/{CONTROL}"));
    total.restore(data, work).await?;
    for (oid, place) in &places.tablespaces {
        total.restore(part(format!("/tablespaces/{oid}"), place), work).await?;
    }
    work.progress.set_current("writing everything to disk");
    let linked = places.clone();
    off_runtime(move || link(&linked)).await??;
    total
        .restore(part(format!("/data/{CONTROL}"), &places.target.join("global")), work)
        .await?;
    let finished = places.clone();
    off_runtime(move || finish(&finished)).await??;
    Ok(LaidDown {
        cluster: places.cluster,
        written: Bytes(total.bytes),
        files: total.files + total.kept,
        kept: total.kept,
        removed: total.removed,
        tablespaces: places.tablespaces,
        took: Millis::from(work.clock.elapsed(began)),
    })
}

#[derive(Debug, Default)]
struct Total {
    bytes: u64,
    files: u64,
    kept: u64,
    removed: u64,
}

impl Total {
    /// Restores a part of the snapshot, all of it or an error.
    async fn restore(&mut self, options: RestoreOptions, work: &Work<'_>) -> Result<(), SourceError> {
        let directory = options.target.clone();
        let result = work
            .repo
            .restore(options, work.progress.clone(), work.cancel.clone())
            .await?;
        if let Some(first) = result.errors.first() {
            return Err(PhysicalError::Incomplete {
                directory,
                count: result.errors.len(),
                first: format!("{}: {}", first.path, first.message),
                missing: result.missing > 0,
            }
            .into());
        }
        self.bytes += result.bytes;
        self.files += result.files;
        self.kept += result.unchanged;
        Ok(())
    }
}

/// Makes the directories, leaves the mark, and takes away what a server would start on; each step durable before the next.
fn prepare(places: &Places) -> Result<(), SourceError> {
    let make = |path: &Path| {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| SourceError::local("create", path, &error))
    };
    make(&places.target)?;
    let mark = places.target.join(MARK);
    fs::write(&mark, format!("{}\n", places.cluster.system))
        .map_err(|error| SourceError::local("write", &mark, &error))?;
    sync(&mark)?;
    sync(&places.target)?;
    let control = places.target.join(CONTROL);
    if control.exists() {
        remove(&control)?;
        sync(&places.target.join("global"))?;
    }
    let links = places.target.join("pg_tblspc");
    for (oid, place) in &places.tablespaces {
        make(place)?;
        make(&links)?;
        let link = links.join(oid.to_string());
        remove(&link)?;
        std::os::unix::fs::symlink(place, &link).map_err(|error| SourceError::local("create", &link, &error))?;
    }
    Ok(())
}

/// Puts back what the restore of the tree took for something foreign, and syncs everything but the control file.
fn link(places: &Places) -> Result<(), SourceError> {
    if !places.tablespaces.is_empty() {
        let path = places.target.join("tablespace_map");
        let failed = |error: std::io::Error| SourceError::local("write", &path, &error);
        fs::write(&path, label::write_map(&places.tablespaces)).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    }
    let roots = || std::iter::once(&places.target).chain(places.tablespaces.iter().map(|(_, place)| place));
    for place in roots() {
        give_away(place, &places.target.join("PG_VERSION"))?;
        let failed = |error: std::io::Error| SourceError::local("change", place, &error);
        fs::set_permissions(place, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    for own in ["tablespace_map", "pg_tblspc"] {
        let own = places.target.join(own);
        if own.exists() {
            give_away(&own, &places.target.join("PG_VERSION"))?;
        }
    }
    let mut synced = BTreeSet::new();
    for place in roots() {
        let failed = |error: std::io::Error| SourceError::local("sync", place, &error);
        // A cluster has too many files to sync each: the file systems it lies on are, each once.
        let opened = File::open(place).map_err(failed)?;
        if synced.insert(opened.metadata().map_err(failed)?.dev()) {
            rustix::fs::syncfs(&opened).map_err(|error| failed(error.into()))?;
        }
        sync(place.parent().unwrap_or(Path::new("/")))?;
    }
    Ok(())
}

/// Syncs the control file and takes the mark away: from here on it is a cluster.
fn finish(places: &Places) -> Result<(), SourceError> {
    let control = places.target.join(CONTROL);
    sync(&control)?;
    sync(&places.target.join("global"))?;
    remove(&places.target.join(MARK))?;
    sync(&places.target)
}

/// Gives a file or directory to the owner of another, when we are root: the restored files went back to theirs.
fn give_away(path: &Path, like: &Path) -> Result<(), SourceError> {
    use std::os::unix::fs::chown;
    if !nix::unistd::Uid::effective().is_root() {
        return Ok(());
    }
    let failed = |error: std::io::Error| SourceError::local("change the owner of", path, &error);
    let meta = fs::metadata(like).map_err(failed)?;
    chown(path, Some(meta.uid()), Some(meta.gid())).map_err(failed)
}

/// Writes a file, or the names in a directory, to disk.
fn sync(path: &Path) -> Result<(), SourceError> {
    let synced = File::open(path).and_then(|opened| opened.sync_all());
    synced.map_err(|error| SourceError::local("sync", path, &error))
}

fn remove(path: &Path) -> Result<(), SourceError> {
    match fs::remove_file(path) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(SourceError::local("remove", path, &error))
        }
        _ => Ok(()),
    }
}
