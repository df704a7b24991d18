//! `lifeboat journal`: the audit log, as pages, as a stream, checked and exported.

use std::io::Write;

use serde::Serialize;

use super::args::JournalCommand;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::moment::maybe;
use super::output::{Paint, Render, Style, Text, moment};
use crate::api::Client;
use crate::api::types::{Page, Query, StreamItem};
use crate::domain::event::EventRecord;
use crate::journal::{ChainReport, Journal};

/// How many rows a page has where all of them are wanted.
const PAGE: u32 = 1000;

/// Runs a verb of `lifeboat journal`.
pub async fn run(command: JournalCommand, ctx: &Ctx) -> Result<Exit, CliError> {
    match command {
        JournalCommand::Tail { follow, lines } => tail(ctx, follow, lines).await,
        JournalCommand::Page {
            job,
            event,
            text,
            since,
            until,
            cursor,
            limit,
        } => {
            let now = ctx.clock.now();
            let query = Query {
                job,
                id: event,
                text,
                since: maybe(since.as_deref(), now)?,
                until: maybe(until.as_deref(), now)?,
                cursor,
                limit: Some(limit),
                ..Query::default()
            };
            let page = page(&ctx.client().await?, &query).await?;
            ctx.print(&page)?;
            Ok(Exit::Done)
        }
        JournalCommand::Verify => verify(ctx).await,
        JournalCommand::Export { output } => export(ctx, output.as_deref()).await,
    }
}

/// One event in one line.
fn line(record: &EventRecord) -> String {
    let actor = &record.actor;
    format!(
        "{:>6}  {}  {}@{} ({})  {}",
        record.seq,
        moment(record.at),
        actor.name,
        actor.host,
        actor.via,
        record.event.summary()
    )
}

impl Render for Page<EventRecord> {
    fn text(&self, out: &mut Text) {
        if self.items.is_empty() {
            out.line("no such event");
        }
        for record in &self.items {
            out.line(line(record));
        }
        if let Some(next) = &self.next {
            out.painted(Paint::Dim, format!("older ones with --cursor {next}"));
        }
    }
}

async fn page(client: &Client, query: &Query) -> Result<Page<EventRecord>, CliError> {
    let page = client.journal(query).await;
    page.map_err(|error| CliError::from_client("the journal cannot be read", error))
}

async fn tail(ctx: &Ctx, follow: bool, lines: u32) -> Result<Exit, CliError> {
    let client = ctx.client().await?;
    // The stream begins before the page is read, so that nothing falls between them.
    let stream = if follow { Some(client.stream().await) } else { None };
    let query = Query {
        limit: Some(lines.max(1)),
        ..Query::default()
    };
    let mut records = page(&client, &query).await?.items;
    records.reverse();
    if !follow && ctx.out.json {
        let mut list = ctx.out.list();
        for record in &records {
            list.row(record, |_: &Style| String::new())?;
        }
        list.end()?;
        return Ok(Exit::Done);
    }
    let mut last = 0;
    for record in &records {
        last = record.seq;
        tell(ctx, record)?;
    }
    let Some(stream) = stream else {
        return Ok(Exit::Done);
    };
    let mut stream = stream.map_err(|error| CliError::from_client("the journal cannot be followed", error))?;
    while let Some(item) = stream.next().await {
        match item {
            Ok(StreamItem::Event { record }) if record.seq > last => {
                // A stream may drop events of a slow reader; the journal does not.
                last = catch_up(ctx, &client, last, record.seq).await?;
                tell(ctx, &record)?;
                last = last.max(record.seq);
            }
            Ok(_) => {}
            Err(error) => return Err(CliError::from_client("the journal can no longer be followed", error)),
        }
    }
    Err(CliError::failed("the agent has ended").hint("start it with: lifeboat agent run"))
}

