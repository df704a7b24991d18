//! `lifeboat recovery waiting|promote|move|resume|discard`: what becomes of a server that a recovery of the agent has left.
//!
//! The agent does it: it is in the journal, seen by every console, and found out about when the agent is killed on the way.
//! `lifeboat recover --promote DIR` and its sisters do the same without an agent.

use crate::cli::args::{MoveArgs, RecoveryCommand, WaitingArgs};
use crate::cli::confirm::confirm_as;
use crate::cli::context::Ctx;
use crate::cli::error::{CliError, Exit};
use crate::cli::follow::{ServerWork, follow};
use crate::cli::job::{Ordered, give};
use crate::cli::output::{Column, Listing, Paint, Render, Row, Style, Text, moment};
use crate::cli::recover::point;
use crate::cli::views;
use crate::domain::command::Command;
use crate::domain::follow_up::{Fate, FollowUp, LeftServer, Waiting};
use crate::domain::id::RecoveryId;
use crate::domain::pitr::{self, Target};

/// Runs one of the verbs.
pub(super) async fn run(command: RecoveryCommand, ctx: &Ctx) -> Result<Exit, CliError> {
    match command {
        RecoveryCommand::Promote(args) => promote(args, ctx).await,
        RecoveryCommand::Discard(args) => discard(args, ctx).await,
        RecoveryCommand::Move(args) => {
            ctx.may_change("move a recovered server")?;
            let what = FollowUp::Move {
                to: target(&args, ctx)?,
                inclusive: !args.exclusive,
            };
            act(args.id, what, args.wait, ctx).await
        }
        RecoveryCommand::Resume { id, wait } => {
            ctx.may_change("start a recovered server")?;
            act(id, FollowUp::Resume, wait, ctx).await
        }
        _ => {
            let waiting = views::overview(ctx).await?.waiting;
            ctx.print(&Listing(waiting.into_iter().map(|view| view.waiting).collect()))?;
            Ok(Exit::Done)
        }
    }
}

async fn promote(args: WaitingArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    ctx.may_change("open a recovered server")?;
    let waiting = known(&args.id, ctx).await?;
    let question = format!(
        "{} is opened for writing at {}; it cannot be moved on after that",
        waiting.server.directory.display(),
        waiting.server.seen.target
    );
    let name = waiting.server.name();
    confirm_as(ctx, "the opening", &question, &name, args.yes.as_deref())?;
    act(args.id, FollowUp::Promote, args.wait, ctx).await
}

async fn discard(args: WaitingArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    ctx.may_change("throw a recovered server away")?;
    let waiting = known(&args.id, ctx).await?;
    let question = format!("{} and everything in it is removed", waiting.server.directory.display());
    let name = waiting.server.name();
    confirm_as(ctx, "the removal", &question, &name, args.yes.as_deref())?;
    act(args.id, FollowUp::Discard, args.wait, ctx).await
}

async fn known(id: &str, ctx: &Ctx) -> Result<Waiting, CliError> {
    let mut waiting = views::overview(ctx).await?.waiting.into_iter();
    let found = waiting.find(|view| view.waiting.recovery.as_str() == id);
    found.map(|view| view.waiting).ok_or_else(|| {
        CliError::usage(format!("{id} has left no server that waits"))
            .hint("see what does with: lifeboat recovery waiting")
    })
}

fn target(args: &MoveArgs, ctx: &Ctx) -> Result<Target, CliError> {
    let (to, name) = (args.to.as_deref(), args.to_name.as_deref());
    let point = point(to, args.to_lsn, args.to_xid, name, ctx.clock.now())?;
    Ok(point.unwrap_or(Target::Latest))
}

async fn act(id: String, what: FollowUp, wait: bool, ctx: &Ctx) -> Result<Exit, CliError> {
    let client = ctx.client().await?;
    let recovery = RecoveryId(id);
    let title = format!("{} the server of {recovery}", what.doing());
    let command = Command::FollowUpRecovery {
        recovery: recovery.clone(),
        what,
    };
    let receipt = give(&client, command).await?;
    if !wait && !ctx.global.embedded {
        let message = format!("{title}; see: lifeboat recovery show {recovery}");
        ctx.print(&Ordered { message, receipt })?;
        return Ok(Exit::Done);
    }
    let server = follow(ctx, &client, &ServerWork(recovery.clone()), &receipt, &title).await?;
    let exit = server.steps.last().map_or(Exit::Done, |step| Exit::from(step.outcome));
    ctx.print(&Ended { recovery, server })?;
    Ok(exit)
}

