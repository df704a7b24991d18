//! The suite every backend passes: the semantics written at [`Store`], one by one.

use bytes::Bytes;

use super::{ErrorKind, ObjectInfo, Store};

/// Runs every check against an empty store.
pub(super) async fn run(store: &dyn Store) {
    store.create().await.expect("create");
    put_is_create_only(store).await;
    reads_return_exactly_what_was_written(store).await;
    listing_is_whole_and_sorted(store).await;
    deletion_is_real(store).await;
    bad_keys_are_refused(store).await;
    parallel_puts_of_one_key_have_one_winner(store).await;
}

async fn put_is_create_only(store: &dyn Store) {
    store.put("config", Bytes::from_static(b"first")).await.expect("put");
    let again = store
        .put("config", Bytes::from_static(b"second"))
        .await
        .expect_err("a second put must fail");
    assert_eq!(again.kind, ErrorKind::AlreadyExists);
    assert_eq!(store.get("config").await.expect("get"), Bytes::from_static(b"first"));
}

async fn reads_return_exactly_what_was_written(store: &dyn Store) {
    let data: Vec<u8> = (0..=255u8).cycle().take(70_001).collect();
    store.put("data/ab/abcd", Bytes::from(data.clone())).await.expect("put");
    store.put("data/ab/empty", Bytes::new()).await.expect("put of nothing");
    assert_eq!(store.get("data/ab/abcd").await.expect("get"), Bytes::from(data.clone()));
    assert_eq!(store.get("data/ab/empty").await.expect("get of nothing"), Bytes::new());
    assert_eq!(store.head("data/ab/abcd").await.expect("head"), 70_001);
    let middle = store.get_range("data/ab/abcd", 1000, 5000).await.expect("range");
    assert_eq!(middle, Bytes::from(data[1000..6000].to_vec()));
    for (offset, length) in [(70_000, 2), (70_002, 0), (u64::MAX, 1), (0, u64::MAX)] {
        let error = store
            .get_range("data/ab/abcd", offset, length)
            .await
            .expect_err("past the end");
        assert_eq!(error.kind, ErrorKind::ShortRead, "{offset}+{length}");
    }
    assert_eq!(
        store.get("data/ab/none").await.expect_err("missing").kind,
        ErrorKind::NotFound
    );
    assert_eq!(
        store.head("data/ab/none").await.expect_err("missing").kind,
        ErrorKind::NotFound
    );
}

async fn listing_is_whole_and_sorted(store: &dyn Store) {
    for name in ["b", "a", "c"] {
        store
            .put(&format!("index/{name}"), Bytes::from_static(b"xyz"))
            .await
            .expect("put");
    }
    let expected: Vec<ObjectInfo> = ["a", "b", "c"]
        .map(|name| ObjectInfo {
            key: format!("index/{name}"),
            size: 3,
        })
        .to_vec();
    assert_eq!(store.list("index/").await.expect("list"), expected);
    assert_eq!(store.list("index/b").await.expect("list one"), expected[1..2]);
    assert_eq!(store.list("data/").await.expect("list of nested keys").len(), 2);
    assert_eq!(store.list("nowhere/").await.expect("unknown prefix"), []);
}

async fn deletion_is_real(store: &dyn Store) {
    store.delete("index/b").await.expect("delete");
    assert_eq!(
        store.get("index/b").await.expect_err("deleted").kind,
        ErrorKind::NotFound
    );
    assert_eq!(
        store.delete("index/b").await.expect_err("twice").kind,
        ErrorKind::NotFound
    );
    assert_eq!(store.list("index/").await.expect("list").len(), 2);
}

async fn bad_keys_are_refused(store: &dyn Store) {
    for key in ["../outside", "/etc/passwd", "a/../../b", ""] {
        assert!(store.put(key, Bytes::from_static(b"x")).await.is_err(), "{key}");
        assert!(store.get(key).await.is_err(), "{key}");
    }
}

async fn parallel_puts_of_one_key_have_one_winner(store: &dyn Store) {
    let puts = (0..8u8).map(|n| store.put("locks/one", Bytes::from(vec![n; 1000])));
    let results = futures_util::future::join_all(puts).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let data = store.get("locks/one").await.expect("get");
    assert!(
        data.len() == 1000 && data.iter().all(|byte| *byte == data[0]),
        "never a mixture"
    );
}
