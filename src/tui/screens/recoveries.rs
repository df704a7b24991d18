//! Recoveries: restores and verifications, live ones first, and what they found.
//!
//! ```text
//!   WHEN      WHAT     SNAPSHOT  TARGET                STATE          TOOK
//! ▌ 10:41:02  restore  9c41e0a2  database orders_new   restore  52%   0:48
//!   08:12:40  verify   77ab0c13  scratch, up to probed succeeded      4m12s
//! ```

use std::cmp::Ordering;

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::jobs::ago;
use super::servers;
use crate::domain::follow_up::LeftServer;
use crate::domain::id::RecoveryId;
use crate::domain::recovery::{Recovery, RecoveryPhase, RecoveryRecord, RecoveryRequest, RecoveryState};
use crate::domain::view::{RecoveryView, WaitingView};
use crate::domain::{Millis, Timestamp};
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, Look};
use crate::tui::filter::Field;
use crate::tui::table::Item;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::Detail;
use crate::tui::widgets::list::{self, Column};
use crate::tui::widgets::{parts, progress};
use crate::tui::words;

/// A recovery, while it lives and after.
#[derive(Debug, Clone)]
pub enum RecoveryRow {
    /// It has not ended.
    Live(Box<RecoveryView>),
    /// It has, and its server waits.
    Waiting(Box<RecoveryRecord>, Box<WaitingView>),
    /// It has.
    Done(Box<RecoveryRecord>),
}

impl RecoveryRow {
    /// Its id.
    pub fn id(&self) -> &RecoveryId {
        match self {
            Self::Live(view) => &view.recovery.id,
            Self::Waiting(record, _) | Self::Done(record) => &record.id,
        }
    }

    /// What was asked for.
    pub fn request(&self) -> &RecoveryRequest {
        match self {
            Self::Live(view) => &view.recovery.request,
            Self::Waiting(record, _) | Self::Done(record) => &record.request,
        }
    }

    /// Whether it has not ended.
    pub const fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// The server it has left.
    pub fn left(&self) -> Option<&LeftServer> {
        match self {
            Self::Live(_) => None,
            Self::Waiting(record, _) | Self::Done(record) => record.left.as_ref(),
        }
    }

    /// What needs somebody comes first, then what goes on.
    const fn urgency(&self) -> u8 {
        match self {
            Self::Waiting(..) => 2,
            Self::Live(_) => 1,
            Self::Done(_) => 0,
        }
    }

    fn requested_at(&self) -> Timestamp {
        match self {
            Self::Live(view) => view.recovery.requested_at,
            Self::Waiting(record, _) | Self::Done(record) => record.requested_at,
        }
    }

    fn requested_by(&self) -> &str {
        match self {
            Self::Live(view) => &view.recovery.requested_by,
            Self::Waiting(record, _) | Self::Done(record) => &record.requested_by,
        }
    }

    fn job(&self) -> Option<&str> {
        match self {
            Self::Live(view) => view.recovery.job.as_ref(),
            Self::Waiting(record, _) | Self::Done(record) => record.job.as_ref(),
        }
        .map(crate::domain::id::JobName::as_str)
    }

    fn drill(&self) -> Option<&str> {
        match self {
            Self::Live(view) => view.recovery.drill.as_ref(),
            Self::Waiting(record, _) | Self::Done(record) => record.drill.as_ref(),
        }
        .map(crate::domain::id::DrillName::as_str)
    }

    fn word(&self) -> &'static str {
        if self.drill().is_some() {
            "drill"
        } else if self.request().instant.is_some() {
            "recover"
        } else if self.request().target.is_verification() {
            "verify"
        } else {
            "restore"
        }
    }

    fn state(&self) -> (String, Role) {
        match self {
            Self::Live(view) => (live_state(view), Role::Live),
            Self::Waiting(_, view) => servers::state(view),
            Self::Done(record) => match &record.left {
                Some(left) => (left.seen.fate.word().to_owned(), servers::fate_role(left.seen.fate)),
                None => (record.outcome.word().to_owned(), parts::outcome_role(record.outcome)),
            },
        }
    }

    fn took(&self, now: Timestamp) -> Option<Millis> {
        match self {
            Self::Live(view) => view.recovery.started_at.map(|start| Millis::between(start, now)),
            Self::Waiting(record, _) | Self::Done(record) => Some(record.duration()),
        }
    }
}

fn live_state(view: &RecoveryView) -> String {
    let recovery = &view.recovery;
    if recovery.cancel_requested.is_some() {
        return "stopping".to_owned();
    }
    if recovery.state == RecoveryState::Queued {
        return "queued".to_owned();
    }
    let fraction = view
        .progress
        .as_ref()
        .and_then(crate::domain::view::ProgressView::fraction);
    let percent = fraction.map_or(String::new(), |part| format!(" {:>3}%", parts::percent(part)));
    format!("{}{percent}", recovery.phase.word())
}

