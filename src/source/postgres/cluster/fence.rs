//! Keeping writers out of a primary, proved; and letting them in again.
//!
//! The order of the steps is what makes a crash harmless: the note first, then the mark, then the setting. A server that has the
//! mark without a position was never proved, and nobody is promoted on its account. Letting go goes the other way round: the
//! setting first, then the mark, then the note.

use std::time::Duration;

use super::ledger::ActingLock;
use super::{ClusterError, ClusterHandle, Tell, command, look};
use crate::domain::Timestamp;
use crate::domain::cluster::record::{FenceNote, Means};
use crate::domain::cluster::{FenceMark, FencePlan, UnfencePlan, decide};
use crate::domain::id::MemberName;
use crate::domain::wal::Lsn;
use crate::source::SourceError;
use crate::source::postgres::connect::{Session, literal};

/// How long the server may take to read its settings again, or to end a session.
const PATIENCE: Duration = Duration::from_secs(30);

/// The error a transaction gets that may not write.
const READ_ONLY: &str = "25006";

/// Where a fence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Proof {
    lsn: Lsn,
    xid: u64,
}

impl ClusterHandle {
    /// Decides about a fence as things are now.
    pub async fn plan_fence(
        &self,
        member: Option<&MemberName>,
        vouched: Option<&MemberName>,
    ) -> Result<FencePlan, ClusterError> {
        let (seen, record) = (self.look().await, self.record()?);
        decide::fence(&self.cluster, &seen, &record, member, vouched).map_err(ClusterError::Refused)
    }

    /// Fences a member; returns the place before which everything lies that was committed, when that is known.
    pub async fn fence(
        &self,
        member: &MemberName,
        vouched: Option<&MemberName>,
        tell: Tell<'_>,
    ) -> Result<Option<Lsn>, ClusterError> {
        let lock = self.ledger.lock()?;
        let plan = self.plan_fence(Some(member), vouched).await?;
        let begun = self.clock.now();
        let note = FenceNote {
            member: plan.member.clone(),
            system: plan.system,
            means: plan.means,
            by: self.by.clone(),
            begun,
            held: None,
            lsn: None,
        };
        self.ledger.note(&lock, |record| record.fence = Some(note))?;
        let lsn = match plan.means {
            Means::Setting => Some(self.fence_by_setting(&plan, begun, tell).await?),
            Means::Disk => {
                self.fence_on_disk(&plan, begun, tell).await?;
                self.fence_command(&plan, tell).await?;
                None
            }
            Means::Command | Means::Vouched => {
                self.fence_command(&plan, tell).await?;
                None
            }
        };
        let held = self.clock.now();
        self.ledger.note(&lock, |record| {
            if let Some(fence) = &mut record.fence {
                fence.held = Some(held);
                fence.lsn = lsn;
            }
        })?;
        Ok(lsn)
    }

    async fn fence_command(&self, plan: &FencePlan, tell: Tell<'_>) -> Result<(), ClusterError> {
        if let Some(hook) = self.cluster.fence.as_ref().filter(|_| plan.command) {
            tell(&format!("running the fence command: {}", hook.command.join(" ")));
            command::run(self, "the fence command", hook, &plan.member).await?;
        }
        Ok(())
    }

    async fn fence_by_setting(&self, plan: &FencePlan, at: Timestamp, tell: Tell<'_>) -> Result<Lsn, ClusterError> {
        let member = &plan.member;
        let session = self.session(member).await?;
        let before = look::server(&session).await?;
        // A fence that is put up again keeps what it found the first time.
        let own = before.fence.filter(|mark| mark.member == *member);
        let previous = match own {
            Some(mark) => mark.previous,
            None => set_before(&session).await?,
        };
        let mut mark = FenceMark {
            member: member.clone(),
            by: self.by.clone(),
            at,
            lsn: None,
            xid: None,
            previous,
        };
        tell(&format!("{member}: setting it to read-only"));
        set_mark(&session, Some(&mark)).await?;
        set_read_only(&session, Some("on")).await?;
        reload(&session).await?;
        self.until(member, "new sessions are read-only", async |session| {
            let seen = look::server(session).await?;
            Ok(seen.read_only && seen.fence.as_ref() == Some(&mark))
        })
        .await?;
        // From here on every new session is read-only, so those that are older are the last that may write.
        self.end_sessions(&session, tell).await?;
        self.fence_command(plan, tell).await?;
        let proof = self.prove(member, tell).await?;
        mark.lsn = Some(proof.lsn);
        mark.xid = Some(proof.xid);
        set_mark(&session, Some(&mark)).await?;
        reload(&session).await?;
        self.until(member, "the mark of the fence is seen", async |session| {
            Ok(look::server(session).await?.fence.as_ref() == Some(&mark))
        })
        .await?;
        tell(&format!("{member} is fenced at {}", proof.lsn));
        Ok(proof.lsn)
    }

