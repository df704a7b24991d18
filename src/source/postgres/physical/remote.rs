//! The files of a running cluster over a connection, through `pg_basebackup`.
//!
//! **No temporary copy.** A cluster without tablespaces of its own comes as one tar on the standard output, which is taken apart
//! as it comes. `pg_basebackup` cannot write several tars to one output, so a cluster with tablespaces is written to a spool
//! directory first, which takes the room of the whole cluster, and taken apart from there; the room is looked for beforehand.
//!
//! **The log** from start to end comes at the end of the same stream (`--wal-method=fetch`). A temporary slot of a second
//! connection makes the server keep it until then.
//!
//! **Pages** are looked at here and not by the server, which would fail the backup for a damaged one. A page that seems damaged is
//! asked of the server a second time afterwards.
//!
//! **Everything is sent**; what the repository has is not stored again. Files cannot be taken over unread.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::cluster::Cluster;
use super::copy::{Copied, Order, assemble, describe};
use super::label::BackupLabel;
use super::page::PAGE;
use super::segments::Stretch;
use super::stream::{self, Range, Sink, Streamed};
use super::{PhysicalError, second};
use crate::domain::units::{Bytes, Timestamp};
use crate::repo::{Assembler, NodeKind, off_runtime};
use crate::source::SourceError;
use crate::source::backup::Finished;
use crate::source::files::free_space;
use crate::source::manifest::{Manifest, PhysicalMethod, Tablespace};
use crate::source::postgres::child::{Program, Running};
use crate::source::postgres::tools::Tools;
use crate::source::scratch_dir::ScratchDir;

/// What the streams held, and who was told.
type Read = (Streamed, Assembler);

/// Copies a cluster over a connection.
pub(super) async fn copy(order: &Order<'_>) -> Result<Finished, SourceError> {
    let (work, cluster) = (order.work, order.cluster);
    let bin_dir = cluster.login.connection.bin_dir.as_deref();
    let tools = Tools::find("pg_basebackup", bin_dir, cluster.facts.major, 0, work.clock).await?;
    work.cancellable(cluster.hold_log()).await?;
    let told = |assembler| stream_all(order, &tools, assembler);
    assemble(order, None, "its files were sent", told).await
}

async fn stream_all(order: &Order<'_>, tools: &Tools, assembler: Assembler) -> Result<Manifest, SourceError> {
    let (work, cluster) = (order.work, order.cluster);
    // What is sent is at least as new as the moment before it was asked for; when exactly it ended, only the server knows.
    let started_at = cluster.now().await?;
    work.progress.set_current("waiting for a checkpoint");
    let (mut streamed, assembler) = if cluster.tablespaces.is_empty() {
        piped(order, tools, assembler).await?
    } else {
        spooled(order, tools, assembler).await?
    };
    let stopped_at = cluster.now().await?;
    let range = streamed.range.ok_or_else(|| missing("its manifest"))?;
    let label = streamed.label.take().ok_or_else(|| missing("backup_label"))?;
    check(order, &streamed, &label, range)?;
    let (mut damaged_pages, mut damaged_total) = streamed.take_damage().judge(range.end);
    let notes = second::look(cluster, label.start, &mut damaged_pages, &mut damaged_total).await;
    let copied = Copied {
        method: PhysicalMethod::Remote,
        label,
        stop: range.end,
        times: (started_at, stopped_at),
        damage: (damaged_pages, damaged_total),
        tablespaces: cluster.tablespaces.clone(),
        bytes: streamed.bytes,
        notes: notes.into_iter().collect(),
    };
    let manifest = order.manifest(started_at, copied);
    describe(assembler, &manifest, work).await?;
    Ok(manifest)
}

