//! Looking whether runbooks could be begun, again and again: at the start, every half hour, and after every edit.
//!
//! Nothing of it is journalled: it is a measurement. What was found of one document says nothing of another.

use std::collections::BTreeMap;

use super::{Core, Input};
use crate::domain::id::RunbookName;
use crate::domain::runbook::view::{Readiness, Ready};
use crate::domain::units::Timestamp;

/// How often a runbook is looked at.
const EVERY: chrono::Duration = chrono::Duration::minutes(30);
/// A runbook that was not ready is looked at again sooner.
const AGAIN: chrono::Duration = chrono::Duration::minutes(5);

/// When a runbook is looked at next, after a look that came to that.
pub(in crate::engine) fn next(at: Timestamp, state: &Ready) -> Timestamp {
    at + if matches!(state, Ready::No { .. }) {
        AGAIN
    } else {
        EVERY
    }
}
/// Time for the first looks at repositories and logs, after a start.
const FIRST: chrono::Duration = chrono::Duration::seconds(10);

/// When runbooks are looked at.
#[derive(Default)]
pub(super) struct Looks {
    /// By runbook: the document, and when it is looked at next; none while a look is under way.
    all: BTreeMap<RunbookName, (String, Option<Timestamp>)>,
}

impl Looks {
    /// Has all of them happen now that were to happen later.
    pub(super) fn make_due(&mut self, now: Timestamp) {
        self.all
            .values_mut()
            .filter_map(|(_, next)| next.as_mut())
            .for_each(|next| *next = now);
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.all.values().filter_map(|(_, next)| *next).min()
    }
}

impl Core {
    /// Begins the looks whose time has come.
    pub(super) fn begin_readiness(&mut self) {
        let (now, definitions) = (self.parts.clock.now(), self.definitions());
        let looks = &mut self.readiness;
        looks.all.retain(|name, _| definitions.runbooks.contains_key(name));
        let first = self.state.agent.as_ref().map_or(now, |agent| agent.started_at + FIRST);
        for (name, runbook) in &definitions.runbooks {
            let entry = looks
                .all
                .entry(name.clone())
                .or_insert_with(|| (runbook.hash.clone(), Some(first)));
            if entry.0 != runbook.hash {
                *entry = (runbook.hash.clone(), Some(now));
            }
            if entry.1.is_none_or(|next| next > now) {
                continue;
            }
            entry.1 = None;
            let (engine, outbox, name) = (self.parts.engine.clone(), self.parts.outbox.clone(), name.clone());
            self.tasks.spawn(async move {
                let found = engine.readiness(&name).await;
                let _ = outbox.send(Input::Ready { name, found });
            });
        }
    }

    /// Takes in what a look found.
    pub(super) fn ready(&mut self, name: RunbookName, found: Option<Readiness>) {
        let next = found.as_ref().and_then(|found| found.next);
        let next = next.unwrap_or_else(|| self.parts.clock.now() + AGAIN);
        if let Some((_, at)) = self.readiness.all.get_mut(&name) {
            *at = Some(next);
        }
        match found {
            Some(found) => self.beside.ready.insert(name, found),
            None => self.beside.ready.remove(&name),
        };
    }
}
