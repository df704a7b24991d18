//! `lifeboat snapshot` on a repository directly, with no agent.

use std::path::Path;

use serde::Serialize;
use tokio::io::AsyncWriteExt;

use super::args::{SnapshotCommand, SnapshotFilter};
use super::context::Ctx;
use super::direct::{of_repo, open, resolve};
use super::error::{CliError, Exit};
use super::export;
use super::keep;
use super::labels;
use super::moment::maybe;
use super::output::{Column, Listing, Render, Row, Style, Text, moment};
use crate::domain::Bytes;
use crate::domain::job::RepositoryDefinition;
use crate::repo::diff::Change;
use crate::repo::lsmode::mode_text;
use crate::repo::short;
use crate::repo::{DiffReport, FindMatch, NodeKind, Repository, SnapshotInfo, TreeEntry};

/// Runs a verb on the snapshots of a repository.
pub async fn run(command: SnapshotCommand, repository: &RepositoryDefinition, ctx: &Ctx) -> Result<Exit, CliError> {
    match command {
        SnapshotCommand::Verify { .. } => {
            return Err(
                CliError::usage("a snapshot is proved by the agent, which keeps the evidence")
                    .hint("leave out --repository; or read all data with: lifeboat repo check --read-data"),
            );
        }
        SnapshotCommand::FindClean(_) => {
            return Err(
                CliError::usage("the figures of the snapshots are in the agent's journal")
                    .hint("leave out --repository"),
            );
        }
        _ => {}
    }
    if changes(&command) {
        ctx.may_change("change snapshots")?;
    }
    let repo = open(repository, ctx).await?;
    match command {
        SnapshotCommand::Forget { ids, why } => return labels::forget(&repo, &ids, why.reason, ctx).await,
        SnapshotCommand::Pin { id, why } => return labels::pin(&repo, &id, why.reason, ctx).await,
        SnapshotCommand::Unpin { id, why } => return labels::unpin(&repo, &id, why.reason, ctx).await,
        SnapshotCommand::Tag(args) => return labels::tag(&repo, args, ctx).await,
        SnapshotCommand::Export(args) => return export::run(&repo, args, ctx).await,
        SnapshotCommand::List(filter) => list(&repo, filter, ctx).await?,
        SnapshotCommand::Show { id } => ctx.print(&Shown::from(resolve(&repo, &id).await?))?,
        SnapshotCommand::Ls { id, path, recursive } => {
            let snapshot = resolve(&repo, &id).await?;
            let listed = if recursive {
                repo.walk(&snapshot.id, &path).await
            } else {
                repo.ls(&snapshot.id, &path).await
            };
            let entries = listed.map_err(|error| of_repo(format!("{path} cannot be listed"), &error))?;
            ctx.print(&Listing(
                entries
                    .into_iter()
                    .map(|entry| Entry {
                        entry,
                        whole: recursive,
                    })
                    .collect(),
            ))?;
        }
        SnapshotCommand::Find { pattern, snapshot } => {
            let within = match snapshot {
                Some(id) => vec![resolve(&repo, &id).await?.id],
                None => Vec::new(),
            };
            let found = repo.find(&within, &pattern).await;
            let found = found.map_err(|error| of_repo(format!("{pattern} cannot be looked for"), &error))?;
            ctx.print(&Listing(found))?;
        }
        SnapshotCommand::Diff { from, to } => {
            let (from, to) = (resolve(&repo, &from).await?, resolve(&repo, &to).await?);
            let report = repo.diff(&from.id, &to.id).await;
            ctx.print(&report.map_err(|error| of_repo("the snapshots cannot be compared", &error))?)?;
        }
        SnapshotCommand::Dump { id, path, output } => {
            let snapshot = resolve(&repo, &id).await?;
            dump(&repo, &snapshot, &path, output.as_deref()).await?;
        }
        SnapshotCommand::Verify { .. } | SnapshotCommand::FindClean(_) => {}
        SnapshotCommand::Untrash { id } => return keep::untrash(&repo, &id, ctx).await,
    }
    Ok(Exit::Done)
}

/// Whether a verb writes to the repository.
fn changes(command: &SnapshotCommand) -> bool {
    matches!(
        command,
        SnapshotCommand::Forget { .. }
            | SnapshotCommand::Untrash { .. }
            | SnapshotCommand::Pin { .. }
            | SnapshotCommand::Unpin { .. }
            | SnapshotCommand::Tag(_)
    )
}

/// A snapshot as it is in the repository; no agent has proved anything of it here.
#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    #[serde(flatten)]
    snapshot: crate::repo::SnapshotFile,
}

impl From<SnapshotInfo> for Shown {
    fn from(info: SnapshotInfo) -> Self {
        Self {
            id: info.id,
            snapshot: info.snapshot,
        }
    }
}

impl Shown {
    fn size(&self) -> String {
        self.snapshot.summary.as_ref().map_or_else(
            || "-".to_owned(),
            |summary| Bytes(summary.total_bytes_processed).to_string(),
        )
    }
}

impl Row for Shown {
    const COLUMNS: &'static [Column] = &[
        Column::left("ID"),
        Column::left("TAKEN (UTC)"),
        Column::cut("HOST"),
        Column::right("SIZE"),
        Column::cut("TAGS"),
        Column::cut("WHAT"),
    ];
    const EMPTY: &'static str = "no such snapshot";

    fn cells(&self, _style: &Style) -> Vec<String> {
        vec![
            short(&self.id).to_owned(),
            self.snapshot.time.to_utc().format("%Y-%m-%d %H:%M").to_string(),
            self.snapshot.hostname.clone(),
            self.size(),
            self.snapshot.tags.join(" "),
            self.snapshot.paths.join(" "),
        ]
    }
}

