//! Made-up events: one of every variant, and random sequences for properties.

mod kept;

use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;

use crate::domain::alert::{Alert, AlertKind, AlertSubject};
use crate::domain::anomaly::Changes;
use crate::domain::command::{Actor, written_evidence};
use crate::domain::event::Event;
use crate::domain::follow_up::{Fate, FollowUp, LeftServer, ServerSeen, Step};
use crate::domain::id::{JobName, MaintenanceId, RecoveryId, RunId, RunbookRunId, SnapshotId};
use crate::domain::maintenance::{Maintenance, MaintenanceRecord, MaintenanceState, Task};
use crate::domain::pitr::Target;
use crate::domain::recovery::{
    Finding, PhaseTime, Recovery, RecoveryPhase, RecoveryRecord, RecoveryRequest, RecoveryState, RecoveryTarget,
};
use crate::domain::retention::TooMany;
use crate::domain::run::{Failure, Outcome, RunRecord, RunStats, Trigger};
use crate::domain::runbook::RunbookFact;
use crate::domain::runbook::run::Word;
use crate::domain::snapshot::{DatabaseFacts, EvidenceFailure, EvidenceLevel, Mark, SnapshotRecord};
use crate::domain::units::{Bytes, Millis, Timestamp};
use crate::domain::wal::Lsn;
pub(super) use kept::*;

/// The word of every variant. A new variant is added here, to [`variant`] and, by its first test run, to the golden file.
pub(super) const WORDS: [&str; 54] = [
    "agent_started",
    "agent_stopped",
    "job_appeared",
    "job_disappeared",
    "job_enabled",
    "job_disabled",
    "schedule_missed",
    "run_queued",
    "run_started",
    "run_retry_scheduled",
    "run_cancel_requested",
    "run_finished",
    "snapshot_recorded",
    "snapshot_vanished",
    "evidence_raised",
    "evidence_refuted",
    "recovery_requested",
    "recovery_started",
    "recovery_phase_reached",
    "recovery_cancel_requested",
    "recovery_finished",
    "repository_reached",
    "repository_lost",
    "alert_opened",
    "alert_acknowledged",
    "alert_resolved",
    "alert_rearmed",
    "command_refused",
    "maintenance_requested",
    "maintenance_started",
    "maintenance_cancel_requested",
    "maintenance_finished",
    "retention_applied",
    "retention_refused",
    "snapshot_forgotten",
    "snapshot_unforgotten",
    "snapshot_purged",
    "snapshot_pinned",
    "snapshot_unpinned",
    "snapshot_retagged",
    "drill_appeared",
    "drill_disappeared",
    "drill_begun",
    "drill_skipped",
    "runbook",
    "follow_up_requested",
    "follow_up_started",
    "follow_up_doubted",
    "follow_up_cancel_requested",
    "follow_up_ended",
    "recovered_server_seen",
    "restore_point_requested",
    "restore_point_created",
    "restore_point_failed",
];

