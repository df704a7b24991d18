//! Runbooks: what is offered for one, how an execution of it is prepared and begun, and how the console learns of it.
//!
//! Nothing begins but by a plan that was shown: what starts is bound to the document of that plan. When the agent refuses,
//! because the document is another by then or because it is under way already, the form comes back with the reason.

use super::app::App;
use super::link::{Question, Trouble};
use super::message::Effect;
use super::navigation;
use super::operation::{Choice, Operation};
use super::overlays::Overlay;
use super::overlays::begin::Begin;
use super::place::{Pane, Place};
use super::screens::runbooks::RunbookRow;
use super::subject::Subject;
use super::wizard::{self, Lead};
use crate::domain::command::Command;
use crate::domain::id::{RunbookName, RunbookRunId};
use crate::domain::runbook::report;
use crate::domain::runbook::view::{ExecutionView, Readiness, Ready, RunbookLine, RunbookPlan};
use crate::domain::runbook::{RunbookFact, RunbookRecord, Saying, StartRunbook};
use crate::domain::view::{Query, Receipt};

impl App {
    /// The execution of that id, while it is under way.
    pub fn execution(&self, id: &RunbookRunId) -> Option<&ExecutionView> {
        let overview = self.overview.as_ref()?;
        overview.executions.iter().find(|view| view.run.id == *id)
    }

    /// The execution of that id, when it has ended.
    pub fn ended(&self, id: &RunbookRunId) -> Option<&RunbookRecord> {
        self.executions
            .get(id.as_str())
            .filter(|_| self.execution(id).is_none())
    }

    fn runbook_line(&self, name: &RunbookName) -> Option<&RunbookLine> {
        let overview = self.overview.as_ref()?;
        overview.runbooks.iter().find(|line| line.name == *name)
    }

    /// What can be done with a runbook.
    pub(super) fn runbook_choices(&self, name: &RunbookName) -> Vec<Choice> {
        let Some(line) = self.runbook_line(name) else {
            return Vec::new();
        };
        let refused = match line.readiness.as_ref().map(|seen| &seen.state) {
            Some(Ready::NotHere { because }) => Some(because.clone()),
            _ => None,
        };
        let choice = |words: String, drill| {
            let begin = Operation::BeginRunbook(name.clone(), drill);
            Choice::new(words, begin, refused.clone())
        };
        vec![
            choice(format!("Run {name} for real: plan it first"), false),
            choice(format!("Run {name} as a drill: plan it first"), true),
        ]
    }

    /// What can be said in an execution.
    pub(super) fn execution_choices(&self, id: &RunbookRunId) -> Vec<Choice> {
        let Some(view) = self.execution(id) else {
            return Vec::new();
        };
        let at = wizard::focus(self, &view.run);
        let choice = |lead: Lead| {
            let refused = wizard::refused(self, &view.run, at, lead);
            Choice::new(lead.words(&view.run, at), Operation::Lead(id.clone(), lead), refused)
        };
        Lead::ALL.into_iter().map(choice).collect()
    }
}

/// What the cursor is on, on the screens of runbooks.
pub(super) fn subjects(app: &App) -> Vec<Subject> {
    let one = match &app.place {
        Place::Runbooks => app.runbooks.selected().map(RunbookRow::subject),
        Place::Executions => app
            .executions
            .selected()
            .map(|record| Subject::Execution(record.run.id.clone())),
        Place::Wizard(id) => Some(Subject::Execution(id.clone())),
        _ => None,
    };
    one.into_iter().collect()
}

/// Opens what the cursor is on: the wizard, a report, or the document.
pub(super) fn open(app: &mut App) -> Vec<Effect> {
    match (&app.place, subjects(app).into_iter().next()) {
        (Place::Wizard(_), _) | (_, None) => Vec::new(),
        (_, Some(Subject::Execution(id))) => navigation::go(app, Place::Wizard(id)),
        _ => {
            app.pane = Pane::Detail;
            app.scroll = 0;
            ask(app)
        }
    }
}

/// Asks for what the screens of runbooks show and what is not here yet: the document, the record of what has ended.
pub(super) fn ask(app: &mut App) -> Vec<Effect> {
    let question = match &app.place {
        Place::Runbooks => {
            let Some(RunbookRow::Book(line)) = app.runbooks.selected() else {
                return Vec::new();
            };
            let here = app.documents.get(&line.name);
            let wanted = (line.name.clone(), line.hash.clone());
            if here.is_some_and(|document| document.hash == line.hash) || !app.documents_asked.insert(wanted) {
                return Vec::new();
            }
            Question::Runbook(line.name.0.clone())
        }
        Place::Wizard(id) if app.overview.is_some() => {
            if app.wizard.asked || app.execution(id).is_some() || app.executions.get(id.as_str()).is_some() {
                return Vec::new();
            }
            let query = Query {
                id: Some(id.0.clone()),
                ..Query::default()
            };
            app.wizard.asked = true;
            Question::Executions(query)
        }
        _ => return Vec::new(),
    };
    vec![Effect::Ask(question)]
}

