//! The journal: every event that ever happened, in order, each chained to the one before by its hash.
//!
//! # What it does
//! Keeps the events in one `SQLite` database and, in the same transaction, the history tables ("projections") that pages
//! are read from. One thread owns the connection that writes, another one that reads; a page never waits for an append.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `record`, `upcast` | an event's canonical text and hash; events of old versions |
//! | `schema` | the tables, opening the database |
//! | `project`, `keep`, `audit`, `query` | from an event to the history tables; from a query to a page |
//! | `writer`, `lock` | the one who appends; the lock that makes it one |
//! | `replay` | state from events and checkpoints; the walk along the chain |
//!
//! # What it promises
//! - **Durable.** When [`Journal::append`] returns, its events survive `kill -9` and a power cut (WAL, `synchronous=FULL`).
//!   All events of one append are there, or none. An append that failed changed nothing and may be tried again.
//! - **Gapless and tamper-evident.** Sequence numbers have no gaps; each record's hash covers its text and the hash before.
//!   [`Journal::verify`] names the first event that is not what it was. (Who can write the file can also write a whole
//!   new chain; a head hash kept elsewhere shows that.)
//! - **One truth.** State and projections are functions of the events. Deleted, damaged or made by another version of the
//!   program, they are remade when the owner opens the journal.
//! - **One owner.** A second agent is refused by an operating-system lock and told who holds it. Any number of readers
//!   attach beside it and see what it sees, as it is appended.
//!
//! # What it must never do
//! Change or take out an event. Decide anything. Hold a secret: events carry none, and the journal adds none.

mod audit;
mod error;
mod keep;
mod lock;
mod project;
mod query;
mod record;
mod replay;
mod schema;
mod upcast;
mod worker;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row};
use serde::de::DeserializeOwned;

pub use error::JournalError;
pub use replay::{ChainBreak, ChainReport};

use crate::domain::alert::AlertRecord;
use crate::domain::command::Actor;
use crate::domain::event::{Event, EventRecord};
use crate::domain::id::{JobName, RepositoryName, SnapshotId};
use crate::domain::maintenance::MaintenanceRecord;
use crate::domain::recovery::RecoveryRecord;
use crate::domain::retention::SnapshotFacts;
use crate::domain::run::RunRecord;
use crate::domain::runbook::RunbookRecord;
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::state::State;
use crate::domain::units::Timestamp;
use crate::domain::view::{Page, Query};
use query::Table;
use record::Stored;
use worker::Worker;
use writer::Writer;

/// A handle on the journal; cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
    writer: Option<Worker<Writer>>,
    reader: Worker<Connection>,
}

impl Journal {
    /// Opens the journal for the one agent that owns it, makes it when it is missing, and returns the state.
    ///
    /// # Errors
    /// [`JournalError::Held`] names the agent that owns it already.
    pub async fn open(path: &Path) -> Result<(Self, State), JournalError> {
        let owned = path.to_path_buf();
        let (writer, state) = Worker::start("journal-write", move || Writer::open(&owned)).await?;
        let reader = Self::start_reader(path).await?;
        let journal = Self {
            path: path.to_path_buf(),
            writer: Some(writer),
            reader,
        };
        Ok((journal, state))
    }

    /// Opens the journal to look at it, beside a running agent or without one, and returns the state of this moment.
    ///
    /// # Errors
    /// [`JournalError::Missing`] when there is none; nothing is made.
    pub async fn attach(path: &Path) -> Result<(Self, State), JournalError> {
        let reader = Self::start_reader(path).await?;
        let owned = path.to_path_buf();
        let state = reader.call(move |db| replay::restore(db, &owned)).await?;
        let journal = Self {
            path: path.to_path_buf(),
            writer: None,
            reader,
        };
        Ok((journal, state))
    }

    async fn start_reader(path: &Path) -> Result<Worker<Connection>, JournalError> {
        let owned = path.to_path_buf();
        let open = move || schema::open_for_reading(&owned).map(|connection| (connection, ()));
        Ok(Worker::start("journal-read", open).await?.0)
    }

