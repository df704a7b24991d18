//! Beginning the work the state calls for, and asking repositories what they hold.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Core, Input, LIST_AGAIN, LIST_EVERY, Live};
use crate::domain::alert::AlertKind;
use crate::domain::capacity::RoomSight;
use crate::domain::command::{Actor, Observation};
use crate::domain::id::{RecoveryId, RepositoryName, RunId};
use crate::domain::job::{Definitions, Job};
use crate::domain::keep::in_use;
use crate::domain::observe;
use crate::domain::react::{self, Effect};
use crate::domain::run::{Failure, Outcome};
use crate::engine::hands::{Listing, Work};

impl Core {
    pub(super) async fn begin_work(&mut self, agent: &Actor) {
        let definitions = self.definitions();
        for effect in react::effects(&self.state, &definitions, self.parts.clock.now()) {
            match effect {
                Effect::StopRun(run) => self.runs.get(&run).into_iter().for_each(|live| live.cancel.cancel()),
                Effect::StopRecovery(id) => self
                    .recoveries
                    .get(&id)
                    .into_iter()
                    .for_each(|live| live.cancel.cancel()),
                Effect::ExecuteRun(run) => self.begin_run(agent, &definitions, run).await,
                Effect::FollowUp(recovery) => self.begin_follow_up(agent, &definitions, recovery).await,
                Effect::StopFollowUp(recovery) => self.follow_ups.stop_one(&recovery),
                Effect::CreateRestorePoint(cluster, name) => self.begin_restore_point(&definitions, cluster, name),
                Effect::StopMaintenance(id) => self
                    .maintenance
                    .get(&id)
                    .into_iter()
                    .for_each(|live| live.cancel.cancel()),
                Effect::ExecuteMaintenance(id) => self.begin_maintenance(agent, &definitions, id).await,
                Effect::Step(run, step, doing) => self.begin_step(agent, &definitions, run, step, doing).await,
                Effect::ExecuteRecovery(recovery) => self.begin_recovery(agent, &definitions, recovery).await,
            }
        }
    }

    async fn begin_run(&mut self, agent: &Actor, definitions: &Arc<Definitions>, id: RunId) {
        let unique = self.next_ids();
        let starting = Observation::RunStarting { run: id.clone() };
        let events = observe::observation(&self.context(definitions, unique), starting);
        if self.commit(agent, events).await.is_err() {
            return;
        }
        let Some(run) = self.state.runs.get(&id).cloned() else {
            return;
        };
        let Some(job) = definitions.jobs.get(&run.job).cloned() else {
            let error = Failure::permanent(
                format!("job {} is no longer in the configuration", run.job),
                "add it again, or leave it out for good",
            );
            let result = crate::domain::command::RunResult::failed(Outcome::Failed, error);
            self.waiting.push_back(Observation::RunEnded {
                run: id,
                result: Box::new(result),
            });
            return;
        };
        let work = self.work(definitions);
        self.runs.insert(id.clone(), Live::of(&work));
        let (hands, outbox) = (self.parts.hands.clone(), self.parts.outbox.clone());
        self.tasks.spawn(async move {
            let result = Box::new(hands.back_up(work, job, run).await);
            let _ = outbox.send(Input::Observed(Observation::RunEnded { run: id, result }));
        });
    }

