//! What the options of retention and of a repository's upkeep mean.

use toml::Spanned;

use super::raw::{Duration, RawCheck, RawRepository, RawRetention};
use super::section::{Place, Problems};
use crate::domain::job::{CheckPolicy, UpkeepPolicy};
use crate::domain::keep::is_subset;
use crate::domain::retention::{MAX_DELETE_PERCENT, RetentionPolicy};
use crate::domain::schedule::Schedule;
use crate::domain::units::Millis;

/// More of one period than this are a mistake, not a policy.
const MOST_KEPT: u32 = 100_000;

/// Makes a policy of its options; `zone` is that of the job.
pub(super) fn retention(
    place: &Place<'_>,
    raw: Spanned<RawRetention>,
    zone: &str,
    problems: &mut Problems,
) -> RetentionPolicy {
    let offset = raw.span().start;
    let raw = raw.into_inner();
    let mut count = |key: &str, number: Option<u32>| {
        let number = number.unwrap_or(0);
        if number > MOST_KEPT {
            let message = format!("{number} is out of range; write 0 to {MOST_KEPT}");
            place.problem(problems, offset, &format!("retention.{key}"), message, None);
        }
        number
    };
    let policy = RetentionPolicy {
        keep_last: count("last", raw.last),
        keep_hourly: count("hourly", raw.hourly),
        keep_daily: count("daily", raw.daily),
        keep_weekly: count("weekly", raw.weekly),
        keep_monthly: count("monthly", raw.monthly),
        keep_yearly: count("yearly", raw.yearly),
        keep_within: raw.within.map(|within| within.0).filter(|within| *within > Millis(0)),
        keep_tags: raw.tags,
        max_delete: max_delete(place, offset, raw.max_delete.as_deref(), problems),
        zone: if zone.is_empty() {
            "UTC".to_owned()
        } else {
            zone.to_owned()
        },
    };
    if policy.is_empty() {
        let hint = Some("write for example daily = 7, or leave retention out to keep everything".to_owned());
        place.problem(
            problems,
            offset,
            "retention",
            "it has no rule, so it would keep everything",
            hint,
        );
    }
    policy
}

fn max_delete(place: &Place<'_>, offset: usize, text: Option<&str>, problems: &mut Problems) -> u8 {
    let Some(text) = text else { return MAX_DELETE_PERCENT };
    let percent = text
        .strip_suffix('%')
        .and_then(|number| number.trim().parse::<u8>().ok());
    if let Some(percent) = percent.filter(|percent| *percent <= 100) {
        return percent;
    }
    let message = format!("\"{text}\" is not a part of the snapshots; write for example 50%");
    place.problem(problems, offset, "retention.max_delete", message, None);
    MAX_DELETE_PERCENT
}

/// Makes the upkeep of a repository of its options.
pub(super) fn upkeep(place: &Place<'_>, raw: &RawRepository, problems: &mut Problems) -> UpkeepPolicy {
    let default = UpkeepPolicy::default();
    let zone = raw.zone.as_ref();
    let zone_text = zone.map_or("", |zone| zone.get_ref().as_str());
    let zone_error = Schedule::parse("@daily", zone_text).err();
    if let (Some(error), Some(zone)) = (&zone_error, zone) {
        place.problem(problems, zone.span().start, "zone", error.as_str(), None);
    }
    if let (Some(zone), None, None) = (zone, &raw.prune, &raw.check) {
        let hint = Some("add prune or check, or leave the zone out".to_owned());
        place.problem(
            problems,
            zone.span().start,
            "zone",
            "there is no schedule to read in it",
            hint,
        );
    }
    let zone_text = if zone_error.is_some() { "" } else { zone_text };
    let mut parse = |key: &str, offset: usize, expression: &str| {
        let schedule = Schedule::parse(expression, zone_text);
        schedule
            .map_err(|error| {
                let hint = Some("five fields: minute, hour, day of month, month, day of week".to_owned());
                place.problem(problems, offset, key, error, hint);
            })
            .ok()
    };
    let prune = raw.prune.as_ref();
    let prune = prune.and_then(|text| parse("prune", text.span().start, text.get_ref()));
    let schedule = raw.check.as_ref();
    let schedule = schedule.and_then(|check| parse("check.schedule", check.span().start, &check.get_ref().schedule));
    let subset = raw.check.as_ref().and_then(|check| subset(place, check, problems));
    let length = |raw: &Option<Duration>, default: Millis| raw.as_ref().map_or(default, |length| length.0);
    UpkeepPolicy {
        trash: length(&raw.trash, default.trash),
        grace: length(&raw.grace, default.grace),
        prune,
        check: schedule.map(|schedule| CheckPolicy {
            schedule,
            read_data_subset: subset,
        }),
    }
}

fn subset(place: &Place<'_>, check: &Spanned<RawCheck>, problems: &mut Problems) -> Option<String> {
    let text = check.get_ref().read_data_subset.clone()?;
    if !is_subset(&text) {
        let message = format!("\"{text}\" is not a part of the data; write for example 5%, 1/7 or all");
        place.problem(problems, check.span().start, "check.read_data_subset", message, None);
    }
    Some(text)
}
