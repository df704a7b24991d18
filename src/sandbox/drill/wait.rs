//! Asking for work through the API and waiting for it to end.

use std::sync::Mutex;
use std::time::Duration;

use super::{Drill, unexpected};
use crate::api::{Client, ClientError, ErrorKind};
use crate::domain::command::Command;
use crate::domain::id::{RecoveryId, RunId};
use crate::domain::recovery::RecoveryRecord;
use crate::domain::run::{Failure, Outcome, RunRecord};
use crate::domain::snapshot::{EvidenceLevel, SnapshotRecord};
use crate::domain::view::Query;
use crate::sandbox::SandboxError;

/// How long any one thing may take.
const PATIENCE: Duration = Duration::from_mins(3);
/// How often is looked whether something has ended.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Drill<'_> {
    /// Runs a job, or joins the run its schedule has just begun.
    pub(super) async fn run(&self, job: &str) -> Result<RunId, SandboxError> {
        let begun = self.client.command(Command::RunJob { job: job.into() }).await;
        let running = match begun {
            Ok(receipt) => receipt.run,
            Err(ClientError {
                kind: ErrorKind::Conflict,
                ..
            }) => {
                let overview = self.client.overview().await?;
                overview
                    .jobs
                    .into_iter()
                    .find(|view| view.name.as_str() == job)
                    .and_then(|view| view.running)
            }
            Err(error) => return Err(error.into()),
        };
        running.ok_or_else(|| unexpected(&format!("job {job} did not begin")))
    }

    /// Waits for the end of a run, which must be a success.
    pub(super) async fn backed_up(&self, run: RunId) -> Result<SnapshotRecord, SandboxError> {
        let record = self.run_ended(&run).await?;
        if record.outcome != Outcome::Succeeded {
            return Err(failed(
                &format!("the backup of {}", record.job),
                record.outcome,
                record.error,
            ));
        }
        let id = record.snapshot.ok_or_else(|| unexpected("a run without a snapshot"))?;
        let snapshot = self
            .snapshot(id.as_str())
            .await?
            .ok_or_else(|| unexpected("a snapshot nobody knows"))?;
        self.log.more(&format!(
            "{:<11} snapshot {}: {} in {}, {} stored",
            record.job,
            snapshot.id.short(),
            snapshot.size,
            record.duration,
            snapshot.added
        ));
        Ok(snapshot)
    }

    /// Waits for the end of a run, whatever it is.
    pub(super) async fn run_ended(&self, run: &RunId) -> Result<RunRecord, SandboxError> {
        self.until(&format!("run {run}"), async |client| {
            let query = Query {
                id: Some(run.0.clone()),
                ..Query::default()
            };
            Ok(client.runs(&query).await?.items.into_iter().next())
        })
        .await
    }

    async fn snapshot(&self, id: &str) -> Result<Option<SnapshotRecord>, ClientError> {
        let query = Query {
            id: Some(id.to_owned()),
            ..Query::default()
        };
        Ok(self.client.snapshots(&query).await?.items.into_iter().next())
    }

    /// Waits until a snapshot is proved as far as can be.
    pub(super) async fn probed(&self, snapshot: &SnapshotRecord) -> Result<SnapshotRecord, SandboxError> {
        let told = Mutex::new(EvidenceLevel::Written);
        let name = snapshot.source.as_ref().map_or("", |source| source.as_str());
        let id = snapshot.id.as_str();
        self.until(&format!("the proof of {name}"), async |_| {
            let Some(now) = self.snapshot(id).await? else {
                return Ok(None);
            };
            if let Some(failure) = &now.evidence.failure {
                return Err(unexpected(&format!(
                    "{name} is not {}: {}",
                    failure.level, failure.message
                )));
            }
            let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if now.evidence.level > *told {
                *told = now.evidence.level;
                self.log.more(&format!("{name:<11} {}", now.evidence.level));
            }
            Ok((now.evidence.level == EvidenceLevel::Probed).then_some(now))
        })
        .await
    }

    /// Waits for the end of a recovery, which must be a success.
    pub(super) async fn recovered(&self, id: RecoveryId) -> Result<(), SandboxError> {
        let record: RecoveryRecord = self
            .until(&format!("recovery {id}"), async |client| {
                let query = Query {
                    id: Some(id.0.clone()),
                    ..Query::default()
                };
                Ok(client.recoveries(&query).await?.items.into_iter().next())
            })
            .await?;
        let phases: Vec<String> = record
            .phases
            .iter()
            .map(|time| format!("{} {}", time.phase.word(), time.took))
            .collect();
        self.log.more(&format!(
            "{:<11} {} in {} ({})",
            record.source.as_ref().map_or("", |source| source.as_str()),
            record.outcome.word(),
            record.duration(),
            phases.join(", ")
        ));
        for finding in &record.findings {
            let mark = if finding.ok { "ok" } else { "NOT OK" };
            self.log
                .more(&format!("            {mark}: {}: {}", finding.what, finding.detail));
        }
        if record.outcome != Outcome::Succeeded {
            return Err(failed("the recovery", record.outcome, record.error));
        }
        Ok(())
    }

    /// Looks again and again until `found` finds something.
    async fn until<T>(
        &self,
        what: &str,
        mut found: impl AsyncFnMut(&Client) -> Result<Option<T>, SandboxError>,
    ) -> Result<T, SandboxError> {
        let clock = self.world.clock();
        let since = clock.monotonic();
        while clock.elapsed(since) < PATIENCE {
            if let Some(thing) = found(&self.client).await? {
                return Ok(thing);
            }
            clock.sleep(LOOK_EVERY).await;
        }
        Err(SandboxError::TooLong {
            what: what.to_owned(),
            seconds: PATIENCE.as_secs(),
        })
    }
}

fn failed(what: &str, outcome: Outcome, error: Option<Failure>) -> SandboxError {
    let why = error.as_ref().map_or(String::new(), |error| format!(": {error}"));
    SandboxError::Engine {
        message: format!("{what} {}{why}", outcome.word()),
        hint: error.and_then(|error| error.hint),
    }
}
