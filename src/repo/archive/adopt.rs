//! Packs that an interrupted backup stored but no index names: found, read and indexed, so that nothing is stored twice.
//!
//! A backup that is killed leaves a lock nobody keeps fresh; the next backup that meets one lists the packs. Of those that
//! are in no index it reads the header (the end of the pack, which is written last and is authenticated) and writes an
//! index file that names them. A pack without a sound header is left alone: a prune collects it.
//!
//! **Beside others.** All of it happens under the backup's own shared lock. A pack of a client that is uploading right now
//! is indexed twice, which means nothing; a prune needs the exclusive lock, and finds out anew what is needed.
//!
//! **Crash window.** Only the index file is written, last: before it nothing has happened.

use std::collections::HashSet;

use tokio::task::{JoinError, JoinSet};

use super::upload::Collected;
use crate::repo::Repository;
use crate::repo::crypto::OVERHEAD;
use crate::repo::error::RepoError;
use crate::repo::files::pack_key;
use crate::repo::id::{BuildIdHasher, Id};
use crate::repo::index::{Index, IndexPack};
use crate::repo::pack::{header_range, open_header};
use crate::repo::stop::Stop;

/// How many headers are read at once.
const PARALLEL: usize = 16;
/// How much is read from the end at first: the header of most packs.
const TAIL: u64 = 16 << 10;

/// Indexes the packs that no index names; returns how many.
pub(super) async fn adopt(repo: &Repository, index: &Index, stop: &Stop) -> Result<usize, RepoError> {
    let known: HashSet<Id, BuildIdHasher> = index.packs().iter().copied().collect();
    let objects = repo.retry(None, || repo.store().list("data/")).await?;
    let strays = objects.into_iter().filter_map(|object| {
        let id = object.key.rsplit('/').next().and_then(Id::parse)?;
        (!known.contains(&id)).then_some((id, object.size))
    });
    let mut found = Collected::large(repo);
    let mut adopted = 0;
    let mut running = JoinSet::new();
    for (id, size) in strays {
        stop.result()?;
        if running.len() >= PARALLEL {
            adopted += note(&mut found, running.join_next().await).await?;
        }
        running.spawn(header(repo.clone(), id, size));
    }
    while !running.is_empty() {
        stop.result()?;
        adopted += note(&mut found, running.join_next().await).await?;
    }
    found.flush().await?;
    Ok(adopted)
}

type Header = Result<Option<IndexPack>, RepoError>;

/// Reads what a pack holds; none when it has no sound header.
async fn header(repo: Repository, id: Id, size: u64) -> Header {
    let key = pack_key(&id);
    let unsound = |why: &str| {
        tracing::warn!(pack = %id, "a pack that no index names is left alone: {why}");
        Ok(None)
    };
    if size < OVERHEAD as u64 + 4 {
        return unsound("it is too short");
    }
    let length = size.min(TAIL);
    let read = async |offset, length| repo.retry(None, || repo.store().get_range(&key, offset, length)).await;
    let tail = match read(size - length, length).await {
        Err(error) if error.kind == crate::store::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let (start, header_length) = match tail.last_chunk::<4>().map(|last| header_range(size, *last)) {
        Some(Ok(range)) => range,
        Some(Err(why)) => return unsound(&why),
        None => return unsound("it is too short"),
    };
    let sealed = if header_length + 4 <= length {
        let from = usize::try_from(length - 4 - header_length).unwrap_or(0);
        tail.slice(from..tail.len() - 4)
    } else {
        read(start, header_length).await?
    };
    match open_header(repo.key(), &sealed, start) {
        Ok(blobs) => Ok(Some(IndexPack::new(id, &blobs))),
        Err(why) => unsound(&why),
    }
}

/// Notes what a header said; returns how many packs that adds, none or one.
async fn note(index: &mut Collected, ended: Option<Result<Header, JoinError>>) -> Result<usize, RepoError> {
    let Some(ended) = ended else { return Ok(0) };
    let pack = ended.map_err(|error| RepoError::internal(format!("reading a header ended: {error}")))??;
    let Some(pack) = pack else { return Ok(0) };
    index.add(pack).await?;
    Ok(1)
}
