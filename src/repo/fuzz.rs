//! What a hostile or damaged repository says must end in an error, never in a panic, an exhausted memory or a file
//! outside the target.
//!
//! Each case takes something sound and changes it at random places, because pure noise rarely passes the first check.
//! The cases are few here, so that they cost seconds; `PROPTEST_CASES=100000` digs deeper.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::crypto::CipherKey;
use super::files::{FileKind, decode_blob};
use super::index::{Index, IndexFile};
use super::key::KeyFile;
use super::lock::LockFile;
use super::pack::BlobKind;
use super::testing::{check, contents, forged, fresh, open, restore, tree_of};
use super::tree::{self, Node, NodeKind};
use super::{Config, Id, Overwrite, Repository, RestoreOptions, SnapshotFile};
use crate::store::Store;

/// So many cases, or as many as the environment asks for.
fn cases(few: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(few))
}

/// One change to a piece of text or bytes.
#[derive(Debug, Clone)]
enum Change {
    Set(usize, u8),
    Remove(usize, usize),
    Repeat(usize, usize),
    Insert(usize, &'static [u8]),
    Cut(usize),
}

/// Pieces that parsers stumble over.
const AWKWARD: [&[u8]; 16] = [
    b"null",
    b"-1",
    b"18446744073709551616",
    b"4294967295",
    b"1e999",
    b"\"\"",
    b"[]",
    b"{}",
    b"\"\\u0000\"",
    b"\"..\"",
    b"\"/\"",
    b"\\x2f",
    b"\xff\xfe",
    b"[[[[[[[[[[[[[[[[",
    b"\"0001-01-01T00:00:00Z\"",
    b"\"9999-12-31T23:59:60.999999999+23:59\"",
];

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<usize>(), 1usize..40).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<usize>(), 1usize..200).prop_map(|(at, length)| Change::Repeat(at, length)),
        (any::<usize>(), 0..AWKWARD.len()).prop_map(|(at, which)| Change::Insert(at, AWKWARD[which])),
        any::<usize>().prop_map(Change::Cut),
    ]
}

fn changed(mut data: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let at = |at: usize| at % (data.len() + 1);
        match change {
            Change::Set(position, byte) => {
                let position = at(*position);
                if let Some(place) = data.get_mut(position) {
                    *place = *byte;
                }
            }
            Change::Remove(position, length) => {
                let from = at(*position);
                data.drain(from..(from + length).min(data.len()));
            }
            Change::Repeat(position, length) => {
                let from = at(*position);
                let piece = data[from..(from + length).min(data.len())].to_vec();
                data.splice(from..from, piece);
            }
            Change::Insert(position, piece) => {
                let from = at(*position);
                data.splice(from..from, piece.iter().copied());
            }
            Change::Cut(position) => data.truncate(at(*position)),
        }
    }
    data
}

const KEY: &str = r#"{"created":"2026-11-20T10:00:00Z","username":"root","hostname":"h","kdf":"scrypt","N":32768,"r":8,"p":1,
"salt":"c2FsdA==","data":"ZGF0YQ=="}"#;
const CONFIG: &str = r#"{"version":2,"id":"00","chunker_polynomial":"25b468838dcb75"}"#;
const LOCK: &str =
    r#"{"time":"2026-11-20T10:00:00.5+01:00","exclusive":false,"hostname":"h","username":"u","pid":7,"uid":0,"gid":0}"#;
