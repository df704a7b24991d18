//! Leading a runbook by lines: what is asked is printed with numbered answers, and a line of input is one of them, or a text.
//!
//! Nothing is decided here that the wizard does not decide: an answer is the action its key would be, a text goes into the same
//! prompt, and what is refused is refused with the same words. So a screen reader and a screen can lead one execution in turns.
//!
//! A line is a word somebody finished, so no keys are ignored for half a second; in its place, a text that was asked for is
//! dropped when the question has changed since.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::domain::Millis;
use crate::domain::id::RunbookRunId;
use crate::domain::runbook::decide::undo_list;
use crate::domain::runbook::view::ExecutionView;
use crate::domain::runbook::{RunbookRun, Saying, next};
use crate::tui::app::App;
use crate::tui::keymap::Key;
use crate::tui::message::Effect;
use crate::tui::place::Place;
use crate::tui::screens::runbooks::{panel, steps};
use crate::tui::wizard::{self, Lead, Wizard};

/// How wide what is printed of a step is.
const WIDTH: usize = 100;

/// What the next line of input is taken for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Asking {
    /// The number of an execution, or of an answer.
    #[default]
    Choice,
    /// A text for the prompt that is open.
    Text,
    /// Whether what was done is taken back: y or n.
    Undo,
    /// Why it is ended.
    Reason { undo: bool },
    /// The name of the runbook, before it is ended.
    Name { undo: bool, reason: String },
}

/// A conversation by lines.
#[derive(Debug, Default)]
pub struct Talk {
    leading: Option<RunbookRunId>,
    asking: Asking,
    /// What was last printed of each execution, to print only what is new.
    printed: Vec<(RunbookRunId, String)>,
    /// The last notice that was printed.
    noticed: Option<String>,
}

impl Talk {
    /// What is new in the picture.
    pub fn picture(&mut self, app: &App) -> Vec<String> {
        let mut lines = Vec::new();
        let live: Vec<&ExecutionView> = app.overview.iter().flat_map(|overview| &overview.executions).collect();
        let mut news = false;
        for (number, view) in (1..).zip(&live) {
            let run = &view.run;
            let now = fingerprint(run);
            let known = self.printed.iter_mut().find(|(id, _)| *id == run.id);
            if known.as_ref().is_some_and(|(_, before)| *before == now) {
                continue;
            }
            match known {
                Some(entry) => entry.1 = now,
                None => self.printed.push((run.id.clone(), now)),
            }
            lines.push(format!("runbook {number}: {}", summary(run)));
            if self.leading.as_ref() == Some(&run.id) {
                lines.extend(question(app, run));
            } else {
                news = true;
            }
        }
        self.printed
            .retain(|(id, _)| live.iter().any(|view| view.run.id == *id));
        if news && self.leading.is_none() {
            lines.push("Type the number of a runbook to lead it, or to see what it waits for.".to_owned());
        }
        if let Some(id) = self.leading.clone()
            && app.overview.is_some()
            && app.execution(&id).is_none()
        {
            lines.push(format!("{id} has ended; its report: lifeboat runbook report {id}"));
            self.leave();
        }
        lines
    }

