//! Looking into a database: its tables, what is in them, and questions with an expected answer.
//!
//! A fingerprint is the sum of a 64-bit hash of every row's text. It does not depend on the order of rows, needs no memory
//! on the server and one pass; it tells an accident, not an adversary, which is what a restore test is for.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

use super::connect::{Session, literal, quoted, within};
use crate::clock::Clock;
use crate::domain::job::SqlProbe;
use crate::domain::recovery::Finding;
use crate::domain::source::DumpSelection;
use crate::repo::Progress;
use crate::source::{SourceError, Work};

/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_mins(2);

/// What is kept of a value, in bytes.
const LONGEST_VALUE: usize = 64 << 10;

/// The schemas that are the user's.
const USER_SCHEMAS: &str = "select u.oid from pg_catalog.pg_namespace u
                          where u.nspname !~ '^pg_' and u.nspname <> 'information_schema'";

/// Rows print the same on every server with these; a role's or database's own settings do not get in the way.
pub(super) const STEADY_SETTINGS: &str = "set search_path = ''; set datestyle = ISO; set intervalstyle = postgres; \
     set timezone = 'UTC'; set extra_float_digits = 3; set bytea_output = hex; set lc_monetary = 'C'; \
     set xmlbinary = base64; set row_security = off; set statement_timeout = 0; set lock_timeout = '60s'; \
     set idle_in_transaction_session_timeout = 0; set default_transaction_isolation = 'read committed'";

/// A table with rows of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    schema: String,
    name: String,
    /// What it takes on disk.
    pub(super) bytes: u64,
}

/// What is in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableContent {
    /// How many rows.
    pub rows: u64,
    /// The order-free checksum of them, when it was asked for.
    pub fingerprint: Option<String>,
}

impl Table {
    /// How SQL names it, and `pg_dump` without taking any of it for a pattern.
    fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    /// How manifests, findings and history name it: `schema.table`, each quoted where it must be.
    pub(super) fn key(&self) -> String {
        key_of(&self.schema, &self.name)
    }
}

/// How manifests name a table of a schema.
pub(super) fn key_of(schema: &str, name: &str) -> String {
    format!("{}.{}", plain_or_quoted(schema), plain_or_quoted(name))
}

fn plain_or_quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { quoted(name) }
}

/// Every table of the user's with rows of its own; those of extensions and temporary ones are not dumped either.
pub(super) async fn tables(session: &Session) -> Result<Vec<Table>, SourceError> {
    let rows = session
        .rows(
            "list the tables",
            "select n.nspname::text, c.relname::text, pg_catalog.pg_table_size(c.oid)
               from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
              where c.relkind = 'r' and c.relpersistence <> 't'
                and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
                and not exists (select 1 from pg_catalog.pg_depend d
                                 where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                                   and d.objid = c.oid and d.deptype = 'e')
              order by 1, 2",
            &[],
        )
        .await?;
    let table = |row: &tokio_postgres::Row| Table {
        schema: row.get(0),
        name: row.get(1),
        bytes: u64::try_from(row.get::<_, i64>(2)).unwrap_or(0),
    };
    Ok(rows.iter().map(table).collect())
}

/// The tables of the user's that a dump can be told to take or leave, each with the name SQL writes for it. What a
/// partitioned table is made of goes with it.
pub(super) async fn selected(session: &Session, selection: &DumpSelection) -> Result<Selected, SourceError> {
    let rows = session
        .rows(
            "list the tables",
            "select n.nspname::text, c.relname::text, coalesce(a.top, c.oid)::bigint, c.oid::bigint
               from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
               left join lateral (select max(relid::oid::bigint) as top from pg_catalog.pg_partition_ancestors(c.oid) p
                                   where not exists (select 1 from pg_catalog.pg_inherits i where i.inhrelid = p.relid)) a
                 on c.relispartition
              where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't'
                and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
              order by 1, 2",
            &[],
        )
        .await?;
    let all: Vec<(Table, i64, i64)> = rows
        .iter()
        .map(|row| {
            let (schema, name) = (row.get(0), row.get(1));
            (Table { schema, name, bytes: 0 }, row.get(2), row.get(3))
        })
        .collect();
    let keys: Vec<String> = all.iter().map(|(table, ..)| table.key()).collect();
    if let Some(pattern) = selection.idle(&keys) {
        return Err(SourceError::Invalid {
            what: format!("there is no table {pattern} in the database"),
            hint: Some("check tables of the source: schema.table, in double quotes what SQL needs them for".to_owned()),
        });
    }
    // A partition is named by itself, or by the table it is part of.
    let roots: BTreeMap<i64, &String> = all.iter().zip(&keys).map(|((_, _, oid), key)| (*oid, key)).collect();
    let mut found = Selected::default();
    for ((table, root, _), key) in all.iter().zip(&keys) {
        let whole = roots.get(root).map_or(key.as_str(), |root| root.as_str());
        if selection.takes(&[key, whole]) {
            found.schemas.insert(table.schema.clone());
            found.taken.insert(key.clone(), table.sql());
        } else {
            found.left.insert(key.clone(), table.sql());
        }
    }
    Ok(found)
}

