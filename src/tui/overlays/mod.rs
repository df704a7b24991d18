//! What lies over the body and takes the keys while it does: help, palette, menus, dialogs, prompts, texts.

pub mod abort;
pub mod begin;
pub mod dialog;
pub mod filter;
pub mod help;
pub mod menu;
pub mod move_on;
pub mod note;
pub mod pager;
pub mod palette;
pub mod restore;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;

use super::app::App;
use super::canvas::Canvas;
use super::keymap::{Action, Key, Pressed};
use super::message::Effect;
use super::screens;

/// What lies over the body.
#[derive(Debug, Clone)]
pub enum Overlay {
    /// The keys.
    Help(help::Help),
    /// Any action or thing by a few letters.
    Palette(palette::Palette),
    /// What can be done to a thing.
    Menu(menu::Menu),
    /// What to sort by.
    Sort(menu::SortMenu),
    /// A filter being typed.
    Filter(filter::FilterPrompt),
    /// A dangerous thing, before it is done.
    Dialog(Box<dialog::Dialog>),
    /// A note or reason being typed.
    Note(note::Note),
    /// A text.
    Pager(pager::Pager),
    /// A recovered server about to be moved on.
    MoveOn(Box<move_on::MoveOn>),
    /// An execution of a runbook being prepared.
    Begin(Box<begin::Begin>),
    /// An execution of a runbook about to be ended before its time.
    Abort(Box<abort::Abort>),
    /// A restore being prepared.
    Restore(Box<screens::restore::Restore>),
}

/// What becomes of an overlay after a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// It stays.
    Stay,
    /// It closes.
    Close,
    /// It stays, and something is to be done.
    Do(Vec<Effect>),
    /// It closes, and something is to be done.
    Done(Vec<Effect>),
}

/// Gives a key to the overlay that is open.
pub fn press(app: &mut App, event: &KeyEvent) -> Vec<Effect> {
    let Some(mut overlay) = app.overlay.take() else {
        return Vec::new();
    };
    let next = match &mut overlay {
        Overlay::Help(help) => help.press(app, event),
        Overlay::Palette(palette) => palette.press(app, event),
        Overlay::Menu(menu) => menu.press(app, event),
        Overlay::Sort(menu) => menu.press(app, event),
        Overlay::Filter(prompt) => prompt.press(app, event),
        Overlay::Dialog(dialog) => dialog.press(app, event),
        Overlay::Note(note) => note.press(app, event),
        Overlay::Pager(pager) => pager.press(app, event),
        Overlay::MoveOn(form) => form.press(app, event),
        Overlay::Begin(form) => form.press(app, event),
        Overlay::Abort(dialog) => dialog.press(app, event),
        Overlay::Restore(form) => restore::press(form, app, event),
    };
    let (stays, effects) = match next {
        Next::Stay => (true, Vec::new()),
        Next::Close => (false, Vec::new()),
        Next::Do(effects) => (true, effects),
        Next::Done(effects) => (false, effects),
    };
    // A key may have opened another overlay in its place; that one stays.
    if stays && app.overlay.is_none() {
        app.overlay = Some(overlay);
    }
    effects
}

/// Gives pasted text to the overlay that is open.
pub fn paste(app: &mut App, text: &str) -> Vec<Effect> {
    match &mut app.overlay {
        Some(Overlay::Palette(palette)) => palette.input.insert(text),
        Some(Overlay::Note(note)) => note.input.insert(text),
        Some(Overlay::MoveOn(form)) => form.goal.text.insert(text),
        Some(Overlay::Abort(dialog)) => dialog.paste(text),
        Some(Overlay::Begin(form)) => form.paste(text),
        Some(Overlay::Restore(form)) => {
            if let Some(input) = form.input() {
                input.insert(text);
            }
        }
        Some(Overlay::Filter(prompt)) => {
            let mut prompt = prompt.clone();
            prompt.input.insert(text);
            prompt.apply(app);
            app.overlay = Some(Overlay::Filter(prompt));
        }
        Some(Overlay::Dialog(_)) => app.complain("the name has to be typed here, not pasted"),
        None => super::wizard::paste(app, text),
        _ => {}
    }
    Vec::new()
}

/// Draws the overlay that is open, over the body.
pub fn draw(canvas: &mut Canvas<'_>, body: Rect, footer: Rect, app: &App) {
    match &app.overlay {
        None => {}
        Some(Overlay::Help(help)) => help.draw(canvas, body, app),
        Some(Overlay::Palette(palette)) => palette.draw(canvas, body, app),
        Some(Overlay::Menu(menu)) => menu.draw(canvas, body),
        Some(Overlay::Sort(menu)) => menu.draw(canvas, body, app),
        Some(Overlay::Filter(prompt)) => prompt.draw(canvas, footer, app),
        Some(Overlay::Dialog(dialog)) => dialog.draw(canvas, body, app),
        Some(Overlay::Note(note)) => note.draw(canvas, body),
        Some(Overlay::Pager(pager)) => pager.draw(canvas, body),
        Some(Overlay::MoveOn(form)) => form.draw(canvas, body),
        Some(Overlay::Begin(form)) => form.draw(canvas, body, app),
        Some(Overlay::Abort(dialog)) => dialog.draw(canvas, body, app),
        Some(Overlay::Restore(form)) => screens::restore::draw(canvas, body, form, app.why_locked().as_deref()),
    }
}

/// The action a key stands for in an overlay that takes no text; chords are not waited for.
pub fn action(app: &App, event: &KeyEvent) -> Option<Action> {
    match app.settings.keymap.press(None, Key::of(event)?) {
        Pressed::Action(action) => Some(action),
        Pressed::Pending | Pressed::Nothing => None,
    }
}

/// Whether a key closes any overlay: Esc, and Ctrl-C, which leaves the console only when nothing is open.
pub fn closes(event: &KeyEvent) -> bool {
    let control_c = event.code == KeyCode::Char('c') && event.modifiers.contains(KeyModifiers::CONTROL);
    event.code == KeyCode::Esc || control_c
}

/// A box in the middle of the body, at most as large as it.
pub fn centered(body: Rect, width: u16, height: u16) -> Rect {
    let width = width.min(body.width);
    let height = height.min(body.height);
    Rect {
        x: body.x + (body.width - width) / 2,
        y: body.y + (body.height - height) / 2,
        width,
        height,
    }
}

/// Moves a number within `0..count` as a key asks for; whether the key asked for that.
pub fn moved(action: Option<Action>, at: &mut usize, count: usize, page: usize) -> bool {
    let last = count.saturating_sub(1);
    *at = match action {
        Some(Action::Down) => *at + 1,
        Some(Action::Up) => at.saturating_sub(1),
        Some(Action::PageDown) => *at + page,
        Some(Action::PageUp) => at.saturating_sub(page),
        Some(Action::HalfDown) => *at + page / 2,
        Some(Action::HalfUp) => at.saturating_sub(page / 2),
        Some(Action::Top) => 0,
        Some(Action::Bottom) => last,
        _ => return false,
    }
    .min(last);
    true
}
