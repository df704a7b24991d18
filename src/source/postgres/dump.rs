//! A database into a snapshot: one exported snapshot, `pg_dump` streamed, rows counted beside it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::DatabaseManifest;
use super::child::Program;
use super::connect::{Login, ServerFacts, Session};
use super::globals::globals;
use super::probe::{self, TableContent};
use super::tools::{Installed, Tools};
use crate::domain::snapshot::DatabaseFacts;
use crate::domain::source::{DumpFormat, DumpSelection, PostgresSource, Source};
use crate::repo::{Phase, StreamOptions, StreamSnapshot};
use crate::source::backup::Finished;
use crate::source::manifest::{Artifact, MANIFEST_NAME, Manifest, labels};
use crate::source::{BackupJob, SourceError, Work};

/// Tables are fingerprinted as long as they take no more than this together; a second or two of one core of the server.
const FINGERPRINT_BUDGET: u64 = 256 << 20;
/// What an argument vector has room for: two megabytes, at most 135 bytes a name, and some air.
const MOST_NAMED: usize = 10_000;
/// The name of the roles and tablespaces in the snapshot.
const GLOBALS_NAME: &str = "globals.sql";

/// Dumps a database into a new snapshot.
pub(in crate::source) async fn back_up(
    source: &Source,
    database: &PostgresSource,
    login: &Login,
    job: &BackupJob,
    work: &Work<'_>,
) -> Result<Finished, SourceError> {
    work.progress.set_phase(Phase::Preparing);
    work.progress
        .set_current(&format!("connecting to {}", login.connection.display()));
    let login = login.named(format!("lifeboat {}", job.run));
    let opened = work.cancellable(open(&login, database, work)).await?;
    // Not cancellable as a whole: what is inside sees to its children itself before it gives up.
    let result = Box::pin(write(source, database, &login, job, &opened, work)).await;
    if result.is_err() {
        // A backend that counts rows or waits for a lock does not notice that nobody listens any more. The caller need not
        // wait for this.
        let (database, clock) = (database.database.clone(), work.clock.clone());
        tokio::spawn(async move { login.end_all(&database, &clock).await });
    }
    result
}

/// What is known before the first byte is dumped.
struct Opened {
    session: Session,
    facts: ServerFacts,
    tools: Tools,
    exported: String,
    taken_at: crate::domain::Timestamp,
    described: DatabaseManifest,
    /// Which tables are dumped; all when nothing was chosen.
    selected: Option<probe::Selected>,
}

async fn open(login: &Login, database: &PostgresSource, work: &Work<'_>) -> Result<Opened, SourceError> {
    let directory = login.connection.bin_dir.as_deref();
    let asking = async {
        let session = login.open(&database.database, work.clock).await?;
        let facts = session.facts().await?;
        Ok::<_, SourceError>((session, facts))
    };
    // Each takes a while, and neither needs the other.
    let (asked, tools) = tokio::join!(asking, Installed::look("pg_dump", directory, work.clock));
    let (session, facts) = asked?;
    let tools = tools.fit(facts.major, 0)?;
    session.execute("prepare to read", probe::STEADY_SETTINGS).await?;
    // Before the snapshot, so that what is promised is never newer than what is held.
    let taken_at = work.clock.now();
    session
        .execute("begin reading", "begin isolation level repeatable read read only")
        .await?;
    let rows = session
        .rows("export a snapshot", "select pg_catalog.pg_export_snapshot()", &[])
        .await?;
    let exported = rows.first().map(|row| row.get::<_, String>(0)).unwrap_or_default();
    let described = probe::describe(&session, facts.major, &database.database).await?;
    let chosen = &database.selection;
    let selected = if chosen.is_all() {
        None
    } else {
        let selected = probe::selected(&session, chosen).await?;
        let (_, names) = named(chosen, &selected)?;
        if names.len() > MOST_NAMED {
            return Err(SourceError::Invalid {
                what: format!("the choice of tables would take more than {MOST_NAMED} arguments"),
                hint: Some("choose fewer, or exclude fewer".to_owned()),
            });
        }
        Some(selected)
    };
    Ok(Opened {
        session,
        facts,
        tools,
        exported,
        taken_at,
        described,
        selected,
    })
}

