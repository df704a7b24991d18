//! Snapshots that their caller puts together.

use super::*;
use crate::clock::Clock;
use crate::repo::RestoreOptions;
use crate::repo::testing::{contents, fresh, restore};

fn file(name: &str) -> Node {
    bare_node(name, NodeKind::File, Clock::system().now())
}

fn dir(name: &str) -> Node {
    bare_node(name, NodeKind::Dir, Clock::system().now())
}

async fn assembly(repo: &Repository) -> (Assembly, Assembler) {
    let options = AssemblyOptions {
        memory_budget_bytes: 32 << 20,
        ..AssemblyOptions::default()
    };
    let begun = repo
        .begin_assembly(options, Progress::new(), CancellationToken::new())
        .await;
    begun.unwrap()
}

/// Tells a small tree; one file is gone when its turn comes, one is dropped when `broken`.
fn tell(assembler: &Assembler, broken: bool) -> Result<(), RepoError> {
    assembler.enter(dir(""))?;
    assembler.enter(dir("data"))?;
    let mut large = assembler.file(file("large"))?;
    let gone = assembler.file(file("gone"))?;
    let filling = std::thread::spawn(move || -> Result<(), RepoError> {
        for number in 0..50u8 {
            large.push(vec![number; 40_000])?;
        }
        if !broken {
            large.end();
        }
        Ok(())
    });
    assembler.bytes(file("a"), b"first")?;
    assembler.leave()?;
    gone.gone();
    filling.join().unwrap()?;
    assembler.bytes(file("about"), b"")?;
    assembler.leave()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_is_what_is_restored() {
    let (_, repo) = fresh().await;
    let (assembly, assembler) = assembly(&repo).await;
    tokio::task::spawn_blocking(move || tell(&assembler, false))
        .await
        .unwrap()
        .unwrap();
    let done = assembly.commit().await.unwrap();
    assert_eq!((done.stats.files_total, done.stats.bytes_total), (3, 2_000_005));
    let target = tempfile::tempdir().unwrap();
    restore(&repo, RestoreOptions::new("latest", target.path()))
        .await
        .unwrap();
    let found = contents(target.path());
    let names: Vec<_> = found
        .keys()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    assert_eq!(names, ["about", "data/a", "data/large"]);
    let large: Vec<u8> = (0..50u8).flat_map(|number| vec![number; 40_000]).collect();
    assert!(found[b"data/large".as_slice()] == large);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_by_half_or_a_tree_without_an_end_makes_no_snapshot() {
    let (_, repo) = fresh().await;
    let (broken, assembler) = assembly(&repo).await;
    let _ = tokio::task::spawn_blocking(move || tell(&assembler, true))
        .await
        .unwrap();
    let error = broken.commit().await.unwrap_err();
    assert!(
        error.to_string().contains("large: it was not read to its end"),
        "{error}"
    );

    let (unended, assembler) = assembly(&repo).await;
    tokio::task::spawn_blocking(move || assembler.enter(dir("")))
        .await
        .unwrap()
        .unwrap();
    assert!(unended.commit().await.is_err());

    let (twice, assembler) = assembly(&repo).await;
    let told = tokio::task::spawn_blocking(move || {
        assembler.enter(dir(""))?;
        assembler.bytes(file("a"), b"1")?;
        assembler.bytes(file("a"), b"2")?;
        assembler.leave()
    });
    told.await.unwrap().unwrap();
    assert!(twice.commit().await.unwrap_err().to_string().contains("twice"));

    let (given_up, assembler) = assembly(&repo).await;
    drop(assembler);
    assert!(given_up.abort().await.is_none());
    assert_eq!(repo.snapshots().await.unwrap(), []);
}
