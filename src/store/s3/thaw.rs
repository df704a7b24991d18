//! Objects of cold storage classes, brought back for a few days.
//!
//! Asking twice costs nothing: an object that is already on its way is `Pending`, and one that can be read is `Ready`.

use aws_sdk_s3::types::{ArchiveStatus, GlacierJobParameters, RestoreRequest, StorageClass, Tier};

use super::read::{self, Head};
use super::{Bucket, Failure};
use crate::domain::address::ThawTier;
use crate::store::{StoreResult, Thaw};

/// How far an object is from being readable.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Readable,
    OnItsWay,
    Frozen,
}

/// Makes an object readable, or says how far that is.
pub(super) async fn thaw(bucket: &Bucket, key: &str) -> StoreResult<Thaw> {
    match state(&read::head(bucket, "thaw", key).await?) {
        State::Readable => return Ok(Thaw::Ready),
        State::OnItsWay => return Ok(Thaw::Pending),
        State::Frozen => {}
    }
    let tier = match bucket.address.thaw_tier {
        ThawTier::Expedited => Tier::Expedited,
        ThawTier::Standard => Tier::Standard,
        ThawTier::Bulk => Tier::Bulk,
    };
    let job = GlacierJobParameters::builder().tier(tier).build();
    let told = |failure| Err(bucket.fail("thaw", key, failure));
    let job = match job {
        Ok(job) => job,
        Err(error) => return told(Failure::cut(error.to_string())),
    };
    let wanted = RestoreRequest::builder()
        .days(i32::from(bucket.address.thaw_days))
        .glacier_job_parameters(job)
        .build();
    let client = bucket.client("thaw", key).await?;
    let request = client
        .restore_object()
        .bucket(&bucket.address.bucket)
        .key(bucket.full(key))
        .restore_request(wanted);
    match bucket.send(request.send()).await {
        Ok(_) => Ok(Thaw::Pending),
        Err(failure) => match failure.code.as_str() {
            "RestoreAlreadyInProgress" => Ok(Thaw::Pending),
            "ObjectAlreadyInActiveTierError" => Ok(Thaw::Ready),
            _ => told(failure),
        },
    }
}

fn state(head: &Head) -> State {
    let answer = &head.answer;
    let cold = matches!(
        answer.storage_class,
        Some(StorageClass::Glacier | StorageClass::DeepArchive)
    ) || matches!(
        answer.archive_status,
        Some(ArchiveStatus::ArchiveAccess | ArchiveStatus::DeepArchiveAccess)
    );
    // ongoing-request="true", or ongoing-request="false", expiry-date="…"
    match answer.restore.as_deref() {
        Some(restore) if restore.contains("ongoing-request=\"true\"") => State::OnItsWay,
        Some(restore) if restore.contains("ongoing-request=\"false\"") => State::Readable,
        _ if cold => State::Frozen,
        _ => State::Readable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::operation::head_object::HeadObjectOutput;

    #[test]
    fn the_headers_say_how_far_it_is() {
        let with = |class: Option<StorageClass>, restore: Option<&str>| Head {
            size: 1,
            answer: HeadObjectOutput::builder()
                .set_storage_class(class)
                .set_restore(restore.map(str::to_owned))
                .build(),
        };
        let glacier = || Some(StorageClass::Glacier);
        let done = "ongoing-request=\"false\", expiry-date=\"Fri, 27 Nov 2026 00:00:00 GMT\"";
        for (head, expected) in [
            (with(None, None), State::Readable),
            (with(Some(StorageClass::GlacierIr), None), State::Readable),
            (with(glacier(), None), State::Frozen),
            (with(Some(StorageClass::DeepArchive), None), State::Frozen),
            (with(glacier(), Some("ongoing-request=\"true\"")), State::OnItsWay),
            (with(glacier(), Some(done)), State::Readable),
        ] {
            assert_eq!(state(&head), expected);
        }
    }
}
