//! The dialog before anything dangerous: what it acts on, what is lost, the exact command, the way back or that there is none.
//!
//! The keys that led here must not lead through here. So the focus is on Cancel, keys are ignored for half a second, and
//! Enter does nothing but cancel until the name of the thing has been typed, letter by letter.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{Next, Overlay, centered, closes};
use crate::domain::Millis;
use crate::tui::app::App;
use crate::tui::canvas::Canvas;
use crate::tui::message::Effect;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::{self, Detail};
use crate::tui::widgets::input::Input;

/// How long keys are ignored after the dialog opened.
pub const DEAF: Millis = Millis(500);

/// What a dialog says.
#[derive(Debug, Clone, Default)]
pub struct Warning {
    /// What will be done.
    pub title: String,
    /// What it acts on: host, role, identifiers.
    pub facts: Vec<(&'static str, String)>,
    /// What will be lost or overwritten.
    pub losses: Vec<String>,
    /// The same as a command line.
    pub command: String,
    /// How to undo it, or that there is no undo.
    pub undo: String,
    /// What has to be typed.
    pub name: String,
}

/// A dangerous thing, before it is done.
#[derive(Debug, Clone)]
pub struct Dialog {
    warning: Warning,
    effects: Vec<Effect>,
    typed: Input,
    on_cancel: bool,
    opened: Millis,
    /// What is shown again when it is cancelled.
    under: Option<Box<Overlay>>,
}

impl Dialog {
    /// A dialog, opened at that moment; `effects` are what it guards.
    pub fn new(warning: Warning, effects: Vec<Effect>, opened: Millis) -> Self {
        Self {
            warning,
            effects,
            typed: Input::default(),
            on_cancel: true,
            opened,
            under: None,
        }
    }

    /// The same dialog over a form, which comes back when it is cancelled.
    #[must_use]
    pub fn over(self, form: Overlay) -> Self {
        Self {
            under: Some(Box::new(form)),
            ..self
        }
    }

    /// Whether the name has been typed.
    pub fn is_armed(&self) -> bool {
        self.typed.text() == self.warning.name
    }

    /// Takes a key.
    pub fn press(&mut self, app: &mut App, event: &KeyEvent) -> Next {
        if app.uptime.0.saturating_sub(self.opened.0) < DEAF.0 {
            return Next::Stay;
        }
        if closes(event) {
            return self.cancel(app);
        }
        match event.code {
            KeyCode::Enter if self.on_cancel => self.cancel(app),
            KeyCode::Enter if self.is_armed() => match app.why_locked() {
                Some(why) => {
                    app.complain(format!("not now: {why}"));
                    Next::Stay
                }
                None => Next::Done(std::mem::take(&mut self.effects)),
            },
            KeyCode::Enter => {
                app.complain(format!("type {} first, or Esc to cancel", self.warning.name));
                Next::Stay
            }
            KeyCode::Tab | KeyCode::BackTab => {
                self.on_cancel = !self.on_cancel;
                Next::Stay
            }
            _ => {
                if self.typed.press(event) {
                    self.on_cancel = false;
                }
                Next::Stay
            }
        }
    }

    fn cancel(&mut self, app: &mut App) -> Next {
        app.say("cancelled; nothing was changed");
        app.overlay = self.under.take().map(|under| *under);
        Next::Close
    }

    /// Draws the dialog over the body.
    pub fn draw(&self, canvas: &mut Canvas<'_>, body: Rect, app: &App) {
        let width = body.width.min(84);
        let columns = usize::from(width.saturating_sub(4));
        let mut lines = self.lines(canvas, columns, false);
        let needed = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(6);
        // Where not all of it fits, what will be lost comes first, and nothing stands between it and the buttons.
        let tight = needed > body.height;
        if tight {
            lines = self.lines(canvas, columns, true);
        }
        let inner = canvas.boxed(centered(body, width, needed), &self.warning.title, Role::Crit);
        let text = Rect {
            height: inner.height.saturating_sub(if tight { 2 } else { 4 }),
            ..inner
        };
        detail::draw(canvas, text, &lines, 0);
        self.draw_buttons(canvas, inner, app, tight);
    }

    /// What it acts on, what is lost by it, the way back, the command.
    fn lines(&self, canvas: &Canvas<'_>, columns: usize, losses_first: bool) -> Vec<Line<'static>> {
        let mut lines = Detail::new(canvas.look, columns);
        if losses_first {
            self.losses(&mut lines);
        }
        for (label, value) in &self.warning.facts {
            lines.pair(label, value);
        }
        if !losses_first {
            self.losses(&mut lines);
        }
        lines.pair("undo", &self.warning.undo);
        lines.pair("command", &self.warning.command);
        lines.lines
    }

    fn losses(&self, lines: &mut Detail<'_>) {
        for loss in &self.warning.losses {
            lines.pair_as("will be lost", loss, Role::Crit);
        }
        if self.warning.losses.is_empty() {
            lines.pair_as("will be lost", "nothing", Role::Ok);
        }
    }

    fn draw_buttons(&self, canvas: &mut Canvas<'_>, inner: Rect, app: &App, tight: bool) {
        let row = inner.height.saturating_sub(if tight { 2 } else { 3 });
        let x = canvas.text(inner, 0, row, "Type ", Role::Text);
        let x = canvas.text(inner, x, row, &self.warning.name, Role::Crit);
        let x = canvas.text(inner, x, row, " to go on: ", Role::Text);
        self.typed.draw(canvas, inner, x, row, !self.on_cancel);
        let row = inner.height.saturating_sub(1);
        let deaf = app.uptime.0.saturating_sub(self.opened.0) < DEAF.0;
        let cancel = if self.on_cancel { "[ Cancel ]" } else { "  Cancel  " };
        let x = canvas.text(
            inner,
            0,
            row,
            cancel,
            if self.on_cancel { Role::Select } else { Role::Text },
        );
        let go = if self.on_cancel { "  Do it  " } else { "[ Do it ]" };
        let armed = self.is_armed();
        let x = canvas.text(
            inner,
            x + 2,
            row,
            go,
            if armed && !self.on_cancel {
                Role::Crit
            } else {
                Role::Dim
            },
        );
        let hint = match (deaf, armed, self.on_cancel) {
            (true, ..) => "",
            (_, true, false) => "Enter does it, Esc cancels",
            (_, _, true) => "Enter cancels",
            _ => "Enter stays off until the name is typed",
        };
        canvas.text(inner, x + 2, row, hint, Role::Dim);
    }
}
