//! What an event does to the history tables. They hold nothing that the events do not say.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{audit, keep};
use crate::domain::alert::{Acknowledgement, Alert, AlertRecord};
use crate::domain::apply::raise;
use crate::domain::event::{Event, EventRecord};
use crate::domain::id::{JobName, RunId, SnapshotId, SourceName};
use crate::domain::recovery::RecoveryRecord;
use crate::domain::run::RunRecord;
use crate::domain::runbook::{RunbookFact, RunbookRecord};
use crate::domain::snapshot::{EvidenceLevel, SnapshotRecord};
use crate::domain::units::Timestamp;

/// Stands between the words of a column that is searched, so that no search matches across two of them.
pub(super) const BETWEEN: char = '\u{1f}';

/// Brings the history tables up to date with one event, in the caller's transaction.
pub(super) fn project(db: &Connection, record: &EventRecord) -> rusqlite::Result<()> {
    audit::put(db, record)?;
    match &record.event {
        Event::RunFinished { record: run } => put_run(db, record.seq, run),
        Event::SnapshotRecorded { snapshot } => record_snapshot(db, record.seq, snapshot),
        Event::SnapshotVanished { snapshot } => change_snapshot(db, snapshot, |known| {
            known.vanished_at = Some(record.at);
        }),
        Event::SnapshotForgotten { .. }
        | Event::SnapshotUnforgotten { .. }
        | Event::SnapshotPurged { .. }
        | Event::SnapshotPinned { .. }
        | Event::SnapshotUnpinned { .. }
        | Event::SnapshotRetagged { .. }
        | Event::MaintenanceFinished { .. } => keep::project(db, record),
        Event::EvidenceRaised { snapshot, level } => change_snapshot(db, snapshot, |known| {
            raise(&mut known.evidence, *level, record.at);
        }),
        Event::EvidenceRefuted { snapshot, failure } => change_snapshot(db, snapshot, |known| {
            known.evidence.failure = Some(failure.clone());
        }),
        Event::RecoveryRequested { recovery } => match (&recovery.job, &recovery.source) {
            (Some(job), Some(source)) => pair(db, job.as_str(), source.as_str()),
            _ => Ok(()),
        },
        Event::RecoveryFinished { record: recovery } => put_recovery(db, record.seq, recovery),
        Event::Runbook {
            fact: RunbookFact::Finished { record: runbook },
            ..
        } => put_runbook(db, record.seq, runbook),
        Event::FollowUpEnded { recovery, server } | Event::RecoveredServerSeen { recovery, server } => {
            match get::<RecoveryRecord>(
                db,
                "SELECT seq, record FROM recoveries WHERE id = ?1",
                recovery.as_str(),
            )? {
                Some((seq, mut known)) => {
                    known.left = Some(server.clone());
                    put_recovery(db, seq.cast_unsigned(), &known)
                }
                None => Ok(()),
            }
        }
        Event::AlertOpened { alert } => open_alert(db, record.seq, alert),
        Event::AlertAcknowledged { key, by, note } => change_alert(db, key.as_str(), |known| {
            known.alert.acknowledged = Some(Acknowledgement {
                by: by.clone(),
                at: record.at,
                note: note.clone(),
            });
        }),
        Event::AlertResolved { key, reason } => change_alert(db, key.as_str(), |known| {
            known.resolved_at = Some(record.at);
            known.resolution = Some(reason.clone());
        }),
        _ => Ok(()),
    }
}

fn put_run(db: &Connection, seq: u64, run: &RunRecord) -> rusqlite::Result<()> {
    let error = run
        .error
        .as_ref()
        .map(|error| error.message.as_str())
        .unwrap_or_default();
    let snapshot = run.snapshot.as_ref().map(SnapshotId::as_str);
    let head = [
        run.id.as_str(),
        run.job.as_str(),
        run.outcome.word(),
        error,
        snapshot.unwrap_or_default(),
    ];
    let search = searchable(head.into_iter().chain(run.item_errors.iter().map(String::as_str)));
    db.prepare_cached(
        "INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO UPDATE SET at = excluded.at,
         job = excluded.job, snapshot = excluded.snapshot, search = excluded.search, record = excluded.record",
    )?
    .execute(params![
        seq.cast_signed(),
        moment(run.finished_at),
        run.id.as_str(),
        run.job.as_str(),
        snapshot,
        search,
        json(run)?,
    ])
    .map(drop)
}

