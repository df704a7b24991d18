//! Moving stored blobs from packs into new packs: within a repository (prune) or into another (copy).
//!
//! ```text
//! packs to read ─▶ fetch (several) ─▶ open, verify, seal again (blocking pool, a pack at a time) ─▶ pack (1) ─▶ uploads ─▶ index
//! ```
//!
//! Blobs are never compressed again. With the same master key on both sides their envelopes are taken over as they are;
//! with another key they are opened and sealed. Every blob is verified against its name on the way in either case: what
//! is damaged is an error, and never gets a new home under a sound-looking index.
//!
//! **Memory.** A fixed number of source packs, the two packs being filled, and the uploads under way.
//!
//! **Crash window.** Packs, then the index files that name them. What a crash leaves is garbage that the next prune
//! collects; what is indexed, the next run need not move again.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::task::JoinSet;

use super::Repository;
use super::archive::upload::Collected;
use super::crypto::CipherKey;
use super::error::RepoError;
use super::files::{decode_blob, pack_key};
use super::id::Id;
use super::index::{IndexBlob, IndexPack};
use super::pack::{BlobKind, FinishedPack, PackBuilder};
use super::progress::Progress;
use super::stop::Stop;

/// How many source packs are in memory at once.
const PARALLEL_PACKS: usize = 3;
/// Gaps up to this size between two wanted blobs are read rather than asked around.
const GAP: u64 = 256 << 10;
/// More blobs than this are not put into one pack.
const MAX_BLOBS_PER_PACK: usize = 10_000;

/// The blobs wanted from one pack.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The pack.
    pub(super) pack: Id,
    /// Its size in the store.
    pub(super) size: u64,
    /// What is wanted of it, by offset.
    pub(super) blobs: Vec<IndexBlob>,
    /// Nothing is left behind: with the same key the pack can be taken as it is.
    pub(super) whole: bool,
}

/// What was moved.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moved {
    /// New packs.
    pub(super) packs: u64,
    /// Blobs in them.
    pub(super) blobs: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

/// A blob on its way.
struct Parcel {
    kind: BlobKind,
    id: Id,
    sealed: Vec<u8>,
    plain_length: Option<u32>,
}

/// What comes out of one source pack.
enum Load {
    Parcels(Vec<Parcel>),
    Whole(IndexPack, Bytes),
}

/// From where to where.
pub(super) struct Transfer<'a> {
    pub(super) source: &'a Repository,
    pub(super) target: &'a Repository,
    pub(super) pack_bytes: usize,
    pub(super) progress: &'a Arc<Progress>,
    pub(super) stop: &'a Stop,
}

impl Transfer<'_> {
    /// Moves everything wanted; afterwards it is stored and indexed in the target.
    pub(super) async fn run(&self, wanted: Vec<Wanted>) -> Result<Moved, RepoError> {
        let same_key = self.source.key().parts() == self.target.key().parts();
        let mut out = Packer::new(self);
        let loads = wanted.into_iter().map(|wanted| self.load(wanted, same_key));
        let mut loads = futures_util::stream::iter(loads.collect::<Vec<_>>()).buffered(PARALLEL_PACKS);
        loop {
            let next = self.stop.token().run_until_cancelled(loads.next()).await;
            self.stop.result()?;
            let Some(Some(load)) = next else { break };
            match load? {
                Load::Parcels(parcels) => {
                    for parcel in parcels {
                        out.push(parcel).await?;
                    }
                }
                Load::Whole(entry, data) => out.upload(entry, data).await?,
            }
            Progress::add(&self.progress.files_done, 1);
        }
        drop(loads);
        out.finish().await
    }

    async fn load(&self, wanted: Wanted, same_key: bool) -> Result<Load, RepoError> {
        let packed = wanted.blobs.iter().any(|blob| blob.uncompressed_length != 0);
        let as_it_is = wanted.whole && same_key && !(packed && self.target.version() < 2);
        let pieces = self.fetch(&wanted, as_it_is).await?;
        let (open, seal) = (self.source.key().clone(), self.target.key().clone());
        let seal = (!same_key).then_some(seal);
        let unpack = self.target.version() < 2;
        let bytes: u64 = wanted.blobs.iter().map(|blob| u64::from(blob.length)).sum();
        let work = tokio::task::spawn_blocking(move || {
            if as_it_is {
                return verify_whole(&wanted, &pieces, &open);
            }
            let parcel = |blob: &IndexBlob| readdress(blob, &pieces, &wanted, &open, seal.as_ref(), unpack);
            let parcels: Result<Vec<_>, _> = wanted.blobs.iter().map(parcel).collect();
            parcels.map(Load::Parcels)
        });
        let load = work
            .await
            .map_err(|error| RepoError::internal(format!("a transfer ended: {error}")))??;
        Progress::add(&self.progress.bytes_done, bytes);
        Ok(load)
    }

    /// Reads the pack, or the parts of it that are wanted.
    async fn fetch(&self, wanted: &Wanted, all: bool) -> Result<Vec<(u64, Bytes)>, RepoError> {
        let (key, store) = (pack_key(&wanted.pack), self.source.store());
        let retries = Some(&self.progress.retries);
        let spans = if all {
            vec![(0, wanted.size)]
        } else {
            spans(&wanted.blobs)
        };
        let mut pieces = Vec::with_capacity(spans.len());
        for (from, to) in spans {
            let data = self
                .source
                .retry(retries, || store.get_range(&key, from, to - from))
                .await?;
            pieces.push((from, data));
        }
        Ok(pieces)
    }
}

