//! The CPU pool: hash → claim → compress → encrypt → pack.
//!
//! A fixed number of plain threads fed by a bounded queue. A worker appends the sealed blob to the open pack under a
//! short lock; whoever fills a pack also closes, hashes and hands it over. After a stop the workers go on taking jobs
//! and drop them, so that no reader blocks on a full queue.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::mpsc;

use super::Compression;
use super::budget::Permit;
use super::buffers::Buffers;
use super::ticket::Ticket;
use crate::repo::crypto::{CipherKey, IV_SIZE, OVERHEAD};
use crate::repo::error::RepoError;
use crate::repo::id::{BuildIdHasher, Id};
use crate::repo::index::Index;
use crate::repo::pack::{BlobKind, FinishedPack, PackBuilder};
use crate::repo::stop::{Stop, Stopped};

/// More blobs than this are not put into one pack, so that its header and its index entry stay small.
const MAX_BLOBS_PER_PACK: usize = 10_000;
/// Content below this is not worth a sample: compressing it costs about as much.
const SAMPLE_FROM: usize = 128 << 10;
const SAMPLE_SIZE: usize = 16 << 10;

/// One piece of work.
#[derive(Debug)]
pub(super) enum Job {
    /// A chunk of a file: its name is reported to the ticket.
    Chunk {
        data: Vec<u8>,
        permit: Permit,
        ticket: Arc<Ticket>,
        position: usize,
    },
    /// A tree, whose name the builder already knows.
    Tree { data: Vec<u8>, id: Id },
}

/// Counts of what was new.
#[derive(Debug, Default)]
pub(super) struct Added {
    pub(super) data_blobs: AtomicU64,
    pub(super) tree_blobs: AtomicU64,
    pub(super) plain: AtomicU64,
    pub(super) stored: AtomicU64,
}

/// What all workers share.
#[derive(Debug)]
pub(super) struct Shared {
    key: CipherKey,
    index: Arc<Index>,
    claims: [Mutex<HashSet<Id, BuildIdHasher>>; 2],
    packs: [Mutex<PackBuilder>; 2],
    pack_bytes: usize,
    buffers: Buffers,
    /// Format version 1 knows no compression.
    level: Option<i32>,
    sample: bool,
    finished: mpsc::Sender<FinishedPack>,
    pub(super) added: Added,
    pub(super) stop: Stop,
}

/// The running pool.
#[derive(Debug)]
pub(super) struct Saver {
    pub(super) shared: Arc<Shared>,
    jobs: Sender<Job>,
    workers: Vec<JoinHandle<()>>,
}

/// How the pool is set up.
pub(super) struct SaverOptions {
    pub(super) key: CipherKey,
    pub(super) index: Arc<Index>,
    pub(super) version: u32,
    pub(super) compression: Compression,
    pub(super) threads: usize,
    pub(super) pack_bytes: usize,
    pub(super) buffers: Buffers,
}

impl Saver {
    pub(super) fn start(options: SaverOptions, finished: mpsc::Sender<FinishedPack>, stop: Stop) -> Self {
        let level = match options.compression {
            _ if options.version < 2 => None,
            Compression::Off => None,
            Compression::Auto => Some(3),
            Compression::Max => Some(12),
        };
        let pack = || Mutex::new(PackBuilder::new(Vec::new()));
        let shared = Arc::new(Shared {
            key: options.key,
            index: options.index,
            claims: [Mutex::default(), Mutex::default()],
            packs: [pack(), pack()],
            pack_bytes: options.pack_bytes.clamp(64 << 10, 128 << 20),
            buffers: options.buffers,
            level,
            sample: options.compression == Compression::Auto,
            finished,
            added: Added::default(),
            stop,
        });
        let (jobs, queue) = crossbeam_channel::bounded(256);
        let workers = (0..options.threads.max(1)).map(|_| {
            let (shared, queue) = (Arc::clone(&shared), queue.clone());
            std::thread::spawn(move || work(&shared, &queue))
        });
        Self {
            workers: workers.collect(),
            shared,
            jobs,
        }
    }

