//! The runs of one job, newest first.
//!
//! ```text
//!   STARTED      OUTCOME     TOOK   FILES    READ    ADDED   WHY
//! ▌ 10:30:00     succeeded   42.1s  1,204    1.2G    3.1M    schedule
//! ```
//!
//! Enter or `L` shows the log of a run.

use std::cmp::Ordering;

use ratatui::layout::Rect;
use ratatui::text::Line;

use super::jobs::ago;
use crate::domain::run::{RunRecord, Trigger};
use crate::domain::{Millis, Timestamp};
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, Look};
use crate::tui::filter::Field;
use crate::tui::table::Item;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::Detail;
use crate::tui::widgets::list::{self, Column};
use crate::tui::widgets::parts;
use crate::tui::words;

impl Item for RunRecord {
    const SORTS: &'static [&'static str] = &["ended", "outcome", "took", "read", "added"];
    const FIELDS: &'static [&'static str] = &["id", "outcome", "age", "took", "size", "added", "why"];
    const NEWEST_FIRST: bool = true;

    fn key(&self) -> String {
        self.id.0.clone()
    }
    fn text(&self) -> String {
        let error = self.error.as_ref().map_or("", |error| error.message.as_str());
        format!("{} {} {} {error}", self.id, self.outcome.word(), why(&self.trigger))
    }
    fn field(&self, name: &str, now: Timestamp) -> Option<Field> {
        Some(match name {
            "id" => Field::Text(self.id.0.clone()),
            "outcome" => Field::Text(self.outcome.word().to_owned()),
            "age" => Field::Time(Millis::between(self.finished_at, now)),
            "took" => Field::Time(self.duration),
            "size" => Field::Size(self.stats.size),
            "added" => Field::Size(self.stats.added),
            "why" => Field::Text(why(&self.trigger)),
            _ => return None,
        })
    }
    fn order(&self, other: &Self, sort: usize) -> Ordering {
        match sort {
            1 => self.outcome.word().cmp(other.outcome.word()),
            2 => other.duration.cmp(&self.duration),
            3 => other.stats.read.cmp(&self.stats.read),
            4 => other.stats.added.cmp(&self.stats.added),
            _ => self.finished_at.cmp(&other.finished_at),
        }
    }
}

fn why(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Schedule { .. } => "schedule".to_owned(),
        Trigger::Missed { .. } => "missed, ran late".to_owned(),
        Trigger::Manual { by } => format!("by {by}"),
    }
}

const COLUMNS: [Column; 7] = [
    Column::fixed("ENDED", 11),
    Column::fixed("OUTCOME", 11),
    Column::fixed("TOOK", 7).ending(),
    Column::fixed("FILES", 9).ending(),
    Column::fixed("READ", 7).ending(),
    Column::fixed("ADDED", 7).ending(),
    Column::flexible("WHY", 10),
];

/// Draws the list of runs.
pub fn list(canvas: &mut Canvas<'_>, area: Rect, app: &App, focused: bool) {
    let look = canvas.look;
    list::draw(canvas, area, &app.runs, focused, &COLUMNS, |run| {
        vec![
            look.line(words::moment(look.now, run.finished_at), Role::Text),
            look.line(run.outcome.word(), parts::outcome_role(run.outcome)),
            look.line(run.duration.to_string(), Role::Text),
            look.line(words::count(run.stats.files), Role::Text),
            look.line(words::size(run.stats.read), Role::Text),
            look.line(words::size(run.stats.added), Role::Text),
            look.line(why(&run.trigger), Role::Dim),
        ]
    });
}

/// Everything about a run.
pub fn detail(run: &RunRecord, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let mut detail = Detail::new(look, width);
    detail.head(&format!("Run {}", run.id));
    detail.pair_as("outcome", run.outcome.word(), parts::outcome_role(run.outcome));
    detail.pair("job", run.job.as_str());
    detail.pair("why", why(&run.trigger));
    detail.pair("ended", ago(look.now, run.finished_at));
    detail.pair(
        "took",
        format!(
            "{}, {}",
            run.duration,
            words::plural(u64::from(run.attempts), "attempt")
        ),
    );
    detail.pair_if(
        "snapshot",
        run.snapshot.as_ref().map(|snapshot| snapshot.short().to_owned()),
    );
    detail.head("Numbers");
    let stats = &run.stats;
    detail.pair(
        "files",
        format!(
            "{}, {} of them new or changed",
            words::count(stats.files),
            words::count(stats.files_changed)
        ),
    );
    detail.pair("holds", stats.size.to_string());
    detail.pair("read", stats.read.to_string());
    detail.pair("added", format!("{}, compressed", stats.added));
    if stats.errors > 0 {
        detail.pair_as("unreadable", words::count(stats.errors), Role::Warn);
    }
    if let Some(error) = &run.error {
        detail.head("Error");
        detail.prose(&error.message, Role::Crit);
        if let Some(hint) = &error.hint {
            detail.prose(&format!("hint: {hint}"), Role::Accent);
        }
    }
    if !run.item_errors.is_empty() {
        detail.head("Could not be read");
        detail.list("-", &run.item_errors, Role::Warn);
    }
    detail.lines
}
