//! The wizard as it looks: the steps, everything about one of them, what is asked now, and what is being said by those at work.
//!
//! ```text
//!  PROD eu-west > runbook failover-orders  RW  REAL  live  14:32Z  total 11:20 of 60:00
//!  1 [ok  ] Declare incident, page DBA           ana      14:21
//! >4 [WAIT] Promote db1-new
//! -- Step 4: Promote db1-new ------------------------ at most 10:00  NOT REVERSIBLE --
//!  Will run      lifeboat cluster promote orders db1-new
//!  Checks        [ok] fence held: ...
//!  Type  db1-new  to run:  db1-n_                         Enter stays off
//! ```
//!
//! From 100 columns on, the steps stand at the left, the step and its log at the right. Where there is room for one thing
//! only, it is the step; Tab shows the others. A report stands here when it has ended.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{history, panel, steps};
use crate::domain::id::RunbookRunId;
use crate::domain::runbook::RunbookRun;
use crate::domain::runbook::view::ExecutionView;
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, below, columns, split, wrap};
use crate::tui::keymap::Action;
use crate::tui::overlays::dialog::DEAF;
use crate::tui::place::{Pane, Place};
use crate::tui::screens::overview::fit;
use crate::tui::theme::Role;
use crate::tui::widgets::{detail, header};
use crate::tui::wizard::{self, Asks};

/// Draws the first line: which site, which runbook, whether in earnest, and the clock.
pub fn header(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let Place::Wizard(id) = &app.place else { return };
    let look = canvas.look;
    let live = app.execution(id).map(|view| (&view.run, None));
    let ended = || app.ended(id).map(|record| (&record.run, Some(record.finished_at)));
    let Some((run, finished)) = live.or_else(ended) else {
        header::status(canvas, area, app);
        return;
    };
    let (total, role) = panel::total(run, run.elapsed(finished.unwrap_or(look.now)));
    let narrow = area.width < 72;
    let total = if narrow { total.replace(" of ", "/") } else { total };
    let truth = header::truth(canvas, app).into_iter().next();
    // Where it is tight, that all is well is not worth its place; that it is not, is.
    let mut right: Vec<Span<'static>> = truth.filter(|_| !narrow || app.is_stale()).into_iter().collect();
    right.push(look.span(format!(" {}Z", app.now.format("%H:%M")), Role::Dim));
    let label = match run.incident_at {
        _ if narrow => "  ",
        Some(_) if area.width >= 100 => "  since it happened ",
        Some(_) => "  elapsed ",
        None => "  total ",
    };
    right.push(look.span(label, Role::Dim));
    right.push(look.span(format!("{total} "), role));
    let right = Line::from(right);
    let mut all = header::place(canvas, app, area.width);
    let alerts = all.split_off(all.len().min(3));
    let mode_role = if run.drill { Role::Heading } else { Role::Crit };
    let rw = if app.is_read_only() { "RO" } else { "RW" };
    let badge = all.swap_remove(0);
    let fixed = badge.width() + rw.len() + 6 + run.mode().len() + right.width();
    let room = usize::from(area.width).saturating_sub(fixed);
    let name = run.runbook.name.as_str();
    let lead = if name.len() + 10 > room { "> " } else { "> runbook " };
    let name = fit(name, room.saturating_sub(lead.len()), look.glyphs.more);
    let mut left: Vec<Span<'static>> = vec![
        badge,
        look.span(lead, Role::Dim),
        look.span(name, Role::Heading),
        look.span(format!("  {rw}  "), if rw == "RO" { Role::Dim } else { Role::Text }),
        look.span(run.mode(), mode_role),
    ];
    if area.width >= 110 {
        left.push(Span::raw("  "));
        left.extend(alerts);
    }
    let room = area.width.saturating_sub(u16::try_from(right.width()).unwrap_or(0));
    canvas.line(Rect { width: room, ..area }, 0, 0, &Line::from(left));
    canvas.right(area, 0, &right);
}

/// Draws the body.
pub fn draw(canvas: &mut Canvas<'_>, area: Rect, app: &App, id: &RunbookRunId) {
    if let Some(view) = app.execution(id) {
        live(canvas, area, app, view);
        return;
    }
    let inner = Rect {
        x: area.x + 1,
        width: area.width.saturating_sub(2),
        ..area
    };
    match app.ended(id) {
        Some(record) => {
            let lines = history::detail(record, canvas.look, usize::from(inner.width));
            let down = app.settings.keymap.key(Action::Down);
            detail::draw_keyed(canvas, inner, &lines, app.scroll, down.as_deref());
        }
        None if app.executions.loading || app.wizard.asked => {
            let words = format!("{id} is not under way; asking the agent for its report");
            canvas.text(below(inner, 1), 0, 0, &words, Role::Dim);
        }
        None => {
            canvas.text(below(inner, 1), 0, 0, &format!("{id} is not known"), Role::Dim);
        }
    }
}