    /// Where the journal is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends events in one transaction with their projections; when it returns, they are durable.
    ///
    /// The caller applies the returned records to its state. Once begun the append is carried out even when the caller
    /// stops waiting for it.
    pub async fn append(
        &self,
        actor: &Actor,
        at: Timestamp,
        events: Vec<Event>,
    ) -> Result<Vec<EventRecord>, JournalError> {
        let actor = actor.clone();
        self.write(move |writer| writer.append(&actor, at, events)).await
    }

    /// A page of runs that have ended.
    pub async fn runs(&self, query: &Query) -> Result<Page<RunRecord>, JournalError> {
        self.page(Table::Runs, query).await
    }

    /// A page of snapshots; those that left their repository only when the query names an id.
    pub async fn snapshots(&self, query: &Query) -> Result<Page<SnapshotRecord>, JournalError> {
        self.page(Table::Snapshots, query).await
    }

    /// A page of recoveries that have ended.
    pub async fn recoveries(&self, query: &Query) -> Result<Page<RecoveryRecord>, JournalError> {
        self.page(Table::Recoveries, query).await
    }

    /// A page of alerts, resolved ones included.
    pub async fn alerts(&self, query: &Query) -> Result<Page<AlertRecord>, JournalError> {
        self.page(Table::Alerts, query).await
    }

    /// A page of maintenance that has ended.
    pub async fn maintenance(&self, query: &Query) -> Result<Page<MaintenanceRecord>, JournalError> {
        self.page(Table::Maintenance, query).await
    }

    /// A page of executions of runbooks that have ended.
    pub async fn runbooks(&self, query: &Query) -> Result<Page<RunbookRecord>, JournalError> {
        self.page(Table::Runbooks, query).await
    }

    /// What retention has to know of every snapshot of a job.
    pub async fn retention_facts(&self, job: &JobName) -> Result<Vec<SnapshotFacts>, JournalError> {
        let (path, job) = (self.path.clone(), job.clone());
        self.read(move |db| keep::retention_facts(db, &job).map_err(|source| JournalError::database(&path, source)))
            .await
    }

    /// The snapshots that are known to be in the trash of a repository, and those that are pinned in it.
    pub async fn marked_ids(
        &self,
        repository: &RepositoryName,
    ) -> Result<(Vec<SnapshotId>, Vec<SnapshotId>), JournalError> {
        let (path, repository) = (self.path.clone(), repository.clone());
        self.read(move |db| keep::marked_ids(db, &repository).map_err(|source| JournalError::database(&path, source)))
            .await
    }

    /// A page of events, the last one appended first.
    pub async fn events(&self, query: &Query) -> Result<Page<EventRecord>, JournalError> {
        let (path, query) = (self.path.clone(), query.clone());
        self.read(move |db| {
            query::page(db, &path, Table::Events, &query, |row| {
                stored_at_two(row, &path)?.decode(&path)
            })
        })
        .await
    }

    /// The snapshot with that id, or the only one whose id begins with it.
    ///
    /// # Errors
    /// [`JournalError::NotFound`] and [`JournalError::Ambiguous`].
    pub async fn snapshot(&self, id_or_prefix: &str) -> Result<SnapshotRecord, JournalError> {
        let (path, prefix) = (self.path.clone(), id_or_prefix.to_owned());
        self.read(move |db| {
            let id = query::resolve_snapshot(db, &path, &prefix)?;
            one(
                db,
                &path,
                "snapshot",
                "SELECT record FROM snapshots WHERE id = ?1",
                id.as_str(),
            )
        })
        .await
    }

    /// The run with that id, once it has ended.
    pub async fn run(&self, id: &str) -> Result<RunRecord, JournalError> {
        let (path, id) = (self.path.clone(), id.to_owned());
        self.read(move |db| one(db, &path, "run", "SELECT record FROM runs WHERE id = ?1", &id))
            .await
    }

