//! The real hands: sources, repositories, hooks and secrets, put to work for the core.
//!
//! Nothing here decides when something happens, and nothing touches the state: what is learned goes back as results and
//! observations. Every piece of work ends within a second of its cancellation.

mod backup;
mod browse;
mod claim;
mod failure;
mod follow_up;
mod found;
mod health;
mod hooks;
mod keep;
mod log;
mod log_keep;
mod plan;
mod receive;
mod recover;
mod repositories;
mod secrets;
mod step;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::hands::{ClusterLook, Doing, Hands, Known, Listing, Work};
use crate::clock::Clock;
use crate::domain::cluster::Cluster;
use crate::domain::command::RunResult;
use crate::domain::follow_up::{FollowUpResult, ServerSeen, Waiting};
use crate::domain::id::MemberName;
use crate::domain::job::{Definitions, Job, RepositoryDefinition};
use crate::domain::maintenance::{Maintenance, MaintenanceResult};
use crate::domain::pitr::{Base, Looked};
use crate::domain::recovery::{Recovery, RecoveryPlan, RecoveryRecord, RecoveryRequest};
use crate::domain::run::{Failure, Run};
use crate::domain::runbook::StepSeen;
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::source::Source;
use crate::domain::state::SourceFacts;
use crate::domain::units::Bytes;
use crate::domain::view::TreeEntryView;
use crate::domain::wal::Lsn;
use crate::source::postgres::wal::Remembered;
use repositories::Repositories;
pub use step::StepOrder;

/// The real hands.
pub(super) struct Worker {
    state_dir: PathBuf,
    clock: Clock,
    host: String,
    repositories: Repositories,
    lives: log::Lives,
    archives: Remembered,
}

impl Worker {
    /// Hands that keep their logs and scratch directories in `state_dir`.
    pub fn boxed(state_dir: &Path, clock: Clock, host: &str) -> Arc<dyn Hands> {
        let (state_dir, host) = (state_dir.to_owned(), host.to_owned());
        Arc::new(Self {
            state_dir,
            clock,
            host,
            repositories: Repositories::default(),
            lives: log::Lives::default(),
            archives: Remembered::default(),
        })
    }

    fn scratch_dir(&self) -> PathBuf {
        self.state_dir.join("scratch")
    }
}

impl Hands for Worker {
    fn back_up(&self, work: Work, job: Job, run: Run) -> Doing<'_, RunResult> {
        Box::pin(backup::attempt(self, work, job, run))
    }

    fn plan(
        &self,
        definitions: Arc<Definitions>,
        request: RecoveryRequest,
        snapshot: SnapshotRecord,
        facts: Option<SourceFacts>,
    ) -> Doing<'_, Result<RecoveryPlan, Failure>> {
        Box::pin(async move { plan::plan(self, &definitions, request, snapshot, facts.as_ref()).await })
    }

    fn recover(&self, work: Work, recovery: Recovery, snapshot: SnapshotRecord) -> Doing<'_, RecoveryRecord> {
        Box::pin(recover::recover(self, work, recovery, snapshot))
    }

    fn follow_up(&self, work: Work, waiting: Waiting) -> Doing<'_, FollowUpResult> {
        Box::pin(follow_up::follow_up(self, work, waiting))
    }

    fn look_at_server(&self, waiting: Waiting) -> Doing<'_, Result<Option<ServerSeen>, Failure>> {
        Box::pin(follow_up::look(self, waiting))
    }

    fn restore_point(
        &self,
        cluster: Cluster,
        name: String,
        by: String,
    ) -> Doing<'_, Result<(MemberName, Lsn), Failure>> {
        Box::pin(follow_up::restore_point(self, cluster, name, by))
    }

    fn look_at_cluster(
        &self,
        cluster: Cluster,
        patience: std::time::Duration,
    ) -> Doing<'_, Result<ClusterLook, Failure>> {
        Box::pin(health::look(self, cluster, patience))
    }

    fn list(&self, repository: RepositoryDefinition, known: Known) -> Doing<'_, Result<Listing, Failure>> {
        Box::pin(async move {
            let repo = self.repositories.get_to_list(&repository, &self.clock).await?;
            browse::list(&repository, &repo, &known).await
        })
    }

    fn look_at_log(
        &self,
        source: Source,
        repository: RepositoryDefinition,
        bases: Vec<Base>,
        read: bool,
    ) -> Doing<'_, Result<Looked, Failure>> {
        Box::pin(log::look(self, source, repository, bases, read))
    }

    fn receive(
        &self,
        work: Work,
        source: Source,
        repository: RepositoryDefinition,
        tell: Arc<dyn Fn(Option<String>) + Send + Sync>,
    ) -> Doing<'_, Result<(), Failure>> {
        Box::pin(receive::run(self, work, source, repository, tell))
    }

    fn step(&self, work: Work, order: StepOrder) -> Doing<'_, StepSeen> {
        Box::pin(step::perform(self, work, order))
    }

    fn maintain(&self, work: Work, maintenance: Maintenance) -> Doing<'_, MaintenanceResult> {
        Box::pin(keep::maintain(self, work, maintenance))
    }

    fn tree(
        &self,
        repository: RepositoryDefinition,
        snapshot: String,
        path: String,
    ) -> Doing<'_, Result<Vec<TreeEntryView>, Failure>> {
        Box::pin(async move {
            let repo = self.repositories.get(&repository, &self.clock).await?;
            let entries = repo
                .ls(&snapshot, &path)
                .await
                .map_err(|error| failure::of_repo(&error))?;
            Ok(entries.into_iter().map(browse::view).collect())
        })
    }

    fn content(
        &self,
        repository: RepositoryDefinition,
        snapshot: String,
        path: String,
        limit: Bytes,
    ) -> Doing<'_, Result<Vec<u8>, Failure>> {
        Box::pin(async move {
            let repo = self.repositories.get(&repository, &self.clock).await?;
            browse::content(&repo, &snapshot, &path, limit).await
        })
    }

    fn reap(&self, definitions: Arc<Definitions>) -> Doing<'_, ()> {
        Box::pin(recover::reap(self, definitions))
    }
}
