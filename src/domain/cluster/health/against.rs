//! All that speaks against failing over without a person, as far as the cluster goes and beside it. Every reason is said, not
//! only the first.

use super::{Failing, Failover, Health, KNOWN_FOR, Known, Primary, Process, Sight, Successor, observed};
use crate::domain::cluster::decide::{Refusal, no};
use crate::domain::cluster::promote::Allowance;
use crate::domain::cluster::{Cluster, Record, Seen};
use crate::domain::id::MemberName;
use crate::domain::units::{Bytes, Millis, Timestamp};

/// Whose notes are our own.
const OURS: &str = "agent@";

/// Who takes over, or all that speaks against it as far as the cluster goes.
pub(super) fn successor(
    cluster: &Cluster,
    seen: &Seen,
    record: &Record,
    known: &Known,
    failing: &Failing,
    primary: &Primary,
) -> Result<Successor, Vec<Refusal>> {
    let policy = &cluster.failover;
    let mut refusals = Vec::new();
    let process = primary.process();
    let stoppable = process == Process::Runs && cluster.member(&known.primary).is_some_and(|one| one.service.is_some());
    if cluster.fence.is_none() && process != Process::Gone && !stoppable {
        let what = format!("nothing could prove that nobody writes to {}", known.primary);
        refusals.push(no(
            "fence",
            what,
            "there is no fence command, and its data directory is not seen from this machine; fence it by hand",
        ));
    }
    refusals.extend(at_work(record, &known.primary));
    let fit = |name: &MemberName| {
        observed(seen, known, name)
            .filter(|server| server.superuser && !server.replay_paused && known.followers.contains_key(name))
    };
    let candidates = seen.standbys().map(|(name, _)| name);
    let wanted = candidates.filter(|name| policy.standby.as_ref().is_none_or(|only| only == *name));
    let best = wanted
        .filter_map(|name| Some((name, fit(name)?.reach())))
        .max_by_key(|(_, reach)| *reach);
    let Some((standby, reach)) = best else {
        let who = policy
            .standby
            .as_ref()
            .map_or_else(String::new, |only| format!(" (only {only} may take over)"));
        let what = format!("no standby is healthy{who}");
        let how = format!("lifeboat cluster status {} shows why", cluster.name);
        refusals.push(no("no-standby", what, how));
        return Err(refusals);
    };
    // What was seen in the future was seen before the clock was set back, nobody knows how long ago.
    let fresh = known.at <= failing.since && Millis::between(known.at, failing.since) <= KNOWN_FOR;
    let loss = fresh.then(|| Bytes(known.lsn.since(reach)));
    refusals.extend(too_much(policy.max_loss, loss, standby));
    if refusals.is_empty() {
        Ok(Successor {
            standby: standby.clone(),
            loss,
        })
    } else {
        Err(refusals)
    }
}

fn too_much(allowed: Allowance, loss: Option<Bytes>, standby: &MemberName) -> Option<Refusal> {
    let Allowance::AtMost(most) = allowed else { return None };
    match loss {
        Some(loss) if loss <= most => None,
        Some(loss) => Some(no(
            "behind",
            format!("{standby} lacks {loss} of what the primary had, and {most} may be lost"),
            "decide with a person: lifeboat runbook start manual-failover",
        )),
        None => Some(no(
            "loss-unknown",
            "what the primary had last was seen too long ago to say what would be lost",
            "decide with a person: lifeboat runbook start manual-failover",
        )),
    }
}

/// Somebody else has begun something on the cluster.
fn at_work(record: &Record, primary: &MemberName) -> Option<Refusal> {
    let fence = record
        .fence
        .as_ref()
        .filter(|note| note.member == *primary)
        .map(|note| &note.by);
    let promotion = record
        .promotion
        .as_ref()
        .filter(|note| note.to.is_none())
        .map(|note| &note.by);
    let by = fence.into_iter().chain(promotion).find(|by| !by.starts_with(OURS))?;
    Some(no(
        "at-work",
        format!("{by} has begun to act on the cluster"),
        "whoever it is goes on, or lets the member go with unfence",
    ))
}

/// What is known beside the cluster itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// An execution of a runbook on this cluster that is under way.
    pub busy: Option<String>,
    /// When the agent last failed it over, or tried to.
    pub last: Option<Timestamp>,
}

/// All that speaks against failing over without a person; nothing when that may begin.
pub fn refusals(policy: &Failover, sight: &Sight, around: &Circumstances) -> Vec<Refusal> {
    let mut refusals = match (&sight.health, &sight.successor) {
        (Health::Permanent(_), Err(refusals)) => refusals.clone(),
        (Health::Permanent(_), Ok(_)) => Vec::new(),
        _ => return vec![no("not-lost", "the primary is not lost", "nothing has to be done")],
    };
    if !policy.automatic {
        refusals.push(no(
            "off",
            "automatic failover is off",
            "fail over with: lifeboat runbook start manual-failover",
        ));
    }
    if let Some(busy) = &around.busy {
        let how = format!("see how far it is: lifeboat runbook show {busy}");
        refusals.push(no("busy", format!("{busy} is at work on this cluster"), how));
    }
    let cool = around.last.map(|last| last + policy.cooling_off.to_chrono());
    if let Some(until) = cool.filter(|until| *until > sight.at) {
        let what = format!("there was an automatic failover less than {} ago", policy.cooling_off);
        let how = format!(
            "find out why it fails again; the next may begin {}",
            until.format("%H:%M:%S UTC")
        );
        refusals.push(no("cooling-off", what, how));
    }
    refusals
}
