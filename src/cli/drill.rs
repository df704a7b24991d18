//! `lifeboat drill`: recoveries for practice, and how long they took.

use super::args::DrillCommand;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::follow;
use super::job::give;
use super::output::{Column, Listing, Row, Style};
use super::recover::instant;
use super::views;
use crate::domain::command::Command;
use crate::domain::drill::{DrillPoint, DrillView};
use crate::domain::id::DrillName;

/// Runs a verb of `lifeboat drill`.
pub async fn run(command: DrillCommand, ctx: &Ctx) -> Result<Exit, CliError> {
    match command {
        DrillCommand::List => {
            ctx.print(&Listing(views::overview(ctx).await?.drills))?;
            Ok(Exit::Done)
        }
        DrillCommand::Run {
            name,
            latest,
            random,
            to,
            wait,
        } => {
            ctx.may_change("run a drill")?;
            let at = to.map(|text| instant(&text, ctx.clock.now())).transpose()?;
            let point = match (latest, random, at) {
                (true, ..) => Some(DrillPoint::Latest),
                (_, true, _) => Some(DrillPoint::Random),
                (.., Some(at)) => Some(DrillPoint::At(at)),
                _ => None,
            };
            start(ctx, &name, point, wait).await
        }
    }
}

async fn start(ctx: &Ctx, name: &str, point: Option<DrillPoint>, wait: bool) -> Result<Exit, CliError> {
    let client = ctx.client().await?;
    let drill = DrillName::from(name);
    let receipt = give(&client, Command::RunDrill { drill, point }).await?;
    let title = format!("drill {name}");
    let began = format!("{title} began; see: lifeboat drill list");
    let Some(record) = follow::recovery(ctx, &client, receipt, wait, &title, began).await? else {
        return Ok(Exit::Done);
    };
    let exit = Exit::from(record.outcome);
    ctx.print(&record)?;
    Ok(exit)
}

impl Row for DrillView {
    const COLUMNS: &'static [Column] = &[
        Column::left("DRILL"),
        Column::left("SOURCE"),
        Column::left("POINT"),
        Column::left("LEVEL"),
        Column::left("LAST"),
        Column::left("OUTCOME"),
        Column::right("TOOK"),
        Column::right("LIMIT"),
        Column::left("NEXT"),
        Column::cut("SCHEDULE"),
    ];
    const EMPTY: &'static str = "no drills are configured; a [drill.NAME] names a source, and when";

    fn cells(&self, style: &Style) -> Vec<String> {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let last = self.last.as_ref();
        let outcome = match (&self.running, last) {
            (Some(_), _) => "running".to_owned(),
            (None, Some(last)) => last.outcome.word().to_owned(),
            (None, None) => "never done".to_owned(),
        };
        vec![
            self.name.to_string(),
            self.source.to_string(),
            self.point.clone(),
            self.level.word().to_owned(),
            style.ago(last.map(|last| last.at)),
            outcome,
            or_dash(last.map(|last| last.took.to_string())),
            or_dash(self.limit.map(|limit| limit.to_string())),
            or_dash(self.next_due.map(super::output::moment)),
            self.schedule.clone().unwrap_or_else(|| "by hand".to_owned()),
        ]
    }
}
