//! What every member of a cluster says of itself, asked of all at one time; one that does not answer holds up nobody else.

use futures_util::future::join_all;
use tokio_postgres::Row;

use super::{ClusterError, ClusterHandle, local};
use crate::domain::Bytes;
use crate::domain::Millis;
use crate::domain::cluster::{Answer, FenceMark, Member, MemberSeen, Receiver, Replica, Role, Seen, ServerSeen, Slot};
use crate::domain::wal::{Lsn, SegmentName, TimelineId};
use crate::source::SourceError;
use crate::source::postgres::connect::Session;

const DOING: &str = "look at the server";

/// What every server says, primary or standby. The list of settings has what a session would get in spite of `ALTER SYSTEM`.
const COMMON: &str = "select pg_catalog.pg_is_in_recovery(), r.rolsuper,
        current_setting('default_transaction_read_only') = 'on',
        coalesce(current_setting('lifeboat.fence', true), ''),
        current_setting('synchronous_standby_names'),
        current_setting('full_page_writes') = 'on'
            and (current_setting('wal_log_hints') = 'on' or current_setting('data_checksums') = 'on'),
        (select count(*) from pg_catalog.pg_stat_activity
          where backend_type = 'client backend' and pid <> pg_catalog.pg_backend_pid() and backend_xid is not null),
        (select count(*) from pg_catalog.pg_prepared_xacts),
        array(select case when s.setrole = 0 then 'database ' || coalesce(d.datname, '?')
                          else 'role ' || coalesce(pg_catalog.pg_get_userbyid(s.setrole)::text, '?') end
                from pg_catalog.pg_db_role_setting s left join pg_catalog.pg_database d on d.oid = s.setdatabase
               where exists (select 1 from unnest(s.setconfig) c
                              where c like 'default_transaction_read_only=%'
                                and lower(split_part(c, '=', 2)) not in ('on', 'true', 'yes', '1', 't', 'y')) order by 1),
        (select timeline_id from pg_catalog.pg_control_checkpoint())
   from pg_catalog.pg_roles r where r.rolname = current_user";

const PRIMARY: &str = "select pg_catalog.pg_current_wal_lsn()::text,
        pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()),
        pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text";

const STANDBY: &str = "select coalesce(pg_catalog.pg_last_wal_replay_lsn(), '0/0')::text,
        pg_catalog.pg_last_wal_receive_lsn()::text,
        (extract(epoch from pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) * 1000)::bigint,
        pg_catalog.pg_is_wal_replay_paused(),
        (select min_recovery_end_timeline from pg_catalog.pg_control_recovery()),
        r.status, r.received_tli, r.sender_host, r.sender_port, r.slot_name
   from (select 1) one left join pg_catalog.pg_stat_wal_receiver r on true";

const REPLICAS: &str = "select application_name, host(client_addr), coalesce(state, ''), coalesce(sync_state, ''),
        replay_lsn::text, (extract(epoch from replay_lag) * 1000)::bigint
   from pg_catalog.pg_stat_replication where state <> 'backup' order by 1, pid";

/// Looks at every member; one that does not answer in time is silent.
pub(super) async fn all(handle: &ClusterHandle) -> Seen {
    let at = handle.clock.now();
    let members = handle.cluster.members.iter().map(|member| async move {
        let (answer, local) = tokio::join!(ask(handle, member), local::look(member, &handle.clock));
        MemberSeen {
            name: member.name.clone(),
            answer,
            local,
        }
    });
    Seen {
        at,
        members: join_all(members).await,
    }
}

/// Asks one member what it is, as long as the handle is patient.
pub(super) async fn ask(handle: &ClusterHandle, member: &Member) -> Answer {
    let Some(patience) = handle.patience else {
        return ask_for_long(handle, member).await;
    };
    tokio::select! {
        biased;
        answer = ask_for_long(handle, member) => answer,
        () = handle.clock.sleep(patience) => Answer::Silent {
            why: format!("no answer within {} s", patience.as_secs_f32()),
            refuses: false,
        },
    }
}

async fn ask_for_long(handle: &ClusterHandle, member: &Member) -> Answer {
    let asking = async {
        let session = handle
            .login(&member.name)?
            .open(&member.database, &handle.clock)
            .await?;
        Ok::<_, super::ClusterError>(server(&session).await?)
    };
    match asking.await {
        Ok(server) => Answer::Answers(Box::new(server)),
        Err(error) => Answer::Silent {
            why: error.to_string(),
            refuses: refuses(&error),
        },
    }
}

/// Whether a server that gave no answer is there all the same, or was not even asked. Only silence may be taken for a failure.
fn refuses(error: &ClusterError) -> bool {
    !matches!(
        error,
        ClusterError::Source(
            SourceError::Unreachable { .. } | SourceError::Silent { .. } | SourceError::Query { retryable: true, .. }
        )
    )
}

/// Reads a place in the log.
pub(super) fn lsn(text: Option<String>, server: &str) -> Result<Lsn, SourceError> {
    let text = text.unwrap_or_default();
    text.parse()
        .map_err(|error: crate::domain::wal::NotWal| odd(server, &error.to_string()))
}

