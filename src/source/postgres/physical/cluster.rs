//! The server while it is copied: what it is, the backup begun and ended on it, and that it stays there.
//!
//! **The session is the backup.** PostgreSQL ends a backup whose connection ends, so nothing of ours can be left open on a
//! server: whatever kills us kills it. The functions were named anew in 15, and only the exclusive way, which could be left
//! open, went away.
//!
//! **The log is held** by a temporary replication slot of the same session where the role may make one: the server keeps
//! what it writes until it is copied, and forgets the slot with the connection. Where it may not, a segment that is gone at
//! the end is asked of the archive, and missing there too it fails the backup.

use std::path::PathBuf;

use chrono::DateTime;

use super::PhysicalError;
use super::label::BackupLabel;
use crate::clock::Clock;
use crate::domain::units::Timestamp;
use crate::domain::wal::{Lsn, SegmentSize, SystemId, TimelineId};
use crate::source::SourceError;
use crate::source::manifest::Tablespace;
use crate::source::postgres::child::random_word;
use crate::source::postgres::connect::{Login, ServerFacts, Session};

/// The newest major version whose file formats are known here.
const NEWEST: u32 = 18;
/// How far a standby may have to go on replaying what it has received, and still be called healthy, in bytes.
const BEHIND: i64 = 256 << 20;
/// For how long a standby may have heard nothing, in seconds.
const SILENT: f64 = 60.0;

/// A server that is to be copied.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) session: Session,
    pub(super) login: Login,
    pub(super) facts: ServerFacts,
    pub(super) system: SystemId,
    pub(super) segment_size: SegmentSize,
    pub(super) block_size: u32,
    /// How many pages a file of a relation has at most.
    pub(super) segment_pages: u32,
    pub(super) checksums: bool,
    /// Where its files are, when the role may know.
    pub(super) data_directory: Option<PathBuf>,
    /// Settings files that lie outside of the data directory.
    pub(super) outside: Vec<String>,
    pub(super) tablespaces: Vec<Tablespace>,
}

/// A backup that was begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Started {
    pub(super) lsn: Lsn,
    /// By the server's clock, after the checkpoint.
    pub(super) at: Timestamp,
}

/// A backup that was ended.
#[derive(Debug, Clone)]
pub(super) struct Stopped {
    pub(super) lsn: Lsn,
    /// By the server's clock, after the last record.
    pub(super) at: Timestamp,
    pub(super) label: BackupLabel,
    pub(super) label_text: String,
    pub(super) map_text: String,
}

impl Cluster {
    /// Connects and asks the server what it is.
    pub(super) async fn open(login: &Login, database: &str, clock: &Clock) -> Result<Self, SourceError> {
        let session = login.open(database, clock).await?;
        let facts = session.facts().await?;
        if facts.major > NEWEST {
            let (server, version) = (session.server.clone(), facts.version.clone());
            return Err(PhysicalError::TooNew { server, version }.into());
        }
        let system = facts.system_identifier.as_deref().and_then(|text| text.parse().ok());
        let system = system.ok_or_else(|| SourceError::Denied {
            server: session.server.clone(),
            why: "the role may not call pg_control_system(), which tells which cluster it is".to_owned(),
        })?;
        let settings = settings(&session).await?;
        let setting = |name: &str| {
            settings
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
        };
        let number = |name: &str| setting(name).and_then(|text| text.parse::<u64>().ok());
        let odd = |what: &str| SourceError::Query {
            doing: format!("read the setting {what}"),
            server: session.server.clone(),
            why: "it is not a number".to_owned(),
            retryable: false,
        };
        let segment_size = number("wal_segment_size").and_then(|size| SegmentSize::try_from(size).ok());
        let data_directory = setting("data_directory").map(PathBuf::from);
        let outside = ["config_file", "hba_file", "ident_file"]
            .into_iter()
            .filter_map(setting);
        let outside = outside.filter(|file| {
            data_directory
                .as_ref()
                .is_some_and(|data| !PathBuf::from(file).starts_with(data))
        });
        Ok(Self {
            system,
            segment_size: segment_size.ok_or_else(|| odd("wal_segment_size"))?,
            block_size: number("block_size")
                .and_then(|size| size.try_into().ok())
                .ok_or_else(|| odd("block_size"))?,
            segment_pages: number("segment_size")
                .and_then(|size| size.try_into().ok())
                .ok_or_else(|| odd("segment_size"))?,
            checksums: setting("data_checksums") == Some("on"),
            outside: outside.map(str::to_owned).collect(),
            tablespaces: tablespaces(&session).await?,
            data_directory,
            login: login.clone(),
            session,
            facts,
        })
    }

