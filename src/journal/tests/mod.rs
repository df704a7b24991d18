//! Tests of the journal: what it promises, and that it keeps it when the world does not.

mod crash;
mod faults;
mod golden;
mod pages;
mod property;
mod sample;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::{Journal, JournalError};
use crate::domain::apply::apply;
use crate::domain::event::Event;
use crate::domain::snapshot::EvidenceLevel;
use crate::domain::state::State;
use crate::domain::view::{Page, Query};
use sample::{at, event, every_event, person, snapshot, snapshot_id};

fn place(dir: &TempDir) -> PathBuf {
    dir.path().join("state").join("journal.db")
}

async fn append(journal: &Journal, events: Vec<Event>) {
    journal.append(&person(), at(100), events).await.unwrap();
}

/// Everything a journal shows on its pages, as text, to compare two of them.
async fn all_pages(journal: &Journal) -> String {
    async fn all<T: Serialize + DeserializeOwned>(
        fetch: impl AsyncFn(Query) -> Result<Page<T>, JournalError>,
    ) -> String {
        let mut text = String::new();
        let mut query = Query {
            limit: Some(7),
            ..Query::default()
        };
        loop {
            let page = fetch(query.clone()).await.unwrap();
            for item in &page.items {
                text.push_str(&serde_json::to_string(item).unwrap());
                text.push('\n');
            }
            query.cursor = page.next;
            if query.cursor.is_none() {
                return text;
            }
        }
    }
    [
        all(async |query| journal.runs(&query).await).await,
        all(async |query| journal.snapshots(&query).await).await,
        all(async |query| journal.recoveries(&query).await).await,
        all(async |query| journal.alerts(&query).await).await,
        all(async |query| journal.events(&query).await).await,
    ]
    .concat()
}

/// Changes a journal behind its back, as somebody with an SQLite shell would.
fn tamper(path: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch("DROP TRIGGER IF EXISTS events_stay; DROP TRIGGER IF EXISTS events_last;")
        .unwrap();
    connection.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn what_was_appended_is_there_after_reopening() {
    let dir = TempDir::new().unwrap();
    let (journal, mut state) = Journal::open(&place(&dir)).await.unwrap();
    assert_eq!(state, State::default());
    for record in journal.append(&person(), at(5), every_event()).await.unwrap() {
        apply(&mut state, &record);
    }
    let before = all_pages(&journal).await;
    assert_eq!(journal.replay().await.unwrap(), state);
    journal.close().await;

    let (journal, reopened) = Journal::open(&place(&dir)).await.unwrap();
    assert_eq!(reopened, state);
    assert_eq!(all_pages(&journal).await, before);
    let report = journal.verify().await.unwrap();
    assert!(report.is_intact());
    assert_eq!(report.events, every_event().len() as u64);
}

#[tokio::test]
async fn the_chain_goes_on_where_it_ended() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(&place(&dir)).await.unwrap();
    let first = journal
        .append(&person(), at(0), vec![event(2, 0), event(4, 0)])
        .await
        .unwrap();
    assert_eq!(first[0].previous_hash, "0".repeat(64));
    assert_eq!(first[1].previous_hash, first[0].hash);
    assert!(journal.append(&person(), at(0), vec![]).await.unwrap().is_empty());
    journal.close().await;
    let (journal, _) = Journal::open(&place(&dir)).await.unwrap();
    let second = journal.append(&person(), at(1), vec![event(5, 0)]).await.unwrap();
    assert_eq!(second[0].seq, 3);
    assert_eq!(second[0].previous_hash, first[1].hash);
}

#[tokio::test]
async fn a_checkpoint_shortens_opening_and_says_the_same() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(&place(&dir)).await.unwrap();
    for chunk in 0..25 {
        append(&journal, (0..100).map(|n| event(12, chunk * 100 + n)).collect()).await;
    }
    let checkpoints = |path: &Path| -> Vec<i64> {
        let connection = rusqlite::Connection::open(path).unwrap();
        let mut statement = connection.prepare("SELECT seq FROM checkpoint ORDER BY seq").unwrap();
        statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    };
    assert_eq!(checkpoints(&place(&dir)), [1000, 2000]);
    let replayed = journal.replay().await.unwrap();
    drop(journal);
    // Without a good end there is no checkpoint at 2500, so the last 500 events are applied to the one at 2000.
    let (journal, state) = reopen(&place(&dir)).await;
    assert_eq!(state, replayed);
    journal.close().await;
    assert_eq!(checkpoints(&place(&dir)), [2000, 2500]);

    tamper(
        &place(&dir),
        "UPDATE checkpoint SET state = '{}', rules = 'of another version' WHERE seq = 2500",
    );
    let (journal, state) = Journal::open(&place(&dir)).await.unwrap();
    assert_eq!(state, replayed);
    journal.close().await;
}

