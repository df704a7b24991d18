//! `lifeboat recover --table`: one table as it was, into the live database under a new name.
//!
//! The cluster is recovered into a directory that serves for this and is removed afterwards, whatever happens.

use std::path::Path;

use super::subject::Subject;
use super::{carry_out, follow_up, of_recovery};
use crate::cli::args::RecoverArgs;
use crate::cli::context::Ctx;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Paint, Render, Text};
use crate::cli::server::login_at;
use crate::domain::pitr::Plan;
use crate::source::postgres::recovery::table::{Copied, TableCopy, parse_name};
use crate::source::postgres::recovery::{Order, Then};

/// Recovers a table.
pub(super) async fn run(
    args: &RecoverArgs,
    subject: &Subject,
    plan: Plan,
    target: &Path,
    ctx: &Ctx,
) -> Result<Exit, CliError> {
    let text = args.table.clone().unwrap_or_default();
    let what = format!("table {text} cannot be recovered");
    let (schema, table) =
        parse_name(&text).ok_or_else(|| CliError::usage(what.as_str()).why("its name is not SCHEMA.TABLE"))?;
    let (url, file) = (
        args.into.as_deref().unwrap_or_default(),
        args.into_password_file.as_deref(),
    );
    let (live, database) = login_at(url, file, "the password of the live database").await?;
    let now = ctx.clock.now();
    let copy = TableCopy {
        new_name: args
            .new_name
            .clone()
            .unwrap_or_else(|| format!("{table}_recovered_{}", now.format("%Y%m%d_%H%M%S"))),
        schema,
        table,
    };
    let failed = |error| of_recovery(what.as_str(), &error);
    // Before an hour is spent on the recovery.
    copy.check(&live, &database, &ctx.clock).await.map_err(failed)?;
    let order = Order {
        then: Then::Pause,
        ..super::order(args, subject, plan, target.to_owned())
    };
    let (replayed, hold) = match carry_out(&order, &subject.title, args.yes.as_deref(), ctx).await {
        Ok((replayed, _, hold)) => (replayed, hold),
        Err(error) => {
            if let Err(left) = follow_up::remove_what_began(target, now, ctx).await {
                ctx.out
                    .remark(&format!("not removed: {}: {}", target.display(), left.what));
            }
            return Err(error);
        }
    };
    let from = args.from_database.as_deref().unwrap_or(&database);
    let copied = copy
        .run((&replayed.server.login(), from), (&live, &database), &ctx.clock)
        .await;
    let stopping = tokio::task::spawn_blocking(move || drop(replayed));
    let stopped = stopping
        .await
        .map_err(|error| CliError::failed("the scratch server cannot be ended").why(error));
    let removed = follow_up::remove_all(target, &hold, ctx).await;
    let copied = copied.map_err(failed)?;
    ctx.print(&copied)?;
    // The table is there; what is left behind is told, and is no reason to doubt it.
    stopped.and(removed).map(|()| Exit::Done)
}

impl Render for Copied {
    fn text(&self, out: &mut Text) {
        out.painted(Paint::Good, format!("{} holds {} rows", self.table, self.rows));
        out.field("constraints", self.constraints.to_string());
        for note in &self.notes {
            out.line(format!("note: {note}"));
        }
    }
}
