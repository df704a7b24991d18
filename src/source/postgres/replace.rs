//! A dump in the place of a database that exists, so that nothing is lost on the way and a failure changes nothing.
//!
//! | step | killed after it |
//! | --- | --- |
//! | a safety backup of the database as it is, tagged `safety`, every byte of it read back | the database is as it was; the snapshot stays |
//! | the dump is restored beside it, into a scratch database, and held against what was recorded | the same; the scratch database goes at the next start |
//! | sessions are ended and both renamed in one transaction, with owner, grants and settings | the new one is live; the old one is there as `NAME_before_TIME` |
//! | the old one is dropped | – |
//!
//! A copy that is not as recorded does not take the place: it is kept beside the database, which stays live. The old database is
//! dropped only when no row of it changed after the safety backup began; else it is kept, and both are named. That is judged by the
//! server's own counters, which never count less than what was committed before the sessions were ended.
//!
//! What this room never does: drop a database of which there is no snapshot that was read back.

use super::child::ssl_mode;
use super::connect::{Login, Session, quoted};
use super::restore::{Dump, into_scratch, noted};
use super::{dump, properties, switch};
use crate::domain::Bytes;
use crate::domain::id::SnapshotId;
use crate::domain::recovery::{DatabaseRestore, Finding, RecoveryPhase};
use crate::domain::source::{DumpSelection, PostgresSource, Source, SourceKind};
use crate::source::recovery::Stopwatch;
use crate::source::verify::checksum;
use crate::source::{BackupJob, SourceError, Subject, Work, quote};

/// The label, and the job, of a safety backup.
const SAFETY: &str = "safety";
/// What a safety backup may hold in memory.
const BUDGET: Bytes = Bytes(64 << 20);

/// What is restored to where, and how.
pub(super) struct Order<'a> {
    /// The snapshot.
    pub(super) subject: &'a Subject,
    /// Who we are on the server.
    pub(super) login: &'a Login,
    /// The database.
    pub(super) name: &'a str,
    /// How the dump is restored.
    pub(super) how: &'a DatabaseRestore,
    /// The recovery.
    pub(super) id: &'a str,
}

/// What stands in the way of a rename and a drop.
pub(super) async fn in_the_way(
    session: &Session,
    name: &str,
    role: &str,
    superuser: bool,
) -> Result<Vec<String>, SourceError> {
    let doing = "look at the database that is replaced";
    let sql = "select (select count(*) from pg_catalog.pg_replication_slots where database = $1),
                      (select count(*) from pg_catalog.pg_prepared_xacts where database = $1),
                      (select count(*) from pg_catalog.pg_stat_subscription s join pg_catalog.pg_subscription u on u.oid = s.subid
                         join pg_catalog.pg_database d on d.oid = u.subdbid where d.datname = $1),
                      (select pg_catalog.pg_get_userbyid(datdba)::text from pg_catalog.pg_database where datname = $1),
                      (select datistemplate from pg_catalog.pg_database where datname = $1)";
    let rows = session.rows(doing, sql, &[&name]).await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (column, what) in [
        (0, "logical replication slots"),
        (1, "prepared transactions"),
        (2, "subscriptions"),
    ] {
        let count: i64 = row.get(column);
        if count > 0 {
            found.push(format!("{name} has {count} {what}: drop or end them first"));
        }
    }
    let owner: Option<String> = row.get(3);
    if !superuser && owner.as_deref() != Some(role) {
        found.push(format!("role {role} is neither a superuser nor the owner of {name}"));
    }
    if row.get::<_, Option<bool>>(4).unwrap_or(false) || name == "postgres" {
        found.push(format!("{name} is the server's own"));
    }
    Ok(found)
}

/// Restores a dump in the place of a database; says what became of both.
pub(super) async fn replace(
    dump: &Dump,
    order: &Order<'_>,
    watch: &mut Stopwatch<'_>,
    work: &Work<'_>,
) -> Result<Vec<Finding>, SourceError> {
    let (login, name) = (order.login, order.name);
    let before = changes(login, name, work).await?;
    let (safety, mut findings) = back_up(order, work).await?;
    watch.reached(RecoveryPhase::Restore);
    let mut filled = into_scratch(dump, login, order.how, order.id, &order.subject.host, work).await?;
    watch.reached(RecoveryPhase::Verify);
    filled.check(dump, login, work).await?;
    let kept_as = switch::kept_name(name, work.clock.now());
    if let Some(wrong) = filled.findings.iter().find(|finding| !finding.ok) {
        let (why, aside) = (
            wrong.detail.clone(),
            switch::kept_name(&format!("{name}_restored"), work.clock.now()),
        );
        filled.scratch.keep_as(&aside).await?;
        return Err(SourceError::Invalid {
            what: format!("the restored copy is not as recorded, and {name} was left as it is: {why}"),
            hint: Some(format!(
                "the copy is kept as {aside}; if it is good enough: lifeboat database switch {} {}",
                quote(name),
                quote(&aside)
            )),
        });
    }
    watch.reached(RecoveryPhase::Cleanup);
    let plan = switch::plan(login, name, filled.scratch.name(), &kept_as, work.clock).await?;
    let session = login.open_maintenance(None, work.clock).await?;
    let own = properties::of(&session, name, name).await?;
    work.progress.set_current("taking the place of the old one");
    // Past this nothing is cancelled: the server does it, and says so.
    switch::switch_and(login, &plan, &own, work.clock).await?;
    filled.scratch.abandon();
    findings.extend(filled.findings);
    let undo = format!(
        "lifeboat restore {} {} --drop-existing",
        safety.short(),
        place_of(order)
    );
    findings.push(noted("undo", undo));
    let undo = format!("lifeboat database switch {} {}", quote(name), quote(&kept_as));
    findings.push(match drop_old(login, &session, &kept_as, before, work).await {
        Ok(None) => noted("the old database", "was dropped; the safety backup has all of it".to_owned()),
        Ok(Some(changed)) => noted(
            "the old database",
            format!(
                "is kept as {kept_as}: {changed} rows of it changed after the safety backup began; look, then drop it, or go back \
                 with: {undo}"
            ),
        ),
        Err(error) => Finding {
            what: "the old database".to_owned(),
            ok: false,
            detail: format!("is still there as {kept_as}, and could not be dropped: {error}"),
        },
    });
    Ok(findings)
}

