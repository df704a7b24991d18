//! Keeping: what a decision about it has to know, the retention that a successful run calls for, and maintenance.
//!
//! What retention decides on is read from history in the same turn in which it is decided, so that nothing is pinned,
//! proved or refuted between the look and the decision.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Core, Input, Live};
use crate::domain::command::{Actor, Command, Observation};
use crate::domain::decide::LookedUp;
use crate::domain::id::{JobName, MaintenanceId, RepositoryName};
use crate::domain::job::Definitions;
use crate::domain::keep;
use crate::domain::maintenance::SnapshotChange;
use crate::domain::observe;
use crate::domain::run::Failure;
use crate::domain::snapshot::SnapshotRecord;
use crate::engine::{EngineError, failed, failure};

impl Core {
    /// Looks up what a decision about keeping has to know.
    pub(super) async fn look_up(&self, command: &Command, looked_up: &mut LookedUp) -> Result<(), EngineError> {
        if let Command::RunDrill { drill, .. } = command {
            looked_up.snapshots = self.candidates(drill).await?;
        }
        let named = match command {
            Command::PinSnapshot { snapshot, .. }
            | Command::UnpinSnapshot { snapshot, .. }
            | Command::TagSnapshot { snapshot, .. }
            | Command::RestoreForgotten { snapshot } => std::slice::from_ref(snapshot),
            Command::ForgetSnapshots { snapshots, .. } => snapshots.as_slice(),
            _ => &[],
        };
        for id in named {
            let found = self.parts.journal.snapshot(id.as_str()).await;
            looked_up.snapshots.push(found.map_err(|error| failed(&error))?);
        }
        let definitions = self.definitions();
        let jobs: BTreeSet<JobName> = match command {
            Command::ApplyRetention { job, .. } => {
                let all = definitions.jobs.values();
                let wanted = all.filter(|one| job.as_ref().is_none_or(|job| one.name == *job));
                wanted.map(|job| job.name.clone()).collect()
            }
            Command::ForgetSnapshots { .. } => looked_up
                .snapshots
                .iter()
                .filter_map(|snapshot| snapshot.job.clone())
                .collect(),
            _ => BTreeSet::new(),
        };
        for job in jobs {
            let facts = self.parts.journal.retention_facts(&job).await;
            let facts = facts.map_err(|error| failed(&error))?;
            looked_up.retention.insert(job, facts);
        }
        Ok(())
    }

    /// An observation with what only history knows: the record of a snapshot that is back from the trash.
    pub(super) async fn completed(&self, observation: Observation) -> Result<Observation, Failure> {
        let Observation::MaintenanceEnded {
            maintenance,
            mut result,
        } = observation
        else {
            return Ok(observation);
        };
        let mut back = Vec::new();
        for change in &result.changes {
            if let SnapshotChange::Unforgotten { snapshot } = change {
                let known = self.parts.journal.snapshot(snapshot.as_str()).await;
                let known = known.map_err(|error| failure::of_journal(&error))?;
                let record = SnapshotRecord {
                    forgotten: None,
                    vanished_at: None,
                    ..known
                };
                back.push(SnapshotChange::Appeared(Box::new(record)));
            }
        }
        result.changes.extend(back);
        Ok(Observation::MaintenanceEnded { maintenance, result })
    }

    /// Applies the retention of jobs that have made a good snapshot since the last look.
    pub(super) async fn apply_retention(&mut self, agent: &Actor) {
        let definitions = self.definitions();
        for job in keep::due_retention(&self.state, &definitions) {
            let facts = match self.parts.journal.retention_facts(&job).await {
                Ok(facts) => facts,
                Err(error) => {
                    // Still due, so the next turn tries again.
                    tracing::warn!("retention of job {job} cannot be looked at: {error}");
                    return;
                }
            };
            let unique = self.next_ids();
            let events = keep::retention(&self.context(&definitions, unique), &job, &facts);
            if self.commit(agent, events).await.is_err() {
                return;
            }
        }
    }

    pub(super) async fn begin_maintenance(&mut self, agent: &Actor, definitions: &Arc<Definitions>, id: MaintenanceId) {
        let unique = self.next_ids();
        let starting = Observation::MaintenanceStarting {
            maintenance: id.clone(),
        };
        let events = observe::observation(&self.context(definitions, unique), starting);
        if self.commit(agent, events).await.is_err() {
            return;
        }
        let Some(maintenance) = self.state.maintenance.get(&id).cloned() else {
            return;
        };
        self.touch(&maintenance.repository);
        let work = self.work(definitions);
        let live = Live::of(&work);
        self.maintenance.insert(id.clone(), live);
        let (hands, outbox) = (self.parts.hands.clone(), self.parts.outbox.clone());
        self.tasks.spawn(async move {
            let result = Box::new(hands.maintain(work, maintenance).await);
            let _ = outbox.send(Input::Observed(Observation::MaintenanceEnded {
                maintenance: id,
                result,
            }));
        });
    }

    /// Notes that something changes in a repository, so that a listing of this moment is not believed.
    pub(super) fn touch(&mut self, repository: &RepositoryName) {
        *self.touched.entry(repository.clone()).or_default() += 1;
    }
}
