//! Events: what has happened, in the past tense. The journal is these, in order, each chained to the one before.
//!
//! Events are only ever added to. A field that comes later has a default; a change of meaning is a new variant.

mod record;
mod server;

use serde::{Deserialize, Serialize};

use super::alert::Alert;
use super::follow_up::{FollowUp, LeftServer};
use super::id::{
    AlertKey, ClusterName, DrillName, JobName, MaintenanceId, MemberName, RecoveryId, RepositoryName, RunId,
    RunbookRunId, SnapshotId,
};
use super::maintenance::{Maintenance, MaintenanceRecord};
use super::recovery::{Recovery, RecoveryPhase, RecoveryRecord};
use super::retention::TooMany;
use super::run::{Failure, RunRecord, Trigger};
use super::runbook::RunbookFact;
use super::snapshot::{EvidenceFailure, EvidenceLevel, Mark, SnapshotRecord};
use super::units::Timestamp;
use super::wal::Lsn;

pub use record::EventRecord;
use record::task_words;

/// The version of the event vocabulary this program writes.
pub const EVENT_VERSION: u32 = 1;

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An agent began.
    AgentStarted { version: String, host: String, pid: u32 },
    /// An agent ended in good order.
    AgentStopped { reason: String },
    /// A job was first seen in the configuration.
    JobAppeared { job: JobName },
    /// A job is no longer in the configuration.
    JobDisappeared { job: JobName },
    /// A job's schedule may run it again.
    JobEnabled { job: JobName },
    /// A job's schedule no longer runs it.
    JobDisabled { job: JobName, reason: Option<String> },
    /// Runs were due while no agent ran.
    ScheduleMissed {
        job: JobName,
        due: Timestamp,
        count: u64,
        ran_late: bool,
    },
    /// A run was asked for.
    RunQueued { run: RunId, job: JobName, trigger: Trigger },
    /// An attempt began.
    RunStarted { run: RunId, attempt: u32 },
    /// An attempt failed and another will follow.
    RunRetryScheduled {
        run: RunId,
        attempt: u32,
        at: Timestamp,
        error: Failure,
    },
    /// Somebody asked a run to stop.
    RunCancelRequested { run: RunId, by: String },
    /// A run ended.
    RunFinished { record: RunRecord },
    /// A snapshot was committed, or found in a repository.
    SnapshotRecorded { snapshot: SnapshotRecord },
    /// A snapshot is no longer in its repository.
    SnapshotVanished { snapshot: SnapshotId },
    /// A snapshot was proved up to a level.
    EvidenceRaised { snapshot: SnapshotId, level: EvidenceLevel },
    /// A snapshot could not be proved.
    EvidenceRefuted {
        snapshot: SnapshotId,
        failure: EvidenceFailure,
    },
    /// A recovery was asked for.
    RecoveryRequested { recovery: Recovery },
    /// A recovery began.
    RecoveryStarted { recovery: RecoveryId },
    /// A recovery moved on.
    RecoveryPhaseReached { recovery: RecoveryId, phase: RecoveryPhase },
    /// Somebody asked a recovery to stop.
    RecoveryCancelRequested { recovery: RecoveryId, by: String },
    /// A recovery ended.
    RecoveryFinished { record: RecoveryRecord },
    /// A repository answered after it had not, or for the first time.
    RepositoryReached { repository: RepositoryName },
    /// A repository did not answer.
    RepositoryLost {
        repository: RepositoryName,
        failure: Failure,
    },
    /// A condition began.
    AlertOpened { alert: Alert },
    /// Somebody took an alert.
    AlertAcknowledged {
        key: AlertKey,
        by: String,
        note: Option<String>,
    },
    /// A condition ended.
    AlertResolved { key: AlertKey, reason: String },
    /// A condition that somebody had closed by hand is over, so the alert may open again.
    AlertRearmed { key: AlertKey },
    /// Maintenance of a repository was asked for.
    MaintenanceRequested { maintenance: Maintenance },
    /// Maintenance began.
    MaintenanceStarted { maintenance: MaintenanceId },
    /// Somebody asked maintenance to stop.
    MaintenanceCancelRequested { maintenance: MaintenanceId, by: String },
    /// Maintenance ended.
    MaintenanceFinished {
        record: MaintenanceRecord,
        /// Whether the repository was found sound; none when nobody looked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sound: Option<bool>,
    },
    /// A job's retention was applied.
    RetentionApplied { job: JobName, kept: u64, forgotten: u64 },
    /// A job's retention would have dropped more at once than it may without a person's word.
    RetentionRefused { job: JobName, over: TooMany },
    /// A snapshot is in the trash.
    SnapshotForgotten { snapshot: SnapshotId, mark: Mark },
    /// A snapshot is back from the trash.
    SnapshotUnforgotten { snapshot: SnapshotId },
    /// A snapshot is gone from the trash for good.
    SnapshotPurged { snapshot: SnapshotId },
    /// A snapshot must not be forgotten.
    SnapshotPinned { snapshot: SnapshotId, mark: Mark },
    /// A snapshot may be forgotten again.
    SnapshotUnpinned { snapshot: SnapshotId },
    /// A snapshot has other words, and so another id.
    SnapshotRetagged {
        old: SnapshotId,
        new: SnapshotId,
        tags: Vec<String>,
    },
    /// A drill was first seen in the configuration.
    DrillAppeared { drill: DrillName },
    /// A drill is no longer in the configuration.
    DrillDisappeared { drill: DrillName },
    /// A drill was begun: a recovery of its own.
    DrillBegun {
        drill: DrillName,
        recovery: RecoveryId,
        /// The due time that it answers; none when somebody asked for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<Timestamp>,
    },
    /// A drill was due and could not be done.
    DrillSkipped {
        drill: DrillName,
        due: Timestamp,
        reason: String,
    },
    /// Something has happened in the execution of a runbook.
    Runbook { run: RunbookRunId, fact: RunbookFact },
    /// Somebody said what is to become of a recovered server that waits.
    FollowUpRequested {
        recovery: RecoveryId,
        what: FollowUp,
        by: String,
    },
    /// It is about to be done.
    FollowUpStarted { recovery: RecoveryId },
    /// It ended, and how the server stands could not be found out.
    FollowUpDoubted { recovery: RecoveryId },
    /// Somebody asked it to stop.
    FollowUpCancelRequested { recovery: RecoveryId, by: String },
    /// It ended; the last step of the server says how.
    FollowUpEnded { recovery: RecoveryId, server: LeftServer },
    /// A recovered server was found otherwise than it was left.
    RecoveredServerSeen { recovery: RecoveryId, server: LeftServer },
    /// Somebody asked for a named restore point.
    RestorePointRequested {
        cluster: ClusterName,
        name: String,
        by: String,
    },
    /// A restore point is in the log.
    RestorePointCreated {
        cluster: ClusterName,
        name: String,
        member: MemberName,
        lsn: Lsn,
        by: String,
    },
    /// A restore point could not be made.
    RestorePointFailed {
        cluster: ClusterName,
        name: String,
        error: Failure,
    },
    /// Somebody asked for what may not be.
    CommandRefused { command: String, reason: String },
}

