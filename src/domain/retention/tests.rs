//! Retention by example, and its properties over random histories.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn facts(id: &str, taken_at: &str) -> SnapshotFacts {
    SnapshotFacts {
        id: id.into(),
        repository: "near".into(),
        taken_at: at(taken_at),
        tags: Vec::new(),
        partial: false,
        refuted: false,
        level: EvidenceLevel::Written,
        pinned: false,
    }
}

fn kept(policy: &RetentionPolicy, snapshots: &[SnapshotFacts]) -> Vec<String> {
    let decisions = plan(policy, snapshots, &BTreeSet::new());
    let kept = decisions.into_iter().filter(|decision| decision.keep);
    kept.map(|decision| decision.snapshot.0).collect()
}

/// One snapshot every six hours, over that many days of March 2026, newest last.
fn every_six_hours(days: u32) -> Vec<SnapshotFacts> {
    let one = |n: u32| {
        facts(
            &format!("{n:03}"),
            &format!("2026-03-{:02}T{:02}:30:00Z", 1 + n / 4, n % 4 * 6),
        )
    };
    (0..days * 4).map(one).collect()
}

#[test]
fn the_newest_of_each_period_stays() {
    let policy = RetentionPolicy {
        keep_last: 2,
        keep_daily: 3,
        ..RetentionPolicy::default()
    };
    assert_eq!(kept(&policy, &every_six_hours(10)), ["039", "038", "035", "031"]);
}

#[test]
fn the_oldest_stays_while_there_are_fewer_periods_than_asked_for() {
    let policy = RetentionPolicy {
        keep_weekly: 8,
        ..RetentionPolicy::default()
    };
    // 2026-03-01 is a Sunday, so ten days lie in three weeks.
    let decisions = plan(&policy, &every_six_hours(10), &BTreeSet::new());
    let kept: Vec<(&str, String)> = decisions
        .iter()
        .filter(|decision| decision.keep)
        .map(|decision| (decision.snapshot.as_str(), decision.why()))
        .collect();
    assert_eq!(
        kept,
        [
            ("039", "last good, last verified, weekly 1/8".to_owned()),
            ("031", "weekly 2/8".to_owned()),
            ("003", "weekly 3/8".to_owned()),
            ("000", "oldest, weekly not full".to_owned()),
        ]
    );
}

#[test]
fn the_calendar_is_that_of_the_zone() {
    let snapshots = [
        facts("b", "2026-03-02T07:30:00Z"),
        facts("a", "2026-03-02T08:30:00Z"),
        facts("c", "2026-03-01T09:00:00Z"),
    ];
    let policy = |zone: &str| RetentionPolicy {
        keep_daily: 2,
        zone: zone.to_owned(),
        ..RetentionPolicy::default()
    };
    assert_eq!(kept(&policy("UTC"), &snapshots), ["a", "c"]);
    // In Los Angeles 07:30 UTC is still the evening before, and later that day than 09:00.
    assert_eq!(kept(&policy("America/Los_Angeles"), &snapshots), ["a", "b"]);
}

#[test]
fn within_reaches_back_from_the_newest_and_asks_no_clock() {
    let policy = RetentionPolicy {
        keep_within: Some(Millis::from_secs(12 * 3600)),
        ..RetentionPolicy::default()
    };
    assert_eq!(kept(&policy, &every_six_hours(3)), ["011", "010"]);
}

#[test]
fn an_incomplete_snapshot_stands_for_nothing_that_has_a_better_one() {
    let mut snapshots = every_six_hours(3);
    snapshots[7].partial = true;
    snapshots[11].refuted = true;
    let policy = RetentionPolicy {
        keep_last: 1,
        keep_daily: 3,
        ..RetentionPolicy::default()
    };
    let decisions = plan(&policy, &snapshots, &BTreeSet::new());
    let why = |id: &str| decisions.iter().find(|one| one.snapshot.as_str() == id).unwrap().why();
    assert_eq!(why("011"), "newer than the last good");
    assert_eq!(why("010"), "last good, last verified, last 1/1, daily 1/3");
    assert_eq!(why("007"), "no rule keeps it");
    assert_eq!(why("006"), "daily 2/3");
}

