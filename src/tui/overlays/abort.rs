//! Ending an execution before its time: what was done, what of it can be taken back, and why.
//!
//! ```text
//! ┌ Abort failover-orders ────────────────────────────────────────┐
//! │ Done so far, the last first:                                   │
//! │ - Promote db2: no undo: rebuild from a snapshot                │
//! │ - Fence db1: taken back by: lifeboat cluster unfence ...       │
//! │ Nothing to take back: Page the DBA                             │
//! │ > then     [leave it as it is]   take it back, in reverse      │
//! │   reason   INC-77                                              │
//! │   Type failover-orders to go on:                               │
//! └────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Keys are ignored for half a second, and Enter does nothing until there is a reason and the name of the runbook is typed.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Rect;

use super::dialog::DEAF;
use super::{Next, centered, closes};
use crate::domain::Millis;
use crate::domain::id::{RunbookName, RunbookRunId};
use crate::domain::runbook::decide::undo_list;
use crate::domain::runbook::{RunbookRun, Saying};
use crate::tui::app::App;
use crate::tui::canvas::Canvas;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::{self, Detail};
use crate::tui::widgets::input::Input;
use crate::tui::wizard;

/// Which line the keys go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Then,
    Reason,
    Name,
}

/// An execution about to be ended.
#[derive(Debug, Clone)]
pub struct Abort {
    run: RunbookRunId,
    name: RunbookName,
    done: Vec<(String, String)>,
    undo: bool,
    reason: Input,
    typed: Input,
    at: At,
    scroll: usize,
    opened: Millis,
    complaint: Option<String>,
}

impl Abort {
    /// A dialog for an execution, opened at that moment.
    pub fn new(run: &RunbookRun, opened: Millis) -> Self {
        Self {
            run: run.id.clone(),
            name: run.runbook.name.clone(),
            done: undo_list(run),
            undo: false,
            reason: Input::default(),
            typed: Input::default(),
            at: At::Then,
            scroll: 0,
            opened,
            complaint: None,
        }
    }

    /// Takes a key.
    pub fn press(&mut self, app: &mut App, event: &KeyEvent) -> Next {
        if app.uptime.0.saturating_sub(self.opened.0) < DEAF.0 {
            return Next::Stay;
        }
        if closes(event) {
            app.say("nothing was ended");
            return Next::Close;
        }
        self.complaint = None;
        match event.code {
            KeyCode::Enter => return self.go(app),
            // The list may be longer than the dialog, and what cannot be taken back is worth reading to its end.
            KeyCode::PageDown => self.scroll = self.scroll.saturating_add(3).min(self.done.len() * 4),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(3),
            KeyCode::Tab | KeyCode::Down => self.at = self.at.next(),
            KeyCode::BackTab | KeyCode::Up => self.at = self.at.next().next(),
            _ => match self.at {
                At::Then => {
                    let turns = matches!(
                        event.code,
                        KeyCode::Left | KeyCode::Right | KeyCode::Char(' ' | 'h' | 'l')
                    );
                    self.undo ^= turns;
                }
                At::Reason => drop(self.reason.press(event)),
                At::Name => drop(self.typed.press(event)),
            },
        }
        Next::Stay
    }

    /// Whether Enter would do it.
    fn is_armed(&self) -> bool {
        !self.reason.text().trim().is_empty() && self.typed.text() == self.name.as_str()
    }

    fn go(&mut self, app: &mut App) -> Next {
        if let Some(why) = app.why_locked() {
            self.complaint = Some(format!("not now: {why}"));
            return Next::Stay;
        }
        // Enter leads through the lines, and does it only at the last one.
        match self.at {
            At::Then => self.at = At::Reason,
            At::Reason if self.reason.text().trim().is_empty() => {
                self.complaint = Some("a reason is needed: it goes into the report".to_owned());
            }
            At::Reason => self.at = At::Name,
            At::Name if self.is_armed() => {
                let saying = Saying::Abort {
                    reason: self.reason.text().trim().to_owned(),
                    undo: self.undo,
                };
                return Next::Done(vec![wizard::say(app, self.run.clone(), saying)]);
            }
            At::Name => self.complaint = Some(format!("a reason, and {} typed, or Esc", self.name)),
        }
        Next::Stay
    }

