//! How results are printed: every one is a serde struct with a rendering for people, and `--json` prints it as it is.
//!
//! Names of files and what servers say may hold control characters; everything for people passes through [`clean`], so
//! that no file name can move the cursor or set the terminal's title.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::error::CliError;
pub use super::text::{Column, Paint, Style, Text, clean, moment, short};

/// A result that can be printed.
pub trait Render: Serialize {
    /// Writes it for people.
    fn text(&self, out: &mut Text);
}

/// A result that is one line of a table.
pub trait Row: Serialize {
    /// The columns.
    const COLUMNS: &'static [Column];
    /// What is said instead of an empty table.
    const EMPTY: &'static str;
    /// The cells, one a column.
    fn cells(&self, style: &Style) -> Vec<String>;
}

/// A list of results: a table for people, an array in `--json`.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Listing<T>(pub Vec<T>);

impl<T: Row> Render for Listing<T> {
    fn text(&self, out: &mut Text) {
        if self.0.is_empty() {
            out.line(T::EMPTY);
            return;
        }
        let rows: Vec<Vec<String>> = self.0.iter().map(|row| row.cells(&out.style)).collect();
        out.table(T::COLUMNS, &rows);
    }
}

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    /// Whether they are printed as JSON.
    pub json: bool,
    /// What the terminal can show.
    pub style: Style,
}

impl Printer {
    /// Prints one result.
    pub fn print(&self, result: &impl Render) -> Result<(), CliError> {
        let mut bytes;
        if self.json {
            bytes = to_json(result)?;
            bytes.push(b'\n');
        } else {
            let mut text = Text::new(self.style);
            result.text(&mut text);
            bytes = text.into_string().into_bytes();
        }
        raw(&bytes)
    }

    /// Begins a list that is too long to be held in memory: lines for people, an array in `--json`.
    pub fn list(&self) -> ListPrinter {
        ListPrinter {
            out: io::BufWriter::with_capacity(64 * 1024, io::stdout()),
            printer: *self,
            count: 0,
        }
    }

    /// Tells a remark on the error stream, where it is in nobody's way; nothing in `--json`.
    pub fn remark(&self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr(), "{}", clean(text));
        }
    }

    /// Tells how a command ended badly.
    pub fn error(&self, error: &CliError) {
        if error.silent {
            return;
        }
        let mut err = io::stderr().lock();
        if self.json {
            if let Ok(bytes) = serde_json::to_vec(error) {
                let _ = err.write_all(&bytes).and_then(|()| err.write_all(b"\n"));
            }
            return;
        }
        for (label, text) in error.lines() {
            let paint = if label == "error:" { Paint::Bad } else { Paint::Strong };
            let label = if io::stderr().is_terminal() {
                self.style.paint(paint, label)
            } else {
                label.to_owned()
            };
            // A reason may be a list, a line each.
            for (index, line) in text.lines().enumerate() {
                let lead = if index == 0 { label.as_str() } else { "      " };
                let _ = writeln!(err, "{lead} {}", clean(line));
            }
        }
    }
}

/// Writes bytes as they are: the contents of a file, a script of completions.
pub fn raw(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

fn to_json(result: &impl Serialize) -> Result<Vec<u8>, CliError> {
    serde_json::to_vec_pretty(result)
        .map_err(|error| CliError::failed("the result cannot be written as JSON").why(error))
}

/// Prints a list row by row.
#[derive(Debug)]
pub struct ListPrinter {
    out: io::BufWriter<io::Stdout>,
    printer: Printer,
    count: u64,
}

impl ListPrinter {
    /// Prints one row: `line` for people, the value itself in `--json`.
    pub fn row(&mut self, value: &impl Serialize, line: impl FnOnce(&Style) -> String) -> Result<(), CliError> {
        if self.printer.json {
            let lead: &[u8] = if self.count == 0 { b"[\n" } else { b",\n" };
            self.out.write_all(lead)?;
            let bytes = serde_json::to_vec(value)
                .map_err(|error| CliError::failed("the result cannot be written as JSON").why(error))?;
            self.out.write_all(&bytes)?;
        } else {
            writeln!(self.out, "{}", clean(&line(&self.printer.style)))?;
        }
        self.count += 1;
        Ok(())
    }

    /// Ends the list.
    pub fn end(mut self) -> Result<(), CliError> {
        if self.printer.json {
            let end: &[u8] = if self.count == 0 { b"[]\n" } else { b"\n]\n" };
            self.out.write_all(end)?;
        }
        self.out.flush()?;
        Ok(())
    }
}
