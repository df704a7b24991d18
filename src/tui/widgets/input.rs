//! A line of text being typed.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Position, Rect};

use crate::tui::canvas::{Canvas, columns};
use crate::tui::theme::Role;

/// The longest text that can be typed or pasted into a line.
const LONGEST: usize = 1000;

/// A line of text and where its cursor is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Input {
    text: String,
    /// In bytes; always at the border of a character.
    cursor: usize,
}

impl Input {
    /// A line that holds a text already.
    pub fn with(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            cursor: text.len(),
            text,
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Puts text in at the cursor; control characters and what would make it too long are left out.
    pub fn insert(&mut self, text: &str) {
        for letter in text.chars().filter(|letter| !letter.is_control()) {
            if self.text.len() >= LONGEST {
                break;
            }
            self.text.insert(self.cursor, letter);
            self.cursor += letter.len_utf8();
        }
    }

    /// Takes a key; whether it meant something here.
    pub fn press(&mut self, event: &KeyEvent) -> bool {
        let control = event.modifiers.contains(KeyModifiers::CONTROL);
        let alt = event.modifiers.contains(KeyModifiers::ALT);
        match event.code {
            KeyCode::Char('u') if control => drop(self.text.drain(..std::mem::take(&mut self.cursor))),
            KeyCode::Char('k') if control => self.text.truncate(self.cursor),
            KeyCode::Char('w') if control => {
                let head = self.text[..self.cursor].trim_end();
                let from = head.rfind([' ', '/']).map_or(0, |at| at + 1);
                self.text.drain(from..self.cursor);
                self.cursor = from;
            }
            KeyCode::Char(letter) if !control && !alt => self.insert(letter.encode_utf8(&mut [0; 4])),
            KeyCode::Backspace => {
                if let Some(letter) = self.text[..self.cursor].chars().next_back() {
                    self.cursor -= letter.len_utf8();
                    self.text.remove(self.cursor);
                }
            }
            KeyCode::Delete if self.cursor < self.text.len() => drop(self.text.remove(self.cursor)),
            KeyCode::Left => {
                self.cursor -= self.text[..self.cursor].chars().next_back().map_or(0, char::len_utf8);
            }
            KeyCode::Right => {
                self.cursor += self.text[self.cursor..].chars().next().map_or(0, char::len_utf8);
            }
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            _ => return false,
        }
        true
    }

    /// Draws the line at a place, its cursor too when it has the focus.
    pub fn draw(&self, canvas: &mut Canvas<'_>, area: Rect, x: u16, y: u16, focused: bool) {
        let room = usize::from(area.width.saturating_sub(x + 1));
        // What is left of the cursor is always in sight; a long text slides.
        let mut from = 0;
        while columns(&self.text[from..self.cursor]) > room {
            from += self.text[from..].chars().next().map_or(1, char::len_utf8);
        }
        let role = if focused { Role::Text } else { Role::Dim };
        canvas.text(area, x, y, &self.text[from..], role);
        if focused && y < area.height && x < area.width {
            let at = u16::try_from(columns(&self.text[from..self.cursor])).unwrap_or(0);
            canvas.cursor = Some(Position::new(area.x + x + at, area.y + y));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(code: KeyCode, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(code, modifiers)
    }

    #[test]
    fn a_word_is_taken_away_up_to_a_slash() {
        let mut input = Input::with("/var/tmp/restore");
        input.press(&key(KeyCode::Char('w'), KeyModifiers::CONTROL));
        assert_eq!(input.text(), "/var/tmp/");
    }

    #[test]
    fn pasted_escape_sequences_lose_their_teeth() {
        let mut input = Input::default();
        input.insert("orders\x1b[2J\r\n");
        assert_eq!(input.text(), "orders[2J");
    }

    proptest! {
        #[test]
        fn no_keys_panic(keys in prop::collection::vec(0usize..9, 0..60)) {
            let mut input = Input::with("añ漢é/x y");
            for choice in keys {
                let event = match choice {
                    0 => key(KeyCode::Left, KeyModifiers::NONE),
                    1 => key(KeyCode::Right, KeyModifiers::NONE),
                    2 => key(KeyCode::Backspace, KeyModifiers::NONE),
                    3 => key(KeyCode::Delete, KeyModifiers::NONE),
                    4 => key(KeyCode::Char('漢'), KeyModifiers::NONE),
                    5 => key(KeyCode::Char('w'), KeyModifiers::CONTROL),
                    6 => key(KeyCode::Char('u'), KeyModifiers::CONTROL),
                    7 => key(KeyCode::Home, KeyModifiers::NONE),
                    _ => key(KeyCode::End, KeyModifiers::NONE),
                };
                input.press(&event);
            }
        }
    }
}
