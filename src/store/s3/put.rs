//! Create-only writes.
//!
//! **Condition.** A write says `If-None-Match: *`, so the server decides and of many writers one wins. Not every server
//! knows that header: some refuse it (501), some ignore it and would replace the object. How each is met:
//!
//! - An object named by the SHA-256 of its bytes: replacing it would replace it by itself, so nothing is lost on a server
//!   that ignores the header. Where it is refused, we look first and then write.
//! - Any other object (`config` above all): before the first such write of a store we look whether the object is there,
//!   write it, and write the same bytes again. A server that honours the header refuses the second write; one that
//!   accepts it ignores the header, and from then on each such write looks first, writes, and reads back what is there.
//!
//! **Ambiguity and crash windows.** A write that fails may have happened: the connection can be cut after the server
//! stored the object. The caller repeats it, meets `AlreadyExists`, and compares. On a server without conditions two
//! writers of one name that start within the same moment can both believe they won, when each read back before the other
//! wrote; this cannot be closed from outside, only made short. A killed process leaves no object of a small write, and of
//! a large one parts that no reader sees (`multipart`).

use std::sync::atomic::Ordering;

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::types::{ChecksumAlgorithm, ObjectLockMode, ServerSideEncryption, StorageClass};
use aws_smithy_types::DateTime as SmithyTime;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::answer::Failure;
use super::{Bucket, SMALL, body, multipart, read};
use crate::domain::address::Sse;
use crate::store::{ErrorKind, StoreError, StoreResult, check_key};

/// Nothing is known about conditional writes yet.
pub(super) const UNKNOWN: u8 = 0;
/// The server honours them.
const HONOURED: u8 = 1;
/// The server ignores them.
const IGNORED: u8 = 2;
/// The server refuses a request that has one.
const REFUSED: u8 = 3;

/// The largest object that is written by one request. Twice the usual pack, so that a backup's own packs cost one each.
const SINGLE: u64 = 32 << 20;

/// Stores a new object.
pub(super) async fn put(bucket: &Bucket, key: &str, data: Bytes) -> StoreResult<()> {
    check_key("write", key)?;
    let named = digest_of_name(key);
    let digest = match named {
        Some(digest) => digest,
        None => digest_of(data.clone()).await,
    };
    let write = Write {
        bucket,
        client: bucket.client("write", key).await?,
        key,
        data,
        digest,
        named: named.is_some(),
    };
    match (bucket.conditions.load(Ordering::Relaxed), named.is_some()) {
        (REFUSED, true) => write.look_then_write().await,
        (REFUSED | IGNORED, false) => write.look_write_and_compare().await,
        (UNKNOWN, false) => write.find_out().await,
        _ => match write.once(true).await {
            Err(failure) if failure.is_not_implemented() => {
                bucket.conditions.store(REFUSED, Ordering::Relaxed);
                write.look_then_write().await
            }
            other => write.told(other).await,
        },
    }
}

/// One object to be written.
struct Write<'a> {
    bucket: &'a Bucket,
    client: &'a Client,
    key: &'a str,
    data: Bytes,
    digest: [u8; 32],
    /// Whether the name says the digest.
    named: bool,
}

