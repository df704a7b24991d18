//! Pages: every filter, every row once, and always along an index.

use proptest::prelude::*;
use rusqlite::params_from_iter;
use serde_json::json;
use tempfile::TempDir;

use super::sample::{at, event, every_event, person, recovery_id, run_id, snapshot_id};
use super::{append, place};
use crate::domain::id::SnapshotId;
use crate::domain::view::Query;
use crate::journal::query::{Table, page_sql};
use crate::journal::{Journal, JournalError};

/// A journal with thirty snapshots, thirty runs, twelve recoveries and some alerts.
async fn filled(dir: &TempDir) -> Journal {
    let (journal, _) = Journal::open(&place(dir)).await.unwrap();
    for n in 0..30 {
        let events = vec![event(7, n), event(8, n), event(12, n), event(11, n)];
        journal
            .append(&person(), at(i64::try_from(n).unwrap()), events)
            .await
            .unwrap();
    }
    for n in 0..12 {
        append(&journal, vec![event(16, n), event(17, n), event(20, n)]).await;
    }
    append(
        &journal,
        vec![
            event(23, 0),
            event(23, 1),
            event(25, 0),
            event(14, 4),
            event(15, 5),
            event(14, 3),
        ],
    )
    .await;
    journal
}

/// A query as the API receives it.
fn wanted(filter: serde_json::Value) -> Query {
    serde_json::from_value(filter).unwrap()
}

async fn ids(journal: &Journal, query: Query) -> Vec<SnapshotId> {
    let page = journal.snapshots(&query).await.unwrap();
    page.items.into_iter().map(|snapshot| snapshot.id).collect()
}

#[tokio::test]
async fn pages_hold_every_row_once_newest_first() {
    let dir = TempDir::new().unwrap();
    let journal = filled(&dir).await;
    let mut query = wanted(json!({ "limit": 4 }));
    let mut seen = Vec::new();
    loop {
        let page = journal.snapshots(&query).await.unwrap();
        assert!(page.items.len() == 4 || page.next.is_none());
        seen.extend(page.items.into_iter().map(|snapshot| snapshot.id));
        // A row that comes in between moves nothing.
        append(&journal, vec![event(12, 100 + seen.len())]).await;
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..30).rev().map(snapshot_id).collect::<Vec<_>>());
}

#[tokio::test]
async fn snapshots_are_filtered() {
    let dir = TempDir::new().unwrap();
    let journal = filled(&dir).await;
    let filters = [
        (json!({}), 30),
        (json!({ "job": "shop" }), 10),
        (json!({ "source": "ledger" }), 10),
        (json!({ "tag": "daily" }), 15),
        // A tag is matched whole: n1 is not n10.
        (json!({ "tag": "n1" }), 1),
        (json!({ "since": at(60 * 20) }), 10),
        (json!({ "until": at(60 * 20) }), 21),
        (json!({ "text": "migration" }), 5),
        (json!({ "text": "50%_nonsense'" }), 0),
        (json!({ "text": "d_cuments" }), 0),
        (json!({ "text": "\\" }), 0),
        (json!({ "text": "x".repeat(100_000) }), 0),
        (json!({ "job": "shop", "tag": "daily" }), 5),
        (json!({ "id": snapshot_id(9).0[..6] }), 1),
        // Number 5 was refuted, so it is not proved to have been written.
        (json!({ "evidence": "written" }), 29),
    ];
    for (filter, expected) in filters {
        assert_eq!(ids(&journal, wanted(filter.clone())).await.len(), expected, "{filter}");
    }
    let proved = async |level: &str| ids(&journal, wanted(json!({ "evidence": level }))).await;
    assert_eq!(proved("probed").await, [snapshot_id(4)]);
    assert_eq!(proved("restored").await, [snapshot_id(4), snapshot_id(3)]);
}

#[tokio::test]
async fn what_left_its_repository_is_listed_only_by_id() {
    let dir = TempDir::new().unwrap();
    let journal = filled(&dir).await;
    append(&journal, vec![event(13, 9)]).await;
    assert!(!ids(&journal, Query::default()).await.contains(&snapshot_id(9)));
    let by_id = wanted(json!({ "id": snapshot_id(9).0 }));
    assert_eq!(ids(&journal, by_id).await, [snapshot_id(9)]);
}

