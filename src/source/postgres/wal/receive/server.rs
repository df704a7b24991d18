//! The server's side: what it is, the slot on it, and `pg_receivewal` as a child.

use std::ffi::OsString;
use std::path::Path;

use super::ReceiveOptions;
use crate::clock::Clock;
use crate::domain::wal::{SegmentSize, SystemId};
use crate::source::SourceError;
use crate::source::postgres::child::{Program, Running};
use crate::source::postgres::connect::Session;
use crate::source::postgres::tools::Tools;
use crate::source::postgres::wal::WalError;

const PROGRAM: &str = "pg_receivewal";

/// A server from which can be received.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) system: SystemId,
    pub(super) size: SegmentSize,
    pub(super) tools: Tools,
}

impl Ready {
    /// Connects, looks at the server and makes the slot when there is none.
    pub(super) async fn on(options: &ReceiveOptions, clock: &Clock) -> Result<Self, WalError> {
        let login = &options.login;
        let session = login.open(&options.database, clock).await?;
        let facts = session.facts().await?;
        let server = login.connection.display();
        let denied = |why: &str| SourceError::Denied {
            server: server.clone(),
            why: why.to_owned(),
        };
        let system = facts
            .system_identifier
            .ok_or_else(|| denied("the role may not execute pg_control_system()"))?;
        let system = system.parse().map_err(|_| denied("it has no system identifier"))?;
        let sql = "select setting::bigint from pg_catalog.pg_settings where name = 'wal_segment_size'";
        let rows = session.rows("read the size of its segments", sql, &[]).await?;
        let bytes: i64 = rows.first().map_or(0, |row| row.get(0));
        let size = u64::try_from(bytes)
            .ok()
            .and_then(|bytes| SegmentSize::try_from(bytes).ok());
        let size = size.ok_or_else(|| denied("it does not tell the size of its segments"))?;
        ensure_slot(&session, &options.slot).await?;
        let configured = login.connection.bin_dir.as_deref();
        let tools = Tools::find(PROGRAM, configured, facts.major, 0, clock).await?;
        Ok(Self { system, size, tools })
    }
}

/// Makes the slot anew, so that it begins at log the server still has.
///
/// The server sets a slot to wherever its client says it is, also back to log that is removed; `pg_receivewal` begins where
/// the slot is, and would ask for that log for ever. Such a slot keeps nothing, so nothing is lost with it.
pub(super) async fn renew_slot(options: &ReceiveOptions, clock: &Clock) -> Result<(), WalError> {
    let session = options.login.open(&options.database, clock).await?;
    let doing = format!("make the replication slot {} anew", options.slot);
    let drop = "select pg_catalog.pg_drop_replication_slot(slot_name)::text from pg_catalog.pg_replication_slots \
                where slot_name = $1 and slot_type = 'physical'";
    session.rows(&doing, drop, &[&options.slot]).await?;
    ensure_slot(&session, &options.slot).await
}

/// Makes the slot when there is none. One that has lost its log, or is of another kind, is for a person to decide about.
async fn ensure_slot(session: &Session, slot: &str) -> Result<(), WalError> {
    let sql = "select slot_type, coalesce(wal_status, '') from pg_catalog.pg_replication_slots where slot_name = $1";
    let doing = format!("look for the replication slot {slot}");
    let rows = session.rows(&doing, sql, &[&slot]).await?;
    let Some(row) = rows.first() else {
        let doing = format!("make the replication slot {slot}");
        // At once: from now on the server keeps its log, also before the first connection.
        let sql = "select pg_catalog.pg_create_physical_replication_slot($1::text::name, true)::text";
        session.rows(&doing, sql, &[&slot]).await?;
        return Ok(());
    };
    let (kind, status): (String, String) = (row.get(0), row.get(1));
    if kind != "physical" {
        return Err(WalError::Invalid {
            what: format!("the replication slot {slot} is {kind}, not physical"),
            hint: "choose another name for the slot",
        });
    }
    if status == "lost" {
        return Err(WalError::Invalid {
            what: format!("the replication slot {slot} has lost its log: the server removed what was not received yet"),
            hint: "drop the slot, receive again, and take a new base backup: the archive has a gap",
        });
    }
    Ok(())
}

/// The argument by which a receiver of a directory is also found among the processes.
pub(super) fn directory_argument(incoming: &Path) -> OsString {
    let mut argument = OsString::from("--directory=");
    argument.push(incoming);
    argument
}

/// `pg_receivewal` at work.
#[derive(Debug)]
pub(super) struct Receiver(Running);

impl Receiver {
    pub(super) fn start(options: &ReceiveOptions, ready: &Ready, incoming: &Path) -> Result<Self, WalError> {
        let path = ready.tools.program(PROGRAM);
        let program = Program::new(PROGRAM, &path, options.login.connection.display())
            .arg(directory_argument(incoming))
            .arg(format!("--slot={}", options.slot))
            // Coming back is our business: only we can say what is wrong.
            .arg("--no-loop")
            .arg("--status-interval=1")
            .connect(&options.login, None);
        Ok(Self(program.start(Some(&options.login))?))
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.0.has_ended()
    }

    /// What it said before it ended.
    pub(super) async fn words(self) -> String {
        match self.0.finish().await {
            Ok(()) => format!("{PROGRAM} ended"),
            Err(error) => error.to_string(),
        }
    }

    pub(super) async fn kill(self) {
        self.0.kill().await;
    }
}
