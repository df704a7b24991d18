//! What comes after a pause: open the server, go on to a later target, or throw everything away.

use std::path::{Path, PathBuf};

use super::subject::{self, Subject};
use super::{Telling, directory_name, end_server, finish, of_recovery, wish_of};
use crate::cli::args::RecoverArgs;
use crate::cli::confirm::confirm_as;
use crate::cli::context::Ctx;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Render, Text};
use crate::domain::Timestamp;
use crate::domain::pitr::{Plan, TimelineChoice, Wish};
use crate::source::postgres::physical::is_laying;
use crate::source::postgres::recovery::{self, Note, Phase, RecoveryError, Replay, Replayed, Then, home_of};
use crate::source::postgres::server::PrivateServer;

/// A recovery that an earlier call has begun.
struct Begun {
    data: PathBuf,
    home: PathBuf,
    note: Note,
}

fn begun(dir: &Path) -> Result<Begun, CliError> {
    let data = std::path::absolute(dir).map_err(|error| CliError::usage("the directory makes no sense").why(error))?;
    let home = home_of(&data);
    let what = || format!("{} is not known", data.display());
    let note = Note::read(&home).map_err(|error| of_recovery(what(), &error))?;
    let note = note.ok_or_else(|| {
        let error = RecoveryError::NotOurs {
            path: data.clone(),
            why: "there is no note of it beside the directory".to_owned(),
        };
        of_recovery(what(), &error)
    })?;
    Ok(Begun { data, home, note })
}

impl Begun {
    /// Opens the repository again: as it is said now, else as it was said then.
    async fn subject(&self, args: &RecoverArgs, ctx: &Ctx) -> Result<Subject, CliError> {
        let mut repository = args.repository.clone();
        if repository.repository.is_none() {
            repository.repository.clone_from(&self.note.repository);
        }
        let source = args.source.as_deref().or(self.note.source.as_deref());
        Subject::open_as(repository, source, Some(self.note.system), ctx).await
    }

    fn not_opened(&self, what: &str) -> Result<(), CliError> {
        if self.note.phase == Phase::Opened {
            return Err(
                CliError::refused(format!("{} was opened already; {what}", self.data.display()))
                    .why("it is a cluster of its own now")
                    .hint("stop its server and remove the directory yourself when it is not needed"),
            );
        }
        Ok(())
    }

    /// Whether what is in the directory was there before anything of ours.
    fn is_untouched(&self) -> bool {
        let empty = self
            .data
            .read_dir()
            .map_or(true, |mut entries| entries.next().is_none());
        self.note.phase == Phase::Laying && !empty && !is_laying(&self.data)
    }

    /// Replays as planned, on a copy that no server runs on, and notes how far it came.
    async fn replay(
        &mut self,
        plan: Plan,
        then: Then,
        subject: &Subject,
        args: &RecoverArgs,
        ctx: &Ctx,
    ) -> Result<Replayed, CliError> {
        let what = format!("the recovery in {} cannot go on", self.data.display());
        let failed = |error: RecoveryError| of_recovery(what.as_str(), &error);
        self.note.target = plan.target.clone();
        self.note.inclusive = plan.inclusive;
        self.note.reached(Phase::Replaying, &self.home).map_err(failed)?;
        let order = Replay {
            plan,
            then,
            data: self.data.clone(),
            home: self.home.clone(),
            program: recovery::order::program().map_err(failed)?,
            bin_dir: self.bin_dir(args),
            roles: args.user.iter().chain(&self.note.roles).cloned().collect(),
            settings: args.set.clone(),
        };
        let stop = ctx.interrupts().stop;
        let told = Telling::begin(ctx);
        let replayed = recovery::replay(&order, &subject.archive, &ctx.clock, &stop, &|seen| told.tell(seen)).await;
        let replayed = replayed.map_err(failed)?;
        let phase = Phase::of(replayed.seen.standing);
        self.note.reached(phase, &self.home).map_err(failed)?;
        Ok(replayed)
    }

    fn bin_dir(&self, args: &RecoverArgs) -> Option<PathBuf> {
        args.bin_dir.clone().or_else(|| self.note.bin_dir.clone())
    }
}

/// A recovery that is to go on: all its files are laid down, and nobody has opened it.
async fn to_go_on(dir: &Path, what: &str, args: &RecoverArgs, ctx: &Ctx) -> Result<(Begun, Subject), CliError> {
    let begun = begun(dir)?;
    begun.not_opened(&format!("it {what}"))?;
    if begun.note.phase == Phase::Laying {
        return Err(
            CliError::refused(format!("the recovery in {} {what}", begun.data.display()))
                .why("its files are not all laid down")
                .hint("run the recovery again first"),
        );
    }
    let subject = begun.subject(args, ctx).await?;
    Ok((begun, subject))
}