/// Opens a journal whose last handle was dropped, not closed: its lock goes when its thread has ended.
async fn reopen(path: &Path) -> (Journal, State) {
    loop {
        match Journal::open(path).await {
            Err(JournalError::Held { .. }) => tokio::task::yield_now().await,
            other => return other.unwrap(),
        }
    }
}

#[tokio::test]
async fn projections_may_be_deleted() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(&place(&dir)).await.unwrap();
    append(&journal, every_event()).await;
    append(&journal, (0..50).map(|n| event(12, n)).collect()).await;
    append(&journal, (0..20).map(|n| event(11, n)).collect()).await;
    let before = all_pages(&journal).await;
    journal.close().await;
    let cuts = [
        "DELETE FROM snapshots WHERE seq % 2 = 0",
        "DELETE FROM runs",
        "DROP TABLE alerts; DROP TABLE audit",
        "DROP TABLE snapshots; CREATE TABLE snapshots (nonsense)",
        "UPDATE meta SET value = 'of another version' WHERE key = 'projection_rules'",
        "DELETE FROM meta",
    ];
    for cut in cuts {
        tamper(&place(&dir), cut);
        let (journal, _) = Journal::open(&place(&dir)).await.unwrap();
        assert_eq!(all_pages(&journal).await, before, "after {cut}");
        journal.close().await;
    }
}

#[tokio::test]
async fn rebuild_says_the_same() {
    let dir = TempDir::new().unwrap();
    let (journal, mut state) = Journal::open(&place(&dir)).await.unwrap();
    for record in journal.append(&person(), at(5), every_event()).await.unwrap() {
        apply(&mut state, &record);
    }
    let before = all_pages(&journal).await;
    assert_eq!(journal.rebuild().await.unwrap(), state);
    assert_eq!(all_pages(&journal).await, before);
}

#[tokio::test]
async fn evidence_and_disappearance_reach_the_snapshot() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(&place(&dir)).await.unwrap();
    append(&journal, vec![event(12, 0), event(12, 1), event(12, 2)]).await;
    append(&journal, vec![event(14, 2), event(15, 1)]).await;
    let proved = journal.snapshot(snapshot_id(2).as_str()).await.unwrap();
    assert_eq!(proved.evidence.level, EvidenceLevel::Decoded);
    assert_eq!(proved.evidence.at, at(100));
    assert!(!journal.snapshot(snapshot_id(1).as_str()).await.unwrap().is_restorable());

    append(&journal, vec![event(13, 2)]).await;
    assert!(
        journal
            .snapshot(snapshot_id(2).as_str())
            .await
            .unwrap()
            .vanished_at
            .is_some()
    );
    let counts = journal.snapshot_counts().await.unwrap();
    assert_eq!(counts.get(&"near".into()), Some(&1));

    // A later listing finds it again, and knows less of it than the run that made it; the proof stays.
    let mut listed = snapshot(2);
    (listed.job, listed.run, listed.source) = (None, None, None);
    append(&journal, vec![Event::SnapshotRecorded { snapshot: listed }]).await;
    let again = journal.snapshot(snapshot_id(2).as_str()).await.unwrap();
    assert_eq!(again.vanished_at, None);
    assert_eq!(again.job, snapshot(2).job);
    assert_eq!(again.evidence.level, EvidenceLevel::Decoded);
}

#[tokio::test]
async fn an_alert_that_comes_back_is_a_new_row() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(&place(&dir)).await.unwrap();
    append(
        &journal,
        vec![event(23, 0), event(24, 0), event(25, 0), event(23, 3), event(23, 3)],
    )
    .await;
    let page = journal.alerts(&Query::default()).await.unwrap();
    assert_eq!(page.items.len(), 2);
    assert_eq!(page.items[0].resolved_at, None);
    assert_eq!(page.items[1].resolved_at, Some(at(100)));
    assert_eq!(page.items[1].alert.acknowledged.as_ref().unwrap().by, "mira");
}
