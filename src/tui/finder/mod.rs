//! The search for the last clean snapshot of a job: the line of its snapshots, what people found by looking, and the bracket
//! that narrows with every look.
//!
//! ```text
//!  a page of snapshots, the gone included ──▶ records ─┐
//!  a look of a person, with a reason ───────▶ looks ───┴──▶ domain::finder::find ──▶ rows, and where the search stands
//! ```
//!
//! What people found is kept in this console for as long as it runs, by job; the command that is shown says the same to the
//! next person. Nothing here changes a snapshot. Two things leave this room: a restore-test, which is the verification the
//! menus offer, and the snapshot that is used: told to the step of a runbook that looks for one, or planned as a restore.

mod offers;

use std::collections::BTreeMap;

pub(super) use offers::choices;
use offers::why_not_there;

use super::app::App;
use super::keymap::{Action, Key};
use super::link::Question;
use super::message::Effect;
use super::navigation;
use super::operation::Operation;
use super::operations;
use super::overlays::Overlay;
use super::overlays::note::{Note, NoteFor};
use super::place::{Pane, Place, Search};
use super::screens::finder::FinderRow;
use super::subject::Subject;
use super::table::Table;
use crate::domain::Timestamp;
use crate::domain::anomaly::Found;
use crate::domain::command::Command;
use crate::domain::event::{Event, EventRecord};
use crate::domain::finder::{Finding, find};
use crate::domain::id::{JobName, RunbookRunId, SnapshotId};
use crate::domain::runbook::action::Action as StepAction;
use crate::domain::runbook::{RunbookRun, Saying};
use crate::domain::snapshot::{Evidence, EvidenceLevel, SnapshotRecord};
use crate::domain::view::{Page, Query};

/// How many snapshots a page has.
const PAGE: u32 = 1000;

/// What somebody found who looked into a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What it was.
    pub found: Found,
    /// How one knows.
    pub reason: String,
    /// When it was said.
    pub at: Timestamp,
}

/// The search that was opened last, and what was found in all of them.
#[derive(Debug, Default)]
pub struct Finder {
    /// The job.
    pub job: Option<JobName>,
    /// Its snapshots so far, without what is not shown of them.
    records: BTreeMap<SnapshotId, SnapshotRecord>,
    /// They as rows.
    pub rows: Table<FinderRow>,
    /// Where the search stands; none before the whole line is here.
    pub finding: Option<Finding>,
    /// What people found, by job.
    looks: BTreeMap<JobName, BTreeMap<SnapshotId, Look>>,
}

impl Finder {
    /// What people found in the job that is open.
    pub fn looks(&self) -> impl Iterator<Item = (&SnapshotId, &Look)> {
        self.job.iter().filter_map(|job| self.looks.get(job)).flatten()
    }

    /// What was found in one snapshot of it.
    pub fn look(&self, id: &SnapshotId) -> Option<&Look> {
        self.looks.get(self.job.as_ref()?)?.get(id)
    }

    /// The same search as a command.
    pub fn command(&self) -> String {
        let job = self.job.as_ref().map_or("", JobName::as_str);
        let said = self.looks().map(|(id, look)| {
            let word = if look.found == Found::Clean { "clean" } else { "bad" };
            format!(" --{word} {}", id.short())
        });
        format!("lifeboat snapshot find-clean {job}{}", said.collect::<String>())
    }

    /// What people found, in a line for a report.
    fn evidence(&self) -> String {
        let said = self.looks().map(|(id, look)| {
            let word = if look.found == Found::Clean { "clean" } else { "bad" };
            format!("{} {word}: {}", id.short(), look.reason)
        });
        said.collect::<Vec<_>>().join("; ")
    }

    fn work_out(&mut self, now: Timestamp) {
        let Some(job) = self.job.clone() else { return };
        let found = self.looks().map(|(id, look)| (id.clone(), look.found)).collect();
        let records: Vec<SnapshotRecord> = self.records.values().cloned().collect();
        let finding = find(job.as_str(), &records, &found);
        self.rows.set(FinderRow::of(&finding), now);
        self.finding = Some(finding);
    }

    /// Puts the cursor on the one to look at next, or on the last clean one when there is none.
    fn select_candidate(&mut self) {
        let search = self.finding.as_ref().map(|finding| &finding.search);
        if let Some(id) = search.and_then(|search| search.next.as_ref().or(search.clean.as_ref())) {
            self.rows.select_key(id.as_str());
        }
    }
}

/// Keeps of a snapshot what is shown here, so that a long line stays small.
fn slim(record: SnapshotRecord) -> SnapshotRecord {
    SnapshotRecord {
        paths: Vec::new(),
        tags: Vec::new(),
        comment: None,
        database: None,
        expiry: None,
        ..record
    }
}

/// Goes to the search in a job; `of` the step of an execution that looks for one, when it is for that.
pub(super) fn go(app: &mut App, job: JobName, of: Option<(RunbookRunId, String)>) -> Vec<Effect> {
    navigation::go(app, Place::Finder(Search { job, of }))
}

