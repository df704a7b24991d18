//! The steps of an execution as lines: where each stands, who said so, when.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::domain::runbook::check::CheckOutcome;
use crate::domain::runbook::next::{self, Next};
use crate::domain::runbook::{RunbookRun, Step, StepRun, StepState};
use crate::tui::canvas::{Canvas, columns};
use crate::tui::screens::overview::fit;
use crate::tui::theme::Role;
use crate::tui::widgets::list;

/// The sign of a check.
pub fn check_sign(outcome: CheckOutcome) -> (&'static str, Role) {
    match outcome {
        CheckOutcome::Holds => ("[ok]", Role::Ok),
        CheckOutcome::Fails => ("[!!]", Role::Crit),
        CheckOutcome::Unknown => ("[??]", Role::Warn),
    }
}

/// Where a step stands, in four letters.
pub fn state(run: &RunbookRun, at: usize) -> (&'static str, Role) {
    match run.steps[at].state {
        StepState::Done => ("ok  ", Role::Ok),
        StepState::Acting => ("RUN ", Role::Live),
        StepState::InDoubt => ("??  ", Role::Crit),
        StepState::Failed => ("FAIL", Role::Crit),
        StepState::Skipped => ("skip", Role::Warn),
        StepState::NotNeeded => ("n/a ", Role::Dim),
        StepState::Simulated => ("sim ", Role::Text),
        StepState::Undoing => ("UNDO", Role::Live),
        StepState::Undone => ("undo", Role::Warn),
        StepState::UndoFailed => ("UND!", Role::Crit),
        StepState::Pending => match next::of_step(run, at) {
            Next::Wait(_) => ("WAIT", Role::Warn),
            Next::Do(_) => ("look", Role::Live),
            _ if run.paused.is_some() && next::current(run).contains(&at) => ("HOLD", Role::Warn),
            _ => ("    ", Role::Dim),
        },
    }
}

/// The brace around steps that are done at the same time, as far as it passes this one.
fn brace(canvas: &Canvas<'_>, run: &RunbookRun, at: usize) -> &'static str {
    let steps = &run.runbook.steps;
    let group = |at: usize| steps.get(at).and_then(|step| step.parallel.as_ref());
    let joins = |other: Option<usize>| group(at).is_some() && other.is_some_and(|other| group(other) == group(at));
    let glyphs = canvas.look.glyphs;
    match (joins(at.checked_sub(1)), joins(Some(at + 1))) {
        (false, false) => " ",
        (false, true) => glyphs.corners[1],
        (true, true) => glyphs.wall,
        (true, false) => glyphs.corners[3],
    }
}

/// A step's title, with its values as far as they are known.
pub fn title(run: &RunbookRun, step: &Step) -> String {
    step.title.sentence(&run.values)
}

/// Who moved a step on, as far as it has been.
fn who(done: &StepRun) -> &str {
    let word = done.released.as_ref().or_else(|| done.approvals.last());
    match word {
        Some(word) => &word.by,
        None if done.started_at.is_some() => "auto",
        None => "",
    }
}

/// What is worth knowing of a step that is over.
fn note(done: &StepRun) -> String {
    match done.state {
        StepState::Done if done.recovered => "found done".to_owned(),
        StepState::Done if done.overridden.is_some() => "checks set aside".to_owned(),
        StepState::Done if !done.evidence.is_empty() => {
            let count = done.evidence.len();
            format!("{count} check{}", if count == 1 { "" } else { "s" })
        }
        StepState::Skipped | StepState::NotNeeded | StepState::UndoFailed => done.note.clone().unwrap_or_default(),
        StepState::Failed => done.error.as_ref().map_or(String::new(), |error| error.message.clone()),
        _ => String::new(),
    }
}

/// One step, as wide as there is room.
fn line(canvas: &Canvas<'_>, run: &RunbookRun, at: usize, width: usize, looked: bool) -> Line<'static> {
    let look = canvas.look;
    let (step, done) = (&run.runbook.steps[at], &run.steps[at]);
    let (word, role) = state(run, at);
    let cursor = if looked { look.glyphs.cursor } else { " " };
    let mut spans: Vec<Span<'static>> = vec![
        look.span(cursor, Role::Accent),
        look.span(format!("{:>2}{}", at + 1, brace(canvas, run, at)), Role::Dim),
        look.span(format!("[{word}] "), role),
    ];
    let when = done.ended_at.or(done.started_at);
    let when = when.map_or(String::new(), |at| at.format("%H:%M").to_string());
    let by = format!(" {:<8} {when:<5}", fit(who(done), 8, look.glyphs.more));
    let by = if width >= 50 { by } else { String::new() };
    let note_room = if width >= 76 { (width / 5).min(24) } else { 0 };
    let room = width.saturating_sub(11 + columns(&by) + note_room);
    let text = fit(&title(run, step), room, look.glyphs.more);
    let dim = done.state == StepState::Pending && !next::current(run).contains(&at);
    spans.push(look.span(format!("{text:<room$}"), if dim { Role::Dim } else { Role::Text }));
    spans.push(look.span(by, Role::Dim));
    if note_room > 2 {
        let note = fit(&note(done), note_room - 2, look.glyphs.more);
        spans.push(look.span(format!("  {note}"), Role::Dim));
    }
    Line::from(spans)
}

/// Draws the steps, as many as there is room for, the one looked at among them.
pub fn draw(canvas: &mut Canvas<'_>, area: Rect, run: &RunbookRun, looked: usize) {
    let rows = usize::from(area.height);
    // One that is over is kept in sight above the one looked at.
    let from = list::window(looked.saturating_sub(rows / 2), looked, rows, run.steps.len());
    for (y, at) in (0..area.height).zip(from..run.steps.len()) {
        let line = line(canvas, run, at, usize::from(area.width), at == looked);
        canvas.line(area, 0, y, &line);
    }
}
