//! One record: its canonical text, and the hash that chains it to the one before.
//!
//! The text is what is hashed and what is stored; it is never written anew, so that records of old versions keep the
//! hash they were given.

use std::path::Path;

use rusqlite::Row;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::error::JournalError;
use super::upcast;
use crate::domain::command::Actor;
use crate::domain::event::{EVENT_VERSION, Event, EventRecord};
use crate::domain::units::Timestamp;

/// The hash before the first record.
pub(super) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The columns [`Stored::from_row`] reads, of the table `events` under the alias `e`.
pub(super) const COLUMNS: &str = "e.seq, e.body, e.previous_hash, e.hash";

#[derive(Serialize)]
struct BodyOut<'a> {
    seq: u64,
    at: Timestamp,
    actor: &'a Actor,
    version: u32,
    event: &'a Event,
}

#[derive(Deserialize)]
struct BodyIn<'a> {
    seq: u64,
    at: Timestamp,
    actor: Actor,
    version: u32,
    #[serde(borrow)]
    event: &'a RawValue,
}

/// A record as its row holds it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) seq: u64,
    pub(super) body: String,
    pub(super) previous_hash: String,
    pub(super) hash: String,
}

impl Stored {
    /// Reads the four columns from `first` on.
    pub(super) fn from_row(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get::<_, i64>(first)?.cast_unsigned(),
            body: row.get(first + 1)?,
            previous_hash: row.get(first + 2)?,
            hash: row.get(first + 3)?,
        })
    }

    /// Reads the record, upcasting old versions.
    pub(super) fn decode(self, path: &Path) -> Result<EventRecord, JournalError> {
        let broken =
            |detail: String| JournalError::corrupt(path, format!("event {} cannot be read: {detail}", self.seq));
        let body: BodyIn<'_> = serde_json::from_str(&self.body).map_err(|error| broken(error.to_string()))?;
        if body.seq != self.seq {
            return Err(broken(format!("it says it is event {}", body.seq)));
        }
        Ok(EventRecord {
            seq: body.seq,
            at: body.at,
            version: body.version,
            event: upcast::decode(body.version, body.event).map_err(broken)?,
            actor: body.actor,
            previous_hash: self.previous_hash,
            hash: self.hash,
        })
    }
}

/// The hash of a record with that text after the record with that hash.
pub(super) fn chain(previous_hash: &str, body: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(previous_hash.as_bytes());
    hasher.update(body.as_bytes());
    hex::encode(hasher.finalize())
}

/// Makes the record that follows `previous_hash`, and its canonical text.
pub(super) fn seal(
    seq: u64,
    at: Timestamp,
    actor: &Actor,
    event: Event,
    previous_hash: &str,
) -> Result<(EventRecord, String), JournalError> {
    let version = EVENT_VERSION;
    let body = serde_json::to_string(&BodyOut {
        seq,
        at,
        actor,
        version,
        event: &event,
    })
    .map_err(JournalError::Encode)?;
    let record = EventRecord {
        seq,
        at,
        actor: actor.clone(),
        version,
        event,
        previous_hash: previous_hash.to_owned(),
        hash: chain(previous_hash, &body),
    };
    Ok((record, body))
}
