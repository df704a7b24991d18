//! Retention of a job: every snapshot, whether it stays, and rule by rule why.
//!
//! ```text
//!  14 snapshots  keeps last 3, daily 7  12 stay  2 go
//!   ID        TAKEN        FATE  LEFT  WHY
//! ▌ 9c41e0a2  10:30:07     keep     -  last good, last 1/3, daily 1/7
//!   77ab0c13  11-19 02:00  GO       -  no rule keeps it
//! ```
//!
//! `a` applies it.

use std::cmp::Ordering;

use ratatui::layout::Rect;
use ratatui::text::Line;

use super::jobs::ago;
use crate::domain::retention::Decision;
use crate::domain::{Millis, Timestamp};
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, Look};
use crate::tui::filter::Field;
use crate::tui::table::Item;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::Detail;
use crate::tui::widgets::list::{self, Column};
use crate::tui::words;

impl Item for Decision {
    const SORTS: &'static [&'static str] = &["taken", "fate"];
    const FIELDS: &'static [&'static str] = &["id", "repository", "fate", "age", "why"];
    const NEWEST_FIRST: bool = true;

    fn key(&self) -> String {
        format!("{} {}", self.snapshot, self.repository)
    }
    fn text(&self) -> String {
        format!("{} {} {} {}", self.snapshot, self.repository, fate(self), self.why())
    }
    fn field(&self, name: &str, now: Timestamp) -> Option<Field> {
        Some(match name {
            "id" => Field::Text(self.snapshot.0.clone()),
            "repository" => Field::Text(self.repository.0.clone()),
            "fate" => Field::Text(fate(self).to_owned()),
            "age" => Field::Time(Millis::between(self.taken_at, now)),
            "why" => Field::Text(self.why()),
            _ => return None,
        })
    }
    fn order(&self, other: &Self, sort: usize) -> Ordering {
        match sort {
            1 => self.keep.cmp(&other.keep).then(other.taken_at.cmp(&self.taken_at)),
            _ => self.taken_at.cmp(&other.taken_at),
        }
    }
}

const fn fate(decision: &Decision) -> &'static str {
    if decision.keep { "keep" } else { "GO" }
}

const COLUMNS: [Column; 5] = [
    Column::fixed("ID", 8),
    Column::fixed("TAKEN", 11),
    Column::fixed("FATE", 4),
    Column::fixed("LEFT", 6).ending(),
    Column::flexible("WHY", 20),
];

/// Draws the list of decisions.
pub fn list(canvas: &mut Canvas<'_>, area: Rect, app: &App, focused: bool) {
    let look = canvas.look;
    list::draw(canvas, area, &app.retention, focused, &COLUMNS, |decision| {
        let role = if decision.keep { Role::Ok } else { Role::Warn };
        let left = decision
            .until
            .map(|until| words::coarse(Millis::between(look.now, until)));
        vec![
            look.line(decision.snapshot.short().to_owned(), Role::Text),
            look.line(words::moment(look.now, decision.taken_at), Role::Text),
            look.line(fate(decision).to_owned(), role),
            look.line(left.unwrap_or_else(|| "-".to_owned()), Role::Text),
            look.line(decision.why(), Role::Dim),
        ]
    });
}

/// What stands behind the number of snapshots: the policy and what it comes to.
pub fn summary(app: &App) -> Option<String> {
    let plan = app.retention_plan.as_ref()?;
    let going = plan.decisions.iter().filter(|decision| !decision.keep).count();
    let policy = plan.policy.as_deref().unwrap_or("everything, it has no policy");
    let over = plan.over.map_or_else(String::new, |over| {
        format!("; only {} may go at once, the rest needs your word", over.allowed)
    });
    Some(format!(
        "   keeps {policy}   {} stay, {going} go{over}",
        plan.decisions.len() - going
    ))
}

/// Everything about one decision.
pub fn detail(decision: &Decision, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let mut detail = Detail::new(look, width);
    detail.head(&format!("Snapshot {}", decision.snapshot.short()));
    let (fate, role) = if decision.keep {
        ("it stays", Role::Ok)
    } else {
        ("it goes to the trash when retention is applied", Role::Warn)
    };
    detail.pair_as("fate", fate, role);
    detail.pair("taken", ago(look.now, decision.taken_at));
    detail.pair("repository", decision.repository.as_str());
    detail.pair_if(
        "until about",
        decision
            .until
            .map(|until| format!("{}, {}", words::until(look.now, until), words::full(until))),
    );
    detail.head("Rules");
    for reason in &decision.reasons {
        detail.pair("", reason.words());
    }
    detail.prose(
        "The times assume that every period to come gets its snapshot.",
        Role::Dim,
    );
    detail.lines
}
