//! When a primary counts as lost, and when the agent may act on it.

use proptest::prelude::*;

use super::super::health::{Circumstances, Health, Known, Memory, Sight, refusals};
use super::*;

fn policy(cluster: &mut Cluster) -> &mut Failover {
    cluster.failover.automatic = true;
    &mut cluster.failover
}

fn standby(lsn: u64, streams: bool) -> ServerSeen {
    let mut server = server(Role::Standby, lsn);
    server.received = Some(Lsn(lsn));
    server.receiver = server.receiver.filter(|_| streams);
    server
}

fn here(mut seen: Seen, state: LocalState) -> Seen {
    seen.members[0].local = Some(local(state, false));
    seen
}

const RUNS: LocalState = LocalState::Running { pid: 7 };

/// A cluster whose primary `db1` was seen here, at 1000, with `db2` streaming from it.
struct Watched {
    cluster: Cluster,
    record: Record,
    memory: Memory,
    now: i64,
}

impl Watched {
    fn new(members: usize) -> Self {
        let mut cluster = cluster(members);
        policy(&mut cluster);
        let mut watched = Self {
            cluster,
            record: Record::default(),
            memory: Memory::default(),
            now: 100,
        };
        let mut servers = vec![Some(server(Role::Primary, 1000))];
        servers.resize(members, Some(standby(1000, true)));
        assert_eq!(watched.sees(here(seen(servers), RUNS)).health, Health::Healthy);
        watched
    }

    fn sees(&mut self, mut seen: Seen) -> Sight {
        self.now += 5;
        seen.at = at(self.now);
        self.memory.take(&self.cluster, &seen, &self.record)
    }

    fn thrice(&mut self, seen: &Seen) -> Sight {
        for _ in 0..2 {
            let sight = self.sees(seen.clone());
            assert!(matches!(sight.health, Health::Failing(_)) && !sight.down, "{sight:?}");
        }
        self.sees(seen.clone())
    }

    fn against(&self, sight: &Sight) -> Vec<String> {
        let all = refusals(&self.cluster.failover, sight, &Circumstances::default());
        all.into_iter().map(|refusal| refusal.reason).collect()
    }
}

fn is_permanent(sight: &Sight) -> bool {
    matches!(sight.health, Health::Permanent(_))
}

fn dead(lsn: u64) -> Seen {
    here(seen(vec![None, Some(standby(lsn, false))]), LocalState::Stopped)
}

#[test]
fn what_was_seen_before_the_clock_was_set_back_says_nothing_of_the_loss() {
    let mut watched = Watched::new(2);
    watched.now -= 4 * 3600;
    let sight = watched.thrice(&dead(1000));
    assert!(is_permanent(&sight), "{sight:?}");
    assert_eq!(watched.against(&sight), ["loss-unknown"]);
}

#[test]
fn a_primary_is_lost_after_three_failures_that_another_confirms() {
    let mut watched = Watched::new(2);
    let sight = watched.thrice(&dead(1000));
    assert!(is_permanent(&sight) && sight.down, "{sight:?}");
    assert_eq!(sight.successor.as_ref().unwrap().standby, "db2".into());
    assert_eq!(watched.against(&sight), [""; 0]);
    let Health::Permanent(failing) = &sight.health else {
        panic!()
    };
    assert_eq!((failing.failures, failing.since), (3, at(110)));
    // Two answers in a row, and it is up again.
    let back = here(
        seen(vec![Some(server(Role::Primary, 1000)), Some(standby(1000, true))]),
        RUNS,
    );
    assert!(watched.sees(back.clone()).down);
    let sight = watched.sees(back);
    assert!(!sight.down && sight.health == Health::Healthy);
}

