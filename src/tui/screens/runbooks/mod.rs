//! Runbooks: whether each could be begun now, when it was last practised and last used, and what is under way.
//!
//! ```text
//!   RUNBOOK           READY     STEPS  LAST DRILL       LAST USE
//! ▌ failover-orders   WAITS       4/6  REAL 11:20       led by ana
//!   manual-failover   asks 3        9  3d completed     never
//!   regional-failure  NO           14  41d failed       never
//! ```

pub mod history;
pub mod panel;
pub mod plan;
pub mod steps;
pub mod wizard;

use std::cmp::Ordering;

use ratatui::layout::Rect;
use ratatui::text::Line;

use super::jobs::ago;
use super::overview::Entry;
use crate::domain::runbook::next::{self, Need};
use crate::domain::runbook::show;
use crate::domain::runbook::view::{ExecutionView, Ready, RunbookLine};
use crate::domain::runbook::{LastRun, Runbook, RunbookOutcome, Undo};
use crate::domain::view::Overview;
use crate::domain::{Millis, Timestamp};
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, Look};
use crate::tui::filter::Field;
use crate::tui::keymap::Action;
use crate::tui::subject::Subject;
use crate::tui::table::Item;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::Detail;
use crate::tui::widgets::list::{self, Column};
use crate::tui::words;

/// A row: an execution that is under way, or a runbook.
#[derive(Debug, Clone)]
pub enum RunbookRow {
    /// An execution.
    Live(Box<ExecutionView>),
    /// A runbook.
    Book(Box<RunbookLine>),
}

impl RunbookRow {
    /// The rows of a picture.
    pub fn of(overview: &Overview) -> Vec<Self> {
        let live = overview.executions.iter().cloned();
        let books = overview.runbooks.iter().cloned();
        live.map(|view| Self::Live(Box::new(view)))
            .chain(books.map(|line| Self::Book(Box::new(line))))
            .collect()
    }

    /// The thing it is.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Live(view) => Subject::Execution(view.run.id.clone()),
            Self::Book(line) => Subject::Runbook(line.name.clone()),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Live(view) => view.run.runbook.name.as_str(),
            Self::Book(line) => line.name.as_str(),
        }
    }

    fn last(&self, drill: bool) -> Option<&LastRun> {
        match self {
            Self::Live(_) => None,
            Self::Book(line) if drill => line.last_drill.as_ref(),
            Self::Book(line) => line.last_real.as_ref(),
        }
    }
}

impl Item for RunbookRow {
    const SORTS: &'static [&'static str] = &["runbook", "ready", "last drill", "last use"];
    const FIELDS: &'static [&'static str] = &["name", "ready", "drill", "used"];
    const NEWEST_FIRST: bool = false;

    fn key(&self) -> String {
        match self {
            Self::Live(view) => format!("run:{}", view.run.id),
            Self::Book(line) => format!("book:{}", line.name),
        }
    }
    fn text(&self) -> String {
        match self {
            Self::Live(view) => format!(
                "{} {} {} {}",
                self.name(),
                view.run.id,
                view.run.held_by,
                live_state(view).0
            ),
            Self::Book(line) => format!("{} {} {}", line.name, line.title, ready(line).0),
        }
    }
    fn field(&self, name: &str, now: Timestamp) -> Option<Field> {
        let age = |drill| Some(Field::Time(Millis::between(self.last(drill)?.at, now)));
        match name {
            "name" => Some(Field::Text(self.name().to_owned())),
            "ready" => Some(Field::Text(match self {
                Self::Live(view) => live_state(view).0,
                Self::Book(line) => ready(line).0,
            })),
            "drill" => age(true),
            "used" => age(false),
            _ => None,
        }
    }
    fn order(&self, other: &Self, sort: usize) -> Ordering {
        let is_book = |row: &Self| matches!(row, Self::Book(_));
        let rank = |row: &Self| match row {
            Self::Live(_) => 0,
            Self::Book(line) => match line.readiness.as_ref().map(|seen| &seen.state) {
                Some(Ready::No { .. }) => 1,
                Some(Ready::Yes { .. }) => 2,
                None => 3,
                Some(Ready::NotHere { .. }) => 4,
            },
        };
        let at = |row: &Self, drill| row.last(drill).map(|last| last.at);
        let by_name = || self.name().cmp(other.name());
        // What is under way comes first, whatever the order.
        is_book(self).cmp(&is_book(other)).then_with(|| match sort {
            1 => rank(self).cmp(&rank(other)).then_with(by_name),
            2 => at(self, true).cmp(&at(other, true)).then_with(by_name),
            3 => at(other, false).cmp(&at(self, false)).then_with(by_name),
            _ => by_name(),
        })
    }
}