#[tokio::test]
async fn runs_recoveries_and_alerts_are_filtered() {
    let dir = TempDir::new().unwrap();
    let journal = filled(&dir).await;
    let runs = [
        (json!({ "job": "shop" }), 10),
        (json!({ "source": "shop" }), 10),
        (json!({ "id": run_id(3) }), 1),
        (json!({ "text": "near is full" }), 10),
        // Tags and evidence are those of the snapshots that runs made.
        (json!({ "tag": "daily" }), 5),
        (json!({ "evidence": "restored" }), 1),
    ];
    for (filter, expected) in runs {
        let page = journal.runs(&wanted(filter.clone())).await.unwrap();
        assert_eq!(page.items.len(), expected, "{filter}");
    }
    let recoveries = [
        (json!({ "source": "shop" }), 4),
        (json!({ "id": recovery_id(3) }), 1),
        (json!({ "evidence": "restored" }), 6),
        (json!({ "tag": "n7" }), 1),
    ];
    for (filter, expected) in recoveries {
        let page = journal.recoveries(&wanted(filter.clone())).await.unwrap();
        assert_eq!(page.items.len(), expected, "{filter}");
    }
    let alerts = [
        (json!({}), 2),
        (json!({ "id": "backup-failed/shop" }), 1),
        (json!({ "source": "documents" }), 1),
    ];
    for (filter, expected) in alerts {
        let page = journal.alerts(&wanted(filter.clone())).await.unwrap();
        assert_eq!(page.items.len(), expected, "{filter}");
    }
}

#[tokio::test]
async fn the_audit_log_is_filtered() {
    let dir = TempDir::new().unwrap();
    let journal = filled(&dir).await;
    let words = async |query: Query| -> Vec<&'static str> {
        let page = journal.events(&query).await.unwrap();
        page.items.iter().map(|record| record.event.word()).collect()
    };
    let started = words(wanted(json!({ "id": "run_started" }))).await;
    assert_eq!(started, ["run_started"; 30]);
    // An event that names only its run belongs to the job the run was queued for.
    let of_job = words(wanted(json!({ "job": "shop", "id": "run_started" }))).await;
    assert_eq!(of_job.len(), 10);
    let of_source = words(wanted(json!({ "source": "shop", "id": "recovery_started" }))).await;
    assert_eq!(of_source.len(), 4);
    let by_actor = words(wanted(json!({ "text": "MIRA", "limit": 3 }))).await;
    assert_eq!(by_actor.len(), 3);
    assert_eq!(by_actor[0], "evidence_raised", "the last one appended comes first");
    let early = journal.events(&wanted(json!({ "until": at(0) }))).await.unwrap();
    assert_eq!(
        early.items.iter().map(|record| record.seq).collect::<Vec<_>>(),
        [4, 3, 2, 1]
    );
}

#[tokio::test]
async fn things_are_found_by_id() {
    let dir = TempDir::new().unwrap();
    let journal = filled(&dir).await;
    assert_eq!(journal.run(run_id(3).as_str()).await.unwrap().id, run_id(3));
    assert_eq!(
        journal.recovery(recovery_id(3).as_str()).await.unwrap().id,
        recovery_id(3)
    );
    let missing = journal.run("run-none").await.unwrap_err();
    assert_eq!(missing.to_string(), "there is no run run-none");

    let full = snapshot_id(9).0;
    assert_eq!(journal.snapshot(&full).await.unwrap().id.0, full);
    assert_eq!(journal.snapshot(&full[..8].to_uppercase()).await.unwrap().id.0, full);
    for nothing in ["", "zz", "%"] {
        let error = journal.snapshot(nothing).await.unwrap_err();
        assert!(matches!(error, JournalError::NotFound { .. }), "{error}");
    }
    // Thirty ids over sixteen first digits: some digit begins two.
    let mut ambiguous = 0;
    for digit in "0123456789abcdef".chars() {
        if let Err(error @ JournalError::Ambiguous { .. }) = journal.snapshot(&digit.to_string()).await {
            assert!(error.hint().unwrap().contains("more digits"));
            ambiguous += 1;
        }
    }
    assert!(ambiguous > 0);
}

