//! Alerts about replicated clusters: a primary that is down, a standby that is away or behind.
//!
//! They rest on what was seen a moment ago. While nothing was seen yet, as after a start, what is open stays open and nothing
//! opens.

use super::Condition;
use crate::domain::alert::{AlertKind, AlertSubject};
use crate::domain::cluster::Cluster;
use crate::domain::cluster::health::{Health, Other, Sight, refusals};
use crate::domain::decide::Context;
use crate::domain::failover::circumstances;

const KINDS: [AlertKind; 3] = [
    AlertKind::PrimaryDown,
    AlertKind::SecondaryUnreachable,
    AlertKind::ReplicationLag,
];

pub(super) fn conditions(context: &Context<'_>) -> Vec<Condition> {
    let of = |cluster: &Cluster| match context.seen.clusters.iter().find(|sight| sight.cluster == cluster.name) {
        Some(sight) => seen(context, cluster, sight),
        None => unseen(context, cluster),
    };
    context.definitions.clusters.values().flat_map(of).collect()
}

fn condition(kind: AlertKind, name: String, message: String, next_step: String, opens: bool) -> Condition {
    Condition {
        kind,
        subject: AlertSubject::default(),
        name,
        message,
        next_step,
        opens,
    }
}

/// What is open stays so until somebody has looked.
fn unseen(context: &Context<'_>, cluster: &Cluster) -> Vec<Condition> {
    let members = cluster
        .members
        .iter()
        .map(|member| format!("{}/{}", cluster.name, member.name));
    let names: Vec<String> = members.chain([cluster.name.to_string()]).collect();
    let open = names.iter().flat_map(|name| KINDS.map(|kind| (kind, name.clone())));
    let open = open.filter_map(|(kind, name)| Some((name.clone(), context.state.alerts.get(&kind.key(&name))?)));
    open.map(|(name, alert)| condition(alert.kind, name, alert.message.clone(), alert.next_step.clone(), false))
        .collect()
}

fn seen(context: &Context<'_>, cluster: &Cluster, sight: &Sight) -> Vec<Condition> {
    let mut all: Vec<Condition> = sight.others.iter().flat_map(|other| of_other(cluster, other)).collect();
    let name = &cluster.name;
    let failing = match &sight.health {
        Health::Failing(failing) | Health::Unclear(failing) | Health::Permanent(failing) if sight.down => failing,
        _ => return all,
    };
    let by_hand =
        format!("look: lifeboat cluster status {name}; if it is lost: lifeboat runbook start manual-failover");
    let next = match &sight.health {
        Health::Permanent(_) => {
            let against = refusals(&cluster.failover, sight, &circumstances(context.state, name));
            match against.first() {
                None => "the agent fails over by itself; watch it: lifeboat runbook list".to_owned(),
                Some(refusal) => format!("not failed over: {}; {}", refusal.what, refusal.how),
            }
        }
        _ => by_hand,
    };
    let since = failing.since.format("%H:%M:%S UTC");
    let message = format!("the primary of {name} is down since {since}: {}", failing.why);
    all.push(condition(AlertKind::PrimaryDown, name.to_string(), message, next, true));
    all
}

fn of_other(cluster: &Cluster, other: &Other) -> Vec<Condition> {
    let key = format!("{}/{}", cluster.name, other.name);
    let (often, who) = (cluster.failover.failures, &other.name);
    let status = || {
        format!(
            "look at its machine and its log: lifeboat cluster status {}",
            cluster.name
        )
    };
    let mut all = Vec::new();
    if other.silent >= often {
        let why = other.why.as_deref().unwrap_or("no reason is known");
        let message = format!("{who} of {} does not answer: {why}", cluster.name);
        all.push(condition(
            AlertKind::SecondaryUnreachable,
            key.clone(),
            message,
            status(),
            true,
        ));
    }
    // Once too late, the alert stays until half of what is allowed is in hand again.
    if let Some(lag) = other.lag.filter(|lag| *lag > cluster.max_lag.scaled(1, 2)) {
        let message = format!(
            "{who} of {} is {lag} behind, more than {}",
            cluster.name, cluster.max_lag
        );
        all.push(condition(
            AlertKind::ReplicationLag,
            key,
            message,
            status(),
            other.late >= often,
        ));
    }
    all
}
