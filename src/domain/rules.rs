//! When alerts open and when they end.
//!
//! Each rule looks at the state and the time and says which conditions hold. A condition opens an alert at one threshold
//! and ends it at another, so that a value that swings around the threshold does not ring all night.

mod anomaly;
mod cluster;
mod drill;
pub(super) mod log;
mod recovered;
mod runbook;
mod storage;

use std::collections::BTreeMap;

use super::alert::{Alert, AlertKind, AlertSubject};
use super::decide::Context;
use super::event::Event;
use super::gauge;
use super::id::AlertKey;
use super::job::{Definitions, Job};
use super::objective::{GaugeLevel, Service};
use super::run::Outcome;
use super::source::SourceKind;
use super::state::{JobFacts, SourceFacts, State};
use super::units::{Millis, Timestamp};

/// A scheduled job without a success for this long raises an alert.
pub const NO_SUCCESS_AFTER: Millis = Millis::from_secs(24 * 3600);

/// A condition that holds, or that held and has not cleared far enough to be over.
pub(super) struct Condition {
    pub(super) kind: AlertKind,
    pub(super) subject: AlertSubject,
    pub(super) name: String,
    pub(super) message: String,
    pub(super) next_step: String,
    /// False while the condition is between its closing and its opening threshold: keeps an alert, opens none.
    pub(super) opens: bool,
}

/// The alerts to open and to resolve so that what is open is what holds.
pub fn alert_events(context: &Context<'_>) -> Vec<Event> {
    let (state, now) = (context.state, context.now);
    let conditions = conditions(context);
    let mut events = Vec::new();
    for (key, condition) in &conditions {
        let known = state.alerts.contains_key(key) || state.dismissed.contains(key);
        if condition.opens && !known {
            events.push(Event::AlertOpened {
                alert: open(key, condition, now),
            });
        }
    }
    for key in state.alerts.keys().filter(|key| !conditions.contains_key(key)) {
        events.push(Event::AlertResolved {
            key: key.clone(),
            reason: "the condition is over".to_owned(),
        });
    }
    for key in state.dismissed.iter().filter(|key| !conditions.contains_key(key)) {
        events.push(Event::AlertRearmed { key: key.clone() });
    }
    events
}

fn open(key: &AlertKey, condition: &Condition, now: Timestamp) -> Alert {
    Alert {
        key: key.clone(),
        kind: condition.kind,
        severity: condition.kind.severity(),
        subject: condition.subject.clone(),
        message: condition.message.clone(),
        next_step: condition.next_step.clone(),
        opened_at: now,
        acknowledged: None,
    }
}

fn conditions(context: &Context<'_>) -> BTreeMap<AlertKey, Condition> {
    let (state, definitions, now) = (context.state, context.definitions, context.now);
    let mut all = Vec::new();
    for job in definitions.jobs.values() {
        if let Some(facts) = state.jobs.get(&job.name) {
            all.extend(job_conditions(definitions, job, facts, now));
        }
    }
    for service in definitions.services.values() {
        all.extend(service_conditions(context, service));
    }
    for source in definitions.sources.values() {
        if let Some(facts) = state.sources.get(&source.name) {
            let service = definitions.service_of(&source.name);
            let is_database = matches!(source.kind, SourceKind::PostgresDump(_));
            all.extend(
                verification_condition(facts, source.name.as_str(), is_database).map(|mut condition| {
                    condition.subject.service = service;
                    condition
                }),
            );
        }
    }
    for (name, facts) in &state.repositories {
        if let (Some(failure), true) = (&facts.failure, definitions.repositories.contains_key(name)) {
            all.push(Condition {
                kind: AlertKind::RepositoryUnreachable,
                subject: AlertSubject::default(),
                name: name.to_string(),
                message: format!("repository {name} does not answer: {failure}"),
                next_step: failure
                    .hint
                    .clone()
                    .unwrap_or_else(|| format!("lifeboat doctor, then lifeboat repo check {name}")),
                opens: true,
            });
        }
    }
    all.extend(super::keep::conditions(state, definitions));
    all.extend(storage::conditions(context));
    all.extend(log::conditions(context));
    all.extend(drill::conditions(context));
    all.extend(anomaly::conditions(context));
    all.extend(recovered::conditions(context));
    all.extend(runbook::conditions(context));
    all.extend(cluster::conditions(context));
    all.into_iter()
        .map(|condition| (condition.kind.key(&condition.name), condition))
        .collect()
}

