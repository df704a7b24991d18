//! Waiting for a run or a recovery, with its progress, through Ctrl-C and through a restart of the agent.

use std::time::Duration;

use super::context::{Ctx, Interrupts};
use super::error::CliError;
use super::job::Ordered;
use crate::api::types::{Overview, ProgressView, Query, Receipt, StreamItem};
use crate::api::{Client, ClientError, Stream};
use crate::domain::command::Command;
use crate::domain::event::Event;
use crate::domain::follow_up::LeftServer;
use crate::domain::id::{MaintenanceId, RecoveryId, RunId};
use crate::domain::maintenance::MaintenanceRecord;
use crate::domain::recovery::RecoveryRecord;
use crate::domain::run::RunRecord;

/// How long an agent that has gone may stay away before we stop waiting for it.
const AWAY: Duration = Duration::from_mins(1);
/// How long a record may take to appear after its work has ended.
const RECORD_TRIES: u32 = 40;

/// Where a piece of work stands in a picture.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// It is not running.
    Absent,
    /// It waits for its turn.
    Waiting,
    /// It is this far.
    Working(&'a ProgressView),
}

impl<'a> Seen<'a> {
    fn of(view: Option<&'a Option<ProgressView>>) -> Self {
        match view {
            None => Self::Absent,
            Some(None) => Self::Waiting,
            Some(Some(progress)) => Self::Working(progress),
        }
    }
}

/// A piece of work that can be waited for.
pub trait Work {
    /// What it leaves behind.
    type Record;
    /// What people call it.
    fn name(&self) -> String;
    /// Where it stands in a picture.
    fn seen<'a>(&self, overview: &'a Overview) -> Seen<'a>;
    /// Its record, if this event is its end.
    fn ended(&self, event: &Event) -> Option<Self::Record>;
    /// Its record in history.
    fn fetch(&self, client: &Client) -> impl Future<Output = Result<Option<Self::Record>, ClientError>>;
    /// What stops it.
    fn cancel(&self) -> Command;
}

/// A run of a job.
pub struct RunWork(pub RunId);

impl Work for RunWork {
    type Record = RunRecord;

    fn name(&self) -> String {
        self.0.to_string()
    }

    fn seen<'a>(&self, overview: &'a Overview) -> Seen<'a> {
        let view = overview.runs.iter().find(|view| view.run.id == self.0);
        Seen::of(view.map(|view| &view.progress))
    }

    fn ended(&self, event: &Event) -> Option<RunRecord> {
        match event {
            Event::RunFinished { record } if record.id == self.0 => Some(record.clone()),
            _ => None,
        }
    }

    async fn fetch(&self, client: &Client) -> Result<Option<RunRecord>, ClientError> {
        let page = client.runs(&by_id(self.0.as_str())).await?;
        Ok(page.items.into_iter().find(|record| record.id == self.0))
    }

    fn cancel(&self) -> Command {
        Command::CancelRun { run: self.0.clone() }
    }
}

/// A recovery or a verification.
pub struct RecoveryWork(pub RecoveryId);

impl Work for RecoveryWork {
    type Record = RecoveryRecord;

    fn name(&self) -> String {
        self.0.to_string()
    }

    fn seen<'a>(&self, overview: &'a Overview) -> Seen<'a> {
        let view = overview.recoveries.iter().find(|view| view.recovery.id == self.0);
        Seen::of(view.map(|view| &view.progress))
    }

    fn ended(&self, event: &Event) -> Option<RecoveryRecord> {
        match event {
            Event::RecoveryFinished { record } if record.id == self.0 => Some(record.clone()),
            _ => None,
        }
    }

    async fn fetch(&self, client: &Client) -> Result<Option<RecoveryRecord>, ClientError> {
        let page = client.recoveries(&by_id(self.0.as_str())).await?;
        Ok(page.items.into_iter().find(|record| record.id == self.0))
    }

    fn cancel(&self) -> Command {
        Command::CancelRecovery {
            recovery: self.0.clone(),
        }
    }
}

/// What is being done with the server a recovery has left.
pub struct ServerWork(pub RecoveryId);

impl Work for ServerWork {
    type Record = LeftServer;

    fn name(&self) -> String {
        format!("the server of {}", self.0)
    }

    fn seen<'a>(&self, overview: &'a Overview) -> Seen<'a> {
        let mut views = overview.waiting.iter();
        let view = views.find(|view| view.waiting.recovery == self.0 && view.waiting.follow_up.is_some());
        Seen::of(view.map(|view| &view.progress))
    }

    fn ended(&self, event: &Event) -> Option<LeftServer> {
        match event {
            Event::FollowUpEnded { recovery, server } if *recovery == self.0 => Some(server.clone()),
            _ => None,
        }
    }

    async fn fetch(&self, client: &Client) -> Result<Option<LeftServer>, ClientError> {
        let page = client.recoveries(&by_id(self.0.as_str())).await?;
        let record = page.items.into_iter().find(|record| record.id == self.0);
        Ok(record.and_then(|record| record.left))
    }

    fn cancel(&self) -> Command {
        Command::CancelRecovery {
            recovery: self.0.clone(),
        }
    }
}

/// Maintenance of a repository.
pub struct MaintenanceWork(pub MaintenanceId);

impl Work for MaintenanceWork {
    type Record = MaintenanceRecord;

    fn name(&self) -> String {
        self.0.to_string()
    }