async fn write(
    source: &Source,
    database: &PostgresSource,
    login: &Login,
    job: &BackupJob,
    opened: &Opened,
    work: &Work<'_>,
) -> Result<Finished, SourceError> {
    let dump_name = dump_name(&database.database, database.selection.format);
    let options = StreamOptions {
        tags: labels(source, &job.job, &job.run)
            .into_iter()
            .chain(job.tags.iter().cloned())
            .collect(),
        comment: job.comment.clone(),
        hostname: Some(job.host.clone()),
        paths: vec![format!("/{dump_name}")],
        memory_budget_bytes: job.memory_budget.0,
        ..StreamOptions::default()
    };
    let mut writer = work
        .repo
        .begin_stream_snapshot(options, work.progress.clone(), work.cancel.clone())
        .await?;
    let mut errors = Vec::new();
    let mut manifest = Manifest::new(source, job, opened.taken_at);
    manifest.subject = vec![format!("{} on {}", database.database, login.connection.display())];

    work.progress.set_phase(Phase::Copying);
    work.progress.set_current(&format!("dumping {}", database.database));
    // The roles are read while the dump begins. What is in the dump was there when its snapshot was exported, and so were the
    // roles it names.
    let roles = globals(login, database, &opened.facts, &opened.tools, work);
    let (artifact, contents, roles) =
        Box::pin(stream(&mut writer, database, login, opened, &dump_name, roles, work)).await?;
    match roles {
        Ok((bytes, note)) => {
            manifest.notes.extend(note);
            manifest.artifacts.push(put(&mut writer, GLOBALS_NAME, &bytes).await?);
        }
        Err(why) => errors.push(why),
    }
    manifest.artifacts.push(artifact);
    let facts = facts_of(database, opened, &contents);
    manifest.database = Some(DatabaseManifest {
        facts: facts.clone(),
        dump: dump_name,
        standby: opened.facts.standby,
        selection: database.selection.clone(),
        schemas: schemas(database, opened),
        fingerprints: contents
            .into_iter()
            .filter_map(|(table, content)| Some((table, content.fingerprint?)))
            .collect(),
        ..opened.described.clone()
    });
    work.progress.set_phase(Phase::Finishing);
    put(&mut writer, MANIFEST_NAME, &manifest.to_bytes()).await?;
    let result = writer.commit().await?;
    work.progress.set_phase(Phase::Done);
    Ok(Finished {
        result,
        taken_at: opened.taken_at,
        database: Some(facts),
        cluster: None,
        errors,
        warning: None,
    })
}

/// The roles and a note on them; or why there are none, where the dump is worth having without.
type Roles = Result<(Vec<u8>, Option<String>), String>;

/// Streams `pg_dump` into the repository while the rows are counted and the roles are read; its end decides whether what came
/// was all.
async fn stream(
    writer: &mut StreamSnapshot,
    database: &PostgresSource,
    login: &Login,
    opened: &Opened,
    dump_name: &str,
    roles: impl Future<Output = Result<(Vec<u8>, Option<String>), SourceError>>,
    work: &Work<'_>,
) -> Result<(Artifact, BTreeMap<String, TableContent>, Roles), SourceError> {
    let subject = format!("database {:?} on {}", database.database, login.connection.display());
    let format = database.selection.format;
    let plain = format == DumpFormat::Plain;
    let dump = Program::new("pg_dump", &opened.tools.program("pg_dump"), subject)
        .arg(if plain { "--format=plain" } else { "--format=custom" })
        .arg_if(!plain, "--compress=0")
        // What cuts the text into statements reads UTF-8; a database without an encoding has none to be changed to.
        .arg_if(plain && opened.described.encoding != "SQL_ASCII", "--encoding=UTF8")
        .arg("--lock-wait-timeout=60s")
        .arg(format!("--snapshot={}", opened.exported))
        .arg_if(format == DumpFormat::SchemaOnly, "--schema-only")
        .arg_if(format == DumpFormat::DataOnly, "--data-only");
    let mut dump = choose(dump, database, opened)?
        .connect(login, Some(&database.database))
        .start(Some(login))?;
    drop(dump.take_stdin());
    let output = dump.take_output()?;
    let counting = async {
        let mut tables = probe::tables(&opened.session).await?;
        if let Some(selected) = &opened.selected {
            tables.retain(|table| selected.taken.contains_key(&table.key()));
        }
        if format == DumpFormat::SchemaOnly {
            // The dump has the tables and none of their rows, and that is what a copy of it is held against.
            let empty = |table: &probe::Table| {
                (
                    table.key(),
                    TableContent {
                        rows: 0,
                        fingerprint: None,
                    },
                )
            };
            return Ok(tables.iter().map(empty).collect());
        }
        let total = &work.progress.files_total;
        total.fetch_add(tables.len() as u64, Ordering::Relaxed);
        let affordable = probe::affordable(&tables, FINGERPRINT_BUDGET);
        probe::contents(&opened.session, &tables, |index, _| affordable[index], &work.progress).await
    };
    let storing = async { writer.put_reader(dump_name, output).await.map_err(SourceError::from) };
    let naming = async {
        match roles.await {
            Err(error @ SourceError::Child { .. }) => Ok(Err(error.to_string())),
            roles => roles.map(Ok),
        }
    };
    let all = work
        .cancellable(async { tokio::try_join!(storing, counting, naming) })
        .await;
    match all {
        Ok((stats, contents, roles)) => {
            dump.finish().await?;
            let artifact = Artifact {
                name: dump_name.to_owned(),
                bytes: stats.bytes,
                sha256: stats.sha256,
            };
            Ok((artifact, contents, roles))
        }
        Err(error) => {
            dump.kill().await;
            Err(error)
        }
    }
}