fn job_conditions(definitions: &Definitions, job: &Job, facts: &JobFacts, now: Timestamp) -> Vec<Condition> {
    let service = definitions.service_of(&job.source);
    let condition = |kind: AlertKind, message: String, next_step: String| Condition {
        kind,
        subject: AlertSubject {
            service: service.clone(),
            job: Some(job.name.clone()),
            snapshot: None,
        },
        name: job.name.to_string(),
        message,
        next_step,
        opens: true,
    };
    let name = &job.name;
    let why = facts
        .last_error
        .as_ref()
        .map_or_else(|| "no reason was recorded".to_owned(), ToString::to_string);
    let hint = facts.last_error.as_ref().and_then(|error| error.hint.clone());
    let mut all = Vec::new();
    match facts.failures_in_a_row {
        0 => {}
        1 => all.push(condition(
            AlertKind::BackupFailed,
            format!("job {name} failed: {why}"),
            hint.unwrap_or_else(|| format!("read its log, then run it again: lifeboat job run {name}")),
        )),
        times => all.push(condition(
            AlertKind::BackupFailedTwice,
            format!("job {name} failed {times} times in a row: {why}"),
            hint.unwrap_or_else(|| format!("mend the cause, then: lifeboat job run {name} --wait")),
        )),
    }
    if facts.last_outcome() == Some(Outcome::Partial) {
        all.push(condition(
            AlertKind::BackupPartial,
            format!("job {name} could not read everything: {why}"),
            format!("see what is missing: lifeboat job show {name}"),
        ));
    }
    if facts.missed.is_some() {
        all.push(condition(
            AlertKind::ScheduleMissed,
            format!("job {name} was due while no agent was running"),
            format!("keep the agent running (lifeboat agent status); make up for it: lifeboat job run {name}"),
        ));
    }
    let waiting_since = facts.last_success_at.unwrap_or(facts.appeared_at);
    if job.schedule.is_some() && facts.enabled && Millis::between(waiting_since, now) > NO_SUCCESS_AFTER {
        all.push(condition(
            AlertKind::NoRecentSuccess,
            format!(
                "job {name} has had no success since {}",
                waiting_since.format("%Y-%m-%d %H:%M UTC")
            ),
            format!("lifeboat job show {name}, then: lifeboat job run {name} --wait"),
        ));
    }
    all
}

fn service_conditions(context: &Context<'_>, service: &Service) -> Vec<Condition> {
    let (state, definitions) = (context.state, context.definitions);
    let rpo = gauge::rpo(state, context.seen, definitions, service, context.now);
    // As long as nobody has looked at a log, it may reach further than the snapshots say.
    let looked = !service.sources.iter().any(|source| log::is_unseen(context, source));
    let rto = gauge::rto(state, service);
    let subject = AlertSubject {
        service: Some(service.name.clone()),
        job: None,
        snapshot: rpo.snapshot.clone(),
    };
    let condition = |kind: AlertKind, message: String, next_step: String, opens: bool| Condition {
        kind,
        subject: subject.clone(),
        name: service.name.to_string(),
        message,
        next_step,
        opens,
    };
    let run = rpo
        .worst_source
        .as_ref()
        .and_then(|source| definitions.jobs_of(source).next());
    let next_step = run.map_or_else(
        || "no job protects this source; add one: lifeboat job add".to_owned(),
        |job| format!("back it up now: lifeboat job run {} --wait", job.name),
    );
    let objective = rpo.objective;
    let source = rpo.worst_source.as_ref().map_or("", |source| source.as_str());
    let mut all = Vec::new();
    let breached_key = AlertKind::RpoBreached.key(service.name.as_str());
    match rpo.loss {
        None if rpo.level == GaugeLevel::Breached => all.push(condition(
            AlertKind::RpoBreached,
            format!(
                "{}: nothing of {source} can be restored; promised at most {objective}",
                service.name
            ),
            next_step,
            true,
        )),
        // Once breached, the alert stays until a tenth of the objective is in hand again.
        Some(loss)
            if loss > objective || (state.alerts.contains_key(&breached_key) && loss > objective.scaled(9, 10)) =>
        {
            all.push(condition(
                AlertKind::RpoBreached,
                format!(
                    "{}: would lose {loss} of {source}; promised at most {objective}",
                    service.name
                ),
                next_step,
                loss > objective && looked,
            ));
        }
        Some(loss) if loss > objective.scaled(13, 20) => all.push(condition(
            AlertKind::RpoAtRisk,
            format!(
                "{}: would lose {loss} of {source}; breached at {objective}",
                service.name
            ),
            next_step,
            rpo.level == GaugeLevel::AtRisk && looked,
        )),
        None | Some(_) => {}
    }
    if let Some(measured) = rto.measured.filter(|measured| *measured > rto.objective.scaled(9, 10)) {
        all.push(condition(
            AlertKind::RtoOverObjective,
            format!(
                "{}: recovery takes {measured} by measurement; promised {}",
                service.name, rto.objective
            ),
            "see the phases of the last recoveries: lifeboat objectives".to_owned(),
            measured > rto.objective,
        ));
    }
    all
}

