//! Recovered servers and named restore points, decided and applied.

use super::super::alert::AlertKind;
use super::super::cluster::Cluster;
use super::super::command::{Command, Observation};
use super::super::follow_up::{Fate, FollowUp, FollowUpResult, FollowUpState, LeftServer, ServerSeen};
use super::super::keep::in_use;
use super::super::pitr::Target;
use super::super::react::Effect;
use super::super::rules::alert_events;
use super::super::run::{Failure, Outcome};
use super::super::units::{Bytes, Millis, Timestamp};
use super::super::wal::Lsn;
use super::world::World;
use crate::domain::event::Event;
use crate::domain::id::RecoveryId;
use crate::domain::observe::ended_recovery;

fn at(minute: u32) -> Timestamp {
    format!("2026-03-01T00:{minute:02}:00Z").parse().unwrap()
}

fn seen(fate: Fate, target: Target) -> ServerSeen {
    ServerSeen {
        fate,
        target,
        inclusive: true,
        lsn: None,
        last_commit: None,
        psql: None,
    }
}

/// A world with one server that waits at minute ten.
fn waiting() -> (World, RecoveryId) {
    let mut world = World::new();
    let snapshot = world.snapshot(false);
    let events = world.context(|context| {
        crate::domain::decide::verify(
            context,
            "ana",
            &snapshot,
            crate::domain::snapshot::EvidenceLevel::Decoded,
        )
    });
    world.commit(events.unwrap());
    let recovery = world.state.recoveries.values().next().unwrap().clone();
    let mut record = ended_recovery(&recovery, Outcome::Succeeded, None, world.now);
    record.left = Some(LeftServer {
        directory: "/srv/orders".into(),
        seen: seen(Fate::Waiting, Target::Time(at(10))),
        since: world.now,
        by: "ana".to_owned(),
        steps: Vec::new(),
    });
    world.commit(vec![Event::RecoveryFinished { record }]);
    (world, recovery.id)
}

fn follow(recovery: &RecoveryId, what: FollowUp) -> Command {
    Command::FollowUpRecovery {
        recovery: recovery.clone(),
        what,
    }
}

fn move_to(minute: u32) -> FollowUp {
    FollowUp::Move {
        to: Target::Time(at(minute)),
        inclusive: true,
    }
}

#[test]
fn a_log_is_only_replayed_forward() {
    let (mut world, id) = waiting();
    let refused = world.command(&follow(&id, move_to(9))).unwrap_err();
    assert!(refused.reason.contains("forward"), "{refused:?}");
    world.command(&follow(&id, move_to(11))).unwrap();
    assert_eq!(world.effects(), [Effect::FollowUp(id.clone())]);
    world.observe(Observation::FollowUpStarting { recovery: id.clone() });
    assert!(world.effects().is_empty(), "it is begun once");
    world
        .command(&Command::CancelRecovery { recovery: id.clone() })
        .unwrap();
    assert_eq!(world.effects(), [Effect::StopFollowUp(id.clone())]);
    let failure = Failure::transient("stopped");
    world.observe(Observation::FollowUpEnded {
        recovery: id.clone(),
        result: Box::new(FollowUpResult {
            outcome: Outcome::Cancelled,
            error: Some(failure),
            seen: Some(seen(Fate::Gone, Target::Time(at(11)))),
        }),
    });
    let server = &world.state.waiting[&id].server;
    assert_eq!((server.seen.fate, server.by.as_str()), (Fate::Gone, "agent"));
    assert_eq!(server.steps[0].outcome, Outcome::Cancelled);
    world.command(&follow(&id, FollowUp::Discard)).unwrap();
}

#[test]
fn what_is_seen_while_it_is_acted_on_changes_nothing() {
    let (mut world, id) = waiting();
    let look = |fate| Observation::RecoveredServerLooked {
        recovery: id.clone(),
        seen: Box::new(seen(fate, Target::Time(at(10)))),
    };
    let events = world.log.len();
    world.observe(look(Fate::Waiting));
    assert_eq!(world.log.len(), events, "nothing new is no event");
    world.command(&follow(&id, FollowUp::Promote)).unwrap();
    world.observe(Observation::FollowUpStarting { recovery: id.clone() });
    world.observe(look(Fate::Gone));
    assert_eq!(world.state.waiting[&id].server.seen.fate, Fate::Waiting);
    // Another agent: it is in doubt, nothing is begun, and what is found counts.
    world.start();
    assert_eq!(
        world.state.waiting[&id].follow_up.as_ref().unwrap().state,
        FollowUpState::InDoubt
    );
    assert!(world.effects().is_empty());
    world.observe(look(Fate::Promoted));
    assert!(world.state.waiting.is_empty());
    let Some(Event::FollowUpEnded { server, .. }) = world.log.last().map(|record| &record.event) else {
        panic!("{:?}", world.log.last())
    };
    assert_eq!(
        (server.by.as_str(), server.steps[0].outcome),
        ("ana", Outcome::Succeeded)
    );
}

