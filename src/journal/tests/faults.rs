//! Damage, forgery and an unhelpful file system end in a clear error, and nothing is lost.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::sample::{at, event, every_event, person};
use super::{all_pages, append, place, tamper};
use crate::journal::{Journal, JournalError};

#[tokio::test]
async fn a_tampered_event_is_found() {
    let forgeries = [
        (
            "UPDATE events SET body = replace(body, 'mira', 'eve') WHERE seq = 7",
            7,
            "was changed",
        ),
        ("UPDATE events SET hash = previous_hash WHERE seq = 9", 9, "was changed"),
        ("DELETE FROM events WHERE seq = 4", 4, "is missing"),
        ("DELETE FROM events WHERE seq = 1", 1, "is missing"),
        (
            "UPDATE events SET previous_hash = hash WHERE seq = 20",
            20,
            "does not follow",
        ),
    ];
    for (forgery, seq, detail) in forgeries {
        let dir = TempDir::new().unwrap();
        let (journal, _) = Journal::open(&place(&dir)).await.unwrap();
        append(&journal, every_event()).await;
        assert!(journal.verify().await.unwrap().is_intact());
        tamper(&place(&dir), forgery);
        let broken = journal.verify().await.unwrap().broken.expect(forgery);
        assert_eq!(broken.seq, seq, "{forgery}");
        assert!(broken.detail.contains(detail), "{forgery}: {}", broken.detail);
    }
}

#[tokio::test]
async fn events_cannot_be_changed_by_accident() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(&place(&dir)).await.unwrap();
    append(&journal, every_event()).await;
    let connection = rusqlite::Connection::open(place(&dir)).unwrap();
    for sql in ["UPDATE events SET body = ''", "DELETE FROM events"] {
        let error = connection.execute_batch(sql).unwrap_err();
        assert!(error.to_string().contains("only ever added to"), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_left_alone() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("state")).unwrap();
    fs::write(
        place(&dir),
        "Dear diary, today nothing was backed up at all. ".repeat(40),
    )
    .unwrap();
    let before = fs::read(place(&dir)).unwrap();
    for error in [
        Journal::open(&place(&dir)).await.unwrap_err(),
        Journal::attach(&place(&dir)).await.unwrap_err(),
    ] {
        assert!(matches!(error, JournalError::NotAJournal { .. }), "{error}");
        assert!(error.hint().unwrap().contains("state_dir"));
    }
    assert_eq!(fs::read(place(&dir)).unwrap(), before);

    fs::remove_file(place(&dir)).unwrap();
    let other = rusqlite::Connection::open(place(&dir)).unwrap();
    other.execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
    drop(other);
    let error = Journal::open(&place(&dir)).await.unwrap_err();
    assert!(error.to_string().contains("another program's"), "{error}");
}

#[tokio::test]
async fn a_journal_of_a_later_version_is_refused() {
    let dir = TempDir::new().unwrap();
    Journal::open(&place(&dir)).await.unwrap().0.close().await;
    tamper(&place(&dir), "PRAGMA user_version = 7");
    let error = Journal::open(&place(&dir)).await.unwrap_err();
    assert!(matches!(error, JournalError::Newer { found: 7, .. }), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_named_with_what_to_do() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(&place(&dir)).await.unwrap();
    append(&journal, (0..500).map(|n| event(12, n)).collect()).await;
    journal.close().await;
    // Rubbish over all pages but the first, as a failing disk leaves them.
    let length = fs::metadata(place(&dir)).unwrap().len();
    let mut file = fs::OpenOptions::new().write(true).open(place(&dir)).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xa5; usize::try_from(length).unwrap() - 4096])
        .unwrap();
    drop(file);
    let error = Journal::open(&place(&dir)).await.unwrap_err();
    assert!(matches!(error, JournalError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("journal.db"));
    assert!(error.hint().unwrap().contains("mv "));
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_named() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(&place(&dir)).await.unwrap();
    append(&journal, every_event()).await;
    journal.close().await;
    tamper(
        &place(&dir),
        "DELETE FROM checkpoint; UPDATE events SET body = 'gibberish' WHERE seq = 5",
    );
    let error = Journal::open(&place(&dir)).await.unwrap_err();
    assert!(error.to_string().contains("event 5"), "{error}");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_the_next_append_goes_on() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(&place(&dir)).await.unwrap();
    append(&journal, every_event()).await;
    let before = all_pages(&journal).await;
    // SQLite's own bound on the file's size fails the very way a full file system does.
    let bound = |pages: u32| {
        let set = move |writer: &mut super::super::writer::Writer| {
            let used: u32 = writer
                .connection
                .pragma_query_value(None, "page_count", |row| row.get(0))
                .unwrap();
            writer
                .connection
                .pragma_update_and_check(None, "max_page_count", used + pages, |_| Ok(()))
                .unwrap();
            Ok(())
        };
        journal.write(set)
    };
    bound(2).await.unwrap();
    let many: Vec<_> = (100..200).map(|n| event(12, n)).collect();
    let error = journal.append(&person(), at(0), many.clone()).await.unwrap_err();
    assert!(matches!(error, JournalError::Full { .. }), "{error}");
    assert!(error.is_retryable());
    assert!(error.hint().unwrap().contains("free some space"));
    assert_eq!(all_pages(&journal).await, before);

    bound(100_000).await.unwrap();
    let records = journal.append(&person(), at(0), many).await.unwrap();
    assert_eq!(records[0].seq, every_event().len() as u64 + 1);
    assert!(journal.verify().await.unwrap().is_intact());
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_named() {
    // The superuser may write to a directory without the permission, but not even it may make files in /proc.
    let dir = TempDir::new().unwrap();
    let path = if nix::unistd::geteuid().is_root() {
        "/proc/journal.db".into()
    } else {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
        dir.path().join("journal.db")
    };
    let error = Journal::open(&path).await.unwrap_err();
    assert!(matches!(error, JournalError::Io { .. }), "{error}");
    assert!(error.to_string().contains("journal.db"), "{error}");
    assert!(error.hint().unwrap().contains("state_dir"));
}

#[tokio::test]
async fn only_its_owner_can_read_it() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(&place(&dir)).await.unwrap();
    append(&journal, every_event()).await;
    for entry in fs::read_dir(place(&dir).parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", entry.path().display());
    }
}

#[tokio::test]
async fn nothing_is_made_by_looking() {
    let dir = TempDir::new().unwrap();
    let error = Journal::attach(&place(&dir)).await.unwrap_err();
    assert!(matches!(error, JournalError::Missing { .. }), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_closed_journal_says_so() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(&place(&dir)).await.unwrap();
    let other = journal.clone();
    journal.close().await;
    let error = other.append(&person(), at(0), vec![event(2, 0)]).await.unwrap_err();
    assert!(matches!(error, JournalError::Closed), "{error}");
    other.close().await;
    // The lock is free the moment `close` returns.
    Journal::open(&place(&dir)).await.unwrap().0.close().await;
}
