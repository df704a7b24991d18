//! Runbooks and their runs, for people and as JSON.

use serde::Serialize;

use crate::cli::output::{Column, Paint, Render, Row, Style, Text};
use crate::domain::id::RunbookRunId;
use crate::domain::runbook::check::{CheckOutcome, CheckResult};
use crate::domain::runbook::next::{self, Need};
use crate::domain::runbook::show::document;
use crate::domain::runbook::view::{ExecutionView, Readiness, Ready, RunbookLine, RunbookPlan};
use crate::domain::runbook::{LastRun, Runbook, RunbookRecord};

/// What a need is called.
pub(super) fn need_words(need: &Need) -> String {
    match need {
        Need::Go { typed: Some(typed) } => format!("go, typing {typed}"),
        Need::Go { typed: None } => "go".to_owned(),
        Need::Done => "somebody to do it".to_owned(),
        Need::Value { variable } => format!("a value for {variable}"),
        Need::Approval { other: true } => "a second engineer's word".to_owned(),
        Need::Approval { other: false } => "somebody's word".to_owned(),
        Need::Obstacles(count) => format!("{count} check(s) mended or set aside"),
        Need::Failure => "a decision: it failed".to_owned(),
        Need::Doubt => "a decision: whether it was done is not known".to_owned(),
        Need::UndoFailed => "a decision: it could not be taken back".to_owned(),
    }
}

/// A check in a line.
pub(super) fn check_line(result: &CheckResult) -> (Paint, String) {
    let (paint, sign) = match result.outcome {
        CheckOutcome::Holds => (Paint::Good, "ok"),
        CheckOutcome::Fails => (Paint::Bad, "!!"),
        CheckOutcome::Unknown => (Paint::Warn, "??"),
    };
    (paint, format!("     [{sign}] {}: {}", result.title, result.detail))
}

impl Row for RunbookLine {
    const COLUMNS: &'static [Column] = &[
        Column::left("RUNBOOK"),
        Column::left("READY"),
        Column::right("STEPS"),
        Column::left("LAST DRILL"),
        Column::left("LAST USE"),
        Column::cut("FOR"),
    ];
    const EMPTY: &'static str = "there are no runbooks";

    fn cells(&self, style: &Style) -> Vec<String> {
        let ready = match self.readiness.as_ref().map(|ready| &ready.state) {
            None => "not looked".to_owned(),
            Some(Ready::Yes { asks }) if asks.is_empty() => "yes".to_owned(),
            Some(Ready::Yes { .. }) => "asks".to_owned(),
            Some(Ready::No { .. }) => "NO".to_owned(),
            Some(Ready::NotHere { .. }) => "not here".to_owned(),
        };
        let last = |last: &Option<LastRun>| match last {
            Some(last) => format!("{}, {}", style.ago(Some(last.at)), last.outcome.word()),
            None => "never".to_owned(),
        };
        vec![
            self.name.to_string(),
            ready,
            self.steps.to_string(),
            last(&self.last_drill),
            last(&self.last_real),
            self.title.clone(),
        ]
    }
}

impl Row for ExecutionView {
    const COLUMNS: &'static [Column] = &[
        Column::left("RUN"),
        Column::left("RUNBOOK"),
        Column::left("MODE"),
        Column::left("LED BY"),
        Column::right("TIME"),
        Column::left("STEP"),
        Column::cut("NEEDS"),
    ];
    const EMPTY: &'static str = "no runbook is under way";

    fn cells(&self, style: &Style) -> Vec<String> {
        let run = &self.run;
        let now = next::current(run).first().copied();
        let step = now.map_or_else(
            || "ending".to_owned(),
            |at| format!("{}/{} {}", at + 1, run.steps.len(), run.runbook.steps[at].id),
        );
        let needs: Vec<String> = next::waits(run)
            .iter()
            .flat_map(|(_, needs)| needs)
            .map(need_words)
            .collect();
        let needs = match &run.paused {
            Some(word) => format!("paused by {}: {}", word.by, word.text),
            None => needs.join("; "),
        };
        vec![
            run.id.to_string(),
            run.runbook.name.to_string(),
            run.mode().to_owned(),
            run.held_by.clone(),
            run.elapsed(style.now).to_string(),
            step,
            needs,
        ]
    }
}