/// Tells the events between two numbers, when there are any.
async fn catch_up(ctx: &Ctx, client: &Client, last: u64, next: u64) -> Result<u64, CliError> {
    let missing = next.saturating_sub(last + 1);
    if missing == 0 || last == 0 {
        return Ok(last);
    }
    let query = Query {
        limit: Some(u32::try_from(missing + 1).unwrap_or(PAGE).min(PAGE)),
        ..Query::default()
    };
    let mut records = page(client, &query).await?.items;
    records.retain(|record| record.seq > last && record.seq < next);
    records.sort_by_key(|record| record.seq);
    for record in &records {
        tell(ctx, record)?;
    }
    Ok(next - 1)
}

/// Prints one event as it comes: a line for people, a line of JSON for programs.
fn tell(ctx: &Ctx, record: &EventRecord) -> Result<(), CliError> {
    let text = if ctx.out.json {
        json_line(record)?
    } else {
        super::output::clean(&line(record)).into_owned()
    };
    super::output::raw(format!("{text}\n").as_bytes())
}

fn json_line(record: &EventRecord) -> Result<String, CliError> {
    serde_json::to_string(record).map_err(|error| CliError::failed("the event cannot be written as JSON").why(error))
}

impl Render for ChainReport {
    fn text(&self, out: &mut Text) {
        match &self.broken {
            None => {
                out.painted(Paint::Good, format!("{} events, an unbroken chain", self.events));
                out.line(format!("head {}", self.head));
                out.line("note the head elsewhere: it proves later that nothing up to here was cut off");
            }
            Some(broken) => {
                out.painted(
                    Paint::Bad,
                    format!("the chain BREAKS at event {}: {}", broken.seq, broken.detail),
                );
                out.line(format!(
                    "the {} events before it hold together, up to {}",
                    self.events, self.head
                ));
            }
        }
    }
}

/// Walks the chain in the file itself: what is audited must not vouch for itself.
async fn verify(ctx: &Ctx) -> Result<Exit, CliError> {
    let path = ctx.config()?.agent.journal;
    let failed = |error: &dyn std::fmt::Display| {
        CliError::failed(format!("the journal {} cannot be checked", path.display())).why(error)
    };
    if !path.exists() {
        return Err(failed(&"there is no such file").hint("an agent makes it at its first start: lifeboat agent run"));
    }
    let (journal, _) = Journal::attach(&path).await.map_err(|error| failed(&error))?;
    let report = journal.verify().await.map_err(|error| failed(&error))?;
    journal.close().await;
    ctx.print(&report)?;
    Ok(if report.is_intact() { Exit::Done } else { Exit::Failed })
}

/// What `export` wrote to a file.
#[derive(Debug, Serialize)]
struct Exported {
    path: std::path::PathBuf,
    events: usize,
}

impl Render for Exported {
    fn text(&self, out: &mut Text) {
        out.line(format!("{} events written to {}", self.events, self.path.display()));
    }
}

async fn export(ctx: &Ctx, output: Option<&std::path::Path>) -> Result<Exit, CliError> {
    let client = ctx.client().await?;
    let mut records = Vec::new();
    let mut query = Query {
        limit: Some(PAGE),
        ..Query::default()
    };
    loop {
        let page = page(&client, &query).await?;
        records.extend(page.items);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    records.sort_by_key(|record| record.seq);
    let mut bytes = Vec::new();
    for record in &records {
        bytes.extend_from_slice(json_line(record)?.as_bytes());
        bytes.push(b'\n');
    }
    let Some(path) = output else {
        super::output::raw(&bytes)?;
        return Ok(Exit::Done);
    };
    let failed = |error: std::io::Error| {
        CliError::failed(format!("the journal cannot be written to {}", path.display()))
            .why(error)
            .hint("choose a file that does not exist yet")
    };
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    let events = records.len();
    ctx.print(&Exported {
        path: path.to_owned(),
        events,
    })?;
    Ok(Exit::Done)
}
