//! The one writer of a journal: it owns the lock, the connection that writes, and the state as of the last event.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::error::JournalError;
use super::lock::OwnerLock;
use super::project::project;
use super::record::{GENESIS, seal};
use super::{replay, schema};
use crate::domain::apply::apply;
use crate::domain::command::Actor;
use crate::domain::event::{Event, EventRecord};
use crate::domain::state::State;
use crate::domain::units::Timestamp;

/// A checkpoint is written whenever the sequence passes a multiple of this.
pub(super) const CHECKPOINT_EVERY: u64 = 1000;

/// The one writer of a journal.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: Connection,
    path: PathBuf,
    head: String,
    state: State,
    // Declared last, so that the connection is closed before another agent may take the lock.
    _lock: OwnerLock,
}

impl Writer {
    /// Takes the lock, opens the database, remakes what lags behind the events, and returns the state.
    pub(super) fn open(path: &Path) -> Result<(Self, State), JournalError> {
        schema::make_directory(path)?;
        let lock = OwnerLock::take(path)?;
        let connection = schema::open_for_writing(path)?;
        let failed = |source| JournalError::database(path, source);
        let last: Option<(i64, String)> = connection
            .query_row("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(failed)?;
        let (seq, head) = last.map_or((0, GENESIS.to_owned()), |(seq, hash)| (seq.cast_unsigned(), hash));
        let state = replay::restore(&connection, path)?;
        let mut writer = Self {
            connection,
            path: path.to_path_buf(),
            head,
            state,
            _lock: lock,
        };
        if !schema::projections_are_current(&writer.connection, seq).map_err(failed)? {
            writer.remake_projections()?;
        }
        let state = writer.state.clone();
        Ok((writer, state))
    }

    /// Appends events in one transaction with what they do to the projections.
    pub(super) fn append(
        &mut self,
        actor: &Actor,
        at: Timestamp,
        events: Vec<Event>,
    ) -> Result<Vec<EventRecord>, JournalError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let mut head = self.head.clone();
        let mut sealed = Vec::with_capacity(events.len());
        for (event, seq) in events.into_iter().zip(self.state.seq + 1..) {
            let (record, body) = seal(seq, at, actor, event, &head)?;
            head.clone_from(&record.hash);
            sealed.push((record, body));
        }
        let last = self.state.seq + sealed.len() as u64;
        // The state moves on only when the events are durable, so a checkpoint is taken from a copy.
        let ahead = (last / CHECKPOINT_EVERY > self.state.seq / CHECKPOINT_EVERY).then(|| {
            let mut state = self.state.clone();
            for (record, _) in &sealed {
                apply(&mut state, record);
            }
            state
        });
        write(
            &mut self.connection,
            &sealed,
            last,
            ahead.as_ref().map(|state| (state, head.as_str())),
        )
        .map_err(|source| match source.sqlite_error_code() {
            // The number of the next event is taken: what would be appended was decided from a state that is not the last.
            Some(rusqlite::ErrorCode::ConstraintViolation) => JournalError::Overtaken {
                path: self.path.clone(),
            },
            _ => JournalError::database(&self.path, source),
        })?;
        self.head = head;
        let records: Vec<EventRecord> = sealed.into_iter().map(|(record, _)| record).collect();
        match ahead {
            Some(state) => self.state = state,
            None => {
                for record in &records {
                    apply(&mut self.state, record);
                }
            }
        }
        Ok(records)
    }

    /// Drops everything that is made from the events and makes it again; returns the state.
    pub(super) fn rebuild(&mut self) -> Result<State, JournalError> {
        self.state = replay::replay(&self.connection, &self.path)?;
        self.remake_projections()?;
        Ok(self.state.clone())
    }

    /// Notes the state, so that the next opening has nothing to replay. A failure costs only time then.
    pub(super) fn finish(&mut self) {
        if self.state.seq == 0 {
            return;
        }
        if let Err(error) = replay::save_checkpoint(&self.connection, &self.state, &self.head) {
            tracing::warn!(%error, "the journal was closed without a checkpoint");
        }
    }

    fn remake_projections(&mut self) -> Result<(), JournalError> {
        let path = &self.path;
        let failed = |source| JournalError::database(path, source);
        // One transaction: whoever looks meanwhile sees the old tables, and a crash leaves them.
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        schema::reset_projections(&transaction).map_err(failed)?;
        let mut seq = 0;
        replay::records_after(&transaction, path, 0, |record| {
            seq = record.seq;
            project(&transaction, &record).map_err(failed)
        })?;
        schema::mark_projections(&transaction, seq).map_err(failed)?;
        transaction.commit().map_err(failed)
    }
}

fn write(
    connection: &mut Connection,
    sealed: &[(EventRecord, String)],
    last: u64,
    checkpoint: Option<(&State, &str)>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut insert = transaction.prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4)")?;
        for (record, body) in sealed {
            insert.execute(params![
                record.seq.cast_signed(),
                body,
                record.previous_hash,
                record.hash
            ])?;
            project(&transaction, record)?;
        }
    }
    schema::advance_projections(&transaction, last)?;
    if let Some((state, head)) = checkpoint {
        replay::save_checkpoint(&transaction, state, head)?;
    }
    transaction.commit()
}
