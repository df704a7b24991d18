//! How long things stay, as the other screens show it: flags and facts of snapshots, the trash, running maintenance.

use ratatui::layout::Rect;

use super::jobs::ago;
use super::overview::{Entry, work};
use crate::domain::Millis;
use crate::domain::maintenance::MaintenanceState;
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::upkeep::UpkeepRun;
use crate::domain::view::{MaintenanceView, RepositoryView};
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, Look};
use crate::tui::subject::Subject;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::Detail;
use crate::tui::widgets::list::{self, Column};
use crate::tui::words;

/// The mark of a snapshot in a list.
pub fn flag(snapshot: &SnapshotRecord) -> (&'static str, Role) {
    if snapshot.vanished_at.is_some() || snapshot.replaced_by.is_some() {
        ("GONE", Role::Warn)
    } else if snapshot.forgotten.is_some() {
        ("TRASH", Role::Warn)
    } else if snapshot.partial {
        ("PARTIAL", Role::Warn)
    } else if snapshot.pinned.is_some() {
        ("pinned", Role::Accent)
    } else if snapshot.expiry.as_ref().is_some_and(|expiry| expiry.due) {
        ("expires", Role::Dim)
    } else {
        ("", Role::Text)
    }
}

/// How long a snapshot stays, and why.
pub fn facts(snapshot: &SnapshotRecord, look: Look<'_>, detail: &mut Detail<'_>) {
    let said = |mark: &crate::domain::snapshot::Mark| {
        let why = mark.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        format!("by {}, {}{why}", mark.by, ago(look.now, mark.at))
    };
    if let Some(mark) = &snapshot.forgotten {
        detail.pair_as("IN TRASH", said(mark), Role::Warn);
        detail.pair_if(
            "stays until",
            mark.until
                .map(|until| format!("{}, {}", words::until(look.now, until), words::full(until))),
        );
    }
    detail.pair_if("pinned", snapshot.pinned.as_ref().map(said));
    detail.pair_if(
        "is now",
        snapshot.replaced_by.as_ref().map(|new| new.short().to_owned()),
    );
    if let Some(expiry) = &snapshot.expiry {
        if expiry.due {
            detail.pair_as(
                "expires",
                format!("with the next retention: {}", expiry.why),
                Role::Warn,
            );
        } else {
            detail.pair("kept by", &expiry.why);
            detail.pair_if(
                "until about",
                expiry
                    .at
                    .map(|at| format!("{}, {}", words::until(look.now, at), words::full(at))),
            );
        }
    }
}

const COLUMNS: [Column; 6] = [
    Column::fixed("ID", 8),
    Column::flexible("JOB", 9),
    Column::fixed("TAKEN", 11),
    Column::fixed("FORGOTTEN", 9).ending(),
    Column::fixed("LEFT", 6).ending(),
    Column::flexible("WHY", 20),
];

/// Draws what is in the trash.
pub fn trash(canvas: &mut Canvas<'_>, area: Rect, app: &App, focused: bool) {
    let look = canvas.look;
    list::draw(canvas, area, &app.trash, focused, &COLUMNS, |snapshot| {
        let mark = snapshot.forgotten.as_ref();
        let left = mark.and_then(|mark| mark.until);
        let left = left.map(|until| words::coarse(Millis::between(look.now, until)));
        let why = mark.and_then(|mark| mark.reason.clone()).unwrap_or_default();
        vec![
            look.line(snapshot.id.short().to_owned(), Role::Text),
            look.line(
                snapshot.job.as_ref().map_or("-".to_owned(), |job| job.0.clone()),
                Role::Text,
            ),
            look.line(words::moment(look.now, snapshot.taken_at), Role::Text),
            look.line(
                mark.map_or_else(String::new, |mark| words::age(look.now, mark.at)),
                Role::Text,
            ),
            look.line(left.unwrap_or_else(|| "-".to_owned()), Role::Text),
            look.line(why, Role::Dim),
        ]
    });
}

/// Running maintenance in one line.
pub fn maintenance(view: &MaintenanceView, look: Look<'_>, width: usize) -> Entry {
    let live = &view.maintenance;
    let waiting = match live.state {
        _ if live.cancel_requested.is_some() => Some("stopping".to_owned()),
        MaintenanceState::Queued => Some("queued".to_owned()),
        MaintenanceState::Running => None,
    };
    let word = if live.task.word().len() > 9 {
        "untrash"
    } else {
        live.task.word()
    };
    let line = work(
        word,
        live.repository.as_str(),
        waiting,
        view.progress.as_ref(),
        look,
        width,
    );
    (Some(Subject::Maintenance(live.id.clone())), vec![line])
}

/// What is wrong with a repository although it answers: damage, or maintenance that failed.
pub fn trouble(repository: &RepositoryView) -> Option<String> {
    let upkeep = repository.upkeep.as_ref()?;
    let failed = |word: &str, run: &Option<UpkeepRun>| {
        let run = run.as_ref().filter(|run| run.outcome.is_failure())?;
        let why = run
            .error
            .as_ref()
            .map_or_else(|| run.summary.clone(), ToString::to_string);
        Some(format!("{word} failed: {why}"))
    };
    let damage = upkeep.damage.as_ref().map(|damage| format!("DAMAGED: {damage}"));
    damage
        .or_else(|| failed("prune", &upkeep.prune))
        .or_else(|| failed("check", &upkeep.check))
}
