//! Named restore points: a place in the log of a cluster that a recovery can go to by its name.
//!
//! What is asked for is in the journal before the server is asked. When the agent ends in between, nobody knows whether the
//! name is in the log, and that is what is recorded: it is not asked for again by itself, because a name a minute later is
//! not the place somebody meant, and a recovery stops at the first of two places with one name.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::apply::push_bounded;
use super::command::{Actor, Refusal, RefusalKind};
use super::decide::Context;
use super::event::Event;
use super::id::{ClusterName, MemberName};
use super::run::Failure;
use super::state::State;
use super::units::Timestamp;
use super::wal::Lsn;

/// The longest name PostgreSQL takes, in bytes (`MAXFNAMELEN` less its end).
pub const NAME_BYTES: usize = 63;
/// How many that were made are kept with a cluster; the journal has all.
const KEPT: usize = 5;

/// What is known of the restore points of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RestorePoints {
    /// Asked for and not there yet, by name.
    pub asked: BTreeMap<String, Asked>,
    /// The last that were made, oldest first.
    pub made: VecDeque<RestorePoint>,
}

/// A restore point that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// A restore point that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorePoint {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub lsn: Lsn,
    /// The server that wrote it.
    pub member: MemberName,
    /// Who asked.
    pub by: String,
    /// When it was made.
    pub at: Timestamp,
}

/// Why a text cannot name a restore point.
pub fn wrong_name(name: &str) -> Option<String> {
    let wrong = name.trim().is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control);
    wrong.then(|| format!("\"{}\" cannot name a restore point", name.escape_debug()))
}

/// Asks for one.
pub(super) fn ask(
    context: &Context<'_>,
    actor: &Actor,
    cluster: &ClusterName,
    name: &str,
) -> Result<Vec<Event>, Refusal> {
    if !context.definitions.clusters.contains_key(cluster) {
        return Err(Refusal::not_found(
            format!("there is no cluster {cluster}"),
            "see what there is: lifeboat cluster status",
        ));
    }
    if let Some(reason) = wrong_name(name) {
        return Err(Refusal {
            reason,
            hint: Some(format!("use 1 to {NAME_BYTES} bytes")),
            kind: RefusalKind::Invalid,
        });
    }
    let known = context.state.restore_points.get(cluster);
    if known.is_some_and(|known| known.asked.contains_key(name)) {
        return Err(Refusal::conflict(format!("restore point {name} is being made"), None));
    }
    // A recovery stops at the first of two places with one name, which is not the one somebody means a minute later.
    if known.is_some_and(|known| known.made.iter().any(|made| made.name == name)) {
        return Err(Refusal::conflict(
            format!("cluster {cluster} has a restore point {name}"),
            Some("choose another name: a recovery stops at the first place with a name"),
        ));
    }
    Ok(vec![Event::RestorePointRequested {
        cluster: cluster.clone(),
        name: name.to_owned(),
        by: actor.name.clone(),
    }])
}

/// One was made, or not.
pub(super) fn ended(
    state: &State,
    cluster: ClusterName,
    name: String,
    result: Result<(MemberName, Lsn), Failure>,
) -> Vec<Event> {
    let asked = state
        .restore_points
        .get(&cluster)
        .and_then(|known| known.asked.get(&name));
    let Some(asked) = asked else { return Vec::new() };
    let by = asked.by.clone();
    vec![match result {
        Ok((member, lsn)) => Event::RestorePointCreated {
            cluster,
            name,
            member,
            lsn,
            by,
        },
        Err(error) => Event::RestorePointFailed { cluster, name, error },
    }]
}

/// What an agent that ended left open: nobody knows whether the name is in the log.
pub(super) fn interrupted(state: &State) -> Vec<Event> {
    let failed = |cluster: &ClusterName, name: &String| Event::RestorePointFailed {
        cluster: cluster.clone(),
        name: name.clone(),
        error: Failure::permanent(
            "the agent ended meanwhile; the name may be in the log, or not",
            "make another, with another name",
        ),
    };
    let all = state.restore_points.iter();
    all.flat_map(|(cluster, known)| known.asked.keys().map(move |name| failed(cluster, name)))
        .collect()
}

/// What an event about restore points does to the state.
pub(super) fn apply(state: &mut State, at: Timestamp, event: &Event) {
    match event {
        Event::RestorePointRequested { cluster, name, by } => {
            let by = by.clone();
            let known = state.restore_points.entry(cluster.clone()).or_default();
            known.asked.insert(name.clone(), Asked { by, at });
        }
        Event::RestorePointCreated {
            cluster,
            name,
            member,
            lsn,
            by,
        } => {
            let known = state.restore_points.entry(cluster.clone()).or_default();
            known.asked.remove(name);
            let made = RestorePoint {
                name: name.clone(),
                lsn: *lsn,
                member: member.clone(),
                by: by.clone(),
                at,
            };
            push_bounded(&mut known.made, made, KEPT);
        }
        Event::RestorePointFailed { cluster, name, .. } => {
            if let Some(known) = state.restore_points.get_mut(cluster) {
                known.asked.remove(name);
            }
        }
        _ => {}
    }
}
