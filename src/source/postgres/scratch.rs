//! Databases that are not there yet, or not for long: made under a scratch name, then renamed or dropped.
//!
//! Everything is restored into a database called `lifeboat_scratch_…` first. A recovery renames it when it is complete, so
//! the name somebody waits for never stands for half a database; a verification drops it. A failure, a cancellation and even
//! a dropped future drop it too; what a killed agent leaves behind is found by its mark at the next start.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;

use super::connect::{Login, Session, literal, quoted, within};
use super::{DatabaseManifest, ServerFacts};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::source::SourceError;

/// What the names of all scratch databases begin with.
pub const SCRATCH_PREFIX: &str = "lifeboat_scratch_";

/// The comment on a scratch database: whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The machine of the agent.
    pub(crate) host: String,
    /// Its process.
    pub(crate) pid: u32,
    /// When it was made.
    pub(crate) made_at: Timestamp,
}

impl Mark {
    /// The mark of this process.
    pub(crate) fn mine(host: &str, clock: &Clock) -> Self {
        Self {
            host: host.to_owned(),
            pid: std::process::id(),
            made_at: clock.now(),
        }
    }

    /// Whether who made it is gone: a process of this machine that no longer runs, or one of any machine a day ago.
    pub(crate) fn is_orphaned(&self, host: &str, now: Timestamp) -> bool {
        if now - self.made_at > chrono::Duration::days(1) {
            return true;
        }
        let alive = || std::path::Path::new("/proc").join(self.pid.to_string()).exists();
        // A mark with our own process number is from before a restart that gave the number out again.
        self.host == host && (self.pid == std::process::id() || !alive())
    }
}

/// A database that will be dropped unless it is kept.
#[derive(Debug)]
pub(super) struct ScratchDatabase {
    login: Login,
    name: String,
    clock: Clock,
    armed: bool,
}

impl ScratchDatabase {
    /// Creates an empty database like the one that was dumped; says so when the server lacks its locale.
    pub(super) async fn create(
        login: &Login,
        id: &str,
        like: &DatabaseManifest,
        facts: &ServerFacts,
        mark: &Mark,
        clock: &Clock,
    ) -> Result<(Self, Option<String>), SourceError> {
        let safe: String = id
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '_'
                }
            })
            .take(40)
            .collect();
        let name = format!("{SCRATCH_PREFIX}{safe}");
        let session = login.open_maintenance(None, clock).await?;
        // Armed before it exists: dropping what is not there is harmless, the other way round is not.
        let scratch = Self {
            login: login.clone(),
            name,
            clock: clock.clone(),
            armed: true,
        };
        let note = scratch.create_like(&session, like, facts).await;
        let note = match note {
            Ok(note) => note,
            Err(error) => {
                scratch.abandon();
                return Err(error);
            }
        };
        let mark = serde_json::to_string(mark).unwrap_or_default();
        let comment = format!("comment on database {} is {}", quoted(&scratch.name), literal(&mark));
        match session.execute("mark the scratch database", &comment).await {
            Ok(()) => Ok((scratch, note)),
            Err(error) => {
                drop(session);
                scratch.remove().await?;
                Err(error)
            }
        }
    }

    async fn create_like(
        &self,
        session: &Session,
        like: &DatabaseManifest,
        facts: &ServerFacts,
    ) -> Result<Option<String>, SourceError> {
        let name = quoted(&self.name);
        let encoding = literal(&like.encoding);
        let provider = match (like.locale_provider.as_deref(), &like.locale) {
            (Some("i"), Some(locale)) if facts.major >= 15 => {
                format!(" locale_provider icu icu_locale {}", literal(locale))
            }
            (Some("b"), Some(locale)) if facts.major >= 17 => {
                format!(" locale_provider builtin builtin_locale {}", literal(locale))
            }
            _ => String::new(),
        };
        let alike = format!(
            "create database {name} template template0 encoding {encoding} lc_collate {} lc_ctype {}{provider}",
            literal(&like.collate),
            literal(&like.ctype)
        );
        let Err(error) = session.client.batch_execute(&alike).await else {
            return Ok(None);
        };
        let locale_unknown = [
            SqlState::WRONG_OBJECT_TYPE,
            SqlState::INVALID_PARAMETER_VALUE,
            SqlState::UNDEFINED_OBJECT,
        ];
        if !error.code().is_some_and(|code| locale_unknown.contains(code)) {
            return Err(session.explain("create a database", &error));
        }
        let plain =
            format!("create database {name} template template0 encoding {encoding} lc_collate 'C' lc_ctype 'C'");
        session.execute("create a database", &plain).await?;
        Ok(Some(format!(
            "the server has no locale {}; the database was created with C, so text may sort differently",
            like.collate
        )))
    }

    /// The name it has now.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Gives it its final name and keeps it.
    pub(super) async fn keep_as(mut self, name: &str) -> Result<(), SourceError> {
        let result = self.rename(name).await;
        match result {
            Ok(()) => {
                self.armed = false;
                Ok(())
            }
            Err(error) => {
                self.remove().await?;
                Err(error)
            }
        }
    }

    async fn rename(&self, name: &str) -> Result<(), SourceError> {
        let session = self.login.open_maintenance(None, &self.clock).await?;
        let (old, new) = (quoted(&self.name), quoted(name));
        let sql = format!("alter database {old} rename to {new}");
        if let Err(error) = session.client.batch_execute(&sql).await {
            if error.code() == Some(&SqlState::DUPLICATE_DATABASE) {
                return Err(SourceError::DatabaseExists {
                    server: session.server.clone(),
                    database: name.to_owned(),
                });
            }
            return Err(session.explain("rename the restored database", &error));
        }
        // Only a comment: a failure to clear it must not fail a restore that is complete, and the name no longer has our prefix.
        let _ = session
            .client
            .batch_execute(&format!("comment on database {new} is null"))
            .await;
        Ok(())
    }

    /// Drops it, whoever is connected to it.
    pub(super) async fn remove(mut self) -> Result<(), SourceError> {
        let result = drop_database(&self.login, &self.name, &self.clock).await;
        self.armed = result.is_err();
        result
    }

    /// Lets go of it without dropping, because it was never made, or has the name somebody waits for.
    pub(super) fn abandon(mut self) {
        self.armed = false;
    }
}