/// The ranges to read, blobs that lie close together in one.
fn spans(blobs: &[IndexBlob]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = blobs
        .iter()
        .map(|blob| (u64::from(blob.offset), u64::from(blob.offset) + u64::from(blob.length)))
        .collect();
    ranges.sort_unstable();
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for (from, to) in ranges {
        match spans.last_mut() {
            Some(last) if from <= last.1 + GAP => last.1 = last.1.max(to),
            _ => spans.push((from, to)),
        }
    }
    spans
}

/// The envelope of one blob.
fn slice<'a>(blob: &IndexBlob, pieces: &'a [(u64, Bytes)], pack: &Id) -> Result<&'a [u8], RepoError> {
    let from = u64::from(blob.offset);
    let find = || {
        let (start, data) = pieces.iter().rev().find(|(start, _)| *start <= from)?;
        let at = usize::try_from(from - start).ok()?;
        data.get(at..at.checked_add(blob.length as usize)?)
    };
    find().ok_or_else(|| RepoError::damaged(format!("pack {}", pack.short()), "it is truncated"))
}

/// Verifies one blob and puts it into the envelope that the target needs.
fn readdress(
    blob: &IndexBlob,
    pieces: &[(u64, Bytes)],
    wanted: &Wanted,
    open: &CipherKey,
    seal: Option<&CipherKey>,
    unpack: bool,
) -> Result<Parcel, RepoError> {
    let sealed = slice(blob, pieces, &wanted.pack)?;
    let packed_length = (blob.uncompressed_length != 0).then_some(blob.uncompressed_length);
    let plain = decode_blob(open, blob.kind, &mut sealed.to_vec(), packed_length, &blob.id)?;
    let random = |error: getrandom::Error| RepoError::internal(format!("no randomness: {error}"));
    let (sealed, plain_length) = match (seal, packed_length) {
        // The oldest format knows no compression.
        (key, Some(_)) if unpack => (key.unwrap_or(open).seal(&plain).map_err(random)?, None),
        (None, length) => (sealed.to_vec(), length),
        (Some(key), None) => (key.seal(&plain).map_err(random)?, None),
        (Some(key), length) => {
            let mut copy = sealed.to_vec();
            let inner = open
                .open_in_place(&mut copy)
                .map_err(|_| RepoError::damaged(format!("blob {}", blob.id.short()), "it does not authenticate"))?;
            (key.seal(inner).map_err(random)?, length)
        }
    };
    Ok(Parcel {
        kind: blob.kind,
        id: blob.id,
        sealed,
        plain_length,
    })
}

/// Verifies a pack that is taken over as it is: its name and every blob.
fn verify_whole(wanted: &Wanted, pieces: &[(u64, Bytes)], open: &CipherKey) -> Result<Load, RepoError> {
    let data = pieces.first().map(|(_, data)| data.clone()).unwrap_or_default();
    if Id::of(&data) != wanted.pack {
        let label = format!("pack {}", wanted.pack.short());
        return Err(RepoError::damaged(label, "its bytes do not match its name"));
    }
    for blob in &wanted.blobs {
        let length = (blob.uncompressed_length != 0).then_some(blob.uncompressed_length);
        let mut sealed = slice(blob, pieces, &wanted.pack)?.to_vec();
        decode_blob(open, blob.kind, &mut sealed, length, &blob.id)?;
    }
    let entry = IndexPack {
        id: wanted.pack,
        blobs: wanted.blobs.clone(),
    };
    Ok(Load::Whole(entry, data))
}

