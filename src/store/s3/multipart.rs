//! Large objects, written in parts.
//!
//! **Crash windows.** The object appears when the upload is completed, whole, and not before. Killed or cut before that,
//! the parts stay in the bucket, unseen by every listing of objects, and cost money: an upload that fails or is dropped is
//! therefore aborted, and [`tidy`] aborts those of dead processes once they are older than a day. One that is dropped while
//! the server is asked to begin it is begun and then aborted: the server may have begun it already, and only its answer says
//! which one. Cut while completing, the object may be there or not; the caller repeats the write and meets it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::create_multipart_upload::{CreateMultipartUploadError, CreateMultipartUploadOutput};
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, MultipartUpload};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::answer::Failure;
use super::put::{Signed, Traits, digest_of};
use super::{Bucket, body};
use crate::clock::Clock;
use crate::store::StoreResult;

/// The size of a part; the last one may be smaller.
const PART: usize = 16 << 20;
/// Parts of one object in flight.
const AT_ONCE: usize = 4;
/// An upload that began longer ago than this belongs to nobody any more, in seconds.
const STALE_SECS: i64 = 86_400;

/// How often an upload is tried to be aborted, and the pause between.
const ABORTS: u32 = 5;
const ABORT_AGAIN: Duration = Duration::from_millis(500);

/// Stores an object in parts.
pub(super) async fn put(
    bucket: &Bucket,
    client: &Client,
    key: &str,
    data: &Bytes,
    condition: bool,
) -> Result<(), Failure> {
    let traits = Traits::of(bucket, key);
    let begin = client
        .create_multipart_upload()
        .bucket(&bucket.address.bucket)
        .key(bucket.full(key))
        .checksum_algorithm(ChecksumAlgorithm::Sha256)
        .set_storage_class(traits.class)
        .set_server_side_encryption(traits.encryption)
        .set_ssekms_key_id(traits.key_id)
        .set_object_lock_mode(traits.lock_mode)
        .set_object_lock_retain_until_date(traits.lock_until);
    let place = Place {
        client: client.clone(),
        clock: bucket.clock.clone(),
        bucket: Arc::from(bucket.address.bucket.as_str()),
        key: bucket.full(key),
    };
    let beginning = Beginning {
        request: Some(Box::pin(begin.send())),
        place: place.clone(),
    };
    let begun = bucket.send(beginning).await?;
    let id = begun
        .upload_id
        .ok_or_else(|| Failure::cut("the server gave the upload no id"))?;
    let mut upload = Upload {
        place,
        id: Some(id.clone()),
    };
    let stored = write_parts(bucket, client, (key, &id), data).await;
    let ended = match stored {
        Ok(parts) => complete(bucket, client, (key, &id), parts, condition).await,
        Err(failure) => Err(failure),
    };
    if ended.is_ok() {
        upload.id = None;
    }
    ended
}

