//! The keys, as the key map has them now.

use crossterm::event::KeyEvent;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{Next, action, closes, moved};
use crate::tui::app::App;
use crate::tui::canvas::Canvas;
use crate::tui::keymap::{Action, Group};
use crate::tui::theme::Role;
use crate::tui::widgets::detail::{self, Detail};

/// Where the help is scrolled to.
#[derive(Debug, Clone, Default)]
pub struct Help {
    scroll: usize,
}

impl Help {
    /// Takes a key.
    pub fn press(&mut self, app: &App, event: &KeyEvent) -> Next {
        let action = action(app, event);
        if closes(event) || matches!(action, Some(Action::Back | Action::Help | Action::Open)) {
            return Next::Close;
        }
        moved(action, &mut self.scroll, Action::all().count() + 40, app.page_rows());
        Next::Stay
    }

    /// Draws the help over the body.
    pub fn draw(&self, canvas: &mut Canvas<'_>, body: Rect, app: &App) {
        canvas.clear(body);
        let area = Rect {
            x: body.x + 1,
            width: body.width.saturating_sub(2),
            ..body
        };
        let mut detail = Detail::new(canvas.look, usize::from(area.width));
        for group in Group::ALL {
            detail.head(group.words());
            for action in Action::all().filter(|action| action.group() == group) {
                let keys = app.settings.keymap.keys(action);
                let keys = if keys.is_empty() {
                    "palette only".to_owned()
                } else {
                    keys.join("  ")
                };
                detail.push(vec![
                    canvas.look.span(format!("  {keys:<14} "), Role::Accent),
                    canvas.look.span(action.words(), Role::Text),
                ]);
            }
        }
        detail.head("Filters");
        for (what, means) in FILTERS {
            detail.push(vec![
                canvas.look.span(format!("  {what:<24} "), Role::Accent),
                canvas.look.span(*means, Role::Text),
            ]);
        }
        detail.head("How far a snapshot is proved");
        for (what, means) in EVIDENCE {
            detail.push(vec![
                canvas.look.span(format!("  {what:<15} "), Role::Accent),
                canvas.look.span(*means, Role::Text),
            ]);
        }
        let lines: Vec<Line<'static>> = detail.lines;
        detail::draw(canvas, area, &lines, self.scroll);
    }
}

const FILTERS: &[(&str, &str)] = &[
    ("orders nightly", "rows with both words, anywhere"),
    ("job:orders", "the field contains; job=orders-db is exact"),
    ("age<2d  size>1GiB", "younger, larger; s m h d w, KiB MiB GiB TiB"),
    ("evidence<restored", "not yet proved by a restore"),
    ("-weekly  \"two words\"", "without the word; a word with spaces"),
];

const EVIDENCE: &[(&str, &str)] = &[
    ("1 written", "committed to the repository"),
    ("2 checksummed", "every blob read again, every hash equal"),
    ("3 decoded", "what it holds was understood"),
    ("4 restored", "restored into a scratch place"),
    ("5 probed", "the restored copy answered as expected"),
];
