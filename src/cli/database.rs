//! `lifeboat database`: a restored database in the place of the live one, and back.

use serde::Serialize;

use super::args::{DatabaseCommand, SwitchArgs};
use super::confirm::{self, Change};
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::output::{Paint, Render, Text};
use super::server::login_of;
use crate::source::postgres::switch::{self, SwitchPlan};
use crate::source::{SourceError, quote};

/// Runs a verb of `lifeboat database`.
pub async fn run(command: DatabaseCommand, ctx: &Ctx) -> Result<Exit, CliError> {
    match command {
        DatabaseCommand::Switch(args) => switch(&args, ctx).await,
    }
}

async fn switch(args: &SwitchArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    let (login, _) = login_of(&args.server, ctx).await?;
    let failed = |error: SourceError| {
        CliError::failed("the databases are not switched; nothing was changed")
            .why(&error)
            .maybe_hint(error.hint())
    };
    let kept_as = args
        .keep_as
        .clone()
        .unwrap_or_else(|| switch::kept_name(&args.live, ctx.clock.now()));
    let plan = switch::plan(&login, &args.live, &args.new, &kept_as, &ctx.clock).await;
    let plan = plan.map_err(failed)?;
    let change = Change {
        doing: "switch databases",
        work: "the switch",
        what: format!(
            "{} gets the contents of {}, and {} sessions are ended",
            plan.live, plan.new, plan.sessions
        ),
        name: &plan.live,
    };
    if !confirm::go_on(ctx, &plan, &change, args.plan, args.yes.as_deref())? {
        return Ok(Exit::Done);
    }
    switch::switch(&login, &plan, &ctx.clock).await.map_err(failed)?;
    let [live, new, kept] = [&plan.live, &plan.new, &plan.kept_as].map(|name| quote(name));
    let place = match (&args.server.source, &args.server.server) {
        (Some(source), _) => format!("--source {}", quote(source)),
        (None, server) => format!("--server {}", quote(server.as_deref().unwrap_or_default())),
    };
    ctx.print(&Switched {
        undo: format!("lifeboat database switch {live} {kept} --keep-as {new} {place}"),
        plan,
    })?;
    Ok(Exit::Done)
}

impl Render for SwitchPlan {
    fn text(&self, out: &mut Text) {
        out.heading(&format!("switch databases on {}", self.server));
        out.field(&self.live, format!("{}, is kept as {}", self.live_size, self.kept_as));
        out.field(&self.new, format!("{}, becomes {}", self.new_size, self.live));
        out.field("sessions", format!("{} are ended", self.sessions));
    }
}

/// Two databases that were switched.
#[derive(Debug, Serialize)]
struct Switched {
    #[serde(flatten)]
    plan: SwitchPlan,
    undo: String,
}

impl Render for Switched {
    fn text(&self, out: &mut Text) {
        let plan = &self.plan;
        out.painted(
            Paint::Good,
            format!(
                "{} was {}; the one before is kept as {}",
                plan.live, plan.new, plan.kept_as
            ),
        );
        out.field("undo", &self.undo);
    }
}
