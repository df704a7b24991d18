//! `lifeboat recovery`: what was restored, what it found, and stopping one.

mod server;

pub use server::write_waiting;

use super::args::RecoveryCommand;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::job::order;
use super::output::{Column, Listing, Paint, Render, Row, Style, Text, moment};
use crate::api::types::Query;
use crate::domain::command::Command;
use crate::domain::id::RecoveryId;
use crate::domain::recovery::RecoveryRecord;
use crate::domain::run::Outcome;
use crate::domain::snapshot::EvidenceLevel;

/// Runs a verb of `lifeboat recovery`.
pub async fn run(command: RecoveryCommand, ctx: &Ctx) -> Result<Exit, CliError> {
    match command {
        RecoveryCommand::List { limit } => {
            let query = Query {
                limit: Some(limit),
                ..Query::default()
            };
            let page = ctx.client().await?.recoveries(&query).await;
            let page = page.map_err(|error| CliError::from_client("the recoveries cannot be listed", error))?;
            ctx.print(&Listing(page.items))?;
            Ok(Exit::Done)
        }
        RecoveryCommand::Show { id } => {
            let query = Query {
                id: Some(id.clone()),
                limit: Some(1),
                ..Query::default()
            };
            let what = format!("{id} cannot be shown");
            let page = ctx.client().await?.recoveries(&query).await;
            let page = page.map_err(|error| CliError::from_client(&what, error))?;
            let record = page.items.into_iter().next().ok_or_else(|| {
                CliError::usage(what)
                    .why("no recovery of that id has ended")
                    .hint("see them with: lifeboat recovery list, and what is running with: lifeboat status")
            })?;
            ctx.print(&record)?;
            Ok(Exit::Done)
        }
        RecoveryCommand::Cancel { id } => {
            let message = format!("asked {id} to stop");
            let recovery = RecoveryId(id);
            order(ctx, Command::CancelRecovery { recovery }, message).await
        }
        about_servers => server::run(about_servers, ctx).await,
    }
}

impl Row for RecoveryRecord {
    const COLUMNS: &'static [Column] = &[
        Column::left("RECOVERY"),
        Column::left("ENDED"),
        Column::left("OUTCOME"),
        Column::left("EVIDENCE"),
        Column::right("TOOK"),
        Column::left("SNAPSHOT"),
        Column::cut("TARGET"),
    ];
    const EMPTY: &'static str = "nothing has been restored yet";

    fn cells(&self, style: &Style) -> Vec<String> {
        vec![
            self.id.to_string(),
            style.ago(Some(self.finished_at)),
            self.outcome.word().to_owned(),
            self.evidence.map_or("-", |level| level.word()).to_owned(),
            self.duration().to_string(),
            self.request.snapshot.short().to_owned(),
            self.request.target.display(),
        ]
    }
}

impl Render for RecoveryRecord {
    fn text(&self, out: &mut Text) {
        let paint = match self.outcome {
            Outcome::Succeeded => Paint::Good,
            Outcome::Partial | Outcome::Cancelled => Paint::Warn,
            _ => Paint::Bad,
        };
        let outcome = self.outcome.word();
        out.painted(paint, format!("{} {outcome} after {}", self.id, self.duration()));
        out.field("snapshot", format!("{} ({})", self.request.snapshot.short(), self.kind));
        out.field("target", self.request.target.display());
        out.field(
            "asked by",
            format!("{} at {}", self.requested_by, moment(self.requested_at)),
        );
        out.maybe("reason", self.request.reason.as_deref());
        out.maybe("evidence", self.evidence.map(EvidenceLevel::word));
        out.field(
            "restored",
            format!("{} in {} files or tables", self.written, self.items),
        );
        let phases: Vec<String> = self
            .phases
            .iter()
            .map(|time| format!("{} {}", time.phase.word(), time.took))
            .collect();
        if !phases.is_empty() {
            out.field("phases", phases.join(", "));
        }
        if let Some(left) = &self.left {
            server::write(&self.id, left, out);
        }
        for finding in &self.findings {
            let (paint, mark) = if finding.ok {
                (Paint::Good, "ok ")
            } else {
                (Paint::Bad, "BAD")
            };
            out.painted(paint, format!("  [{mark}] {}: {}", finding.what, finding.detail));
        }
        if let Some(error) = &self.error {
            out.painted(Paint::Bad, format!("why: {error}"));
            if let Some(hint) = &error.hint {
                out.line(format!("hint: {hint}"));
            }
        }
    }
}
