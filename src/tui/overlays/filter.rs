//! The filter being typed, in the place of the footer; the rows follow every key stroke.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Rect;

use super::{Next, closes};
use crate::tui::app::App;
use crate::tui::canvas::Canvas;
use crate::tui::loading;
use crate::tui::theme::Role;
use crate::tui::widgets::input::Input;

/// A filter being typed.
#[derive(Debug, Clone)]
pub struct FilterPrompt {
    /// What is typed.
    pub input: Input,
    /// The filter before, which Esc brings back.
    before: String,
    complaint: Option<String>,
}

impl FilterPrompt {
    /// A prompt that goes on from the filter there is.
    pub fn new(before: &str) -> Self {
        Self {
            input: Input::with(before),
            before: before.to_owned(),
            complaint: None,
        }
    }

    /// Takes a key.
    pub fn press(&mut self, app: &mut App, event: &KeyEvent) -> Next {
        if closes(event) {
            self.input = Input::with(self.before.clone());
            self.apply(app);
            return Next::Close;
        }
        match event.code {
            KeyCode::Enter => Next::Done(loading::ask_filtered(app)),
            KeyCode::Backspace if self.input.text().is_empty() => Next::Close,
            KeyCode::Down | KeyCode::Up => {
                if let Some(rows) = app.rows_mut() {
                    rows.move_by(if event.code == KeyCode::Down { 1 } else { -1 });
                }
                Next::Stay
            }
            _ => {
                if self.input.press(event) {
                    self.apply(app);
                }
                Next::Stay
            }
        }
    }

    /// Shows the rows that pass what is typed; keeps those shown while it is not understood.
    pub fn apply(&mut self, app: &mut App) {
        let now = app.now;
        if let Some(rows) = app.rows_mut() {
            self.complaint = rows.apply_filter(self.input.text(), now).err();
        }
    }

    /// Draws the prompt in the place of the footer.
    pub fn draw(&self, canvas: &mut Canvas<'_>, footer: Rect, app: &App) {
        canvas.clear(footer);
        let Some(rows) = app.rows() else { return };
        canvas.text(footer, 0, 0, " /", Role::Accent);
        let hint = match &self.complaint {
            Some(complaint) => canvas.look.line(format!(" {complaint} "), Role::Warn),
            None if self.input.text().is_empty() => canvas
                .look
                .line(format!(" words, or {} ", rows.fields().join(" ")), Role::Dim),
            None => canvas
                .look
                .line(format!(" {} of {} ", rows.shown(), rows.total()), Role::Dim),
        };
        let room = footer
            .width
            .saturating_sub(u16::try_from(hint.width()).unwrap_or(0))
            .max(footer.width / 3);
        let (left, right) = (
            Rect { width: room, ..footer },
            Rect {
                x: footer.x + room,
                width: footer.width - room,
                ..footer
            },
        );
        self.input.draw(canvas, left, 2, 0, true);
        canvas.right(right, 0, &hint);
    }
}
