//! The keys of the restore form and of its plan.

use crossterm::event::{KeyCode, KeyEvent};

use super::{Next, Overlay, action, closes, moved};
use crate::tui::app::App;
use crate::tui::keymap::Action;
use crate::tui::link::Question;
use crate::tui::message::Effect;
use crate::tui::operations;
use crate::tui::screens::restore::{FormField, PlanState, Restore};

/// Takes a key.
pub fn press(form: &mut Restore, app: &mut App, event: &KeyEvent) -> Next {
    match form.plan {
        PlanState::None => press_form(form, event),
        _ => press_plan(form, app, event),
    }
}

fn press_form(form: &mut Restore, event: &KeyEvent) -> Next {
    if closes(event) {
        return Next::Close;
    }
    form.complaint = None;
    match event.code {
        KeyCode::Enter => match form.request() {
            Ok(request) => {
                form.plan = PlanState::Asked;
                form.scroll = 0;
                return Next::Do(vec![Effect::Ask(Question::Plan(Box::new(request)))]);
            }
            Err(complaint) => form.complaint = Some(complaint),
        },
        KeyCode::Tab | KeyCode::Down => form.step(1),
        KeyCode::BackTab | KeyCode::Up => form.step(-1),
        _ if form.at == FormField::Pick => match event.code {
            KeyCode::Left | KeyCode::Char('h') => form.nudge(-1),
            KeyCode::Right | KeyCode::Char('l') => form.nudge(1),
            KeyCode::Char('H') => form.nudge(-60),
            KeyCode::Char('L') => form.nudge(60),
            _ => {}
        },
        _ => match form.input() {
            Some(input) => drop(input.press(event)),
            None if matches!(
                event.code,
                KeyCode::Char(' ' | 'h' | 'l') | KeyCode::Left | KeyCode::Right
            ) =>
            {
                form.toggle();
            }
            None => {}
        },
    }
    Next::Stay
}

fn press_plan(form: &mut Restore, app: &mut App, event: &KeyEvent) -> Next {
    let action = action(app, event);
    if moved(action, &mut form.scroll, 200, app.page_rows()) {
        return Next::Stay;
    }
    match action {
        Some(Action::Open) => start(form, app),
        Some(Action::Copy) => match &form.plan {
            PlanState::Here(plan) => {
                app.say("the restic command is in the clipboard, if the terminal allows it");
                Next::Do(vec![Effect::Copy(plan.restic_command.clone())])
            }
            _ => Next::Stay,
        },
        Some(Action::Back | Action::Left) => {
            // Back to the form, with everything that was typed.
            form.plan = PlanState::None;
            Next::Stay
        }
        _ if closes(event) => Next::Close,
        _ => Next::Stay,
    }
}

fn start(form: &mut Restore, app: &mut App) -> Next {
    match &form.plan {
        PlanState::Here(plan) if !plan.blockers.is_empty() => {
            app.complain("this plan cannot start; Esc goes back to the form");
            Next::Stay
        }
        PlanState::Here(plan) => {
            if let Some(why) = app.why_locked() {
                app.complain(format!("not now: {why}"));
                Next::Stay
            } else {
                let dialog = operations::restore_dialog(app, plan);
                app.confirmed = Some((**plan).clone());
                app.overlay = Some(Overlay::Dialog(Box::new(
                    dialog.over(Overlay::Restore(Box::new(form.clone()))),
                )));
                Next::Close
            }
        }
        PlanState::Failed(_) => {
            form.plan = PlanState::None;
            Next::Stay
        }
        PlanState::None | PlanState::Asked => Next::Stay,
    }
}
