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

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::occupied::{self, Occupied};
use super::{PhysicalError, label};
use crate::domain::id::SnapshotId;
use crate::domain::recovery::{PhaseTime, RecoveryPhase};
use crate::domain::units::{Bytes, Millis};
use crate::repo::{NodeKind, RestoreOptions};
use crate::source::manifest::{ClusterManifest, Manifest, Tablespace};
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
    pub phases: Vec<PhaseTime>,
}

/// Where everything goes.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) cluster: ClusterManifest,
    pub(super) target: PathBuf,
    pub(super) tablespaces: Vec<(u32, PathBuf)>,
}

impl Places {
    /// Reads what the snapshot holds and decides where it goes.
    pub(super) async fn of(
        snapshot: &SnapshotId,
        target: &Path,
        options: &LayDownOptions,
        work: &Work<'_>,
    ) -> Result<Self, SourceError> {
        let cluster = cluster_of(snapshot, work).await?;
        let target = target.to_owned();
        if !target.is_absolute() {
            return Err(SourceError::Invalid {
                what: format!("{} is not an absolute path", target.display()),
                hint: Some("the agent has another working directory than you; write the path from /".to_owned()),
            });
        }
        let tablespaces = map(&cluster.tablespaces, &options.tablespaces, &target)?;
        Ok(Self {
            cluster,
            target,
            tablespaces,
        })
    }

    /// What stands in the way, before anything is changed.
    pub(super) fn check(&self, delta: bool) -> Result<Occupied, SourceError> {
        let system = self.cluster.system;
        let found = occupied::look(&self.target, system)?;
        if found != Occupied::Nothing && !delta {
            return Err(PhysicalError::NotEmpty {
                directory: self.target.clone(),
            }
            .into());
        }
        for (oid, place) in &self.tablespaces {
            if occupied::is_empty(place)? {
                continue;
            }
            let link = self.target.join(format!("pg_tblspc/{oid}"));
            let linked = fs::read_link(link).is_ok_and(|to| to == *place);
            if !(linked && delta) {
                return Err(PhysicalError::NotEmpty {
                    directory: place.clone(),
                }
                .into());
            }
        }
        Ok(found)
    }
}

