//! Clusters put together by hand, and what follows from them.

use super::record::{FenceNote, Means, PromotionNote, RebuildKind, RebuildNote};
use super::*;
use crate::domain::source::TlsMode;

mod directories;
mod health;
mod signs;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(seconds, 0).unwrap()
}

fn names(count: usize) -> Vec<MemberName> {
    (1..=count).map(|n| MemberName(format!("db{n}"))).collect()
}

pub(crate) fn cluster(count: usize) -> Cluster {
    let member = |name: MemberName| Member {
        connection: PostgresConnection {
            host: name.0.clone(),
            port: 5432,
            user: "lifeboat".to_owned(),
            password: None,
            tls: TlsMode::Prefer,
            bin_dir: None,
        },
        database: "postgres".to_owned(),
        data_directory: None,
        config_file: None,
        slot: None,
        service: None,
        name,
    };
    Cluster {
        name: "orders".into(),
        members: names(count).into_iter().map(member).collect(),
        fence: None,
        max_loss: Bytes(0),
        max_lag: Millis::from_secs(60),
        failover: Failover::default(),
    }
}

pub(crate) fn server(role: Role, lsn: u64) -> ServerSeen {
    ServerSeen {
        version: "15.14".to_owned(),
        major: 15,
        system: SystemId(7),
        timeline: TimelineId(1),
        role,
        superuser: true,
        lsn: Lsn(lsn),
        received: None,
        replayed_age: Some(Millis::from_secs(5)),
        replay_paused: false,
        read_only: false,
        next_xid: Some(100),
        writers: 0,
        prepared: 0,
        overrides: Vec::new(),
        fence: None,
        receiver: (role == Role::Standby).then(|| Receiver {
            status: "streaming".to_owned(),
            sender: None,
            slot: None,
        }),
        replicas: Vec::new(),
        slots: Vec::new(),
        synchronous: String::new(),
        rewindable: true,
    }
}

fn mark(member: &str, lsn: Option<u64>) -> FenceMark {
    FenceMark {
        member: member.into(),
        by: "ana@host".to_owned(),
        at: at(0),
        lsn: lsn.map(Lsn),
        xid: lsn.map(|_| 100),
        previous: None,
    }
}

fn fenced_server(lsn: u64) -> ServerSeen {
    ServerSeen {
        read_only: true,
        fence: Some(mark("db1", Some(lsn))),
        ..server(Role::Primary, lsn)
    }
}

/// What is seen of `db1`, `db2` …; none does not answer.
pub(crate) fn seen(servers: Vec<Option<ServerSeen>>) -> Seen {
    let answer = |server: Option<ServerSeen>| match server {
        Some(server) => Answer::Answers(Box::new(server)),
        None => Answer::Silent {
            why: "refused".to_owned(),
            refuses: false,
        },
    };
    Seen {
        at: at(100),
        members: names(servers.len())
            .into_iter()
            .zip(servers)
            .map(|(name, server)| MemberSeen {
                name,
                answer: answer(server),
                local: None,
            })
            .collect(),
    }
}

pub(crate) fn local(state: LocalState, clean: bool) -> LocalSeen {
    LocalSeen {
        directory: "/data".into(),
        state,
        control: Some(Control {
            system: SystemId(7),
            timeline: TimelineId(1),
            checkpoint: Lsn(1000),
            clean,
            standby: false,
            rewindable: true,
        }),
    }
}

fn fence_note(member: &str, held: bool, means: Means, lsn: Option<u64>) -> Record {
    Record {
        fence: Some(FenceNote {
            member: member.into(),
            system: Some(SystemId(7)),
            means,
            by: "ana@host".to_owned(),
            begun: at(0),
            held: held.then(|| at(1)),
            lsn: lsn.map(Lsn),
        }),
        ..Record::default()
    }
}

fn reasons<T: std::fmt::Debug>(result: Result<T, Vec<Refusal>>) -> Vec<String> {
    result.unwrap_err().into_iter().map(|refusal| refusal.reason).collect()
}

