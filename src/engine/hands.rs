//! What the engine acts with. The core decides when; a [`Hands`] knows how.
//!
//! The real one is [`super::work::Worker`]; the tests of the core have one that does what they say.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::Bytes;
use crate::domain::capacity::Room;
use crate::domain::cluster::Cluster;
use crate::domain::command::{Observation, RunResult};
use crate::domain::follow_up::{FollowUpResult, ServerSeen, Waiting};
use crate::domain::id::{MemberName, SnapshotId};
use crate::domain::job::{Definitions, Job, RepositoryDefinition};
use crate::domain::maintenance::{Maintenance, MaintenanceResult, SnapshotChange};
use crate::domain::pitr::{Base, Looked};
use crate::domain::recovery::{Recovery, RecoveryPlan, RecoveryRecord, RecoveryRequest};
use crate::domain::run::{Failure, Run};
use crate::domain::runbook::StepSeen;
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::source::Source;
use crate::domain::state::SourceFacts;
use crate::domain::view::TreeEntryView;
use crate::domain::wal::Lsn;
use crate::repo::rate::Sampler;

pub use super::work::StepOrder;

/// A boxed future, so that hands can be a trait object.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a piece of work is given to act with.
#[derive(Clone)]
pub struct Work {
    /// What is configured, as it was when the work began.
    pub definitions: Arc<Definitions>,
    /// The snapshots that recoveries and recovered servers need, as it was when the work began.
    pub in_use: Arc<BTreeSet<SnapshotId>>,
    /// Cancelled when somebody asks it to stop, or the agent ends.
    pub cancel: CancellationToken,
    /// Where the work puts its sampler.
    pub progress: Arc<std::sync::OnceLock<Sampler>>,
    /// Takes what is seen on the way; each is durable soon after, in order.
    pub observe: Arc<dyn Fn(Observation) + Send + Sync>,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

/// What a repository was found to hold.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// All its snapshots.
    pub held: BTreeSet<SnapshotId>,
    /// Those of them that were not known.
    pub appeared: Vec<SnapshotRecord>,
    /// What else became of those that are known: forgotten, purged, pinned or unpinned beside the agent.
    pub changes: Vec<SnapshotChange>,
    /// How much room it has, where that can be said.
    pub room: Option<Room>,
}

/// What the journal knows of a repository's snapshots.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Listed.
    pub listed: BTreeSet<SnapshotId>,
    /// In the trash.
    pub trashed: BTreeSet<SnapshotId>,
    /// Pinned.
    pub pinned: BTreeSet<SnapshotId>,
}

/// What was found of a replicated cluster.
#[derive(Debug, Clone)]
pub struct ClusterLook {
    /// What every member said.
    pub seen: crate::domain::cluster::Seen,
    /// What was begun on it.
    pub record: crate::domain::cluster::Record,
    /// What was last seen of its primary before this look.
    pub known: Option<crate::domain::cluster::health::Known>,
}

/// What the engine acts with.
pub trait Hands: Send + Sync + 'static {
    /// Makes one attempt at a run.
    fn back_up(&self, work: Work, job: Job, run: Run) -> Doing<'_, RunResult>;

    /// Says what a recovery would do.
    fn plan(
        &self,
        definitions: Arc<Definitions>,
        request: RecoveryRequest,
        snapshot: SnapshotRecord,
        facts: Option<SourceFacts>,
    ) -> Doing<'_, Result<RecoveryPlan, Failure>>;

    /// Restores or verifies.
    fn recover(&self, work: Work, recovery: Recovery, snapshot: SnapshotRecord) -> Doing<'_, RecoveryRecord>;

    /// Does what somebody said becomes of a recovered server, and says how it stands then.
    fn follow_up(&self, work: Work, waiting: Waiting) -> Doing<'_, FollowUpResult>;

    /// Looks at a recovered server; finds out what became of a follow-up that is in doubt, and does it not again. None while
    /// somebody beside the agent acts on it.
    fn look_at_server(&self, waiting: Waiting) -> Doing<'_, Result<Option<ServerSeen>, Failure>>;

    /// Names the present place in the log of a cluster; which member wrote it, and where it is.
    fn restore_point(
        &self,
        cluster: Cluster,
        name: String,
        by: String,
    ) -> Doing<'_, Result<(MemberName, Lsn), Failure>>;

    /// Looks at a replicated cluster, each member given so long to answer; and keeps what its primary was when it answered.
    fn look_at_cluster(
        &self,
        cluster: Cluster,
        patience: std::time::Duration,
    ) -> Doing<'_, Result<ClusterLook, Failure>>;

    /// Lists what a repository holds, and looks at what is not among the known.
    fn list(&self, repository: RepositoryDefinition, known: Known) -> Doing<'_, Result<Listing, Failure>>;

    /// Looks at the log of a cluster: how far the server is, what the archive has. With `read`, also when the newest
    /// transaction in the archive was committed.
    fn look_at_log(
        &self,
        source: Source,
        repository: RepositoryDefinition,
        bases: Vec<Base>,
        read: bool,
    ) -> Doing<'_, Result<Looked, Failure>>;

    /// Receives the log of a cluster into a repository until it is cancelled; says what keeps it from that, and that nothing does.
    fn receive(
        &self,
        work: Work,
        source: Source,
        repository: RepositoryDefinition,
        tell: Arc<dyn Fn(Option<String>) + Send + Sync>,
    ) -> Doing<'_, Result<(), Failure>>;

    /// Does something for a step of a runbook.
    fn step(&self, work: Work, order: StepOrder) -> Doing<'_, StepSeen>;

    /// Does maintenance on a repository.
    fn maintain(&self, work: Work, maintenance: Maintenance) -> Doing<'_, MaintenanceResult>;

    /// Lists one directory of a snapshot.
    fn tree(
        &self,
        repository: RepositoryDefinition,
        snapshot: String,
        path: String,
    ) -> Doing<'_, Result<Vec<TreeEntryView>, Failure>>;

    /// Reads the first bytes of a file in a snapshot.
    fn content(
        &self,
        repository: RepositoryDefinition,
        snapshot: String,
        path: String,
        limit: Bytes,
    ) -> Doing<'_, Result<Vec<u8>, Failure>>;

    /// Removes what an agent that died left lying about: scratch databases and directories.
    fn reap(&self, definitions: Arc<Definitions>) -> Doing<'_, ()>;
}

/// Breaks things on purpose; only the sandbox has one.
pub trait Practice: Send + Sync + 'static {
    /// What can be broken, and what there is to know.
    fn words(&self) -> String;

    /// Breaks it, and says what was broken.
    fn act(&self, incident: String) -> Doing<'_, Result<String, Failure>>;
}
