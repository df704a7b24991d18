//! The signs of trouble in what was seen of a cluster, worst first, each with its next step.
//!
//! Nothing is left out because something worse was found: a cluster with two writers may also have a slot that fills its disk.

use super::picture::{Fenced, Severity, Sign, behind, fenced};
use super::record::{Means, Record};
use super::{Answer, Cluster, LocalState, MemberSeen, Role, Seen, ServerSeen};
use crate::domain::id::MemberName;
use crate::domain::units::Bytes;
use crate::domain::wal::SystemId;

/// A slot that nobody uses and that keeps more of the log than this fills the disk some day.
const MUCH_RETAINED: Bytes = Bytes(1 << 30);

/// Reads them; `writing` are the members that take writes, `systems` those of the members that answer.
pub(super) fn read(
    cluster: &Cluster,
    seen: &Seen,
    record: &Record,
    writing: &[&MemberName],
    systems: &[SystemId],
) -> Vec<Sign> {
    let mut signs = whole(cluster, seen, writing, systems);
    for member in &seen.members {
        match member.answer.server() {
            Some(server) if server.role == Role::Primary => of_primary(member, server, seen, record, &mut signs),
            Some(server) => of_standby(cluster, member, server, seen, &mut signs),
            None => of_silent(member, record, &mut signs),
        }
    }
    of_record(cluster, seen, record, &mut signs);
    signs.sort_by_key(|sign| std::cmp::Reverse(sign.severity));
    signs
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
            let rewind = format!("lifeboat cluster rewind {} {name} --stop", cluster.name);
            format!("a promotion has left it behind: have it follow with: {rewind}")
        } else {
            "look into its log: primary_conninfo, the slot, pg_hba.conf of the primary".to_owned()
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
    let Answer::Silent { why, .. } = &member.answer else {
        return;
    };
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
        Some(Means::Disk) => ", fenced on its disk",
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
