//! What only a real server has: versions, Object Lock, storage classes, encryption.

use aws_sdk_s3::types::{BucketVersioningStatus, ObjectLockMode, VersioningConfiguration};
use bytes::Bytes;
use lifeboat::store::{ErrorKind, Thaw};

use crate::moto::Moto;
use crate::open;

const DATA: Bytes = Bytes::from_static(b"some bytes");

#[tokio::test]
async fn with_versions_a_deleted_object_is_gone_and_can_be_written_again() {
    let moto = Moto::start().await;
    let url = moto.bucket("versioned", false).await;
    let on = VersioningConfiguration::builder()
        .status(BucketVersioningStatus::Enabled)
        .build();
    let client = moto.client();
    client
        .put_bucket_versioning()
        .bucket("versioned")
        .versioning_configuration(on)
        .send()
        .await
        .unwrap();
    let store = open(&url);
    store.put("data/a", DATA).await.unwrap();
    store.delete("data/a").await.unwrap();
    assert_eq!(store.get("data/a").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(store.delete("data/a").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(store.list("data/").await.unwrap(), []);
    let versions = client.list_object_versions().bucket("versioned").send().await.unwrap();
    assert_eq!(versions.versions().len(), 1, "the old bytes are still there");
}

#[tokio::test]
async fn a_locked_object_cannot_be_deleted_but_a_lock_file_can() {
    let moto = Moto::start().await;
    let url = moto.bucket("locked", true).await + "&lock_mode=GOVERNANCE&lock_days=30";
    let store = open(&url);
    let kept = ["config", "data/ab/1", "index/1", "snapshots/1", "keys/1"];
    for key in kept {
        store.put(key, DATA).await.unwrap();
        let error = store.delete(key).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Locked, "{key}");
        assert!(error.message.contains("until 20"), "{error}");
        assert_eq!(store.get(key).await.unwrap(), DATA, "it is not even hidden");
    }
    let head = moto.client().head_object().bucket("locked").key("prefix/data/ab/1");
    let mode = head.send().await.unwrap().object_lock_mode.unwrap();
    assert_eq!(mode.as_str(), ObjectLockMode::Governance.as_str());
    store.put("locks/1", DATA).await.unwrap();
    store.delete("locks/1").await.unwrap();
}

#[tokio::test]
async fn a_cold_object_is_thawed_and_then_read() {
    let moto = Moto::start().await;
    let store = open(&(moto.bucket("cold", false).await + "&class_data=GLACIER&thaw_days=2"));
    store.put("data/ab/1", DATA).await.unwrap();
    store.put("index/1", DATA).await.unwrap();
    assert_eq!(store.get("index/1").await.unwrap(), DATA, "only packs are cold");
    assert_eq!(store.thaw("index/1").await.unwrap(), Thaw::Ready);
    for error in [
        store.get("data/ab/1").await.unwrap_err(),
        store.get_range("data/ab/1", 0, 4).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Cold, "{error}");
    }
    assert_eq!(store.thaw("data/ab/1").await.unwrap(), Thaw::Pending);
    let mut tries = 0;
    while store.thaw("data/ab/1").await.unwrap() == Thaw::Pending {
        tries += 1;
        assert!(tries < 1000, "it never thaws");
    }
    assert_eq!(store.get("data/ab/1").await.unwrap(), DATA);
}

#[tokio::test]
async fn classes_and_encryption_are_as_the_address_says() {
    let moto = Moto::start().await;
    let url = moto.bucket("classes", false).await;
    let store = open(&(url + "&class_data=ONEZONE_IA&class_meta=STANDARD_IA&sse=AES256"));
    for (key, length) in [("data/ab/1", 10), ("data/ab/large", 33 << 20), ("keys/1", 10)] {
        store.put(key, Bytes::from(vec![7; length])).await.unwrap();
        let head = moto
            .client()
            .head_object()
            .bucket("classes")
            .key(format!("prefix/{key}"))
            .send()
            .await
            .unwrap();
        let class = if key.starts_with("data/") {
            "ONEZONE_IA"
        } else {
            "STANDARD_IA"
        };
        assert_eq!(head.storage_class.unwrap().as_str(), class, "{key}");
        assert_eq!(head.server_side_encryption.unwrap().as_str(), "AES256", "{key}");
    }
}

#[tokio::test]
async fn a_missing_bucket_is_told_as_such_by_every_operation() {
    let moto = Moto::start().await;
    let store = open(&format!("s3://nowhere/p?endpoint={}", moto.endpoint));
    for error in [
        store.get("config").await.unwrap_err(),
        store.list("data/").await.unwrap_err(),
        store.create().await.unwrap_err(),
        store.put("data/a", DATA).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Other, "{error}");
        assert!(error.hint().unwrap().contains("create the bucket"), "{error:?}");
    }
}
