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
use super::args::RecoverArgs;
use super::confirm::confirm_as;
use super::context::Ctx;
use super::direct::of_repo;
use super::error::{CliError, Exit};
use crate::domain::pitr::{Plan, Target, Wish};
use crate::domain::units::Bytes;
use crate::domain::view::ProgressView;
use crate::repo::Progress;
use crate::repo::rate::sampler;
use crate::source::postgres::physical::{LaidDown, LayDownOptions, PhysicalError, is_laying, lay_down};
use crate::source::postgres::recovery::{
    Note, Phase, RecoveryError, Replay, Replayed, Seen, Standing, Then, home_of, replay, stop,
};
use crate::source::postgres::server;
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
    let recovery = Recovery {
        args: &args,
        subject: &subject,
        plan,
        target,
        then: if args.pause { Then::Pause } else { Then::Open },
    };
    let (replayed, laid) = recovery.run(ctx).await?;
    finish(replayed, Some(&laid), &recovery.target, &args, ctx).await
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

/// A recovery into a directory.
struct Recovery<'a> {
    args: &'a RecoverArgs,
    subject: &'a Subject,
    plan: Plan,
    target: PathBuf,
    then: Then,
}

/// What laying down did; none when it had been done before.
type Laid = Option<LaidDown>;

impl Recovery<'_> {
    /// Lays down, replays, and returns with the server at the target.
    async fn run(&self, ctx: &Ctx) -> Result<(Replayed, Laid), CliError> {
        let what = format!(
            "{} cannot be recovered into {}",
            self.subject.title,
            self.target.display()
        );
        let failed = |error: RecoveryError| of_recovery(what.as_str(), &error);
        let stop = ctx.interrupts().stop;
        let home = home_of(&self.target);
        let earlier = self.earlier(&home, ctx).await?;
        let mut note = self.note(ctx);
        let laid = match earlier {
            Earlier::GoOn => None,
            Earlier::Lay { delta } => {
                let fresh = !home.exists();
                note.write(&home).map_err(failed)?;
                let laid = self.lay(delta, &stop, ctx).await;
                if fresh && laid.is_err() && !is_laying(&self.target) {
                    // It was refused before anything was touched: what is there is not ours to be remembered.
                    let _ = std::fs::remove_dir_all(&home);
                }
                Some(laid.map_err(|error| failed(error.into()))?)
            }
        };
        if let Some(laid) = &laid {
            note.tablespaces = laid.tablespaces.iter().map(|(_, place)| place.clone()).collect();
        } else if let Ok(Some(before)) = Note::read(&home) {
            note.tablespaces = before.tablespaces;
        }
        note.reached(Phase::Replaying, &home).map_err(failed)?;
        let replayed = self.replay(&home, &stop, ctx).await.map_err(failed)?;
        note.reached(Phase::of(replayed.seen.standing), &home).map_err(failed)?;
        Ok((replayed, laid))
    }

    fn note(&self, ctx: &Ctx) -> Note {
        Note {
            phase: Phase::Laying,
            system: self.subject.archive.system(),
            base: self.plan.base.clone(),
            timeline: self.plan.timeline,
            target: self.plan.target.clone(),
            inclusive: self.plan.inclusive,
            repository: Some(self.subject.repository.clone()),
            source: self.args.source.clone(),
            tablespaces: Vec::new(),
            roles: self.subject.roles(self.args.user.as_deref()),
            bin_dir: self.args.bin_dir.clone().or_else(|| self.subject.bin_dir.clone()),
            began_at: ctx.clock.now(),
        }
    }

    /// What an earlier call has left here.
    async fn earlier(&self, home: &Path, ctx: &Ctx) -> Result<Earlier, CliError> {
        let failed = |error: RecoveryError| of_recovery("the directory cannot be used", &error);
        let asked = Earlier::Lay { delta: self.args.delta };
        let note = Note::read(home).map_err(failed)?;
        let ours = note.filter(|note| note.phase != Phase::Opened && note.system == self.subject.archive.system());
        let Some(note) = ours else {
            self.in_the_way().map_err(failed)?;
            return self.confirmed(asked, ctx);
        };
        end_server(&self.target, home, ctx).await?;
        let same = note.base == self.plan.base
            && note.timeline == self.plan.timeline
            && note.target == self.plan.target
            && note.inclusive == self.plan.inclusive;
        if same && note.phase != Phase::Laying && self.target.join("global/pg_control").exists() {
            ctx.out.remark("going on with what an earlier call has laid down");
            return Ok(Earlier::GoOn);
        }
        // What an earlier call of ours has begun is ours to replace.
        Ok(Earlier::Lay { delta: true })
    }

    /// Refuses what is not ours before anything of ours is written beside it.
    fn in_the_way(&self) -> Result<(), RecoveryError> {
        server::refuse_in_use(&self.target)?;
        match self.target.read_dir().map(|mut entries| entries.next().is_some()) {
            Ok(true) if !self.args.delta => {
                let directory = self.target.clone();
                Err(SourceError::from(PhysicalError::NotEmpty { directory }).into())
            }
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(SourceError::local("look into", &self.target, &error).into())
            }
            _ => Ok(()),
        }
    }

    /// Asks before an old copy becomes a new one.
    fn confirmed(&self, earlier: Earlier, ctx: &Ctx) -> Result<Earlier, CliError> {
        let occupied = self.target.read_dir().is_ok_and(|mut entries| entries.next().is_some());
        if self.args.delta && occupied {
            let name = directory_name(&self.target);
            let question = format!("what is in {} is replaced", self.target.display());
            confirm_as(ctx, "the recovery", &question, &name, self.args.yes.as_deref())?;
        }
        Ok(earlier)
    }

    async fn lay(&self, delta: bool, stop: &CancellationToken, ctx: &Ctx) -> Result<LaidDown, SourceError> {
        let counters = Progress::new();
        let sample = sampler(counters.clone(), ctx.clock.clone());
        let work = Work {
            repo: self.subject.archive.repo(),
            clock: &ctx.clock,
            progress: counters,
            cancel: stop.clone(),
            reached: &|_| {},
        };
        let options = LayDownOptions {
            delta,
            tablespaces: self.args.tablespace.clone(),
        };
        let mut told = ctx.progress("1 of 2, laying down");
        let laying = lay_down(&self.plan.base, &self.target, &options, &work);
        tokio::pin!(laying);
        loop {
            tokio::select! {
                ended = &mut laying => return ended,
                () = ctx.clock.sleep(LOOK_EVERY) => told.update(&sample()),
            }
        }
    }

    async fn replay(&self, home: &Path, stop: &CancellationToken, ctx: &Ctx) -> Result<Replayed, RecoveryError> {
        let order = Replay {
            plan: self.plan.clone(),
            then: self.then,
            data: self.target.clone(),
            home: home.to_owned(),
            program: program()?,
            bin_dir: self.args.bin_dir.clone().or_else(|| self.subject.bin_dir.clone()),
            roles: self.subject.roles(self.args.user.as_deref()),
            settings: self.args.set.clone(),
        };
        watched(&order, &self.subject.archive, stop, ctx).await
    }
}