impl Item for RecoveryRow {
    const SORTS: &'static [&'static str] = &["when", "state", "took", "target"];
    const FIELDS: &'static [&'static str] = &["id", "what", "job", "snapshot", "target", "by", "state", "age", "took"];
    const NEWEST_FIRST: bool = true;

    fn key(&self) -> String {
        self.id().0.clone()
    }
    fn text(&self) -> String {
        let request = self.request();
        let (state, _) = self.state();
        let job = self.job().unwrap_or("");
        let target = request.target.display();
        format!(
            "{} {} {job} {} {target} {} {state}",
            self.id(),
            self.word(),
            request.snapshot,
            self.requested_by()
        )
    }
    fn field(&self, name: &str, now: Timestamp) -> Option<Field> {
        Some(match name {
            "id" => Field::Text(self.id().0.clone()),
            "what" => Field::Text(self.word().to_owned()),
            "job" => Field::Text(self.job()?.to_owned()),
            "snapshot" => Field::Text(self.request().snapshot.0.clone()),
            "target" => Field::Text(self.request().target.display()),
            "by" => Field::Text(self.requested_by().to_owned()),
            "state" => Field::Text(self.state().0),
            "age" => Field::Time(Millis::between(self.requested_at(), now)),
            "took" => Field::Time(self.took(now)?),
            _ => return None,
        })
    }
    fn order(&self, other: &Self, sort: usize) -> Ordering {
        let far = Timestamp::MAX_UTC;
        match sort {
            1 => self.state().0.cmp(&other.state().0),
            2 => other
                .took(far)
                .filter(|_| !other.is_live())
                .cmp(&self.took(far).filter(|_| !self.is_live())),
            3 => self.request().target.display().cmp(&other.request().target.display()),
            _ => self
                .urgency()
                .cmp(&other.urgency())
                .then(self.requested_at().cmp(&other.requested_at())),
        }
    }
}

const COLUMNS: [Column; 6] = [
    Column::fixed("WHEN", 11),
    Column::fixed("WHAT", 7),
    Column::fixed("SNAPSHOT", 8).when(60),
    Column::flexible("TARGET", 14),
    Column::fixed("STATE", 13),
    Column::fixed("TOOK", 7).ending(),
];

/// Draws the list of recoveries.
pub fn list(canvas: &mut Canvas<'_>, area: Rect, app: &App, focused: bool) {
    let look = canvas.look;
    list::draw(canvas, area, &app.recoveries, focused, &COLUMNS, |row| {
        let (state, role) = row.state();
        let took = match row {
            RecoveryRow::Live(_) => row.took(look.now).map(words::clock),
            RecoveryRow::Waiting(record, _) | RecoveryRow::Done(record) => Some(record.duration().to_string()),
        };
        vec![
            look.line(words::moment(look.now, row.requested_at()), Role::Text),
            look.line(row.word(), Role::Text),
            look.line(row.request().snapshot.short().to_owned(), Role::Text),
            look.line(row.request().target.display(), Role::Text),
            look.line(state, role),
            look.line(took.unwrap_or_else(|| "-".to_owned()), Role::Text),
        ]
    });
}

/// Everything about a recovery: where it stands, what it found, and how to do the same without this program.
pub fn detail(app: &App, row: &RecoveryRow, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let mut detail = Detail::new(look, width);
    let request = row.request();
    let what = match row.word() {
        "drill" => "Drill",
        "recover" => "Recovery",
        "verify" => "Verification",
        _ => "Restore",
    };
    detail.head(&format!("{what} {}", row.id()));
    let (state, role) = row.state();
    detail.pair_as("state", state, role);
    match row {
        RecoveryRow::Live(view) => live(view, look, &mut detail),
        RecoveryRow::Waiting(record, view) => {
            servers::detail(&view.waiting.server, Some(view), look, &mut detail);
            detail.head("The recovery");
            done(record, look, &mut detail);
        }
        RecoveryRow::Done(record) => {
            done(record, look, &mut detail);
            if let Some(left) = &record.left {
                servers::detail(left, None, look, &mut detail);
            }
        }
    }
    detail.head("What and where");
    detail.pair_if("drill", row.drill());
    detail.pair("snapshot", request.snapshot.short());
    detail.pair_if(
        "instant",
        request.instant.as_ref().map(|instant| instant.to.to_string()),
    );
    detail.pair_if("job", row.job());
    detail.pair("repository", request.repository.as_str());
    detail.pair("target", request.target.display());
    detail.pair(
        "asked by",
        format!("{}, {}", row.requested_by(), ago(look.now, row.requested_at())),
    );
    detail.pair_if("reason", request.reason.as_ref());
    if let Some(plan) = app.plans.get(row.id()) {
        detail.pair("machine", &plan.target_identity);
        detail.pair("undo", &plan.undo);
        detail.head("Without this program");
        detail.prose(&plan.restic_command, Role::Text);
    }
    detail.lines
}