/// What a snapshot says of its cluster.
pub(crate) async fn cluster_of(snapshot: &SnapshotId, work: &Work<'_>) -> Result<ClusterManifest, SourceError> {
    let manifest = Manifest::read(work.repo, snapshot).await?;
    let cluster = manifest.and_then(|manifest| manifest.cluster);
    cluster.ok_or_else(|| SourceError::Snapshot {
        snapshot: snapshot.short().to_owned(),
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
    let found = blocking(move || checked.check(delta)).await?;
    let mut removed = 0;
    let prepared = places.clone();
    blocking(move || prepare(&prepared)).await?;
    if found != Occupied::Nothing {
        work.progress.set_current("removing what the snapshot does not hold");
        removed += clear(snapshot, "/data", &places.target, work).await?;
        for (oid, place) in &places.tablespaces {
            removed += clear(snapshot, &format!("/tablespaces/{oid}"), place, work).await?;
        }
    }
    let delta = found != Occupied::Nothing;
    let data = restore(
        snapshot,
        "/data",
        &places.target,
        delta,
        &[format!("/data/{CONTROL}")],
        &[],
        work,
    )
    .await?;
    let mut total = data;
    for (oid, place) in &places.tablespaces {
        total.add(&restore(snapshot, &format!("/tablespaces/{oid}"), place, delta, &[], &[], work).await?);
    }
    work.progress.set_current("writing everything to disk");
    let linked = places.clone();
    blocking(move || link(&linked)).await?;
    let control = [format!("/data/{CONTROL}")];
    total.add(&restore(snapshot, "/data", &places.target, false, &[], &control, work).await?);
    let finished = places.clone();
    blocking(move || finish(&finished)).await?;
    let took = Millis::from(work.clock.elapsed(began));
    Ok(LaidDown {
        cluster: places.cluster,
        written: Bytes(total.bytes),
        files: total.files + total.kept,
        kept: total.kept,
        removed,
        tablespaces: places.tablespaces,
        phases: vec![PhaseTime {
            phase: RecoveryPhase::Restore,
            took,
        }],
    })
}

#[derive(Debug, Clone, Copy)]
struct Total {
    bytes: u64,
    files: u64,
    kept: u64,
}

impl Total {
    fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.files += other.files;
        self.kept += other.kept;
    }
}

async fn restore(
    snapshot: &SnapshotId,
    path: &str,
    target: &Path,
    delta: bool,
    exclude: &[String],
    include: &[String],
    work: &Work<'_>,
) -> Result<Total, SourceError> {
    let options = RestoreOptions {
        subpath: Some(path.to_owned()),
        delta,
        exclude: exclude.to_vec(),
        include: include.to_vec(),
        ..RestoreOptions::new(snapshot.0.clone(), target)
    };
    let result = work
        .repo
        .restore(options, work.progress.clone(), work.cancel.clone())
        .await?;
    if let Some(first) = result.errors.first() {
        return Err(PhysicalError::Incomplete {
            directory: target.to_owned(),
            count: result.errors.len(),
            first: format!("{}: {}", first.path, first.message),
        }
        .into());
    }
    Ok(Total {
        bytes: result.bytes,
        files: result.files,
        kept: result.unchanged,
    })
}

/// Decides where each tablespace goes.
fn map(
    known: &[Tablespace],
    wanted: &[(String, PathBuf)],
    target: &Path,
) -> Result<Vec<(u32, PathBuf)>, PhysicalError> {
    let wrong = |which: &str, why: &str| PhysicalError::Mapping {
        which: which.to_owned(),
        why: why.to_owned(),
    };
    let named = |tablespace: &Tablespace, old: &str| {
        tablespace.oid.to_string() == old || tablespace.name == old || tablespace.location == Path::new(old)
    };
    for (old, new) in wanted {
        if !known.iter().any(|tablespace| named(tablespace, old)) {
            return Err(wrong(old, "the snapshot has no such tablespace"));
        }
        if !new.is_absolute() {
            return Err(wrong(old, "its new place is not an absolute path"));
        }
    }
    let mut places: Vec<(u32, PathBuf)> = Vec::new();
    for tablespace in known {
        let new = wanted.iter().find(|(old, _)| named(tablespace, old));
        let place = new.map_or(&tablespace.location, |(_, new)| new);
        if place.starts_with(target) || target.starts_with(place) {
            return Err(wrong(
                &tablespace.name,
                "it may not lie inside the data directory, nor around it",
            ));
        }
        if places
            .iter()
            .any(|(_, other)| other.starts_with(place) || place.starts_with(other))
        {
            return Err(wrong(&tablespace.name, "two tablespaces cannot lie in one another"));
        }
        places.push((tablespace.oid, place.clone()));
    }
    Ok(places)
}

/// Makes the directories, leaves the mark, and takes away what a server would start on.
fn prepare(places: &Places) -> Result<(), SourceError> {
    let make = |path: &Path| {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| SourceError::local("create", path, &error))
    };
    make(&places.target)?;
    let mark = places.target.join(MARK);
    fs::write(&mark, format!("{}\n", places.cluster.system))
        .map_err(|error| SourceError::local("write", &mark, &error))?;
    sync(&places.target)?;
    remove(&places.target.join(CONTROL))?;
    let links = places.target.join("pg_tblspc");
    for (oid, place) in &places.tablespaces {
        make(place)?;
        make(&links)?;
        let link = links.join(oid.to_string());
        remove(&link)?;
        std::os::unix::fs::symlink(place, &link).map_err(|error| SourceError::local("create", &link, &error))?;
    }
    sync(&places.target)
}

/// Puts back what the restore of the tree took for something foreign, and syncs everything but the control file.
fn link(places: &Places) -> Result<(), SourceError> {
    if !places.tablespaces.is_empty() {
        let path = places.target.join("tablespace_map");
        let failed = |error: std::io::Error| SourceError::local("write", &path, &error);
        fs::write(&path, label::write_map(&places.tablespaces)).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    }
    for place in std::iter::once(&places.target).chain(places.tablespaces.iter().map(|(_, place)| place)) {
        give_away(place, &places.target.join("PG_VERSION"))?;
        let failed = |error: std::io::Error| SourceError::local("change", place, &error);
        fs::set_permissions(place, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        sync(place)?;
    }
    for own in ["tablespace_map", "pg_tblspc"] {
        let own = places.target.join(own);
        if own.exists() {
            give_away(&own, &places.target.join("PG_VERSION"))?;
        }
    }
    Ok(())
}

/// Syncs the control file and takes the mark away: from here on it is a cluster.
fn finish(places: &Places) -> Result<(), SourceError> {
    sync(&places.target)?;
    remove(&places.target.join(MARK))?;
    sync(&places.target)?;
    let parent = places.target.parent().unwrap_or(Path::new("/"));
    let synced = File::open(parent).and_then(|directory| directory.sync_all());
    synced.map_err(|error| SourceError::local("sync", parent, &error))
}

/// Gives a file or directory to the owner of another, when we are root: the restored files went back to theirs.
fn give_away(path: &Path, like: &Path) -> Result<(), SourceError> {
    use std::os::unix::fs::{MetadataExt, chown};
    if !nix::unistd::Uid::effective().is_root() {
        return Ok(());
    }
    let failed = |error: std::io::Error| SourceError::local("change the owner of", path, &error);
    let meta = fs::metadata(like).map_err(failed)?;
    chown(path, Some(meta.uid()), Some(meta.gid())).map_err(failed)
}

/// Writes the whole file system a directory is on to disk; a cluster has too many files to sync each.
fn sync(directory: &Path) -> Result<(), SourceError> {
    let failed = |error: std::io::Error| SourceError::local("sync", directory, &error);
    let opened = File::open(directory).map_err(failed)?;
    rustix::fs::syncfs(&opened).map_err(|error| failed(error.into()))
}

fn remove(path: &Path) -> Result<(), SourceError> {
    match fs::remove_file(path) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(SourceError::local("remove", path, &error))
        }
        _ => Ok(()),
    }
}

