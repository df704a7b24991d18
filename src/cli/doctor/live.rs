//! What the agent knows: whether it runs, which repositories answer, how the jobs fare.

use super::super::context::Ctx;
use super::super::output::short;
use super::Finding;
use crate::api::types::{JobView, Overview, RepositoryView};
use crate::api::{ErrorKind, VERSION};
use crate::config::Config;
use crate::domain::{Millis, Timestamp};

/// A run may be late by this much before it counts as late.
const LATE: Millis = Millis(60_000);
/// More used than this, in percent, is worth a word, and then trouble.
const USED: (u8, u8) = (80, 90);

/// Asks the agent; does not start one.
pub async fn look(ctx: &Ctx, config: &Config, findings: &mut Vec<Finding>) {
    let client = match ctx.client_of_running() {
        Ok(client) => client,
        Err(error) => {
            findings.push(Finding::problem("agent", error.what, "correct the configuration"));
            return;
        }
    };
    let overview = match client.overview().await {
        Ok(overview) => overview,
        Err(error) => {
            let scheduled = config.definitions.jobs.values().any(|job| job.schedule.is_some());
            let remedy = error
                .hint
                .unwrap_or_else(|| "start one with: lifeboat agent run".to_owned());
            findings.push(match error.kind {
                ErrorKind::Unreachable if !scheduled => Finding::warning("agent", error.message, remedy),
                _ => Finding::problem("agent", error.message, remedy),
            });
            return;
        }
    };
    agent(&overview, findings);
    findings.extend(overview.repositories.iter().filter_map(repository));
    let now = ctx.clock.now();
    findings.extend(overview.jobs.iter().map(|view| job(view, now)));
}

fn agent(overview: &Overview, findings: &mut Vec<Finding>) {
    let agent = &overview.agent;
    let detail = format!("version {}, pid {} on {}", agent.version, agent.pid, agent.host);
    findings.push(if agent.version == VERSION {
        Finding::ok("agent", detail)
    } else {
        let remedy = "restart it with: lifeboat agent stop";
        Finding::warning("agent", format!("{detail}; this program is {VERSION}"), remedy)
    });
    if let Some(error) = &overview.journal_error {
        let remedy = "make room, or the directory writable: nothing is begun until the journal can be written";
        findings.push(Finding::problem("agent: journal", error, remedy));
    }
    if let Some(error) = &overview.config_error {
        let remedy = "correct it: the agent goes on with the one before";
        findings.push(Finding::problem("agent: configuration", error, remedy));
    }
    if !overview.alerts.is_empty() {
        let detail = format!("{} open", overview.alerts.len());
        findings.push(Finding::warning("alerts", detail, "see them with: lifeboat alert list"));
    }
}

fn repository(view: &RepositoryView) -> Option<Finding> {
    let what = format!("repository {}: from the agent", view.name);
    if view.reachable == Some(false) {
        let failure = view.failure.as_ref();
        let why = failure.map_or("does not answer", |failure| failure.message.as_str());
        let hint = failure.and_then(|failure| failure.hint.clone());
        let remedy = hint.unwrap_or_else(|| format!("look at it with: lifeboat repo check --repository {}", view.name));
        return Some(Finding::problem(what, why, remedy));
    }
    let used = view.used_percent?;
    let remedy = "make room, or give it more: lifeboat runbook run repository-full";
    let detail = match (view.room, view.days_to_full) {
        (Some(room), Some(days)) => format!("{room}; full in about {days} days at the present pace"),
        (Some(room), None) => room.to_string(),
        (None, _) => format!("{used}% of its disk is used"),
    };
    if used >= USED.1 {
        Some(Finding::problem(what, detail, remedy))
    } else if used >= USED.0 {
        Some(Finding::warning(what, detail, remedy))
    } else {
        view.reachable.map(|_| Finding::ok(what, "answers"))
    }
}

fn job(view: &JobView, now: Timestamp) -> Finding {
    let what = format!("job {}", view.name);
    let look = format!("see: lifeboat job show {}", view.name);
    if view.failures_in_a_row > 0 {
        let why = view.last_error.as_ref().map_or("", |error| error.message.as_str());
        let times = view.failures_in_a_row;
        let hint = view.last_error.as_ref().and_then(|error| error.hint.clone());
        return Finding::problem(
            what,
            format!("failed {times} times in a row: {why}"),
            hint.unwrap_or(look),
        );
    }
    if !view.enabled {
        let remedy = format!("let it run again with: lifeboat job enable {}", view.name);
        return Finding::warning(what, "disabled", remedy);
    }
    if let Some(due) = view.next_due
        && view.running.is_none()
        && Millis::between(due, now) > LATE
    {
        let late = short(Millis::between(due, now));
        return Finding::problem(what, format!("was due {late} ago and has not begun"), look);
    }
    match view.last_success_at {
        Some(at) => Finding::ok(what, format!("last succeeded {} ago", short(Millis::between(at, now)))),
        None => Finding::warning(
            what,
            "never succeeded yet",
            format!("try it with: lifeboat job run --wait {}", view.name),
        ),
    }
}