/// The one owner of the packs being filled, their uploads and the index.
struct Packer<'a> {
    transfer: &'a Transfer<'a>,
    open: [PackBuilder; 2],
    running: JoinSet<Result<IndexPack, RepoError>>,
    index: Collected,
    moved: Moved,
}

impl<'a> Packer<'a> {
    fn new(transfer: &'a Transfer<'a>) -> Self {
        let pack = || PackBuilder::new(Vec::new());
        Self {
            transfer,
            open: [pack(), pack()],
            running: JoinSet::new(),
            index: Collected::new(transfer.target),
            moved: Moved::default(),
        }
    }

    async fn push(&mut self, parcel: Parcel) -> Result<(), RepoError> {
        let pack = &self.open[parcel.kind as usize];
        if !pack.has_room(parcel.sealed.len()) || pack.count() >= MAX_BLOBS_PER_PACK {
            let capacity = self.transfer.pack_bytes.max(parcel.sealed.len() + 1024);
            let fresh = PackBuilder::new(Vec::with_capacity(capacity));
            let full = std::mem::replace(&mut self.open[parcel.kind as usize], fresh);
            self.close(full).await?;
        }
        self.open[parcel.kind as usize].push(parcel.kind, parcel.id, &parcel.sealed, parcel.plain_length);
        Ok(())
    }

    async fn close(&mut self, pack: PackBuilder) -> Result<(), RepoError> {
        if pack.is_empty() {
            return Ok(());
        }
        let key = self.transfer.target.key().clone();
        let finished = tokio::task::spawn_blocking(move || pack.finish(&key))
            .await
            .map_err(|error| RepoError::internal(format!("a transfer ended: {error}")))?;
        let FinishedPack { id, data, blobs } =
            finished.map_err(|error| RepoError::internal(format!("no randomness: {error}")))?;
        self.upload(IndexPack::new(id, &blobs), data.into()).await
    }

    async fn upload(&mut self, entry: IndexPack, data: Bytes) -> Result<(), RepoError> {
        let parallel = self.transfer.target.store().capabilities().parallel_puts.max(1);
        while self.running.len() >= parallel {
            self.settle_one().await?;
        }
        self.moved.packs += 1;
        self.moved.blobs += entry.blobs.len() as u64;
        self.moved.bytes += data.len() as u64;
        let (repo, progress) = (self.transfer.target.clone(), Arc::clone(self.transfer.progress));
        self.running.spawn(async move {
            let length = data.len() as u64;
            repo.put_new(&pack_key(&entry.id), data, Some(&progress)).await?;
            Progress::add(&progress.bytes_stored, length);
            Ok(entry)
        });
        Ok(())
    }

    async fn settle_one(&mut self) -> Result<(), RepoError> {
        match self.running.join_next().await {
            None => Ok(()),
            Some(Ok(stored)) => self.index.add(stored?).await,
            Some(Err(error)) => Err(RepoError::internal(format!("an upload ended: {error}"))),
        }
    }

    async fn finish(mut self) -> Result<Moved, RepoError> {
        for kind in 0..self.open.len() {
            let last = std::mem::replace(&mut self.open[kind], PackBuilder::new(Vec::new()));
            self.close(last).await?;
        }
        while !self.running.is_empty() {
            self.settle_one().await?;
        }
        self.index.flush().await?;
        Ok(self.moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_close_together_are_read_at_once() {
        let blob = |offset: u32, length: u32| IndexBlob {
            id: Id::default(),
            kind: BlobKind::Data,
            offset,
            length,
            uncompressed_length: 0,
        };
        let gap = u32::try_from(GAP).unwrap();
        let blobs = [blob(gap * 3, 10), blob(0, 100), blob(100 + gap, 5)];
        let end = u64::from(gap);
        assert_eq!(spans(&blobs), [(0, end + 105), (end * 3, end * 3 + 10)]);
        assert!(spans(&[]).is_empty());
    }
}
