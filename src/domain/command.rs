//! Commands: what somebody, or the engine itself, wants to happen.

use serde::{Deserialize, Serialize};

use super::drill::DrillPoint;
use super::follow_up::{FollowUp, FollowUpResult, ServerSeen};
use super::id::{
    AlertKey, ClusterName, DrillName, JobName, MaintenanceId, MemberName, RecoveryId, RepositoryName, RunId,
    RunbookRunId, SnapshotId,
};
use super::maintenance::{MaintenanceResult, SnapshotChange};
use super::recovery::{RecoveryPhase, RecoveryRecord, RecoveryRequest};
use super::run::{Failure, Outcome, RunStats};
use super::runbook::{Saying, StartRunbook, StepSeen};
use super::snapshot::{Evidence, EvidenceFailure, EvidenceLevel, SnapshotRecord};
use super::units::Timestamp;
use super::wal::Lsn;

/// What a person asks for. These are what the API accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Run a job now.
    RunJob { job: JobName },
    /// Stop a run.
    CancelRun { run: RunId },
    /// Let a job's schedule run it.
    EnableJob { job: JobName },
    /// Keep a job's schedule from running it.
    DisableJob { job: JobName, reason: Option<String> },
    /// Restore a snapshot.
    StartRecovery { request: RecoveryRequest },
    /// Prove a snapshot up to a level.
    VerifySnapshot { snapshot: SnapshotId, level: EvidenceLevel },
    /// Do a drill now, with the restore point it is configured with or another.
    RunDrill {
        drill: DrillName,
        #[serde(default)]
        point: Option<DrillPoint>,
    },
    /// Stop a recovery.
    CancelRecovery { recovery: RecoveryId },
    /// Say what becomes of the server a recovery has left: open it, move it on, start it again, throw it away.
    FollowUpRecovery { recovery: RecoveryId, what: FollowUp },
    /// Name the present place in the log of a cluster, so that a recovery can go to it.
    CreateRestorePoint { cluster: ClusterName, name: String },
    /// Take an alert.
    AcknowledgeAlert { key: AlertKey, note: Option<String> },
    /// Close an alert by hand; it opens again when its condition is seen again.
    ResolveAlert { key: AlertKey, reason: String },
    /// Keep a snapshot from being forgotten.
    PinSnapshot {
        snapshot: SnapshotId,
        reason: Option<String>,
    },
    /// Let it be forgotten again.
    UnpinSnapshot {
        snapshot: SnapshotId,
        reason: Option<String>,
    },
    /// Change the words of a snapshot.
    TagSnapshot {
        snapshot: SnapshotId,
        #[serde(default)]
        add: Vec<String>,
        #[serde(default)]
        remove: Vec<String>,
    },
    /// Put snapshots in the trash.
    ForgetSnapshots { snapshots: Vec<SnapshotId>, reason: String },
    /// Bring a snapshot back from the trash.
    RestoreForgotten { snapshot: SnapshotId },
    /// Forget what the retention of a job, or of every job, no longer keeps.
    ApplyRetention {
        job: Option<JobName>,
        /// Whether a person saw how much goes, and said so.
        #[serde(default)]
        confirmed: bool,
    },
    /// Remove what nothing in a repository needs.
    PruneRepository { repository: RepositoryName },
    /// Look through a repository; `subset` says how much of its data is read: `5%`, `1/7` or `all`.
    CheckRepository {
        repository: RepositoryName,
        subset: Option<String>,
    },
    /// Stop maintenance.
    CancelMaintenance { maintenance: MaintenanceId },
    /// Begin to execute a runbook.
    StartRunbook { wish: StartRunbook },
    /// Say something in an execution of a runbook.
    SayInRunbook { run: RunbookRunId, saying: Saying },
}

impl Command {
    /// The word for this command in the audit log.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::RunJob { .. } => "run job",
            Self::CancelRun { .. } => "cancel run",
            Self::EnableJob { .. } => "enable job",
            Self::DisableJob { .. } => "disable job",
            Self::StartRecovery { .. } => "start recovery",
            Self::VerifySnapshot { .. } => "verify snapshot",
            Self::RunDrill { .. } => "run drill",
            Self::CancelRecovery { .. } => "cancel recovery",
            Self::FollowUpRecovery { what, .. } => what.word(),
            Self::CreateRestorePoint { .. } => "create restore point",
            Self::AcknowledgeAlert { .. } => "acknowledge alert",
            Self::ResolveAlert { .. } => "resolve alert",
            Self::PinSnapshot { .. } => "pin snapshot",
            Self::UnpinSnapshot { .. } => "unpin snapshot",
            Self::TagSnapshot { .. } => "tag snapshot",
            Self::ForgetSnapshots { .. } => "forget snapshots",
            Self::RestoreForgotten { .. } => "restore from trash",
            Self::ApplyRetention { .. } => "apply retention",
            Self::PruneRepository { .. } => "prune repository",
            Self::CheckRepository { .. } => "check repository",
            Self::CancelMaintenance { .. } => "cancel maintenance",
            Self::StartRunbook { .. } => "start runbook",
            Self::SayInRunbook { saying, .. } => saying.words(),
        }
    }
}

