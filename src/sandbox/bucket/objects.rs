//! The objects of the sandbox's bucket: s3s-fs on a directory, with what it lacks.
//!
//! Two things are not as in s3s-fs. It looks whether an object exists and then writes it, so two writers of one key could both
//! win; here one write of a key goes through at a time. And it sends four kilobytes at a time, which costs everybody more than
//! the reading; here it is a quarter of a mebibyte.
//!
//! A key is a path below its bucket and nothing else: one with `..`, `.`, an empty part or a leading `/` is refused before
//! anything is looked for, because s3s-fs keeps such a key within the whole of what it serves, not within its bucket.

use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
#[allow(clippy::wildcard_imports, reason = "the inputs and outputs of every operation")]
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;
use tokio::sync::{Mutex, MutexGuard};

/// How many keys may be written at one time.
const WRITES_AT_ONCE: usize = 64;
/// How much of an object is sent at a time.
const FRAME: u64 = 256 << 10;

/// How a server treats the condition of a write; not all there are honour it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditions {
    /// An object that is there stays.
    Honoured,
    /// It is written over.
    Ignored,
    /// The request is refused as not understood.
    Refused,
}

/// The objects of a directory: s3s-fs, with what it lacks.
pub struct Objects {
    inner: FileSystem,
    root: PathBuf,
    conditions: Conditions,
    writes: [Mutex<()>; WRITES_AT_ONCE],
    hasher: RandomState,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Objects {
    /// The objects of a directory that is there; its directories are the buckets.
    pub fn new(root: &Path, conditions: Conditions) -> std::io::Result<Self> {
        Ok(Self {
            inner: FileSystem::new(root).map_err(|error| std::io::Error::other(format!("{error:?}")))?,
            root: root.to_owned(),
            conditions,
            writes: std::array::from_fn(|_| Mutex::new(())),
            hasher: RandomState::new(),
        })
    }

    fn condition<T>(&self, condition: &mut Option<T>) -> S3Result<()> {
        match self.conditions {
            Conditions::Ignored => *condition = None,
            Conditions::Refused if condition.is_some() => return Err(s3s::s3_error!(NotImplemented)),
            Conditions::Honoured | Conditions::Refused => {}
        }
        Ok(())
    }

    /// Held by whoever writes an object, from the look to the end.
    async fn alone(&self, bucket: &str, key: &str) -> MutexGuard<'_, ()> {
        let place = self.hasher.hash_one((bucket, key)) % WRITES_AT_ONCE as u64;
        self.writes[usize::try_from(place).unwrap_or_default()].lock().await
    }
}

/// Refuses a key that is not the path of a file below its bucket.
fn sound(key: &str) -> S3Result<()> {
    let strange = |part: &str| matches!(part, "" | "." | "..") || part.contains('\0');
    if key.split('/').any(strange) {
        return Err(s3s::s3_error!(
            InvalidArgument,
            "the key is not the path of a file in the bucket"
        ));
    }
    Ok(())
}

/// A part of a file, a frame at a time.
fn in_large_frames(path: PathBuf, start: u64, length: u64) -> StreamingBlob {
    let frames = futures_util::stream::try_unfold((start, start + length), move |(at, end)| {
        let path = path.clone();
        async move {
            if at >= end {
                return Ok(None);
            }
            let read = move || {
                let mut frame = vec![0; usize::try_from((end - at).min(FRAME)).unwrap_or_default()];
                let read = std::fs::File::open(path).and_then(|file| file.read_exact_at(&mut frame, at));
                read.map(|()| Bytes::from(frame))
            };
            let frame = tokio::task::spawn_blocking(read)
                .await
                .map_err(std::io::Error::other)??;
            let next = at + frame.len() as u64;
            Ok::<_, std::io::Error>(Some((frame, (next, end))))
        }
    });
    StreamingBlob::wrap(frames)
}