impl Event {
    /// The event's name in the journal, as in its JSON.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::AgentStarted { .. } => "agent_started",
            Self::AgentStopped { .. } => "agent_stopped",
            Self::JobAppeared { .. } => "job_appeared",
            Self::JobDisappeared { .. } => "job_disappeared",
            Self::JobEnabled { .. } => "job_enabled",
            Self::JobDisabled { .. } => "job_disabled",
            Self::ScheduleMissed { .. } => "schedule_missed",
            Self::RunQueued { .. } => "run_queued",
            Self::RunStarted { .. } => "run_started",
            Self::RunRetryScheduled { .. } => "run_retry_scheduled",
            Self::RunCancelRequested { .. } => "run_cancel_requested",
            Self::RunFinished { .. } => "run_finished",
            Self::SnapshotRecorded { .. } => "snapshot_recorded",
            Self::SnapshotVanished { .. } => "snapshot_vanished",
            Self::EvidenceRaised { .. } => "evidence_raised",
            Self::EvidenceRefuted { .. } => "evidence_refuted",
            Self::RecoveryRequested { .. } => "recovery_requested",
            Self::RecoveryStarted { .. } => "recovery_started",
            Self::RecoveryPhaseReached { .. } => "recovery_phase_reached",
            Self::RecoveryCancelRequested { .. } => "recovery_cancel_requested",
            Self::RecoveryFinished { .. } => "recovery_finished",
            Self::RepositoryReached { .. } => "repository_reached",
            Self::RepositoryLost { .. } => "repository_lost",
            Self::AlertOpened { .. } => "alert_opened",
            Self::AlertAcknowledged { .. } => "alert_acknowledged",
            Self::AlertResolved { .. } => "alert_resolved",
            Self::AlertRearmed { .. } => "alert_rearmed",
            Self::MaintenanceRequested { .. } => "maintenance_requested",
            Self::MaintenanceStarted { .. } => "maintenance_started",
            Self::MaintenanceCancelRequested { .. } => "maintenance_cancel_requested",
            Self::MaintenanceFinished { .. } => "maintenance_finished",
            Self::RetentionApplied { .. } => "retention_applied",
            Self::RetentionRefused { .. } => "retention_refused",
            Self::SnapshotForgotten { .. } => "snapshot_forgotten",
            Self::SnapshotUnforgotten { .. } => "snapshot_unforgotten",
            Self::SnapshotPurged { .. } => "snapshot_purged",
            Self::SnapshotPinned { .. } => "snapshot_pinned",
            Self::SnapshotUnpinned { .. } => "snapshot_unpinned",
            Self::SnapshotRetagged { .. } => "snapshot_retagged",
            Self::DrillAppeared { .. } => "drill_appeared",
            Self::DrillDisappeared { .. } => "drill_disappeared",
            Self::DrillBegun { .. } => "drill_begun",
            Self::DrillSkipped { .. } => "drill_skipped",
            Self::Runbook { .. } => "runbook",
            Self::FollowUpRequested { .. } => "follow_up_requested",
            Self::FollowUpStarted { .. } => "follow_up_started",
            Self::FollowUpDoubted { .. } => "follow_up_doubted",
            Self::FollowUpCancelRequested { .. } => "follow_up_cancel_requested",
            Self::FollowUpEnded { .. } => "follow_up_ended",
            Self::RecoveredServerSeen { .. } => "recovered_server_seen",
            Self::RestorePointRequested { .. } => "restore_point_requested",
            Self::RestorePointCreated { .. } => "restore_point_created",
            Self::RestorePointFailed { .. } => "restore_point_failed",
            Self::CommandRefused { .. } => "command_refused",
        }
    }

    /// The event in one line, for the audit screen and `journal tail`.
    pub fn summary(&self) -> String {
        match self {
            Self::AgentStarted { version, host, pid } => format!("agent {version} started on {host}, pid {pid}"),
            Self::AgentStopped { reason } => format!("agent stopped: {reason}"),
            Self::JobAppeared { job } => format!("job {job} appeared in the configuration"),
            Self::JobDisappeared { job } => format!("job {job} left the configuration"),
            Self::JobEnabled { job } => format!("job {job} enabled"),
            Self::JobDisabled { job, reason: None } => format!("job {job} disabled"),
            Self::JobDisabled {
                job,
                reason: Some(reason),
            } => format!("job {job} disabled: {reason}"),
            Self::ScheduleMissed {
                job, count, ran_late, ..
            } => {
                let then = if *ran_late { "running late" } else { "skipped" };
                format!("job {job} missed {count} due time(s), {then}")
            }
            Self::RunQueued { run, job, .. } => format!("{run} of job {job} queued"),
            Self::RunStarted { run, attempt } => format!("{run} started, attempt {attempt}"),
            Self::RunRetryScheduled {
                run, attempt, error, ..
            } => {
                format!("{run} attempt {attempt} failed, will retry: {error}")
            }
            Self::RunCancelRequested { run, by } => format!("{run} asked to stop by {by}"),
            Self::RunFinished { record } => {
                let why = record
                    .error
                    .as_ref()
                    .map_or(String::new(), |error| format!(": {error}"));
                format!("{} of job {} {}{why}", record.id, record.job, record.outcome.word())
            }
            Self::SnapshotRecorded { snapshot } => {
                format!("snapshot {} recorded, {}", snapshot.id.short(), snapshot.size)
            }
            Self::SnapshotVanished { snapshot } => format!("snapshot {} is gone from its repository", snapshot.short()),
            Self::EvidenceRaised { snapshot, level } => format!("snapshot {} proved: {level}", snapshot.short()),
            Self::EvidenceRefuted { snapshot, failure } => {
                format!(
                    "snapshot {} NOT {}: {}",
                    snapshot.short(),
                    failure.level,
                    failure.message
                )
            }
            Self::RecoveryRequested { recovery } => {
                format!(
                    "{} of snapshot {} to {}",
                    recovery.id,
                    recovery.request.snapshot.short(),
                    recovery.request.target.display()
                )
            }
            Self::RecoveryStarted { recovery } => format!("{recovery} started"),
            Self::RecoveryPhaseReached { recovery, phase } => format!("{recovery}: {}", phase.word()),
            Self::RecoveryCancelRequested { recovery, by } => format!("{recovery} asked to stop by {by}"),
            Self::RecoveryFinished { record } => {
                let why = record
                    .error
                    .as_ref()
                    .map_or(String::new(), |error| format!(": {error}"));
                format!(
                    "{} {} after {}{why}",
                    record.id,
                    record.outcome.word(),
                    record.duration()
                )
            }
            Self::RepositoryReached { repository } => format!("repository {repository} answers"),
            Self::RepositoryLost { repository, failure } => {
                format!("repository {repository} does not answer: {failure}")
            }
            Self::AlertOpened { alert } => format!("ALERT {} {}: {}", alert.severity.word(), alert.key, alert.message),
            Self::AlertAcknowledged { key, by, .. } => format!("alert {key} acknowledged by {by}"),
            Self::AlertResolved { key, reason } => format!("alert {key} resolved: {reason}"),
            Self::AlertRearmed { key } => format!("alert {key} may open again"),
            Self::DrillAppeared { drill } => format!("drill {drill} appeared in the configuration"),
            Self::DrillDisappeared { drill } => format!("drill {drill} left the configuration"),
            Self::DrillBegun { drill, recovery, .. } => format!("drill {drill} begun as {recovery}"),
            Self::DrillSkipped { drill, reason, .. } => format!("drill {drill} was due and not done: {reason}"),
            Self::CommandRefused { command, reason } => format!("refused to {command}: {reason}"),
            Self::Runbook { run, fact } => format!("{run}: {}", fact.summary()),
            _ => self.server_summary().unwrap_or_else(|| self.keeping_summary()),
        }
    }

    /// The summary of an event about the keeping of repositories.
    fn keeping_summary(&self) -> String {
        match self {
            Self::MaintenanceRequested { maintenance } => format!(
                "{} queued: {}",
                maintenance.id,
                task_words(&maintenance.task, &maintenance.repository)
            ),
            Self::MaintenanceStarted { maintenance } => format!("{maintenance} started"),
            Self::MaintenanceCancelRequested { maintenance, by } => format!("{maintenance} asked to stop by {by}"),
            Self::MaintenanceFinished { record, .. } => {
                let what = task_words(&record.task, &record.repository);
                let said = record
                    .error
                    .as_ref()
                    .map_or_else(|| record.summary.clone(), ToString::to_string);
                format!("{} {}: {what}: {said}", record.id, record.outcome.word())
            }
            Self::RetentionApplied { job, kept, forgotten } => {
                format!("retention of job {job} keeps {kept}, forgets {forgotten}")
            }
            Self::RetentionRefused { job, over } => format!(
                "retention of job {job} would forget {} of {}, more than {} at once; refused",
                over.forget, over.of, over.allowed
            ),
            Self::SnapshotForgotten { snapshot, mark } => {
                let why = mark.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
                format!("snapshot {} put in the trash by {}{why}", snapshot.short(), mark.by)
            }
            Self::SnapshotUnforgotten { snapshot } => format!("snapshot {} is back from the trash", snapshot.short()),
            Self::SnapshotPurged { snapshot } => format!("snapshot {} left the trash for good", snapshot.short()),
            Self::SnapshotPinned { snapshot, mark } => {
                let why = mark.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
                format!("snapshot {} pinned by {}{why}", snapshot.short(), mark.by)
            }
            Self::SnapshotUnpinned { snapshot } => format!("snapshot {} is pinned no more", snapshot.short()),
            Self::SnapshotRetagged { old, new, tags } => {
                format!(
                    "snapshot {} is now {}, tagged {}",
                    old.short(),
                    new.short(),
                    tags.join(" ")
                )
            }
            other => other.word().to_owned(),
        }
    }
}