    /// Ends every session of others that began before now, and waits until it is gone.
    async fn end_sessions(&self, session: &Session, tell: Tell<'_>) -> Result<(), ClusterError> {
        let doing = "end the sessions of others";
        let sql = "select count(pg_catalog.pg_terminate_backend(pid)) from pg_catalog.pg_stat_activity
                    where backend_type = 'client backend' and pid <> pg_catalog.pg_backend_pid()
                      and backend_start < $1::text::timestamptz";
        let now = session
            .rows(doing, "select pg_catalog.clock_timestamp()::text", &[])
            .await?;
        let now: String = now.first().map(|row| row.get(0)).unwrap_or_default();
        let started = self.clock.monotonic();
        let mut told = false;
        loop {
            let rows = session.rows(doing, sql, &[&now]).await?;
            let left = rows.first().map_or(0, |row| row.get::<_, i64>(0));
            if left == 0 {
                return Ok(());
            }
            if !told {
                tell(&format!("ending {left} sessions"));
                told = true;
            }
            if self.clock.elapsed(started) > PATIENCE {
                return Err(ClusterError::NotProved {
                    what: "the fence is not proved".to_owned(),
                    why: format!("{left} sessions do not end"),
                    next: "look at pg_stat_activity; fence again when they are gone, or unfence".to_owned(),
                });
            }
            self.pause().await?;
        }
    }

    /// Proves that nothing can be written, and finds the place before which everything lies that was.
    async fn prove(&self, member: &MemberName, tell: Tell<'_>) -> Result<Proof, ClusterError> {
        let session = self.session(member).await?;
        if attempt_to_write(&session).await? {
            return Err(ClusterError::NotProved {
                what: format!("the fence of {member} does not hold"),
                why: "an attempt to write went through".to_owned(),
                next: "look for default_transaction_read_only in ALTER ROLE and ALTER DATABASE; then fence again, or unfence"
                    .to_owned(),
            });
        }
        tell(&format!("{member}: an attempt to write was refused"));
        let quiet = "select pg_catalog.pg_snapshot_xmin(s)::text, pg_catalog.pg_snapshot_xmax(s)::text
                       from pg_catalog.pg_current_snapshot() s";
        let started = self.clock.monotonic();
        let xid: u64 = loop {
            let rows = session.rows("look for transactions under way", quiet, &[]).await?;
            let pair = rows
                .first()
                .map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)));
            let (oldest, next) = pair.unwrap_or_default();
            if let (true, Ok(next)) = (oldest == next, next.parse()) {
                break next;
            }
            if self.clock.elapsed(started) > PATIENCE {
                return Err(ClusterError::NotProved {
                    what: format!("the fence of {member} is not proved"),
                    why: format!("a transaction is still under way, the oldest is {oldest}"),
                    next: "look at pg_stat_activity and pg_prepared_xacts; then fence again, or unfence".to_owned(),
                });
            }
            self.pause().await?;
        };
        // Whatever was committed was written before the snapshot; the switch writes it out, and lets it be archived.
        let rows = session
            .rows(
                "end the segment of the log",
                "select pg_catalog.pg_switch_wal()::text",
                &[],
            )
            .await?;
        let lsn = look::lsn(rows.first().map(|row| row.get(0)), &session.server)?;
        Ok(Proof { lsn, xid })
    }

    /// Decides about letting a member go, as things are now.
    pub async fn plan_unfence(&self, member: Option<&MemberName>) -> Result<UnfencePlan, ClusterError> {
        let (seen, record) = (self.look().await, self.record()?);
        decide::unfence(&self.cluster, &seen, &record, member).map_err(ClusterError::Refused)
    }

    /// Lets a member take writes again.
    pub async fn unfence(&self, member: &MemberName, tell: Tell<'_>) -> Result<(), ClusterError> {
        let lock = self.ledger.lock()?;
        let plan = self.plan_unfence(Some(member)).await?;
        if plan.settings {
            self.lift(member, plan.previous.as_deref(), tell).await?;
        }
        self.forget_fence(&lock, member)
    }

    /// Puts the settings of a fence back and proves that the member takes writes.
    pub(super) async fn lift(
        &self,
        member: &MemberName,
        previous: Option<&str>,
        tell: Tell<'_>,
    ) -> Result<(), ClusterError> {
        let session = self.session(member).await?;
        tell(&format!("{member}: putting its settings back"));
        set_read_only(&session, previous).await?;
        set_mark(&session, None).await?;
        reload(&session).await?;
        let wanted = previous.is_some_and(|value| value != "off");
        self.until(member, "its settings are as they were", async |session| {
            let seen = look::server(session).await?;
            Ok(seen.fence.is_none() && (wanted || !seen.read_only))
        })
        .await?;
        if wanted {
            tell(&format!("{member} was read-only before the fence, and is again"));
        } else {
            self.prove_writable(member).await?;
            tell(&format!("{member} takes writes"));
        }
        Ok(())
    }

    /// Proves that a member takes writes.
    pub(super) async fn prove_writable(&self, member: &MemberName) -> Result<(), ClusterError> {
        if attempt_to_write(&self.session(member).await?).await? {
            return Ok(());
        }
        Err(ClusterError::NotProved {
            what: format!("{member} does not take writes"),
            why: "an attempt to write was refused: it is read-only".to_owned(),
            next: "look for default_transaction_read_only in its settings, ALTER ROLE and ALTER DATABASE".to_owned(),
        })
    }

    fn forget_fence(&self, lock: &ActingLock, member: &MemberName) -> Result<(), ClusterError> {
        self.ledger.note(lock, |record| {
            record.fence = record.fence.take().filter(|note| note.member != *member);
        })
    }

    /// Asks new sessions until something holds; an error when it does not in time.
    async fn until(
        &self,
        member: &MemberName,
        what: &str,
        holds: impl AsyncFn(&Session) -> Result<bool, SourceError>,
    ) -> Result<(), ClusterError> {
        let started = self.clock.monotonic();
        loop {
            // A session that is open has the settings of before.
            let session = self.session(member).await?;
            if holds(&session).await? {
                return Ok(());
            }
            if self.clock.elapsed(started) > PATIENCE {
                return Err(ClusterError::NotProved {
                    what: format!("waited in vain on {member} until {what}"),
                    why: "the server does not take its changed settings".to_owned(),
                    next: "look into its log, and for the setting in its files and command line: select * from pg_file_settings"
                        .to_owned(),
                });
            }
            self.pause().await?;
        }
    }
}

