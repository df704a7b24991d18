//! What is suspect and what is not.

use chrono::DateTime;
use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

/// A snapshot of 1000 MiB and 100 files, of which `new` MiB are new and take `packed` of them; so many files changed.
fn sample(number: usize, new: u64, packed: u64, changed: u64) -> Sample {
    Sample {
        id: SnapshotId(format!("{number:064}")),
        at: DateTime::from_timestamp(1_768_000_000 + i64::try_from(number).unwrap() * 3600, 0).unwrap(),
        size: Bytes(1000 * MIB),
        files: 100,
        packed: Bytes(packed * MIB),
        changes: Changes {
            new: Bytes(new * MIB),
            files_changed: changed,
            ..Changes::default()
        },
    }
}

/// A first snapshot and `days` after it in which little changes; what is new compresses to `ratio` percent.
fn quiet(days: usize, ratio: u64) -> Vec<Sample> {
    let first = sample(0, 1000, 10 * ratio, 0);
    let days = (1..=days).map(|day| sample(day, 20, 20 * ratio / 100, 2));
    std::iter::once(first).chain(days).collect()
}

fn suspects(line: &[Sample]) -> Vec<usize> {
    let signs = judge(line);
    (0..line.len()).filter(|place| signs[*place].encryption).collect()
}

fn with(mut line: Vec<Sample>, more: &[Sample]) -> Vec<Sample> {
    line.extend_from_slice(more);
    line
}

#[test]
fn much_that_is_new_and_noise_is_suspect_where_the_data_was_none() {
    assert_eq!(suspects(&quiet(9, 40)), [0; 0]);
    assert_eq!(suspects(&with(quiet(9, 40), &[sample(10, 900, 900, 90)])), [10]);
    // The second snapshot of all may be it already.
    assert_eq!(suspects(&with(quiet(0, 40), &[sample(1, 900, 900, 90)])), [1]);
    let plenty = sample(10, 900, 360, 90);
    assert_eq!(
        suspects(&with(quiet(9, 40), &[plenty])),
        [0; 0],
        "much, but like before"
    );
    let little = sample(10, 200, 200, 90);
    assert_eq!(suspects(&with(quiet(9, 40), &[little])), [0; 0], "noise, but little");
}

#[test]
fn of_data_that_always_was_noise_a_burst_of_changed_or_renamed_files_is_suspect() {
    let pictures = || quiet(9, 100);
    assert_eq!(suspects(&pictures()), [0; 0]);
    assert_eq!(suspects(&with(pictures(), &[sample(10, 900, 900, 90)])), [10]);
    assert_eq!(
        suspects(&with(pictures(), &[sample(10, 400, 400, 5)])),
        [0; 0],
        "many new pictures"
    );
    let mut renamed = sample(10, 900, 900, 0);
    (renamed.changes.files_new, renamed.changes.files_removed) = (90, 90);
    assert_eq!(suspects(&with(pictures(), &[renamed])), [10]);
}

#[test]
fn a_dump_whose_rows_are_encrypted_is_text_of_noise() {
    // A dump is another every day: all of it is new in any case.
    let dumps: Vec<Sample> = (0..6).map(|day| sample(day, 950, 130, 0)).collect();
    assert_eq!(suspects(&dumps), [0; 0]);
    assert_eq!(
        suspects(&with(dumps.clone(), &[sample(6, 950, 530, 0)])),
        [6],
        "hexadecimal"
    );
    assert_eq!(
        suspects(&with(dumps, &[sample(6, 950, 220, 0)])),
        [0; 0],
        "somewhat worse"
    );
}

#[test]
fn what_follows_is_held_against_what_was_before_and_the_alarm_stays_until_the_data_comes_back() {
    let attack = [
        sample(10, 300, 300, 30),
        sample(11, 320, 320, 31),
        sample(12, 20, 20, 2),
    ];
    let line = with(quiet(9, 40), &attack);
    assert_eq!(suspects(&line), [10, 11], "the first does not make the second usual");
    let since = |line: &[Sample]| {
        let line: VecDeque<Sample> = line.iter().cloned().collect();
        encrypted_since(&line).map(|sample| sample.id.clone())
    };
    assert_eq!(since(&quiet(9, 40)), None);
    assert_eq!(since(&line), Some(line[10].id.clone()), "a quiet day is no end");
    let back = with(line, &[sample(13, 5, 2, 61)]);
    assert_eq!(since(&back), None);
    let again = with(back, &[sample(14, 900, 900, 90)]);
    assert_eq!(since(&again), Some(again[14].id.clone()));
}