/// The place of an event's variant in [`WORDS`]. Without a wildcard, so that a new variant does not compile until it is here.
pub(super) const fn variant(event: &Event) -> usize {
    match event {
        Event::AgentStarted { .. } => 0,
        Event::AgentStopped { .. } => 1,
        Event::JobAppeared { .. } => 2,
        Event::JobDisappeared { .. } => 3,
        Event::JobEnabled { .. } => 4,
        Event::JobDisabled { .. } => 5,
        Event::ScheduleMissed { .. } => 6,
        Event::RunQueued { .. } => 7,
        Event::RunStarted { .. } => 8,
        Event::RunRetryScheduled { .. } => 9,
        Event::RunCancelRequested { .. } => 10,
        Event::RunFinished { .. } => 11,
        Event::SnapshotRecorded { .. } => 12,
        Event::SnapshotVanished { .. } => 13,
        Event::EvidenceRaised { .. } => 14,
        Event::EvidenceRefuted { .. } => 15,
        Event::RecoveryRequested { .. } => 16,
        Event::RecoveryStarted { .. } => 17,
        Event::RecoveryPhaseReached { .. } => 18,
        Event::RecoveryCancelRequested { .. } => 19,
        Event::RecoveryFinished { .. } => 20,
        Event::RepositoryReached { .. } => 21,
        Event::RepositoryLost { .. } => 22,
        Event::AlertOpened { .. } => 23,
        Event::AlertAcknowledged { .. } => 24,
        Event::AlertResolved { .. } => 25,
        Event::AlertRearmed { .. } => 26,
        Event::CommandRefused { .. } => 27,
        Event::MaintenanceRequested { .. } => 28,
        Event::MaintenanceStarted { .. } => 29,
        Event::MaintenanceCancelRequested { .. } => 30,
        Event::MaintenanceFinished { .. } => 31,
        Event::RetentionApplied { .. } => 32,
        Event::RetentionRefused { .. } => 33,
        Event::SnapshotForgotten { .. } => 34,
        Event::SnapshotUnforgotten { .. } => 35,
        Event::SnapshotPurged { .. } => 36,
        Event::SnapshotPinned { .. } => 37,
        Event::SnapshotUnpinned { .. } => 38,
        Event::SnapshotRetagged { .. } => 39,
        Event::DrillAppeared { .. } => 40,
        Event::DrillDisappeared { .. } => 41,
        Event::DrillBegun { .. } => 42,
        Event::DrillSkipped { .. } => 43,
        Event::Runbook { .. } => 44,
        Event::FollowUpRequested { .. } => 45,
        Event::FollowUpStarted { .. } => 46,
        Event::FollowUpDoubted { .. } => 47,
        Event::FollowUpCancelRequested { .. } => 48,
        Event::FollowUpEnded { .. } => 49,
        Event::RecoveredServerSeen { .. } => 50,
        Event::RestorePointRequested { .. } => 51,
        Event::RestorePointCreated { .. } => 52,
        Event::RestorePointFailed { .. } => 53,
    }
}

/// A moment: that many seconds after noon of a day in 2026.
pub(super) fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_768_000_000 + seconds, 0).unwrap()
}

pub(super) fn person() -> Actor {
    Actor {
        name: "mira".to_owned(),
        host: "laptop".to_owned(),
        via: "console".to_owned(),
    }
}

pub(super) fn job(n: usize) -> JobName {
    JobName(["documents", "shop", "ledger"][n % 3].to_owned())
}

pub(super) fn run_id(n: usize) -> RunId {
    RunId(format!("run-{n:04}"))
}

pub(super) fn recovery_id(n: usize) -> RecoveryId {
    RecoveryId(format!("rec-{n:04}"))
}

pub(super) fn snapshot_id(n: usize) -> SnapshotId {
    SnapshotId(format!("{:08x}{n:056x}", n.wrapping_mul(0x9e37_79b1) & 0xffff_ffff))
}

pub(super) fn snapshot(n: usize) -> SnapshotRecord {
    let taken_at = at(i64::try_from(n).unwrap() * 60);
    SnapshotRecord {
        id: snapshot_id(n),
        repository: ["near", "far"][n % 2].into(),
        source: Some(job(n).0.into()),
        job: Some(job(n)),
        run: Some(run_id(n)),
        kind: "files".to_owned(),
        taken_at,
        committed_at: taken_at + chrono::Duration::seconds(9),
        host: "db1".to_owned(),
        paths: vec!["/srv/documents".to_owned()],
        tags: vec![["daily", "weekly"][n % 2].to_owned(), format!("n{n}")],
        comment: n.is_multiple_of(7).then(|| "Before the MIGRATION".to_owned()),
        size: Bytes(1 << 20),
        added: Bytes(1 << 10),
        files: 42,
        changes: n.is_multiple_of(2).then_some(Changes {
            new: Bytes(500 + n as u64),
            files_new: 3,
            files_changed: 2,
            files_removed: 1,
        }),
        duration: Millis(9000),
        partial: false,
        errors: 0,
        database: (n % 3 == 1).then(|| DatabaseFacts {
            name: "shop".to_owned(),
            server_version: "15.14".to_owned(),
            tool_version: "15.14".to_owned(),
            system_identifier: Some("7234567890123456789".to_owned()),
            row_counts: BTreeMap::from([("public.orders".to_owned(), 100_000)]),
            tables: 1,
        }),
        evidence: written_evidence(taken_at),
        cluster: None,
        vanished_at: None,
        pinned: None,
        forgotten: None,
        replaced_by: None,
        expiry: None,
    }
}

pub(super) fn run(n: usize, outcome: Outcome) -> RunRecord {
    let finished_at = at(i64::try_from(n).unwrap() * 60 + 10);
    RunRecord {
        id: run_id(n),
        job: job(n),
        trigger: Trigger::Schedule { due: at(0) },
        queued_at: at(1),
        started_at: Some(at(2)),
        finished_at,
        outcome,
        attempts: 1,
        duration: Millis(8000),
        stats: RunStats::default(),
        snapshot: (outcome == Outcome::Succeeded).then(|| snapshot_id(n)),
        error: outcome.is_failure().then(failure),
        item_errors: vec![],
    }
}

