//! A text over the whole body: a log, JSON. `/` searches in it, `n` and `N` go on.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{Next, action, closes, moved};
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, below};
use crate::tui::keymap::Action;
use crate::tui::message::Effect;
use crate::tui::theme::Role;
use crate::tui::widgets::input::Input;

/// A text.
#[derive(Debug, Clone)]
pub struct Pager {
    /// What it is.
    pub title: String,
    /// Its lines.
    pub lines: Vec<String>,
    /// The first line shown.
    pub scroll: usize,
    sideways: usize,
    search: Input,
    searching: bool,
}

impl Pager {
    /// A text, from its beginning.
    pub fn new(title: impl Into<String>, text: &str) -> Self {
        let lines = text.lines().map(|line| line.replace('\t', "    ")).collect();
        Self {
            title: title.into(),
            lines,
            scroll: 0,
            sideways: 0,
            search: Input::default(),
            searching: false,
        }
    }

    /// Takes a key.
    pub fn press(&mut self, app: &mut App, event: &KeyEvent) -> Next {
        if self.searching {
            return self.press_search(event);
        }
        let action = action(app, event);
        if moved(action, &mut self.scroll, self.lines.len(), app.page_rows()) {
            return Next::Stay;
        }
        match action {
            Some(Action::Filter) => self.searching = true,
            Some(Action::NextMatch) => self.find(true),
            Some(Action::PreviousMatch) => self.find(false),
            Some(Action::Right) => self.sideways += 10,
            Some(Action::Left) if self.sideways > 0 => self.sideways = self.sideways.saturating_sub(10),
            Some(Action::Copy) => {
                app.say("copied to the clipboard, if the terminal allows it");
                return Next::Do(vec![Effect::Copy(self.lines.join("\n"))]);
            }
            Some(Action::Back | Action::Left | Action::Raw | Action::Log) => return Next::Close,
            _ if closes(event) => return Next::Close,
            _ => {}
        }
        Next::Stay
    }

    fn press_search(&mut self, event: &KeyEvent) -> Next {
        if closes(event) {
            self.searching = false;
            self.search = Input::default();
        } else if event.code == KeyCode::Enter {
            self.searching = false;
            self.find(true);
        } else {
            self.search.press(event);
        }
        Next::Stay
    }

    /// Goes to the next line that has the words searched for, round the end.
    fn find(&mut self, forward: bool) {
        let wanted = self.search.text().to_lowercase();
        let count = self.lines.len();
        if wanted.is_empty() || count == 0 {
            return;
        }
        let steps = (1..=count).map(|step| if forward { self.scroll + step } else { self.scroll + count - step } % count);
        let found = steps
            .into_iter()
            .find(|at| self.lines[*at].to_lowercase().contains(&wanted));
        self.scroll = found.unwrap_or(self.scroll);
    }

    /// Draws the text over the body.
    pub fn draw(&self, canvas: &mut Canvas<'_>, body: Rect) {
        canvas.clear(body);
        let area = Rect {
            x: body.x + 1,
            width: body.width.saturating_sub(2),
            ..body
        };
        let title = canvas.look.line(self.title.clone(), Role::Heading);
        canvas.line(area, 0, 0, &title);
        let text = Rect {
            height: area.height.saturating_sub(2),
            ..below(area, 1)
        };
        let wanted = self.search.text().to_lowercase();
        for (y, line) in (0..text.height).zip(self.lines.iter().skip(self.scroll)) {
            let from = line.char_indices().nth(self.sideways).map_or(line.len(), |(at, _)| at);
            let hit = !wanted.is_empty() && line.to_lowercase().contains(&wanted);
            canvas.text(text, 0, y, &line[from..], if hit { Role::Accent } else { Role::Text });
        }
        let last = area.height.saturating_sub(1);
        if self.searching {
            let x = canvas.text(area, 0, last, "search: ", Role::Accent);
            self.search.draw(canvas, area, x, last, true);
        } else {
            let place = format!(
                "line {} of {}",
                (self.scroll + 1).min(self.lines.len()),
                self.lines.len()
            );
            let line: Line<'_> = canvas.look.line(place, Role::Dim);
            canvas.line(area, 0, last, &line);
        }
    }
}
