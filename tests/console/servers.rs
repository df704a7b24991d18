//! Recovered servers that wait, drills and restore points: what is offered, what is asked before, and how it looks.

use std::sync::Arc;

use lifeboat::domain::cluster::Fenced;
use lifeboat::domain::command::Actor;
use lifeboat::domain::drill::DrillResult;
use lifeboat::domain::event::{EVENT_VERSION, Event, EventRecord};
use lifeboat::domain::follow_up::{Fate, FollowUp, FollowUpState, LeftServer, LiveFollowUp, ServerSeen, Waiting};
use lifeboat::domain::pitr::{Target, TimelineChoice};
use lifeboat::domain::recovery::{InstantWish, PhaseTime, RecoveryPhase, RecoveryRecord, RecoveryTarget};
use lifeboat::domain::restore_point::{RestorePoint, RestorePoints};
use lifeboat::domain::run::Outcome;
use lifeboat::domain::view::{Overview, StreamItem, WaitingView};
use lifeboat::domain::wal::Lsn;
use lifeboat::domain::{Bytes, Millis};
use lifeboat::tui::link::{Answer, Question};
use lifeboat::tui::message::Message;

use crate::fixture::{self, ago, clusters, now};
use crate::runner::{Eye, Runner};

pub const ID: &str = "rec-01hd3k8w4d6f1";

pub fn server(fate: Fate) -> LeftServer {
    LeftServer {
        directory: "/srv/restore/orders-0311".into(),
        seen: ServerSeen {
            fate,
            target: Target::Time(ago(25)),
            inclusive: true,
            lsn: Some(Lsn(0x16_b374_d848)),
            last_commit: Some(ago(25) - chrono::Duration::milliseconds(1350)),
            psql: (fate == Fate::Waiting)
                .then(|| "psql -h /srv/restore/orders-0311.lifeboat/s -p 5432 -U postgres postgres".to_owned()),
        },
        since: ago(12),
        by: "ana".to_owned(),
        steps: Vec::new(),
    }
}

pub fn record(server: &LeftServer) -> RecoveryRecord {
    let target = RecoveryTarget::Directory {
        path: server.directory.clone(),
        include: Vec::new(),
        subpath: None,
        delta: false,
        quick: false,
        tablespaces: Vec::new(),
    };
    let mut request = fixture::request(target, 1);
    request.instant = Some(Box::new(InstantWish {
        to: server.seen.target.clone(),
        inclusive: true,
        timeline: TimelineChoice::default(),
        any_base: true,
        open: false,
    }));
    let phase = |phase, seconds| PhaseTime {
        phase,
        took: Millis::from_secs(seconds),
    };
    RecoveryRecord {
        id: ID.into(),
        request,
        source: Some("orders-db".into()),
        job: Some("orders-db".into()),
        kind: "postgres-physical".to_owned(),
        requested_by: "ana".to_owned(),
        requested_at: ago(16),
        started_at: Some(ago(16)),
        finished_at: ago(12),
        outcome: Outcome::Succeeded,
        evidence: None,
        written: Bytes(1230 << 20),
        replayed: Bytes(212 << 20),
        items: 1204,
        phases: vec![phase(RecoveryPhase::Restore, 140), phase(RecoveryPhase::Replay, 71)],
        findings: Vec::new(),
        error: None,
        drill: None,
        left: Some(server.clone()),
    }
}

pub fn view(server: LeftServer) -> WaitingView {
    WaitingView {
        waiting: Waiting {
            recovery: ID.into(),
            source: Some("orders-db".into()),
            repository: "vault-a".into(),
            base: None,
            server,
            follow_up: None,
        },
        progress: None,
    }
}

pub fn event(console: &mut Runner, event: Event) {
    let record = EventRecord {
        seq: 1300,
        at: now(),
        actor: Actor::agent("vault-1"),
        version: EVENT_VERSION,
        event,
        previous_hash: String::new(),
        hash: String::new(),
    };
    let record = Box::new(record);
    console.tell(Message::Stream(Arc::new(StreamItem::Event { record })));
}