/// What the engine's effects report back. These never come from outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// The agent began; what the last one left running was interrupted.
    AgentStarted { version: String, host: String, pid: u32 },
    /// The agent is about to end.
    AgentStopping { reason: String },
    /// An attempt is about to begin.
    RunStarting { run: RunId },
    /// An attempt ended.
    RunEnded { run: RunId, result: Box<RunResult> },
    /// A recovery is about to begin.
    RecoveryStarting { recovery: RecoveryId },
    /// A recovery moved on.
    RecoveryPhaseReached { recovery: RecoveryId, phase: RecoveryPhase },
    /// A recovery ended.
    RecoveryEnded {
        recovery: RecoveryId,
        record: Box<RecoveryRecord>,
    },
    /// A follow-up is about to act.
    FollowUpStarting { recovery: RecoveryId },
    /// A follow-up ended.
    FollowUpEnded {
        recovery: RecoveryId,
        result: Box<FollowUpResult>,
    },
    /// A recovered server was looked at.
    RecoveredServerLooked {
        recovery: RecoveryId,
        seen: Box<ServerSeen>,
    },
    /// A restore point was made by a member, or not.
    RestorePointEnded {
        cluster: ClusterName,
        name: String,
        result: Result<(MemberName, Lsn), Failure>,
    },
    /// A snapshot was proved up to a level, or failed to be.
    EvidenceGathered {
        snapshot: SnapshotId,
        level: EvidenceLevel,
        failure: Option<EvidenceFailure>,
    },
    /// A repository was listed; what it holds that the journal does not know, and the other way round.
    RepositoryListed {
        repository: RepositoryName,
        appeared: Vec<SnapshotRecord>,
        vanished: Vec<SnapshotId>,
        /// What else became of snapshots that are known: forgotten, purged, pinned by somebody beside the agent.
        changes: Vec<SnapshotChange>,
    },
    /// Maintenance is about to begin.
    MaintenanceStarting { maintenance: MaintenanceId },
    /// Maintenance ended.
    MaintenanceEnded {
        maintenance: MaintenanceId,
        result: Box<MaintenanceResult>,
    },
    /// Something was seen of a step of a runbook.
    Step {
        run: RunbookRunId,
        step: String,
        seen: StepSeen,
    },
    /// A repository could not be listed.
    RepositoryUnreachable {
        repository: RepositoryName,
        failure: Failure,
    },
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq)]
pub struct RunResult {
    /// How it ended.
    pub outcome: Outcome,
    /// What it did.
    pub stats: RunStats,
    /// The snapshot it made.
    pub snapshot: Option<SnapshotRecord>,
    /// What went wrong.
    pub error: Option<Failure>,
    /// The first things that could not be read.
    pub item_errors: Vec<String>,
}

impl RunResult {
    /// An attempt that came to nothing.
    pub fn failed(outcome: Outcome, error: Failure) -> Self {
        Self {
            outcome,
            stats: RunStats::default(),
            snapshot: None,
            error: Some(error),
            item_errors: Vec::new(),
        }
    }
}

/// Who asks, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The user's name, or `agent`.
    pub name: String,
    /// The machine.
    pub host: String,
    /// How they came: `console`, `cli`, `agent`.
    pub via: String,
}

impl Actor {
    /// The engine itself.
    pub fn agent(host: &str) -> Self {
        Self {
            name: "agent".to_owned(),
            host: host.to_owned(),
            via: "agent".to_owned(),
        }
    }
}

/// A command that was not carried out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub reason: String,
    /// What to do instead.
    pub hint: Option<String>,
    /// What sort of refusal.
    pub kind: RefusalKind,
}

/// The sorts of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// There is no such thing.
    NotFound,
    /// It makes no sense now: already running, already acknowledged.
    Conflict,
    /// An interlock: it would endanger data.
    Interlock,
    /// The request itself is wrong.
    Invalid,
}

impl Refusal {
    /// There is no such thing.
    pub fn not_found(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: Some(hint.into()),
            kind: RefusalKind::NotFound,
        }
    }

    /// It makes no sense now.
    pub fn conflict(reason: impl Into<String>, hint: Option<&str>) -> Self {
        Self {
            reason: reason.into(),
            hint: hint.map(str::to_owned),
            kind: RefusalKind::Conflict,
        }
    }

    /// It would endanger data.
    pub fn interlock(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: Some(hint.into()),
            kind: RefusalKind::Interlock,
        }
    }
}

/// The evidence of a snapshot that was just committed.
pub fn written_evidence(at: Timestamp) -> Evidence {
    Evidence {
        level: EvidenceLevel::Written,
        at,
        failure: None,
    }
}
