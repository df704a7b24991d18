//! May a member be promoted? Only when nobody else takes writes, nor may later, and when it has enough of the log.

use serde::{Deserialize, Serialize};

use super::decide::{Refusal, asked, no};
use super::picture::{Fenced, fenced};
use super::record::Record;
use super::{Answer, Cluster, LocalState, MemberSeen, Role, Seen, ServerSeen};
use crate::domain::id::MemberName;
use crate::domain::units::{Bytes, parse_bytes};
use crate::domain::wal::{Lsn, SystemId, TimelineId};

/// How much of the log a promotion may lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allowance {
    /// At most this much, and it has to be known.
    AtMost(Bytes),
    /// At most this much where it is known; where it is not, whatever it is.
    OrUnknown(Bytes),
    /// Whatever it is, also when it is not known.
    Any,
}

impl Allowance {
    fn allows(self, loss: Bytes) -> bool {
        match self {
            Self::AtMost(most) | Self::OrUnknown(most) => loss <= most,
            Self::Any => true,
        }
    }

    const fn allows_unknown(self) -> bool {
        matches!(self, Self::Any | Self::OrUnknown(_))
    }

    /// Reads `16MiB`, `16MiB or unknown`, or `any`.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match (text, text.strip_suffix("or unknown")) {
            ("any", _) => Ok(Self::Any),
            (_, Some(size)) => parse_bytes(size).map(Self::OrUnknown),
            (size, None) => parse_bytes(size).map(Self::AtMost),
        }
    }

    /// The text of it, as [`Allowance::parse`] reads it, for a primary that cannot be asked what it had.
    pub fn where_unknown(self) -> String {
        match self {
            Self::AtMost(most) | Self::OrUnknown(most) => format!("{}B or unknown", most.0),
            Self::Any => "any".to_owned(),
        }
    }
}

/// How a member will be promoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotePlan {
    /// Who becomes the primary.
    pub member: MemberName,
    /// The cluster.
    pub system: SystemId,
    /// The timeline it is on; a promotion begins the next.
    pub timeline: TimelineId,
    /// How far it has got.
    pub at: Lsn,
    /// How far it has to get so that nothing is lost; none when that is not known.
    pub target: Option<Lsn>,
    /// How much of the log is lost; none when that is not known.
    pub loss: Option<Bytes>,
    /// Whether it is the primary already, and only the note is missing.
    pub already: bool,
    /// What is known of the others, for whoever has to confirm.
    pub remarks: Vec<String>,
}

/// The member that was primary until now, as far as can be told: fenced and answering, or fenced as was noted.
fn old_primary<'s>(seen: &'s Seen, record: &Record, chosen: &MemberName) -> Option<&'s MemberSeen> {
    let others = || seen.members.iter().filter(|member| member.name != *chosen);
    let answering = others().find(|member| member.answer.server().is_some_and(|one| one.role == Role::Primary));
    answering.or_else(|| others().find(|member| member.answer.server().is_none() && fenced(member, record).is_held()))
}

/// Up to where the log of the old primary has to be replayed, so that nothing that was committed is lost.
pub fn end_of_log(old: &MemberSeen, record: &Record) -> Option<Lsn> {
    if let Some(server) = old.answer.server() {
        let mark = server.fence.as_ref();
        let quiet = mark
            .and_then(|mark| mark.xid)
            .zip(server.next_xid)
            .is_some_and(|(then, now)| then == now);
        // Nobody has written since the fence: what came after it (checkpoints and the like) need not be waited for.
        return match mark.and_then(|mark| mark.lsn) {
            Some(lsn) if quiet => Some(lsn),
            _ => Some(server.lsn),
        };
    }
    let noted = match fenced(old, record) {
        Fenced::Held { lsn } => lsn,
        _ => None,
    };
    // A server that was shut down in good order wrote its checkpoint last.
    let control = old.local.as_ref().and_then(|local| local.control.as_ref());
    let last = control
        .filter(|control| control.clean)
        .map(|control| control.checkpoint);
    noted.max(last)
}

/// Whether a member that does not answer is surely down: nothing runs on its data directory, which is on this machine.
pub fn is_down(member: &MemberSeen) -> bool {
    let local = member.local.as_ref();
    member.answer.server().is_none() && local.is_some_and(|local| local.state == LocalState::Stopped)
}

