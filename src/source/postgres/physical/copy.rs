//! A cluster into a snapshot: which server, which way, and everything that must hold before it is committed.
//!
//! ```text
//! choose server ─▶ same cluster as before? ─▶ hold the log ─▶ begin ─▶ read files ─▶ control file ─▶ end ─▶ log ─▶ commit
//! ```
//!
//! **Crash windows.** The snapshot is committed last. Killed before that, we leave blobs that the next backup finds again, and
//! nothing on the server: its backup and its slot end with our connection. A server that ends is noticed within a second,
//! whatever is being read, and fails the backup.

use std::future::Future;
use std::sync::Mutex;

use super::cluster::{Cluster, Started, Stopped};
use super::control::Control;
use super::label::BackupLabel;
use super::local::{self, Before, Reading};
use super::read::Pages;
use super::segments::{self, Stretch, beside};
use super::{PhysicalError, choose, page, remote};
use crate::domain::source::{PhysicalChoice, PhysicalSource, Source};
use crate::domain::units::{Bytes, Timestamp};
use crate::domain::wal::Lsn;
use crate::repo::tree::Node;
use crate::repo::{Assembler, AssemblyOptions, NodeKind, Phase, RepoError, SnapshotInfo, off_runtime};
use crate::source::backup::Finished;
use crate::source::manifest::{
    ClusterManifest, DamagedPage, MANIFEST_NAME, Manifest, PhysicalMethod, Tablespace, labels,
};
use crate::source::{BackupJob, Secrets, SourceError, Work};

/// Everything a copy is made with.
pub(super) struct Order<'a> {
    pub(super) source: &'a Source,
    pub(super) settings: &'a PhysicalSource,
    pub(super) job: &'a BackupJob,
    pub(super) cluster: &'a Cluster,
    /// The newest snapshot of the source.
    pub(super) previous: Option<(SnapshotInfo, ClusterManifest)>,
    pub(super) notes: Vec<String>,
    pub(super) work: &'a Work<'a>,
}

/// Copies a cluster into a new snapshot.
pub(in crate::source) async fn back_up(
    source: &Source,
    settings: &PhysicalSource,
    secrets: &Secrets,
    job: &BackupJob,
    work: &Work<'_>,
) -> Result<Finished, SourceError> {
    work.progress.set_phase(Phase::Preparing);
    work.progress
        .set_current(&format!("connecting to {}", settings.connection.display()));
    let mut notes = Vec::new();
    let cluster = work
        .cancellable(choose::choose(settings, secrets, job, &mut notes, work))
        .await?;
    let previous = work.cancellable(choose::previous(source, &cluster, work)).await?;
    if !cluster.outside.is_empty() {
        let files = cluster.outside.join(", ");
        notes.push(format!(
            "settings outside of the data directory are not in the copy: {files}"
        ));
    }
    let order = Order {
        source,
        settings,
        job,
        cluster: &cluster,
        previous,
        notes,
        work,
    };
    let local = match settings.method {
        PhysicalChoice::Remote => None,
        choice => match choose::is_local(settings, &cluster).await {
            Ok(place) => Some(place),
            Err(error) if choice == PhysicalChoice::Local => return Err(error),
            Err(error) => {
                tracing::info!("the cluster is copied over the connection: {error}");
                None
            }
        },
    };
    let result = match local {
        Some(place) => {
            let parent = order.previous.as_ref().map(|(info, _)| info.clone());
            let told = |assembler| copy_files(&order, place, assembler);
            Box::pin(assemble(&order, parent, "its files were read", told)).await
        }
        None => Box::pin(remote::copy(&order)).await,
    };
    if result.is_err() {
        // A server that is still busy for us is told that nobody waits any more; closing the connection does the rest.
        cluster.session.interrupt(work.clock).await;
    }
    result
}

