//! One table of a recovered copy into a live database, under a new name.
//!
//! Its columns with their types, collations and "not null", its rows, and its primary key, unique and check constraints.
//! What points elsewhere does not come along: foreign keys, triggers, policies, defaults that call a sequence, ownership;
//! generated columns come as plain values. The copy is there to be looked at and to take rows from.
//!
//! **Whole or nothing.** One transaction of the live database; a name that is taken is refused before anything is done, and
//! again by the transaction itself.
//!
//! **Memory.** Rows go through in pieces; nothing is kept.

use futures_util::{SinkExt, StreamExt};

use super::RecoveryError;
use crate::clock::Clock;
use crate::source::SourceError;
use crate::source::postgres::Login;
use crate::source::postgres::connect::{Session, literal, quoted};

/// What was copied.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Copied {
    /// The new table.
    pub table: String,
    /// How many rows.
    pub rows: u64,
    /// Constraints that came along.
    pub constraints: u64,
    /// What did not, and why.
    pub notes: Vec<String>,
}

/// A table to be copied.
#[derive(Debug, Clone)]
pub struct TableCopy {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// The new name, in the same schema.
    pub new_name: String,
}

/// Reads `schema.table`; without a schema it is `public`.
pub fn parse_name(text: &str) -> Option<(String, String)> {
    let mut parts: Vec<String> = Vec::new();
    let mut letters = text.chars().peekable();
    loop {
        let mut part = String::new();
        if letters.peek() == Some(&'"') {
            letters.next();
            loop {
                match letters.next()? {
                    '"' if letters.peek() == Some(&'"') => {
                        letters.next();
                        part.push('"');
                    }
                    '"' => break,
                    letter => part.push(letter),
                }
            }
        } else {
            while let Some(letter) = letters.next_if(|letter| *letter != '.') {
                part.push(letter);
            }
        }
        parts.push(part);
        match letters.next() {
            None => break,
            Some('.') => {}
            Some(_) => return None,
        }
    }
    let filled = parts.iter().all(|part| !part.is_empty());
    match parts.as_slice() {
        [table] if filled => Some(("public".to_owned(), table.clone())),
        [schema, table] if filled => Some((schema.clone(), table.clone())),
        _ => None,
    }
}

