//! What the options of a job mean.

use toml::Spanned;

use super::raw::{RawHook, RawHooks, RawJob, RawProbe, RawRetry, RawVerify};
use super::section::{Place, Problems, suggestion};
use crate::domain::job::{Hook, Hooks, Job, RetryPolicy, SqlProbe, VerifyPolicy};
use crate::domain::schedule::Schedule;
use crate::domain::snapshot::EvidenceLevel;
use crate::domain::units::Millis;

/// How long a hook may take that names no bound.
const HOOK_TIMEOUT: Millis = Millis::from_secs(60);
/// More attempts than this are a mistake, not a policy.
const MOST_ATTEMPTS: u32 = 100;

/// Notes a reference to something that is nowhere defined.
pub(super) fn check_reference(
    place: &Place<'_>,
    key: &str,
    reference: &Spanned<String>,
    known: &[String],
    problems: &mut Problems,
) {
    if !known.contains(reference.get_ref()) {
        let message = format!("there is no {key} \"{}\"", reference.get_ref());
        let hint = suggestion(reference.get_ref(), known.iter().map(String::as_str));
        place.problem(problems, reference.span().start, key, message, hint);
    }
}

/// Makes a job of its options; `kind` is that of its source, when that is known.
pub(super) fn build(
    place: &Place<'_>,
    raw: RawJob,
    name: &str,
    kind: Option<&'static str>,
    problems: &mut Problems,
) -> Job {
    if let Some(zero) = raw.timeout.as_ref().filter(|timeout| timeout.get_ref().0 == Millis(0)) {
        let hint = Some("leave it out for no limit".to_owned());
        place.problem(
            problems,
            zero.span().start,
            "timeout",
            "no run can end in no time",
            hint,
        );
    }
    for tag in raw.tags.iter().filter(|tag| !is_tag(tag.get_ref())) {
        let message = format!("\"{}\" cannot be a tag", tag.get_ref());
        let hint = Some("use a short word without commas, blanks or control characters".to_owned());
        place.problem(problems, tag.span().start, "tags", message, hint);
    }
    let kept = raw.retention.is_some();
    let schedule = schedule(place, raw.schedule, raw.zone.as_ref(), kept, problems);
    let zone = raw.zone.map_or_else(String::new, Spanned::into_inner);
    Job {
        name: name.into(),
        schedule,
        retention: raw
            .retention
            .map(|raw| super::keep::retention(place, raw, &zone, problems)),
        missed: raw.missed.unwrap_or_default(),
        retry: retry(place, raw.retry, problems),
        timeout: raw.timeout.map(|timeout| timeout.get_ref().0),
        verify: verify(place, raw.verify, kind, problems),
        hooks: raw.hooks.map_or_else(Hooks::default, |raw| hooks(place, raw, problems)),
        tags: raw.tags.into_iter().map(Spanned::into_inner).collect(),
        source: raw.source.into_inner().into(),
        repository: raw.repository.into_inner().into(),
    }
}

fn is_tag(tag: &str) -> bool {
    // restic separates tags by commas, on its command line and in its filters.
    !tag.is_empty() && tag.len() <= 128 && !tag.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control())
}

pub(super) fn schedule(
    place: &Place<'_>,
    expression: Option<Spanned<String>>,
    zone: Option<&Spanned<String>>,
    kept: bool,
    problems: &mut Problems,
) -> Option<Schedule> {
    let zone_text = zone.map_or("", |zone| zone.get_ref().as_str());
    // The zone is tried on a schedule that cannot fail, so that the right one of the two is blamed.
    let zone_error = Schedule::parse("@daily", zone_text).err();
    if let (Some(error), Some(zone)) = (&zone_error, zone) {
        place.problem(problems, zone.span().start, "zone", error.as_str(), None);
    }
    let Some(expression) = expression else {
        // The calendar of retention is read in it too.
        if let (Some(zone), false) = (zone, kept) {
            let hint = Some("add a schedule, or leave the zone out".to_owned());
            place.problem(
                problems,
                zone.span().start,
                "zone",
                "there is no schedule to read in it",
                hint,
            );
        }
        return None;
    };
    let zone_text = if zone_error.is_some() { "" } else { zone_text };
    match Schedule::parse(expression.get_ref(), zone_text) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            let hint = Some("five fields: minute, hour, day of month, month, day of week".to_owned());
            place.problem(problems, expression.span().start, "schedule", error, hint);
            None
        }
    }
}

