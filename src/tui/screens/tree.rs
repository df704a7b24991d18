//! One directory of a snapshot, and a look into its files.
//!
//! ```text
//!   NAME                       SIZE  MODIFIED     MODE
//! ▌ contracts/                       11-19 17:20  drwxr-x---
//!   readme.md                  4.1K  11-02 09:14  -rw-r--r--
//! ```
//!
//! Enter opens a directory or looks into a file; marked entries are restored together.

use std::cmp::Ordering;

use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::domain::Timestamp;
use crate::domain::view::TreeEntryView;
use crate::tui::app::App;
use crate::tui::canvas::{Canvas, Look};
use crate::tui::filter::Field;
use crate::tui::place::{Place, join_path};
use crate::tui::table::Item;
use crate::tui::theme::Role;
use crate::tui::widgets::detail::Detail;
use crate::tui::widgets::list::{self, Column};
use crate::tui::words;

/// How much of a file is fetched to look into it.
pub const PREVIEW_BYTES: u64 = 65_536;

/// An entry of the directory that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeRow {
    /// The entry.
    pub entry: TreeEntryView,
}

impl TreeRow {
    /// Whether it can be opened.
    pub fn is_dir(&self) -> bool {
        self.entry.kind == "dir"
    }
}

/// The beginning of a file, as text where it is text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The snapshot.
    pub snapshot: String,
    /// The file.
    pub path: String,
    /// Its lines: text, or bytes in hexadecimal.
    pub lines: Vec<String>,
}

impl Preview {
    /// Makes a preview of the first bytes of a file.
    pub fn new(snapshot: String, path: String, bytes: &[u8]) -> Self {
        let lines = match std::str::from_utf8(bytes) {
            Ok(text) => text.lines().map(|line| line.replace('\t', "    ")).collect(),
            // A cut in the middle of a character is not a sign of a binary file.
            Err(error) if error.error_len().is_none() => String::from_utf8_lossy(&bytes[..error.valid_up_to()])
                .lines()
                .map(|line| line.replace('\t', "    "))
                .collect(),
            Err(_) => bytes
                .chunks(16)
                .take(512)
                .enumerate()
                .map(|(row, bytes)| hex_line(row * 16, bytes))
                .collect(),
        };
        Self { snapshot, path, lines }
    }
}

fn hex_line(at: usize, bytes: &[u8]) -> String {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let letters: String = bytes
        .iter()
        .map(|byte| {
            if byte.is_ascii_graphic() {
                char::from(*byte)
            } else {
                '.'
            }
        })
        .collect();
    format!("{at:06x}  {:<47}  {letters}", hex.join(" "))
}

impl Item for TreeRow {
    const SORTS: &'static [&'static str] = &["name", "size", "modified"];
    const FIELDS: &'static [&'static str] = &["name", "kind", "size", "age", "mode"];
    const NEWEST_FIRST: bool = false;

    fn key(&self) -> String {
        self.entry.name.clone()
    }
    fn text(&self) -> String {
        self.entry.name.clone()
    }
    fn field(&self, name: &str, now: Timestamp) -> Option<Field> {
        Some(match name {
            "name" => Field::Text(self.entry.name.clone()),
            "kind" => Field::Text(self.entry.kind.clone()),
            "mode" => Field::Text(self.entry.mode.clone()),
            "size" => Field::Size(self.entry.size),
            "age" => Field::Time(crate::domain::Millis::between(self.entry.modified?, now)),
            _ => return None,
        })
    }
    fn order(&self, other: &Self, sort: usize) -> Ordering {
        match sort {
            1 => other.entry.size.cmp(&self.entry.size),
            2 => other.entry.modified.cmp(&self.entry.modified),
            _ => other
                .is_dir()
                .cmp(&self.is_dir())
                .then_with(|| self.entry.name.cmp(&other.entry.name)),
        }
    }
}

const COLUMNS: [Column; 4] = [
    Column::flexible("NAME", 16),
    Column::fixed("SIZE", 7).ending(),
    Column::fixed("MODIFIED", 11),
    Column::fixed("MODE", 10).when(56),
];

/// Draws the entries of the directory.
pub fn list(canvas: &mut Canvas<'_>, area: Rect, app: &App, focused: bool) {
    let look = canvas.look;
    list::draw(canvas, area, &app.tree, focused, &COLUMNS, |row| {
        let entry = &row.entry;
        let name = match (&entry.link_target, row.is_dir()) {
            (Some(target), _) => format!("{} -> {target}", entry.name),
            (None, true) => format!("{}/", entry.name),
            (None, false) => entry.name.clone(),
        };
        let size = if entry.kind == "file" {
            words::size(entry.size)
        } else {
            String::new()
        };
        vec![
            look.line(name, if row.is_dir() { Role::Accent } else { Role::Text }),
            look.line(size, Role::Text),
            look.line(
                entry.modified.map_or(String::new(), |at| words::moment(look.now, at)),
                Role::Dim,
            ),
            look.line(entry.mode.clone(), Role::Dim),
        ]
    });
}

/// Everything about an entry, and the beginning of the file when it was opened.
pub fn detail(app: &App, row: &TreeRow, look: Look<'_>, width: usize) -> Vec<Line<'static>> {
    let Place::Tree(snapshot, directory) = &app.place else {
        return Vec::new();
    };
    let path = join_path(directory, &row.entry.name);
    let mut detail = Detail::new(look, width);
    detail.head(&path);
    let entry = &row.entry;
    detail.pair("kind", &entry.kind);
    if entry.kind == "file" {
        detail.pair("size", format!("{} ({} bytes)", entry.size, words::count(entry.size.0)));
    }
    detail.pair("mode", &entry.mode);
    detail.pair_if("modified", entry.modified.map(|at| super::jobs::ago(look.now, at)));
    detail.pair_if("points to", entry.link_target.as_ref());
    match app
        .preview
        .as_ref()
        .filter(|preview| preview.path == path && preview.snapshot == snapshot.0)
    {
        Some(preview) => {
            detail.head("Content");
            for line in &preview.lines {
                detail.lines.push(look.line(line.clone(), Role::Text));
            }
            if preview.lines.is_empty() {
                detail.prose("the file is empty", Role::Dim);
            }
        }
        None if entry.kind == "file" => {
            detail.head("Content");
            detail.prose("Enter looks into the file", Role::Dim);
        }
        None => {}
    }
    detail.lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_shows_text_as_text_and_the_rest_as_bytes() {
        let preview = |bytes: &[u8]| Preview::new(String::new(), "/x".to_owned(), bytes).lines;
        assert_eq!(preview(b"a\tb\nc"), ["a    b", "c"]);
        assert_eq!(preview("añ".as_bytes().get(..2).unwrap()), ["a"]);
        assert!(preview(b"\xff\xfe\x00PK")[0].starts_with("000000  ff fe 00 50 4b"));
        assert!(preview(b"").is_empty());
    }
}
