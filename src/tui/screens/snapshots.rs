//! Snapshots: what can be restored, and how far each is proved.
//!
//! ```text
//!   ID        JOB         TAKEN        EVIDENCE               PROVED   SIZE   NEW
//! ▌ 9c41e0a2  orders-db   10:30:07     ■■■■■ probed 5/5       8m       1.2G  3.1M
//!   77ab0c13  documents   11-19 02:00  ■□□□□ NOT decoded 1/5  9h       3.4G  1.9G
//! ```
//!
//! Enter opens the tree of files; `a` plans a restore or verifies.

use std::cmp::Ordering;

use ratatui::layout::Rect;
use ratatui::text::Line;

use super::jobs::ago;
use crate::domain::snapshot::SnapshotRecord;
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

impl Item for SnapshotRecord {
    const SORTS: &'static [&'static str] = &["taken", "job", "evidence", "size", "new"];
    const FIELDS: &'static [&'static str] = &[
        "id",
        "job",
        "source",
        "kind",
        "repository",
        "host",
        "tag",
        "age",
        "evidence",
        "size",
        "added",
        "partial",
        "pinned",
        "expires",
    ];
    const NEWEST_FIRST: bool = true;

    fn key(&self) -> String {
        self.id.0.clone()
    }
    fn text(&self) -> String {
        let mut text = format!("{} {} {} {}", self.id, self.kind, self.repository, self.host);
        let names = self
            .job
            .iter()
            .map(|job| &job.0)
            .chain(self.source.iter().map(|source| &source.0));
        for word in names.chain(&self.paths).chain(&self.tags).chain(&self.comment) {
            text.push(' ');
            text.push_str(word);
        }
        if let Some(database) = &self.database {
            text.push(' ');
            text.push_str(&database.name);
        }
        text
    }
    fn field(&self, name: &str, now: Timestamp) -> Option<Field> {
        Some(match name {
            "id" => Field::Text(self.id.0.clone()),
            "job" => Field::Text(self.job.as_ref()?.0.clone()),
            "source" => Field::Text(self.source.as_ref()?.0.clone()),
            "kind" => Field::Text(self.kind.clone()),
            "repository" => Field::Text(self.repository.0.clone()),
            "host" => Field::Text(self.host.clone()),
            "tag" => Field::Text(self.tags.join(",")),
            "age" => Field::Time(Millis::between(self.taken_at, now)),
            "evidence" => Field::Evidence(self.evidence.level),
            "size" => Field::Size(self.size),
            "added" => Field::Size(self.added),
            "partial" => Field::Text(if self.partial { "yes" } else { "no" }.to_owned()),
            "pinned" => Field::Text(if self.pinned.is_some() { "yes" } else { "no" }.to_owned()),
            "expires" => Field::Text(
                self.expiry
                    .as_ref()
                    .map_or("no", |expiry| if expiry.due { "next" } else { "later" })
                    .to_owned(),
            ),
            _ => return None,
        })
    }
    fn order(&self, other: &Self, sort: usize) -> Ordering {
        match sort {
            1 => self
                .job
                .cmp(&other.job)
                .then_with(|| other.taken_at.cmp(&self.taken_at)),
            2 => weakness(self).cmp(&weakness(other)),
            3 => other.size.cmp(&self.size),
            4 => other.added.cmp(&self.added),
            _ => self.taken_at.cmp(&other.taken_at),
        }
    }
}

/// The worst proved first: failures, then by level.
fn weakness(snapshot: &SnapshotRecord) -> (bool, u8) {
    (snapshot.evidence.failure.is_none(), snapshot.evidence.level.rank())
}

const COLUMNS: [Column; 8] = [
    Column::fixed("ID", 8),
    Column::flexible("JOB", 9),
    Column::fixed("TAKEN", 11),
    Column::fixed("EVIDENCE", 21),
    Column::fixed("PROVED", 6).ending().when(66),
    Column::fixed("SIZE", 6).ending(),
    Column::fixed("NEW", 6).ending().when(84),
    Column::fixed("", 7).when(72),
];

