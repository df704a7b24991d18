//! The palette: any action, place, thing or operation by a few letters, the best match first.

use crossterm::event::{KeyCode, KeyEvent};
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use ratatui::layout::Rect;

use super::{Next, centered, closes};
use crate::tui::actions;
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, columns};
use crate::tui::keymap::Action;
use crate::tui::navigation;
use crate::tui::operations;
use crate::tui::screens::overview;
use crate::tui::subject::{Operation, Subject};
use crate::tui::theme::Role;
use crate::tui::widgets::input::Input;
use crate::tui::widgets::list;

/// How many snapshots, newest first, the palette looks through.
const SNAPSHOTS: usize = 2000;

/// What an entry does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Action(Action),
    Subject(Subject),
    Operation(Operation, Option<String>),
}

#[derive(Debug, Clone)]
struct Entry {
    words: String,
    note: String,
    target: Target,
}

/// Any action or thing by a few letters.
#[derive(Debug, Clone)]
pub struct Palette {
    /// What is typed.
    pub input: Input,
    at: usize,
    entries: Vec<Entry>,
}

impl Palette {
    /// A palette over everything there is now.
    pub fn new(app: &App) -> Self {
        let mut entries = operation_entries(app);
        entries.extend(
            Action::all()
                .filter(|action| *action != Action::Palette)
                .map(|action| Entry {
                    words: action.words().trim_end_matches('.').to_owned(),
                    note: app.settings.keymap.key(action).unwrap_or_default(),
                    target: Target::Action(action),
                }),
        );
        entries.extend(subject_entries(app));
        Self {
            input: Input::default(),
            at: 0,
            entries,
        }
    }

    /// Takes a key.
    pub fn press(&mut self, app: &mut App, event: &KeyEvent) -> Next {
        if closes(event) {
            return Next::Close;
        }
        match event.code {
            KeyCode::Enter => return self.choose(app),
            KeyCode::Down | KeyCode::Tab => self.at += 1,
            KeyCode::Up | KeyCode::BackTab => self.at = self.at.saturating_sub(1),
            KeyCode::Backspace if self.input.text().is_empty() => return Next::Close,
            _ => {
                self.input.press(event);
                self.at = 0;
            }
        }
        self.at = self.at.min(self.found().len().saturating_sub(1));
        Next::Stay
    }

    fn choose(&self, app: &mut App) -> Next {
        // What hands have typed into such prompts for forty years.
        match self.input.text() {
            "q" | "q!" | "quit" | "exit" | "qa" => return Next::Done(actions::perform(app, Action::Quit)),
            _ => {}
        }
        let found = self.found();
        let Some(entry) = found.get(self.at).map(|place| &self.entries[*place]) else {
            return Next::Stay;
        };
        match &entry.target {
            Target::Action(action) => Next::Done(actions::perform(app, *action)),
            Target::Subject(subject) => Next::Done(navigation::reveal(app, subject)),
            Target::Operation(_, Some(why)) => {
                app.complain(format!("not now: {why}"));
                Next::Stay
            }
            Target::Operation(operation, None) => Next::Done(operations::begin(app, operation.clone())),
        }
    }

    /// The entries that match, best first; all of them while nothing is typed.
    fn found(&self) -> Vec<usize> {
        let text = self.input.text();
        if text.is_empty() {
            return (0..self.entries.len()).collect();
        }
        let pattern = Pattern::parse(text, CaseMatching::Ignore, Normalization::Smart);
        let mut matcher = Matcher::new(Config::DEFAULT);
        let mut buffer = Vec::new();
        let mut scored: Vec<(u32, usize)> = Vec::new();
        for (place, entry) in self.entries.iter().enumerate() {
            if let Some(score) = pattern.score(Utf32Str::new(&entry.words, &mut buffer), &mut matcher) {
                scored.push((score, place));
            }
        }
        scored.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        scored.into_iter().map(|(_, place)| place).collect()
    }