    /// What the agent, or this console, has said since.
    pub fn heard(&mut self, app: &mut App) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(refusal) = app.wizard.refusal.take() {
            lines.push(format!("Refused: {refusal}"));
            if app.wizard.prompt.is_none() && self.asking == Asking::Text {
                self.asking = Asking::Choice;
            }
        }
        let notice = app.current_notice().map(|notice| notice.text.clone());
        if notice != self.noticed {
            lines.extend(notice.clone());
            self.noticed = notice;
        }
        lines
    }

    /// Takes a line of input.
    pub fn line(&mut self, app: &mut App, text: &str) -> (Vec<String>, Vec<Effect>) {
        let text = text.trim();
        let Some(run) = self.led(app) else {
            return (self.choose(app, text), Vec::new());
        };
        match self.asking.clone() {
            Asking::Choice => self.answer(app, &run, text),
            Asking::Text => self.text(app, &run, text),
            asking => self.ending(app, &run, asking, text),
        }
    }

    fn led(&self, app: &App) -> Option<RunbookRun> {
        app.execution(self.leading.as_ref()?).map(|view| view.run.clone())
    }

    fn leave(&mut self) {
        self.leading = None;
        self.asking = Asking::Choice;
    }

    /// Which execution is led.
    fn choose(&mut self, app: &mut App, text: &str) -> Vec<String> {
        let live: Vec<RunbookRun> = app
            .overview
            .iter()
            .flat_map(|overview| &overview.executions)
            .map(|view| view.run.clone())
            .collect();
        let number = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        if let Some(run) = number.and_then(|number| live.get(number)) {
            self.leading = Some(run.id.clone());
            app.place = Place::Wizard(run.id.clone());
            app.wizard = Wizard::default();
            wizard::settle(app);
            return question(app, run);
        }
        if live.is_empty() {
            return vec!["No runbook is under way; begin one with: lifeboat runbook run NAME".to_owned()];
        }
        let lines = (1..)
            .zip(&live)
            .map(|(number, run)| format!("{number} {}", summary(run)));
        let mut lines: Vec<String> = lines.collect();
        lines.push("Type the number of a runbook.".to_owned());
        lines
    }

    fn answer(&mut self, app: &mut App, run: &RunbookRun, text: &str) -> (Vec<String>, Vec<Effect>) {
        let at = wizard::turn(run);
        match text {
            "" => return (Vec::new(), Vec::new()),
            "q" => {
                self.leave();
                return (vec![format!("You left {}; it goes on.", run.id)], Vec::new());
            }
            "0" => return (answers(app, run, at, true), Vec::new()),
            "?" => return (question(app, run), Vec::new()),
            _ => {}
        }
        let key = |lead: &Lead| app.settings.keymap.key(lead.action()).is_some_and(|key| key == text);
        let number = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let lead = number
            .and_then(|number| offered().nth(number))
            .or_else(|| offered().find(key));
        let Some(lead) = lead else {
            return (vec![format!("{text} is no answer here; ? asks again")], Vec::new());
        };
        let effects = wizard::perform(app, lead.action());
        if app.overlay.take().is_some() {
            return (self.begin_ending(run), Vec::new());
        }
        let mut lines = Vec::new();
        if let Some(prompt) = &app.wizard.prompt {
            self.asking = Asking::Text;
            lines.push(format!(
                "{} (an empty line says nothing)",
                prompt.asks.label().trim_end()
            ));
        }
        (lines, effects)
    }

    fn text(&mut self, app: &mut App, run: &RunbookRun, text: &str) -> (Vec<String>, Vec<Effect>) {
        let Some(prompt) = &mut app.wizard.prompt else {
            self.asking = Asking::Choice;
            return (question(app, run), Vec::new());
        };
        let changed = app.wizard.since > prompt.opened;
        if text.is_empty() || changed {
            app.wizard.prompt = None;
            self.asking = Asking::Choice;
            let why = if changed {
                "What is asked has changed; nothing was said."
            } else {
                "Nothing was said."
            };
            let mut lines = vec![why.to_owned()];
            lines.extend(question(app, run));
            return (lines, Vec::new());
        }
        prompt.input = crate::tui::widgets::input::Input::with(text.to_owned());
        prompt.opened = Millis(0);
        app.wizard.since = Millis(0);
        let now = app.uptime;
        let enter = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        let effects = Key::of(&enter)
            .and_then(|key| wizard::press(app, &enter, key))
            .unwrap_or_default();
        let mut lines = Vec::new();
        match &mut app.wizard.prompt {
            Some(prompt) => {
                prompt.opened = now;
                lines.extend(prompt.complaint.clone());
            }
            None => self.asking = Asking::Choice,
        }
        (lines, effects)
    }

    fn begin_ending(&mut self, run: &RunbookRun) -> Vec<String> {
        self.asking = Asking::Undo;
        let done = undo_list(run);
        let mut lines = vec![format!("Abort {}.", run.runbook.name)];
        if done.is_empty() {
            lines.push("Nothing has been done yet; there is nothing to take back.".to_owned());
        } else {
            lines.push("Done so far, the last first:".to_owned());
            lines.extend(done.into_iter().map(|(title, how)| format!("  {title}: {how}")));
        }
        lines.push("Take back what can be, in reverse? y or n (an empty line ends nothing)".to_owned());
        lines
    }

    fn ending(&mut self, app: &mut App, run: &RunbookRun, asking: Asking, text: &str) -> (Vec<String>, Vec<Effect>) {
        let name = &run.runbook.name;
        let (line, next) = match (asking, text) {
            (_, "") => ("Nothing was ended.".to_owned(), Asking::Choice),
            (Asking::Undo, "y" | "n") => (
                "Why? It goes into the report:".to_owned(),
                Asking::Reason { undo: text == "y" },
            ),
            (Asking::Reason { undo }, _) => {
                let reason = text.to_owned();
                (format!("Type {name} to end it:"), Asking::Name { undo, reason })
            }
            (Asking::Name { undo, reason }, typed) if typed == name.as_str() => {
                self.asking = Asking::Choice;
                if let Some(why) = app.why_locked() {
                    return (vec![format!("Refused: not now: {why}")], Vec::new());
                }
                let saying = Saying::Abort { reason, undo };
                return (Vec::new(), vec![wizard::say(app, run.id.clone(), saying)]);
            }
            (asking @ Asking::Undo, _) => ("y or n".to_owned(), asking),
            (asking, _) => (format!("type {name} to end it, or an empty line"), asking),
        };
        self.asking = next;
        (vec![line], Vec::new())
    }
}