impl Drop for ScratchDatabase {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (login, name, clock) = (self.login.clone(), self.name.clone(), self.clock.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // Nobody is left to tell; what remains is found by its mark at the next start.
                let _ = drop_database(&login, &name, &clock).await;
            });
        }
    }
}

/// Drops a scratch database; refuses any other.
async fn drop_database(login: &Login, name: &str, clock: &Clock) -> Result<(), SourceError> {
    assert!(
        name.starts_with(SCRATCH_PREFIX),
        "only scratch databases are ever dropped"
    );
    let work = async {
        let session = login.open_maintenance(None, clock).await?;
        let sql = format!("drop database if exists {} with (force)", quoted(name));
        session.execute("drop the scratch database", &sql).await
    };
    within(clock, Duration::from_mins(1), work).await.unwrap_or_else(|| {
        Err(SourceError::Silent {
            server: login.connection.display(),
            seconds: 60,
        })
    })
}

/// Drops the scratch databases whose makers are gone; returns their names.
pub(super) async fn reap(login: &Login, host: &str, clock: &Clock) -> Result<Vec<String>, SourceError> {
    let session = login.open_maintenance(None, clock).await?;
    let rows = session
        .rows(
            "look for scratch databases left behind",
            "select d.datname::text, pg_catalog.shobj_description(d.oid, 'pg_database')
               from pg_catalog.pg_database d join pg_catalog.pg_roles r on r.oid = d.datdba
              where d.datname like 'lifeboat\\_scratch\\_%' and r.rolname = current_user",
            &[],
        )
        .await?;
    let mut dropped = Vec::new();
    for row in rows {
        let name: String = row.get(0);
        let comment: Option<String> = row.get(1);
        let mark = comment
            .as_deref()
            .and_then(|text| serde_json::from_str::<Mark>(text).ok());
        // One without a mark is from an agent that was killed between making and marking it.
        if mark.is_none_or(|mark| mark.is_orphaned(host, clock.now())) {
            drop_database(login, &name, clock).await?;
            dropped.push(name);
        }
    }
    Ok(dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_the_living_from_the_dead() {
        let clock = Clock::system();
        let now = clock.now();
        let mark = |host: &str, pid, days| Mark {
            host: host.to_owned(),
            pid,
            made_at: now - chrono::Duration::days(days),
        };
        assert!(!mark("here", 1, 0).is_orphaned("here", now), "process 1 always runs");
        assert!(mark("here", u32::MAX, 0).is_orphaned("here", now));
        assert!(
            !mark("there", u32::MAX, 0).is_orphaned("here", now),
            "another machine's process"
        );
        assert!(mark("there", 1, 2).is_orphaned("here", now));
    }
}