#[test]
fn a_size_is_odd_at_half_and_double_and_has_to_come_closer_to_be_usual() {
    let sized = |number: usize, mib: u64| Sample {
        size: Bytes(mib * MIB),
        ..sample(number, 1, 1, 0)
    };
    let odd = |sizes: &[u64]| {
        let line: Vec<Sample> = sizes
            .iter()
            .enumerate()
            .map(|(number, mib)| sized(number, *mib))
            .collect();
        judge(&line)
            .iter()
            .map(|signs| signs.usual_size.is_some())
            .collect::<Vec<bool>>()
    };
    assert!(!odd(&[100, 100, 100, 900])[3], "too few to say");
    assert_eq!(
        odd(&[100, 101, 99, 100, 190, 210, 180, 140])[4..],
        [false, true, true, false]
    );
    assert_eq!(odd(&[100, 101, 99, 100, 40, 60, 70])[4..], [true, true, false]);
    // What stays becomes usual.
    assert_eq!(
        odd(&[100, 100, 100, 100, 300, 300, 300, 300, 300, 300]).last(),
        Some(&false)
    );
}

#[test]
fn the_figures_say_where_to_look_and_looking_counts_more() {
    let line = with(quiet(9, 40), &[sample(10, 900, 900, 90), sample(11, 20, 20, 2)]);
    let id = |place: usize| line[place].id.clone();
    let said = |told: &[(usize, Found)]| told.iter().map(|(place, found)| (id(*place), *found)).collect();
    let all = |_: &SnapshotId| true;
    let start = search(&line, all, &said(&[]));
    assert_eq!(
        (start.clean, start.looked_at, start.bad),
        (Some(id(9)), false, Some(id(10)))
    );
    assert_eq!(start.next, Some(id(9)));
    let done = search(&line, all, &said(&[(9, Found::Clean)]));
    assert_eq!((done.clean, done.looked_at, done.next), (Some(id(9)), true, None));
    assert_eq!(done.bad, Some(id(10)));
    // It began before the figures show it.
    let earlier = search(&line, all, &said(&[(9, Found::Bad)]));
    assert_eq!((earlier.bad, earlier.next), (Some(id(9)), Some(id(4))));
    // What has expired cannot be looked at, and still says when it began.
    let gone = search(&line, |other| *other != id(9) && *other != id(8), &said(&[]));
    assert_eq!((gone.clean, gone.bad), (Some(id(7)), Some(id(10))));
    let sound = search(&quiet(5, 40), all, &said(&[]));
    assert_eq!((sound.bad, sound.next, sound.looks), (None, None, 0));
    assert_eq!(search(&[], all, &said(&[])), Search::default());
}

proptest! {
    #[test]
    fn looking_ends_at_the_border_within_the_looks_that_were_promised(length in 1usize..60, border in 0usize..60, attack in 0usize..60) {
        let border = border.min(length);
        let mut line = quiet(length - 1, 40);
        if attack < length {
            line[attack] = sample(attack, 900, 900, 90);
        }
        let bad_from = |place: usize| place >= border;
        let mut found = BTreeMap::new();
        // Somebody knows that the newest is bad.
        if border < length {
            found.insert(line[length - 1].id.clone(), Found::Bad);
        }
        let promised = search(&line, |_| true, &found).looks;
        let mut looks = 0;
        let end = loop {
            let now = search(&line, |_| true, &found);
            let Some(next) = now.next.clone() else { break now };
            looks += 1;
            prop_assert!(!found.contains_key(&next) && looks <= 64);
            let place = line.iter().position(|sample| sample.id == next).unwrap();
            found.insert(next, if bad_from(place) { Found::Bad } else { Found::Clean });
        };
        if border < length {
            prop_assert_eq!(end.bad, Some(line[border].id.clone()));
            prop_assert_eq!(end.clean, border.checked_sub(1).map(|place| line[place].id.clone()));
            // A figure that misleads costs one look.
            prop_assert!(looks <= promised + 1, "{} of {}", looks, promised);
        }
    }
}
