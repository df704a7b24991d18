//! Jobs: what is backed up, when, and how it went.
//!
//! ```text
//!   NAME        STATE     SCHEDULE       NEXT     LAST  LATEST        SIZE
//! ▌ orders-db   running   every 15 min   in 4m    11m   ••••••••F•••  1.2G
//!   documents   FAILED 2  daily at 02:00 in 15h    9h   ••••••••••FF  3.4G
//! ```
//!
//! Enter opens the runs of a job.

use std::cmp::Ordering;

use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::domain::Timestamp;
use crate::domain::run::Outcome;
use crate::domain::view::JobView;
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, Look};
use crate::tui::filter::Field;
use crate::tui::table::Item;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::Detail;
use crate::tui::widgets::list::{self, Column};
use crate::tui::widgets::{parts, progress};
use crate::tui::words;

impl Item for JobView {
    const SORTS: &'static [&'static str] = &["name", "state", "next", "last", "size"];
    const FIELDS: &'static [&'static str] = &["name", "job", "source", "kind", "repository", "state", "age", "size"];
    const NEWEST_FIRST: bool = false;

    fn key(&self) -> String {
        self.name.0.clone()
    }
    fn text(&self) -> String {
        let schedule = self.schedule_words.as_deref().unwrap_or("");
        format!(
            "{} {} {} {} {} {schedule}",
            self.name, self.source, self.kind, self.subject, self.repository
        )
    }
    fn field(&self, name: &str, now: Timestamp) -> Option<Field> {
        Some(match name {
            "name" | "job" => Field::Text(self.name.0.clone()),
            "source" => Field::Text(self.source.0.clone()),
            "kind" => Field::Text(self.kind.clone()),
            "repository" => Field::Text(self.repository.0.clone()),
            "state" => Field::Text(state(self).0),
            "age" => Field::Time(crate::domain::Millis::between(self.last_finished_at?, now)),
            "size" => Field::Size(*self.sizes.last()?),
            _ => return None,
        })
    }
    fn order(&self, other: &Self, sort: usize) -> Ordering {
        match sort {
            1 => urgency(self).cmp(&urgency(other)),
            2 => self
                .next_due
                .is_none()
                .cmp(&other.next_due.is_none())
                .then(self.next_due.cmp(&other.next_due)),
            3 => other.last_finished_at.cmp(&self.last_finished_at),
            4 => other.sizes.last().cmp(&self.sizes.last()),
            _ => self.name.cmp(&other.name),
        }
    }
}

/// How a job is, in a word or two.
pub fn state(job: &JobView) -> (String, Role) {
    let last = job.outcomes.last().copied();
    if job.running.is_some() {
        ("running".to_owned(), Role::Live)
    } else if job.failures_in_a_row > 0 {
        (format!("FAILED {}x", job.failures_in_a_row), Role::Crit)
    } else if !job.enabled {
        ("disabled".to_owned(), Role::Warn)
    } else {
        match last {
            None => ("never run".to_owned(), Role::Dim),
            Some(Outcome::Succeeded) => ("ok".to_owned(), Role::Ok),
            Some(outcome) => (outcome.word().to_owned(), parts::outcome_role(outcome)),
        }
    }
}

fn urgency(job: &JobView) -> u8 {
    match state(job).1 {
        Role::Crit => 0,
        Role::Warn => 1,
        Role::Live => 2,
        Role::Dim => 3,
        _ => 4,
    }
}

const COLUMNS: [Column; 8] = [
    Column::flexible("NAME", 14),
    Column::fixed("STATE", 11),
    Column::fixed("SCHEDULE", 15).when(66),
    Column::fixed("NEXT", 9),
    Column::fixed("LAST", 4).ending(),
    Column::fixed("LATEST RUNS", 12),
    Column::fixed("SIZE", 6).ending().when(70),
    Column::fixed("DURATION", 12).when(90),
];

/// Draws the list of jobs.
pub fn list(canvas: &mut Canvas<'_>, area: Rect, app: &App, focused: bool) {
    let look = canvas.look;
    list::draw(canvas, area, &app.jobs, focused, &COLUMNS, |job| {
        let (word, role) = state(job);
        let durations: Vec<u64> = job.durations.iter().map(|took| took.0).collect();
        let schedule = job.schedule_words.clone().unwrap_or_else(|| "by hand only".to_owned());
        vec![
            look.line(job.name.0.clone(), Role::Text),
            look.line(word, role),
            look.line(schedule, Role::Dim),
            look.line(next(job, look.now), Role::Text),
            look.line(
                job.last_finished_at
                    .map_or("-".to_owned(), |at| words::age(look.now, at)),
                Role::Text,
            ),
            Line::from(parts::strip(look, &job.outcomes, 12)),
            look.line(
                job.sizes.last().map_or("-".to_owned(), |size| words::size(*size)),
                Role::Text,
            ),
            look.line(parts::spark(look, &durations, 12), Role::Dim),
        ]
    });
}

