//! Steps that are commands to the engine: each becomes a run or a recovery of its own, journalled as such, and is waited for.
//!
//! When the agent dies meanwhile, that run or recovery ends as interrupted by its own rules; the step is in doubt and its
//! verification says whether enough was done.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Site, cancelled};
use crate::domain::command::{Actor, Command};
use crate::domain::decide::verification_of;
use crate::domain::finder;
use crate::domain::id::{JobName, RecoveryId, RunId};
use crate::domain::recovery::RecoveryRecord;
use crate::domain::run::{Failure, Outcome, RunRecord};
use crate::domain::runbook::action::{Backup, Drill, FindClean, Verify};
use crate::domain::runbook::template::{Values, instant};
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::view::{Query, Receipt};
use crate::engine::EngineError;

/// How often a piece of work that is waited for is looked at.
const EVERY: Duration = Duration::from_millis(250);

pub(super) fn of_engine(error: EngineError) -> Failure {
    match error {
        EngineError::Refused(refusal) => Failure {
            message: refusal.reason,
            hint: refusal.hint,
            retryable: false,
        },
        EngineError::Failed(failure) => failure,
        EngineError::Stopping => Failure::permanent("the agent is ending", "it is looked at again when it begins"),
    }
}

fn actor(site: &Site<'_>) -> Actor {
    Actor {
        name: site.order.run.held_by.clone(),
        host: site.worker.host.clone(),
        via: "runbook".to_owned(),
    }
}

pub(super) async fn submit(site: &Site<'_>, command: Command) -> Result<Receipt, Failure> {
    site.order.engine.submit(actor(site), command).await.map_err(of_engine)
}

pub(super) fn put(values: &mut Values, name: &str, value: &dyn ToString) {
    values.insert(name.to_owned(), value.to_string());
}

/// The newest snapshot of a source that is whole and there.
pub(super) async fn newest(site: &Site<'_>, source: &str) -> Result<SnapshotRecord, Failure> {
    let query = Query {
        source: Some(source.to_owned()),
        ..Query::default()
    };
    let points = site.order.engine.history(query, 50).await.map_err(of_engine)?;
    let good = points.into_iter().find(|point| !point.partial && point.is_there());
    good.ok_or_else(|| {
        Failure::permanent(
            format!("source {source} has no complete snapshot"),
            "take one: lifeboat job run",
        )
    })
}

/// A snapshot by its id, or `latest:SOURCE`.
pub(super) async fn snapshot(site: &Site<'_>, words: &str) -> Result<SnapshotRecord, Failure> {
    match words.strip_prefix("latest:") {
        Some(source) => newest(site, source).await,
        None => site.order.engine.snapshot(words).await.map_err(of_engine),
    }
}

/// Waits until a run has ended.
async fn ended_run(site: &Site<'_>, id: &RunId) -> Result<RunRecord, Failure> {
    loop {
        if !site.order.engine.state().runs.contains_key(id) {
            let query = Query {
                id: Some(id.to_string()),
                ..Query::default()
            };
            let page = site.order.engine.runs(query).await.map_err(of_engine)?;
            if let Some(record) = page.items.into_iter().next() {
                return Ok(record);
            }
        }
        if let Err(stopped) = site.pause(EVERY).await {
            let _ = submit(site, Command::CancelRun { run: id.clone() }).await;
            return Err(stopped);
        }
    }
}

/// Waits until a recovery has ended.
async fn ended_recovery(site: &Site<'_>, id: &RecoveryId) -> Result<RecoveryRecord, Failure> {
    let mut told = None;
    loop {
        let live = site.order.engine.state().recoveries.get(id).map(|live| live.phase);
        if let Some(phase) = live {
            if told != Some(phase) {
                told = Some(phase);
                site.tell(format!("{id}: {}", phase.word()));
            }
        } else {
            let query = Query {
                id: Some(id.to_string()),
                ..Query::default()
            };
            let page = site.order.engine.recoveries(query).await.map_err(of_engine)?;
            if let Some(record) = page.items.into_iter().next() {
                return Ok(record);
            }
        }
        if let Err(stopped) = site.pause(EVERY).await {
            let _ = submit(site, Command::CancelRecovery { recovery: id.clone() }).await;
            return Err(stopped);
        }
    }
}

fn good(what: &str, outcome: Outcome, error: Option<Failure>) -> Result<(), Failure> {
    match (outcome, error) {
        (Outcome::Succeeded, _) => Ok(()),
        (_, Some(error)) => Err(error),
        (outcome, None) => Err(Failure::permanent(
            format!("{what} is {}", outcome.word()),
            "look at it, then do the step again",
        )),
    }
}

