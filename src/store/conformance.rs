//! The suite every backend passes: the semantics written at [`Store`], one by one.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{ErrorKind, ObjectInfo, Store, Thaw};

/// Larger than any store writes in one piece, and no multiple of anything.
const LARGE: usize = (33 << 20) + 12_345;
/// More than a server lists on one page.
const MANY: usize = 1003;

/// Runs every check against an empty store; panics at the first that fails.
pub async fn run(store: &dyn Store) {
    store.create().await.expect("create");
    store.create().await.expect("create again");
    assert!(store.capabilities().parallel_puts > 0);
    put_is_create_only(store).await;
    reads_return_exactly_what_was_written(store).await;
    listing_is_whole_and_sorted(store).await;
    deletion_is_real(store).await;
    bad_keys_are_refused(store).await;
    parallel_puts_of_one_key_have_one_winner(store).await;
    ranges_are_exact_at_their_edges(store).await;
    unusual_keys_are_keys(store).await;
    a_name_need_not_say_what_is_in_it(store).await;
    large_objects_are_objects(store).await;
    long_listings_are_whole(store).await;
    what_is_readable_is_thawed(store).await;
    assert_eq!(store.tidy().await.expect("tidy"), 0, "nothing here is a day old");
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

/// Pins, marks and the trash are named by other things than their bytes.
async fn a_name_need_not_say_what_is_in_it(store: &dyn Store) {
    for folder in ["pins", "marks", "trash"] {
        let key = format!("{folder}/{}", "0123456789abcdef".repeat(4));
        store.put(&key, Bytes::from_static(b"first")).await.expect("put");
        let again = store.put(&key, Bytes::from_static(b"second")).await;
        assert_eq!(again.expect_err("a second put").kind, ErrorKind::AlreadyExists);
        assert_eq!(store.get(&key).await.expect("get"), Bytes::from_static(b"first"));
    }
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

async fn ranges_are_exact_at_their_edges(store: &dyn Store) {
    let data: Vec<u8> = (0..=255u8).cycle().take(1000).collect();
    store
        .put("data/cd/edges", Bytes::from(data.clone()))
        .await
        .expect("put");
    for range in [0..0, 0..1, 0..999, 0..1000, 1..1000, 500..500, 999..1000, 1000..1000] {
        let (offset, length) = (range.start as u64, range.len() as u64);
        let read = store.get_range("data/cd/edges", offset, length).await;
        assert_eq!(read.expect("range"), data[range.clone()], "{range:?}");
    }
    for (offset, length) in [(0, 1001), (999, 2), (1000, 1), (1001, 0)] {
        let error = store.get_range("data/cd/edges", offset, length).await;
        let error = error.expect_err("past the end");
        assert_eq!(error.kind, ErrorKind::ShortRead, "{offset}+{length}: {error}");
    }
    let missing = store.get_range("data/cd/none", 0, 1).await.expect_err("missing");
    assert_eq!(missing.kind, ErrorKind::NotFound);
}

async fn unusual_keys_are_keys(store: &dyn Store) {
    let mut expected = Vec::new();
    for name in [
        "a b", "ü€漢", "+plus", "100%", "%2F", "a&b=c", "#hash", "what?", "it's", "~(!)*", "x;y:z@", "a,b$",
    ] {
        let key = format!("odd/{name}");
        store.put(&key, Bytes::from(key.clone())).await.expect(name);
        assert_eq!(store.get(&key).await.expect(name), Bytes::from(key.clone()));
        assert_eq!(store.head(&key).await.expect(name), key.len() as u64);
        let size = key.len() as u64;
        expected.push(ObjectInfo { key, size });
    }
    expected.sort();
    assert_eq!(store.list("odd/").await.expect("list"), expected);
    for object in &expected {
        store.delete(&object.key).await.expect(&object.key);
    }
    assert_eq!(store.list("odd/").await.expect("list"), []);
}

async fn large_objects_are_objects(store: &dyn Store) {
    let data: Bytes = (0..=250u8).cycle().take(LARGE).collect::<Vec<u8>>().into();
    store.put("data/ef/large", data.clone()).await.expect("put");
    assert_eq!(store.head("data/ef/large").await.expect("head"), LARGE as u64);
    assert!(store.get("data/ef/large").await.expect("get") == data, "the same bytes");
    let (offset, length) = ((16 << 20) - 100, 200);
    let middle = store.get_range("data/ef/large", offset as u64, length as u64).await;
    assert_eq!(middle.expect("range"), data[offset..offset + length]);
    let again = store.put("data/ef/large", data.slice(1..)).await;
    assert_eq!(again.expect_err("a second put").kind, ErrorKind::AlreadyExists);
    assert_eq!(store.head("data/ef/large").await.expect("head"), LARGE as u64);
    store.delete("data/ef/large").await.expect("delete");
}

async fn long_listings_are_whole(store: &dyn Store) {
    let keys: Vec<String> = (0..MANY).map(|n| format!("snapshots/{n:05}")).collect();
    stream::iter(&keys)
        .map(|key| store.put(key, Bytes::from_static(b"x")))
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await
        .expect("put");
    let listed = store.list("snapshots/").await.expect("list");
    assert!(listed.iter().map(|object| &object.key).eq(&keys), "all, once, sorted");
    assert_eq!(store.list("snapshots/0000").await.expect("list").len(), 10);
}

async fn what_is_readable_is_thawed(store: &dyn Store) {
    assert_eq!(store.thaw("config").await.expect("thaw"), Thaw::Ready);
    let missing = store.thaw("data/ab/none").await.expect_err("missing");
    assert_eq!(missing.kind, ErrorKind::NotFound);
}
