//! `lifeboat snapshot` through the agent: what the journal knows of each snapshot, its evidence above all.

use serde::Serialize;

use super::args::{SnapshotCommand, SnapshotFilter};
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::find_clean;
use super::follow;
use super::job::give;
use super::keep;
use super::moment::maybe;
use super::output::{Column, Listing, Paint, Render, Row, Style, Text, moment};
use crate::api::Client;
use crate::api::types::{Query, TreeEntryView};
use crate::domain::command::Command;
use crate::domain::id::{JobName, SourceName};
use crate::domain::snapshot::{EvidenceLevel, SnapshotRecord};

/// Runs a verb of `lifeboat snapshot` for which the agent is asked.
pub async fn run(command: SnapshotCommand, ctx: &Ctx) -> Result<Exit, CliError> {
    match command {
        SnapshotCommand::List(filter) => list(ctx, filter).await,
        SnapshotCommand::Show { id } => {
            let snapshot = resolve(&ctx.client().await?, &id).await?;
            ctx.print(&snapshot)?;
            Ok(Exit::Done)
        }
        SnapshotCommand::Ls { id, path, recursive } => ls(ctx, &id, &path, recursive).await,
        SnapshotCommand::Verify { id, level, no_wait } => verify(ctx, &id, level, no_wait).await,
        SnapshotCommand::FindClean(args) => find_clean::run(args, ctx).await,
        SnapshotCommand::Find { .. }
        | SnapshotCommand::Diff { .. }
        | SnapshotCommand::Dump { .. }
        | SnapshotCommand::Export(_) => {
            Err(CliError::usage("this reads a repository directly").hint("say which with --repository"))
        }
        SnapshotCommand::Pin { .. }
        | SnapshotCommand::Unpin { .. }
        | SnapshotCommand::Tag(_)
        | SnapshotCommand::Forget { .. }
        | SnapshotCommand::Untrash { .. } => keep::through_agent(command, ctx).await,
    }
}

/// Finds the snapshot that a prefix of its id, `latest` or `latest:JOB` means.
pub async fn resolve(client: &Client, id: &str) -> Result<SnapshotRecord, CliError> {
    let what = format!("snapshot {id} cannot be found");
    let (query, latest) = match id.split_once(':') {
        _ if id == "latest" => (Query::default(), true),
        Some(("latest", job)) => {
            let job = Some(job.to_owned());
            (
                Query {
                    job,
                    ..Query::default()
                },
                true,
            )
        }
        _ => {
            let id = Some(id.to_ascii_lowercase());
            (Query { id, ..Query::default() }, false)
        }
    };
    let page = client
        .snapshots(&Query {
            limit: Some(10),
            ..query
        })
        .await;
    let page = page.map_err(|error| CliError::from_client(&what, error))?;
    let mut found: Vec<SnapshotRecord> = page.items.into_iter().filter(SnapshotRecord::is_there).collect();
    let hint = "see them with: lifeboat snapshot list";
    if found.is_empty() {
        let why = if latest {
            "there is none yet"
        } else {
            "no snapshot's id begins so"
        };
        return Err(CliError::usage(what).why(why).hint(hint));
    }
    if !latest && found.len() > 1 {
        let ids: Vec<&str> = found.iter().map(|one| one.id.short()).collect();
        return Err(CliError::usage(what)
            .why(format!("several begin so: {}", ids.join(", ")))
            .hint("give more digits"));
    }
    Ok(found.swap_remove(0))
}

async fn list(ctx: &Ctx, filter: SnapshotFilter) -> Result<Exit, CliError> {
    let now = ctx.clock.now();
    let mut query = Query {
        job: filter.job,
        source: filter.source,
        since: maybe(filter.since.as_deref(), now)?,
        until: maybe(filter.until.as_deref(), now)?,
        tag: filter.tag,
        evidence: filter.evidence,
        trash: filter.trash.then_some(true),
        ..Query::default()
    };
    let client = ctx.client().await?;
    let mut snapshots = Vec::new();
    let wanted = filter.limit.max(1) as usize;
    while snapshots.len() < wanted {
        query.limit = Some(u32::try_from(wanted - snapshots.len()).unwrap_or(1000).min(1000));
        let page = client.snapshots(&query).await;
        let page = page.map_err(|error| CliError::from_client("the snapshots cannot be listed", error))?;
        snapshots.extend(page.items);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    ctx.print(&Listing(snapshots))?;
    Ok(Exit::Done)
}

fn evidence(snapshot: &SnapshotRecord) -> String {
    match (&snapshot.vanished_at, &snapshot.evidence.failure) {
        (Some(_), _) => "GONE".to_owned(),
        (None, _) if snapshot.replaced_by.is_some() => "REPLACED".to_owned(),
        (None, _) if snapshot.forgotten.is_some() => "IN TRASH".to_owned(),
        (None, Some(failure)) => format!("NOT {}", failure.level),
        (None, None) if snapshot.partial => "PARTIAL".to_owned(),
        (None, None) => snapshot.evidence.level.to_string(),
    }
}

impl Row for SnapshotRecord {
    const COLUMNS: &'static [Column] = &[
        Column::left("ID"),
        Column::left("TAKEN (UTC)"),
        Column::cut("JOB"),
        Column::left("EVIDENCE"),
        Column::right("SIZE"),
        Column::right("ADDED"),
        Column::left("KEPT"),
        Column::cut("WHAT"),
    ];
    const EMPTY: &'static str = "no such snapshot";

    fn cells(&self, style: &Style) -> Vec<String> {
        let what = match &self.database {
            Some(database) => format!("database {}", database.name),
            None => self.paths.join(" "),
        };
        vec![
            self.id.short().to_owned(),
            self.taken_at.format("%Y-%m-%d %H:%M").to_string(),
            self.job.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            evidence(self),
            self.size.to_string(),
            self.added.to_string(),
            keep::kept_words(self, style.now),
            what,
        ]
    }
}

