//! Everything about one step: what it does, how it is taken back, what its checks came to, and what it waits for.

use ratatui::text::Line;

use super::steps::{check_sign, title};
use crate::domain::Millis;
use crate::domain::runbook::action::Action;
use crate::domain::runbook::check::{Check, CheckResult};
use crate::domain::runbook::next::Need;
use crate::domain::runbook::template::Template;
use crate::domain::runbook::{RunbookRun, Step, StepRun, StepState, Undo, show};
use crate::tui::app::App;
use crate::tui::canvas::Look;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::Detail;
use crate::tui::wizard::{self, Lead};
use crate::tui::words;

/// What stands at the right of a step's heading: its time, and whether there is a way back.
pub fn marks(run: &RunbookRun, at: usize, look: Look<'_>) -> Vec<(String, Role)> {
    let (step, done) = (&run.runbook.steps[at], &run.steps[at]);
    let mut marks = Vec::new();
    if done.state == StepState::InDoubt {
        marks.push(("UNKNOWN".to_owned(), Role::Crit));
    }
    if done.state.is_live()
        && let Some(took) = done.took(look.now)
    {
        let over = took > step.timeout;
        let text = format!("step {} of {}", words::clock(took), words::clock(step.timeout));
        marks.push((text, if over { Role::Crit } else { Role::Live }));
    } else if let Some(took) = done.started_at.and(done.took(look.now)) {
        marks.push((format!("took {took}"), Role::Dim));
    } else {
        marks.push((format!("at most {}", words::clock(step.timeout)), Role::Dim));
    }
    if matches!(step.undo, Undo::None(_)) {
        marks.push(("NOT REVERSIBLE".to_owned(), Role::Crit));
    }
    marks
}

/// Everything about a step.
pub fn lines(run: &RunbookRun, at: usize, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let (step, done) = (&run.runbook.steps[at], &run.steps[at]);
    let mut detail = Detail::new(look, width);
    trouble(&mut detail, done);
    // What stands in the way is seen first, however little room there is.
    let blocked = done.state == StepState::Pending && done.obstacles().next().is_some();
    if blocked {
        checks(&mut detail, run, step, done);
    }
    does(&mut detail, run, step, done);
    match &step.undo {
        Undo::NotNeeded => detail.pair("Undo", "nothing to undo"),
        Undo::None(instead) => detail.pair_as("Undo", format!("NOT REVERSIBLE: {instead}"), Role::Crit),
        Undo::Action(action) => detail.pair("Undo", resolved(run, action)),
    }
    if !blocked {
        checks(&mut detail, run, step, done);
    }
    if !step.why.is_empty() {
        let why = step.why.resolve(&run.values).unwrap_or_else(|_| step.why.text());
        detail.pair("Why", why.trim().replace('\n', " "));
    }
    needs(&mut detail, run, step, done);
    people(&mut detail, done);
    for (name, value) in &done.outputs {
        detail.pair(name, value);
    }
    detail.pair_if("Note", done.note.as_ref());
    detail.lines
}

fn trouble(detail: &mut Detail<'_>, done: &StepRun) {
    if done.state == StepState::InDoubt {
        let words = "UNKNOWN: the agent died while this was done. It is not repeated; what can be asked was asked.";
        detail.prose(words, Role::Crit);
    }
    if let Some(error) = &done.error {
        detail.pair_as("Error", &error.message, Role::Crit);
        detail.pair_if("Hint", error.hint.as_ref());
    }
}

fn does(detail: &mut Detail<'_>, run: &RunbookRun, step: &Step, done: &StepRun) {
    let by_hand = matches!(
        step.action,
        Action::Manual(_) | Action::Choose(_) | Action::Approve(_) | Action::Wait(_) | Action::Check(_)
    );
    match &done.did {
        Some(did) if !by_hand => detail.pair_as("Ran", did, Role::Accent),
        _ if by_hand => detail.pair_as("Do", resolved(run, &step.action), Role::Accent),
        _ => detail.pair_as("Will run", resolved(run, &step.action), Role::Accent),
    }
}

fn needs(detail: &mut Detail<'_>, run: &RunbookRun, step: &Step, done: &StepRun) {
    let attempt = if done.attempt > 1 {
        format!("; attempt {}", done.attempt)
    } else {
        String::new()
    };
    let mut asked = step.clone();
    let typed = asked.needs.typed.iter_mut();
    typed.for_each(|typed| {
        if let Ok(text) = typed.resolve(&run.values) {
            *typed = Template::plain(text);
        }
    });
    let needs = show::needs(&asked);
    let tail = format!("on failure {}, in doubt {}", step.on_failure.word(), step.class.word());
    detail.pair_as("Needs", format!("{needs}; {tail}{attempt}"), Role::Dim);
}

fn resolved(run: &RunbookRun, action: &Action) -> String {
    let action = action.resolved(&run.values);
    action.map_or_else(|name| format!("(waits for a value of {name})"), |action| action.words())
}

