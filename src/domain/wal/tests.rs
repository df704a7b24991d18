//! The vocabulary of the log by example, and its properties over all sizes of segments.

use proptest::prelude::*;

use super::*;

const SIZES: [u64; 5] = [1 << 20, 4 << 20, 16 << 20, 64 << 20, 1 << 30];

fn sizes() -> impl Strategy<Value = SegmentSize> {
    (20u32..=30).prop_map(|power| SegmentSize::try_from(1 << power).unwrap())
}

fn segment(text: &str) -> SegmentName {
    text.parse().unwrap()
}

#[test]
fn names_are_those_of_postgresql() {
    let lsn: Lsn = "16/B374D848".parse().unwrap();
    let name = SegmentName::holding(lsn, TimelineId(1), SegmentSize::default());
    assert_eq!(name.to_string(), "0000000100000016000000B3");
    assert_eq!(name.start(SegmentSize::default()).unwrap().to_string(), "16/B3000000");
    let big = SegmentSize::try_from(1 << 30).unwrap();
    assert_eq!(
        SegmentName::holding(lsn, TimelineId(10), big).to_string(),
        "0000000A0000001600000002"
    );
    // The last of a log of 4 GiB is followed by the first of the next, whatever the size.
    let size = SegmentSize::default();
    assert_eq!(
        segment("0000000100000000000000FF").next(size),
        Some(segment("000000010000000100000000"))
    );
    assert_eq!(
        segment("000000010000000000000003").next(big),
        Some(segment("000000010000000100000000"))
    );
    assert_eq!(segment("000000010000000000000000").previous(size), None);
    assert_eq!(
        segment("000000010000000000000004").start(big),
        None,
        "there are four in a log"
    );
}

#[test]
fn what_is_no_name_is_refused() {
    for bad in [
        "",
        "0000000100000000000000a3",
        "0000000100000000000000A",
        "0000000100000000000000A33",
        "0000000000000000000000A3",
        "00000002.History",
        "2.history",
        "00000000.history",
        "0000000100000000000000A3.0028.backup",
        "0000000100000000000000A3.backup",
        "0000000100000000000000A3.partial.partial",
        "../../../etc/passwd",
        "RECOVERYXLOG",
        "00000001000000000000é0A3",
    ] {
        assert!(bad.parse::<WalName>().is_err(), "{bad}");
    }
    for bad in ["", "1", "/", "1/", "/1", "123456789/0", "0/123456789", "-1/0", "0/+1"] {
        assert!(bad.parse::<Lsn>().is_err(), "{bad}");
    }
    for bad in [0, 1, 3 << 20, 1 << 19, 1 << 31] {
        assert!(SegmentSize::try_from(bad).is_err(), "{bad}");
    }
    for bad in ["", "0", "07", "+7", "18446744073709551616", "x"] {
        assert!(bad.parse::<SystemId>().is_err(), "{bad}");
    }
}

