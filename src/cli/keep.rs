//! `lifeboat maintenance`, and the verbs of `lifeboat snapshot` that keep or forget: through the agent, or on a repository
//! directly.

use serde::Serialize;

use super::agent_snapshot::resolve;
use super::args::{MaintenanceCommand, SnapshotCommand};
use super::context::Ctx;
use super::direct::of_repo;
use super::error::{CliError, Exit};
use super::follow::{MaintenanceWork, follow};
use super::job::{Ordered, give, order};
use super::output::{Column, Listing, Paint, Render, Row, Style, Text, moment, short};
use crate::api::Client;
use crate::api::types::{Query, Receipt};
use crate::domain::command::Command;
use crate::domain::id::{MaintenanceId, RepositoryName, SnapshotId};
use crate::domain::maintenance::MaintenanceRecord;
use crate::domain::run::Outcome;
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::{Millis, Timestamp};
use crate::repo::{Note, Repository, TagChange, Trashed};

/// Runs a verb of `lifeboat maintenance`.
pub async fn run(command: MaintenanceCommand, ctx: &Ctx) -> Result<Exit, CliError> {
    let client = ctx.client().await?;
    match command {
        MaintenanceCommand::List { limit } => {
            let query = Query {
                limit: Some(limit),
                ..Query::default()
            };
            let page = client.maintenance(&query).await;
            let page = page.map_err(|error| CliError::from_client("maintenance cannot be listed", error))?;
            ctx.print(&Listing(page.items))?;
            Ok(Exit::Done)
        }
        MaintenanceCommand::Prune { repository, no_wait } => {
            let repository = RepositoryName(repository);
            let title = format!("pruning {repository}");
            do_it(ctx, &client, Command::PruneRepository { repository }, &title, no_wait).await
        }
        MaintenanceCommand::Check {
            repository,
            read_data_subset: subset,
            no_wait,
        } => {
            let repository = RepositoryName(repository);
            let title = format!("checking {repository}");
            do_it(
                ctx,
                &client,
                Command::CheckRepository { repository, subset },
                &title,
                no_wait,
            )
            .await
        }
        MaintenanceCommand::Cancel { id } => {
            let message = format!("asked {id} to stop");
            let maintenance = MaintenanceId(id);
            order(ctx, Command::CancelMaintenance { maintenance }, message).await
        }
    }
}

/// Gives a command that begins maintenance, and waits for its end.
async fn do_it(ctx: &Ctx, client: &Client, command: Command, title: &str, no_wait: bool) -> Result<Exit, CliError> {
    let receipt = give(client, command).await?;
    if no_wait && !ctx.global.embedded {
        let message = format!("{title} began; see: lifeboat status");
        ctx.print(&Ordered { message, receipt })?;
        return Ok(Exit::Done);
    }
    let records = wait(ctx, client, &receipt, title).await?;
    show(ctx, records)
}

/// Waits for all maintenance that a command began.
pub(super) async fn wait(
    ctx: &Ctx,
    client: &Client,
    receipt: &Receipt,
    title: &str,
) -> Result<Vec<MaintenanceRecord>, CliError> {
    let mut records = Vec::new();
    for id in &receipt.maintenance {
        records.push(follow(ctx, client, &MaintenanceWork(id.clone()), receipt, title).await?);
    }
    Ok(records)
}

/// Prints what maintenance came to, and ends as the worst of it did.
pub(super) fn show(ctx: &Ctx, records: Vec<MaintenanceRecord>) -> Result<Exit, CliError> {
    let worst = records.iter().find(|record| record.outcome != Outcome::Succeeded);
    let exit = worst.map_or(Exit::Done, |record| Exit::from(record.outcome));
    match records.as_slice() {
        [one] => ctx.print(one)?,
        _ => ctx.print(&Listing(records))?,
    }
    Ok(exit)
}

/// Runs a verb of `lifeboat snapshot` that keeps or forgets, through the agent.
pub(super) async fn through_agent(command: SnapshotCommand, ctx: &Ctx) -> Result<Exit, CliError> {
    let client = ctx.client().await?;
    let (command, title) = match command {
        SnapshotCommand::Pin { id, reason } => {
            let snapshot = resolve(&client, &id).await?.id;
            let title = format!("pinning {}", snapshot.short());
            (Command::PinSnapshot { snapshot, reason }, title)
        }
        SnapshotCommand::Unpin { id, reason } => {
            let snapshot = resolve(&client, &id).await?.id;
            let title = format!("unpinning {}", snapshot.short());
            (Command::UnpinSnapshot { snapshot, reason }, title)
        }
        SnapshotCommand::Tag { id, add, remove } => {
            let snapshot = resolve(&client, &id).await?.id;
            let title = format!("tagging {}", snapshot.short());
            (Command::TagSnapshot { snapshot, add, remove }, title)
        }
        SnapshotCommand::Forget { ids, reason } => {
            let mut snapshots = Vec::new();
            for id in ids {
                snapshots.push(whole(&id, resolve(&client, &id).await?.id)?);
            }
            (Command::ForgetSnapshots { snapshots, reason }, "forgetting".to_owned())
        }
        SnapshotCommand::Untrash { id } => {
            let snapshot = trashed(&client, &id).await?;
            let title = format!("bringing {} back", snapshot.short());
            (Command::RestoreForgotten { snapshot }, title)
        }
        _ => return Err(CliError::usage("this is not about keeping snapshots")),
    };
    do_it(ctx, &client, command, &title, false).await
}

