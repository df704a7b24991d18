//! A killed agent loses nothing it was told is written; a second one is kept out, and a reader sees the same.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::sample::{at, event, person};
use super::{all_pages, append, place};
use crate::journal::{Journal, JournalError};

const CHILD: &str = "LIFEBOAT_TEST_JOURNAL";

/// Runs the named test of this program again, as another process that plays the agent on that journal.
fn agent(test: &str, journal: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, journal)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the other process does: append for ever, and say so after each.
async fn append_for_ever(path: &str) {
    let (journal, _) = Journal::open(path.as_ref()).await.unwrap();
    for n in 0.. {
        let events = vec![event(7, n), event(8, n), event(12, n), event(11, n)];
        let records = journal.append(&person(), at(0), events).await.unwrap();
        println!("\nacknowledged {}", records.last().unwrap().seq);
    }
}

fn acknowledged(line: &str) -> Option<u64> {
    line.strip_prefix("acknowledged ")?.trim().parse().ok()
}

#[tokio::test]
async fn killed_in_the_middle_of_appends_nothing_acknowledged_is_lost() {
    if let Ok(path) = std::env::var(CHILD) {
        return append_for_ever(&path).await;
    }
    let dir = TempDir::new().unwrap();
    let mut seen = 0;
    for round in 1..=3_u64 {
        let mut child = agent(
            "journal::tests::crash::killed_in_the_middle_of_appends_nothing_acknowledged_is_lost",
            &place(&dir),
        );
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let enough = seen + 40 * round;
        while seen < enough {
            let mut line = String::new();
            assert!(
                output.read_line(&mut line).unwrap() > 0,
                "the other process ended by itself"
            );
            seen = acknowledged(&line).unwrap_or(seen);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        seen = rest.lines().filter_map(acknowledged).next_back().unwrap_or(seen);

        let (journal, state) = Journal::open(&place(&dir)).await.unwrap();
        assert!(
            state.seq >= seen,
            "{} of {seen} acknowledged events are there",
            state.seq
        );
        // An append is all or nothing, and each was of four events.
        assert_eq!(state.seq % 4, 0);
        let report = journal.verify().await.unwrap();
        assert!(report.is_intact(), "{report:?}");
        assert_eq!(report.events, state.seq);
        let before = all_pages(&journal).await;
        assert_eq!(journal.rebuild().await.unwrap(), state);
        assert_eq!(all_pages(&journal).await, before);
        seen = state.seq;
        journal.close().await;
    }
}

#[tokio::test]
async fn a_second_agent_is_refused_and_a_reader_sees_the_same() {
    if let Ok(path) = std::env::var(CHILD) {
        let (journal, _) = Journal::open(path.as_ref()).await.unwrap();
        append(&journal, super::every_event()).await;
        println!("\nacknowledged {}\n", super::every_event().len());
        // Ends when the parent lets go of this process's input, or kills it.
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let dir = TempDir::new().unwrap();
    let mut child = agent(
        "journal::tests::crash::a_second_agent_is_refused_and_a_reader_sees_the_same",
        &place(&dir),
    );
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let count = lines.find_map(|line| acknowledged(&line.unwrap())).unwrap();

    let refused = Journal::open(&place(&dir)).await.unwrap_err();
    let JournalError::Held { pid, ref host, .. } = refused else {
        panic!("{refused}")
    };
    assert_eq!(pid, child.id());
    assert!(!host.is_empty());
    assert!(refused.hint().unwrap().contains("agent stop"));

    let (reader, state) = Journal::attach(&place(&dir)).await.unwrap();
    assert_eq!(state.seq, count);
    assert_eq!(state, reader.replay().await.unwrap());
    assert!(reader.verify().await.unwrap().is_intact());
    let seen = all_pages(&reader).await;
    let writing = reader.append(&person(), at(0), vec![event(2, 0)]).await.unwrap_err();
    assert!(matches!(writing, JournalError::ReadOnly), "{writing}");

    child.kill().unwrap();
    child.wait().unwrap();
    let (journal, owned) = Journal::open(&place(&dir)).await.unwrap();
    assert_eq!(owned, state);
    assert_eq!(all_pages(&journal).await, seen);
    // What the new owner appends, the reader that was there before sees.
    append(&journal, vec![event(12, 77)]).await;
    assert_eq!(all_pages(&reader).await, all_pages(&journal).await);
}