/// Decides about a promotion.
pub fn promote(
    cluster: &Cluster,
    seen: &Seen,
    record: &Record,
    member: &MemberName,
    allowed: Allowance,
) -> Result<PromotePlan, Vec<Refusal>> {
    let chosen = asked(cluster, seen, member)?;
    let Answer::Answers(server) = &chosen.answer else {
        let what = format!("{member} does not answer");
        return Err(vec![no("silent", what, "start it, or promote another member")]);
    };
    let mut refusals = others_are_out(cluster, seen, record, member);
    refusals.extend(one_system(seen, member, server));
    let old = old_primary(seen, record, member)
        .or_else(|| seen.members.iter().find(|one| one.name != *member && is_down(one)));
    let target = old.and_then(|old| end_of_log(old, record));
    let loss = target.map(|target| Bytes(target.since(server.reach())));
    let already = server.role == Role::Primary;
    if already && fenced(chosen, record).is_held() {
        let what = format!("{member} is the fenced primary");
        refusals.push(no(
            "fenced",
            what,
            format!("let it go with: lifeboat cluster unfence {} {member}", cluster.name),
        ));
    }
    if !already {
        let newer = old
            .and_then(|old| old.answer.server())
            .filter(|old| old.timeline > server.timeline);
        if let Some(newer) = newer {
            let what = format!(
                "{member} is on timeline {}, and the old primary on {}: it was left behind by an earlier promotion",
                server.timeline, newer.timeline
            );
            refusals.push(no(
                "old-timeline",
                what,
                format!(
                    "make it follow first: lifeboat cluster reclone {} {member}",
                    cluster.name
                ),
            ));
        }
        refusals.extend(enough(cluster, seen, member, server, loss, allowed));
        if !server.superuser {
            let what = format!("our role on {member} may not promote it");
            refusals.push(no(
                "not-superuser",
                what,
                "give the member in the configuration a user that is superuser",
            ));
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    Ok(PromotePlan {
        member: member.clone(),
        system: server.system,
        timeline: server.timeline,
        at: server.reach(),
        target,
        loss: if already { Some(Bytes(0)) } else { loss },
        already,
        remarks: remarks(seen, record, member),
    })
}

/// No other member takes writes, nor may take any later.
fn others_are_out(cluster: &Cluster, seen: &Seen, record: &Record, member: &MemberName) -> Vec<Refusal> {
    let name = &cluster.name;
    let mut refusals = Vec::new();
    let known = old_primary(seen, record, member).is_some();
    for other in seen.members.iter().filter(|other| other.name != *member) {
        let who = &other.name;
        let held = fenced(other, record);
        match other.answer.server() {
            Some(server) if server.role == Role::Standby => {}
            Some(server) if held.is_held() => {
                if server.writers > 0 {
                    let what = format!("{} sessions write to {who} in spite of its fence", server.writers);
                    refusals.push(no(
                        "fence-leaks",
                        what,
                        format!("end them: lifeboat cluster fence {name} {who}"),
                    ));
                }
            }
            Some(_) => {
                let what = match held {
                    Fenced::Unfinished => format!("the fence of {who}, a primary, is not proved"),
                    _ => format!("{who} is a primary and is not fenced"),
                };
                refusals.push(no("not-fenced", what, format!("lifeboat cluster fence {name} {who}")));
            }
            None if held.is_held() || is_down(other) => {}
            // With the old primary known, the others were standbys: they may be away.
            None if known => {}
            None => {
                let what = format!("{who} does not answer, and may be a primary that others still write to");
                let how =
                    format!("lifeboat cluster fence {name} {who}, with --gone {who} when it is surely down for good");
                refusals.push(no("not-gone", what, how));
            }
        }
    }
    refusals
}

/// Everything that is known of is of the system of the one that is to be promoted.
fn one_system(seen: &Seen, member: &MemberName, server: &ServerSeen) -> Vec<Refusal> {
    let said = seen.servers().map(|(name, one)| (name, one.system));
    let local = seen
        .members
        .iter()
        .filter_map(|one| Some((&one.name, one.local.as_ref()?.control.as_ref()?.system)));
    let mut strange: Vec<(&MemberName, SystemId)> = said
        .chain(local)
        .filter(|(_, system)| *system != server.system)
        .collect();
    strange.dedup();
    let refusal = |(name, system): (&MemberName, SystemId)| {
        let what = format!("{member} is of system {}, and {name} of {system}", server.system);
        no(
            "wrong-system",
            what,
            "check the connections in the configuration: they are not one cluster",
        )
    };
    strange.into_iter().take(1).map(refusal).collect()
}

/// It has enough of the log, and nobody has more.
fn enough(
    cluster: &Cluster,
    seen: &Seen,
    member: &MemberName,
    server: &ServerSeen,
    loss: Option<Bytes>,
    allowed: Allowance,
) -> Vec<Refusal> {
    let name = &cluster.name;
    let mut refusals = Vec::new();
    match loss {
        Some(loss) if !allowed.allows(loss) => {
            let what = format!("{member} lacks {loss} of the old primary's log, more than may be lost");
            let how = format!("lifeboat cluster wait {name} {member}; or accept the loss with --allow-loss SIZE");
            refusals.push(no("behind", what, how));
        }
        None if !allowed.allows_unknown() => {
            let what = format!("nobody knows how much {member} lacks of the old primary's log, which does not answer");
            refusals.push(no(
                "loss-unknown",
                what,
                "accept whatever is lost with --allow-loss any",
            ));
        }
        _ => {}
    }
    let rival = seen
        .standbys()
        .filter(|(other, one)| *other != member && one.system == server.system);
    let best = rival.max_by_key(|(_, one)| (one.timeline, one.reach()));
    if let Some((other, best)) = best.filter(|(_, one)| one.timeline >= server.timeline) {
        let more = Bytes(best.reach().since(server.reach()));
        if more.0 > 0 && !allowed.allows(more) {
            let what = format!("{other} has {more} more of the log than {member}");
            refusals.push(no(
                "better",
                what,
                format!("promote {other}, or accept the loss with --allow-loss SIZE"),
            ));
        }
    }
    refusals
}

fn remarks(seen: &Seen, record: &Record, member: &MemberName) -> Vec<String> {
    let mut remarks = Vec::new();
    for other in seen.members.iter().filter(|other| other.name != *member) {
        let who = &other.name;
        let held = fenced(other, record).is_held();
        remarks.push(match (other.answer.server(), held) {
            (Some(server), true) if server.role == Role::Primary => {
                format!("{who} is a primary, fenced, and read-only by its own word")
            }
            (Some(server), _) => format!("{who} is a {} on timeline {}", server.role.word(), server.timeline),
            (None, true) => format!("{who} does not answer; it is fenced, as was noted"),
            (None, false) if is_down(other) => {
                format!("{who} is stopped on this machine; it must not be started as it is")
            }
            (None, false) => format!("{who} does not answer; it was a standby as far as is known"),
        });
    }
    remarks
}

/// Up to where a standby has to replay so that nothing is lost: the end of the fenced primary's log.
pub fn awaited(cluster: &Cluster, seen: &Seen, record: &Record, member: &MemberName) -> Result<Lsn, Vec<Refusal>> {
    let chosen = asked(cluster, seen, member)?;
    let Answer::Answers(server) = &chosen.answer else {
        let what = format!("{member} does not answer");
        return Err(vec![no("silent", what, "start it, or wait for another member")]);
    };
    let name = &cluster.name;
    if server.role == Role::Primary {
        let what = format!("{member} is a primary: it replays nothing");
        return Err(vec![no(
            "not-standby",
            what,
            format!("lifeboat cluster status {name} shows the standbys"),
        )]);
    }
    if server.replay_paused {
        let what = format!("the replay on {member} is paused: it would never get there");
        return Err(vec![no("paused", what, "go on with: select pg_wal_replay_resume()")]);
    }
    let strange = one_system(seen, member, server);
    if !strange.is_empty() {
        return Err(strange);
    }
    let old = old_primary(seen, record, member).filter(|old| fenced(old, record).is_held());
    let Some(old) = old else {
        let what = "no primary is fenced: there is no end to wait for";
        return Err(vec![no("not-fenced", what, format!("lifeboat cluster fence {name}"))]);
    };
    end_of_log(old, record).ok_or_else(|| {
        let what = format!("nobody knows where the log of {} ends", old.name);
        vec![no(
            "loss-unknown",
            what,
            "promote with --allow-loss any when nothing more can arrive",
        )]
    })
}
