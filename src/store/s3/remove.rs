//! Deletion, and what a lock of the store forbids.
//!
//! A bucket answers a deletion the same way whether there was something to delete or not, so it is looked at first. The
//! same look tells of a retention or a legal hold: in such a bucket a deletion would only hide the object under a marker and
//! nothing would be gone, so it is refused here, with the day it becomes possible. In a bucket that keeps versions without a
//! lock, a deleted object stays behind as an old version until the bucket's own rules remove it.

use aws_sdk_s3::types::ObjectLockLegalHoldStatus;

use super::{Bucket, read};
use crate::store::{ErrorKind, StoreError, StoreResult};

/// Removes an object.
pub(super) async fn delete(bucket: &Bucket, key: &str) -> StoreResult<()> {
    let head = read::head(bucket, "delete", key).await?;
    let locked = |until: &str| {
        let message = format!("the store keeps it {until}");
        Err(StoreError::new(ErrorKind::Locked, "delete", bucket.shown(key), message))
    };
    if head.answer.object_lock_legal_hold_status == Some(ObjectLockLegalHoldStatus::On) {
        return locked("under a legal hold");
    }
    if let Some(until) = head.answer.object_lock_retain_until_date {
        let now = bucket.server_time().unwrap_or_else(|| bucket.clock.now());
        if until.secs() > now.timestamp() {
            let until = chrono::DateTime::from_timestamp(until.secs(), 0).unwrap_or_default();
            return locked(&format!("until {}", until.format("%Y-%m-%d %H:%M UTC")));
        }
    }
    let client = bucket.client("delete", key).await?;
    let request = client
        .delete_object()
        .bucket(&bucket.address.bucket)
        .key(bucket.full(key));
    match bucket.send(request.send()).await {
        Ok(_) => Ok(()),
        Err(failure) => Err(bucket.fail("delete", key, failure)),
    }
}