fn put_runbook(db: &Connection, seq: u64, record: &RunbookRecord) -> rusqlite::Result<()> {
    let run = &record.run;
    let head = [
        run.id.as_str(),
        run.runbook.name.as_str(),
        run.runbook.title.as_str(),
        run.mode(),
        record.outcome.word(),
        run.started_by.as_str(),
    ];
    let search = searchable(head.into_iter().chain(run.values.values().map(String::as_str)));
    db.prepare_cached(
        "INSERT INTO runbooks VALUES (?1, ?2, ?3, NULL, NULL, NULL, ?4, ?5) ON CONFLICT (id) DO UPDATE SET
         at = excluded.at, search = excluded.search, record = excluded.record",
    )?
    .execute(params![
        seq.cast_signed(),
        moment(record.finished_at),
        run.id.as_str(),
        search,
        json(record)?,
    ])
    .map(drop)
}

/// Records a snapshot, or what is known of it now.
pub(super) fn record_snapshot(db: &Connection, seq: u64, found: &SnapshotRecord) -> rusqlite::Result<()> {
    let known = get::<SnapshotRecord>(db, "SELECT seq, record FROM snapshots WHERE id = ?1", found.id.as_str())?;
    let Some((first_seq, known)) = known else {
        return put_snapshot(db, seq.cast_signed(), found);
    };
    put_snapshot(db, first_seq, &found.merged_with(&known))
}

/// Changes the record of a snapshot; one that is not known stays unknown.
pub(super) fn change_snapshot(
    db: &Connection,
    id: &SnapshotId,
    change: impl FnOnce(&mut SnapshotRecord),
) -> rusqlite::Result<()> {
    match get::<SnapshotRecord>(db, "SELECT seq, record FROM snapshots WHERE id = ?1", id.as_str())? {
        Some((seq, mut known)) => {
            change(&mut known);
            put_snapshot(db, seq, &known)
        }
        None => Ok(()),
    }
}

fn put_snapshot(db: &Connection, seq: i64, snapshot: &SnapshotRecord) -> rusqlite::Result<()> {
    let job = snapshot.job.as_ref().map(JobName::as_str);
    let source = snapshot.source.as_ref().map(SourceName::as_str);
    if let (Some(job), Some(source)) = (job, source) {
        pair(db, job, source)?;
    }
    let head = [
        snapshot.id.as_str(),
        snapshot.repository.as_str(),
        job.unwrap_or_default(),
        source.unwrap_or_default(),
        snapshot.run.as_ref().map(RunId::as_str).unwrap_or_default(),
        snapshot.kind.as_str(),
        snapshot.host.as_str(),
        snapshot.evidence.level.word(),
        snapshot.comment.as_deref().unwrap_or_default(),
        snapshot
            .database
            .as_ref()
            .map(|database| database.name.as_str())
            .unwrap_or_default(),
    ];
    let lists = snapshot.paths.iter().chain(&snapshot.tags).map(String::as_str);
    let mut tags = String::new();
    for tag in &snapshot.tags {
        tags.extend([BETWEEN.to_string().as_str(), tag, BETWEEN.to_string().as_str()]);
    }
    db.prepare_cached(
        "INSERT INTO snapshots VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
         ON CONFLICT (id) DO UPDATE SET
         at = excluded.at, repository = excluded.repository, job = excluded.job, source = excluded.source,
         level = excluded.level, refuted = excluded.refuted, gone = excluded.gone, tags = excluded.tags,
         search = excluded.search, record = excluded.record, partial = excluded.partial, pinned = excluded.pinned,
         trash = excluded.trash",
    )?
    .execute(params![
        seq,
        moment(snapshot.taken_at),
        snapshot.id.as_str(),
        snapshot.repository.as_str(),
        job,
        source,
        snapshot.evidence.level.rank(),
        snapshot.evidence.failure.is_some(),
        !snapshot.is_there(),
        tags,
        searchable(head.into_iter().chain(lists)),
        json(snapshot)?,
        snapshot.partial,
        snapshot.pinned.is_some(),
        snapshot.forgotten.is_some() && snapshot.vanished_at.is_none() && snapshot.replaced_by.is_none(),
    ])
    .map(drop)
}