/// The phases in order, with where it stands: `plan ok  restore 52%  verify  clean up`.
fn phases(current: RecoveryPhase, request: &RecoveryRequest, look: Look<'_>) -> Vec<Span<'static>> {
    use RecoveryPhase::{Cleanup, Plan, Replay, Restore, Verify};
    let all: &[RecoveryPhase] = match (request.instant.is_some(), request.target.is_verification()) {
        (false, false) => &[Plan, Restore, Verify],
        (true, false) => &[Plan, Restore, Replay],
        (false, true) => &[Plan, Restore, Verify, Cleanup],
        (true, true) => &[Plan, Restore, Replay, Verify, Cleanup],
    };
    let mut spans = Vec::new();
    for phase in all {
        if !spans.is_empty() {
            spans.push(look.span(format!(" {} ", look.glyphs.then), Role::Dim));
        }
        let (text, role) = match phase.cmp(&current) {
            Ordering::Less => (format!("{} done", phase.word()), Role::Ok),
            Ordering::Equal => (format!("[{}]", phase.word()), Role::Live),
            Ordering::Greater => (phase.word().to_owned(), Role::Dim),
        };
        spans.push(look.span(text, role));
    }
    spans
}

fn live(view: &RecoveryView, look: Look<'_>, detail: &mut Detail<'_>) {
    let recovery: &Recovery = &view.recovery;
    if recovery.state == RecoveryState::Queued {
        detail.pair("waits for", "a place: other recoveries go first");
    } else {
        detail.pair_spans("phase", phases(recovery.phase, &recovery.request, look));
        progress::detail(view.progress.as_ref(), look, detail);
    }
    if let Some(start) = recovery.started_at {
        let taken = Millis::between(start, look.now);
        let estimate = recovery
            .estimate
            .map_or(String::new(), |whole| format!(", estimated {whole} in all"));
        detail.pair("running for", format!("{}{estimate}", words::clock(taken)));
        countdown(view, taken, detail);
    }
    if let Some(by) = &recovery.cancel_requested {
        detail.pair_as("stopping", format!("asked by {by}"), Role::Warn);
    }
}

/// What is left of the objective of the service, as time and as a bar.
fn countdown(view: &RecoveryView, taken: Millis, detail: &mut Detail<'_>) {
    let Some((service, objective)) = &view.objective else {
        return;
    };
    let left = Millis(objective.0.saturating_sub(taken.0));
    let fraction = taken.0 as f64 / objective.0.max(1) as f64;
    let (words, role) = match left.0 {
        0 => (
            format!(" over the {} of {service}", words::promise(*objective)),
            Role::Crit,
        ),
        _ => (
            format!(
                " {} left of {} for {service}",
                words::clock(left),
                words::promise(*objective)
            ),
            if fraction > 0.75 { Role::Warn } else { Role::Text },
        ),
    };
    let mut spans = Vec::from(parts::bar(detail.look, fraction, 16, role));
    spans.push(detail.look.span(words, role));
    detail.pair_spans("objective", spans);
}

fn done(record: &RecoveryRecord, look: Look<'_>, detail: &mut Detail<'_>) {
    detail.pair("ended", ago(look.now, record.finished_at));
    detail.pair("took", record.duration().to_string());
    detail.pair(
        "wrote",
        format!("{} in {}", record.written, words::plural(record.items, "item")),
    );
    detail.pair_if(
        "evidence",
        record.evidence.map(|level| format!("{level} {}/5", level.rank())),
    );
    if let Some(error) = &record.error {
        detail.head("Error");
        detail.prose(&error.message, Role::Crit);
        if let Some(hint) = &error.hint {
            detail.prose(&format!("hint: {hint}"), Role::Accent);
        }
    }
    if !record.phases.is_empty() {
        detail.head("Phases");
        let whole = record.phases.iter().map(|phase| phase.took.0).sum::<u64>().max(1);
        for phase in &record.phases {
            let mut spans = Vec::from(parts::bar(look, phase.took.0 as f64 / whole as f64, 16, Role::Live));
            spans.push(look.span(format!(" {}", phase.took), Role::Text));
            detail.pair_spans(phase.phase.word(), spans);
        }
    }
    if !record.findings.is_empty() {
        let held = record.findings.iter().filter(|finding| finding.ok).count();
        detail.head(&format!("Findings: {held} of {} hold", record.findings.len()));
        for finding in &record.findings {
            let (sign, role) = if finding.ok {
                ("[ok]", Role::Ok)
            } else {
                ("[!!]", Role::Crit)
            };
            detail.list(sign, &[format!("{}: {}", finding.what, finding.detail)], role);
        }
    }
}
