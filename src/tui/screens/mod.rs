//! One file a screen: what its rows are, which columns they have, and what is said of one of them.
//!
//! Every screen but the Overview is a list and a detail. Side by side where there is room, one after the other where
//! there is not:
//!
//! ```text
//! 412 snapshots  newest first          │ snapshot 9c41e0a2
//!   ID        JOB        EVIDENCE       │ taken   2026-11-20 02:00:07Z
//! ▌ 9c41e0a2  orders-db  ■■■■■ probed   │ ...
//! ```

pub mod alerts;
pub mod audit;
pub mod drills;
pub mod finder;
pub mod jobs;
pub mod kept;
pub mod overview;
pub mod plan;
pub mod recoveries;
pub mod restore;
pub mod retention;
pub mod runbooks;
pub mod runs;
pub mod servers;
pub mod snapshots;
pub mod topology;
pub mod tree;

use ratatui::layout::Rect;
use ratatui::text::Line;

use super::app::App;
use super::canvas::{Canvas, Look, below, split};
use super::place::{Pane, Place};
use super::table::Rows;
use super::theme::Role;
use super::widgets::detail;
use super::words;

/// How many lines have to be left below a list for a detail to be worth its place there.
const LEAST_DETAIL: u16 = 8;

/// Draws the body: the place the console is at.
pub fn draw(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    if app.overview.is_none() {
        waiting(canvas, area, app);
        return;
    }
    if let Place::Wizard(id) = &app.place {
        runbooks::wizard::draw(canvas, area, app, id);
        return;
    }
    let Some(rows) = app.rows() else {
        overview::draw(canvas, area, app);
        return;
    };
    summary(canvas, area, app, rows);
    let mut body = below(area, 1);
    if matches!(app.place, Place::Finder(_)) {
        finder::head(canvas, body, app);
        body = below(body, finder::HEAD);
    }
    let side_by_side = app.is_wide() && !app.zoomed;
    if side_by_side {
        // The list gets the larger half; its columns have been chosen for the width of a whole small terminal.
        let (left, right) = split(body, (body.width * 9 / 16).max(78).min(body.width.saturating_sub(30)));
        list(canvas, left, app, app.pane == Pane::List);
        canvas.wall(right);
        let inner = Rect {
            x: right.x + 2,
            width: right.width.saturating_sub(2),
            ..right
        };
        draw_detail(canvas, inner, app);
    } else if app.pane == Pane::Detail {
        let inner = Rect {
            x: body.x + 1,
            width: body.width.saturating_sub(2),
            ..body
        };
        draw_detail(canvas, inner, app);
    } else {
        let rows = u16::try_from(rows.shown()).unwrap_or(u16::MAX).saturating_add(1);
        let (top, rest) = (
            Rect {
                height: rows.min(body.height),
                ..body
            },
            below(body, rows.saturating_add(1)),
        );
        if rest.height >= LEAST_DETAIL && rows > 1 && !app.zoomed {
            // A short list leaves room below it; what one would open with `d` is better shown at once.
            list(canvas, top, app, true);
            canvas.rule(body, rows);
            draw_detail(
                canvas,
                Rect {
                    x: rest.x + 1,
                    width: rest.width.saturating_sub(2),
                    ..rest
                },
                app,
            );
        } else {
            list(canvas, body, app, true);
        }
    }
}