impl Render for Shown {
    fn text(&self, out: &mut Text) {
        let snapshot = &self.snapshot;
        out.field("snapshot", &self.id);
        out.field(
            "taken",
            format!(
                "{} on {} by {}",
                moment(snapshot.time.to_utc()),
                snapshot.hostname,
                snapshot.username
            ),
        );
        out.field("paths", snapshot.paths.join(" "));
        out.field("tags", snapshot.tags.join(" "));
        out.maybe("comment", snapshot.description.as_deref());
        out.maybe("parent", snapshot.parent.as_ref().map(ToString::to_string));
        out.field("tree", snapshot.tree.to_string());
        out.field("size", self.size());
        out.field("made by", &snapshot.program_version);
    }
}

async fn list(repo: &Repository, filter: SnapshotFilter, ctx: &Ctx) -> Result<(), CliError> {
    if filter.evidence.is_some() {
        return Err(
            CliError::usage("the repository does not hold evidence; the agent's journal does")
                .hint("leave out --repository, or leave out --evidence"),
        );
    }
    if filter.trash {
        return keep::list_trash(repo, filter.limit, ctx).await;
    }
    let now = ctx.clock.now();
    let since = maybe(filter.since.as_deref(), now)?;
    let until = maybe(filter.until.as_deref(), now)?;
    let tags: Vec<String> = [
        filter.job.map(|job| format!("job={job}")),
        filter.source.map(|source| format!("source={source}")),
        filter.tag,
    ]
    .into_iter()
    .flatten()
    .collect();
    let (all, damaged) = repo
        .snapshots_lossy()
        .await
        .map_err(|error| of_repo("the snapshots cannot be listed", &error))?;
    for (id, error) in damaged {
        ctx.out
            .remark(&format!("snapshot {} cannot be read: {error}", short(&id)));
    }
    let wanted = |info: &SnapshotInfo| {
        let taken = info.snapshot.time.to_utc();
        since.is_none_or(|since| taken >= since)
            && until.is_none_or(|until| taken <= until)
            && tags.iter().all(|tag| info.snapshot.tags.contains(tag))
    };
    let newest = all.into_iter().rev().filter(wanted).take(filter.limit as usize);
    ctx.print(&Listing(newest.map(Shown::from).collect()))
}

/// An entry of a snapshot; by its whole path when several directories are listed.
#[derive(Debug, Serialize)]
struct Entry {
    #[serde(flatten)]
    entry: TreeEntry,
    #[serde(skip)]
    whole: bool,
}

impl Row for Entry {
    const COLUMNS: &'static [Column] = &[
        Column::left("MODE"),
        Column::right("SIZE"),
        Column::left("CHANGED (UTC)"),
        Column::left("NAME"),
    ];
    const EMPTY: &'static str = "an empty directory";

    fn cells(&self, _style: &Style) -> Vec<String> {
        let entry = &self.entry;
        let name = if self.whole { &entry.path } else { &entry.name };
        vec![
            mode_text(entry.kind, entry.mode),
            if entry.kind == NodeKind::File {
                Bytes(entry.size).to_string()
            } else {
                String::new()
            },
            moment(entry.mtime),
            entry
                .link_target
                .as_ref()
                .map_or_else(|| name.clone(), |target| format!("{name} -> {target}")),
        ]
    }
}

impl Row for FindMatch {
    const COLUMNS: &'static [Column] = &[
        Column::left("SNAPSHOT"),
        Column::right("SIZE"),
        Column::left("CHANGED (UTC)"),
        Column::left("PATH"),
    ];
    const EMPTY: &'static str = "nothing has such a name";

    fn cells(&self, _style: &Style) -> Vec<String> {
        vec![
            short(&self.snapshot).to_owned(),
            Bytes(self.entry.size).to_string(),
            moment(self.entry.mtime),
            self.entry.path.clone(),
        ]
    }
}

impl Render for DiffReport {
    fn text(&self, out: &mut Text) {
        for difference in &self.differences {
            let mark = match difference.change {
                Change::Added => '+',
                Change::Removed => '-',
                Change::Modified => 'M',
                Change::Metadata => 'U',
                Change::Kind => 'T',
            };
            out.line(format!("{mark}  {}", difference.entry.path));
        }
        let count = |change: Change| {
            self.differences
                .iter()
                .filter(|difference| difference.change == change)
                .count()
        };
        out.line(format!(
            "{} added, {} removed, {} modified, {} with other metadata, {} of another kind",
            count(Change::Added),
            count(Change::Removed),
            count(Change::Modified),
            count(Change::Metadata),
            count(Change::Kind)
        ));
    }
}

async fn dump(repo: &Repository, snapshot: &SnapshotInfo, path: &str, output: Option<&Path>) -> Result<(), CliError> {
    let what = format!("{path} cannot be dumped");
    let failed = |error: std::io::Error| CliError::failed(what.as_str()).why(error);
    let Some(output) = output else {
        let mut out = tokio::io::stdout();
        let dumped = repo.dump(&snapshot.id, path, &mut out).await;
        dumped.map_err(|error| of_repo(what.as_str(), &error))?;
        return out.flush().await.map_err(failed);
    };
    let mut file = tokio::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(output)
        .await
        .map_err(failed)?;
    let dumped = repo.dump(&snapshot.id, path, &mut file).await;
    let written = match dumped {
        Ok(_) => file.sync_all().await.map_err(failed),
        Err(error) => Err(of_repo(what.as_str(), &error)),
    };
    if written.is_err() {
        // Half a file must not be taken for the whole.
        let _ = tokio::fs::remove_file(output).await;
    }
    written
}
