//! One operation, a fault at each of its store operations.

use std::sync::Arc;
use std::time::Duration;

use lifeboat::repo::{Note, Progress, PruneOptions, RepoError, Repository, TagChange};
use lifeboat::store::ErrorKind;
use lifeboat::store::fault::{Fault, FaultStore, Rule};
use lifeboat::store::memory::MemoryStore;
use tokio_util::sync::CancellationToken;

use super::world::{World, at_once, prune, restic, restored, sound, version, write_out};

/// restic looks at one crash point in so many.
const RESTIC_SHARE: u64 = 12;
/// One operation in so many is also reported as failed after it was done.
const AMBIGUOUS_SHARE: u64 = 3;

/// The versions of the tree that anything here backs up.
const VERSIONS: [u64; 5] = [0, 1, 2, 7, 50];

/// Runs `work` on copies of the world, with a fault at each store operation, and looks at what is left.
async fn at_every_operation<W>(name: &str, world: &World, work: W)
where
    W: AsyncFn(Repository) -> Result<(), RepoError>,
{
    let quiet = Arc::new(FaultStore::new(world.copy().await, world.clock.clone(), Vec::new()));
    let repo = world.open(quiet.clone()).await.unwrap();
    let first = quiet.operations();
    let before = listed(&repo).await;
    // The faulty runs do not list before they begin.
    let listing = quiet.operations() - first;
    work(repo.clone()).await.unwrap();
    let last = quiet.operations() - listing;
    // What is listed before and after is never lost between: it is listed, or in the trash on its way back.
    let mut must = listed(&repo).await;
    must.retain(|id| before.contains(id));
    assert!(last > first + 5, "{name} did nothing: {first} to {last}");
    let mut failed = 0;
    for nth in first + 1..=last {
        for fault in [Fault::Crash, Fault::FailAfter(ErrorKind::Other)] {
            let crashes = matches!(fault, Fault::Crash);
            if !crashes && nth % AMBIGUOUS_SHARE != 0 {
                continue;
            }
            let at = format!("{name}, {fault:?} at {nth} of {last}");
            let store = world.copy().await;
            let op = None;
            let prefix = String::new();
            let rule = Rule { op, prefix, nth, fault };
            let faulty = Arc::new(FaultStore::new(store.clone(), world.clock.clone(), vec![rule]));
            let repo = world.open(faulty).await.unwrap();
            failed += u64::from(work(repo).await.is_err());
            holds(world, &store, &must, &at, crashes && nth % RESTIC_SHARE == 0).await;
        }
    }
    // Most faults are failures of the operation; a lock that cannot be removed, for one, is not.
    assert!(failed > (last - first) * 3 / 4, "{name}: only {failed} failures");
}

/// What must hold after anything.
async fn holds(world: &World, store: &Arc<MemoryStore>, must: &[String], at: &str, ask_restic: bool) {
    let repo = world.open(store.clone()).await.unwrap();
    // The process that crashed is gone; here it is our own, and its lock looks alive.
    repo.unlock(true).await.unwrap();
    let mut now = listed(&repo).await;
    now.extend(repo.trash().await.unwrap().into_iter().map(|one| one.id));
    assert!(must.iter().all(|id| now.contains(id)), "{at}: {must:?} became {now:?}");
    every_snapshot_restores(world, &repo, at).await;
    sound(&repo, false, at).await;
    if ask_restic {
        let dir = tempfile::tempdir().unwrap();
        write_out(store, dir.path()).await;
        if let Err(said) = restic(dir.path(), &["check", "--read-data"]) {
            panic!("{at}: restic check: {said}");
        }
    }
    let before = repo.snapshots().await.unwrap().len();
    let next = world.backup(&repo, 50).await;
    next.unwrap_or_else(|error| panic!("{at}: the next backup: {error}"));
    let pruned = prune(&repo, at_once()).await;
    pruned.unwrap_or_else(|error| panic!("{at}: the next prune: {error}"));
    sound(&repo, true, at).await;
    assert_eq!(repo.snapshots().await.unwrap().len(), before + 1, "{at}");
    assert!(repo.trash().await.unwrap().is_empty(), "{at}");
}

async fn listed(repo: &Repository) -> Vec<String> {
    let all = repo.snapshots().await.unwrap();
    all.into_iter().map(|info| info.id).collect()
}

