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
    if step.undo.is_final() {
        marks.push(("NOT REVERSIBLE".to_owned(), Role::Crit));
    }
    marks
}

/// Everything about a step.
pub fn lines(run: &RunbookRun, at: usize, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let (step, done) = (&run.runbook.steps[at], &run.steps[at]);
    let mut detail = Detail::new(look, width);
    trouble(&mut detail, done);
    // What stands in the way, and what is known of a doubt, is seen first, however little room there is.
    let blocked = done.state == StepState::Pending && done.obstacles().next().is_some();
    if blocked {
        checks(&mut detail, step, done);
    }
    if done.state == StepState::InDoubt {
        evidence(&mut detail, run, step, done);
    }
    does(&mut detail, run, step, done);
    match &step.undo {
        Undo::NotNeeded => {}
        undo if undo.is_final() => {
            detail.pair_as("Undo", format!("NOT REVERSIBLE: {}", undo.instead()), Role::Crit);
        }
        Undo::None(_) => detail.pair("Undo", step.undo.words()),
        Undo::Action(action) => detail.pair("Undo", resolved(run, action)),
    }
    if !blocked {
        checks(&mut detail, step, done);
    }
    if done.state != StepState::InDoubt {
        evidence(&mut detail, run, step, done);
    }
    if !step.why.is_empty() {
        let why = step.why.sentence(&run.values);
        detail.pair("Why", why.trim().replace('\n', " "));
    }
    together(&mut detail, run, at);
    needs(&mut detail, run, step, done);
    people(&mut detail, done);
    for (name, value) in &done.outputs {
        detail.pair(name, value);
    }
    detail.pair_if("Note", done.note.as_ref());
    detail.lines
}

/// What is good to know of the whole execution, whichever step is looked at.
pub fn about(run: &RunbookRun, at: usize, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let mut detail = Detail::new(look, width);
    let lists = [
        ("Have ready", &run.runbook.before, at == 0),
        ("Keep in mind", &run.runbook.during, true),
    ];
    for (label, list, wanted) in lists {
        let mut label = label;
        for line in list.iter().filter(|_| wanted) {
            detail.pair_as(std::mem::take(&mut label), line, Role::Warn);
        }
    }
    let begun = run.started_at.format("%H:%M");
    let (id, by) = (&run.id, &run.started_by);
    detail.pair_as(
        "This run",
        format!("{id}, begun {begun} by {by}, led by {}", run.held_by),
        Role::Dim,
    );
    let step = &run.runbook.steps[at].id;
    let version = run.runbook.short_hash();
    detail.pair_as(
        "This step",
        format!("{step} of {}, version {version}", run.runbook.name),
        Role::Dim,
    );
    detail.lines
}

fn trouble(detail: &mut Detail<'_>, done: &StepRun) {
    if done.state == StepState::InDoubt {
        let words = "UNKNOWN: the agent died while this was under way. Nothing is repeated before somebody has looked.";
        detail.prose(words, Role::Crit);
    }
    if let Some(error) = &done.error {
        detail.pair_as("Error", &error.message, Role::Crit);
        detail.pair_if("Hint", error.hint.as_ref());
    }
}

fn does(detail: &mut Detail<'_>, run: &RunbookRun, step: &Step, done: &StepRun) {
    let question = |question: &Template| question.sentence(&run.values);
    let (label, text) = match (&step.action, &done.did) {
        (Action::Approve(act), _) => ("Question", question(&act.question)),
        (Action::Choose(act), _) => ("Question", question(&act.question)),
        (Action::Manual(_) | Action::Wait(_) | Action::Check(_), _) => ("Do", resolved(run, &step.action)),
        (_, Some(did)) => {
            let label = match done.state {
                StepState::Acting => "Runs",
                StepState::InDoubt => "Had begun",
                _ => "Ran",
            };
            (label, did.clone())
        }
        (action, None) => ("Will run", resolved(run, action)),
    };
    detail.pair_as(label, text, Role::Accent);
}

