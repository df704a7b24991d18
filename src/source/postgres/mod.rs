//! PostgreSQL: one database dumped logically, restored into a new one, and proved in a scratch one.
//!
//! **Consistency.** One transaction (repeatable read, read only) exports its snapshot; `pg_dump` reads that snapshot, and the
//! rows of every table are counted in the transaction itself. What `lifeboat.json` says is therefore true of the dump, however
//! busy the server is. Roles and tablespaces (`globals.sql`) are not part of any database and are read beside it.
//!
//! **No temporary file.** The dump goes from the pipe into the repository and back from the repository into the pipe. Only the
//! table of contents, the first few kilobytes of a dump, is ever written to disk: that is all `pg_restore -j` needs to build
//! indexes and constraints in parallel after the rows have been streamed. Who wants the rows in parallel too (`--jobs`) needs the
//! whole dump in a file; it is private, its room is checked first, and it is gone afterwards.
//!
//! **Whole or nothing.** A `pg_dump` that does not end well commits no snapshot. A restore that does not end well leaves no
//! database: see [`scratch`].
//!
//! **Cancellation.** Within a second: children are killed and waited for, statements are interrupted on the server.
//!
//! | file | what it does |
//! | --- | --- |
//! | `connect`, `tls` | who we are to which server, encrypted how; errors told apart |
//! | `tools`, `child` | the client programs: found, matched by version, run without a shell, killed |
//! | `dump`, `globals` | a database into a snapshot, and the roles beside it |
//! | `plan`, `restore`, `feed` | a snapshot into a new database: planned, streamed, renamed when it is complete |
//! | `script`, `play` | a plain dump: its text cut into statements and rows, and run |
//! | `toc`, `pick` | a dump's table of contents, and what of it belongs to some tables |
//! | `rows` | a dump of rows alone into the tables of a database |
//! | `replace`, `properties` | a dump in the place of a database, after a safety backup; what is the database's own is kept |
//! | `verify`, `compare` | the proof of a snapshot, step by step; a copy held against what was recorded |
//! | [`recovery`] | point-in-time recovery: from a base backup and the archive to a server at the target |
//! | [`server`] | private servers: started on a copy, stopped whatever happens |
//! | `scratch` | databases that are renamed or dropped, whatever happens; the reaper |
//! | `probe` | tables, row counts, fingerprints, questions with an expected answer |
//! | `watched` | statements nobody waits for any more are stopped on the server |
//! | `process` | whether a server runs on a directory, who has a word among its arguments |
//! | [`wal`] | the archive of the log: push, fetch, receive, verify |
//! | [`switch`] | a restored database in the place of the live one, and back |
//! | [`cluster`] | a primary and its standbys: looked at, fenced, promoted, rebuilt |

mod child;
pub mod cluster;
mod compare;
mod connect;
mod dump;
pub mod export;
mod feed;
mod globals;
pub mod physical;
mod pick;
mod plan;
mod play;
mod probe;
pub(in crate::source) mod process;
mod properties;
pub mod recovery;
mod replace;
mod restore;
mod rows;
mod scratch;
mod script;
pub mod server;
pub mod switch;
mod tls;
mod toc;
mod tools;
mod verify;
pub mod wal;
mod watched;

use std::collections::BTreeMap;

pub use connect::{Login, ServerFacts};
pub(super) use dump::back_up;
pub(super) use plan::plan;
pub use probe::TableContent;
pub(super) use restore::restore;
pub(crate) use scratch::Mark;
pub use scratch::SCRATCH_PREFIX;
pub(crate) use tools::usual_places;
pub(super) use verify::Proof;

use super::SourceError;
use super::manifest::DatabaseManifest;
use crate::clock::Clock;
use crate::repo::Progress;
use watched::Watched;

/// Counts and fingerprints every table of a database, in one transaction.
pub async fn contents(
    login: &Login,
    database: &str,
    clock: &Clock,
) -> Result<BTreeMap<String, TableContent>, SourceError> {
    let session = login.open(database, clock).await?;
    session.execute("prepare to read", probe::STEADY_SETTINGS).await?;
    session
        .execute("begin reading", "begin isolation level repeatable read read only")
        .await?;
    let tables = probe::tables(&session).await?;
    probe::contents(&session, &tables, |_, _| true, &Progress::default()).await
}

/// Asks a server what it is.
pub async fn identify(login: &Login, database: &str, clock: &Clock) -> Result<ServerFacts, SourceError> {
    let session = login.open(database, clock).await?;
    let facts = session.facts().await;
    session.settle(clock).await;
    facts
}

/// Runs statements in a database. Whoever gives up waiting has the server stop them.
///
/// # Errors
/// When the server does not answer or refuses one; the first error ends all of them.
pub async fn execute(login: &Login, database: &str, sql: &str, clock: &Clock) -> Result<(), SourceError> {
    let session = login.open(database, clock).await?;
    let watched = Watched::new(&session, clock);
    let done = session.execute("run statements", sql).await;
    watched.over();
    done
}

/// Drops scratch databases on a server whose makers are gone; returns their names.
pub async fn reap(login: &Login, host: &str, clock: &Clock) -> Result<Vec<String>, SourceError> {
    scratch::reap(login, host, clock).await
}

/// Puts a question to a database: the first column of the first row, as text of at most 64 KiB; none when that is NULL or there
/// is no row. Whoever gives up waiting has the server stop it.
///
/// # Errors
/// When the server does not answer, or refuses the question.
pub async fn ask(login: &Login, database: &str, sql: &str, clock: &Clock) -> Result<Option<String>, SourceError> {
    let session = login.open(database, clock).await?;
    let watched = Watched::new(&session, clock);
    let answer = probe::value(&session, "ask", sql).await;
    watched.over();
    session.settle(clock).await;
    answer
}
