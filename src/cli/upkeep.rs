//! `lifeboat repo prune`, `copy` and `trash`, on a repository directly.

use super::args::{CopyArgs, PruneArgs, RepositoryArgs, TrashCommand};
use super::confirm::confirm_as;
use super::context::Ctx;
use super::direct::{drive, of_repo, open};
use super::error::{CliError, Exit};
use super::labels::note;
use super::output::{Column, Listing, Paint, Render, Row, Style, Text, moment};
use crate::domain::Bytes;
use crate::domain::job::RepositoryDefinition;
use crate::repo::short;
use crate::repo::{CopyReport, PruneOptions, PruneReport, SnapshotInfo, Trashed};

impl Render for PruneReport {
    fn text(&self, out: &mut Text) {
        let would = |done: &'static str, planned: &'static str| if self.dry_run { planned } else { done };
        out.field(
            "snapshots",
            format!("{}, and {} in the trash", self.snapshots, self.trash_kept),
        );
        if !self.trash_expired.is_empty() {
            out.field("expired", format!("{} in the trash", self.trash_expired.len()));
        }
        for id in &self.trash_broken {
            let short = short(id);
            out.painted(
                Paint::Warn,
                format!("{short} in the trash has lost data to another program"),
            );
        }
        let before = format!("{} in {} packs", Bytes(self.bytes_before), self.packs_before);
        out.field("before", before);
        if self.packs_repacked > 0 {
            let what = format!("{} packs, {}", self.packs_repacked, Bytes(self.bytes_repacked));
            out.field(would("repacked", "to repack"), what);
        }
        if self.packs_marked > 0 {
            out.field(would("marked", "to mark"), format!("{} packs", self.packs_marked));
        }
        if self.packs_rescued > 0 {
            out.field("rescued", format!("{} packs are needed again", self.packs_rescued));
        }
        let gone = format!("{} packs, {}", self.packs_deleted, Bytes(self.bytes_deleted));
        out.field(would("deleted", "to delete"), gone);
        if self.packs_waiting > 0 {
            let since = self
                .next_ripe_at
                .map_or_else(String::new, |at| format!(", the first until {}", moment(at.to_utc())));
            let what = format!("{} packs, {}{since}", self.packs_waiting, Bytes(self.bytes_waiting));
            out.field("waiting", what);
        }
        if self.locked > 0 {
            out.painted(
                Paint::Warn,
                format!("{} objects are protected by the store and stay", self.locked),
            );
        }
        if let Some(why) = &self.postponed {
            out.painted(Paint::Warn, format!("nothing was deleted this time: {why}"));
        }
        if self.dry_run {
            out.line("a dry run: nothing was changed");
        }
    }
}

/// Prunes, or says what a prune would do.
pub(super) async fn prune(definition: &RepositoryDefinition, args: PruneArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    if !args.dry_run {
        ctx.may_change("prune")?;
    }
    let repo = open(definition, ctx).await?;
    if !args.dry_run && args.grace.is_zero() {
        let what = format!(
            "this deletes at once what no snapshot of {} needs, with no grace period",
            definition.url
        );
        confirm_as(ctx, "the prune", &what, &repo.id()[..8], args.yes.as_deref())?;
    }
    let options = PruneOptions {
        max_unused_percent: args.max_unused,
        max_repack_bytes: args.max_repack,
        trash_period: args.trash,
        grace: args.grace,
        accept_missing: args.accept_missing,
        accept_shrink: args.accept_shrink,
        ..PruneOptions::default()
    };
    let what = "the repository cannot be pruned";
    let report = drive(ctx, "pruning", what, async |progress, cancel| {
        if args.dry_run {
            repo.prune_plan(options, progress, cancel).await
        } else {
            repo.prune(options, progress, cancel).await
        }
    });
    let report = report.await?;
    ctx.print(&report)?;
    Ok(Exit::Done)
}

