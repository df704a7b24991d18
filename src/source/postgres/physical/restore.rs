//! A cluster back into a directory, as a recovery that is planned, confirmed and reported.

use std::path::Path;

use super::lay_down::{LayDownOptions, blocking, lay_down};
use super::occupied::Occupied;
use super::places::Places;
use crate::domain::recovery::{Finding, RecoveryPhase, RecoveryTarget};
use crate::domain::units::Bytes;
use crate::repo::{Phase, RestoreOptions};
use crate::source::files::free_space;
use crate::source::recovery::{PlanParts, Restored, Stopwatch, quote};
use crate::source::{ClusterManifest, SourceError, Subject, Work};

/// Whether a target asks for the whole cluster, rather than for some files of its snapshot.
pub(in crate::source) fn is_whole(subject: &Subject, target: &RecoveryTarget) -> bool {
    let whole = matches!(
        target,
        RecoveryTarget::Directory { include, subpath: None, .. } if include.is_empty()
    );
    whole && subject.snapshot.kind == "postgres-physical"
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

/// Says what laying a cluster into a directory would do.
pub(in crate::source) async fn plan(
    subject: &Subject,
    target: &RecoveryTarget,
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
    let found = match blocking(move || checked.check(delta)).await {
        Ok(found) => found,
        Err(error) => {
            let hint = error.hint().map_or_else(String::new, |hint| format!(" ({hint})"));
            parts.blockers.push(format!("{error}{hint}"));
            return Ok(parts);
        }
    };
    let data = std::iter::once(("/data".to_owned(), path.to_owned()));
    let spaces = places.tablespaces.iter();
    for (from, to) in data.chain(spaces.map(|(oid, place)| (format!("/tablespaces/{oid}"), place.clone()))) {
        let plan = RestoreOptions {
            subpath: Some(from),
            delta,
            ..RestoreOptions::new(subject.snapshot.id.0.clone(), to)
        };
        let plan = work.repo.plan_restore(&plan).await?;
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
        // The old copy may be the same but for what is removed; that is a change too.
        parts.overwrites = parts.overwrites.max(1);
    }
    if let Some(free) = parts.target_free.filter(|free| free.0 < parts.write.0) {
        let needed = parts.write;
        parts
            .blockers
            .push(format!("{needed} are needed at {}, {free} are free", path.display()));
    }
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
