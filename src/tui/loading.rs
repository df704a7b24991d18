//! Which questions a place needs answered, and when the next page is worth asking for.

use crate::domain::Millis;
use crate::domain::id::SnapshotId;
use crate::domain::view::Query;

use super::app::App;
use super::link::Question;
use super::message::Effect;
use super::place::Place;
use super::screens::recoveries::RecoveryRow;
use super::screens::tree::PREVIEW_BYTES;
use super::table::Rows;

/// Rows of the first page: a few screens.
const FIRST: u32 = 200;
/// How often the servers are asked how they are, while that is on the screen.
const TOPOLOGY_EVERY: Millis = Millis::from_secs(5);
/// Rows of the pages after.
const NEXT: u32 = 500;

fn ask(question: Question) -> Vec<Effect> {
    vec![Effect::Ask(question)]
}

fn first() -> Query {
    Query {
        limit: Some(FIRST),
        ..Query::default()
    }
}

/// Asks for what a place shows, unless it is here already.
pub fn ask_place(app: &mut App) -> Vec<Effect> {
    match app.place.clone() {
        Place::Overview | Place::Jobs | Place::Drills => Vec::new(),
        Place::Runbooks | Place::Wizard(_) => super::runbooks::ask(app),
        Place::Job(job) => {
            if app.runs_of.as_ref() == Some(&job) && (app.runs.loaded || app.runs.loading) {
                return Vec::new();
            }
            app.runs = super::table::Table::default();
            app.runs.loading = true;
            app.runs_of = Some(job.clone());
            ask(Question::Runs(Query {
                job: Some(job.0),
                ..first()
            }))
        }
        Place::Retention(job) => {
            if app.retention_plan.as_ref().is_none_or(|plan| plan.job != job) {
                app.retention = super::table::Table::default();
                app.retention_plan = None;
            }
            // Rules speak of now, so what was here before is asked for again.
            app.retention.loading = true;
            ask(Question::Retention(job.0))
        }
        Place::Tree(snapshot, path) => {
            if app.tree_of.as_ref() == Some(&(snapshot.clone(), path.clone())) && app.tree.loaded {
                return Vec::new();
            }
            app.tree = super::table::Table::default();
            app.tree.loading = true;
            app.tree_of = Some((snapshot.clone(), path.clone()));
            ask(Question::Tree(snapshot.0, path))
        }
        Place::Finder(search) => super::finder::ask(app, &search.job),
        Place::Topology => ask_topology(app),
        place => {
            let (loaded, loading) = flags(app, &place);
            if *loaded || *loading {
                return Vec::new();
            }
            *loading = true;
            ask(page(&place, first()))
        }
    }
}

/// Asks what the clusters look like now, unless an answer is on its way.
pub(super) fn ask_topology(app: &mut App) -> Vec<Effect> {
    if app.topology.loading {
        return Vec::new();
    }
    app.topology.loading = true;
    app.topology_asked = Some(app.uptime);
    ask(Question::Clusters)
}

/// Asks again for what changes by itself and is on the screen.
pub fn poll(app: &mut App) -> Vec<Effect> {
    let due = app
        .topology_asked
        .is_none_or(|at| app.uptime.0 >= at.0 + TOPOLOGY_EVERY.0);
    if app.place == Place::Topology && due && app.held.is_none() {
        ask_topology(app)
    } else {
        super::runbooks::ask(app)
    }
}

fn flags<'a>(app: &'a mut App, place: &Place) -> (&'a mut bool, &'a mut bool) {
    match place {
        Place::Recoveries => (&mut app.recoveries.loaded, &mut app.recoveries.loading),
        Place::Executions => (&mut app.executions.loaded, &mut app.executions.loading),
        Place::Alerts => (&mut app.alerts.loaded, &mut app.alerts.loading),
        Place::Audit => (&mut app.audit.loaded, &mut app.audit.loading),
        Place::Trash => (&mut app.trash.loaded, &mut app.trash.loading),
        _ => (&mut app.snapshots.loaded, &mut app.snapshots.loading),
    }
}

fn page(place: &Place, query: Query) -> Question {
    match place {
        Place::Recoveries => Question::Recoveries(query),
        Place::Executions => Question::Executions(query),
        Place::Alerts => Question::Alerts(query),
        Place::Audit => Question::Journal(query),
        Place::Trash => Question::Snapshots(Query {
            trash: Some(true),
            ..query
        }),
        _ => Question::Snapshots(query),
    }
}

