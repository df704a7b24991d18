//! Waiting for a standby, and promoting it.
//!
//! Nothing is lost when the standby has replayed what the fenced primary last wrote; that is what is waited for, and what a
//! promotion insists on. An advisory lock on the standby keeps a second machine from promoting it at the same time.

use std::time::Duration;

use super::{ClusterError, ClusterHandle, Tell, look};
use crate::domain::Bytes;
use crate::domain::cluster::record::PromotionNote;
use crate::domain::cluster::{Allowance, PromotePlan, Role, Seen, promote};
use crate::domain::id::MemberName;
use crate::domain::wal::{Lsn, TimelineId};
use crate::source::SourceError;
use crate::source::postgres::connect::Session;

/// How long `pg_promote` itself may take, in seconds.
const PROMOTE_SECONDS: i32 = 60;

/// What was received may end in half a record, which nobody will ever replay: this near to the end, standing still is being there.
const NEAR: u64 = 16 << 20;
/// So many looks without a step are standing still.
const STILL: u32 = 5;

/// "lifeboat" in ASCII: whoever promotes this server has it.
const LOCK: i64 = 0x6c69_6665_626f_6174;

/// A standby that has got there.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Waited {
    /// Which.
    pub member: MemberName,
    /// How far it had to get.
    pub target: Lsn,
    /// How far it has got.
    pub at: Lsn,
}

/// A member that is the primary now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Promoted {
    /// Which.
    pub member: MemberName,
    /// The timeline it left.
    pub from: TimelineId,
    /// The timeline it writes.
    pub timeline: TimelineId,
    /// Where it is.
    pub lsn: Lsn,
    /// How much of the old primary's log is lost; none when that is not known.
    pub loss: Option<Bytes>,
    /// What should be known about it.
    pub remarks: Vec<String>,
}

impl ClusterHandle {
    /// Waits until a standby has replayed everything that was committed on the fenced primary.
    pub async fn wait(&self, member: &MemberName, timeout: Duration, tell: Tell<'_>) -> Result<Waited, ClusterError> {
        let started = self.clock.monotonic();
        let mut told = None;
        loop {
            let seen = self.look().await;
            let record = self.record()?;
            let target = promote::awaited(&self.cluster, &seen, &record, member).map_err(ClusterError::Refused)?;
            let Some(server) = seen.member(member).and_then(|one| one.answer.server()) else {
                return Err(SourceError::Cancelled.into());
            };
            if server.lsn >= target {
                return Ok(Waited {
                    member: member.clone(),
                    target,
                    at: server.lsn,
                });
            }
            if self.clock.elapsed(started) > timeout {
                return Err(ClusterError::NotProved {
                    what: format!("{member} did not get to {target} within {} s", timeout.as_secs()),
                    why: format!(
                        "it has replayed up to {}, {} are missing",
                        server.lsn,
                        Bytes(target.since(server.lsn))
                    ),
                    next: "look into its log, and at the network between the two; wait again, or unfence the primary"
                        .to_owned(),
                });
            }
            if told != Some(server.lsn) {
                told = Some(server.lsn);
                tell(&format!(
                    "{member} is at {}, {} to go",
                    server.lsn,
                    Bytes(target.since(server.lsn))
                ));
            }
            self.pause().await?;
        }
    }

    /// Waits until a standby has replayed everything that was committed on the old primary; where nobody knows its end, until it
    /// has replayed all that it received.
    pub async fn wait_for_received(
        &self,
        member: &MemberName,
        timeout: Duration,
        tell: Tell<'_>,
    ) -> Result<Waited, ClusterError> {
        let started = self.clock.monotonic();
        let (mut last, mut still) = (Lsn(0), 0);
        loop {
            let (seen, record) = (self.look().await, self.record()?);
            match promote::awaited(&self.cluster, &seen, &record, member) {
                Ok(_) => return self.wait(member, timeout, tell).await,
                Err(refusals) if refusals.iter().any(|refusal| refusal.reason != "loss-unknown") => {
                    return Err(ClusterError::Refused(refusals));
                }
                Err(_) => {}
            }
            let Some(server) = seen.member(member).and_then(|one| one.answer.server()) else {
                return Err(SourceError::Cancelled.into());
            };
            let (at, target) = (server.lsn, server.reach());
            still = if at == last { still + 1 } else { 0 };
            last = at;
            if at >= target || (still >= STILL && target.since(at) < NEAR) {
                tell(&format!("{member} has replayed what it received, up to {at}"));
                return Ok(Waited {
                    member: member.clone(),
                    target,
                    at,
                });
            }
            if self.clock.elapsed(started) > timeout {
                return Err(ClusterError::NotProved {
                    what: format!(
                        "{member} did not replay what it received within {} s",
                        timeout.as_secs()
                    ),
                    why: format!("it is at {at} and has received up to {target}"),
                    next: "look into its log; a long query on it may hold the replay up".to_owned(),
                });
            }
            self.pause().await?;
        }
    }

