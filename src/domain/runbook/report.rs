//! The report of an execution, as Markdown: who did what when, on which evidence, how long it took, and what was not as
//! the document says.

use std::fmt::Write as _;

use super::action::Action;
use super::check::{CheckOutcome, CheckResult};
use super::run::{Cause, RunbookOutcome, RunbookRecord, RunbookRun, StepRun, StepState};
use super::show::code;
use super::tidy::{self, line};
use super::{Runbook, Step};
use crate::domain::units::{Millis, Timestamp};

/// The report of an execution that has ended.
pub fn report(record: &RunbookRecord) -> String {
    let run = &record.run;
    let mut text = format!("# {}: {} {}\n\n", run.mode(), run.runbook.title, record.outcome.word());
    head(&mut text, record);
    result(&mut text, run);
    times(&mut text, record);
    deviations(&mut text, run);
    // What is left to do comes before what was done: that is long.
    if !run.runbook.after.is_empty() {
        text.push_str("## When it is over\n\n");
        for line in &run.runbook.after {
            let _ = writeln!(text, "- [ ] {line}");
        }
        text.push('\n');
    }
    steps(&mut text, run, record.finished_at);
    text
}

fn clock(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn head(text: &mut String, record: &RunbookRecord) {
    let run = &record.run;
    let Runbook { name, .. } = &run.runbook;
    let why = match &run.cause {
        Cause::Person => format!("begun by {}", run.started_by),
        Cause::Auto { why } => format!("begun by the agent itself: {why}"),
    };
    let _ = writeln!(
        text,
        "- run: `{}` of runbook `{name}`, version `{}`",
        run.id,
        run.runbook.short_hash()
    );
    let _ = writeln!(text, "- {why}; led by {} at the end", run.held_by);
    if run.unattended {
        let _ = writeln!(
            text,
            "- it went on by itself: whoever began it had said go and agreed to every step, as one person"
        );
    }
    if let Some(at) = run.incident_at {
        let _ = writeln!(text, "- incident: {}", clock(at));
    }
    let _ = writeln!(
        text,
        "- from {} to {}",
        clock(run.started_at),
        clock(record.finished_at)
    );
    if let Some(ending) = &run.ending {
        let _ = writeln!(text, "- ended early by {}: {}", ending.word.by, ending.word.text);
    }
    let said = run.runbook.variables.iter();
    for variable in said {
        if let Some(value) = run.values.get(&variable.name) {
            let _ = writeln!(text, "- {}: {}", variable.name, code(value));
        }
    }
    text.push('\n');
}

/// Who takes writes now and what it cost, and of when the data is that came back; nothing when neither was done.
fn result(text: &mut String, run: &RunbookRun) {
    let (since, of) = match run.incident_at {
        Some(at) => (at, "the incident began"),
        None => (run.started_at, "this began"),
    };
    let mut lines = String::new();
    for (step, done) in run.rows().filter(|(_, done)| done.state == StepState::Done) {
        let word = |name: &str| done.outputs.get(name).map_or("not known", String::as_str);
        if let (Ok(Action::Promote(promote)), Some(at)) = (step.action.resolved(&run.values), done.ended_at) {
            let _ = writeln!(
                lines,
                "- new primary of {}: `{}`\n- it took writes {} after {of}\n- timeline: {}; lost of the log: {}",
                promote.cluster.text(),
                promote.member.text(),
                Millis::between(since, at),
                word("timeline"),
                word("lost")
            );
        }
        if let Ok(point) = chrono::DateTime::parse_from_rfc3339(word("point")) {
            let point = point.to_utc();
            let age = if point < since {
                format!("{} before {of}", Millis::between(point, since))
            } else {
                format!("nothing of before {of} is missing")
            };
            let title = line(&step.title.sentence(&run.values));
            let _ = writeln!(lines, "- {title}: the data is of {}, {age}", clock(point));
        }
    }
    if !lines.is_empty() {
        let _ = writeln!(text, "## Result\n\n{lines}");
    }
}

fn times(text: &mut String, record: &RunbookRecord) {
    let run = &record.run;
    let _ = write!(text, "## Times\n\n| part | took |\n| --- | --- |\n");
    for (phase, took) in run.phases(record.finished_at) {
        let _ = writeln!(text, "| {} | {took} |", phase.word());
    }
    let _ = writeln!(text, "| **all** | **{}** |\n", record.took());
    if let Some(objective) = run.objective {
        // Whoever gave up has not been fast.
        let kept = match record.outcome {
            RunbookOutcome::Failed => "**not reached**: it failed".to_owned(),
            outcome if !outcome.is_through() => format!("**not reached**: it was {}", outcome.word()),
            _ if run.drill && run.steps.iter().any(|step| step.state == StepState::Simulated) => {
                "not measured: steps were only said".to_owned()
            }
            _ if record.took() <= objective => "kept".to_owned(),
            _ => "**broken**".to_owned(),
        };
        let _ = writeln!(text, "The objective of {objective} was {kept}.\n");
    }
}

fn steps(text: &mut String, run: &RunbookRun, now: Timestamp) {
    text.push_str("## Steps\n\n");
    for (number, (step, done)) in (1..).zip(run.rows()) {
        let title = step.title.sentence(&run.values);
        let _ = writeln!(
            text,
            "{number}. **{title}**: {}{}",
            done.state.word(),
            step_tail(done, now)
        );
        if let Some(did) = &done.did {
            let _ = writeln!(text, "   - did: {}", code(did));
        }
        for (word, what) in people(done) {
            let _ = writeln!(text, "   - {word}: {what}");
        }
        evidence(text, "before", done.checked.iter().flat_map(|checked| &checked.results));
        evidence(text, "after", done.evidence.iter());
        for (name, value) in &done.outputs {
            found_out(text, name, value);
        }
        if let Some(error) = &done.error {
            let _ = writeln!(text, "   - error: {}", line(&error.message));
        }
        if let Some(note) = &done.note {
            let _ = writeln!(text, "   - note: {}", line(note));
        }
    }
    text.push('\n');
}

/// What a step found out: in its line when it is one, else as a block of its own.
fn found_out(text: &mut String, name: &str, value: &str) {
    let value = tidy::text(value, tidy::OUTPUT);
    let value = value.trim_end();
    if value.is_empty() {
        return;
    }
    if !value.contains('\n') {
        let _ = writeln!(text, "   - {name}: {}", code(value));
        return;
    }
    let _ = writeln!(text, "   - {name}:\n");
    for line in value.lines() {
        let _ = writeln!(text, "         {line}");
    }
    text.push('\n');
}

fn step_tail(done: &StepRun, now: Timestamp) -> String {
    let mut tail = String::new();
    if let Some(at) = done.started_at {
        let took = done.took(now).map_or_else(String::new, |took| format!(", {took}"));
        let _ = write!(tail, " ({}{took}", clock(at));
        if done.attempt > 1 {
            let _ = write!(tail, ", attempt {}", done.attempt);
        }
        tail.push(')');
    }
    if done.recovered {
        tail.push_str(", found done after the agent had died");
    }
    tail
}

fn people(done: &StepRun) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(word) = &done.released {
        let typed = if word.text.is_empty() {
            String::new()
        } else {
            format!(", typed {}", code(&word.text))
        };
        lines.push(("go", format!("{} at {}{typed}", word.by, clock(word.at))));
    }
    for word in &done.approvals {
        lines.push(("agreed", format!("{} at {}", word.by, clock(word.at))));
    }
    if let Some(aside) = &done.overridden {
        let (by, why) = (&aside.word.by, &aside.word.text);
        lines.push(("set aside", format!("{} by {by}: {why}", aside.checks.join("; "))));
    }
    lines
}

