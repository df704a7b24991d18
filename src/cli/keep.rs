//! `lifeboat maintenance`, and the verbs of `lifeboat snapshot` that keep or forget: through the agent, or on a repository
//! directly.

use serde::Serialize;

use super::agent_snapshot::resolve;
use super::args::{MaintenanceCommand, SnapshotCommand, TagArgs};
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
use crate::domain::maintenance::{Maintenance, MaintenanceRecord, Task};
use crate::domain::run::Outcome;
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::view::MaintenanceView;
use crate::domain::{Millis, Timestamp};
use crate::repo::{Repository, SnapshotInfo};

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

/// Gives a command that begins maintenance, and waits for its end. What is under way already, asked for by somebody else or
/// before the agent was started again, is waited for and not begun a second time.
async fn do_it(ctx: &Ctx, client: &Client, command: Command, title: &str, no_wait: bool) -> Result<Exit, CliError> {
    let overview = client.overview().await;
    let overview = overview.map_err(|error| CliError::from_client("the agent cannot be asked", error))?;
    let receipt = match under_way(&overview.maintenance, &command).filter(|_| !no_wait) {
        Some(live) => {
            ctx.progress(title).say(&format!(
                "{} does that already, asked for by {} at {}; waiting for it",
                live.id,
                live.requested_by,
                moment(live.requested_at)
            ));
            Receipt {
                seq: overview.seq,
                maintenance: vec![live.id.clone()],
                ..Receipt::default()
            }
        }
        None => give(client, command).await?,
    };
    if no_wait && !ctx.global.embedded {
        let message = format!("{title} began; see: lifeboat status");
        ctx.print(&Ordered { message, receipt })?;
        return Ok(Exit::Done);
    }
    let records = wait(ctx, client, &receipt, title).await?;
    show(ctx, records)
}

/// The maintenance that does just what a command asks for.
fn under_way<'a>(views: &'a [MaintenanceView], command: &Command) -> Option<&'a Maintenance> {
    let (wanted, task) = match command {
        Command::PruneRepository { repository } => (repository, Task::Prune),
        Command::CheckRepository { repository, subset } => (repository, Task::Check { subset: subset.clone() }),
        _ => return None,
    };
    let mut live = views.iter().map(|view| &view.maintenance);
    live.find(|live| live.repository == *wanted && live.task == task && live.cancel_requested.is_none())
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
        SnapshotCommand::Pin { id, why } => {
            let reason = why.reason;
            let snapshot = resolve(&client, &id).await?.id;
            let title = format!("pinning {}", snapshot.short());
            (Command::PinSnapshot { snapshot, reason }, title)
        }
        SnapshotCommand::Unpin { id, why } => {
            let reason = why.reason;
            let snapshot = resolve(&client, &id).await?.id;
            let title = format!("unpinning {}", snapshot.short());
            (Command::UnpinSnapshot { snapshot, reason }, title)
        }
        SnapshotCommand::Tag(TagArgs { id, add, remove }) => {
            let snapshot = resolve(&client, &id).await?.id;
            let title = format!("tagging {}", snapshot.short());
            (Command::TagSnapshot { snapshot, add, remove }, title)
        }
        SnapshotCommand::Forget { ids, why } => {
            let Some(reason) = why.reason else {
                return Err(CliError::usage("nothing was forgotten")
                    .why("the agent keeps the reason in its journal, and none was given")
                    .hint("say why with: --reason TEXT"));
            };
            let mut snapshots = Vec::new();
            for id in ids {
                snapshots.push(resolve(&client, &id).await?.id);
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

/// A snapshot that is back.
#[derive(Debug, Serialize)]
struct Back {
    snapshot: SnapshotInfo,
}

impl Render for Back {
    fn text(&self, out: &mut Text) {
        out.line(format!("snapshot {} is listed again", self.snapshot.short_id()));
    }
}

/// Brings a snapshot back, on a repository directly.
pub(super) async fn untrash(repo: &Repository, id: &str, ctx: &Ctx) -> Result<Exit, CliError> {
    let snapshot = repo.untrash(id).await;
    let snapshot = snapshot.map_err(|error| of_repo(format!("{id} cannot come back"), &error))?;
    ctx.print(&Back { snapshot })?;
    Ok(Exit::Done)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(repository: &str, subset: Option<&str>) -> Command {
        Command::CheckRepository {
            repository: repository.into(),
            subset: subset.map(str::to_owned),
        }
    }

    #[test]
    fn only_what_does_the_same_and_was_not_asked_to_stop_is_waited_for() {
        let view = |cancel: Option<&str>| -> MaintenanceView {
            serde_json::from_value(serde_json::json!({
                "id": "mnt-1", "repository": "near", "task": {"task": "check", "subset": "all"}, "requested_by": "ana",
                "requested_at": "2026-03-01T00:00:00Z", "due": null, "started_at": null, "attempt": 1,
                "state": "running", "cancel_requested": cancel, "progress": null,
            }))
            .unwrap()
        };
        let live = [view(None)];
        assert!(under_way(&live, &check("near", Some("all"))).is_some());
        let prune = Command::PruneRepository {
            repository: "near".into(),
        };
        for other in [
            check("far", Some("all")),
            check("near", Some("5%")),
            check("near", None),
            prune,
        ] {
            assert!(under_way(&live, &other).is_none(), "{other:?}");
        }
        assert!(under_way(&[view(Some("ana"))], &check("near", Some("all"))).is_none());
    }
}
