//! A snapshot into a new database: planned, streamed, renamed when it is complete.
//!
//! The dump is read twice. The first reading ends after the table of contents and keeps that much in a private file; the
//! second streams tables and rows in one pass. Indexes and constraints come last, in parallel, from the private file alone:
//! `pg_restore -j` needs the table of contents, not the rows.

use std::num::NonZero;
use std::sync::atomic::Ordering;

use super::child::Program;
use super::connect::{Login, quoted};
use super::feed::{Head, feed, finish};
use super::plan::{missing_roles, ownership_note, plan};
use super::probe;
use super::scratch::{Mark, ScratchDatabase};
use super::tools::Tools;
use super::{DatabaseManifest, Progress};
use crate::domain::Bytes;
use crate::domain::id::SnapshotId;
use crate::domain::recovery::{Finding, RecoveryPhase};
use crate::domain::source::DumpFormat;
use crate::repo::Phase;
use crate::source::manifest::{Artifact, Manifest};
use crate::source::recovery::{Restored, Stopwatch};
use crate::source::{SourceError, Subject, Work};

/// What a restore is made of, wherever it goes.
pub(super) struct Dump {
    /// What was recorded when it was taken.
    pub(super) database: DatabaseManifest,
    /// The file in the snapshot.
    pub(super) artifact: Artifact,
    /// The snapshot.
    pub(super) snapshot: SnapshotId,
}

impl Dump {
    /// Reads what a snapshot says of the dump in it.
    pub(super) async fn of(subject: &Subject, work: &Work<'_>) -> Result<Self, SourceError> {
        Self::in_snapshot(subject.snapshot.id.clone(), work).await
    }

    /// The same, where only the repository is known.
    pub(super) async fn in_snapshot(snapshot: SnapshotId, work: &Work<'_>) -> Result<Self, SourceError> {
        let Some(manifest) = Manifest::read(work.repo, &snapshot).await? else {
            return Err(SourceError::Snapshot {
                snapshot: snapshot.short().to_owned(),
                why: "has no lifeboat.json, so it is not known what its dump needs".to_owned(),
            });
        };
        let (database, artifact) = manifest.dump(&snapshot)?;
        Ok(Self {
            database: database.clone(),
            artifact: artifact.clone(),
            snapshot,
        })
    }

    /// Why it cannot become a database by itself, when it cannot.
    pub(super) fn needs_tables(&self) -> Option<&'static str> {
        let rows_only = self.database.selection.format == DumpFormat::DataOnly;
        rows_only.then_some("it holds rows only, for a database that has the tables")
    }

    /// The first number of the version of the tool that wrote it.
    fn tool_major(&self) -> u32 {
        let version = &self.database.facts.tool_version;
        version
            .chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .unwrap_or(0)
    }

    /// Opens the dump for reading from its beginning.
    pub(super) async fn open(&self, work: &Work<'_>) -> Result<crate::repo::reader::BlobReader, SourceError> {
        let path = format!("/{}", self.artifact.name);
        Ok(work.repo.open_file(self.snapshot.as_str(), &path).await?)
    }

    /// Finds a `pg_restore` that can read it and suits the server.
    pub(super) async fn tools(&self, login: Option<&Login>, major: u32, work: &Work<'_>) -> Result<Tools, SourceError> {
        let bin_dir = login.and_then(|login| login.connection.bin_dir.as_deref());
        Tools::find("pg_restore", bin_dir, major, self.tool_major(), work.clock).await
    }
}

/// Restores into a new database of that name.
pub(in crate::source) async fn restore(
    subject: &Subject,
    login: &Login,
    name: &str,
    id: &str,
    work: &Work<'_>,
) -> Result<Restored, SourceError> {
    let mut watch = Stopwatch::start(work);
    let dump = work.cancellable(Dump::of(subject, work)).await?;
    let plan = work.cancellable(plan(subject, login, name, work)).await?;
    if let Some(blocker) = plan.blockers.first() {
        return Err(SourceError::Invalid {
            what: format!("cannot restore into database {name:?}: {blocker}"),
            hint: Some("choose another name or server".to_owned()),
        });
    }
    watch.reached(RecoveryPhase::Restore);
    let (scratch, mut findings) = into_scratch(&dump, login, id, &subject.host, work).await?;
    watch.reached(RecoveryPhase::Verify);
    work.progress.set_phase(Phase::Verifying);
    match compare(&dump, login, scratch.name(), work).await {
        // A copy that is not as recorded is kept and reported: at three in the morning it beats none.
        Ok(compared) => findings.extend(compared),
        Err(error) => {
            scratch.remove().await?;
            return Err(error);
        }
    }
    scratch.keep_as(name).await?;
    work.progress.set_phase(Phase::Done);
    Ok(Restored {
        written: Bytes(dump.artifact.bytes),
        replayed: Bytes(0),
        items: dump.database.facts.tables,
        findings,
        phases: watch.stop(),
        errors: Vec::new(),
    })
}

