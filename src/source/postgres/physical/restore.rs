//! A cluster back into a directory, as a recovery that is planned, confirmed and reported.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::lay_down::{LayDownOptions, lay_down};
use super::occupied::Occupied;
use super::places::Places;
use crate::domain::recovery::{Finding, RecoveryPhase, RecoveryTarget};
use crate::domain::source::POSTGRES_PHYSICAL;
use crate::domain::units::Bytes;
use crate::repo::{Phase, RestoreOptions, off_runtime};
use crate::source::files::free_space;
use crate::source::recovery::{PlanParts, Restored, Stopwatch, quote};
use crate::source::{ClusterManifest, SourceError, Subject, Work};

/// Whether a target asks for the whole cluster, rather than for some files of its snapshot.
pub(in crate::source) fn is_whole(subject: &Subject, target: &RecoveryTarget) -> bool {
    let whole = matches!(
        target,
        RecoveryTarget::Directory { include, subpath: None, .. } if include.is_empty()
    );
    whole && subject.snapshot.kind == POSTGRES_PHYSICAL
}

fn options(target: &RecoveryTarget) -> (&Path, LayDownOptions) {
    match target {
        RecoveryTarget::Directory {
            path,
            delta,
            tablespaces,
            ..
        } => (
            path,
            LayDownOptions {
                delta: *delta,
                tablespaces: tablespaces.clone(),
            },
        ),
        _ => (Path::new(""), LayDownOptions::default()),
    }
}

/// Says what laying a cluster into a directory would do; a server on what was `begun` before is ended by whoever lays it.
pub(in crate::source) async fn plan(
    subject: &Subject,
    target: &RecoveryTarget,
    begun: bool,
    work: &Work<'_>,
) -> Result<PlanParts, SourceError> {
    let (path, options) = options(target);
    let places = Places::of(&subject.snapshot.id, path, &options, work).await?;
    let mut parts = PlanParts {
        target_identity: format!("{} on {}", path.display(), subject.host),
        target_free: free_space(path),
        undo: "remove the directory; nothing that exists is changed".to_owned(),
        restic_command: format!(
            "restic -r {} restore {}:/data --target {}",
            quote(&subject.repository_url),
            subject.snapshot.id.short(),
            quote(&path.to_string_lossy())
        ),
        ..PlanParts::default()
    };
    let (checked, delta) = (places.clone(), options.delta);
    let found = match off_runtime(move || checked.check(delta, begun)).await? {
        Ok(found) => found,
        Err(error) => {
            let hint = error.hint().map_or_else(String::new, |hint| format!(" ({hint})"));
            parts.blockers.push(format!("{error}{hint}"));
            return Ok(parts);
        }
    };
    let data = std::iter::once(("/data".to_owned(), path.to_owned()));
    let spaces = places.tablespaces.iter();
    let mut rooms = Rooms::default();
    for (from, to) in data.chain(spaces.map(|(oid, place)| (format!("/tablespaces/{oid}"), place.clone()))) {
        let plan = RestoreOptions {
            subpath: Some(from),
            delta,
            ..RestoreOptions::new(subject.snapshot.id.0.clone(), to)
        };
        let to = plan.target.clone();
        // Comparing contents takes as long as the restore itself, which does it anyway.
        let plan = work.repo.estimate_restore(&plan).await?;
        rooms.add(&to, plan.bytes_to_write - plan.bytes_in_place);
        parts.items += plan.files + plan.unchanged;
        parts.fetch.0 += plan.bytes_to_fetch;
        parts.write.0 += plan.bytes_to_write;
        parts.overwrites += plan.overwritten;
        parts.overwrites_sample.extend(plan.overwritten_names);
    }
    if found == Occupied::OldCopy {
        "no undo: the old copy becomes this one".clone_into(&mut parts.undo);
        parts
            .warnings
            .push("an old copy is there: files the snapshot does not hold are removed, its log included".to_owned());
        parts.warnings.push(
            "sizes are estimates: what is in files of another time or size is compared only when it is laid down, and only \
             what differs is fetched and written"
                .to_owned(),
        );
        // The old copy may be the same but for what is removed; that is a change too.
        parts.overwrites = parts.overwrites.max(1);
    }
    parts.blockers.extend(rooms.too_small());
    for (oid, place) in &places.tablespaces {
        parts
            .warnings
            .push(format!("tablespace {oid} goes to {}", place.display()));
    }
    let cluster = &places.cluster;
    if cluster.damaged_total > 0 {
        parts.warnings.push(format!(
            "{} pages were damaged on the server already when this snapshot was made",
            cluster.damaged_total
        ));
    }
    Ok(parts)
}

