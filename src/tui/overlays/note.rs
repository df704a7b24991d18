//! A note or a reason, asked for before something harmless is done.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Rect;

use super::{Next, centered, closes};
use crate::domain::Timestamp;
use crate::domain::anomaly::Found;
use crate::domain::command::Command;
use crate::domain::id::{AlertKey, ClusterName, RunbookRunId, SnapshotId};
use crate::domain::restore_point;
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, wrap};
use crate::tui::finder;
use crate::tui::link::Question;
use crate::tui::message::Effect;
use crate::tui::theme::Role;
use crate::tui::widgets::input::Input;

/// What the note is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoteFor {
    /// Taking alerts; the note may be empty.
    Acknowledge(Vec<AlertKey>),
    /// Closing an alert by hand; a reason is needed.
    Resolve(AlertKey),
    /// Keeping snapshots from being forgotten; the reason may be empty.
    Pin(Vec<SnapshotId>),
    /// Putting snapshots in the trash; a reason is needed.
    Forget(Vec<SnapshotId>),
    /// Changing the words of a snapshot: `audited -daily`.
    Tag(SnapshotId),
    /// Naming the present place in the log of a cluster: the name.
    RestorePoint(ClusterName),
    /// Saying what a snapshot was found to be; a reason is needed.
    Look(SnapshotId, Found),
    /// Telling a step of a runbook to go by another snapshot; a reason is needed.
    Instead {
        /// The execution.
        run: RunbookRunId,
        /// The step.
        step: String,
        /// The snapshot.
        snapshot: SnapshotId,
        /// The moment whose data it holds.
        time: Timestamp,
    },
}

/// A note being typed.
#[derive(Debug, Clone)]
pub struct Note {
    /// What it is for.
    pub purpose: NoteFor,
    /// What is typed.
    pub input: Input,
    complaint: Option<&'static str>,
}

impl Note {
    /// An empty note.
    pub fn new(purpose: NoteFor) -> Self {
        Self {
            purpose,
            input: Input::default(),
            complaint: None,
        }
    }

    /// A note that says something already.
    pub fn with(purpose: NoteFor, text: String) -> Self {
        Self {
            purpose,
            input: Input::with(text),
            complaint: None,
        }
    }

    /// Takes a key.
    pub fn press(&mut self, app: &mut App, event: &KeyEvent) -> Next {
        if closes(event) {
            return Next::Close;
        }
        if event.code != KeyCode::Enter {
            self.input.press(event);
            return Next::Stay;
        }
        if let NoteFor::Look(id, found) = &self.purpose {
            let reason = self.input.text().trim().to_owned();
            if reason.is_empty() {
                self.complaint = Some("a reason is needed: how do you know?");
                return Next::Stay;
            }
            finder::looked(app, id.clone(), *found, reason);
            return Next::Done(Vec::new());
        }
        if let Some(why) = app.why_locked() {
            app.complain(format!("not now: {why}"));
            return Next::Stay;
        }
        let text = self.input.text().trim().to_owned();
        let commands = match &self.purpose {
            NoteFor::Look(..) => Vec::new(),
            NoteFor::Instead { .. } if text.is_empty() => {
                self.complaint = Some("a reason is needed: it goes into the report");
                return Next::Stay;
            }
            NoteFor::Instead {
                run,
                step,
                snapshot,
                time,
            } => {
                let told = finder::told(run.clone(), step.clone(), snapshot.clone(), *time, text);
                return Next::Done(vec![told]);
            }
            NoteFor::Pin(ids) => {
                let reason = Some(text).filter(|text| !text.is_empty());
                let pin = |id: &SnapshotId| Command::PinSnapshot {
                    snapshot: id.clone(),
                    reason: reason.clone(),
                };
                ids.iter().map(pin).collect()
            }
            NoteFor::Forget(_) if text.is_empty() => {
                self.complaint = Some("a reason is needed: it stays with the snapshot in the trash");
                return Next::Stay;
            }
            NoteFor::Forget(ids) => vec![Command::ForgetSnapshots {
                snapshots: ids.clone(),
                reason: text,
            }],
            NoteFor::Tag(_) if text.is_empty() => {
                self.complaint = Some("write the words to add, and with a - before them those to remove");
                return Next::Stay;
            }
            NoteFor::Tag(id) => {
                let (remove, add): (Vec<&str>, Vec<&str>) =
                    text.split_whitespace().partition(|word| word.starts_with('-'));
                vec![Command::TagSnapshot {
                    snapshot: id.clone(),
                    add: add.into_iter().map(str::to_owned).collect(),
                    remove: remove.into_iter().map(|word| word[1..].to_owned()).collect(),
                }]
            }
            NoteFor::RestorePoint(_) if restore_point::wrong_name(&text).is_some() => {
                self.complaint = Some("a name of 1 to 63 bytes is needed: a recovery goes to it by that");
                return Next::Stay;
            }
            NoteFor::RestorePoint(cluster) => vec![Command::CreateRestorePoint {
                cluster: cluster.clone(),
                name: text,
            }],
            NoteFor::Acknowledge(keys) => {
                let note = Some(text).filter(|text| !text.is_empty());
                keys.iter()
                    .map(|key| Command::AcknowledgeAlert {
                        key: key.clone(),
                        note: note.clone(),
                    })
                    .collect()
            }
            NoteFor::Resolve(_) if text.is_empty() => {
                self.complaint = Some("a reason is needed: it goes into the journal");
                return Next::Stay;
            }
            NoteFor::Resolve(key) => vec![Command::ResolveAlert {
                key: key.clone(),
                reason: text,
            }],
        };
        Next::Done(
            commands
                .into_iter()
                .map(|command| Effect::Ask(Question::Command(command)))
                .collect(),
        )
    }

