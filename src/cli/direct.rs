//! Working on a repository directly: opening it, finding a snapshot in it, watching the work, telling what went wrong.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::context::Ctx;
use super::error::{CliError, Exit};
use crate::clock::Clock;
use crate::config::secret;
use crate::domain::job::RepositoryDefinition;
use crate::repo::rate::sampler;
use crate::repo::{Progress, RepoError, Repository, SnapshotInfo};
use crate::store::{self, Store};
use secrecy::SecretString;

/// How often the figures of the work are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Reads the password of a repository and reaches its store.
pub(super) async fn reach(
    definition: &RepositoryDefinition,
    clock: &Clock,
) -> Result<(Arc<dyn Store>, SecretString), CliError> {
    let password = secret::resolve(&definition.password).await.map_err(|error| {
        CliError::usage("the password of the repository cannot be read")
            .why(&error)
            .maybe_hint(error.hint())
    })?;
    // An address that is refused is not repeated: it may be refused for the secret in it.
    let store = store::open_defined(definition, clock).await.map_err(|error| {
        CliError::usage("the repository cannot be reached")
            .why(&error)
            .maybe_hint(error.hint())
    })?;
    Ok((store, password))
}

/// Opens a repository.
pub(super) async fn open(definition: &RepositoryDefinition, ctx: &Ctx) -> Result<Repository, CliError> {
    let (store, password) = reach(definition, &ctx.clock).await?;
    let opened = Repository::open(store, &password, ctx.clock.clone()).await;
    opened.map_err(|error| of_repo(format!("the repository {} cannot be opened", definition.url), &error))
}

/// Finds the snapshot that a prefix of its id, `latest` or `latest:JOB` means.
pub(super) async fn resolve(repo: &Repository, id: &str) -> Result<SnapshotInfo, CliError> {
    let what = || format!("snapshot {id} cannot be found");
    let Some(("latest", job)) = id.split_once(':') else {
        return repo.snapshot(id).await.map_err(|error| of_repo(what(), &error));
    };
    let wanted = format!("job={job}");
    let all = repo.snapshots().await.map_err(|error| of_repo(what(), &error))?;
    let newest = all.into_iter().rev().find(|info| info.snapshot.tags.contains(&wanted));
    newest.ok_or_else(|| {
        CliError::usage(what())
            .why(format!("no snapshot of job {job}"))
            .hint("see them with: lifeboat snapshot list")
    })
}

/// Does a piece of work on a repository: tells its progress, and stops it when Ctrl-C is pressed.
pub(super) async fn drive<T>(
    ctx: &Ctx,
    title: &str,
    what: &str,
    work: impl AsyncFnOnce(Arc<Progress>, CancellationToken) -> Result<T, RepoError>,
) -> Result<T, CliError> {
    let counters = Progress::new();
    let sample = sampler(counters.clone(), ctx.clock.clone());
    let interrupts = ctx.interrupts();
    let mut told = ctx.progress(title);
    let work = work(counters, interrupts.stop.clone());
    tokio::pin!(work);
    let ended = loop {
        tokio::select! {
            ended = &mut work => break ended,
            // The second Ctrl-C: what was written so far is garbage that the next run reuses.
            () = interrupts.detach.cancelled() => return Err(CliError::cancelled(format!("{what}: cancelled"))),
            () = ctx.clock.sleep(LOOK_EVERY) => told.update(&sample()),
        }
    };
    drop(told);
    ended.map_err(|error| of_repo(what, &error))
}

/// What a repository says, as the reason why `what` failed.
pub(super) fn of_repo(what: impl Into<String>, error: &RepoError) -> CliError {
    let exit = match error {
        RepoError::Cancelled => return CliError::cancelled(what).why("you asked for it"),
        RepoError::NoSuchSnapshot { .. }
        | RepoError::AmbiguousSnapshot { .. }
        | RepoError::NoSuchPath { .. }
        | RepoError::NotInTrash { .. }
        | RepoError::NotPinned { .. }
        | RepoError::Invalid { .. } => Exit::Usage,
        RepoError::Refused { .. } | RepoError::AlreadyInitialised { .. } | RepoError::Prune(_) => Exit::Refused,
        _ => Exit::Failed,
    };
    CliError::failed(what).why(error).maybe_hint(error.hint()).exit(exit)
}

/// Tells the things that could not be processed on the error stream, the first of them by name.
pub(super) fn remark_errors(ctx: &Ctx, errors: &[crate::repo::ItemError]) {
    const TOLD: usize = 20;
    for error in errors.iter().take(TOLD) {
        ctx.out.remark(&format!("{}: {}", error.path, error.message));
    }
    if errors.len() > TOLD {
        ctx.out
            .remark(&format!("and {} more; --json names all", errors.len() - TOLD));
    }
}