fn signs(seen: &Seen, record: &Record) -> Vec<String> {
    let picture = picture::draw(&cluster(seen.members.len()), seen, record);
    picture.signs.into_iter().map(|sign| sign.sign).collect()
}

fn try_promote(seen: &Seen, record: &Record, allowed: Allowance) -> Result<PromotePlan, Vec<Refusal>> {
    promote::promote(&cluster(seen.members.len()), seen, record, &"db2".into(), allowed)
}

const NOTHING: Allowance = Allowance::AtMost(Bytes(0));

#[test]
fn nobody_is_promoted_while_another_may_write() {
    let record = Record::default();
    let standby = || Some(server(Role::Standby, 1000));
    // It writes.
    let writing = seen(vec![Some(server(Role::Primary, 1000)), standby()]);
    assert_eq!(reasons(try_promote(&writing, &record, Allowance::Any)), ["not-fenced"]);
    // Its fence was begun and not proved, or lifted by somebody.
    let mut unproved = fenced_server(1000);
    unproved.fence = Some(mark("db1", None));
    let unproved = seen(vec![Some(unproved), standby()]);
    assert_eq!(reasons(try_promote(&unproved, &record, Allowance::Any)), ["not-fenced"]);
    let mut lifted = fenced_server(1000);
    lifted.read_only = false;
    let lifted = seen(vec![Some(lifted), standby()]);
    assert_eq!(reasons(try_promote(&lifted, &record, Allowance::Any)), ["not-fenced"]);
    // Somebody writes in spite of it.
    let mut leaking = fenced_server(1000);
    leaking.writers = 1;
    let leaking = seen(vec![Some(leaking), standby()]);
    assert_eq!(reasons(try_promote(&leaking, &record, Allowance::Any)), ["fence-leaks"]);
    // It does not answer.
    let silent = seen(vec![None, standby()]);
    assert_eq!(reasons(try_promote(&silent, &record, Allowance::Any)), ["not-gone"]);
    let begun = fence_note("db1", false, Means::Command, None);
    assert_eq!(reasons(try_promote(&silent, &begun, Allowance::Any)), ["not-gone"]);
    let held = fence_note("db1", true, Means::Command, None);
    try_promote(&silent, &held, Allowance::Any).unwrap();
    // Its directory is here and nothing runs on it.
    let mut stopped = seen(vec![None, standby()]);
    stopped.members[0].local = Some(local(LocalState::Stopped, true));
    assert_eq!(try_promote(&stopped, &record, NOTHING).unwrap().loss, Some(Bytes(0)));
    let unknown = LocalState::Unknown { why: String::new() };
    stopped.members[0].local = Some(local(unknown, true));
    assert_eq!(reasons(try_promote(&stopped, &record, Allowance::Any)), ["not-gone"]);
    // A third that does not answer may be a standby only when the primary is known.
    let three = |first| seen(vec![first, standby(), None]);
    try_promote(&three(Some(fenced_server(1000))), &record, NOTHING).unwrap();
    let mut dead = three(None);
    dead.members[0].local = Some(local(LocalState::Stopped, true));
    assert_eq!(reasons(try_promote(&dead, &record, NOTHING)), ["not-gone"]);
}

