//! Events of every version ever written are still read, and mean what they meant.

use super::sample::{WORDS, at, every_event, person, variant};
use crate::domain::apply::apply;
use crate::domain::event::EventRecord;
use crate::domain::state::State;
use crate::journal::record::{GENESIS, Stored, chain, seal};

const V1: &str = include_str!("../../../tests/golden/events-v1.jsonl");

fn golden() -> Vec<EventRecord> {
    let mut head = GENESIS.to_owned();
    let decode = |(line, seq): (&str, u64)| {
        let previous_hash = head.clone();
        head = chain(&previous_hash, line);
        let stored = Stored {
            seq,
            body: line.to_owned(),
            previous_hash,
            hash: head.clone(),
        };
        stored.decode(std::path::Path::new("events-v1.jsonl")).unwrap()
    };
    V1.lines().zip(1..).map(decode).collect()
}

#[test]
fn the_golden_file_holds_every_variant() {
    let found: Vec<&str> = golden().iter().map(|record| WORDS[variant(&record.event)]).collect();
    for word in WORDS {
        assert!(
            found.contains(&word),
            "{word} is missing: append a line of it to tests/golden/events-v1.jsonl"
        );
    }
    for record in golden() {
        assert_eq!(record.event.word(), WORDS[variant(&record.event)]);
    }
}

#[test]
fn the_golden_file_is_read_as_it_was_written() {
    let mut head = GENESIS.to_owned();
    for (record, line) in golden().into_iter().zip(V1.lines()) {
        let (again, body) = seal(record.seq, record.at, &record.actor, record.event.clone(), &head).unwrap();
        assert_eq!(body, line, "event {}", record.seq);
        assert_eq!(again, record);
        head = record.hash;
    }
    // The chain as of the first release: were the way of hashing changed, every journal in the field would look forged.
    let first = &golden()[0];
    assert_eq!(
        first.hash,
        "eae24167fc7dc199e541d348a9b5ec461a52013026de15d247b2e0b9e0a2153f"
    );
}

#[test]
fn the_golden_file_replays() {
    let mut state = State::default();
    for record in golden() {
        apply(&mut state, &record);
    }
    assert_eq!(state.seq, V1.lines().count() as u64);
}

#[test]
fn an_event_of_a_later_version_is_refused() {
    let line = V1
        .lines()
        .next()
        .unwrap()
        .replacen("\"version\":1", "\"version\":99", 1);
    let stored = Stored {
        seq: 1,
        hash: chain(GENESIS, &line),
        body: line,
        previous_hash: GENESIS.to_owned(),
    };
    let error = stored.decode(std::path::Path::new("x")).unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
}

/// Prints the lines of a golden file; for the day a version is added: `cargo nextest run print_golden --run-ignored all --no-capture`.
#[test]
#[ignore = "prints, checks nothing"]
fn print_golden() {
    for (event, seq) in every_event().into_iter().zip(1..) {
        let body = seal(seq, at(i64::try_from(seq).unwrap()), &person(), event, GENESIS)
            .unwrap()
            .1;
        println!("GOLDEN {body}");
    }
}