    /// Draws the palette over the body.
    pub fn draw(&self, canvas: &mut Canvas<'_>, body: Rect, _app: &App) {
        let area = centered(body, 76, body.height.saturating_sub(2).clamp(6, 20));
        let inner = canvas.boxed(area, "Find an action or a thing", Role::Rule);
        canvas.text(inner, 0, 0, ":", Role::Accent);
        self.input.draw(canvas, inner, 1, 0, true);
        let found = self.found();
        let rows = usize::from(inner.height.saturating_sub(2));
        let from = list::window(0, self.at, rows, found.len());
        for (y, (number, place)) in (2u16..).zip(found.iter().enumerate().skip(from).take(rows)) {
            let entry = &self.entries[*place];
            let refused = matches!(entry.target, Target::Operation(_, Some(_)));
            let note = u16::try_from(columns(&entry.note)).unwrap_or(0);
            let room = Rect {
                width: inner.width.saturating_sub(note + 1),
                ..inner
            };
            canvas.text(room, 2, y, &entry.words, if refused { Role::Dim } else { Role::Text });
            let line = canvas.look.line(entry.note.clone(), Role::Dim);
            canvas.right(inner, y, &line);
            if number == self.at {
                canvas.row_style(inner, y, Role::Select);
                canvas.text(inner, 0, y, canvas.look.glyphs.cursor, Role::Accent);
            }
        }
        if found.is_empty() {
            canvas.text(inner, 2, 2, "nothing matches; :q leaves", Role::Dim);
        }
    }
}

/// What can be done to anything that is live, the sandbox's incidents first.
fn operation_entries(app: &App) -> Vec<Entry> {
    let mut entries = Vec::new();
    if app
        .overview
        .as_ref()
        .is_some_and(|overview| overview.practice.is_some())
    {
        for (incident, cure) in &app.settings.incidents {
            let target = Target::Operation(Operation::Practice(incident.clone()), app.why_locked());
            entries.push(Entry {
                words: format!("Practice: {incident}"),
                note: format!("sandbox; cure: {cure}"),
                target,
            });
        }
    }
    // What the cursor is on comes first; then the jobs, so that their operations go by the shortest words.
    let mut subjects = app.subjects();
    subjects.extend(app.jobs.all().map(|job| Subject::Job(job.name.clone())));
    subjects.extend(overview::subjects(app));
    subjects.extend(runbook_subjects(app));
    for subject in subjects {
        let about = subject.words();
        for choice in app.choices(std::slice::from_ref(&subject)) {
            let known =
                |entry: &Entry| matches!(&entry.target, Target::Operation(known, _) if *known == choice.operation);
            if entries.iter().any(known) {
                continue;
            }
            let named = choice.words.contains(&subject.name());
            let words = if named {
                choice.words
            } else {
                format!("{about}: {}", choice.words)
            };
            let note = if choice.refused.is_some() { "not now" } else { "act" }.to_owned();
            entries.push(Entry {
                words,
                note,
                target: Target::Operation(choice.operation, choice.refused),
            });
        }
    }
    entries
}

fn runbook_subjects(app: &App) -> impl Iterator<Item = Subject> {
    let lines = app.overview.iter().flat_map(|overview| &overview.runbooks);
    lines.map(|line| Subject::Runbook(line.name.clone()))
}

/// Everything that has a name.
fn subject_entries(app: &App) -> Vec<Entry> {
    let mut subjects = overview::subjects(app);
    subjects.extend(app.jobs.all().map(|job| Subject::Job(job.name.clone())));
    subjects.extend(app.recoveries.all().map(|row| Subject::Recovery(row.id().clone())));
    subjects.extend(runbook_subjects(app));
    let mut entries: Vec<Entry> = Vec::new();
    let mut push = |words: String, target: Subject| {
        if !entries.iter().any(|entry| entry.words == words) {
            entries.push(Entry {
                words,
                note: "go".to_owned(),
                target: Target::Subject(target),
            });
        }
    };
    for subject in subjects {
        push(subject.words(), subject);
    }
    let snapshots = app.snapshots.window(0, SNAPSHOTS).map(|(_, _, snapshot)| {
        let job = snapshot.job.as_ref().map_or("", |job| job.as_str());
        let words = format!(
            "snapshot {} {job} {}",
            snapshot.id.short(),
            crate::tui::words::full(snapshot.taken_at)
        );
        Entry {
            words,
            note: "go".to_owned(),
            target: Target::Subject(Subject::Snapshot(snapshot.id.clone())),
        }
    });
    entries.extend(snapshots.collect::<Vec<_>>());
    entries
}
