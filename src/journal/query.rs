//! Pages of history, newest first: a [`Query`] as SQL that walks an index and stops when the page is full.

use std::fmt::Write as _;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::error::JournalError;
use super::project::{BETWEEN, moment};
use crate::domain::id::{RepositoryName, SnapshotId};
use crate::domain::view::{Page, Query};

/// The tables that can be paged through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Runs,
    Snapshots,
    Recoveries,
    Alerts,
    Maintenance,
    Runbooks,
    Events,
}

impl Table {
    const fn select(self) -> &'static str {
        match self {
            Self::Runs => "SELECT t.at, t.seq, t.record FROM runs t",
            Self::Snapshots => "SELECT t.at, t.seq, t.record FROM snapshots t",
            Self::Recoveries => "SELECT t.at, t.seq, t.record FROM recoveries t",
            Self::Alerts => "SELECT t.at, t.seq, t.record FROM alerts t",
            Self::Maintenance => "SELECT t.at, t.seq, t.record FROM maintenance t",
            Self::Runbooks => "SELECT t.at, t.seq, t.record FROM runbooks t",
            Self::Events => {
                "SELECT t.at, t.seq, e.seq, e.body, e.previous_hash, e.hash FROM audit t JOIN events e ON e.seq = t.seq"
            }
        }
    }
}

/// The place a page begins after: the moment and number of the last row of the one before.
type Place = (i64, i64);

/// A statement and what to bind to it.
#[derive(Debug)]
pub(super) struct PageSql {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
    limit: usize,
}

#[derive(Default)]
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        let join = if self.sql.is_empty() { " WHERE " } else { " AND " };
        self.sql.push_str(join);
        self.sql.push_str(condition);
        self.values.extend(values);
    }
}

/// Turns a query into SQL. Filters that a table has no column for look at the snapshot, or the job, that its rows name.
pub(super) fn page_sql(table: Table, query: &Query) -> Result<PageSql, JournalError> {
    let mut wanted = Conditions::default();
    if let Some(cursor) = &query.cursor {
        let (at, seq) = decode_cursor(cursor)?;
        match table {
            Table::Events => wanted.add("t.seq < ?", [seq.into()]),
            _ => wanted.add("(t.at, t.seq) < (?, ?)", [at.into(), seq.into()]),
        }
    }
    if table == Table::Snapshots {
        match (query.trash, &query.id) {
            (Some(true), _) => wanted.add("t.trash = 1", []),
            (_, None) if query.gone != Some(true) => wanted.add("t.gone = 0", []),
            _ => {}
        }
    }
    if let Some(job) = &query.job {
        wanted.add("t.job = ?", [job.clone().into()]);
    }
    if let Some(source) = &query.source {
        let condition = match table {
            Table::Snapshots | Table::Recoveries | Table::Runbooks | Table::Events => "t.source = ?",
            Table::Runs | Table::Alerts | Table::Maintenance => {
                "t.job IN (SELECT job FROM job_sources WHERE source = ?)"
            }
        };
        wanted.add(condition, [source.clone().into()]);
    }
    if let Some(since) = query.since {
        wanted.add("t.at >= ?", [moment(since).into()]);
    }
    if let Some(until) = query.until {
        wanted.add("t.at <= ?", [moment(until).into()]);
    }
    if let Some(id) = &query.id {
        identified(&mut wanted, table, id);
    }
    if let Some(tag) = &query.tag {
        let condition = match table {
            Table::Snapshots => "instr(t.tags, ?) > 0",
            _ => "EXISTS (SELECT 1 FROM snapshots s WHERE s.id = t.snapshot AND instr(s.tags, ?) > 0)",
        };
        wanted.add(condition, [format!("{BETWEEN}{tag}{BETWEEN}").into()]);
    }
    if let Some(level) = query.evidence {
        let condition = match table {
            // What was refuted since is not proved, whatever it reached before.
            Table::Snapshots => "t.level >= ? AND t.refuted = 0",
            Table::Recoveries => "t.level >= ?",
            _ => "EXISTS (SELECT 1 FROM snapshots s WHERE s.id = t.snapshot AND s.level >= ? AND s.refuted = 0)",
        };
        wanted.add(condition, [i64::from(level.rank()).into()]);
    }
    if let Some(text) = query.text.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        contains(&mut wanted, &text.to_lowercase());
    }
    let order = match table {
        Table::Events => "t.seq DESC",
        _ => "t.at DESC, t.seq DESC",
    };
    let limit = query.limit.unwrap_or(100).clamp(1, 1000);
    let mut sql = format!("{}{} ORDER BY {order}", table.select(), wanted.sql);
    // One row more than asked for tells whether there is another page.
    let _ = write!(sql, " LIMIT {}", limit + 1);
    Ok(PageSql {
        sql,
        values: wanted.values,
        limit: limit as usize,
    })
}