pub(super) async fn backup(site: &Site<'_>, backup: &Backup) -> Result<Values, Failure> {
    let job = JobName::from(backup.job.text());
    // One that is under way already began before this step, so it says nothing of now; but only one runs at a time.
    let live = || {
        site.order
            .engine
            .state()
            .runs
            .values()
            .find(|run| run.job == job)
            .map(|run| run.id.clone())
    };
    if let Some(id) = live() {
        site.tell(format!("{id} is still running; waiting for it"));
        ended_run(site, &id).await?;
    }
    let receipt = submit(site, Command::RunJob { job: job.clone() }).await?;
    let Some(id) = receipt.run else { return Err(cancelled()) };
    site.tell(format!("{id} of job {job} began"));
    let record = ended_run(site, &id).await?;
    good(&format!("{id} of job {job}"), record.outcome, record.error)?;
    let mut values = Values::new();
    put(&mut values, "run", &id);
    put(
        &mut values,
        "snapshot",
        &record.snapshot.map(|id| id.0).unwrap_or_default(),
    );
    Ok(values)
}

pub(super) async fn recovered(site: &Site<'_>, receipt: Receipt) -> Result<RecoveryRecord, Failure> {
    let Some(id) = receipt.recovery else {
        return Err(cancelled());
    };
    site.tell(format!("{id} began"));
    let record = ended_recovery(site, &id).await?;
    good(&id.0, record.outcome, record.error.clone())?;
    Ok(record)
}

pub(super) async fn verify(site: &Site<'_>, verify: &Verify) -> Result<Values, Failure> {
    let snapshot = snapshot(site, &verify.snapshot.text()).await?;
    let level = verify.level;
    if snapshot.evidence.level >= level && snapshot.evidence.failure.is_none() {
        site.tell(format!(
            "snapshot {} is {} already",
            snapshot.id.short(),
            snapshot.evidence.level
        ));
    }
    // One that is under way may go less far than this step asks; but only one runs at a time.
    let live = || verification_of(&site.order.engine.state(), &snapshot).map(|live| live.id.clone());
    let receipt = loop {
        if let Some(id) = live() {
            site.tell(format!("{id} is verifying it already; waiting for it"));
            ended_recovery(site, &id).await?;
        }
        let command = Command::VerifySnapshot {
            snapshot: snapshot.id.clone(),
            level,
        };
        match submit(site, command).await {
            // Its job began to verify it in this very moment.
            Err(_) if live().is_some() => {}
            begun => break begun?,
        }
    };
    let record = recovered(site, receipt).await?;
    Ok(Values::from([("recovery".to_owned(), record.id.0)]))
}

pub(super) async fn drill(site: &Site<'_>, drill: &Drill) -> Result<Values, Failure> {
    let drill = drill.drill.text().into();
    let receipt = submit(site, Command::RunDrill { drill, point: None }).await?;
    let record = recovered(site, receipt).await?;
    Ok(Values::from([("recovery".to_owned(), record.id.0)]))
}

/// Looks at the figures of every snapshot of a job for the last one from before something happened to the data. They say where to
/// look, and no more: the steps after it restore that one somewhere else, and a person looks.
pub(super) async fn find_clean(site: &Site<'_>, find: &FindClean) -> Result<Values, Failure> {
    let job = find.job.text();
    let query = Query {
        job: Some(job.clone()),
        gone: Some(true),
        ..Query::default()
    };
    let records = site.order.engine.history(query, usize::MAX).await.map_err(of_engine)?;
    let found = finder::find(&job, &records, &BTreeMap::new()).search;
    match &found.bad {
        Some(bad) => site.tell(format!("snapshot {} is the first that looks encrypted", bad.short())),
        None => site.tell(format!(
            "nothing about the snapshots of {job} looks wrong by their figures"
        )),
    }
    let clean = found.clean.ok_or_else(|| {
        Failure::permanent(
            format!("no snapshot of {job} is both clean by its figures and still there"),
            format!("look at all of them: lifeboat snapshot find-clean {job}"),
        )
    })?;
    let time = records
        .iter()
        .find(|record| record.id == clean)
        .map(|record| instant(record.taken_at));
    site.tell(format!("snapshot {} is the last before it", clean.short()));
    let mut values = Values::new();
    put(&mut values, "snapshot", &clean);
    put(&mut values, "time", &time.unwrap_or_default());
    Ok(values)
}
