//! What is seen of an archived log: the gauge goes by it, and alerts open and end.

use super::world::World;
use crate::domain::alert::AlertKind;
use crate::domain::objective::GaugeLevel;
use crate::domain::pitr::{LogSight, Missing};
use crate::domain::run::Outcome;
use crate::domain::source::{PhysicalChoice, PhysicalSource, PostgresConnection, ReadFrom, SourceKind, TlsMode};
use crate::domain::units::{Bytes, Millis};

/// A world whose only source is a cluster.
fn world() -> World {
    let mut world = World::new();
    let connection = PostgresConnection {
        host: "/run".into(),
        port: 5432,
        user: "backup".into(),
        password: None,
        tls: TlsMode::Disable,
        bin_dir: None,
    };
    let cluster = PhysicalSource {
        connection,
        database: "postgres".into(),
        standby: None,
        from: ReadFrom::Primary,
        method: PhysicalChoice::Auto,
        data_directory: None,
        scratch_dir: None,
        log_window: None,
        receive_slot: None,
    };
    let source = world.definitions.sources.get_mut(&"docs".into()).unwrap();
    source.kind = SourceKind::PostgresPhysical(cluster);
    world
}

fn sight(world: &World) -> LogSight {
    LogSight {
        recoverable_to: Some(world.now),
        stretches: vec![crate::domain::pitr::Interval {
            timeline: crate::domain::wal::TimelineId(1),
            from: crate::domain::wal::Lsn(1),
            from_at: world.now,
            to: crate::domain::wal::Lsn(2),
            to_at: None,
            bases: Vec::new(),
            gap: None,
        }],
        ..LogSight::nothing(&"docs".into(), &"near".into(), world.now)
    }
}

#[test]
fn a_timeline_that_was_left_and_the_one_that_goes_on_are_one_span_and_a_gap_parts_two() {
    let world = world();
    let mut sight = sight(&world);
    let at = |seconds: u64| world.now + Millis::from_secs(seconds).to_chrono();
    let mut stretch = sight.stretches.pop().unwrap();
    // Two ways from the same base backup; then one from a later one, behind a gap.
    for (from, to) in [(100, 200), (100, 170), (150, 260), (300, 400)] {
        (stretch.from_at, stretch.to_at) = (at(from), Some(at(to)));
        sight.stretches.push(stretch.clone());
    }
    assert_eq!(sight.spans(), [(at(100), at(260)), (at(300), at(400))]);
}

#[test]
fn a_log_keeps_the_promise_between_backups() {
    let mut world = world();
    world.back_up(Outcome::Succeeded);
    world.wait(3000);
    world.seen.logs = vec![sight(&world)];
    let gauge = world.rpo();
    assert_eq!(
        (gauge.loss, gauge.level, gauge.by_log),
        (Some(Millis(0)), GaugeLevel::Met, true)
    );
    // The log stands still while time goes on: the loss grows, and the promise breaks as it would with snapshots.
    world.wait(3700);
    assert!(world.open().contains(&AlertKind::RpoBreached), "{:?}", world.open());
    world.seen.logs = vec![sight(&world)];
    world.settle();
    assert!(!world.open().contains(&AlertKind::RpoBreached), "{:?}", world.open());
}

#[test]
fn before_anybody_has_looked_nothing_opens_and_nothing_ends() {
    let mut world = world();
    world.back_up(Outcome::Succeeded);
    world.wait(3700);
    assert!(
        !world.open().contains(&AlertKind::RpoBreached),
        "the log may reach further"
    );
    let late = LogSight {
        waiting_since: Some(world.now - chrono::Duration::seconds(400)),
        behind: Some(Bytes(7)),
        recoverable_to: None,
        ..sight(&world)
    };
    world.seen.logs = vec![late];
    world.settle();
    assert!(
        world.open().contains(&AlertKind::RpoBreached),
        "now it is known that it does not"
    );
    assert!(world.open().contains(&AlertKind::WalLate));
    // A new agent has seen nothing yet.
    world.seen.logs.clear();
    world.start();
    world.settle();
    assert!(world.open().contains(&AlertKind::WalLate));
    assert!(world.open().contains(&AlertKind::RpoBreached));
}

#[test]
fn a_gap_and_a_late_log_open_and_end() {
    let mut world = world();
    world.back_up(Outcome::Succeeded);
    let waiting = |world: &World, seconds| LogSight {
        waiting_since: Some(world.now - chrono::Duration::seconds(seconds)),
        ..sight(world)
    };
    for (seconds, open) in [(200, false), (301, true), (100, true), (59, false)] {
        world.seen.logs = vec![waiting(&world, seconds)];
        world.settle();
        assert_eq!(world.open().contains(&AlertKind::WalLate), open, "after {seconds} s");
    }
    let gap = Missing {
        first: "000000010000000000000003".parse().unwrap(),
        resumes: None,
    };
    world.seen.logs = vec![LogSight {
        gap: Some(gap),
        ..sight(&world)
    }];
    world.settle();
    let alert = world
        .state
        .alerts
        .values()
        .find(|alert| alert.kind == AlertKind::WalGap)
        .unwrap();
    assert!(alert.message.contains("000000010000000000000003"), "{}", alert.message);
    assert!(
        alert.next_step.contains("lifeboat wal verify --repository near"),
        "{}",
        alert.next_step
    );
    world.seen.logs = vec![sight(&world)];
    world.settle();
    assert_eq!(world.open(), []);
}

#[test]
fn damaged_pages_are_told_until_a_snapshot_finds_none() {
    let mut world = world();
    world.seen.logs = vec![sight(&world)];
    let now = world.now;
    let facts = |damaged_pages| crate::domain::snapshot::ClusterFacts {
        system: crate::domain::wal::SystemId(7),
        timeline: crate::domain::wal::TimelineId(1),
        start_lsn: crate::domain::wal::Lsn(1),
        stop_lsn: crate::domain::wal::Lsn(2),
        stopped_at: now,
        major: 15,
        damaged_pages,
    };
    for (number, pages) in [(1, 3), (2, 0)] {
        let snapshot = crate::domain::snapshot::SnapshotRecord {
            id: format!("{number:064}").into(),
            cluster: Some(facts(pages)),
            taken_at: now + chrono::Duration::seconds(number),
            ..world.snapshot(false)
        };
        world.commit(vec![crate::domain::event::Event::SnapshotRecorded { snapshot }]);
        world.settle();
        assert_eq!(world.open().contains(&AlertKind::PageChecksum), pages > 0);
    }
}