fn odd(server: &str, why: &str) -> SourceError {
    SourceError::Query {
        doing: DOING.to_owned(),
        server: server.to_owned(),
        why: why.to_owned(),
        retryable: true,
    }
}

fn count(row: &Row, column: usize) -> u64 {
    u64::try_from(row.get::<_, i64>(column)).unwrap_or(0)
}

fn millis(value: Option<i64>) -> Option<Millis> {
    value.map(|value| Millis(u64::try_from(value).unwrap_or(0)))
}

async fn one_row(session: &Session, sql: &str) -> Result<Row, SourceError> {
    let rows = session.rows(DOING, sql, &[]).await?;
    rows.into_iter()
        .next()
        .ok_or_else(|| odd(&session.server, "the answer is empty"))
}

/// What a server says of itself.
pub(super) async fn server(session: &Session) -> Result<ServerSeen, SourceError> {
    let facts = session.facts().await?;
    let system = facts.system_identifier.as_deref().and_then(|text| text.parse().ok());
    let system = system.ok_or_else(|| SourceError::Denied {
        server: session.server.clone(),
        why: "the role may not execute pg_control_system()".to_owned(),
    })?;
    let common = one_row(session, COMMON).await?;
    let standby: bool = common.get(0);
    let checkpoint: i32 = common.get(9);
    let mut seen = ServerSeen {
        version: facts.version,
        major: facts.major,
        system,
        timeline: TimelineId(u32::try_from(checkpoint).unwrap_or(0)),
        role: if standby { Role::Standby } else { Role::Primary },
        superuser: common.get(1),
        lsn: Lsn(0),
        received: None,
        replayed_age: None,
        replay_paused: false,
        read_only: common.get(2),
        next_xid: None,
        writers: count(&common, 6),
        prepared: count(&common, 7),
        overrides: common.get(8),
        fence: FenceMark::from_text(common.get(3)),
        receiver: None,
        replicas: Vec::new(),
        slots: Vec::new(),
        synchronous: common.get(4),
        rewindable: common.get(5),
    };
    if standby {
        as_standby(session, &mut seen).await?;
    } else {
        as_primary(session, &mut seen).await?;
    }
    seen.replicas = session.rows(DOING, REPLICAS, &[]).await?.iter().map(replica).collect();
    seen.slots = slots(session, standby).await?;
    Ok(seen)
}

async fn as_primary(session: &Session, seen: &mut ServerSeen) -> Result<(), SourceError> {
    let row = one_row(session, PRIMARY).await?;
    seen.lsn = lsn(row.get(0), &session.server)?;
    let segment: String = row.get(1);
    // The control file knows a new timeline only after the first checkpoint on it.
    if let Ok(name) = segment.parse::<SegmentName>() {
        seen.timeline = name.timeline;
    }
    seen.next_xid = row.get::<_, Option<String>>(2).and_then(|text| text.parse().ok());
    Ok(())
}

async fn as_standby(session: &Session, seen: &mut ServerSeen) -> Result<(), SourceError> {
    let row = one_row(session, STANDBY).await?;
    seen.lsn = lsn(row.get(0), &session.server)?;
    let received: Option<String> = row.get(1);
    seen.received = received.and_then(|text| text.parse().ok());
    seen.replayed_age = millis(row.get(2));
    seen.replay_paused = row.get(3);
    let (minimum, streamed): (Option<i32>, Option<i32>) = (row.get(4), row.get(6));
    let known = [minimum, streamed].into_iter().flatten();
    let known = known
        .filter_map(|timeline| u32::try_from(timeline).ok())
        .map(TimelineId);
    seen.timeline = known.fold(seen.timeline, Ord::max);
    let (host, port): (Option<String>, Option<i32>) = (row.get(7), row.get(8));
    seen.receiver = row.get::<_, Option<String>>(5).map(|status| Receiver {
        status,
        sender: host.map(|host| port.map_or(host.clone(), |port| format!("{host}:{port}"))),
        slot: row.get::<_, Option<String>>(9).filter(|slot| !slot.is_empty()),
    });
    Ok(())
}

fn replica(row: &Row) -> Replica {
    Replica {
        name: row.get(0),
        address: row.get(1),
        state: row.get(2),
        sync: row.get(3),
        replayed: row.get::<_, Option<String>>(4).and_then(|text| text.parse().ok()),
        lag: millis(row.get(5)),
    }
}

async fn slots(session: &Session, standby: bool) -> Result<Vec<Slot>, SourceError> {
    let end = if standby {
        "pg_catalog.pg_last_wal_replay_lsn()"
    } else {
        "pg_catalog.pg_current_wal_lsn()"
    };
    let sql = format!(
        "select slot_name::text, active, slot_type = 'physical', pg_catalog.pg_wal_lsn_diff({end}, restart_lsn)::bigint, wal_status
           from pg_catalog.pg_replication_slots order by 1"
    );
    let slot = |row: &Row| Slot {
        name: row.get(0),
        active: row.get(1),
        physical: row.get(2),
        retained: row
            .get::<_, Option<i64>>(3)
            .map(|bytes| Bytes(u64::try_from(bytes).unwrap_or(0))),
        wal_status: row.get(4),
    };
    Ok(session.rows(DOING, &sql, &[]).await?.iter().map(slot).collect())
}