impl Order<'_> {
    /// How to store the snapshot.
    pub(super) fn options(&self, parent: Option<SnapshotInfo>) -> AssemblyOptions {
        let tags = labels(self.source, &self.job.job, &self.job.run);
        AssemblyOptions {
            tags: tags.into_iter().chain(self.job.tags.iter().cloned()).collect(),
            comment: self.job.comment.clone(),
            hostname: Some(self.job.host.clone()),
            paths: vec!["/data".to_owned()],
            parent,
            memory_budget_bytes: self.job.memory_budget.0,
        }
    }

    /// The label of the backup on the server.
    pub(super) fn label(&self) -> String {
        format!("lifeboat {}", self.job.run)
    }

    /// What the snapshot says of itself.
    pub(super) fn manifest(&self, taken_at: Timestamp, copied: Copied) -> Manifest {
        let (cluster, (damaged_pages, damaged_total)) = (self.cluster, copied.damage);
        let mut manifest = Manifest::new(self.source, self.job, taken_at);
        manifest.subject = vec![format!("cluster {} at {}", cluster.system, cluster.session.server)];
        manifest.notes.clone_from(&self.notes);
        if damaged_total > 0 {
            manifest.notes.push(format!(
                "{damaged_total} pages have a wrong checksum on the server; they are copied as they are"
            ));
        }
        manifest.notes.extend(copied.notes);
        manifest.cluster = Some(ClusterManifest {
            system: cluster.system,
            server_version: cluster.facts.version.clone(),
            major: cluster.facts.major,
            timeline: copied.label.timeline,
            start_lsn: copied.label.start,
            stop_lsn: copied.stop,
            started_at: copied.times.0,
            stopped_at: copied.times.1,
            segment_size: cluster.segment_size,
            block_size: cluster.block_size,
            checksums: cluster.checksums,
            damaged_pages,
            damaged_total,
            standby: cluster.facts.standby,
            method: copied.method,
            label: copied.label.label,
            tablespaces: copied.tablespaces,
            size: Bytes(copied.bytes),
        });
        manifest
    }

    /// Refuses files that are of another cluster than the server's.
    pub(super) fn check_system(&self, found: &Control) -> Result<(), SourceError> {
        if found.system == self.cluster.system {
            return Ok(());
        }
        Err(PhysicalError::Malformed {
            what: "global/pg_control".to_owned(),
            why: format!("it is of cluster {}", found.system),
        }
        .into())
    }
}

/// What a copy came to.
pub(super) struct Copied {
    pub(super) method: PhysicalMethod,
    pub(super) label: BackupLabel,
    /// Where it is consistent.
    pub(super) stop: Lsn,
    /// When it began and ended.
    pub(super) times: (Timestamp, Timestamp),
    /// Damaged pages, and how many there are in all.
    pub(super) damage: (Vec<DamagedPage>, u64),
    pub(super) tablespaces: Vec<Tablespace>,
    pub(super) bytes: u64,
    /// What a reader should know of it.
    pub(super) notes: Vec<String>,
}

/// Adds what the snapshot says of itself, and ends its root.
pub(super) async fn describe(assembler: Assembler, manifest: &Manifest, work: &Work<'_>) -> Result<(), SourceError> {
    let (told, now) = (manifest.to_bytes(), work.clock.now());
    let described = off_runtime(move || {
        assembler.bytes(assembler.plain(MANIFEST_NAME, NodeKind::File, now), &told)?;
        assembler.leave()
    });
    Ok(described.await??)
}

/// What is handed back of a snapshot that was committed.
fn finished(result: crate::repo::BackupResult, manifest: &Manifest) -> Finished {
    let cluster = manifest.cluster.as_ref();
    let warning = cluster.filter(|cluster| cluster.damaged_total > 0).map(|cluster| {
        let first = cluster.damaged_pages.first();
        let first = first.map_or_else(String::new, |page| {
            format!(", the first: page {} of {}", page.block, page.file)
        });
        format!(
            "{} pages of the cluster have a wrong checksum, on the server and in the snapshot{first}",
            cluster.damaged_total
        )
    });
    Finished {
        result,
        taken_at: manifest.taken_at,
        database: None,
        cluster: cluster.map(ClusterManifest::facts),
        errors: Vec::new(),
        warning,
    }
}

/// Puts a snapshot together with what `tell` says, and commits it; an error says what failed first.
///
/// `doing` says what is done with the server meanwhile, for when it goes away.
pub(super) async fn assemble<F>(
    order: &Order<'_>,
    parent: Option<SnapshotInfo>,
    doing: &'static str,
    tell: impl FnOnce(Assembler) -> F,
) -> Result<Finished, SourceError>
where
    F: Future<Output = Result<Manifest, SourceError>>,
{
    let (work, cluster) = (order.work, order.cluster);
    let stop = work.cancel.child_token();
    let (assembly, assembler) = work
        .repo
        .begin_assembly(order.options(parent), work.progress.clone(), stop.clone())
        .await?;
    let gone = async {
        cluster.until_gone(work.clock).await;
        let server = cluster.session.server.clone();
        SourceError::from(PhysicalError::ServerGone { server, phase: doing })
    };
    let told = tokio::select! {
        biased;
        told = tell(assembler) => told,
        error = gone => Err(error),
        () = work.cancel.cancelled() => Err(SourceError::Cancelled),
    };
    match told {
        Ok(manifest) => {
            let result = assembly.commit().await?;
            work.progress.set_phase(Phase::Done);
            Ok(finished(result, &manifest))
        }
        Err(error) => {
            stop.cancel();
            let pipeline = assembly.abort().await;
            Err(cause(cluster.gone(error, doing), pipeline))
        }
    }
}