#[test]
fn what_is_lost_is_known_and_allowed_or_nobody_is_promoted() {
    let record = Record::default();
    let pair = |behind: u64| {
        seen(vec![
            Some(fenced_server(1000)),
            Some(server(Role::Standby, 1000 - behind)),
        ])
    };
    assert_eq!(try_promote(&pair(0), &record, NOTHING).unwrap().loss, Some(Bytes(0)));
    assert_eq!(reasons(try_promote(&pair(1), &record, NOTHING)), ["behind"]);
    try_promote(&pair(10), &record, Allowance::AtMost(Bytes(10))).unwrap();
    assert_eq!(
        reasons(try_promote(&pair(11), &record, Allowance::AtMost(Bytes(10)))),
        ["behind"]
    );
    // What was received is replayed before the promotion.
    let mut received = pair(500);
    let Answer::Answers(standby) = &mut received.members[1].answer else {
        unreachable!()
    };
    standby.received = Some(Lsn(1000));
    try_promote(&received, &record, NOTHING).unwrap();
    // Checkpoints after the fence need not be waited for; transactions do.
    let later = |xid| {
        let mut primary = fenced_server(1000);
        primary.lsn = Lsn(1500);
        primary.next_xid = Some(xid);
        seen(vec![Some(primary), Some(server(Role::Standby, 1000))])
    };
    try_promote(&later(100), &record, NOTHING).unwrap();
    assert_eq!(reasons(try_promote(&later(101), &record, NOTHING)), ["behind"]);
    // Nobody knows where the log of a dead primary ended.
    let dead = seen(vec![None, Some(server(Role::Standby, 1000))]);
    let vouched = fence_note("db1", true, Means::Vouched, None);
    assert_eq!(
        reasons(try_promote(&dead, &vouched, Allowance::AtMost(Bytes(1 << 40)))),
        ["loss-unknown"]
    );
    assert_eq!(try_promote(&dead, &vouched, Allowance::Any).unwrap().loss, None);
    // Another standby has more, or this one was left behind by an earlier promotion.
    let better = seen(vec![
        Some(fenced_server(900)),
        Some(server(Role::Standby, 900)),
        Some(server(Role::Standby, 950)),
    ]);
    assert_eq!(reasons(try_promote(&better, &record, NOTHING)), ["better"]);
    let mut old = pair(0);
    let Answer::Answers(primary) = &mut old.members[0].answer else {
        unreachable!()
    };
    primary.timeline = TimelineId(2);
    assert_eq!(reasons(try_promote(&old, &record, Allowance::Any)), ["old-timeline"]);
}

#[test]
fn strangers_are_not_promoted_waited_for_or_overwritten() {
    let record = Record::default();
    let mut stranger = server(Role::Standby, 1000);
    stranger.system = SystemId(8);
    let strange = seen(vec![Some(fenced_server(1000)), Some(stranger)]);
    assert!(reasons(try_promote(&strange, &record, Allowance::Any)).contains(&"wrong-system".to_owned()));
    assert!(signs(&strange, &record).contains(&"foreign-system".to_owned()));
    let awaited = promote::awaited(&cluster(2), &strange, &record, &"db2".into());
    assert_eq!(reasons(awaited), ["wrong-system"]);
    let mut other = seen(vec![Some(server(Role::Primary, 1000)), None]);
    let mut directory = local(LocalState::Stopped, true);
    directory.control.as_mut().unwrap().system = SystemId(8);
    other.members[1].local = Some(directory);
    for kind in [RebuildKind::Rewind, RebuildKind::Reclone] {
        let refused = rebuild::rebuild(&cluster(2), &other, &record, &"db2".into(), kind, false);
        assert_eq!(reasons(refused), ["wrong-system"]);
    }
}

#[test]
fn a_promotion_that_was_cut_off_is_only_noted() {
    let mut promoted = server(Role::Primary, 1200);
    promoted.timeline = TimelineId(2);
    let mut record = fence_note("db1", true, Means::Setting, Some(1000));
    record.promotion = Some(PromotionNote {
        member: "db2".into(),
        from: TimelineId(1),
        by: "ana@host".to_owned(),
        begun: at(0),
        to: None,
    });
    let after = seen(vec![Some(fenced_server(1000)), Some(promoted)]);
    assert!(signs(&after, &record).contains(&"promotion-unfinished".to_owned()));
    assert!(try_promote(&after, &record, NOTHING).unwrap().already);
    // Whoever was fenced for it may not be let go, also when the promoted one is silent.
    let unfence = |seen: &Seen| decide::unfence(&cluster(2), seen, &record, None);
    assert!(reasons(unfence(&after)).contains(&"other-primary".to_owned()));
    let silent = seen(vec![Some(fenced_server(1000)), None]);
    assert_eq!(reasons(unfence(&silent)), ["promoted"]);
    // The promotion did not come about: the standby says so itself.
    let before = seen(vec![Some(fenced_server(1000)), Some(server(Role::Standby, 1000))]);
    assert!(unfence(&before).unwrap().settings);
}

