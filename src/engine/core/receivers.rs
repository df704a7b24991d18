//! The receivers of logs: one a source that wants one, for as long as the agent runs and the configuration says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Core, Input};
use crate::domain::id::SourceName;
use crate::domain::job::{Definitions, RepositoryDefinition};
use crate::domain::pitr::ReceiverSight;
use crate::domain::run::Failure;
use crate::domain::source::{Source, SourceKind};
use crate::domain::units::Timestamp;

/// The wait before a receiver that was refused is tried again.
const AGAIN: chrono::Duration = chrono::Duration::seconds(30);

/// The receivers there are.
#[derive(Default)]
pub(super) struct Receivers {
    all: BTreeMap<SourceName, Receiver>,
    /// Tells a receiver from the one before it.
    count: u64,
}

struct Receiver {
    number: u64,
    source: Source,
    repository: RepositoryDefinition,
    cancel: CancellationToken,
    /// When it is tried again; none while it works.
    next: Option<Timestamp>,
    trouble: Option<String>,
}

impl Receivers {
    /// Has all of them happen now that were to happen later.
    pub(super) fn make_due(&mut self, now: Timestamp) {
        self.all
            .values_mut()
            .filter_map(|one| one.next.as_mut())
            .for_each(|next| *next = now);
    }

    /// When one is tried again.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.all.values().filter_map(|receiver| receiver.next).min()
    }

    /// How the receiver of a source does.
    pub(super) fn sight(&self, source: &SourceName) -> Option<ReceiverSight> {
        let receiver = self.all.get(source)?;
        Some(ReceiverSight {
            trouble: receiver.trouble.clone(),
        })
    }

    /// Asks all to end; what they received is archived on the way.
    pub(super) fn stop(&self) {
        self.all.values().for_each(|receiver| receiver.cancel.cancel());
    }
}

/// What is to be received, and into which repository: that of the first job of its source.
fn wanted(definitions: &Definitions) -> Vec<(Source, RepositoryDefinition)> {
    let receives = |source: &&Source| match &source.kind {
        SourceKind::PostgresPhysical(cluster) => cluster.receive_slot.is_some(),
        _ => false,
    };
    let with_repository = |source: &Source| {
        let job = definitions.jobs_of(&source.name).next()?;
        Some((source.clone(), definitions.repositories.get(&job.repository)?.clone()))
    };
    definitions
        .sources
        .values()
        .filter(receives)
        .filter_map(with_repository)
        .collect()
}

impl Core {
    /// Begins the receivers that are wanted and not there, and ends those that are there and not wanted.
    pub(super) fn begin_receivers(&mut self) {
        let now = self.parts.clock.now();
        let definitions = self.definitions();
        let wanted = wanted(&definitions);
        self.receivers.all.retain(|_, receiver| {
            let same = wanted
                .iter()
                .any(|(source, repository)| *source == receiver.source && *repository == receiver.repository);
            if !same {
                receiver.cancel.cancel();
            }
            same
        });
        for (source, repository) in wanted {
            let known = self.receivers.all.get(&source.name);
            if known.is_some_and(|receiver| receiver.next.is_none_or(|at| at > now)) {
                continue;
            }
            let work = self.work(&definitions);
            let trouble = known.and_then(|receiver| receiver.trouble.clone());
            self.receivers.count += 1;
            let number = self.receivers.count;
            let receiver = Receiver {
                number,
                source: source.clone(),
                repository: repository.clone(),
                cancel: work.cancel.clone(),
                next: None,
                trouble,
            };
            let name = source.name.clone();
            self.receivers.all.insert(name.clone(), receiver);
            let (hands, outbox) = (self.parts.hands.clone(), self.parts.outbox.clone());
            let (told, teller) = (name.clone(), outbox.clone());
            let last = std::sync::Mutex::new(None);
            let tell = Arc::new(move |trouble: Option<String>| {
                // Many notes a second say the same; only a change is worth a turn.
                let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if *last != Some(trouble.clone()) {
                    *last = Some(trouble.clone());
                    let source = told.clone();
                    let _ = teller.send(Input::Receiver {
                        source,
                        number,
                        trouble,
                    });
                }
            });
            self.tasks.spawn(async move {
                let result = hands.receive(work, source, repository, tell).await;
                let _ = outbox.send(Input::ReceiverEnded {
                    source: name,
                    number,
                    result,
                });
            });
        }
    }

    /// Takes in what a receiver says of itself.
    pub(super) fn receiver_told(&mut self, source: &SourceName, number: u64, trouble: Option<String>) {
        if let Some(receiver) = self
            .receivers
            .all
            .get_mut(source)
            .filter(|receiver| receiver.number == number)
        {
            receiver.trouble = trouble;
        }
        self.show_receiver(source);
    }

    /// Takes in that a receiver has ended; it is tried again after a while.
    pub(super) fn receiver_ended(&mut self, source: &SourceName, number: u64, result: Result<(), Failure>) {
        let again = self.parts.clock.now() + AGAIN;
        if let Some(receiver) = self
            .receivers
            .all
            .get_mut(source)
            .filter(|receiver| receiver.number == number)
        {
            receiver.next = Some(again);
            if let Err(failure) = result {
                tracing::warn!("the log of {source} is not received: {failure}");
                receiver.trouble = Some(failure.to_string());
            }
        }
        self.show_receiver(source);
    }

    fn show_receiver(&mut self, source: &SourceName) {
        let sight = self.receivers.sight(source);
        for log in self.beside.seen.logs.iter_mut().filter(|log| log.source == *source) {
            log.receiver.clone_from(&sight);
        }
    }
}
