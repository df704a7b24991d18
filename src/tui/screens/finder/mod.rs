//! The search for the last clean snapshot of a job: where it stands, a time line, and each snapshot with what speaks for it.
//!
//! ```text
//!  Last clean  9c41e0a2  11-19 02:00  clean by figures; nobody has looked into it
//!  First bad   77ab0c13  11-20 02:00  suspect: entropy 7.9
//!  Look next   9c41e0a2  at most 3 looks are left
//!  Time line   ··········[··············]!xx         oldest left
//!   ID        TAKEN          NEW  xMED  ENTR DEDUP  CHG  DEL  VERDICT
//! ▌ 77ab0c13  11-20 02:00   1.9G    94   7.9   10%  92%  90%  suspect: entropy 7.9
//!   9c41e0a2  11-19 02:00  20.1M     1   3.2   98%   2%   0%  clean by figures
//! ```
//!
//! `NEW` is what was new, `xMED` that against the median of those before it, `ENTR` its entropy in bits a byte, `DEDUP` the share
//! that was there already, `CHG` and `DEL` the shares of files that changed in any way, and that were deleted or renamed.

mod head;

use std::cmp::Ordering;

use ratatui::layout::Rect;
use ratatui::text::Line as TextLine;

pub use head::{HEAD, head};

use super::jobs::ago;
use crate::domain::anomaly::Found;
use crate::domain::finder::{Finding, Gone, Line, Verdict};
use crate::domain::id::SnapshotId;
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

/// A snapshot of the line, and where it stands to the bracket.
#[derive(Debug, Clone)]
pub struct FinderRow {
    /// The snapshot with its figures.
    pub line: Line,
    /// What it is to the search.
    pub standing: Standing,
}

/// What a snapshot is to the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The newest that is clean, as far as is known.
    LastClean,
    /// The oldest that is bad, as far as is known.
    FirstBad,
    /// The one to look at next.
    Next,
    /// Between those two.
    Between,
    /// Outside the bracket.
    Outside,
}

impl FinderRow {
    /// The rows of a line.
    pub fn of(finding: &Finding) -> Vec<Self> {
        let search = &finding.search;
        let place = |id: &Option<SnapshotId>| {
            let id = id.as_ref()?;
            finding.snapshots.iter().position(|line| line.id == *id)
        };
        let (clean, bad) = (place(&search.clean), place(&search.bad));
        let row = |(at, line): (usize, &Line)| {
            let inside = clean.is_none_or(|clean| at > clean) && bad.is_some_and(|bad| at < bad);
            let standing = if search.next.as_ref() == Some(&line.id) {
                Standing::Next
            } else if bad == Some(at) {
                Standing::FirstBad
            } else if clean == Some(at) {
                Standing::LastClean
            } else if inside {
                Standing::Between
            } else {
                Standing::Outside
            };
            Self {
                line: line.clone(),
                standing,
            }
        };
        finding.snapshots.iter().enumerate().map(row).collect()
    }

    /// Whether a verification of it is under way.
    pub fn testing(&self, app: &App) -> bool {
        let live = app.overview.iter().flat_map(|overview| &overview.recoveries);
        live.into_iter().any(|view| {
            let request = &view.recovery.request;
            request.snapshot == self.line.id && request.target.is_verification()
        })
    }

    /// How far it was proved, or where it went, in a word.
    fn proof(&self, app: &App) -> (String, Role) {
        match self.line.gone {
            _ if self.testing(app) => ("testing".to_owned(), Role::Live),
            Some(Gone::Trash) => ("TRASH".to_owned(), Role::Warn),
            Some(Gone::Expired) => ("GONE".to_owned(), Role::Dim),
            None => match &self.line.evidence.failure {
                Some(failure) => (format!("NOT {}", failure.level), Role::Crit),
                None => (
                    self.line.evidence.level.to_string(),
                    parts::evidence_role(&self.line.evidence, self.line.partial),
                ),
            },
        }
    }
}

