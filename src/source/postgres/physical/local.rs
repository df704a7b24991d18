//! The files of a running cluster, from the disk of the machine it runs on.
//!
//! **Taken over unread.** A file that is as it was in the last snapshot need not be read again. What tells is its size, time of
//! change, time of change of its inode, and inode, all the same; and that both times are older than the *start* of that
//! backup, by more than any file system rounds times ([`ROUNDING`]). Why that is safe:
//!
//! - Every write to a file moves its time of change to the clock of that moment, and nobody but the kernel sets the time of
//!   change of an inode. PostgreSQL writes its files with `write`, never through memory maps.
//! - Clocks tick: two writes within one tick leave the same time. So a file written shortly before or while it was read may have
//!   been written again with no trace. Such a file has a time that is not older than the start of that backup, and is read.
//! - After a crash of the machine a page may be on disk without the new time of its file. PostgreSQL then replays every change
//!   since its last checkpoint, which writes these pages again, and a file is synced with its times before a checkpoint ends.
//! - Network and user-space file systems may show old times, or take them from another clock: there every file is read.
//!
//! A file with a damaged page in the last snapshot is read again. What is taken over is not looked at again: that bytes on disk
//! decayed under an unchanged file is found by a verification of the server (`pg_amcheck`, `pg_checksums`), not here; the
//! snapshot keeps the good bytes.
//!
//! **The control file comes last**, when every other file has been read: on a standby it says up to where the log must be
//! replayed, and that must cover everything that was copied.
//!
//! **Errors.** What vanishes is left out. Everything else that cannot be read fails the backup: a cluster by halves is none.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use crossbeam_channel::Sender;

use super::control::Control;
use super::names::{self, Keep};
use super::read::{self, Pages, Spot};
use crate::repo::tree::Node;
use crate::repo::{Assembler, Content, Id, NodeKind};
use crate::source::SourceError;

/// The coarsest times a local file system keeps, in seconds.
const ROUNDING: i64 = 2;
/// How often the control file is read until it is found whole.
const CONTROL_READS: usize = 50;
/// File systems whose times come from this machine's clock at the moment of a write.
const TRUSTED: [u64; 8] = [
    0xEF53,
    0x5846_5342,
    0x9123_683E,
    0x2FC1_2FC1,
    0x0102_1994,
    0x794C_7630,
    0xF2F5_2010,
    0x3153_464A,
];

/// What a walk begins with.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) data: PathBuf,
    pub(super) tablespaces: Vec<(u32, PathBuf)>,
    /// None when pages have no checksums, or are of a size that is not known here.
    pub(super) pages: Option<Pages>,
    /// Whether pages have the usual size, so that blocks hold whole ones.
    pub(super) blocks: bool,
    /// The last snapshot, when files may be taken over from it.
    pub(super) before: Option<Before>,
    pub(super) now: DateTime<Utc>,
    pub(super) threads: usize,
}

/// A snapshot that files may be taken over from.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) tree: Id,
    /// When its backup began, by the clock of this machine.
    pub(super) started: DateTime<Utc>,
    /// Files in it that have damaged pages.
    pub(super) damaged: Vec<String>,
}

/// What a walk found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) bytes: u64,
    pub(super) taken_over: u64,
    pub(super) control: Control,
    /// The data directory's own entry, for whoever adds to it.
    pub(super) data: Node,
}

/// A file that a reader is to read.
struct Job {
    path: PathBuf,
    shown: String,
    segment: Option<u32>,
    content: Content,
}

/// One walk.
struct Walk<'a> {
    reading: &'a Reading,
    assembler: &'a Assembler,
    jobs: Sender<Job>,
    trusted: bool,
    bytes: u64,
    taken_over: u64,
}

/// A directory of the walk.
struct Place<'p> {
    disk: &'p Path,
    /// Below the data directory or the tablespace, with `/` between names; empty at the top.
    below: &'p str,
    /// In the snapshot.
    shown: &'p str,
    before: Option<Id>,
}

