//! Alerts: keyed conditions that are opened, acknowledged and resolved.

use serde::{Deserialize, Serialize};

use super::id::{AlertKey, JobName, ServiceName, SnapshotId};
use super::units::Timestamp;

/// How bad it is. The order is of urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Look at it today.
    Warning,
    /// Look at it now.
    Critical,
}

impl Severity {
    /// The word used on screens.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// The conditions that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertKind {
    /// The last run of a job failed.
    BackupFailed,
    /// The last two or more did.
    BackupFailedTwice,
    /// The last run of a job could not read everything.
    BackupPartial,
    /// A scheduled job has had no success for 24 hours.
    NoRecentSuccess,
    /// A due run did not begin.
    ScheduleMissed,
    /// Less than a quarter of a service's RPO is left.
    RpoAtRisk,
    /// A service would lose more than promised.
    RpoBreached,
    /// The measured recovery time is over what was promised.
    RtoOverObjective,
    /// A snapshot could not be proved.
    VerificationFailed,
    /// A repository could not be opened or listed.
    RepositoryUnreachable,
    /// A check found something in a repository that is not as it was written.
    RepositoryDamaged,
    /// A repository has used up nine tenths of its disk, or of what it may take.
    StorageFull,
    /// The last prune, check or change of a repository failed.
    MaintenanceFailed,
    /// Retention would have dropped more at once than it may.
    RetentionRefused,
    /// A part of a cluster's log is missing from the archive: what came after it cannot be restored.
    WalGap,
    /// A server has written log that is not in the archive for too long.
    WalLate,
    /// Pages of a cluster were damaged on its server when it was backed up.
    PageChecksum,
    /// A drill should have been done by now.
    DrillOverdue,
    /// The last drill failed, or took longer than it may.
    DrillFailed,
    /// The last snapshot of a job is far from its usual size.
    SizeAnomaly,
    /// Most of what a job protects looks encrypted.
    MassEncryption,
    /// A runbook that goes on by itself waits for a person.
    RunbookWaiting,
    /// A recovered server that waited for a person has ended, or its directory is gone.
    RecoveredServerGone,
    /// The primary of a cluster did not answer several times in a row.
    PrimaryDown,
    /// Another member of a cluster did not.
    SecondaryUnreachable,
    /// A standby is further behind than it may be.
    ReplicationLag,
}

impl AlertKind {
    /// The word used in keys, filters and `--json`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BackupFailed => "backup-failed",
            Self::BackupFailedTwice => "backup-failed-twice",
            Self::BackupPartial => "backup-partial",
            Self::NoRecentSuccess => "no-recent-success",
            Self::ScheduleMissed => "schedule-missed",
            Self::RpoAtRisk => "rpo-at-risk",
            Self::RpoBreached => "rpo-breached",
            Self::RtoOverObjective => "rto-over-objective",
            Self::VerificationFailed => "verification-failed",
            Self::RepositoryUnreachable => "repository-unreachable",
            Self::RepositoryDamaged => "repository-damaged",
            Self::StorageFull => "storage-full",
            Self::MaintenanceFailed => "maintenance-failed",
            Self::RetentionRefused => "retention-refused",
            Self::WalGap => "wal-gap",
            Self::WalLate => "wal-late",
            Self::PageChecksum => "page-checksum",
            Self::DrillOverdue => "drill-overdue",
            Self::DrillFailed => "drill-failed",
            Self::SizeAnomaly => "size-anomaly",
            Self::MassEncryption => "mass-encryption",
            Self::RunbookWaiting => "runbook-waiting",
            Self::RecoveredServerGone => "recovered-server-gone",
            Self::PrimaryDown => "primary-down",
            Self::SecondaryUnreachable => "secondary-unreachable",
            Self::ReplicationLag => "replication-lag",
        }
    }

    /// How bad it is.
    pub const fn severity(self) -> Severity {
        match self {
            Self::BackupFailedTwice
            | Self::NoRecentSuccess
            | Self::RpoBreached
            | Self::VerificationFailed
            | Self::RepositoryUnreachable
            | Self::RepositoryDamaged
            | Self::StorageFull
            | Self::WalGap
            | Self::PageChecksum
            | Self::MassEncryption
            | Self::RunbookWaiting
            | Self::PrimaryDown
            | Self::SecondaryUnreachable => Severity::Critical,
            Self::BackupFailed
            | Self::BackupPartial
            | Self::ScheduleMissed
            | Self::RpoAtRisk
            | Self::RtoOverObjective
            | Self::MaintenanceFailed
            | Self::RetentionRefused
            | Self::WalLate
            | Self::DrillOverdue
            | Self::DrillFailed
            | Self::SizeAnomaly
            | Self::RecoveredServerGone
            | Self::ReplicationLag => Severity::Warning,
        }
    }

    /// The key of this condition on that thing.
    pub fn key(self, subject: &str) -> AlertKey {
        AlertKey(format!("{}/{subject}", self.word()))
    }
}

/// What a condition is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AlertSubject {
    /// The service.
    pub service: Option<ServiceName>,
    /// The job.
    pub job: Option<JobName>,
    /// The snapshot.
    pub snapshot: Option<SnapshotId>,
}

/// An open condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is about, uniquely.
    pub key: AlertKey,
    /// The kind of condition.
    pub kind: AlertKind,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: AlertSubject,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do next, in one line.
    pub next_step: String,
    /// Since when.
    pub opened_at: Timestamp,
    /// Who has taken it, when, and what they said.
    pub acknowledged: Option<Acknowledgement>,
}

/// Who has taken an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What they said.
    pub note: Option<String>,
}

/// An alert as history keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// What it was.
    #[serde(flatten)]
    pub alert: Alert,
    /// When it ended; none while it is open.
    pub resolved_at: Option<Timestamp>,
    /// Why it ended.
    pub resolution: Option<String>,
}

/// How the reason of a resolution begins when a person closed the alert; such a condition stays closed until it has been over once.
pub const BY_HAND: &str = "closed by ";
