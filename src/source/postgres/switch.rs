//! A restored database in the place of the live one: two renames in one transaction, so that there is never none, nor half.
//!
//! The live database keeps its rows under another name; switching back is the same with that name. Sessions on both are ended
//! while the rename waits: it holds the lock that new connections need, so whoever comes again waits until it is done.
//!
//! **Crash windows.** None: the server does both renames or neither. Sessions that were ended come back to whichever is there.
//!
//! What this room never does: drop a database, or rename one that was not named.

use std::time::Duration;

use super::connect::{Login, Session, literal, quoted, within};
use crate::clock::Clock;
use crate::domain::{Bytes, Timestamp};
use crate::source::SourceError;

/// How long sessions may take to end before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often those that are left are ended.
const EVERY: Duration = Duration::from_millis(100);
/// The longest name of a database, in bytes.
const LONGEST: usize = 63;

/// What a switch will do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SwitchPlan {
    /// The server, in words.
    pub server: String,
    /// The name that everybody connects to.
    pub live: String,
    /// The database that gets it.
    pub new: String,
    /// What the live one is called afterwards.
    pub kept_as: String,
    /// How large the live one is.
    pub live_size: Bytes,
    /// How large the new one is.
    pub new_size: Bytes,
    /// How many sessions are ended.
    pub sessions: u64,
}

/// The name under which the live database is kept, when nobody says another.
pub fn kept_name(live: &str, now: Timestamp) -> String {
    let stamp = format!("_before_{}", now.format("%Y%m%dT%H%M%S"));
    let mut end = live.len().min(LONGEST - stamp.len());
    while !live.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{stamp}", &live[..end])
}

/// Says what a switch would do, or why it cannot be done.
pub async fn plan(
    login: &Login,
    live: &str,
    new: &str,
    kept_as: &str,
    clock: &Clock,
) -> Result<SwitchPlan, SourceError> {
    let session = login.open_maintenance(None, clock).await?;
    let invalid = |what: String, hint: &str| SourceError::Invalid {
        what,
        hint: Some(hint.to_owned()),
    };
    for name in [live, new, kept_as] {
        if name.is_empty() || name.len() > LONGEST {
            return Err(invalid(format!("{name:?} cannot name a database"), "use 1 to 63 bytes"));
        }
        if ["postgres", "template0", "template1"].contains(&name) {
            return Err(invalid(format!("{name} is the server's own"), "choose another name"));
        }
    }
    if live == new || kept_as == live || kept_as == new {
        return Err(invalid(
            "two of the three names are the same".to_owned(),
            "choose another name with --keep-as",
        ));
    }
    let server = login.connection.display();
    let size = async |name: &str| {
        let sql = "select pg_catalog.pg_database_size(oid) from pg_catalog.pg_database where datname = $1";
        let rows = session.rows("look for the database", sql, &[&name]).await?;
        let size = rows.first().map(|row| u64::try_from(row.get::<_, i64>(0)).unwrap_or(0));
        Ok::<_, SourceError>(size.map(Bytes))
    };
    let missing = |name: &str| SourceError::NoSuchDatabase {
        server: server.clone(),
        database: name.to_owned(),
    };
    let live_size = size(live).await?.ok_or_else(|| missing(live))?;
    let new_size = size(new).await?.ok_or_else(|| missing(new))?;
    if size(kept_as).await?.is_some() {
        return Err(SourceError::DatabaseExists {
            server,
            database: kept_as.to_owned(),
        });
    }
    Ok(SwitchPlan {
        sessions: sessions(&session, live, new, false).await?,
        server,
        live: live.to_owned(),
        new: new.to_owned(),
        kept_as: kept_as.to_owned(),
        live_size,
        new_size,
    })
}

/// Counts the sessions of others on two databases, and ends them when asked to.
async fn sessions(session: &Session, live: &str, new: &str, end: bool) -> Result<u64, SourceError> {
    let what = if end {
        "pg_catalog.pg_terminate_backend(pid)"
    } else {
        "pid"
    };
    let sql = format!(
        "select count({what}) from pg_catalog.pg_stat_activity
          where datname in ($1, $2) and backend_type = 'client backend' and pid <> pg_catalog.pg_backend_pid()"
    );
    let rows = session.rows("end the sessions on them", &sql, &[&live, &new]).await?;
    Ok(rows
        .first()
        .map_or(0, |row| u64::try_from(row.get::<_, i64>(0)).unwrap_or(0)))
}

/// Gives the live database another name, and its name to the new one.
pub async fn switch(login: &Login, plan: &SwitchPlan, clock: &Clock) -> Result<(), SourceError> {
    switch_and(login, plan, "", clock).await
}

/// The same, with more statements in the same transaction, each with its semicolon.
pub(super) async fn switch_and(login: &Login, plan: &SwitchPlan, also: &str, clock: &Clock) -> Result<(), SourceError> {
    let (session, ending) = (
        login.open_maintenance(None, clock).await?,
        login.open_maintenance(None, clock).await?,
    );
    let (live, new) = (plan.live.as_str(), plan.new.as_str());
    let [live_name, new_name, kept_name] = [live, new, plan.kept_as.as_str()].map(quoted);
    // The server itself waits five seconds for the sessions on a database; more than two attempts are seldom needed.
    let sql = format!(
        "begin; set local lock_timeout = '20s'; alter database {live_name} rename to {kept_name}; \
         alter database {new_name} rename to {live_name}; {also} commit"
    );
    let renaming = async {
        let started = clock.monotonic();
        loop {
            let Err(error) = session.client.batch_execute(&sql).await else {
                return Ok(());
            };
            // The transaction is gone with the session when it cannot be rolled back.
            let _ = session.client.batch_execute("rollback").await;
            let in_use = error.code() == Some(&tokio_postgres::error::SqlState::OBJECT_IN_USE);
            if !in_use || clock.elapsed(started) > PATIENCE {
                return Err(session.explain(&format!("rename {}", literal(live)), &error));
            }
        }
    };
    let ended = async {
        loop {
            // What cannot be ended makes the rename fail, which says why.
            let _ = sessions(&ending, live, new, true).await;
            clock.sleep(EVERY).await;
        }
    };
    let both = async {
        tokio::select! {
            renamed = renaming => renamed,
            () = ended => Ok(()),
        }
    };
    if let Some(renamed) = within(clock, PATIENCE * 2, both).await {
        return renamed;
    }
    session.interrupt(clock).await;
    Err(SourceError::Silent {
        server: plan.server.clone(),
        seconds: PATIENCE.as_secs() * 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_name_fits_and_cuts_no_letter_in_two() {
        let now = Timestamp::from_timestamp(1_700_000_000, 0).unwrap();
        assert_eq!(kept_name("shop", now), "shop_before_20231114T221320");
        let long = kept_name(&"ä".repeat(31), now);
        assert!(
            long.len() <= LONGEST && long.ends_with("_before_20231114T221320"),
            "{long}"
        );
    }
}