const SNAPSHOT: &str = r#"{"time":"2026-11-20T10:00:00.123456789+01:00","parent":
"3ec79977ef0cf5de7b08cd12b874cd0f62bbaf7f07f3497a5b1bbcc8cb39b1ce","tree":
"9ccb846e60d90d4eb915848add7aa7ea1e4bbabfc60e573db9f7bfb2789afbae","paths":["/srv"],"hostname":"h","username":"root",
"excludes":null,"tags":["lifeboat","job=a"],"program_version":"restic 0.18.0","summary":{"backup_start":
"2026-11-20T10:00:00Z","backup_end":"2026-11-20T10:00:01Z","files_new":1,"total_bytes_processed":17}}"#;
const INDEX: &str = r#"{"supersedes":["73d04e6125cf3c28a299cc2f3cca3b78ceac396e4fcf9575e34536b26782413c"],"packs":[{"id":
"73d04e6125cf3c28a299cc2f3cca3b78ceac396e4fcf9575e34536b26782413c","blobs":[{"id":
"3ec79977ef0cf5de7b08cd12b874cd0f62bbaf7f07f3497a5b1bbcc8cb39b1ce","type":"data","offset":0,"length":38,
"uncompressed_length":22},{"id":"9ccb846e60d90d4eb915848add7aa7ea1e4bbabfc60e573db9f7bfb2789afbae","type":"tree",
"offset":38,"length":112}]}]}"#;

fn some_tree() -> Vec<u8> {
    let mut file = Node::new(b"a\xffb", NodeKind::File);
    (file.content, file.size, file.links) = (vec![Id::of(b"x")], 1, 2);
    let mut link = Node::new(b"l", NodeKind::Symlink);
    link.link_target = b"../x".to_vec();
    let mut dir = Node::new(b"d", NodeKind::Dir);
    dir.subtree = Some(Id::of(b"tree"));
    tree::encode(&[file, dir, link])
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn damaged_documents_are_errors(which in 0usize..6, changes in proptest::collection::vec(change(), 1..5)) {
        let sound = [KEY, CONFIG, LOCK, SNAPSHOT, INDEX].get(which).map_or_else(some_tree, |text| text.as_bytes().to_vec());
        let data = changed(sound, &changes);
        match which {
            0 => drop(serde_json::from_slice::<KeyFile>(&data)),
            1 => drop(serde_json::from_slice::<Config>(&data)),
            2 => drop(serde_json::from_slice::<LockFile>(&data)),
            3 => drop(serde_json::from_slice::<SnapshotFile>(&data)),
            4 => {
                if let Ok(file) = serde_json::from_slice::<IndexFile>(&data) {
                    let mut index = Index::default();
                    index.add(&file);
                    for (_, _, at) in index.iter() {
                        // Sums of what a damaged index claims must not overflow either.
                        let _ = (at.plain_length(), index.pack(at));
                    }
                }
            }
            _ => {
                if let Ok(nodes) = tree::decode(&data) {
                    prop_assert!(nodes.iter().all(|node| !node.name.is_empty() && !node.name.contains(&b'/')));
                    prop_assert!(nodes.windows(2).all(|pair| pair[0].name < pair[1].name));
                    // Whatever was read can be written and read again.
                    let again = tree::decode(&tree::encode(&nodes)).unwrap();
                    prop_assert!(nodes.iter().map(|node| &node.name).eq(again.iter().map(|node| &node.name)));
                }
            }
        }
    }

    #[test]
    fn a_damaged_blob_never_passes(plain in proptest::collection::vec(any::<u8>(), 0..3000), length in any::<Option<u32>>(), changes in proptest::collection::vec(change(), 0..4)) {
        let key = CipherKey::new([9; 64]);
        let packed = zstd::bulk::compress(&plain, 3).unwrap();
        // Authentic, because a hostile client has the key, and damaged before it was sealed.
        let mut sealed = key.seal(&changed(packed.clone(), &changes)).unwrap();
        // A claim beyond what a chunk or a tree can be would only make the test slow.
        let claimed = length.map(|length| length % (1 << 20));
        if let Ok(read) = decode_blob(&key, BlobKind::Data, &mut sealed, claimed, &Id::of(&plain)) {
            prop_assert_eq!(read, plain);
        }
    }
}

