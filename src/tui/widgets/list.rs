//! A table of rows: titles, a window of rows around the cursor, marks. Draws only what can be seen.
//!
//! ```text
//!   NAME          SCHEDULE       LAST
//! ▌ orders-db     every 15 min   4m
//!  *documents     daily          9h
//! ```

use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::tui::canvas::{Canvas, below, columns as text_columns};
use crate::tui::table::{Item, Rows, Table};
use crate::tui::theme::Role;

/// A column: its title and how wide it is.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// The title.
    pub title: &'static str,
    /// Columns it takes; what is left over goes to those that grow.
    pub width: u16,
    /// Its share of what is left over.
    pub grow: u16,
    /// Whether its values end at the right.
    pub right: bool,
    /// It is left out when the list is narrower than this.
    pub from: u16,
}

impl Column {
    /// A column of fixed width.
    pub const fn fixed(title: &'static str, width: u16) -> Self {
        Self {
            title,
            width,
            grow: 0,
            right: false,
            from: 0,
        }
    }

    /// A column that takes a share of what is left over.
    pub const fn flexible(title: &'static str, least: u16) -> Self {
        Self {
            title,
            width: least,
            grow: 1,
            right: false,
            from: 0,
        }
    }

    /// The same column, its values ending at the right.
    #[must_use]
    pub const fn ending(self) -> Self {
        Self { right: true, ..self }
    }

    /// The same column, left out of lists narrower than `width`.
    #[must_use]
    pub const fn when(self, width: u16) -> Self {
        Self { from: width, ..self }
    }
}

/// How many columns the cursor and the mark take.
const LEAD: u16 = 2;

/// Draws a table; `cells` gives one line for each of `columns`, in order.
pub fn draw<T: Item>(
    canvas: &mut Canvas<'_>,
    area: Rect,
    table: &Table<T>,
    focused: bool,
    columns: &[Column],
    cells: impl Fn(&T) -> Vec<Line<'static>>,
) {
    let places = layout(columns, area.width);
    titles(canvas, area, table, columns, &places);
    let body = below(area, 1);
    let height = usize::from(body.height);
    let offset = window(table.offset.get(), table.cursor(), height, table.shown());
    table.offset.set(offset);
    for (y, (place, key, item)) in (0u16..).zip(table.window(offset, height)) {
        let selected = place == table.cursor();
        for ((column, (x, width)), cell) in columns.iter().zip(&places).zip(cells(item)) {
            if *width == 0 {
                continue;
            }
            let room = Rect {
                x: body.x + x,
                width: *width,
                ..body
            };
            if column.right {
                canvas.right(room, y, &cell);
            } else {
                canvas.line(room, 0, y, &cell);
            }
        }
        if table.marks.contains(key) {
            canvas.text(body, 1, y, canvas.look.glyphs.mark, Role::Accent);
        }
        if selected {
            if focused {
                canvas.row_style(body, y, Role::Select);
            }
            canvas.text(body, 0, y, canvas.look.glyphs.cursor, Role::Accent);
        }
    }
}

/// The first row to show so that the cursor is inside, moving as little as possible.
pub fn window(offset: usize, cursor: usize, height: usize, rows: usize) -> usize {
    let least = (cursor + 1).saturating_sub(height.max(1));
    offset.clamp(least.min(cursor), cursor).min(rows.saturating_sub(height))
}

fn titles<T: Item>(canvas: &mut Canvas<'_>, area: Rect, table: &Table<T>, columns: &[Column], places: &[(u16, u16)]) {
    let (sort, reverse) = table.sorted();
    let sorted_by = T::SORTS.get(sort).copied().unwrap_or_default();
    for (column, (x, width)) in columns.iter().zip(places) {
        if *width == 0 {
            continue;
        }
        let mut title = column.title.to_owned();
        if sorted_by.eq_ignore_ascii_case(column.title) && text_columns(&title) < usize::from(*width) {
            let falling = reverse != (T::NEWEST_FIRST && sort == 0);
            title.push_str(canvas.look.glyphs.sorted[usize::from(falling)]);
        }
        let room = Rect {
            x: area.x + x,
            width: *width,
            ..area
        };
        let line = canvas.look.line(title, Role::Dim);
        if column.right {
            canvas.right(room, 0, &line);
        } else {
            canvas.line(room, 0, 0, &line);
        }
    }
}

/// Where each column begins and how wide it is; zero when it is left out.
fn layout(columns: &[Column], width: u16) -> Vec<(u16, u16)> {
    let shown = |column: &&Column| column.from <= width;
    let gaps = u16::try_from(columns.iter().filter(shown).count())
        .unwrap_or(0)
        .saturating_sub(1);
    let fixed: u16 = columns.iter().filter(shown).map(|column| column.width).sum();
    let shares: u16 = columns.iter().filter(shown).map(|column| column.grow).sum();
    let over = width.saturating_sub(LEAD + fixed + gaps);
    let mut x = LEAD;
    let mut spare = over.checked_rem(shares).unwrap_or(0);
    let mut place = |column: &Column| {
        if column.from > width || x >= width {
            return (x, 0);
        }
        let extra = if column.grow > 0 {
            over / shares.max(1) * column.grow + std::mem::take(&mut spare)
        } else {
            0
        };
        let wide = (column.width + extra).min(width - x);
        let begin = x;
        x += wide + 1;
        (begin, wide)
    };
    columns.iter().map(&mut place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_follows_the_cursor_and_moves_as_little_as_it_can() {
        assert_eq!(window(0, 5, 10, 100), 0);
        assert_eq!(window(0, 10, 10, 100), 1);
        assert_eq!(window(50, 45, 10, 100), 45);
        assert_eq!(window(50, 55, 10, 100), 50);
        assert_eq!(window(95, 2, 10, 3), 0);
        assert_eq!(window(7, 0, 0, 0), 0);
    }

    #[test]
    fn columns_never_pass_the_width() {
        let columns = [
            Column::fixed("A", 10),
            Column::flexible("B", 5),
            Column::fixed("C", 8).ending().when(40),
        ];
        for width in 0..120 {
            for (x, wide) in layout(&columns, width) {
                assert!(wide == 0 || x + wide <= width, "{width}");
            }
        }
        assert_eq!(layout(&columns, 30)[2].1, 0, "a column that does not fit is left out");
    }
}
