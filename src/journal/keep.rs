//! What the keeping of repositories leaves in history: marks on snapshots, and a row for each piece of maintenance; and
//! what retention and listings ask of it.

use rusqlite::{Connection, Row, params};

use super::project::{BETWEEN, change_snapshot, get, json, moment, record_snapshot, searchable};
use crate::domain::event::{Event, EventRecord};
use crate::domain::id::{JobName, RepositoryName, SnapshotId};
use crate::domain::maintenance::{MaintenanceRecord, Task};
use crate::domain::retention::SnapshotFacts;
use crate::domain::snapshot::{EvidenceLevel, SnapshotRecord};
use crate::domain::upkeep::retagged;

/// Brings history up to date with one event about keeping.
pub(super) fn project(db: &Connection, record: &EventRecord) -> rusqlite::Result<()> {
    match &record.event {
        Event::SnapshotForgotten { snapshot, mark } => change_snapshot(db, snapshot, |known| {
            known.forgotten = Some(mark.clone());
        }),
        Event::SnapshotUnforgotten { snapshot } => change_snapshot(db, snapshot, |known| known.forgotten = None),
        Event::SnapshotPurged { snapshot } => change_snapshot(db, snapshot, |known| {
            known.vanished_at = Some(record.at);
        }),
        Event::SnapshotPinned { snapshot, mark } => change_snapshot(db, snapshot, |known| {
            known.pinned = Some(mark.clone());
        }),
        Event::SnapshotUnpinned { snapshot } => change_snapshot(db, snapshot, |known| known.pinned = None),
        Event::SnapshotRetagged { old, new, tags } => retag(db, record.seq, old, new, tags),
        Event::MaintenanceFinished {
            record: maintenance, ..
        } => put_maintenance(db, record.seq, maintenance),
        _ => Ok(()),
    }
}

fn retag(db: &Connection, seq: u64, old: &SnapshotId, new: &SnapshotId, tags: &[String]) -> rusqlite::Result<()> {
    let known = get::<SnapshotRecord>(db, "SELECT seq, record FROM snapshots WHERE id = ?1", old.as_str())?;
    let Some((_, known)) = known else { return Ok(()) };
    change_snapshot(db, old, |known| known.replaced_by = Some(new.clone()))?;
    record_snapshot(db, seq, &retagged(&known, new, tags))
}

fn put_maintenance(db: &Connection, seq: u64, record: &MaintenanceRecord) -> rusqlite::Result<()> {
    let (job, reason) = match &record.task {
        Task::Forget { job, reason, .. } => (job.as_ref(), Some(reason.as_str())),
        Task::Pin { reason, .. } | Task::Unpin { reason, .. } => (None, reason.as_deref()),
        _ => (None, None),
    };
    let head = [
        record.id.as_str(),
        record.repository.as_str(),
        record.task.word(),
        record.requested_by.as_str(),
        record.outcome.word(),
        record.summary.as_str(),
        reason.unwrap_or_default(),
        job.map(JobName::as_str).unwrap_or_default(),
        record
            .error
            .as_ref()
            .map(|error| error.message.as_str())
            .unwrap_or_default(),
    ];
    let snapshots = record.task.snapshots().iter().map(SnapshotId::as_str);
    db.prepare_cached(
        "INSERT INTO maintenance VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO UPDATE SET at = excluded.at,
         repository = excluded.repository, job = excluded.job, snapshot = excluded.snapshot, search = excluded.search, record = excluded.record",
    )?
    .execute(params![
        seq.cast_signed(),
        moment(record.finished_at),
        record.id.as_str(),
        record.repository.as_str(),
        job.map(JobName::as_str),
        match record.task.snapshots() {
            [one] => Some(one.as_str()),
            _ => None,
        },
        searchable(head.into_iter().chain(snapshots).chain(record.findings.iter().map(String::as_str))),
        json(record)?,
    ])
    .map(drop)
}

/// What retention has to know of every snapshot of a job that is listed in some repository.
pub(super) fn retention_facts(db: &Connection, job: &JobName) -> rusqlite::Result<Vec<SnapshotFacts>> {
    db.prepare_cached(
        "SELECT id, repository, at, tags, partial, refuted, level, pinned FROM snapshots WHERE job = ?1 AND gone = 0",
    )?
    .query_map([job.as_str()], facts)?
    .collect()
}

fn facts(row: &Row<'_>) -> rusqlite::Result<SnapshotFacts> {
    let at: i64 = row.get(2)?;
    let tags: String = row.get(3)?;
    let rank: u8 = row.get(6)?;
    let level = EvidenceLevel::ALL.into_iter().find(|level| level.rank() == rank);
    Ok(SnapshotFacts {
        id: SnapshotId(row.get(0)?),
        repository: RepositoryName(row.get(1)?),
        taken_at: chrono::DateTime::from_timestamp_micros(at).unwrap_or_default(),
        tags: tags
            .split(BETWEEN)
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect(),
        partial: row.get(4)?,
        refuted: row.get(5)?,
        level: level.unwrap_or(EvidenceLevel::Written),
        pinned: row.get(7)?,
    })
}

/// The snapshots that are known to be in the trash of a repository, and those that are pinned in it.
pub(super) fn marked_ids(
    db: &Connection,
    repository: &RepositoryName,
) -> rusqlite::Result<(Vec<SnapshotId>, Vec<SnapshotId>)> {
    let ids = |condition: &str| -> rusqlite::Result<Vec<SnapshotId>> {
        db.prepare_cached(&format!(
            "SELECT id FROM snapshots WHERE repository = ?1 AND {condition}"
        ))?
        .query_map([repository.as_str()], |row| row.get(0).map(SnapshotId))?
        .collect()
    };
    Ok((ids("trash = 1")?, ids("pinned = 1 AND gone = 0")?))
}