/// Asks whether the runbook the cursor is on could be begun now. It changes nothing but what is known.
pub(super) fn ask_readiness(app: &mut App) -> Vec<Effect> {
    let Some(Subject::Runbook(name)) = subjects(app).into_iter().next() else {
        app.say("whether a runbook is ready is asked on screen 5, with the cursor on it");
        return Vec::new();
    };
    app.say(format!("asking the checks {name} would begin with"));
    vec![Effect::Ask(Question::Readiness(name))]
}

/// Takes in what a look at a runbook came to; the rows follow with the next picture.
pub(super) fn is_ready(app: &mut App, name: &RunbookName, found: &Readiness) {
    match &found.state {
        Ready::Yes { .. } => app.say(format!("{name} could be begun now")),
        Ready::No { because } => app.complain(format!("{name} is not ready: {}", because.join("; "))),
        Ready::NotHere { because } => app.say(format!("{name} is not for this site: {because}")),
    }
}

/// Begins to prepare an execution: asks what it has to be told.
pub(super) fn begin(app: &mut App, name: RunbookName, drill: bool) -> Vec<Effect> {
    let form = Begin::new(name, drill);
    let mut effects = vec![Effect::Ask(Question::PlanRunbook(Box::new(form.wish())))];
    // The names of members are offered for completion.
    effects.extend(super::loading::ask_topology(app));
    app.overlay = Some(Overlay::Begin(Box::new(form)));
    effects
}

/// A plan came, or why there is none.
pub(super) fn planned(app: &mut App, wish: &StartRunbook, result: Result<RunbookPlan, Trouble>) {
    if let Some(Overlay::Begin(form)) = &mut app.overlay
        && form.wish() == *wish
    {
        form.planned(result);
    }
}

/// What was asked of an execution was done.
pub(super) fn done(app: &mut App, command: &Command, receipt: Receipt) -> Vec<Effect> {
    match (command, receipt.runbook) {
        (Command::StartRunbook { wish }, Some(id)) => {
            app.begun = None;
            let closing = if app.settings.embedded { "ends" } else { "goes on" };
            app.say(format!(
                "runbook {} has begun; it {closing} if this console closes",
                wish.runbook
            ));
            navigation::go(app, Place::Wizard(id))
        }
        (Command::SayInRunbook { run, saying }, _) => {
            app.say(format!("said: {}", saying.words()));
            match saying {
                // What was chosen in the search is seen where it counts.
                Saying::Instead { .. } => navigation::go(app, Place::Wizard(run.clone())),
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

/// What was asked of an execution was refused: it is said where the eye is. Whether that is enough.
pub(super) fn refused(app: &mut App, command: &Command, trouble: &Trouble) -> Option<Vec<Effect>> {
    let hint = trouble
        .hint
        .as_ref()
        .map_or(String::new(), |hint| format!(" (hint: {hint})"));
    let words = format!("{}{hint}", trouble.message);
    match command {
        Command::StartRunbook { .. } => {
            let mut form = app.begun.take()?;
            // What is shown is planned anew, so that it is the truth when it is confirmed again.
            let question = form.again(words);
            app.overlay = Some(Overlay::Begin(form));
            Some(vec![Effect::Ask(question)])
        }
        Command::SayInRunbook { run, .. } if matches!(&app.place, Place::Wizard(id) if id == run) => {
            app.wizard.refusal = Some(words);
            Some(Vec::new())
        }
        _ => None,
    }
}

/// Takes in what happened in an execution.
pub(super) fn event(app: &mut App, run: &RunbookRunId, fact: &RunbookFact) {
    if let RunbookFact::Taken { word } = fact {
        let me = app.settings.me.as_str();
        let led = app
            .execution(run)
            .filter(|view| view.run.held_by == me && word.by != me);
        // Whoever led it has to hear that they do not any more, wherever they look.
        if let Some(name) = led.map(|view| view.run.runbook.name.clone()) {
            app.complain(format!("{} leads {name} from here on: {}", word.by, word.text));
        }
    }
    if let RunbookFact::Finished { record } = fact {
        app.executions.note(vec![(**record).clone()], app.now);
        if !matches!(&app.place, Place::Wizard(id) if id == run) {
            app.say(format!("runbook {}: {}", record.name(), record.outcome.word()));
        }
    }
}

/// The report of the execution that is shown, when it has ended.
pub(super) fn report(app: &App) -> Option<String> {
    match &app.place {
        Place::Wizard(id) => app.ended(id).map(report::report),
        _ => None,
    }
}

/// What the cursor is on, as the API gives it.
pub(super) fn json(app: &App) -> Option<String> {
    fn pretty(value: &impl serde::Serialize) -> Option<String> {
        serde_json::to_string_pretty(value).ok()
    }
    match &app.place {
        Place::Runbooks => match app.runbooks.selected()? {
            RunbookRow::Live(view) => pretty(view),
            RunbookRow::Book(line) => pretty(line),
        },
        Place::Executions => pretty(app.executions.selected()?),
        Place::Wizard(id) => match app.execution(id) {
            Some(view) => pretty(view),
            None => pretty(app.ended(id)?),
        },
        _ => None,
    }
}
