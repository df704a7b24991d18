//! May a member be made to follow the primary, by a rewind or by a new clone?
//!
//! Both overwrite a data directory, so both want it stopped, on this machine, and another member to be the one primary.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::decide::{Refusal, asked, no};
use super::picture::fenced;
use super::record::{RebuildKind, Record};
use super::{Cluster, LocalState, MemberSeen, Seen, ServerSeen};
use crate::domain::id::MemberName;
use crate::domain::wal::{SystemId, TimelineId};

/// How a member will be made to follow another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildPlan {
    /// Who is overwritten.
    pub member: MemberName,
    /// How.
    pub kind: RebuildKind,
    /// Its data directory.
    pub directory: PathBuf,
    /// Who is followed.
    pub primary: MemberName,
    /// The cluster.
    pub system: SystemId,
    /// The timeline of the primary.
    pub timeline: TimelineId,
    /// The first number of the primary's version.
    pub major: u32,
    /// Whether the server on it is stopped first.
    pub stops: bool,
    /// Whether it was shut down in good order.
    pub clean: bool,
    /// What is lost or at risk by it.
    pub remarks: Vec<String>,
}

/// Decides about a rewind (`pg_rewind`) or a new clone (`pg_basebackup`); `stop` lets us stop the server.
pub fn rebuild(
    cluster: &Cluster,
    seen: &Seen,
    record: &Record,
    member: &MemberName,
    kind: RebuildKind,
    stop: bool,
) -> Result<RebuildPlan, Vec<Refusal>> {
    let chosen = asked(cluster, seen, member)?;
    let (primary, server) = the_primary(cluster, seen, record, member)?;
    let service = cluster.member(member).and_then(|member| member.service.as_ref());
    let Some(local) = &chosen.local else {
        let what = format!("the data directory of {member} is not known to be on this machine");
        let how = "do it on the machine of that member, where the configuration names its data_directory";
        return Err(vec![no("not-local", what, how)]);
    };
    let mut refusals = Vec::new();
    let mut stops = false;
    match &local.state {
        LocalState::Running { .. } if stop && service.is_some() => stops = true,
        LocalState::Running { pid } => {
            let what = format!("a server runs on {} (process {pid})", local.directory.display());
            let how = match service {
                Some(_) => "stop it, or let us stop it with --stop".to_owned(),
                None => format!("stop it: pg_ctl stop -m fast -D {}", local.directory.display()),
            };
            refusals.push(no("running", what, how));
        }
        LocalState::Unknown { why } => {
            let what = format!("{} cannot be looked at: {why}", local.directory.display());
            refusals.push(no(
                "unreadable",
                what,
                "run it as root, or as the user the server runs as",
            ));
        }
        LocalState::Stopped | LocalState::Empty => {}
    }
    if chosen.answer.server().is_some() && !matches!(local.state, LocalState::Running { .. }) {
        let what = format!("{member} answers, and not from {}", local.directory.display());
        refusals.push(no(
            "elsewhere",
            what,
            "check its connection and its data_directory in the configuration",
        ));
    }
    refusals.extend(match kind {
        RebuildKind::Rewind => rewindable(cluster, record, chosen, server),
        RebuildKind::Reclone => foreign(chosen, server),
    });
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let mut remarks = vec![match kind {
        RebuildKind::Rewind => format!("what was written on {member} and never reached {primary} is lost"),
        RebuildKind::Reclone => format!("the old directory of {member} is kept beside the new one"),
    }];
    if service.is_none() {
        remarks.push(format!(
            "no service is defined for {member}: it has to be started by hand"
        ));
    }
    let control = local.control.as_ref();
    Ok(RebuildPlan {
        member: member.clone(),
        kind,
        directory: local.directory.clone(),
        primary: primary.clone(),
        system: server.system,
        timeline: server.timeline,
        major: server.major,
        stops,
        clean: stops || control.is_some_and(|control| control.clean),
        remarks,
    })
}

/// The one member that is followed: a primary, not fenced, and another.
fn the_primary<'s>(
    cluster: &Cluster,
    seen: &'s Seen,
    record: &Record,
    member: &MemberName,
) -> Result<(&'s MemberName, &'s ServerSeen), Vec<Refusal>> {
    let open = |one: &&MemberSeen| !fenced(one, record).is_held();
    let primaries: Vec<(&MemberName, &ServerSeen)> = seen
        .members
        .iter()
        .filter(open)
        .filter_map(|one| Some((&one.name, one.answer.server()?)))
        .filter(|(_, server)| server.role == super::Role::Primary)
        .collect();
    match primaries.as_slice() {
        [(name, _)] if *name == member => {
            let what = format!("{member} is the primary of the cluster");
            let how = format!(
                "promote another first: lifeboat cluster fence {}, then promote",
                cluster.name
            );
            Err(vec![no("is-primary", what, how)])
        }
        [only] => Ok(*only),
        [] => Err(vec![no(
            "no-primary",
            "no member takes writes: there is nobody to follow",
            format!("lifeboat cluster status {} shows what to do", cluster.name),
        )]),
        _ => Err(vec![no(
            "split-brain",
            "several members take writes: it is not known which to follow",
            "decide whose writes are kept, and fence the others",
        )]),
    }
}

fn rewindable(cluster: &Cluster, record: &Record, chosen: &MemberSeen, primary: &ServerSeen) -> Vec<Refusal> {
    let member = &chosen.name;
    let reclone = format!("lifeboat cluster reclone {} {member}", cluster.name);
    let begun = record.rebuild.as_ref().filter(|note| note.member == *member);
    if begun.is_some_and(|note| note.kind == RebuildKind::Rewind) {
        // Nothing that is seen of such a directory means anything: what was cut off may have taken its control file along.
        let what = format!("a rewind of {member} was begun and did not end: its directory cannot be trusted");
        return vec![no("half-rewound", what, reclone)];
    }
    let local = chosen.local.as_ref();
    let Some(control) = local.and_then(|local| local.control.as_ref()) else {
        let what = format!("there is no cluster in the data directory of {member}");
        return vec![no("empty", what, reclone)];
    };
    let mut refusals = foreign(chosen, primary);
    if !control.rewindable {
        let what = format!("the log of {member} does not tell enough: neither page checksums nor wal_log_hints");
        let how = format!("{reclone}; for the next time: wal_log_hints = on");
        refusals.push(no("no-hints", what, how));
    }
    refusals
}

/// A directory of another cluster is nobody's to overwrite.
fn foreign(chosen: &MemberSeen, primary: &ServerSeen) -> Vec<Refusal> {
    let control = chosen.local.as_ref().and_then(|local| local.control.as_ref());
    let strange = control.filter(|control| control.system != primary.system);
    let refusal = |control: &super::Control| {
        let what = format!(
            "the data directory of {} is of system {}, and the primary of {}",
            chosen.name, control.system, primary.system
        );
        no(
            "wrong-system",
            what,
            "check data_directory in the configuration; move what is there away if it is not needed",
        )
    };
    strange.map(refusal).into_iter().collect()
}
