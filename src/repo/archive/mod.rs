//! Backup: from files and streams to a snapshot.
//!
//! ```text
//! scan (pool) ─▶ drive (1) ─▶ read + chunk (2) ─▶ CPU pool: hash → claim → compress → encrypt ─▶ pack ─▶ uploads
//!                  │                                          │
//!                  └──────────── tree builder (1) ◀───────────┘   then: index ─▶ snapshot
//! ```
//!
//! **Memory.** A chunk carries a permit of the byte budget from the reader until its bytes are in a pack; packs fill a
//! fixed number of buffers, each free again when its upload ends. Nothing else grows with the data.
//!
//! **Claims.** The first worker that sees a blob claims it; everybody else only refers to it, so each blob is compressed
//! and stored once, also within one backup.
//!
//! **Commit.** All packs, then the index files, then the snapshot. What fails or is cancelled before that leaves data
//! that no snapshot names; what was already stored is indexed on the way, so the next backup finds it.
//!
//! **Sources that misbehave.** A file that cannot be read, that vanishes or that changes its size while it is read is
//! listed in [`BackupResult::errors`]; the backup goes on and is Partial. It never fails for one file, and never hides one.

mod adopt;
pub mod assemble;
mod blocks;
mod budget;
mod buffers;
mod build;
mod drive;
pub(crate) mod exclude;
mod holes;
mod meta;
mod options;
mod read;
mod saver;
mod scan;
pub(crate) mod session;

#[cfg(test)]
mod reuse_tests;
pub mod stream;
#[cfg(test)]
mod tests;
mod ticket;
mod told;
pub(in crate::repo) mod upload;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::chunk::Chunker;
use super::error::RepoError;
use super::gotime::Time;
use super::id::Id;
use super::progress::{Phase, Progress};
use super::snapshot::SnapshotInfo;
use super::stop::Stopped;
use super::tree::{Node, NodeKind};
use super::{DESCRIPTION_NAME, Repository, host};
use blocks::Blocks;
pub use blocks::FixedBlocks;
use budget::Budget;
use build::Built;
use drive::{Driver, Targets};
pub use options::{BackupOptions, BackupResult, BackupStats, Compression, ItemError, Parent};
use read::Reader;
use saver::Feed;
use scan::Scanner;
use session::{Labels, Session, Sizes};
use ticket::{FileEnd, Ticket};

/// How many threads read files; more only make a spinning disk seek.
const READERS: usize = 2;
/// How many threads list directories.
const SCANNERS: usize = 2;
/// How many entries may wait for the tree builder.
const WAITING_EVENTS: usize = 4096;

impl Repository {
    /// Backs up files and directories.
    pub async fn backup(
        &self,
        options: BackupOptions,
        progress: Arc<Progress>,
        cancel: CancellationToken,
    ) -> Result<BackupResult, RepoError> {
        let options = checked(options)?;
        let host = options.hostname.clone().unwrap_or_else(host::hostname);
        let paths: Vec<String> = options
            .paths
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
            .collect();
        let sizes = Sizes {
            compression: options.compression,
            memory_budget_bytes: options.memory_budget_bytes,
            cpu_threads: options.cpu_threads,
            pack_bytes: options.pack_bytes,
            adopt: options.adopt,
        };
        let finding = self.find_parent(&options.parent, &host, &paths);
        let (session, parent) = Session::begin_with(self, sizes, progress, cancel, finding).await?;
        let labels = Labels {
            paths,
            tags: options.tags.clone(),
            excludes: options.excludes.clone(),
            hostname: Some(host),
            comment: options.comment.clone(),
            parent: parent.as_ref().and_then(|info| Id::parse(&info.id)),
        };
        session.progress.set_phase(Phase::Copying);
        let files_before = parent.as_ref().map_or(0, |info| {
            let summary = info.snapshot.summary.as_ref();
            summary.map_or(0, |summary| summary.total_files_processed)
        });
        let before = parent.map(|info| info.snapshot.tree);
        let walk = Walk::new(&session, options, before)?;
        let built = tokio::task::spawn_blocking(move || walk.run()).await;
        self.0.trees.clear();
        match built {
            Ok(Ok(Built {
                root: Some(tree),
                mut stats,
                errors,
            })) => {
                // Whatever is not new was there before; the rest of what was there is gone.
                stats.files_removed = (files_before + stats.files_new).saturating_sub(stats.files_total);
                session.commit(tree, labels, stats, errors).await
            }
            Ok(_) => Err(session.abort().await),
            Err(error) => {
                session
                    .stop
                    .fail(RepoError::internal(format!("the walk ended: {error}")));
                Err(session.abort().await)
            }
        }
    }

    /// The snapshot to compare with.
    pub(crate) async fn find_parent(
        &self,
        parent: &Parent,
        host: &str,
        paths: &[String],
    ) -> Result<Option<SnapshotInfo>, RepoError> {
        match parent {
            Parent::None => Ok(None),
            Parent::Id(id) => self.snapshot(id).await.map(Some),
            Parent::Auto => {
                let wanted: BTreeSet<&String> = paths.iter().collect();
                let same = |info: &SnapshotInfo| {
                    info.snapshot.hostname == host && info.snapshot.paths.iter().collect::<BTreeSet<_>>() == wanted
                };
                // A damaged snapshot must not keep the next backup from being made.
                Ok(self.snapshots_lossy().await?.0.into_iter().rev().find(same))
            }
        }
    }
}

