//! The wizard: leading an execution of a runbook, one word at a time.
//!
//! What is asked is never remembered here: it is worked out of the picture of the execution, each time, by the same
//! functions the engine goes by. This room only remembers what is being typed and which step is looked at.
//!
//! ```text
//!  a key ──▶ a Lead ──▶ refused, with the reason where the eye is
//!                  ├──▶ a prompt: the target, a reason, a value ──▶ Enter ──▶ a word to the agent
//!                  └──▶ a word to the agent
//! ```
//!
//! The keys that led to a question must not answer it: Enter and every other key that says something is ignored for half
//! a second after the question changed, and letters for half a second after a prompt opened. Leaving the wizard ends nothing.

mod keys;
mod prompt;
mod rules;

pub use keys::{back, hints, is_small, moves, paste, perform, press};
pub use prompt::{Asks, Prompt};
pub use rules::{Lead, refused};

use super::app::App;
use super::link::Question;
use super::message::Effect;
use super::navigation;
use super::overlays::Overlay;
use super::overlays::abort::Abort;
use super::overlays::dialog::DEAF;
use super::place::Place;
use crate::domain::Millis;
use crate::domain::command::Command;
use crate::domain::id::RunbookRunId;
use crate::domain::runbook::next::{self, Need};
use crate::domain::runbook::{RunbookRun, Saying, StepState};

/// What the wizard remembers of the execution it shows.
#[derive(Debug, Clone, Default)]
pub struct Wizard {
    /// The step that is looked at; the one whose turn it is when absent.
    pub looked: Option<usize>,
    /// What is being typed.
    pub prompt: Option<Prompt>,
    /// Why the last word was not taken.
    pub refusal: Option<String>,
    /// Since when the same is asked.
    pub since: Millis,
    /// What is asked, in a form that can be compared.
    asks: String,
    /// Whether its record was asked for.
    pub(super) asked: bool,
}

impl Wizard {
    /// A wizard that was just opened.
    pub fn opened(at: Millis) -> Self {
        Self {
            since: at,
            ..Self::default()
        }
    }

    /// Whether keys that say something are ignored.
    pub fn is_deaf(&self, now: Millis) -> bool {
        now.0.saturating_sub(self.since.0) < DEAF.0
    }
}

/// The step that is looked at: the one chosen, or the first whose turn it is.
pub fn focus(app: &App, run: &RunbookRun) -> usize {
    let last = run.steps.len().saturating_sub(1);
    let chosen = match &app.place {
        Place::Wizard(id) if *id == run.id => app.wizard.looked,
        _ => None,
    };
    chosen.unwrap_or_else(|| turn(run)).min(last)
}

/// The step whose turn it is: the first that waits for somebody, else the first that is at work.
pub fn turn(run: &RunbookRun) -> usize {
    let waiting = next::waits(run).first().map(|(at, _)| *at);
    let live = || run.steps.iter().position(|step| step.state.is_live());
    let current = || next::current(run).first().copied();
    let last = run.steps.len().saturating_sub(1);
    waiting.or_else(live).or_else(current).unwrap_or(last)
}

/// What a step waits for.
pub fn needs(run: &RunbookRun, at: usize) -> Vec<Need> {
    let waits = next::waits(run);
    waits
        .into_iter()
        .find_map(|(step, needs)| (step == at).then_some(needs))
        .unwrap_or_default()
}

/// What is asked, in a form that can be compared: the checks by what they came to, not by when.
fn asks(run: &RunbookRun) -> String {
    let at = turn(run);
    let done = run.steps.get(at);
    let outcomes = done.and_then(|done| done.checked.as_ref()).map(|checked| {
        let outcomes = checked.results.iter().map(|result| (&result.title, result.outcome));
        outcomes.collect::<Vec<_>>()
    });
    format!(
        "{at} {:?} {:?} {:?} {outcomes:?} {} {}",
        next::waits(run),
        done.map(|done| done.state),
        done.map(|done| done.attempt),
        run.held_by,
        run.paused.is_some(),
    )
}

