//! Overview: what would be lost if it failed now, how long it takes to get back, what is wrong, what is going on.
//!
//! ```text
//!  SERVICES
//! ▌ orders      lose now  ━━━━━───────────  17m of 1h     met        breach in 43m
//!               recover   ━━──────────────  4m12s of 4h   met        6 measured
//!
//!  ALERTS
//!   critical  documents would lose 7h12m, 6h promised                        1h12m
//!
//!  RUNNING
//!   backup    orders-db     ━━━━━━━━────────  52%  118.2M/s  0:42 left
//!
//!  REPOSITORIES
//!   vault-a   answers       412 snapshots  61% used      /srv/backup/vault-a
//! ```
//!
//! From 100 columns on, alerts, jobs and repositories stand in a second column.

mod running;

use ratatui::layout::Rect;
use ratatui::text::Line;

use super::kept;
use crate::domain::view::{Overview, ServiceView};
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, Look, split, wrap};
use crate::tui::subject::Subject;
use crate::tui::theme::Role;
use crate::tui::widgets::{gauge, instants, parts};
use crate::tui::words;

pub(super) use running::work;

/// A piece of the Overview: the thing it is about, when the cursor can be on it, and its lines.
pub(super) type Entry = (Option<Subject>, Vec<Line<'static>>);

/// The things the cursor goes through, in the order they are drawn.
pub fn subjects(app: &App) -> Vec<Subject> {
    let Some(overview) = &app.overview else {
        return Vec::new();
    };
    let services = overview
        .services
        .iter()
        .map(|service| Subject::Service(service.name.clone()));
    let alerts = overview.alerts.iter().map(|alert| Subject::Alert(alert.key.clone()));
    let runs = overview
        .runs
        .iter()
        .map(|view| Subject::Run(view.run.id.clone(), view.run.job.clone()));
    let recoveries = overview
        .recoveries
        .iter()
        .map(|view| Subject::Recovery(view.recovery.id.clone()));
    let waiting = overview.waiting.iter();
    let waiting = waiting.map(|view| Subject::Recovery(view.waiting.recovery.clone()));
    let executions = overview.executions.iter();
    let executions = executions.map(|view| Subject::Execution(view.run.id.clone()));
    let recoveries = executions.chain(waiting).chain(recoveries);
    let maintenance = overview.maintenance.iter();
    let maintenance = maintenance.map(|view| Subject::Maintenance(view.maintenance.id.clone()));
    let recoveries = recoveries.chain(maintenance);
    let jobs = overview.jobs.iter().map(|job| Subject::Job(job.name.clone()));
    let repositories = overview
        .repositories
        .iter()
        .map(|repository| Subject::Repository(repository.name.clone()));
    if app.is_wide() {
        services
            .chain(runs)
            .chain(recoveries)
            .chain(alerts)
            .chain(jobs)
            .chain(repositories)
            .collect()
    } else {
        services
            .chain(alerts)
            .chain(runs)
            .chain(recoveries)
            .chain(repositories)
            .collect()
    }
}

/// Draws the Overview.
pub fn draw(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let Some(overview) = &app.overview else { return };
    let look = canvas.look;
    if app.is_wide() {
        let (left, right) = split(area, (area.width / 2).max(79).min(area.width.saturating_sub(30)));
        let inner = Rect {
            x: right.x + 1,
            width: right.width.saturating_sub(1),
            ..right
        };
        let width = usize::from(left.width);
        let mut column = words_first(overview, look, width);
        section(&mut column, look, "SERVICES", services(overview, look, width));
        section(&mut column, look, "RUNNING", running::running(overview, look, width));
        logs(&mut column, overview, look, width);
        draw_column(canvas, left, app, &column);
        canvas.wall(right);
        let width = usize::from(inner.width);
        let mut column = Vec::new();
        section(&mut column, look, "ALERTS", alerts(overview, look, width));
        section(&mut column, look, "JOBS", jobs(overview, look, width));
        section(&mut column, look, "REPOSITORIES", repositories(overview, look, width));
        draw_column(canvas, inner, app, &column);
    } else {
        let width = usize::from(area.width);
        let mut column = words_first(overview, look, width);
        section(&mut column, look, "SERVICES", services(overview, look, width));
        section(&mut column, look, "ALERTS", alerts(overview, look, width));
        section(&mut column, look, "RUNNING", running::running(overview, look, width));
        logs(&mut column, overview, look, width);
        section(&mut column, look, "REPOSITORIES", repositories(overview, look, width));
        draw_column(canvas, area, app, &column);
    }
}

fn section(column: &mut Vec<Entry>, look: Look<'_>, title: &'static str, entries: Vec<Entry>) {
    if !column.is_empty() {
        column.push((None, vec![Line::default()]));
    }
    column.push((None, vec![look.line(format!(" {title}"), Role::Heading)]));
    column.extend(entries);
}

/// Draws entries under each other, moved up so far that the one under the cursor can be seen.
fn draw_column(canvas: &mut Canvas<'_>, area: Rect, app: &App, column: &[Entry]) {
    let height = usize::from(area.height);
    let focused = |entry: &Entry| entry.0.is_some() && entry.0 == app.focus;
    let mut end = 0;
    for entry in column {
        end += entry.1.len();
        if focused(entry) {
            break;
        }
    }
    let any = column.iter().any(focused);
    let skip = if any { end.saturating_sub(height) } else { 0 };
    let mut y = 0;
    for entry in column {
        for (number, line) in entry.1.iter().enumerate() {
            let row = u16::try_from(y)
                .unwrap_or(u16::MAX)
                .saturating_sub(u16::try_from(skip).unwrap_or(0));
            if y >= skip && row < area.height {
                canvas.line(area, 0, row, line);
                if focused(entry) {
                    if number == 0 {
                        canvas.row_style(area, row, Role::Select);
                    }
                    canvas.text(area, 0, row, canvas.look.glyphs.cursor, Role::Accent);
                }
            }
            y += 1;
        }
    }
    if y > skip + height && area.height > 0 {
        let more = canvas
            .look
            .line(format!(" {} more lines ", y - skip - height), Role::Dim);
        canvas.right(area, area.height - 1, &more);
    }
}

/// What has to be said before anything else.
fn words_first(overview: &Overview, look: Look<'_>, width: usize) -> Vec<Entry> {
    let mut lines = Vec::new();
    let mut say = |text: &str, role| {
        for part in wrap(text, width.saturating_sub(3)) {
            lines.push(look.line(format!(" {part}"), role));
        }
    };
    let role = if overview.journal_error.is_some() {
        Role::Crit
    } else {
        Role::Warn
    };
    for trouble in overview.troubles() {
        say(&trouble, role);
    }
    if let Some(text) = &overview.practice {
        say(text, Role::Accent);
    }
    if lines.is_empty() {
        Vec::new()
    } else {
        vec![(None, lines)]
    }
}

fn services(overview: &Overview, look: Look<'_>, width: usize) -> Vec<Entry> {
    if overview.services.is_empty() {
        let words = "  no services are configured; a service gives sources a name and an objective";
        return vec![(None, vec![look.line(words, Role::Dim)])];
    }
    let entry = |service: &ServiceView| {
        let lines = vec![
            Line::from(gauge::loss(service, look, width)),
            Line::from(gauge::recovery(&service.rto, look, width)),
        ];
        (Some(Subject::Service(service.name.clone())), lines)
    };
    overview.services.iter().map(entry).collect()
}

/// The instants that clusters can be brought to; nothing when no log is archived.
fn logs(column: &mut Vec<Entry>, overview: &Overview, look: Look<'_>, width: usize) {
    let archived = overview.logs.iter().filter(|sight| !sight.stretches.is_empty());
    let entries: Vec<Entry> = archived
        .map(|sight| (None, vec![instants::line(sight, look, width)]))
        .collect();
    if !entries.is_empty() {
        section(column, look, "LOGS, RESTORABLE TO ANY INSTANT", entries);
    }
}

fn alerts(overview: &Overview, look: Look<'_>, width: usize) -> Vec<Entry> {
    if overview.alerts.is_empty() {
        return vec![(None, vec![look.line("  nothing is wrong", Role::Dim)])];
    }
    let entry = |alert: &crate::domain::alert::Alert| {
        let age = words::age(look.now, alert.opened_at);
        let taken = alert
            .acknowledged
            .as_ref()
            .map_or(String::new(), |ack| format!("{} has it  ", ack.by));
        let room = width.saturating_sub(14 + taken.len() + 5);
        let message = fit(&alert.message, room, look.glyphs.more);
        let first = Line::from(vec![
            look.span(
                format!("  {:<9} ", alert.severity.word()),
                parts::severity_role(alert.severity),
            ),
            look.span(format!("{message:<room$} "), Role::Text),
            look.span(format!("{taken}{age:>4}"), Role::Dim),
        ]);
        (Some(Subject::Alert(alert.key.clone())), vec![first])
    };
    overview.alerts.iter().map(entry).collect()
}

/// Cuts text to a width, with a mark where it was cut.
pub fn fit(text: &str, width: usize, mark: &str) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let head: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{head}{mark}")
}

