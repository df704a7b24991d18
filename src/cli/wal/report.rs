//! What `lifeboat wal list` and `lifeboat wal verify` print.

use serde::Serialize;

use crate::cli::output::{Column, Paint, Render, Row, Style, Text};
use crate::cli::recover::write_intervals;
use crate::domain::pitr::Interval;
use crate::domain::wal::{Gap, Lsn, SegmentName, SystemId, TimelineId};
use crate::domain::{Bytes, Timestamp};
use crate::source::postgres::wal::report::{SystemReport, TimelineReport};

/// One timeline in a list.
#[derive(Debug, Serialize)]
pub struct TimelineRow {
    system: SystemId,
    timeline: TimelineId,
    parent: Option<TimelineId>,
    first: Option<SegmentName>,
    last: Option<SegmentName>,
    segments: u64,
    gaps: u64,
    end: Option<Lsn>,
    /// The stretches of it that can be restored with the base backups there are.
    restorable: Vec<Interval>,
    stored: Bytes,
}

/// The timelines of some reports, one a row.
pub fn rows(reports: &[Looked]) -> Vec<TimelineRow> {
    let row = |system: SystemId, line: &TimelineReport, restorable: &[Interval]| TimelineRow {
        restorable: restorable
            .iter()
            .filter(|one| one.timeline == line.timeline)
            .cloned()
            .collect(),
        system,
        timeline: line.timeline,
        parent: line.branch.map(|branch| branch.parent),
        first: line.first,
        last: line.last,
        segments: line.segments,
        gaps: (line.late.len() + line.lost.len()) as u64,
        end: line.end,
        stored: line.stored,
    };
    reports
        .iter()
        .flat_map(|looked| {
            let lines = looked.report.timelines.iter();
            lines.map(move |line| row(looked.report.system, line, &looked.restorable))
        })
        .collect()
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

impl Row for TimelineRow {
    const COLUMNS: &'static [Column] = &[
        Column::left("SYSTEM"),
        Column::right("TL"),
        Column::right("FROM"),
        Column::cut("FIRST"),
        Column::cut("LAST"),
        Column::right("SEGMENTS"),
        Column::right("GAPS"),
        Column::left("END"),
        Column::left("RESTORABLE"),
        Column::right("STORED"),
    ];
    const EMPTY: &'static str = "no log is archived here";

    fn cells(&self, _: &Style) -> Vec<String> {
        vec![
            self.system.to_string(),
            self.timeline.to_string(),
            or_dash(self.parent),
            or_dash(self.first),
            or_dash(self.last),
            self.segments.to_string(),
            self.gaps.to_string(),
            or_dash(self.end),
            or_dash(self.restorable.last().map(|one| format!("{} to {}", one.from, one.to))),
            self.stored.to_string(),
        ]
    }
}

/// What was found of one cluster.
#[derive(Debug, Serialize)]
pub struct Looked {
    /// What the archive holds.
    #[serde(flatten)]
    pub report: SystemReport,
    /// What can be restored with the base backups there are.
    pub restorable: Vec<Interval>,
}

/// What was found in an archive.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Verified(pub Vec<Looked>);

impl Render for Verified {
    fn text(&self, out: &mut Text) {
        if self.0.is_empty() {
            out.line(TimelineRow::EMPTY);
        }
        for Looked { report, restorable } in &self.0 {
            out.heading(&format!("system {}", report.system));
            one(report, out);
            write_intervals(restorable, out);
        }
    }
}

fn one(report: &SystemReport, out: &mut Text) {
    for line in &report.timelines {
        timeline(line, out);
    }
    for name in &report.conflicts {
        out.painted(
            Paint::Bad,
            format!("SPLIT BRAIN: {name} came twice with different content; the second was refused"),
        );
    }
    for what in &report.damaged {
        out.painted(Paint::Bad, format!("DAMAGED: {what}"));
    }
    for file in &report.late {
        let since = out.style.ago(Some(Timestamp::from(file.ready_since)));
        out.painted(
            Paint::Warn,
            format!("late: {} is ready to be archived since {since}", file.name),
        );
    }
    for name in &report.strange {
        out.line(format!("note: {name} has no meaning here"));
    }
    if report.read > 0 {
        out.line(format!("{} files were read again", report.read));
    }
    if report.is_broken() {
        out.painted(Paint::Bad, "BROKEN: what is named above cannot be replayed");
    } else if report.is_late() {
        out.painted(
            Paint::Warn,
            "late: nothing is lost, and something should be here by now",
        );
    } else {
        out.painted(Paint::Good, "whole: nothing is missing");
    }
}

fn timeline(line: &TimelineReport, out: &mut Text) {
    let from = match line.branch {
        Some(branch) => format!(", from timeline {} at {}", branch.parent, branch.at),
        None => String::new(),
    };
    let end = line.end.map(|end| format!(", up to {end}")).unwrap_or_default();
    let stored = line.stored;
    out.line(format!(
        "timeline {}{from}: {} segments{end}, {stored}",
        line.timeline, line.segments
    ));
    for range in &line.ranges {
        out.line(format!("  found {} to {} ({})", range.first, range.last, range.count));
    }
    if let Some(growing) = &line.growing {
        out.line(format!("  found {} of {}", growing.length, growing.segment));
    }
    for gap in &line.late {
        out.painted(
            Paint::Warn,
            format!("  late  {}, and the server still has it", span(gap)),
        );
    }
    for gap in &line.lost {
        out.painted(Paint::Bad, format!("  LOST  {}", span(gap)));
    }
    for child in &line.left_by {
        out.line(format!("  timeline {child} left it before its end"));
    }
    if line.history_missing {
        let text = format!(
            "  LOST  {}.history: nothing says what it descends from",
            line.timeline.hex()
        );
        out.painted(Paint::Bad, text);
    }
    for sign in &line.split_brain {
        out.painted(Paint::Bad, format!("  SPLIT BRAIN: {sign}"));
    }
}

fn span(gap: &Gap) -> String {
    if gap.count == 1 {
        gap.first.to_string()
    } else {
        format!("{} to {} ({})", gap.first, gap.last, gap.count)
    }
}
