//! Text for people: lines, fields and tables that fit the terminal, and colours that only repeat what a word says.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::domain::{Millis, Timestamp};

/// One column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// Whether it is aligned to the right, as numbers are.
    pub right: bool,
    /// Whether it gives way when the line is too long for the terminal.
    pub gives_way: bool,
}

impl Column {
    /// A column of text.
    pub const fn left(title: &'static str) -> Self {
        Self {
            title,
            right: false,
            gives_way: false,
        }
    }

    /// A column of numbers.
    pub const fn right(title: &'static str) -> Self {
        Self {
            title,
            right: true,
            gives_way: false,
        }
    }

    /// A column of text that is cut when the line is too long.
    pub const fn cut(title: &'static str) -> Self {
        Self {
            title,
            right: false,
            gives_way: true,
        }
    }
}

/// What the terminal can show, and the time that ages are counted from.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Whether to use colour.
    pub color: bool,
    /// Whether the reader is a program or a screen reader: no drawing characters.
    pub plain: bool,
    /// How many columns a line may take.
    pub width: usize,
    /// Now.
    pub now: Timestamp,
}

/// The colours that carry meaning; a word always says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// As it should be.
    Good,
    /// To be looked at.
    Warn,
    /// Broken.
    Bad,
    /// Of less interest.
    Dim,
    /// Headings.
    Strong,
}

impl Style {
    /// How long ago that was, in one word; `never` when it was not.
    pub fn ago(&self, at: Option<Timestamp>) -> String {
        match at {
            None => "never".to_owned(),
            Some(at) if at > self.now => format!("in {}", short(Millis::between(self.now, at))),
            Some(at) => format!("{} ago", short(Millis::between(at, self.now))),
        }
    }

    /// Puts a colour on text, when there is colour.
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Good => "32",
            Paint::Warn => "33",
            Paint::Bad => "31;1",
            Paint::Dim => "2",
            Paint::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// The mark that stands for what was cut off.
    fn ellipsis(&self) -> &'static str {
        if self.plain { "..." } else { "…" }
    }
}

/// A length of time in its largest unit: ages need no more.
pub fn short(length: Millis) -> String {
    let seconds = length.0 / 1000;
    match seconds {
        0..=99 => format!("{seconds}s"),
        100..=5999 => format!("{}m", seconds / 60),
        6000..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A moment as people read it, to the second, in UTC.
pub fn moment(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Text for people, line by line.
#[derive(Debug)]
pub struct Text {
    /// What the terminal can show.
    pub style: Style,
    buffer: String,
}

impl Text {
    /// An empty text.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            buffer: String::new(),
        }
    }

    /// Writes a line. Control characters are made visible; colour comes from [`Text::painted`] and [`Text::field`].
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.buffer.push_str(&clean(text.as_ref()));
        self.buffer.push('\n');
    }

    /// Writes a line in colour.
    pub fn painted(&mut self, paint: Paint, text: impl AsRef<str>) {
        let text = self.style.paint(paint, &clean(text.as_ref()));
        self.buffer.push_str(&text);
        self.buffer.push('\n');
    }

    /// Writes a heading, with an empty line before it when something stands above.
    pub fn heading(&mut self, text: &str) {
        if !self.buffer.is_empty() {
            self.buffer.push('\n');
        }
        self.painted(Paint::Strong, text);
    }

    /// Writes `name  value`, the values under one another.
    pub fn field(&mut self, name: &str, value: impl AsRef<str>) {
        let _ = writeln!(self.buffer, "{:<15} {}", clean(name), clean(value.as_ref()));
    }

    /// Writes `name  value` when there is a value.
    pub fn maybe(&mut self, name: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }

    /// Writes a table under its headings, cut to the terminal's width.
    pub fn table(&mut self, columns: &[Column], rows: &[Vec<String>]) {
        let rows: Vec<Vec<Cow<'_, str>>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| clean(cell)).collect())
            .collect();
        let widths = widths(columns, &rows, self.style.width);
        let titles: Vec<Cow<'_, str>> = columns.iter().map(|column| Cow::Borrowed(column.title)).collect();
        let header = self.row(columns, &widths, &titles);
        let header = self.style.paint(Paint::Dim, &header);
        let _ = writeln!(self.buffer, "{header}");
        for row in &rows {
            let line = self.row(columns, &widths, row);
            let _ = writeln!(self.buffer, "{line}");
        }
    }

    fn row(&self, columns: &[Column], widths: &[usize], cells: &[Cow<'_, str>]) -> String {
        let mut line = String::new();
        for ((column, width), cell) in columns.iter().zip(widths).zip(cells) {
            let cell = cut(cell, *width, self.style.ellipsis());
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            if !line.is_empty() {
                line.push_str("  ");
            }
            if column.right {
                line.push_str(&padding);
                line.push_str(&cell);
            } else {
                line.push_str(&cell);
                line.push_str(&padding);
            }
        }
        line.truncate(line.trim_end().len());
        line
    }

    /// The whole text.
    pub fn into_string(self) -> String {
        self.buffer
    }
}

/// The width of each column: as wide as its widest cell; those that give way share what is missing.
fn widths(columns: &[Column], rows: &[Vec<Cow<'_, str>>], limit: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|column| column.title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut total = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    while total > limit {
        let widest = (0..widths.len())
            .filter(|index| columns[*index].gives_way && widths[*index] > columns[*index].title.len().max(4))
            .max_by_key(|index| widths[*index]);
        let Some(widest) = widest else { break };
        widths[widest] -= 1;
        total -= 1;
    }
    widths
}

fn cut<'a>(text: &'a str, width: usize, ellipsis: &str) -> Cow<'a, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    let kept: String = text
        .chars()
        .take(width.saturating_sub(ellipsis.chars().count()))
        .collect();
    Cow::Owned(kept + ellipsis)
}

/// Makes control characters visible, so that text from outside cannot steer the terminal.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if steers(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

/// Controls, and the marks that turn the direction of writing.
fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(width: usize) -> Style {
        Style {
            color: false,
            plain: false,
            width,
            now: "2026-03-01T12:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_table_fits_the_terminal() {
        let columns = [Column::left("NAME"), Column::cut("MESSAGE"), Column::right("N")];
        let rows = vec![vec!["orders".to_owned(), "long ".repeat(40), "7".to_owned()]];
        let mut text = Text::new(style(40));
        text.table(&columns, &rows);
        let text = text.into_string();
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(
            text.contains('…') && text.lines().nth(1).unwrap().ends_with('7'),
            "{text}"
        );
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let mut text = Text::new(style(80));
        text.line("a\x1b]0;owned\x07b\r\u{202e}c");
        let text = text.into_string();
        assert!(!text.trim_end().chars().any(steers), "{text:?}");
    }

    #[test]
    fn ages_are_short() {
        let style = style(80);
        assert_eq!(style.ago(Some("2026-03-01T11:58:00Z".parse().unwrap())), "2m ago");
        assert_eq!(style.ago(Some("2026-03-01T12:00:30Z".parse().unwrap())), "in 30s");
        assert_eq!(style.ago(None), "never");
    }
}