/// To the search that the step of an execution is about.
pub(super) fn lead(app: &mut App, run: &RunbookRun, at: usize) -> Vec<Effect> {
    let Some((at, job)) = step_of(run, at) else {
        return Vec::new();
    };
    let step = run.runbook.steps[at].id.clone();
    go(app, job, Some((run.id.clone(), step)))
}

/// The step of an execution that looks for a snapshot, and in which job: the one that is looked at, or the first.
pub fn step_of(run: &RunbookRun, at: usize) -> Option<(usize, JobName)> {
    let job = |at: usize| match run.runbook.steps.get(at)?.action.resolved(&run.values) {
        Ok(StepAction::FindClean(find)) => Some((at, JobName::from(find.job.text().as_str()))),
        _ => None,
    };
    job(at).or_else(|| (0..run.runbook.steps.len()).find_map(job))
}

/// Asks for the line of a job, unless it is here.
pub(super) fn ask(app: &mut App, job: &JobName) -> Vec<Effect> {
    if app.finder.job.as_ref() == Some(job) && (app.finder.rows.loaded || app.finder.rows.loading) {
        return Vec::new();
    }
    again(app, job)
}

/// Asks for all of it again.
pub(super) fn again(app: &mut App, job: &JobName) -> Vec<Effect> {
    if app.finder.job.as_ref() != Some(job) {
        app.finder.rows = Table::default();
        app.finder.finding = None;
    }
    app.finder.job = Some(job.clone());
    app.finder.records.clear();
    app.finder.rows.loading = true;
    vec![page(job, None)]
}

fn page(job: &JobName, cursor: Option<String>) -> Effect {
    Effect::Ask(Question::Snapshots(Query {
        job: Some(job.0.clone()),
        gone: Some(true),
        limit: Some(PAGE),
        cursor,
        ..Query::default()
    }))
}

/// Takes a page in; the line is worked out only when it is whole, because half of it would name the wrong one.
pub(super) fn came(app: &mut App, query: &Query, answer: Page<SnapshotRecord>) -> Vec<Effect> {
    let job = query.job.clone().map(JobName);
    if app.finder.job != job {
        return Vec::new();
    }
    for record in answer.items {
        app.finder.records.insert(record.id.clone(), slim(record));
    }
    if let (Some(cursor), Some(job)) = (answer.next, &job) {
        return vec![page(job, Some(cursor))];
    }
    let first = app.finder.finding.is_none();
    app.finder.rows.loading = false;
    app.finder.work_out(app.now);
    if first {
        app.finder.select_candidate();
    }
    Vec::new()
}

/// What an event changes in the line that is here.
pub(super) fn event(app: &mut App, record: &EventRecord) {
    let finder = &mut app.finder;
    if finder.job.is_none() || finder.finding.is_none() {
        return;
    }
    let id = match &record.event {
        Event::SnapshotRecorded { snapshot } if snapshot.job == finder.job => {
            finder.records.insert(snapshot.id.clone(), slim(snapshot.clone()));
            finder.work_out(app.now);
            return;
        }
        Event::SnapshotVanished { snapshot }
        | Event::SnapshotForgotten { snapshot, .. }
        | Event::SnapshotUnforgotten { snapshot }
        | Event::EvidenceRaised { snapshot, .. }
        | Event::EvidenceRefuted { snapshot, .. } => snapshot,
        _ => return,
    };
    let Some(known) = finder.records.get_mut(id) else {
        return;
    };
    match &record.event {
        Event::SnapshotVanished { .. } => known.vanished_at = Some(record.at),
        Event::SnapshotForgotten { mark, .. } => known.forgotten = Some(mark.clone()),
        Event::SnapshotUnforgotten { .. } => known.forgotten = None,
        Event::EvidenceRaised { level, .. } => raise(&mut known.evidence, *level, record.at),
        Event::EvidenceRefuted { failure, .. } => known.evidence.failure = Some(failure.clone()),
        _ => {}
    }
    finder.work_out(app.now);
}

fn raise(evidence: &mut Evidence, level: EvidenceLevel, at: Timestamp) {
    if level >= evidence.level {
        (evidence.level, evidence.at) = (level, at);
    }
    if evidence.failure.as_ref().is_some_and(|failure| level >= failure.level) {
        evidence.failure = None;
    }
}

/// Gives a key to the search; none when it means there what it means everywhere.
pub(super) fn press(app: &mut App, key: Key) -> Option<Vec<Effect>> {
    if !matches!(app.place, Place::Finder(_)) || app.pending.is_some() {
        return None;
    }
    let action = app.settings.keymap.find(key)?;
    Some(perform(app, action))
}