fn put_recovery(db: &Connection, seq: u64, recovery: &RecoveryRecord) -> rusqlite::Result<()> {
    let target = recovery.request.target.display();
    let search = searchable([
        recovery.id.as_str(),
        recovery.request.snapshot.as_str(),
        recovery.request.repository.as_str(),
        recovery.request.reason.as_deref().unwrap_or_default(),
        target.as_str(),
        recovery.kind.as_str(),
        recovery.job.as_ref().map(JobName::as_str).unwrap_or_default(),
        recovery.source.as_ref().map(SourceName::as_str).unwrap_or_default(),
        recovery.requested_by.as_str(),
        recovery.outcome.word(),
        recovery
            .error
            .as_ref()
            .map(|error| error.message.as_str())
            .unwrap_or_default(),
    ]);
    db.prepare_cached(
        "INSERT INTO recoveries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO UPDATE SET
         at = excluded.at, job = excluded.job, source = excluded.source, snapshot = excluded.snapshot,
         level = excluded.level, search = excluded.search, record = excluded.record",
    )?
    .execute(params![
        seq.cast_signed(),
        moment(recovery.finished_at),
        recovery.id.as_str(),
        recovery.job.as_ref().map(JobName::as_str),
        recovery.source.as_ref().map(SourceName::as_str),
        recovery.request.snapshot.as_str(),
        recovery.evidence.map(EvidenceLevel::rank),
        search,
        json(recovery)?,
    ])
    .map(drop)
}

const OPEN_ALERT: &str = "SELECT seq, record FROM alerts WHERE key = ?1 AND open = 1";

fn open_alert(db: &Connection, seq: u64, alert: &Alert) -> rusqlite::Result<()> {
    // A condition that is reported again while it is open stays one row.
    let seq = match get::<AlertRecord>(db, OPEN_ALERT, alert.key.as_str())? {
        Some((first_seq, _)) => first_seq,
        None => seq.cast_signed(),
    };
    put_alert(
        db,
        seq,
        &AlertRecord {
            alert: alert.clone(),
            resolved_at: None,
            resolution: None,
        },
    )
}

fn change_alert(db: &Connection, key: &str, change: impl FnOnce(&mut AlertRecord)) -> rusqlite::Result<()> {
    match get::<AlertRecord>(db, OPEN_ALERT, key)? {
        Some((seq, mut known)) => {
            change(&mut known);
            put_alert(db, seq, &known)
        }
        None => Ok(()),
    }
}

fn put_alert(db: &Connection, seq: i64, record: &AlertRecord) -> rusqlite::Result<()> {
    let alert = &record.alert;
    let search = searchable([
        alert.key.as_str(),
        alert.severity.word(),
        alert.message.as_str(),
        alert.next_step.as_str(),
        alert
            .acknowledged
            .as_ref()
            .map(|taken| taken.by.as_str())
            .unwrap_or_default(),
        alert
            .acknowledged
            .as_ref()
            .and_then(|taken| taken.note.as_deref())
            .unwrap_or_default(),
        record.resolution.as_deref().unwrap_or_default(),
    ]);
    db.prepare_cached(
        "INSERT INTO alerts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (seq) DO UPDATE SET
         at = excluded.at, job = excluded.job, snapshot = excluded.snapshot, open = excluded.open,
         search = excluded.search, record = excluded.record",
    )?
    .execute(params![
        seq,
        moment(alert.opened_at),
        alert.key.as_str(),
        alert.subject.job.as_ref().map(JobName::as_str),
        alert.subject.snapshot.as_ref().map(SnapshotId::as_str),
        record.resolved_at.is_none(),
        search,
        json(record)?,
    ])
    .map(drop)
}

fn pair(db: &Connection, job: &str, source: &str) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO job_sources VALUES (?1, ?2)")?
        .execute([job, source])
        .map(drop)
}

/// Reads the number and the record of a row.
pub(super) fn get<T: DeserializeOwned>(db: &Connection, sql: &str, key: &str) -> rusqlite::Result<Option<(i64, T)>> {
    db.prepare_cached(sql)?
        .query_row([key], |row| Ok((row.get(0)?, from_json(row, 1)?)))
        .optional()
}

/// Reads a record from a column that holds it as JSON.
pub(super) fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// Writes a record as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// A moment as the tables order it: microseconds since 1970.
pub(super) fn moment(at: Timestamp) -> i64 {
    at.timestamp_micros()
}

/// What a text filter looks through: the words, each once, without regard to case.
pub(super) fn searchable<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: BTreeSet<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let mut text = String::new();
    for word in words {
        text.push_str(&word.to_lowercase());
        text.push(BETWEEN);
    }
    text
}
