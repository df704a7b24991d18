//! `view`: from the console's memory to a picture. It changes nothing but where lists are scrolled to.
//!
//! ```text
//!  PROD eu-west  RW   1 critical  2 warnings                     live  10:41 UTC    status
//!  1 Overview  2 Jobs  3 Snapshots  4 Recover  5 Runbooks  6 Alerts ...            tabs
//!  ...                                                                              body, with what lies over it
//!  j down  enter open  a act  / filter  : palette  ? help                           footer
//! ```
//!
//! In the wizard of a runbook there are no tabs, and the status line says which one, in earnest or not, and its clock.
//!
//! Below 60 columns or 16 rows there is one line: how bad it is, and how true it still is.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;

use super::app::App;
use super::canvas::{Canvas, Look};
use super::keymap::Action;
use super::overlays::{self, Overlay};
use super::place::{Pane, Place};
use super::screens;
use super::theme::Role;
use super::widgets::header;

/// The smallest terminal that gets whole screens.
pub const SMALLEST: (u16, u16) = (60, 16);

/// Draws the console.
pub fn view(app: &App) -> (Buffer, Option<Position>) {
    let area = Rect::new(0, 0, app.size.0, app.size.1);
    let mut buffer = Buffer::empty(area);
    let mut canvas = Canvas {
        buffer: &mut buffer,
        look: app.look(),
        cursor: None,
    };
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        header::small(&mut canvas, area, app);
    } else {
        let row = |y: u16| Rect { y, height: 1, ..area };
        let last = row(area.height - 1);
        let wizard = matches!(app.place, Place::Wizard(_)) && app.overview.is_some();
        let top = if wizard { 1 } else { 3 };
        let body = Rect {
            y: top,
            height: area.height - top - 1,
            ..area
        };
        if wizard {
            screens::runbooks::wizard::header(&mut canvas, row(0), app);
        } else {
            header::status(&mut canvas, row(0), app);
            header::tabs(&mut canvas, row(1), app);
            canvas.rule(row(2), 0);
        }
        screens::draw(&mut canvas, body, app);
        footer(&mut canvas, last, app);
        overlays::draw(&mut canvas, body, last, app);
        notice(&mut canvas, last, app);
    }
    let cursor = canvas.cursor;
    (buffer, cursor)
}

impl App {
    /// How things look now.
    pub fn look(&self) -> Look<'_> {
        Look {
            theme: &self.settings.theme,
            glyphs: &self.settings.glyphs,
            now: self.now,
        }
    }

    /// How many lines the detail has.
    pub fn detail_length(&self, width: usize) -> usize {
        let width = if self.is_wide() && !self.zoomed {
            width - (width * 9 / 16).max(78)
        } else {
            width
        };
        screens::detail_lines(self, self.look(), width.saturating_sub(3)).len()
    }
}

/// The notice, in the place of the footer while it lasts; a filter being typed keeps its place.
fn notice(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    if matches!(app.overlay, Some(Overlay::Filter(_))) {
        return;
    }
    if let Some(notice) = app.current_notice() {
        canvas.clear(area);
        let role = if notice.bad { Role::Crit } else { Role::Accent };
        canvas.text(area, 1, 0, &notice.text, role);
    }
}

/// The keys that work here, as many as fit, and at the right the one that shows them all.
fn footer(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let keymap = &app.settings.keymap;
    let mut last = 0;
    if let Some(key) = keymap.key(Action::Help) {
        let spans = vec![
            canvas.look.span(key, Role::Accent),
            canvas.look.span(" help ", Role::Dim),
        ];
        let line = Line::from(spans);
        last = line.width() + 1;
        canvas.right(area, 0, &line);
    }
    let mut spans = vec![canvas.look.span(" ", Role::Dim)];
    let mut width = 1;
    for (action, words) in hints(app) {
        let Some(key) = keymap.key(action) else { continue };
        let words = words.unwrap_or(action.short());
        let taken = key.chars().count() + 1 + words.len() + 2;
        if width + taken > usize::from(area.width).saturating_sub(last) + 2 {
            break;
        }
        width += taken;
        spans.push(canvas.look.span(key, Role::Accent));
        spans.push(canvas.look.span(format!(" {words}  "), Role::Dim));
    }
    let room = area.width.saturating_sub(u16::try_from(last).unwrap_or(0));
    let mut line = Line::from(spans);
    // The blanks behind the last word are not worth a mark of something cut off.
    if let Some(end) = line.spans.last_mut() {
        end.content = end.content.trim_end().to_owned().into();
    }
    canvas.line(Rect { width: room, ..area }, 0, 0, &line);
}