fn retry(place: &Place<'_>, raw: Option<Spanned<RawRetry>>, problems: &mut Problems) -> RetryPolicy {
    let default = RetryPolicy::default();
    let Some(raw) = raw else { return default };
    let offset = raw.span().start;
    let raw = raw.into_inner();
    let attempts = raw.attempts.unwrap_or(default.attempts);
    if !(1..=MOST_ATTEMPTS).contains(&attempts) {
        let message = format!("{attempts} is out of range; write 1 (no retry) to {MOST_ATTEMPTS}");
        place.problem(problems, offset, "retry.attempts", message, None);
    }
    RetryPolicy {
        attempts,
        backoff: raw.backoff.map_or(default.backoff, |backoff| backoff.0),
    }
}

fn verify(
    place: &Place<'_>,
    raw: Option<Spanned<RawVerify>>,
    kind: Option<&'static str>,
    problems: &mut Problems,
) -> VerifyPolicy {
    let Some(raw) = raw else { return VerifyPolicy::default() };
    let offset = raw.span().start;
    let raw = raw.into_inner();
    let probes = Spanned::new(offset..offset, raw.probes);
    check_probes(place, "verify.probes", &probes, raw.level, kind, problems);
    VerifyPolicy {
        level: raw.level,
        probes: probes.into_inner().into_iter().map(probe).collect(),
    }
}

/// Notes what is wrong with questions that are asked at a level, of a source of some kind.
pub(super) fn check_probes(
    place: &Place<'_>,
    key: &str,
    probes: &Spanned<Vec<RawProbe>>,
    level: EvidenceLevel,
    kind: Option<&'static str>,
    problems: &mut Problems,
) {
    let offset = probes.span().start;
    let probes = probes.get_ref();
    if !probes.is_empty() && level < EvidenceLevel::Probed {
        let hint = Some("write level = \"probed\"".to_owned());
        let message = format!("probes are asked at level probed; at {level} they never are");
        place.problem(problems, offset, key, message, hint);
    }
    if !probes.is_empty() && kind.is_some_and(|kind| !kind.starts_with("postgres-")) {
        let message = "probes are questions to a database, and this source is none";
        place.problem(problems, offset, key, message, Some("leave them out".to_owned()));
    }
    let empty = |probe: &&RawProbe| probe.name.trim().is_empty() || probe.sql.trim().is_empty();
    for probe in probes.iter().filter(empty) {
        let message = format!("the probe \"{}\" needs a name and a query", probe.name);
        place.problem(problems, offset, key, message, None);
    }
}

pub(super) fn probe(raw: RawProbe) -> SqlProbe {
    SqlProbe {
        name: raw.name,
        sql: raw.sql,
        expect: raw.expect,
    }
}

fn hooks(place: &Place<'_>, raw: RawHooks, problems: &mut Problems) -> Hooks {
    let mut read = |key, raw: Option<Spanned<RawHook>>| raw.map(|raw| hook(place, key, raw, problems));
    Hooks {
        before: read("hooks.before", raw.before),
        after_success: read("hooks.after_success", raw.after_success),
        after_failure: read("hooks.after_failure", raw.after_failure),
    }
}

pub(super) fn hook(place: &Place<'_>, key: &str, raw: Spanned<RawHook>, problems: &mut Problems) -> Hook {
    let offset = raw.span().start;
    let raw = raw.into_inner();
    let key = format!("{key}.command");
    if raw.command.first().is_none_or(|program| program.trim().is_empty()) {
        let hint = Some("write [\"program\", \"argument\"]".to_owned());
        place.problem(problems, offset, &key, "there is no program to run", hint);
    } else if raw.shell && raw.command.len() > 1 {
        let hint = Some("write the whole line as one text, or leave shell out".to_owned());
        place.problem(
            problems,
            offset,
            &key,
            "with shell = true there is one line, not several words",
            hint,
        );
    }
    Hook {
        command: raw.command,
        shell: raw.shell,
        timeout: raw.timeout.map_or(HOOK_TIMEOUT, |timeout| timeout.0),
    }
}