#[tokio::test]
async fn a_cursor_that_no_page_gave_is_refused() {
    let dir = TempDir::new().unwrap();
    let journal = filled(&dir).await;
    for cursor in ["", "x", "ä".repeat(16).as_str(), "0123456789abcdefg", &"f".repeat(99)] {
        let query = wanted(json!({ "cursor": cursor.to_owned() }));
        let error = journal.runs(&query).await.unwrap_err();
        assert!(matches!(error, JournalError::BadCursor { .. }), "{cursor}: {error}");
    }
}

#[tokio::test]
async fn limits_are_kept() {
    let dir = TempDir::new().unwrap();
    let journal = filled(&dir).await;
    append(&journal, every_event()).await;
    let all = 162 + every_event().len();
    for (limit, expected) in [(Some(0), 1), (Some(1), 1), (None, 100), (Some(u32::MAX), all)] {
        let query = wanted(json!({ "limit": limit }));
        assert_eq!(journal.events(&query).await.unwrap().items.len(), expected, "{limit:?}");
    }
}

/// How SQLite would walk the tables for a query.
fn plan(db: &rusqlite::Connection, table: Table, query: &Query) -> String {
    let page = page_sql(table, query).unwrap();
    let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {}", page.sql)).unwrap();
    let lines = statement
        .query_map(params_from_iter(page.values), |row| row.get::<_, String>(3))
        .unwrap();
    lines.map(Result::unwrap).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn pages_of_a_hundred_thousand_snapshots_walk_an_index() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(&place(&dir)).await.unwrap();
    for chunk in 0..20 {
        append(&journal, (0..5000).map(|n| event(12, chunk * 5000 + n)).collect()).await;
    }
    let first = journal.snapshots(&Query::default()).await.unwrap();
    assert_eq!(first.items[0].id, snapshot_id(99_999));
    let db = rusqlite::Connection::open(place(&dir)).unwrap();
    let pages = [
        (Table::Snapshots, json!({}), "INDEX snapshots_at"),
        (Table::Snapshots, json!({ "text": "db1" }), "INDEX snapshots_at"),
        (
            Table::Snapshots,
            json!({ "tag": "daily", "evidence": "probed" }),
            "INDEX snapshots_at",
        ),
        (
            Table::Snapshots,
            json!({ "since": at(60), "until": at(6000) }),
            "INDEX snapshots_at",
        ),
        (Table::Snapshots, json!({ "job": "shop" }), "INDEX snapshots_job"),
        (
            Table::Snapshots,
            json!({ "job": "shop", "since": at(60) }),
            "INDEX snapshots_job",
        ),
        (Table::Snapshots, json!({ "source": "shop" }), "INDEX snapshots_source"),
        (Table::Runs, json!({}), "INDEX runs_at"),
        (Table::Runs, json!({ "job": "shop" }), "INDEX runs_job"),
        (
            Table::Recoveries,
            json!({ "source": "shop" }),
            "INDEX recoveries_source",
        ),
        (Table::Alerts, json!({}), "INDEX alerts_at"),
        (Table::Alerts, json!({ "id": "backup-failed/shop" }), "INDEX alerts_key"),
        (Table::Events, json!({}), "INTEGER PRIMARY KEY"),
        (Table::Events, json!({ "id": "run_started" }), "INDEX audit_word"),
        (Table::Events, json!({ "job": "shop" }), "INDEX audit_job"),
    ];
    for (table, filter, index) in pages {
        let mut query = wanted(filter);
        for cursor in [None, first.next.clone()] {
            query.cursor = cursor;
            let plan = plan(&db, table, &query);
            assert!(plan.contains(index), "{table:?} {query:?}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{table:?} {query:?}: {plan}");
        }
    }
    let by_id = plan(&db, Table::Snapshots, &wanted(json!({ "id": "abc" })));
    assert!(by_id.contains("SEARCH"), "{by_id}");
}

proptest! {
    /// Whatever a cursor holds, it is read or refused.
    #[test]
    fn cursors_never_panic(cursor in ".*") {
        let query = wanted(json!({ "cursor": cursor }));
        let _ = page_sql(Table::Events, &query);
    }
}
