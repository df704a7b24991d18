//! A plain dump into a database: every statement and every row in one transaction, so that it is whole or nothing.
//!
//! The text is cut by [`Script`] and goes to the server over our own connection; nothing of it reaches a program of this machine.

use std::pin::pin;

use bytes::Bytes;
use futures_util::SinkExt;

use super::connect::{Login, Session};
use super::restore::Dump;
use super::script::{Piece, Script};
use crate::repo::Progress;
use crate::source::{SourceError, Work};

/// What a text of SQL holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Statements.
    pub(super) statements: u64,
    /// Tables with rows, or none.
    pub(super) copies: u64,
}

/// Reads a plain dump to its end, without a server; `seen` gets its bytes.
pub(super) async fn read(dump: &Dump, mut seen: impl FnMut(&[u8]), work: &Work<'_>) -> Result<Held, SourceError> {
    let reading = async {
        let (mut reader, mut script, mut held) = (dump.open(work).await?, Script::new(), Held::default());
        loop {
            let blob = reader.next_blob().await?;
            if let Some(blob) = &blob {
                seen(blob);
                script.push(blob);
            }
            while let Some(piece) = script.next(blob.is_none()).map_err(|why| odd(dump, &why))? {
                match piece {
                    Piece::Statement(_) => held.statements += 1,
                    Piece::Copy(_) => held.copies += 1,
                    Piece::Rows(_) | Piece::RowsEnd => {}
                }
            }
            if blob.is_none() {
                return Ok(held);
            }
        }
    };
    work.cancellable(reading).await
}

/// Runs a plain dump in an empty database; without owners and grants when the server has not the roles for them.
pub(super) async fn play(
    dump: &Dump,
    login: &Login,
    database: &str,
    without_owners: bool,
    work: &Work<'_>,
) -> Result<(), SourceError> {
    let session = login.open(database, work.clock).await?;
    let facts = session.facts().await?;
    let skips = |statement: &str| {
        // Newer programs set what older servers do not know.
        (facts.major < 17 && statement == "SET transaction_timeout = 0;") || (without_owners && is_of_owners(statement))
    };
    let played = work.cancellable(run(dump, &session, skips, work)).await;
    if played.is_err() {
        session.interrupt(work.clock).await;
    }
    played
}

async fn run(dump: &Dump, session: &Session, skips: impl Fn(&str) -> bool, work: &Work<'_>) -> Result<(), SourceError> {
    session.execute("begin", "set statement_timeout = 0; begin").await?;
    let (mut reader, mut script) = (dump.open(work).await?, Script::new());
    let mut ended = false;
    let mut next = async || loop {
        if let Some(piece) = script.next(ended).map_err(|why| odd(dump, &why))? {
            return Ok::<_, SourceError>(Some(piece));
        }
        if ended {
            return Ok(None);
        }
        match reader.next_blob().await? {
            Some(blob) => {
                Progress::add(&work.progress.bytes_done, blob.len() as u64);
                script.push(&blob);
            }
            None => ended = true,
        }
    };
    while let Some(piece) = next().await? {
        match piece {
            Piece::Statement(sql) if skips(&sql) => {}
            Piece::Statement(sql) => session.execute(&format!("run {}", first_of(&sql)), &sql).await?,
            Piece::Copy(sql) => {
                let doing = format!("run {}", first_of(&sql));
                let failed = |error: tokio_postgres::Error| session.explain(&doing, &error);
                let sink = session.client.copy_in::<_, Bytes>(&sql).await.map_err(failed)?;
                let mut sink = pin!(sink);
                while let Some(Piece::Rows(rows)) = next().await? {
                    sink.feed(Bytes::from(rows)).await.map_err(failed)?;
                }
                sink.finish().await.map_err(failed)?;
            }
            // They come after a COPY only, which takes them all.
            Piece::Rows(_) | Piece::RowsEnd => {}
        }
    }
    session.execute("commit what was restored", "commit").await
}

/// The first words of a statement, for people.
fn first_of(sql: &str) -> String {
    let line = sql.lines().next().unwrap_or_default();
    let short: String = line.chars().take(60).collect();
    if short.len() < sql.len() {
        format!("{short}…")
    } else {
        short
    }
}

/// Whether a statement of a dump says who owns something or who may use it.
fn is_of_owners(statement: &str) -> bool {
    let begins = |words: &str| statement.get(..words.len()) == Some(words);
    let owner = statement.rsplit_once(" OWNER TO ").is_some_and(|(_, role)| {
        let quoted = role.starts_with('"') && role.ends_with("\";");
        quoted
            || role
                .trim_end_matches(';')
                .chars()
                .all(|c| c.is_alphanumeric() || c == '_' || c == '$')
    });
    begins("ALTER ") && owner
        || ["GRANT ", "REVOKE ", "ALTER DEFAULT PRIVILEGES "]
            .into_iter()
            .any(begins)
}

fn odd(dump: &Dump, why: &str) -> SourceError {
    SourceError::Snapshot {
        snapshot: dump.snapshot.short().to_owned(),
        why: format!("has a dump that cannot be taken: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_about_owners_are_known() {
        for of_owners in [
            "ALTER TABLE public.orders OWNER TO ana;",
            "ALTER FUNCTION public.f(a integer) OWNER TO \"o; TO neil\";",
            "GRANT SELECT ON TABLE public.orders TO web;",
            "REVOKE ALL ON SCHEMA public FROM PUBLIC;",
            "ALTER DEFAULT PRIVILEGES FOR ROLE ana GRANT SELECT ON TABLES TO web;",
        ] {
            assert!(is_of_owners(of_owners), "{of_owners}");
        }
        for other in [
            "ALTER TABLE ONLY public.orders ADD CONSTRAINT orders_pkey PRIMARY KEY (id);",
            "COMMENT ON TABLE public.t IS 'GRANT it TO me';",
            "ALTER TABLE public.t ALTER COLUMN a SET DEFAULT 'x OWNER TO y''s z';",
        ] {
            assert!(!is_of_owners(other), "{other}");
        }
    }
}
