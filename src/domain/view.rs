//! What people and programs are shown: the live picture, pages of history, requests and answers. Every type here is part of the `--json` contract.

mod query;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::alert::Alert;
use super::capacity::Room;
use super::command::{Actor, Command};
use super::drill::DrillView;
use super::event::EventRecord;
use super::follow_up::Waiting;
use super::id::{
    ClusterName, JobName, MaintenanceId, RecoveryId, RepositoryName, RunId, RunbookRunId, ServiceName, SourceName,
};
use super::maintenance::Maintenance;
use super::objective::{RpoGauge, RtoGauge};
use super::pitr::LogSight;
use super::recovery::Recovery;
use super::restore_point::RestorePoints;
use super::retention::{Decision, TooMany};
use super::run::{Failure, Outcome, Run};
use super::runbook::view::{ExecutionView, RunbookLine};
use super::snapshot::EvidenceLevel;
use super::state::RetentionFacts;
use super::units::{Bytes, Millis, Timestamp};
use super::upkeep::UpkeepRun;
pub use query::Query;

/// Everything that is live, as one picture: what the Overview shows and `lifeboat status --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// The number of the last event in it.
    pub seq: u64,
    /// When it was drawn.
    pub at: Timestamp,
    /// The place.
    pub site: String,
    /// What is at stake there.
    pub environment: String,
    /// The agent that drew it.
    pub agent: AgentView,
    /// Whether this client may change things.
    pub read_only: bool,
    /// The services, worst first.
    pub services: Vec<ServiceView>,
    /// Open alerts, most urgent first.
    pub alerts: Vec<Alert>,
    /// Jobs, by name.
    pub jobs: Vec<JobView>,
    /// Runs that have not ended.
    pub runs: Vec<RunView>,
    /// Recoveries that have not ended.
    pub recoveries: Vec<RecoveryView>,
    /// Recovered servers that wait for somebody to say what becomes of them.
    #[serde(default)]
    pub waiting: Vec<WaitingView>,
    /// Maintenance that has not ended.
    #[serde(default)]
    pub maintenance: Vec<MaintenanceView>,
    /// Repositories, by name.
    pub repositories: Vec<RepositoryView>,
    /// Recoveries done for practice.
    #[serde(default)]
    pub drills: Vec<DrillView>,
    /// How the archived logs of clusters stand, one a source and repository.
    #[serde(default)]
    pub logs: Vec<LogSight>,
    /// What is done when something has gone wrong, by name.
    #[serde(default)]
    pub runbooks: Vec<RunbookLine>,
    /// Executions of runbooks that have not ended.
    #[serde(default)]
    pub executions: Vec<ExecutionView>,
    /// Named restore points of clusters: being made, and the last that were made.
    #[serde(default)]
    pub restore_points: BTreeMap<ClusterName, RestorePoints>,
    /// Why the configuration on disk could not be loaded; the engine goes on with the one before.
    pub config_error: Option<String>,
    /// Why the journal could not be written the last time; nothing is begun until it can be.
    #[serde(default)]
    pub journal_error: Option<String>,
    /// Words of an operator of the sandbox; only there.
    pub practice: Option<String>,
}

impl Overview {
    /// What goes wrong with the agent itself, the worst first.
    pub fn troubles(&self) -> impl Iterator<Item = String> {
        let journal = self.journal_error.iter();
        let journal =
            journal.map(|error| format!("The journal cannot be written, and nothing is begun until it can: {error}"));
        let config = self.config_error.iter();
        journal.chain(config.map(|error| format!("The configuration on disk is not used: {error}")))
    }
}

/// The agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentView {
    /// Its version.
    pub version: String,
    /// Its machine.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// The configuration it reads.
    pub config_path: Option<String>,
    /// Consoles and commands attached now.
    pub clients: u64,
    /// The clusters it fails over by itself.
    #[serde(default)]
    pub guards: Vec<ClusterName>,
}

/// A service and its gauges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// What it is made of.
    pub sources: Vec<SourceName>,
    /// What would be lost now.
    pub rpo: RpoGauge,
    /// How long it takes to get back.
    pub rto: RtoGauge,
}

/// A job and how it fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its name.
    pub name: JobName,
    /// What it protects.
    pub source: SourceName,
    /// The kind of source: `files`, `postgres-dump`, `postgres-physical`.
    pub kind: String,
    /// What it protects, in words: paths, or the server and database.
    pub subject: String,
    /// Where snapshots go.
    pub repository: RepositoryName,
    /// The schedule's expression.
    pub schedule: Option<String>,
    /// The schedule in words.
    pub schedule_words: Option<String>,
    /// Whether its schedule runs it.
    pub enabled: bool,
    /// Why not.
    pub disabled_reason: Option<String>,
    /// When it is due next.
    pub next_due: Option<Timestamp>,
    /// Its run, if one has not ended.
    pub running: Option<RunId>,
    /// The latest outcomes, oldest first.
    pub outcomes: Vec<Outcome>,
    /// Durations of the latest successes, oldest first.
    pub durations: Vec<Millis>,
    /// Sizes of the latest snapshots, oldest first.
    pub sizes: Vec<Bytes>,
    /// When its last run ended.
    pub last_finished_at: Option<Timestamp>,
    /// When its last complete success ended.
    pub last_success_at: Option<Timestamp>,
    /// Failures since.
    pub failures_in_a_row: u32,
    /// Why the last one failed.
    pub last_error: Option<Failure>,
    /// How far each new snapshot is proved.
    pub verify: EvidenceLevel,
    /// What is kept of its snapshots, in words; everything when absent.
    #[serde(default)]
    pub retention: Option<String>,
    /// What retention last came to.
    #[serde(default)]
    pub retained: Option<RetentionFacts>,
}

