//! The way to an execution of a runbook: what has to be known, then the plan, and only from the plan the execution.
//!
//! ```text
//!  Runbook manual-failover: REAL                     step 1 of 2: what has to be known
//!  > cluster    orders
//!               Which cluster fails over?  orders  (Tab)
//!    primary    db1
//!                                         Enter shows the plan, nothing begins
//! ```
//!
//! The plan says every command with its values in place and what the checks come to now. What begins is bound to the
//! document of the plan that was shown. In earnest, the name of the runbook is typed first; a drill begins from the plan.

pub mod complete;
mod draw;

use crossterm::event::{KeyCode, KeyEvent};

use super::dialog::{Dialog, Warning};
use super::{Next, Overlay, action, closes, moved};
use crate::domain::command::Command;
use crate::domain::id::RunbookName;
use crate::domain::runbook::show;
use crate::domain::runbook::template::Values;
use crate::domain::runbook::view::RunbookPlan;
use crate::domain::runbook::{StartRunbook, Variable};
use crate::domain::{Timestamp, moment, pitr};
use crate::tui::app::App;
use crate::tui::keymap::Action;
use crate::tui::link::{Question, Trouble};
use crate::tui::message::Effect;
use crate::tui::widgets::input::Input;
use crate::tui::words;

/// Where the preparation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is being asked what has to be known.
    Opening,
    /// That is being filled in.
    Form,
    /// The plan is being asked for.
    Asked,
    /// The plan is shown.
    Plan,
    /// There is none.
    Failed,
}

/// A variable, and what is said of it.
#[derive(Debug, Clone)]
struct Field {
    variable: Variable,
    input: Input,
}

/// An execution of a runbook being prepared.
#[derive(Debug, Clone)]
pub struct Begin {
    name: RunbookName,
    drill: bool,
    stage: Stage,
    fields: Vec<Field>,
    /// When what it cures happened, in the words of a person; not asked of a drill.
    happened: Option<Input>,
    /// When that was, once it was read.
    incident_at: Option<Timestamp>,
    at: usize,
    plan: Option<Box<RunbookPlan>>,
    complaint: Option<String>,
    scroll: usize,
}

impl Begin {
    /// A form that does not know yet what to ask.
    pub fn new(name: RunbookName, drill: bool) -> Self {
        Self {
            name,
            drill,
            stage: Stage::Opening,
            fields: Vec::new(),
            happened: (!drill).then(Input::default),
            incident_at: None,
            at: 0,
            plan: None,
            complaint: None,
            scroll: 0,
        }
    }

    /// What the form asks for.
    pub fn wish(&self) -> StartRunbook {
        let said = self.fields.iter().filter_map(|field| {
            let text = field.input.text().trim();
            (!text.is_empty()).then(|| (field.variable.name.clone(), text.to_owned()))
        });
        StartRunbook {
            runbook: self.name.clone(),
            drill: self.drill,
            unattended: false,
            set: said.collect::<Values>(),
            hash: None,
            incident_at: self.incident_at,
        }
    }

