//! One attempt at a run: hooks, the source into a snapshot, a time limit.

use tokio_util::sync::CancellationToken;

use super::Worker;
use super::failure::of_source;
use crate::domain::command::RunResult;
use crate::domain::id::RunId;
use crate::domain::job::{Hook, Job};
use crate::domain::run::{Failure, Outcome, Run};
use crate::engine::hands::Work;
use crate::engine::log::{RunLog, directory};
use crate::repo::Progress;
use crate::repo::rate::sampler;
use crate::source::{self, BackedUp, BackupJob, SourceError};

/// Makes one attempt at a run, with its hooks.
pub(super) async fn attempt(worker: &Worker, work: Work, job: Job, run: Run) -> RunResult {
    let log = RunLog::open(&directory(&worker.state_dir), run.id.as_str(), worker.clock.clone());
    log.line(&format!("job {}, attempt {}", job.name, run.attempt));
    let mut result = match hook(
        worker,
        "before",
        job.hooks.before.as_ref(),
        &job,
        &run.id,
        None,
        &log,
        &work.cancel,
    )
    .await
    {
        Ok(()) => timed(worker, &work, &job, &run, &log).await,
        Err(failure) => failed(&work.cancel, failure),
    };
    if let Some(error) = &result.error {
        log.line(&format!("{}: {}", result.outcome.word(), error.message));
        error.hint.iter().for_each(|hint| log.line(&format!("hint: {hint}")));
    }
    result
        .item_errors
        .iter()
        .for_each(|item| log.line(&format!("not read: {item}")));
    if let Some(snapshot) = &result.snapshot {
        let stats = &result.stats;
        log.line(&format!(
            "snapshot {}: {} files, {} in all, {} read, {} added",
            snapshot.id.short(),
            stats.files,
            stats.size,
            stats.read,
            stats.added
        ));
    }
    let ended_well = matches!(result.outcome, Outcome::Succeeded | Outcome::Partial);
    let (name, after) = if ended_well {
        ("after_success", job.hooks.after_success.as_ref())
    } else {
        ("after_failure", job.hooks.after_failure.as_ref())
    };
    // A hook that follows gets its own time, also after a cancellation.
    let never = CancellationToken::new();
    let followed = hook(worker, name, after, &job, &run.id, Some(&result), &log, &never).await;
    if let (Err(failure), None) = (followed, &result.error) {
        log.line(&failure.message);
        result.error = Some(Failure {
            retryable: false,
            ..failure
        });
    }
    log.line(result.outcome.word());
    result
}

#[expect(clippy::too_many_arguments, reason = "a hook is told everything about its run")]
async fn hook(
    worker: &Worker,
    name: &str,
    hook: Option<&Hook>,
    job: &Job,
    run: &RunId,
    result: Option<&RunResult>,
    log: &RunLog,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    let Some(hook) = hook else { return Ok(()) };
    let snapshot = result.and_then(|result| result.snapshot.as_ref());
    let variables = [
        ("LIFEBOAT_JOB", job.name.to_string()),
        ("LIFEBOAT_SOURCE", job.source.to_string()),
        ("LIFEBOAT_RUN", run.to_string()),
        (
            "LIFEBOAT_OUTCOME",
            result.map_or_else(String::new, |result| result.outcome.word().to_owned()),
        ),
        (
            "LIFEBOAT_SNAPSHOT",
            snapshot.map_or_else(String::new, |snapshot| snapshot.id.to_string()),
        ),
    ];
    super::hooks::run(name, hook, &variables, &worker.clock, log, cancel).await
}

/// Backs up within the job's time limit. When the time is over the backup is asked to end and waited for, so that nothing
/// of it goes on behind the next attempt.
async fn timed(worker: &Worker, work: &Work, job: &Job, run: &Run, log: &RunLog) -> RunResult {
    let cancel = work.cancel.child_token();
    let backup = back_up(worker, work, job, run, log, &cancel);
    tokio::pin!(backup);
    let Some(limit) = job.timeout else {
        return result(work, backup.await);
    };
    tokio::select! {
        ended = &mut backup => result(work, ended),
        () = worker.clock.sleep(limit.to_std()) => {
            cancel.cancel();
            match backup.await {
                // It was done in the very moment its time was over.
                Ok(done) => result(work, Ok(done)),
                Err(_) => RunResult::failed(Outcome::TimedOut, Failure {
                    message: format!("job {} took longer than its timeout of {limit}", job.name),
                    hint: Some("find out what was slow in its log, or give it a longer timeout".to_owned()),
                    retryable: true,
                }),
            }
        }
    }
}

async fn back_up(
    worker: &Worker,
    work: &Work,
    job: &Job,
    run: &Run,
    log: &RunLog,
    cancel: &CancellationToken,
) -> Result<BackedUp, Failure> {
    let definitions = &work.definitions;
    let missing =
        |what: &str| Failure::permanent(format!("{what} is not in the configuration"), "lifeboat config check");
    let source = definitions
        .sources
        .get(&job.source)
        .ok_or_else(|| missing(&format!("source {}", job.source)))?;
    let place = definitions.repositories.get(&job.repository);
    let place = place.ok_or_else(|| missing(&format!("repository {}", job.repository)))?;
    let secrets = super::secrets::of_source(source).await?;
    let repo = worker.repositories.get(place, &worker.clock).await?;
    let progress = Progress::new();
    let _ = work.progress.set(sampler(progress.clone(), worker.clock.clone()));
    log.line(&format!(
        "backing up source {} into repository {}",
        job.source, job.repository
    ));
    let order = BackupJob {
        job: job.name.clone(),
        run: run.id.clone(),
        repository: job.repository.clone(),
        tags: job.tags.clone(),
        comment: None,
        host: worker.host.clone(),
        memory_budget: definitions.limits.memory_budget,
        started_at: worker.clock.now(),
    };
    let done = source::back_up(source, &secrets, &repo, order, &worker.clock, progress, cancel.clone()).await;
    if let Err(SourceError::Repo(_)) = &done {
        // What the open repository remembers of its index may be why; the next attempt looks afresh.
        worker.repositories.forget(&place.name).await;
    }
    done.map_err(|error| of_source(&error))
}

fn result(work: &Work, ended: Result<BackedUp, Failure>) -> RunResult {
    match ended {
        Ok(done) => {
            let partial = done.snapshot.partial;
            let error = partial.then(|| Failure {
                message: format!("{} things could not be read", done.stats.errors),
                hint: Some("the log of the run names them".to_owned()),
                retryable: false,
            });
            // What is wrong with the source and not with the copy of it is told, and the run has succeeded all the same.
            let warning = done.warning.map(|message| Failure {
                message,
                hint: Some(
                    "find out since when: the manifest (lifeboat.json) of each snapshot names the pages".to_owned(),
                ),
                retryable: false,
            });
            let error = error.or(warning);
            RunResult {
                outcome: if partial { Outcome::Partial } else { Outcome::Succeeded },
                stats: done.stats,
                snapshot: Some(done.snapshot),
                error,
                item_errors: done.item_errors,
            }
        }
        Err(failure) => failed(&work.cancel, failure),
    }
}

fn failed(cancel: &CancellationToken, failure: Failure) -> RunResult {
    let outcome = if cancel.is_cancelled() {
        Outcome::Cancelled
    } else {
        Outcome::Failed
    };
    RunResult::failed(outcome, failure)
}