/// What is to be written to each file system.
#[derive(Debug, Default)]
struct Rooms(BTreeMap<u64, Room>);

#[derive(Debug)]
struct Room {
    needed: u64,
    places: Vec<PathBuf>,
}

impl Rooms {
    /// Counts what is written to a place, which need not exist yet.
    fn add(&mut self, place: &Path, bytes: u64) {
        let device = place.ancestors().find_map(|there| std::fs::metadata(there).ok());
        let room = self.0.entry(device.map_or(0, |meta| meta.dev())).or_insert(Room {
            needed: 0,
            places: Vec::new(),
        });
        room.needed = room.needed.saturating_add(bytes);
        room.places.push(place.to_owned());
    }

    /// The file systems that have less room than is needed.
    fn too_small(&self) -> impl Iterator<Item = String> {
        self.0.values().filter_map(|room| {
            let free = free_space(room.places.first()?).filter(|free| free.0 < room.needed)?;
            let places: Vec<String> = room.places.iter().map(|place| place.display().to_string()).collect();
            let needed = Bytes(room.needed);
            Some(format!("{needed} are needed at {}, {free} are free", places.join(", ")))
        })
    }
}

/// Lays a cluster into a directory.
pub(in crate::source) async fn restore(
    subject: &Subject,
    target: &RecoveryTarget,
    work: &Work<'_>,
) -> Result<Restored, SourceError> {
    let mut watch = Stopwatch::start(work);
    let (path, options) = options(target);
    watch.reached(RecoveryPhase::Restore);
    let laid = lay_down(&subject.snapshot.id, path, &options, work).await?;
    work.progress.set_phase(Phase::Done);
    let finding = |what: &str, detail: String| Finding {
        what: what.to_owned(),
        ok: true,
        detail,
    };
    let mut findings = vec![finding(
        "cluster laid down and synced",
        format!(
            "{} of {} files, {} were the same already, {} of an old copy removed, at {}",
            Bytes(laid.written.0),
            laid.files,
            laid.kept,
            laid.removed,
            path.display()
        ),
    )];
    let spaces = laid.tablespaces.iter();
    findings.extend(spaces.map(|(oid, place)| finding("tablespace", format!("{oid} at {}", place.display()))));
    findings.extend(next_steps(&laid.cluster, path).map(|detail| finding("what remains to be done", detail)));
    Ok(Restored {
        left: None,
        written: laid.written,
        replayed: Bytes(0),
        items: laid.files,
        findings,
        phases: watch.stop(),
        errors: Vec::new(),
    })
}

/// What remains to be done by whoever asked for the directory.
fn next_steps(cluster: &ClusterManifest, path: &Path) -> impl Iterator<Item = String> {
    let data = quote(&path.to_string_lossy());
    [
        format!(
            "start PostgreSQL {} as the owner of the files: pg_ctl -D {data} start; it is consistent at {} and opens there",
            cluster.major, cluster.stop_lsn
        ),
        "to go on to a later moment instead, before it is started: set restore_command = 'lifeboat wal fetch %f %p' and a \
         recovery target in postgresql.auto.conf, and create recovery.signal"
            .to_owned(),
    ]
    .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_looked_for_on_the_disk_each_part_goes_to() {
        // Two file systems on every machine this runs on, the one with less room first.
        let (here, shared) = (tempfile::tempdir().unwrap(), Path::new("/dev/shm/space"));
        let data = here.path().join("data");
        let free = |place: &Path| free_space(place).unwrap().0;
        let blockers = |parts: &[(&Path, u64)]| {
            let mut rooms = Rooms::default();
            for (place, bytes) in parts {
                rooms.add(place, *bytes);
            }
            rooms.too_small().collect::<Vec<_>>()
        };
        // Each fits where it goes, though both together would not fit on the smaller one.
        let mut fits = [(data.as_path(), free(&data) / 4 * 3), (shared, free(shared) / 4 * 3)];
        fits.sort_by_key(|(_, bytes)| *bytes);
        assert_eq!(blockers(&fits), Vec::<String>::new());
        let told = blockers(&[(&data, 1), (shared, u64::MAX)]);
        assert!(told.len() == 1 && told[0].contains("/dev/shm/space, "), "{told:?}");
        // Two that go to the same disk share it.
        let most = free(&data) / 4 * 3;
        let told = blockers(&[(&data, most), (&here.path().join("space"), most)]);
        assert!(told.len() == 1 && told[0].contains("data, "), "{told:?}");
    }
}