pub(super) fn failure() -> Failure {
    Failure::permanent("the repository near is full", "free some space")
}

pub(super) fn alert(n: usize) -> Alert {
    let kind = AlertKind::BackupFailed;
    Alert {
        key: kind.key(job(n).as_str()),
        kind,
        severity: kind.severity(),
        subject: AlertSubject {
            job: Some(job(n)),
            ..AlertSubject::default()
        },
        message: "the last run failed".to_owned(),
        next_step: "look at its log".to_owned(),
        opened_at: at(i64::try_from(n).unwrap() * 60 + 30),
        acknowledged: None,
    }
}

/// One event of the variant at that place in [`WORDS`], about thing number `n`.
pub(super) fn event(variant: usize, n: usize) -> Event {
    let by = "mira".to_owned();
    let reason = "by hand".to_owned();
    let level = EvidenceLevel::ALL[n % 5];
    match variant {
        0 => Event::AgentStarted {
            version: "0.1.0".to_owned(),
            host: "db1".to_owned(),
            pid: 4711,
        },
        1 => Event::AgentStopped { reason },
        2 => Event::JobAppeared { job: job(n) },
        3 => Event::JobDisappeared { job: job(n) },
        4 => Event::JobEnabled { job: job(n) },
        5 => Event::JobDisabled {
            job: job(n),
            reason: Some(reason),
        },
        6 => Event::ScheduleMissed {
            job: job(n),
            due: at(0),
            count: 3,
            ran_late: true,
        },
        7 => Event::RunQueued {
            run: run_id(n),
            job: job(n),
            trigger: Trigger::Manual { by },
        },
        8 => Event::RunStarted {
            run: run_id(n),
            attempt: 1,
        },
        9 => Event::RunRetryScheduled {
            run: run_id(n),
            attempt: 1,
            at: at(90),
            error: failure(),
        },
        10 => Event::RunCancelRequested { run: run_id(n), by },
        11 => Event::RunFinished {
            record: run(n, [Outcome::Succeeded, Outcome::Failed, Outcome::Partial][n % 3]),
        },
        12 => Event::SnapshotRecorded { snapshot: snapshot(n) },
        13 => Event::SnapshotVanished {
            snapshot: snapshot_id(n),
        },
        14 => Event::EvidenceRaised {
            snapshot: snapshot_id(n),
            level,
        },
        15 => Event::EvidenceRefuted {
            snapshot: snapshot_id(n),
            failure: EvidenceFailure {
                level,
                at: at(40),
                message: "a blob does not match its hash".to_owned(),
            },
        },
        16 => Event::RecoveryRequested { recovery: recovery(n) },
        17 => Event::RecoveryStarted {
            recovery: recovery_id(n),
        },
        18 => Event::RecoveryPhaseReached {
            recovery: recovery_id(n),
            phase: RecoveryPhase::Verify,
        },
        19 => Event::RecoveryCancelRequested {
            recovery: recovery_id(n),
            by,
        },
        20 => Event::RecoveryFinished {
            record: recovered(n, [Outcome::Succeeded, Outcome::Failed][n % 2]),
        },
        21 => Event::RepositoryReached {
            repository: "near".into(),
        },
        22 => Event::RepositoryLost {
            repository: "near".into(),
            failure: failure(),
        },
        23 => Event::AlertOpened { alert: alert(n) },
        24 => Event::AlertAcknowledged {
            key: alert(n).key,
            by,
            note: Some("on it".to_owned()),
        },
        25 => Event::AlertResolved {
            key: alert(n).key,
            reason,
        },
        26 => Event::AlertRearmed { key: alert(n).key },
        27 => Event::CommandRefused {
            command: "run job".to_owned(),
            reason,
        },
        keeping => keeping_event(keeping, n),
    }
}

/// One event of every variant.
pub(super) fn every_event() -> Vec<Event> {
    (0..WORDS.len()).map(|place| event(place, 1)).collect()
}

/// Any event about one of a few things, so that events meet.
pub(super) fn any_event() -> impl Strategy<Value = Event> {
    (0..WORDS.len(), 0..9_usize).prop_map(|(variant, n)| event(variant, n))
}