fn checks(detail: &mut Detail<'_>, run: &RunbookRun, step: &Step, done: &StepRun) {
    let aside = done.overridden.as_ref().map_or(&[][..], |aside| &aside.checks);
    let mut label = "Checks";
    let mut line = |detail: &mut Detail<'_>, result: &CheckResult| {
        let (sign, role) = check_sign(result.outcome);
        let set = if !result.holds() && aside.contains(&result.title) {
            " (set aside)"
        } else {
            ""
        };
        let text = format!("{sign} {}: {}{set}", result.title, result.detail);
        detail.pair_as(std::mem::take(&mut label), text, role);
    };
    match &done.checked {
        Some(checked) => checked.results.iter().for_each(|result| line(detail, result)),
        None if !step.precheck.is_empty() && done.state == StepState::Pending => {
            let words: Vec<String> = step.precheck.iter().map(Check::words).collect();
            detail.pair_as("Checks", format!("[  ] {}", words.join("; ")), Role::Dim);
        }
        None => {}
    }
    let mut label = "Evidence";
    for result in &done.evidence {
        let (sign, role) = check_sign(result.outcome);
        let text = format!("{sign} {}: {}", result.title, result.detail);
        detail.pair_as(std::mem::take(&mut label), text, role);
    }
    if done.evidence.is_empty() && !done.state.is_settled() {
        label = "Proved by";
        for check in &step.verify {
            let (text, known) = match check.resolved(&run.values) {
                Ok(check) => (check.words(), true),
                Err(_) => (check.words(), false),
            };
            let role = if known { Role::Text } else { Role::Dim };
            detail.pair_as(std::mem::take(&mut label), text, role);
        }
    }
}

fn people(detail: &mut Detail<'_>, done: &StepRun) {
    let at = |at: crate::domain::Timestamp| at.format("%H:%M:%S").to_string();
    if let Some(word) = &done.released {
        detail.pair("Go", format!("{} at {}", word.by, at(word.at)));
    }
    for word in &done.approvals {
        detail.pair("Agreed", format!("{} at {}", word.by, at(word.at)));
    }
    if let Some(aside) = &done.overridden {
        detail.pair_as(
            "Override",
            format!("{}: {}", aside.word.by, aside.word.text),
            Role::Warn,
        );
    }
}

/// What is asked of whom now, in a sentence.
pub fn asks(app: &App, run: &RunbookRun, at: usize) -> (String, Role) {
    let key = |lead: Lead| app.settings.keymap.key(lead.action()).unwrap_or_default();
    let me = &app.settings.me;
    let needs = wizard::needs(run, at);
    let approval = needs.iter().any(|need| matches!(need, Need::Approval { .. }));
    if let Some(ending) = &run.ending {
        if !needs.contains(&Need::UndoFailed) {
            let undo = if ending.undo { ", taking back what was done" } else { "" };
            let words = format!("Ending{undo}: {} by {}", ending.word.text, ending.word.by);
            return (words, Role::Warn);
        }
    } else if let Some(word) = &run.paused {
        let words = format!("PAUSED by {}: {}; {} goes on", word.by, word.text, key(Lead::Pause));
        return (words, Role::Warn);
    }
    if run.held_by != *me {
        let also = if approval {
            format!("; {} agrees to this step", key(Lead::Approve))
        } else {
            String::new()
        };
        let words = format!("held by {}{also}; {} takes it over", run.held_by, key(Lead::Take));
        return (words, Role::Warn);
    }
    if let Some(why) = wizard::refused(app, run, at, Lead::Go) {
        let role = match run.steps[at].state {
            StepState::Failed | StepState::InDoubt | StepState::UndoFailed => Role::Crit,
            _ if needs.is_empty() => Role::Dim,
            _ => Role::Warn,
        };
        return (capital(&why), role);
    }
    let go = key(Lead::Go);
    let words = match needs.first() {
        Some(Need::Done) => format!("Do it, then {go}: done"),
        Some(Need::Value { variable }) => format!("{go}: say {variable}"),
        Some(Need::Go { typed: Some(typed) }) => format!("{go}, then type  {typed}  to run it"),
        _ => format!("{go} runs it"),
    };
    (words, Role::Accent)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect::<String>()
    })
}

/// The heading of a step's panel.
pub fn heading(run: &RunbookRun, at: usize) -> String {
    format!("Step {}: {}", at + 1, title(run, &run.runbook.steps[at]))
}

/// The whole time against what it may take.
pub fn total(run: &RunbookRun, elapsed: Millis) -> (String, Role) {
    // Minutes as long as they are few: what is looked at is how much of them is left.
    let clock = |span: Millis| match span.0 / 1000 {
        seconds @ 0..6000 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        _ => words::clock(span),
    };
    match run.objective {
        Some(objective) => {
            let role = if elapsed > objective { Role::Crit } else { Role::Text };
            let over = if elapsed > objective { " OVER" } else { "" };
            (format!("{}/{}{over}", clock(elapsed), clock(objective)), role)
        }
        None => (clock(elapsed), Role::Text),
    }
}
