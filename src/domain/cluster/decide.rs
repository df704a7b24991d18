//! May a member be fenced, or let go? Yes, with a plan; or no, with every reason and how to get there.
//!
//! A plan is made twice: when somebody asks, and again right before it is carried out. Both times from what is seen then.

use serde::{Deserialize, Serialize};

use super::picture::{Fenced, fenced};
use super::promote::is_down;
use super::record::{Means, Record};
use super::{Answer, Cluster, MemberSeen, Role, Seen};
use crate::domain::id::MemberName;
use crate::domain::wal::SystemId;

/// A reason not to do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which, in one word: `not-fenced`, `behind` …
    pub reason: String,
    /// What does not hold.
    pub what: String,
    /// How to get there.
    pub how: String,
}

/// Makes a refusal.
pub(super) fn no(reason: &str, what: impl Into<String>, how: impl Into<String>) -> Refusal {
    Refusal {
        reason: reason.to_owned(),
        what: what.into(),
        how: how.into(),
    }
}

/// What a member that was asked for is, or that there is none.
pub(super) fn asked<'s>(cluster: &Cluster, seen: &'s Seen, name: &MemberName) -> Result<&'s MemberSeen, Vec<Refusal>> {
    seen.member(name).ok_or_else(|| {
        let known: Vec<&str> = cluster.members.iter().map(|member| member.name.as_str()).collect();
        let what = format!("cluster {} has no member {name}", cluster.name);
        vec![no("no-member", what, format!("its members are {}", known.join(", ")))]
    })
}

/// How a fence will be put up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencePlan {
    /// Who is fenced.
    pub member: MemberName,
    /// The cluster it is of, when it says.
    pub system: Option<SystemId>,
    /// By what.
    pub means: Means,
    /// Whether the fence command runs.
    pub command: bool,
    /// Whether it holds already.
    pub already: bool,
    /// What is lost or at risk by it.
    pub remarks: Vec<String>,
}

/// Decides about a fence. `member` is none for the only primary; `vouched` is the member a person says is down for good.
pub fn fence(
    cluster: &Cluster,
    seen: &Seen,
    record: &Record,
    member: Option<&MemberName>,
    vouched: Option<&MemberName>,
) -> Result<FencePlan, Vec<Refusal>> {
    let name = &cluster.name;
    let chosen = match member {
        Some(member) => asked(cluster, seen, member)?,
        None => only_primary(cluster, seen)?,
    };
    let held = fenced(chosen, record).is_held();
    let plan = |means, system, command| FencePlan {
        member: chosen.name.clone(),
        system,
        means,
        command,
        already: held,
        remarks: Vec::new(),
    };
    let Answer::Answers(server) = &chosen.answer else {
        return silent_fence(cluster, seen, chosen, vouched)
            .map(|(means, system, command)| plan(means, system, command));
    };
    let mut refusals = Vec::new();
    if server.role == Role::Standby {
        let what = format!("{} is a standby: it takes no writes", chosen.name);
        return Err(vec![no(
            "not-primary",
            what,
            format!("lifeboat cluster status {name} shows who does"),
        )]);
    }
    if vouched == Some(&chosen.name) {
        let what = format!("{} answers, so nobody can vouch that it is down", chosen.name);
        refusals.push(no(
            "answers",
            what,
            "leave --gone out: it can be fenced by its own settings",
        ));
    }
    if !server.superuser {
        let what = format!("our role on {} may not change its settings", chosen.name);
        refusals.push(no(
            "not-superuser",
            what,
            "give the member in the configuration a user that is superuser",
        ));
    }
    if server.prepared > 0 && !held {
        let what = format!(
            "{} holds {} prepared transactions, which could be committed behind the fence",
            chosen.name, server.prepared
        );
        refusals.push(no("prepared", what, "commit or roll back what pg_prepared_xacts lists"));
    }
    if !server.overrides.is_empty() && cluster.fence.is_none() {
        let what = format!(
            "the fence would not hold for {}: they have default_transaction_read_only of their own",
            server.overrides.join(", ")
        );
        let how =
            "reset it with ALTER ROLE or ALTER DATABASE … RESET, or define a fence command that cuts the writers off";
        refusals.push(no("overrides", what, how));
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let mut plan = plan(Means::Setting, Some(server.system), cluster.fence.is_some());
    if !seen.standbys().any(|(_, standby)| standby.system == server.system) {
        plan.remarks
            .push("no standby answers: nobody can take over from here".to_owned());
    }
    if cluster.fence.is_none() {
        let remark =
            "a session that sets its own transactions to read write is not kept out; it is found before a promotion";
        plan.remarks.push(remark.to_owned());
    }
    Ok(plan)
}

fn only_primary<'s>(cluster: &Cluster, seen: &'s Seen) -> Result<&'s MemberSeen, Vec<Refusal>> {
    let names: Vec<&MemberName> = seen.primaries().map(|(name, _)| name).collect();
    match names.as_slice() {
        [only] => asked(cluster, seen, only),
        [] => Err(vec![no(
            "no-primary",
            "no primary answers",
            "name the member that was it: it may still be up for others",
        )]),
        _ => Err(vec![no(
            "several",
            "several primaries answer",
            "name the one that has to stop taking writes",
        )]),
    }
}

