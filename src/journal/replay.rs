//! The events again, from the first: the state they make, and whether their chain holds.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::error::JournalError;
use super::record::{COLUMNS, GENESIS, Stored, chain};
use super::schema::state_rules;
use crate::domain::apply::apply;
use crate::domain::event::EventRecord;
use crate::domain::state::State;

/// How many events are read at a time, so that no reading holds up the cleaning of the log for long.
const BATCH: u64 = 1000;
/// How many checkpoints are kept: the one before the last too, should the last be unreadable.
const CHECKPOINTS_KEPT: u32 = 2;

/// What a walk along the chain found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainReport {
    /// How many events hold together, from the first.
    pub events: u64,
    /// The hash of the last of them; note it elsewhere, and a journal that was cut short later is noticed too.
    pub head: String,
    /// Where the chain breaks, when it does.
    pub broken: Option<ChainBreak>,
}

impl ChainReport {
    /// Whether every event is what it was when it was written.
    pub const fn is_intact(&self) -> bool {
        self.broken.is_none()
    }
}

/// The first event at which the chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainBreak {
    /// Its number.
    pub seq: u64,
    /// What is wrong with it.
    pub detail: String,
}

/// Reads the rows after `seq`, in order, and hands each on until told to stop.
fn each_after(
    db: &Connection,
    path: &Path,
    mut seq: u64,
    mut handle: impl FnMut(Stored) -> Result<bool, JournalError>,
) -> Result<(), JournalError> {
    let failed = |source| JournalError::database(path, source);
    let sql = format!("SELECT {COLUMNS} FROM events e WHERE e.seq > ?1 ORDER BY e.seq LIMIT ?2");
    loop {
        let mut statement = db.prepare_cached(&sql).map_err(failed)?;
        let batch: Vec<Stored> = statement
            .query_map(params![seq.cast_signed(), BATCH.cast_signed()], |row| {
                Stored::from_row(row, 0)
            })
            .and_then(Iterator::collect)
            .map_err(failed)?;
        let Some(last) = batch.last() else { return Ok(()) };
        seq = last.seq;
        for stored in batch {
            if !handle(stored)? {
                return Ok(());
            }
        }
    }
}

/// Reads the records after `seq` in order; a gap is an error.
pub(super) fn records_after(
    db: &Connection,
    path: &Path,
    seq: u64,
    mut handle: impl FnMut(EventRecord) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let mut expected = seq;
    each_after(db, path, seq, |stored| {
        expected += 1;
        if stored.seq != expected {
            return Err(JournalError::corrupt(path, format!("event {expected} is missing")));
        }
        handle(stored.decode(path)?).map(|()| true)
    })
}

/// The state that all events make.
pub(super) fn replay(db: &Connection, path: &Path) -> Result<State, JournalError> {
    continue_from(db, path, State::default())
}

/// The same state, from the last checkpoint that fits and the events after it.
pub(super) fn restore(db: &Connection, path: &Path) -> Result<State, JournalError> {
    let start = checkpoint(db).map_err(|source| JournalError::database(path, source))?;
    continue_from(db, path, start.unwrap_or_default())
}

fn continue_from(db: &Connection, path: &Path, mut state: State) -> Result<State, JournalError> {
    records_after(db, path, state.seq, |record| {
        apply(&mut state, &record);
        Ok(())
    })?;
    Ok(state)
}

/// The newest checkpoint made by today's rules from an event that is still what it was then.
fn checkpoint(db: &Connection) -> rusqlite::Result<Option<State>> {
    let text: Option<String> = db
        .prepare_cached(
            "SELECT c.state FROM checkpoint c JOIN events e ON e.seq = c.seq AND e.hash = c.hash
             WHERE c.rules = ?1 ORDER BY c.seq DESC LIMIT 1",
        )?
        .query_row([state_rules()], |row| row.get(0))
        .optional()?;
    // A checkpoint is a shortcut. One that cannot be read is not used, and the events say the same in more time.
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Notes the state as of the event it was last changed by.
pub(super) fn save_checkpoint(db: &Connection, state: &State, hash: &str) -> rusqlite::Result<()> {
    let text =
        serde_json::to_string(state).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    db.execute(
        "INSERT OR REPLACE INTO checkpoint VALUES (?1, ?2, ?3, ?4)",
        params![state.seq.cast_signed(), hash, state_rules(), text],
    )?;
    db.execute(
        "DELETE FROM checkpoint WHERE seq NOT IN (SELECT seq FROM checkpoint ORDER BY seq DESC LIMIT ?1)",
        [CHECKPOINTS_KEPT],
    )
    .map(drop)
}

/// Walks the whole chain and says where it breaks.
pub(super) fn verify(db: &Connection, path: &Path) -> Result<ChainReport, JournalError> {
    let mut report = ChainReport {
        events: 0,
        head: GENESIS.to_owned(),
        broken: None,
    };
    each_after(db, path, 0, |stored| {
        let seq = report.events + 1;
        let detail = if stored.seq != seq {
            Some(format!("event {seq} is missing"))
        } else if stored.previous_hash != report.head {
            Some(format!("event {seq} does not follow the event before it"))
        } else if chain(&stored.previous_hash, &stored.body) != stored.hash {
            Some(format!("event {seq} was changed after it was written"))
        } else {
            None
        };
        report.broken = if let Some(detail) = detail {
            Some(ChainBreak { seq, detail })
        } else {
            report.head.clone_from(&stored.hash);
            // The text is what was hashed; that it still means something is part of being whole.
            stored.decode(path).err().map(|error| ChainBreak {
                seq,
                detail: error.to_string(),
            })
        };
        report.events += u64::from(report.broken.is_none());
        Ok(report.broken.is_none())
    })?;
    Ok(report)
}