#[test]
fn a_fence_is_refused_where_it_would_not_hold() {
    let record = Record::default();
    let fence = |cluster: &Cluster, seen: &Seen, member: Option<&str>, vouched: Option<&str>| {
        let (member, vouched) = (member.map(MemberName::from), vouched.map(MemberName::from));
        decide::fence(cluster, seen, &record, member.as_ref(), vouched.as_ref())
    };
    let pair = |primary| seen(vec![primary, Some(server(Role::Standby, 1000))]);
    let fine = pair(Some(server(Role::Primary, 1000)));
    assert_eq!(fence(&cluster(2), &fine, None, None).unwrap().means, Means::Setting);
    assert_eq!(reasons(fence(&cluster(2), &fine, Some("db2"), None)), ["not-primary"]);
    assert_eq!(reasons(fence(&cluster(2), &fine, Some("db7"), None)), ["no-member"]);
    assert_eq!(
        reasons(fence(&cluster(2), &fine, Some("db1"), Some("db1"))),
        ["answers"]
    );
    let mut bad = server(Role::Primary, 1000);
    bad.superuser = false;
    bad.prepared = 2;
    bad.overrides = vec!["role app".to_owned()];
    let refused = fence(&cluster(2), &pair(Some(bad)), None, None);
    assert_eq!(reasons(refused), ["not-superuser", "prepared", "overrides"]);
    let dead = pair(None);
    assert_eq!(reasons(fence(&cluster(2), &dead, None, None)), ["no-primary"]);
    assert_eq!(reasons(fence(&cluster(2), &dead, Some("db1"), None)), ["silent"]);
    assert_eq!(
        fence(&cluster(2), &dead, Some("db1"), Some("db1")).unwrap().means,
        Means::Vouched
    );
    let mut armed = cluster(2);
    armed.fence = Some(Hook {
        command: vec!["/bin/cut".to_owned()],
        shell: false,
        timeout: Millis::from_secs(60),
    });
    assert_eq!(fence(&armed, &dead, Some("db1"), None).unwrap().means, Means::Command);
    // Its directory is here and nobody is in it: that is a proof, unless it was a standby's, or another cluster's.
    let mut down = pair(None);
    down.members[0].local = Some(local(LocalState::Stopped, false));
    let plan = fence(&cluster(2), &down, Some("db1"), None).unwrap();
    assert_eq!((plan.means, plan.system), (Means::Disk, Some(SystemId(7))));
    let other = |change: fn(&mut Control)| {
        let mut down = down.clone();
        change(down.members[0].local.as_mut().unwrap().control.as_mut().unwrap());
        reasons(fence(&cluster(2), &down, Some("db1"), None))
    };
    assert_eq!(other(|control| control.standby = true), ["silent"]);
    assert_eq!(other(|control| control.system = SystemId(8)), ["silent"]);
    down.members[0].local = Some(local(LocalState::Running { pid: 1 }, false));
    assert_eq!(reasons(fence(&cluster(2), &down, Some("db1"), None)), ["silent"]);
}

#[test]
fn what_may_be_lost_is_read_as_it_was_written() {
    for allowed in [Allowance::Any, Allowance::OrUnknown(Bytes(4096))] {
        assert_eq!(Allowance::parse(&allowed.where_unknown()), Ok(allowed));
    }
    assert_eq!(Allowance::parse("16MiB"), Ok(Allowance::AtMost(Bytes(16 << 20))));
    assert_eq!(Allowance::AtMost(Bytes(1)).where_unknown(), "1B or unknown");
    assert!(Allowance::parse("much").is_err() && Allowance::parse("or unknown").is_err());
}

#[test]
fn the_mark_of_a_fence_is_read_as_it_was_written() {
    let mark = mark("db1", Some(4711));
    assert_eq!(FenceMark::from_text(&mark.to_text()), Some(mark));
    assert_eq!(FenceMark::from_text(""), None);
}