/// Tries to write, and takes it back; whether it went through.
async fn attempt_to_write(session: &Session) -> Result<bool, ClusterError> {
    // Creating even a temporary table is writing, and needs no right but that to temporary tables.
    let sql = "begin; create temporary table lifeboat_fence_probe (n int); rollback";
    let result = session.client.batch_execute(sql).await;
    let Err(error) = result else { return Ok(true) };
    // The transaction is gone with the session when it cannot be rolled back.
    let _ = session.client.batch_execute("rollback").await;
    if error.code().is_some_and(|code| code.code() == READ_ONLY) {
        return Ok(false);
    }
    Err(session.explain("try to write", &error).into())
}

/// What `ALTER SYSTEM` has set `default_transaction_read_only` to, as `on` or `off`: there it stands as it was typed.
async fn set_before(session: &Session) -> Result<Option<String>, SourceError> {
    let sql = "select case when setting::bool then 'on' else 'off' end from pg_catalog.pg_file_settings
                where name = 'default_transaction_read_only' and sourcefile like '%/postgresql.auto.conf' and error is null
                order by seqno desc limit 1";
    let rows = session.rows("read its settings", sql, &[]).await?;
    Ok(rows.first().and_then(|row| row.get(0)))
}

async fn set_read_only(session: &Session, value: Option<&str>) -> Result<(), SourceError> {
    let sql = match value {
        Some(value) => format!("alter system set default_transaction_read_only = {}", literal(value)),
        None => "alter system reset default_transaction_read_only".to_owned(),
    };
    session.execute("change its settings", &sql).await
}

/// Sets or removes the mark. Before version 17 `ALTER SYSTEM` knows a name with a dot only when the session has one.
async fn set_mark(session: &Session, mark: Option<&FenceMark>) -> Result<(), SourceError> {
    let doing = "mark the fence in its settings";
    let text = literal(&mark.map(FenceMark::to_text).unwrap_or_default());
    session.execute(doing, &format!("set lifeboat.fence = {text}")).await?;
    let sql = match mark {
        Some(_) => format!("alter system set lifeboat.fence = {text}"),
        None => "alter system reset lifeboat.fence".to_owned(),
    };
    session.execute(doing, &sql).await
}

async fn reload(session: &Session) -> Result<(), SourceError> {
    session
        .execute("reload its settings", "select pg_catalog.pg_reload_conf()")
        .await
}
