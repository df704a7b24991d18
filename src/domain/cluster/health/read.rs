//! What one look says of the primary, and whether anybody else agrees.

use std::collections::BTreeMap;

use super::{KNOWN_FOR, Known, follows};
use crate::domain::cluster::picture::{draw, fenced};
use crate::domain::cluster::{Answer, Cluster, LocalState, MemberSeen, Record, Role, Seen, ServerSeen};
use crate::domain::id::MemberName;
use crate::domain::units::{Millis, Timestamp};

/// The primary, in one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Primary {
    /// It answers, and takes writes.
    Answers(Known),
    /// Somebody keeps writers from it, or several take writes: people are acting, or have to.
    Fenced {
        /// What was seen.
        why: String,
    },
    /// It answers, and lets us not in; or we cannot ask.
    Refuses {
        /// Which.
        name: MemberName,
        /// What it said.
        why: String,
    },
    /// It does not answer.
    Silent {
        /// Which.
        name: MemberName,
        /// How that was seen.
        why: String,
        /// Whether it is at work on this machine.
        process: Process,
    },
    /// Nobody takes writes, and who did is not known.
    Nobody {
        /// What was seen.
        why: String,
    },
}

/// Whether the server is at work in its data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// A process has it.
    Runs,
    /// It was at work there while it answered, and no process has it now.
    Gone,
    /// That cannot be seen from here.
    NotHere,
}

impl Primary {
    /// Who it is, when that is known.
    pub fn name(&self) -> Option<&MemberName> {
        match self {
            Self::Answers(known) => Some(&known.primary),
            Self::Refuses { name, .. } | Self::Silent { name, .. } => Some(name),
            Self::Fenced { .. } | Self::Nobody { .. } => None,
        }
    }

    /// Whether it is at work on this machine.
    pub const fn process(&self) -> Process {
        match self {
            Self::Silent { process, .. } => *process,
            _ => Process::NotHere,
        }
    }
}

/// Finds the primary in a look; `known` is what it was when it last answered.
pub fn primary(cluster: &Cluster, seen: &Seen, record: &Record, known: Option<&Known>) -> Primary {
    let takes_writes: Vec<(&MemberName, &ServerSeen)> = seen
        .members
        .iter()
        .filter_map(|member| Some((member, member.answer.server()?)))
        .filter(|(member, server)| server.role == Role::Primary && !fenced(member, record).is_held())
        .map(|(member, server)| (&member.name, server))
        .collect();
    match takes_writes.as_slice() {
        [(name, server)] => return Primary::Answers(remember(seen, name, server, known)),
        [] => {}
        [..] => {
            return Primary::Fenced {
                why: "several members take writes".to_owned(),
            };
        }
    }
    if let Some((name, _)) = seen.primaries().next() {
        let why = format!("{name} is fenced: somebody is acting on the cluster");
        return Primary::Fenced { why };
    }
    let drawn = draw(cluster, seen, record);
    let nobody = |why: &str| Primary::Nobody {
        why: drawn
            .signs
            .first()
            .map_or_else(|| why.to_owned(), |sign| sign.what.clone()),
    };
    let Some(known) = known else {
        return nobody("no member takes writes, and who did is not known");
    };
    // A promotion that was seen by nobody who could have told us: the one we knew is not the primary any more.
    let moved = record
        .promotion
        .as_ref()
        .is_some_and(|note| note.member != known.primary && note.to.is_some_and(|to| to > known.timeline));
    let newer = seen
        .servers()
        .any(|(_, server)| server.system == known.system && server.timeline > known.timeline);
    let Some(member) = seen.member(&known.primary).filter(|_| !moved && !newer) else {
        return nobody("no member takes writes");
    };
    let name = known.primary.clone();
    match silence(member) {
        None => nobody("no member takes writes"),
        Some((why, true)) => Primary::Refuses {
            name,
            why: format!("lets us not in ({why})"),
        },
        Some((why, false)) => Primary::Silent {
            name,
            why: format!("does not answer ({why})"),
            process: process(member, known),
        },
    }
}