#[test]
fn what_is_only_our_path_or_unclear_is_never_acted_on() {
    // The standby still streams: whatever else is seen.
    for state in [LocalState::Stopped, RUNS] {
        let mut watched = Watched::new(2);
        let sight = watched.thrice(&here(seen(vec![None, Some(standby(1000, true))]), state));
        assert!(matches!(sight.health, Health::Unclear(_)) && sight.down, "{sight:?}");
    }
    // It speaks, and lets us not in.
    let mut refusing = dead(1000);
    let Answer::Silent { refuses, .. } = &mut refusing.members[0].answer else {
        panic!()
    };
    *refuses = true;
    assert!(matches!(Watched::new(2).thrice(&refusing).health, Health::Unclear(_)));
    // Nobody else can be asked.
    assert!(matches!(
        Watched::new(2).thrice(&here(seen(vec![None, None]), RUNS)).health,
        Health::Unclear(_)
    ));
    // A standby that may hide its receiver from us says nothing.
    let mut hidden = standby(1000, false);
    hidden.superuser = false;
    let unseen = here(seen(vec![None, Some(hidden)]), RUNS);
    assert!(matches!(Watched::new(2).thrice(&unseen).health, Health::Unclear(_)));
    // One that never streamed has lost nothing.
    let mut watched = Watched::new(2);
    watched.memory.known.as_mut().unwrap().followers.clear();
    let sight = watched.thrice(&here(seen(vec![None, Some(standby(1000, false))]), RUNS));
    assert!(matches!(sight.health, Health::Unclear(_)), "{sight:?}");
    // A stopped directory that the primary was never seen in says nothing of it.
    let mut watched = Watched::new(2);
    watched.memory.known.as_mut().unwrap().here = false;
    let sight = watched.thrice(&dead(1000));
    assert!(is_permanent(&sight), "the standby has lost it");
    assert_eq!(watched.against(&sight), ["fence"]);
    // One that streams from the other standby only knows what that knows.
    let mut watched = Watched::new(3);
    let mut third = standby(1000, true);
    third.receiver.as_mut().unwrap().sender = Some("db2:5432".to_owned());
    let sight = watched.thrice(&here(
        seen(vec![None, Some(standby(1000, false)), Some(third)]),
        LocalState::Stopped,
    ));
    assert!(is_permanent(&sight), "{sight:?}");
    // Nobody knows who was the primary.
    let mut watched = Watched::new(2);
    watched.memory = Memory::default();
    assert!(matches!(watched.thrice(&dead(1000)).health, Health::Unclear(_)));
}

#[test]
fn what_speaks_against_acting_is_all_said() {
    let against = |change: &dyn Fn(&mut Watched), seen: &Seen| {
        let mut watched = Watched::new(2);
        change(&mut watched);
        let sight = watched.thrice(seen);
        assert!(is_permanent(&sight), "{sight:?}");
        watched.against(&sight)
    };
    let nothing = |_: &mut Watched| {};
    assert_eq!(against(&nothing, &dead(900)), ["behind"]);
    let enough = |watched: &mut Watched| policy(&mut watched.cluster).max_loss = Allowance::AtMost(Bytes(100));
    assert_eq!(against(&enough, &dead(900)), [""; 0]);
    let old = |watched: &mut Watched| watched.now += 120;
    assert_eq!(against(&old, &dead(1000)), ["loss-unknown"]);
    let any = |watched: &mut Watched| {
        watched.now += 120;
        policy(&mut watched.cluster).max_loss = Allowance::Any;
    };
    assert_eq!(against(&any, &dead(1000)), [""; 0]);
    let off = |watched: &mut Watched| watched.cluster.failover.automatic = false;
    assert_eq!(against(&off, &dead(1000)), ["off"]);
    let named = |watched: &mut Watched| policy(&mut watched.cluster).standby = Some("db3".into());
    assert_eq!(against(&named, &dead(1000)), ["no-standby"]);
    let ana = |watched: &mut Watched| watched.record = fence_note("db1", true, Means::Setting, None);
    assert_eq!(against(&ana, &dead(1000)), ["at-work"]);
    // It hangs: only its service can end it, and with it the doubt.
    let hangs = here(seen(vec![None, Some(standby(1000, false))]), RUNS);
    assert_eq!(against(&nothing, &hangs), ["fence"]);
    let hook = || Hook {
        command: vec!["/bin/x".to_owned()],
        shell: false,
        timeout: Millis::from_secs(60),
    };
    let service = |watched: &mut Watched| {
        watched.cluster.members[0].service = Some(Service {
            start: hook(),
            stop: hook(),
        });
    };
    assert_eq!(against(&service, &hangs), [""; 0]);
    let armed = |watched: &mut Watched| watched.cluster.fence = Some(hook());
    assert_eq!(against(&armed, &hangs), [""; 0]);
    let mut watched = Watched::new(2);
    let sight = watched.thrice(&dead(1000));
    let around = |busy: Option<&str>, last: Option<i64>| {
        let around = Circumstances {
            busy: busy.map(str::to_owned),
            last: last.map(at),
        };
        let all = refusals(&watched.cluster.failover, &sight, &around);
        all.into_iter().map(|refusal| refusal.reason).collect::<Vec<_>>()
    };
    assert_eq!(around(Some("rb-1"), None), ["busy"]);
    assert_eq!(around(None, Some(watched.now - 599)), ["cooling-off"]);
    assert_eq!(around(None, Some(watched.now - 600)), [""; 0]);
}

#[test]
fn the_standby_with_most_of_the_log_takes_over() {
    let mut watched = Watched::new(3);
    let sight = watched.thrice(&here(
        seen(vec![None, Some(standby(1000, false)), Some(standby(1100, false))]),
        LocalState::Stopped,
    ));
    assert_eq!(sight.successor.unwrap().standby, "db3".into());
    policy(&mut watched.cluster).standby = Some("db2".into());
    let sight = watched.sees(here(
        seen(vec![None, Some(standby(1000, false)), Some(standby(1100, false))]),
        LocalState::Stopped,
    ));
    assert_eq!(sight.successor.unwrap().standby, "db2".into());
}