/// A node of a hostile tree: awkward names, links that lead out, directories, files that share inodes.
fn hostile_node() -> impl Strategy<Value = serde_json::Value> {
    // One bad name refuses the whole tree, so most are good: what is done with them has to be seen too.
    let names = prop_oneof![
        40 => prop::sample::select(vec!["a", "b", "c", "inner", "link", "precious", "A\u{301}"]),
        1 => prop::sample::select(vec!["..", ".", "", "/", "/tmp/out", "../out", "a/b", "\\x2e\\x2e", "\\x2f", "\\x00"]),
    ];
    let kinds = prop::sample::select(vec![
        "file",
        "file",
        "dir",
        "dir",
        "symlink",
        "symlink",
        "dev",
        "chardev",
        "fifo",
        "socket",
        "door",
        "irregular",
    ]);
    let targets = prop::sample::select(vec!["OUTSIDE", "../..", "/", "a", ".", "link", "OUTSIDE/inner"]);
    let numbers = (any::<u32>(), any::<u64>(), 0u64..4, 0u64..3, any::<u64>());
    (names, kinds, targets, numbers).prop_map(|(name, kind, target, (mode, size, links, inode, device))| {
        serde_json::json!({
            "name": name, "type": kind, "mode": mode, "linktarget": target, "size": size % 5000, "links": links,
            "inode": inode, "device_id": 1, "device": device % 7, "uid": 0, "gid": 0, "content": [],
            "mtime": "2020-01-01T00:00:00Z",
        })
    })
}

/// A few trees; each directory of one hangs the next below it.
fn hostile_trees() -> impl Strategy<Value = Vec<Vec<serde_json::Value>>> {
    proptest::collection::vec(proptest::collection::vec(hostile_node(), 1..5), 1..4)
}

/// Links the trees together and returns those below, and the root.
fn linked(mut levels: Vec<Vec<serde_json::Value>>, outside: &Path) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut below: Vec<Vec<u8>> = vec![tree::encode(&[])];
    while let Some(nodes) = levels.pop() {
        let subtree = below.last().map(|tree| Id::of(tree)).unwrap_or_default();
        let nodes: Vec<_> = nodes
            .into_iter()
            .map(|mut node| {
                if node["type"] == "dir" {
                    node["subtree"] = subtree.hex().into();
                }
                let target = node["linktarget"].as_str().unwrap_or_default();
                node["linktarget"] = target.replace("OUTSIDE", &outside.to_string_lossy()).into();
                node
            })
            .collect();
        below.push(serde_json::json!({ "nodes": nodes }).to_string().into_bytes());
    }
    let root = below.pop().unwrap_or_default();
    (below, root)
}

/// What lies in a directory, with the times, so that a file that was only touched is noticed too.
fn fingerprint(root: &Path) -> (BTreeMap<Vec<u8>, Vec<u8>>, Vec<std::time::SystemTime>) {
    let times =
        ["", "inner", "precious"].map(|name| fs::symlink_metadata(root.join(name)).unwrap().modified().unwrap());
    (contents(root), times.to_vec())
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_hostile_tree_writes_nothing_outside_its_target(levels in hostile_trees(), delta: bool, filled: bool, mode in 0usize..3) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let world = tempfile::tempdir().unwrap();
        let (outside, target) = (world.path().join("outside"), world.path().join("target"));
        fs::create_dir_all(outside.join("inner")).unwrap();
        fs::write(outside.join("precious"), b"precious").unwrap();
        fs::create_dir_all(&target).unwrap();
        if filled {
            // Somebody with access to the target laid links there before.
            for name in ["a", "c", "inner", "link"] {
                std::os::unix::fs::symlink(&outside, target.join(name)).unwrap();
            }
            std::os::unix::fs::symlink(outside.join("precious"), target.join("b")).unwrap();
        }
        let before = fingerprint(&outside);
        let (below, root) = linked(levels, &outside);
        runtime.block_on(async {
            let (_, repo) = fresh().await;
            let snapshot = forged(&repo, &below, &root).await;
            let overwrite = [Overwrite::Always, Overwrite::IfNewer, Overwrite::Never][mode];
            let options = RestoreOptions { delta, overwrite, verify: true, ..RestoreOptions::new(snapshot.id, &target) };
            let _ = repo.plan_restore(&options).await;
            let _ = restore(&repo, options).await;
        });
        prop_assert_eq!(fingerprint(&outside), before);
        let names: Vec<_> = fs::read_dir(world.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        prop_assert_eq!(names.len(), 2, "{:?}", names);
    }
}