impl TableCopy {
    fn original(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.table))
    }

    fn copied(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.new_name))
    }

    /// Refuses a name that is taken, before any work is done for it.
    pub async fn check(&self, live: &Login, database: &str, clock: &Clock) -> Result<(), RecoveryError> {
        let session = live.open(database, clock).await?;
        self.is_free(&session).await
    }

    async fn is_free(&self, session: &Session) -> Result<(), RecoveryError> {
        let sql = "select pg_catalog.to_regclass($1::text) is not null";
        let rows = session.rows("look for the new table", sql, &[&self.copied()]).await?;
        if rows.first().is_some_and(|row| row.get(0)) {
            return Err(SourceError::Invalid {
                what: format!("there is a {} already in the live database", self.copied()),
                hint: Some("choose another name with --as NAME".to_owned()),
            }
            .into());
        }
        Ok(())
    }

    /// Copies the table.
    pub async fn run(&self, from: (&Login, &str), to: (&Login, &str), clock: &Clock) -> Result<Copied, RecoveryError> {
        let source = from.0.open(from.1, clock).await?;
        let live = to.0.open(to.1, clock).await?;
        self.is_free(&live).await?;
        let columns = self.columns(&source).await?;
        let constraints = self.constraints(&source).await?;
        live.execute("begin", "begin").await?;
        let created = format!(
            "create table {} ({})",
            self.copied(),
            columns
                .iter()
                .map(|column| column.definition.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        );
        live.execute("create the new table", &created).await?;
        let rows = self.rows(&source, &live, &columns).await?;
        self.counted(&source, &live, rows).await?;
        for constraint in &constraints {
            let sql = format!("alter table {} add {constraint}", self.copied());
            live.execute("add a constraint", &sql).await?;
        }
        let comment = format!("recovered by lifeboat from a copy of {}", self.original());
        let sql = format!("comment on table {} is {}", self.copied(), literal(&comment));
        live.execute("mark the new table", &sql).await?;
        // Until here nothing is there: a connection that ends takes everything back.
        live.execute("commit", "commit").await?;
        let plain = columns.iter().filter(|column| column.generated).count();
        let notes = (plain > 0).then(|| format!("{plain} generated columns hold plain values"));
        Ok(Copied {
            table: self.copied(),
            rows,
            constraints: constraints.len() as u64,
            notes: notes.into_iter().collect(),
        })
    }

    /// Counts the rows on both sides, in the transaction that makes the copy: one that holds another number is not kept.
    async fn counted(&self, source: &Session, live: &Session, written: u64) -> Result<(), RecoveryError> {
        let count = |table: String| format!("select count(*) from {table}");
        let count_of = async |session: &Session, table: String| {
            let rows = session.rows("count the rows", &count(table), &[]).await?;
            let count = rows.first().map_or(-1, |row| row.get::<_, i64>(0));
            Ok::<_, SourceError>(u64::try_from(count).unwrap_or(0))
        };
        let (there, here) = (
            count_of(source, self.original()).await?,
            count_of(live, self.copied()).await?,
        );
        if there == here && here == written {
            return Ok(());
        }
        Err(SourceError::Invalid {
            what: format!(
                "the recovered {} holds {there} rows, of which {written} were copied and {here} arrived",
                self.original()
            ),
            hint: Some(
                "nothing was kept; look for row security or triggers of the live server, then try again".to_owned(),
            ),
        }
        .into())
    }

    async fn columns(&self, source: &Session) -> Result<Vec<Column>, RecoveryError> {
        let sql = "select a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
                          a.attgenerated <> '',
                          case when a.attcollation <> t.typcollation
                               then pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.collname) end
                     from pg_catalog.pg_attribute a
                     join pg_catalog.pg_type t on t.oid = a.atttypid
                     left join pg_catalog.pg_collation c on c.oid = a.attcollation
                     left join pg_catalog.pg_namespace n on n.oid = c.collnamespace
                    where a.attrelid = pg_catalog.to_regclass($1::text) and a.attnum > 0 and not a.attisdropped
                    order by a.attnum";
        let rows = source.rows("read the columns", sql, &[&self.original()]).await?;
        let column = |row: &tokio_postgres::Row| {
            let name = quoted(&row.get::<_, String>(0));
            let collation = row.get::<_, Option<String>>(4).map(|name| format!(" collate {name}"));
            let null = if row.get(2) { " not null" } else { "" };
            Column {
                definition: format!(
                    "{name} {}{}{null}",
                    row.get::<_, String>(1),
                    collation.unwrap_or_default()
                ),
                name,
                generated: row.get(3),
            }
        };
        if rows.is_empty() {
            return Err(SourceError::Invalid {
                what: format!("the recovered database has no table {}", self.original()),
                hint: Some(
                    "check the name, the database (--from-database), and the target: it may not have been there yet"
                        .to_owned(),
                ),
            }
            .into());
        }
        Ok(rows.iter().map(column).collect())
    }

    async fn constraints(&self, source: &Session) -> Result<Vec<String>, RecoveryError> {
        // A name is left to the live server: the old one belongs to the table that is there.
        let sql = "select pg_catalog.pg_get_constraintdef(oid) from pg_catalog.pg_constraint
                    where conrelid = pg_catalog.to_regclass($1::text) and contype in ('p', 'u', 'c')
                    order by contype <> 'p', conname";
        let rows = source.rows("read the constraints", sql, &[&self.original()]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn rows(&self, source: &Session, live: &Session, columns: &[Column]) -> Result<u64, RecoveryError> {
        let names = columns
            .iter()
            .map(|column| column.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        // The text form is the same in all versions; the binary one is not for every type.
        let out = format!("copy (select {names} from {}) to stdout", self.original());
        let into = format!("copy {} ({names}) from stdin", self.copied());
        let read = |error: tokio_postgres::Error| source.explain("read the rows", &error);
        let write = |error: tokio_postgres::Error| live.explain("write the rows", &error);
        let mut stream = std::pin::pin!(source.client.copy_out(&out).await.map_err(read)?);
        let mut sink = std::pin::pin!(live.client.copy_in(&into).await.map_err(write)?);
        while let Some(piece) = stream.next().await {
            let piece: bytes::Bytes = piece.map_err(read)?;
            sink.send(piece).await.map_err(write)?;
        }
        Ok(sink.finish().await.map_err(write)?)
    }
}

#[derive(Debug)]
struct Column {
    name: String,
    definition: String,
    generated: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_sql_writes_them() {
        let read = |text| parse_name(text).map(|(schema, table)| format!("{schema}|{table}"));
        assert_eq!(read("orders").unwrap(), "public|orders");
        assert_eq!(read("shop.orders").unwrap(), "shop|orders");
        assert_eq!(read("\"My.Shop\".\"a \"\"b\"\"\"").unwrap(), "My.Shop|a \"b\"");
        for bad in ["", ".", "a.", ".b", "a.b.c", "\"a", "\"a\"b"] {
            assert!(parse_name(bad).is_none(), "{bad}");
        }
    }
}
