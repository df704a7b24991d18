//! A bucket as a store, in restic's layout, by way of Amazon's own client.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `mod` | the store, its client, the one way a request is sent |
//! | `connect` | from an address to a client: transport, credentials, region |
//! | `put` | create-only writes, also on servers that know no condition |
//! | `multipart` | large objects in parts; what is left of unfinished ones |
//! | `read` | whole and ranged reads, sizes |
//! | `list` | listings, whole or an error |
//! | `remove` | deletion, and what a lock of the store forbids |
//! | `thaw` | objects of cold storage classes |
//! | `answer` | what a failed request means to the operator |
//! | `body` | an upload that knows how far it is, and is given up when it stands still |
//! | `pace` | one pace for all requests while the server is busy |
//!
//! **Who retries.** Not this room: the client's own retries are off, and a busy server, a timeout or a cut connection
//! is a failure of the class `Transient`, which the caller repeats and counts where people see it. What this room does is
//! slow down: after a 503 all its requests share one pace (`pace`), so that many uploads together do not hammer.
//!
//! **Time.** No request waits for ever. A connection has 10 s and an answer 30 s; a download that stands still for 30 s,
//! or an upload for 60 s, is given up. None of this depends on how large an object is, so a slow line is only slow.
//!
//! **Integrity.** Every write carries the SHA-256 of its bytes, both signed and as a checksum the server verifies. An
//! object whose name ends in 64 hexadecimal digits is taken at its word: the digits are the SHA-256 of its bytes, as
//! everywhere in this format, and a server refuses bytes that are not what their name says.
//!
//! **Memory.** Uploads are sent from the caller's buffer; nothing is copied. At most `parallel` requests with a large
//! body are in flight at one time; small ones (locks, keys, snapshots) never wait behind them.

mod answer;
mod body;
mod connect;
mod list;
mod multipart;
mod pace;
mod put;
mod read;
mod remove;
mod thaw;

use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::{Capabilities, ObjectInfo, Store, StoreError, StoreResult, Thaw};
use crate::clock::Clock;
use crate::domain::address::S3Address;
use answer::Failure;
use pace::Pace;

/// How long an answer may take after the request was sent, and how long a body may stand still.
const PATIENCE: Duration = Duration::from_secs(30);
/// A body larger than this takes one of the places for large bodies.
const SMALL: u64 = 1 << 20;

/// An access key that is not found in the environment but given.
#[derive(Debug, Clone)]
pub struct AccessKey {
    /// The public half.
    pub id: String,
    /// The secret half.
    pub secret: SecretString,
}

/// A store in a bucket.
#[derive(Debug, Clone)]
pub struct S3Store(Arc<Bucket>);

/// What all operations share.
#[derive(Debug)]
struct Bucket {
    address: S3Address,
    key: Option<AccessKey>,
    clock: Clock,
    client: OnceCell<Client>,
    /// The time in the last answer of the server.
    server_time: Arc<Mutex<Option<DateTime<Utc>>>>,
    pace: Pace,
    /// Places for requests with a large body.
    places: Semaphore,
    /// What is known about conditional writes; see `put`.
    conditions: AtomicU8,
}

impl S3Store {
    /// A store at `address`. Nothing is asked of the network before the first operation.
    pub fn new(address: S3Address, key: Option<AccessKey>, clock: Clock) -> Self {
        Self(Arc::new(Bucket {
            places: Semaphore::new(address.parallel),
            address,
            key,
            clock,
            client: OnceCell::new(),
            server_time: Arc::default(),
            pace: Pace::default(),
            conditions: AtomicU8::new(put::UNKNOWN),
        }))
    }
}

impl Bucket {
    /// The client, made at its first use. A failure is not kept: credentials may be there the next time.
    async fn client(&self, action: &'static str, key: &str) -> StoreResult<&Client> {
        self.client
            .get_or_try_init(|| connect::client(&self.address, self.key.as_ref(), Arc::clone(&self.server_time)))
            .await
            .map_err(|why| {
                StoreError::new(why.kind, action, self.shown(key), why.message).with_hint(why.hint.unwrap_or_default())
            })
    }

    /// The key in the bucket.
    fn full(&self, key: &str) -> String {
        match self.address.prefix.as_str() {
            "" => key.to_owned(),
            prefix => format!("{prefix}/{key}"),
        }
    }

    /// The key as the operator finds it in the bucket.
    fn shown(&self, key: &str) -> String {
        format!("s3://{}/{}", self.address.bucket, self.full(key))
    }

    /// What a failure means, on what it happened.
    fn fail(&self, action: &'static str, key: &str, failure: Failure) -> StoreError {
        failure.told(action, self.shown(key), &self.address, self.clock.now())
    }

    fn server_time(&self) -> Option<DateTime<Utc>> {
        *self.server_time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a request whose body has so many bytes; none is needed for a small one.
    async fn place(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        if bytes <= SMALL {
            return None;
        }
        // The semaphore is never closed.
        self.places.acquire().await.ok()
    }

    /// Sends one request without a large body, at the common pace, and waits for its answer.
    fn send<'a, T, E>(
        &'a self,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Failure>>
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
    {
        let silence = async {
            self.clock.sleep(PATIENCE).await;
            Failure::silence("no answer", PATIENCE)
        };
        self.send_while(request, silence)
    }

    /// Sends one request at the common pace; `gave_up` ends when waiting for it makes no sense any more.
    fn send_while<'a, T, E>(
        &'a self,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
        gave_up: impl Future<Output = Failure> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Failure>>
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
    {
        Box::pin(async move {
            let ticket = self.pace.wait(&self.clock).await;
            let answer = tokio::select! {
                biased;
                answer = request => answer.map_err(|error| Failure::of(&error)),
                failure = gave_up => Err(failure),
            };
            match &answer {
                Err(failure) if failure.is_busy() => self.pace.slower(ticket, self.clock.monotonic()),
                _ => self.pace.faster(),
            }
            answer
        })
    }
}

impl Store for S3Store {
    fn put<'a>(&'a self, key: &'a str, data: Bytes) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(put::put(&self.0, key, data))
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<Bytes>> {
        Box::pin(read::get(&self.0, key))
    }

    fn get_range<'a>(&'a self, key: &'a str, offset: u64, length: u64) -> BoxFuture<'a, StoreResult<Bytes>> {
        Box::pin(read::get_range(&self.0, key, offset, length))
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<u64>> {
        Box::pin(async move { read::head(&self.0, "read", key).await.map(|head| head.size) })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, StoreResult<Vec<ObjectInfo>>> {
        Box::pin(list::list(&self.0, prefix))
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(remove::delete(&self.0, key))
    }

    fn create(&self) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(connect::create(&self.0))
    }

    fn tidy(&self) -> BoxFuture<'_, StoreResult<u64>> {
        Box::pin(multipart::tidy(&self.0))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            remote: true,
            parallel_puts: self.0.address.parallel,
        }
    }

    fn location(&self) -> &str {
        &self.0.address.text
    }

    fn thaw<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<Thaw>> {
        Box::pin(thaw::thaw(&self.0, key))
    }

    fn server_time(&self) -> Option<DateTime<Utc>> {
        self.0.server_time()
    }
}
