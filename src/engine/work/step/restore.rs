//! Steps that restore or recover: planned, shown, bound to what was shown, begun, waited for.

use super::data::{newest, of_engine, put, recovered, snapshot, submit};
use super::{Site, cancelled};
use crate::domain::command::Command;
use crate::domain::pitr::{Target, TimelineChoice};
use crate::domain::recovery::{
    DatabaseRestore, InstantWish, RecoveryPlan, RecoveryRecord, RecoveryRequest, RecoveryTarget,
};
use crate::domain::run::Failure;
use crate::domain::runbook::action::{Action, Recover, Restore};
use crate::domain::runbook::check::{CheckOutcome, CheckResult, PLAN};
use crate::domain::runbook::template::{Template, Values, instant};
use crate::domain::units::Timestamp;

/// Why a recovery of a step was begun; it is found again by this.
pub(super) fn reason(site: &Site<'_>) -> String {
    let step = &site.order.run.runbook.steps[site.order.at].id;
    format!("{}, step {step}", site.order.run.id)
}

/// What a restore or a recovery asks for.
async fn request(site: &Site<'_>, action: &Action) -> Result<Option<RecoveryRequest>, Failure> {
    let reason = Some(reason(site));
    Ok(match action {
        Action::Restore(restore) => {
            let snapshot = snapshot(site, &restore.snapshot.text()).await?;
            Some(RecoveryRequest {
                target: target(restore),
                instant: None,
                reason,
                plan_digest: None,
                snapshot: snapshot.id,
                repository: snapshot.repository,
            })
        }
        Action::Recover(recover) => {
            let snapshot = newest(site, &recover.source.text()).await?;
            let to = Target::read(&recover.to.text())
                .map_err(|error| Failure::permanent(error, "correct the value of the step"))?;
            Some(RecoveryRequest {
                target: directory(&recover.target.text(), Vec::new(), true),
                instant: Some(Box::new(InstantWish {
                    to,
                    inclusive: true,
                    timeline: TimelineChoice::default(),
                    any_base: true,
                    open: false,
                })),
                reason,
                plan_digest: None,
                snapshot: snapshot.id,
                repository: snapshot.repository,
            })
        }
        _ => None,
    })
}

fn target(restore: &Restore) -> RecoveryTarget {
    let target = restore.target.text();
    let include: Vec<String> = restore.include.iter().map(Template::text).collect();
    if target.starts_with('/') {
        return directory(&target, include, restore.delta);
    }
    RecoveryTarget::Database {
        connection: None,
        database: target,
        how: Box::new(DatabaseRestore {
            tables: include,
            ..DatabaseRestore::default()
        }),
    }
}

fn directory(path: &str, include: Vec<String>, delta: bool) -> RecoveryTarget {
    RecoveryTarget::Directory {
        path: path.into(),
        include,
        subpath: None,
        delta,
        quick: false,
        tablespaces: Vec::new(),
    }
}

async fn planned(site: &Site<'_>, action: &Action) -> Result<Option<RecoveryPlan>, Failure> {
    match request(site, action).await? {
        Some(request) => site.order.engine.plan(request).await.map(Some).map_err(of_engine),
        None => Ok(None),
    }
}

/// The plan of a restore or a recovery, among the checks of its step: what blocks it is a check that fails, and a person's go is
/// void when it says something else by then.
pub(super) async fn plan_line(site: &Site<'_>, action: &Action) -> Option<CheckResult> {
    let title = PLAN.to_owned();
    let result = match planned(site, action).await {
        Ok(None) => return None,
        Ok(Some(plan)) => match plan.blockers.first() {
            Some(blocker) => (CheckOutcome::Fails, blocker.clone()),
            None => (CheckOutcome::Holds, plan_words(&plan)),
        },
        Err(failure) => (CheckOutcome::Fails, failure.to_string()),
    };
    Some(CheckResult {
        title,
        outcome: result.0,
        detail: result.1,
    })
}

fn plan_words(plan: &RecoveryPlan) -> String {
    let digest = plan.digest.get(..8).unwrap_or(&plan.digest);
    let over = if plan.overwrites > 0 {
        format!(", overwrites {}", plan.overwrites)
    } else {
        String::new()
    };
    format!(
        "fetch {}, write {}{over}, to {} [{digest}]",
        plan.fetch, plan.write, plan.target_identity
    )
}

async fn start(site: &Site<'_>, action: Action) -> Result<RecoveryRecord, Failure> {
    let Some(plan) = planned(site, &action).await? else {
        return Err(cancelled());
    };
    // What was looked at a moment ago is what is done, or nothing.
    let shown = site.order.run.steps[site.order.at]
        .checked
        .iter()
        .flat_map(|checked| &checked.results);
    let shown = shown
        .filter(|result| result.title == PLAN)
        .map(|result| &result.detail)
        .next();
    if shown.is_some_and(|shown| *shown != plan_words(&plan) && plan.blockers.is_empty()) {
        return Err(Failure::permanent(
            "the target has changed since the plan was shown",
            "nothing was touched; do the step again to see the new plan",
        ));
    }
    let request = RecoveryRequest {
        plan_digest: Some(plan.digest.clone()),
        ..plan.request
    };
    let receipt = submit(site, Command::StartRecovery { request }).await?;
    recovered(site, receipt).await
}

pub(super) async fn restore(site: &Site<'_>, restore: &Restore) -> Result<Values, Failure> {
    let action = Action::Restore(restore.clone());
    let record = start(site, action.clone()).await?;
    Ok(outputs(site, &action, &record).await)
}

pub(super) async fn recover(site: &Site<'_>, recover: &Recover) -> Result<Values, Failure> {
    let action = Action::Recover(recover.clone());
    let record = start(site, action.clone()).await?;
    Ok(outputs(site, &action, &record).await)
}

/// What a restore or a recovery found out, by its record.
pub(super) async fn outputs(site: &Site<'_>, action: &Action, record: &RecoveryRecord) -> Values {
    let mut values = Values::new();
    put(&mut values, "recovery", &record.id);
    let point = point(site, record).await.map(instant).unwrap_or_default();
    put(&mut values, "point", &point);
    if matches!(action, Action::Restore(_)) {
        put(&mut values, "written", &record.written);
        return values;
    }
    let psql = record.findings.iter().find(|finding| finding.what == "look at it");
    let psql = psql.map(|finding| finding.detail.clone()).unwrap_or_default();
    let after = |option: &str| {
        let mut words = psql.split_whitespace().skip_while(|word| *word != option);
        words.nth(1).unwrap_or_default().trim_matches('\'').to_owned()
    };
    put(&mut values, "socket", &after("-h"));
    put(&mut values, "port", &after("-p"));
    put(&mut values, "user", &after("-U"));
    put(&mut values, "psql", &psql);
    values
}

/// The instant that data which came back is of: that of its snapshot, or that to which its log was replayed. None where the log
/// was replayed to a place that says no time.
async fn point(site: &Site<'_>, record: &RecoveryRecord) -> Option<Timestamp> {
    match record.request.instant.as_ref().map(|wish| &wish.to) {
        Some(Target::Time(at)) => Some(*at),
        Some(_) => record.left.as_ref().and_then(|left| left.seen.last_commit),
        None => {
            let id = record.request.snapshot.as_str();
            snapshot(site, id).await.ok().map(|snapshot| snapshot.taken_at)
        }
    }
}
