//! The live stream: pictures, events and signs of life, taken in as they come, or kept while the screen is frozen.

use std::sync::Arc;

use crate::domain::Millis;
use crate::domain::alert::AlertRecord;
use crate::domain::event::{Event, EventRecord};
use crate::domain::snapshot::{Evidence, EvidenceLevel};
use crate::domain::view::{Overview, StreamItem};

use super::app::{App, Contact};
use super::kept_events as kept;
use super::link::Trouble;
use super::loading;
use super::message::Effect;
use super::screens::overview;
use super::screens::recoveries::RecoveryRow;
use super::screens::runbooks::RunbookRow;
use super::servers;

/// While frozen, at most this many items are kept; beyond, everything is asked for again afterwards.
const KEPT: usize = 10_000;

/// The stream is open.
pub fn attached(app: &mut App) -> Vec<Effect> {
    let again = matches!(app.contact, Contact::Lost { .. });
    app.contact = Contact::Open;
    app.heard_at = Some(app.uptime);
    if again {
        app.say("the agent is back");
    }
    // What happened meanwhile is not in the stream.
    loading::refresh(app)
}

/// The stream is gone.
pub fn detached(app: &mut App, trouble: Trouble, retry_in: Millis) {
    app.contact = Contact::Lost {
        why: trouble.message,
        hint: trouble.hint,
        retry_at: Millis(app.uptime.0.saturating_add(retry_in.0)),
    };
    // What was on its way will not come.
    app.snapshots.loading = false;
    app.recoveries.loading = false;
    app.alerts.loading = false;
    app.executions.loading = false;
    app.topology.loading = false;
    app.audit.loading = false;
    app.runs.loading = false;
    app.finder.rows.loading = false;
    app.tree.loading = false;
}

/// Something came.
pub fn came(app: &mut App, item: Arc<StreamItem>) -> Vec<Effect> {
    app.heard_at = Some(app.uptime);
    match &mut app.held {
        Some(held) if held.len() < KEPT => {
            held.push(item);
            Vec::new()
        }
        Some(_) => Vec::new(),
        None => take_in(app, &item),
    }
}

/// Holds the screen still, or lets go and takes in what came meanwhile.
pub fn freeze(app: &mut App) -> Vec<Effect> {
    match app.held.take() {
        None => {
            app.held = Some(Vec::new());
            app.say("frozen; what happens meanwhile is kept, f goes on");
            Vec::new()
        }
        Some(held) => {
            let overflowed = held.len() >= KEPT;
            let mut effects: Vec<Effect> = held.iter().flat_map(|item| take_in(app, item)).collect();
            if overflowed {
                effects.extend(loading::refresh(app));
            }
            effects
        }
    }
}

fn take_in(app: &mut App, item: &StreamItem) -> Vec<Effect> {
    match item {
        StreamItem::Overview { overview } => picture(app, overview),
        StreamItem::Event { record } => {
            event(app, record);
            super::finder::event(app, record);
            kept::again(app, record)
        }
        StreamItem::Alive { .. } => Vec::new(),
    }
}

fn picture(app: &mut App, overview: &Overview) -> Vec<Effect> {
    // Small differences are the way of the line, not of the clocks.
    let ahead = overview.at - app.wall();
    app.clock_ahead = if ahead.num_seconds().abs() > 2 {
        ahead
    } else {
        chrono::Duration::zero()
    };
    app.now = app.wall() + app.clock_ahead;
    app.jobs.set(overview.jobs.clone(), app.now);
    let live = overview
        .recoveries
        .iter()
        .map(|view| RecoveryRow::Live(Box::new(view.clone())));
    app.recoveries.note(live.collect(), app.now);
    let open = |record: &AlertRecord| record.resolved_at.is_none();
    let still = |record: &AlertRecord| overview.alerts.iter().any(|alert| alert.key == record.alert.key);
    app.alerts.remove(|record| open(record) && !still(record), app.now);
    let alerts = overview.alerts.iter().map(|alert| AlertRecord {
        alert: alert.clone(),
        resolved_at: None,
        resolution: None,
    });
    app.alerts.note(alerts.collect(), app.now);
    app.drills.set(overview.drills.clone(), app.now);
    app.runbooks.set(RunbookRow::of(overview), app.now);
    app.overview = Some(overview.clone());
    let effects = servers::note(app);
    let subjects = overview::subjects(app);
    if !app.focus.as_ref().is_some_and(|focus| subjects.contains(focus)) {
        app.focus = subjects.into_iter().next();
    }
    effects
}

/// What an event changes in the pages that are here. Pages that are not here will have it when they come.
fn event(app: &mut App, record: &EventRecord) {
    let now = app.now;
    if app.audit.loaded {
        app.audit.note(vec![record.clone()], now);
    }
    match &record.event {
        Event::RunFinished { record: run } if app.runs_of.as_ref() == Some(&run.job) => {
            app.runs.note(vec![run.clone()], now);
        }
        Event::SnapshotRecorded { snapshot } => app.snapshots.note(vec![snapshot.clone()], now),
        Event::SnapshotVanished { snapshot } => {
            if let Some(mut known) = app.snapshots.get(snapshot.as_str()).cloned() {
                known.vanished_at = Some(record.at);
                app.snapshots.note(vec![known], now);
            }
        }
        Event::EvidenceRaised { snapshot, level } => {
            prove(app, snapshot.as_str(), |evidence| raise(evidence, *level, record));
        }
        Event::EvidenceRefuted { snapshot, failure } => {
            prove(app, snapshot.as_str(), |evidence| {
                evidence.failure = Some(failure.clone());
            });
        }
        Event::RecoveryFinished { record: done } => {
            app.recoveries
                .note(vec![RecoveryRow::Done(Box::new(done.clone()))], now);
        }
        Event::Runbook { run, fact } => super::runbooks::event(app, run, fact),
        Event::FollowUpEnded { recovery, server } | Event::RecoveredServerSeen { recovery, server } => {
            servers::changed(app, recovery, server);
        }
        Event::RestorePointCreated { name, lsn, .. } => app.say(format!("restore point {name} is at {lsn}")),
        Event::RestorePointFailed { name, error, .. } => {
            app.complain(format!("restore point {name} was not made: {error}"));
        }
        Event::AlertResolved { key, reason } => {
            if let Some(mut known) = app.alerts.get(key.as_str()).cloned() {
                known.resolved_at = Some(record.at);
                known.resolution = Some(reason.clone());
                app.alerts
                    .remove(|row| row.resolved_at.is_none() && row.alert.key == *key, now);
                app.alerts.note(vec![known], now);
            }
        }
        _ => kept::event(app, record),
    }
}

fn prove(app: &mut App, snapshot: &str, change: impl Fn(&mut Evidence)) {
    if let Some(mut known) = app.snapshots.get(snapshot).cloned() {
        change(&mut known.evidence);
        app.snapshots.note(vec![known], app.now);
    }
}

/// A proof of a level stands for those below it; a failure is overcome by a proof at least as high.
fn raise(evidence: &mut Evidence, level: EvidenceLevel, record: &EventRecord) {
    if level >= evidence.level {
        evidence.level = level;
        evidence.at = record.at;
    }
    if evidence.failure.as_ref().is_some_and(|failure| level >= failure.level) {
        evidence.failure = None;
    }
}