fn live(canvas: &mut Canvas<'_>, area: Rect, app: &App, view: &ExecutionView) {
    let run = &view.run;
    if run.steps.is_empty() {
        return;
    }
    let at = wizard::focus(app, run);
    if area.width >= 100 && !wizard::is_small(app) {
        let (left, right) = split(area, (area.width * 9 / 20).max(50));
        steps::draw(canvas, left, run, at);
        canvas.wall(right);
        let inner = Rect {
            x: right.x + 2,
            width: right.width.saturating_sub(3),
            ..right
        };
        let logged = (inner.height / 3).max(6);
        let top = Rect {
            height: inner.height - logged,
            ..inner
        };
        step(canvas, top, app, view, at);
        log(canvas, below(inner, top.height), view);
        about(canvas, left, run, at);
    } else if !wizard::is_small(app) {
        let count = u16::try_from(run.steps.len()).unwrap_or(u16::MAX);
        let rows = count.min(area.height * 2 / 5);
        steps::draw(canvas, Rect { height: rows, ..area }, run, at);
        step_and_log(canvas, below(area, rows), app, view, at);
    } else if app.pane == Pane::Detail {
        steps::draw(canvas, area, run, at);
    } else {
        step_and_log(canvas, area, app, view, at);
    }
}

/// The step, and below it what those at work say: while something is at work in any case, else where there is room.
fn step_and_log(canvas: &mut Canvas<'_>, area: Rect, app: &App, view: &ExecutionView, at: usize) {
    let width = usize::from(area.width.saturating_sub(2));
    let lines = panel::lines(&view.run, at, canvas.look, width).len();
    let asked = asked(app, &view.run, at, width).len() + if app.wizard.prompt.is_some() { 2 } else { 0 };
    let said = u16::try_from(view.said.len().saturating_add(1)).unwrap_or(u16::MAX);
    let taken = u16::try_from(lines + asked + 1).unwrap_or(u16::MAX);
    let free = area.height.saturating_sub(taken);
    let acting = view.run.steps.iter().any(|step| step.state.is_live());
    let least = if acting && area.height >= 10 {
        area.height / 3
    } else {
        0
    };
    let room = free.max(least);
    let logged = if view.said.is_empty() || room < 3 {
        0
    } else {
        room.min(said)
    };
    let top = Rect {
        height: area.height - logged,
        ..area
    };
    step(canvas, top, app, view, at);
    if logged > 0 {
        log(canvas, below(area, top.height), view);
    }
}

/// What is asked, and why the last word was not taken: the lines above the one that is typed into.
fn asked(app: &App, run: &RunbookRun, at: usize, width: usize) -> Vec<(String, Role)> {
    let mut all: Vec<(String, Role)> = Vec::new();
    let (words, role) = panel::asks(app, run, at);
    if let Some(refusal) = &app.wizard.refusal {
        let lines = wrap(&format!("Refused: {refusal}"), width);
        all.extend(lines.into_iter().take(3).map(|line| (line, Role::Crit)));
        // The same twice would only be longer.
        if refusal.eq_ignore_ascii_case(&words) {
            return all;
        }
    }
    let mine = run.held_by == app.settings.me;
    if app.wizard.prompt.is_none() || !mine {
        all.extend(wrap(&words, width).into_iter().take(3).map(|line| (line, role)));
    }
    all
}

/// Everything about a step, and at the bottom what is asked.
fn step(canvas: &mut Canvas<'_>, area: Rect, app: &App, view: &ExecutionView, at: usize) {
    let run = &view.run;
    title(canvas, area, app, view, at);
    let inner = Rect {
        x: area.x + 1,
        width: area.width.saturating_sub(2),
        ..below(area, 1)
    };
    let width = usize::from(inner.width);
    let asked = asked(app, run, at, width);
    let below_rows = asked.len() + if app.wizard.prompt.is_some() { 2 } else { 0 };
    let rows = u16::try_from(below_rows).unwrap_or(u16::MAX).min(inner.height);
    let mut lines = panel::lines(run, at, canvas.look, width);
    if app.size.0 < 100 || wizard::is_small(app) {
        lines.extend(panel::about(run, at, canvas.look, width));
    }
    // On a tall screen what is asked stands right below what it is about, not at the end of an empty pane.
    let count = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(1);
    let least = if inner.height > 24 { count.max(12) } else { u16::MAX };
    let text = Rect {
        height: (inner.height - rows).min(least),
        ..inner
    };
    let down = app.settings.keymap.key(Action::HalfDown);
    detail::draw_keyed(canvas, text, &lines, app.scroll, down.as_deref());
    let mut y = text.height;
    for (line, role) in &asked {
        canvas.text(inner, 0, y, line, *role);
        y += 1;
    }
    if run.held_by == app.settings.me && app.wizard.prompt.is_none() {
        let room = asked.last().map_or(0, |(line, _)| width.saturating_sub(columns(line)));
        let words = "led by you";
        if room > words.len() + 2 {
            canvas.right(inner, y.saturating_sub(1), &canvas.look.line(words, Role::Dim));
        }
    }
    prompt(canvas, inner, app, y);
}