/// Whether a member that does not answer can be kept from taking writes, and by what.
fn silent_fence(
    cluster: &Cluster,
    seen: &Seen,
    member: &MemberSeen,
    vouched: Option<&MemberName>,
) -> Result<(Means, Option<SystemId>, bool), Vec<Refusal>> {
    let command = cluster.fence.is_some();
    if vouched == Some(&member.name) {
        return Ok((Means::Vouched, None, command));
    }
    // A directory that was a standby's, or of another cluster, is not that of a primary that only does not answer.
    let control = member.local.as_ref().and_then(|local| local.control.as_ref());
    let of_others = |system| seen.servers().all(|(_, server)| server.system == system);
    if let Some(control) = control.filter(|one| is_down(member) && !one.standby && of_others(one.system)) {
        return Ok((Means::Disk, Some(control.system), command));
    }
    if command {
        return Ok((Means::Command, None, true));
    }
    let name = &member.name;
    let what = format!("{name} does not answer us, which does not mean that nobody writes to it");
    let how = format!(
        "make sure that it is down and stays down, then say so with --gone {name}; or define a fence command for the cluster"
    );
    Err(vec![no("silent", what, how)])
}

/// How a fence will be taken down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfencePlan {
    /// Who is let go.
    pub member: MemberName,
    /// Whether its settings are put back; else only the note of the fence is removed.
    pub settings: bool,
    /// What `default_transaction_read_only` is put back to; none for its default.
    pub previous: Option<String>,
}

/// Decides about letting a member go. `member` is none for the one that is fenced.
pub fn unfence(
    cluster: &Cluster,
    seen: &Seen,
    record: &Record,
    member: Option<&MemberName>,
) -> Result<UnfencePlan, Vec<Refusal>> {
    let marked = |member: &&MemberSeen| fenced(member, record) != Fenced::No;
    let chosen = match member {
        Some(member) => asked(cluster, seen, member)?,
        None => match seen.members.iter().filter(marked).collect::<Vec<_>>().as_slice() {
            [only] => *only,
            [] => return Err(vec![no("not-fenced", "no member is fenced", "there is nothing to do")]),
            _ => {
                return Err(vec![no(
                    "several",
                    "several members are fenced",
                    "name the one to let go",
                )]);
            }
        },
    };
    let name = &chosen.name;
    let noted = record.fence.as_ref().is_some_and(|note| note.member == *name);
    if !marked(&chosen) && !noted {
        let what = format!("{name} is not fenced by us");
        return Err(vec![no("not-fenced", what, "there is nothing to do")]);
    }
    let mut refusals = Vec::new();
    let server = chosen.answer.server();
    for (other, primary) in seen.primaries().filter(|(other, _)| *other != name) {
        if server.is_none_or(|server| server.system == primary.system) {
            let what = format!("{other} is a primary of the same system: two would take writes");
            let how = format!(
                "{name} has to follow {other}: stop it, then lifeboat cluster rewind {} {name}",
                cluster.name
            );
            refusals.push(no("other-primary", what, how));
        }
    }
    let promoted = record.promotion.as_ref().filter(|note| note.member != *name);
    if let Some(note) = promoted.filter(|note| seen.member(&note.member).is_none_or(|m| m.answer.server().is_none())) {
        let what = format!(
            "{} was promoted, or nearly, and does not answer: it may take writes",
            note.member
        );
        refusals.push(no("promoted", what, "bring it back first, to see what it is"));
    }
    if let Some((other, _)) = seen
        .servers()
        .find(|(_, one)| server.is_some_and(|own| own.system == one.system && one.timeline > own.timeline))
    {
        let what = format!("{other} is on a newer timeline: a promotion has happened");
        refusals.push(no(
            "newer-timeline",
            what,
            format!("{name} has to follow it: rewind or reclone {name}"),
        ));
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let mark = server.and_then(|server| server.fence.as_ref());
    Ok(UnfencePlan {
        member: name.clone(),
        settings: mark.is_some(),
        previous: mark.and_then(|mark| mark.previous.clone()),
    })
}
