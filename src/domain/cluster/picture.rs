//! What was seen, added up: who is what, how far behind, and the signs of trouble (`signs`).

use serde::{Deserialize, Serialize};

use super::record::Record;
use super::{Answer, Cluster, MemberSeen, Role, Seen, ServerSeen, signs};
use crate::domain::id::{ClusterName, MemberName};
use crate::domain::units::{Bytes, Millis};
use crate::domain::wal::{Lsn, SystemId, TimelineId};

/// Whether a member is kept from taking writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Fenced {
    /// It is not.
    No,
    /// That was begun and not proved.
    Unfinished,
    /// It was, and its setting is gone: somebody lifted it.
    Lifted,
    /// It is.
    Held {
        /// Everything that was committed on it lies before this; none when that is not known.
        lsn: Option<Lsn>,
    },
}

impl Fenced {
    /// Whether it surely takes no writes.
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

/// How bad a sign is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something is not as it should be.
    Warning,
    /// Writes are not possible, or are being lost.
    Critical,
}

/// A sign of trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// How bad.
    pub severity: Severity,
    /// Which, in one word: `split-brain`, `no-primary` …
    pub sign: String,
    /// The member it is about, when it is about one.
    pub member: Option<MemberName>,
    /// What it is.
    pub what: String,
    /// What to do next.
    pub next: String,
}

/// One member in the picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which.
    pub name: MemberName,
    /// What it is; none when it does not answer.
    pub role: Option<Role>,
    /// Where it is in the log.
    pub timeline: Option<TimelineId>,
    /// A primary: written up to here. A standby: replayed up to here.
    pub lsn: Option<Lsn>,
    /// How much a standby has still to replay.
    pub lag_bytes: Option<Bytes>,
    /// How far behind that is in time.
    pub lag: Option<Millis>,
    /// Whether it is kept from taking writes.
    pub fenced: Fenced,
}

/// What a cluster is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Which cluster it is, when all who answer agree.
    pub system: Option<SystemId>,
    /// The one member that takes writes, when there is exactly one.
    pub primary: Option<MemberName>,
    /// Every member.
    pub lines: Vec<Line>,
    /// What is not as it should be, worst first.
    pub signs: Vec<Sign>,
}

impl Picture {
    /// How bad the worst sign is; none when all is well.
    pub fn worst(&self) -> Option<Severity> {
        self.signs.iter().map(|sign| sign.severity).max()
    }
}

/// A cluster as it was seen, for screens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// Which.
    pub cluster: ClusterName,
    /// What it is.
    pub picture: Picture,
    /// What every member said.
    pub seen: Seen,
    /// Why the notes on it cannot be read; then what was begun is not known.
    pub trouble: Option<String>,
}

impl ClusterView {
    /// Adds up what was seen.
    pub fn new(cluster: &Cluster, seen: Seen, record: &Record, trouble: Option<String>) -> Self {
        Self {
            cluster: cluster.name.clone(),
            picture: draw(cluster, &seen, record),
            seen,
            trouble,
        }
    }
}

/// Whether a member is kept from taking writes: by its own word when it answers, else by what was noted.
pub fn fenced(member: &MemberSeen, record: &Record) -> Fenced {
    if let Answer::Answers(server) = &member.answer {
        let own = server.fence.as_ref().filter(|mark| mark.member == member.name);
        return match own {
            None => Fenced::No,
            Some(_) if !server.read_only => Fenced::Lifted,
            Some(mark) if mark.lsn.is_none() => Fenced::Unfinished,
            Some(mark) => Fenced::Held { lsn: mark.lsn },
        };
    }
    match &record.fence {
        Some(note) if note.member == member.name && note.held.is_some() => Fenced::Held { lsn: note.lsn },
        Some(note) if note.member == member.name => Fenced::Unfinished,
        _ => Fenced::No,
    }
}

/// Adds up what was seen.
pub fn draw(cluster: &Cluster, seen: &Seen, record: &Record) -> Picture {
    let writing: Vec<&MemberName> = seen
        .members
        .iter()
        .filter(|member| {
            member
                .answer
                .server()
                .is_some_and(|server| server.role == Role::Primary)
        })
        .filter(|member| !fenced(member, record).is_held())
        .map(|member| &member.name)
        .collect();
    let mut systems: Vec<SystemId> = seen.servers().map(|(_, server)| server.system).collect();
    systems.sort_unstable();
    systems.dedup();
    let signs = signs::read(cluster, seen, record, &writing, &systems);
    Picture {
        system: <[SystemId; 1]>::try_from(systems).ok().map(|[only]| only),
        primary: match writing.as_slice() {
            [only] => Some((*only).clone()),
            _ => None,
        },
        lines: seen.members.iter().map(|member| line(member, seen, record)).collect(),
        signs,
    }
}

fn line(member: &MemberSeen, seen: &Seen, record: &Record) -> Line {
    let server = member.answer.server();
    let behind = server.and_then(|server| behind(server, seen));
    Line {
        name: member.name.clone(),
        role: server.map(|server| server.role),
        timeline: server.map(|server| server.timeline),
        lsn: server.map(|server| server.lsn),
        lag_bytes: behind,
        // A standby that has replayed all is not late, however long ago the last transaction was.
        lag: match (behind, server) {
            (Some(Bytes(0)), _) => Some(Millis(0)),
            (Some(_), Some(server)) => server.replayed_age,
            _ => None,
        },
        fenced: fenced(member, record),
    }
}

/// How much of its primary's log a standby has not replayed; none when no primary of its system answers.
pub(super) fn behind(server: &ServerSeen, seen: &Seen) -> Option<Bytes> {
    if server.role == Role::Primary {
        return None;
    }
    let of_system = seen.primaries().filter(|(_, primary)| primary.system == server.system);
    // After a promotion the old primary may still be up: the one on the newest timeline is followed.
    let (_, primary) = of_system.max_by_key(|(_, primary)| (primary.timeline, primary.lsn))?;
    Some(Bytes(primary.lsn.since(server.lsn)))
}