/// The actions worth naming, the most useful first, with a better word where there is one.
fn hints(app: &App) -> Vec<(Action, Option<&'static str>)> {
    let mut hints = Vec::new();
    match &app.overlay {
        Some(Overlay::Restore(form)) => return form_hints(form.plan != screens::restore::PlanState::None),
        Some(Overlay::Begin(form)) => return form.hints(),
        Some(Overlay::Abort(_)) => {
            return vec![
                (Action::Open, Some("go on")),
                (Action::NextPane, Some("next")),
                (Action::Back, Some("do not")),
            ];
        }
        // What is typed here is text: the keys of the screen below mean nothing meanwhile.
        Some(Overlay::Dialog(_)) => {
            return vec![
                (Action::NextPane, Some("to the other button")),
                (Action::Back, Some("cancel")),
            ];
        }
        Some(Overlay::Note(_)) => return vec![(Action::Open, Some("do it")), (Action::Back, Some("do not"))],
        Some(Overlay::Palette(_)) => return vec![(Action::Open, Some("choose")), (Action::Back, Some("close"))],
        Some(Overlay::Menu(_)) => {
            return vec![
                (Action::Open, Some("choose")),
                (Action::Down, None),
                (Action::Back, Some("close")),
            ];
        }
        None if matches!(app.place, Place::Wizard(_)) => return super::wizard::hints(app),
        None if matches!(app.place, Place::Finder(_)) && app.pane == Pane::List => return super::finder::hints(app),
        Some(Overlay::Help(_)) => {
            return vec![
                (Action::Down, None),
                (Action::HalfDown, None),
                (Action::Back, Some("close")),
            ];
        }
        Some(Overlay::Pager(_)) => {
            return vec![
                (Action::Down, None),
                (Action::HalfDown, None),
                (Action::Filter, Some("search")),
                (Action::NextMatch, None),
                (Action::Copy, None),
                (Action::Back, Some("close")),
            ];
        }
        _ => {}
    }
    let detail = app.pane == Pane::Detail;
    if detail {
        hints.push((Action::Back, Some("list")));
        hints.push((Action::Down, Some("scroll")));
    } else {
        match app.place {
            Place::Overview => hints.push((Action::NextPane, Some("section"))),
            Place::Jobs => hints.extend([(Action::Open, Some("runs")), (Action::Retention, None)]),
            Place::Snapshots => hints.extend([(Action::Open, Some("files")), (Action::Trash, None)]),
            Place::Recoveries => hints.push((Action::Drills, None)),
            Place::Runbooks => hints.extend([(Action::Executions, None), (Action::Readiness, None)]),
            Place::Retention(_) => hints.push((Action::Open, Some("snapshot"))),
            _ => {}
        }
        if !matches!(app.place, Place::Jobs | Place::Snapshots | Place::Retention(_)) {
            hints.push((Action::Open, None));
        }
    }
    hints.push((Action::Act, None));
    if matches!(app.place, Place::Job(_)) {
        hints.push((Action::Log, None));
    }
    if app.place != Place::Overview && !detail {
        hints.extend([
            (Action::Filter, None),
            (Action::Sort, None),
            (Action::Mark, None),
            (Action::Describe, None),
        ]);
    }
    if app.place != Place::Overview && !detail {
        hints.push((Action::Back, None));
    }
    hints.extend([(Action::Palette, None), (Action::Copy, None), (Action::Raw, None)]);
    hints
}

fn form_hints(planned: bool) -> Vec<(Action, Option<&'static str>)> {
    if planned {
        vec![
            (Action::Open, Some("confirm")),
            (Action::Down, Some("scroll")),
            (Action::Copy, Some("copy restic command")),
            (Action::Back, Some("change the target")),
        ]
    } else {
        vec![
            (Action::Open, Some("show the plan")),
            (Action::NextPane, Some("field")),
            (Action::Back, Some("leave")),
        ]
    }
}
