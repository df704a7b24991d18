//! Progress of running work in a detail.

use super::detail::Detail;
use super::parts;
use crate::domain::view::ProgressView;
use crate::tui::canvas::Look;
use crate::tui::theme::Role;
use crate::tui::words;

/// Progress in a detail: the bar, the numbers, and what it is at.
pub fn detail(progress: Option<&ProgressView>, look: Look<'_>, detail: &mut Detail<'_>) {
    let Some(progress) = progress else {
        detail.pair("progress", "starting");
        return;
    };
    let fraction = progress.fraction();
    let mut spans = Vec::from(parts::bar(look, fraction.unwrap_or(0.0), 16, Role::Live));
    let done = fraction.map_or_else(String::new, |part| format!(" {}%", parts::percent(part)));
    spans.push(look.span(done, Role::Text));
    detail.pair_spans("progress", spans);
    let of = progress
        .bytes_total
        .map_or(String::new(), |total| format!(" of {total}"));
    detail.pair(
        "bytes",
        format!("{}{of}  {}", progress.bytes_done, parts::rate(progress.rate)),
    );
    if progress.items_done > 0 || progress.items_total.is_some() {
        let of = progress
            .items_total
            .map_or(String::new(), |total| format!(" of {}", words::count(total)));
        detail.pair("items", format!("{}{of}", words::count(progress.items_done)));
    }
    let left = progress
        .eta
        .map_or_else(|| "cannot be said yet".to_owned(), words::clock);
    detail.pair("time left", format!("{left} in phase \"{}\"", progress.phase));
    if !progress.current.is_empty() {
        detail.pair("at", &progress.current);
    }
    if progress.errors > 0 {
        detail.pair_as("unreadable", words::count(progress.errors), Role::Warn);
    }
    if progress.retries > 0 {
        detail.pair_as("retries", words::count(progress.retries), Role::Warn);
    }
}