/// Reads everything but the log; the root and `/data` are left open, for what follows.
pub(super) fn read_all(reading: &Reading, assembler: &Assembler) -> Result<Found, SourceError> {
    let failure = Mutex::new(None);
    let fail = |error: SourceError| {
        failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
    };
    let walked = std::thread::scope(|scope| {
        let (jobs, queue) = crossbeam_channel::bounded::<Job>(64);
        let readers: Vec<_> = (0..reading.threads)
            .map(|_| {
                let queue = queue.clone();
                scope.spawn(move || read_jobs(reading, &queue).map_err(fail))
            })
            .collect();
        drop(queue);
        let mut walk = Walk {
            reading,
            assembler,
            jobs,
            trusted: false,
            bytes: 0,
            taken_over: 0,
        };
        let walked = walk.all();
        let Walk {
            jobs,
            bytes,
            taken_over,
            ..
        } = walk;
        drop(jobs);
        for reader in readers {
            if reader.join().is_err() {
                return Err(crate::repo::RepoError::internal("a reader ended").into());
            }
        }
        walked.map(|data| (data, bytes, taken_over))
    });
    // What a reader says is the cause; the walk only notices that nobody reads any more.
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let (data, bytes, taken_over) = walked?;
    let control = control(reading, assembler)?;
    assembler.leave()?;
    Ok(Found {
        bytes,
        taken_over,
        control,
        data,
    })
}

/// Reads files until there are no more.
fn read_jobs(reading: &Reading, queue: &crossbeam_channel::Receiver<Job>) -> Result<(), SourceError> {
    for job in queue {
        let spot = Spot {
            file: &job.shown,
            segment: job.segment.unwrap_or(0),
        };
        let pages = reading.pages.as_ref().filter(|_| job.segment.is_some());
        read::file(
            &job.path,
            job.content,
            spot,
            pages,
            reading.blocks && job.segment.is_some(),
        )?;
    }
    Ok(())
}

