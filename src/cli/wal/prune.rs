//! `lifeboat wal prune`: says what would go, and removes it when it was confirmed.

use std::collections::BTreeSet;

use serde::Serialize;

use super::of_wal;
use crate::cli::args::WalPruneArgs;
use crate::cli::confirm::confirm_as;
use crate::cli::context::Ctx;
use crate::cli::direct;
use crate::cli::error::{CliError, Exit};
use crate::cli::output::{Paint, Render, Text, moment};
use crate::cli::recover::of_recovery;
use crate::domain::id::SnapshotId;
use crate::domain::job::RepositoryDefinition;
use crate::domain::pitr::keep;
use crate::domain::wal::SystemId;
use crate::source::postgres::recovery::catalogue::bases_ever;
use crate::source::postgres::wal::prune::Outlook;
use crate::source::postgres::wal::{WalArchive, WalError};

/// What a prune does or did.
#[derive(Debug, Serialize)]
struct Pruned {
    system: SystemId,
    done: bool,
    #[serde(flatten)]
    outlook: Outlook,
}

pub(super) async fn run(args: &WalPruneArgs, definition: &RepositoryDefinition, ctx: &Ctx) -> Result<Exit, CliError> {
    let failed = |error: WalError| of_wal("the archive cannot be pruned", &error);
    let repo = direct::open(definition, ctx).await?;
    let system = match args.system {
        Some(system) => system,
        None => super::the_only_one(&repo).await?,
    };
    let bases = bases_ever(&repo, system).await;
    let bases = bases.map_err(|error| of_recovery("the snapshots cannot be listed", &error.into()))?;
    if let Some(first) = bases.unreadable.first() {
        return Err(CliError::refused("nothing is removed from the archive")
            .why(format!("it is not known which log this snapshot needs: {first}"))
            .hint("look at it with: lifeboat repo check"));
    }
    let archive = WalArchive::new(repo, system);
    let size = archive.segment_size().await.map_err(failed)?.unwrap_or_default();
    let in_use = in_use(args.window.is_some(), ctx).await;
    let floor = keep::floor(&bases.found, &in_use, args.window, ctx.clock.now(), size).map_err(|error| {
        CliError::refused("nothing is removed from the archive")
            .why(error)
            .hint("take a base backup first: a job whose source is of the kind postgres-physical")
    })?;
    let planned = archive.plan_prune(floor, args.grace).await.map_err(failed)?;
    let done = !args.plan;
    let outlook = if done {
        ctx.may_change("remove log")?;
        let goes = planned.outlook().goes.len();
        if goes > 0 {
            let question = format!("{goes} files of the log of system {system} are removed for good");
            confirm_as(ctx, "the removal", &question, &system.to_string(), args.yes.as_deref())?;
        }
        archive.prune(planned).await.map_err(failed)?
    } else {
        planned.outlook().clone()
    };
    ctx.print(&Pruned { system, done, outlook })?;
    Ok(Exit::Done)
}

/// The base backups that recovered servers which wait still need; whether one does is only asked when a window would leave their
/// log out.
async fn in_use(window: bool, ctx: &Ctx) -> BTreeSet<SnapshotId> {
    if !window {
        return BTreeSet::new();
    }
    let asked = match ctx.client_of_running() {
        Ok(client) => client.overview().await.ok(),
        Err(_) => None,
    };
    let Some(overview) = asked else {
        ctx.out
            .remark("no agent answers: what recovered servers that wait still need is not known");
        return BTreeSet::new();
    };
    let waiting = overview.waiting.into_iter();
    let reading = overview.recoveries.into_iter();
    waiting
        .filter_map(|view| view.waiting.base)
        .chain(reading.map(|view| view.recovery.request.snapshot))
        .collect()
}

impl Render for Pruned {
    fn text(&self, out: &mut Text) {
        let outlook = &self.outlook;
        let base = &outlook.floor.base;
        out.field(
            "needed",
            format!("from {} on, by snapshot {}", outlook.floor.lsn, base.id.short()),
        );
        let word = if self.done { "removed" } else { "would go" };
        let count = outlook.goes.len();
        match (outlook.goes.first(), outlook.goes.last()) {
            (Some(first), Some(last)) => {
                out.painted(
                    Paint::Warn,
                    format!("{word}: {count} files, {first} to {last}, {}", outlook.frees),
                );
            }
            _ => out.line(format!("{word}: nothing")),
        }
        if outlook.waits > 0 {
            let when = outlook.due_at.map_or_else(
                || "a grace period after it is noted".to_owned(),
                |at| format!("from {} UTC on", moment(at)),
            );
            out.line(format!("{} more are not needed, and go {when}", outlook.waits));
        }
        out.line(format!("{} files stay", outlook.stays));
    }
}
