//! Recovered servers that wait, as the screens show them: in the list of recoveries, in the detail of one, on the Overview.
//!
//! ```text
//!   waits     orders-db      paused at 2026-11-20 03:11:00 UTC, 12m
//! ```

use ratatui::text::Line;

use super::jobs::ago;
use super::overview::{Entry, fit, work};
use crate::domain::follow_up::{Fate, LeftServer, Waiting};
use crate::domain::pitr::instant;
use crate::domain::view::WaitingView;
use crate::tui::app::App;
use crate::tui::canvas::Look;
use crate::tui::subject::Subject;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::Detail;
use crate::tui::widgets::{parts, progress};
use crate::tui::words;

/// How a fate looks.
pub const fn fate_role(fate: Fate) -> Role {
    match fate {
        Fate::Waiting => Role::Warn,
        Fate::Gone | Fate::Lost => Role::Crit,
        Fate::Promoted => Role::Ok,
        Fate::Discarded => Role::Dim,
    }
}

/// Where a server that waits stands, in the words of a list.
pub fn state(view: &WaitingView) -> (String, Role) {
    let Some(live) = &view.waiting.follow_up else {
        let fate = view.waiting.server.seen.fate;
        return (fate.word().to_owned(), fate_role(fate));
    };
    if view.waiting.is_in_doubt() {
        return ("in doubt".to_owned(), Role::Warn);
    }
    if live.cancel_requested.is_some() {
        return ("stopping".to_owned(), Role::Warn);
    }
    let fraction = view
        .progress
        .as_ref()
        .and_then(crate::domain::view::ProgressView::fraction);
    let percent = fraction.map_or(String::new(), |part| format!(" {:>2}%", parts::percent(part)));
    (format!("{}{percent}", live.what.doing()), Role::Live)
}

/// How many wait, for the line above the list.
pub fn banner(app: &App) -> Option<(String, Role)> {
    let all = &app.overview.as_ref()?.waiting;
    let gone = all
        .iter()
        .filter(|view| matches!(view.waiting.server.seen.fate, Fate::Gone | Fate::Lost))
        .count();
    match (all.len(), gone) {
        (0, _) => None,
        (1, 0) => Some(("1 recovered server WAITS".to_owned(), Role::Warn)),
        (_, 0) => Some((
            format!("{} WAIT", words::plural(all.len() as u64, "recovered server")),
            Role::Warn,
        )),
        (_, gone) => Some((
            format!("{} GONE", words::plural(gone as u64, "recovered server")),
            Role::Crit,
        )),
    }
}

/// A server that waits in one line of the Overview.
pub fn entry(view: &WaitingView, look: Look<'_>, width: usize) -> Entry {
    let waiting: &Waiting = &view.waiting;
    let name = waiting.source.as_ref().map_or("-", |source| source.as_str());
    let subject = Some(Subject::Recovery(waiting.recovery.clone()));
    if waiting.follow_up.is_some() && view.progress.is_some() {
        let (word, _) = state(view);
        let word = word.split(' ').next().unwrap_or_default().to_owned();
        return (
            subject,
            vec![work(&word, name, None, view.progress.as_ref(), look, width)],
        );
    }
    let (kind, text, role) = match (&waiting.follow_up, waiting.server.seen.fate) {
        (Some(_), _) => ("server", state(view).0, Role::Live),
        (None, Fate::Gone) => ("GONE", "its server does not run any more".to_owned(), Role::Crit),
        (None, Fate::Lost) => ("GONE", "its directory is not there any more".to_owned(), Role::Crit),
        (None, _) => ("waits", format!("paused at {}", waiting.server.seen.target), Role::Warn),
    };
    let age = words::age(look.now, waiting.server.since);
    let text = fit(&format!("{text}, {age}"), width.saturating_sub(28), look.glyphs.more);
    let line = Line::from(vec![
        look.span(format!("  {kind:<9} "), role),
        look.span(format!("{name:<14.14} "), Role::Text),
        look.span(text, role),
    ]);
    (subject, vec![line])
}

/// What there is to know of a server that a recovery has left.
pub fn detail(server: &LeftServer, view: Option<&WaitingView>, look: Look<'_>, detail: &mut Detail<'_>) {
    let seen = &server.seen;
    let live = view.and_then(|view| view.waiting.follow_up.as_ref());
    detail.head(match seen.fate {
        Fate::Waiting if live.is_some() => "Its server is being acted on",
        Fate::Waiting => "Its server WAITS, paused for reading",
        Fate::Gone => "Its server is GONE",
        Fate::Lost => "Its directory is GONE",
        Fate::Promoted => "Its server was opened",
        Fate::Discarded => "Its server was thrown away",
    });
    if let Some(view) = view {
        if let Some(live) = live {
            let (state, role) = state(view);
            detail.pair_as("now", format!("{state}, asked by {}", live.by), role);
            progress::detail(view.progress.as_ref(), look, detail);
        } else if seen.fate == Fate::Lost {
            let words =
                "put it back if it was moved or is not mounted; else recover again, and a throws away what is left";
            detail.prose(words, Role::Crit);
        } else if seen.fate == Fate::Gone {
            let words = "it does not run any more; what was laid down is there: a starts it again, or throws it away";
            detail.prose(words, Role::Crit);
        }
    }
    let lsn = seen.lsn.map_or_else(String::new, |lsn| format!(" at {lsn}"));
    detail.pair(
        if seen.fate == Fate::Waiting {
            "paused at"
        } else {
            "target"
        },
        format!("{}{lsn}", seen.target),
    );
    detail.pair_if("last commit", seen.last_commit.map(instant));
    detail.pair("since", format!("{}, by {}", ago(look.now, server.since), server.by));
    detail.pair("directory", server.directory.display().to_string());
    // While it is acted on nobody can look at it, or should.
    if let Some(psql) = seen.psql.as_ref().filter(|_| live.is_none()) {
        detail.pair_as("look at it", psql, Role::Accent);
    }
    if seen.fate == Fate::Waiting && live.is_none() {
        detail.pair("then", "a: open it for writing, move it on, throw it away");
    }
    for step in &server.steps {
        let (sign, role) = if step.error.is_none() {
            ("[ok]", Role::Ok)
        } else {
            ("[!!]", Role::Crit)
        };
        detail.list(
            sign,
            &[format!("{} {}", words::moment(look.now, step.at), step.words())],
            role,
        );
        if let Some(hint) = step.error.as_ref().and_then(|error| error.hint.as_ref()) {
            detail.prose(&format!("hint: {hint}"), Role::Accent);
        }
    }
}