/// Asks for everything again, after the agent was away or when somebody wants to be sure.
pub fn refresh(app: &mut App) -> Vec<Effect> {
    let mut effects = Vec::new();
    for place in [
        Place::Snapshots,
        Place::Trash,
        Place::Recoveries,
        Place::Executions,
        Place::Alerts,
        Place::Audit,
    ] {
        let here = place == app.place;
        let (loaded, loading) = flags(app, &place);
        // Snapshots are always wanted: the palette and the restore form look them up.
        if *loaded || here || place == Place::Snapshots {
            *loading = true;
            effects.push(Effect::Ask(page(&place, first())));
        }
    }
    if let Some(job) = app.runs_of.clone() {
        effects.push(Effect::Ask(Question::Runs(Query {
            job: Some(job.0),
            ..first()
        })));
    }
    if app.place == Place::Topology {
        effects.extend(ask_topology(app));
    }
    // Asked before the line was lost, answered never.
    app.documents_asked.clear();
    app.wizard.asked = false;
    effects.extend(super::runbooks::ask(app));
    if let Place::Retention(job) = &app.place {
        effects.push(Effect::Ask(Question::Retention(job.0.clone())));
    }
    if let Place::Finder(search) = app.place.clone() {
        effects.extend(super::finder::again(app, &search.job));
    }
    if let Place::Tree(snapshot, path) = &app.place {
        effects.push(Effect::Ask(Question::Tree(snapshot.0.clone(), path.clone())));
    }
    effects
}

/// Asks for the next page when the cursor comes near the end.
pub fn ask_more(app: &mut App) -> Vec<Effect> {
    if !app.rows().is_some_and(Rows::wants_more) {
        return Vec::new();
    }
    let place = app.place.clone();
    let cursor = match &place {
        Place::Job(_) => app.runs.next.clone(),
        Place::Snapshots => app.snapshots.next.clone(),
        Place::Trash => app.trash.next.clone(),
        Place::Recoveries => app.recoveries.next.clone(),
        Place::Executions => app.executions.next.clone(),
        Place::Alerts => app.alerts.next.clone(),
        Place::Audit => app.audit.next.clone(),
        _ => None,
    };
    let query = Query {
        cursor,
        limit: Some(NEXT),
        ..Query::default()
    };
    match place {
        Place::Job(job) => {
            app.runs.loading = true;
            ask(Question::Runs(Query {
                job: Some(job.0),
                ..query
            }))
        }
        place => {
            *flags(app, &place).1 = true;
            ask(page(&place, query))
        }
    }
}

/// Asks the agent for rows that pass the filter but are not here yet; there are some only when pages are missing.
pub fn ask_filtered(app: &mut App) -> Vec<Effect> {
    if !app.has_more() {
        return Vec::new();
    }
    let query = match &app.place {
        Place::Snapshots => app.snapshots.filter().query(app.now),
        Place::Trash => app.trash.filter().query(app.now),
        Place::Recoveries => app.recoveries.filter().query(app.now),
        Place::Executions => app.executions.filter().query(app.now),
        Place::Alerts => app.alerts.filter().query(app.now),
        Place::Audit => app.audit.filter().query(app.now),
        _ => return Vec::new(),
    };
    if query == Query::default() {
        return Vec::new();
    }
    ask(page(
        &app.place,
        Query {
            limit: Some(1000),
            ..query
        },
    ))
}

/// Asks for the beginning of a file.
pub fn ask_content(app: &App, snapshot: &SnapshotId, path: &str) -> Vec<Effect> {
    let here = app
        .preview
        .as_ref()
        .is_some_and(|preview| preview.snapshot == snapshot.0 && preview.path == path);
    if here {
        Vec::new()
    } else {
        ask(Question::Content(snapshot.0.clone(), path.to_owned(), PREVIEW_BYTES))
    }
}

/// Asks for what the detail of the selected row needs: the plan of a restore, for the command that works without us.
pub fn ask_selected(app: &mut App) -> Vec<Effect> {
    if app.place == Place::Runbooks {
        return super::runbooks::ask(app);
    }
    let Some(row) = app.recoveries.selected().filter(|_| app.place == Place::Recoveries) else {
        return Vec::new();
    };
    let wanted = !row.request().target.is_verification() && !app.plans.contains_key(row.id());
    match row {
        // A plan for the place where a server waits would say only that.
        RecoveryRow::Live(_) | RecoveryRow::Done(_) if wanted => ask(Question::Plan(Box::new(row.request().clone()))),
        _ => Vec::new(),
    }
}

impl App {
    /// Whether the agent has more rows for this place than are here.
    pub fn has_more(&self) -> bool {
        match &self.place {
            Place::Job(_) => self.runs.next.is_some(),
            Place::Snapshots => self.snapshots.next.is_some(),
            Place::Trash => self.trash.next.is_some(),
            Place::Recoveries => self.recoveries.next.is_some(),
            Place::Executions => self.executions.next.is_some(),
            Place::Alerts => self.alerts.next.is_some(),
            Place::Audit => self.audit.next.is_some(),
            Place::Overview
            | Place::Jobs
            | Place::Drills
            | Place::Runbooks
            | Place::Wizard(_)
            | Place::Retention(_)
            | Place::Tree(..)
            | Place::Finder(_)
            | Place::Topology => false,
        }
    }
}
