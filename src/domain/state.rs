//! State: what is live. It is nothing but the events applied in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::alert::Alert;
use super::anomaly::Sample;
use super::drill::DrillFacts;
use super::follow_up::Waiting;
use super::id::{
    AlertKey, ClusterName, DrillName, JobName, MaintenanceId, RecoveryId, RepositoryName, RunId, RunbookName,
    RunbookRunId, SnapshotId, SourceName,
};
use super::maintenance::Maintenance;
use super::recovery::Recovery;
use super::restore_point::RestorePoints;
use super::retention::TooMany;
use super::run::{Failure, Outcome, Run};
use super::runbook::{RunbookFacts, RunbookRun};
use super::snapshot::SnapshotRecord;
use super::units::{Bytes, Millis, Timestamp};
use super::upkeep::UpkeepFacts;

/// How many of its newest restore points are kept in memory for each source.
pub const RESTORE_POINTS_KEPT: usize = 8;
/// How many outcomes a job's strip shows.
pub const OUTCOMES_KEPT: usize = 20;
/// How many snapshots of a job are held against each other.
pub const FIGURES_KEPT: usize = 30;
/// How many measured recoveries an estimate rests on at most.
pub const MEASUREMENTS_KEPT: usize = 50;

/// What is live. History is in the journal's projections.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// The number of the last event applied.
    pub seq: u64,
    /// The agent that holds the journal, or held it last.
    pub agent: Option<AgentFacts>,
    /// When the last event of any agent was seen; what was due after it and before the next start was missed.
    pub last_event_at: Option<Timestamp>,
    /// Facts about jobs.
    pub jobs: BTreeMap<JobName, JobFacts>,
    /// Runs that have not ended.
    pub runs: BTreeMap<RunId, Run>,
    /// Recoveries that have not ended.
    pub recoveries: BTreeMap<RecoveryId, Recovery>,
    /// Recovered servers of which nobody has said yet what becomes of them.
    #[serde(default)]
    pub waiting: BTreeMap<RecoveryId, Waiting>,
    /// Named restore points of clusters.
    #[serde(default)]
    pub restore_points: BTreeMap<ClusterName, RestorePoints>,
    /// Open alerts.
    pub alerts: BTreeMap<AlertKey, Alert>,
    /// Conditions closed by hand that still hold; they stay closed until they have been over once.
    pub dismissed: BTreeSet<AlertKey>,
    /// Facts about sources.
    pub sources: BTreeMap<SourceName, SourceFacts>,
    /// Facts about repositories.
    pub repositories: BTreeMap<RepositoryName, RepositoryFacts>,
    /// Maintenance that has not ended.
    pub maintenance: BTreeMap<MaintenanceId, Maintenance>,
    /// How each repository is kept in order.
    pub upkeep: BTreeMap<RepositoryName, UpkeepFacts>,
    /// Facts about drills.
    #[serde(default)]
    pub drills: BTreeMap<DrillName, DrillFacts>,
    /// Executions of runbooks that have not ended.
    #[serde(default)]
    pub runbooks: BTreeMap<RunbookRunId, RunbookRun>,
    /// How the last executions of each runbook ended.
    #[serde(default)]
    pub runbook_facts: BTreeMap<RunbookName, RunbookFacts>,
    /// Pinned snapshots.
    pub pinned: BTreeSet<SnapshotId>,
}

/// Facts about an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFacts {
    /// Its version.
    pub version: String,
    /// Its machine.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// When it began.
    pub started_at: Timestamp,
}

/// Facts about a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFacts {
    /// When it was first seen.
    pub appeared_at: Timestamp,
    /// Whether its schedule runs it.
    pub enabled: bool,
    /// Why not.
    pub disabled_reason: Option<String>,
    /// The latest due time that was acted on, missed ones included.
    pub last_due: Option<Timestamp>,
    /// When its last run ended.
    pub last_finished_at: Option<Timestamp>,
    /// When its last complete success ended.
    pub last_success_at: Option<Timestamp>,
    /// The latest outcomes, oldest first.
    pub outcomes: VecDeque<Outcome>,
    /// Durations of the latest successes, oldest first.
    pub durations: VecDeque<Millis>,
    /// Sizes of the latest snapshots, oldest first.
    pub sizes: VecDeque<Bytes>,
    /// The figures of its latest snapshots, oldest first.
    #[serde(default)]
    pub figures: VecDeque<Sample>,
    /// Failures since the last success.
    pub failures_in_a_row: u32,
    /// Why the last one failed.
    pub last_error: Option<Failure>,
    /// The due time of a run that was missed and not made up for since.
    pub missed: Option<Timestamp>,
    /// Whether a run succeeded since retention was last looked at.
    pub retention_due: bool,
    /// What retention last came to.
    pub retention: Option<RetentionFacts>,
}

/// What a job's retention last came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionFacts {
    /// When.
    pub at: Timestamp,
    /// How many stayed.
    pub kept: u64,
    /// How many went to the trash.
    pub forgotten: u64,
    /// Why nothing was done: more would have gone at once than may.
    pub refused: Option<TooMany>,
}

impl JobFacts {
    /// The facts about a job that was just seen.
    pub fn appeared(at: Timestamp) -> Self {
        Self {
            appeared_at: at,
            enabled: true,
            disabled_reason: None,
            last_due: None,
            last_finished_at: None,
            last_success_at: None,
            outcomes: VecDeque::new(),
            durations: VecDeque::new(),
            sizes: VecDeque::new(),
            figures: VecDeque::new(),
            failures_in_a_row: 0,
            last_error: None,
            missed: None,
            retention_due: false,
            retention: None,
        }
    }

    /// How the last run ended.
    pub fn last_outcome(&self) -> Option<Outcome> {
        self.outcomes.back().copied()
    }
}

/// Facts about a source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SourceFacts {
    /// The newest snapshots, oldest first.
    pub restore_points: VecDeque<SnapshotRecord>,
    /// Measured recoveries, oldest first.
    pub measurements: VecDeque<Measurement>,
    /// How the verifications of the newest snapshots went that gave no verdict.
    pub inconclusive: Option<Inconclusive>,
}

/// Verifications of one snapshot that ended without a verdict: the scratch server was down, the disk full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inconclusive {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// How many in a row.
    pub attempts: u32,
    /// When the last ended.
    pub at: Timestamp,
    /// Why.
    pub failure: Failure,
}

/// What one recovery measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// Which.
    pub recovery: RecoveryId,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took, from start to usable and checked.
    pub took: Millis,
    /// How much it wrote.
    pub written: Bytes,
    /// How long of that the log was replayed, and how much of it.
    #[serde(default)]
    pub replay: Option<(Millis, Bytes)>,
}

/// Facts about a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryFacts {
    /// Since when it answers, or does not.
    pub since: Timestamp,
    /// Why it does not.
    pub failure: Option<Failure>,
}