    fn seen<'a>(&self, overview: &'a Overview) -> Seen<'a> {
        let view = overview.maintenance.iter().find(|view| view.maintenance.id == self.0);
        Seen::of(view.map(|view| &view.progress))
    }

    fn ended(&self, event: &Event) -> Option<MaintenanceRecord> {
        match event {
            Event::MaintenanceFinished { record, .. } if record.id == self.0 => Some(record.clone()),
            _ => None,
        }
    }

    async fn fetch(&self, client: &Client) -> Result<Option<MaintenanceRecord>, ClientError> {
        let page = client.maintenance(&by_id(self.0.as_str())).await?;
        Ok(page.items.into_iter().find(|record| record.id == self.0))
    }

    fn cancel(&self) -> Command {
        Command::CancelMaintenance {
            maintenance: self.0.clone(),
        }
    }
}

fn by_id(id: &str) -> Query {
    Query {
        id: Some(id.to_owned()),
        limit: Some(1),
        ..Query::default()
    }
}

/// Waits for the end of what a command began. The first Ctrl-C asks it to stop, the second leaves it running.
pub async fn follow<W: Work>(
    ctx: &Ctx,
    client: &Client,
    work: &W,
    receipt: &Receipt,
    title: &str,
) -> Result<W::Record, CliError> {
    let mut progress = ctx.progress(title);
    let interrupts = ctx.interrupts();
    let mut asked_to_stop = false;
    loop {
        let mut stream = attach(ctx, client, work, &interrupts).await?;
        loop {
            let item = tokio::select! {
                biased;
                () = interrupts.detach.cancelled() => return Err(left_running(work)),
                () = interrupts.stop.cancelled(), if !asked_to_stop => {
                    asked_to_stop = true;
                    progress.say(&format!("asking {} to stop; Ctrl-C again leaves it running", work.name()));
                    // A failure means that it has ended, or that the agent has: both show in the stream.
                    let _ = client.command(work.cancel()).await;
                    continue;
                }
                item = stream.next() => item,
            };
            match item {
                Some(Ok(StreamItem::Overview { overview })) => match work.seen(&overview) {
                    Seen::Working(now) => progress.update(now),
                    // A picture from before the command does not show it yet.
                    Seen::Absent if overview.seq >= receipt.seq => {
                        progress.clear();
                        return record(ctx, client, work).await;
                    }
                    Seen::Waiting | Seen::Absent => {}
                },
                Some(Ok(StreamItem::Event { record })) => {
                    if let Some(record) = work.ended(&record.event) {
                        return Ok(record);
                    }
                }
                Some(Ok(StreamItem::Alive { .. })) => {}
                Some(Err(error)) if !error.is_unreachable() => {
                    return Err(CliError::from_client(
                        format!("{} cannot be followed", work.name()),
                        error,
                    ));
                }
                Some(Err(_)) | None => {
                    progress.say("the agent has gone; waiting for it");
                    break;
                }
            }
        }
    }
}

async fn attach<W: Work>(ctx: &Ctx, client: &Client, work: &W, interrupts: &Interrupts) -> Result<Stream, CliError> {
    match connect(ctx, client, interrupts, AWAY).await {
        Ok(Some(stream)) => Ok(stream),
        Ok(None) => Err(left_running(work)),
        Err(error) => {
            let what = format!("{} was begun, but the agent has gone", work.name());
            Err(CliError::from_client(what, error))
        }
    }
}

/// Opens the agent's stream, waiting up to `away` for an agent that has gone; none when somebody pressed Ctrl-C meanwhile.
pub(super) async fn connect(
    ctx: &Ctx,
    client: &Client,
    interrupts: &Interrupts,
    away: Duration,
) -> Result<Option<Stream>, ClientError> {
    let begun = ctx.clock.monotonic();
    loop {
        match client.stream().await {
            Ok(stream) => return Ok(Some(stream)),
            Err(error) if !error.is_unreachable() || ctx.clock.elapsed(begun) > away => return Err(error),
            Err(_) => {}
        }
        // The second Ctrl-C comes after the first.
        tokio::select! {
            () = interrupts.stop.cancelled() => return Ok(None),
            () = ctx.clock.sleep(Duration::from_millis(500)) => {}
        }
    }
}

/// The work is no longer in the picture, so its end is in the journal; history may be a moment behind.
async fn record<W: Work>(ctx: &Ctx, client: &Client, work: &W) -> Result<W::Record, CliError> {
    for _ in 0..RECORD_TRIES {
        let found = work.fetch(client).await;
        let found = found.map_err(|error| CliError::from_client(format!("{} has ended, but", work.name()), error))?;
        if let Some(record) = found {
            return Ok(record);
        }
        ctx.clock.sleep(Duration::from_millis(50)).await;
    }
    Err(
        CliError::failed(format!("{} has ended, but left no record", work.name()))
            .hint("look at the audit log with: lifeboat journal page"),
    )
}

fn left_running<W: Work>(work: &W) -> CliError {
    CliError::cancelled(format!(
        "no longer waiting for {}; the agent goes on with it",
        work.name()
    ))
    .hint("look at it with: lifeboat status")
}

/// Waits for the end of a recovery that an order began; none when nobody wants to, and then says that it began.
pub async fn recovery(
    ctx: &Ctx,
    client: &Client,
    receipt: Receipt,
    wait: bool,
    title: &str,
    began: String,
) -> Result<Option<RecoveryRecord>, CliError> {
    // In this process the engine ends with the command, so there is nothing to leave running.
    let Some(id) = receipt.recovery.clone().filter(|_| wait || ctx.global.embedded) else {
        let message = began;
        ctx.print(&Ordered { message, receipt })?;
        return Ok(None);
    };
    follow(ctx, client, &RecoveryWork(id), &receipt, title).await.map(Some)
}
