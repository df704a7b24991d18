//! A dump of rows alone into a database that has the tables: all of it in one transaction, so that it is whole or nothing.
//!
//! Triggers are switched off meanwhile, those of foreign keys too: rows come in any order and are not to be acted on twice. That
//! takes a superuser. Every table has to be empty before: rows beside rows would be neither the dump nor what was there.
//!
//! **Crash windows.** None: the server takes the transaction or does not.

use std::sync::atomic::Ordering;

use super::child::Program;
use super::compare::compare;
use super::connect::{Login, Session};
use super::feed::feed;
use super::probe;
use super::restore::Dump;
use crate::domain::recovery::{Finding, RecoveryPhase};
use crate::repo::{Phase, Progress};
use crate::source::recovery::Stopwatch;
use crate::source::{SourceError, Work};

/// How many tables are told by name.
const TOLD: usize = 5;

/// What stands in the way of the rows, in the database they go to.
pub(super) async fn in_the_way(session: &Session, dump: &Dump) -> Result<Vec<String>, SourceError> {
    let tables = probe::tables(session).await?;
    let wanted = &dump.database.facts.row_counts;
    let mut found = Vec::new();
    let lacking: Vec<&str> = wanted
        .keys()
        .filter(|key| !tables.iter().any(|table| table.key() == **key))
        .map(String::as_str)
        .collect();
    if !lacking.is_empty() {
        found.push(format!("it lacks the tables {}", told(&lacking)));
    }
    let mut full = Vec::new();
    for table in tables.iter().filter(|table| wanted.contains_key(&table.key())) {
        if probe::has_rows(session, table).await? {
            full.push(table.key());
        }
    }
    if !full.is_empty() {
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        found.push(format!("there are rows already in {}", told(&full)));
    }
    Ok(found)
}

fn told(names: &[&str]) -> String {
    let first = names[..names.len().min(TOLD)].join(", ");
    match names.len().saturating_sub(TOLD) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Restores the rows, and holds them against what was recorded.
pub(super) async fn restore(
    dump: &Dump,
    login: &Login,
    database: &str,
    watch: &mut Stopwatch<'_>,
    work: &Work<'_>,
) -> Result<Vec<Finding>, SourceError> {
    watch.reached(RecoveryPhase::Restore);
    let facts = login.open(database, work.clock).await?.facts().await?;
    let tools = dump.tools(Some(login), facts.major, work).await?;
    let total = &work.progress.bytes_total;
    total.fetch_add(dump.artifact.bytes, Ordering::Relaxed);
    work.progress.set_phase(Phase::Copying);
    work.progress.set_current("rows");
    let subject = format!("snapshot {}", dump.snapshot.short());
    let running = Program::new("pg_restore", &tools.program("pg_restore"), subject)
        .arg("--data-only")
        .arg("--disable-triggers")
        .arg("--single-transaction")
        .arg("--exit-on-error")
        .connect(login, Some(database))
        .start(Some(login))?;
    let count = |blob: &[u8]| Progress::add(&work.progress.bytes_done, blob.len() as u64);
    feed(dump, running, false, count, work).await?;
    watch.reached(RecoveryPhase::Verify);
    work.progress.set_phase(Phase::Verifying);
    let only = dump.database.facts.row_counts.keys().cloned().collect();
    compare(dump, login, database, Some(&only), work).await
}