/// What failed first: a pipeline that stopped makes whoever feeds it fail too, and whoever feeds it and gives up makes it stop.
fn cause(error: SourceError, pipeline: Option<RepoError>) -> SourceError {
    // Only what may be an echo of the pipeline gives way to it: a file that could not be read is the cause itself.
    let echo = matches!(error, SourceError::Repo(_) | SourceError::Cancelled);
    match pipeline {
        Some(pipeline) if echo && !pipeline.is_cancelled() => pipeline.into(),
        _ => error,
    }
}

/// From begin to end of the backup on the server; everything is told to the assembler when it returns.
async fn copy_files(
    order: &Order<'_>,
    data: std::path::PathBuf,
    assembler: Assembler,
) -> Result<Manifest, SourceError> {
    let (work, cluster) = (order.work, order.cluster);
    cluster.hold_log().await?;
    work.progress.set_current("waiting for a checkpoint");
    let started = cluster.start(&order.label()).await?;
    // Asked again: one that was made before the backup began is in the map, one that is made later is in the log.
    let tablespaces = cluster.tablespaces_now().await?;
    let reading = reading(order, data.clone(), started, &tablespaces);
    let read = off_runtime(move || {
        let found = local::read_all(&reading, &assembler)?;
        Ok::<_, SourceError>((assembler, found, reading.pages.map(Pages::into_damage)))
    });
    let (assembler, found, damage) = read.await??;
    order.check_system(&found.control)?;
    let taken_at = cluster.newest_data(work.clock.now()).await?;
    let stopped = cluster.stop().await?;
    check_timeline(cluster, &stopped).await?;
    let (assembler, stopped) = add_labels(assembler, stopped, found.data.clone(), work).await?;
    let stretch = Stretch {
        system: cluster.system,
        timeline: stopped.label.timeline,
        size: cluster.segment_size,
        start: stopped.label.start,
        stop: stopped.lsn,
    };
    let assembler = segments::add(assembler, &data.join("pg_wal"), stretch, &found.data, work).await?;
    tracing::info!(
        bytes = found.bytes,
        taken_over = found.taken_over,
        "the cluster was read"
    );
    let copied = Copied {
        method: PhysicalMethod::Local,
        stop: stopped.lsn,
        times: (started.at, stopped.at),
        damage: damage.map(|damage| damage.judge(stopped.lsn)).unwrap_or_default(),
        label: stopped.label,
        tablespaces,
        bytes: found.bytes,
        notes: Vec::new(),
    };
    let manifest = order.manifest(taken_at, copied);
    describe(assembler, &manifest, work).await?;
    Ok(manifest)
}

fn reading(order: &Order<'_>, data: std::path::PathBuf, started: Started, tablespaces: &[Tablespace]) -> Reading {
    let cluster = order.cluster;
    let usual = cluster.block_size as usize == page::PAGE;
    let before = order.previous.as_ref().filter(|(info, previous)| {
        // The times and inodes of another machine say nothing here; nor is known which files are damaged when not all are named.
        let all_named = previous.damaged_total == previous.damaged_pages.len() as u64;
        previous.method == PhysicalMethod::Local && info.snapshot.hostname == order.job.host && all_named
    });
    Reading {
        data,
        tablespaces: tablespaces
            .iter()
            .map(|tablespace| (tablespace.oid, tablespace.location.clone()))
            .collect(),
        pages: (cluster.checksums && usual).then(|| Pages {
            start: started.lsn,
            per_file: cluster.segment_pages,
            damage: Mutex::default(),
        }),
        blocks: usual,
        before: before.map(|(info, previous)| Before {
            tree: info.snapshot.tree,
            started: previous.started_at,
            damaged: previous.damaged_pages.iter().map(|page| page.file.clone()).collect(),
        }),
        now: order.work.clock.now(),
        threads: std::thread::available_parallelism()
            .map_or(2, std::num::NonZero::get)
            .clamp(2, 4),
    }
}

async fn check_timeline(cluster: &Cluster, stopped: &Stopped) -> Result<(), SourceError> {
    match cluster.reached_timeline().await? {
        Some(to) if to != stopped.label.timeline => Err(PhysicalError::TimelineChanged {
            server: cluster.session.server.clone(),
            from: stopped.label.timeline,
            to,
        }
        .into()),
        _ => Ok(()),
    }
}

async fn add_labels(
    assembler: Assembler,
    stopped: Stopped,
    owner: Node,
    work: &Work<'_>,
) -> Result<(Assembler, Stopped), SourceError> {
    let now = work.clock.now();
    let added = off_runtime(move || {
        let node = |name: &str| beside(&owner, name, NodeKind::File, now);
        assembler.bytes(node("backup_label"), stopped.label_text.as_bytes())?;
        if !stopped.map_text.is_empty() {
            assembler.bytes(node("tablespace_map"), stopped.map_text.as_bytes())?;
        }
        Ok::<_, RepoError>((assembler, stopped))
    });
    Ok(added.await??)
}
