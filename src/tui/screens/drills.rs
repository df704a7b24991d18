//! Drills: recoveries for practice, whether each was done when it should, how it went and how long every phase took.
//!
//! ```text
//!   DRILL           SOURCE     LAST OUTCOME      TOOK   LIMIT  NEXT
//! ▌ orders-monthly  orders-db   2d  succeeded   4m12s     30m  in 11d
//! ```

use std::cmp::Ordering;

use ratatui::layout::Rect;
use ratatui::text::Line;

use super::jobs::ago;
use crate::domain::drill::DrillView;
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

/// How it went last, the worst first.
fn state(drill: &DrillView) -> (&'static str, Role) {
    let over = |last: &crate::domain::drill::DrillResult| drill.limit.is_some_and(|limit| last.took > limit);
    match &drill.last {
        _ if drill.running.is_some() => ("running", Role::Live),
        Some(last) if last.outcome.is_failure() => ("FAILED", Role::Crit),
        _ if drill.overdue_since.is_some() => ("OVERDUE", Role::Crit),
        Some(last) if over(last) => ("TOO SLOW", Role::Crit),
        Some(last) => (last.outcome.word(), parts::outcome_role(last.outcome)),
        None => ("never done", Role::Warn),
    }
}

impl Item for DrillView {
    const SORTS: &'static [&'static str] = &["name", "last", "took"];
    const FIELDS: &'static [&'static str] = &["name", "source", "state", "age", "took"];
    const NEWEST_FIRST: bool = false;

    fn key(&self) -> String {
        self.name.0.clone()
    }
    fn text(&self) -> String {
        let trouble = self.trouble().unwrap_or_default();
        format!(
            "{} {} {} {} {trouble}",
            self.name,
            self.source,
            self.point,
            state(self).0
        )
    }
    fn field(&self, name: &str, now: Timestamp) -> Option<Field> {
        Some(match name {
            "name" => Field::Text(self.name.0.clone()),
            "source" => Field::Text(self.source.0.clone()),
            "state" => Field::Text(state(self).0.to_owned()),
            "age" => Field::Time(Millis::between(self.last.as_ref()?.at, now)),
            "took" => Field::Time(self.last.as_ref()?.took),
            _ => return None,
        })
    }
    fn order(&self, other: &Self, sort: usize) -> Ordering {
        let last = |drill: &Self| drill.last.as_ref().map(|last| last.at);
        let took = |drill: &Self| drill.last.as_ref().map(|last| last.took);
        let by_name = || self.name.cmp(&other.name);
        match sort {
            1 => last(self).cmp(&last(other)).then_with(by_name),
            2 => took(other).cmp(&took(self)).then_with(by_name),
            _ => by_name(),
        }
    }
}

const COLUMNS: [Column; 7] = [
    Column::flexible("DRILL", 12),
    Column::flexible("SOURCE", 9).when(76),
    Column::fixed("LAST", 4).ending(),
    Column::fixed("OUTCOME", 10),
    Column::fixed("TOOK", 7).ending(),
    Column::fixed("LIMIT", 6).ending(),
    Column::fixed("NEXT", 9),
];

/// Draws the list of drills.
pub fn list(canvas: &mut Canvas<'_>, area: Rect, app: &App, focused: bool) {
    let look = canvas.look;
    list::draw(canvas, area, &app.drills, focused, &COLUMNS, |drill| {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let last = drill.last.as_ref();
        let (state, role) = state(drill);
        let next = drill.next_due.map(|at| words::until(look.now, at));
        vec![
            look.line(drill.name.0.clone(), Role::Text),
            look.line(drill.source.0.clone(), Role::Text),
            look.line(or_dash(last.map(|last| words::age(look.now, last.at))), Role::Text),
            look.line(state, role),
            look.line(or_dash(last.map(|last| last.took.to_string())), Role::Text),
            look.line(or_dash(drill.limit.map(words::promise)), Role::Text),
            look.line(next.unwrap_or_else(|| "by hand".to_owned()), Role::Text),
        ]
    });
}

/// Everything about a drill: what is wrong, what it does, and what the last one measured.
pub fn detail(drill: &DrillView, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let mut detail = Detail::new(look, width);
    detail.head(&format!("Drill {}", drill.name));
    let (word, role) = state(drill);
    detail.pair_as("state", word, role);
    if let Some(trouble) = drill.trouble() {
        detail.prose(&trouble, Role::Crit);
        detail.prose(
            "next: a does it now; see its phases and findings on screen 4",
            Role::Accent,
        );
    }
    detail.pair_if("under way", drill.running.as_ref().map(ToString::to_string));
    let point = match drill.point.as_str() {
        "random" => "any restore point".to_owned(),
        point => format!("the {point} restore point"),
    };
    detail.pair("brings back", format!("{}, {point}", drill.source));
    detail.pair("proves", format!("{} {}/5", drill.level, drill.level.rank()));
    detail.pair("when", drill.schedule.as_deref().unwrap_or("by hand"));
    detail.pair_if(
        "next",
        drill
            .next_due
            .map(|at| format!("{}, {}", words::until(look.now, at), words::full(at))),
    );
    detail.pair_if("may take", drill.limit.map(words::promise));
    detail.pair_if("done well", drill.last_success_at.map(|at| ago(look.now, at)));
    let Some(last) = &drill.last else {
        return detail.lines;
    };
    detail.head("The last one");
    detail.pair_as("ended", last.outcome.word(), parts::outcome_role(last.outcome));
    detail.pair("when", ago(look.now, last.at));
    detail.pair("took", last.took.to_string());
    detail.pair("recovery", last.recovery.as_str());
    let whole = last.phases.iter().map(|phase| phase.took.0).sum::<u64>().max(1);
    for phase in &last.phases {
        let mut spans = Vec::from(parts::bar(look, phase.took.0 as f64 / whole as f64, 16, Role::Live));
        spans.push(look.span(format!(" {}", phase.took), Role::Text));
        detail.pair_spans(phase.phase.word(), spans);
    }
    detail.lines
}
