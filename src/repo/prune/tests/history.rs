//! Random histories against a model: whatever is committed, forgotten, brought back, labelled and pruned, every snapshot
//! of the model is there with all its blobs, and nothing is left over in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::super::super::testing::{noise, tree_of};
use super::super::super::tree::{Node, NodeKind};
use super::{HOUR, at_once, forget, prune, sound_without_orphans, timed, with_grace};
use crate::repo::files::{FileKind, pack_key};
use crate::repo::index::{IndexFile, IndexPack};
use crate::repo::pack::{BlobKind, PackBuilder};
use crate::repo::{Id, PruneOptions, Repository};
use crate::store::Store;

/// One step of a random history; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<u8>),
    Forget(usize),
    Untrash(usize),
    Tag(usize),
    Prune { grace: bool, unused: f64, later: u64 },
    Orphan(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let blobs = proptest::collection::vec(0u8..40, 1..12);
    let step = prop_oneof![
        4 => blobs.prop_map(Step::Commit),
        2 => any::<usize>().prop_map(Step::Forget),
        1 => any::<usize>().prop_map(Step::Untrash),
        1 => any::<usize>().prop_map(Step::Tag),
        3 => (any::<bool>(), 0.0..60.0, 0u64..40).prop_map(|(grace, unused, later)| Step::Prune { grace, unused, later }),
        1 => (0u8..40).prop_map(Step::Orphan),
    ];
    proptest::collection::vec(step, 4..24)
}

/// The content of a blob: some are large, so that packs differ.
fn content(blob: u8) -> Vec<u8> {
    noise(u64::from(blob) * 2 + 1, 500 + usize::from(blob) * 700)
}

/// Commits a snapshot of one directory with a file of these blobs, as another client would: packs, index, snapshot.
async fn commit(repo: &Repository, blobs: &[u8]) -> String {
    let lock = repo.lock(false).await.unwrap();
    let index = repo.load_index().await.unwrap();
    let mut packs = [0, 1].map(|_| PackBuilder::new(Vec::new()));
    let mut stored = BTreeSet::new();
    let mut store = |kind: BlobKind, data: Vec<u8>| {
        let id = Id::of(&data);
        if !index.has(kind, &id) && stored.insert(id) {
            packs[kind as usize].push(kind, id, &repo.key().seal(&data).unwrap(), None);
        }
        id
    };
    let mut file = Node::new(b"file", NodeKind::File);
    for blob in blobs {
        file.content.push(store(BlobKind::Data, content(*blob)));
    }
    let inner = store(BlobKind::Tree, tree_of(&[file]).0);
    let mut directory = Node::new(b"dir", NodeKind::Dir);
    directory.subtree = Some(inner);
    let tree = store(BlobKind::Tree, tree_of(&[directory]).0);
    let mut names = IndexFile::default();
    for pack in packs.into_iter().filter(|pack| !pack.is_empty()) {
        let pack = pack.finish(repo.key()).unwrap();
        names.packs.push(IndexPack::new(pack.id, &pack.blobs));
        repo.put_new(&pack_key(&pack.id), pack.data.into(), None).await.unwrap();
    }
    if !names.packs.is_empty() {
        repo.save_json(FileKind::Index, &names).await.unwrap();
    }
    let file = serde_json::json!({ "time": repo.time(), "tree": tree, "paths": ["/dir"] });
    let id = repo.save_json(FileKind::Snapshot, &file).await.unwrap();
    lock.release().await.unwrap();
    id
}

async fn run_history(steps: Vec<Step>) {
    let (store, repo, clock) = timed().await;
    let mut listed: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut trash: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let pick = |map: &BTreeMap<String, Vec<u8>>, at: usize| map.keys().nth(at % map.len().max(1)).cloned();
    listed.insert(commit(&repo, &[0]).await, vec![0]);
    for step in steps {
        clock.advance(Duration::from_secs(1));
        match step {
            Step::Commit(blobs) => drop(listed.insert(commit(&repo, &blobs).await, blobs)),
            Step::Forget(at) if listed.len() > 1 => {
                let id = pick(&listed, at).unwrap();
                forget(&repo, &id).await;
                trash.insert(id.clone(), listed.remove(&id).unwrap());
            }
            Step::Untrash(at) => {
                if let Some(id) = pick(&trash, at) {
                    repo.untrash(&id).await.unwrap();
                    listed.insert(id.clone(), trash.remove(&id).unwrap());
                }
            }
            Step::Tag(at) => {
                let id = pick(&listed, at).unwrap();
                let add = vec![format!("t{at}")];
                let change = crate::repo::TagChange {
                    add,
                    remove: Vec::new(),
                };
                let new = repo.tag(&id, &change).await.unwrap().new.id;
                let blobs = listed.remove(&id).unwrap();
                listed.insert(new, blobs);
            }
            Step::Orphan(blob) => {
                let data = content(blob);
                store.put(&pack_key(&Id::of(&data)), data.into()).await.ok();
            }
            Step::Prune { grace, unused, later } => {
                clock.advance(HOUR * u32::try_from(later).unwrap());
                let mut options = if grace { with_grace() } else { at_once() };
                options.max_unused_percent = unused;
                options.trash_period = HOUR * 10;
                let report = prune(&repo, options).await.unwrap();
                report.trash_expired.iter().for_each(|id| drop(trash.remove(id)));
            }
            Step::Forget(_) => {}
        }
        model_holds(&repo, &listed, &trash).await;
    }
    let options = PruneOptions {
        trash_period: Duration::from_hours(100_000),
        ..at_once()
    };
    prune(&repo, options).await.unwrap();
    model_holds(&repo, &listed, &trash).await;
    sound_without_orphans(&repo).await;
}

/// Every snapshot of the model is there with all its blobs.
async fn model_holds(repo: &Repository, listed: &BTreeMap<String, Vec<u8>>, trash: &BTreeMap<String, Vec<u8>>) {
    let names: BTreeSet<String> = repo
        .snapshots()
        .await
        .unwrap()
        .into_iter()
        .map(|info| info.id)
        .collect();
    assert_eq!(names, listed.keys().cloned().collect());
    let in_trash: BTreeSet<String> = repo.trash().await.unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(in_trash, trash.keys().cloned().collect());
    for (id, blobs) in listed {
        let mut out = Vec::new();
        repo.dump(id, "/dir/file", &mut out).await.unwrap();
        assert!(
            out == blobs.iter().flat_map(|blob| content(*blob)).collect::<Vec<_>>(),
            "{id}"
        );
    }
    let index = repo.load_index().await.unwrap();
    for blob in trash.values().flatten() {
        let id = Id::of(&content(*blob));
        repo.load_blob(&index, BlobKind::Data, &id).await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn prune_preserves_reachability(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run_history(steps));
    }
}
