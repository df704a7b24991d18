//! What each action of the key map does.

use super::app::App;
use super::keymap::{Action, Group};
use super::link::Question;
use super::loading;
use super::message::Effect;
use super::navigation;
use super::overlays::filter::FilterPrompt;
use super::overlays::help::Help;
use super::overlays::menu::{Menu, SortMenu};
use super::overlays::pager::Pager;
use super::overlays::palette::Palette;
use super::overlays::{Overlay, moved};
use super::place::{Pane, Place, Screen};
use super::screens::recoveries::RecoveryRow;
use super::stream;
use super::subject::Subject;
use super::{finder, runbooks, wizard};

/// Does what an action says.
pub fn perform(app: &mut App, action: Action) -> Vec<Effect> {
    if let Some(screen) = Screen::ALL.into_iter().find(|screen| screen.action() == action) {
        return navigation::go(app, screen.place());
    }
    match action {
        Action::Down
        | Action::Up
        | Action::HalfDown
        | Action::HalfUp
        | Action::PageDown
        | Action::PageUp
        | Action::Top
        | Action::Bottom => moves(app, action),
        Action::Open | Action::Right => navigation::open(app),
        Action::Back | Action::Left => navigation::out(app),
        Action::NextPane => panes(app, true),
        Action::PreviousPane => panes(app, false),
        Action::LastView => navigation::last_view(app),
        Action::HistoryBack => navigation::history_back(app),
        Action::HistoryForward => navigation::history_forward(app),
        Action::Refresh => {
            app.say("asking the agent again");
            loading::refresh(app)
        }
        Action::Repaint => vec![Effect::Repaint],
        Action::Suspend => vec![Effect::Suspend],
        Action::Quit => vec![Effect::Quit { leave_screen: false }],
        Action::QuitKeeping => vec![Effect::Quit { leave_screen: true }],
        Action::Freeze => stream::freeze(app),
        Action::Log => log(app),
        Action::Copy => copy(app),
        Action::Save => save(app),
        Action::Describe => describe(app),
        Action::Trash => navigation::go(app, Place::Trash),
        Action::Drills => navigation::go(app, Place::Drills),
        Action::Executions => navigation::go(app, Place::Executions),
        Action::Retention => retention(app),
        Action::Readiness => runbooks::ask_readiness(app),
        other if other.group() == Group::Lead => wizard::perform(app, other),
        other if other.group() == Group::Find => finder::perform(app, other),
        other => {
            opens(app, other);
            Vec::new()
        }
    }
}

/// The actions that only change what is shown here.
fn opens(app: &mut App, action: Action) {
    let now = app.now;
    match action {
        Action::Help => app.overlay = Some(Overlay::Help(Help::default())),
        Action::Palette => app.overlay = Some(Overlay::Palette(Palette::new(app))),
        Action::Act => act(app),
        Action::Raw => raw(app),
        Action::Zoom => app.zoomed = !app.zoomed,
        Action::Filter => {
            if let Some(before) = app.rows().map(|rows| rows.filter_text().to_owned()) {
                app.pane = Pane::List;
                app.overlay = Some(Overlay::Filter(FilterPrompt::new(&before)));
            } else {
                app.say("nothing to filter here; : finds anything by name");
            }
        }
        Action::Sort => {
            if let Some((at, _)) = app.rows().map(super::table::Rows::sorted) {
                app.overlay = Some(Overlay::Sort(SortMenu { at }));
            }
        }
        Action::Reverse => {
            if let Some(rows) = app.rows_mut() {
                let (sort, reverse) = rows.sorted();
                rows.sort_by(sort, !reverse, now);
            }
        }
        Action::Mark => {
            if let Some(rows) = app.rows_mut() {
                rows.mark();
            }
        }
        Action::MarkAll => {
            if let Some(rows) = app.rows_mut() {
                rows.mark_all();
            }
        }
        Action::NextMatch | Action::PreviousMatch => {
            let by = if action == Action::NextMatch { 1 } else { -1 };
            if let Some(rows) = app.rows_mut().filter(|rows| !rows.filter_text().is_empty()) {
                rows.move_by(by);
            }
        }
        _ => {}
    }
}

fn moves(app: &mut App, action: Action) -> Vec<Effect> {
    if let Place::Wizard(_) = app.place {
        wizard::moves(app, action);
        return Vec::new();
    }
    let page = app.page_rows();
    if app.pane == Pane::Detail && app.place != Place::Overview {
        moved(Some(action), &mut app.scroll, 100_000, page);
        let width = usize::from(app.size.0);
        app.scroll = app.scroll.min(app.detail_length(width).saturating_sub(page));
        return Vec::new();
    }
    let page = isize::try_from(page).unwrap_or(isize::MAX);
    let by = match action {
        Action::Down => 1,
        Action::Up => -1,
        Action::HalfDown => (page / 2).max(1),
        Action::HalfUp => -(page / 2).max(1),
        Action::PageDown => page,
        Action::PageUp => -page,
        Action::Top => isize::MIN / 2,
        _ => isize::MAX / 2,
    };
    match app.rows_mut() {
        Some(rows) => rows.move_by(by),
        None => navigation::move_focus(app, by),
    }
    app.scroll = 0;
    let mut effects = loading::ask_more(app);
    if app.is_wide() || matches!(app.place, Place::Runbooks) {
        effects.extend(loading::ask_selected(app));
    }
    effects
}

