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
use std::sync::Mutex;

use tokio_util::io::SyncIoBridge;

use super::PhysicalError;
use super::cluster::Cluster;
use super::copy::{Order, cause, describe, finished};
use super::lay_down::blocking;
use super::page::{self, PAGE, Verdict};
use super::read::Pages;
use super::segments::Stretch;
use super::stream::{self, Range, Sink, Streamed};
use crate::domain::units::{Bytes, Timestamp};
use crate::domain::wal::Lsn;
use crate::repo::{Assembler, NodeKind, Phase, plain_node};
use crate::source::SourceError;
use crate::source::backup::Finished;
use crate::source::files::free_space;
use crate::source::manifest::{ClusterManifest, DamagedPage, Manifest, PhysicalMethod, Tablespace};
use crate::source::postgres::child::{Program, Running};
use crate::source::postgres::tools::Tools;
use crate::source::scratch_dir::ScratchDir;

/// The damage seen, with what the streams held.
struct Read {
    streamed: Streamed,
    pages: Option<Pages>,
    assembler: Assembler,
}

/// Copies a cluster over a connection.
pub(super) async fn copy(order: Order<'_>) -> Result<Finished, SourceError> {
    let (work, cluster) = (order.work, order.cluster);
    let stop = work.cancel.child_token();
    let bin_dir = cluster.login.connection.bin_dir.as_deref();
    let tools = Tools::find("pg_basebackup", bin_dir, cluster.facts.major, 0, work.clock).await?;
    work.cancellable(cluster.hold_log()).await?;
    let (assembly, assembler) = work
        .repo
        .begin_assembly(order.options(None), work.progress.clone(), stop.clone())
        .await?;
    let copied = tokio::select! {
        biased;
        copied = stream_all(&order, &tools, assembler) => copied,
        () = work.cancel.cancelled() => Err(SourceError::Cancelled),
    };
    match copied {
        Ok(manifest) => {
            let result = assembly.commit().await?;
            work.progress.set_phase(Phase::Done);
            Ok(finished(result, &manifest))
        }
        Err(error) => {
            stop.cancel();
            let pipeline = assembly.abort().await;
            Err(cause(cluster.gone(error, "its files were sent"), pipeline))
        }
    }
}

async fn stream_all(order: &Order<'_>, tools: &Tools, assembler: Assembler) -> Result<Manifest, SourceError> {
    let (work, cluster) = (order.work, order.cluster);
    // What is sent is at least as new as the moment before it was asked for; when exactly it ended, only the server knows.
    let started_at = cluster.now().await?;
    work.progress.set_current("waiting for a checkpoint");
    let read = if cluster.tablespaces.is_empty() {
        piped(order, tools, assembler).await?
    } else {
        spooled(order, tools, assembler).await?
    };
    let stopped_at = cluster.now().await?;
    let Read {
        streamed,
        pages,
        assembler,
    } = read;
    let range = streamed.range.ok_or_else(|| missing("its manifest"))?;
    let (mut damaged_pages, mut damaged_total) = stream::damage(pages).judge(range.end);
    let notes = second_look(cluster, &streamed, &mut damaged_pages, &mut damaged_total).await;
    let described = describe_remote(order, &streamed, range, (started_at, stopped_at))?;
    let mut manifest = order.manifest(
        started_at,
        ClusterManifest {
            damaged_pages,
            damaged_total,
            ..described
        },
    );
    manifest.notes.extend(notes);
    let (told, now) = (manifest.clone(), work.clock.now());
    blocking(move || describe(&assembler, &told, now)).await?;
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
    let input = SyncIoBridge::new(output);
    let now = order.work.clock.now();
    let look = looker(order.cluster);
    let blocks = order.cluster.block_size as usize == PAGE;
    let read = blocking(move || {
        let mut read = begin(assembler, now)?;
        let mut sink = Sink {
            assembler: &read.assembler,
            pages: Some(&mut read.pages),
            look: &look,
            blocks,
            shown: "/data",
            now,
        };
        read.streamed
            .read(BufReader::with_capacity(256 << 10, input), &mut sink)?;
        read.assembler.leave()?;
        Ok(read)
    })
    .await;
    ended(child, read).await
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
    let (now, look) = (work.clock.now(), looker(cluster));
    let blocks = cluster.block_size as usize == PAGE;
    let (place, tablespaces) = (spool.data(), cluster.tablespaces.clone());
    let read = blocking(move || take_apart(&place, &tablespaces, assembler, &look, blocks, now)).await;
    // Dropped only now, because its end removes what is being read.
    drop(spool);
    read
}

