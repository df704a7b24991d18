//! A restored database held against what was recorded when it was dumped.

use std::collections::BTreeSet;

use super::connect::Login;
use super::probe;
use super::restore::Dump;
use crate::domain::recovery::Finding;
use crate::source::{SourceError, Work};

/// Holds a restored database against what was recorded when it was dumped: which tables, how many rows, which content; `only`
/// these tables, when they are given.
pub(super) async fn compare(
    dump: &Dump,
    login: &Login,
    database: &str,
    only: Option<&BTreeSet<String>>,
    work: &Work<'_>,
) -> Result<Vec<Finding>, SourceError> {
    let counts = |table: &str| only.is_none_or(|only| only.contains(table));
    let session = login.open(database, work.clock).await?;
    session.execute("prepare to read", probe::STEADY_SETTINGS).await?;
    let recorded = &dump.database;
    work.progress.set_current("counting rows");
    let comparing = async {
        let mut tables = probe::tables(&session).await?;
        tables.retain(|table| counts(&table.key()));
        let wanted = |_, key: &str| recorded.fingerprints.contains_key(key);
        probe::contents(&session, &tables, wanted, &work.progress).await
    };
    let found = match work.cancellable(comparing).await {
        Ok(found) => found,
        Err(error) => {
            session.interrupt(work.clock).await;
            return Err(error);
        }
    };
    let mut wrong = Vec::new();
    let (mut count, mut rows, mut prints) = (0, 0, 0);
    for (table, expected) in recorded.facts.row_counts.iter().filter(|(table, _)| counts(table)) {
        count += 1;
        prints += usize::from(recorded.fingerprints.contains_key(table));
        match found.get(table) {
            None => wrong.push(format!("{table} is missing")),
            Some(content) if content.rows != *expected => {
                wrong.push(format!("{table} has {} rows, expected {expected}", content.rows));
            }
            Some(content) if content.fingerprint.as_ref() != recorded.fingerprints.get(table) => {
                wrong.push(format!("{table} has the right number of rows but other content"));
            }
            Some(_) => rows += expected,
        }
    }
    let surplus = found
        .keys()
        .filter(|table| !recorded.facts.row_counts.contains_key(*table));
    wrong.extend(surplus.map(|table| format!("{table} was not in the database that was dumped")));
    let finding = Finding {
        what: "rows of every table".to_owned(),
        ok: wrong.is_empty(),
        detail: if wrong.is_empty() {
            format!("{count} tables, {rows} rows as recorded; content of {prints} tables as recorded")
        } else {
            wrong.join("; ")
        },
    };
    Ok(vec![finding])
}
