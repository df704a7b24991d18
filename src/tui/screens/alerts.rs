//! Alerts: what is wrong, since when, and what to do next; the resolved ones below.
//!
//! ```text
//!   SEVERITY  AGE WHAT                                               STATE
//! ▌ critical   1h documents would lose 7h12m, 6h are promised        open
//!   warning   42m job orders-db failed: connection refused           ana has it
//! ```

use std::cmp::Ordering;

use ratatui::layout::Rect;
use ratatui::text::Line;

use super::jobs::ago;
use crate::domain::alert::AlertRecord;
use crate::domain::{Millis, Timestamp};
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, Look};
use crate::tui::filter::Field;
use crate::tui::table::Item;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::Detail;
use crate::tui::widgets::list::{self, Column};
use crate::tui::widgets::parts;
use crate::tui::words;

impl Item for AlertRecord {
    const SORTS: &'static [&'static str] = &["urgency", "age", "about"];
    const FIELDS: &'static [&'static str] = &["severity", "kind", "about", "service", "job", "age", "state"];
    const NEWEST_FIRST: bool = true;

    /// An alert that opens again is another row: its key and when it was opened.
    fn key(&self) -> String {
        match self.resolved_at {
            None => self.alert.key.0.clone(),
            Some(_) => format!("{}@{}", self.alert.key, self.alert.opened_at.timestamp_millis()),
        }
    }
    fn text(&self) -> String {
        let alert = &self.alert;
        format!(
            "{} {} {} {}",
            alert.key,
            alert.severity.word(),
            alert.message,
            alert.next_step
        )
    }
    fn field(&self, name: &str, now: Timestamp) -> Option<Field> {
        let alert = &self.alert;
        Some(match name {
            "severity" => Field::Text(alert.severity.word().to_owned()),
            "kind" => Field::Text(alert.kind.word().to_owned()),
            "about" => Field::Text(about(self)),
            "service" => Field::Text(alert.subject.service.as_ref()?.0.clone()),
            "job" => Field::Text(alert.subject.job.as_ref()?.0.clone()),
            "age" => Field::Time(Millis::between(alert.opened_at, now)),
            "state" => Field::Text(state(self).0),
            _ => return None,
        })
    }
    fn order(&self, other: &Self, sort: usize) -> Ordering {
        match sort {
            1 => other.alert.opened_at.cmp(&self.alert.opened_at),
            2 => about(self).cmp(&about(other)),
            _ => rank(self)
                .cmp(&rank(other))
                .then(self.alert.opened_at.cmp(&other.alert.opened_at)),
        }
    }
}

/// Open before resolved, critical before warning, unowned before owned.
fn rank(record: &AlertRecord) -> (bool, Option<(crate::domain::alert::Severity, bool)>) {
    let open = record.resolved_at.is_none();
    (
        open,
        open.then(|| (record.alert.severity, record.alert.acknowledged.is_none())),
    )
}

fn about(record: &AlertRecord) -> String {
    record
        .alert
        .key
        .as_str()
        .split_once('/')
        .map_or_else(|| record.alert.key.0.clone(), |(_, about)| about.to_owned())
}

fn state(record: &AlertRecord) -> (String, Role) {
    match (&record.resolved_at, &record.alert.acknowledged) {
        (Some(_), _) => ("resolved".to_owned(), Role::Dim),
        (None, Some(ack)) => (format!("{} has it", ack.by), Role::Text),
        (None, None) => ("open".to_owned(), Role::Warn),
    }
}

const COLUMNS: [Column; 5] = [
    Column::fixed("SEVERITY", 8),
    Column::fixed("AGE", 4).ending(),
    Column::fixed("ABOUT", 14).when(84),
    Column::flexible("WHAT", 16),
    Column::fixed("STATE", 12),
];

/// Draws the list of alerts.
pub fn list(canvas: &mut Canvas<'_>, area: Rect, app: &App, focused: bool) {
    let look = canvas.look;
    list::draw(canvas, area, &app.alerts, focused, &COLUMNS, |record| {
        let alert = &record.alert;
        let (state, state_role) = state(record);
        let open = record.resolved_at.is_none();
        let role = if open { Role::Text } else { Role::Dim };
        let severity_role = if open {
            parts::severity_role(alert.severity)
        } else {
            Role::Dim
        };
        vec![
            look.line(alert.severity.word(), severity_role),
            look.line(words::age(look.now, alert.opened_at), role),
            look.line(about(record), role),
            look.line(alert.message.clone(), role),
            look.line(state, state_role),
        ]
    });
}

/// Everything about an alert, what to do next first.
pub fn detail(app: &App, record: &AlertRecord, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let alert = &record.alert;
    let mut detail = Detail::new(look, width);
    detail.head(&format!("Alert {}", alert.key));
    detail.prose(&alert.message, Role::Text);
    if record.resolved_at.is_none() {
        detail.head("What to do next");
        detail.prose(&alert.next_step, Role::Accent);
        if let Some(view) = app.waiting_execution(alert) {
            let words = format!("{} waits on screen 5: Enter opens its wizard", view.run.runbook.name);
            detail.pair_as("runbook", words, Role::Accent);
        }
        if let Some(line) = app.fitting_runbook(alert) {
            detail.pair_as(
                "runbook",
                format!("{}: {}; a begins it, screen 5 has it", line.name, line.title),
                Role::Accent,
            );
        }
    }
    detail.head("Facts");
    detail.pair_as("severity", alert.severity.word(), parts::severity_role(alert.severity));
    detail.pair("since", ago(look.now, alert.opened_at));
    detail.pair_if(
        "service",
        alert
            .subject
            .service
            .as_ref()
            .map(crate::domain::id::ServiceName::as_str),
    );
    detail.pair_if(
        "job",
        alert.subject.job.as_ref().map(crate::domain::id::JobName::as_str),
    );
    detail.pair_if(
        "snapshot",
        alert
            .subject
            .snapshot
            .as_ref()
            .map(crate::domain::id::SnapshotId::short),
    );
    match &alert.acknowledged {
        Some(ack) => {
            detail.pair("taken by", format!("{}, {}", ack.by, ago(look.now, ack.at)));
            detail.pair_if("note", ack.note.as_ref());
        }
        None if record.resolved_at.is_none() => detail.pair("taken by", "nobody yet; a acknowledges it"),
        None => {}
    }
    if let Some(at) = record.resolved_at {
        let lasted = Millis::between(alert.opened_at, at);
        detail.pair(
            "resolved",
            format!("{}, after {}", ago(look.now, at), words::coarse(lasted)),
        );
        detail.pair_if("because", record.resolution.as_ref());
    }
    detail.lines
}