/// Passes operations on as they are, but for those that are written out.
macro_rules! pass_on {
    (keys: $($keyed:ident $keyed_input:ident $keyed_output:ident),*; buckets: $($name:ident $input:ident $output:ident),* $(,)?) => {
        #[async_trait::async_trait]
        impl S3 for Objects {
            $(async fn $keyed(&self, request: S3Request<$keyed_input>) -> S3Result<S3Response<$keyed_output>> {
                sound(&request.input.key)?;
                self.inner.$keyed(request).await
            })*

            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                self.inner.$name(request).await
            })*

            async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
                sound(&request.input.key)?;
                self.condition(&mut request.input.if_none_match)?;
                // It stores one class only, and refuses the others.
                request.input.storage_class = None;
                let _alone = self.alone(&request.input.bucket, &request.input.key).await;
                self.inner.put_object(request).await
            }

            async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
                sound(&request.input.key)?;
                let path = self.root.join(&request.input.bucket).join(&request.input.key);
                let range = request.input.range;
                let mut response = self.inner.get_object(request).await?;
                let length = response.output.content_length.unwrap_or_default().unsigned_abs();
                let start = match range {
                    Some(Range::Int { first, .. }) => first,
                    Some(Range::Suffix { .. }) => std::fs::metadata(&path).map_or(0, |file| file.len() - length),
                    None => 0,
                };
                response.output.body = Some(in_large_frames(path, start, length));
                Ok(response)
            }

            // An empty delimiter is none, for every real server and for restic.
            async fn list_objects(&self, mut request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
                request.input.delimiter = request.input.delimiter.filter(|delimiter| !delimiter.is_empty());
                self.inner.list_objects(request).await
            }

            async fn list_objects_v2(
                &self,
                mut request: S3Request<ListObjectsV2Input>,
            ) -> S3Result<S3Response<ListObjectsV2Output>> {
                request.input.delimiter = request.input.delimiter.filter(|delimiter| !delimiter.is_empty());
                self.inner.list_objects_v2(request).await
            }

            async fn complete_multipart_upload(
                &self,
                mut request: S3Request<CompleteMultipartUploadInput>,
            ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
                sound(&request.input.key)?;
                self.condition(&mut request.input.if_none_match)?;
                let _alone = self.alone(&request.input.bucket, &request.input.key).await;
                self.inner.complete_multipart_upload(request).await
            }
        }
    };
}

pass_on! {
    keys:
    abort_multipart_upload AbortMultipartUploadInput AbortMultipartUploadOutput,
    create_multipart_upload CreateMultipartUploadInput CreateMultipartUploadOutput,
    delete_object DeleteObjectInput DeleteObjectOutput,
    head_object HeadObjectInput HeadObjectOutput,
    upload_part UploadPartInput UploadPartOutput;
    buckets:
    get_bucket_location GetBucketLocationInput GetBucketLocationOutput,
    head_bucket HeadBucketInput HeadBucketOutput,
    list_buckets ListBucketsInput ListBucketsOutput,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: &str = "backups";

    /// Asks the objects themselves, past the client, which would not send such a key.
    #[tokio::test]
    async fn no_key_leads_out_of_its_bucket() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("served");
        std::fs::create_dir_all(root.join(BUCKET)).unwrap();
        std::fs::create_dir_all(root.join("another")).unwrap();
        for file in ["secret", "served/secret", "served/another/secret"] {
            std::fs::write(dir.path().join(file), "a secret").unwrap();
        }
        let objects = Objects::new(&root, Conditions::Honoured).unwrap();
        let absolute = root.join("another/secret").display().to_string();
        let outside = dir.path().join("new").display().to_string();
        for key in [
            "../secret",
            "../../secret",
            "../another/secret",
            "a/../../another/secret",
            absolute.as_str(),
            outside.as_str(),
            "/etc/passwd",
            "..",
            ".",
            "",
            "a//b",
            "a/./b",
        ] {
            let get = GetObjectInput::builder().bucket(BUCKET.to_owned()).key(key.to_owned());
            let got = objects.get_object(s3s_request(get.build().unwrap())).await;
            assert!(got.is_err(), "{key:?} was read");
            let put = PutObjectInput::builder().bucket(BUCKET.to_owned()).key(key.to_owned());
            let body = StreamingBlob::from(s3s::Body::from(Bytes::from_static(b"overwritten")));
            let put = put.body(Some(body)).build().unwrap();
            assert!(
                objects.put_object(s3s_request(put)).await.is_err(),
                "{key:?} was written"
            );
            let delete = DeleteObjectInput::builder()
                .bucket(BUCKET.to_owned())
                .key(key.to_owned());
            let gone = objects.delete_object(s3s_request(delete.build().unwrap())).await;
            assert!(gone.is_err(), "{key:?} was deleted");
        }
        for file in ["secret", "served/secret", "served/another/secret"] {
            assert_eq!(std::fs::read(dir.path().join(file)).unwrap(), b"a secret", "{file}");
        }
        assert!(!dir.path().join("new").exists());
        assert_eq!(std::fs::read_dir(root.join(BUCKET)).unwrap().count(), 0);
    }

    fn s3s_request<T>(input: T) -> S3Request<T> {
        S3Request {
            input,
            method: hyper::Method::GET,
            uri: hyper::Uri::from_static("/"),
            headers: hyper::HeaderMap::new(),
            extensions: hyper::http::Extensions::new(),
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        }
    }
}