/// The newest snapshot that failed verification counts until a newer one is proved as far as that one should have been.
fn verification_condition(facts: &SourceFacts, source: &str, is_database: bool) -> Option<Condition> {
    let condition = |snapshot, message, next_step| Condition {
        kind: AlertKind::VerificationFailed,
        subject: AlertSubject {
            service: None,
            job: None,
            snapshot: Some(snapshot),
        },
        name: source.to_owned(),
        message,
        next_step,
        opens: true,
    };
    if let Some(last) = &facts.inconclusive {
        return Some(condition(
            last.snapshot.clone(),
            format!(
                "snapshot {} of {source} could not be verified: {}",
                last.snapshot.short(),
                last.failure
            ),
            last.failure
                .hint
                .clone()
                .unwrap_or_else(|| format!("lifeboat snapshot verify {}", last.snapshot.short())),
        ));
    }
    let failed_at = facts
        .restore_points
        .iter()
        .rposition(|point| point.evidence.failure.is_some())?;
    let failed = &facts.restore_points[failed_at];
    let failure = failed.evidence.failure.as_ref()?;
    let mut newer = facts.restore_points.iter().skip(failed_at + 1);
    if newer.any(|point| point.is_restorable() && point.evidence.level >= failure.level) {
        return None;
    }
    let look = if is_database {
        "take a new dump and look at the server's log"
    } else {
        "take a new backup"
    };
    Some(condition(
        failed.id.clone(),
        format!(
            "snapshot {} of {source} is not {}: {}",
            failed.id.short(),
            failure.level,
            failure.message
        ),
        format!("{look}; then check the repository: lifeboat repo check --read-data"),
    ))
}

/// The next moment at which some rule may say something else although nothing happens.
pub fn next_change(state: &State, definitions: &Definitions, now: Timestamp) -> Option<Timestamp> {
    // What is seen of logs is looked at every few seconds, and each look asks the rules again.
    let mut moments = Vec::new();
    for service in definitions.services.values() {
        let objective = service.objective.rpo;
        for source in &service.sources {
            let since = match gauge::newest_restorable(state, source) {
                Some(point) => Some(point.taken_at),
                None => definitions
                    .jobs_of(source)
                    .filter_map(|job| state.jobs.get(&job.name))
                    .map(|job| job.appeared_at)
                    .min(),
            };
            for part in [objective.scaled(3, 4), objective] {
                moments.extend(since.map(|since| since + part.to_chrono() + chrono::Duration::milliseconds(1)));
            }
        }
    }
    for facts in state.jobs.values() {
        let since = facts.last_success_at.unwrap_or(facts.appeared_at);
        moments.push(since + NO_SUCCESS_AFTER.to_chrono() + chrono::Duration::milliseconds(1));
    }
    moments.extend(drill::moments(state, definitions));
    moments.into_iter().filter(|moment| *moment > now).min()
}