    /// Whether the role may begin a backup, and whether it may be sent one.
    pub(super) async fn rights(&self) -> Result<(bool, bool), SourceError> {
        let begin = if self.facts.major >= 15 {
            "pg_backup_start(text, boolean)"
        } else {
            "pg_start_backup(text, boolean, boolean)"
        };
        let sql = "select pg_catalog.has_function_privilege('pg_catalog.' || $1, 'execute'), rolreplication or rolsuper
                     from pg_catalog.pg_roles where rolname = current_user";
        let rows = self.session.rows("ask what the role may do", sql, &[&begin]).await?;
        Ok(rows.first().map_or((false, false), |row| (row.get(0), row.get(1))))
    }

    /// The tablespaces there are now.
    pub(super) async fn tablespaces_now(&self) -> Result<Vec<Tablespace>, SourceError> {
        let listed = tablespaces(&self.session).await;
        listed.map_err(|error| self.gone(error, "the backup was begun"))
    }

    /// Says why a standby is not fit to be copied, if it is not.
    pub(super) async fn check_standby(&self) -> Result<(), SourceError> {
        let unfit = |why: String| -> SourceError {
            let server = self.session.server.clone();
            PhysicalError::UnfitStandby { server, why }.into()
        };
        if !self.facts.standby {
            return Err(unfit("it is no standby, but a primary".to_owned()));
        }
        let sql = "select pg_catalog.pg_is_wal_replay_paused(), r.status,
                          extract(epoch from clock_timestamp() - r.last_msg_receipt_time)::float8,
                          (pg_catalog.pg_last_wal_receive_lsn() - pg_catalog.pg_last_wal_replay_lsn())::int8
                     from (select 1) one left join pg_catalog.pg_stat_wal_receiver r on true";
        let rows = self.session.rows("ask how far the standby is", sql, &[]).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        if row.get::<_, bool>(0) {
            return Err(unfit("its replay is paused".to_owned()));
        }
        match (row.get::<_, Option<String>>(1), row.get::<_, Option<f64>>(2)) {
            (Some(status), Some(age)) if status == "streaming" && age <= SILENT => {}
            (Some(status), Some(age)) => {
                return Err(unfit(format!(
                    "its receiver is {status} and has heard nothing for {age:.0} s"
                )));
            }
            _ => {
                return Err(unfit(
                    "it receives nothing, or the role may not see it (grant pg_monitor)".to_owned(),
                ));
            }
        }
        let behind = row.get::<_, Option<i64>>(3).unwrap_or(0);
        if behind > BEHIND {
            return Err(unfit(format!("{behind} bytes it has received are not replayed")));
        }
        Ok(())
    }

    /// Has the server keep its log from here on; whether it does.
    pub(super) async fn hold_log(&self) -> Result<bool, SourceError> {
        let name = format!("lifeboat_copy_{}", random_word());
        let sql = "select 1 from pg_catalog.pg_create_physical_replication_slot($1, true, true)";
        match self.session.rows("make a replication slot", sql, &[&name]).await {
            Ok(_) => Ok(true),
            Err(error) if self.session.client.is_closed() => Err(self.gone(error, "the log was secured")),
            Err(error) => {
                tracing::info!("the log is copied without a replication slot: {error}");
                Ok(false)
            }
        }
    }

    /// Begins the backup.
    pub(super) async fn start(&self, label: &str) -> Result<Started, SourceError> {
        let call = if self.facts.major >= 15 {
            "pg_catalog.pg_backup_start($1, true)"
        } else {
            "pg_catalog.pg_start_backup($1, true, false)"
        };
        let sql = format!("select l::text, {CLOCK} from {call} l");
        let rows = self.session.rows("begin the backup", &sql, &[&label]).await;
        let rows = rows.map_err(|error| self.gone(error, "the backup was begun"))?;
        let row = rows.first().ok_or_else(|| self.nothing("begin the backup"))?;
        Ok(Started {
            lsn: self.lsn(row.get(0))?,
            at: instant(row.get(1)),
        })
    }

    /// Ends the backup.
    pub(super) async fn stop(&self) -> Result<Stopped, SourceError> {
        let call = if self.facts.major >= 15 {
            "pg_catalog.pg_backup_stop(false)"
        } else {
            "pg_catalog.pg_stop_backup(false, false)"
        };
        let sql = format!("select b.lsn::text, b.labelfile, b.spcmapfile, {CLOCK} from {call} b");
        let rows = self.session.rows("end the backup", &sql, &[]).await;
        let rows = rows.map_err(|error| self.gone(error, "the backup was ended"))?;
        let row = rows.first().ok_or_else(|| self.nothing("end the backup"))?;
        let label_text: String = row.get(1);
        Ok(Stopped {
            lsn: self.lsn(row.get(0))?,
            at: instant(row.get(3)),
            label: BackupLabel::parse(&label_text)?,
            label_text,
            map_text: row.get::<_, Option<String>>(2).unwrap_or_default(),
        })
    }