    const fn mode(&self) -> &'static str {
        if self.drill { "DRILL" } else { "REAL" }
    }

    /// Takes in the plan, or why there is none.
    pub fn planned(&mut self, result: Result<RunbookPlan, Trouble>) {
        let waits = matches!(self.stage, Stage::Opening | Stage::Asked);
        match result {
            _ if !waits => {}
            Ok(plan) => {
                let opening = self.stage == Stage::Opening;
                if opening {
                    let asked = plan.variables.iter().filter(|variable| !variable.chosen);
                    let field = |variable: &Variable| Field {
                        variable: variable.clone(),
                        input: Input::with(plan.values.get(&variable.name).cloned().unwrap_or_default()),
                    };
                    self.fields = asked.map(field).collect();
                    // The first that nobody can guess is where one begins to type.
                    let missing = |field: &Field| plan.missing.contains(&field.variable.name);
                    self.at = self.fields.iter().position(missing).unwrap_or(0);
                }
                self.plan = Some(Box::new(plan));
                self.stage = if opening && self.rows() > 0 {
                    Stage::Form
                } else {
                    Stage::Plan
                };
                self.scroll = 0;
            }
            Err(trouble) => {
                let hint = trouble.hint.map_or(String::new(), |hint| format!(" (hint: {hint})"));
                self.complaint = Some(format!("{}{hint}", trouble.message));
                self.stage = if self.rows() == 0 || self.stage == Stage::Opening {
                    Stage::Failed
                } else {
                    Stage::Form
                };
            }
        }
    }

    /// The same wish once more, after it was refused: the reason stays in sight, and the plan is asked for anew.
    pub fn again(&mut self, why: String) -> Question {
        self.complaint = Some(why);
        self.stage = Stage::Asked;
        Question::PlanRunbook(Box::new(self.wish()))
    }

    /// Takes a key.
    pub fn press(&mut self, app: &mut App, event: &KeyEvent) -> Next {
        match self.stage {
            Stage::Form => self.press_form(app, event),
            Stage::Plan => self.press_plan(app, event),
            Stage::Opening | Stage::Asked | Stage::Failed => {
                let back = matches!(action(app, event), Some(Action::Back | Action::Left));
                if back || closes(event) { Next::Close } else { Next::Stay }
            }
        }
    }

    fn press_form(&mut self, app: &App, event: &KeyEvent) -> Next {
        if closes(event) {
            return Next::Close;
        }
        self.complaint = None;
        let last = self.rows().saturating_sub(1);
        match event.code {
            KeyCode::Enter => {
                if let Err(wrong) = self.read_happened(app.now) {
                    self.complaint = Some(wrong);
                    self.at = last;
                    return Next::Stay;
                }
                self.stage = Stage::Asked;
                return Next::Do(vec![Effect::Ask(Question::PlanRunbook(Box::new(self.wish())))]);
            }
            KeyCode::Down => self.at = (self.at + 1).min(last),
            KeyCode::Up | KeyCode::BackTab => self.at = self.at.saturating_sub(1),
            KeyCode::Tab => {
                let choices = self.choices(app);
                let Some(input) = self.input() else {
                    return Next::Stay;
                };
                match complete::next(&choices, input.text()) {
                    Some(text) => *input = Input::with(text),
                    // Where there is nothing to complete, Tab goes on, as in other forms.
                    None => self.at = if self.at == last { 0 } else { self.at + 1 },
                }
            }
            _ => {
                if let Some(input) = self.input() {
                    input.press(event);
                }
            }
        }
        Next::Stay
    }

    /// How many lines the form has.
    const fn rows(&self) -> usize {
        self.fields.len() + self.happened.is_some() as usize
    }

    /// What the keys go to.
    fn input(&mut self) -> Option<&mut Input> {
        if self.at < self.fields.len() {
            return self.fields.get_mut(self.at).map(|field| &mut field.input);
        }
        self.happened.as_mut()
    }

    /// Reads when it happened; nothing said is now, and what has not been cannot have happened.
    fn read_happened(&mut self, now: Timestamp) -> Result<(), String> {
        let text = self.happened.as_ref().map_or("", |input| input.text().trim());
        self.incident_at = if text.is_empty() || text == "now" {
            None
        } else {
            let at = moment::read(text, now).map_err(|wrong| format!("happened: {wrong}; {}", moment::EXPECTED))?;
            if at > now {
                return Err(format!("happened: {} has not been yet", words::full(at)));
            }
            Some(at)
        };
        Ok(())
    }

    fn choices(&self, app: &App) -> Vec<String> {
        let said = |name: &str| {
            let field = self.fields.iter().find(|field| field.variable.name == name)?;
            Some(field.input.text().trim().to_owned())
        };
        self.fields
            .get(self.at)
            .map_or_else(Vec::new, |field| complete::choices(app, &field.variable.kind, &said))
    }

    fn press_plan(&mut self, app: &mut App, event: &KeyEvent) -> Next {
        let action = action(app, event);
        if moved(action, &mut self.scroll, 400, app.page_rows()) {
            return Next::Stay;
        }
        match action {
            Some(Action::Open) => self.start(app),
            Some(Action::Back | Action::Left) if self.rows() > 0 => {
                self.stage = Stage::Form;
                self.complaint = None;
                Next::Stay
            }
            Some(Action::Back | Action::Left) => Next::Close,
            _ if closes(event) => Next::Close,
            _ => Next::Stay,
        }
    }

    fn start(&mut self, app: &mut App) -> Next {
        let Some(plan) = &self.plan else { return Next::Stay };
        if !plan.missing.is_empty() {
            app.complain(format!(
                "say {} first; Esc goes back to the form",
                plan.missing.join(", ")
            ));
            return Next::Stay;
        }
        if let Some(why) = app.why_locked() {
            app.complain(format!("not now: {why}"));
            return Next::Stay;
        }
        let mut wish = self.wish();
        wish.hash = Some(plan.hash.clone());
        let effects = vec![Effect::Ask(Question::Command(Command::StartRunbook { wish }))];
        self.complaint = None;
        app.begun = Some(Box::new(self.clone()));
        if self.drill {
            return Next::Done(effects);
        }
        let dialog = Dialog::new(self.warning(app, plan), effects, app.uptime);
        app.overlay = Some(Overlay::Dialog(Box::new(
            dialog.over(Overlay::Begin(Box::new(self.clone()))),
        )));
        Next::Close
    }

    fn warning(&self, app: &App, plan: &RunbookPlan) -> Warning {
        let said: Vec<String> = plan
            .variables
            .iter()
            .filter_map(|variable| Some(format!("{} {}", variable.name, plan.values.get(&variable.name)?)))
            .collect();
        let set = self.wish().set;
        let set = set.iter().map(|(name, value)| format!(" --set '{name}={value}'"));
        let incident = self.incident_at.map(pitr::instant);
        let incident = incident.map_or(String::new(), |at| format!(" --incident '{at}'"));
        let steps = plan.steps.iter().filter(|step| step.passed.is_none()).count() as u64;
        let obstacles = plan.obstacles().count() as u64;
        let place = app.overview.as_ref().map_or_else(String::new, |overview| {
            format!("{}, {} {}", overview.agent.host, overview.environment, overview.site)
        });
        let alone = plan
            .steps
            .iter()
            .filter(|step| step.passed.is_none() && step.needs == show::NOBODY);
        let asks = match alone.count() {
            0 => format!("{steps}, each asks before it acts"),
            alone => format!("{steps}, {alone} of them without asking; the others ask before they act"),
        };
        let mut facts = vec![("host", place), ("steps", asks)];
        if !said.is_empty() {
            facts.push(("acts on", said.join(", ")));
        }
        if let Some(at) = self.incident_at {
            facts.push(("happened", format!("{}; the clock counts from there", words::full(at))));
        }
        if obstacles > 0 {
            let words = words::plural(obstacles, "check");
            facts.push(("now", format!("{words} before its steps not met; looked at again then")));
        }
        let no_undo = plan.steps.iter().filter_map(|step| {
            let why = step.undo.strip_prefix("no undo")?;
            Some(format!("the way back after \"{}\"{why}", step.title))
        });
        Warning {
            title: format!("Run {} for real", self.name),
            facts,
            losses: no_undo.collect(),
            command: format!(
                "lifeboat runbook run {}{}{incident}",
                self.name,
                set.collect::<String>()
            ),
            undo: "abort it in its wizard; it lists what can be taken back".to_owned(),
            name: self.name.0.clone(),
        }
    }

    /// Gives pasted text to the field the keys go to.
    pub fn paste(&mut self, text: &str) {
        if let (Stage::Form, Some(input)) = (self.stage, self.input()) {
            input.insert(text);
        }
    }

    /// The keys worth naming now.
    pub fn hints(&self) -> Vec<(Action, Option<&'static str>)> {
        match self.stage {
            Stage::Form => vec![
                (Action::Open, Some("show the plan")),
                // Letters are typed here, so the key for down is not named: Tab goes on where it has nothing to offer.
                (Action::NextPane, Some("complete, next")),
                (Action::Back, Some("leave")),
            ],
            Stage::Plan => vec![
                (
                    Action::Open,
                    Some(if self.drill { "begin the drill" } else { "confirm" }),
                ),
                (Action::Down, Some("scroll")),
                (Action::Back, Some("change what is said")),
            ],
            _ => vec![(Action::Back, Some("leave"))],
        }
    }
}
