//! What can be done with a snapshot of the line, the same by key and in the menu, each with the reason when it cannot be done.

use super::FinderRow;
use crate::domain::anomaly::Found;
use crate::domain::command::Command;
use crate::domain::finder::Gone;
use crate::domain::runbook::{RunbookRun, instead};
use crate::domain::snapshot::EvidenceLevel;
use crate::tui::app::App;
use crate::tui::operation::{Choice, Operation};
use crate::tui::place::{Place, Search};

/// What can be done with the snapshot under the cursor, the same by key and in the menu.
pub(in crate::tui) fn choices(app: &App) -> Vec<Choice> {
    let (Some(row), Place::Finder(search)) = (app.finder.rows.selected(), &app.place) else {
        return Vec::new();
    };
    let (id, short) = (row.line.id.clone(), row.line.id.short().to_owned());
    let gone = (!row.line.there).then(|| why_not_there(row));
    let verify = Operation::Give(vec![Command::VerifySnapshot {
        snapshot: id.clone(),
        level: EvidenceLevel::Restored,
    }]);
    let locked = app.why_locked();
    let testing = row.testing(app).then(|| "it is being tested".to_owned());
    let look = |words: String, found, refused| Choice::new(words, Operation::Look(id.clone(), found), refused);
    let known = app.finder.look(&id).map(|look| look.found);
    let said = |found| (known == Some(found)).then(|| "that is what was said of it".to_owned());
    let mut choices = vec![
        Choice::new(
            format!("Restore-test {short}: restore it into a scratch place, verify up to restored"),
            verify,
            locked.clone().or_else(|| gone.clone()).or(testing),
        ),
        look(
            format!("{short} is clean: somebody looked into it"),
            Some(Found::Clean),
            said(Found::Clean),
        ),
        look(
            format!("{short} is bad: somebody looked into it"),
            Some(Found::Bad),
            said(Found::Bad),
        ),
        look(
            format!("Take back what was said of {short}"),
            None,
            known.is_none().then(|| "nothing was said of it".to_owned()),
        ),
    ];
    for (run, at) in uses(app, search) {
        let step = run.runbook.steps[at].id.clone();
        let words = format!("Use {short}: tell step {step} of {}", run.id);
        let held = (run.held_by != app.settings.me).then(|| format!("held by {}", run.held_by));
        let same = (run.values.get(&format!("{step}.snapshot")).map(String::as_str) == Some(id.as_str()))
            .then(|| "that is what it found".to_owned());
        let refused = locked
            .clone()
            .or(gone.clone())
            .or(held)
            .or_else(|| instead::refused(run, at))
            .or(same);
        let operation = Operation::UseInstead {
            run: run.id.clone(),
            step,
            snapshot: id.clone(),
        };
        choices.push(Choice::new(words, operation, refused));
    }
    let restore = Operation::Restore(id.clone(), Vec::new());
    choices.push(Choice::new(format!("Use {short}: plan a restore of it"), restore, gone));
    choices
}

/// The steps of executions that could be told this snapshot: the one the search was begun for first.
fn uses<'a>(app: &'a App, search: &Search) -> Vec<(&'a RunbookRun, usize)> {
    let live = app.overview.iter().flat_map(|overview| &overview.executions);
    let mut uses: Vec<(&RunbookRun, usize)> = Vec::new();
    for run in live.map(|view| &view.run) {
        let of = search.of.as_ref().filter(|(id, _)| *id == run.id);
        let at = match of {
            Some((_, step)) => run.runbook.position(step),
            None => instead::of_job(run, search.job.as_str()),
        };
        if let Some(at) = at {
            uses.insert(if of.is_some() { 0 } else { uses.len() }, (run, at));
        }
    }
    uses
}

pub(super) fn why_not_there(row: &FinderRow) -> String {
    match row.line.gone {
        Some(Gone::Trash) => "it is in the trash; bring it back first".to_owned(),
        Some(Gone::Expired) => "it is gone from its repository; only its figures are left".to_owned(),
        None if row.line.partial => "it is incomplete".to_owned(),
        None => "it failed its last verification".to_owned(),
    }
}