fn next(job: &JobView, now: Timestamp) -> String {
    match job.next_due.filter(|_| job.enabled) {
        Some(due) => words::until(now, due),
        None => "-".to_owned(),
    }
}

/// Everything about a job.
pub fn detail(app: &App, job: &JobView, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let mut detail = Detail::new(look, width);
    let (word, role) = state(job);
    detail.head(&format!("Job {}", job.name));
    detail.pair_as("state", word, role);
    detail.pair("protects", format!("{} ({})", job.subject, job.kind));
    detail.pair("source", job.source.as_str());
    detail.pair("repository", job.repository.as_str());
    let schedule = job
        .schedule_words
        .as_deref()
        .unwrap_or("none; it runs when somebody starts it");
    detail.pair("schedule", schedule);
    if job.enabled {
        detail.pair_if(
            "next",
            job.next_due
                .map(|due| format!("{}, {}", words::until(look.now, due), words::full(due))),
        );
    } else {
        let why = job.disabled_reason.as_deref().unwrap_or("no reason was given");
        detail.pair_as("disabled", why, Role::Warn);
    }
    detail.pair("verified to", format!("{} after each run", job.verify));
    detail.pair(
        "keeps",
        job.retention.as_deref().unwrap_or("everything; it has no retention"),
    );
    if let Some(retained) = &job.retained {
        let said = match retained.refused {
            Some(over) => format!(
                "would forget {} of {}, {} may go; r shows why",
                over.forget, over.of, over.allowed
            ),
            None => format!(
                "{} kept, {} forgotten, {}",
                retained.kept,
                retained.forgotten,
                ago(look.now, retained.at)
            ),
        };
        let role = if retained.refused.is_some() {
            Role::Warn
        } else {
            Role::Text
        };
        detail.pair_as("retention", said, role);
    }
    detail.pair_if("last success", job.last_success_at.map(|at| ago(look.now, at)));
    detail.pair_if("last run", job.last_finished_at.map(|at| ago(look.now, at)));
    if let Some(error) = &job.last_error {
        detail.head("Last error");
        detail.prose(&error.message, Role::Crit);
        if let Some(hint) = &error.hint {
            detail.prose(&format!("hint: {hint}"), Role::Accent);
        }
    }
    if !job.outcomes.is_empty() {
        trends(job, look, &mut detail);
    }
    if let Some(run) = &job.running {
        detail.head("Under way");
        let views = app.overview.iter().flat_map(|overview| &overview.runs);
        if let Some(view) = views.into_iter().find(|view| view.run.id == *run) {
            progress::detail(view.progress.as_ref(), look, &mut detail);
        }
    }
    detail.lines
}

/// A moment and how long ago it was.
pub fn ago(now: Timestamp, at: Timestamp) -> String {
    format!("{} ago, {}", words::age(now, at), words::full(at))
}

fn trends(job: &JobView, look: Look<'_>, detail: &mut Detail<'_>) {
    detail.head("Latest runs, newest at the right");
    detail.pair_spans(
        "outcomes",
        parts::strip(look, &job.outcomes, job.outcomes.len().min(20)),
    );
    let durations: Vec<u64> = job.durations.iter().map(|took| took.0).collect();
    let sizes: Vec<u64> = job.sizes.iter().map(|size| size.0).collect();
    if let Some(last) = job.durations.last() {
        let spark = look.span(parts::spark(look, &durations, 20), Role::Live);
        detail.pair_spans("durations", vec![spark, look.span(format!("  {last}"), Role::Text)]);
    }
    if let Some(last) = job.sizes.last() {
        let spark = look.span(parts::spark(look, &sizes, 20), Role::Live);
        detail.pair_spans("sizes", vec![spark, look.span(format!("  {last}"), Role::Text)]);
    }
    let legend = format!(
        "{} succeeded  P partial  F failed  T timed out  I interrupted  c cancelled",
        look.glyphs.good
    );
    detail.prose(&legend, Role::Dim);
}