/// A live run and its progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    /// The run.
    #[serde(flatten)]
    pub run: Run,
    /// How far it is.
    pub progress: Option<ProgressView>,
}

/// A live recovery and its progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecoveryView {
    /// The recovery.
    #[serde(flatten)]
    pub recovery: Recovery,
    /// How far it is.
    pub progress: Option<ProgressView>,
    /// The objective it is measured against, with the service's name.
    pub objective: Option<(ServiceName, Millis)>,
}

/// A recovered server that waits, and the progress of what is being done with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaitingView {
    /// The server.
    #[serde(flatten)]
    pub waiting: Waiting,
    /// How far what is being done with it is.
    pub progress: Option<ProgressView>,
}

/// Live maintenance and its progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaintenanceView {
    /// The maintenance.
    #[serde(flatten)]
    pub maintenance: Maintenance,
    /// How far it is.
    pub progress: Option<ProgressView>,
}

/// What the retention of a job keeps, and what would go now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionPlan {
    /// The job.
    pub job: JobName,
    /// Its policy in words; absent when it has none, and then everything stays.
    pub policy: Option<String>,
    /// Every snapshot, newest first, with the rules that keep it.
    pub decisions: Vec<Decision>,
    /// More would go at once than may without a person's word.
    pub over: Option<TooMany>,
}

/// How a repository is kept in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpkeepView {
    /// How long a forgotten snapshot can be brought back.
    pub trash: Millis,
    /// When it is pruned, in words.
    pub prune_schedule: Option<String>,
    /// When it is pruned next.
    pub prune_next: Option<Timestamp>,
    /// When it is looked through, in words.
    pub check_schedule: Option<String>,
    /// When it is looked through next.
    pub check_next: Option<Timestamp>,
    /// The last prune.
    pub prune: Option<UpkeepRun>,
    /// The last check.
    pub check: Option<UpkeepRun>,
    /// What the last check found wrong.
    pub damage: Option<String>,
}

/// How far a piece of work is; sampled, never an event.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProgressView {
    /// What it is doing, in one or two words.
    pub phase: String,
    /// What it is doing it to.
    pub current: String,
    /// Bytes done.
    pub bytes_done: Bytes,
    /// Bytes in all, when known; grows while a tree is still being walked.
    pub bytes_total: Option<Bytes>,
    /// Files or tables done.
    pub items_done: u64,
    /// Files or tables in all, when known.
    pub items_total: Option<u64>,
    /// Bytes a second, over the last few seconds.
    pub rate: Bytes,
    /// How long it will still take, when that can be said.
    pub eta: Option<Millis>,
    /// Things that could not be read so far.
    pub errors: u64,
    /// Tries repeated so far.
    pub retries: u64,
}

impl ProgressView {
    /// The part that is done, from 0 to 1, when it can be said.
    pub fn fraction(&self) -> Option<f64> {
        let total = self.bytes_total.filter(|total| total.0 > 0)?;
        Some((self.bytes_done.0 as f64 / total.0 as f64).clamp(0.0, 1.0))
    }
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryView {
    /// Its name.
    pub name: RepositoryName,
    /// Where it is.
    pub url: String,
    /// Whether it answered when last asked; none when never asked.
    pub reachable: Option<bool>,
    /// Why it did not.
    pub failure: Option<Failure>,
    /// Restorable snapshots, and all of them, as history knows them.
    pub snapshots: u64,
    /// What is used on its file system, in percent, when that can be said.
    pub used_percent: Option<u8>,
    /// How much that is, and of what.
    pub room: Option<Room>,
    /// In how many days it is full at the present pace, when that can be said.
    pub days_to_full: Option<u64>,
    /// How it is kept in order.
    #[serde(default)]
    pub upkeep: Option<UpkeepView>,
}

/// One line of the live stream (`GET /v1/stream`, newline-delimited JSON).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StreamItem {
    /// A new picture. The first line always is one; later ones come when something changed, at most four a second.
    Overview { overview: Box<Overview> },
    /// An event, as it was appended.
    Event { record: Box<EventRecord> },
    /// Nothing changed; comes every ten seconds, so that a dead agent is told from a quiet one.
    Alive { at: Timestamp },
}

/// A page of history, newest first, and where the next begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Hand this back for the page after; none at the end.
    pub next: Option<String>,
}

/// A command and who gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRequest {
    /// Who.
    pub actor: Actor,
    /// What.
    #[serde(flatten)]
    pub command: Command,
}

/// What a command led to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Receipt {
    /// The number of the last event it caused.
    pub seq: u64,
    /// The run it began.
    pub run: Option<RunId>,
    /// The recovery it began.
    pub recovery: Option<RecoveryId>,
    /// The maintenance it began.
    #[serde(default)]
    pub maintenance: Vec<MaintenanceId>,
    /// The execution of a runbook it began.
    #[serde(default)]
    pub runbook: Option<RunbookRunId>,
}

/// One entry of a directory inside a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntryView {
    /// Its name; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// `dir`, `file`, `symlink`, `fifo`, `socket`, `dev`, `chardev`.
    pub kind: String,
    /// Its size; zero for what has none.
    pub size: Bytes,
    /// Permission bits as `ls -l` shows them.
    pub mode: String,
    /// When it was last changed.
    pub modified: Option<Timestamp>,
    /// Where a link points.
    pub link_target: Option<String>,
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `not_found`, `conflict`, `interlock`, `invalid`, `read_only`, `failed`, `unavailable`.
    pub kind: String,
    /// What failed, on what.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}