/// Tables by their keys, with the names SQL writes for them.
#[derive(Debug, Default)]
pub(super) struct Selected {
    /// Those that are dumped.
    pub(super) taken: BTreeMap<String, String>,
    /// The schemas of those.
    pub(super) schemas: BTreeSet<String>,
    /// Those that are not.
    pub(super) left: BTreeMap<String, String>,
}

/// Chooses the tables whose rows are fingerprinted: the smallest first, as long as they fit in `budget` bytes together.
pub(super) fn affordable(tables: &[Table], budget: u64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..tables.len()).collect();
    order.sort_by_key(|&index| tables[index].bytes);
    let mut chosen = vec![false; tables.len()];
    let mut spent = 0_u64;
    for index in order {
        spent = spent.saturating_add(tables[index].bytes);
        if spent > budget {
            break;
        }
        chosen[index] = true;
    }
    chosen
}

/// Whether a table has a row.
pub(super) async fn has_rows(session: &Session, table: &Table) -> Result<bool, SourceError> {
    let doing = format!("look into {}", table.key());
    let sql = format!("select exists (select 1 from only {})", table.sql());
    let rows = session.rows(&doing, &sql, &[]).await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// Counts the rows of a table, and fingerprints them when asked to.
pub(super) async fn content(session: &Session, table: &Table, fingerprint: bool) -> Result<TableContent, SourceError> {
    let doing = format!("count the rows of {}", table.key());
    let name = format!("{}.{}", quoted(&table.schema), quoted(&table.name));
    if !fingerprint {
        let sql = format!("select count(*) from only {name}");
        let rows = session.rows(&doing, &sql, &[]).await?;
        return Ok(TableContent {
            rows: rows
                .first()
                .map_or(0, |row| u64::try_from(row.get::<_, i64>(0)).unwrap_or(0)),
            fingerprint: None,
        });
    }
    let sql = format!(
        "select count(*), coalesce(sum(hashtextextended(lifeboat_row::text, 0)::numeric + 9223372036854775808), 0)::text \
         from only {name} as lifeboat_row"
    );
    let rows = session.rows(&doing, &sql, &[]).await?;
    Ok(TableContent {
        rows: rows
            .first()
            .map_or(0, |row| u64::try_from(row.get::<_, i64>(0)).unwrap_or(0)),
        fingerprint: rows.first().map(|row| row.get(1)),
    })
}

/// Looks into every table; fingerprints those `wanted` says.
pub(super) async fn contents(
    session: &Session,
    tables: &[Table],
    wanted: impl Fn(usize, &str) -> bool,
    progress: &Progress,
) -> Result<BTreeMap<String, TableContent>, SourceError> {
    let mut all = BTreeMap::new();
    for (index, table) in tables.iter().enumerate() {
        let key = table.key();
        let content = content(session, table, wanted(index, &key)).await?;
        all.insert(key, content);
        Progress::add(&progress.files_done, 1);
    }
    Ok(all)
}

/// Puts questions to a database, one after the other; a statement that is given up is ended on the server.
pub(super) async fn ask_all(
    session: &Session,
    probes: &[SqlProbe],
    work: &Work<'_>,
) -> Result<Vec<Finding>, SourceError> {
    let mut findings = Vec::new();
    for question in probes {
        work.progress.set_current(&question.name);
        match work.cancellable(ask(session, question, work.clock)).await {
            Ok(finding) => findings.push(finding),
            Err(error) => {
                session.interrupt(work.clock).await;
                return Err(error);
            }
        }
    }
    Ok(findings)
}

/// Puts a question to the database, in a transaction that cannot write, and says whether the answer is as expected.
async fn ask(session: &Session, probe: &SqlProbe, clock: &Clock) -> Result<Finding, SourceError> {
    session.execute("begin a probe", "begin transaction read only").await?;
    let answer = within(clock, PROBE_TIMEOUT, first_value(session, &probe.sql)).await;
    let finding = |ok, detail| Finding {
        what: probe.name.clone(),
        ok,
        detail,
    };
    let doing = || format!("answer the probe {:?}", probe.name);
    let result = match answer {
        None => {
            session.interrupt(clock).await;
            return Err(SourceError::Query {
                doing: doing(),
                server: session.server.clone(),
                why: format!("no answer within {} s", PROBE_TIMEOUT.as_secs()),
                retryable: true,
            });
        }
        // A query that the database cannot answer is an answer; a server that is in trouble is none.
        Some(Err(error)) if error.as_db_error().is_some() && !is_trouble(&error) => finding(
            false,
            format!(
                "the query failed: {}",
                error.as_db_error().map_or("", |said| said.message())
            ),
        ),
        Some(Err(error)) => return Err(session.explain(&doing(), &error)),
        Some(Ok(value)) => {
            let seen = value.as_deref().unwrap_or("nothing");
            let detail = format!("{seen}, expected {}", probe.expect);
            finding(probe.expect.holds(value.as_deref()), detail)
        }
    };
    // The transaction is gone with the connection when it cannot be rolled back.
    let _ = session.client.batch_execute("rollback").await;
    Ok(result)
}

/// Puts a question to the database and returns the first value of the answer.
pub(super) async fn value(session: &Session, doing: &str, sql: &str) -> Result<Option<String>, SourceError> {
    let value = first_value(session, sql).await;
    value.map_err(|error| session.explain(doing, &error))
}

/// The first value of an answer, cut after [`LONGEST_VALUE`]. Rows are read as they come and not kept: there may be millions.
async fn first_value(session: &Session, sql: &str) -> Result<Option<String>, tokio_postgres::Error> {
    let mut messages = pin!(session.client.simple_query_raw(sql).await?);
    let (mut value, mut first) = (None, true);
    // To the end: what goes wrong may do so at the last row.
    while let Some(message) = messages.try_next().await? {
        if let SimpleQueryMessage::Row(row) = message
            && std::mem::take(&mut first)
        {
            value = row.try_get(0).ok().flatten().map(bounded);
        }
    }
    Ok(value)
}

fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST_VALUE)].to_owned()
}

