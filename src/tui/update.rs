//! `update`: the one function that changes the console's memory. Pure: same memory, same message, same effects.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::domain::Timestamp;

use super::actions;
use super::answers;
use super::app::App;
use super::keymap::{Action, Key, Pressed};
use super::message::{Effect, Message, Moment};
use super::overlays::{self, Overlay};
use super::screens::overview;
use super::stream;
use super::wizard;

/// Takes in what happened and says what is to be done outside.
pub fn update(app: &mut App, message: Message, moment: Moment) -> Vec<Effect> {
    app.uptime = moment.uptime;
    app.now = moment.wall + app.clock_ahead;
    match message {
        Message::Key(event) => press(app, &event),
        Message::Paste(text) => overlays::paste(app, &text),
        Message::Resized(columns, rows) => {
            app.size = (columns, rows);
            let subjects = overview::subjects(app);
            if !app.focus.as_ref().is_some_and(|focus| subjects.contains(focus)) {
                app.focus = subjects.into_iter().next();
            }
            Vec::new()
        }
        Message::Second => super::loading::poll(app),
        Message::Attached => stream::attached(app),
        Message::Stream(item) => {
            let mut effects = stream::came(app, item);
            effects.extend(wizard::settle(app));
            if let Some(id) = app.awaited.take()
                && !app.recoveries.select_key(id.as_str())
            {
                app.awaited = Some(id);
            }
            effects
        }
        Message::Detached(trouble, retry_in) => {
            stream::detached(app, trouble, retry_in);
            Vec::new()
        }
        Message::Answered(reply) => {
            let (question, result) = *reply;
            answers::answered(app, question, result)
        }
        Message::Saved(Ok(path)) => {
            app.say(format!("written to {path}"));
            Vec::new()
        }
        Message::Saved(Err(why)) => {
            app.complain(why);
            Vec::new()
        }
    }
}

fn press(app: &mut App, event: &KeyEvent) -> Vec<Effect> {
    if event.kind == KeyEventKind::Release {
        return Vec::new();
    }
    let Some(key) = Key::of(event) else { return Vec::new() };
    // These two work everywhere, also while text is typed.
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        let pressed = app.settings.keymap.press(None, key);
        if let Pressed::Action(action @ (Action::Suspend | Action::Repaint)) = pressed {
            return actions::perform(app, action);
        }
    }
    if app.overlay.is_some() {
        app.pending = None;
        return overlays::press(app, event);
    }
    if let Some(effects) = wizard::press(app, event, key) {
        return effects;
    }
    if let Some(effects) = super::finder::press(app, key) {
        return effects;
    }
    match app.settings.keymap.press(app.pending.take(), key) {
        Pressed::Action(action) => actions::perform(app, action),
        Pressed::Pending => {
            app.pending = Some(key);
            Vec::new()
        }
        Pressed::Nothing => {
            if let KeyCode::Char(letter) = event.code {
                let help = app.settings.keymap.key(Action::Help).unwrap_or_default();
                app.say(format!("{letter} does nothing here; {help} shows the keys"));
            }
            Vec::new()
        }
    }
}

impl App {
    /// This machine's wall clock, as it was when the current message came.
    pub(super) fn wall(&self) -> Timestamp {
        self.now - self.clock_ahead
    }

    /// Whether a text is being typed, so that letters are not commands.
    pub fn is_typing(&self) -> bool {
        matches!(
            self.overlay,
            Some(
                Overlay::Filter(_)
                    | Overlay::Note(_)
                    | Overlay::Palette(_)
                    | Overlay::Dialog(_)
                    | Overlay::Begin(_)
                    | Overlay::Abort(_)
                    | Overlay::Restore(_)
            )
        ) || self.wizard.prompt.is_some()
    }
}