/// The night, with a server that waits.
pub fn night(waiting: WaitingView) -> Overview {
    let mut overview = fixture::overview();
    let mut failed = overview.drills[0].clone();
    failed.name = "catalog-weekly".into();
    failed.source = "catalog-db".into();
    failed.overdue_since = Some(ago(60 * 30));
    failed.last_success_at = Some(ago(60 * 24 * 16));
    failed.last = Some(DrillResult {
        recovery: "rec-01hd3k1b7c8d9".into(),
        at: ago(60 * 24 * 2),
        outcome: Outcome::Failed,
        took: Millis::from_secs(95),
        error: Some("not probed: \"orders of today\" is 0, at least 1 is expected".to_owned()),
        phases: Vec::new(),
    });
    let phase = |phase, millis| PhaseTime {
        phase,
        took: Millis(millis),
    };
    overview.drills[0].last.as_mut().unwrap().phases = vec![
        phase(RecoveryPhase::Plan, 1_200),
        phase(RecoveryPhase::Restore, 170_000),
        phase(RecoveryPhase::Replay, 61_000),
        phase(RecoveryPhase::Verify, 21_000),
        phase(RecoveryPhase::Cleanup, 2_100),
    ];
    overview.drills.insert(0, failed);
    let made = RestorePoint {
        name: "before the deploy".to_owned(),
        lsn: Lsn(0x16_b374_d000),
        member: "db1".into(),
        by: "luis".to_owned(),
        at: ago(47),
    };
    let points = RestorePoints {
        asked: std::collections::BTreeMap::new(),
        made: [made].into(),
    };
    overview.restore_points.insert("orders".into(), points);
    overview.waiting.push(waiting);
    overview
}

/// The picture of an agent with a server that waits.
pub fn waiting_night() -> Overview {
    night(view(server(Fate::Waiting)))
}

/// What history holds then.
pub fn waiting_recoveries() -> Vec<RecoveryRecord> {
    let mut all = fixture::recoveries();
    all.insert(0, record(&server(Fate::Waiting)));
    all
}

pub fn console_at(size: (u16, u16), eye: Eye, waiting: WaitingView) -> Runner {
    let mut console = Runner::new(size, eye);
    let record = record(&waiting.waiting.server);
    console.press("4 1");
    event(&mut console, Event::RecoveryFinished { record });
    console.picture(night(waiting));
    console
}

pub fn console() -> Runner {
    console_at((80, 24), Eye::Mono, view(server(Fate::Waiting)))
}

/// Types into an input, spaces included.
pub fn type_in(console: &mut Runner, text: &str) {
    for (place, word) in text.split(' ').enumerate() {
        if place > 0 {
            console.press("space");
        }
        console.press(word);
    }
}

#[test]
fn a_server_that_waits_is_opened_only_after_its_name_was_typed() {
    let mut console = console();
    console.press("4 gg");
    assert!(
        console.shows("1 recovered server WAITS") && console.shows("WAITS"),
        "{}",
        console.text()
    );
    console.press("a enter").wait(600);
    for words in [
        "orders-0311",
        "a copy of orders-db, which is not touched",
        "no undo",
        "lifeboat recovery promote",
    ] {
        assert!(console.shows(words), "{words}: {}", console.text());
    }
    console.press("o r d e r s tab tab enter");
    assert!(console.commands().is_empty(), "half a name is none");
    console.press("- 0 3 1 1 enter");
    assert_eq!(
        console.commands(),
        [format!(
            r#"{{"command":"follow_up_recovery","recovery":"{ID}","what":{{"act":"promote"}}}}"#
        )]
    );
}

