//! What was seen, added up: who is what, how far behind, and the signs of trouble, worst first, each with its next step.

use serde::{Deserialize, Serialize};

use super::record::{Means, Record};
use super::{Answer, Cluster, LocalState, MemberSeen, Role, Seen, ServerSeen};
use crate::domain::id::{ClusterName, MemberName};
use crate::domain::units::{Bytes, Millis};
use crate::domain::wal::{Lsn, SystemId, TimelineId};

/// A slot that nobody uses and that keeps more of the log than this fills the disk some day.
const MUCH_RETAINED: Bytes = Bytes(1 << 30);

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
    let mut signs = whole(cluster, seen, &writing, &systems);
    for member in &seen.members {
        match member.answer.server() {
            Some(server) if server.role == Role::Primary => of_primary(member, server, seen, record, &mut signs),
            Some(server) => of_standby(cluster, member, server, seen, &mut signs),
            None => of_silent(member, record, &mut signs),
        }
    }
    of_record(cluster, seen, record, &mut signs);
    signs.sort_by_key(|sign| std::cmp::Reverse(sign.severity));
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
fn behind(server: &ServerSeen, seen: &Seen) -> Option<Bytes> {
    if server.role == Role::Primary {
        return None;
    }
    let of_system = seen.primaries().filter(|(_, primary)| primary.system == server.system);
    // After a promotion the old primary may still be up: the one on the newest timeline is followed.
    let (_, primary) = of_system.max_by_key(|(_, primary)| (primary.timeline, primary.lsn))?;
    Some(Bytes(primary.lsn.since(server.lsn)))
}

fn sign(severity: Severity, word: &str, member: Option<&MemberName>, what: String, next: impl Into<String>) -> Sign {
    Sign {
        severity,
        sign: word.to_owned(),
        member: member.cloned(),
        what,
        next: next.into(),
    }
}

fn named(names: &[&MemberName]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" and ")
}

/// What is wrong with the cluster as a whole.
fn whole(cluster: &Cluster, seen: &Seen, writing: &[&MemberName], systems: &[SystemId]) -> Vec<Sign> {
    let mut signs = Vec::new();
    let name = &cluster.name;
    if writing.len() > 1 && systems.len() == 1 {
        let what = format!(
            "SPLIT BRAIN: {} all take writes for system {}",
            named(writing),
            systems[0]
        );
        let next =
            format!("decide whose writes are kept, and fence every other now: lifeboat cluster fence {name} MEMBER");
        signs.push(sign(Severity::Critical, "split-brain", None, what, next));
    }
    if systems.len() > 1 {
        let each: Vec<String> = seen
            .servers()
            .map(|(name, server)| format!("{name} is of {}", server.system))
            .collect();
        let what = format!("the members are not of one system: {}", each.join(", "));
        let next = "check the connections in the configuration: a member has to be a copy of the others";
        signs.push(sign(Severity::Critical, "foreign-system", None, what, next));
    }
    if writing.is_empty() {
        let held = seen.primaries().next();
        let what = match held {
            Some((member, _)) => format!("no member takes writes: {member} is fenced"),
            None => "no member takes writes: no primary answers".to_owned(),
        };
        let next = match held {
            Some(_) => format!("lifeboat cluster promote {name} STANDBY, or lifeboat cluster unfence {name}"),
            None => {
                format!("bring the primary back, or: lifeboat cluster fence {name} PRIMARY, then promote a standby")
            }
        };
        signs.push(sign(Severity::Critical, "no-primary", None, what, next));
    }
    signs
}

fn of_primary(member: &MemberSeen, server: &ServerSeen, seen: &Seen, record: &Record, signs: &mut Vec<Sign>) {
    let name = &member.name;
    let newer = seen.primaries().find(|(other, primary)| {
        *other != name && primary.system == server.system && primary.timeline > server.timeline
    });
    match fenced(member, record) {
        Fenced::Held { .. } => {
            if let Some((other, _)) = newer {
                let what = format!("{name} is the old primary: fenced, and left behind by {other}");
                let next = format!("stop it, then make it follow {other} with rewind or reclone");
                signs.push(sign(Severity::Warning, "old-primary", Some(name), what, next));
            }
            let mark = server.fence.as_ref().and_then(|mark| mark.xid);
            let since = mark
                .zip(server.next_xid)
                .map_or(0, |(then, now)| now.saturating_sub(then));
            if since > 0 {
                let what = format!("{name} has given {since} transactions a number since it was fenced");
                let next = "autovacuum does that; else a session has set its transactions to read write: look at pg_stat_activity";
                signs.push(sign(Severity::Warning, "fence-leaks", Some(name), what, next));
            }
        }
        Fenced::Unfinished => {
            let what = format!("the fence of {name} was begun and is not proved");
            let next = "fence it again, or let it go with unfence";
            signs.push(sign(Severity::Critical, "fence-unfinished", Some(name), what, next));
        }
        Fenced::Lifted => {
            let what = format!("{name} has the mark of a fence, and takes writes: somebody has lifted it");
            let next = "fence it again, or remove the mark with unfence";
            signs.push(sign(Severity::Critical, "fence-lifted", Some(name), what, next));
        }
        Fenced::No if server.read_only => {
            let what = format!("{name} is read-only by default, and not by a fence of ours");
            let next = "if nobody wanted that: ALTER SYSTEM RESET default_transaction_read_only, and reload";
            signs.push(sign(Severity::Critical, "read-only", Some(name), what, next));
        }
        Fenced::No => {}
    }
    let waits = !server.synchronous.is_empty();
    if waits
        && !server
            .replicas
            .iter()
            .any(|one| matches!(one.sync.as_str(), "sync" | "quorum"))
    {
        let what = format!(
            "commits on {name} wait for \"{}\", and nobody is there",
            server.synchronous
        );
        let next = "bring the standby back, or take it out of synchronous_standby_names";
        signs.push(sign(Severity::Critical, "synchronous", Some(name), what, next));
    }
    for slot in &server.slots {
        let kept = slot.retained.unwrap_or_default();
        if slot.wal_status.as_deref() == Some("lost") {
            let what = format!("slot {} of {name} has lost its log", slot.name);
            let next = "whoever used it has to be cloned anew; then drop the slot";
            signs.push(sign(Severity::Critical, "slot-lost", Some(name), what, next));
        } else if !slot.active && kept > MUCH_RETAINED {
            let what = format!("slot {} of {name} is used by nobody and keeps {kept} of log", slot.name);
            let next = "bring its user back, or drop it before the disk is full";
            signs.push(sign(Severity::Warning, "slot-idle", Some(name), what, next));
        }
    }
}

