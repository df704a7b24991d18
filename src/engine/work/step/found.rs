//! What a step in doubt did, where the engine itself knows: its recovery has a record, its promotion a timeline.
//!
//! A step that was found done has found out what it would have found out, so that the steps after it need not ask people for it.

use super::{Site, cluster, data, restore};
use crate::domain::cluster::Answer;
use crate::domain::id::MemberName;
use crate::domain::recovery::RecoveryRecord;
use crate::domain::run::{Failure, Outcome};
use crate::domain::runbook::action::Action;
use crate::domain::runbook::check::{CheckOutcome, CheckResult};
use crate::domain::runbook::template::Values;
use crate::domain::view::Query;

/// The newest recovery that this attempt of a step began.
async fn recovery(site: &Site<'_>) -> Result<Option<RecoveryRecord>, Failure> {
    let since = site.order.run.steps[site.order.at].started_at;
    let reason = restore::reason(site);
    let query = Query {
        since,
        ..Query::default()
    };
    let page = site.order.engine.recoveries(query).await.map_err(data::of_engine)?;
    let ours = |record: &RecoveryRecord| record.request.reason.as_deref() == Some(reason.as_str());
    let begun = |record: &RecoveryRecord| since.is_none_or(|since| record.requested_at >= since);
    Ok(page.items.into_iter().find(|record| ours(record) && begun(record)))
}

/// Whether what a step began has come to a good end, by its own record; nothing for a step that leaves none.
pub(super) async fn record(site: &Site<'_>, action: &Action) -> Option<(CheckResult, Values)> {
    if !action.leaves_a_record() {
        return None;
    }
    let mut values = Values::new();
    let (outcome, detail) = match recovery(site).await {
        Ok(Some(record)) if record.outcome == Outcome::Succeeded => {
            values = restore::outputs(site, action, &record).await;
            (CheckOutcome::Holds, format!("{} succeeded", record.id))
        }
        Ok(Some(record)) => (
            CheckOutcome::Fails,
            format!("{} is {}", record.id, record.outcome.word()),
        ),
        Ok(None) => (CheckOutcome::Fails, "it was not begun".to_owned()),
        Err(failure) => (CheckOutcome::Unknown, failure.message),
    };
    let title = "its recovery has come to a good end".to_owned();
    Some((CheckResult { title, outcome, detail }, values))
}

/// What a step that was found done would have found out, as far as it can still be told.
pub(super) async fn outputs(site: &Site<'_>, action: &Action) -> Values {
    let mut values = Values::new();
    let Ok(ready) = action.resolved(&site.order.run.values) else {
        return values;
    };
    match &ready {
        Action::Promote(promote) => {
            let name = MemberName::from(promote.member.text());
            let seen = cluster::picture(site, &promote.cluster).await.map(|(seen, _)| seen);
            let timeline = seen.ok().and_then(|seen| match &seen.member(&name)?.answer {
                Answer::Answers(server) => Some(server.timeline.to_string()),
                Answer::Silent { .. } => None,
            });
            let unknown = || "unknown".to_owned();
            values.insert("timeline".to_owned(), timeline.unwrap_or_else(unknown));
            // Measured while it was done; nobody can tell any more.
            values.insert("lost".to_owned(), unknown());
        }
        Action::Fence(_) => {
            values.insert("lsn".to_owned(), "unknown".to_owned());
        }
        Action::Wait(_) => {
            values.insert("held".to_owned(), "true".to_owned());
        }
        Action::Choose(choose) => {
            let value = site.order.run.values.get(&choose.variable).cloned();
            values.extend(value.map(|value| ("value".to_owned(), value)));
        }
        _ => {}
    }
    values
}
