//! Up to where a server has written its log, asked again and again over one connection.

use std::time::Duration;

use crate::clock::Clock;
use crate::domain::pitr::Written;
use crate::domain::wal::{Lsn, SystemId, TimelineId};
use crate::source::SourceError;
use crate::source::postgres::Login;
use crate::source::postgres::connect::{Session, within};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server has written is asked in one statement: on a standby, what it has received.
const SQL: &str = "select case when r then coalesce(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
                             else pg_catalog.pg_current_wal_lsn() end::text,
                        case when r then (select received_tli from pg_catalog.pg_stat_wal_receiver)
                             else ('x' || left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::int end
                   from (select pg_catalog.pg_is_in_recovery() as r) as s";

/// A connection that is kept between questions.
pub struct Live {
    login: Login,
    database: String,
    session: Option<(Session, Option<SystemId>)>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("server", &self.login.connection.display())
            .finish_non_exhaustive()
    }
}

impl Live {
    /// Connects when it is asked first, and again whenever the connection was lost.
    pub fn new(login: Login, database: &str) -> Self {
        Self {
            login,
            database: database.to_owned(),
            session: None,
        }
    }

    /// Asks the server up to where it has written; of another cluster than the one meant, nothing.
    ///
    /// # Errors
    /// The server does not answer in time, is another one, or is a standby that receives nothing.
    pub async fn written(&mut self, system: SystemId, clock: &Clock) -> Result<Written, SourceError> {
        let answer = within(clock, PATIENCE, self.ask(system, clock)).await;
        let answer = answer.unwrap_or_else(|| {
            Err(SourceError::Silent {
                server: self.login.connection.display(),
                seconds: PATIENCE.as_secs(),
            })
        });
        if answer.is_err() {
            self.session = None;
        }
        answer
    }

    async fn ask(&mut self, system: SystemId, clock: &Clock) -> Result<Written, SourceError> {
        if self.session.is_none() {
            let session = self.login.open(&self.database, clock).await?;
            let found = session
                .facts()
                .await?
                .system_identifier
                .and_then(|text| text.parse().ok());
            self.session = Some((session, found));
        }
        let Some((session, found)) = &self.session else {
            return Err(SourceError::Cancelled);
        };
        let unusable = |what: String, hint: &str| SourceError::Invalid {
            what,
            hint: Some(hint.to_owned()),
        };
        if let Some(found) = found.filter(|found| *found != system) {
            return Err(unusable(
                format!(
                    "{} is cluster {found}, and the backups are of cluster {system}",
                    session.server
                ),
                "point the source at the right server, or take a new base backup of this one",
            ));
        }
        let at = clock.now();
        let rows = session.rows("ask up to where the log is written", SQL, &[]).await?;
        let row = rows.first().ok_or(SourceError::Cancelled)?;
        let lsn: Option<Lsn> = row.get::<_, Option<String>>(0).and_then(|text| text.parse().ok());
        let timeline = row
            .get::<_, Option<i32>>(1)
            .and_then(|number| u32::try_from(number).ok());
        match (lsn, timeline) {
            (Some(lsn), Some(timeline)) => Ok(Written {
                at,
                timeline: TimelineId(timeline),
                lsn,
            }),
            _ => Err(unusable(
                format!("{} is a standby that receives nothing", session.server),
                "see why it does not follow its primary: lifeboat cluster status",
            )),
        }
    }
}
