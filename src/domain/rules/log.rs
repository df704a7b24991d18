//! Alerts about clusters: their archived log, and pages that are damaged.
//!
//! They rest on what was seen a moment ago. While nothing was seen yet, as after a start, what is open stays open and nothing
//! opens.

use super::Condition;
use crate::domain::alert::{AlertKind, AlertSubject};
use crate::domain::decide::Context;
use crate::domain::id::SourceName;
use crate::domain::pitr::LogSight;
use crate::domain::units::Millis;

/// Log that a server has written for so long without it being in the archive is late.
pub const LATE_AFTER: Millis = Millis::from_secs(300);
/// A late log is in time again below this.
const IN_TIME: Millis = Millis::from_secs(60);

/// Whether a source has a log that nobody has looked at yet.
pub(in crate::domain) fn is_unseen(context: &Context<'_>, source: &SourceName) -> bool {
    context.definitions.has_log(source) && context.seen.logs_of(source).next().is_none()
}

pub(super) fn conditions(context: &Context<'_>) -> Vec<Condition> {
    let seen = context.seen.logs.iter().flat_map(|sight| of(context, sight));
    let unseen = context
        .definitions
        .sources
        .keys()
        .filter(|source| is_unseen(context, source));
    let kept = unseen.flat_map(|source| {
        let open =
            [AlertKind::WalGap, AlertKind::WalLate].map(|kind| context.state.alerts.get(&kind.key(source.as_str())));
        open.into_iter().flatten().map(|alert| Condition {
            kind: alert.kind,
            subject: alert.subject.clone(),
            name: source.to_string(),
            message: alert.message.clone(),
            next_step: alert.next_step.clone(),
            opens: false,
        })
    });
    seen.chain(kept)
        .chain(
            context
                .definitions
                .sources
                .keys()
                .filter_map(|source| damage(context, source)),
        )
        .collect()
}

/// Pages that were damaged on the server already when its newest snapshot was made.
fn damage(context: &Context<'_>, source: &SourceName) -> Option<Condition> {
    let points = &context.state.sources.get(source)?.restore_points;
    let newest = points.iter().rev().find(|point| !point.partial)?;
    let pages = newest.cluster.as_ref()?.damaged_pages;
    let service = context.definitions.service_of(source);
    (pages > 0).then(|| Condition {
        kind: AlertKind::PageChecksum,
        subject: AlertSubject {
            service: service.clone(),
            job: newest.job.clone(),
            snapshot: Some(newest.id.clone()),
        },
        name: source.to_string(),
        message: format!(
            "{pages} pages of {source} are damaged on its server, seen by snapshot {}",
            newest.id.short()
        ),
        next_step: format!(
            "see which: lifeboat snapshot show {}; look at the disk, and pin a snapshot of before",
            newest.id.short()
        ),
        opens: true,
    })
}

fn of(context: &Context<'_>, sight: &LogSight) -> Vec<Condition> {
    let source = &sight.source;
    let jobs = || context.definitions.jobs_of(source);
    let job = jobs()
        .find(|job| job.repository == sight.repository)
        .or_else(|| jobs().next());
    let service = context.definitions.service_of(source);
    let condition = |kind: AlertKind, message: String, next_step: String, opens: bool| Condition {
        kind,
        subject: AlertSubject {
            service: service.clone(),
            job: job.map(|job| job.name.clone()),
            snapshot: None,
        },
        name: source.to_string(),
        message,
        next_step,
        opens,
    };
    let mut all = Vec::new();
    if let Some(gap) = &sight.gap {
        let until = sight.recoverable_to.map_or_else(
            || "nothing behind it can be restored".to_owned(),
            |at| {
                format!(
                    "{source} can be restored up to {} only",
                    at.format("%Y-%m-%d %H:%M:%S UTC")
                )
            },
        );
        let run = job.map_or_else(String::new, |job| {
            format!("; then: lifeboat job run {} --wait", job.name)
        });
        all.push(condition(
            AlertKind::WalGap,
            format!("the log of {source} has a gap at {}: {until}", gap.first),
            format!(
                "see whether the server still has it: lifeboat wal verify --repository {}{run}",
                sight.repository
            ),
            true,
        ));
    }
    if let Some(since) = sight.waiting_since.filter(|_| !sight.stretches.is_empty()) {
        let late = Millis::between(since, context.now);
        let behind = sight.behind.map_or_else(String::new, |behind| format!(", {behind}"));
        if late > IN_TIME {
            all.push(condition(
                AlertKind::WalLate,
                format!(
                    "the log of {source} is not archived since {}{behind}",
                    since.format("%Y-%m-%d %H:%M:%S UTC")
                ),
                "see that the receiver runs, or why archive_command fails (the server's log), and that the repository \
                 has room: lifeboat doctor"
                    .to_owned(),
                late > LATE_AFTER,
            ));
        }
    }
    all
}