/// With which steps it is done at the same time.
fn together(detail: &mut Detail<'_>, run: &RunbookRun, at: usize) {
    let steps = &run.runbook.steps;
    let Some(group) = &steps[at].parallel else { return };
    let others = (0..steps.len()).filter(|other| *other != at && steps[*other].parallel.as_ref() == Some(group));
    let others: Vec<String> = others.map(|other| format!("step {}", other + 1)).collect();
    if !others.is_empty() {
        detail.pair(
            "Together with",
            format!("{}: neither waits for the other", others.join(", ")),
        );
    }
}

fn needs(detail: &mut Detail<'_>, run: &RunbookRun, step: &Step, done: &StepRun) {
    // Once it is over, or has failed, what is asked stands at the bottom.
    if !matches!(done.state, StepState::Pending | StepState::Acting) {
        return;
    }
    detail.pair_as("Needs", show::needs_with(step, &run.values), Role::Dim);
    if !step.action.needs_a_person() {
        detail.pair_as("If it fails", show::on_failure(step), Role::Dim);
        detail.pair_as("If agent dies", show::in_doubt(step), Role::Dim);
    }
    if done.attempt > 1 {
        detail.pair_as("Attempt", done.attempt.to_string(), Role::Dim);
    }
}

fn resolved(run: &RunbookRun, action: &Action) -> String {
    let action = action.resolved(&run.values);
    action.map_or_else(|name| format!("(waits for a value of {name})"), |action| action.words())
}

fn checks(detail: &mut Detail<'_>, step: &Step, done: &StepRun) {
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
}

/// What was found after it was done, or what will be asked then.
fn evidence(detail: &mut Detail<'_>, run: &RunbookRun, step: &Step, done: &StepRun) {
    let mut label = if done.state == StepState::InDoubt {
        "Found"
    } else {
        "Evidence"
    };
    for result in &done.evidence {
        let (sign, role) = check_sign(result.outcome);
        let text = format!("{sign} {}: {}", result.title, result.detail);
        detail.pair_as(std::mem::take(&mut label), text, role);
    }
    if !done.evidence.is_empty() || done.state.is_settled() {
        return;
    }
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
        let word = run
            .words
            .iter()
            .rev()
            .find(|(what, word)| what == "taken over" && word.by == run.held_by);
        let since = word.map_or(String::new(), |(_, word)| {
            format!(" since {} ({})", word.at.format("%H:%M"), word.text)
        });
        let held = format!("held by {}{since}; {} takes it over", run.held_by, key(Lead::Take));
        return if approval {
            (
                format!("Your word is wanted: {} agrees. This is {held}", key(Lead::Approve)),
                Role::Accent,
            )
        } else {
            (capital(&held), Role::Warn)
        };
    }
    if let Some(why) = wizard::refused(app, run, at, Lead::Go) {
        let role = match run.steps[at].state {
            StepState::Failed | StepState::InDoubt | StepState::UndoFailed => Role::Crit,
            _ if needs.is_empty() => Role::Dim,
            _ => Role::Warn,
        };
        let other = needs.contains(&Need::Approval { other: true });
        let way = if other {
            format!(", or by: lifeboat runbook approve {}", run.id)
        } else {
            String::new()
        };
        return (format!("{}{way}", capital(&why)), role);
    }
    let go = key(Lead::Go);
    let words = match needs.first() {
        Some(Need::Done) => format!("Do it, then press {go}: done"),
        Some(Need::Value { variable }) => format!("Press {go} to say {variable}"),
        Some(Need::Go { typed: Some(typed) }) => format!("Press {go}, then type  {typed}  to run it"),
        _ => format!("Press {go} to run it"),
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
            let role = match elapsed {
                _ if elapsed > objective => Role::Crit,
                // The last quarter.
                _ if elapsed.0 > objective.0 / 4 * 3 => Role::Warn,
                _ => Role::Text,
            };
            let over = if elapsed > objective { " OVER" } else { "" };
            (format!("{} of {}{over}", clock(elapsed), clock(objective)), role)
        }
        None => (clock(elapsed), Role::Text),
    }
}