#[test]
fn no_rule_keeps_everything_and_one_repository_does_not_stand_in_for_another() {
    let mut snapshots = every_six_hours(2);
    assert_eq!(kept(&RetentionPolicy::default(), &snapshots).len(), 8);
    snapshots[0].repository = "far".into();
    let policy = RetentionPolicy {
        keep_last: 1,
        ..RetentionPolicy::default()
    };
    assert_eq!(kept(&policy, &snapshots), ["007", "000"]);
}

#[test]
fn until_is_when_enough_newer_periods_have_come() {
    let policy = RetentionPolicy {
        keep_daily: 3,
        ..RetentionPolicy::default()
    };
    let decisions = plan(&policy, &every_six_hours(5), &BTreeSet::new());
    let until = |id: &str| decisions.iter().find(|one| one.snapshot.as_str() == id).unwrap().until;
    // The newest is also the last good; that ends, but nobody can say when.
    assert_eq!(until("019"), None);
    assert_eq!(until("015"), Some(at("2026-03-07T00:00:00Z")));
    assert_eq!(until("011"), Some(at("2026-03-06T00:00:00Z")));
}

#[test]
fn too_many_at_once_needs_a_word() {
    let policy = RetentionPolicy {
        keep_last: 1,
        ..RetentionPolicy::default()
    };
    let over = |count: usize| too_many(&policy, &plan(&policy, &every_six_hours(5)[..count], &BTreeSet::new()));
    assert_eq!(over(4), None, "three may always go");
    let expected = TooMany {
        forget: 7,
        of: 8,
        allowed: 4,
    };
    assert_eq!(over(8), Some(expected));
    let all = RetentionPolicy {
        max_delete: 100,
        ..policy.clone()
    };
    assert_eq!(too_many(&all, &plan(&all, &every_six_hours(5), &BTreeSet::new())), None);
}

/// Most rules are left out most of the time, so that each decides alone often enough.
fn rule() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(0_u32), 1 => 1..5_u32]
}

fn any_policy() -> impl Strategy<Value = RetentionPolicy> {
    let zone = prop_oneof![
        Just("UTC"),
        Just("Europe/Madrid"),
        Just("Pacific/Auckland"),
        Just("America/St_Johns")
    ];
    let within = prop_oneof![
        Just(None),
        (1_u64..400).prop_map(|hours| Some(Millis::from_secs(hours * 3600)))
    ];
    (
        rule(),
        rule(),
        rule(),
        rule(),
        rule(),
        rule(),
        within,
        any::<bool>(),
        zone,
    )
        .prop_map(
            |(keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly, keep_within, tag, zone)| {
                RetentionPolicy {
                    keep_last,
                    keep_hourly,
                    keep_daily,
                    keep_weekly,
                    keep_monthly,
                    keep_yearly,
                    keep_within,
                    keep_tags: if tag { vec!["keep".to_owned()] } else { Vec::new() },
                    zone: zone.to_owned(),
                    ..RetentionPolicy::default()
                }
            },
        )
}

fn any_history() -> impl Strategy<Value = Vec<SnapshotFacts>> {
    // Minutes since a day before the clocks change in spring: several an hour, and years apart.
    let minute = prop_oneof![0_i64..600, 0_i64..60_000, 0_i64..2_000_000];
    let one = (
        minute,
        0..10_u8,
        0..10_u8,
        0..5_usize,
        0..20_u8,
        0..12_u8,
        any::<bool>(),
    );
    prop::collection::vec(one, 0..60).prop_map(|rows| {
        let make = |(n, (minute, partial, refuted, level, pinned, tagged, far)): (usize, _)| SnapshotFacts {
            id: SnapshotId(format!("{n:04}")),
            repository: if far { "far" } else { "near" }.into(),
            taken_at: at("2026-03-28T00:00:00Z") + TimeDelta::minutes(minute),
            tags: if tagged == 0 {
                vec!["keep".to_owned()]
            } else {
                Vec::new()
            },
            partial: partial < 2,
            refuted: refuted == 0,
            level: EvidenceLevel::ALL[level],
            pinned: pinned == 0,
        };
        rows.into_iter().enumerate().map(make).collect()
    })
}