#[test]
fn an_agent_that_begins_anew_finds_it_again() {
    let mut watched = Watched::new(2);
    watched.thrice(&dead(1000));
    let text = serde_json::to_string(watched.memory.known.as_ref().unwrap()).unwrap();
    let known: Known = serde_json::from_str(&text).unwrap();
    watched.memory = Memory::new(Some(known));
    let sight = watched.thrice(&dead(1000));
    assert!(is_permanent(&sight) && watched.against(&sight).is_empty(), "{sight:?}");
    // Another was promoted meanwhile: what was known is over.
    let mut watched = Watched::new(2);
    let mut newer = standby(1000, false);
    newer.timeline = TimelineId(2);
    let sight = watched.thrice(&here(seen(vec![None, Some(newer)]), LocalState::Stopped));
    assert!(matches!(sight.health, Health::Unclear(_)), "{sight:?}");
}

#[test]
fn a_standby_that_was_quiet_for_a_moment_still_counts() {
    let mut watched = Watched::new(2);
    let primary = || Some(server(Role::Primary, 1000));
    watched.sees(here(seen(vec![primary(), None]), RUNS));
    let sight = watched.thrice(&dead(1000));
    assert_eq!(watched.against(&sight), [""; 0], "{sight:?}");
    // It answered a little later than the primary in the same look, which it had lost by then.
    let torn = || here(seen(vec![primary(), Some(standby(1000, false))]), RUNS);
    let mut watched = Watched::new(2);
    watched.sees(torn());
    let sight = watched.thrice(&dead(1000));
    assert_eq!(watched.against(&sight), [""; 0], "{sight:?}");
    // One that has not streamed for a while does not count.
    let mut watched = Watched::new(2);
    watched.now += 60;
    watched.sees(torn());
    let sight = watched.thrice(&dead(1000));
    assert_eq!(watched.against(&sight), ["no-standby"], "{sight:?}");
}

#[test]
fn others_are_watched_too() {
    let mut watched = Watched::new(2);
    let mut late = standby(900, true);
    late.replayed_age = Some(Millis::from_secs(61));
    let slow = here(seen(vec![Some(server(Role::Primary, 1000)), Some(late)]), RUNS);
    watched.sees(slow.clone());
    let other = watched.sees(slow).others.remove(0);
    assert_eq!((other.late, other.silent), (2, 0));
    let alone = here(seen(vec![Some(server(Role::Primary, 1000)), None]), RUNS);
    watched.sees(alone.clone());
    let other = watched.sees(alone).others.remove(0);
    assert_eq!(
        (other.late, other.silent, other.why.as_deref()),
        (0, 2, Some("refused"))
    );
}

/// What may be seen of a pair at one moment.
fn any_look() -> impl Strategy<Value = Seen> {
    let primary = prop_oneof![
        Just(Some(server(Role::Primary, 1000))),
        Just(None),
        Just(Some(fenced_server(1000))),
    ];
    let other = (900_u64..1100, any::<bool>(), any::<bool>());
    let state = prop_oneof![Just(RUNS), Just(LocalState::Stopped), Just(LocalState::Empty)];
    (primary, other, state).prop_map(|(primary, (lsn, answers, streams), state)| {
        here(seen(vec![primary, answers.then(|| standby(lsn, streams))]), state)
    })
}

proptest! {
    #[test]
    fn nothing_is_begun_without_three_failures_and_a_witness(looks in prop::collection::vec(any_look(), 1..30)) {
        let mut watched = Watched::new(2);
        let mut in_a_row = 0;
        for look in looks {
            let silent = look.members[0].answer.server().is_none();
            in_a_row = if silent { in_a_row + 1 } else { 0 };
            let sight = watched.sees(look.clone());
            if !watched.against(&sight).is_empty() {
                continue;
            }
            // It may begin: then all of this held at that moment.
            prop_assert!(in_a_row >= 3);
            let standby = look.members[1].answer.server();
            prop_assert!(standby.is_some_and(|one| one.receiver.is_none() && one.reach() >= Lsn(1000)));
            prop_assert_eq!(&look.members[0].local.as_ref().unwrap().state, &LocalState::Stopped);
        }
    }

    #[test]
    fn one_answer_begins_the_count_anew(before in 1_usize..3, after in 0_usize..3) {
        let mut watched = Watched::new(2);
        for _ in 0..before {
            prop_assert!(!is_permanent(&watched.sees(dead(1000))));
        }
        watched.sees(here(seen(vec![Some(server(Role::Primary, 1000)), Some(standby(1000, true))]), RUNS));
        for _ in 0..after.min(2) {
            prop_assert!(!is_permanent(&watched.sees(dead(1000))));
        }
    }
}
