//! Audit: the journal as a time line that can be searched. Each event carries the hash of the one before it.
//!
//! ```text
//!     SEQ  WHEN      WHO    VIA      WHAT
//! ▌ 1,204  10:41:02  ana    console  rec-01h… of snapshot 9c41e0a2 to database orders_new
//! ```

use std::cmp::Ordering;

use ratatui::layout::Rect;
use ratatui::text::Line;

use super::jobs::ago;
use crate::domain::event::{Event, EventRecord};
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

impl Item for EventRecord {
    const SORTS: &'static [&'static str] = &["seq", "who", "event"];
    const FIELDS: &'static [&'static str] = &["event", "who", "via", "host", "age", "seq"];
    const NEWEST_FIRST: bool = true;

    fn key(&self) -> String {
        self.seq.to_string()
    }
    fn text(&self) -> String {
        format!(
            "{} {} {} {}",
            self.event.word(),
            self.actor.name,
            self.actor.host,
            self.event.summary()
        )
    }
    fn field(&self, name: &str, now: Timestamp) -> Option<Field> {
        Some(match name {
            "event" => Field::Text(self.event.word().to_owned()),
            "who" => Field::Text(self.actor.name.clone()),
            "via" => Field::Text(self.actor.via.clone()),
            "host" => Field::Text(self.actor.host.clone()),
            "age" => Field::Time(Millis::between(self.at, now)),
            "seq" => Field::Number(self.seq),
            _ => return None,
        })
    }
    fn order(&self, other: &Self, sort: usize) -> Ordering {
        match sort {
            1 => self.actor.name.cmp(&other.actor.name).then(other.seq.cmp(&self.seq)),
            2 => self.event.word().cmp(other.event.word()).then(other.seq.cmp(&self.seq)),
            _ => self.seq.cmp(&other.seq),
        }
    }
}

/// What stands out in the time line: failures, and what people did.
fn role(record: &EventRecord) -> Role {
    match &record.event {
        Event::RunFinished { record } => quiet(parts::outcome_role(record.outcome)),
        Event::RecoveryFinished { record } => quiet(parts::outcome_role(record.outcome)),
        Event::EvidenceRefuted { .. } | Event::RepositoryLost { .. } => Role::Crit,
        Event::AlertOpened { alert } => parts::severity_role(alert.severity),
        Event::CommandRefused { .. } | Event::RunRetryScheduled { .. } | Event::ScheduleMissed { .. } => Role::Warn,
        _ => Role::Text,
    }
}

/// A success needs no colour in a list of thousands.
const fn quiet(role: Role) -> Role {
    match role {
        Role::Ok => Role::Text,
        other => other,
    }
}

const COLUMNS: [Column; 5] = [
    Column::fixed("SEQ", 7).ending(),
    Column::fixed("WHEN", 11),
    Column::fixed("WHO", 9),
    Column::fixed("VIA", 7).when(90),
    Column::flexible("WHAT", 20),
];

/// Draws the time line.
pub fn list(canvas: &mut Canvas<'_>, area: Rect, app: &App, focused: bool) {
    let look = canvas.look;
    list::draw(canvas, area, &app.audit, focused, &COLUMNS, |record| {
        let person = if record.actor.via == "agent" {
            Role::Dim
        } else {
            Role::Accent
        };
        vec![
            look.line(words::count(record.seq), Role::Dim),
            look.line(words::moment(look.now, record.at), Role::Text),
            look.line(record.actor.name.clone(), person),
            look.line(record.actor.via.clone(), Role::Dim),
            look.line(record.event.summary(), role(record)),
        ]
    });
}

/// Everything about an event, as the journal keeps it.
pub fn detail(record: &EventRecord, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let mut detail = Detail::new(look, width);
    detail.head(&format!("Event {}: {}", words::count(record.seq), record.event.word()));
    detail.prose(&record.event.summary(), role(record));
    detail.head("Who and when");
    detail.pair("when", ago(look.now, record.at));
    let actor = &record.actor;
    detail.pair("who", format!("{} on {}, {}", actor.name, actor.host, actor.via));
    detail.head("Chain");
    detail.pair("hash", &record.hash);
    detail.pair("before it", &record.previous_hash);
    detail.head("As the journal keeps it");
    let json = serde_json::to_string_pretty(&record.event).unwrap_or_default();
    for line in json.lines() {
        detail.prose(line, Role::Dim);
    }
    detail.lines
}