/// Opens the server that is paused.
pub(super) async fn promote(dir: &Path, args: &RecoverArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let (mut begun, subject) = to_go_on(dir, "cannot be opened", args, ctx).await?;
    let what = format!("the recovery in {} cannot be opened", begun.data.display());
    let failed = |error: RecoveryError| of_recovery(what.as_str(), &error);
    let running = PrivateServer::attach(&begun.home, &ctx.clock).map_err(|error| failed(error.into()))?;
    let replayed = if let Some(server) = running.filter(|_| begun.note.phase == Phase::Paused) {
        let stop = ctx.interrupts().stop;
        let opened = recovery::promote(server, &begun.home, &subject.archive, &ctx.clock, &stop).await;
        let opened = opened.map_err(failed)?;
        begun.note.reached(Phase::Opened, &begun.home).map_err(failed)?;
        opened
    } else {
        // It has ended since, with the machine perhaps: to the same target again, and open there.
        let plan = subject.plan(&wish_of(&begun.note)).await?;
        end_server(&begun.data, &begun.home, ctx).await?;
        begun.replay(plan, Then::Open, &subject, args, ctx).await?
    };
    finish(replayed, None, &begun.data, args, ctx).await
}

/// Goes on to a later target, or to the same one again.
pub(super) async fn resume(dir: &Path, args: &RecoverArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let (mut begun, subject) = to_go_on(dir, "cannot go on", args, ctx).await?;
    let wish = match subject::wish(args, ctx.clock.now())? {
        Some(wish) => Wish {
            timeline: TimelineChoice::Number(begun.note.timeline),
            base: Some(begun.note.base.clone()),
            ..wish
        },
        None => wish_of(&begun.note),
    };
    let plan = subject.plan(&wish).await?;
    if wish.target != begun.note.target || wish.inclusive != begun.note.inclusive {
        let reached = recovery::reached(&begun.data, &begun.home, begun.bin_dir(args), &ctx.clock).await;
        let passed = reached.map(|at| at.filter(|at| plan.exact && plan.to < *at));
        let what = || format!("the recovery in {} cannot go on", begun.data.display());
        let passed = passed.map_err(|error| of_recovery(what(), &error))?;
        if let Some(at) = passed {
            return Err(of_recovery(what(), &RecoveryError::Passed { at }));
        }
    }
    end_server(&begun.data, &begun.home, ctx).await?;
    let replayed = begun.replay(plan, Then::Pause, &subject, args, ctx).await?;
    finish(replayed, None, &begun.data, args, ctx).await
}

/// What was removed.
#[derive(Debug, serde::Serialize)]
struct Discarded {
    removed: Vec<PathBuf>,
}

impl Render for Discarded {
    fn text(&self, out: &mut Text) {
        for path in &self.removed {
            out.line(format!("removed {}", path.display()));
        }
    }
}

/// Stops the server and removes everything a recovery has laid down.
pub(super) async fn discard(dir: &Path, args: &RecoverArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let begun = begun(dir)?;
    begun.not_opened("it is not removed")?;
    if begun.is_untouched() {
        return Err(CliError::refused(format!("{} is not removed", begun.data.display()))
            .why("nothing was laid into it yet, so what is in it is not ours"));
    }
    let name = directory_name(&begun.data);
    let question = format!("{} and everything in it is removed", begun.data.display());
    confirm_as(ctx, "the removal", &question, &name, args.yes.as_deref())?;
    end_server(&begun.data, &begun.home, ctx).await?;
    let removed = remove(&begun).await?;
    ctx.print(&Discarded { removed })?;
    Ok(Exit::Done)
}

/// Removes the copy, its tablespaces and our note of it; the note last, so that an interrupted removal can be repeated.
async fn remove(begun: &Begun) -> Result<Vec<PathBuf>, CliError> {
    let mut all = begun.note.tablespaces.clone();
    // Those of one that was interrupted are only linked yet.
    let links = begun.data.join("pg_tblspc").read_dir().into_iter().flatten().flatten();
    all.extend(
        links
            .filter_map(|link| std::fs::read_link(link.path()).ok())
            .filter(|place| place.is_absolute()),
    );
    all.dedup();
    all.extend([begun.data.clone(), begun.home.clone()]);
    let mut removed = Vec::new();
    for path in all {
        let place = path.clone();
        let gone = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(&place)).await;
        let gone =
            gone.map_err(|error| CliError::failed(format!("{} cannot be removed", path.display())).why(error))?;
        match gone {
            Ok(()) => removed.push(path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(CliError::failed(format!("{} cannot be removed", path.display())).why(error)),
        }
    }
    Ok(removed)
}

/// Removes what a failed recovery has begun at that moment or later; what was there before it is not touched.
pub(super) async fn remove_what_began(data: &Path, since: Timestamp, ctx: &Ctx) -> Result<(), CliError> {
    let note = Note::read(&home_of(data)).ok().flatten();
    if note.is_none_or(|note| note.began_at < since || note.phase == Phase::Opened) || begun(data)?.is_untouched() {
        return Ok(());
    }
    remove_all(data, ctx).await
}

/// Ends the server and removes the copy of a recovery that has served.
pub(super) async fn remove_all(data: &Path, ctx: &Ctx) -> Result<(), CliError> {
    let begun = begun(data)?;
    end_server(&begun.data, &begun.home, ctx).await?;
    remove(&begun).await.map(drop)
}
