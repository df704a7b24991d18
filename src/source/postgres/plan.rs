//! What a restore into a new database would do, and what stands in its way; asked before and again when it begins.

use super::DatabaseManifest;
use super::connect::{Login, ServerFacts, Session, literal};
use super::restore::Dump;
use crate::domain::Bytes;
use crate::domain::source::DumpFormat;
use crate::source::recovery::PlanParts;
use crate::source::{SourceError, Subject, Work};

/// Says what a restore into a new database would do.
pub(in crate::source) async fn plan(
    subject: &Subject,
    login: &Login,
    name: &str,
    work: &Work<'_>,
) -> Result<PlanParts, SourceError> {
    let dump = Dump::of(subject, work).await?;
    let recorded = &dump.database;
    let mut parts = PlanParts {
        items: recorded.facts.tables,
        fetch: Bytes(dump.artifact.bytes),
        write: recorded.size,
        undo: format!("drop database {name}; nothing that exists is changed"),
        restic_command: format!(
            "restic -r {} dump {} '/{}' | pg_restore --dbname={name} --exit-on-error   # after: createdb -T template0 {name}",
            subject.repository_url,
            subject.snapshot.id.short(),
            dump.artifact.name
        ),
        ..PlanParts::default()
    };
    if let Some(why) = dump.needs_tables() {
        parts
            .blockers
            .push(format!("{why}: restore it by hand with pg_restore"));
    }
    let chosen = &recorded.selection;
    if !chosen.is_all() {
        parts
            .warnings
            .push("the dump holds some tables of its database, not all".to_owned());
    }
    if chosen.format == DumpFormat::SchemaOnly {
        parts.warnings.push("the dump holds definitions and no rows".to_owned());
    }
    if name.is_empty() || name.len() > 63 {
        parts
            .blockers
            .push("the name of a database has 1 to 63 bytes".to_owned());
    }
    let session = match login.open_maintenance(Some(&recorded.facts.name), work.clock).await {
        Ok(session) => session,
        Err(error) => {
            parts.target_identity = login.connection.display();
            parts.blockers.push(error.to_string());
            return Ok(parts);
        }
    };
    let facts = session.facts().await?;
    parts.target_identity = facts.identity(login);
    let sql = format!("select 1 from pg_catalog.pg_database where datname = {}", literal(name));
    if !session.rows("look for the database", &sql, &[]).await?.is_empty() {
        parts.blockers.push(format!(
            "database {name:?} already exists; an existing database is never restored over"
        ));
    }
    judge_server(&facts, recorded, &mut parts);
    if let Err(error) = dump.tools(Some(login), facts.major, work).await {
        parts.blockers.push(error.to_string());
    }
    let missing = missing_roles(&session, recorded).await?;
    if !missing.is_empty() || !facts.superuser {
        parts.warnings.push(ownership_note(&missing));
    }
    let missing = missing_extensions(&session, recorded).await?;
    if !missing.is_empty() {
        parts
            .blockers
            .push(format!("the server lacks the extensions {}", missing.join(", ")));
    }
    Ok(parts)
}

/// Whether a server of this kind can take the dump at all.
fn judge_server(facts: &ServerFacts, recorded: &DatabaseManifest, parts: &mut PlanParts) {
    let dumped: u32 = recorded
        .facts
        .server_version
        .chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap_or(0);
    if facts.standby {
        parts
            .blockers
            .push("the server is a standby, which takes no writes".to_owned());
    }
    if !facts.may_create_databases {
        parts
            .blockers
            .push(format!("role {} may not create databases", facts.role));
    }
    if facts.major < dumped {
        parts.blockers.push(format!(
            "the dump is from PostgreSQL {}, the server has only {}",
            recorded.facts.server_version, facts.version
        ));
    } else if facts.major > dumped {
        parts.warnings.push(format!(
            "the dump is from PostgreSQL {}, the server has {}: an upgrade on the way",
            recorded.facts.server_version, facts.version
        ));
    }
    if facts.system_identifier.is_some() && facts.system_identifier != recorded.facts.system_identifier {
        parts
            .warnings
            .push("this is another cluster than the one the dump was taken from".to_owned());
    }
}

/// Why owners and grants are left out, and how to have them.
pub(super) fn ownership_note(missing: &[String]) -> String {
    if missing.is_empty() {
        return "the restoring role is no superuser: it will own everything, and grants are left out".to_owned();
    }
    format!(
        "the server lacks the roles {}: the restoring role will own everything, and grants are left out; globals.sql of the \
         snapshot creates them",
        missing.join(", ")
    )
}

/// The recorded roles that a server lacks.
pub(super) async fn missing_roles(session: &Session, recorded: &DatabaseManifest) -> Result<Vec<String>, SourceError> {
    let sql = "select rolname::text from pg_catalog.pg_roles";
    lacking(session, "list the roles", sql, &recorded.roles).await
}

async fn missing_extensions(session: &Session, recorded: &DatabaseManifest) -> Result<Vec<String>, SourceError> {
    let sql = "select name::text from pg_catalog.pg_available_extensions";
    lacking(session, "list the extensions", sql, &recorded.extensions).await
}

async fn lacking(session: &Session, doing: &str, sql: &str, wanted: &[String]) -> Result<Vec<String>, SourceError> {
    let rows = session.rows(doing, sql, &[]).await?;
    let there: std::collections::HashSet<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(wanted.iter().filter(|name| !there.contains(*name)).cloned().collect())
}