/// What is good to know of the whole, below the steps where there is room.
fn about(canvas: &mut Canvas<'_>, area: Rect, run: &RunbookRun, at: usize) {
    let count = u16::try_from(run.steps.len()).unwrap_or(u16::MAX);
    let rest = below(area, count.saturating_add(1));
    let inner = Rect {
        x: rest.x + 1,
        width: rest.width.saturating_sub(2),
        ..rest
    };
    let lines = panel::about(run, at, canvas.look, usize::from(inner.width));
    if lines.len() <= usize::from(inner.height) {
        detail::draw(canvas, inner, &lines, 0);
    }
}

fn title(canvas: &mut Canvas<'_>, area: Rect, app: &App, view: &ExecutionView, at: usize) {
    let run = &view.run;
    let look = canvas.look;
    canvas.rule(area, 0);
    let mut right: Vec<Span<'static>> = Vec::new();
    let narrow = area.width < 72;
    // Where it is tight, only the time: that there is no way back stands below.
    for (mark, role) in panel::marks(run, at, look).into_iter().take(if narrow { 1 } else { 3 }) {
        right.push(look.span(format!(" {mark} "), role));
    }
    let right = Line::from(right);
    let room = area.width.saturating_sub(u16::try_from(right.width()).unwrap_or(0) + 3);
    let (word, role) = steps::state(run, at);
    let mut left = vec![look.span(" ", Role::Rule)];
    if narrow || wizard::is_small(app) {
        // Where the list of steps is not in sight, this line says where one is.
        left.push(look.span(format!("{}/{} ", at + 1, run.steps.len()), Role::Dim));
        left.push(look.span(format!("[{word}] "), role));
    }
    let heading = if narrow {
        steps::title(run, &run.runbook.steps[at])
    } else {
        panel::heading(run, at)
    };
    left.push(look.span(format!("{heading} "), Role::Heading));
    canvas.line(Rect { width: room, ..area }, 1, 0, &Line::from(left));
    canvas.right(
        Rect {
            width: area.width.saturating_sub(1),
            ..area
        },
        0,
        &right,
    );
}

/// What is being typed.
fn prompt(canvas: &mut Canvas<'_>, area: Rect, app: &App, y: u16) {
    let Some(prompt) = &app.wizard.prompt else { return };
    let look = canvas.look;
    let label = fit(&prompt.asks.label(), usize::from(area.width / 2), look.glyphs.more);
    let x = match &prompt.asks {
        // What has to be typed stands out from the words around it.
        Asks::Target { wanted } => {
            let x = canvas.text(area, 0, y, "Type  ", Role::Text);
            let x = canvas.text(area, x, y, wanted, Role::Crit);
            canvas.text(area, x, y, "  to run: ", Role::Text)
        }
        _ => canvas.text(area, 0, y, &label, Role::Text),
    };
    prompt.input.draw(canvas, area, x, y, true);
    let deaf = app.uptime.0.saturating_sub(prompt.opened.0) < DEAF.0;
    let (hint, role) = match (&prompt.complaint, &prompt.asks) {
        (Some(complaint), _) => (complaint.as_str(), Role::Crit),
        _ if deaf => ("", Role::Dim),
        _ if prompt.is_armed() => ("Enter says it, Esc does not", Role::Accent),
        (_, Asks::Target { .. }) => ("Enter stays off until it is typed", Role::Dim),
        (_, Asks::Value { .. }) => (
            "Enter stays off until there is a value; Tab offers what is known",
            Role::Dim,
        ),
        _ => (
            "Enter stays off until there is a reason; it goes into the report",
            Role::Dim,
        ),
    };
    canvas.text(area, 0, y + 1, hint, role);
}

/// The last lines of those at work.
fn log(canvas: &mut Canvas<'_>, area: Rect, view: &ExecutionView) {
    canvas.rule(area, 0);
    canvas.text(area, 2, 0, " Log ", Role::Heading);
    let rows = usize::from(area.height.saturating_sub(1));
    let from = view.said.len().saturating_sub(rows);
    let area = Rect {
        x: area.x + 1,
        width: area.width.saturating_sub(2),
        ..area
    };
    for (y, line) in (1u16..).zip(view.said.iter().skip(from)) {
        canvas.text(area, 0, y, line, Role::Text);
    }
    if view.said.is_empty() {
        canvas.text(area, 0, 1, "nothing has been said yet", Role::Dim);
    }
}
