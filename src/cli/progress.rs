//! Progress on the error stream: a bar on a terminal, a line every few seconds without one, events in `--json`.
//!
//! It is written to the error stream in all three forms, so that what is on the output is the result and nothing else.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::output::{Printer, clean};
use crate::clock::Clock;
use crate::domain::view::ProgressView;

/// A bar moves at most this often.
const BAR_INTERVAL: Duration = Duration::from_millis(200);
/// A line or an event comes at most this often.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Events for programs come at most this often.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// How progress is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Bar,
    Lines,
    Events,
}

impl Form {
    const fn interval(self) -> Duration {
        match self {
            Self::Bar => BAR_INTERVAL,
            Self::Lines => LINE_INTERVAL,
            Self::Events => EVENT_INTERVAL,
        }
    }
}

/// Tells how far a piece of work is. Call [`Progress::update`] as often as you like.
#[derive(Debug)]
pub struct Progress {
    title: String,
    form: Form,
    width: usize,
    clock: Clock,
    begun: Instant,
    told: Option<Instant>,
    on_screen: bool,
}

/// One event of `--json`, a line each on the error stream.
#[derive(Debug, Serialize)]
struct ProgressEvent<'a> {
    event: &'static str,
    title: &'a str,
    #[serde(flatten)]
    progress: &'a ProgressView,
}

impl Progress {
    /// Begins; nothing is written before the first update.
    pub fn new(title: impl Into<String>, printer: &Printer, clock: &Clock) -> Self {
        let form = match (printer.json, io::stderr().is_terminal() && !printer.style.plain) {
            (true, _) => Form::Events,
            (false, true) => Form::Bar,
            (false, false) => Form::Lines,
        };
        Self {
            title: title.into(),
            form,
            width: printer.style.width,
            clock: clock.clone(),
            begun: clock.monotonic(),
            told: None,
            on_screen: false,
        }
    }

    /// Tells where the work stands, unless that was told a moment ago.
    pub fn update(&mut self, progress: &ProgressView) {
        // What is over in a moment needs no lines; a bar may come at once.
        let since = match (self.told, self.form) {
            (None, Form::Bar) => Duration::MAX,
            (told, _) => self.clock.elapsed(told.unwrap_or(self.begun)),
        };
        if since < self.form.interval() {
            return;
        }
        self.told = Some(self.clock.monotonic());
        let text = match self.form {
            Form::Bar => format!("\r\x1b[K{}", clean(&bar(&self.title, progress, self.width))),
            Form::Lines => format!("{}\n", clean(&line(&self.title, progress))),
            Form::Events => {
                let event = ProgressEvent {
                    event: "progress",
                    title: &self.title,
                    progress,
                };
                serde_json::to_string(&event).map_or_else(|_| String::new(), |json| json + "\n")
            }
        };
        self.on_screen = self.form == Form::Bar;
        let mut err = io::stderr().lock();
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }

    /// Says something between two updates.
    pub fn say(&mut self, text: &str) {
        self.clear();
        if self.form != Form::Events {
            let _ = writeln!(io::stderr(), "{}", clean(text));
        }
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if self.on_screen {
            self.on_screen = false;
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// `orders  [#####     ]  52%  1.2 GiB of 2.3 GiB  95.1 MiB/s  12s left`, cut to the width.
fn bar(title: &str, progress: &ProgressView, width: usize) -> String {
    let drawn = progress.fraction().map_or_else(String::new, |fraction| {
        const CELLS: usize = 20;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 20"
        )]
        let full = (fraction * CELLS as f64) as usize;
        format!("[{}{}] ", "#".repeat(full), " ".repeat(CELLS - full))
    });
    let text = format!("{title}  {drawn}{}", numbers(progress));
    text.chars().take(width.saturating_sub(1)).collect()
}

fn line(title: &str, progress: &ProgressView) -> String {
    format!("{title}: {}", numbers(progress))
}

fn numbers(progress: &ProgressView) -> String {
    let mut parts = Vec::new();
    if !progress.phase.is_empty() {
        parts.push(progress.phase.clone());
    }
    if let Some(fraction) = progress.fraction() {
        // Rounded down: it says 100 % only when it is.
        parts.push(format!("{}%", (fraction * 100.0).floor()));
    }
    match progress.bytes_total {
        Some(total) => parts.push(format!("{} of {total}", progress.bytes_done)),
        None => parts.push(progress.bytes_done.to_string()),
    }
    if progress.rate.0 > 0 {
        parts.push(format!("{}/s", progress.rate));
    }
    if let Some(eta) = progress.eta {
        parts.push(format!("{eta} left"));
    }
    if progress.errors > 0 {
        parts.push(format!("{} unreadable", progress.errors));
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Bytes, Millis};

    #[test]
    fn almost_done_is_not_done() {
        let progress = ProgressView {
            phase: "copying".to_owned(),
            bytes_done: Bytes(9_999),
            bytes_total: Some(Bytes(10_000)),
            rate: Bytes(1024),
            eta: Some(Millis(1000)),
            ..ProgressView::default()
        };
        let line = line("orders", &progress);
        assert!(line.contains("99%") && !line.contains("100%"), "{line}");
        assert!(bar("orders", &progress, 40).chars().count() < 40);
    }
}
