//! `lifeboat recover`: a cluster as it was at a point in time, from a repository directly, with no agent.
//!
//! Planning comes first and changes nothing; what cannot be reached is refused with the interval that can. Then two phases
//! are told apart, because they take their time for different reasons: laying down (the repository's speed), and replaying
//! (the disk's). The same command again goes on where an interrupted one ended.

mod follow_up;
mod report;
mod subject;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub(in crate::cli) use self::report::write_intervals;
use self::report::{Intervals, Outcome};
use self::subject::Subject;
pub(in crate::cli) use self::subject::{instant, point};
use super::args::RecoverArgs;
use super::confirm::confirm_as;
use super::context::Ctx;
use super::direct::of_repo;
use super::error::{CliError, Exit};
use crate::cli::progress::Progress as Told;
use crate::domain::follow_up::directory_name;
use crate::domain::pitr::{Plan, Target};
use crate::domain::units::Bytes;
use crate::domain::view::ProgressView;
use crate::repo::Progress;
use crate::repo::rate::sampler;
use crate::source::postgres::physical::LaidDown;
use crate::source::postgres::recovery::{
    self, Earlier, Hold, Order, RecoveryError, Replayed, Seen, Standing, Then, home_of, stop,
};
use crate::source::postgres::wal::WalError;
use crate::source::{SourceError, Work};

/// How often the figures of laying down are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs `lifeboat recover`.
pub async fn run(args: RecoverArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    if args.list {
        return list(&args, ctx).await;
    }
    if let Some(dir) = &args.discard {
        ctx.may_change("remove a recovery")?;
        return follow_up::discard(dir, &args, ctx).await;
    }
    if let Some(dir) = &args.promote {
        ctx.may_change("open a recovery")?;
        return follow_up::promote(dir, &args, ctx).await;
    }
    if let Some(dir) = &args.resume {
        ctx.may_change("go on with a recovery")?;
        return follow_up::resume(dir, &args, ctx).await;
    }
    let wish = subject::wish(&args, ctx.clock.now())?.ok_or_else(|| {
        CliError::usage("it is not said to which point")
            .hint("give --latest, --to TIME, --to-lsn, --to-xid, --to-name or --immediate")
    })?;
    let subject = Subject::open(&args, ctx).await?;
    let plan = subject.plan(&wish).await?;
    if args.plan {
        ctx.print(&report::Planned::of(&plan, &subject))?;
        return Ok(Exit::Done);
    }
    ctx.may_change("recover")?;
    let target = args.target.clone().ok_or_else(|| {
        CliError::usage("it is not said where to")
            .hint("give a new directory with --target DIR, or --plan to only look")
    })?;
    let target =
        std::path::absolute(&target).map_err(|error| CliError::usage("the directory makes no sense").why(error))?;
    if args.table.is_some() {
        return table::run(&args, &subject, plan, &target, ctx).await;
    }
    let order = order(&args, &subject, plan, target);
    let (replayed, laid, _hold) = carry_out(&order, &subject.title, args.yes.as_deref(), ctx).await?;
    finish(replayed, laid.as_ref(), &order.target, &args, ctx).await
}

/// What the arguments order.
fn order(args: &RecoverArgs, subject: &Subject, plan: Plan, target: PathBuf) -> Order {
    Order {
        archive: subject.archive.clone(),
        plan,
        target,
        delta: args.delta,
        tablespaces: args.tablespace.clone(),
        then: if args.pause { Then::Pause } else { Then::Open },
        roles: subject.roles(args.user.as_deref()),
        bin_dir: args.bin_dir.clone().or_else(|| subject.bin_dir.clone()),
        settings: args.set.clone(),
        repository: Some(subject.repository.clone()),
        source: args.source.clone(),
        owner: None,
    }
}

/// Shows which instants can be restored.
async fn list(args: &RecoverArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let subject = Subject::open(args, ctx).await?;
    let intervals = subject.known.intervals(&subject.archive).await;
    let intervals = intervals.map_err(|error| of_recovery("the archive cannot be read", &error))?;
    ctx.print(&Intervals::of(&subject, intervals))?;
    Ok(Exit::Done)
}

/// What went wrong with a recovery, as the reason why `what` failed.
pub(in crate::cli) fn of_recovery(what: impl Into<String>, error: &RecoveryError) -> CliError {
    let source = match error {
        RecoveryError::Source(error) | RecoveryError::Wal(WalError::Source(error)) => Some(error),
        _ => None,
    };
    if let Some(SourceError::Repo(error)) = source {
        return of_repo(what, error);
    }
    let in_the_way = match source {
        Some(SourceError::Physical(error)) => error.is_refusal(),
        Some(SourceError::Server(error)) => error.is_refusal(),
        Some(SourceError::DatabaseExists { .. }) => true,
        _ => false,
    };
    let exit = match error {
        error if error.is_cancelled() => Exit::Cancelled,
        error if error.is_refusal() || in_the_way => Exit::Refused,
        RecoveryError::NotOurs { .. } | RecoveryError::NoRole { .. } => Exit::Usage,
        _ if matches!(source, Some(SourceError::Invalid { .. })) => Exit::Usage,
        _ => Exit::Failed,
    };
    CliError::failed(what).why(error).maybe_hint(error.hint()).exit(exit)
}

