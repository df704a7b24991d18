//! Looking at the logs of clusters, again and again: how far each could be recovered now.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Core, Input};
use crate::domain::id::{RepositoryName, SourceName};
use crate::domain::job::Definitions;
use crate::domain::pitr::{Base, LogSight, LogWatch, Looked};
use crate::domain::run::Failure;
use crate::domain::state::State;
use crate::domain::units::Timestamp;

/// How often a log is looked at, at most.
const LOOK_EVERY: chrono::Duration = chrono::Duration::seconds(5);
/// A look that took long is not repeated before so many times as long.
const REST: i32 = 20;

/// Which log: of a source, in a repository.
pub(super) type Which = (SourceName, RepositoryName);

/// The logs that are watched.
#[derive(Default)]
pub(super) struct Watches {
    all: BTreeMap<Which, Watched>,
}

#[derive(Default)]
struct Watched {
    memory: LogWatch,
    bases: Vec<Base>,
    /// When it is looked at next; none while a look is under way.
    next: Option<Timestamp>,
}

impl Watches {
    /// Has all of them happen now that were to happen later.
    pub(super) fn make_due(&mut self, now: Timestamp) {
        self.all
            .values_mut()
            .filter_map(|one| one.next.as_mut())
            .for_each(|next| *next = now);
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.all.values().filter_map(|watched| watched.next).min()
    }
}

/// The base backups of a source in a repository that may be relied on, oldest first.
fn bases(state: &State, (source, repository): &Which) -> Vec<Base> {
    let points = state
        .sources
        .get(source)
        .into_iter()
        .flat_map(|facts| &facts.restore_points);
    let usable = points.filter(|point| point.is_restorable() && point.repository == *repository);
    let base = |point: &crate::domain::snapshot::SnapshotRecord| {
        Some(Base {
            id: point.id.clone(),
            facts: point.cluster.clone()?,
            size: point.size,
        })
    };
    usable.filter_map(base).collect()
}

/// The logs there are to look at: of every cluster that a job backs up, in the repository of the job.
fn wanted(definitions: &Definitions) -> Vec<Which> {
    let jobs = definitions.jobs.values().filter(|job| definitions.has_log(&job.source));
    jobs.map(|job| (job.source.clone(), job.repository.clone())).collect()
}

impl Core {
    /// Looks at the logs whose time has come.
    pub(super) fn begin_looks(&mut self) {
        let now = self.parts.clock.now();
        let definitions = self.definitions();
        let wanted = wanted(&definitions);
        self.watches.all.retain(|which, _| wanted.contains(which));
        let sights = &mut self.beside.seen.logs;
        sights.retain(|sight| {
            wanted
                .iter()
                .any(|(source, repository)| sight.source == *source && sight.repository == *repository)
        });
        for which in wanted {
            let (source, repository) = (
                definitions.sources.get(&which.0),
                definitions.repositories.get(&which.1),
            );
            let (Some(source), Some(repository)) = (source.cloned(), repository.cloned()) else {
                continue;
            };
            let bases = bases(&self.state, &which);
            let is_new = !self.watches.all.contains_key(&which);
            let watched = self.watches.all.entry(which.clone()).or_default();
            // A base backup that has come or gone changes what can be restored at once.
            let due = is_new || watched.next.is_some_and(|at| at <= now || watched.bases != bases);
            if !due {
                continue;
            }
            watched.bases.clone_from(&bases);
            if bases.is_empty() {
                watched.next = Some(now + LOOK_EVERY * REST);
                let sight = LogSight::nothing(&which.0, &which.1, now);
                self.see(sight);
                continue;
            }
            watched.next = None;
            let read = watched.memory.is_new();
            let (hands, outbox, clock) = (
                self.parts.hands.clone(),
                self.parts.outbox.clone(),
                self.parts.clock.clone(),
            );
            self.tasks.spawn(async move {
                let began = clock.monotonic();
                let result = hands.look_at_log(source, repository, bases, read).await;
                let _ = outbox.send(Input::LookedAtLog { which, began, result });
            });
        }
    }

    /// Takes in what a look has found.
    pub(super) fn looked(&mut self, which: &Which, began: Instant, result: Result<Looked, Failure>) {
        let now = self.parts.clock.now();
        let Some(watched) = self.watches.all.get_mut(which) else {
            return;
        };
        let took = chrono::Duration::from_std(self.parts.clock.elapsed(began)).unwrap_or(LOOK_EVERY);
        watched.next = Some(now + LOOK_EVERY.max(took * REST));
        let sight = watched.memory.take(&which.0, &which.1, &watched.bases, result, now);
        self.see(sight);
    }

    fn see(&mut self, mut sight: LogSight) {
        sight.receiver = self.receivers.sight(&sight.source);
        let sights = &mut self.beside.seen.logs;
        sights.retain(|other| (&other.source, &other.repository) != (&sight.source, &sight.repository));
        sights.push(sight);
        sights.sort_by(|a, b| (&a.source, &a.repository).cmp(&(&b.source, &b.repository)));
    }
}
