//! `lifeboat alert`: what is wrong, who has taken it, and closing it by hand.

use super::args::AlertCommand;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::job::order;
use super::output::{Column, Listing, Render, Row, Style, Text};
use super::views;
use crate::api::types::Query;
use crate::domain::alert::{Alert, AlertRecord};
use crate::domain::command::Command;
use crate::domain::id::AlertKey;

/// Runs a verb of `lifeboat alert`.
pub async fn run(command: AlertCommand, ctx: &Ctx) -> Result<Exit, CliError> {
    match command {
        AlertCommand::List { all: false, .. } => {
            ctx.print(&OpenAlerts(views::overview(ctx).await?.alerts))?;
            Ok(Exit::Done)
        }
        AlertCommand::List { all: true, limit } => {
            let query = Query {
                limit: Some(limit),
                ..Query::default()
            };
            let page = ctx.client().await?.alerts(&query).await;
            let page = page.map_err(|error| CliError::from_client("the alerts cannot be listed", error))?;
            ctx.print(&Listing(page.items))?;
            Ok(Exit::Done)
        }
        AlertCommand::Ack { key, note } => {
            let message = format!("alert {key} is yours, {}", ctx.actor.name);
            let key = AlertKey(key);
            order(ctx, Command::AcknowledgeAlert { key, note }, message).await
        }
        AlertCommand::Resolve { key, reason } => {
            let message = format!("alert {key} closed; it opens again when its condition is seen again");
            let key = AlertKey(key);
            order(ctx, Command::ResolveAlert { key, reason }, message).await
        }
    }
}

/// Open alerts, most urgent first.
#[derive(Debug, serde::Serialize)]
#[serde(transparent)]
struct OpenAlerts(Vec<Alert>);

impl Render for OpenAlerts {
    fn text(&self, out: &mut Text) {
        views::alerts(out, &self.0);
    }
}

impl Row for AlertRecord {
    const COLUMNS: &'static [Column] = &[
        Column::left("SEVERITY"),
        Column::left("OPENED"),
        Column::left("RESOLVED"),
        Column::left("KEY"),
        Column::cut("MESSAGE"),
    ];
    const EMPTY: &'static str = "there never was an alert";

    fn cells(&self, style: &Style) -> Vec<String> {
        let resolved = match self.resolved_at {
            Some(at) => style.ago(Some(at)),
            None => "OPEN".to_owned(),
        };
        vec![
            self.alert.severity.word().to_owned(),
            style.ago(Some(self.alert.opened_at)),
            resolved,
            self.alert.key.to_string(),
            self.alert.message.clone(),
        ]
    }
}
