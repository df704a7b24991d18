//! Where the search stands, in four rows: the last clean one, the first bad one, the one to look at next, and the time line.

use ratatui::layout::Rect;
use ratatui::text::{Line as TextLine, Span};

use super::{FinderRow, letter, verdict_role};
use crate::domain::finder::{Finding, Verdict};
use crate::domain::id::SnapshotId;
use crate::tui::app::App;
use crate::tui::canvas::Canvas;
use crate::tui::keymap::Action;
use crate::tui::theme::Role;
use crate::tui::widgets::list;
use crate::tui::words;

/// How many rows stand above the list.
pub const HEAD: u16 = 4;
/// Where what the labels of the head say begins.
const LABEL: u16 = 12;

/// Draws where the search stands, and the time line.
pub fn head(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let Some(finding) = &app.finder.finding else {
        let words = "asking the agent for every snapshot of the job, the gone included";
        canvas.text(area, 1, 0, words, Role::Dim);
        return;
    };
    let search = &finding.search;
    let known = |id: &Option<SnapshotId>| {
        let id = id.as_ref()?;
        app.finder.rows.get(id.as_str())
    };
    let when = |row: &FinderRow| {
        let at = words::moment(app.now, row.line.at);
        format!("{}  {at}  ", row.line.id.short())
    };
    let (text, role) = match known(&search.clean) {
        Some(row) if search.looked_at => (format!("{}looked at{}", when(row), why(app, row)), Role::Ok),
        Some(row) => (
            format!("{}by its figures; nobody has looked into it", when(row)),
            Role::Text,
        ),
        None => ("none that is there is known to be clean".to_owned(), Role::Crit),
    };
    labelled(canvas, area, 0, "Last clean", &text, role);
    let key = app.settings.keymap.key(Action::FindBad).unwrap_or_default();
    let nothing = format!("nothing looks wrong by the figures; {key} says that one is");
    let (text, role) = known(&search.bad).map_or((nothing, Role::Dim), |row| {
        let text = format!("{}{}{}", when(row), row.line.words(), why(app, row));
        (text, Role::Crit)
    });
    labelled(canvas, area, 1, "First bad", &text, role);
    let (text, role) = next(app, finding);
    labelled(canvas, area, 2, "Look next", &text, role);
    strip(canvas, area, app, finding);
}

fn next(app: &App, finding: &Finding) -> (String, Role) {
    let search = &finding.search;
    let key = |action| app.settings.keymap.key(action).unwrap_or_default();
    match (&search.next, &search.clean) {
        (Some(id), _) => {
            let looks = u64::from(search.looks);
            let left = if looks == 1 {
                "one look is left".to_owned()
            } else {
                format!("at most {looks} looks are left")
            };
            let test = key(Action::FindTest);
            (
                format!("{}  {left}; {test} tests it, enter opens it", id.short()),
                Role::Accent,
            )
        }
        (None, Some(id)) if search.bad.is_some() => (
            format!(
                "nothing is left to look at; {} uses {}",
                key(Action::FindUse),
                id.short()
            ),
            Role::Accent,
        ),
        _ => (
            "look into any; what you say of it narrows the search".to_owned(),
            Role::Dim,
        ),
    }
}

/// Why somebody said so, when somebody did.
fn why(app: &App, row: &FinderRow) -> String {
    app.finder
        .look(&row.line.id)
        .map_or(String::new(), |look| format!(": {}", look.reason))
}

fn labelled(canvas: &mut Canvas<'_>, area: Rect, y: u16, label: &str, text: &str, role: Role) {
    canvas.text(area, 1, y, label, Role::Dim);
    canvas.text(area, 1 + LABEL, y, text, role);
}

/// One letter a snapshot, oldest left, the bracket around those in question, the one under the cursor reversed.
fn strip(canvas: &mut Canvas<'_>, area: Rect, app: &App, finding: &Finding) {
    let look = canvas.look;
    let selected = app.finder.rows.selected_key();
    let mut cells: Vec<Span<'static>> = Vec::new();
    let mut cursor = 0;
    let place = |id: &Option<SnapshotId>| finding.snapshots.iter().position(|line| Some(&line.id) == id.as_ref());
    let (clean, bad) = (place(&finding.search.clean), place(&finding.search.bad));
    for (at, line) in finding.snapshots.iter().enumerate() {
        if bad == Some(at) {
            cells.push(look.span("]", Role::Accent));
        }
        let role = if selected.as_deref() == Some(line.id.as_str()) {
            cursor = cells.len();
            Role::Select
        } else if line.gone.is_some() && line.verdict == Verdict::Unsuspicious {
            Role::Rule
        } else {
            verdict_role(line.verdict)
        };
        cells.push(look.span(letter(look, line.verdict), role));
        if bad.is_some() && clean == Some(at) {
            cells.push(look.span("[", Role::Accent));
        }
    }
    canvas.text(area, 1, 3, "Time line", Role::Dim);
    let room = usize::from(area.width.saturating_sub(LABEL + 2));
    let from = list::window(cursor.saturating_sub(room / 2), cursor, room, cells.len());
    let mut shown: Vec<Span<'static>> = cells.into_iter().skip(from).take(room).collect();
    let legend = format!(
        "  oldest left; {} nothing against it  ! suspect  x after it",
        look.glyphs.good
    );
    if shown.len() + legend.chars().count() <= room {
        shown.push(look.span(legend, Role::Dim));
    }
    canvas.line(area, 1 + LABEL, 3, &TextLine::from(shown));
}
