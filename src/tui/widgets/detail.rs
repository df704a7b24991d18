//! Everything about one thing: labelled lines under quiet headings, wrapped to the pane.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::tui::canvas::{Canvas, Look, wrap};
use crate::tui::theme::Role;

/// How wide labels are.
const LABEL: usize = 14;

/// A detail being written.
#[derive(Debug)]
pub struct Detail<'a> {
    /// How things look.
    pub look: Look<'a>,
    /// How many columns there are.
    pub width: usize,
    /// The lines so far.
    pub lines: Vec<Line<'static>>,
}

impl<'a> Detail<'a> {
    /// An empty detail.
    pub fn new(look: Look<'a>, width: usize) -> Self {
        Self {
            look,
            width,
            lines: Vec::new(),
        }
    }

    /// A heading, with a blank line before it.
    pub fn head(&mut self, text: &str) {
        if !self.lines.is_empty() {
            self.lines.push(Line::default());
        }
        self.lines.push(self.look.line(text.to_owned(), Role::Heading));
    }

    /// A labelled value.
    pub fn pair(&mut self, label: &str, value: impl AsRef<str>) {
        self.pair_as(label, value, Role::Text);
    }

    /// A labelled value, when there is one.
    pub fn pair_if(&mut self, label: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.pair(label, value);
        }
    }

    /// A labelled value in a role.
    pub fn pair_as(&mut self, label: &str, value: impl AsRef<str>, role: Role) {
        let room = self.width.saturating_sub(LABEL).max(12);
        for (number, part) in wrap(value.as_ref(), room).into_iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            let label = self.look.span(format!("{label:<LABEL$}"), Role::Dim);
            self.lines.push(Line::from(vec![label, self.look.span(part, role)]));
        }
    }

    /// A labelled value of several pieces.
    pub fn pair_spans(&mut self, label: &str, spans: Vec<Span<'static>>) {
        let mut line = vec![self.look.span(format!("{label:<LABEL$}"), Role::Dim)];
        line.extend(spans);
        self.lines.push(Line::from(line));
    }

    /// Text, wrapped.
    pub fn prose(&mut self, text: &str, role: Role) {
        for part in wrap(text, self.width) {
            self.lines.push(self.look.line(part, role));
        }
    }

    /// Entries under a sign each, wrapped under themselves.
    pub fn list(&mut self, sign: &str, entries: &[String], role: Role) {
        let indent = sign.chars().count() + 1;
        for entry in entries {
            for (number, part) in wrap(entry, self.width.saturating_sub(indent)).into_iter().enumerate() {
                let lead = if number == 0 {
                    format!("{sign} ")
                } else {
                    " ".repeat(indent)
                };
                self.lines
                    .push(Line::from(vec![self.look.span(lead, role), self.look.span(part, role)]));
            }
        }
    }

    /// A finished line.
    pub fn push(&mut self, spans: Vec<Span<'static>>) {
        self.lines.push(Line::from(spans));
    }
}

/// Draws lines from `scroll` on, with a note at the bottom when there are more.
pub fn draw(canvas: &mut Canvas<'_>, area: Rect, lines: &[Line<'static>], scroll: usize) {
    draw_keyed(canvas, area, lines, scroll, None);
}

/// Draws lines from `scroll` on, with a note at the bottom when there are more, and which key shows them.
pub fn draw_keyed(canvas: &mut Canvas<'_>, area: Rect, lines: &[Line<'static>], scroll: usize, key: Option<&str>) {
    let height = usize::from(area.height);
    let scroll = scroll.min(lines.len().saturating_sub(height.saturating_sub(1)));
    let hidden = lines.len().saturating_sub(scroll + height);
    let shown = if hidden > 0 { height.saturating_sub(1) } else { height };
    for (y, line) in (0u16..).zip(lines.iter().skip(scroll).take(shown)) {
        canvas.line(area, 0, y, line);
    }
    if hidden > 0 {
        let shows = key.map_or(String::new(), |key| format!(": {key}"));
        let more = format!("{} more lines below{shows}", hidden + 1);
        let more = canvas.look.line(more, Role::Dim);
        canvas.line(area, 0, area.height.saturating_sub(1), &more);
    }
}
