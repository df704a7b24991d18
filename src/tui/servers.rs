//! Recovered servers that wait: what can be done with one, what stands in the dialogs before it, and how the list of
//! recoveries learns of it.

use super::app::App;
use super::link::Question;
use super::message::Effect;
use super::operation::{Choice, Operation};
use super::overlays::dialog::Warning;
use super::screens::recoveries::RecoveryRow;
use crate::domain::command::Command;
use crate::domain::follow_up::{FollowUp, LeftServer};
use crate::domain::id::RecoveryId;
use crate::domain::view::{Query, WaitingView};

impl App {
    /// The server that a recovery has left and that waits.
    pub fn waiting(&self, id: &RecoveryId) -> Option<&WaitingView> {
        let overview = self.overview.as_ref()?;
        overview.waiting.iter().find(|view| view.waiting.recovery == *id)
    }

    /// What can be done with the server of a recovery; nothing when it left none.
    pub(super) fn server_choices(&self, id: &RecoveryId) -> Vec<Choice> {
        let waiting = self.waiting(id).map(|view| &view.waiting);
        let left = self.recoveries.get(id.as_str()).and_then(RecoveryRow::left);
        if waiting.is_none() && left.is_none() {
            return Vec::new();
        }
        let over = || match left {
            Some(left) => format!("it was {}, by {}", left.seen.fate.word(), left.by),
            None => "nothing is known of it yet".to_owned(),
        };
        let refused = |what: &FollowUp| match waiting {
            Some(waiting) => waiting.why_not(what),
            None => Some(over()),
        };
        let resume = FollowUp::Resume;
        let started = Operation::Give(vec![Command::FollowUpRecovery {
            recovery: id.clone(),
            what: resume.clone(),
        }]);
        // Whether a log can still be replayed to where somebody wants is said when that is known.
        let busy = match waiting {
            Some(waiting) => waiting.follow_up.as_ref().and(waiting.why_not(&FollowUp::Promote)),
            None => Some(over()),
        };
        let stop = waiting.and_then(|waiting| waiting.follow_up.as_ref());
        let mut choices = vec![
            Choice::new(
                "Open it for writing (promote)",
                Operation::Promote(id.clone()),
                refused(&FollowUp::Promote),
            ),
            Choice::new("Move it on to a later instant", Operation::MoveOn(id.clone()), busy),
            Choice::new("Start its server again", started, refused(&resume)),
            Choice::new(
                "Throw it away",
                Operation::Discard(id.clone()),
                refused(&FollowUp::Discard),
            ),
        ];
        if let Some(live) = stop {
            let recovery = id.clone();
            choices.insert(
                0,
                Choice::new(
                    format!("Stop {}", live.what.doing()),
                    Operation::Give(vec![Command::CancelRecovery { recovery }]),
                    None,
                ),
            );
        }
        choices
    }
}

/// Brings the list of recoveries up to date with the servers that wait; what it lacks is asked for, once.
pub fn note(app: &mut App) -> Vec<Effect> {
    let Some(overview) = &app.overview else {
        return Vec::new();
    };
    let views = overview.waiting.clone();
    let still = |id: &RecoveryId| views.iter().any(|view| view.waiting.recovery == *id);
    let over = app.recoveries.all().filter_map(|row| match row {
        RecoveryRow::Waiting(record, _) if !still(&record.id) => Some(RecoveryRow::Done(record.clone())),
        _ => None,
    });
    let mut rows: Vec<RecoveryRow> = over.collect();
    let mut effects = Vec::new();
    for view in &views {
        let id = &view.waiting.recovery;
        match app.recoveries.get(id.as_str()) {
            Some(RecoveryRow::Waiting(_, known)) if **known == *view => {}
            Some(RecoveryRow::Done(record) | RecoveryRow::Waiting(record, _)) => {
                let mut record = record.clone();
                record.left = Some(view.waiting.server.clone());
                rows.push(RecoveryRow::Waiting(record, Box::new(view.clone())));
            }
            // It is older than the pages that are here.
            None if app.recoveries.loaded && app.servers_asked.insert(id.clone()) => {
                effects.push(Effect::Ask(Question::Recoveries(Query {
                    id: Some(id.0.clone()),
                    ..Query::default()
                })));
            }
            Some(RecoveryRow::Live(_)) | None => {}
        }
    }
    if !rows.is_empty() {
        app.recoveries.note(rows, app.now);
    }
    effects
}

/// Takes in how a server stands now, by an event.
pub fn changed(app: &mut App, id: &RecoveryId, server: &LeftServer) {
    let Some(RecoveryRow::Done(record) | RecoveryRow::Waiting(record, _)) = app.recoveries.get(id.as_str()) else {
        return;
    };
    let mut record = record.clone();
    record.left = Some(server.clone());
    app.recoveries.note(vec![RecoveryRow::Done(record)], app.now);
    // One that waits still is shown as the picture has it.
    let _ = note(app);
    if let Some(step) = server.steps.last().filter(|_| server.seen.fate.is_undecided()) {
        let words = format!("{id}: {}", step.words());
        if step.error.is_some() {
            app.complain(words);
        } else {
            app.say(words);
        }
    }
}

fn facts(app: &App, view: &WaitingView) -> Vec<(&'static str, String)> {
    let waiting = &view.waiting;
    let place = app.overview.as_ref().map_or_else(String::new, |overview| {
        format!("{}, {} {}", overview.agent.host, overview.environment, overview.site)
    });
    let source = waiting.source.as_ref().map_or("a cluster", |source| source.as_str());
    vec![
        ("host", place),
        ("directory", waiting.server.directory.display().to_string()),
        ("paused at", waiting.server.seen.target.to_string()),
        ("role", format!("private; a copy of {source}, which is not touched")),
    ]
}

/// What stands in the dialog before a server is opened.
pub(super) fn promote(app: &App, id: &RecoveryId) -> Option<Warning> {
    let view = app.waiting(id)?;
    let name = view.waiting.server.name();
    Some(Warning {
        title: "Open a recovered server for writing".to_owned(),
        facts: facts(app, view),
        losses: vec!["the way to later instants; its history is its own then".to_owned()],
        command: format!("lifeboat recovery promote {id} --yes {name}"),
        undo: "no undo; recover again, into another directory".to_owned(),
        name,
    })
}

/// What stands in the dialog before a server is thrown away.
pub(super) fn discard(app: &App, id: &RecoveryId) -> Option<Warning> {
    let view = app.waiting(id)?;
    let name = view.waiting.server.name();
    Some(Warning {
        title: "Throw a recovered server away".to_owned(),
        facts: facts(app, view),
        losses: vec![format!("everything in {}", view.waiting.server.directory.display())],
        command: format!("lifeboat recovery discard {id} --yes {name}"),
        undo: "no undo; recover again from the snapshot and the log".to_owned(),
        name,
    })
}