fn jobs(overview: &Overview, look: Look<'_>, width: usize) -> Vec<Entry> {
    let entry = |job: &crate::domain::view::JobView| {
        let (state, role) = super::jobs::state(job);
        let durations: Vec<u64> = job.durations.iter().map(|took| took.0).collect();
        let due = job
            .next_due
            .filter(|_| job.enabled)
            .map_or("-".to_owned(), |at| words::until(look.now, at));
        let mut spans = vec![
            look.span(format!("  {:<14.14} ", job.name), Role::Text),
            look.span(format!("{state:<11} "), role),
            look.span(format!("{due:<9} "), Role::Text),
        ];
        spans.extend(parts::strip(look, &job.outcomes, 12));
        if width >= 72 {
            spans.push(look.span(format!("  {}", parts::spark(look, &durations, 14)), Role::Dim));
        }
        (Some(Subject::Job(job.name.clone())), vec![Line::from(spans)])
    };
    overview.jobs.iter().map(entry).collect()
}

fn repositories(overview: &Overview, look: Look<'_>, width: usize) -> Vec<Entry> {
    let entry = |repository: &crate::domain::view::RepositoryView| {
        let (state, role) = match repository.reachable {
            Some(true) => ("answers", Role::Ok),
            Some(false) => ("NO ANSWER", Role::Crit),
            None => ("not asked", Role::Dim),
        };
        let used = repository
            .used_percent
            .map_or(String::new(), |percent| format!("{percent}% used"));
        let used_role = if repository.used_percent.is_some_and(|used| used >= 90) {
            Role::Warn
        } else {
            Role::Text
        };
        let mut spans = vec![
            look.span(format!("  {:<14.14} ", repository.name), Role::Text),
            look.span(format!("{state:<10} "), role),
            look.span(
                format!("{:<16} ", words::plural(repository.snapshots, "snapshot")),
                Role::Text,
            ),
            look.span(format!("{used:<10}"), used_role),
        ];
        let why = repository.failure.as_ref().map(|failure| failure.message.clone());
        let why = why.or_else(|| kept::trouble(repository));
        let role = if why.is_some() { Role::Crit } else { Role::Dim };
        let words = why.unwrap_or_else(|| repository.url.clone());
        spans.push(look.span(fit(&words, width.saturating_sub(56), look.glyphs.more), role));
        (
            Some(Subject::Repository(repository.name.clone())),
            vec![Line::from(spans)],
        )
    };
    overview.repositories.iter().map(entry).collect()
}