/// Makes the paths absolute and refuses what cannot begin.
fn checked(mut options: BackupOptions) -> Result<BackupOptions, RepoError> {
    if options.paths.is_empty() {
        return Err(RepoError::Invalid {
            what: "there is nothing to back up: no path was given".to_owned(),
        });
    }
    options.paths = options
        .paths
        .iter()
        .map(|path| drive::absolute(path))
        .collect::<Result<_, _>>()?;
    options.paths.sort();
    options.paths.dedup();
    for path in &options.paths {
        exclude::Excludes::new(&options.excludes, path)?;
    }
    options.fixed_blocks.as_ref().map(Blocks::new).transpose()?;
    let missing = |path: &PathBuf| std::fs::symlink_metadata(path).err().map(|error| (path.clone(), error));
    let errors: Vec<_> = options.paths.iter().filter_map(missing).collect();
    match errors.first() {
        // One of several paths missing is Partial; all of them missing must not look like an empty source.
        Some((path, error)) if errors.len() == options.paths.len() => Err(RepoError::local("read", path, error)),
        _ => Ok(options),
    }
}

/// The threads that walk, read and build, as one blocking piece of work.
struct Walk {
    scanner: Scanner,
    feed: Feed,
    chunker: Arc<Chunker>,
    budget: Arc<Budget>,
    progress: Arc<Progress>,
    options: BackupOptions,
    blocks: Option<Blocks>,
    zeros: Mutex<HashMap<usize, Id>>,
    before: Option<Id>,
    now: Time,
}

impl Walk {
    fn new(session: &Session, options: BackupOptions, before: Option<Id>) -> Result<Self, RepoError> {
        let feed = session.feed()?;
        let progress = Arc::clone(&session.progress);
        let now = session.repo.clock().now();
        Ok(Self {
            scanner: Scanner::new(&session.repo, feed.index(), Arc::clone(&progress), session.stop.clone()),
            feed,
            chunker: Arc::clone(&session.chunker),
            budget: Arc::clone(&session.budget),
            progress,
            blocks: options.fixed_blocks.as_ref().map(Blocks::new).transpose()?,
            zeros: Mutex::default(),
            options,
            before,
            now: Time::new(now.timestamp(), i64::from(now.timestamp_subsec_nanos())),
        })
    }

    fn run(self) -> Result<Built, Stopped> {
        let description = self.describe()?;
        let (files, file_jobs) = crossbeam_channel::bounded(256);
        let (events, inbox) = crossbeam_channel::bounded(WAITING_EVENTS);
        let (this, (targets, missing)) = (&self, Targets::new(&self.options.paths));
        std::thread::scope(|scope| {
            for _ in 0..SCANNERS {
                scope.spawn(|| this.scanner.run());
            }
            for _ in 0..READERS {
                let jobs = file_jobs.clone();
                scope.spawn(move || this.reader().run(&jobs));
            }
            drop(file_jobs);
            scope.spawn(move || {
                let linked = HashMap::new();
                let mut driver = Driver {
                    scanner: &this.scanner,
                    options: &this.options,
                    files,
                    events,
                    linked,
                };
                // A driver that was stopped says so by not ending the root.
                let _ = driver.run(&targets, missing, this.before, description);
                this.scanner.close();
            });
            // The inbox moves into the builder, so that a driver whose builder has stopped stops too.
            let inbox = inbox;
            build::run(&inbox, &this.scanner, &this.feed, &this.progress)
        })
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            chunker: &self.chunker,
            budget: &self.budget,
            feed: self.feed.clone(),
            progress: &self.progress,
            blocks: self.blocks.as_ref(),
            zeros: &self.zeros,
        }
    }

    /// Stores `lifeboat.json` and returns its node.
    fn describe(&self) -> Result<Option<Node>, Stopped> {
        if self.options.description.is_empty() {
            return Ok(None);
        }
        let mut data = serde_json::to_vec_pretty(&self.options.description).unwrap_or_default();
        data.push(b'\n');
        store_small(&self.feed, &self.budget, DESCRIPTION_NAME, data, self.now).map(Some)
    }
}

/// Stores a small file of ours and returns its node.
fn store_small(feed: &Feed, budget: &Arc<Budget>, name: &str, data: Vec<u8>, now: Time) -> Result<Node, Stopped> {
    let (ids, groups) = (host::ids(), host::Names::default());
    let mut node = Node::new(name.as_bytes(), NodeKind::File);
    (node.mtime, node.atime, node.ctime) = (now, now, now);
    (node.uid, node.gid) = ids;
    (node.user, node.group) = (groups.user(ids.0), groups.group(ids.1));
    node.size = data.len() as u64;
    node.links = 1;
    let ticket = Ticket::new();
    if !data.is_empty() {
        let permit = budget.acquire(data.len(), feed.stop())?;
        feed.chunk(data, permit, &ticket)?;
    }
    ticket.close(Ok(FileEnd {
        size: node.size,
        warning: None,
    }));
    if let Ok(file) = ticket.wait(feed.stop())? {
        node.content = file.content;
    }
    Ok(node)
}
