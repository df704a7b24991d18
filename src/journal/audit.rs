//! The audit table: one row an event, with what it is about, for the filters of the audit log.

use rusqlite::{Connection, OptionalExtension, params};

use super::project::{moment, searchable};
use crate::domain::event::{Event, EventRecord};
use crate::domain::id::{MaintenanceId, SnapshotId};
use crate::domain::maintenance::Task;

/// What an event is about, for the filters of the audit log.
#[derive(Default)]
struct Subject {
    job: Option<String>,
    source: Option<String>,
    /// The run, recovery, snapshot or alert.
    thing: Option<String>,
    snapshot: Option<String>,
}

fn subject(event: &Event) -> Subject {
    let text = |id: &dyn ToString| Some(id.to_string());
    let thing = |id: &dyn ToString| Subject {
        thing: text(id),
        ..Subject::default()
    };
    let of_snapshot = |id: &SnapshotId| Subject {
        thing: text(id),
        snapshot: text(id),
        ..Subject::default()
    };
    match event {
        Event::RetentionApplied { job, .. }
        | Event::RetentionRefused { job, .. }
        | Event::JobAppeared { job }
        | Event::JobDisappeared { job }
        | Event::JobEnabled { job }
        | Event::JobDisabled { job, .. }
        | Event::ScheduleMissed { job, .. } => Subject {
            job: text(job),
            ..Subject::default()
        },
        Event::RunQueued { run, job, .. } => Subject {
            job: text(job),
            ..thing(run)
        },
        Event::RunStarted { run, .. }
        | Event::RunRetryScheduled { run, .. }
        | Event::RunCancelRequested { run, .. } => thing(run),
        Event::RunFinished { record } => Subject {
            job: text(&record.job),
            snapshot: record.snapshot.as_ref().map(ToString::to_string),
            ..thing(&record.id)
        },
        Event::SnapshotRecorded { snapshot } => Subject {
            job: snapshot.job.as_ref().map(ToString::to_string),
            source: snapshot.source.as_ref().map(ToString::to_string),
            ..of_snapshot(&snapshot.id)
        },
        Event::MaintenanceRequested { maintenance } => of_task(&maintenance.task, &maintenance.id),
        Event::MaintenanceFinished { record, .. } => of_task(&record.task, &record.id),
        Event::MaintenanceStarted { maintenance } | Event::MaintenanceCancelRequested { maintenance, .. } => {
            thing(maintenance)
        }
        Event::SnapshotRetagged { new: snapshot, .. }
        | Event::SnapshotForgotten { snapshot, .. }
        | Event::SnapshotUnforgotten { snapshot }
        | Event::SnapshotPurged { snapshot }
        | Event::SnapshotPinned { snapshot, .. }
        | Event::SnapshotUnpinned { snapshot }
        | Event::SnapshotVanished { snapshot }
        | Event::EvidenceRaised { snapshot, .. }
        | Event::EvidenceRefuted { snapshot, .. } => of_snapshot(snapshot),
        Event::RecoveryRequested { recovery } => Subject {
            job: recovery.job.as_ref().map(ToString::to_string),
            source: recovery.source.as_ref().map(ToString::to_string),
            snapshot: text(&recovery.request.snapshot),
            ..thing(&recovery.id)
        },
        Event::DrillBegun { recovery, .. }
        | Event::RecoveryStarted { recovery }
        | Event::RecoveryPhaseReached { recovery, .. }
        | Event::RecoveryCancelRequested { recovery, .. }
        | Event::FollowUpRequested { recovery, .. }
        | Event::FollowUpStarted { recovery }
        | Event::FollowUpDoubted { recovery }
        | Event::FollowUpCancelRequested { recovery, .. }
        | Event::FollowUpEnded { recovery, .. }
        | Event::RecoveredServerSeen { recovery, .. } => thing(recovery),
        Event::RestorePointRequested { cluster, .. }
        | Event::RestorePointCreated { cluster, .. }
        | Event::RestorePointFailed { cluster, .. } => thing(cluster),
        Event::RecoveryFinished { record } => Subject {
            job: record.job.as_ref().map(ToString::to_string),
            source: record.source.as_ref().map(ToString::to_string),
            snapshot: text(&record.request.snapshot),
            ..thing(&record.id)
        },
        Event::AlertOpened { alert } => Subject {
            job: alert.subject.job.as_ref().map(ToString::to_string),
            snapshot: alert.subject.snapshot.as_ref().map(ToString::to_string),
            ..thing(&alert.key)
        },
        Event::AlertAcknowledged { key, .. } | Event::AlertResolved { key, .. } | Event::AlertRearmed { key } => {
            thing(key)
        }
        Event::Runbook { run, .. } => thing(run),
        Event::RepositoryReached { repository } | Event::RepositoryLost { repository, .. } => thing(repository),
        Event::DrillAppeared { drill } | Event::DrillDisappeared { drill } | Event::DrillSkipped { drill, .. } => {
            thing(drill)
        }
        Event::AgentStarted { .. } | Event::AgentStopped { .. } | Event::CommandRefused { .. } => Subject::default(),
    }
}

/// Maintenance is about its job, when retention asked for it, and about its snapshot, when there is one.
fn of_task(task: &Task, id: &MaintenanceId) -> Subject {
    let job = match task {
        Task::Forget { job, .. } => job.as_ref().map(ToString::to_string),
        _ => None,
    };
    let snapshot = match task.snapshots() {
        [one] => Some(one.to_string()),
        _ => None,
    };
    Subject {
        job,
        thing: Some(id.to_string()),
        snapshot,
        ..Subject::default()
    }
}

/// Adds the event to the audit table.
pub(super) fn put(db: &Connection, record: &EventRecord) -> rusqlite::Result<()> {
    let mut subject = subject(&record.event);
    if let (Some(thing), None) = (&subject.thing, &subject.job) {
        // Later events about a run, recovery, snapshot or alert name only it; the first one said whose it is.
        let first = db
            .prepare_cached(
                "SELECT job, source, snapshot FROM audit WHERE thing = ?1 AND job IS NOT NULL ORDER BY seq DESC LIMIT 1",
            )?
            .query_row([thing], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        if let Some((job, source, snapshot)) = first {
            subject.job = job;
            subject.source = subject.source.or(source);
            subject.snapshot = subject.snapshot.or(snapshot);
        }
    }
    if let (Some(job), None) = (&subject.job, &subject.source) {
        subject.source = db
            .prepare_cached("SELECT source FROM job_sources WHERE job = ?1 LIMIT 1")?
            .query_row([job], |row| row.get(0))
            .optional()?;
    }
    let summary = record.event.summary();
    let search = searchable([
        record.event.word(),
        summary.as_str(),
        record.actor.name.as_str(),
        record.actor.host.as_str(),
        record.actor.via.as_str(),
        subject.job.as_deref().unwrap_or_default(),
        subject.thing.as_deref().unwrap_or_default(),
    ]);
    db.prepare_cached("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
        .execute(params![
            record.seq.cast_signed(),
            moment(record.at),
            record.event.word(),
            record.actor.name,
            subject.job,
            subject.source,
            subject.thing,
            subject.snapshot,
            search,
        ])
        .map(drop)
}