impl Write<'_> {
    /// Writes, with or without the condition.
    async fn once(&self, condition: bool) -> Result<(), Failure> {
        if self.data.len() as u64 > SINGLE {
            return multipart::put(self.bucket, self.client, self.key, &self.data, condition).await;
        }
        let length = self.data.len() as u64;
        let place = self.bucket.place(length).await;
        let (body, stalled) = body::upload(self.data.clone(), &self.bucket.clock);
        let traits = Traits::of(self.bucket, self.key);
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket.address.bucket)
            .key(self.bucket.full(self.key))
            .content_length(i64::try_from(length).unwrap_or(i64::MAX))
            // A server with Object Lock asks for this word too.
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .checksum_sha256(STANDARD.encode(self.digest))
            .set_if_none_match(condition.then(|| "*".to_owned()))
            .set_storage_class(traits.class)
            .set_server_side_encryption(traits.encryption)
            .set_ssekms_key_id(traits.key_id)
            .set_object_lock_mode(traits.lock_mode)
            .set_object_lock_retain_until_date(traits.lock_until)
            .body(body)
            .customize()
            .interceptor(Signed(hex::encode(self.digest)));
        let answer = self.bucket.send_while(request.send(), stalled).await;
        drop(place);
        answer.map(|_| ())
    }

    /// Looks whether there is such an object, and writes when there is none.
    async fn look_then_write(&self) -> StoreResult<()> {
        self.look().await?;
        let answer = self.once(false).await;
        self.told(answer).await
    }

    async fn look_write_and_compare(&self) -> StoreResult<()> {
        self.look_then_write().await?;
        self.compare().await
    }

    /// The first write that could replace something: finds out whether the server honours the condition.
    async fn find_out(&self) -> StoreResult<()> {
        self.look().await?;
        let known = &self.bucket.conditions;
        match self.once(true).await {
            Err(failure) if failure.is_not_implemented() => {
                known.store(REFUSED, Ordering::Relaxed);
                self.look_write_and_compare().await
            }
            Err(failure) => self.told(Err(failure)).await,
            Ok(()) => match self.once(true).await {
                Err(failure) if failure.is_there_already() => {
                    known.store(HONOURED, Ordering::Relaxed);
                    Ok(())
                }
                Ok(()) => {
                    known.store(IGNORED, Ordering::Relaxed);
                    self.compare().await
                }
                // Not known yet, and this object is written: it only has to be ours.
                Err(_) => self.compare().await,
            },
        }
    }

    async fn look(&self) -> StoreResult<()> {
        match read::head(self.bucket, "write", self.key).await {
            Ok(_) => Err(self.there_already()),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Looks whether what is there now is this object; one that its name vouches for is not read back.
    async fn compare(&self) -> StoreResult<()> {
        if self.named {
            let size = read::head(self.bucket, "write", self.key).await?.size;
            return if size == self.data.len() as u64 {
                Ok(())
            } else {
                Err(self.there_already())
            };
        }
        match read::get(self.bucket, self.key).await {
            Ok(there) if there == self.data => Ok(()),
            Ok(_) => Err(self.there_already()),
            Err(error) => Err(error),
        }
    }

    fn there_already(&self) -> StoreError {
        let key = self.bucket.shown(self.key);
        StoreError::new(ErrorKind::AlreadyExists, "write", key, "it is already there")
    }

    /// The answer to a write as it is reported. A refusal is looked into: who may read but not write has another problem
    /// than who may do nothing.
    async fn told(&self, answer: Result<(), Failure>) -> StoreResult<()> {
        let Err(failure) = answer else { return Ok(()) };
        if failure.is_there_already() {
            return Err(self.there_already());
        }
        if failure.is_garbled_success() {
            return self.compare().await;
        }
        let denied = failure.is_denied();
        let error = self.bucket.fail("write", self.key, failure);
        if denied && error.kind == ErrorKind::Permission && read::is_readable(self.bucket).await {
            let hint = "these credentials may read here but not write: allow s3:PutObject to them, or use others";
            return Err(StoreError {
                kind: ErrorKind::ReadOnly,
                ..error
            }
            .with_hint(hint));
        }
        Err(error)
    }
}

/// What the address wants of an object, by what kind of object it is.
#[derive(Debug, Default)]
pub(super) struct Traits {
    pub(super) class: Option<StorageClass>,
    pub(super) encryption: Option<ServerSideEncryption>,
    pub(super) key_id: Option<String>,
    pub(super) lock_mode: Option<ObjectLockMode>,
    pub(super) lock_until: Option<SmithyTime>,
}

impl Traits {
    pub(super) fn of(bucket: &Bucket, key: &str) -> Self {
        let address = &bucket.address;
        let class = if key.starts_with("data/") {
            &address.class_data
        } else {
            &address.class_meta
        };
        let (encryption, key_id) = match &address.sse {
            None => (None, None),
            Some(Sse::Aes256) => (Some(ServerSideEncryption::Aes256), None),
            Some(Sse::Kms(key)) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        };
        // A lock file that cannot be removed would lock the repository for ever.
        let lock = address.lock.filter(|_| !key.starts_with("locks/"));
        let mode = |compliance| {
            if compliance {
                ObjectLockMode::Compliance
            } else {
                ObjectLockMode::Governance
            }
        };
        Self {
            class: class.as_deref().map(StorageClass::from),
            encryption,
            key_id,
            lock_mode: lock.map(|lock| mode(lock.compliance)),
            lock_until: lock.map(|lock| {
                let until = bucket.clock.now().timestamp() + i64::from(lock.days) * 86_400;
                SmithyTime::from_secs(until)
            }),
        }
    }
}

/// Signs a body by its known hash, so that it is not hashed again on the way out.
#[derive(Debug)]
pub(super) struct Signed(pub(super) String);

impl Intercept for Signed {
    fn name(&self) -> &'static str {
        "known payload hash"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let hash = PayloadSigningOverride::Precomputed(self.0.clone());
        config.interceptor_state().store_put(hash);
        Ok(())
    }
}

/// The folders whose objects are named by the SHA-256 of their bytes, as the repository's format has it. What lies in others,
/// a mark or a pin, may have the name of something else.
const NAMED_BY_CONTENT: [&str; 5] = ["data/", "index/", "keys/", "locks/", "snapshots/"];

/// The SHA-256 of its bytes that a name says, when it does.
fn digest_of_name(key: &str) -> Option<[u8; 32]> {
    if !NAMED_BY_CONTENT.iter().any(|folder| key.starts_with(folder)) {
        return None;
    }
    let name = key.rsplit('/').next()?;
    let mut digest = [0; 32];
    // Lowercase only, as the format has it.
    let fine = !name.bytes().any(|byte| byte.is_ascii_uppercase()) && hex::decode_to_slice(name, &mut digest).is_ok();
    fine.then_some(digest)
}

/// The SHA-256 of some bytes; of many, not on the thread that serves the connections.
pub(super) async fn digest_of(data: Bytes) -> [u8; 32] {
    if data.len() as u64 <= SMALL {
        return Sha256::digest(&data).into();
    }
    let work = data.clone();
    match tokio::task::spawn_blocking(move || Sha256::digest(&work).into()).await {
        Ok(digest) => digest,
        // The runtime is shutting down; the request will not be sent either.
        Err(_) => Sha256::digest(&data).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_digest_is_taken_at_its_word() {
        let name = "0123456789abcdef".repeat(4);
        assert_eq!(hex::encode(digest_of_name(&format!("data/01/{name}")).unwrap()), name);
        for key in [
            "config",
            "locks/one",
            &format!("index/{}", &name[1..]),
            &format!("index/{name}0"),
            &format!("index/{}", name.to_uppercase()),
            &format!("marks/{name}"),
            &format!("pins/{name}"),
            &format!("trash/{name}"),
        ] {
            assert_eq!(digest_of_name(key), None, "{key}");
        }
    }
}
