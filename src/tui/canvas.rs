//! What a screen draws on: a buffer with a theme, glyphs and the moment, and strokes that cannot leave their area.
//!
//! All drawing goes through here, so no size of terminal, however absurd, can make a screen write outside the buffer.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::glyphs::Glyphs;
use super::theme::{Role, Theme};
use crate::domain::Timestamp;

/// How things look at a moment: a theme, glyphs and the time.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// How roles look.
    pub theme: &'a Theme,
    /// The glyphs the terminal is trusted with.
    pub glyphs: &'a Glyphs,
    /// The moment that is shown.
    pub now: Timestamp,
}

impl Look<'_> {
    /// How a role looks.
    pub fn style(&self, role: Role) -> Style {
        self.theme.style(role)
    }

    /// A piece of text in a role.
    pub fn span<'t>(&self, text: impl Into<Cow<'t, str>>, role: Role) -> Span<'t> {
        Span::styled(text, self.theme.style(role))
    }

    /// A line of one piece in a role.
    pub fn line<'t>(&self, text: impl Into<Cow<'t, str>>, role: Role) -> Line<'t> {
        Line::from(self.span(text, role))
    }
}

/// A buffer being drawn on.
#[derive(Debug)]
pub struct Canvas<'a> {
    /// The picture.
    pub buffer: &'a mut Buffer,
    /// How things look.
    pub look: Look<'a>,
    /// Where the terminal's cursor belongs, when text is being typed.
    pub cursor: Option<Position>,
}

impl Canvas<'_> {
    /// Writes text at a place inside `area`, cut off with a mark at its right edge; returns the column after it.
    pub fn text(&mut self, area: Rect, x: u16, y: u16, text: &str, role: Role) -> u16 {
        let style = self.look.style(role);
        self.line(area, x, y, &Line::from(Span::styled(text, style)))
    }

    /// Writes a line at a place inside `area`, cut off with a mark at its right edge; returns the column after it.
    pub fn line(&mut self, area: Rect, x: u16, y: u16, line: &Line<'_>) -> u16 {
        let inside = area.intersection(self.buffer.area);
        if y >= inside.height || x >= inside.width {
            return x;
        }
        let room = inside.width - x;
        let (left, top) = (inside.x + x, inside.y + y);
        let (end, _) = self.buffer.set_line(left, top, line, room);
        if line.width() > usize::from(room) {
            let last = inside.right() - 1;
            self.buffer[(last, top)].set_symbol(self.look.glyphs.more);
        }
        end - inside.x
    }

    /// Writes text so that it ends at the right edge of `area`; returns where it begins.
    pub fn right(&mut self, area: Rect, y: u16, line: &Line<'_>) -> u16 {
        let width = u16::try_from(line.width()).unwrap_or(u16::MAX);
        let x = area.width.saturating_sub(width);
        self.line(area, x, y, line);
        x
    }

    /// Gives a row of `area` a style, over whatever is written there.
    pub fn row_style(&mut self, area: Rect, y: u16, role: Role) {
        if y >= area.height {
            return;
        }
        let row = Rect {
            y: area.y.saturating_add(y),
            height: 1,
            ..area
        }
        .intersection(self.buffer.area);
        let style = self.look.style(role);
        if style.add_modifier.contains(Modifier::REVERSED) {
            // Reversed, every colour of the row would become a patch of background: the row is told by its words then.
            let plain = Style::new()
                .fg(Color::Reset)
                .bg(Color::Reset)
                .remove_modifier(Modifier::DIM);
            self.buffer.set_style(row, plain);
        }
        self.buffer.set_style(row, style);
    }

    /// Draws a horizontal rule.
    pub fn rule(&mut self, area: Rect, y: u16) {
        let text = self.look.glyphs.rule.repeat(usize::from(area.width));
        self.text(area, 0, y, &text, Role::Rule);
    }

    /// Draws a vertical rule down the left edge of `area`.
    pub fn wall(&mut self, area: Rect) {
        for y in 0..area.height {
            self.text(area, 0, y, self.look.glyphs.wall, Role::Rule);
        }
    }

    /// Empties an area.
    pub fn clear(&mut self, area: Rect) {
        let area = area.intersection(self.buffer.area);
        for y in area.top()..area.bottom() {
            for x in area.left()..area.right() {
                self.buffer[(x, y)].reset();
            }
        }
    }

    /// Draws an empty box with a title and returns what is inside it.
    pub fn boxed(&mut self, area: Rect, title: &str, role: Role) -> Rect {
        let area = area.intersection(self.buffer.area);
        self.clear(area);
        if area.width < 4 || area.height < 3 {
            return area;
        }
        let [top_left, top_right, bottom_left, bottom_right] = self.look.glyphs.corners;
        let across = self.look.glyphs.rule.repeat(usize::from(area.width - 2));
        let wall = self.look.glyphs.wall;
        self.text(area, 0, 0, &format!("{top_left}{across}{top_right}"), role);
        self.text(
            area,
            0,
            area.height - 1,
            &format!("{bottom_left}{across}{bottom_right}"),
            role,
        );
        for y in 1..area.height - 1 {
            self.text(area, 0, y, wall, role);
            self.text(area, area.width - 1, y, wall, role);
        }
        let head = Rect {
            x: area.x + 2,
            width: area.width - 4,
            height: 1,
            ..area
        };
        let title = Line::from(Span::styled(format!(" {title} "), self.look.style(Role::Heading)));
        if title.width() > 2 {
            let width = u16::try_from(title.width()).unwrap_or(u16::MAX).min(head.width);
            self.clear(Rect { width, ..head });
            self.line(head, 0, 0, &title);
        }
        Rect {
            x: area.x + 2,
            y: area.y + 1,
            width: area.width - 4,
            height: area.height - 2,
        }
    }
}

/// Splits an area at a column: what is left of it and what is right of it, with one column between.
pub fn split(area: Rect, left: u16) -> (Rect, Rect) {
    let left = left.min(area.width);
    let rest = area.width - left;
    (
        Rect { width: left, ..area },
        Rect {
            x: area.x + left + rest.min(1),
            width: rest.saturating_sub(1),
            ..area
        },
    )
}

/// What is left of an area below its first `rows` rows.
pub fn below(area: Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    Rect {
        y: area.y + rows,
        height: area.height - rows,
        ..area
    }
}

/// Breaks text into lines of at most `width` columns, at spaces where there are any.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let mut word = word.to_owned();
            let joined = columns(&line) + usize::from(!line.is_empty()) + columns(&word);
            if !line.is_empty() && joined > width {
                lines.push(std::mem::take(&mut line));
            }
            while columns(&word) > width {
                let cut = word.char_indices().nth(width).map_or(word.len(), |(at, _)| at);
                lines.push(word[..cut].to_owned());
                word.drain(..cut);
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
        lines.push(line);
    }
    lines
}

/// How many columns a text takes.
pub fn columns(text: &str) -> usize {
    Span::raw(text).width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_never_passes_the_width_and_loses_nothing() {
        let text = "restic -r /srv/backup/vault-a restore 9c41e0a2 --target /srv/a-very-long-directory-name-indeed";
        for width in 1..120 {
            let lines = wrap(text, width);
            assert!(lines.iter().all(|line| columns(line) <= width), "{width}: {lines:?}");
            assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
        }
    }
}
