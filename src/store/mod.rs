//! Bytes by key.
//!
//! A [`Store`] keeps immutable objects under keys such as `config` or `data/ab/abcd…`. It knows nothing about what
//! the bytes mean. Everything above it relies on the semantics written at the trait, and `conformance` runs the same
//! suite against every backend, so a new backend is right when that suite is green.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `mod` | the trait, its required semantics, [`open`] |
//! | [`local`] | a directory, in restic's layout |
//! | [`memory`] | a map, for tests |
//! | [`s3`] | a bucket, in the same layout |
//! | [`limit`] | bounds of bandwidth and concurrency, wrapped around another store |
//! | [`quota`] | a bound of what it may take, wrapped around another store |
//! | [`fault`] | the one fault injector, wrapped around another store |
//! | `conformance` | the suite every backend passes |
//!
//! What a store never does: overwrite an object in place, return part of a listing as if it were the whole, report
//! success before the bytes are durable, or retry behind its caller's back.

#[doc(hidden)]
pub mod conformance;
mod direct;
pub mod error;
pub mod fault;
pub mod limit;
pub mod local;
pub mod memory;
pub mod quota;
pub mod s3;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

pub use error::{ErrorKind, StoreError};
pub use s3::AccessKey;

use crate::clock::Clock;
use crate::config::secret;
use crate::domain::address::Address;
use crate::domain::capacity::Room;
use crate::domain::job::{BucketKey, RepositoryDefinition};

/// The result of a store operation.
pub type StoreResult<T> = Result<T, StoreError>;

/// One object in a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectInfo {
    /// The whole key.
    pub key: String,
    /// The size in bytes.
    pub size: u64,
}

/// What a backend can do beyond the required operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Ranged reads cost one round trip over a network, so callers should fetch fewer, larger ranges.
    pub remote: bool,
    /// How many writes may usefully be in flight at once.
    pub parallel_puts: usize,
}

/// Whether an object can be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thaw {
    /// It can.
    Ready,
    /// It is being brought back from a cold storage class; ask again later.
    Pending,
}

/// Immutable objects by key.
///
/// Required semantics, tested by the conformance suite:
///
/// - **Keys** are relative, `/`-separated, without empty, `.` or `..` components; anything else is refused.
/// - **put** is create-only: it fails with [`ErrorKind::AlreadyExists`] rather than replace an object, and leaves the
///   existing bytes untouched. When it returns `Ok`, the bytes survive a crash of the machine. When it fails, the
///   object is either absent or complete, never partial.
/// - **get** and **get range** return exactly the stored bytes. A range that reaches past the end fails with
///   [`ErrorKind::ShortRead`]; a missing key with [`ErrorKind::NotFound`].
/// - **list** returns every object whose key begins with `prefix`, whole or an error, sorted by key, and nothing that is
///   still being written. An unknown prefix is an empty list.
/// - **delete** of a missing key fails with [`ErrorKind::NotFound`].
/// - **thaw** of an object that is readable is [`Thaw::Ready`]; reading one that is not fails with [`ErrorKind::Cold`].
/// - Every operation may be called from many tasks at once, and may be dropped at any point.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Stores `data` under a new `key`, durably.
    fn put<'a>(&'a self, key: &'a str, data: Bytes) -> BoxFuture<'a, StoreResult<()>>;

    /// Reads a whole object.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<Bytes>>;

    /// Reads `length` bytes from `offset`.
    fn get_range<'a>(&'a self, key: &'a str, offset: u64, length: u64) -> BoxFuture<'a, StoreResult<Bytes>>;

    /// Returns the size of an object in bytes.
    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<u64>>;

    /// Lists every object under a prefix, whole or an error.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, StoreResult<Vec<ObjectInfo>>>;

    /// Removes an object.
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<()>>;

    /// Creates whatever the backend needs before the first put (directories, for a local store).
    fn create(&self) -> BoxFuture<'_, StoreResult<()>>;

    /// Removes what writes that never ended left behind and no reader sees, and says how many there were. What may still
    /// be on its way is left alone: only what is older than a day goes.
    fn tidy(&self) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(std::future::ready(Ok(0)))
    }

    /// Says what this backend can do.
    fn capabilities(&self) -> Capabilities;

    /// The address as an operator would write it.
    fn location(&self) -> &str;

    /// Makes an object of a cold storage class readable: asks for it the first time, and says how far it is after that.
    fn thaw<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<Thaw>> {
        Box::pin(async move { self.head(key).await.map(|_| Thaw::Ready) })
    }

    /// The time by the clock of the store's server, as of its last answer; none where this machine's clock is the only one.
    fn server_time(&self) -> Option<DateTime<Utc>> {
        None
    }

    /// How much room there is where the objects are kept, by the tightest bound that is known; none where there is none.
    fn room(&self) -> BoxFuture<'_, StoreResult<Option<Room>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// The directory of a store on this machine, when it is one; lets a caller measure free space.
    fn local_path(&self) -> Option<&std::path::Path> {
        None
    }
}

