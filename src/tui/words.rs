//! Times, lengths of time and counts as the console says them: coarse enough that a quiet screen stays still.
//!
//! An age that counted seconds would send bytes every second for nothing. Ages are whole minutes and more; only work
//! that is under way shows seconds.

use crate::domain::{Bytes, Millis, Timestamp};

/// A length of time in its largest unit or two, from a minute up: `<1m`, `17m`, `7h12m`, `3d04h`, `52d`.
pub fn coarse(span: Millis) -> String {
    let minutes = span.0 / 60_000;
    match minutes {
        0 => "<1m".to_owned(),
        1..=59 => format!("{minutes}m"),
        60..=1439 => format!("{}h{:02}m", minutes / 60, minutes % 60),
        1440..=14_399 => format!("{}d{:02}h", minutes / 1440, minutes % 1440 / 60),
        _ => format!("{}d", minutes / 1440),
    }
}

/// A promise in its shortest form: `30s`, `15m`, `1h`, `1h30m`, `2d`.
pub fn promise(span: Millis) -> String {
    let seconds = span.0 / 1000;
    match seconds {
        0..=119 => format!("{seconds}s"),
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s >= 3600 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        s => format!("{}m", s / 60),
    }
}

/// A loss measured against a promise: in steps of five seconds where the promise is short, else in minutes.
pub fn against(span: Millis, promise: Millis) -> String {
    if promise.0 >= 600_000 || span.0 >= 600_000 {
        return coarse(span);
    }
    let seconds = span.0 / 5000 * 5;
    if seconds < 60 {
        format!("{seconds}s")
    } else {
        format!("{}m{:02}s", seconds / 60, seconds % 60)
    }
}

/// How long ago something was: `<1m`, `4m`, `3h`, `2d`, `5w`.
pub fn age(now: Timestamp, then: Timestamp) -> String {
    let minutes = Millis::between(then, now).0 / 60_000;
    match minutes {
        0 => "<1m".to_owned(),
        1..=59 => format!("{minutes}m"),
        60..=2879 => format!("{}h", minutes / 60),
        2880..=20_159 => format!("{}d", minutes / 1440),
        20_160..=524_159 => format!("{}w", minutes / 10_080),
        _ => format!("{}y", minutes / 525_600),
    }
}

/// How long until something: `in 4m`, `now`.
pub fn until(now: Timestamp, then: Timestamp) -> String {
    let left = Millis::between(now, then);
    match left.0 {
        0 => "now".to_owned(),
        1..60_000 => "in <1m".to_owned(),
        _ => format!("in {}", coarse(left)),
    }
}

/// A running clock: `0:42`, `12:05`, `1:02:05`.
pub fn clock(span: Millis) -> String {
    let seconds = span.0 / 1000;
    if seconds < 3600 {
        format!("{}:{:02}", seconds / 60, seconds % 60)
    } else {
        format!("{}:{:02}:{:02}", seconds / 3600, seconds % 3600 / 60, seconds % 60)
    }
}

/// A moment, as short as it can be told from now: `10:41:07` today, else `11-19 10:41`, else `2025-11-19`.
pub fn moment(now: Timestamp, then: Timestamp) -> String {
    let days = (now.date_naive() - then.date_naive()).num_days();
    match days {
        0 => then.format("%H:%M:%S").to_string(),
        -300..=300 => then.format("%m-%d %H:%M").to_string(),
        _ => then.format("%Y-%m-%d").to_string(),
    }
}

/// A moment in full: `2026-11-20 10:41:07Z`.
pub fn full(then: Timestamp) -> String {
    then.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A count with its thousands apart: `1,204,881`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and its noun: `1 file`, `2 files`.
pub fn plural(number: u64, noun: &str) -> String {
    let ending = match (number, noun) {
        (1, _) => "",
        (_, noun) if noun.ends_with('s') => "es",
        _ => "s",
    };
    match noun.strip_suffix('y').filter(|_| number != 1) {
        Some(stem) if !stem.ends_with(['a', 'e', 'o']) => format!("{} {stem}ies", count(number)),
        _ => format!("{} {noun}{ending}", count(number)),
    }
}

/// A size in at most six columns: `999B`, `1.5K`, `23.4G`.
pub fn size(bytes: Bytes) -> String {
    const UNITS: [&str; 7] = ["B", "K", "M", "G", "T", "P", "E"];
    let mut value = bytes.0 as f64;
    let mut unit = 0;
    while value >= 999.95 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{}B", bytes.0)
    } else {
        format!("{value:.1}{}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_at_their_borders() {
        assert_eq!(coarse(Millis(59_999)), "<1m");
        assert_eq!(coarse(Millis::from_secs(7 * 3600 + 720)), "7h12m");
        assert_eq!(promise(Millis::from_secs(5400)), "1h30m");
        assert_eq!(promise(Millis::from_secs(3600)), "1h");
        assert_eq!(against(Millis(47_999), Millis::from_secs(120)), "45s");
        assert_eq!(against(Millis(47_999), Millis::from_secs(3600)), "<1m");
        assert_eq!(clock(Millis::from_secs(3725)), "1:02:05");
    }

    #[test]
    fn counts_and_sizes_are_short() {
        assert_eq!(count(1_204_881), "1,204,881");
        assert_eq!(plural(1, "recovery"), "1 recovery");
        assert_eq!(plural(2, "recovery"), "2 recoveries");
        assert_eq!(plural(2, "day"), "2 days");
        assert_eq!(size(Bytes(1000)), "1.0K");
        assert_eq!(size(Bytes(u64::MAX)), "16.0E");
    }

    #[test]
    fn a_quiet_age_does_not_move_within_a_minute() {
        let then: Timestamp = "2026-11-20T03:12:00Z".parse().unwrap();
        let later = |seconds| then + chrono::Duration::seconds(seconds);
        assert_eq!(age(later(61), then), age(later(119), then));
        assert_eq!(age(later(86_400), then), "24h");
        assert_eq!(until(then, later(30)), "in <1m");
        assert_eq!(moment(later(86_400), then), "11-20 03:12");
    }
}