fn list(canvas: &mut Canvas<'_>, area: Rect, app: &App, focused: bool) {
    match &app.place {
        Place::Overview | Place::Wizard(_) => {}
        Place::Finder(_) => finder::list(canvas, area, app, focused),
        Place::Runbooks => runbooks::list(canvas, area, app, focused),
        Place::Executions => runbooks::history::list(canvas, area, app, focused),
        Place::Jobs => jobs::list(canvas, area, app, focused),
        Place::Job(_) => runs::list(canvas, area, app, focused),
        Place::Snapshots => snapshots::list(canvas, area, app, focused),
        Place::Trash => kept::trash(canvas, area, app, focused),
        Place::Retention(_) => retention::list(canvas, area, app, focused),
        Place::Tree(..) => tree::list(canvas, area, app, focused),
        Place::Recoveries => recoveries::list(canvas, area, app, focused),
        Place::Drills => drills::list(canvas, area, app, focused),
        Place::Alerts => alerts::list(canvas, area, app, focused),
        Place::Audit => audit::list(canvas, area, app, focused),
        Place::Topology => topology::list(canvas, area, app, focused),
    }
    if let Some(rows) = app.rows().filter(|rows| rows.shown() == 0) {
        let words = match (rows.total(), rows.filter_text()) {
            (0, _) => empty_words(app),
            (_, filter) => format!("nothing matches {filter}; Esc clears the filter"),
        };
        canvas.text(below(area, 2), 2, 0, &words, Role::Dim);
    }
}

/// What an empty list says: whether there is nothing, or nothing yet.
fn empty_words(app: &App) -> String {
    let loaded = match &app.place {
        Place::Overview | Place::Jobs | Place::Drills | Place::Runbooks | Place::Wizard(_) => true,
        Place::Executions => app.executions.loaded,
        Place::Job(_) => app.runs.loaded,
        Place::Snapshots => app.snapshots.loaded,
        Place::Trash => app.trash.loaded,
        Place::Retention(_) => app.retention.loaded,
        Place::Tree(..) => app.tree.loaded,
        Place::Finder(_) => app.finder.finding.is_some(),
        Place::Recoveries => app.recoveries.loaded,
        Place::Alerts => app.alerts.loaded,
        Place::Audit => app.audit.loaded,
        Place::Topology => app.topology.loaded,
    };
    let none = match &app.place {
        Place::Overview | Place::Jobs => "no jobs are configured; lifeboat init writes the first",
        Place::Job(_) => "this job has not run yet; a starts it",
        Place::Snapshots => "no snapshots yet; run a job from screen 2",
        Place::Trash => "nothing is in the trash",
        Place::Retention(_) => "this job has no snapshots yet",
        Place::Tree(..) => "this directory is empty",
        Place::Finder(_) => "this job has no snapshot; nothing can be found among none",
        Place::Recoveries => "nothing has been restored or verified yet; begin at a snapshot, screen 3",
        Place::Drills => "no drills are configured; config.example.toml shows how, under [drill.orders-monthly]",
        Place::Runbooks | Place::Wizard(_) => "there are no runbooks",
        Place::Executions => "no runbook has been run yet; a on screen 5 begins one",
        Place::Alerts => "no alerts, now or before",
        Place::Audit => "the journal is empty",
        Place::Topology => "no clusters are configured; config.example.toml shows how, under [cluster.orders]",
    };
    if loaded {
        none.to_owned()
    } else {
        "asking the agent".to_owned()
    }
}

fn draw_detail(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let lines = detail_lines(app, canvas.look, usize::from(area.width));
    detail::draw(canvas, area, &lines, app.scroll);
}

/// Everything about the selected row.
pub fn detail_lines(app: &App, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let lines = match &app.place {
        Place::Overview | Place::Wizard(_) => None,
        Place::Runbooks => app
            .runbooks
            .selected()
            .map(|row| runbooks::detail(app, row, look, width)),
        Place::Executions => app
            .executions
            .selected()
            .map(|record| runbooks::history::detail(record, look, width)),
        Place::Finder(_) => {
            let row = app.finder.rows.selected();
            row.map(|row| finder::detail(app, row, look, width))
        }
        Place::Jobs => app.jobs.selected().map(|job| jobs::detail(app, job, look, width)),
        Place::Job(_) => app.runs.selected().map(|run| runs::detail(run, look, width)),
        Place::Snapshots => app
            .snapshots
            .selected()
            .map(|snapshot| snapshots::detail(app, snapshot, look, width)),
        Place::Trash => app
            .trash
            .selected()
            .map(|snapshot| snapshots::detail(app, snapshot, look, width)),
        Place::Retention(_) => app
            .retention
            .selected()
            .map(|decision| retention::detail(decision, look, width)),
        Place::Tree(..) => app.tree.selected().map(|row| tree::detail(app, row, look, width)),
        Place::Recoveries => app
            .recoveries
            .selected()
            .map(|row| recoveries::detail(app, row, look, width)),
        Place::Drills => app.drills.selected().map(|drill| drills::detail(drill, look, width)),
        Place::Alerts => app
            .alerts
            .selected()
            .map(|record| alerts::detail(app, record, look, width)),
        Place::Audit => app.audit.selected().map(|record| audit::detail(record, look, width)),
        Place::Topology => app
            .topology
            .selected()
            .map(|row| topology::detail(app, row, look, width)),
    };
    lines.unwrap_or_default()
}