fn of_standby(cluster: &Cluster, member: &MemberSeen, server: &ServerSeen, seen: &Seen, signs: &mut Vec<Sign>) {
    let name = &member.name;
    let streams = server.receiver.as_ref().is_some_and(|one| one.status == "streaming");
    let primary = seen.primaries().map(|(_, one)| one.timeline).max();
    if !streams && primary.is_some() {
        let older = primary.is_some_and(|timeline| server.timeline < timeline);
        let what = format!("{name} does not stream from any server");
        let next = if older {
            "it may have left the primary's history: look into its log; rewind or reclone it"
        } else {
            "look into its log: primary_conninfo, the slot, pg_hba.conf of the primary"
        };
        signs.push(sign(Severity::Warning, "not-streaming", Some(name), what, next));
    }
    if server.replay_paused {
        let what = format!("the replay on {name} is paused");
        let next = "go on with: select pg_wal_replay_resume()";
        signs.push(sign(Severity::Warning, "replay-paused", Some(name), what, next));
    }
    let late = server.replayed_age.filter(|age| *age > cluster.max_lag);
    if let (Some(late), Some(bytes)) = (late, behind(server, seen).filter(|bytes| bytes.0 > 0)) {
        let what = format!("{name} is {late} behind ({bytes})");
        let next = "look for a long query on it, a slow network, or a slow disk";
        signs.push(sign(Severity::Warning, "lag", Some(name), what, next));
    }
}

fn of_silent(member: &MemberSeen, record: &Record, signs: &mut Vec<Sign>) {
    let Answer::Silent { why } = &member.answer else { return };
    let name = &member.name;
    let stopped = member
        .local
        .as_ref()
        .is_some_and(|local| local.state == LocalState::Stopped);
    let note = record
        .fence
        .as_ref()
        .filter(|note| note.member == *name && note.held.is_some());
    let how = match note.map(|note| note.means) {
        Some(Means::Command) => ", fenced by the fence command",
        Some(Means::Vouched) => ", down by a person's word",
        Some(Means::Setting) => ", fenced when it last answered",
        None => "",
    };
    let what = if stopped {
        format!("{name} is stopped{how}")
    } else {
        format!("{name} does not answer{how}: {why}")
    };
    let next = "look at its machine and its log";
    signs.push(sign(Severity::Warning, "silent", Some(name), what, next));
}

/// What was begun and not finished.
fn of_record(cluster: &Cluster, seen: &Seen, record: &Record, signs: &mut Vec<Sign>) {
    let name = &cluster.name;
    if let Some(note) = &record.fence {
        let server = seen.member(&note.member).and_then(|member| member.answer.server());
        // What the server says of itself is said already.
        let unsaid = server.is_none_or(|server| server.role == Role::Primary && server.fence.is_none());
        if note.held.is_none() && unsaid {
            let what = format!(
                "a fence of {} was begun by {} and has not taken hold",
                note.member, note.by
            );
            let next = format!(
                "lifeboat cluster fence {name} {0}, or lifeboat cluster unfence {name} {0}",
                note.member
            );
            signs.push(sign(
                Severity::Warning,
                "fence-unfinished",
                Some(&note.member),
                what,
                next,
            ));
        }
    }
    if let Some(note) = record.promotion.as_ref().filter(|note| note.to.is_none()) {
        let what = format!(
            "a promotion of {} was begun by {} and is not noted as done",
            note.member, note.by
        );
        let next = format!("lifeboat cluster promote {name} {}: done already is done", note.member);
        signs.push(sign(
            Severity::Warning,
            "promotion-unfinished",
            Some(&note.member),
            what,
            next,
        ));
    }
    if let Some(note) = &record.rebuild {
        let what = format!(
            "a {} of {} was begun by {} and did not end",
            note.kind.word(),
            note.member,
            note.by
        );
        let next = format!("lifeboat cluster reclone {name} {}", note.member);
        signs.push(sign(
            Severity::Warning,
            "rebuild-unfinished",
            Some(&note.member),
            what,
            next,
        ));
    }
}
