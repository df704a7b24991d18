//! One look at a recovering server: whether it recovers still, whether it is paused, how far it is.

use std::path::{Path, PathBuf};

use super::{ControlData, RecoveryError};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::wal::{Lsn, TimelineId};
use crate::source::SourceError;
use crate::source::postgres::ask;
use crate::source::postgres::connect::Session;
use crate::source::postgres::server::{PrivateServer, Programs, RunAs};

/// One look at a server.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) recovering: bool,
    pub(super) paused: bool,
    pub(super) lsn: Option<Lsn>,
    pub(super) last_commit: Option<Timestamp>,
}

/// Looks at a server again and again, over one session as long as that holds.
#[derive(Debug)]
pub(super) struct Looker {
    session: Option<Session>,
    clock: Clock,
}

impl Looker {
    pub(super) fn new(clock: &Clock) -> Self {
        let clock = clock.clone();
        Self { session: None, clock }
    }

    /// Looks once; none while it does not answer. An error is why it lets nobody in.
    pub(super) async fn look(&mut self, server: &PrivateServer) -> Result<Option<Looked>, SourceError> {
        let Some(session) = self.session(server).await? else {
            return Ok(None);
        };
        let looked = look_in(session, server.major()).await.ok();
        if looked.is_none() {
            self.session = None;
        }
        Ok(looked)
    }

    /// The session, when there is one or one can be had.
    pub(super) async fn session(&mut self, server: &PrivateServer) -> Result<Option<&Session>, SourceError> {
        if self.session.is_none() {
            match server.login().open_maintenance(None, &self.clock).await {
                Ok(session) => self.session = Some(session),
                Err(error @ (SourceError::Denied { .. } | SourceError::NoSuchDatabase { .. })) => return Err(error),
                // Not yet; when it never does, the server says why and ends.
                Err(_) => return Ok(None),
            }
        }
        Ok(self.session.as_ref())
    }

    /// The timeline of a server that is open.
    pub(super) async fn timeline(&mut self, server: &PrivateServer) -> Option<TimelineId> {
        let sql = "select pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn())";
        let session = self.session(server).await.ok()??;
        let rows = session.rows("read the timeline", sql, &[]).await.ok()?;
        TimelineId::from_hex(rows.first()?.get::<_, String>(0).get(..8)?)
    }

    /// Ends the session as the server likes it.
    pub(super) async fn end(&mut self) {
        if let Some(session) = self.session.take() {
            session.settle(&self.clock).await;
        }
    }
}

async fn look_in(session: &Session, major: u32) -> Result<Looked, SourceError> {
    let paused = if major >= 14 {
        "pg_catalog.pg_get_wal_replay_pause_state() = 'paused'"
    } else {
        "pg_catalog.pg_is_wal_replay_paused()"
    };
    let sql = format!(
        "select r, case when r then {paused} else false end, pg_catalog.pg_last_wal_replay_lsn()::text,
                pg_catalog.to_char(pg_catalog.pg_last_xact_replay_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')
           from (select pg_catalog.pg_is_in_recovery() as r) as s"
    );
    let rows = session.rows("look at the recovery", &sql, &[]).await?;
    let row = rows.first().ok_or(SourceError::Cancelled)?;
    let text = |index: usize| row.get::<_, Option<String>>(index);
    Ok(Looked {
        recovering: row.get(0),
        paused: row.get(1),
        lsn: text(2).and_then(|text| text.parse().ok()),
        last_commit: text(3).and_then(|text| text.parse().ok()),
    })
}

/// How far a copy has been replayed: by the server on it, or by its control file when none runs.
pub async fn reached(
    data: &Path,
    home: &Path,
    bin_dir: Option<PathBuf>,
    clock: &Clock,
) -> Result<Option<Lsn>, RecoveryError> {
    if let Some(server) = PrivateServer::attach(home, clock)? {
        let sql = "select pg_catalog.pg_last_wal_replay_lsn()::text";
        let answer = ask(&server.login(), "postgres", sql, clock).await;
        server.keep()?;
        return Ok(answer?.and_then(|text| text.parse().ok()));
    }
    let data = data.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let programs = Programs::for_data(&data, bin_dir.as_deref())?;
        ControlData::read(&data, &programs, RunAs::for_data(&data)?)
    });
    let control = reading.await.map_err(|_| RecoveryError::cancelled())??;
    Ok(control.replayed())
}
