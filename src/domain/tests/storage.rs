//! What is seen of the room repositories have: alerts open and end, and a pace is read off the last snapshots.

use super::world::World;
use crate::domain::alert::AlertKind;
use crate::domain::anomaly::{Changes, Sample};
use crate::domain::capacity::{Bound, Room, RoomSight, days_to_full};
use crate::domain::job::{RepositoryDefinition, StoreAccess, UpkeepPolicy};
use crate::domain::run::Outcome;
use crate::domain::source::SecretRef;
use crate::domain::units::Bytes;

fn world() -> World {
    let mut world = World::new();
    let repository = RepositoryDefinition {
        name: "near".into(),
        url: "/srv/backup".into(),
        password: SecretRef::Env("X".into()),
        upkeep: UpkeepPolicy::default(),
        access: StoreAccess::default(),
    };
    world.definitions.repositories.insert("near".into(), repository);
    world.back_up(Outcome::Succeeded);
    world
}

fn see(world: &mut World, used: u64) {
    let room = Room {
        used: Bytes(used),
        limit: Bytes(1000),
        bound: Bound::Quota,
    };
    let repository = "near".into();
    world.seen.rooms = vec![RoomSight { repository, room }];
    world.settle();
}

#[test]
fn nine_tenths_open_an_alert_and_it_stays_until_there_is_room_again() {
    let mut world = world();
    let full = |world: &World| world.open().contains(&AlertKind::StorageFull);
    see(&mut world, 890);
    assert!(!full(&world));
    see(&mut world, 900);
    assert!(full(&world), "at nine tenths");
    let alert = &world.state.alerts[&AlertKind::StorageFull.key("near")];
    assert!(alert.message.contains("90% of its max_size"), "{}", alert.message);
    assert!(alert.next_step.contains("repository-full"), "{}", alert.next_step);
    see(&mut world, 860);
    assert!(full(&world), "between the thresholds what is open stays");
    world.seen.rooms.clear();
    world.start();
    world.settle();
    assert!(full(&world), "a new agent has seen nothing yet");
    see(&mut world, 840);
    assert!(!full(&world));
    see(&mut world, 860);
    assert!(!full(&world), "and what is closed stays closed");
}

#[test]
fn the_days_until_it_is_full_are_read_off_what_the_last_snapshots_added() {
    let mut world = world();
    let now = world.now;
    let room = Room {
        used: Bytes(400),
        limit: Bytes(1000),
        bound: Bound::Disk,
    };
    let days = |world: &World| days_to_full(&world.state, &world.definitions, &"near".into(), room, now);
    let sample = |hours_ago: i64, packed: u64| Sample {
        id: crate::domain::id::SnapshotId(format!("{hours_ago}")),
        at: now - chrono::Duration::hours(hours_ago),
        size: Bytes(500),
        files: 1,
        packed: Bytes(packed),
        changes: Changes::default(),
    };
    let figures = |world: &mut World, all: Vec<Sample>| {
        world.state.jobs.get_mut(&"docs".into()).unwrap().figures = all.into();
    };
    figures(&mut world, vec![sample(48, 300)]);
    assert_eq!(days(&world), None, "the first holds everything and says nothing");
    figures(&mut world, vec![sample(48, 300), sample(24, 60), sample(1, 60)]);
    assert_eq!(days(&world), Some(10), "120 in two days, 600 left");
    figures(&mut world, vec![sample(0, 300), sample(0, 60)]);
    assert_eq!(days(&world), None, "a minute says nothing about a day");
    figures(&mut world, vec![sample(48, 300), sample(24, 0)]);
    assert_eq!(days(&world), None, "nothing grows");
}