/// Whether a runbook could be begun now.
fn ready(line: &RunbookLine) -> (String, Role) {
    match line.readiness.as_ref().map(|seen| &seen.state) {
        None => ("-".to_owned(), Role::Dim),
        Some(Ready::Yes { asks }) if asks.is_empty() => ("yes".to_owned(), Role::Ok),
        Some(Ready::Yes { asks }) => (format!("asks {}", asks.len()), Role::Ok),
        Some(Ready::No { .. }) => ("NO".to_owned(), Role::Crit),
        Some(Ready::NotHere { .. }) => ("not here".to_owned(), Role::Dim),
    }
}

/// How an execution stands, in a word.
fn live_state(view: &ExecutionView) -> (String, Role) {
    let run = &view.run;
    let waits = next::waits(run);
    let has = |wanted: fn(&Need) -> bool| waits.iter().flat_map(|(_, needs)| needs).any(wanted);
    let (word, role) = if has(|need| matches!(need, Need::Doubt)) {
        ("UNKNOWN", Role::Crit)
    } else if has(|need| matches!(need, Need::Failure | Need::UndoFailed)) {
        ("FAILED", Role::Crit)
    } else if run.ending.is_some() {
        ("ENDING", Role::Warn)
    } else if run.paused.is_some() {
        ("PAUSED", Role::Warn)
    } else if waits.is_empty() {
        ("RUNS", Role::Live)
    } else {
        ("WAITS", Role::Warn)
    };
    (word.to_owned(), role)
}

/// How far an execution is: `4/6`.
fn progress(view: &ExecutionView) -> String {
    let at = crate::tui::wizard::turn(&view.run);
    format!("{}/{}", at + 1, view.run.steps.len())
}

fn last_words(now: Timestamp, last: Option<&LastRun>) -> (String, Role) {
    match last {
        None => ("never".to_owned(), Role::Dim),
        Some(last) => {
            let (word, role) = outcome(last.outcome);
            (format!("{} {word}", words::age(now, last.at)), role)
        }
    }
}

/// An outcome in a short word.
fn outcome(outcome: RunbookOutcome) -> (&'static str, Role) {
    match outcome {
        RunbookOutcome::Completed => ("completed", Role::Ok),
        RunbookOutcome::Deviated => ("deviated", Role::Warn),
        RunbookOutcome::Aborted => ("aborted", Role::Warn),
        RunbookOutcome::Failed => ("FAILED", Role::Crit),
        RunbookOutcome::Undone => ("undone", Role::Warn),
    }
}

const COLUMNS: [Column; 5] = [
    Column::flexible("RUNBOOK", 14),
    Column::fixed("READY", 8),
    Column::fixed("STEPS", 5).ending(),
    Column::fixed("LAST DRILL", 13),
    Column::fixed("LAST USE", 13),
];

/// Draws the list.
pub fn list(canvas: &mut Canvas<'_>, area: Rect, app: &App, focused: bool) {
    let look = canvas.look;
    list::draw(canvas, area, &app.runbooks, focused, &COLUMNS, |row| match row {
        RunbookRow::Live(view) => {
            let run = &view.run;
            let (state, role) = live_state(view);
            let mode = format!("{} {}", run.mode(), words::clock(run.elapsed(look.now)));
            vec![
                look.line(run.runbook.name.0.clone(), Role::Heading),
                look.line(state, role),
                look.line(progress(view), Role::Text),
                look.line(mode, if run.drill { Role::Text } else { Role::Crit }),
                look.line(format!("led by {}", run.held_by), Role::Text),
            ]
        }
        RunbookRow::Book(line) => {
            let (ready, role) = ready(line);
            let (drill, drill_role) = last_words(look.now, line.last_drill.as_ref());
            let (used, used_role) = last_words(look.now, line.last_real.as_ref());
            vec![
                look.line(line.name.0.clone(), Role::Text),
                look.line(ready, role),
                look.line(line.steps.to_string(), Role::Text),
                look.line(drill, drill_role),
                look.line(used, used_role),
            ]
        }
    });
}

/// A line of the Overview: an execution that is under way.
pub fn entry(view: &ExecutionView, look: Look<'_>, width: usize) -> Entry {
    let run = &view.run;
    let (state, role) = live_state(view);
    let at = crate::tui::wizard::turn(run);
    let title = run
        .runbook
        .steps
        .get(at)
        .map_or(String::new(), |step| step.title.sentence(&run.values));
    let clock = words::clock(run.elapsed(look.now));
    let head = format!("  runbook   {}  {} ", run.runbook.name, run.mode());
    let tail = format!("  step {} {title}", progress(view));
    let room = width.saturating_sub(head.len() + state.len() + clock.len() + 2);
    let tail = super::overview::fit(&tail, room, look.glyphs.more);
    let line = Line::from(vec![
        look.span(head, Role::Text),
        look.span(state, role),
        look.span(format!("{tail:<room$}"), Role::Text),
        look.span(format!(" {clock}"), Role::Dim),
    ]);
    (Some(Subject::Execution(run.id.clone())), vec![line])
}

