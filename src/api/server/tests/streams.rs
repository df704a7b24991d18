//! The live stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fake::{Fake, event, overview};
use super::{in_memory, on_socket};
use crate::api::Stream;
use crate::api::types::StreamItem;
use crate::clock::Clock;

async fn next(stream: &mut Stream) -> StreamItem {
    stream.next().await.expect("the stream goes on").expect("an item")
}

/// Turns the clock a little at a time until the stream says something.
async fn turn_until_next(clock: &Clock, step: Duration, stream: &mut Stream) -> (Duration, StreamItem) {
    let begun = clock.monotonic();
    let mut item = std::pin::pin!(next(stream));
    loop {
        tokio::select! {
            biased;
            item = item.as_mut() => return (clock.elapsed(begun), item),
            // Real time, so that the tasks on both sides get to run between two turns.
            _ = tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>()) => clock.advance(step),
        }
    }
}

#[tokio::test]
async fn the_first_line_is_a_picture_and_events_follow() {
    let fake = Fake::new();
    let (client, _server) = in_memory(&fake, Clock::system());
    let mut stream = client.stream().await.unwrap();
    assert!(matches!(next(&mut stream).await, StreamItem::Overview { overview } if overview.seq == 1));
    assert_eq!(fake.attached.load(Ordering::SeqCst), 1);
    fake.events.send(event(2)).unwrap();
    assert!(matches!(next(&mut stream).await, StreamItem::Event { record } if record.seq == 2));
    fake.pictures.send_replace(Arc::new(overview(2)));
    assert!(matches!(next(&mut stream).await, StreamItem::Overview { overview } if overview.seq == 2));
    drop(stream);
    for _ in 0..200 {
        if fake.attached.load(Ordering::SeqCst) == 0 {
            return;
        }
        let _ = tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await;
    }
    panic!("a client that hung up still counts as attached");
}

#[tokio::test]
async fn many_changes_are_one_picture() {
    let fake = Fake::new();
    let clock = Clock::manual("2026-03-01T12:00:00Z".parse().unwrap());
    let (client, _server) = in_memory(&fake, clock.clone());
    let mut stream = client.stream().await.unwrap();
    next(&mut stream).await;
    for seq in 2..=100 {
        fake.pictures.send_replace(Arc::new(overview(seq)));
        tokio::task::yield_now().await;
    }
    let (waited, item) = turn_until_next(&clock, Duration::from_millis(50), &mut stream).await;
    assert!(
        matches!(item, StreamItem::Overview { overview } if overview.seq == 100),
        "only the latest counts"
    );
    assert!(
        waited >= Duration::from_millis(250),
        "four a second at most, not after {waited:?}"
    );
}

#[tokio::test]
async fn a_quiet_agent_is_told_from_a_dead_one() {
    let fake = Fake::new();
    let clock = Clock::manual("2026-03-01T12:00:00Z".parse().unwrap());
    let (client, _server) = in_memory(&fake, clock.clone());
    let mut stream = client.stream().await.unwrap();
    next(&mut stream).await;
    let (waited, item) = turn_until_next(&clock, Duration::from_secs(1), &mut stream).await;
    assert!(matches!(item, StreamItem::Alive { .. }), "{item:?}");
    assert!(
        (Duration::from_secs(9)..=Duration::from_secs(12)).contains(&waited),
        "{waited:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let (client, _server) = on_socket(&fake, &dir.path().join("a.sock")).await;
    let mut slow = client.stream().await.unwrap();
    next(&mut slow).await;
    let mut big = overview(1);
    big.site = "x".repeat(100_000);
    for seq in 2..=500 {
        big.seq = seq;
        fake.pictures.send_replace(Arc::new(big.clone()));
        for _ in 0..20 {
            // Far more than the channel holds: the slow client's oldest are dropped, the sender never waits.
            fake.events.send(event(seq)).unwrap();
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(client.overview().await.unwrap().seq, 500, "others are answered at once");
    let latest = loop {
        if let StreamItem::Overview { overview } = next(&mut slow).await
            && overview.seq == 500
        {
            break overview;
        }
    };
    assert_eq!(latest.seq, 500, "and the slow one catches up when it reads again");
}