async fn write_parts(
    bucket: &Bucket,
    client: &Client,
    (key, id): (&str, &str),
    data: &Bytes,
) -> Result<Vec<CompletedPart>, Failure> {
    let count = data.len().div_ceil(PART);
    stream::iter(0..count)
        .map(|at| {
            let part = data.slice(at * PART..data.len().min((at + 1) * PART));
            write_part(bucket, client, (key, id), at, part)
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

async fn write_part(
    bucket: &Bucket,
    client: &Client,
    (key, id): (&str, &str),
    at: usize,
    data: Bytes,
) -> Result<CompletedPart, Failure> {
    let number = i32::try_from(at + 1).unwrap_or(i32::MAX);
    let place = bucket.place(data.len() as u64).await;
    let digest = digest_of(data.clone()).await;
    let checksum = STANDARD.encode(digest);
    let length = i64::try_from(data.len()).unwrap_or(i64::MAX);
    let (body, stalled) = body::upload(data, &bucket.clock);
    let request = client
        .upload_part()
        .bucket(&bucket.address.bucket)
        .key(bucket.full(key))
        .upload_id(id)
        .part_number(number)
        .content_length(length)
        .checksum_algorithm(ChecksumAlgorithm::Sha256)
        .checksum_sha256(&checksum)
        .body(body)
        .customize()
        .interceptor(Signed(hex::encode(digest)));
    let stored = bucket.send_while(request.send(), stalled).await?;
    drop(place);
    Ok(CompletedPart::builder()
        .part_number(number)
        .set_e_tag(stored.e_tag)
        .checksum_sha256(checksum)
        .build())
}

async fn complete(
    bucket: &Bucket,
    client: &Client,
    (key, id): (&str, &str),
    parts: Vec<CompletedPart>,
    condition: bool,
) -> Result<(), Failure> {
    let request = client
        .complete_multipart_upload()
        .bucket(&bucket.address.bucket)
        .key(bucket.full(key))
        .upload_id(id)
        .set_if_none_match(condition.then(|| "*".to_owned()))
        .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build());
    bucket.send(request.send()).await.map(|_| ())
}

/// Where an upload goes.
#[derive(Debug, Clone)]
struct Place {
    client: Client,
    clock: Clock,
    bucket: Arc<str>,
    key: String,
}

impl Place {
    /// Aborts an upload. Nobody waits for it: what is not aborted now is found by [`tidy`].
    async fn abort(self, id: String) {
        for _ in 0..ABORTS {
            let abort = self.client.abort_multipart_upload();
            let abort = abort.bucket(self.bucket.as_ref()).key(&self.key).upload_id(&id);
            match abort.send().await.map_err(|error| Failure::of(&error)) {
                Ok(_) => return,
                Err(failure) if failure.status == 404 => return,
                Err(_) => self.clock.sleep(ABORT_AGAIN).await,
            }
        }
    }
}

type Answer = Result<CreateMultipartUploadOutput, SdkError<CreateMultipartUploadError>>;

/// The request that begins an upload; dropped before the answer, it is waited for beside, and what it has begun is aborted.
struct Beginning {
    request: Option<BoxFuture<'static, Answer>>,
    place: Place,
}

impl Future for Beginning {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let Some(request) = &mut self.request else {
            return Poll::Pending;
        };
        let answer = std::task::ready!(request.as_mut().poll(cx));
        self.request = None;
        Poll::Ready(answer)
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        let (Some(request), Ok(runtime)) = (self.request.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let place = self.place.clone();
        runtime.spawn(async move {
            if let Ok(CreateMultipartUploadOutput {
                upload_id: Some(id), ..
            }) = request.await
            {
                place.abort(id).await;
            }
        });
    }
}

/// An upload that is aborted unless it was completed, however its writing ends.
#[derive(Debug)]
struct Upload {
    place: Place,
    id: Option<String>,
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        runtime.spawn(self.place.clone().abort(id));
    }
}

/// Aborts the uploads of dead processes, and says how many there were. Servers without such a list have none to abort.
pub(super) async fn tidy(bucket: &Bucket) -> StoreResult<u64> {
    let client = bucket.client("tidy", "").await?;
    let told = |failure| bucket.fail("tidy", "", failure);
    let (mut key_marker, mut id_marker) = (None, None);
    let mut aborted = 0;
    loop {
        let request = client
            .list_multipart_uploads()
            .bucket(&bucket.address.bucket)
            .prefix(bucket.full(""))
            .set_key_marker(key_marker.clone())
            .set_upload_id_marker(id_marker.clone());
        let page = match bucket.send(request.send()).await {
            Ok(page) => page,
            Err(failure) if failure.is_not_implemented() => return Ok(aborted),
            Err(failure) => return Err(told(failure)),
        };
        for upload in page.uploads() {
            if let (Some(key), Some(id), true) = (upload.key(), upload.upload_id(), is_stale(bucket, upload)) {
                let abort = client.abort_multipart_upload();
                let abort = abort.bucket(&bucket.address.bucket).key(key).upload_id(id);
                match bucket.send(abort.send()).await {
                    Ok(_) => aborted += 1,
                    // Somebody else was faster.
                    Err(failure) if failure.status == 404 => {}
                    Err(failure) => return Err(told(failure)),
                }
            }
        }
        let next = (page.next_key_marker, page.next_upload_id_marker);
        if page.is_truncated != Some(true) || next.0.is_none() || next == (key_marker, id_marker) {
            return Ok(aborted);
        }
        (key_marker, id_marker) = next;
    }
}

/// Whether an upload began more than a day ago, by the clock that also says when it began.
fn is_stale(bucket: &Bucket, upload: &MultipartUpload) -> bool {
    let now = bucket.server_time().unwrap_or_else(|| bucket.clock.now()).timestamp();
    upload.initiated().is_some_and(|began| now - began.secs() > STALE_SECS)
}