/// Ends the server that an earlier call has left on a copy.
async fn end_server(data: &Path, home: &Path, ctx: &Ctx) -> Result<(), CliError> {
    let what = || format!("the server on {} cannot be ended", data.display());
    let (data, home, clock) = (data.to_owned(), home.to_owned(), ctx.clock.clone());
    let ended = tokio::task::spawn_blocking(move || server::end_on(&data, &home, &clock)).await;
    ended
        .map_err(|error| CliError::failed(what()).why(error))?
        .map_err(|error| of_recovery(what(), &error.into()))
}

/// Replays, and tells how far it is.
async fn watched(
    order: &Replay,
    archive: &crate::source::postgres::wal::WalArchive,
    stop: &CancellationToken,
    ctx: &Ctx,
) -> Result<Replayed, RecoveryError> {
    let told = std::sync::Mutex::new(ctx.progress("2 of 2, replaying"));
    let tell = |seen: &Seen| {
        let view = view_of(seen);
        told.lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .update(&view);
    };
    replay(order, archive, &ctx.clock, stop, &tell).await
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

enum Earlier {
    /// It has laid everything down for the same target.
    GoOn,
    /// Everything is to be laid down; over what is there, when that is an old copy.
    Lay { delta: bool },
}

/// This program, for the server to call.
fn program() -> Result<PathBuf, RecoveryError> {
    let found = std::env::current_exe();
    found.map_err(|error| SourceError::local("find", Path::new("this program"), &error).into())
}

/// The name of a directory, which has to be typed.
fn directory_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// Ends a recovery as was asked: paused, running, or stopped in good order.
async fn finish(
    replayed: Replayed,
    laid: Option<&Laid>,
    target: &Path,
    args: &RecoverArgs,
    ctx: &Ctx,
) -> Result<Exit, CliError> {
    let failed = |error: RecoveryError| of_recovery("the recovered server cannot be stopped", &error);
    let paused = replayed.seen.standing == Standing::Paused;
    let outcome = Outcome::of(&replayed, laid.and_then(Option::as_ref), target, paused || args.start);
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

/// The wish of an earlier recovery.
fn wish_of(note: &Note) -> Wish {
    Wish {
        target: note.target.clone(),
        inclusive: note.inclusive,
        timeline: crate::domain::pitr::TimelineChoice::Number(note.timeline),
        base: Some(note.base.clone()),
    }
}

/// Whether a target says nothing about where it is.
fn has_place(target: &Target) -> bool {
    !matches!(target, Target::Latest | Target::Immediate)
}