fn panes(app: &mut App, forward: bool) -> Vec<Effect> {
    if app.place == Place::Overview {
        navigation::move_section(app, forward);
        return Vec::new();
    }
    app.pane = if app.pane == Pane::List {
        Pane::Detail
    } else {
        Pane::List
    };
    app.scroll = 0;
    loading::ask_selected(app)
}

fn describe(app: &mut App) -> Vec<Effect> {
    if app.place == Place::Overview {
        return navigation::open(app);
    }
    if app.pane == Pane::Detail {
        return navigation::out(app);
    }
    app.pane = Pane::Detail;
    app.scroll = 0;
    loading::ask_selected(app)
}

fn act(app: &mut App) {
    let subjects = app.subjects();
    let choices = app.choices(&subjects);
    if choices.is_empty() {
        app.say("nothing can be done to this; : offers everything else");
        return;
    }
    let title = match subjects.as_slice() {
        [one] => one.words(),
        many => format!("{} marked", many.len()),
    };
    // The cursor starts on the first thing that can be done.
    let at = choices.iter().position(|choice| choice.refused.is_none()).unwrap_or(0);
    app.overlay = Some(Overlay::Menu(Menu { title, choices, at }));
}

fn log(app: &mut App) -> Vec<Effect> {
    if let Some(Subject::Execution(id)) = app.subjects().first()
        && let Some(view) = app.execution(id)
    {
        let text = view.said.join("\n");
        app.overlay = Some(Overlay::Pager(Pager::new(format!("Log of {id}"), &text)));
        return Vec::new();
    }
    let run = match app.subjects().first() {
        Some(Subject::Run(run, _)) => Some(run.clone()),
        Some(Subject::Job(job)) => app.job(job).and_then(|job| job.running.clone()),
        Some(Subject::Snapshot(id)) => app.snapshots.get(id.as_str()).and_then(|snapshot| snapshot.run.clone()),
        _ => None,
    };
    if let Some(run) = run {
        vec![Effect::Ask(Question::Log(run.0))]
    } else {
        app.say("no log here; runs have logs: Enter on a job, then L");
        Vec::new()
    }
}

/// To the retention of the job at hand.
fn retention(app: &mut App) -> Vec<Effect> {
    let job = match app.subjects().first() {
        Some(Subject::Job(job) | Subject::Run(_, job)) => Some(job.clone()),
        Some(Subject::Snapshot(id)) => app.known_snapshot(id).and_then(|snapshot| snapshot.job.clone()),
        _ => None,
    };
    if let Some(job) = job {
        return navigation::go(app, Place::Retention(job));
    }
    app.say("no job here; retention is a job's: choose one on screen 2");
    Vec::new()
}

/// The selected row as the API gives it.
fn json(app: &App) -> Option<(String, String)> {
    fn pretty(value: &impl serde::Serialize) -> Option<String> {
        serde_json::to_string_pretty(value).ok()
    }
    let title = app.subjects().first()?.words();
    let text = match &app.place {
        Place::Overview => pretty(app.overview.as_ref()?),
        Place::Jobs => pretty(app.jobs.selected()?),
        Place::Job(_) => pretty(app.runs.selected()?),
        Place::Snapshots => pretty(app.snapshots.selected()?),
        Place::Trash => pretty(app.trash.selected()?),
        Place::Finder(_) => pretty(&app.finder.rows.selected()?.line),
        Place::Retention(_) => pretty(app.retention.selected()?),
        Place::Tree(..) => pretty(&app.tree.selected()?.entry),
        Place::Recoveries => match app.recoveries.selected()? {
            RecoveryRow::Live(view) => pretty(view),
            RecoveryRow::Waiting(record, _) | RecoveryRow::Done(record) => pretty(record),
        },
        Place::Drills => pretty(app.drills.selected()?),
        Place::Runbooks | Place::Executions | Place::Wizard(_) => runbooks::json(app),
        Place::Alerts => pretty(app.alerts.selected()?),
        Place::Audit => pretty(app.audit.selected()?),
        Place::Topology => pretty(app.topology.selected()?),
    };
    Some((title, text?))
}

fn raw(app: &mut App) {
    match json(app) {
        Some((title, text)) => app.overlay = Some(Overlay::Pager(Pager::new(format!("{title} as JSON"), &text))),
        None => app.say("there is nothing here to show as JSON"),
    }
}

fn copy(app: &mut App) -> Vec<Effect> {
    if let Some(report) = runbooks::report(app) {
        app.say("copied the report, if the terminal allows it; S saves it to a file");
        return vec![Effect::Copy(report)];
    }
    let Some(subject) = app.subjects().first().cloned() else {
        return Vec::new();
    };
    let command = match &subject {
        // Of a server that waits, what one wants at a prompt is the way to look at it.
        Subject::Recovery(id) => match app.waiting(id).and_then(|view| view.waiting.server.seen.psql.clone()) {
            Some(psql) => Some(psql),
            None => app.plans.get(id).map(|plan| plan.restic_command.clone()),
        },
        _ => None,
    };
    let (what, text) = command.map_or_else(
        || (subject.name(), subject.name()),
        |command| ("the command".to_owned(), command),
    );
    app.say(format!("copied {what}, if the terminal allows it"));
    vec![Effect::Copy(text)]
}

fn save(app: &mut App) -> Vec<Effect> {
    if runbooks::report(app).is_some() {
        return wizard::perform(app, Action::LeadSave);
    }
    let Some((_, text)) = json(app) else { return Vec::new() };
    let name = app.subjects().first().map_or_else(String::new, Subject::name);
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
            c
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(safe).take(60).collect();
    vec![Effect::Save(format!("lifeboat-{name}.json"), text)]
}
