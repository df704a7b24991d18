//! Whole and ranged reads, and sizes.
//!
//! A read is complete or an error: the length is compared with what was asked for, a body that is cut or stands still is
//! `Transient`, and a whole read is verified by the checksum the server keeps, where it keeps one.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use bytes::{Bytes, BytesMut};

use super::answer::{Failure, chain};
use super::{Bucket, PATIENCE};
use crate::store::{ErrorKind, StoreError, StoreResult, check_key};

/// The most that is reserved for a body before any of it came.
const RESERVED: u64 = 64 << 20;

/// What a head request says.
pub(super) struct Head {
    /// The size in bytes.
    pub(super) size: u64,
    /// The rest.
    pub(super) answer: HeadObjectOutput,
}

/// Reads a whole object.
pub(super) async fn get(bucket: &Bucket, key: &str) -> StoreResult<Bytes> {
    check_key("read", key)?;
    let client = bucket.client("read", key).await?;
    let request = client
        .get_object()
        .bucket(&bucket.address.bucket)
        .key(bucket.full(key))
        .checksum_mode(ChecksumMode::Enabled);
    // How large it is shows only in the answer; whole reads are of index, snapshots and keys.
    let answer = bucket.send(request.send()).await;
    let answer = answer.map_err(|failure| bucket.fail("read", key, failure))?;
    let length = length_of(&answer).ok_or_else(|| unclear(bucket, key, "no length"))?;
    let body = collect(bucket, answer.body, length).await;
    body.map_err(|failure| bucket.fail("read", key, failure))
}

/// Reads a part of an object.
pub(super) async fn get_range(bucket: &Bucket, key: &str, offset: u64, length: u64) -> StoreResult<Bytes> {
    check_key("read", key)?;
    let short = |size: Option<u64>| {
        let has = size.map_or_else(|| "ends before that".to_owned(), |size| format!("has {size}"));
        let message = format!("{length} bytes from {offset} were asked for, the object {has}");
        StoreError::new(ErrorKind::ShortRead, "read", bucket.shown(key), message)
    };
    // No object ends beyond that, and some servers take such a range for no number at all.
    let Some(end) = offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok()) else {
        return Err(short(None));
    };
    if length == 0 {
        // There is no range of nothing in HTTP.
        let size = head(bucket, "read", key).await?.size;
        return if offset <= size {
            Ok(Bytes::new())
        } else {
            Err(short(Some(size)))
        };
    }
    let client = bucket.client("read", key).await?;
    let request = client
        .get_object()
        .bucket(&bucket.address.bucket)
        .key(bucket.full(key))
        .range(format!("bytes={offset}-{}", end - 1));
    let place = bucket.place(length).await;
    let answer = match bucket.send(request.send()).await {
        Ok(answer) => answer,
        Err(failure) if failure.status == 416 => return Err(short(None)),
        Err(failure) => return Err(bucket.fail("read", key, failure)),
    };
    // Checked before anything is read or reserved: a damaged index must not ask for the whole memory.
    let got = length_of(&answer).ok_or_else(|| unclear(bucket, key, "no length"))?;
    let total = |range: &str| range.rsplit('/').next()?.parse::<u64>().ok();
    match &answer.content_range {
        Some(range) if !range.starts_with(&format!("bytes {offset}-")) => {
            return Err(unclear(bucket, key, "another range than it was asked for"));
        }
        Some(range) if got < length => return Err(short(total(range))),
        // The whole object instead of a range of it.
        None if got < end => return Err(short(Some(got))),
        None if (offset, got) != (0, length) => return Err(unclear(bucket, key, "no range")),
        _ if got > length => return Err(unclear(bucket, key, "more than it was asked for")),
        _ => {}
    }
    let body = collect(bucket, answer.body, got).await;
    drop(place);
    body.map_err(|failure| bucket.fail("read", key, failure))
}

/// Asks for the size of an object and what else a head request says.
pub(super) async fn head(bucket: &Bucket, action: &'static str, key: &str) -> StoreResult<Head> {
    check_key(action, key)?;
    let client = bucket.client(action, key).await?;
    let request = client
        .head_object()
        .bucket(&bucket.address.bucket)
        .key(bucket.full(key));
    match bucket.send(request.send()).await {
        Ok(answer) => {
            let size = answer.content_length.and_then(|length| u64::try_from(length).ok());
            let size = size.ok_or_else(|| unclear(bucket, key, "no length"))?;
            Ok(Head { size, answer })
        }
        Err(failure) => {
            let failure = if failure.is_mute() {
                explained(bucket, key, failure).await?
            } else {
                failure
            };
            Err(bucket.fail(action, key, failure))
        }
    }
}

/// The answer to a head request has no body, so a refusal does not say why. A read of one byte gets the whole story.
async fn explained(bucket: &Bucket, key: &str, failure: Failure) -> StoreResult<Failure> {
    let client = bucket.client("read", key).await?;
    let request = client
        .get_object()
        .bucket(&bucket.address.bucket)
        .key(bucket.full(key))
        .range("bytes=0-0");
    Ok(bucket.send(request.send()).await.err().unwrap_or(failure))
}

/// Whether these credentials can read here at all: who asks for nothing that exists is told so only when they may look.
pub(super) async fn is_readable(bucket: &Bucket) -> bool {
    match head(bucket, "read", "config").await {
        Ok(_) => true,
        Err(error) => error.kind == ErrorKind::NotFound,
    }
}

fn length_of(answer: &GetObjectOutput) -> Option<u64> {
    u64::try_from(answer.content_length?).ok()
}

/// An answer that does not say what it has to.
fn unclear(bucket: &Bucket, key: &str, what: &str) -> StoreError {
    let message = format!("the server answered with {what}");
    StoreError::new(ErrorKind::Other, "read", bucket.shown(key), message)
        .with_hint("something between here and the server changes answers, or it does not speak S3 well")
}

/// Reads a body to its end, as long as it moves.
async fn collect(bucket: &Bucket, mut body: ByteStream, length: u64) -> Result<Bytes, Failure> {
    let mut data = BytesMut::with_capacity(usize::try_from(length.min(RESERVED)).unwrap_or_default());
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = body.next() => chunk,
            () = bucket.clock.sleep(PATIENCE) => return Err(Failure::silence("the download stood still", PATIENCE)),
        };
        match chunk {
            Some(Ok(chunk)) => {
                if (data.len() + chunk.len()) as u64 > length {
                    return Err(Failure::cut("more bytes came than the server announced"));
                }
                data.extend_from_slice(&chunk);
            }
            Some(Err(error)) => return Err(Failure::cut(format!("the download was cut: {}", chain(&error)))),
            None if data.len() as u64 == length => return Ok(data.freeze()),
            None => {
                let message = format!("the download ended after {} of {length} bytes", data.len());
                return Err(Failure::cut(message));
            }
        }
    }
}