/// How many rows there are, how they are sorted, filtered and marked.
fn summary(canvas: &mut Canvas<'_>, area: Rect, app: &App, rows: &dyn Rows) {
    let noun = match app.place {
        Place::Overview | Place::Jobs => "job",
        Place::Job(_) | Place::Executions | Place::Wizard(_) => "run",
        Place::Snapshots | Place::Trash | Place::Retention(_) | Place::Finder(_) => "snapshot",
        Place::Tree(..) => "entry",
        Place::Recoveries => "recovery",
        Place::Drills => "drill",
        Place::Runbooks => "runbook",
        Place::Alerts => "alert",
        Place::Audit => "event",
        Place::Topology => "member",
    };
    let look = canvas.look;
    let total = rows.total() as u64;
    let more = if app.has_more() { " and more" } else { "" };
    let mut spans = vec![look.span(format!(" {}{more}", words::plural(total, noun)), Role::Text)];
    if !rows.filter_text().is_empty() {
        let shown = rows.shown() as u64;
        spans.push(look.span(format!("   filter {} ", rows.filter_text()), Role::Accent));
        spans.push(look.span(format!("shows {}", words::count(shown)), Role::Text));
    }
    if let (Place::Retention(_), Some(words)) = (&app.place, retention::summary(app)) {
        spans.push(look.span(words, Role::Dim));
    }
    if app.place == Place::Topology
        && let Some((words, role)) = topology::banner(app)
    {
        spans.push(look.span(format!("   {words}"), role));
    }
    if app.place == Place::Recoveries
        && let Some((words, role)) = servers::banner(app)
    {
        spans.push(look.span(format!("   {words}"), role));
    }
    if rows.marked() > 0 {
        spans.push(look.span(
            format!("   {} marked", words::count(rows.marked() as u64)),
            Role::Accent,
        ));
    }
    let (sort, reverse) = rows.sorted();
    if sort > 0 || reverse {
        let turned = if reverse { ", reversed" } else { "" };
        spans.push(look.span(format!("   by {}{turned}", rows.sorts()[sort]), Role::Dim));
    }
    canvas.line(area, 0, 0, &Line::from(spans));
}

/// What is shown before there is a first picture.
fn waiting(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    use super::app::Contact;
    let inner = Rect {
        x: area.x + 2.min(area.width),
        width: area.width.saturating_sub(4),
        ..area
    };
    match &app.contact {
        Contact::Lost { why, hint, retry_at } => {
            let mut lines = detail::Detail::new(canvas.look, usize::from(inner.width));
            lines.head("No contact with the agent");
            lines.prose(why, Role::Text);
            if let Some(hint) = hint {
                lines.prose(&format!("hint: {hint}"), Role::Accent);
            }
            let left = retry_at.0.saturating_sub(app.uptime.0) / 1000;
            lines.prose(&format!("trying again in {left}s; this console stays open"), Role::Dim);
            let lines = lines.lines;
            detail::draw(canvas, below(inner, 1), &lines, 0);
        }
        _ => {
            canvas.text(below(inner, 1), 0, 0, "asking the agent for the picture", Role::Dim);
        }
    }
}
