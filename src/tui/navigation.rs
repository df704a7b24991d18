//! Going from place to place, with a way back.

use crate::domain::id::JobName;

use super::app::App;
use super::loading;
use super::message::Effect;
use super::place::{Pane, Place, join_path};
use super::screens::overview;
use super::subject::Subject;
use super::wizard::Wizard;

/// How many places are remembered.
const REMEMBERED: usize = 50;

/// Goes to a place, remembering this one.
pub fn go(app: &mut App, place: Place) -> Vec<Effect> {
    if place != app.place {
        let before = std::mem::replace(&mut app.place, place);
        app.last = Some(before.clone());
        app.back.push(before);
        if app.back.len() > REMEMBERED {
            app.back.remove(0);
        }
        app.forward.clear();
    }
    arrive(app)
}

/// What is done on arriving anywhere.
fn arrive(app: &mut App) -> Vec<Effect> {
    app.pane = Pane::List;
    app.scroll = 0;
    app.overlay = None;
    app.wizard = Wizard::opened(app.uptime);
    loading::ask_place(app)
}

/// To the view before this one; pressed twice, back again.
pub fn last_view(app: &mut App) -> Vec<Effect> {
    match app.last.clone() {
        Some(place) => go(app, place),
        None => Vec::new(),
    }
}

/// Earlier in the history of views.
pub fn history_back(app: &mut App) -> Vec<Effect> {
    let Some(place) = app.back.pop() else { return Vec::new() };
    let here = std::mem::replace(&mut app.place, place);
    app.last = Some(here.clone());
    app.forward.push(here);
    arrive(app)
}

/// Later in the history of views.
pub fn history_forward(app: &mut App) -> Vec<Effect> {
    let Some(place) = app.forward.pop() else {
        return Vec::new();
    };
    let here = std::mem::replace(&mut app.place, place);
    app.last = Some(here.clone());
    app.back.push(here);
    arrive(app)
}

/// One step out: from the detail to the list, out of a filter, up a directory, to the screen's root, to the Overview.
pub fn out(app: &mut App) -> Vec<Effect> {
    let now = app.now;
    if matches!(app.place, Place::Wizard(_)) && super::wizard::back(app) {
        return Vec::new();
    }
    if app.pane == Pane::Detail {
        app.pane = Pane::List;
        app.scroll = 0;
        app.zoomed = false;
        return Vec::new();
    }
    if let Some(rows) = app.rows_mut().filter(|rows| !rows.filter_text().is_empty()) {
        // An empty filter is always understood.
        let _ = rows.apply_filter("", now);
        return Vec::new();
    }
    let child = match &app.place {
        Place::Tree(_, path) => path.rsplit('/').next().map(str::to_owned),
        Place::Job(job) | Place::Retention(job) => Some(job.0.clone()),
        Place::Wizard(id) => Some(id.0.clone()),
        _ => None,
    };
    let parent = app.place.parent();
    // Files that were opened from a search lead back to it.
    let from = app.back.iter().rev().find(|place| !matches!(place, Place::Tree(..)));
    let parent = match (&app.place, from) {
        (Place::Tree(_, path), Some(search @ Place::Finder(_))) if path == "/" => Some(search.clone()),
        _ => parent,
    };
    match parent {
        Some(parent) => {
            let effects = go(app, parent);
            // The cursor lands on what was left, so that the next one is a key away.
            if let (Some(child), Place::Jobs) = (&child, &app.place) {
                app.jobs.select_key(child);
            }
            if let (Some(child), Place::Runbooks) = (&child, &app.place) {
                app.runbooks.select_key(&format!("run:{child}"));
            }
            app.tree_child = child;
            effects
        }
        None if app.place != Place::Overview => go(app, Place::Overview),
        None => {
            let key = app.settings.keymap.key(super::keymap::Action::Quit).unwrap_or_default();
            app.say(format!("this is the top; {key} or :q leaves, and the work goes on"));
            Vec::new()
        }
    }
}

/// Opens what the cursor is on.
pub fn open(app: &mut App) -> Vec<Effect> {
    match app.place.clone() {
        Place::Overview => match app.focus.clone() {
            Some(subject) => reveal(app, &subject),
            None => Vec::new(),
        },
        Place::Jobs => match app.jobs.selected().map(|job| job.name.clone()) {
            Some(name) => go(app, Place::Job(name)),
            None => Vec::new(),
        },
        Place::Retention(_) => match app.retention.selected().map(|one| one.snapshot.clone()) {
            Some(id) => reveal(app, &Subject::Snapshot(id)),
            None => Vec::new(),
        },
        Place::Snapshots => match app.snapshots.selected().map(|snapshot| snapshot.id.clone()) {
            Some(id) => go(app, Place::Tree(id, "/".to_owned())),
            None => Vec::new(),
        },
        Place::Tree(id, path) => {
            let Some(row) = app.tree.selected() else {
                return Vec::new();
            };
            let inside = join_path(&path, &row.entry.name);
            if row.is_dir() {
                go(app, Place::Tree(id, inside))
            } else {
                let is_file = row.entry.kind == "file";
                app.pane = Pane::Detail;
                app.scroll = 0;
                if is_file {
                    loading::ask_content(app, &id, &inside)
                } else {
                    Vec::new()
                }
            }
        }
        Place::Runbooks | Place::Executions | Place::Wizard(_) => super::runbooks::open(app),
        Place::Finder(_) => super::finder::open(app),
        Place::Job(_)
        | Place::Trash
        | Place::Recoveries
        | Place::Drills
        | Place::Alerts
        | Place::Audit
        | Place::Topology => {
            if app.rows().is_some_and(|rows| rows.shown() > 0) {
                app.pane = Pane::Detail;
                app.scroll = 0;
            }
            loading::ask_selected(app)
        }
    }
}

