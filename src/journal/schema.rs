//! The tables, and opening the database that holds them.
//!
//! `events` is the truth and is only ever added to; triggers stop every other way of writing. All other tables are made
//! from it and may be dropped at any time.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::error::JournalError;

/// Marks the file as ours: `LBJ1` in ASCII.
const APPLICATION_ID: i32 = 0x4c42_4a31;
/// The version of the layout of `events`, `meta` and `checkpoint`; projections have none, they are remade.
const LAYOUT: u32 = 1;

const TRUTH: &str = "
    CREATE TABLE IF NOT EXISTS events (
        seq INTEGER PRIMARY KEY, body TEXT NOT NULL, previous_hash TEXT NOT NULL, hash TEXT NOT NULL
    ) STRICT;
    CREATE TRIGGER IF NOT EXISTS events_stay BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'the journal is only ever added to'); END;
    CREATE TRIGGER IF NOT EXISTS events_last BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'the journal is only ever added to'); END;
    CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS checkpoint (
        seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, rules TEXT NOT NULL, state TEXT NOT NULL
    ) STRICT;
";

const PROJECTIONS: &str = "
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, word TEXT NOT NULL, actor TEXT NOT NULL,
        job TEXT, source TEXT, thing TEXT, snapshot TEXT, search TEXT NOT NULL
    ) STRICT;
    CREATE INDEX audit_at ON audit (at);
    CREATE INDEX audit_word ON audit (word, seq);
    CREATE INDEX audit_actor ON audit (actor, seq);
    CREATE INDEX audit_job ON audit (job, seq) WHERE job IS NOT NULL;
    CREATE INDEX audit_source ON audit (source, seq) WHERE source IS NOT NULL;
    CREATE INDEX audit_thing ON audit (thing, seq) WHERE thing IS NOT NULL;

    CREATE TABLE runs (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, job TEXT NOT NULL, snapshot TEXT,
        search TEXT NOT NULL, record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX runs_at ON runs (at, seq);
    CREATE INDEX runs_job ON runs (job, at, seq);

    CREATE TABLE snapshots (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, repository TEXT NOT NULL,
        job TEXT, source TEXT, level INTEGER NOT NULL, refuted INTEGER NOT NULL, gone INTEGER NOT NULL,
        tags TEXT NOT NULL, search TEXT NOT NULL, record TEXT NOT NULL,
        partial INTEGER NOT NULL, pinned INTEGER NOT NULL, trash INTEGER NOT NULL
    ) STRICT;
    -- Carries all that filters look at, so that a filter that fits nothing reads this instead of every record.
    CREATE INDEX snapshots_at ON snapshots (at, seq, level, refuted, tags, search) WHERE gone = 0;
    CREATE INDEX snapshots_job ON snapshots (job, at, seq) WHERE gone = 0;
    CREATE INDEX snapshots_source ON snapshots (source, at, seq) WHERE gone = 0;
    CREATE INDEX snapshots_repository ON snapshots (repository) WHERE gone = 0;
    CREATE INDEX snapshots_trash ON snapshots (at, seq) WHERE trash = 1;
    CREATE INDEX snapshots_pinned ON snapshots (repository) WHERE pinned = 1;

    CREATE TABLE recoveries (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, job TEXT, source TEXT,
        snapshot TEXT NOT NULL, level INTEGER, search TEXT NOT NULL, record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX recoveries_at ON recoveries (at, seq);
    CREATE INDEX recoveries_job ON recoveries (job, at, seq);
    CREATE INDEX recoveries_source ON recoveries (source, at, seq);

    CREATE TABLE alerts (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, key TEXT NOT NULL, job TEXT, snapshot TEXT,
        open INTEGER NOT NULL, search TEXT NOT NULL, record TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX alerts_open ON alerts (key) WHERE open = 1;
    CREATE INDEX alerts_at ON alerts (at, seq);
    CREATE INDEX alerts_key ON alerts (key, at, seq);
    CREATE INDEX alerts_job ON alerts (job, at, seq);

    CREATE TABLE maintenance (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, repository TEXT NOT NULL, job TEXT,
        snapshot TEXT, search TEXT NOT NULL, record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX maintenance_at ON maintenance (at, seq);
    CREATE INDEX maintenance_job ON maintenance (job, at, seq);

    CREATE TABLE runbooks (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, job TEXT, source TEXT, snapshot TEXT,
        search TEXT NOT NULL, record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX runbooks_at ON runbooks (at, seq);

    CREATE TABLE job_sources (job TEXT NOT NULL, source TEXT NOT NULL, PRIMARY KEY (source, job)) STRICT, WITHOUT ROWID;
";

/// The tables that are made from the events, besides which there is only the truth.
pub(super) const PROJECTION_TABLES: [&str; 8] = [
    "audit",
    "runs",
    "snapshots",
    "recoveries",
    "alerts",
    "maintenance",
    "runbooks",
    "job_sources",
];

/// Opens the database for its owner; makes it when it is missing.
pub(super) fn open_for_writing(path: &Path) -> Result<Connection, JournalError> {
    // Made before SQLite does, because the log files beside it take over its permissions.
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| JournalError::io("open the journal", path, source))?;
    let failed = |source| JournalError::database(path, source);
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
    if tables(&connection).map_err(failed)? > 0 {
        check_identity(&connection, path)?;
    }
    let setup = || -> rusqlite::Result<()> {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", LAYOUT)?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(TRUTH)
    };
    setup().map_err(failed)?;
    Ok(connection)
}

/// Makes the directory of a journal, readable by its owner only, unless it is there.
pub(super) fn make_directory(journal: &Path) -> Result<(), JournalError> {
    match journal.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(|source| JournalError::io("make the directory", parent, source)),
        _ => Ok(()),
    }
}

/// Opens the database to look at it, beside its owner or without one.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, JournalError> {
    if !path.exists() {
        return Err(JournalError::Missing {
            path: path.to_path_buf(),
        });
    }
    let open = |access| -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "query_only", true)?;
        tables(&connection)?;
        Ok(connection)
    };
    // A reader that may write can also look at what a killed agent left in the log; one that may not still sees the rest.
    let connection = open(OpenFlags::SQLITE_OPEN_READ_WRITE)
        .or_else(|_| open(OpenFlags::SQLITE_OPEN_READ_ONLY))
        .map_err(|source| JournalError::database(path, source))?;
    check_identity(&connection, path)?;
    Ok(connection)
}

