//! Recovered servers, as they look in every state.

use lifeboat::domain::follow_up::{Fate, FollowUp, FollowUpState, LiveFollowUp, Step};
use lifeboat::domain::pitr::Target;
use lifeboat::domain::run::{Failure, Outcome};
use lifeboat::domain::view::ProgressView;
use lifeboat::domain::{Bytes, Millis};

use crate::fixture::ago;
use crate::runner::Eye;
use crate::screens::{SIZES, render, settings};
use crate::servers::{console_at, server, view};

/// The states of a server, and the keys that lead to what is looked at.
const LOOKS: [(&str, &str); 9] = [
    ("server-overview", "1"),
    ("server-list", "4 gg"),
    ("server-detail", "4 gg enter"),
    ("server-menu", "4 gg a"),
    ("server-open", "4 gg a enter"),
    ("server-move", "4 gg a 2 tab l"),
    ("drills", "4 D"),
    ("drills-detail", "4 D gg enter"),
    ("restore-points", "7 enter G"),
];

fn check(eye: Eye, name: &str) {
    let mut gone = server(Fate::Gone);
    gone.steps.push(Step {
        what: FollowUp::Move {
            to: Target::Time(ago(20)),
            inclusive: true,
        },
        by: "luis".to_owned(),
        at: ago(9),
        outcome: Outcome::Interrupted,
        error: Some(Failure {
            message: "it was interrupted, and what was wanted did not come about".to_owned(),
            hint: Some("look at how the server stands, and ask again".to_owned()),
            retryable: true,
        }),
    });
    let mut moving = view(server(Fate::Waiting));
    moving.waiting.follow_up = Some(LiveFollowUp {
        what: FollowUp::Move {
            to: Target::Time(ago(20)),
            inclusive: true,
        },
        by: "luis".to_owned(),
        asked_at: ago(1),
        state: FollowUpState::Running,
        cancel_requested: None,
    });
    moving.progress = Some(ProgressView {
        phase: "replay".to_owned(),
        current: "log 16/B4000000 2026-11-20 02:50:11".to_owned(),
        bytes_done: Bytes(30 << 20),
        bytes_total: Some(Bytes(96 << 20)),
        rate: Bytes(9 << 20),
        eta: Some(Millis(7_000)),
        ..ProgressView::default()
    });
    let states = [
        ("", view(server(Fate::Waiting)), &LOOKS[..]),
        ("-gone", view(gone), &LOOKS[2..4]),
        ("-moving", moving, &LOOKS[0..3]),
    ];
    settings().bind(|| {
        for size in SIZES {
            for (state, waiting, looks) in &states {
                for (look, keys) in *looks {
                    let mut console = console_at(size, eye, waiting.clone());
                    console.press(keys);
                    console.wait(9_000);
                    let text = console.text();
                    let strange = text.chars().find(|letter| eye == Eye::Mono && !letter.is_ascii());
                    assert_eq!(strange, None, "{look}{state} at {size:?}");
                    insta::assert_snapshot!(
                        format!("{look}{state}-{}x{}-{name}", size.0, size.1),
                        render(&console.buffer())
                    );
                }
            }
        }
    });
}

#[test]
fn recovered_servers_in_sixteen_colours() {
    check(Eye::Sixteen, "16");
}

#[test]
fn recovered_servers_without_colours_in_ascii() {
    check(Eye::Mono, "mono");
}