/// Reads the control file, whole: it is written in place, and rarely.
fn control(reading: &Reading, assembler: &Assembler) -> Result<Control, SourceError> {
    let path = reading.data.join("global/pg_control");
    let failed = |error: std::io::Error| SourceError::local("read", &path, &error);
    let mut last = None;
    for _ in 0..CONTROL_READS {
        let meta = fs::metadata(&path).map_err(failed)?;
        let bytes = fs::read(&path).map_err(failed)?;
        match Control::parse(&bytes) {
            Ok(control) => {
                let node = assembler.node(b"pg_control", &path, &meta).map_err(failed)?;
                assembler.bytes(node, &bytes)?;
                return Ok(control);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or(SourceError::Cancelled, SourceError::from))
}

impl Walk<'_> {
    /// Tells everything but what stays open; returns the data directory's own entry.
    fn all(&mut self) -> Result<Node, SourceError> {
        let (reading, assembler) = (self.reading, self.assembler);
        let node = |name: &str| assembler.plain(name, NodeKind::Dir, reading.now);
        self.assembler.enter(node(""))?;
        let root = self.before(reading.before.as_ref().map(|before| before.tree));
        let subtree =
            |nodes: &HashMap<Vec<u8>, Node>, name: &str| nodes.get(name.as_bytes()).and_then(|node| node.subtree);
        if !reading.tablespaces.is_empty() {
            let spaces = self.before(subtree(&root, "tablespaces"));
            self.assembler.enter(node("tablespaces"))?;
            for (oid, place) in &reading.tablespaces {
                let name = oid.to_string();
                let meta = fs::metadata(place).map_err(|error| SourceError::local("read", place, &error))?;
                let entry = self.assembler.node(name.as_bytes(), place, &meta);
                self.assembler
                    .enter(entry.map_err(|error| SourceError::local("read", place, &error))?)?;
                self.trusted = is_trusted(place);
                self.directory(&Place {
                    disk: place,
                    below: "",
                    shown: &format!("/tablespaces/{name}"),
                    before: subtree(&spaces, &name),
                })?;
                self.assembler.leave()?;
            }
            self.assembler.leave()?;
        }
        let data = &reading.data;
        let failed = |error: std::io::Error| SourceError::local("read", data, &error);
        let meta = fs::metadata(data).map_err(failed)?;
        let entry = self.assembler.node(b"data", data, &meta).map_err(failed)?;
        self.assembler.enter(entry.clone())?;
        self.trusted = is_trusted(data);
        self.directory(&Place {
            disk: data,
            below: "",
            shown: "/data",
            before: subtree(&root, "data"),
        })?;
        Ok(entry)
    }

    /// The entries of a directory in the last snapshot; one that cannot be read costs time, not data.
    fn before(&self, tree: Option<Id>) -> HashMap<Vec<u8>, Node> {
        let nodes = tree.map(|tree| self.assembler.load(&tree));
        match nodes {
            Some(Ok(nodes)) => nodes.into_iter().map(|node| (node.name.clone(), node)).collect(),
            Some(Err(error)) => {
                tracing::warn!("the last snapshot cannot be compared with: {error}");
                HashMap::new()
            }
            None => HashMap::new(),
        }
    }

    /// Tells a directory's entries. At the top of the data directory `global` comes last and stays open.
    fn directory(&mut self, place: &Place<'_>) -> Result<(), SourceError> {
        let before = self.before(place.before);
        let mut names = list(place.disk)?;
        let is_data = place.shown == "/data";
        if is_data {
            names.sort_by_key(|name| name == "global");
        }
        let resets = names::is_database(place.below);
        let unlogged = names.iter().map(String::as_str).filter(|_| resets);
        let unlogged = names::unlogged(unlogged);
        for name in &names {
            let below = join(place.below, name);
            if is_data && name == "pg_wal" || below == "global/pg_control" && place.shown == "/data/global" {
                continue;
            }
            if names::is_reset(name, &unlogged) {
                continue;
            }
            let disk = place.disk.join(name);
            let shown = join(place.shown, name);
            let Some(meta) = found(&disk)? else { continue };
            let entry = Place {
                disk: &disk,
                below: &below,
                shown: &shown,
                before: before.get(name.as_bytes()).and_then(|node| node.subtree),
            };
            self.entry(&entry, name, &meta, before.get(name.as_bytes()))?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        place: &Place<'_>,
        name: &str,
        meta: &Metadata,
        before: Option<&Node>,
    ) -> Result<(), SourceError> {
        let keep = names::keep(place.below, meta.is_dir());
        if keep == Keep::No {
            return Ok(());
        }
        let node = match self.assembler.node(name.as_bytes(), place.disk, meta) {
            Ok(node) => node,
            // It vanished between two looks.
            Err(_) if found(place.disk)?.is_none() => return Ok(()),
            Err(error) => return Err(SourceError::local("read", place.disk, &error)),
        };
        if meta.is_dir() {
            self.assembler.enter(node)?;
            if keep == Keep::Yes {
                self.directory(place)?;
            }
            if place.shown != "/data/global" {
                self.assembler.leave()?;
            }
            return Ok(());
        }
        if meta.is_file() {
            return self.file(place, name, node, before);
        }
        // A tablespace is told by the server and copied on its own; other links may lead to settings or logs elsewhere.
        let tablespace = place.below.starts_with("pg_tblspc/");
        if meta.is_symlink() && !tablespace {
            self.assembler.entry(node)?;
        }
        Ok(())
    }

    fn file(
        &mut self,
        place: &Place<'_>,
        name: &str,
        mut node: Node,
        before: Option<&Node>,
    ) -> Result<(), SourceError> {
        self.bytes += node.size;
        let known = self.reading.before.as_ref().zip(before).filter(|_| self.trusted);
        if let Some((snapshot, before)) = known {
            let settled = node.mtime.secs.max(node.ctime.secs) < snapshot.started.timestamp() - ROUNDING;
            let sound = !snapshot.damaged.iter().any(|file| file == place.shown);
            if settled && sound && self.assembler.take_over(&mut node, before) {
                self.taken_over += 1;
                return Ok(self.assembler.entry(node)?);
            }
        }
        let parent = place.below.rsplit_once('/').map_or("", |(parent, _)| parent);
        let relation = names::relation(name).filter(|_| names::is_database(parent));
        let job = Job {
            path: place.disk.to_owned(),
            shown: place.shown.to_owned(),
            segment: relation.map(|relation| relation.segment),
            content: self.assembler.file(node)?,
        };
        // Readers end before the walk only when one of them failed; it says why.
        self.jobs.send(job).map_err(|_| SourceError::Cancelled)
    }
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}/{name}")
    }
}

/// The names in a directory; none when it is gone. PostgreSQL's own names are ASCII; others must be text to be told.
fn list(directory: &Path) -> Result<Vec<String>, SourceError> {
    let failed = |error: std::io::Error| SourceError::local("list", directory, &error);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let text = std::str::from_utf8(name.as_bytes()).map(str::to_owned);
        names.push(text.map_err(|_| failed(std::io::Error::other("a name in it is not UTF-8")))?);
    }
    names.sort_unstable();
    Ok(names)
}

/// What is there, without following a link; none when it is gone.
fn found(path: &Path) -> Result<Option<Metadata>, SourceError> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SourceError::local("read", path, &error)),
    }
}

/// Whether a directory is on a file system whose times can be believed.
fn is_trusted(directory: &Path) -> bool {
    let kind = rustix::fs::statfs(directory).map(|stat| stat.f_type.cast_unsigned());
    kind.is_ok_and(|kind| TRUSTED.contains(&(kind & 0xffff_ffff)))
}
