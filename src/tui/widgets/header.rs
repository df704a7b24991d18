//! The first lines of every screen: where this is, what may be done, how bad it is, and how true it still is.
//!
//! ```text
//!  PROD eu-west  RW   1 critical  2 warnings                     live  10:41 UTC
//!  1 Overview  2 Jobs  3 Snapshots › 9c41e0a2 › /srv/docs
//! ```

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::domain::alert::Severity;
use crate::tui::app::{App, Contact, QUIET_AFTER};
use crate::tui::canvas::Canvas;
use crate::tui::place::Screen;
use crate::tui::theme::Role;
use crate::tui::view::SMALLEST;
use crate::tui::words;

/// Draws the status line.
pub fn status(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let right = Line::from(truth(canvas, app));
    let room = area.width.saturating_sub(u16::try_from(right.width()).unwrap_or(0) + 1);
    let left = Line::from(place(canvas, app, area.width));
    canvas.line(Rect { width: room, ..area }, 0, 0, &left);
    canvas.right(area, 0, &right);
}

/// Draws what fits a terminal too small for screens: one line, or three where even that is too long.
pub fn small(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let (columns, rows) = SMALLEST;
    let words = canvas.look.line(format!("screens from {columns}x{rows} on"), Role::Dim);
    if area.width >= 50 {
        status(canvas, area, app);
        canvas.line(area, 1, 2, &words);
        return;
    }
    let mut spans = place(canvas, app, area.width);
    let rest = spans.split_off(spans.len().min(3));
    canvas.line(area, 0, 0, &Line::from(spans));
    canvas.line(area, 0, 1, &Line::from(rest));
    let truth = Line::from(truth(canvas, app));
    canvas.line(area, 1, 2, &truth);
    canvas.line(area, 1, 3, &words);
}

/// Where this is and how bad it is.
pub(in crate::tui) fn place(canvas: &Canvas<'_>, app: &App, width: u16) -> Vec<Span<'static>> {
    let look = canvas.look;
    let Some(overview) = &app.overview else {
        return vec![
            look.span(" lifeboat ", Role::Badge),
            look.span("  no picture yet", Role::Dim),
        ];
    };
    let environment = overview.environment.to_uppercase();
    let production = environment.starts_with("PROD");
    let badge = if production { Role::Production } else { Role::Badge };
    let mut spans = vec![
        look.span(format!(" {environment} {} ", overview.site), badge),
        Span::raw(" "),
    ];
    let (mode, role) = if app.is_read_only() {
        ("RO", Role::Dim)
    } else {
        ("RW", Role::Text)
    };
    spans.push(look.span(format!(" {mode} "), role));
    let count = |severity| {
        overview
            .alerts
            .iter()
            .filter(|alert| alert.severity == severity)
            .count() as u64
    };
    let (critical, warning) = (count(Severity::Critical), count(Severity::Warning));
    let short = width < 72;
    let words = |number: u64, word: &str, short_word: &str| {
        if short {
            format!(" {number} {short_word} ")
        } else {
            format!(" {} ", words::plural(number, word))
        }
    };
    if critical > 0 {
        let text = if short {
            words(critical, "", "crit")
        } else {
            format!(" {critical} critical ")
        };
        spans.push(look.span(text, Role::Crit));
    }
    if warning > 0 {
        spans.push(look.span(words(warning, "warning", "warn"), Role::Warn));
    }
    if critical + warning == 0 {
        spans.push(look.span(" no alerts ", Role::Ok));
    }
    if app.held.is_some() {
        spans.push(look.span(" FROZEN ", Role::Badge));
    }
    spans
}

/// How true it still is, and when now is.
pub(in crate::tui) fn truth(canvas: &Canvas<'_>, app: &App) -> Vec<Span<'static>> {
    let look = canvas.look;
    let silence = app.silence();
    let seconds = silence.map_or(0, |silence| silence.0 / 1000);
    let (text, role) = match (&app.contact, silence) {
        (Contact::Connecting, None) => ("connecting".to_owned(), Role::Dim),
        (_, None) => ("NO AGENT".to_owned(), Role::Crit),
        _ if app.is_stale() => (format!("STALE {seconds}s"), Role::Crit),
        // A quiet agent is the usual case: its silence is counted only once it is longer than it should be.
        (_, Some(silence)) if silence >= QUIET_AFTER => (format!("live {seconds}s"), Role::Warn),
        _ => ("live".to_owned(), Role::Ok),
    };
    vec![
        look.span(text, role),
        look.span(format!("  {} UTC ", app.now.format("%H:%M")), Role::Dim),
    ]
}

/// Draws the screens and the way down to this place.
pub fn tabs(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let look = canvas.look;
    let here = app.place.screen();
    let all = area.width >= 72;
    let roomy = area.width >= 92;
    let mut spans = Vec::new();
    // Where it is tight, the short names, and one blank between them.
    let gap = if roomy { " " } else { "" };
    for (number, screen) in (1..).zip(Screen::ALL) {
        let name = if roomy { screen.name() } else { screen.short() };
        if screen == here {
            spans.push(look.span(format!(" {number} "), Role::Accent));
            spans.push(look.span(screen.name(), Role::Heading));
            for crumb in app.place.crumbs() {
                spans.push(look.span(format!(" {} ", look.glyphs.then), Role::Dim));
                spans.push(look.span(crumb, Role::Heading));
            }
            spans.push(Span::raw(gap));
        } else if all {
            spans.push(look.span(format!(" {number} {name}{gap}"), Role::Dim));
        }
    }
    if !all {
        spans.push(look.span(format!("  screens 1-{}", Screen::ALL.len()), Role::Dim));
    }
    canvas.line(area, 0, 0, &Line::from(spans));
}