/// Lays down, replays, and returns with the server at the target; what laying down did, when it was not done before; and the
/// right to act on the copy.
async fn carry_out(
    order: &Order,
    title: &str,
    yes: Option<&str>,
    ctx: &Ctx,
) -> Result<(Replayed, Option<LaidDown>, Hold), CliError> {
    let what = format!("{title} cannot be recovered into {}", order.target.display());
    let failed = |error: RecoveryError| of_recovery(what.as_str(), &error);
    let earlier = order.earlier(&ctx.clock).await;
    let (earlier, hold) = earlier.map_err(|error| of_recovery("the directory cannot be used", &error))?;
    match earlier {
        Earlier::Laid => ctx.out.remark("going on with what an earlier call has laid down"),
        Earlier::Old => {
            let name = directory_name(&order.target);
            let question = format!("what is in {} is replaced", order.target.display());
            confirm_as(ctx, "the recovery", &question, &name, yes)?;
        }
        Earlier::Nothing | Earlier::Begun => {}
    }
    let stop = ctx.interrupts().stop;
    let laid = lay((order, &hold), earlier, &stop, ctx).await.map_err(failed)?;
    let tell = Telling::begin(ctx);
    let replayed = order
        .replay(&hold, &ctx.clock, &stop, &|seen| tell.tell(seen))
        .await
        .map_err(failed)?;
    Ok((replayed, laid, hold))
}

/// Lays down, and tells how far it is.
async fn lay(
    (order, hold): (&Order, &Hold),
    earlier: Earlier,
    stop: &CancellationToken,
    ctx: &Ctx,
) -> Result<Option<LaidDown>, RecoveryError> {
    let counters = Progress::new();
    let sample = sampler(counters.clone(), ctx.clock.clone());
    let work = Work {
        repo: order.archive.repo(),
        clock: &ctx.clock,
        progress: counters,
        cancel: stop.clone(),
        reached: &|_| {},
    };
    let mut told = ctx.progress("1 of 2, laying down");
    let laying = order.lay(earlier, hold, &work);
    tokio::pin!(laying);
    loop {
        tokio::select! {
            ended = &mut laying => return ended,
            () = ctx.clock.sleep(LOOK_EVERY) => told.update(&sample()),
        }
    }
}

/// Ends the server that an earlier call has left on a copy.
async fn end_server(data: &Path, home: &Path, ctx: &Ctx) -> Result<(), CliError> {
    let what = || format!("the server on {} cannot be ended", data.display());
    let ended = recovery::order::end_server(data, home, &ctx.clock).await;
    ended.map_err(|error| of_recovery(what(), &error))
}

/// Tells how far a replay is.
struct Telling(std::sync::Mutex<Told>);

impl Telling {
    fn begin(ctx: &Ctx) -> Self {
        Self(std::sync::Mutex::new(ctx.progress("2 of 2, replaying")))
    }

    fn tell(&self, seen: &Seen) {
        let mut told = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        told.update(&view_of(seen));
    }
}

fn view_of(seen: &Seen) -> ProgressView {
    let place = seen.lsn.map(|lsn| lsn.to_string()).unwrap_or_default();
    let commit = seen.last_commit.map(|at| at.format(" %Y-%m-%d %H:%M:%S").to_string());
    ProgressView {
        phase: match seen.standing {
            Standing::Starting => "starting".to_owned(),
            _ => format!("{place}{}", commit.unwrap_or_default()),
        },
        current: place,
        bytes_done: seen.done,
        bytes_total: Some(seen.total).filter(|total| *total > Bytes(0)),
        rate: seen.rate,
        eta: seen.eta,
        ..ProgressView::default()
    }
}

/// Ends a recovery as was asked: paused, running, or stopped in good order.
async fn finish(
    replayed: Replayed,
    laid: Option<&LaidDown>,
    target: &Path,
    args: &RecoverArgs,
    ctx: &Ctx,
) -> Result<Exit, CliError> {
    let failed = |error: RecoveryError| of_recovery("the recovered server cannot be stopped", &error);
    let paused = replayed.seen.standing == Standing::Paused;
    let outcome = Outcome::of(&replayed, laid, target, paused || args.start);
    if paused || args.start {
        replayed.server.keep().map_err(|error| failed(error.into()))?;
    } else {
        stop(replayed.server).await.map_err(failed)?;
        // Nothing of us stays beside a copy that is done with.
        let _ = std::fs::remove_dir_all(home_of(target));
    }
    ctx.print(&outcome)?;
    Ok(Exit::Done)
}

/// Whether a target says nothing about where it is.
fn has_place(target: &Target) -> bool {
    !matches!(target, Target::Latest | Target::Immediate)
}