/// Stores authentic bytes under their own name, as only a client with the key can.
async fn store_sealed(repo: &Repository, store: &dyn Store, kind: FileKind, plain: &[u8]) -> String {
    let sealed = repo.key().seal(plain).unwrap();
    let name = Id::of(&sealed).hex();
    store
        .put(&format!("{}{name}", kind.prefix()), sealed.into())
        .await
        .unwrap();
    name
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_unpacks_to_gigabytes_is_refused() {
    let (store, repo) = fresh().await;
    let mut bomb = zstd::stream::Encoder::new(vec![2], 1).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..600 {
        std::io::Write::write_all(&mut bomb, &zeros).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    for kind in [FileKind::Snapshot, FileKind::Index] {
        let name = store_sealed(&repo, store.as_ref(), kind, &bomb).await;
        let error = repo.load_file(kind, &name).await.unwrap_err();
        assert!(error.to_string().contains("does not decompress"), "{error}");
    }
    assert!(!check(&repo).await.is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_of_newer_programs_are_no_reason_to_fail() {
    let (store, repo) = fresh().await;
    let (root, tree) = tree_of(&[]);
    forged(&repo, &[], &root).await;
    let text = SNAPSHOT.replace(
        "9ccb846e60d90d4eb915848add7aa7ea1e4bbabfc60e573db9f7bfb2789afbae",
        &tree.hex(),
    );
    let text = text.replacen('{', r#"{"quantum_state":{"up":[1,2]},"#, 1);
    let name = store_sealed(&repo, store.as_ref(), FileKind::Snapshot, text.as_bytes()).await;
    let index = INDEX
        .replacen('{', r#"{"bloom":"AAAA","#, 1)
        .replace("\"packs\":[{", "\"packs\":[{\"tier\":\"ice\",");
    store_sealed(&repo, store.as_ref(), FileKind::Index, index.as_bytes()).await;
    let again = open(store).await.unwrap();
    let found = again.snapshot(&name).await.unwrap();
    assert_eq!(found.snapshot.paths, ["/srv"]);
    assert!(again.load_index().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_format_is_refused_by_its_number() {
    let (store, repo) = fresh().await;
    for (version, refused) in [(2, false), (3, true), (4_000_000_000u32, true), (0, true)] {
        let text = format!(r#"{{"version":{version},"id":"00","chunker_polynomial":"25b468838dcb75","shape":"new"}}"#);
        store.delete("config").await.unwrap();
        let sealed = repo.key().seal(text.as_bytes()).unwrap();
        store.put("config", sealed.into()).await.unwrap();
        let opened = open(Arc::clone(&store) as Arc<dyn Store>).await;
        assert_eq!(opened.is_err(), refused, "{version}");
        if let Err(error) = opened {
            assert!(error.to_string().contains(&version.to_string()), "{error}");
            assert!(error.hint().is_some());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_a_hostile_snapshot_can_be_cancelled() {
    let (_, repo) = fresh().await;
    let (root, _) = tree_of(&[Node::new(b"a", NodeKind::File)]);
    let snapshot = forged(&repo, &[], &root).await;
    let target = tempfile::tempdir().unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let ended = repo
        .restore(
            RestoreOptions::new(snapshot.id, target.path()),
            super::Progress::new(),
            cancel,
        )
        .await;
    assert!(matches!(ended, Err(super::RepoError::Cancelled)));
    assert_eq!(contents(target.path()).len(), 0);
}
