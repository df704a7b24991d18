//! Whole files of a repository on a store: snapshots, index files, locks; and the one place that repeats requests.

use std::cell::RefCell;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::error::RepoError;
use super::id::{Id, short};
use super::pack::BlobKind;
use super::progress::Progress;
use super::{Repository, crypto};
use crate::store::{ErrorKind, StoreError, StoreResult};

/// The kinds of encrypted files beside packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A snapshot.
    Snapshot,
    /// A part of the index.
    Index,
    /// A lock.
    Lock,
}

impl FileKind {
    /// The folder it lives in, with the slash.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshots/",
            Self::Index => "index/",
            Self::Lock => "locks/",
        }
    }

    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Index => "index",
            Self::Lock => "lock",
        }
    }
}

/// The first byte of a file whose rest is zstd.
const COMPRESSED: u8 = 2;
/// The most plain bytes such a file may unpack to: far above the 8 MiB of an index file, far below the memory of a machine.
const MAX_PLAIN: usize = 256 << 20;
/// How many files are read at once over a network, and from a disk of this machine.
const READERS_REMOTE: usize = 32;
const READERS_LOCAL: usize = 4;
/// The most plain bytes a blob may unpack to: chunks are a few mebibytes, a tree of a million entries is some hundred.
const MAX_BLOB: [u32; 2] = [128 << 20, 1 << 30];
/// How often a request is tried that somebody waits for.
const ATTEMPTS: u32 = 5;
/// How often one is tried whose retries are counted on screen: a busy object store wants a minute, and hours of work behind it
/// are worth waiting that long.
const PATIENT_ATTEMPTS: u32 = 9;

/// The key of a pack.
pub fn pack_key(id: &Id) -> String {
    let name = id.hex();
    format!("data/{}/{name}", &name[..2])
}

impl Repository {
    /// The names and sizes of all files of a kind; names that are not ids are not the repository's.
    pub(crate) async fn list_files(&self, kind: FileKind) -> Result<Vec<(String, u64)>, RepoError> {
        let objects = self.retry(None, || self.0.store.list(kind.prefix())).await?;
        let name = |key: &str| {
            key.strip_prefix(kind.prefix())
                .filter(|name| Id::parse(name).is_some())
                .map(str::to_owned)
        };
        Ok(objects
            .into_iter()
            .filter_map(|object| Some((name(&object.key)?, object.size)))
            .collect())
    }

    /// Reads, verifies and decrypts a file.
    pub(crate) async fn load_file(&self, kind: FileKind, name: &str) -> Result<Vec<u8>, RepoError> {
        let key = format!("{}{name}", kind.prefix());
        let sealed = self.retry(None, || self.0.store.get(&key)).await?;
        let label = || format!("{} {}", kind.word(), short(name));
        if Id::of(&sealed).hex() != name {
            return Err(RepoError::damaged(label(), "its bytes do not match its name"));
        }
        self.unseal(&sealed, label)
    }

    /// Decrypts and unpacks the bytes of a stored file; `label` names it when it is damaged.
    pub(crate) fn unseal(&self, sealed: &[u8], label: impl Fn() -> String) -> Result<Vec<u8>, RepoError> {
        let damaged = |why: &str| RepoError::damaged(label(), why);
        let plain = self
            .key()
            .open(sealed)
            .map_err(|_| damaged("it does not authenticate"))?;
        match plain.first() {
            Some(b'{' | b'[') => Ok(plain),
            Some(&COMPRESSED) => {
                let size = zstd::bulk::Decompressor::upper_bound(&plain[1..])
                    .unwrap_or(MAX_PLAIN)
                    .min(MAX_PLAIN);
                decompress(&plain[1..], size).map_err(|_| damaged("it does not decompress"))
            }
            _ => Err(damaged("it has an unknown encoding")),
        }
    }