/// Whether the server was out of resources, shut down or interrupted us (SQLSTATE classes 08, 53, 57, 58).
fn is_trouble(error: &tokio_postgres::Error) -> bool {
    let class = |code: &SqlState| {
        ["08", "53", "57", "58"]
            .iter()
            .any(|class| code.code().starts_with(class))
    };
    error.code().is_some_and(class)
}

/// Facts about the database itself that are needed to create one like it.
pub(super) async fn describe(
    session: &Session,
    major: u32,
    name: &str,
) -> Result<super::DatabaseManifest, SourceError> {
    let (provider, locale) = match major {
        ..=14 => ("null::text", "null::text"),
        15 | 16 => ("d.datlocprovider::text", "d.daticulocale"),
        17.. => ("d.datlocprovider::text", "d.datlocale"),
    };
    let sql = format!(
        "select pg_catalog.pg_encoding_to_char(d.encoding)::text, d.datcollate::text, d.datctype::text, {provider},
                {locale}, pg_catalog.pg_database_size(d.oid),
                array(select extname::text from pg_catalog.pg_extension where extname <> 'plpgsql' order by 1),
                array(select r.rolname::text from pg_catalog.pg_roles r
                       where r.rolname !~ '^pg_' and r.oid in (
                    select s.refobjid from pg_catalog.pg_shdepend s
                     where s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass and s.dbid = d.oid
                    union select c.relowner from pg_catalog.pg_class c where c.relnamespace in ({USER_SCHEMAS})
                    union select p.proowner from pg_catalog.pg_proc p where p.pronamespace in ({USER_SCHEMAS})
                    union select n.nspowner from pg_catalog.pg_namespace n where n.oid in ({USER_SCHEMAS}))
                  order by 1)
           from pg_catalog.pg_database d where d.datname = {}",
        literal(name)
    );
    let rows = session.rows("read the settings of the database", &sql, &[]).await?;
    let Some(row) = rows.first() else {
        return Err(SourceError::NoSuchDatabase {
            server: session.server.clone(),
            database: name.to_owned(),
        });
    };
    Ok(super::DatabaseManifest {
        encoding: row.get(0),
        collate: row.get(1),
        ctype: row.get(2),
        locale_provider: row.get(3),
        locale: row.get(4),
        size: crate::domain::Bytes(u64::try_from(row.get::<_, i64>(5)).unwrap_or(0)),
        extensions: row.get(6),
        roles: row.get(7),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(schema: &str, name: &str, bytes: u64) -> Table {
        Table {
            schema: schema.to_owned(),
            name: name.to_owned(),
            bytes,
        }
    }

    #[test]
    fn odd_names_stay_apart() {
        assert_eq!(table("public", "orders", 0).key(), "public.orders");
        assert_eq!(table("public", "My.Table", 0).key(), "public.\"My.Table\"");
        assert_ne!(table("a.b", "c", 0).key(), table("a", "b.c", 0).key());
    }

    #[test]
    fn small_tables_are_fingerprinted_first() {
        let tables = [
            table("s", "big", 900),
            table("s", "small", 10),
            table("s", "middle", 60),
        ];
        assert_eq!(affordable(&tables, 100), [false, true, true]);
        assert_eq!(affordable(&tables, 5), [false, false, false]);
    }
}
