//! Stock restic beside our trash, pins and marks: it sees none of them, and what it removes we notice.

use std::sync::Arc;
use std::time::Duration;

use lifeboat::repo::{Note, Progress, PruneOptions, RepoError};
use lifeboat::store::local::LocalStore;
use tokio_util::sync::CancellationToken;

use super::world::{World, at_once, prune, restic, sound, write_out};

#[tokio::test(flavor = "multi_thread")]
async fn restic_checks_and_prunes_beside_our_folders() {
    let world = World::new(3).await;
    let repo = world.open(world.store.clone()).await.unwrap();
    let oldest = repo.snapshots().await.unwrap()[0].id.clone();
    let options = PruneOptions {
        grace: Duration::from_hours(24),
        trash_period: Duration::from_hours(24),
        ..at_once()
    };
    repo.pin("latest", &Note::default()).await.unwrap();
    repo.forget(std::slice::from_ref(&oldest), &Note::default())
        .await
        .unwrap();
    prune(&repo, options.clone()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    write_out(&world.store, dir.path()).await;
    for folder in ["trash", "pins", "marks"] {
        assert!(dir.path().join(folder).is_dir(), "{folder}");
    }
    restic(dir.path(), &["check", "--read-data"]).unwrap();
    let listed = restic(dir.path(), &["snapshots", "--json"]).unwrap();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2, "the trash is not listed");
    // restic removes at once what only the trash needed.
    restic(dir.path(), &["prune", "--max-unused", "0"]).unwrap();
    let repo = world
        .open(Arc::new(LocalStore::new(dir.path().to_path_buf())))
        .await
        .unwrap();
    sound(&repo, true, "after restic's prune").await;
    let lost = repo.untrash(&oldest).await;
    assert!(matches!(lost, Err(RepoError::LostInTrash { .. })), "{lost:?}");
    let done = repo.prune(options, Progress::new(), CancellationToken::new());
    assert_eq!(done.await.unwrap().trash_broken, [oldest]);
    assert_eq!(repo.pins().await.unwrap().len(), 1);
    restic(dir.path(), &["check", "--read-data"]).unwrap();
}