fn take_apart(
    place: &Path,
    tablespaces: &[Tablespace],
    assembler: Assembler,
    look: &dyn Fn(Lsn) -> Option<Pages>,
    blocks: bool,
    now: Timestamp,
) -> Result<Read, SourceError> {
    let failed = |path: &Path, error: std::io::Error| SourceError::local("read", path, &error);
    let open = |path: &PathBuf| File::open(path).map_err(|error| failed(path, error));
    let mut read = begin(assembler, now)?;
    // The base comes first: its label says where the backup began, which the pages of all the others are held against.
    let sink = |shown: &'static str| shown;
    let mut into = Sink {
        assembler: &read.assembler,
        pages: Some(&mut read.pages),
        look,
        blocks,
        shown: sink("/data"),
        now,
    };
    read.streamed
        .read(BufReader::new(open(&place.join("base.tar"))?), &mut into)?;
    read.assembler.leave()?;
    read.assembler.enter(plain_node("tablespaces", NodeKind::Dir, now))?;
    for (oid, path) in stream::tars(place).map_err(|error| failed(place, error))? {
        if !tablespaces.iter().any(|tablespace| tablespace.oid == oid) {
            return Err(missing("the name of a tablespace that was made meanwhile"));
        }
        let shown = format!("/tablespaces/{oid}");
        read.assembler.enter(plain_node(&oid.to_string(), NodeKind::Dir, now))?;
        let mut into = Sink {
            assembler: &read.assembler,
            pages: Some(&mut read.pages),
            look,
            blocks,
            shown: &shown,
            now,
        };
        read.streamed.read(BufReader::new(open(&path)?), &mut into)?;
        read.assembler.leave()?;
    }
    read.assembler.leave()?;
    let manifest = open(&place.join("backup_manifest"))?;
    let tail = stream::tail(manifest).map_err(|error| failed(place, error))?;
    read.streamed.range = Some(stream::parse_range(&tail)?);
    Ok(read)
}

/// Begins the root and the data directory.
fn begin(assembler: Assembler, now: Timestamp) -> Result<Read, SourceError> {
    assembler.enter(plain_node("", NodeKind::Dir, now))?;
    assembler.enter(plain_node("data", NodeKind::Dir, now))?;
    Ok(Read {
        streamed: Streamed::default(),
        pages: None,
        assembler,
    })
}

/// How pages are looked at once it is known where the backup began.
fn looker(cluster: &Cluster) -> impl Fn(Lsn) -> Option<Pages> + Send + use<> {
    let (checksums, per_file) = (
        cluster.checksums && cluster.block_size as usize == PAGE,
        cluster.segment_pages,
    );
    move |start| {
        checksums.then(|| Pages {
            start,
            per_file,
            damage: Mutex::default(),
        })
    }
}

fn missing(what: &str) -> SourceError {
    PhysicalError::Malformed {
        what: "the stream of pg_basebackup".to_owned(),
        why: format!("it lacks {what}"),
    }
    .into()
}

/// Asks the server for each page that seems damaged, and forgets those that were being written.
async fn second_look(
    cluster: &Cluster,
    streamed: &Streamed,
    pages: &mut Vec<DamagedPage>,
    total: &mut u64,
) -> Option<String> {
    let start = streamed.label.as_ref().map_or(Lsn(0), |label| label.start);
    let mut refused = None;
    for seen in std::mem::take(pages) {
        if refused.is_some() {
            pages.push(seen);
            continue;
        }
        match again(cluster, &seen).await {
            Ok(Verdict::Sound) => *total -= 1,
            Ok(Verdict::Wrong { lsn, .. }) if lsn >= start => *total -= 1,
            Ok(Verdict::Wrong { .. }) => pages.push(seen),
            Err(error) => {
                pages.push(seen);
                refused = Some(format!(
                    "pages with a wrong checksum could not be read a second time ({error}); some may only have been \
                     written while they were sent"
                ));
            }
        }
    }
    refused
}

async fn again(cluster: &Cluster, seen: &DamagedPage) -> Result<Verdict, SourceError> {
    let path = seen.file.strip_prefix("/data/").map_or_else(
        || format!("pg_tblspc{}", seen.file.trim_start_matches("/tablespaces")),
        str::to_owned,
    );
    let offset = i64::try_from(seen.block * PAGE as u64).unwrap_or(i64::MAX);
    let length = i64::try_from(PAGE).unwrap_or(0);
    let sql = "select pg_catalog.pg_read_binary_file($1, $2, $3, true)";
    let rows = cluster
        .session
        .rows("read a page again", sql, &[&path, &offset, &length])
        .await?;
    let bytes: Option<Vec<u8>> = rows.first().and_then(|row| row.get(0));
    let segment = path
        .rsplit('/')
        .next()
        .and_then(super::names::relation)
        .map_or(0, |relation| relation.segment);
    let number = u64::from(segment) * u64::from(cluster.segment_pages) + seen.block;
    let page = bytes.as_deref().and_then(|bytes| <&[u8; PAGE]>::try_from(bytes).ok());
    // A file that is gone or shorter by now was changed meanwhile, which recovery does again.
    Ok(page.map_or(Verdict::Sound, |page| {
        page::look(page, u32::try_from(number).unwrap_or_default())
    }))
}

fn describe_remote(
    order: &Order<'_>,
    streamed: &Streamed,
    range: Range,
    (started_at, stopped_at): (Timestamp, Timestamp),
) -> Result<ClusterManifest, SourceError> {
    let cluster = order.cluster;
    let label = streamed.label.as_ref().ok_or_else(|| missing("backup_label"))?;
    let control = streamed.control.ok_or_else(|| missing("global/pg_control"))?;
    if control.system != cluster.system {
        return Err(missing(&format!(
            "the cluster that was asked for; it is of {}",
            control.system
        )));
    }
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
    Ok(ClusterManifest {
        system: cluster.system,
        server_version: cluster.facts.version.clone(),
        major: cluster.facts.major,
        timeline: range.timeline,
        start_lsn: label.start,
        stop_lsn: range.end,
        started_at,
        stopped_at,
        segment_size: cluster.segment_size,
        block_size: cluster.block_size,
        checksums: cluster.checksums,
        damaged_pages: Vec::new(),
        damaged_total: 0,
        standby: cluster.facts.standby,
        method: PhysicalMethod::Remote,
        label: label.label.clone(),
        tablespaces: cluster.tablespaces.clone(),
        size: Bytes(streamed.bytes),
    })
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
