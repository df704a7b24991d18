//! A snapshot into a new database: planned, streamed, renamed when it is complete.
//!
//! The dump is read twice. The first reading ends after the table of contents and keeps that much in a private file; the
//! second streams tables and rows in one pass. Indexes and constraints come last, in parallel, from the private file alone:
//! `pg_restore -j` needs the table of contents, not the rows.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::child::Program;
use super::compare::compare;
use super::connect::{Login, quoted};
use super::feed::{Head, feed, finish};
use super::pick::Picked;
use super::plan::{missing_roles, ownership_note, plan};
use super::play::play;
use super::replace::{Order, replace};
use super::scratch::{Mark, ScratchDatabase};
use super::tools::Tools;
use super::{DatabaseManifest, Progress, rows};
use crate::domain::Bytes;
use crate::domain::id::SnapshotId;
use crate::domain::recovery::{DatabaseRestore, Finding, RecoveryPhase};
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

    /// Whether it is SQL text.
    pub(super) fn is_plain(&self) -> bool {
        self.database.selection.format == DumpFormat::Plain
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

/// Restores into a database of that name: a new one, or as [`DatabaseRestore`] says.
pub(in crate::source) async fn restore(
    subject: &Subject,
    login: &Login,
    name: &str,
    how: &DatabaseRestore,
    id: &str,
    work: &Work<'_>,
) -> Result<Restored, SourceError> {
    let mut watch = Stopwatch::start(work);
    let dump = work.cancellable(Dump::of(subject, work)).await?;
    let plan = work.cancellable(plan(subject, login, name, how, work)).await?;
    if let Some(blocker) = plan.blockers.first() {
        return Err(SourceError::Invalid {
            what: format!("cannot restore into database {name:?}: {blocker}"),
            hint: Some("choose another name or server".to_owned()),
        });
    }
    let order = Order {
        subject,
        login,
        name,
        how,
        id,
    };
    let findings = if dump.needs_tables().is_some() {
        rows::restore(&dump, login, name, &mut watch, work).await?
    } else if plan.overwrites > 0 {
        Box::pin(replace(&dump, &order, &mut watch, work)).await?
    } else {
        as_new(&dump, &order, &mut watch, work).await?
    };
    work.progress.set_phase(Phase::Done);
    Ok(Restored {
        left: None,
        written: Bytes(dump.artifact.bytes),
        replayed: Bytes(0),
        items: dump.database.facts.tables,
        findings,
        phases: watch.stop(),
        errors: Vec::new(),
    })
}

async fn as_new(
    dump: &Dump,
    order: &Order<'_>,
    watch: &mut Stopwatch<'_>,
    work: &Work<'_>,
) -> Result<Vec<Finding>, SourceError> {
    let (login, host) = (order.login, &order.subject.host);
    watch.reached(RecoveryPhase::Restore);
    let mut filled = into_scratch(dump, login, order.how, order.id, host, work).await?;
    watch.reached(RecoveryPhase::Verify);
    // A copy that is not as recorded is kept and reported: at three in the morning it beats none.
    filled.check(dump, login, work).await?;
    filled.scratch.keep_as(order.name).await?;
    Ok(filled.findings)
}

/// A scratch database with a dump in it.
pub(super) struct Filled {
    /// The database.
    pub(super) scratch: ScratchDatabase,
    /// What should be known of it.
    pub(super) findings: Vec<Finding>,
    /// The tables that were picked, when some were.
    pub(super) only: Option<BTreeSet<String>>,
}

impl Filled {
    /// Compares it with what was recorded. When that cannot be done, it is gone.
    pub(super) async fn check(&mut self, dump: &Dump, login: &Login, work: &Work<'_>) -> Result<(), SourceError> {
        work.progress.set_phase(Phase::Verifying);
        self.findings
            .extend(compare(dump, login, self.scratch.name(), self.only.as_ref(), work).await?);
        Ok(())
    }
}

/// Restores into a new scratch database; when that fails or is cancelled, nothing is left of it.
pub(super) async fn into_scratch(
    dump: &Dump,
    login: &Login,
    how: &DatabaseRestore,
    id: &str,
    host: &str,
    work: &Work<'_>,
) -> Result<Filled, SourceError> {
    if let Some(why) = dump.needs_tables() {
        return Err(SourceError::Invalid {
            what: format!(
                "the dump in snapshot {} cannot become a new database: {why}",
                dump.snapshot.short()
            ),
            hint: Some("restore it into a database that has the tables, and no rows in them".to_owned()),
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
    drop(session);
    // Only a superuser may give objects to any owner; for the others the restoring role owns everything.
    let without_owners = !missing.is_empty() || !facts.superuser;
    let contents = Contents::prepare(dump, login, facts.major, how, without_owners, work).await?;
    let mark = Mark::mine(host, work.clock);
    let (scratch, note) = ScratchDatabase::create(login, id, &dump.database, &facts, &mark, work.clock).await?;
    let mut findings: Vec<Finding> = note.map(|note| noted("locale", note)).into_iter().collect();
    if without_owners {
        findings.push(noted("ownership", ownership_note(&missing)));
    }
    let only = contents.picked.as_ref().map(|(_, picked)| picked.tables.clone());
    if let Some((_, picked)) = contents
        .picked
        .as_ref()
        .filter(|(_, picked)| !picked.left_out.is_empty())
    {
        let detail = format!("needs tables that were not chosen: {}", picked.left_out.join(", "));
        findings.push(noted("left out", detail));
    }
    match contents.fill(scratch.name(), work).await {
        Ok(()) => Ok(Filled {
            scratch,
            findings,
            only,
        }),
        Err(error) => {
            // What went wrong first is what matters; what cannot be dropped now, the reaper finds.
            let _ = scratch.remove().await;
            Err(error)
        }
    }
}

/// What goes into a database, and by what.
struct Contents<'a> {
    dump: &'a Dump,
    login: &'a Login,
    how: &'a DatabaseRestore,
    without_owners: bool,
    /// The program and the table of contents; a plain dump has neither.
    archive: Option<(Tools, Head)>,
    /// The list of what was picked, and what that is.
    picked: Option<(PathBuf, Picked)>,
}

impl<'a> Contents<'a> {
    /// Reads the table of contents, and finds what was picked.
    async fn prepare(
        dump: &'a Dump,
        login: &'a Login,
        major: u32,
        how: &'a DatabaseRestore,
        without_owners: bool,
        work: &Work<'_>,
    ) -> Result<Self, SourceError> {
        let mut contents = Self {
            dump,
            login,
            how,
            without_owners,
            archive: None,
            picked: None,
        };
        if dump.is_plain() {
            return Ok(contents);
        }
        let tools = dump.tools(Some(login), major, work).await?;
        let head = Head::read(dump, &tools, work).await?;
        if !how.tables.is_empty() {
            contents.picked = Some(head.pick(dump, &how.tables).await?);
        }
        contents.archive = Some((tools, head));
        Ok(contents)
    }

    /// Fills an empty database.
    async fn fill(&self, database: &str, work: &Work<'_>) -> Result<(), SourceError> {
        let (dump, login) = (self.dump, self.login);
        make_schemas(dump, login, database, work).await?;
        work.progress.set_phase(Phase::Copying);
        work.progress.set_current("tables and rows");
        match &self.archive {
            None => play(dump, login, database, self.without_owners, work).await?,
            Some((tools, _)) if self.how.jobs > 1 => self.at_one_time(tools, database, work).await?,
            Some((tools, head)) => self.streamed(tools, head, database, work).await?,
        }
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

    fn program(&self, tools: &Tools, database: &str) -> Program {
        let subject = format!("snapshot {}", self.dump.snapshot.short());
        let program = Program::new("pg_restore", &tools.program("pg_restore"), subject)
            .arg("--exit-on-error")
            .arg_if(self.without_owners, "--no-owner")
            .arg_if(self.without_owners, "--no-privileges")
            .connect(self.login, Some(database));
        match &self.picked {
            Some((list, _)) => program.arg("--use-list").arg(list),
            None => program,
        }
    }

    /// Tables and rows in one pass, then indexes and constraints in parallel.
    async fn streamed(&self, tools: &Tools, head: &Head, database: &str, work: &Work<'_>) -> Result<(), SourceError> {
        let reading = self
            .program(tools, database)
            .arg("--section=pre-data")
            .arg("--section=data");
        let running = reading.start(Some(self.login))?;
        let count = |blob: &[u8]| Progress::add(&work.progress.bytes_done, blob.len() as u64);
        feed(self.dump, running, false, count, work).await?;
        work.progress.set_phase(Phase::Finishing);
        work.progress.set_current("indexes and constraints");
        let parallel = std::thread::available_parallelism().map_or(2, NonZero::get).min(4);
        let indexing = self
            .program(tools, database)
            .arg("--section=post-data")
            .arg(format!("--jobs={parallel}"))
            .arg(&head.path)
            .start(Some(self.login))?;
        finish(indexing, work).await
    }

    /// Everything in parallel, from a file.
    async fn at_one_time(&self, tools: &Tools, database: &str, work: &Work<'_>) -> Result<(), SourceError> {
        let whole = Head::whole(self.dump, work).await?;
        let program = self.program(tools, database).arg(format!("--jobs={}", self.how.jobs));
        let running = program.arg(&whole.path).start(Some(self.login))?;
        finish(running, work).await
    }
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

pub(super) fn noted(what: &str, detail: String) -> Finding {
    Finding {
        what: what.to_owned(),
        ok: true,
        detail,
    }
}
