//! Looking at clusters, again and again: whether their primaries answer, and failing over when one is lost and that is allowed.
//!
//! The looks go on beside the core, one a cluster at a time, so that a server that is slow holds up nothing. What they come to
//! is decided by [`crate::domain::cluster::health`]; a look that could not be made is never taken for a failure of a server.
//!
//! **Crash windows.** Nothing of the watching is journalled but what the primary was when it last answered, which the hands keep.
//! Killed before the start of a failover is in the journal, the next agent counts anew and finds the same; killed after it, the
//! execution is in the state and goes on. It is never begun twice: an execution under way, and the time after one, speak against it.

use std::collections::BTreeMap;

use super::{Core, Input};
use crate::domain::cluster::health::{Memory, Sight};
use crate::domain::cluster::{Cluster, Refusal};
use crate::domain::command::Actor;
use crate::domain::failover;
use crate::domain::id::ClusterName;
use crate::domain::run::Failure;
use crate::domain::units::Timestamp;
use crate::engine::hands::ClusterLook;

/// The clusters that are watched.
#[derive(Default)]
pub(super) struct Healths {
    all: BTreeMap<ClusterName, Watched>,
}

#[derive(Default)]
struct Watched {
    /// None before the first look.
    memory: Option<Memory>,
    /// When it is looked at next; none while a look is under way.
    next: Option<Timestamp>,
    /// What was last said to speak against a failover.
    against: Vec<String>,
}

impl Healths {
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

impl Core {
    /// Looks at the clusters whose time has come.
    pub(super) fn begin_health(&mut self) {
        let (now, definitions) = (self.parts.clock.now(), self.definitions());
        let known = |name: &ClusterName| definitions.clusters.contains_key(name);
        self.healths.all.retain(|name, _| known(name));
        self.beside.seen.clusters.retain(|sight| known(&sight.cluster));
        for (name, cluster) in &definitions.clusters {
            let is_new = !self.healths.all.contains_key(name);
            let watched = self.healths.all.entry(name.clone()).or_default();
            if !is_new && watched.next.is_none_or(|at| at > now) {
                continue;
            }
            watched.next = None;
            let patience = cluster.failover.patience();
            let (hands, outbox) = (self.parts.hands.clone(), self.parts.outbox.clone());
            let (name, cluster) = (name.clone(), cluster.clone());
            self.tasks.spawn(async move {
                let result = hands.look_at_cluster(cluster, patience).await;
                let _ = outbox.send(Input::LookedAtCluster {
                    cluster: name,
                    began: now,
                    result: result.map(Box::new),
                });
            });
        }
    }

    /// Takes in what a look has found.
    pub(super) fn looked_at_cluster(
        &mut self,
        name: &ClusterName,
        began: Timestamp,
        result: Result<Box<ClusterLook>, Failure>,
    ) {
        let (now, definitions) = (self.parts.clock.now(), self.definitions());
        let (Some(watched), Some(cluster)) = (self.healths.all.get_mut(name), definitions.clusters.get(name)) else {
            return;
        };
        let every = cluster.failover.every.to_chrono();
        // The clock may have been turned meanwhile, in either direction.
        watched.next = Some((began + every).clamp(now, now + every));
        let sights = &mut self.beside.seen.clusters;
        let look = match result {
            Ok(look) => look,
            Err(failure) => {
                tracing::warn!("cluster {name} cannot be looked at: {failure}");
                sights.retain(|sight| sight.cluster != *name);
                return;
            }
        };
        let ClusterLook { seen, record, known } = *look;
        let memory = watched.memory.get_or_insert_with(|| Memory::new(known));
        let sight = memory.take(cluster, &seen, &record);
        sights.retain(|sight| sight.cluster != *name);
        sights.push(sight);
    }

    /// Begins the failovers that are called for and allowed.
    pub(super) async fn begin_failovers(&mut self, agent: &Actor) {
        let definitions = self.definitions();
        for sight in self.beside.seen.clusters.clone() {
            let Some(cluster) = definitions
                .clusters
                .get(&sight.cluster)
                .filter(|one| one.failover.automatic)
            else {
                continue;
            };
            let unique = self.next_ids();
            match failover::begin(&self.context(&definitions, unique), agent, cluster, &sight) {
                Ok(events) => {
                    tracing::warn!("cluster {}: failing over by itself", cluster.name);
                    if self.commit(agent, events).await.is_err() {
                        return;
                    }
                }
                Err(against) => self.tell_against(cluster, &sight, &against),
            }
        }
    }

    /// Says in the log what speaks against a failover, once.
    fn tell_against(&mut self, cluster: &Cluster, sight: &Sight, against: &[Refusal]) {
        let Some(watched) = self.healths.all.get_mut(&cluster.name) else {
            return;
        };
        let words = |refusal: &Refusal| (sight.down && refusal.reason != "not-lost").then(|| refusal.what.clone());
        let against: Vec<String> = against.iter().filter_map(words).collect();
        if watched.against != against && !against.is_empty() {
            tracing::warn!("cluster {} is not failed over: {}", cluster.name, against.join("; "));
        }
        watched.against = against;
    }
}