/// Names the tables, one by one and in quotes.
fn choose(program: Program, database: &PostgresSource, opened: &Opened) -> Result<Program, SourceError> {
    let Some(selected) = &opened.selected else {
        return Ok(program);
    };
    let (option, names) = named(&database.selection, selected)?;
    let with = |program: Program, name: &String| program.arg(format!("{option}={name}"));
    Ok(names.values().fold(program, with))
}

/// The option that says which tables, and their names: those to take where some were chosen, else those to leave.
///
/// # Errors
/// When some were chosen and none of them is left: `pg_dump` without a name takes every table there is.
fn named<'s>(
    chosen: &DumpSelection,
    selected: &'s probe::Selected,
) -> Result<(&'static str, &'s BTreeMap<String, String>), SourceError> {
    if chosen.tables.is_empty() {
        return Ok(("--exclude-table", &selected.left));
    }
    if selected.taken.is_empty() {
        return Err(SourceError::Invalid {
            what: "every table that was chosen is excluded too: nothing would be dumped".to_owned(),
            hint: Some("check tables and exclude_tables of the source".to_owned()),
        });
    }
    Ok(("--table", &selected.taken))
}

/// The schemas that a restore has to make itself: `pg_dump` leaves them out when it is told tables.
fn schemas(database: &PostgresSource, opened: &Opened) -> Vec<String> {
    match &opened.selected {
        Some(selected) if !database.selection.tables.is_empty() => selected.schemas.iter().cloned().collect(),
        _ => Vec::new(),
    }
}

async fn put(writer: &mut StreamSnapshot, name: &str, bytes: &[u8]) -> Result<Artifact, SourceError> {
    let stats = writer.put_bytes(name, bytes).await?;
    Ok(Artifact {
        name: name.to_owned(),
        bytes: stats.bytes,
        sha256: stats.sha256,
    })
}

fn facts_of(database: &PostgresSource, opened: &Opened, contents: &BTreeMap<String, TableContent>) -> DatabaseFacts {
    DatabaseFacts {
        name: database.database.clone(),
        server_version: opened.facts.version.clone(),
        tool_version: opened.tools.version.clone(),
        system_identifier: opened.facts.system_identifier.clone(),
        row_counts: contents
            .iter()
            .map(|(table, content)| (table.clone(), content.rows))
            .collect(),
        tables: contents.len() as u64,
    }
}

/// The name of a dump in its snapshot: the database's, with what a file name cannot hold written as `%2F`.
fn dump_name(database: &str, format: DumpFormat) -> String {
    let mut name = String::with_capacity(database.len() + 5);
    for c in database.chars() {
        if c == '/' || c == '%' || c == '\\' || c.is_control() {
            let mut buffer = [0; 4];
            name.extend(c.encode_utf8(&mut buffer).bytes().map(|byte| format!("%{byte:02X}")));
        } else {
            name.push(c);
        }
    }
    name + if format == DumpFormat::Plain { ".sql" } else { ".dump" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_that_is_checked_is_the_one_that_is_said() {
        let names = |list: &[&str]| {
            list.iter()
                .map(|name| ((*name).to_owned(), (*name).to_owned()))
                .collect()
        };
        let selected = |taken: &[&str], left: &[&str]| probe::Selected {
            taken: names(taken),
            left: names(left),
            ..probe::Selected::default()
        };
        let chosen = |tables: &[&str]| DumpSelection {
            tables: tables.iter().map(ToString::to_string).collect(),
            exclude_tables: vec!["public.b".to_owned()],
            ..DumpSelection::default()
        };
        let said = |chosen: &DumpSelection, selected: &probe::Selected| {
            named(chosen, selected).map(|(option, names)| (option, names.len()))
        };
        let (some, none) = (selected(&["a"], &["b", "c"]), selected(&[], &["a", "b", "c"]));
        assert_eq!(said(&chosen(&["public.a"]), &some).unwrap(), ("--table", 1));
        assert_eq!(said(&chosen(&[]), &some).unwrap(), ("--exclude-table", 2));
        assert!(matches!(
            said(&chosen(&["public.b"]), &none),
            Err(SourceError::Invalid { .. })
        ));
    }

    #[test]
    fn any_database_name_makes_a_file_name() {
        assert_eq!(dump_name("shop", DumpFormat::Plain), "shop.sql");
        assert_eq!(dump_name("a/b \"c\"%\n", DumpFormat::Custom), "a%2Fb \"c\"%25%0A.dump");
        assert_eq!(dump_name("..", DumpFormat::SchemaOnly), "...dump");
    }
}