    /// Draws the prompt over the body.
    pub fn draw(&self, canvas: &mut Canvas<'_>, body: Rect) {
        let (title, words) = match &self.purpose {
            NoteFor::Acknowledge(keys) if keys.len() > 1 => (
                "Acknowledge",
                format!(
                    "You take {} alerts. They stay open until their conditions end.",
                    keys.len()
                ),
            ),
            NoteFor::Acknowledge(keys) => {
                let key = keys.first().map_or("", |key| key.as_str());
                (
                    "Acknowledge",
                    format!("You take {key}. It stays open until its condition ends."),
                )
            }
            NoteFor::Resolve(key) => (
                "Resolve by hand",
                format!("{key} is closed. It opens again if its condition is seen again."),
            ),
            NoteFor::Pin(ids) => (
                "Pin",
                format!(
                    "Nothing forgets {}, neither a rule nor a person, until it is unpinned.",
                    named(ids)
                ),
            ),
            NoteFor::Forget(ids) => (
                "Forget",
                format!(
                    "Puts {} in the trash. Undo: bring it back from there (t on screen 3) until its time is over and the repository is pruned.",
                    named(ids)
                ),
            ),
            NoteFor::Tag(id) => (
                "Change words",
                format!(
                    "Words to add to {}, and with a - before them words to remove. Its id changes with them.",
                    id.short()
                ),
            ),
            NoteFor::Look(id, Found::Clean) => (
                "It is clean",
                format!(
                    "Snapshot {} and all before it count as clean from now on. Kept in this console, and given with the snapshot that is used.",
                    id.short()
                ),
            ),
            NoteFor::Look(id, Found::Bad) => (
                "It is bad",
                format!(
                    "Snapshot {} and all after it count as bad from now on. Kept in this console, and given with the snapshot that is used.",
                    id.short()
                ),
            ),
            NoteFor::Instead {
                run, step, snapshot, ..
            } => (
                "Use this snapshot",
                format!(
                    "Step {step} of {run} goes by {} from here on. Every step that refers to it is asked again: its proof, and who agreed.",
                    snapshot.short()
                ),
            ),
            NoteFor::RestorePoint(cluster) => (
                "Create a restore point",
                format!(
                    "Names the present place in the log of cluster {cluster}, written by its primary. A recovery can go to it by that name; nothing else changes."
                ),
            ),
        };
        let lines = wrap(&words, usize::from(body.width.min(66).saturating_sub(4)));
        let count = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        let inner = canvas.boxed(centered(body, 66, count.saturating_add(7)), title, Role::Rule);
        for (y, line) in (1u16..).zip(&lines) {
            canvas.text(inner, 0, y, line, Role::Text);
        }
        let label = match self.purpose {
            NoteFor::Resolve(_) | NoteFor::Forget(_) | NoteFor::Instead { .. } => "Reason: ",
            NoteFor::Look(..) => "How do you know: ",
            NoteFor::Pin(_) => "Reason (may be empty): ",
            NoteFor::Tag(_) => "Words: ",
            NoteFor::RestorePoint(_) => "Name: ",
            NoteFor::Acknowledge(_) => "Note (may be empty): ",
        };
        let x = canvas.text(inner, 0, count + 2, label, Role::Dim);
        self.input.draw(canvas, inner, x, count + 2, true);
        let hint = self.complaint.unwrap_or("Enter does it, Esc does not");
        let role = if self.complaint.is_some() {
            Role::Warn
        } else {
            Role::Dim
        };
        canvas.text(inner, 0, count + 4, hint, role);
    }
}

/// The snapshots in a few words.
fn named(ids: &[SnapshotId]) -> String {
    match ids {
        [one] => format!("snapshot {}", one.short()),
        many => format!("{} snapshots", many.len()),
    }
}