use chrono::TimeDelta;

proptest! {
    #[test]
    fn the_order_of_the_snapshots_does_not_matter(
        policy in any_policy(),
        (history, shuffled) in any_history().prop_flat_map(|history| (Just(history.clone()), Just(history).prop_shuffle())),
    ) {
        prop_assert_eq!(plan(&policy, &history, &BTreeSet::new()), plan(&policy, &shuffled, &BTreeSet::new()));
    }

    #[test]
    fn applied_twice_it_changes_nothing(policy in any_policy(), history in any_history()) {
        let first = plan(&policy, &history, &BTreeSet::new());
        let keeps = |id: &SnapshotId| first.iter().any(|decision| decision.keep && decision.snapshot == *id);
        let left: Vec<_> = history.into_iter().filter(|facts| keeps(&facts.id)).collect();
        let second = plan(&policy, &left, &BTreeSet::new());
        prop_assert!(second.iter().all(|decision| decision.keep), "{:#?}", second);
    }

    #[test]
    fn what_is_pinned_good_verified_or_in_use_never_goes(
        policy in any_policy(),
        history in any_history(),
        used in prop::collection::btree_set(0..60_usize, 0..3),
    ) {
        let in_use: BTreeSet<SnapshotId> = used.into_iter().map(|n| SnapshotId(format!("{n:04}"))).collect();
        let decisions = plan(&policy, &history, &in_use);
        prop_assert_eq!(decisions.len(), history.len());
        let keeps = |id: &SnapshotId| decisions.iter().any(|decision| decision.keep && decision.snapshot == *id);
        for facts in &history {
            prop_assert!(keeps(&facts.id) || !(facts.pinned || in_use.contains(&facts.id)), "{:?}", facts);
        }
        for place in ["near", "far"] {
            let mut here: Vec<_> = history.iter().filter(|facts| facts.repository.as_str() == place).collect();
            here.sort_by_key(|facts| (facts.taken_at, facts.id.clone()));
            let good: Vec<_> = here.iter().filter(|facts| !facts.partial && !facts.refuted).collect();
            if let Some(last_good) = good.last() {
                prop_assert!(keeps(&last_good.id), "the last good of {}", place);
                let newer = here.iter().filter(|facts| facts.taken_at > last_good.taken_at);
                prop_assert!(newer.into_iter().all(|facts| keeps(&facts.id)), "incomplete, but newer");
                let furthest = good.iter().max_by_key(|facts| facts.level).map(|facts| facts.level);
                let verified = good.iter().rfind(|facts| Some(facts.level) == furthest);
                prop_assert!(verified.is_none_or(|facts| keeps(&facts.id)), "the last verified of {}", place);
            } else {
                prop_assert!(here.iter().all(|facts| keeps(&facts.id)), "nothing good is left but these");
            }
        }
    }

    #[test]
    fn more_rules_never_drop_what_fewer_keep(policy in any_policy(), history in any_history()) {
        // Of each rule by itself, everything it keeps is kept by all rules together.
        let all = plan(&policy, &history, &BTreeSet::new());
        let alone = RetentionPolicy {
            keep_daily: policy.keep_daily.max(1),
            zone: policy.zone.clone(),
            ..RetentionPolicy::default()
        };
        let both = RetentionPolicy { keep_daily: alone.keep_daily, ..policy.clone() };
        for (one, many) in plan(&alone, &history, &BTreeSet::new()).iter().zip(plan(&both, &history, &BTreeSet::new())) {
            prop_assert!(!one.keep || many.keep);
        }
        prop_assert!(policy.is_empty() || all.iter().all(|decision| !decision.reasons.is_empty()));
    }
}
