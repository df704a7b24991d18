//! What a restore of a dump would do, and what stands in its way; asked before and again when it begins.

use super::DatabaseManifest;
use super::connect::{Login, ServerFacts, Session, literal};
use super::feed::has_room;
use super::replace::in_the_way;
use super::restore::Dump;
use super::rows;
use crate::domain::Bytes;
use crate::domain::recovery::DatabaseRestore;
use crate::domain::source::DumpFormat;
use crate::source::recovery::PlanParts;
use crate::source::{SourceError, Subject, Work};

/// Says what a restore of a dump would do.
pub(in crate::source) async fn plan(
    subject: &Subject,
    login: &Login,
    name: &str,
    how: &DatabaseRestore,
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
    fits(&dump, how, &mut parts);
    if dump.is_plain() {
        parts.restic_command = format!(
            "restic -r {} dump {} '/{}' | psql --dbname={name} --single-transaction -v ON_ERROR_STOP=1   # obeys what the text says",
            subject.repository_url,
            subject.snapshot.id.short(),
            dump.artifact.name
        );
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
    target(&dump, &session, login, name, how, &facts, &mut parts, work).await?;
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

/// Whether the dump can be restored in the way that was chosen.
fn fits(dump: &Dump, how: &DatabaseRestore, parts: &mut PlanParts) {
    let format = dump.database.selection.format;
    let picks = !how.tables.is_empty();
    let mut blocked = |what: &str| parts.blockers.push(what.to_owned());
    if picks && matches!(format, DumpFormat::Plain | DumpFormat::DataOnly) {
        blocked("tables cannot be picked from a dump of this format: restore all of it, then copy the tables");
    }
    if how.jobs > 1 && matches!(format, DumpFormat::Plain | DumpFormat::DataOnly) {
        blocked("a dump of this format is restored in one transaction, which is one connection: leave --jobs out");
    }
    if how.drop_existing && (picks || !dump.database.selection.is_all() || format == DumpFormat::SchemaOnly) {
        blocked("a part of a database cannot take the place of a whole one: restore it into a new database");
    }
    if how.drop_existing && format == DumpFormat::DataOnly {
        blocked("rows alone go into a database that exists, and replace none: leave --drop-existing out");
    }
    if how.jobs > 1
        && let Err(error) = has_room(dump)
    {
        blocked(&error.to_string());
    }
}

/// Whether the database may be the target, and what becomes of it.
#[expect(clippy::too_many_arguments, reason = "a plan is made of all that is known")]
async fn target(
    dump: &Dump,
    session: &Session,
    login: &Login,
    name: &str,
    how: &DatabaseRestore,
    facts: &ServerFacts,
    parts: &mut PlanParts,
    work: &Work<'_>,
) -> Result<(), SourceError> {
    let sql = format!(
        "select pg_catalog.pg_database_size(oid), (select count(*) from pg_catalog.pg_stat_activity a
            where a.datid = d.oid and a.backend_type = 'client backend') from pg_catalog.pg_database d where datname = {}",
        literal(name)
    );
    let rows = session.rows("look for the database", &sql, &[]).await?;
    let Some(row) = rows.first() else {
        if dump.needs_tables().is_some() {
            parts.blockers.push(format!(
                "the dump holds rows only, and there is no database {name:?} with the tables: restore a dump with definitions \
                 there first"
            ));
        }
        return Ok(());
    };
    if dump.needs_tables().is_some() {
        if !facts.superuser {
            let why = "rows alone are restored with triggers switched off, which takes a superuser";
            parts.blockers.push(format!("{why}, and role {} is none", facts.role));
        }
        let database = login.open(name, work.clock).await?;
        parts.blockers.extend(rows::in_the_way(&database, dump).await?);
        parts.undo = format!("truncate the tables in {name}: they were empty before");
        return Ok(());
    }
    if !how.drop_existing {
        parts.blockers.push(format!(
            "database {name:?} already exists; --drop-existing puts the dump in its place, after a safety backup"
        ));
        return Ok(());
    }
    let size = Bytes(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0));
    let sessions: i64 = row.get(1);
    parts.overwrites = 1;
    parts.overwrites_sample = vec![format!("database {name} as it is now")];
    parts.warnings.push(format!(
        "{name} takes {size}; {sessions} sessions on it are ended when the restored one takes its place"
    ));
    parts
        .warnings
        .push("what is written to it after the safety backup began is not in the restored one".to_owned());
    parts
        .blockers
        .extend(in_the_way(session, name, &facts.role, facts.superuser).await?);
    "a safety backup is taken and read back first; its number is in the findings".clone_into(&mut parts.undo);
    Ok(())
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
