//! What is going on, a line each, with how far it is; when nothing is, what comes next.

use ratatui::text::{Line, Span};

use super::Entry;
use crate::domain::recovery::RecoveryState;
use crate::domain::run::RunState;
use crate::domain::view::{Overview, ProgressView, RecoveryView, RunView};
use crate::tui::canvas::Look;
use crate::tui::screens::{kept, runbooks, servers};
use crate::tui::subject::Subject;
use crate::tui::theme::Role;
use crate::tui::widgets::parts;
use crate::tui::words;

/// What is under way: runs, executions of runbooks, servers that were left, recoveries, maintenance.
pub(super) fn running(overview: &Overview, look: Look<'_>, width: usize) -> Vec<Entry> {
    let mut entries: Vec<Entry> = overview.runs.iter().map(|view| run(view, look, width)).collect();
    entries.extend(
        overview
            .executions
            .iter()
            .map(|view| runbooks::entry(view, look, width)),
    );
    entries.extend(overview.waiting.iter().map(|view| servers::entry(view, look, width)));
    entries.extend(overview.recoveries.iter().map(|view| recovery_entry(view, look, width)));
    entries.extend(
        overview
            .maintenance
            .iter()
            .map(|view| kept::maintenance(view, look, width)),
    );
    if entries.is_empty() {
        let due = overview
            .jobs
            .iter()
            .filter(|job| job.enabled)
            .filter_map(|job| Some((job.next_due?, &job.name)));
        let words = due.min().map_or_else(
            || "  nothing is running, nothing is scheduled".to_owned(),
            |(at, name)| format!("  nothing is running; next {name} {}", words::until(look.now, at)),
        );
        entries.push((None, vec![look.line(words, Role::Dim)]));
    }
    entries
}

fn run(view: &RunView, look: Look<'_>, width: usize) -> Entry {
    let waiting = match &view.run.state {
        _ if view.run.cancel_requested.is_some() => Some("stopping".to_owned()),
        RunState::Queued => Some("queued".to_owned()),
        RunState::Running => None,
        RunState::WaitingRetry { at } => Some(format!(
            "attempt {} failed, again {}",
            view.run.attempt,
            words::until(look.now, *at)
        )),
    };
    let line = work(
        "backup",
        view.run.job.as_str(),
        waiting,
        view.progress.as_ref(),
        look,
        width,
    );
    (
        Some(Subject::Run(view.run.id.clone(), view.run.job.clone())),
        vec![line],
    )
}

fn recovery_entry(view: &RecoveryView, look: Look<'_>, width: usize) -> Entry {
    let recovery = &view.recovery;
    let kind = if recovery.request.target.is_verification() {
        "verify"
    } else {
        "restore"
    };
    let waiting = match recovery.state {
        _ if recovery.cancel_requested.is_some() => Some("stopping".to_owned()),
        RecoveryState::Queued => Some("queued".to_owned()),
        RecoveryState::Running => None,
    };
    let name = recovery
        .job
        .as_ref()
        .map_or_else(|| recovery.request.snapshot.short(), |job| job.as_str());
    let line = work(kind, name, waiting, view.progress.as_ref(), look, width);
    (Some(Subject::Recovery(recovery.id.clone())), vec![line])
}

/// A piece of running work in one line.
pub(in crate::tui::screens) fn work(
    kind: &str,
    name: &str,
    waiting: Option<String>,
    progress: Option<&ProgressView>,
    look: Look<'_>,
    width: usize,
) -> Line<'static> {
    let mut spans = vec![
        look.span(format!("  {kind:<9} "), Role::Live),
        look.span(format!("{name:<14.14} "), Role::Text),
    ];
    match (waiting, progress) {
        (Some(waiting), _) => spans.push(look.span(waiting, Role::Warn)),
        (None, None) => spans.push(look.span("starting", Role::Dim)),
        (None, Some(progress)) => {
            let fraction = progress.fraction();
            if width >= 60 {
                spans.extend(parts::bar(look, fraction.unwrap_or(0.0), 14, Role::Live));
                spans.push(Span::raw(" "));
            }
            let done = fraction.map_or_else(
                || words::size(progress.bytes_done),
                |part| format!("{}%", parts::percent(part)),
            );
            let eta = progress
                .eta
                .map_or(String::new(), |eta| format!("{} left", words::clock(eta)));
            spans.push(look.span(
                format!("{done:>6}  {:<9} {eta:<11}", parts::rate(progress.rate)),
                Role::Text,
            ));
            spans.push(look.span(progress.phase.clone(), Role::Dim));
        }
    }
    Line::from(spans)
}
