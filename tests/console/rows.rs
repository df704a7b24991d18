//! Rows: filters, the cursor, what comes in while one looks, and the way back through places.

use lifeboat::domain::alert::AlertKind;
use lifeboat::domain::event::Event;
use lifeboat::domain::snapshot::EvidenceLevel;
use lifeboat::tui::message::Message;
use lifeboat::tui::place::Place;

use crate::fixture;
use crate::rules::{console, event};
use crate::runner::{Eye, Runner};

#[test]
fn esc_in_a_filter_brings_back_the_one_before() {
    let mut console = console();
    console.press("3 /").press("job:orders-db");
    assert!(console.shows("30 of 120"), "{}", console.text());
    console.press("enter /").press("x");
    assert!(console.shows("0 of 120"));
    console.press("esc");
    assert!(console.shows("filter job:orders-db"), "{}", console.text());
    console.press("esc");
    assert!(!console.shows("filter job"), "Esc on the list takes the filter away");
}

#[test]
fn what_a_filter_does_not_understand_is_said_while_it_is_typed() {
    let mut console = console();
    console.press("3 /").press("age<soon");
    assert!(console.shows("not a duration"), "{}", console.text());
    assert!(console.shows("048429d7"), "the rows stay");
}

#[test]
fn the_cursor_stays_on_its_row_when_rows_come_in_above() {
    let mut console = console();
    console.press("3 j j");
    let before = console.app.snapshots.selected().unwrap().id.clone();
    let mut newer = fixture::snapshot(500);
    newer.taken_at = fixture::now();
    event(&mut console, Event::SnapshotRecorded { snapshot: newer });
    assert_eq!(console.app.snapshots.selected().unwrap().id, before);
}

#[test]
fn evidence_rises_on_the_screen_when_it_is_proved() {
    let mut console = console();
    console.press("3");
    let first = console.app.snapshots.selected().unwrap().id.clone();
    assert!(console.shows("written 1/5"));
    event(
        &mut console,
        Event::EvidenceRaised {
            snapshot: first.clone(),
            level: EvidenceLevel::Probed,
        },
    );
    assert_eq!(
        console.app.snapshots.get(&first.0).unwrap().evidence.level,
        EvidenceLevel::Probed
    );
}

#[test]
fn a_frozen_screen_stands_still_and_then_catches_up() {
    let mut console = console();
    console.press("6 f");
    let mut overview = fixture::overview();
    overview.alerts.clear();
    console.picture(overview);
    assert!(console.shows("2 critical") && console.shows("FROZEN"));
    console.press("f");
    assert!(console.shows("no alerts"), "{}", console.text());
}

#[test]
fn an_alert_is_taken_with_a_note_and_closed_only_with_a_reason() {
    let mut console = console();
    console.press("6 a enter");
    console.press("on").press("it enter");
    assert!(console.commands()[0].contains("acknowledge_alert") && console.commands()[0].contains("onit"));
    console.press("a 2 enter");
    assert!(console.shows("a reason is needed"), "{}", console.text());
    assert_eq!(console.commands().len(), 1);
    console.press("disk").press("enter");
    assert!(console.commands()[1].contains("resolve_alert"));
}

#[test]
fn a_resolved_alert_moves_below_the_open_ones() {
    let mut console = console();
    console.press("6");
    let key = AlertKind::RpoBreached.key("documents");
    event(
        &mut console,
        Event::AlertResolved {
            key: key.clone(),
            reason: "a run succeeded".to_owned(),
        },
    );
    assert!(console.app.alerts.get(&key.0).is_none());
    assert_eq!(
        console
            .app
            .alerts
            .all()
            .filter(|record| record.resolved_at.is_some())
            .count(),
        3
    );
}

#[test]
fn history_goes_back_and_forth() {
    let mut console = console();
    console.press("2 3 [");
    assert_eq!(console.app.place, Place::Jobs);
    console.press("]");
    assert_eq!(console.app.place, Place::Snapshots);
    console.press("-");
    assert_eq!(console.app.place, Place::Jobs);
    console.press("-");
    assert_eq!(console.app.place, Place::Snapshots);
}

#[test]
fn the_next_page_is_asked_for_before_the_end_is_reached() {
    let mut console = Runner::blank((80, 24), Eye::Sixteen, false, 1500);
    console.tell(Message::Attached);
    console.picture(fixture::overview());
    console.press("3");
    assert!(console.shows("200 snapshots and more"), "{}", console.text());
    console.press("G");
    assert!(console.shows("700 snapshots and more"), "{}", console.text());
    console.press("G G G");
    assert!(
        console.shows("1,500 snapshots") && !console.shows("and more"),
        "{}",
        console.text()
    );
}

#[test]
fn a_filter_over_a_hundred_thousand_rows_is_quick() {
    let mut console = Runner::blank((160, 50), Eye::Sixteen, false, 100_000);
    console.tell(Message::Attached);
    console.picture(fixture::overview());
    console.press("3");
    while console.app.snapshots.next.is_some() {
        console.press("G");
    }
    console.press("/");
    let clock = lifeboat::clock::Clock::system();
    let started = clock.monotonic();
    console.press("job:orders-db");
    console.buffer();
    // Thirteen key strokes. The bound is loose, because this is a build without optimisation on a busy machine.
    let each = clock.elapsed(started) / 13;
    println!("a key stroke over 100,000 rows takes {each:?}");
    assert!(each < std::time::Duration::from_millis(400), "{each:?}");
    assert!(console.shows("25000 of 100000"), "{}", console.text());
}