#[test]
fn a_follow_up_of_which_nobody_knows_how_it_ended_stays_in_doubt() {
    let (mut world, id) = waiting();
    world.command(&follow(&id, FollowUp::Discard)).unwrap();
    world.observe(Observation::FollowUpStarting { recovery: id.clone() });
    world.observe(Observation::FollowUpEnded {
        recovery: id.clone(),
        result: Box::new(FollowUpResult {
            outcome: Outcome::Failed,
            error: Some(Failure::transient("the disk is gone")),
            seen: None,
        }),
    });
    assert!(world.state.waiting[&id].is_in_doubt() && world.effects().is_empty());
}

#[test]
fn a_restore_point_is_made_once_and_in_doubt_is_not_asked_for_again() {
    let mut world = World::new();
    let make = |name: &str| Command::CreateRestorePoint {
        cluster: "orders".into(),
        name: name.to_owned(),
    };
    assert!(world.command(&make("a")).is_err(), "there is no such cluster");
    let cluster = Cluster {
        name: "orders".into(),
        members: Vec::new(),
        fence: None,
        max_loss: Bytes(0),
        max_lag: Millis(0),
        failover: crate::domain::cluster::Failover::default(),
    };
    world.definitions.clusters.insert("orders".into(), cluster);
    for wrong in ["", " ", "a\nb", &"x".repeat(64)] {
        assert!(world.command(&make(wrong)).is_err(), "{wrong:?}");
    }
    world.command(&make("before")).unwrap();
    assert!(world.command(&make("before")).is_err(), "it is being made");
    assert_eq!(
        world.effects(),
        [Effect::CreateRestorePoint("orders".into(), "before".to_owned())]
    );
    world.observe(Observation::RestorePointEnded {
        cluster: "orders".into(),
        name: "before".to_owned(),
        result: Ok(("db1".into(), Lsn(7))),
    });
    assert!(world.effects().is_empty());
    assert!(
        world.command(&make("before")).is_err(),
        "a recovery would stop at the first"
    );
    world.command(&make("after")).unwrap();
    world.start();
    assert!(world.effects().is_empty(), "nobody knows whether it is there");
    let known = &world.state.restore_points[&"orders".into()];
    assert_eq!((known.asked.len(), known.made.len()), (0, 1));
    assert_eq!(known.made[0].by, "ana");
}

#[test]
fn a_server_that_is_gone_is_told_until_it_waits_again_or_somebody_has_decided() {
    let (mut world, id) = waiting();
    let key = AlertKind::RecoveredServerGone.key(id.as_str());
    let look = |fate| Observation::RecoveredServerLooked {
        recovery: id.clone(),
        seen: Box::new(seen(fate, Target::Time(at(10)))),
    };
    let alerts = |world: &mut World| {
        let events = world.context(alert_events);
        world.commit(events);
        world.state.alerts.get(&key).map(|alert| alert.next_step.clone())
    };
    assert_eq!(alerts(&mut world), None);
    world.observe(look(Fate::Gone));
    let next = alerts(&mut world).unwrap();
    assert!(
        next.contains("recovery resume") && next.contains("recovery discard"),
        "{next}"
    );
    world.observe(look(Fate::Waiting));
    assert_eq!(alerts(&mut world), None, "it waits again");
    world.observe(look(Fate::Lost));
    let next = alerts(&mut world).unwrap();
    assert!(
        next.contains("put it back") && next.contains("recovery discard"),
        "{next}"
    );
    for what in [FollowUp::Promote, FollowUp::Resume, move_to(11)] {
        let refused = world.command(&follow(&id, what)).unwrap_err();
        assert!(refused.reason.contains("not there any more"), "{refused:?}");
    }
    world.command(&follow(&id, FollowUp::Discard)).unwrap();
    assert!(alerts(&mut world).is_some(), "it is not thrown away yet");
    world.observe(Observation::FollowUpStarting { recovery: id.clone() });
    world.observe(Observation::FollowUpEnded {
        recovery: id.clone(),
        result: Box::new(FollowUpResult {
            outcome: Outcome::Succeeded,
            error: None,
            seen: Some(seen(Fate::Discarded, Target::Time(at(10)))),
        }),
    });
    assert_eq!(alerts(&mut world), None);
}

#[test]
fn what_a_server_that_waits_was_laid_down_from_is_in_use_until_somebody_has_decided() {
    let (mut world, id) = waiting();
    let base = world.state.waiting[&id].base.clone().unwrap();
    assert!(in_use(&world.state).contains(&base));
    world.observe(Observation::RecoveredServerLooked {
        recovery: id.clone(),
        seen: Box::new(seen(Fate::Gone, Target::Time(at(10)))),
    });
    assert!(in_use(&world.state).contains(&base), "it may be started again");
    world.observe(Observation::RecoveredServerLooked {
        recovery: id,
        seen: Box::new(seen(Fate::Promoted, Target::Time(at(10)))),
    });
    assert!(!in_use(&world.state).contains(&base));
}