impl Row for RunbookRecord {
    const COLUMNS: &'static [Column] = &[
        Column::left("RUN"),
        Column::left("RUNBOOK"),
        Column::left("MODE"),
        Column::left("ENDED"),
        Column::right("TOOK"),
        Column::left("BY"),
        Column::cut("OUTCOME"),
    ];
    const EMPTY: &'static str = "no runbook has been run yet";

    fn cells(&self, style: &Style) -> Vec<String> {
        vec![
            self.run.id.to_string(),
            self.name().to_string(),
            self.run.mode().to_owned(),
            style.ago(Some(self.finished_at)),
            self.took().to_string(),
            self.run.started_by.clone(),
            self.outcome.word().to_owned(),
        ]
    }
}

/// The document of a runbook.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Document(pub(super) Runbook);

impl Render for Document {
    fn text(&self, out: &mut Text) {
        document(&self.0).lines().for_each(|line| out.line(line));
    }
}

impl Render for Readiness {
    fn text(&self, out: &mut Text) {
        match &self.state {
            Ready::Yes { asks } if asks.is_empty() => out.painted(Paint::Good, "yes: it could be begun now"),
            Ready::Yes { asks } => {
                let words = format!("yes; this has to be said first: {}", asks.join(", "));
                out.painted(Paint::Good, words);
            }
            Ready::No { because } => {
                out.painted(Paint::Bad, "NO: what it would begin with does not hold");
                for because in because {
                    out.line(format!("  {because}"));
                }
            }
            Ready::NotHere { because } => out.line(format!("not for this site: {because}")),
        }
    }
}

impl Render for RunbookPlan {
    fn text(&self, out: &mut Text) {
        let mode = if self.drill { "drill" } else { "REAL" };
        out.painted(
            Paint::Strong,
            format!(
                "Plan: {} ({mode}, version {})",
                self.title,
                &self.hash[..8.min(self.hash.len())]
            ),
        );
        for variable in &self.variables {
            let value = self.values.get(&variable.name).map(String::as_str);
            let value = value.unwrap_or(if variable.chosen {
                "chosen on the way"
            } else {
                "has to be said"
            });
            out.field(&variable.name, value);
        }
        for (number, step) in (1..).zip(&self.steps) {
            out.painted(Paint::Strong, format!("{number:>3}. {}", step.title));
            if let Some(why) = &step.passed {
                out.line(format!("     {why}"));
                if why.contains(" is") {
                    continue;
                }
            }
            out.line(format!("     {}", step.does));
            if let Some(group) = &step.parallel {
                out.line(format!("     at the same time as the other steps of {group}"));
            }
            let limit = step
                .timeout
                .map_or_else(String::new, |limit| format!("; at most {limit}"));
            out.line(format!("     needs {}; undo: {}{limit}", step.needs, step.undo));
            for check in &step.checks {
                let (paint, line) = check_line(check);
                out.painted(paint, line);
            }
            // What was asked just now stands above with its answer.
            let asked = |proof: &String| step.checks.iter().any(|check| check.title == *proof);
            for proof in step.proofs.iter().filter(|proof| !asked(proof)) {
                out.line(format!("     after: {proof}"));
            }
        }
    }
}

/// The report of a run.
#[derive(Serialize)]
pub(super) struct Report {
    run: RunbookRunId,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RunbookRecord>,
    #[serde(skip_serializing_if = "String::is_empty")]
    markdown: String,
}

impl Report {
    pub(super) fn of(record: RunbookRecord, markdown: String) -> Self {
        Self {
            run: record.run.id.clone(),
            record: Some(record),
            markdown,
        }
    }

    pub(super) fn begun(run: &RunbookRunId) -> Self {
        Self {
            run: run.clone(),
            record: None,
            markdown: String::new(),
        }
    }
}

impl Render for Report {
    fn text(&self, out: &mut Text) {
        self.markdown.lines().for_each(|line| out.line(line));
    }
}