fn evidence<'a>(text: &mut String, word: &str, results: impl Iterator<Item = &'a CheckResult>) {
    for result in results {
        let sign = match result.outcome {
            CheckOutcome::Holds => "ok",
            CheckOutcome::Fails => "NOT",
            CheckOutcome::Unknown => "unknown",
        };
        let (title, detail) = (line(&result.title), line(&result.detail));
        let _ = writeln!(text, "   - {word} [{sign}] {title}: {detail}");
    }
}

/// What was not as the document says.
pub fn deviations_of(run: &RunbookRun) -> Vec<String> {
    let mut found = Vec::new();
    for (step, done) in run.rows() {
        let Step { id, .. } = step;
        match done.state {
            StepState::Skipped => found.push(format!("{id} was passed over: {}", done.note.as_deref().unwrap_or(""))),
            StepState::Failed => found.push(format!("{id} failed")),
            StepState::Undone => found.push(format!("{id} was taken back")),
            StepState::UndoFailed => found.push(format!("{id} could not be taken back")),
            StepState::InDoubt => found.push(format!("whether {id} was done is not known")),
            _ => {}
        }
        if let Some(aside) = &done.overridden {
            found.push(format!("{id} was done although: {}", aside.checks.join("; ")));
        }
        if done.attempt > 1 {
            found.push(format!("{id} took {} attempts", done.attempt));
        }
        if done.recovered {
            found.push(format!("the agent died while {id} was done"));
        }
    }
    for (what, word) in &run.words {
        found.push(format!(
            "{what} by {}{}",
            word.by,
            if word.text.is_empty() {
                String::new()
            } else {
                format!(": {}", word.text)
            }
        ));
    }
    found
}

fn deviations(text: &mut String, run: &RunbookRun) {
    let found = deviations_of(run);
    text.push_str("## Not as the document says\n\n");
    if found.is_empty() {
        text.push_str("- nothing\n");
    }
    for line in found {
        let _ = writeln!(text, "- {line}");
    }
    text.push('\n');
}