fn program(order: &Order<'_>, tools: &Tools, to: &Path) -> Program {
    let cluster = order.cluster;
    let subject = format!("cluster at {}", cluster.session.server);
    Program::new("pg_basebackup", &tools.program("pg_basebackup"), subject)
        .arg(format!("--pgdata={}", to.display()))
        .arg("--format=tar")
        .arg("--wal-method=fetch")
        .arg("--checkpoint=fast")
        .arg("--no-verify-checksums")
        .arg("--manifest-checksums=NONE")
        .arg("--no-sync")
        .arg(format!("--label={}", order.label()))
        .connect(&cluster.login, None)
}

/// One tar, taken apart as it comes.
async fn piped(order: &Order<'_>, tools: &Tools, assembler: Assembler) -> Result<Read, SourceError> {
    let mut child = program(order, tools, Path::new("-")).start(Some(&order.cluster.login))?;
    drop(child.take_stdin());
    let Some(output) = child.take_stdout() else {
        return Err(SourceError::Cancelled);
    };
    // Whoever gives this future up drops the child with it, which ends it and with it the stream.
    let input =
        blocking_pipe(output).map_err(|error| SourceError::local("read from", Path::new("pg_basebackup"), &error))?;
    let sinks = Sinks::of(order);
    let read = off_runtime(move || {
        begin(&assembler, &sinks)?;
        let mut streamed = Streamed::default();
        let input = BufReader::with_capacity(256 << 10, input);
        streamed.read(input, &sinks.sink(&assembler, "/data"))?;
        assembler.leave()?;
        Ok((streamed, assembler))
    });
    ended(child, read.await?).await
}

/// The output of a child for whoever may wait for it.
fn blocking_pipe(output: tokio::process::ChildStdout) -> std::io::Result<File> {
    let pipe = output.into_owned_fd()?;
    let flags = rustix::fs::fcntl_getfl(&pipe)?;
    rustix::fs::fcntl_setfl(&pipe, flags - rustix::fs::OFlags::NONBLOCK)?;
    Ok(File::from(pipe))
}

/// What the program says is the cause when its stream broke off.
async fn ended<T>(child: Running, read: Result<T, SourceError>) -> Result<T, SourceError> {
    match read {
        Ok(read) => child.finish().await.map(|()| read),
        Err(error @ SourceError::Physical(PhysicalError::Malformed { .. })) => {
            child.finish().await?;
            Err(error)
        }
        Err(error) => {
            child.kill().await;
            Err(error)
        }
    }
}

/// Several tars in a spool directory, taken apart one after the other.
async fn spooled(order: &Order<'_>, tools: &Tools, assembler: Assembler) -> Result<Read, SourceError> {
    let (work, cluster) = (order.work, order.cluster);
    let parent = order.settings.scratch_dir.clone().unwrap_or_else(std::env::temp_dir);
    let needed = cluster.size().await?;
    if let Some(free) = free_space(&parent).filter(|free| free.0 < needed.0) {
        let place = parent;
        return Err(SourceError::NoRoom { place, free, needed });
    }
    let spool = ScratchDir::create(&parent, order.job.run.as_str(), &order.job.host, work.clock)?;
    let mut child = program(order, tools, &spool.data()).start(Some(&cluster.login))?;
    drop(child.take_stdin());
    drop(child.take_stdout());
    child.finish().await?;
    let (sinks, place, tablespaces) = (Sinks::of(order), spool.data(), cluster.tablespaces.clone());
    let read = off_runtime(move || take_apart(&place, &tablespaces, assembler, &sinks)).await?;
    // Dropped only now, because its end removes what is being read.
    drop(spool);
    read
}