#[test]
fn histories_are_read_as_postgresql_reads_them() {
    let text =
        "1\t0/30000A0\tno recovery target specified\n\n# a remark\n2\t0/5000000\tbefore 2026-03-01 10:00:00+00\n";
    let history = History::parse(TimelineId(3), text).unwrap();
    assert_eq!(history.ancestors.len(), 2);
    assert_eq!(history.parent().unwrap().at.to_string(), "0/5000000");
    assert_eq!(history.parent().unwrap().reason, "before 2026-03-01 10:00:00+00");
    for bad in ["x", "1", "1 0/", "2\t0/1\tx\n1\t0/2\tx", "1\t0/2\n2\t0/1", "3\t0/1\tx"] {
        assert!(History::parse(TimelineId(3), bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_gap_is_named_and_a_tree_is_seen() {
    let size = SegmentSize::default();
    let history = History::parse(TimelineId(2), "1\t0/5000060\tno recovery target specified\n").unwrap();
    let names = [
        "000000010000000000000001",
        "000000010000000000000002",
        "000000010000000000000005",
        "000000010000000000000006",
        "00000002.history",
        "000000020000000000000006",
        "000000020000000000000006.partial",
        "000000020000000000000006.00000028.backup",
        "000000030000000000000009",
    ];
    let found = Continuity::of(names.map(|name| name.parse().unwrap()), &[history], size);
    let first = found.timeline(TimelineId(1)).unwrap();
    assert_eq!(first.ranges.len(), 2);
    assert_eq!(first.gaps[0].first, segment("000000010000000000000003"));
    assert_eq!(
        (first.gaps[0].last, first.gaps[0].count),
        (segment("000000010000000000000004"), 2)
    );
    // 5 is shared: the child left in the middle of it. 6 is the parent's alone.
    assert_eq!(first.beyond.len(), 1);
    assert_eq!(first.beyond[0].first, segment("000000010000000000000006"));
    let second = found.timeline(TimelineId(2)).unwrap();
    assert_eq!(second.branch.unwrap().parent, TimelineId(1));
    assert_eq!(
        second.gaps[0].first,
        segment("000000020000000000000005"),
        "it begins in 5"
    );
    assert_eq!(second.count(), 1);
    assert_eq!(found.without_history, [TimelineId(3)]);
}

#[test]
fn a_switch_at_the_edge_of_a_segment_shares_nothing_of_it() {
    let history = History::parse(TimelineId(2), "1\t0/5000000\tx\n").unwrap();
    let names = ["000000010000000000000004", "000000010000000000000005"].map(|name| name.parse().unwrap());
    let found = Continuity::of(names, &[history], SegmentSize::default());
    assert_eq!(found.timelines[0].beyond[0].first, segment("000000010000000000000005"));
}

proptest! {
    #[test]
    fn names_and_positions_go_back_and_forth(lsn in any::<u64>(), timeline in 1u32.., size in sizes()) {
        let lsn = Lsn(lsn);
        prop_assert_eq!(lsn.to_string().parse::<Lsn>().unwrap(), lsn);
        let name = SegmentName::holding(lsn, TimelineId(timeline), size);
        prop_assert_eq!(name.to_string().parse::<SegmentName>().unwrap(), name);
        let start = name.start(size).unwrap();
        prop_assert!(start <= lsn && lsn.since(start) < size.bytes());
        for name in [WalName::Segment(name), WalName::Partial(name), WalName::Backup(name, 40), WalName::History(name.timeline)] {
            prop_assert_eq!(name.to_string().parse::<WalName>().unwrap(), name);
        }
        if let Some(next) = name.next(size) {
            prop_assert_eq!(next.previous(size), Some(name));
            prop_assert_eq!(next.start(size).unwrap().since(start), size.bytes());
            prop_assert!(next > name && next.to_string() > name.to_string());
        } else {
            prop_assert!(start.0.checked_add(size.bytes()).is_none());
        }
    }

    #[test]
    fn ranges_and_gaps_cover_everything_once(numbers in prop::collection::btree_set(0u64..5000, 1..60), size in 0..SIZES.len()) {
        let size = SegmentSize::try_from(SIZES[size]).unwrap();
        let names = numbers.iter().map(|number| WalName::Segment(SegmentName::numbered(TimelineId(1), *number, size)));
        let found = Continuity::of(names, &[], size);
        let line = &found.timelines[0];
        prop_assert_eq!(line.count(), numbers.len() as u64);
        let missing: u64 = line.gaps.iter().map(|gap| gap.count).sum();
        let span = numbers.last().unwrap() - numbers.first().unwrap() + 1;
        prop_assert_eq!(missing + line.count(), span);
        for gap in &line.gaps {
            let (from, to) = (gap.first.number(size).unwrap(), gap.last.number(size).unwrap());
            prop_assert!(from <= to && numbers.range(from..=to).next().is_none());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,60}") {
        let _ = text.parse::<WalName>();
        let _ = text.parse::<Lsn>();
        let _ = text.parse::<SystemId>();
        let _ = History::parse(TimelineId(7), &text);
    }
}
