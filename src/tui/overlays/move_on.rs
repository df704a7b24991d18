//! The form that moves a recovered server on: an instant, typed or picked on the line of what can be restored.
//!
//! ```text
//!  Move rec-01hd3k on
//!    paused at   2026-11-20 03:11:00 UTC
//!  > instant     2026-11-20 03:11:30
//!    pick        ━━━━━━━━━━^━━━━━━━━━  <1m ago
//! ```

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Rect;

use super::{Next, centered, closes};
use crate::domain::command::Command;
use crate::domain::follow_up::{FollowUp, Waiting};
use crate::domain::pitr::Target;
use crate::tui::app::App;
use crate::tui::canvas::Canvas;
use crate::tui::link::Question;
use crate::tui::message::Effect;
use crate::tui::screens::restore::Goal;
use crate::tui::theme::Role;

/// A move being prepared.
#[derive(Debug, Clone)]
pub struct MoveOn {
    waiting: Waiting,
    /// Where to.
    pub goal: Goal,
    picking: bool,
    complaint: Option<String>,
}

impl MoveOn {
    /// A form that begins where the server is.
    pub fn new(app: &App, waiting: Waiting) -> Self {
        let mut seen = app.overview.iter().flat_map(|overview| &overview.logs);
        let sight = seen.find(|sight| Some(&sight.source) == waiting.source.as_ref());
        let goal = Goal::beyond(sight.cloned(), app.now, &waiting.server.seen.target);
        Self {
            waiting,
            goal,
            picking: false,
            complaint: None,
        }
    }

    /// Takes a key.
    pub fn press(&mut self, app: &mut App, event: &KeyEvent) -> Next {
        if closes(event) {
            return Next::Close;
        }
        self.complaint = None;
        match event.code {
            KeyCode::Enter => return self.go(app),
            KeyCode::Tab | KeyCode::BackTab | KeyCode::Up | KeyCode::Down => self.picking = !self.picking,
            _ if !self.picking => drop(self.goal.text.press(event)),
            KeyCode::Left | KeyCode::Char('h') => self.goal.nudge(-1),
            KeyCode::Right | KeyCode::Char('l') => self.goal.nudge(1),
            KeyCode::Char('H') => self.goal.nudge(-60),
            KeyCode::Char('L') => self.goal.nudge(60),
            _ => {}
        }
        Next::Stay
    }

    fn go(&mut self, app: &mut App) -> Next {
        if let Some(why) = app.why_locked() {
            app.complain(format!("not now: {why}"));
            return Next::Stay;
        }
        let to = match self.goal.wish() {
            Ok(wish) => wish.map_or(Target::Latest, |wish| wish.to),
            Err(complaint) => {
                self.complaint = Some(complaint);
                return Next::Stay;
            }
        };
        if to == self.waiting.server.seen.target {
            self.complaint = Some("it is there already; choose a later instant".to_owned());
            return Next::Stay;
        }
        let what = FollowUp::Move { to, inclusive: true };
        if let Some(why) = self.waiting.why_not(&what) {
            self.complaint = Some(why);
            return Next::Stay;
        }
        let recovery = self.waiting.recovery.clone();
        let command = Command::FollowUpRecovery { recovery, what };
        Next::Done(vec![Effect::Ask(Question::Command(command))])
    }

    /// Draws the form over the body.
    pub fn draw(&self, canvas: &mut Canvas<'_>, body: Rect) {
        let title = format!("Move {} on", self.waiting.recovery);
        let inner = canvas.boxed(centered(body, 84, 12), &title, Role::Rule);
        let label = |canvas: &mut Canvas<'_>, y: u16, text: &str, focused: bool| {
            if focused {
                canvas.text(inner, 0, y, canvas.look.glyphs.cursor, Role::Accent);
            }
            canvas.text(inner, 2, y, text, if focused { Role::Accent } else { Role::Dim });
        };
        label(canvas, 0, "paused at", false);
        canvas.text(inner, 14, 0, &self.waiting.server.seen.target.to_string(), Role::Text);
        label(canvas, 2, "instant", !self.picking);
        if self.goal.text.text().is_empty() {
            let words = "  everything there is; else 03:11:00, UTC";
            canvas.text(inner, 14, 2, words, Role::Dim);
        }
        self.goal.text.draw(canvas, inner, 14, 2, !self.picking);
        label(canvas, 3, "pick", self.picking);
        self.goal.draw(canvas, inner, 14, 3);
        let note = self.goal.note();
        let range = note.split(';').next().unwrap_or_default();
        canvas.text(inner, 2, 4, range, Role::Dim);
        let note = "A log is only replayed forward. To go back, throw it away and recover again.";
        for (y, line) in (6u16..).zip(crate::tui::canvas::wrap(
            note,
            usize::from(inner.width.saturating_sub(2)),
        )) {
            canvas.text(inner, 2, y, &line, Role::Text);
        }
        let (hint, role) = match &self.complaint {
            Some(complaint) => (complaint.as_str(), Role::Crit),
            None if self.picking => ("left, right: a minute; H, L: an hour; Enter moves it", Role::Dim),
            None => ("Enter moves it and pauses it there; Tab picks", Role::Dim),
        };
        canvas.text(inner, 2, inner.height.saturating_sub(1), hint, role);
    }
}
