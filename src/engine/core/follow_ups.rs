//! Recovered servers that wait: what somebody said becomes of them is begun, and how they stand is looked at, again and again.
//!
//! A follow-up that an earlier agent has begun is never begun again here: it is in doubt, and a look says what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Core, Input, Live};
use crate::domain::command::{Actor, Observation};
use crate::domain::follow_up::ServerSeen;
use crate::domain::id::{ClusterName, RecoveryId};
use crate::domain::job::Definitions;
use crate::domain::observe;
use crate::domain::run::Failure;
use crate::domain::units::Timestamp;

/// How often a server that waits is looked at.
const LOOK_EVERY: chrono::Duration = chrono::Duration::seconds(5);

/// What goes on with recovered servers.
#[derive(Default)]
pub(super) struct FollowUps {
    live: BTreeMap<RecoveryId, Live>,
    /// When each is looked at next; none while a look is under way.
    looks: BTreeMap<RecoveryId, Option<Timestamp>>,
    /// Restore points that are being made.
    points: BTreeSet<(ClusterName, String)>,
}

impl FollowUps {
    /// Has all of them happen now that were to happen later.
    pub(super) fn make_due(&mut self, now: Timestamp) {
        self.looks.values_mut().flatten().for_each(|next| *next = now);
    }

    /// Whether nothing is being done with any.
    pub(super) fn are_idle(&self) -> bool {
        self.live.is_empty()
    }

    /// When one is looked at next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.looks.values().copied().flatten().min()
    }

    /// Asks what is being done to stop.
    pub(super) fn stop(&self) {
        self.live.values().for_each(|live| live.cancel.cancel());
    }

    /// The same for one.
    pub(super) fn stop_one(&self, id: &RecoveryId) {
        self.live.get(id).into_iter().for_each(|live| live.cancel.cancel());
    }
}

impl Core {
    pub(super) async fn begin_follow_up(&mut self, agent: &Actor, definitions: &Arc<Definitions>, id: RecoveryId) {
        let unique = self.next_ids();
        let starting = Observation::FollowUpStarting { recovery: id.clone() };
        let events = observe::observation(&self.context(definitions, unique), starting);
        // It acts only when it is durable that it is about to.
        if events.is_empty() || self.commit(agent, events).await.is_err() {
            return;
        }
        let Some(waiting) = self.state.waiting.get(&id).cloned() else {
            return;
        };
        let work = self.work(definitions);
        self.follow_ups.live.insert(id.clone(), Live::of(&work));
        let (hands, outbox) = (self.parts.hands.clone(), self.parts.outbox.clone());
        self.tasks.spawn(async move {
            let result = Box::new(hands.follow_up(work, waiting).await);
            let _ = outbox.send(Input::Observed(Observation::FollowUpEnded { recovery: id, result }));
        });
    }

    /// Has a member of a cluster name the present place in its log, once.
    pub(super) fn begin_restore_point(&mut self, definitions: &Arc<Definitions>, cluster: ClusterName, name: String) {
        if !self.follow_ups.points.insert((cluster.clone(), name.clone())) {
            return;
        }
        let known = self.state.restore_points.get(&cluster);
        let by = known
            .and_then(|known| known.asked.get(&name))
            .map(|asked| asked.by.clone());
        let defined = definitions.clusters.get(&cluster).cloned();
        let (hands, outbox) = (self.parts.hands.clone(), self.parts.outbox.clone());
        self.tasks.spawn(async move {
            let result = match defined {
                Some(defined) => hands.restore_point(defined, name.clone(), by.unwrap_or_default()).await,
                None => Err(Failure::permanent(
                    format!("cluster {cluster} is no longer in the configuration"),
                    "add it again",
                )),
            };
            let ended = Observation::RestorePointEnded { cluster, name, result };
            let _ = outbox.send(Input::Observed(ended));
        });
    }

    /// Looks at the servers whose time has come.
    pub(super) fn begin_server_looks(&mut self) {
        let now = self.parts.clock.now();
        let state = &self.state;
        let pending = |cluster: &ClusterName, name: &String| {
            let known = state.restore_points.get(cluster);
            known.is_some_and(|known| known.asked.contains_key(name))
        };
        self.follow_ups.points.retain(|(cluster, name)| pending(cluster, name));
        self.follow_ups.looks.retain(|id, _| state.waiting.contains_key(id));
        for (id, waiting) in &state.waiting {
            // One that is acted on now says itself how it stands when that ends.
            if waiting.follow_up.is_some() && !waiting.is_in_doubt() {
                continue;
            }
            let next = self.follow_ups.looks.entry(id.clone()).or_insert(Some(now));
            if next.is_none_or(|at| at > now) {
                continue;
            }
            *next = None;
            let (hands, outbox) = (self.parts.hands.clone(), self.parts.outbox.clone());
            let (recovery, waiting) = (id.clone(), waiting.clone());
            self.tasks.spawn(async move {
                let result = hands.look_at_server(waiting).await;
                let _ = outbox.send(Input::LookedAtServer { recovery, result });
            });
        }
    }

    /// Takes in how a server was seen.
    pub(super) fn looked_at_server(&mut self, recovery: RecoveryId, result: Result<Option<ServerSeen>, Failure>) {
        let next = self.parts.clock.now() + LOOK_EVERY;
        self.follow_ups.looks.insert(recovery.clone(), Some(next));
        match result {
            Ok(Some(seen)) => self.waiting.push_back(Observation::RecoveredServerLooked {
                recovery,
                seen: Box::new(seen),
            }),
            Ok(None) => {}
            Err(failure) => tracing::warn!("the server that {recovery} has left cannot be looked at: {failure}"),
        }
    }

    /// Puts how far follow-ups are beside the picture.
    pub(super) fn show_follow_ups(&mut self) {
        let going_on = |id: &RecoveryId| {
            let waiting = self.state.waiting.get(id);
            waiting.is_some_and(|waiting| waiting.follow_up.is_some() && !waiting.is_in_doubt())
        };
        self.follow_ups.live.retain(|id, _| going_on(id));
        let live = self.follow_ups.live.iter();
        self.beside.follow_ups = live
            .filter_map(|(id, live)| Some((id.clone(), live.progress.get().map(|sampler| sampler())?)))
            .collect();
    }
}
