//! What is read from a cluster, and the signs of trouble in it.

use super::*;

#[test]
fn a_healthy_pair_has_no_signs() {
    let seen = seen(vec![
        Some(server(Role::Primary, 1000)),
        Some(server(Role::Standby, 1000)),
    ]);
    let picture = picture::draw(&cluster(2), &seen, &Record::default());
    assert_eq!(picture.signs, []);
    assert_eq!(picture.primary, Some("db1".into()));
    // A standby that has everything is not late, however long ago the last transaction was.
    assert_eq!(picture.lines[1].lag, Some(Millis(0)));
}

#[test]
fn two_writers_are_a_split_brain_and_a_fenced_one_is_not() {
    let both = seen(vec![
        Some(server(Role::Primary, 1000)),
        Some(server(Role::Primary, 900)),
    ]);
    assert_eq!(signs(&both, &Record::default())[0], "split-brain");
    let mut newer = server(Role::Primary, 2000);
    newer.timeline = TimelineId(2);
    let one = seen(vec![Some(fenced_server(1000)), Some(newer)]);
    assert_eq!(signs(&one, &Record::default()), ["old-primary"]);
    // The mark of another member is a copy and fences nobody.
    let mut copy = fenced_server(1000);
    copy.fence = Some(mark("db9", Some(1000)));
    let copied = seen(vec![Some(copy), Some(server(Role::Primary, 900))]);
    assert!(signs(&copied, &Record::default()).contains(&"split-brain".to_owned()));
}

#[test]
fn signs_of_standbys_slots_and_synchronous_commits() {
    let mut primary = server(Role::Primary, 5000);
    primary.synchronous = "db2".to_owned();
    let slot = |name: &str, active, retained, status: &str| Slot {
        name: name.to_owned(),
        active,
        physical: true,
        retained: Some(Bytes(retained)),
        wal_status: Some(status.to_owned()),
    };
    primary.slots = vec![
        slot("fine", true, 4 << 30, "reserved"),
        slot("idle", false, 4 << 30, "extended"),
        slot("gone", false, 0, "lost"),
    ];
    let mut standby = server(Role::Standby, 1000);
    standby.replayed_age = Some(Millis::from_secs(120));
    standby.replay_paused = true;
    standby.receiver = None;
    let seen = seen(vec![Some(primary), Some(standby), None]);
    let mut found = signs(&seen, &Record::default());
    let critical = ["slot-lost", "synchronous"];
    assert!(
        critical.iter().all(|sign| found[..2].contains(&(*sign).to_owned())),
        "{found:?}"
    );
    found.sort();
    let wanted = [
        "lag",
        "not-streaming",
        "replay-paused",
        "silent",
        "slot-idle",
        "slot-lost",
        "synchronous",
    ];
    assert_eq!(found, wanted);
}