/// Draws the list of snapshots.
pub fn list(canvas: &mut Canvas<'_>, area: Rect, app: &App, focused: bool) {
    let look = canvas.look;
    list::draw(canvas, area, &app.snapshots, focused, &COLUMNS, |snapshot| {
        let role = if snapshot.is_there() { Role::Text } else { Role::Dim };
        let (flag, flag_role) = super::kept::flag(snapshot);
        vec![
            look.line(snapshot.id.short().to_owned(), role),
            look.line(snapshot.job.as_ref().map_or("-".to_owned(), |job| job.0.clone()), role),
            look.line(words::moment(look.now, snapshot.taken_at), role),
            Line::from(parts::evidence(look, &snapshot.evidence, snapshot.partial)),
            look.line(words::age(look.now, snapshot.evidence.at), role),
            look.line(words::size(snapshot.size), role),
            look.line(words::size(snapshot.added), role),
            look.line(flag, flag_role),
        ]
    });
}

/// Everything about a snapshot.
pub fn detail(app: &App, snapshot: &SnapshotRecord, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let mut detail = Detail::new(look, width);
    detail.head(&format!("Snapshot {}", snapshot.id.short()));
    detail.pair_spans("evidence", parts::evidence(look, &snapshot.evidence, snapshot.partial));
    detail.pair("proved", ago(look.now, snapshot.evidence.at));
    if let Some(failure) = &snapshot.evidence.failure {
        let text = format!(
            "NOT {}, {}: {}",
            failure.level,
            ago(look.now, failure.at),
            failure.message
        );
        detail.pair_as("failed", text, Role::Crit);
    }
    if snapshot.partial {
        let lost = format!(
            "{} could not be read; it does not count as a restore point",
            words::plural(snapshot.errors, "thing")
        );
        detail.pair_as("PARTIAL", lost, Role::Warn);
    }
    detail.pair_if("gone since", snapshot.vanished_at.map(|at| ago(look.now, at)));
    super::kept::facts(snapshot, look, &mut detail);
    detail.head("What and when");
    detail.pair("taken", ago(look.now, snapshot.taken_at));
    detail.pair_if("job", snapshot.job.as_ref().map(crate::domain::id::JobName::as_str));
    detail.pair("kind", &snapshot.kind);
    detail.pair("host", &snapshot.host);
    detail.pair("paths", snapshot.paths.join("\n"));
    if !snapshot.tags.is_empty() {
        detail.pair("tags", snapshot.tags.join(" "));
    }
    detail.pair_if("comment", snapshot.comment.as_ref());
    detail.pair("repository", snapshot.repository.as_str());
    detail.pair("full id", snapshot.id.as_str());
    detail.head("Numbers");
    detail.pair(
        "holds",
        format!("{} in {}", snapshot.size, words::plural(snapshot.files, "file")),
    );
    detail.pair(
        "added",
        format!("{}, compressed{}", snapshot.added, against_median(app, snapshot)),
    );
    detail.pair("took", snapshot.duration.to_string());
    database(snapshot, &mut detail);
    detail.lines
}

fn database(snapshot: &SnapshotRecord, detail: &mut Detail<'_>) {
    let Some(facts) = &snapshot.database else { return };
    detail.head(&format!("Database {}", facts.name));
    detail.pair(
        "server",
        format!(
            "PostgreSQL {}, dumped with {}",
            facts.server_version, facts.tool_version
        ),
    );
    detail.pair_if("system id", facts.system_identifier.as_ref());
    detail.pair("tables", words::count(facts.tables));
    for (table, rows) in &facts.row_counts {
        detail.pair_spans(
            "",
            vec![
                detail.look.span(format!("{:>12}", words::count(*rows)), Role::Text),
                detail.look.span(format!("  {table}"), Role::Dim),
            ],
        );
    }
}

/// How the new bytes compare with what is usual for the job, when there is enough to compare with.
fn against_median(app: &App, snapshot: &SnapshotRecord) -> String {
    let same_job = app
        .snapshots
        .all()
        .filter(|other| other.job.is_some() && other.job == snapshot.job);
    let mut usual: Vec<u64> = same_job
        .filter(|other| other.id != snapshot.id)
        .map(|other| other.added.0)
        .take(50)
        .collect();
    if usual.len() < 5 {
        return String::new();
    }
    usual.sort_unstable();
    let median = usual[usual.len() / 2].max(1);
    let ratio = snapshot.added.0 as f64 / median as f64;
    match ratio {
        4.0.. => format!("; UNUSUAL: {ratio:.1} times the median of the job"),
        _ => format!("; {ratio:.1} times the median of the job"),
    }
}