/// The option that names the database again: on the source's own server, or on the one that was given.
fn place_of(order: &Order<'_>) -> String {
    let connection = &order.login.connection;
    let own = order.subject.source.as_ref().is_some_and(
        |source| matches!(&source.kind, SourceKind::PostgresDump(database) if database.connection == *connection),
    );
    if own {
        return format!("--target-database {}", quote(order.name));
    }
    let [user, host, name] = [connection.user.as_str(), &connection.host, order.name].map(encoded);
    let url = format!(
        "postgres://{user}@{host}:{}/{name}?sslmode={}",
        connection.port,
        ssl_mode(order.login)
    );
    format!("--target {}", quote(&url))
}

/// A part of a URL, with everything that means something there as `%2F`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.extend([format!("%{byte:02X}")]);
        }
    }
    out
}

/// Backs up the database as it is, and reads back every byte of that.
async fn back_up(order: &Order<'_>, work: &Work<'_>) -> Result<(SnapshotId, Vec<Finding>), SourceError> {
    let snapshot = &order.subject.snapshot;
    let database = PostgresSource {
        connection: order.login.connection.clone(),
        database: order.name.to_owned(),
        selection: DumpSelection::default(),
        scratch: None,
    };
    let source = Source {
        name: snapshot.source.clone().unwrap_or_else(|| SAFETY.into()),
        kind: SourceKind::PostgresDump(database.clone()),
    };
    let job = BackupJob {
        job: SAFETY.into(),
        run: order.id.into(),
        repository: snapshot.repository.clone(),
        tags: vec![SAFETY.to_owned()],
        comment: Some(format!(
            "{} as it was before snapshot {} took its place",
            order.name,
            snapshot.id.short()
        )),
        host: order.subject.host.clone(),
        memory_budget: BUDGET,
        started_at: work.clock.now(),
    };
    // The counters of the restore are of the restore.
    let own = Work {
        progress: crate::repo::Progress::new(),
        ..work.clone()
    };
    work.progress
        .set_current("safety backup of the database that is replaced");
    let failed = |why: String| SourceError::Invalid {
        what: format!(
            "the safety backup of {} is not good, and nothing was changed: {why}",
            order.name
        ),
        hint: Some("find out why; or restore into a new database".to_owned()),
    };
    let made = dump::back_up(&source, &database, order.login, &job, &own).await?;
    if let Some(error) = made.errors.first() {
        return Err(failed(error.clone()));
    }
    let safety = SnapshotId(made.result.snapshot.id);
    work.progress.set_current("reading the safety backup back");
    let checked = checksum(&safety, &own).await?;
    if let Some(wrong) = checked.iter().find(|finding| !finding.ok) {
        return Err(failed(wrong.detail.clone()));
    }
    let told = format!(
        "snapshot {} has {} as it was, every byte read back",
        safety.short(),
        order.name
    );
    Ok((safety, vec![noted("safety backup", told)]))
}

/// How many rows were ever written in the user's tables of a database, as the server counts.
async fn changes(login: &Login, database: &str, work: &Work<'_>) -> Result<i64, SourceError> {
    let session = login.open(database, work.clock).await?;
    let sql = "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint from pg_catalog.pg_stat_user_tables";
    let rows = session.rows("count the changes", sql, &[]).await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

/// Drops the old database, unless rows of it changed: then says how many.
async fn drop_old(
    login: &Login,
    session: &Session,
    kept_as: &str,
    before: i64,
    work: &Work<'_>,
) -> Result<Option<i64>, SourceError> {
    let after = changes(login, kept_as, work).await?;
    if after != before {
        return Ok(Some(after - before));
    }
    let sql = format!("drop database {} with (force)", quoted(kept_as));
    session.execute("drop the old database", &sql).await?;
    Ok(None)
}