/// How a server stands after what was done with it.
#[derive(Debug, serde::Serialize)]
struct Ended {
    recovery: RecoveryId,
    #[serde(flatten)]
    server: LeftServer,
}

impl Render for Ended {
    fn text(&self, out: &mut Text) {
        write(&self.recovery, &self.server, out);
    }
}

/// Writes what became of a server.
pub(super) fn write(recovery: &RecoveryId, server: &LeftServer, out: &mut Text) {
    let seen = &server.seen;
    let paint = match seen.fate {
        Fate::Waiting => Paint::Warn,
        Fate::Gone | Fate::Lost => Paint::Bad,
        Fate::Promoted | Fate::Discarded => Paint::Good,
    };
    out.painted(
        paint,
        format!(
            "its server: {}, since {}, by {}",
            seen.fate.word(),
            moment(server.since),
            server.by
        ),
    );
    out.field("directory", server.directory.display().to_string());
    let lsn = seen.lsn.map_or_else(String::new, |lsn| format!(", {lsn}"));
    out.field("at", format!("{}{lsn}", seen.target));
    out.maybe("last commit", seen.last_commit.map(pitr::instant).as_deref());
    out.maybe("look", seen.psql.as_deref());
    for step in &server.steps {
        out.line(format!("  {}  {}", moment(step.at), step.words()));
        if let Some(hint) = step.error.as_ref().and_then(|error| error.hint.as_ref()) {
            out.line(format!("    hint: {hint}"));
        }
    }
    if seen.fate.is_undecided() {
        if seen.fate == Fate::Gone {
            out.field("start it", format!("lifeboat recovery resume {recovery}"));
        }
        if seen.fate != Fate::Lost {
            out.field("open it", format!("lifeboat recovery promote {recovery}"));
            out.field("later", format!("lifeboat recovery move {recovery} --to TIME"));
        }
        out.field("remove it", format!("lifeboat recovery discard {recovery}"));
    }
}

/// Writes a server that waits in a line or two.
pub fn write_waiting(waiting: &Waiting, out: &mut Text) {
    let server = &waiting.server;
    let doing = waiting.follow_up.as_ref().map_or_else(String::new, |live| {
        format!(", {} (asked by {})", live.what.doing(), live.by)
    });
    let paint = if matches!(server.seen.fate, Fate::Gone | Fate::Lost) {
        Paint::Bad
    } else {
        Paint::Warn
    };
    out.painted(
        paint,
        format!(
            "{}  {} at {}{doing}",
            waiting.recovery,
            server.seen.fate.word(),
            server.seen.target
        ),
    );
    let since = out.style.ago(Some(server.since));
    out.line(format!("  {}, since {since}", server.directory.display()));
    if let Some(psql) = &server.seen.psql {
        out.line(format!("  look: {psql}"));
    }
    out.line(format!("  next: lifeboat recovery show {}", waiting.recovery));
}

impl Row for Waiting {
    const COLUMNS: &'static [Column] = &[
        Column::left("RECOVERY"),
        Column::left("SINCE"),
        Column::left("STATE"),
        Column::left("AT"),
        Column::cut("DIRECTORY"),
        Column::left("LOOK"),
    ];
    const EMPTY: &'static str = "no recovered server waits";

    fn cells(&self, style: &Style) -> Vec<String> {
        let server = &self.server;
        let state = self
            .follow_up
            .as_ref()
            .map_or(server.seen.fate.word(), |live| live.what.doing());
        vec![
            self.recovery.to_string(),
            style.ago(Some(server.since)),
            state.to_owned(),
            server.seen.target.to_string(),
            server.directory.display().to_string(),
            server.seen.psql.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }
}