    /// Reads many files at once and parses them, all off the runtime; they arrive in the order they are ready.
    ///
    /// Dropping the receiver ends the work. A file that is gone arrives as [`ErrorKind::NotFound`].
    pub(crate) fn load_many<T>(
        &self,
        kind: FileKind,
        names: Vec<String>,
    ) -> mpsc::Receiver<(String, Result<T, RepoError>)>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let remote = self.0.store.capabilities().remote;
        // Over a network most of the time is waiting; on this machine it is parsing.
        let parallel = if remote { READERS_REMOTE } else { READERS_LOCAL };
        let workers = parallel.min(names.len());
        let names = Arc::new(Mutex::new(names.into_iter()));
        let (done, inbox) = mpsc::channel(workers.max(1));
        for _ in 0..workers {
            let (repo, names, done) = (self.clone(), Arc::clone(&names), done.clone());
            let runtime = tokio::runtime::Handle::current();
            tokio::task::spawn_blocking(move || {
                loop {
                    let Some(name) = names.lock().unwrap_or_else(PoisonError::into_inner).next() else {
                        return;
                    };
                    let loaded = runtime.block_on(repo.load_json(kind, &name));
                    if done.blocking_send((name, loaded)).is_err() {
                        return;
                    }
                }
            });
        }
        inbox
    }

    /// Reads a file as JSON.
    pub(crate) async fn load_json<T: DeserializeOwned>(&self, kind: FileKind, name: &str) -> Result<T, RepoError> {
        let plain = self.load_file(kind, name).await?;
        serde_json::from_slice(&plain)
            .map_err(|error| RepoError::damaged(format!("{} {}", kind.word(), short(name)), error.to_string()))
    }

    /// Writes a file as JSON and returns its name.
    pub(crate) async fn save_json<T: Serialize>(&self, kind: FileKind, value: &T) -> Result<String, RepoError> {
        let sealed = self.seal_json(value, kind.word())?;
        let name = Id::of(&sealed).hex();
        self.put_new(&format!("{}{name}", kind.prefix()), sealed.into(), None)
            .await?;
        Ok(name)
    }

    /// The bytes that a value is stored as: JSON, packed where the format allows it, sealed.
    pub(crate) fn seal_json<T: Serialize>(&self, value: &T, word: &str) -> Result<Vec<u8>, RepoError> {
        let internal = |error: String| RepoError::internal(format!("cannot write a {word}: {error}"));
        let plain = serde_json::to_vec(value).map_err(|error| internal(error.to_string()))?;
        let encoded = if self.version() >= 2 {
            let mut encoded = vec![COMPRESSED];
            encoded.extend(zstd::bulk::compress(&plain, 3).map_err(|error| internal(error.to_string()))?);
            encoded
        } else {
            plain
        };
        self.key().seal(&encoded).map_err(|error| internal(error.to_string()))
    }

    /// Deletes an object; that it is gone already, perhaps by an attempt that seemed to fail, is what was wanted.
    pub(crate) async fn delete_gone(&self, key: &str) -> Result<(), RepoError> {
        match self.retry(None, || self.0.store.delete(key)).await {
            Err(error) if error.kind != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Stores a new object, repeating a request that may have succeeded.
    pub(crate) async fn put_new(&self, key: &str, data: Bytes, progress: Option<&Progress>) -> Result<(), RepoError> {
        self.is_here().await?;
        let put = || async {
            match self.0.store.put(key, data.clone()).await {
                // An earlier attempt reached the store after all. The name is the hash of the bytes.
                Err(error) if error.kind == ErrorKind::AlreadyExists => match self.0.store.head(key).await {
                    Ok(size) if size == data.len() as u64 => Ok(()),
                    // Whether it is this object is still to be found out.
                    Err(unseen) if unseen.retryable() => Err(unseen),
                    _ => Err(error),
                },
                other => other,
            }
        };
        Ok(self.retry(progress.map(|progress| &progress.retries), put).await?)
    }

    /// Repeats a request while the store says that this can help, with growing, jittered pauses.
    pub(crate) async fn retry<T, F>(
        &self,
        retries: Option<&AtomicU64>,
        mut request: impl FnMut() -> F,
    ) -> StoreResult<T>
    where
        F: Future<Output = StoreResult<T>>,
    {
        let attempts = if retries.is_some() { PATIENT_ATTEMPTS } else { ATTEMPTS };
        let mut attempt = 1;
        loop {
            match request().await {
                Err(error) if error.retryable() && attempt < attempts => {
                    if let Some(counter) = retries {
                        Progress::add(counter, 1);
                    }
                    self.0.clock.sleep(pause(attempt)).await;
                    attempt += 1;
                }
                Err(error) if attempt > 1 => {
                    let message = format!("{} (tried {attempt} times)", error.message);
                    return Err(StoreError { message, ..error });
                }
                other => return other,
            }
        }
    }
}

fn pause(attempt: u32) -> Duration {
    let base = 100u64 << attempt;
    Duration::from_millis(base + getrandom::u64().unwrap_or(0) % base)
}

thread_local! {
    /// Making a context costs more than unpacking a small blob with it.
    static CONTEXT: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

fn decompress(packed: &[u8], length: usize) -> std::io::Result<Vec<u8>> {
    CONTEXT.with_borrow_mut(|context| match context {
        Some(context) => context.decompress(packed, length),
        None => context
            .insert(zstd::bulk::Decompressor::new()?)
            .decompress(packed, length),
    })
}

/// Opens, decompresses and verifies one blob.
pub(crate) fn decode_blob(
    key: &crypto::CipherKey,
    kind: BlobKind,
    sealed: &mut [u8],
    plain_length: Option<u32>,
    id: &Id,
) -> Result<Vec<u8>, RepoError> {
    let damaged = |why: &str| RepoError::damaged(format!("blob {}", id.short()), why);
    if plain_length.is_some_and(|length| length > MAX_BLOB[kind as usize]) {
        return Err(damaged("it claims to unpack to more than any honest blob"));
    }
    let plain = key
        .open_in_place(sealed)
        .map_err(|_| damaged("it does not authenticate"))?;
    let plain = match plain_length {
        Some(length) => decompress(plain, length as usize).map_err(|_| damaged("it does not decompress"))?,
        None => plain.to_vec(),
    };
    if Id::of(&plain) == *id {
        Ok(plain)
    } else {
        Err(damaged("its bytes do not match its name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_is_counted_waits_longer_for_a_busy_store_than_work_that_somebody_waits_for() {
        let clock = crate::clock::Clock::manual(chrono::DateTime::UNIX_EPOCH);
        let store = std::sync::Arc::new(crate::store::memory::MemoryStore::new());
        let password = crate::repo::testing::password();
        let repo = Repository::init(store, &password, clock.clone()).await.unwrap();
        let busy = || async { Err::<(), _>(StoreError::new(ErrorKind::Transient, "write", "data/a", "busy")) };
        for (counter, tried) in [(None, 5), (Some(&AtomicU64::new(0)), 9)] {
            let work = repo.retry(counter, busy);
            let error = crate::repo::testing::turning(&clock, work).await.unwrap_err();
            assert!(error.message.contains(&format!("tried {tried} times")), "{error}");
        }
    }

    #[test]
    fn a_blob_must_be_what_its_name_says_even_when_it_is_authentic() {
        let key = crypto::CipherKey::random().unwrap();
        let packed = zstd::bulk::compress(&[7; 5000], 3).unwrap();
        let open = |plain_length, id: &Id| {
            decode_blob(&key, BlobKind::Data, &mut key.seal(&packed).unwrap(), plain_length, id)
        };
        assert_eq!(open(Some(5000), &Id::of(&[7; 5000])).unwrap(), [7; 5000]);
        assert_eq!(open(None, &Id::of(&packed)).unwrap(), packed);
        assert!(
            open(Some(5000), &Id::of(b"another")).is_err(),
            "another blob under this name"
        );
        assert!(
            open(Some(100), &Id::of(&[7; 5000])).is_err(),
            "it unpacks to more than the index says"
        );
        let bomb = zstd::bulk::compress(&vec![0; (128 << 20) + 1], 1).unwrap();
        let open = |kind| {
            decode_blob(
                &key,
                kind,
                &mut key.seal(&bomb).unwrap(),
                Some((128 << 20) + 1),
                &Id::default(),
            )
        };
        let error = open(BlobKind::Data).unwrap_err().to_string();
        assert!(error.contains("more than any honest"), "{error}");
        let error = open(BlobKind::Tree).unwrap_err().to_string();
        assert!(error.contains("do not match"), "a tree may be larger: {error}");
    }
}