/// Refuses to forget what was not named by its id: `latest` is never meant to go.
fn whole(typed: &str, id: SnapshotId) -> Result<SnapshotId, CliError> {
    if typed.starts_with("latest") {
        return Err(CliError::usage("nothing was forgotten")
            .why("what is forgotten is named by its id")
            .hint(format!("give its id: {}", id.short())));
    }
    Ok(id)
}

/// The one snapshot in the trash whose id begins so.
async fn trashed(client: &Client, id: &str) -> Result<SnapshotId, CliError> {
    let what = format!("snapshot {id} was not brought back");
    let query = Query {
        id: Some(id.to_ascii_lowercase()),
        trash: Some(true),
        limit: Some(2),
        ..Query::default()
    };
    let page = client
        .snapshots(&query)
        .await
        .map_err(|error| CliError::from_client(&what, error))?;
    match page.items.as_slice() {
        [one] => Ok(one.id.clone()),
        [] => Err(CliError::usage(what)
            .why("nothing in the trash begins so")
            .hint("see what is there: lifeboat snapshot list --trash")),
        _ => Err(CliError::usage(what).why("several begin so").hint("give more digits")),
    }
}

/// What was done to a repository directly.
#[derive(Debug, Serialize)]
struct Done<T> {
    message: String,
    result: T,
}

impl<T: Serialize> Render for Done<T> {
    fn text(&self, out: &mut Text) {
        out.line(&self.message);
    }
}

/// Runs a verb of `lifeboat snapshot` that keeps or forgets, on a repository directly.
pub(super) async fn direct(command: SnapshotCommand, repo: &Repository, ctx: &Ctx) -> Result<Exit, CliError> {
    ctx.may_change("change snapshots")?;
    let note = |reason| Note {
        by: format!("{}@{}", ctx.actor.name, ctx.actor.host),
        reason,
    };
    let find = async |id: String| super::direct::resolve(repo, &id).await.map(|found| found.id);
    match command {
        SnapshotCommand::Pin { id, reason } => {
            let id = find(id).await?;
            let done = repo.pin(&id, &note(reason)).await;
            let result = done.map_err(|error| of_repo("the snapshot was not pinned", &error))?;
            let message = format!("snapshot {} is pinned", SnapshotId(id).short());
            ctx.print(&Done { message, result })?;
        }
        SnapshotCommand::Unpin { id, reason } => {
            let done = repo.unpin(&id, &note(reason)).await;
            done.map_err(|error| of_repo("the snapshot was not unpinned", &error))?;
            let message = format!("snapshot {id} is pinned no more");
            ctx.print(&Done { message, result: id })?;
        }
        SnapshotCommand::Tag { id, add, remove } => {
            let done = repo.tag(&find(id).await?, &TagChange { add, remove }).await;
            let result = done.map_err(|error| of_repo("the snapshot was not tagged", &error))?;
            let id = SnapshotId(result.new.id.clone());
            let message = format!("it is snapshot {} now", id.short());
            ctx.print(&Done { message, result })?;
        }
        SnapshotCommand::Forget { ids, reason } => {
            let mut whole_ids = Vec::new();
            for id in ids {
                whole_ids.push(whole(&id, SnapshotId(find(id.clone()).await?))?.0);
            }
            let done = repo.forget(&whole_ids, &note(Some(reason))).await;
            let result = done.map_err(|error| of_repo("nothing was forgotten", &error))?;
            for (id, why) in &result.refused {
                ctx.out
                    .remark(&format!("{} was not forgotten: {why}", id.get(..8).unwrap_or(id)));
            }
            let refused = !result.refused.is_empty();
            let message = format!("{} snapshots are in the trash", result.trashed.len());
            ctx.print(&Done { message, result })?;
            return Ok(if refused { Exit::Partial } else { Exit::Done });
        }
        SnapshotCommand::Untrash { id } => {
            let done = repo.untrash(&id).await;
            let result = done.map_err(|error| of_repo("the snapshot was not brought back", &error))?;
            let message = format!("snapshot {} is back", SnapshotId(result.id.clone()).short());
            ctx.print(&Done { message, result })?;
        }
        _ => return Err(CliError::usage("this is not about keeping snapshots")),
    }
    Ok(Exit::Done)
}