impl Render for SnapshotRecord {
    fn text(&self, out: &mut Text) {
        out.field("snapshot", self.id.as_str());
        out.field("repository", self.repository.as_str());
        out.maybe("job", self.job.as_ref().map(JobName::as_str));
        out.maybe("source", self.source.as_ref().map(SourceName::as_str));
        out.field("kind", &self.kind);
        out.field("taken", format!("{} on {}", moment(self.taken_at), self.host));
        out.field("committed", moment(self.committed_at));
        out.field(
            "evidence",
            format!("{}, {}", self.evidence.level, out.style.ago(Some(self.evidence.at))),
        );
        if let Some(failure) = &self.evidence.failure {
            out.painted(Paint::Bad, format!("NOT {}: {}", failure.level, failure.message));
        }
        if self.partial {
            out.painted(
                Paint::Warn,
                format!("PARTIAL: {} things could not be read", self.errors),
            );
        }
        if let Some(at) = self.vanished_at {
            out.painted(Paint::Bad, format!("GONE from its repository since {}", moment(at)));
        }
        keep::fields(self, out);
        out.field(
            "size",
            format!("{} in {} files; {} added", self.size, self.files, self.added),
        );
        out.field("paths", self.paths.join(" "));
        if !self.tags.is_empty() {
            out.field("tags", self.tags.join(" "));
        }
        out.maybe("comment", self.comment.as_deref());
        if let Some(database) = &self.database {
            out.field(
                "database",
                format!("{}, PostgreSQL {}", database.name, database.server_version),
            );
            let rows: u64 = database.row_counts.values().sum();
            out.field("tables", format!("{} with {rows} rows", database.tables));
        }
    }
}

impl Row for TreeEntryView {
    const COLUMNS: &'static [Column] = &[
        Column::left("MODE"),
        Column::right("SIZE"),
        Column::left("CHANGED (UTC)"),
        Column::left("NAME"),
    ];
    const EMPTY: &'static str = "an empty directory";

    fn cells(&self, _style: &Style) -> Vec<String> {
        let name = match &self.link_target {
            Some(target) => format!("{} -> {target}", self.name),
            None if self.kind == "dir" => format!("{}/", self.name),
            None => self.name.clone(),
        };
        vec![
            self.mode.clone(),
            if self.kind == "file" {
                self.size.to_string()
            } else {
                String::new()
            },
            self.modified.map_or_else(String::new, moment),
            name,
        ]
    }
}

async fn ls(ctx: &Ctx, id: &str, path: &str, recursive: bool) -> Result<Exit, CliError> {
    let client = ctx.client().await?;
    let snapshot = resolve(&client, id).await?;
    let mut entries = Vec::new();
    let mut waiting = vec![(path.trim_end_matches('/').to_owned(), String::new())];
    while let Some((directory, shown)) = waiting.pop() {
        let asked = if directory.is_empty() { "/" } else { directory.as_str() };
        let tree = client.snapshot_tree(snapshot.id.as_str(), asked).await;
        let tree = tree.map_err(|error| CliError::from_client(format!("{asked} cannot be listed"), error))?;
        let below = tree.iter().filter(|entry| recursive && entry.kind == "dir");
        let below: Vec<_> = below
            .map(|entry| (format!("{directory}/{}", entry.name), format!("{shown}{}/", entry.name)))
            .collect();
        waiting.extend(below.into_iter().rev());
        entries.extend(tree.into_iter().map(|entry| TreeEntryView {
            name: format!("{shown}{}", entry.name),
            ..entry
        }));
    }
    ctx.print(&Listing(entries))?;
    Ok(Exit::Done)
}

/// What a verification came to.
#[derive(Debug, Serialize)]
struct Verified {
    snapshot: SnapshotRecord,
    recovery: crate::domain::recovery::RecoveryRecord,
}

impl Render for Verified {
    fn text(&self, out: &mut Text) {
        self.recovery.text(out);
        out.field("now proved to", evidence(&self.snapshot));
    }
}

async fn verify(ctx: &Ctx, id: &str, level: EvidenceLevel, no_wait: bool) -> Result<Exit, CliError> {
    let client = ctx.client().await?;
    let snapshot = resolve(&client, id).await?.id;
    let title = format!("verifying {}", snapshot.short());
    let command = Command::VerifySnapshot {
        snapshot: snapshot.clone(),
        level,
    };
    let receipt = give(&client, command).await?;
    let began = format!("{title} began; see: lifeboat status");
    let Some(recovery) = follow::recovery(ctx, &client, receipt, !no_wait, &title, began).await? else {
        return Ok(Exit::Done);
    };
    let exit = Exit::from(recovery.outcome);
    let snapshot = resolve(&client, snapshot.as_str()).await?;
    ctx.print(&Verified { snapshot, recovery })?;
    Ok(exit)
}