    /// Decides about a promotion as things are now; what is only behind is given until the end of `patience` to catch up.
    pub async fn plan_promote(
        &self,
        member: &MemberName,
        allowed: Allowance,
        patience: Duration,
    ) -> Result<(PromotePlan, Seen), ClusterError> {
        let started = self.clock.monotonic();
        loop {
            let (seen, record) = (self.look().await, self.record()?);
            let refusals = match promote::promote(&self.cluster, &seen, &record, member, allowed) {
                Ok(plan) => return Ok((plan, seen)),
                Err(refusals) => refusals,
            };
            let only_behind = refusals.iter().all(|refusal| refusal.reason == "behind");
            if !only_behind || self.clock.elapsed(started) > patience {
                return Err(ClusterError::Refused(refusals));
            }
            self.pause().await?;
        }
    }

    /// Promotes a standby. One that is the primary already is only noted, so that a promotion that was cut off can be ended.
    pub async fn promote(
        &self,
        member: &MemberName,
        allowed: Allowance,
        patience: Duration,
        tell: Tell<'_>,
    ) -> Result<Promoted, ClusterError> {
        let lock = self.ledger.lock()?;
        let (plan, before) = self.plan_promote(member, allowed, patience).await?;
        if !plan.already {
            let note = PromotionNote {
                member: member.clone(),
                from: plan.timeline,
                by: self.by.clone(),
                begun: self.clock.now(),
                to: None,
            };
            self.ledger.note(&lock, |record| record.promotion = Some(note))?;
            tell(&format!("promoting {member}, timeline {}", plan.timeline));
            let session = self.session(member).await?;
            begin(&session).await?;
        }
        let (timeline, lsn) = self.after(member, tell).await?;
        let noted = self.record()?.promotion.filter(|note| note.member == *member);
        let from = noted.map_or(plan.timeline, |note| note.from);
        self.ledger.note(&lock, |record| {
            if let Some(note) = record.promotion.as_mut().filter(|note| note.member == *member) {
                note.to = Some(timeline);
            }
        })?;
        Ok(Promoted {
            member: member.clone(),
            from,
            timeline,
            lsn,
            loss: plan.loss,
            remarks: self.written_meanwhile(&before, member).await,
        })
    }

    /// Waits until a member is a primary, lets it take writes, and says where it is.
    async fn after(&self, member: &MemberName, tell: Tell<'_>) -> Result<(TimelineId, Lsn), ClusterError> {
        let started = self.clock.monotonic();
        let server = loop {
            let server = look::server(&self.session(member).await?).await?;
            if server.role == Role::Primary {
                break server;
            }
            if self.clock.elapsed(started) > Duration::from_secs(10) {
                return Err(ClusterError::NotProved {
                    what: format!("{member} was promoted and is still a standby"),
                    why: "pg_is_in_recovery() says so".to_owned(),
                    next: format!("look into its log, then: lifeboat cluster status {}", self.cluster.name),
                });
            }
            self.pause().await?;
        };
        // A standby that was cloned from a fenced primary has a copy of that fence.
        if let Some(mark) = server.fence.filter(|mark| mark.member != *member) {
            self.lift(member, mark.previous.as_deref(), tell).await?;
        } else {
            self.prove_writable(member).await?;
        }
        tell(&format!(
            "{member} is the primary, on timeline {}, and takes writes",
            server.timeline
        ));
        Ok((server.timeline, server.lsn))
    }

    /// Says when the old primary has committed something behind its fence while the other was promoted.
    async fn written_meanwhile(&self, before: &Seen, member: &MemberName) -> Vec<String> {
        let now = self.look().await;
        let moved = |name: &MemberName| {
            let of = |seen: &Seen| seen.member(name)?.answer.server()?.next_xid;
            of(before).zip(of(&now)).filter(|(then, now)| now > then)
        };
        let others = before.primaries().filter(|(name, _)| *name != member);
        let remark = |(name, _)| {
            let (then, now) = moved(name)?;
            let count = now - then;
            Some(format!(
                "{name} has given {count} transactions a number meanwhile: autovacuum, or a writer behind its fence, whose work is lost"
            ))
        };
        others.filter_map(remark).collect()
    }
}

/// Promotes the server of a session.
async fn begin(session: &Session) -> Result<(), ClusterError> {
    let doing = "promote it";
    let rows = session
        .rows(doing, "select pg_catalog.pg_try_advisory_lock($1)", &[&LOCK])
        .await?;
    if !rows.first().is_some_and(|row| row.get(0)) {
        let what = format!("somebody else is promoting {} now", session.server);
        let hint = Some("look with lifeboat cluster status".to_owned());
        return Err(SourceError::Invalid { what, hint }.into());
    }
    // Somebody may have been faster since it was looked at.
    let standby = session
        .rows(doing, "select pg_catalog.pg_is_in_recovery()", &[])
        .await?;
    if !standby.first().is_some_and(|row| row.get(0)) {
        return Ok(());
    }
    let sql = "select pg_catalog.pg_promote(true, $1)";
    let rows = session.rows(doing, sql, &[&PROMOTE_SECONDS]).await?;
    if rows.first().is_some_and(|row| row.get(0)) {
        return Ok(());
    }
    Err(ClusterError::NotProved {
        what: format!("{} is not promoted yet", session.server),
        why: format!("pg_promote did not end within {PROMOTE_SECONDS} s"),
        next: "it may still come: look into its log, then promote again".to_owned(),
    })
}
