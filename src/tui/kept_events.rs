//! What events about keeping change in the pages that are here.

use crate::domain::event::{Event, EventRecord};
use crate::domain::id::SnapshotId;
use crate::domain::maintenance::Task;
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::upkeep::retagged;

use super::app::App;
use super::link::Question;
use super::message::Effect;
use super::place::Place;

/// Takes an event in.
pub(super) fn event(app: &mut App, record: &EventRecord) {
    let now = app.now;
    match &record.event {
        Event::SnapshotForgotten { snapshot, mark } => {
            if let Some(mut known) = app.snapshots.get(snapshot.as_str()).cloned() {
                app.snapshots.remove(|row| row.id == *snapshot, now);
                known.forgotten = Some(mark.clone());
                known.expiry = None;
                if app.trash.loaded {
                    app.trash.note(vec![known], now);
                }
            }
        }
        Event::SnapshotUnforgotten { snapshot } | Event::SnapshotPurged { snapshot } => {
            app.trash.remove(|row| row.id == *snapshot, now);
        }
        Event::SnapshotPinned { snapshot, mark } => change(app, snapshot, |known| known.pinned = Some(mark.clone())),
        Event::SnapshotUnpinned { snapshot } => change(app, snapshot, |known| known.pinned = None),
        Event::SnapshotRetagged { old, new, tags } => {
            if let Some(known) = app.snapshots.get(old.as_str()).cloned() {
                app.snapshots.remove(|row| row.id == *old, now);
                app.snapshots.note(vec![retagged(&known, new, tags)], now);
                app.snapshots.select_key(new.as_str());
            }
        }
        _ => {}
    }
}

fn change(app: &mut App, snapshot: &SnapshotId, change: impl Fn(&mut SnapshotRecord)) {
    if let Some(mut known) = app.snapshots.get(snapshot.as_str()).cloned() {
        change(&mut known);
        app.snapshots.note(vec![known], app.now);
    }
}

/// What has to be asked again: the plan of retention that is open, when it was applied or something it rests on changed.
pub(super) fn again(app: &mut App, record: &EventRecord) -> Vec<Effect> {
    let Place::Retention(open) = &app.place else {
        return Vec::new();
    };
    let changed = match &record.event {
        Event::MaintenanceFinished { record, .. } => !matches!(record.task, Task::Prune | Task::Check { .. }),
        Event::RunFinished { record } => record.job == *open,
        _ => false,
    };
    if changed {
        vec![Effect::Ask(Question::Retention(open.0.clone()))]
    } else {
        Vec::new()
    }
}