fn remember(seen: &Seen, name: &MemberName, server: &ServerSeen, before: Option<&Known>) -> Known {
    let local = seen.member(name).and_then(|member| member.local.as_ref());
    let streams = |one: &ServerSeen| {
        one.receiver
            .as_ref()
            .is_some_and(|receiver| receiver.status == "streaming")
    };
    let followers = seen
        .standbys()
        .filter(|(_, one)| one.system == server.system && streams(one));
    let same = before.filter(|before| before.primary == *name && before.timeline == server.timeline);
    let recent = same.into_iter().flat_map(|before| &before.followers);
    let recent = recent.filter(|(_, at)| Millis::between(**at, seen.at) <= KNOWN_FOR);
    let mut all: BTreeMap<MemberName, Timestamp> = recent.map(|(name, at)| (name.clone(), *at)).collect();
    all.extend(followers.map(|(name, _)| (name.clone(), seen.at)));
    Known {
        primary: name.clone(),
        system: server.system,
        timeline: server.timeline,
        lsn: server.lsn,
        at: seen.at,
        here: local.is_some_and(|local| matches!(local.state, LocalState::Running { .. })),
        followers: all,
    }
}

/// Why a member does not answer, and whether it may be only us.
pub(super) fn silence(member: &MemberSeen) -> Option<(String, bool)> {
    match &member.answer {
        Answer::Answers(_) => None,
        Answer::Silent { why, refuses } => Some((why.clone(), *refuses)),
    }
}

fn process(member: &MemberSeen, known: &Known) -> Process {
    // A directory of the same name on another machine says nothing of this server.
    let Some(local) = member.local.as_ref().filter(|_| known.here) else {
        return Process::NotHere;
    };
    let its_own = |local: &crate::domain::cluster::LocalSeen| {
        let control = local.control.as_ref();
        control.is_some_and(|control| control.system == known.system && !control.standby)
    };
    match local.state {
        LocalState::Running { .. } => Process::Runs,
        LocalState::Stopped if its_own(local) => Process::Gone,
        _ => Process::NotHere,
    }
}

/// A standby that answers, of the same history as the primary that was known.
pub fn observed<'s>(seen: &'s Seen, known: &Known, name: &MemberName) -> Option<&'s ServerSeen> {
    let server = seen.member(name)?.answer.server()?;
    follows(server, known).then_some(server)
}

/// Whether somebody else says that the primary is lost, and who; or what speaks against it.
pub(super) fn agreed(cluster: &Cluster, seen: &Seen, known: &Known, process: Process) -> Result<String, String> {
    let from_another = |server: &ServerSeen| {
        let sender = server.receiver.as_ref().and_then(|receiver| receiver.sender.as_ref());
        let is = |member: &&crate::domain::cluster::Member| {
            let connection = &member.connection;
            sender.is_some_and(|sender| *sender == format!("{}:{}", connection.host, connection.port))
        };
        cluster
            .members
            .iter()
            .find(is)
            .is_some_and(|member| member.name != known.primary)
    };
    let streams = |server: &ServerSeen| server.receiver.as_ref().is_some_and(|one| one.status == "streaming");
    // Without the rights of a superuser a standby hides its receiver, which is not the same as having none.
    let tells = |server: &ServerSeen| server.superuser && !from_another(server);
    let all = seen
        .standbys()
        .filter(|(_, server)| follows(server, known) && !from_another(server));
    let all: Vec<(&MemberName, &ServerSeen)> = all.collect();
    if let Some((name, _)) = all.iter().find(|(_, server)| streams(server)) {
        return Err(format!("{name} still streams from it: only our path to it is broken"));
    }
    let lost: Vec<&str> = all
        .iter()
        .filter(|(name, server)| tells(server) && known.followers.contains_key(*name))
        .map(|(name, _)| name.as_str())
        .collect();
    match (lost.as_slice(), process) {
        ([], Process::Gone) => Ok("no process has its data directory".to_owned()),
        (some, Process::Gone) if !some.is_empty() => Ok(format!(
            "no process has its data directory, and {} has lost it too",
            some.join(", ")
        )),
        ([], _) => Err("nobody else says that it is lost".to_owned()),
        (some, Process::Runs) => Ok(format!(
            "{} has lost it too; a process that hangs has its data directory",
            some.join(", ")
        )),
        (some, _) => Ok(format!("{} has lost it too", some.join(", "))),
    }
}