/// What it takes to open a store beyond its address.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The access key of a bucket; looked for in the environment when absent.
    pub key: Option<AccessKey>,
    /// Bytes a second, at most, to the store; the address may say so too, and the smaller counts.
    pub limit_upload: Option<u64>,
    /// Bytes a second, at most, from the store.
    pub limit_download: Option<u64>,
    /// Bytes, at most, in the store.
    pub max_size: Option<u64>,
    /// The clock that limits and patience are measured on.
    pub clock: Clock,
}

/// Opens the store at `url` with what the environment gives: a directory, or an S3 address. Nothing is asked of a network
/// before the first operation.
pub fn open(url: &str) -> StoreResult<Arc<dyn Store>> {
    open_with(url, Access::default())
}

/// Opens the store of a repository as it is defined, with the secrets it names.
pub async fn open_defined(definition: &RepositoryDefinition, clock: &Clock) -> StoreResult<Arc<dyn Store>> {
    let access = &definition.access;
    let key = match &access.key {
        None => None,
        Some(BucketKey { id, secret }) => {
            let secret = secret::resolve(secret).await.map_err(|error| {
                let refused = StoreError::new(ErrorKind::Permission, "read", "secret_access_key", error.to_string());
                refused.with_hint(error.hint().unwrap_or_default())
            })?;
            let id = id.clone();
            Some(AccessKey { id, secret })
        }
    };
    let access = Access {
        key,
        limit_upload: access.limit_upload.map(|limit| limit.0),
        limit_download: access.limit_download.map(|limit| limit.0),
        max_size: access.max_size.map(|most| most.0),
        clock: clock.clone(),
    };
    open_with(&definition.url, access)
}

/// Opens the store at `url`.
pub fn open_with(url: &str, access: Access) -> StoreResult<Arc<dyn Store>> {
    let address = Address::parse(url).map_err(|error| {
        // The address itself is not repeated: it may be refused for what it should not hold.
        StoreError::new(ErrorKind::Unsupported, "open", "the store", error.message).with_hint(error.hint)
    })?;
    let (up, down) = match &address {
        Address::Directory(_) => (None, None),
        Address::S3(bucket) => (bucket.limit_upload, bucket.limit_download),
    };
    let smaller = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
    let rates = limit::Rates {
        up: smaller(up, access.limit_upload),
        down: smaller(down, access.limit_download),
        at_once: None,
    };
    let store: Arc<dyn Store> = match address {
        Address::Directory(path) => Arc::new(local::LocalStore::new(PathBuf::from(path))),
        Address::S3(address) => Arc::new(s3::S3Store::new(*address, access.key, access.clock.clone())),
    };
    let store = quota::bounded(store, access.max_size, access.clock.clone());
    Ok(limit::limited(store, rates, access.clock))
}

/// Refuses keys that could leave the store.
pub(crate) fn check_key(action: &'static str, key: &str) -> StoreResult<()> {
    let fine = !key.is_empty()
        && !key.contains(['\0', '\\'])
        && key
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..");
    if fine {
        Ok(())
    } else {
        Err(StoreError::new(ErrorKind::Other, action, key, "not a valid key"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_file_addresses_open_and_the_rest_is_refused() {
        assert_eq!(open("/srv/backup").unwrap().location(), "/srv/backup");
        assert_eq!(open("file:///srv/backup").unwrap().location(), "/srv/backup");
        for url in ["s3://", "s3://bucket?nothing=1", "az://c", ""] {
            let error = open(url).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unsupported, "{url}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn keys_that_leave_the_store_are_refused() {
        for key in ["", "/etc/passwd", "a/../b", "a//b", "./a", "a/", "a\0b"] {
            assert!(check_key("read", key).is_err(), "{key:?}");
        }
        assert!(check_key("read", "data/ab/abcd").is_ok());
    }
}
