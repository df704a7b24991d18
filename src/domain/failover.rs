//! Beginning a failover without a person: from what was seen of a cluster to the first event, or to all that speaks against it.
//!
//! Level-triggered: asked again as long as the primary is lost, it begins nothing while an execution on the cluster is under
//! way, nor in the cooling-off time after one. An agent that begins anew finds the execution of the one before in the state,
//! and goes on with it like with any other.
//!
//! What this never does: decide that a primary is lost ([`super::cluster::health`] does), or act.

use super::cluster::health::{Circumstances, Failover, Health, Sight, refusals};
use super::cluster::{Cluster, Refusal};
use super::command::Actor;
use super::decide::Context;
use super::event::Event;
use super::id::ClusterName;
use super::runbook::{Cause, RunbookRun, StartRunbook, VariableKind, decide};
use super::state::State;

/// What is known of a cluster beside what is seen of it.
pub fn circumstances(state: &State, cluster: &ClusterName) -> Circumstances {
    let about = |run: &&RunbookRun| {
        let names = run
            .runbook
            .variables
            .iter()
            .filter(|one| one.kind == VariableKind::Cluster);
        names
            .filter_map(|one| run.values.get(&one.name))
            .any(|value| value == cluster.as_str())
    };
    let ended = state.runbook_facts.values();
    Circumstances {
        busy: state.runbooks.values().find(about).map(|run| run.id.to_string()),
        last: ended
            .filter_map(|facts| facts.automatic.get(cluster.as_str()))
            .max()
            .copied(),
    }
}

/// Begins the failover of a cluster.
///
/// # Errors
/// All that speaks against it; nothing was begun.
pub fn begin(
    context: &Context<'_>,
    agent: &Actor,
    cluster: &Cluster,
    sight: &Sight,
) -> Result<Vec<Event>, Vec<Refusal>> {
    let policy = &cluster.failover;
    let against = refusals(policy, sight, &circumstances(context.state, &cluster.name));
    let (Health::Permanent(failing), Ok(successor), Some(primary), true) =
        (&sight.health, &sight.successor, &sight.primary, against.is_empty())
    else {
        return Err(against);
    };
    let mut set = policy.set.clone();
    let said = [
        cluster.name.to_string(),
        primary.to_string(),
        successor.standby.to_string(),
        policy.max_loss.where_unknown(),
    ];
    set.extend(Failover::SAID.map(str::to_owned).into_iter().zip(said));
    let wish = StartRunbook {
        runbook: policy.runbook.clone(),
        drill: false,
        unattended: true,
        set,
        hash: None,
        incident_at: Some(failing.since),
    };
    let why = failing.why.clone();
    decide::start(context, agent, Cause::Auto { why }, &wish).map_err(|refusal| {
        vec![Refusal {
            reason: "runbook".to_owned(),
            what: refusal.reason,
            how: refusal.hint.unwrap_or_default(),
        }]
    })
}