/// Does what an action of the search says, by a key or from the palette.
pub(super) fn perform(app: &mut App, action: Action) -> Vec<Effect> {
    let Place::Finder(_) = &app.place else {
        app.say("this is said in the search for a clean snapshot: a on a job or a snapshot begins one");
        return Vec::new();
    };
    if action == Action::FindNext {
        app.pane = Pane::List;
        app.finder.select_candidate();
        return Vec::new();
    }
    let Some(choice) = choices(app)
        .into_iter()
        .find(|choice| action_of(&choice.operation) == Some(action))
    else {
        app.say("there is no snapshot here");
        return Vec::new();
    };
    if let Some(why) = choice.refused {
        app.complain(format!("not now: {why}"));
        return Vec::new();
    }
    operations::begin(app, choice.operation)
}

/// The key that does an operation of the search.
fn action_of(operation: &Operation) -> Option<Action> {
    Some(match operation {
        Operation::Give(_) => Action::FindTest,
        Operation::Look(_, Some(Found::Clean)) => Action::FindClean,
        Operation::Look(_, Some(Found::Bad)) => Action::FindBad,
        Operation::Look(_, None) => Action::FindForget,
        Operation::UseInstead { .. } | Operation::Restore(..) => Action::FindUse,
        _ => return None,
    })
}

/// Asks why, before something is said of a snapshot; what is taken back needs no reason.
pub(super) fn look(app: &mut App, id: SnapshotId, found: Option<Found>) {
    if let Some(found) = found {
        app.overlay = Some(Overlay::Note(Note::new(NoteFor::Look(id, found))));
        return;
    }
    let job = app.finder.job.clone();
    if let Some(looks) = job.and_then(|job| app.finder.looks.get_mut(&job)) {
        looks.remove(&id);
    }
    app.finder.work_out(app.now);
    app.say(format!("nothing is said of {} any more", id.short()));
}

/// Takes in what somebody found, and goes to the one to look at next.
pub(super) fn looked(app: &mut App, id: SnapshotId, found: Found, reason: String) {
    let Some(job) = app.finder.job.clone() else { return };
    let at = app.now;
    let looks = app.finder.looks.entry(job).or_default();
    looks.insert(id, Look { found, reason, at });
    app.finder.work_out(at);
    app.finder.select_candidate();
    app.pane = Pane::List;
    let search = app.finder.finding.as_ref().map(|finding| &finding.search);
    let left = search.filter(|search| search.next.is_some()).map(|search| search.looks);
    match left {
        Some(1) => app.say("the bracket is narrower; one look is left"),
        Some(left) => app.say(format!("the bracket is narrower; at most {left} looks are left")),
        None => app.say("nothing is left between the last clean and the first bad one"),
    }
}

/// Asks why another snapshot is used than the one a step found; what was looked at stands there already.
pub(super) fn use_instead(app: &mut App, run: RunbookRunId, step: String, snapshot: SnapshotId) {
    let Some(row) = app.finder.rows.get(snapshot.as_str()) else {
        return;
    };
    let purpose = NoteFor::Instead {
        run,
        step,
        snapshot,
        time: row.line.at,
    };
    app.overlay = Some(Overlay::Note(Note::with(purpose, app.finder.evidence())));
}

/// The word to the agent that a step is to go by another snapshot.
pub(super) fn told(run: RunbookRunId, step: String, snapshot: SnapshotId, time: Timestamp, reason: String) -> Effect {
    let saying = Saying::Instead {
        step,
        snapshot,
        time,
        reason,
    };
    Effect::Ask(Question::Command(Command::SayInRunbook { run, saying }))
}

/// What the cursor is on.
pub(super) fn subjects(app: &App) -> Vec<Subject> {
    let row = app.finder.rows.selected();
    row.map(|row| Subject::Snapshot(row.line.id.clone()))
        .into_iter()
        .collect()
}

/// Opens the files of the snapshot under the cursor.
pub(super) fn open(app: &mut App) -> Vec<Effect> {
    let Some(row) = app.finder.rows.selected() else {
        return Vec::new();
    };
    if row.line.gone.is_some() {
        let why = why_not_there(row);
        app.complain(format!("it cannot be opened: {why}"));
        return Vec::new();
    }
    let id = row.line.id.clone();
    navigation::go(app, Place::Tree(id, "/".to_owned()))
}

/// The keys worth naming now.
pub(super) fn hints(app: &App) -> Vec<(Action, Option<&'static str>)> {
    let done = app
        .finder
        .finding
        .as_ref()
        .is_some_and(|finding| finding.search.next.is_none());
    let told = matches!(&app.place, Place::Finder(Search { of: Some(_), .. }));
    let mut hints = vec![
        (Action::FindTest, None),
        (Action::Open, Some("files")),
        (Action::FindClean, None),
        (Action::FindBad, None),
    ];
    let words = if told { "use it" } else { "restore" };
    hints.insert(if done { 0 } else { hints.len() }, (Action::FindUse, Some(words)));
    hints.extend([
        (Action::FindNext, None),
        (Action::Back, Some(if told { "wizard" } else { "back" })),
        (Action::Describe, None),
        (Action::Act, None),
    ]);
    hints
}