/// Takes note of a new picture: what is asked may be another thing now.
pub fn settle(app: &mut App) -> Vec<Effect> {
    let Place::Wizard(id) = &app.place else {
        return Vec::new();
    };
    let Some(view) = app.execution(id) else {
        if app.wizard.prompt.take().is_some() {
            app.say("it has ended; what was being typed was not said");
        }
        return super::runbooks::ask(app);
    };
    let asks = asks(&view.run);
    let over = app.wizard.prompt.as_ref().and_then(|prompt| prompt.over(&view.run));
    if asks != app.wizard.asks {
        app.wizard.asks = asks;
        app.wizard.since = app.uptime;
        app.wizard.refusal = None;
    }
    if let Some(why) = over {
        app.wizard.prompt = None;
        app.wizard.refusal = Some(why);
    }
    Vec::new()
}

/// Does what somebody chose for an execution in a menu.
pub fn lead(app: &mut App, id: &RunbookRunId, lead: Lead) -> Vec<Effect> {
    let mut effects = Vec::new();
    if !matches!(&app.place, Place::Wizard(here) if here == id) {
        effects = navigation::go(app, Place::Wizard(id.clone()));
        settle(app);
    }
    effects.extend(act(app, lead));
    effects
}

/// Does what a key or a choice asks for: refuses it, asks for more, or says it to the agent.
fn act(app: &mut App, lead: Lead) -> Vec<Effect> {
    let Place::Wizard(id) = app.place.clone() else {
        return Vec::new();
    };
    app.wizard.refusal = None;
    let Some(run) = app.execution(&id).map(|view| view.run.clone()) else {
        return Vec::new();
    };
    let at = focus(app, &run);
    let why = app
        .why_locked()
        .filter(|_| lead != Lead::Find)
        .map(|why| format!("not now: {why}"));
    if let Some(why) = why.or_else(|| refused(app, &run, at, lead)) {
        app.wizard.refusal = Some(why);
        return Vec::new();
    }
    let (step, attempt) = (run.runbook.steps[at].id.clone(), run.steps[at].attempt);
    let needs = needs(&run, at);
    let saying = match lead {
        Lead::Go => match needs.iter().find_map(asked_for) {
            Some(asks) => return ask(app, step, asks),
            None => Saying::Go {
                step,
                attempt,
                typed: None,
            },
        },
        Lead::Value => match needs.iter().find_map(asked_for) {
            Some(asks @ Asks::Value { .. }) => return ask(app, step, asks),
            _ => return Vec::new(),
        },
        Lead::Recheck => Saying::Recheck { step },
        Lead::Approve => Saying::Approve { step },
        Lead::Retry if needs.contains(&Need::UndoFailed) => Saying::UndoAgain { step },
        Lead::Retry => Saying::Retry { step },
        Lead::Pause if run.paused.is_some() => Saying::Resume,
        Lead::Pause => return ask(app, step, Asks::Pause),
        Lead::Take => return ask(app, step, Asks::Take),
        Lead::Find => return super::finder::lead(app, &run, at),
        Lead::Override => return ask(app, step, Asks::Override),
        Lead::Skip => return ask(app, step, Asks::Skip),
        Lead::WasDone => return ask(app, step, Asks::WasDone),
        Lead::LeaveUndo => return ask(app, step, Asks::LeaveUndo),
        Lead::Abort => {
            app.overlay = Some(Overlay::Abort(Box::new(Abort::new(&run, app.uptime))));
            return Vec::new();
        }
    };
    vec![say(app, id, saying)]
}

/// What has to be typed before a need is met.
fn asked_for(need: &Need) -> Option<Asks> {
    match need {
        Need::Go { typed: Some(wanted) } => Some(Asks::Target { wanted: wanted.clone() }),
        Need::Value { variable } => Some(Asks::Value {
            variable: variable.clone(),
        }),
        _ => None,
    }
}

fn ask(app: &mut App, step: String, asks: Asks) -> Vec<Effect> {
    let effects = match asks {
        // Which members there are is worth knowing when one has to be named.
        Asks::Value { .. } => super::loading::ask_topology(app),
        _ => Vec::new(),
    };
    app.wizard.prompt = Some(Prompt::new(step, asks, app.uptime));
    effects
}

/// Says a word to the agent. The next keys wait for what comes of it.
pub(super) fn say(app: &mut App, run: RunbookRunId, saying: Saying) -> Effect {
    app.wizard.since = app.uptime;
    Effect::Ask(Question::Command(Command::SayInRunbook { run, saying }))
}

/// Whether nothing of a step can be going on, so that it can be passed over.
const fn is_quiet(state: StepState) -> bool {
    matches!(state, StepState::Pending | StepState::Failed | StepState::InDoubt)
}