    async fn begin_recovery(&mut self, agent: &Actor, definitions: &Arc<Definitions>, id: RecoveryId) {
        let unique = self.next_ids();
        let starting = Observation::RecoveryStarting { recovery: id.clone() };
        let events = observe::observation(&self.context(definitions, unique), starting);
        if self.commit(agent, events).await.is_err() {
            return;
        }
        let Some(recovery) = self.state.recoveries.get(&id).cloned() else {
            return;
        };
        let work = self.work(definitions);
        self.recoveries.insert(id.clone(), Live::of(&work));
        let (hands, outbox, journal) = (
            self.parts.hands.clone(),
            self.parts.outbox.clone(),
            self.parts.journal.clone(),
        );
        let clock = self.parts.clock.clone();
        self.tasks.spawn(async move {
            let record = match journal.snapshot(recovery.request.snapshot.as_str()).await {
                Ok(snapshot) => hands.recover(work, recovery, snapshot).await,
                Err(error) => {
                    let failure = crate::engine::failure::of_journal(&error);
                    observe::ended_recovery(&recovery, Outcome::Failed, Some(failure), clock.now())
                }
            };
            let ended = Observation::RecoveryEnded {
                recovery: id,
                record: Box::new(record),
            };
            let _ = outbox.send(Input::Observed(ended));
        });
    }

    pub(super) fn work(&self, definitions: &Arc<Definitions>) -> Work {
        let outbox = self.parts.outbox.clone();
        Work {
            definitions: definitions.clone(),
            in_use: Arc::new(in_use(&self.state)),
            cancel: CancellationToken::new(),
            progress: Arc::default(),
            observe: Arc::new(move |observation| {
                let _ = outbox.send(Input::Observed(observation));
            }),
        }
    }

    /// Asks the repositories whose time has come what they hold.
    pub(super) fn begin_listings(&mut self) {
        let now = self.parts.clock.now();
        let definitions = self.definitions();
        self.next_listing
            .retain(|name, _| definitions.repositories.contains_key(name));
        for (name, repository) in &definitions.repositories {
            if self.next_listing.get(name).is_some_and(|at| *at > now) {
                continue;
            }
            // Whoever makes room waits for the alert to end.
            let full = self
                .state
                .alerts
                .contains_key(&AlertKind::StorageFull.key(name.as_str()));
            let every = if full { LIST_AGAIN } else { LIST_EVERY };
            self.next_listing.insert(name.clone(), now + every);
            let (hands, journal, outbox) = (
                self.parts.hands.clone(),
                self.parts.journal.clone(),
                self.parts.outbox.clone(),
            );
            let (name, repository) = (name.clone(), repository.clone());
            let touched = self.touched.get(&name).copied().unwrap_or(0);
            self.tasks.spawn(async move {
                let result = crate::engine::listing::look(hands.as_ref(), &journal, &name, repository).await;
                let _ = outbox.send(Input::Listed {
                    repository: name,
                    touched,
                    result,
                });
            });
        }
    }

    /// Has the repository of a run that ends looked at at once when that may tell why it failed, or that there is room again.
    pub(super) fn look_after(&mut self, run: &RunId, outcome: Outcome) {
        let definitions = self.definitions();
        let job = self.state.runs.get(run).and_then(|run| definitions.jobs.get(&run.job));
        let Some(Job { repository, .. }) = job else { return };
        let full = AlertKind::StorageFull.key(repository.as_str());
        if outcome == Outcome::Failed || self.state.alerts.contains_key(&full) {
            self.next_listing.remove(repository);
        }
    }

    pub(super) fn listed(
        &mut self,
        repository: RepositoryName,
        touched: u64,
        result: Result<(Listing, Observation), Failure>,
    ) {
        match result {
            // Maintenance began or ended meanwhile: what seems to be missing may be on its way. Looked at again at once.
            Ok(_) if self.touched.get(&repository).copied().unwrap_or(0) != touched => {
                self.next_listing.remove(&repository);
            }
            Ok((listing, observation)) => {
                let rooms = &mut self.beside.seen.rooms;
                rooms.retain(|sight| sight.repository != repository);
                rooms.extend(listing.room.map(|room| RoomSight { repository, room }));
                self.waiting.push_back(observation);
            }
            Err(failure) => {
                self.next_listing
                    .insert(repository.clone(), self.parts.clock.now() + LIST_AGAIN);
                self.waiting
                    .push_back(Observation::RepositoryUnreachable { repository, failure });
            }
        }
    }
}