fn tables(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
}

fn check_identity(connection: &Connection, path: &Path) -> Result<(), JournalError> {
    let failed = |source| JournalError::database(path, source);
    let number = |name| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i32>(0))
            .map_err(failed)
    };
    if number("application_id")? != APPLICATION_ID {
        return Err(JournalError::NotAJournal {
            path: path.to_path_buf(),
            detail: "it is another program's SQLite database".to_owned(),
        });
    }
    let found = number("user_version")?.cast_unsigned();
    if found > LAYOUT {
        return Err(JournalError::Newer {
            path: path.to_path_buf(),
            found,
            known: LAYOUT,
        });
    }
    Ok(())
}

/// Drops the projections and makes them anew, empty.
pub(super) fn reset_projections(connection: &Connection) -> rusqlite::Result<()> {
    for table in PROJECTION_TABLES {
        connection.execute_batch(&format!("DROP TABLE IF EXISTS {table}"))?;
    }
    connection.execute_batch(PROJECTIONS)?;
    // This program never takes a row out of a projection. Who does so by hand makes the next opening remake them all.
    for table in PROJECTION_TABLES {
        connection.execute_batch(&format!(
            "CREATE TRIGGER {table}_cut AFTER DELETE ON {table}
             BEGIN UPDATE meta SET value = 'cut by hand' WHERE key = 'projection_rules'; END"
        ))?;
    }
    Ok(())
}

/// Whether the projections are whole, and were made by these rules from the events up to `seq`.
pub(super) fn projections_are_current(connection: &Connection, seq: u64) -> rusqlite::Result<bool> {
    let rules = meta(connection, "projection_rules")?;
    let at = meta(connection, "projection_seq")?;
    Ok(at == Some(seq.to_string()) && rules == Some(projection_rules(connection)?))
}

/// Notes that the projections follow these rules and stand at `seq`.
pub(super) fn mark_projections(connection: &Connection, seq: u64) -> rusqlite::Result<()> {
    set_meta(connection, "projection_rules", &projection_rules(connection)?)?;
    advance_projections(connection, seq)
}

/// Notes that the projections stand at `seq`.
pub(super) fn advance_projections(connection: &Connection, seq: u64) -> rusqlite::Result<()> {
    set_meta(connection, "projection_seq", &seq.to_string())
}

fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()
}

fn set_meta(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value")?
        .execute(params![key, value])
        .map(drop)
}

/// Identifies the rules that make projections: the code itself, so that nobody has to remember a version number, and
/// the tables as they are in the file, so that one that is missing or was altered is noticed.
fn projection_rules(connection: &Connection) -> rusqlite::Result<String> {
    let mut texts = vec![
        include_str!("project.rs").to_owned(),
        include_str!("keep.rs").to_owned(),
        include_str!("audit.rs").to_owned(),
        include_str!("upcast.rs").to_owned(),
        include_str!("../domain/apply.rs").to_owned(),
        include_str!("../domain/snapshot.rs").to_owned(),
        include_str!("../domain/upkeep.rs").to_owned(),
    ];
    let mut tables = connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")?;
    for sql in tables.query_map([], |row| row.get::<_, String>(0))? {
        texts.push(sql?);
    }
    Ok(fingerprint(&texts.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// Identifies the rules that make a state, in the same way.
pub(super) fn state_rules() -> String {
    fingerprint(&[
        include_str!("../domain/apply.rs"),
        include_str!("../domain/apply/recovery.rs"),
        include_str!("../domain/drill.rs"),
        include_str!("../domain/follow_up.rs"),
        include_str!("../domain/follow_up/decide.rs"),
        include_str!("../domain/restore_point.rs"),
        include_str!("../domain/state.rs"),
        include_str!("../domain/alert.rs"),
        include_str!("../domain/snapshot.rs"),
        include_str!("../domain/upkeep.rs"),
        include_str!("../domain/maintenance.rs"),
        include_str!("upcast.rs"),
    ])
}

fn fingerprint(texts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(env!("CARGO_PKG_VERSION"));
    for text in texts {
        hasher.update(text);
    }
    hex::encode(&hasher.finalize()[..12])
}
