//! Plans by example, and against a naive model that looks at one segment at a time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::keep::{KeepAll, floor, may_go};
use super::*;
use crate::domain::units::Millis;
use crate::domain::wal::{SystemId, WalName};

const MIB: u64 = 1 << 20;

fn size() -> SegmentSize {
    SegmentSize::try_from(MIB).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

/// A base backup from the middle of a segment to the middle of the next one.
fn base(id: &str, timeline: u32, segment: u64) -> Base {
    Base {
        id: id.into(),
        facts: ClusterFacts {
            system: SystemId(7),
            timeline: TimelineId(timeline),
            start_lsn: Lsn(segment * MIB + 40),
            stop_lsn: Lsn((segment + 1) * MIB + 256),
            stopped_at: at(i64::try_from(segment).unwrap()),
            major: 15,
            damaged_pages: 0,
        },
        size: Bytes(1000),
    }
}

fn log(segments: &[(u32, &[u64])], switches: &[(u32, u64)]) -> Log {
    let mut ancestors = Vec::new();
    let mut histories = BTreeMap::new();
    for (parent, at) in switches {
        ancestors.push(crate::domain::wal::Switch {
            timeline: TimelineId(*parent),
            at: Lsn(*at),
            reason: String::new(),
        });
        let timeline = TimelineId(parent + 1);
        let ancestors = ancestors.clone();
        histories.insert(timeline, History { timeline, ancestors });
    }
    let names = segments.iter().flat_map(|(timeline, numbers)| {
        let name = |number: &u64| WalName::Segment(SegmentName::numbered(TimelineId(*timeline), *number, size()));
        numbers.iter().map(name)
    });
    let list: Vec<History> = histories.values().cloned().collect();
    Log {
        size: size(),
        continuity: Continuity::of(names, &list, size()),
        histories,
        growing: BTreeMap::new(),
    }
}

fn wish(target: Target) -> Wish {
    Wish {
        target,
        inclusive: true,
        timeline: TimelineChoice::Latest,
        base: None,
    }
}

fn segment(timeline: u32, number: u64) -> SegmentName {
    SegmentName::numbered(TimelineId(timeline), number, size())
}

#[test]
fn the_newest_base_in_front_of_the_target_is_chosen_and_the_segments_are_named() {
    let bases = [base("a", 1, 2), base("b", 1, 6)];
    let log = log(&[(1, &[2, 3, 4, 5, 6, 7, 8, 9])], &[]);
    let latest = plan(&bases, &log, &wish(Target::Latest), Place::Unknown).unwrap();
    assert_eq!((latest.base.as_str(), latest.to), ("b", Lsn(10 * MIB)));
    assert_eq!((latest.first, latest.last), (segment(1, 6), segment(1, 9)));
    let early = wish(Target::Lsn(Lsn(5 * MIB + 8)));
    let early = plan(&bases, &log, &early, Place::Unknown).unwrap();
    assert_eq!((early.base.as_str(), early.last), ("a", segment(1, 5)));
    assert_eq!(early.replay, Bytes(3 * MIB - 32));
    let immediate = plan(&bases, &log, &wish(Target::Immediate), Place::Unknown).unwrap();
    assert_eq!((immediate.base.as_str(), immediate.to), ("b", Lsn(7 * MIB + 256)));
    let mut chosen = wish(Target::Latest);
    chosen.base = Some("a".into());
    assert_eq!(plan(&bases, &log, &chosen, Place::Unknown).unwrap().base.as_str(), "a");
    chosen.base = Some("x".into());
    assert!(matches!(
        plan(&bases, &log, &chosen, Place::Unknown),
        Err(Refusal::NoSuchBase { .. })
    ));
}

#[test]
fn a_time_is_looked_for_behind_the_newest_base_before_it() {
    let bases = [base("a", 1, 2), base("b", 1, 6)];
    let log = log(&[(1, &[2, 3, 4, 5, 6, 7, 8, 9])], &[]);
    let wanted = wish(Target::Time(at(4)));
    let stretch = search(&bases, &log, &wanted).unwrap();
    assert_eq!((stretch[0].from, stretch[0].to), (Lsn(3 * MIB + 256), Lsn(10 * MIB)));
    let place = Place::At { lsn: Lsn(5 * MIB) };
    let found = plan(&bases, &log, &wanted, place).unwrap();
    assert_eq!((found.base.as_str(), found.to, found.exact), ("a", Lsn(5 * MIB), true));
    // The clock of the server went back: the base in front of the place ended after the instant.
    let place = Place::At { lsn: Lsn(9 * MIB) };
    assert_eq!(plan(&bases, &log, &wanted, place).unwrap().base.as_str(), "a");
    let early = wish(Target::Time(at(1)));
    let refused = search(&bases, &log, &early).unwrap_err();
    assert!(
        matches!(refused, Refusal::BeforeFirst { first_at, .. } if first_at == at(2)),
        "{refused}"
    );
    let late = plan(
        &bases,
        &log,
        &wish(Target::Time(at(99))),
        Place::Behind { last: Some(at(50)) },
    );
    let refused = late.unwrap_err();
    assert!(matches!(refused, Refusal::AfterLast { last_at, .. } if last_at == Some(at(50))));
    assert!(
        refused
            .to_string()
            .contains("is after the last restorable instant, 2023-11-14"),
        "{refused}"
    );
    assert!(plan(&[], &log, &wanted, place).is_err_and(|refused| refused == Refusal::NoBase));
}

#[test]
fn a_gap_is_named_with_what_it_makes_unreachable() {
    let bases = [base("a", 1, 2), base("b", 1, 6)];
    let log = log(&[(1, &[2, 3, 4, 7, 8])], &[]);
    let all = intervals(&bases, &log);
    assert_eq!(all.len(), 2);
    assert_eq!(
        (all[0].to, all[1].from, all[1].to),
        (Lsn(5 * MIB), Lsn(7 * MIB + 256), Lsn(9 * MIB))
    );
    let missing = Missing {
        first: segment(1, 5),
        resumes: Some(segment(1, 7)),
    };
    assert_eq!((all[0].gap, all[1].gap), (Some(missing), None));
    assert_eq!(interval::holes(&all).len(), 1);
    for target in [Lsn(5 * MIB), Lsn(6 * MIB), Lsn(7 * MIB)] {
        let refused = plan(&bases, &log, &wish(Target::Lsn(target)), Place::Unknown).unwrap_err();
        assert!(
            matches!(refused, Refusal::Gap { missing: found, .. } if found == missing),
            "{refused}"
        );
        let text = refused.to_string();
        assert!(text.contains("segment 000000010000000000000005 is missing"), "{text}");
        assert!(
            text.contains("again from 2023-11-14 22:13:26 UTC, position 0/700100"),
            "{text}"
        );
    }
    // Latest is behind the gap, from the base behind it.
    assert_eq!(
        plan(&bases, &log, &wish(Target::Latest), Place::Unknown)
            .unwrap()
            .base
            .as_str(),
        "b"
    );
    let time = plan(
        &bases,
        &log,
        &wish(Target::Time(at(5))),
        Place::Behind { last: Some(at(4)) },
    );
    assert!(matches!(time, Err(Refusal::Gap { .. })));
}

#[test]
fn a_segment_that_is_still_growing_counts_as_far_as_it_goes() {
    let mut log = log(&[(1, &[2, 3, 4])], &[]);
    log.growing.insert(segment(1, 5), 4096);
    let bases = [base("a", 1, 2)];
    let found = plan(&bases, &log, &wish(Target::Latest), Place::Unknown).unwrap();
    assert_eq!((found.to, found.last), (Lsn(5 * MIB + 4096), segment(1, 5)));
    // One that is far behind a gap does not.
    log.growing.insert(segment(1, 9), 4096);
    log.growing.remove(&segment(1, 5));
    let reach = log
        .reach(&bases[0], &log.way_from(&bases, TimelineId(1)).unwrap())
        .unwrap();
    assert_eq!(
        (reach.to, reach.gap.unwrap().resumes),
        (Lsn(5 * MIB), Some(segment(1, 9)))
    );
}

#[test]
fn the_way_goes_over_timelines_and_a_base_behind_the_branch_is_not_on_it() {
    // Timeline 2 left 1 in the middle of segment 5; 1 went on, and a base was taken there.
    let segments: &[(u32, &[u64])] = &[(1, &[2, 3, 4, 5, 6, 7, 8]), (2, &[5, 6, 7])];
    let log = log(segments, &[(1, 5 * MIB + 512)]);
    let bases = [base("a", 1, 2), base("late", 1, 5)];
    let newest = plan(&bases, &log, &wish(Target::Latest), Place::Unknown).unwrap();
    assert_eq!(
        (newest.base.as_str(), newest.timeline, newest.to),
        ("a", TimelineId(2), Lsn(8 * MIB))
    );
    assert_eq!(newest.way.len(), 2);
    assert_eq!((newest.first, newest.last), (segment(1, 2), segment(2, 7)));
    let mut old = wish(Target::Latest);
    old.timeline = TimelineChoice::Number(TimelineId(1));
    let old = plan(&bases, &log, &old, Place::Unknown).unwrap();
    assert_eq!((old.base.as_str(), old.to), ("late", Lsn(9 * MIB)));
    let mut unknown = wish(Target::Latest);
    unknown.timeline = TimelineChoice::Number(TimelineId(9));
    assert!(matches!(
        plan(&bases, &log, &unknown, Place::Unknown),
        Err(Refusal::NoSuchTimeline { .. })
    ));
    // The first segment of the new timeline has not come yet: as far as the branch.
    let fresh = self::log(&[(1, &[2, 3, 4, 5])], &[(1, 5 * MIB + 512)]);
    let found = plan(&bases[..1], &fresh, &wish(Target::Latest), Place::Unknown).unwrap();
    assert_eq!((found.timeline, found.to), (TimelineId(2), Lsn(5 * MIB + 512)));
}

#[test]
fn a_base_alone_can_be_restored_to_its_end_and_no_further() {
    let bases = [base("a", 1, 2)];
    let log = Log {
        size: size(),
        ..Log::default()
    };
    let found = plan(&bases, &log, &wish(Target::Latest), Place::Unknown).unwrap();
    assert_eq!((found.to, found.replay), (Lsn(3 * MIB + 256), Bytes(MIB + 216)));
    assert!(plan(&bases, &log, &wish(Target::Lsn(Lsn(4 * MIB))), Place::Unknown).is_err());
}

#[test]
fn a_base_on_a_timeline_without_a_history_can_be_recovered_and_one_in_front_of_it_cannot() {
    // The archive began when the cluster was on timeline 3 already: where that came from is not in it.
    let log = log(&[(3, &[5, 6, 7, 8])], &[]);
    let own = [base("c", 3, 5)];
    let all = intervals(&own, &log);
    assert_eq!(
        (all.len(), all[0].timeline, all[0].to),
        (1, TimelineId(3), Lsn(9 * MIB))
    );
    for choice in [
        TimelineChoice::Latest,
        TimelineChoice::Current,
        TimelineChoice::Number(TimelineId(3)),
    ] {
        let mut wanted = wish(Target::Latest);
        wanted.timeline = choice;
        let found = plan(&own, &log, &wanted, Place::Unknown).unwrap();
        assert_eq!((found.base.as_str(), found.to), ("c", Lsn(9 * MIB)));
        assert_eq!((found.first, found.last), (segment(3, 5), segment(3, 8)));
        let current = ("recovery_target_timeline", "current".to_owned());
        assert!(
            found.settings().contains(&current),
            "by its number PostgreSQL would want the history"
        );
    }
    // From another timeline nothing leads there, and the file that is missing is named.
    let mut wanted = wish(Target::Latest);
    wanted.timeline = TimelineChoice::Number(TimelineId(3));
    let refused = plan(&[base("a", 1, 2)], &log, &wanted, Place::Unknown).unwrap_err();
    assert!(matches!(refused, Refusal::NoHistory { .. }), "{refused}");
}

#[test]
fn settings_name_one_target_and_clear_the_others() {
    let bases = [base("a", 1, 2)];
    let log = log(&[(1, &[2, 3, 4])], &[]);
    let place = Place::At { lsn: Lsn(4 * MIB) };
    let found = plan(&bases, &log, &wish(Target::Time(at(3))), place)
        .unwrap()
        .settings();
    let set: Vec<_> = found.iter().filter(|(_, value)| !value.is_empty()).cloned().collect();
    let time = ("recovery_target_time", "2023-11-14 22:13:23.000000+00".to_owned());
    assert_eq!(set[0], time);
    assert_eq!(set[1], ("recovery_target_timeline", "1".to_owned()));
    assert_eq!(set.len(), 3);
    let cleared = found
        .iter()
        .position(|(name, value)| *name == "recovery_target_time" && value.is_empty());
    assert!(
        cleared < found.iter().position(|one| *one == time),
        "cleared before it is set"
    );
}

#[test]
fn nothing_goes_that_a_base_needs() {
    let bases = [base("a", 1, 4), base("b", 2, 9)];
    let found = floor(&bases, &BTreeSet::new(), None, at(100), size()).unwrap();
    assert_eq!((found.number, found.base.id.as_str()), (4, "a"));
    assert_eq!(
        floor(&[], &BTreeSet::new(), None, at(100), size()),
        Err(KeepAll::NoBase)
    );
    // b was 91 seconds old, a 96: a window of 95 needs a, one of 90 does not.
    let of = |seconds| {
        floor(
            &bases,
            &BTreeSet::new(),
            Some(Millis::from_secs(seconds)),
            at(100),
            size(),
        )
        .unwrap()
        .number
    };
    assert_eq!((of(95), of(90), of(1000)), (4, 9, 4));
    // One that a recovered server was laid down from is needed, however old it is.
    let used = BTreeSet::from(["a".into()]);
    let found = floor(&bases, &used, Some(Millis::from_secs(90)), at(100), size()).unwrap();
    assert_eq!((found.number, found.base.id.as_str()), (4, "a"));
    let may = |name: &str| may_go(name.parse().unwrap(), 4, size());
    assert!(may("000000010000000000000003") && may("000000020000000000000003.00000028.backup"));
    assert!(!may("000000010000000000000004") && !may("00000001.history") && !may("000000090000000000000005.partial"));
}

/// The naive model: whether every segment from the end of a base to the one with the last byte before a place is there.
fn whole(present: &BTreeSet<(u32, u64)>, base: &Base, switch: Option<Lsn>, to: Lsn) -> bool {
    (base.facts.stop_lsn.0 / MIB..=(to.0 - 1) / MIB).all(|number| match switch {
        Some(switch) if number >= switch.0 / MIB => present.contains(&(2, number)),
        _ => present.contains(&(1, number)),
    })
}

proptest! {
    #[test]
    fn a_plan_never_goes_over_a_gap_and_a_refusal_is_never_wrong(
        holes in prop::collection::btree_set((1u32..3, 0u64..24), 0..6),
        starts in prop::collection::btree_set(0u64..20, 1..4),
        switch in prop::option::of(MIB..20 * MIB),
        target in 0..24 * MIB,
    ) {
        let there = |timeline: u32, number: u64| !holes.contains(&(timeline, number));
        let ones: Vec<u64> = (0..22).filter(|number| there(1, *number)).collect();
        let begins = switch.map_or(0, |switch| switch / MIB);
        let twos: Vec<u64> = (begins..22).filter(|number| switch.is_some() && there(2, *number)).collect();
        let present: BTreeSet<(u32, u64)> =
            ones.iter().map(|number| (1, *number)).chain(twos.iter().map(|number| (2, *number))).collect();
        let switches: Vec<(u32, u64)> = switch.iter().map(|at| (1, *at)).collect();
        let log = log(&[(1, &ones), (2, &twos)], &switches);
        let bases: Vec<Base> = starts.iter().map(|start| base(&start.to_string(), 1, *start)).collect();
        let switch = switch.map(Lsn);
        for timeline in [1, 2] {
            let mut wanted = wish(Target::Lsn(Lsn(target)));
            wanted.timeline = TimelineChoice::Number(TimelineId(timeline));
            let line = switch.filter(|_| timeline == 2);
            if timeline == 2 && switch.is_none() {
                continue;
            }
            let usable = bases.iter().filter(|base| line.is_none_or(|at| base.facts.stop_lsn <= at));
            // The byte at the target has to be there too: the record that ends recovery begins there or later.
            let fits = |base: &&Base| base.facts.stop_lsn.0 <= target && whole(&present, base, line, Lsn(target + 1));
            let expected = usable.clone().filter(fits).max_by_key(|base| base.facts.stop_lsn);
            match plan(&bases, &log, &wanted, Place::Unknown) {
                Ok(plan) => {
                    let base = bases.iter().find(|base| base.id == plan.base).unwrap();
                    // The segment in which the new line begins may be its parent's as long as its own is not there.
                    let early = line.is_some_and(|at| plan.to <= at);
                    let model = if early { None } else { line };
                    prop_assert!(whole(&present, base, model, plan.to) || whole(&present, base, line, plan.to));
                }
                Err(refused) => prop_assert!(expected.is_none(), "{refused}, and {:?} fits", expected),
            }
            let mut latest = wanted.clone();
            latest.target = Target::Latest;
            if let Ok(plan) = plan(&bases, &log, &latest, Place::Unknown) {
                let base = bases.iter().find(|base| base.id == plan.base).unwrap();
                prop_assert!(plan.to >= base.facts.stop_lsn);
                let more = Lsn((plan.to.0 / MIB + 1) * MIB);
                prop_assert!(!whole(&present, base, line, more), "latest is the end of what is whole");
            }
        }
    }

    #[test]
    fn intervals_are_apart_and_in_order(numbers in prop::collection::btree_set(0u64..40, 0..40), starts in prop::collection::btree_set(0u64..38, 0..6)) {
        let ones: Vec<u64> = numbers.into_iter().collect();
        let bases: Vec<Base> = starts.iter().map(|start| base(&start.to_string(), 1, *start)).collect();
        let found = intervals(&bases, &log(&[(1, &ones)], &[]));
        prop_assert_eq!(found.iter().map(|one| one.bases.len()).sum::<usize>(), bases.len());
        for pair in found.windows(2) {
            prop_assert!(pair[0].to <= pair[1].from && pair[0].gap.is_some_and(|gap| gap.resumes.is_some()) || pair[0].gap.is_none());
            prop_assert!(pair[0].from < pair[1].from);
        }
    }
}
