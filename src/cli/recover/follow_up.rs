//! What comes after a pause, by the directory: open the server, go on to a later target, or throw everything away.
//!
//! It is what the agent does too, with the same functions; one that an agent has recovered may be ended here as well, without
//! the agent, which sees it.

use std::path::{Path, PathBuf};

use super::subject::{self, Subject};
use super::{Telling, end_server, finish, of_recovery};
use crate::cli::args::RecoverArgs;
use crate::cli::confirm::confirm_as;
use crate::cli::context::Ctx;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Render, Text};
use crate::domain::Timestamp;
use crate::domain::follow_up::{FollowUp, directory_name};
use crate::domain::pitr::{TimelineChoice, Wish};
use crate::source::postgres::recovery::follow_up::{self, Begun, Means};
use crate::source::postgres::recovery::{Hold, Note, Phase, Replayed, home_of};

fn absolute(dir: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(dir).map_err(|error| CliError::usage("the directory makes no sense").why(error))
}

fn begun(dir: &Path) -> Result<Begun, CliError> {
    let data = absolute(dir)?;
    Begun::read(&data).map_err(|error| of_recovery(format!("{} is not known", data.display()), &error))
}

/// The same, with the right to act on it.
async fn hold(dir: &Path, doing: &str, what: &str, ctx: &Ctx) -> Result<(Begun, Hold), CliError> {
    let known = begun(dir)?;
    let held = Begun::hold(&known.data, doing, &ctx.clock).await;
    held.map_err(|error| of_recovery(format!("the recovery in {} {what}", known.data.display()), &error))
}

/// Opens the repository again: as it is said now, else as it was said then.
async fn subject_of(begun: &Begun, args: &RecoverArgs, ctx: &Ctx) -> Result<Subject, CliError> {
    let mut repository = args.repository.clone();
    if repository.repository.is_none() {
        // The configuration has its password, too, under the name it has there.
        let noted = begun.note.repository.clone();
        let known = ctx.config().ok().and_then(|config| {
            let mut places = config.definitions.repositories.iter();
            let found = places.find(|(_, place)| noted.as_deref() == Some(place.url.as_str()));
            found.map(|(name, _)| name.to_string())
        });
        repository.repository = known.or(noted);
    }
    let source = args.source.as_deref().or(begun.note.source.as_deref());
    Subject::open_as(repository, source, Some(begun.note.system), ctx).await
}

/// What is done with a server that waits, told on the way.
async fn act(
    (begun, hold): (&mut Begun, &Hold),
    wish: Option<Wish>,
    subject: &Subject,
    args: &RecoverArgs,
    ctx: &Ctx,
) -> Result<Replayed, CliError> {
    let told = Telling::begin(ctx);
    let means = Means {
        archive: &subject.archive,
        known: &subject.known,
        bin_dir: args.bin_dir.clone(),
        roles: args.user.iter().cloned().collect(),
        settings: args.set.clone(),
        clock: &ctx.clock,
        cancel: &ctx.interrupts().stop,
        tell: &|seen| told.tell(seen),
    };
    let what = match &wish {
        Some(_) => format!("the recovery in {} cannot go on", begun.data.display()),
        None => format!("the recovery in {} cannot be opened", begun.data.display()),
    };
    let done = match wish {
        Some(wish) => follow_up::resume(begun, hold, &wish, &means).await,
        None => follow_up::open(begun, hold, &means).await,
    };
    done.map_err(|error| of_recovery(what, &error))
}

/// A recovery that is to go on: all its files are laid down, and nobody has opened it.
async fn to_go_on(
    dir: &Path,
    (doing, what): (&str, &str),
    args: &RecoverArgs,
    ctx: &Ctx,
) -> Result<((Begun, Hold), Subject), CliError> {
    let (begun, hold) = hold(dir, doing, what, ctx).await?;
    let refused = |error| of_recovery(format!("the recovery in {} {what}", begun.data.display()), &error);
    begun.may_go_on().map_err(refused)?;
    let subject = subject_of(&begun, args, ctx).await?;
    Ok(((begun, hold), subject))
}

/// Opens the server that is paused.
pub(super) async fn promote(dir: &Path, args: &RecoverArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let words = (FollowUp::Promote.doing(), "cannot be opened");
    let ((mut begun, hold), subject) = to_go_on(dir, words, args, ctx).await?;
    let replayed = act((&mut begun, &hold), None, &subject, args, ctx).await?;
    finish(replayed, None, &begun.data, args, ctx).await
}

/// Goes on to a later target, or to the same one again.
pub(super) async fn resume(dir: &Path, args: &RecoverArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let words = ("moving on", "cannot go on");
    let ((mut begun, hold), subject) = to_go_on(dir, words, args, ctx).await?;
    let wish = match subject::wish(args, ctx.clock.now())? {
        Some(wish) => Wish {
            timeline: TimelineChoice::Number(begun.note.timeline),
            base: Some(begun.note.base.clone()),
            ..wish
        },
        None => begun.wish(),
    };
    let replayed = act((&mut begun, &hold), Some(wish), &subject, args, ctx).await?;
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
    let what = || format!("{} is not removed", begun.data.display());
    let refused = |error| of_recovery(what(), &error);
    begun.may_be_removed().map_err(refused)?;
    let name = directory_name(&begun.data);
    let question = format!("{} and everything in it is removed", begun.data.display());
    // Its whole path names it as well as the end of it: that is what a runbook knows.
    let whole = |yes: &str| Path::new(yes) == dir || Path::new(yes) == begun.data;
    let yes = args
        .yes
        .as_deref()
        .map(|yes| if whole(yes) { name.as_str() } else { yes });
    confirm_as(ctx, "the removal", &question, &name, yes)?;
    // Nobody is kept waiting while a person thinks; what became of it meanwhile is looked at again.
    let (begun, hold) = hold(dir, FollowUp::Discard.doing(), "is not removed", ctx).await?;
    let removed = follow_up::discard(&begun, &hold, &ctx.clock).await.map_err(refused)?;
    ctx.print(&Discarded { removed })?;
    Ok(Exit::Done)
}

/// Removes what a failed recovery has begun at that moment or later; what was there before it is not touched.
pub(super) async fn remove_what_began(data: &Path, since: Timestamp, ctx: &Ctx) -> Result<(), CliError> {
    let note = Note::read(&home_of(data)).ok().flatten();
    let ours = note.is_some_and(|note| note.began_at >= since && note.phase != Phase::Opened);
    if !ours || begun(data)?.may_be_removed().is_err() {
        return Ok(());
    }
    let (_, hold) = hold(data, FollowUp::Discard.doing(), "cannot be removed", ctx).await?;
    remove_all(data, &hold, ctx).await
}

/// Ends the server and removes the copy of a recovery that has served.
pub(super) async fn remove_all(data: &Path, hold: &Hold, ctx: &Ctx) -> Result<(), CliError> {
    let begun = begun(data)?;
    end_server(&begun.data, &begun.home, ctx).await?;
    let what = || format!("{} cannot be removed", begun.data.display());
    let removed = follow_up::remove(&begun, hold).await;
    removed.map(drop).map_err(|error| of_recovery(what(), &error))
}
