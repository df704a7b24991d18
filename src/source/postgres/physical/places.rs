//! Where the parts of a cluster go when it is laid down, and what is in the way there.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::PhysicalError;
use super::lay_down::{LayDownOptions, MARK, cluster_of};
use super::occupied::{self, Occupied};
use crate::domain::id::SnapshotId;
use crate::repo::{NodeKind, off_runtime};
use crate::source::manifest::{ClusterManifest, Tablespace};
use crate::source::{SourceError, Work};

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
        let cluster = cluster_of(&work.repo.snapshot(snapshot.as_str()).await?, work).await?;
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

    /// What is put into the data directory without being in the snapshot: the mark, and the links of its tablespaces.
    pub(super) fn ours(&self) -> Vec<PathBuf> {
        let links = self
            .tablespaces
            .iter()
            .map(|(oid, _)| format!("pg_tblspc/{oid}").into());
        links.chain([PathBuf::from(MARK)]).collect()
    }

    /// What stands in the way, before anything is changed.
    pub(super) fn check(&self, delta: bool, begun: bool) -> Result<Occupied, SourceError> {
        let system = self.cluster.system;
        let found = occupied::look(&self.target, system, begun)?;
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

/// Removes from an old copy what the snapshot does not hold and is none of `ours`; returns how many files that were.
pub(super) async fn clear(
    snapshot: &SnapshotId,
    path: &str,
    target: &Path,
    ours: &[PathBuf],
    work: &Work<'_>,
) -> Result<u64, SourceError> {
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
    wanted.extend(ours.iter().map(|own| (own.clone(), false)));
    let (target, cancel) = (target.to_owned(), work.cancel.clone());
    off_runtime(move || {
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
    .await?
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