/// Restores into a new scratch database; when that fails or is cancelled, nothing is left of it.
pub(super) async fn into_scratch(
    dump: &Dump,
    login: &Login,
    id: &str,
    host: &str,
    work: &Work<'_>,
) -> Result<(ScratchDatabase, Vec<Finding>), SourceError> {
    if let Some(why) = dump.needs_tables() {
        return Err(SourceError::Invalid {
            what: format!(
                "the dump in snapshot {} cannot become a new database: {why}",
                dump.snapshot.short()
            ),
            hint: Some(
                "decoded is the level such a dump can be proved to; restore it by hand with pg_restore".to_owned(),
            ),
        });
    }
    work.progress.set_phase(Phase::Preparing);
    work.progress
        .bytes_total
        .fetch_add(dump.artifact.bytes, Ordering::Relaxed);
    let session = work
        .cancellable(login.open_maintenance(Some(&dump.database.facts.name), work.clock))
        .await?;
    let facts = session.facts().await?;
    let missing = missing_roles(&session, &dump.database).await?;
    let tools = dump.tools(Some(login), facts.major, work).await?;
    drop(session);
    let mark = Mark::mine(host, work.clock);
    let (scratch, note) = ScratchDatabase::create(login, id, &dump.database, &facts, &mark, work.clock).await?;
    let mut findings: Vec<Finding> = note.map(|note| noted("locale", note)).into_iter().collect();
    // Only a superuser may give objects to any owner; for the others the restoring role owns everything.
    let plain_ownership = !missing.is_empty() || !facts.superuser;
    if plain_ownership {
        findings.push(noted("ownership", ownership_note(&missing)));
    }
    match fill(dump, login, scratch.name(), &tools, plain_ownership, work).await {
        Ok(()) => Ok((scratch, findings)),
        Err(error) => {
            // What went wrong first is what matters; what cannot be dropped now, the reaper finds.
            let _ = scratch.remove().await;
            Err(error)
        }
    }
}

async fn fill(
    dump: &Dump,
    login: &Login,
    database: &str,
    tools: &Tools,
    plain_ownership: bool,
    work: &Work<'_>,
) -> Result<(), SourceError> {
    let path = tools.program("pg_restore");
    let program = |section: &[&str]| {
        let program = Program::new("pg_restore", &path, format!("snapshot {}", dump.snapshot.short()))
            .arg("--exit-on-error")
            .arg_if(plain_ownership, "--no-owner")
            .arg_if(plain_ownership, "--no-privileges");
        section
            .iter()
            .fold(program, |program, section| program.arg(format!("--section={section}")))
            .connect(login, Some(database))
    };
    make_schemas(dump, login, database, work).await?;
    let head = Head::read(dump, tools, work).await?;
    work.progress.set_phase(Phase::Copying);
    work.progress.set_current("tables and rows");
    let running = program(&["pre-data", "data"]).start(Some(login))?;
    let count = |blob: &[u8]| Progress::add(&work.progress.bytes_done, blob.len() as u64);
    feed(dump, running, false, count, work).await?;
    work.progress.set_phase(Phase::Finishing);
    work.progress.set_current("indexes and constraints");
    let parallel = std::thread::available_parallelism().map_or(2, NonZero::get).min(4);
    let indexing = program(&["post-data"])
        .arg(format!("--jobs={parallel}"))
        .arg(&head.path)
        .start(Some(login))?;
    finish(indexing, work).await?;
    work.progress.set_current("statistics");
    let session = login.open(database, work.clock).await?;
    let analyse = work
        .cancellable(session.execute("analyze the restored database", "analyze"))
        .await;
    if analyse.is_err() {
        session.interrupt(work.clock).await;
    }
    analyse
}

/// Makes the schemas of a dump of some tables, which does not bring them.
async fn make_schemas(dump: &Dump, login: &Login, database: &str, work: &Work<'_>) -> Result<(), SourceError> {
    if dump.database.schemas.is_empty() {
        return Ok(());
    }
    let session = login.open(database, work.clock).await?;
    for schema in &dump.database.schemas {
        let sql = format!("create schema if not exists {}", quoted(schema));
        session.execute("make a schema", &sql).await?;
    }
    Ok(())
}

/// Holds a restored database against what was recorded when it was dumped: which tables, how many rows, which content.
pub(super) async fn compare(
    dump: &Dump,
    login: &Login,
    database: &str,
    work: &Work<'_>,
) -> Result<Vec<Finding>, SourceError> {
    let session = login.open(database, work.clock).await?;
    session.execute("prepare to read", probe::STEADY_SETTINGS).await?;
    let recorded = &dump.database;
    work.progress.set_current("counting rows");
    let comparing = async {
        let tables = probe::tables(&session).await?;
        let wanted = |_, key: &str| recorded.fingerprints.contains_key(key);
        probe::contents(&session, &tables, wanted, &work.progress).await
    };
    let found = match work.cancellable(comparing).await {
        Ok(found) => found,
        Err(error) => {
            session.interrupt(work.clock).await;
            return Err(error);
        }
    };
    let mut wrong = Vec::new();
    let mut rows = 0;
    for (table, expected) in &recorded.facts.row_counts {
        match found.get(table) {
            None => wrong.push(format!("{table} is missing")),
            Some(content) if content.rows != *expected => {
                wrong.push(format!("{table} has {} rows, expected {expected}", content.rows));
            }
            Some(content) if content.fingerprint.as_ref() != recorded.fingerprints.get(table) => {
                wrong.push(format!("{table} has the right number of rows but other content"));
            }
            Some(_) => rows += expected,
        }
    }
    let surplus = found
        .keys()
        .filter(|table| !recorded.facts.row_counts.contains_key(*table));
    wrong.extend(surplus.map(|table| format!("{table} was not in the database that was dumped")));
    let finding = Finding {
        what: "rows of every table".to_owned(),
        ok: wrong.is_empty(),
        detail: if wrong.is_empty() {
            format!(
                "{} tables, {rows} rows as recorded; content of {} tables as recorded",
                recorded.facts.tables,
                recorded.fingerprints.len()
            )
        } else {
            wrong.join("; ")
        },
    };
    Ok(vec![finding])
}

fn noted(what: &str, detail: String) -> Finding {
    Finding {
        what: what.to_owned(),
        ok: true,
        detail,
    }
}