    /// The moment whose data a copy that ends from now on holds: now, or for a standby what it has replayed.
    pub(super) async fn newest_data(&self, now: Timestamp) -> Result<Timestamp, SourceError> {
        if !self.facts.standby {
            return Ok(now);
        }
        let sql = "select (extract(epoch from pg_catalog.pg_last_xact_replay_timestamp()) * 1000)::int8";
        let rows = self.session.rows("ask what was replayed", sql, &[]).await;
        let rows = rows.map_err(|error| self.gone(error, "the backup was ended"))?;
        // A standby that has replayed nothing since it started holds what its copy held; nothing newer is promised.
        let replayed = rows.first().and_then(|row| row.get::<_, Option<i64>>(0)).map(instant);
        Ok(replayed.map_or(now, |replayed| replayed.min(now)))
    }

    /// The timeline a standby has reached; none for a primary, which cannot change it.
    pub(super) async fn reached_timeline(&self) -> Result<Option<TimelineId>, SourceError> {
        if !self.facts.standby {
            return Ok(None);
        }
        let sql = "select min_recovery_end_timeline::int8 from pg_catalog.pg_control_recovery()";
        let rows = self.session.rows("ask for the timeline", sql, &[]).await?;
        let reached = rows.first().and_then(|row| u32::try_from(row.get::<_, i64>(0)).ok());
        Ok(reached.filter(|id| *id > 0).map(TimelineId))
    }

    /// The server's clock, where a backup was ended by somebody else.
    pub(super) async fn now(&self) -> Result<Timestamp, SourceError> {
        let rows = self
            .session
            .rows("read the clock", &format!("select {CLOCK}"), &[])
            .await?;
        rows.first()
            .map(|row| instant(row.get(0)))
            .ok_or_else(|| self.nothing("read the clock"))
    }

    /// Waits until the connection is gone.
    pub(super) async fn until_gone(&self, clock: &Clock) {
        while !self.session.client.is_closed() {
            clock.sleep(std::time::Duration::from_millis(250)).await;
        }
    }

    /// Tells a server that went away, and a standby that was promoted, from a statement that failed.
    pub(super) fn gone(&self, error: SourceError, phase: &'static str) -> SourceError {
        let server = self.session.server.clone();
        let text = error.to_string();
        if text.contains("standby was promoted") {
            return PhysicalError::Promoted { server }.into();
        }
        let ended = ["terminating connection", "connection closed", "the database system is"];
        if self.session.client.is_closed() || ended.iter().any(|words| text.contains(words)) {
            return PhysicalError::ServerGone { server, phase }.into();
        }
        error
    }

    fn nothing(&self, doing: &str) -> SourceError {
        SourceError::Query {
            doing: doing.to_owned(),
            server: self.session.server.clone(),
            why: "the server answered nothing".to_owned(),
            retryable: true,
        }
    }

    fn lsn(&self, text: &str) -> Result<Lsn, SourceError> {
        text.parse().map_err(|error| {
            let what = format!("the answer of {}", self.session.server);
            PhysicalError::Malformed {
                what,
                why: format!("{error}"),
            }
            .into()
        })
    }
}

/// The clock as milliseconds, read after whatever stands in `from`.
const CLOCK: &str = "(extract(epoch from pg_catalog.clock_timestamp()) * 1000)::int8";

fn instant(millis: i64) -> Timestamp {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

async fn settings(session: &Session) -> Result<Vec<(String, String)>, SourceError> {
    let sql = "select name::text, setting::text from pg_catalog.pg_settings where setting is not null and name in
               ('block_size', 'segment_size', 'wal_segment_size', 'data_checksums', 'data_directory', 'config_file',
                'hba_file', 'ident_file')";
    let rows = session.rows("read the settings", sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn tablespaces(session: &Session) -> Result<Vec<Tablespace>, SourceError> {
    let sql = "select oid::int8, spcname::text, pg_catalog.pg_tablespace_location(oid)
                 from pg_catalog.pg_tablespace where spcname not in ('pg_default', 'pg_global') order by oid";
    let rows = session.rows("list the tablespaces", sql, &[]).await?;
    let all = rows.iter().map(|row| Tablespace {
        oid: u32::try_from(row.get::<_, i64>(0)).unwrap_or_default(),
        name: row.get(1),
        location: PathBuf::from(row.get::<_, String>(2)),
    });
    // One inside the data directory is copied with it.
    Ok(all.filter(|tablespace| tablespace.location.is_absolute()).collect())
}