    /// A handle for whoever feeds the pool.
    pub(super) fn feed(&self) -> Feed {
        Feed {
            jobs: self.jobs.clone(),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Waits for the workers and closes the last packs; every feed must be gone. Blocks.
    pub(super) fn finish(self) -> Arc<Shared> {
        let Self { shared, jobs, workers } = self;
        drop(jobs);
        for worker in workers {
            if worker.join().is_err() {
                shared.stop.fail(RepoError::internal("a worker ended"));
            }
        }
        for pack in &shared.packs {
            let full = std::mem::replace(&mut *lock(pack), PackBuilder::new(Vec::new()));
            if !full.is_empty() && !shared.stop.is_stopped() {
                shared.close(full);
            }
        }
        shared
    }
}

/// Feeds the pool.
#[derive(Debug, Clone)]
pub(in crate::repo) struct Feed {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
}

impl Feed {
    /// Hands over a chunk.
    pub(super) fn chunk(&self, data: Vec<u8>, permit: Permit, ticket: &Arc<Ticket>) -> Result<(), Stopped> {
        let position = ticket.expect();
        self.send(Job::Chunk {
            data,
            permit,
            ticket: Arc::clone(ticket),
            position,
        })
    }

    /// Hands over a tree and returns its name.
    pub(in crate::repo) fn tree(&self, data: Vec<u8>) -> Result<Id, Stopped> {
        let id = Id::of(&data);
        if !self.shared.index.has(BlobKind::Tree, &id) {
            self.send(Job::Tree { data, id })?;
        }
        Ok(id)
    }

    pub(super) fn index(&self) -> Arc<Index> {
        Arc::clone(&self.shared.index)
    }

    pub(super) fn stop(&self) -> &Stop {
        &self.shared.stop
    }

    fn send(&self, job: Job) -> Result<(), Stopped> {
        self.shared.stop.check()?;
        self.jobs.send(job).map_err(|_| Stopped)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(shared: &Shared, queue: &Receiver<Job>) {
    let mut encoder = match Encoder::new(shared.level.unwrap_or(3)) {
        Ok(encoder) => encoder,
        Err(error) => {
            shared.stop.fail(RepoError::internal(format!("zstd: {error}")));
            return;
        }
    };
    for job in queue {
        if shared.stop.is_stopped() {
            continue;
        }
        let (kind, id, data, _permit) = match job {
            Job::Chunk {
                data,
                permit,
                ticket,
                position,
            } => {
                let id = Id::of(&data);
                ticket.fill(position, id);
                (BlobKind::Data, id, data, Some(permit))
            }
            Job::Tree { data, id } => (BlobKind::Tree, id, data, None),
        };
        if shared.claim(kind, id)
            && let Err(error) = shared.store(&mut encoder, kind, id, &data)
        {
            shared.stop.fail(error);
        }
    }
}

impl Shared {
    /// Whether this blob is new and nobody else stores it.
    fn claim(&self, kind: BlobKind, id: Id) -> bool {
        !self.index.has(kind, &id) && lock(&self.claims[kind as usize]).insert(id)
    }

    fn store(&self, encoder: &mut Encoder, kind: BlobKind, id: Id, data: &[u8]) -> Result<(), RepoError> {
        let compress = self.level.is_some() && !(self.sample && kind == BlobKind::Data && encoder.is_noise(data));
        let random = |error: getrandom::Error| RepoError::internal(format!("no randomness: {error}"));
        let (sealed, plain_length) = encoder.seal(&self.key, data, compress).map_err(random)?;
        let counter = if kind == BlobKind::Data {
            &self.added.data_blobs
        } else {
            &self.added.tree_blobs
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.added.plain.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.added.stored.fetch_add(sealed.len() as u64, Ordering::Relaxed);
        let full = {
            let mut pack = lock(&self.packs[kind as usize]);
            let is_full = !pack.has_room(sealed.len()) || pack.count() >= MAX_BLOBS_PER_PACK;
            let mut full = None;
            if is_full {
                // A blob that is larger than a pack gets one to itself.
                let capacity = self.pack_bytes.max(sealed.len() + 1024);
                let Ok(buffer) = self.buffers.take(capacity, &self.stop) else {
                    return Ok(());
                };
                full = Some(std::mem::replace(&mut *pack, PackBuilder::new(buffer)));
            }
            pack.push(kind, id, sealed, plain_length);
            full.filter(|full| !full.is_empty())
        };
        if let Some(full) = full {
            self.close(full);
        }
        Ok(())
    }

    fn close(&self, pack: PackBuilder) {
        match pack.finish(&self.key) {
            // The uploader is gone only when everything stops.
            Ok(finished) => drop(self.finished.blocking_send(finished)),
            Err(error) => self.stop.fail(RepoError::internal(format!("no randomness: {error}"))),
        }
    }
}

/// The buffers and the compressor of one worker.
struct Encoder {
    zstd: zstd::bulk::Compressor<'static>,
    fast: zstd::bulk::Compressor<'static>,
    buffer: Vec<u8>,
    sample: Vec<u8>,
}

impl Encoder {
    fn new(level: i32) -> std::io::Result<Self> {
        let zstd = zstd::bulk::Compressor::new(level)?;
        Ok(Self {
            zstd,
            fast: zstd::bulk::Compressor::new(1)?,
            buffer: Vec::new(),
            sample: Vec::new(),
        })
    }

    /// Whether a sample from the beginning, the middle and the end saves less than three percent.
    fn is_noise(&mut self, data: &[u8]) -> bool {
        if data.len() < SAMPLE_FROM {
            return false;
        }
        self.sample.resize(zstd::zstd_safe::compress_bound(SAMPLE_SIZE), 0);
        let starts = [0, data.len() / 2, data.len() - SAMPLE_SIZE];
        let saved = starts.iter().any(|start| {
            let piece = &data[*start..start + SAMPLE_SIZE];
            let length = self.fast.compress_to_buffer(piece, self.sample.as_mut_slice());
            length.is_ok_and(|length| length * 100 < SAMPLE_SIZE * 97)
        });
        !saved
    }

    /// Compresses if it pays, seals, and returns the envelope and the plain length of a compressed blob.
    fn seal(&mut self, key: &CipherKey, data: &[u8], compress: bool) -> Result<(&[u8], Option<u32>), getrandom::Error> {
        let room = zstd::zstd_safe::compress_bound(data.len()) + OVERHEAD;
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        let body = &mut self.buffer[IV_SIZE..];
        let compressed = if compress {
            self.zstd.compress_to_buffer(data, body).ok()
        } else {
            None
        };
        let plain_length = u32::try_from(data.len()).ok().filter(|length| *length > 0);
        let (length, plain_length) = match compressed.filter(|length| *length < data.len()) {
            Some(length) if plain_length.is_some() => (length, plain_length),
            _ => {
                self.buffer[IV_SIZE..IV_SIZE + data.len()].copy_from_slice(data);
                (data.len(), None)
            }
        };
        let sealed = &mut self.buffer[..length + OVERHEAD];
        key.seal_slice(sealed)?;
        Ok((sealed, plain_length))
    }
}