/// LIKE is several times faster than instr, but takes no pattern of more than some thousand bytes.
fn contains(wanted: &mut Conditions, text: &str) {
    if text.len() > 1000 {
        return wanted.add("instr(t.search, ?) > 0", [text.to_owned().into()]);
    }
    let mut pattern = String::from("%");
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    wanted.add("t.search LIKE ? ESCAPE '\\'", [pattern.into()]);
}

fn identified(wanted: &mut Conditions, table: Table, id: &str) {
    match table {
        Table::Snapshots => {
            let (from, to) = prefix_range(id);
            wanted.add("t.id >= ? AND t.id < ?", [from.into(), to.into()]);
        }
        Table::Runs | Table::Recoveries | Table::Maintenance | Table::Runbooks => {
            wanted.add("t.id = ?", [id.to_owned().into()]);
        }
        Table::Alerts => wanted.add("t.key = ?", [id.to_owned().into()]),
        Table::Events => wanted.add("t.word = ?", [id.to_owned().into()]),
    }
}

/// The texts that begin with `prefix` are those from the first of these up to, but without, the second.
pub(super) fn prefix_range(prefix: &str) -> (String, String) {
    (prefix.to_owned(), format!("{prefix}{}", char::MAX))
}

/// Reads one page; `read` makes an item of a row, whose first two columns are its place.
pub(super) fn page<T>(
    db: &Connection,
    path: &Path,
    table: Table,
    query: &Query,
    read: impl Fn(&Row<'_>) -> Result<T, JournalError>,
) -> Result<Page<T>, JournalError> {
    let failed = |source| JournalError::database(path, source);
    let statement = page_sql(table, query)?;
    let mut prepared = db.prepare_cached(&statement.sql).map_err(failed)?;
    let mut rows = prepared.query(params_from_iter(statement.values)).map_err(failed)?;
    let mut items = Vec::new();
    let mut last: Place = (0, 0);
    let mut next = None;
    while let Some(row) = rows.next().map_err(failed)? {
        if items.len() == statement.limit {
            next = Some(encode_cursor(last));
            break;
        }
        last = (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
        items.push(read(row)?);
    }
    Ok(Page { items, next })
}

fn encode_cursor((at, seq): Place) -> String {
    format!("{:016x}{:x}", at.cast_unsigned(), seq)
}

fn decode_cursor(cursor: &str) -> Result<Place, JournalError> {
    let parts = cursor.split_at_checked(16).and_then(|(at, seq)| {
        let at = u64::from_str_radix(at, 16).ok()?.cast_signed();
        Some((at, i64::from_str_radix(seq, 16).ok()?))
    });
    parts.ok_or_else(|| JournalError::BadCursor {
        cursor: cursor.to_owned(),
    })
}

/// Finds the one snapshot whose id begins with `prefix`; those still in their repository come before those that are gone.
pub(super) fn resolve_snapshot(db: &Connection, path: &Path, prefix: &str) -> Result<SnapshotId, JournalError> {
    let failed = |source| JournalError::database(path, source);
    let not_found = || JournalError::NotFound {
        what: "snapshot",
        id: prefix.to_owned(),
    };
    let prefix = prefix.trim().to_ascii_lowercase();
    if prefix.is_empty() {
        return Err(not_found());
    }
    let (from, to) = prefix_range(&prefix);
    let mut statement = db
        .prepare_cached("SELECT id, gone FROM snapshots WHERE id >= ?1 AND id < ?2 ORDER BY gone, id LIMIT 5")
        .map_err(failed)?;
    let found: Vec<(String, bool)> = statement
        .query_map([&from, &to], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(failed)?;
    match found.as_slice() {
        [] => Err(not_found()),
        [(id, _)] | [(id, false), (_, true), ..] => Ok(SnapshotId(id.clone())),
        [(id, _), ..] if *id == prefix => Ok(SnapshotId(id.clone())),
        several => Err(JournalError::Ambiguous {
            matches: several
                .iter()
                .map(|(id, _)| SnapshotId(id.clone()).short().to_owned())
                .collect(),
            prefix,
        }),
    }
}

/// How many snapshots each repository holds.
pub(super) fn snapshot_counts(db: &Connection) -> rusqlite::Result<std::collections::BTreeMap<RepositoryName, u64>> {
    db.prepare_cached("SELECT repository, count(*) FROM snapshots WHERE gone = 0 GROUP BY repository")?
        .query_map([], |row| {
            let name: String = row.get(0)?;
            Ok((RepositoryName(name), row.get::<_, i64>(1)?.cast_unsigned()))
        })?
        .collect()
}

/// The ids of the snapshots a repository is known to hold.
pub(super) fn snapshot_ids(db: &Connection, repository: &RepositoryName) -> rusqlite::Result<Vec<SnapshotId>> {
    db.prepare_cached("SELECT id FROM snapshots WHERE repository = ?1 AND gone = 0")?
        .query_map([repository.as_str()], |row| row.get(0).map(SnapshotId))?
        .collect()
}