    /// The recovery with that id, once it has ended.
    pub async fn recovery(&self, id: &str) -> Result<RecoveryRecord, JournalError> {
        let (path, id) = (self.path.clone(), id.to_owned());
        self.read(move |db| {
            one(
                db,
                &path,
                "recovery",
                "SELECT record FROM recoveries WHERE id = ?1",
                &id,
            )
        })
        .await
    }

    /// How many snapshots are in each repository.
    pub async fn snapshot_counts(&self) -> Result<BTreeMap<RepositoryName, u64>, JournalError> {
        let path = self.path.clone();
        self.read(move |db| query::snapshot_counts(db).map_err(|source| JournalError::database(&path, source)))
            .await
    }

    /// The ids of the snapshots a repository is known to hold.
    pub async fn snapshot_ids(&self, repository: &RepositoryName) -> Result<Vec<SnapshotId>, JournalError> {
        let (path, repository) = (self.path.clone(), repository.clone());
        self.read(move |db| {
            query::snapshot_ids(db, &repository).map_err(|source| JournalError::database(&path, source))
        })
        .await
    }

    /// Walks the chain of hashes from the first event to the last and says where it breaks.
    pub async fn verify(&self) -> Result<ChainReport, JournalError> {
        self.aside(replay::verify).await
    }

    /// Drops the projections and makes them again from the events; returns the state the events make.
    pub async fn rebuild(&self) -> Result<State, JournalError> {
        self.write(Writer::rebuild).await
    }

    /// The state that all events make, from the first, without a checkpoint.
    pub async fn replay(&self) -> Result<State, JournalError> {
        self.aside(replay::replay).await
    }

    /// Ends the journal in good order: what was asked for is done, a checkpoint written, the lock given back.
    ///
    /// Other handles on it fail from here on.
    pub async fn close(self) {
        if let Some(writer) = &self.writer {
            let finish = |writer: &mut Writer| {
                writer.finish();
                Ok(())
            };
            // It fails only when another handle closed the journal first, and then there is nothing to do.
            let _ = writer.call(finish).await;
        }
        self.reader.stop().await;
        if let Some(writer) = &self.writer {
            writer.stop().await;
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        match &self.writer {
            Some(writer) => writer.call(work).await,
            None => Err(JournalError::ReadOnly),
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let path = self.path.clone();
        self.reader
            .call(move |db| {
                work(db).map_err(|error| match error {
                    // Only an attached reader can meet tables that are missing or of another version.
                    JournalError::Database { source, .. } if lacks_tables(&source) => JournalError::Stale { path },
                    other => other,
                })
            })
            .await
    }

    async fn page<T: DeserializeOwned + Send + 'static>(
        &self,
        table: Table,
        query: &Query,
    ) -> Result<Page<T>, JournalError> {
        let (path, query) = (self.path.clone(), query.clone());
        self.read(move |db| {
            query::page(db, &path, table, &query, |row| {
                project::from_json(row, 2).map_err(|source| JournalError::database(&path, source))
            })
        })
        .await
    }

    /// Does long reading on a connection of its own, so that pages do not wait for it.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Path) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let path = self.path.clone();
        let task = tokio::task::spawn_blocking(move || work(&schema::open_for_reading(&path)?, &path));
        task.await.map_err(|_| JournalError::Closed)?
    }
}

fn stored_at_two(row: &Row<'_>, path: &Path) -> Result<Stored, JournalError> {
    Stored::from_row(row, 2).map_err(|source| JournalError::database(path, source))
}

fn lacks_tables(error: &rusqlite::Error) -> bool {
    let text = error.to_string();
    text.contains("no such table") || text.contains("no such column")
}

fn one<T: DeserializeOwned>(
    db: &Connection,
    path: &Path,
    what: &'static str,
    sql: &str,
    id: &str,
) -> Result<T, JournalError> {
    db.prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([id], |row| project::from_json(row, 0)).optional())
        .map_err(|source| JournalError::database(path, source))?
        .ok_or_else(|| JournalError::NotFound {
            what,
            id: id.to_owned(),
        })
}
