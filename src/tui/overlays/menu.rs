//! The action menu, the only route to anything that changes something, and the menu of orders.
//!
//! ```text
//! ┌ job orders-db ───────────────────────────────┐
//! │ ▌1 Run orders-db now                          │
//! │  2 Stop the run …      not now: not running   │
//! └──────────────────────────────────────────────┘
//! ```

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Rect;

use super::{Next, action, centered, closes, moved};
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, columns};
use crate::tui::keymap::Action;
use crate::tui::operations;
use crate::tui::subject::Choice;
use crate::tui::theme::Role;
use crate::tui::widgets::list;

/// What can be done to a thing.
#[derive(Debug, Clone)]
pub struct Menu {
    /// The thing.
    pub title: String,
    /// What can be done to it.
    pub choices: Vec<Choice>,
    /// Where the cursor is.
    pub at: usize,
}

impl Menu {
    /// Takes a key.
    pub fn press(&mut self, app: &mut App, event: &KeyEvent) -> Next {
        if let KeyCode::Char(digit @ '1'..='9') = event.code {
            let place = digit as usize - '1' as usize;
            if place < self.choices.len() {
                self.at = place;
                return self.choose(app);
            }
            return Next::Stay;
        }
        let action = action(app, event);
        if moved(action, &mut self.at, self.choices.len(), app.page_rows()) {
            return Next::Stay;
        }
        match action {
            Some(Action::Open | Action::Right) => self.choose(app),
            Some(Action::Back | Action::Left | Action::Act) => Next::Close,
            _ if closes(event) => Next::Close,
            _ => Next::Stay,
        }
    }

    fn choose(&self, app: &mut App) -> Next {
        match self.choices.get(self.at) {
            None => Next::Close,
            Some(Choice { refused: Some(why), .. }) => {
                app.complain(format!("not now: {why}"));
                Next::Stay
            }
            Some(choice) => Next::Done(operations::begin(app, choice.operation.clone())),
        }
    }

    /// Draws the menu over the body.
    pub fn draw(&self, canvas: &mut Canvas<'_>, body: Rect) {
        let widest = self.choices.iter().map(width).max().unwrap_or(0);
        let wide = u16::try_from(widest.max(columns(&self.title) + 4) + 10).unwrap_or(u16::MAX);
        let high = u16::try_from(self.choices.len()).unwrap_or(u16::MAX).saturating_add(4);
        let inner = canvas.boxed(centered(body, wide, high), &self.title, Role::Rule);
        let rows = usize::from(inner.height.saturating_sub(2));
        let from = list::window(0, self.at, rows, self.choices.len());
        for (y, (place, choice)) in (1u16..).zip(self.choices.iter().enumerate().skip(from).take(rows)) {
            let role = if choice.refused.is_some() {
                Role::Dim
            } else {
                Role::Text
            };
            let end = canvas.text(inner, 1, y, &format!("{} ", place + 1), Role::Accent);
            let end = canvas.text(inner, end, y, &choice.words, role);
            if let Some(why) = &choice.refused {
                canvas.text(inner, end + 2, y, &format!("not now: {why}"), Role::Dim);
            } else if choice.operation.asks_first() {
                canvas.text(inner, end, y, canvas.look.glyphs.more, Role::Dim);
            }
            if place == self.at {
                canvas.row_style(inner, y, Role::Select);
                canvas.text(inner, 0, y, canvas.look.glyphs.cursor, Role::Accent);
            }
        }
    }
}

fn width(choice: &Choice) -> usize {
    columns(&choice.words) + choice.refused.as_ref().map_or(0, |why| columns(why) + 11)
}

/// What the rows can be sorted by.
#[derive(Debug, Clone)]
pub struct SortMenu {
    /// Where the cursor is.
    pub at: usize,
}

impl SortMenu {
    /// Takes a key.
    pub fn press(&mut self, app: &mut App, event: &KeyEvent) -> Next {
        let now = app.now;
        let action = action(app, event);
        let Some(rows) = app.rows_mut() else { return Next::Close };
        if moved(action, &mut self.at, rows.sorts().len(), 10) {
            return Next::Stay;
        }
        match action {
            Some(Action::Open | Action::Right | Action::Sort) => {
                let (sort, reverse) = rows.sorted();
                // Choosing the order that is there turns it round, as a click on a title would.
                let reverse = if sort == self.at { !reverse } else { false };
                rows.sort_by(self.at, reverse, now);
                Next::Close
            }
            Some(Action::Back | Action::Left) => Next::Close,
            _ if closes(event) => Next::Close,
            _ => Next::Stay,
        }
    }

    /// Draws the menu over the body.
    pub fn draw(&self, canvas: &mut Canvas<'_>, body: Rect, app: &App) {
        let Some(rows) = app.rows() else { return };
        let high = u16::try_from(rows.sorts().len()).unwrap_or(u16::MAX).saturating_add(4);
        let inner = canvas.boxed(centered(body, 30, high), "Sort by", Role::Rule);
        let (sort, reverse) = rows.sorted();
        for (y, (place, word)) in (1u16..).zip(rows.sorts().iter().enumerate()) {
            let end = canvas.text(inner, 2, y, word, Role::Text);
            if place == sort {
                canvas.text(
                    inner,
                    end + 1,
                    y,
                    if reverse { "now, reversed" } else { "now" },
                    Role::Dim,
                );
            }
            if place == self.at {
                canvas.row_style(inner, y, Role::Select);
                canvas.text(inner, 0, y, canvas.look.glyphs.cursor, Role::Accent);
            }
        }
    }
}