/// Everything about the step whose turn it is, and the answers there are.
fn question(app: &App, run: &RunbookRun) -> Vec<String> {
    let at = wizard::turn(run);
    let mut lines = vec![format!(
        "step {} of {}, {}: {}",
        at + 1,
        run.steps.len(),
        run.steps[at].state.word(),
        steps::title(run, &run.runbook.steps[at])
    )];
    let look = app.look();
    for line in panel::lines(run, at, look, WIDTH) {
        let words: Vec<String> = line
            .spans
            .iter()
            .map(|span| span.content.trim_end().to_owned())
            .collect();
        lines.push(format!("  {}", words.join(" ").trim_end()));
    }
    lines.push(panel::asks(app, run, at).0);
    lines.extend(answers(app, run, at, false));
    lines.push("Type a number; 0 shows all, with why not; q leaves it, and it goes on.".to_owned());
    lines
}

/// The answers there are by lines: the search for a clean snapshot is a command of its own.
fn offered() -> impl Iterator<Item = Lead> {
    Lead::ALL.into_iter().filter(|lead| *lead != Lead::Find)
}

/// The answers with their numbers, which never change; those that would be refused only when `all` are asked for.
fn answers(app: &App, run: &RunbookRun, at: usize, all: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, lead) in (1..).zip(offered()) {
        let refused = wizard::refused(app, run, at, lead);
        let key = app.settings.keymap.key(lead.action()).unwrap_or_default();
        let words = lead.words(run, at);
        match refused {
            None => lines.push(format!("{number} or {key}: {words}")),
            Some(why) if all => lines.push(format!("{number} or {key}: {words}; not now: {why}")),
            Some(_) => {}
        }
    }
    lines
}

/// An execution in a line.
fn summary(run: &RunbookRun) -> String {
    let at = wizard::turn(run);
    let state = match (&run.ending, &run.paused) {
        (Some(_), _) => "ending",
        (None, Some(_)) => "paused",
        (None, None) if next::waits(run).is_empty() => "goes on",
        (None, None) => "waits for somebody",
    };
    format!(
        "{} of {}, {}, led by {}, step {} of {}: {}; {state}",
        run.mode(),
        run.runbook.name,
        run.id,
        run.held_by,
        at + 1,
        run.steps.len(),
        steps::title(run, &run.runbook.steps[at])
    )
}

/// What a person would want to hear of when it changes.
fn fingerprint(run: &RunbookRun) -> String {
    let outcomes = run.steps.iter().map(|step| {
        let checks = step.checked.iter().flat_map(|checked| &checked.results);
        let checks: Vec<_> = checks.map(|result| (&result.title, result.outcome)).collect();
        (
            step.state,
            step.attempt,
            checks,
            step.approvals.len(),
            step.overridden.is_some(),
        )
    });
    format!(
        "{:?} {:?} {} {} {}",
        outcomes.collect::<Vec<_>>(),
        next::waits(run),
        run.held_by,
        run.paused.is_some(),
        run.ending.is_some()
    )
}
