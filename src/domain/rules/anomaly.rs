//! Alerts about snapshots that look as if something had happened to the data.

use super::Condition;
use crate::domain::alert::{AlertKind, AlertSubject};
use crate::domain::anomaly::{Sample, encrypted_since, judge};
use crate::domain::decide::Context;
use crate::domain::job::Job;
use crate::domain::state::JobFacts;

pub(super) fn conditions(context: &Context<'_>) -> Vec<Condition> {
    let known = context.definitions.jobs.values();
    let known = known.filter_map(|job| Some((job, context.state.jobs.get(&job.name)?)));
    known.flat_map(|(job, facts)| of(context, job, facts)).collect()
}

fn of(context: &Context<'_>, job: &Job, facts: &JobFacts) -> Vec<Condition> {
    let name = &job.name;
    let condition = |kind, sample: &Sample, message, next_step| Condition {
        kind,
        subject: AlertSubject {
            service: context.definitions.service_of(&job.source),
            job: Some(name.clone()),
            snapshot: Some(sample.id.clone()),
        },
        name: name.to_string(),
        message,
        next_step,
        opens: true,
    };
    let mut all = Vec::new();
    if let Some(since) = encrypted_since(&facts.figures) {
        all.push(condition(
            AlertKind::MassEncryption,
            since,
            format!(
                "possible mass encryption: {}% of snapshot {} of {name}, taken {}, was new, and compresses to {}% of its size",
                since.change_rate() / 10,
                since.id.short(),
                since.at.format("%Y-%m-%d %H:%M UTC"),
                since.entropy().unwrap_or(1000) / 10,
            ),
            format!("stop what writes to it; then: lifeboat snapshot find-clean {name}"),
        ));
    }
    let last = facts.figures.back().zip(judge(&facts.figures).pop());
    if let Some((sample, Some(usual))) = last.map(|(sample, signs)| (sample, signs.usual_size)) {
        all.push(condition(
            AlertKind::SizeAnomaly,
            sample,
            format!(
                "snapshot {} of {name} holds {}; {usual} is usual",
                sample.id.short(),
                sample.size
            ),
            format!("see what came or went: lifeboat snapshot list --job {name}, then: lifeboat snapshot diff"),
        ));
    }
    all
}
