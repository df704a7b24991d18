//! The data: packs are read whole, several at once, and every blob is opened.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::CheckProblem;
use super::structure::Structure;
use crate::repo::Repository;
use crate::repo::archive::session::cores;
use crate::repo::error::RepoError;
use crate::repo::files::{decode_blob, pack_key};
use crate::repo::id::Id;
use crate::repo::index::IndexPack;
use crate::repo::pack::{BlobKind, read_header};
use crate::repo::progress::Progress;
use crate::repo::stop::Stop;

/// A pack to read, and whether all of it counts or only some blobs.
struct Task {
    pack: IndexPack,
    whole: bool,
}

/// What is wrong with a pack.
struct Finding {
    pack: Id,
    message: String,
    blobs: Vec<(BlobKind, Id)>,
}

struct Reading {
    repo: Repository,
    tasks: Vec<Task>,
    next: AtomicUsize,
    runtime: Handle,
    progress: Arc<Progress>,
    stop: Stop,
    findings: Mutex<Vec<Finding>>,
    blobs: AtomicU64,
    bytes: AtomicU64,
    packs: AtomicU64,
}

impl Structure {
    /// Reads the chosen packs.
    pub(super) async fn read(
        &mut self,
        repo: &Repository,
        packs: Vec<Id>,
        progress: &Arc<Progress>,
        stop: &Stop,
    ) -> Result<(), RepoError> {
        let total: u64 = packs.iter().filter_map(|id| self.stored.get(id)).sum();
        Progress::add(&progress.bytes_total, total);
        Progress::add(&progress.files_total, packs.len() as u64);
        let task = |pack: &IndexPack| {
            let mut pack = pack.clone();
            if self.narrow {
                pack.blobs
                    .retain(|blob| self.needed[blob.kind as usize].contains(&blob.id));
            }
            Task {
                pack,
                whole: !self.narrow,
            }
        };
        let tasks = packs.iter().filter_map(|id| self.indexed.get(id)).map(task).collect();
        let reading = Reading {
            repo: repo.clone(),
            tasks,
            next: AtomicUsize::new(0),
            runtime: Handle::current(),
            progress: Arc::clone(progress),
            stop: stop.clone(),
            findings: Mutex::default(),
            blobs: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            packs: AtomicU64::new(0),
        };
        let done = tokio::task::spawn_blocking(move || reading.run()).await;
        let done = done.map_err(|error| RepoError::internal(format!("the reading ended: {error}")))?;
        stop.result()?;
        self.report.blobs_read = done.blobs.into_inner();
        self.report.bytes_read = done.bytes.into_inner();
        self.report.packs_read = done.packs.into_inner();
        for finding in done.findings.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.bad_packs.insert(finding.pack);
            for (kind, id) in finding.blobs {
                self.bad_blobs[kind as usize].insert(id);
            }
            self.add(CheckProblem::new("pack", finding.pack.hex(), finding.message));
        }
        Ok(())
    }
}

impl Reading {
    fn run(self) -> Self {
        std::thread::scope(|scope| {
            for _ in 0..=cores() {
                scope.spawn(|| self.work_off());
            }
        });
        self
    }

    fn work_off(&self) {
        while !self.stop.is_stopped() {
            let Some(task) = self.tasks.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            let key = pack_key(&task.pack.id);
            let fetch = self
                .repo
                .retry(Some(&self.progress.retries), || self.repo.store().get(&key));
            let data = match self.runtime.block_on(self.stop.token().run_until_cancelled(fetch)) {
                None => return,
                Some(Ok(data)) => data,
                Some(Err(error)) if error.kind == crate::store::ErrorKind::NotFound => {
                    self.find(task, "it cannot be found any more".to_owned(), Vec::new());
                    continue;
                }
                Some(Err(error)) => return self.stop.fail(error.into()),
            };
            self.packs.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
            Progress::add(&self.progress.bytes_done, data.len() as u64);
            self.check(task, data);
            Progress::add(&self.progress.files_done, 1);
        }
    }

    fn find(&self, task: &Task, message: String, blobs: Vec<(BlobKind, Id)>) {
        Progress::add(&self.progress.errors, 1);
        let finding = Finding {
            pack: task.pack.id,
            message,
            blobs,
        };
        self.findings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(finding);
    }

    fn check(&self, task: &Task, data: Bytes) {
        let mut messages = Vec::new();
        if task.whole {
            messages.extend(self.check_frame(task, &data));
        }
        let mut data = Vec::from(data);
        let mut bad = Vec::new();
        for blob in &task.pack.blobs {
            if self.stop.is_stopped() {
                return;
            }
            let range = blob.offset as usize..blob.offset as usize + blob.length as usize;
            let plain_length = (blob.uncompressed_length != 0).then_some(blob.uncompressed_length);
            let opened = match data.get_mut(range) {
                Some(sealed) => {
                    decode_blob(self.repo.key(), blob.kind, sealed, plain_length, &blob.id).map_err(|e| e.to_string())
                }
                None => Err(format!("blob {} lies past the end", blob.id.short())),
            };
            self.blobs.fetch_add(1, Ordering::Relaxed);
            if let Err(why) = opened {
                bad.push((blob.kind, blob.id));
                if bad.len() <= 3 {
                    messages.push(why);
                }
            }
        }
        if bad.len() > 3 {
            messages.push(format!("{} blobs are damaged in all", bad.len()));
        }
        if !messages.is_empty() {
            self.find(task, messages.join("; "), bad);
        }
    }

    /// The name and the header.
    fn check_frame(&self, task: &Task, data: &[u8]) -> Vec<String> {
        let mut messages = Vec::new();
        if Id::of(data) != task.pack.id {
            messages.push("its bytes do not match its name".to_owned());
        }
        match read_header(self.repo.key(), data) {
            Ok(blobs) => {
                let described = IndexPack::new(task.pack.id, &blobs);
                let key = |pack: &IndexPack| {
                    let mut all: Vec<_> = pack.blobs.iter().map(|b| (b.offset, b.length, b.id, b.kind)).collect();
                    all.sort_unstable();
                    all
                };
                if key(&described) != key(&task.pack) {
                    messages.push("its header and the index disagree".to_owned());
                }
            }
            Err(why) => messages.push(why),
        }
        messages
    }
}
