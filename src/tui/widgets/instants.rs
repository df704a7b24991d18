//! The instants a cluster can be brought to, as a line from the oldest to now.
//!
//! ```text
//!   orders-db   to 03:12:03   4s   ━━━━━━━━━━━━━━xxx━━━━━━━━━━━━━━━━━   from 11-19 01:12, 1 gap
//! ```
//!
//! What cannot be restored is a letter as well as a colour.

use ratatui::text::{Line, Span};

use crate::domain::pitr::LogSight;
use crate::domain::{Millis, Timestamp};
use crate::tui::canvas::Look;
use crate::tui::theme::Role;
use crate::tui::words;

/// The line itself, `width` columns from `from` to `now`.
pub fn bar(sight: &LogSight, from: Timestamp, now: Timestamp, width: usize, look: Look<'_>) -> Vec<Span<'static>> {
    let stretches = sight.spans();
    let whole = Millis::between(from, now).0.max(1);
    let covered = |column: usize| {
        let moment = |column: usize| {
            let millis = whole.saturating_mul(column as u64) / width.max(1) as u64;
            from + Millis(millis).to_chrono()
        };
        let (begins, ends) = (moment(column), moment(column + 1));
        stretches.iter().any(|(first, last)| *first < ends && *last >= begins)
    };
    // A gap too short to be a column of its own still shows: the column before a new stretch is never whole.
    let starts: Vec<usize> = stretches
        .iter()
        .skip(1)
        .filter_map(|(first, _)| {
            let column = Millis::between(from, *first).0.saturating_mul(width as u64) / whole;
            usize::try_from(column).ok()
        })
        .collect();
    // What lies behind the last stretch is on its way, unless something in front of it is missing.
    let ends = stretches.last().map_or(from, |(_, last)| *last);
    let tail = usize::try_from(Millis::between(from, ends).0.saturating_mul(width as u64) / whole).unwrap_or(width);
    let kind = |column: usize| {
        if covered(column) && !starts.contains(&(column + 1)) {
            (look.glyphs.bar_full, Role::Ok)
        } else if column >= tail && sight.gap.is_none() {
            (look.glyphs.bar_empty, Role::Dim)
        } else {
            ("x", Role::Crit)
        }
    };
    let mut spans: Vec<(&'static str, Role, usize)> = Vec::new();
    for (glyph, role) in (0..width).map(kind) {
        match spans.last_mut() {
            Some((_, last, count)) if *last == role => *count += 1,
            _ => spans.push((glyph, role, 1)),
        }
    }
    let span = |(glyph, role, count): (&str, Role, usize)| look.span(glyph.repeat(count), role);
    spans.into_iter().map(span).collect()
}

/// How a log stands, in one line.
pub fn line(sight: &LogSight, look: Look<'_>, width: usize) -> Line<'static> {
    let mut spans = vec![look.span(format!("  {:<14.14} ", sight.source.as_str()), Role::Text)];
    let (Some(to), Some(first)) = (sight.recoverable_to, sight.stretches.first()) else {
        spans.push(look.span("no log behind a base backup: snapshots only", Role::Dim));
        return Line::from(spans);
    };
    let loss = Millis::between(to, look.now);
    let trouble = trouble(sight);
    let role = if trouble.is_some() { Role::Crit } else { Role::Ok };
    spans.push(look.span(format!("to {:<11} ", words::moment(look.now, to)), Role::Text));
    let loss = if loss < Millis::from_secs(60) {
        format!("{}s", loss.0 / 1000)
    } else {
        words::coarse(loss)
    };
    spans.push(look.span(format!("{loss:>5} "), role));
    let note = trouble.unwrap_or_else(|| {
        let gaps = sight.spans().len().saturating_sub(1) as u64;
        let gaps = if gaps == 0 {
            String::new()
        } else {
            format!(", {}", words::plural(gaps, "gap"))
        };
        format!("from {}{gaps}", words::moment(look.now, first.from_at))
    });
    let used = 2 + 15 + 15 + 6;
    let bar_width = width.saturating_sub(used + 2 + 26).min(48);
    if bar_width >= 8 {
        spans.extend(bar(sight, first.from_at, look.now, bar_width, look));
        spans.push(Span::raw("  "));
    }
    let room = width.saturating_sub(used + if bar_width >= 8 { bar_width + 2 } else { 0 });
    let note = crate::tui::screens::overview::fit(&note, room, look.glyphs.more);
    spans.push(look.span(note, if role == Role::Ok { Role::Dim } else { role }));
    Line::from(spans)
}

/// What is wrong with a log, in a few words.
fn trouble(sight: &LogSight) -> Option<String> {
    if let Some(gap) = &sight.gap {
        return Some(format!("GAP at {}", gap.first));
    }
    if let Some(failure) = &sight.failure {
        return Some(format!("NOT SEEN: {}", failure.message));
    }
    if let Some(why) = sight.receiver.as_ref().and_then(|receiver| receiver.trouble.as_ref()) {
        return Some(format!("NOT RECEIVED: {why}"));
    }
    sight.silent.as_ref().map(|why| format!("SERVER SILENT: {why}"))
}