async fn every_snapshot_restores(world: &World, repo: &Repository, at: &str) {
    for id in listed(repo).await {
        let files = restored(repo, &id, world.source.path()).await;
        let known = VERSIONS.into_iter().any(|number| version(number) == files);
        assert!(known, "{at}: {id} restores to something that was never backed up");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup() {
    let world = World::new(1).await;
    let source = world.source.path().to_path_buf();
    at_every_operation("backup", &world, async |repo| {
        super::world::write_version(&source, 7);
        super::world::backup(&repo, &source).await.map(drop)
    })
    .await;
}

/// Three snapshots, one of them in the trash, and a pack that a killed backup left.
async fn untidy() -> World {
    let world = World::new(3).await;
    let repo = world.open(world.store.clone()).await.unwrap();
    // An earlier prune has seen all of them, so that one which vanishes is noticed.
    prune(&repo, at_once()).await.unwrap();
    let oldest = repo.snapshots().await.unwrap()[0].id.clone();
    repo.forget(&[oldest], &Note::default()).await.unwrap();
    let orphan = [7; 5000];
    let name = lifeboat::repo::Id::of(&orphan).hex();
    let key = format!("data/{}/{name}", &name[..2]);
    lifeboat::store::Store::put(world.store.as_ref(), &key, orphan.to_vec().into())
        .await
        .unwrap();
    world
}

fn with_grace() -> PruneOptions {
    PruneOptions {
        grace: Duration::from_hours(24),
        ..at_once()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_that_deletes_at_once() {
    let world = untidy().await;
    at_every_operation("prune", &world, async |repo| prune(&repo, at_once()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_phase_of_a_prune() {
    let world = untidy().await;
    at_every_operation("marking", &world, async |repo| prune(&repo, with_grace()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_phase_of_a_prune() {
    let world = untidy().await;
    let repo = world.open(world.store.clone()).await.unwrap();
    prune(&repo, with_grace()).await.unwrap();
    world.clock.advance(Duration::from_hours(25));
    at_every_operation("deleting", &world, async |repo| prune(&repo, with_grace()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forgetting_and_bringing_back() {
    let world = World::new(2).await;
    at_every_operation("forget", &world, async |repo| {
        let oldest = repo.snapshots().await?.remove(0).id;
        repo.forget(std::slice::from_ref(&oldest), &Note::default()).await?;
        repo.untrash(&oldest).await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_the_tags_of_a_pinned_snapshot() {
    let world = World::new(2).await;
    let repo = world.open(world.store.clone()).await.unwrap();
    repo.pin("latest", &Note::default()).await.unwrap();
    let change = TagChange {
        add: vec!["kept".to_owned()],
        remove: Vec::new(),
    };
    at_every_operation("tag", &world, async |repo| repo.tag("latest", &change).await.map(drop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy() {
    let mut source = World::new(2).await;
    let from = source.open(source.store.clone()).await.unwrap();
    // The destination is a world of its own, with one of the snapshots.
    let into = Arc::new(MemoryStore::new());
    let target = Repository::init(into.clone(), &super::world::password(), source.clock.clone())
        .await
        .unwrap();
    let oldest = from.snapshots().await.unwrap()[0].id.clone();
    let copy = |target: Repository, from: Repository, ids: Vec<String>| async move {
        let done = target.copy_from(&from, &ids, Progress::new(), CancellationToken::new());
        done.await
    };
    copy(target, from.clone(), vec![oldest]).await.unwrap();
    source.store = into;
    at_every_operation("copy", &source, async |repo| {
        copy(repo, from.clone(), Vec::new()).await.map(drop)
    })
    .await;
    // After a crash the same copy goes on, and copies nothing twice.
    let store = source.copy().await;
    let faulty = Arc::new(FaultStore::crash_at(store.clone(), source.clock.clone(), 12));
    let crashed = copy(source.open(faulty).await.unwrap(), from.clone(), Vec::new()).await;
    assert!(crashed.is_err());
    let again = source.open(store).await.unwrap();
    copy(again.clone(), from.clone(), Vec::new()).await.unwrap();
    assert_eq!(copy(again.clone(), from, Vec::new()).await.unwrap().copied, []);
    assert_eq!(again.snapshots().await.unwrap().len(), 2);
}