/// Everything about a row: how it stands, then the document.
pub fn detail(app: &App, row: &RunbookRow, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let mut detail = Detail::new(look, width);
    let (line, document) = match row {
        RunbookRow::Live(view) => {
            let run = &view.run;
            detail.head(&format!("{} of {}", run.id, run.runbook.name));
            let (state, role) = live_state(view);
            detail.pair_as("state", state, role);
            detail.pair("mode", run.mode());
            detail.pair("step", progress(view));
            detail.pair("led by", &run.held_by);
            detail.pair(
                "begun",
                format!("{}, by {}", ago(look.now, run.started_at), run.started_by),
            );
            detail.prose("Enter opens its wizard", Role::Accent);
            document_lines(&mut detail, &run.runbook);
            return detail.lines;
        }
        RunbookRow::Book(line) => (line, app.documents.get(&line.name)),
    };
    detail.head(&format!("Runbook {}", line.name));
    detail.prose(&line.title, Role::Text);
    let document = document.filter(|document| document.hash == line.hash);
    let key = app.settings.keymap.key(Action::Readiness).unwrap_or_default();
    readiness(&mut detail, line, document, &key);
    for (label, last) in [("last drill", &line.last_drill), ("last use", &line.last_real)] {
        let (text, role) = last_words(look.now, last.as_ref());
        let took = last.as_ref().map_or(String::new(), |last| {
            let edited = if last.hash == line.hash {
                ""
            } else {
                "; the document has changed since"
            };
            format!(", took {}{edited}", last.took)
        });
        detail.pair_as(label, format!("{text}{took}"), role);
    }
    match document {
        Some(document) => document_lines(&mut detail, document),
        None => detail.prose("asking the agent for the document", Role::Dim),
    }
    detail.lines
}

/// Whether it could be begun, why not, what will be asked, and when that was and will be looked at.
fn readiness(detail: &mut Detail<'_>, line: &RunbookLine, document: Option<&Runbook>, key: &str) {
    let now = detail.look.now;
    let Some(seen) = &line.readiness else {
        detail.pair_as("ready", format!("not looked at yet; {key} asks now"), Role::Dim);
        return;
    };
    let role = ready(line).1;
    match &seen.state {
        Ready::Yes { asks } if asks.is_empty() => detail.pair_as("ready", "yes: it could be begun now", role),
        Ready::Yes { asks } => {
            detail.pair_as("ready", "yes; this has to be said first:", role);
            for name in asks {
                let known = document.and_then(|document| document.variables.iter().find(|one| one.name == *name));
                let ask = known.map_or(String::new(), |variable| format!(": {}", variable.ask));
                detail.pair("", format!("{name}{ask}"));
            }
        }
        Ready::No { because } => {
            detail.pair_as("ready", "NO: what it would begin with does not hold", role);
            for because in because {
                detail.pair_as("because", because, Role::Crit);
            }
        }
        Ready::NotHere { because } => detail.pair_as("ready", format!("not for this site: {because}"), role),
    }
    let next = seen
        .next
        .map_or(String::new(), |next| format!("; again {}", words::until(now, next)));
    let at = format!("{} ago ({}Z)", words::age(now, seen.at), seen.at.format("%H:%M"));
    detail.pair_as("looked at", format!("{at}{next}; {key} asks now"), Role::Dim);
}

/// The document, from the same table that is executed.
fn document_lines(detail: &mut Detail<'_>, document: &Runbook) {
    detail.head("When it is the right one");
    detail.prose(&document.why.trim().replace('\n', " "), Role::Text);
    detail.pair("version", document.short_hash());
    detail.pair("from", document.file.as_deref().unwrap_or("comes with the program"));
    detail.pair_if("may take", document.objective.map(words::promise));
    checklist(detail, "Before: have ready", &document.before);
    checklist(detail, "During: keep in mind", &document.during);
    detail.head("Steps");
    for (number, step) in (1..).zip(&document.steps) {
        detail.list(&format!("{number}."), &[step.title.text()], Role::Accent);
        detail.pair("   does", step.action.words());
        detail.pair("   needs", show::needs(step));
        match &step.undo {
            Undo::NotNeeded => {}
            Undo::None(_) => detail.pair_as("   undo", step.undo.words(), Role::Warn),
            Undo::Action(_) => detail.pair("   undo", step.undo.words()),
        }
        for check in &step.precheck {
            detail.pair("   before", check.words());
        }
        for check in &step.verify {
            detail.pair("   after", check.words());
        }
    }
    checklist(detail, "After: when it is over", &document.after);
}

fn checklist(detail: &mut Detail<'_>, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        detail.head(title);
        detail.list("[ ]", lines, Role::Text);
    }
}