/// Removes from an old copy what the snapshot does not hold; returns how many files that were.
async fn clear(snapshot: &SnapshotId, path: &str, target: &Path, work: &Work<'_>) -> Result<u64, SourceError> {
    let mut wanted: HashSet<(PathBuf, bool)> = HashSet::new();
    let prefix = format!("{path}/");
    let seen = |entry: crate::repo::TreeEntry, _: &crate::repo::tree::Node| {
        let below = entry.path.strip_prefix(&prefix).unwrap_or(&entry.path);
        wanted.insert((PathBuf::from(below), entry.kind == NodeKind::Dir));
    };
    let visit = async {
        work.repo
            .visit(snapshot.as_str(), path, seen)
            .await
            .map_err(SourceError::from)
    };
    work.cancellable(visit).await?;
    // Links of tablespaces and the mark are ours, in no snapshot.
    wanted.insert((PathBuf::from(MARK), false));
    let (target, cancel) = (target.to_owned(), work.cancel.clone());
    blocking(move || {
        let mut removed = 0;
        let mut todo = vec![PathBuf::new()];
        while let Some(directory) = todo.pop() {
            if cancel.is_cancelled() {
                return Err(SourceError::Cancelled);
            }
            let place = target.join(&directory);
            let failed = |error: std::io::Error| SourceError::local("clear", &place, &error);
            for entry in fs::read_dir(&place).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let below = directory.join(entry.file_name());
                let is_dir = entry.file_type().map_err(failed)?.is_dir();
                if directory == Path::new("pg_tblspc") && !is_dir {
                    continue;
                }
                if wanted.contains(&(below.clone(), is_dir)) {
                    todo.extend(is_dir.then_some(below));
                    continue;
                }
                let gone = if is_dir {
                    fs::remove_dir_all(entry.path())
                } else {
                    fs::remove_file(entry.path())
                };
                gone.map_err(failed)?;
                removed += 1;
            }
        }
        Ok(removed)
    })
    .await
}

/// Does what may wait for a disk off the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(crate::repo::RepoError::internal(format!("a worker ended: {error}")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tablespace(oid: u32, name: &str, location: &str) -> Tablespace {
        Tablespace {
            oid,
            name: name.to_owned(),
            location: PathBuf::from(location),
        }
    }

    #[test]
    fn a_tablespace_is_named_as_people_know_it_and_never_lies_in_another() {
        let known = [
            tablespace(16_385, "fast", "/ssd/fast"),
            tablespace(16_386, "slow", "/disk/slow"),
        ];
        let to = |old: &str, new: &str| vec![(old.to_owned(), PathBuf::from(new))];
        let target = Path::new("/restored/data");
        for old in ["fast", "16385", "/ssd/fast"] {
            let places = map(&known, &to(old, "/new/fast"), target).unwrap();
            assert_eq!(places[0].1, Path::new("/new/fast"), "{old}");
            assert_eq!(places[1].1, Path::new("/disk/slow"));
        }
        let wrong = [
            ("none", "/x"),
            ("fast", "x"),
            ("fast", "/restored/data/x"),
            ("fast", "/restored"),
            ("fast", "/disk/slow/in"),
        ];
        for (old, new) in wrong {
            assert!(map(&known, &to(old, new), target).is_err(), "{old}={new}");
        }
    }
}
