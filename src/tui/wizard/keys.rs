//! The keys of the wizard: which say something, which only look, and which are worth naming now.

use crossterm::event::KeyEvent;

use super::{Lead, act, focus, needs, prompt, refused};
use crate::domain::runbook::instead;
use crate::domain::runbook::next::Need;
use crate::domain::runbook::report::report;
use crate::tui::app::App;
use crate::tui::finder;
use crate::tui::keymap::{Action, Key};
use crate::tui::message::Effect;
use crate::tui::overlays::{closes, moved};
use crate::tui::place::{Pane, Place};
use crate::tui::screens::runbooks::panel;

/// Gives a key to the wizard; none when it means there what it means everywhere.
pub fn press(app: &mut App, event: &KeyEvent, key: Key) -> Option<Vec<Effect>> {
    let Place::Wizard(id) = &app.place else { return None };
    if app.wizard.prompt.is_some() {
        app.pending = None;
        return Some(prompt::press(app, event));
    }
    let live = app.execution(id).is_some();
    // The keys that led to a question do not answer it, and do not lead away from it either.
    if live && app.wizard.is_deaf(app.uptime) && !closes(event) {
        return Some(Vec::new());
    }
    let action = app.settings.keymap.lead(key).filter(|_| app.pending.is_none())?;
    Some(perform(app, action))
}

/// Gives pasted text to what is being typed.
pub fn paste(app: &mut App, text: &str) {
    if matches!(app.place, Place::Wizard(_)) {
        prompt::paste(app, text);
    }
}

/// Does what an action of the wizard says, by a key or from the palette.
pub fn perform(app: &mut App, action: Action) -> Vec<Effect> {
    let Place::Wizard(id) = app.place.clone() else {
        app.say("this is said in the wizard of a runbook under way: screen 5");
        return Vec::new();
    };
    if action == Action::LeadSave {
        let Some(record) = app.ended(&id) else {
            app.wizard.refusal = Some("there is a report when it has ended".to_owned());
            return Vec::new();
        };
        return vec![Effect::Save(format!("lifeboat-{id}.md"), report(record))];
    }
    match Lead::ALL.into_iter().find(|lead| lead.action() == action) {
        Some(lead) => act(app, lead),
        None => Vec::new(),
    }
}

/// Looks at another step, or at more of this one.
pub fn moves(app: &mut App, action: Action) {
    let Place::Wizard(id) = app.place.clone() else { return };
    let page = app.page_rows();
    let Some(run) = app.execution(&id).map(|view| view.run.clone()) else {
        moved(Some(action), &mut app.scroll, 100_000, page);
        let lines = app.ended(&id).map_or(0, |record| report(record).lines().count() * 2);
        app.scroll = app.scroll.min(lines);
        return;
    };
    let pages = [Action::HalfDown, Action::HalfUp, Action::PageDown, Action::PageUp];
    if pages.contains(&action) {
        moved(Some(action), &mut app.scroll, 1_000, page / 2);
        // Where there is nothing more to see one stays, so that the way back is not longer than the way was.
        let width = usize::from(app.size.0).saturating_sub(2);
        let most = panel::lines(&run, focus(app, &run), app.look(), width).len();
        app.scroll = app.scroll.min(most);
        return;
    }
    let mut at = focus(app, &run);
    if moved(Some(action), &mut at, run.steps.len(), page) {
        app.wizard.looked = (at != super::turn(&run)).then_some(at);
        app.scroll = 0;
    }
}

/// Back from another step to the one whose turn it is; whether that was it.
pub fn back(app: &mut App) -> bool {
    app.scroll = 0;
    let steps = std::mem::replace(&mut app.pane, Pane::List) == Pane::Detail && is_small(app);
    app.wizard.looked.take().is_some() || steps
}

/// Whether there is room for one thing at a time only: the step, or all steps.
pub const fn is_small(app: &App) -> bool {
    app.size.1 < 20
}

/// The keys worth naming now, the most useful first.
pub fn hints(app: &App) -> Vec<(Action, Option<&'static str>)> {
    let Place::Wizard(id) = &app.place else {
        return Vec::new();
    };
    if app.wizard.prompt.is_some() {
        return vec![(Action::LeadGo, Some("say it")), (Action::Back, Some("do not"))];
    }
    let Some(run) = app.execution(id).map(|view| &view.run) else {
        return vec![
            (Action::Copy, Some("copy the report")),
            (Action::LeadSave, Some("save it")),
            (Action::Down, Some("scroll")),
            (Action::Back, Some("runbooks")),
        ];
    };
    let at = focus(app, run);
    let needs = needs(run, at);
    let mut hints = Vec::new();
    // What is always possible comes last; what is not possible is in the menu, with its reason.
    for lead in WORTH_NAMING {
        if refused(app, run, at, lead).is_some() {
            continue;
        }
        let words = match lead {
            Lead::Go if needs.contains(&Need::Done) => Some("done"),
            Lead::Go if needs.iter().any(|need| matches!(need, Need::Value { .. })) => Some("say value"),
            _ => None,
        };
        hints.push((lead.action(), words));
    }
    let told = |(step, _): (usize, _)| instead::refused(run, step).is_none();
    if finder::step_of(run, at).is_some_and(told) {
        hints.push((Action::LeadFind, None));
    }
    if is_small(app) {
        let other = if app.pane == Pane::List { "steps" } else { "step" };
        hints.push((Action::NextPane, Some(other)));
    }
    if app.wizard.looked.is_some() {
        hints.insert(0, (Action::Back, Some("to its turn")));
    } else {
        hints.push((Action::Back, Some("leave")));
    }
    let paused = run.paused.is_some().then_some("go on");
    for (lead, words) in [(Lead::Pause, paused), (Lead::Abort, None)] {
        if refused(app, run, at, lead).is_none() {
            hints.push((lead.action(), words));
        }
    }
    hints.extend([
        (Action::Down, Some("other step")),
        (Action::Log, None),
        (Action::Act, None),
    ]);
    hints
}

/// What is said in a state, the most likely first.
const WORTH_NAMING: [Lead; 9] = [
    Lead::Go,
    Lead::Approve,
    Lead::WasDone,
    Lead::Retry,
    Lead::LeaveUndo,
    Lead::Recheck,
    Lead::Override,
    Lead::Skip,
    Lead::Take,
];
