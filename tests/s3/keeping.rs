//! What is kept and what goes, end to end in a bucket: pins, the trash, a prune.

use std::fs;
use std::path::Path;

use lifeboat::clock::Clock;
use lifeboat::repo::{
    BackupOptions, CheckOptions, Note, Progress, PruneOptions, ReadData, RepoError, Repository, RestoreOptions,
};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::moto::Moto;
use crate::server::Conditions;
use crate::{open, served};

fn note() -> Note {
    Note {
        by: "ana".to_owned(),
        reason: Some("a test".to_owned()),
    }
}

async fn back_up(repo: &Repository, path: &Path) -> String {
    let options = BackupOptions {
        paths: vec![path.to_path_buf()],
        ..BackupOptions::default()
    };
    let done = repo.backup(options, Progress::new(), CancellationToken::new()).await;
    done.unwrap().snapshot.id
}

async fn prune(repo: &Repository) -> lifeboat::repo::PruneReport {
    let options = PruneOptions {
        trash_period: std::time::Duration::ZERO,
        grace: std::time::Duration::ZERO,
        ..PruneOptions::default()
    };
    repo.prune(options, Progress::new(), CancellationToken::new())
        .await
        .unwrap()
}

/// Three snapshots of three contents: one is pinned, one is forgotten and brought back, one is forgotten and pruned.
async fn what_is_kept_restores_and_what_goes_is_gone(url: &str) {
    let (dir, store) = (tempfile::tempdir().unwrap(), open(url));
    let password = SecretString::from("a password".to_owned());
    let repo = Repository::init(store.clone(), &password, Clock::system())
        .await
        .unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let mut ids = Vec::new();
    for name in ["pinned", "back", "gone"] {
        let mut noise = vec![0; 300_000];
        getrandom::fill(&mut noise).unwrap();
        let _ = fs::remove_dir_all(&data);
        fs::create_dir(&data).unwrap();
        fs::write(data.join(name), noise).unwrap();
        ids.push(back_up(&repo, &data).await);
    }
    repo.pin(&ids[0], &note()).await.unwrap();
    assert_eq!(repo.pins().await.unwrap().len(), 1);
    let forgotten = repo.forget(&ids, &note()).await.unwrap();
    assert_eq!(
        (forgotten.trashed.len(), forgotten.refused.len()),
        (2, 1),
        "{forgotten:?}"
    );
    assert_eq!(forgotten.refused[0].0, ids[0]);
    assert_eq!(repo.trash().await.unwrap().len(), 2);
    repo.untrash(&ids[1]).await.unwrap();
    assert!(matches!(repo.untrash(&ids[1]).await, Err(RepoError::NotInTrash { .. })));
    let before = store.list("data/").await.unwrap().len();
    let report = prune(&repo).await;
    assert_eq!(report.trash_expired, [ids[2].clone()], "{report:?}");
    assert!(report.packs_deleted > 0 && store.list("data/").await.unwrap().len() < before);
    assert!(repo.trash().await.unwrap().is_empty());

    // By somebody who opens it afresh: all that is listed is whole, pinned is pinned, and gone is gone.
    let repo = Repository::open(store.clone(), &password, Clock::system())
        .await
        .unwrap();
    let left: Vec<String> = repo
        .snapshots()
        .await
        .unwrap()
        .into_iter()
        .map(|info| info.id)
        .collect();
    assert_eq!(left, ids[..2]);
    let checked = CheckOptions {
        read_data: ReadData::All,
        snapshot: None,
    };
    let checked = repo
        .check(checked, Progress::new(), CancellationToken::new())
        .await
        .unwrap();
    assert!(checked.errors.is_empty(), "{checked:?}");
    for (id, name) in ids.iter().zip(["pinned", "back"]) {
        let target = dir.path().join(name);
        let options = RestoreOptions::new(id.clone(), &target);
        let done = repo
            .restore(options, Progress::new(), CancellationToken::new())
            .await
            .unwrap();
        assert!(done.errors.is_empty() && done.files == 1, "{done:?}");
    }
    repo.unpin(&ids[0], &note()).await.unwrap();
    assert!(repo.pins().await.unwrap().is_empty());
    let forgotten = repo.forget(&ids[..1], &note()).await.unwrap();
    assert_eq!(forgotten.trashed.len(), 1, "{forgotten:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pins_the_trash_and_a_prune_work_in_a_bucket() {
    let (_dir, server) = served(Conditions::Honoured).await;
    what_is_kept_restores_and_what_goes_is_gone(&server.url("kept")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_in_that_of_another_server() {
    let moto = Moto::start().await;
    what_is_kept_restores_and_what_goes_is_gone(&moto.bucket("kept", false).await).await;
}