/// Goes where a thing is shown, with the cursor on it.
pub fn reveal(app: &mut App, subject: &Subject) -> Vec<Effect> {
    match subject {
        Subject::Service(name) => {
            let sources = app.overview.iter().flat_map(|overview| &overview.services);
            let service = sources.into_iter().find(|service| service.name == *name);
            let filter = match service.map(|service| service.sources.as_slice()) {
                Some([source]) => format!("source={source}"),
                _ => String::new(),
            };
            let effects = go(app, Place::Snapshots);
            let now = app.now;
            let _ = app.snapshots.set_filter(&filter, now);
            effects
        }
        Subject::Job(name) => to_job(app, name),
        Subject::Run(run, job) => {
            let effects = to_job(app, job);
            app.runs.select_key(run.as_str());
            effects
        }
        Subject::Snapshot(id) | Subject::Entry(id, _) => {
            let effects = go(app, Place::Snapshots);
            let now = app.now;
            if !app.snapshots.select_key(id.as_str()) {
                let _ = app.snapshots.set_filter("", now);
                app.snapshots.select_key(id.as_str());
            }
            effects
        }
        Subject::Recovery(id) => {
            let effects = go(app, Place::Recoveries);
            app.recoveries.select_key(id.as_str());
            app.pane = Pane::Detail;
            effects.into_iter().chain(loading::ask_selected(app)).collect()
        }
        Subject::Drill(name) => {
            let effects = go(app, Place::Drills);
            app.drills.select_key(name.as_str());
            effects
        }
        Subject::Alert(key) => {
            let effects = go(app, Place::Alerts);
            app.alerts.select_key(key.as_str());
            app.pane = Pane::Detail;
            effects
        }
        Subject::Runbook(name) => {
            let effects = go(app, Place::Runbooks);
            app.runbooks.select_key(&format!("book:{name}"));
            effects.into_iter().chain(loading::ask_selected(app)).collect()
        }
        Subject::Execution(id) => go(app, Place::Wizard(id.clone())),
        Subject::Event(seq) => {
            let effects = go(app, Place::Audit);
            app.audit.select_key(&seq.to_string());
            effects
        }
        Subject::Member(cluster, member) => {
            let effects = go(app, Place::Topology);
            app.topology.select_key(&format!("{cluster}/{member}"));
            effects
        }
        Subject::Maintenance(id) => {
            let name = app.maintenance(id).map(|view| view.maintenance.repository.clone());
            match name {
                Some(name) => reveal(app, &Subject::Repository(name)),
                None => go(app, Place::Overview),
            }
        }
        Subject::Repository(name) => {
            let effects = go(app, Place::Snapshots);
            let now = app.now;
            let _ = app.snapshots.set_filter(&format!("repository:{name}"), now);
            effects
        }
    }
}

/// To a job: the runs it has had.
fn to_job(app: &mut App, name: &JobName) -> Vec<Effect> {
    app.jobs.select_key(name.as_str());
    go(app, Place::Job(name.clone()))
}

/// Moves the cursor of the Overview.
pub fn move_focus(app: &mut App, by: isize) {
    let subjects = overview::subjects(app);
    let here = app
        .focus
        .as_ref()
        .and_then(|focus| subjects.iter().position(|subject| subject == focus));
    let last = subjects.len().saturating_sub(1);
    let next = here.map_or(0, |here| here.saturating_add_signed(by).min(last));
    app.focus = subjects.get(next).cloned();
}

/// Moves the cursor of the Overview to the first thing of the next or the last section.
pub fn move_section(app: &mut App, forward: bool) {
    let subjects = overview::subjects(app);
    let Some(first) = subjects.first() else { return };
    let kind = |subject: &Subject| match subject {
        // Runs and recoveries stand under one heading.
        Subject::Recovery(_) | Subject::Maintenance(_) | Subject::Execution(_) => {
            std::mem::discriminant(&Subject::Run(String::new().into(), String::new().into()))
        }
        other => std::mem::discriminant(other),
    };
    let mut heads: Vec<&Subject> = vec![first];
    for pair in subjects.windows(2) {
        if kind(&pair[0]) != kind(&pair[1]) {
            heads.push(&pair[1]);
        }
    }
    let here = app
        .focus
        .as_ref()
        .and_then(|focus| heads.iter().position(|head| kind(head) == kind(focus)));
    let count = heads.len();
    let next = match (here, forward) {
        (None, _) => 0,
        (Some(here), true) => (here + 1) % count,
        (Some(here), false) => (here + count - 1) % count,
    };
    app.focus = Some(heads[next].clone());
}
