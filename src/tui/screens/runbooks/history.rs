//! Executions of runbooks that have ended: how each ended, how long it took, who led it. Enter shows the report.

use std::cmp::Ordering;

use ratatui::layout::Rect;
use ratatui::text::Line;

use super::outcome;
use crate::domain::runbook::RunbookRecord;
use crate::domain::runbook::report::report;
use crate::domain::{Millis, Timestamp};
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, Look};
use crate::tui::filter::Field;
use crate::tui::table::Item;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::Detail;
use crate::tui::widgets::list::{self, Column};
use crate::tui::words;

impl Item for RunbookRecord {
    const SORTS: &'static [&'static str] = &["ended", "runbook", "took"];
    const FIELDS: &'static [&'static str] = &["name", "by", "outcome", "mode", "age", "took"];
    const NEWEST_FIRST: bool = true;

    fn key(&self) -> String {
        self.run.id.0.clone()
    }
    fn text(&self) -> String {
        let run = &self.run;
        format!(
            "{} {} {} {} {} {}",
            run.id,
            self.name(),
            run.mode(),
            run.started_by,
            run.held_by,
            self.outcome.word()
        )
    }
    fn field(&self, name: &str, now: Timestamp) -> Option<Field> {
        Some(match name {
            "name" => Field::Text(self.name().0.clone()),
            "by" => Field::Text(self.run.held_by.clone()),
            "outcome" => Field::Text(self.outcome.word().to_owned()),
            "mode" => Field::Text(self.run.mode().to_lowercase()),
            "age" => Field::Time(Millis::between(self.finished_at, now)),
            "took" => Field::Time(self.took()),
            _ => return None,
        })
    }
    fn order(&self, other: &Self, sort: usize) -> Ordering {
        let by_end = || self.finished_at.cmp(&other.finished_at);
        match sort {
            1 => self.name().cmp(other.name()).then_with(by_end),
            2 => other.took().cmp(&self.took()).then_with(by_end),
            _ => by_end(),
        }
    }
}

const COLUMNS: [Column; 6] = [
    Column::fixed("AGE", 4).ending(),
    Column::flexible("RUNBOOK", 14),
    Column::fixed("MODE", 5),
    Column::fixed("OUTCOME", 9),
    Column::fixed("TOOK", 7).ending(),
    Column::fixed("LED BY", 10),
];

/// Draws the list.
pub fn list(canvas: &mut Canvas<'_>, area: Rect, app: &App, focused: bool) {
    let look = canvas.look;
    list::draw(canvas, area, &app.executions, focused, &COLUMNS, |record| {
        let (word, role) = outcome(record.outcome);
        let over = record.run.objective.is_some_and(|objective| record.took() > objective);
        vec![
            look.line(words::age(look.now, record.finished_at), Role::Text),
            look.line(record.name().0.clone(), Role::Text),
            look.line(record.run.mode(), Role::Text),
            look.line(word, role),
            look.line(record.took().to_string(), if over { Role::Crit } else { Role::Text }),
            look.line(record.run.held_by.clone(), Role::Text),
        ]
    });
}

/// The report of an execution.
pub fn detail(record: &RunbookRecord, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    lines(&report(record), look, width)
}

/// Markdown, wrapped: headings stand out, the rest is as it is written.
pub fn lines(text: &str, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let mut detail = Detail::new(look, width);
    for line in text.lines() {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        if let Some(title) = line.strip_prefix("# ").or_else(|| line.strip_prefix("## ")) {
            detail.prose(title, Role::Heading);
        } else if let Some(item) = body.strip_prefix("- ") {
            let role = if item.contains("[NOT]") || item.starts_with("error:") {
                Role::Crit
            } else {
                Role::Text
            };
            detail.list(&format!("{}-", " ".repeat(indent)), &[item.replace('`', "")], role);
        } else if line.starts_with("| ---") {
            // What rules a table on paper is noise here.
        } else if let Some(row) = line.strip_prefix('|') {
            let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('*')).collect();
            detail.pair(cells.first().unwrap_or(&""), cells.get(1).unwrap_or(&""));
        } else {
            detail.prose(&line.replace(['`', '*'], ""), Role::Text);
        }
    }
    detail.lines
}
