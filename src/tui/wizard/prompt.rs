//! What is typed in the wizard: the target of a step, a reason, a value.
//!
//! The target is typed letter by letter and never pasted; Enter does nothing until it is there. A reason may be pasted.

use crossterm::event::{KeyCode, KeyEvent};

use crate::domain::Millis;
use crate::domain::runbook::next::Need;
use crate::domain::runbook::{RunbookRun, Saying, StepState};
use crate::tui::app::App;
use crate::tui::message::Effect;
use crate::tui::overlays::begin::complete;
use crate::tui::overlays::closes;
use crate::tui::overlays::dialog::DEAF;
use crate::tui::place::Place;
use crate::tui::widgets::input::Input;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asks {
    /// The name of what the step acts on.
    Target {
        /// What has to be typed.
        wanted: String,
    },
    /// A value.
    Value {
        /// Of which variable.
        variable: String,
    },
    /// Why checks are set aside.
    Override,
    /// Why the step is passed over.
    Skip,
    /// How one knows that it was done.
    WasDone,
    /// Why it is left as it is.
    LeaveUndo,
    /// Why nothing new begins.
    Pause,
    /// Why somebody else leads from here.
    Take,
}

impl Asks {
    /// What stands before what is typed.
    pub fn label(&self) -> String {
        match self {
            Self::Target { wanted } => format!("Type  {wanted}  to run: "),
            Self::Value { variable } => format!("{variable}: "),
            Self::Override => "Override reason: ".to_owned(),
            Self::Skip => "Reason to pass it over: ".to_owned(),
            Self::WasDone => "How do you know it was done: ".to_owned(),
            Self::LeaveUndo => "Reason to leave it: ".to_owned(),
            Self::Pause => "Reason to pause: ".to_owned(),
            Self::Take => "Reason to take it over: ".to_owned(),
        }
    }
}

/// Something being typed.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// The step it is about.
    pub step: String,
    /// What is asked for.
    pub asks: Asks,
    /// What is typed.
    pub input: Input,
    /// When it was asked.
    pub opened: Millis,
    /// What is wrong with it.
    pub complaint: Option<String>,
}

impl Prompt {
    /// An empty prompt, opened at that moment.
    pub fn new(step: String, asks: Asks, opened: Millis) -> Self {
        Self {
            step,
            asks,
            input: Input::default(),
            opened,
            complaint: None,
        }
    }

    /// Whether Enter would say it.
    pub fn is_armed(&self) -> bool {
        match &self.asks {
            Asks::Target { wanted } => self.input.text() == wanted,
            _ => !self.input.text().trim().is_empty(),
        }
    }

    /// Why it is not asked any more.
    pub(super) fn over(&self, run: &RunbookRun) -> Option<String> {
        let at = run.runbook.position(&self.step)?;
        let done = &run.steps[at];
        let needs = super::needs(run, at);
        let go = |need: &Need| matches!((need, &self.asks), (Need::Go { typed: Some(typed) }, Asks::Target { wanted }) if typed == wanted);
        let still = match &self.asks {
            Asks::Target { .. } => needs.iter().any(go),
            Asks::Value { .. } => needs.iter().any(|need| matches!(need, Need::Value { .. })),
            Asks::Override => done.state == StepState::Pending,
            Asks::Skip => super::is_quiet(done.state),
            Asks::WasDone => done.state == StepState::InDoubt,
            Asks::LeaveUndo => needs.contains(&Need::UndoFailed),
            Asks::Pause | Asks::Take => run.ending.is_none(),
        };
        (!still).then(|| {
            format!(
                "step {} has moved on; what was being typed was not said",
                at.saturating_add(1)
            )
        })
    }

    fn saying(&self, app: &App) -> Option<Saying> {
        let (step, text) = (self.step.clone(), self.input.text().trim().to_owned());
        let Place::Wizard(id) = &app.place else { return None };
        let (_, done) = app.execution(id)?.run.row(&step)?;
        Some(match &self.asks {
            Asks::Target { .. } => Saying::Go {
                step,
                attempt: done.attempt,
                typed: Some(text),
            },
            Asks::Value { variable } => Saying::Set {
                name: variable.clone(),
                value: text,
            },
            Asks::Override => Saying::Override { step, reason: text },
            Asks::Skip => Saying::Skip { step, reason: text },
            Asks::WasDone => Saying::WasDone { step, reason: text },
            Asks::LeaveUndo => Saying::UndoLeave { step, reason: text },
            Asks::Pause => Saying::Pause { reason: text },
            Asks::Take => Saying::Take { reason: text },
        })
    }
}

/// Gives a key to the prompt.
pub(super) fn press(app: &mut App, event: &KeyEvent) -> Vec<Effect> {
    let now = app.uptime;
    let Some(mut prompt) = app.wizard.prompt.take() else {
        return Vec::new();
    };
    if closes(event) {
        app.say("nothing was said");
        return Vec::new();
    }
    let mut effects = Vec::new();
    if now.0.saturating_sub(prompt.opened.0) < DEAF.0 {
        app.wizard.prompt = Some(prompt);
        return effects;
    }
    prompt.complaint = None;
    match event.code {
        // What is asked may have changed under the hand that presses.
        KeyCode::Enter if app.wizard.is_deaf(now) => {}
        KeyCode::Enter if !prompt.is_armed() => {
            prompt.complaint = Some(match &prompt.asks {
                Asks::Target { wanted } => format!("type {wanted} first, or Esc"),
                Asks::Value { .. } => "a value is needed".to_owned(),
                _ => "a reason is needed: it goes into the report".to_owned(),
            });
        }
        KeyCode::Enter => {
            if let Some(why) = app.why_locked() {
                prompt.complaint = Some(format!("not now: {why}"));
            } else if let (Place::Wizard(id), Some(saying)) = (app.place.clone(), prompt.saying(app)) {
                effects.push(super::say(app, id, saying));
                return effects;
            }
        }
        KeyCode::Tab => {
            if let Some(text) = completion(app, &prompt) {
                prompt.input = Input::with(text);
            }
        }
        _ => {
            prompt.input.press(event);
        }
    }
    app.wizard.prompt = Some(prompt);
    effects
}

/// The next value there is for what is being typed.
fn completion(app: &App, prompt: &Prompt) -> Option<String> {
    let Place::Wizard(id) = &app.place else { return None };
    let Asks::Value { variable } = &prompt.asks else {
        return None;
    };
    let run = &app.execution(id)?.run;
    let variable = run.runbook.variables.iter().find(|known| known.name == *variable)?;
    let known = |name: &str| run.values.get(name).cloned();
    complete::next(&complete::choices(app, &variable.kind, &known), prompt.input.text())
}

/// Gives pasted text to the prompt.
pub(super) fn paste(app: &mut App, text: &str) {
    match &mut app.wizard.prompt {
        Some(Prompt {
            asks: Asks::Target { .. },
            complaint,
            ..
        }) => *complaint = Some("the name has to be typed here, not pasted".to_owned()),
        Some(prompt) => prompt.input.insert(text),
        None => {}
    }
}