const fn verdict_role(verdict: Verdict) -> Role {
    match verdict {
        Verdict::Clean => Role::Ok,
        Verdict::Bad | Verdict::Suspect => Role::Crit,
        Verdict::After | Verdict::OddSize | Verdict::Between => Role::Warn,
        Verdict::Unsuspicious => Role::Text,
        Verdict::Incomplete | Verdict::Uncounted => Role::Dim,
    }
}

/// The letter of a verdict in the time line; what nothing speaks against is a quiet dot.
const fn letter(look: Look<'_>, verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Clean => "c",
        Verdict::Bad => "B",
        Verdict::Suspect => "!",
        Verdict::After => "x",
        Verdict::OddSize => "~",
        Verdict::Unsuspicious => look.glyphs.good,
        Verdict::Between | Verdict::Incomplete | Verdict::Uncounted => "?",
    }
}

impl Item for FinderRow {
    const SORTS: &'static [&'static str] = &["taken", "entr", "new"];
    const FIELDS: &'static [&'static str] = &["id", "age", "verdict"];
    const NEWEST_FIRST: bool = true;

    fn key(&self) -> String {
        self.line.id.0.clone()
    }
    fn text(&self) -> String {
        format!("{} {}", self.line.id, self.line.words())
    }
    fn field(&self, name: &str, now: Timestamp) -> Option<Field> {
        Some(match name {
            "id" => Field::Text(self.line.id.0.clone()),
            "age" => Field::Time(Millis::between(self.line.at, now)),
            "verdict" => Field::Text(self.line.words()),
            _ => return None,
        })
    }
    fn order(&self, other: &Self, sort: usize) -> Ordering {
        let entropy = |row: &Self| row.line.figures.and_then(|figures| figures.entropy);
        let new = |row: &Self| row.line.changes.map(|changes| changes.new);
        match sort {
            1 => entropy(other).cmp(&entropy(self)),
            2 => new(other).cmp(&new(self)),
            _ => self.line.at.cmp(&other.line.at),
        }
    }
}

const COLUMNS: [Column; 10] = [
    Column::fixed("ID", 8),
    Column::fixed("TAKEN", 11),
    Column::fixed("NEW", 6).ending(),
    Column::fixed("xMED", 4).ending().when(64),
    Column::fixed("ENTR", 4).ending(),
    Column::fixed("DEDUP", 5).ending().when(70),
    Column::fixed("CHG", 4).ending().when(76),
    Column::fixed("DEL", 4).ending(),
    Column::fixed("PROOF", 11).when(90),
    Column::flexible("VERDICT", 18),
];

/// Draws the list.
pub fn list(canvas: &mut Canvas<'_>, area: Rect, app: &App, focused: bool) {
    let look = canvas.look;
    list::draw(canvas, area, &app.finder.rows, focused, &COLUMNS, |row| {
        let line = &row.line;
        let role = if line.gone.is_some() { Role::Dim } else { Role::Text };
        let percent = |parts: u64| look.line(format!("{}%", parts / 10), role);
        let dash = || look.line("-", Role::Dim);
        let of = |figure: Option<u64>| figure.map_or_else(dash, percent);
        let figures = line.figures;
        let odd = |holds: bool| if holds { Role::Crit } else { role };
        let (proof, proof_role) = row.proof(app);
        vec![
            look.line(line.id.short().to_owned(), role),
            look.line(words::moment(look.now, line.at), role),
            line.changes
                .map_or_else(dash, |changes| look.line(words::size(changes.new), role)),
            times(line).map_or_else(dash, |times| look.line(times, role)),
            line.bits()
                .map_or_else(dash, |bits| look.line(bits, odd(line.signs.encryption))),
            of(figures.map(|figures| 1000 - figures.change_rate)),
            of(figures.map(|figures| figures.churn)),
            of(figures.map(|figures| figures.removed)),
            look.line(proof, proof_role),
            look.line(verdict(row), verdict_role(line.verdict)),
        ]
    });
}