impl Render for CopyReport {
    fn text(&self, out: &mut Text) {
        for one in &self.copied {
            out.line(format!("{} is now {}", short(&one.source), short(&one.copy)));
        }
        out.field("copied", format!("{} snapshots", self.copied.len()));
        out.field("there before", format!("{} snapshots", self.skipped.len()));
        out.field("added", format!("{} in {} packs", Bytes(self.bytes), self.packs));
    }
}

/// Copies snapshots from another repository into this one.
pub(super) async fn copy(definition: &RepositoryDefinition, args: CopyArgs, ctx: &Ctx) -> Result<Exit, CliError> {
    ctx.may_change("copy snapshots")?;
    let source = other(&args.from_repository, args.from_password_file, definition, ctx)?;
    let (source, target) = (open(&source, ctx).await?, open(definition, ctx).await?);
    let what = "the snapshots cannot be copied";
    let report = drive(ctx, "copying", what, async |progress, cancel| {
        target.copy_from(&source, &args.ids, progress, cancel).await
    });
    let report = report.await?;
    ctx.print(&report)?;
    Ok(Exit::Done)
}

/// The other repository of a command, with a password of its own or the same.
pub(super) fn other(
    url: &str,
    password_file: Option<std::path::PathBuf>,
    same: &RepositoryDefinition,
    ctx: &Ctx,
) -> Result<RepositoryDefinition, CliError> {
    let own = password_file.is_some();
    let args = RepositoryArgs {
        repository: Some(url.to_owned()),
        password_file,
    };
    match ctx.repository(&args) {
        Ok(found) => Ok(found),
        Err(error) if own => Err(error),
        Err(_) => Ok(RepositoryDefinition {
            url: url.to_owned(),
            ..same.clone()
        }),
    }
}

impl Row for Trashed {
    const COLUMNS: &'static [Column] = &[
        Column::left("ID"),
        Column::left("TAKEN (UTC)"),
        Column::left("FORGOTTEN (UTC)"),
        Column::cut("BY"),
        Column::cut("WHY"),
        Column::cut("WHAT"),
    ];
    const EMPTY: &'static str = "the trash is empty";

    fn cells(&self, _style: &Style) -> Vec<String> {
        let minute = |at: chrono::DateTime<chrono::FixedOffset>| at.to_utc().format("%Y-%m-%d %H:%M").to_string();
        vec![
            short(&self.id).to_owned(),
            minute(self.snapshot.time),
            minute(self.at),
            self.note.by.clone(),
            self.note.reason.clone().unwrap_or_default(),
            self.snapshot.paths.join(" "),
        ]
    }
}

/// A snapshot that came back.
#[derive(Debug, serde::Serialize)]
struct Back {
    snapshot: SnapshotInfo,
}

impl Render for Back {
    fn text(&self, out: &mut Text) {
        out.line(format!("snapshot {} is listed again", self.snapshot.short_id()));
    }
}

/// Lists the trash, or brings a snapshot back.
pub(super) async fn trash(
    definition: &RepositoryDefinition,
    command: TrashCommand,
    ctx: &Ctx,
) -> Result<Exit, CliError> {
    if !matches!(command, TrashCommand::List) {
        ctx.may_change("bring a snapshot back")?;
    }
    let repo = open(definition, ctx).await?;
    match command {
        TrashCommand::List => {
            let trash = repo.trash().await;
            let trash = trash.map_err(|error| of_repo("the trash cannot be listed", &error))?;
            ctx.print(&Listing(trash))?;
        }
        TrashCommand::Restore { id } => {
            let snapshot = repo.untrash(&id).await;
            let snapshot = snapshot.map_err(|error| of_repo(format!("{id} cannot come back"), &error))?;
            tracing::info!(
                snapshot = snapshot.id,
                by = note(ctx, None).by,
                "brought back from the trash"
            );
            ctx.print(&Back { snapshot })?;
        }
    }
    Ok(Exit::Done)
}