fn take_apart(
    place: &Path,
    tablespaces: &[Tablespace],
    assembler: Assembler,
    sinks: &Sinks,
) -> Result<Read, SourceError> {
    let failed = |path: &Path, error: std::io::Error| SourceError::local("read", path, &error);
    let open = |path: &Path| File::open(path).map_err(|error| failed(path, error));
    let directory = |name: &str| assembler.enter(assembler.plain(name, NodeKind::Dir, sinks.now));
    let mut streamed = Streamed::default();
    begin(&assembler, sinks)?;
    // The base comes first: its label says where the backup began, which the pages of all the others are held against.
    let base = BufReader::new(open(&place.join("base.tar"))?);
    streamed.read(base, &sinks.sink(&assembler, "/data"))?;
    assembler.leave()?;
    directory("tablespaces")?;
    for (oid, path) in tars(place).map_err(|error| failed(place, error))? {
        if !tablespaces.iter().any(|tablespace| tablespace.oid == oid) {
            return Err(missing("the name of a tablespace that was made meanwhile"));
        }
        directory(&oid.to_string())?;
        let shown = format!("/tablespaces/{oid}");
        streamed.read(BufReader::new(open(&path)?), &sinks.sink(&assembler, &shown))?;
        assembler.leave()?;
    }
    assembler.leave()?;
    let manifest = open(&place.join("backup_manifest"))?;
    let tail = stream::tail(manifest).map_err(|error| failed(place, error))?;
    streamed.range = Some(stream::parse_range(&tail)?);
    Ok((streamed, assembler))
}

/// The files of a spool directory: the base, and the tablespaces by number.
fn tars(spool: &Path) -> std::io::Result<Vec<(u32, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(spool)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(oid) = name.strip_suffix(".tar").and_then(|stem| stem.parse().ok()) {
            found.push((oid, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Begins the root and the data directory.
fn begin(assembler: &Assembler, sinks: &Sinks) -> Result<(), SourceError> {
    for name in ["", "data"] {
        assembler.enter(assembler.plain(name, NodeKind::Dir, sinks.now))?;
    }
    Ok(())
}

/// What every stream of one copy is read with.
#[derive(Clone, Copy)]
struct Sinks {
    checked: Option<u32>,
    blocks: bool,
    now: Timestamp,
}

impl Sinks {
    fn of(order: &Order<'_>) -> Self {
        let blocks = order.cluster.block_size as usize == PAGE;
        Self {
            checked: (order.cluster.checksums && blocks).then_some(order.cluster.segment_pages),
            blocks,
            now: order.work.clock.now(),
        }
    }

    fn sink<'a>(&self, assembler: &'a Assembler, shown: &'a str) -> Sink<'a> {
        Sink {
            assembler,
            checked: self.checked,
            blocks: self.blocks,
            shown,
            now: self.now,
        }
    }
}

fn missing(what: &str) -> SourceError {
    PhysicalError::Malformed {
        what: "the stream of pg_basebackup".to_owned(),
        why: format!("it lacks {what}"),
    }
    .into()
}

/// Refuses a stream of another cluster or timeline, and one without the log it needs.
fn check(order: &Order<'_>, streamed: &Streamed, label: &BackupLabel, range: Range) -> Result<(), SourceError> {
    let cluster = order.cluster;
    order.check_system(&streamed.control.ok_or_else(|| missing("global/pg_control"))?)?;
    if label.timeline != range.timeline {
        return Err(PhysicalError::TimelineChanged {
            server: cluster.session.server.clone(),
            from: label.timeline,
            to: range.timeline,
        }
        .into());
    }
    let stretch = Stretch {
        system: cluster.system,
        timeline: range.timeline,
        size: cluster.segment_size,
        start: label.start,
        stop: range.end,
    };
    let has = |name: &str| streamed.log.iter().any(|known| known == name);
    if let Some(name) = stretch.segments().find(|name| !has(&name.to_string())) {
        let place = cluster.session.server.clone();
        return Err(PhysicalError::WalGone { name, place }.into());
    }
    Ok(())
}

/// Kept here so that what is asked of a server for a copy stands beside what is done with it.
impl Cluster {
    /// What its databases take.
    async fn size(&self) -> Result<Bytes, SourceError> {
        let sql = "select coalesce(sum(pg_catalog.pg_tablespace_size(oid)), 0)::int8 from pg_catalog.pg_tablespace";
        let rows = self.session.rows("ask how large the cluster is", sql, &[]).await?;
        Ok(Bytes(
            rows.first()
                .and_then(|row| u64::try_from(row.get::<_, i64>(0)).ok())
                .unwrap_or(0),
        ))
    }
}