    /// Gives pasted text to the reason; the name is typed.
    pub fn paste(&mut self, text: &str) {
        match self.at {
            At::Reason => self.reason.insert(text),
            _ => self.complaint = Some("the name has to be typed here, not pasted".to_owned()),
        }
    }

    /// Draws the dialog over the body.
    pub fn draw(&self, canvas: &mut Canvas<'_>, body: Rect, app: &App) {
        let width = body.width.min(84);
        let columns = usize::from(width.saturating_sub(4));
        let mut lines = Detail::new(canvas.look, columns);
        if self.done.is_empty() {
            lines.prose("Nothing has been done yet; there is nothing to take back.", Role::Text);
        } else {
            lines.prose("Done so far, the last first:", Role::Dim);
            let (quiet, told): (Vec<_>, Vec<_>) = self.done.iter().partition(|(_, how)| how == "nothing to undo");
            for (title, how) in told {
                let role = if how.starts_with("no undo") {
                    Role::Crit
                } else {
                    Role::Text
                };
                lines.list("-", &[format!("{title}: {how}")], role);
            }
            if !quiet.is_empty() {
                let titles: Vec<&str> = quiet.iter().map(|(title, _)| title.as_str()).collect();
                lines.prose(&format!("Nothing to take back: {}", titles.join("; ")), Role::Dim);
            }
        }
        let lines = lines.lines;
        let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(7);
        let title = format!("Abort {}", self.name);
        let inner = canvas.boxed(centered(body, width, height), &title, Role::Crit);
        let foot = inner.height.saturating_sub(5);
        let list = Rect {
            height: foot.max(1),
            ..inner
        };
        detail::draw_keyed(canvas, list, &lines, self.scroll, Some("pgdn"));
        self.draw_lines(canvas, inner, foot);
        let deaf = app.uptime.0.saturating_sub(self.opened.0) < DEAF.0;
        let (hint, role) = match &self.complaint {
            Some(complaint) => (complaint.as_str(), Role::Crit),
            None if deaf => ("", Role::Dim),
            None if self.is_armed() && self.at == At::Name => ("Enter ends it, Esc does not", Role::Crit),
            None => ("Enter ends it once there is a reason and the name", Role::Dim),
        };
        canvas.text(inner, 0, inner.height.saturating_sub(1), hint, role);
    }

    fn draw_lines(&self, canvas: &mut Canvas<'_>, inner: Rect, y: u16) {
        let label = |canvas: &mut Canvas<'_>, y: u16, text: &str, at: At| {
            let focused = self.at == at;
            if focused {
                canvas.text(inner, 0, y, canvas.look.glyphs.cursor, Role::Accent);
            }
            canvas.text(inner, 2, y, text, if focused { Role::Accent } else { Role::Dim })
        };
        let back = self.done.iter().filter(|(_, how)| how.starts_with("taken back by"));
        let count = back.count();
        label(canvas, y, "then", At::Then);
        let words = if self.undo {
            format!(" leave it as it is  [take back {count}]  (space)")
        } else {
            format!("[leave it as it is]  take back {count}   (space)")
        };
        canvas.text(inner, 10, y, &words, Role::Text);
        label(canvas, y + 1, "reason", At::Reason);
        self.reason.draw(canvas, inner, 11, y + 1, self.at == At::Reason);
        let x = label(canvas, y + 2, &format!("Type {} to go on: ", self.name), At::Name);
        self.typed.draw(canvas, inner, x, y + 2, self.at == At::Name);
    }
}

impl At {
    const fn next(self) -> Self {
        match self {
            Self::Then => Self::Reason,
            Self::Reason => Self::Name,
            Self::Name => Self::Then,
        }
    }
}