/// The verdict, and before it what the snapshot is to the search; words come first where the column is narrow.
fn verdict(row: &FinderRow) -> String {
    let words = row.line.words();
    let gone = match row.line.gone {
        Some(Gone::Expired) => ", gone",
        Some(Gone::Trash) => ", trash",
        None => "",
    };
    let lead = match row.standing {
        Standing::Next => "> ",
        _ => "",
    };
    format!("{lead}{words}{gone}")
}

/// What was new against the median of those before it.
fn times(line: &Line) -> Option<String> {
    let (new, usual) = (line.changes?.new.0, line.figures?.usual_new?.0);
    let tenths = u128::from(new) * 10 / u128::from(usual.max(1));
    Some(match tenths {
        0..=99 => format!("{}.{}", tenths / 10, tenths % 10),
        100..=9999 => (tenths / 10).to_string(),
        _ => ">999".to_owned(),
    })
}

/// Everything about one snapshot of the line.
pub fn detail(app: &App, row: &FinderRow, look: Look<'_>, width: usize) -> Vec<TextLine<'static>> {
    let mut detail = Detail::new(look, width);
    let line = &row.line;
    detail.head(&format!("Snapshot {}", line.id.short()));
    detail.pair_as("verdict", line.words(), verdict_role(line.verdict));
    if let Some(said) = app.finder.look(&line.id) {
        let word = if said.found == Found::Clean { "clean" } else { "bad" };
        detail.pair("said", format!("{word}, {}: {}", ago(look.now, said.at), said.reason));
    }
    let standing = match row.standing {
        Standing::LastClean => "the last clean one, as far as is known",
        Standing::FirstBad => "the first bad one, as far as is known",
        Standing::Next => "look at this one next",
        Standing::Between => "in the bracket: nobody has looked",
        Standing::Outside => "outside the bracket",
    };
    detail.pair("stands", standing);
    match line.gone {
        Some(Gone::Expired) => detail.pair_as("GONE", "from its repository; its figures were kept", Role::Warn),
        Some(Gone::Trash) => detail.pair_as("IN TRASH", "it can be brought back: t on screen 3", Role::Warn),
        None => detail.pair_spans("evidence", parts::evidence(look, &line.evidence, line.partial)),
    }
    if let Some(failure) = &line.evidence.failure {
        detail.pair_as(
            "failed",
            format!("NOT {}: {}", failure.level, failure.message),
            Role::Crit,
        );
    }
    if row.testing(app) {
        detail.pair_as("restore-test", "under way; screen 4 shows it", Role::Live);
    }
    detail.pair("taken", ago(look.now, line.at));
    detail.head("Figures");
    detail.pair(
        "holds",
        format!("{} in {}", line.size, words::plural(line.files, "file")),
    );
    match (line.changes, line.figures) {
        (Some(changes), Some(figures)) => {
            let usual = times(line).map_or(String::new(), |times| format!("; {times} times the median before it"));
            detail.pair("new", format!("{}, stored in {}{usual}", changes.new, line.packed));
            let bits = line.bits();
            detail.pair(
                "entropy",
                bits.map_or_else(
                    || "too little was new to say".to_owned(),
                    |bits| format!("{bits} bits a byte of what was new; 8.0 is noise"),
                ),
            );
            detail.pair(
                "dedup",
                format!("{}% was there already", (1000 - figures.change_rate) / 10),
            );
            let count = words::count;
            detail.pair(
                "files",
                format!(
                    "{} new, {} changed, {} deleted or renamed",
                    count(changes.files_new),
                    count(changes.files_changed),
                    count(changes.files_removed)
                ),
            );
        }
        _ if line.partial => detail.prose("It is incomplete, so nothing was compared.", Role::Dim),
        _ => detail.prose("What was new in it was not counted when it was made.", Role::Dim),
    }
    if let Some(usual) = line.signs.usual_size {
        detail.pair_as("odd size", format!("usual is {usual}"), Role::Warn);
    }
    detail.head("How to look");
    detail.prose(
        "Figures only say where to look. Restore-test it, open its files, then say what it is: that narrows the bracket. \
         What is said is kept in this console; the same as a command:",
        Role::Text,
    );
    detail.prose(&app.finder.command(), Role::Accent);
    detail.lines
}