#[test]
fn throwing_away_names_what_is_lost() {
    let mut console = console();
    console.press("4 gg a 4").wait(600);
    assert!(
        console.shows("everything in /srv/restore/orders-0311"),
        "{}",
        console.text()
    );
    console.press("enter");
    assert!(console.commands().is_empty(), "the focus is on Cancel");
    console.press("a 4").wait(600);
    console.press("orders-0311 enter");
    assert!(console.commands()[0].contains(r#""act":"discard""#));
}

#[test]
fn a_server_is_moved_on_by_picking_a_minute_and_only_forward() {
    let mut console = console();
    console.press("4 gg a 2");
    assert!(
        console.shows("Move rec-") && console.shows("2026-11-20 02:47:07"),
        "{}",
        console.text()
    );
    console.press("enter");
    assert!(console.shows("it is there already"), "{}", console.text());
    console.press("C-u");
    type_in(&mut console, "02:30:00");
    console.press("enter");
    assert!(
        console.shows("only replayed forward") && console.commands().is_empty(),
        "{}",
        console.text()
    );
    console.press("C-u");
    type_in(&mut console, "02:50:00");
    console.press("tab l enter");
    assert_eq!(
        console.commands(),
        [format!(
            r#"{{"command":"follow_up_recovery","recovery":"{ID}","what":{{"act":"move","to":{{"kind":"time","value":"2026-11-20T02:51:00Z"}},"inclusive":true}}}}"#
        )]
    );
}

#[test]
fn what_becomes_of_a_server_shows_and_cannot_be_asked_again() {
    let mut console = console();
    console.press("4 gg");
    let mut busy = view(server(Fate::Waiting));
    busy.waiting.follow_up = Some(LiveFollowUp {
        what: FollowUp::Discard,
        by: "luis".to_owned(),
        asked_at: now(),
        state: FollowUpState::Running,
        cancel_requested: None,
    });
    console.picture(night(busy));
    assert!(console.shows("removing"), "{}", console.text());
    console.press("a 2");
    assert!(console.shows("removing already, asked by luis"), "{}", console.text());
    console.press("esc");
    let mut gone = server(Fate::Promoted);
    gone.by = "luis".to_owned();
    gone.seen.psql = None;
    let mut overview = night(view(server(Fate::Waiting)));
    overview.waiting.clear();
    console.picture(overview);
    event(
        &mut console,
        Event::FollowUpEnded {
            recovery: ID.into(),
            server: gone,
        },
    );
    assert!(console.shows("opened") && !console.shows("WAITS"), "{}", console.text());
    console.press("gg / i d : 0 1 h d 3 k 8 w enter a");
    assert!(console.shows("it was opened, by luis"), "{}", console.text());
}

#[test]
fn a_server_that_has_gone_can_be_started_again() {
    let mut console = console_at((80, 24), Eye::Mono, view(server(Fate::Gone)));
    console.press("4 gg");
    assert!(
        console.shows("SERVER GONE") && console.shows("1 recovered server GONE"),
        "{}",
        console.text()
    );
    console.press("a 3");
    assert!(console.commands()[0].contains(r#""act":"resume""#));
}

#[test]
fn a_server_older_than_the_pages_is_asked_for_once() {
    let mut console = Runner::new((100, 30), Eye::Mono);
    console.press("4");
    console.picture(night(view(server(Fate::Waiting))));
    console.picture(night(view(server(Fate::Waiting))));
    let asked = console
        .asked
        .iter()
        .filter(|question| matches!(question, Question::Recoveries(query) if query.id.as_deref() == Some(ID)));
    assert_eq!(asked.count(), 1);
}

#[test]
fn a_restore_point_is_named_on_a_primary_that_takes_writes() {
    let mut console = console();
    console.press("7 a 1");
    assert!(
        console.shows("it is fenced") && console.commands().is_empty(),
        "{}",
        console.text()
    );
    console.press("esc");
    let mut views = clusters();
    for line in &mut views[0].picture.lines {
        line.fenced = Fenced::No;
    }
    let answer = (Question::Clusters, Ok(Answer::Clusters(views)));
    console.tell(Message::Answered(Box::new(answer)));
    console.press("a enter enter");
    assert!(console.shows("a name of 1 to 63 bytes is needed"), "{}", console.text());
    type_in(&mut console, "before the deploy");
    console.press("enter");
    assert_eq!(
        console.commands(),
        [r#"{"command":"create_restore_point","cluster":"orders","name":"before the deploy"}"#]
    );
    event(
        &mut console,
        Event::RestorePointCreated {
            cluster: "orders".into(),
            name: "before the deploy".to_owned(),
            member: "db1".into(),
            lsn: Lsn(7),
            by: "ana".to_owned(),
        },
    );
    assert!(
        console.shows("restore point before the deploy is at 0/7"),
        "{}",
        console.text()
    );
}

#[test]
fn a_drill_is_done_from_its_menu() {
    let mut console = console();
    console.press("4 D gg");
    for words in ["catalog-weekly", "FAILED", "overdue,", "orders-monthly", "in 11d"] {
        assert!(console.shows(words), "{words}: {}", console.text());
    }
    console.press("a 3");
    assert_eq!(
        console.commands(),
        [r#"{"command":"run_drill","drill":"catalog-weekly","point":"random"}"#]
    );
    console.press("esc");
    assert!(console.shows("recoveries"), "{}", console.text());
}
