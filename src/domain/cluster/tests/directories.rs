//! When a data directory may be overwritten.

use super::super::rebuild;
use super::*;

#[test]
fn a_directory_is_overwritten_only_when_it_is_safe() {
    let mut both = seen(vec![None, Some(server(Role::Primary, 2000))]);
    let rebuild =
        |seen: &Seen, record: &Record, kind| rebuild::rebuild(&cluster(2), seen, record, &"db1".into(), kind, true);
    let none = Record::default();
    assert_eq!(reasons(rebuild(&both, &none, RebuildKind::Rewind)), ["not-local"]);
    both.members[0].local = Some(local(LocalState::Running { pid: 1 }, true));
    assert_eq!(reasons(rebuild(&both, &none, RebuildKind::Rewind)), ["running"]);
    both.members[0].local = Some(local(LocalState::Stopped, true));
    assert!(rebuild(&both, &none, RebuildKind::Rewind).unwrap().clean);
    let mut crashed = local(LocalState::Stopped, false);
    crashed.control.as_mut().unwrap().rewindable = false;
    both.members[0].local = Some(crashed);
    assert_eq!(reasons(rebuild(&both, &none, RebuildKind::Rewind)), ["no-hints"]);
    assert!(!rebuild(&both, &none, RebuildKind::Reclone).unwrap().clean);
    both.members[0].local = Some(local(LocalState::Stopped, true));
    let begun = Record {
        rebuild: Some(RebuildNote {
            member: "db1".into(),
            kind: RebuildKind::Rewind,
            by: "ana@host".to_owned(),
            begun: at(0),
        }),
        ..Record::default()
    };
    assert_eq!(reasons(rebuild(&both, &begun, RebuildKind::Rewind)), ["half-rewound"]);
    rebuild(&both, &begun, RebuildKind::Reclone).unwrap();
    // Whatever else a rewind that was cut off has left there.
    both.members[0].local.as_mut().unwrap().control = None;
    assert_eq!(reasons(rebuild(&both, &begun, RebuildKind::Rewind)), ["half-rewound"]);
    rebuild(&both, &begun, RebuildKind::Reclone).unwrap();
    // Nobody to follow, or two.
    let alone = seen(vec![None, Some(server(Role::Standby, 2000))]);
    assert_eq!(reasons(rebuild(&alone, &none, RebuildKind::Reclone)), ["no-primary"]);
    let mut two = cluster(3);
    two.members[0].data_directory = Some("/data".into());
    let split = seen(vec![
        None,
        Some(server(Role::Primary, 1)),
        Some(server(Role::Primary, 2)),
    ]);
    let refused = rebuild::rebuild(&two, &split, &none, &"db1".into(), RebuildKind::Reclone, false);
    assert_eq!(reasons(refused), ["split-brain"]);
}