impl Row for Trashed {
    const COLUMNS: &'static [Column] = &[
        Column::left("ID"),
        Column::left("TAKEN (UTC)"),
        Column::left("FORGOTTEN"),
        Column::cut("BY"),
        Column::cut("WHY"),
    ];
    const EMPTY: &'static str = "nothing is in the trash";

    fn cells(&self, style: &Style) -> Vec<String> {
        vec![
            self.id.get(..8).unwrap_or(&self.id).to_owned(),
            self.snapshot.time.to_utc().format("%Y-%m-%d %H:%M").to_string(),
            style.ago(Some(self.at.to_utc())),
            self.note.by.clone(),
            self.note.reason.clone().unwrap_or_default(),
        ]
    }
}

/// Lists what is in the trash of a repository.
pub(super) async fn list_trash(repo: &Repository, limit: u32, ctx: &Ctx) -> Result<(), CliError> {
    let trash = repo.trash().await;
    let mut trash = trash.map_err(|error| of_repo("the trash cannot be listed", &error))?;
    trash.truncate(limit as usize);
    ctx.print(&Listing(trash))
}

/// How long a snapshot stays, in a word or two.
pub(super) fn kept_words(snapshot: &SnapshotRecord, now: Timestamp) -> String {
    let left = |at: Timestamp| format!("{} left", short(Millis::between(now, at)));
    if let Some(mark) = &snapshot.forgotten {
        return mark.until.map_or_else(|| "trash".to_owned(), left);
    }
    if snapshot.pinned.is_some() {
        return "pinned".to_owned();
    }
    match &snapshot.expiry {
        Some(expiry) if expiry.due => "GOES NEXT".to_owned(),
        Some(expiry) => expiry.at.map_or_else(|| "by rule".to_owned(), left),
        None => "-".to_owned(),
    }
}

/// What is known of how long a snapshot stays.
pub(super) fn fields(snapshot: &SnapshotRecord, out: &mut Text) {
    if let Some(mark) = &snapshot.pinned {
        let why = mark.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        out.field("pinned", format!("by {} at {}{why}", mark.by, moment(mark.at)));
    }
    if let Some(mark) = &snapshot.forgotten {
        let why = mark.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        out.painted(
            Paint::Warn,
            format!("IN TRASH since {} by {}{why}", moment(mark.at), mark.by),
        );
        out.maybe("stays until", mark.until.map(moment).as_deref());
    }
    if let Some(new) = &snapshot.replaced_by {
        out.field("is now", new.as_str());
    }
    if let Some(expiry) = &snapshot.expiry {
        let fate = if expiry.due { "goes next" } else { "kept by" };
        out.field(fate, &expiry.why);
        out.maybe("kept until", expiry.at.map(moment).as_deref());
    }
}

impl Row for MaintenanceRecord {
    const COLUMNS: &'static [Column] = &[
        Column::left("MAINTENANCE"),
        Column::left("ENDED"),
        Column::cut("REPOSITORY"),
        Column::left("WHAT"),
        Column::left("OUTCOME"),
        Column::right("TOOK"),
        Column::right("FREED"),
        Column::cut("SUMMARY"),
    ];
    const EMPTY: &'static str = "nothing has been done to a repository yet";

    fn cells(&self, style: &Style) -> Vec<String> {
        let said = self
            .error
            .as_ref()
            .map_or_else(|| self.summary.clone(), ToString::to_string);
        vec![
            self.id.to_string(),
            style.ago(Some(self.finished_at)),
            self.repository.to_string(),
            format!("{} {}", self.task.word(), self.task.subject())
                .trim_end()
                .to_owned(),
            self.outcome.word().to_owned(),
            self.duration().to_string(),
            self.freed.to_string(),
            said,
        ]
    }
}

impl Render for MaintenanceRecord {
    fn text(&self, out: &mut Text) {
        let paint = match self.outcome {
            Outcome::Succeeded => Paint::Good,
            Outcome::Partial | Outcome::Cancelled => Paint::Warn,
            _ => Paint::Bad,
        };
        let what = format!("{} {}", self.task.word(), self.task.subject());
        let took = self.duration();
        out.painted(
            paint,
            format!("{} {} after {took}", what.trim_end(), self.outcome.word()),
        );
        out.field("repository", self.repository.as_str());
        out.field(
            "asked by",
            format!("{} at {}", self.requested_by, moment(self.requested_at)),
        );
        if !self.summary.is_empty() {
            out.field("result", &self.summary);
        }
        if self.freed.0 > 0 {
            out.field("freed", self.freed.to_string());
        }
        for finding in &self.findings {
            out.line(format!("  {finding}"));
        }
        if let Some(error) = &self.error {
            out.painted(Paint::Bad, format!("why: {error}"));
            if let Some(hint) = &error.hint {
                out.line(format!("hint: {hint}"));
            }
        }
    }
}
