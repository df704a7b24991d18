//! SQL text as `pg_dump` writes it, cut into statements and the rows between them; by us, not by `psql`.
//!
//! **Why not `psql`.** It takes commands of its own out of the text: `\!` and `\g |` start programs on this machine, `\i` and
//! `\copy` read and write its files, anywhere in a line. A dump is only as good as whoever could write to the database, so its
//! text must not be given to a program that obeys it. Here there is nothing that could obey: the text goes to the server as
//! statements and rows, and what a statement may do is the server's to decide. A backslash outside quotes, which is no SQL, is an
//! error, but for the two lines (`\restrict`, `\unrestrict`) that newer versions of `pg_dump` put around a dump and that mean
//! nothing without `psql`.
//!
//! The rules of where a statement ends are those of `psql`'s own scanner (`psqlscan.l`): quotes of every kind, nested comments,
//! parentheses, and the `BEGIN ATOMIC … END` of a function's body. `standard_conforming_strings` is taken to be on, as every
//! dump sets it; a text for which that is wrong is cut in the wrong place and refused by the server.
//!
//! **Memory.** A statement is held whole, up to [`MOST`]; rows are handed on in pieces, as they come.

/// The longest statement that is taken; a function, or a row of a large object, is far below it.
const MOST: usize = 256 << 20;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// A statement, with its semicolon.
    Statement(String),
    /// `COPY … FROM stdin;`: rows follow.
    Copy(String),
    /// Whole rows.
    Rows(Vec<u8>),
    /// There are no more rows.
    RowsEnd,
}

/// Where the text stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Plain,
    /// In a string; in one of `E'…'` a backslash takes the next letter along.
    Text {
        escapes: bool,
    },
    Name,
    Dollar(Vec<u8>),
    Comment(usize),
    Rows,
}

/// The text that has come and is not yet handed on.
#[derive(Debug)]
pub(super) struct Script {
    held: Vec<u8>,
    /// Up to here it was read.
    at: usize,
    /// Up to here there is no end of a line.
    looked: usize,
    state: State,
    /// Where the statement under way begins.
    start: Option<usize>,
    parentheses: usize,
    /// The first letters of the first words of the statement, as far as they make it one with a body.
    words: Vec<u8>,
    /// How deep in `BEGIN … END` of a body.
    depth: usize,
}

impl Script {
    /// Nothing has come yet.
    pub(super) fn new() -> Self {
        Self {
            held: Vec::new(),
            at: 0,
            looked: 0,
            state: State::Plain,
            start: None,
            parentheses: 0,
            words: Vec::new(),
            depth: 0,
        }
    }

    /// Takes more of it.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        // What was handed on goes now, all at once, and not piece by piece.
        let done = self.start.unwrap_or(self.at);
        self.held.drain(..done);
        self.at -= done;
        self.looked = self.looked.saturating_sub(done);
        self.start = self.start.map(|_| 0);
        self.held.extend_from_slice(bytes);
    }

    /// What comes next; none when more text is needed for that. `ended` says that there is no more.
    ///
    /// # Errors
    /// What is no SQL, and where it stands.
    pub(super) fn next(&mut self, ended: bool) -> Result<Option<Piece>, String> {
        loop {
            if self.state == State::Rows {
                return self.rows(ended);
            }
            let Some(end) = self.line_end(ended) else {
                if self.held.len() - self.start.unwrap_or(self.at) > MOST {
                    return Err(format!("a statement is longer than {} MiB", MOST >> 20));
                }
                return if ended { self.finish() } else { Ok(None) };
            };
            if let Some(piece) = self.line(end)? {
                return Ok(Some(piece));
            }
        }
    }

    /// The end of the line that begins, or goes on, at `at`.
    fn line_end(&mut self, ended: bool) -> Option<usize> {
        let from = self.looked.max(self.at);
        if let Some(found) = self.held[from..].iter().position(|byte| *byte == b'\n') {
            self.looked = from + found;
            return Some(from + found + 1);
        }
        self.looked = self.held.len();
        (ended && self.at < self.held.len()).then_some(self.held.len())
    }

    fn finish(&self) -> Result<Option<Piece>, String> {
        if self.start.is_some() || self.state != State::Plain {
            return Err("it ends in the middle of a statement".to_owned());
        }
        Ok(None)
    }

    /// Hands on whole rows, up to their end.
    fn rows(&mut self, ended: bool) -> Result<Option<Piece>, String> {
        let rest = &self.held[self.at..];
        if rest.starts_with(b"\\.\n") {
            self.at += 3;
            self.state = State::Plain;
            return Ok(Some(Piece::RowsEnd));
        }
        if ended && rest == b"\\." {
            self.at = self.held.len();
            self.state = State::Plain;
            return Ok(Some(Piece::RowsEnd));
        }
        let last = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end = find(&rest[..last], b"\n\\.\n").map_or(last, |at| at + 1);
        if end == 0 {
            if ended || rest.len() > MOST {
                return Err("the rows of a table do not end".to_owned());
            }
            return Ok(None);
        }
        let rows = rest[..end].to_vec();
        self.at += end;
        Ok(Some(Piece::Rows(rows)))
    }

    /// Reads a line from `at` to `end`, or to the end of the statement in it.
    fn line(&mut self, end: usize) -> Result<Option<Piece>, String> {
        if self.start.is_none() && self.state == State::Plain && is_restrict(&self.held[self.at..end]) {
            self.at = end;
            return Ok(None);
        }
        while self.at < end {
            match self.state.clone() {
                State::Plain => {
                    if let Some(piece) = self.plain(end)? {
                        return Ok(Some(piece));
                    }
                }
                State::Text { escapes } => self.quoted(b'\'', escapes),
                State::Name => self.quoted(b'"', false),
                State::Dollar(tag) => {
                    let found = find(&self.held[self.at..end], &tag);
                    self.at = found.map_or(end, |found| self.at + found + tag.len());
                    if found.is_some() {
                        self.state = State::Plain;
                    }
                }
                State::Comment(depth) => self.comment(depth),
                State::Rows => break,
            }
        }
        Ok(None)
    }

    /// One byte in quotes; two quotes are read as an end and a beginning, which comes to the same.
    fn quoted(&mut self, quote: u8, escapes: bool) {
        let byte = self.held[self.at];
        self.at += 1;
        if escapes && byte == b'\\' {
            self.at = (self.at + 1).min(self.held.len());
        } else if byte == quote {
            // In E'…' what follows a doubled quote has escapes too.
            if escapes && self.held.get(self.at) == Some(&quote) {
                self.at += 1;
            } else {
                self.state = State::Plain;
            }
        }
    }

    fn comment(&mut self, depth: usize) {
        let rest = &self.held[self.at..];
        if rest.starts_with(b"/*") {
            self.state = State::Comment(depth + 1);
            self.at += 2;
        } else if rest.starts_with(b"*/") {
            self.state = if depth == 1 {
                State::Plain
            } else {
                State::Comment(depth - 1)
            };
            self.at += 2;
        } else {
            self.at += 1;
        }
    }

    /// One sign or word outside quotes.
    fn plain(&mut self, end: usize) -> Result<Option<Piece>, String> {
        let (rest, at) = (&self.held[self.at..end], self.at);
        let first = rest[0];
        if rest.starts_with(b"--") {
            self.at = end;
            return Ok(None);
        }
        if rest.starts_with(b"/*") {
            self.state = State::Comment(1);
            self.at += 2;
            return Ok(None);
        }
        if first.is_ascii_whitespace() {
            self.at += 1;
            return Ok(None);
        }
        let start = *self.start.get_or_insert(at);
        self.at += 1;
        match first {
            b'\\' => {
                let line: String = String::from_utf8_lossy(rest).chars().take(40).collect();
                return Err(format!("{:?} is a command for psql and no SQL", line.trim_end()));
            }
            b'\'' => self.state = State::Text { escapes: false },
            b'"' => self.state = State::Name,
            b'$' => {
                if let Some(length) = tag(rest) {
                    self.state = State::Dollar(rest[..length].to_vec());
                    self.at = at + length;
                }
            }
            b'(' => self.parentheses += 1,
            b')' => self.parentheses = self.parentheses.saturating_sub(1),
            b';' if self.parentheses == 0 && self.depth == 0 => return self.statement(start).map(Some),
            _ if is_word(first) => {
                let length = rest.iter().take_while(|byte| is_word(**byte) || **byte == b'$').count();
                let word = rest[..length].to_ascii_lowercase();
                self.at = at + length;
                if word == b"e" && rest.get(length) == Some(&b'\'') {
                    self.state = State::Text { escapes: true };
                    self.at += 1;
                }
                self.word(&word);
            }
            _ => {}
        }
        Ok(None)
    }

    /// Notes a word: in a function or procedure, `begin` and `case` open what `end` closes.
    fn word(&mut self, word: &[u8]) {
        if self.words.len() < 4 {
            self.words.push(match word {
                b"create" => b'c',
                b"or" => b'o',
                b"replace" => b'r',
                b"function" | b"procedure" => b'f',
                _ => b'-',
            });
        }
        let has_body = self.words.starts_with(b"cf") || self.words.starts_with(b"corf");
        if !has_body || self.parentheses > 0 {
            return;
        }
        match word {
            b"begin" => self.depth += 1,
            b"case" if self.depth > 0 => self.depth += 1,
            b"end" => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn statement(&mut self, start: usize) -> Result<Piece, String> {
        let text = String::from_utf8(self.held[start..self.at].to_vec());
        let text = text.map_err(|_| "a statement is not in UTF-8".to_owned())?;
        (self.start, self.parentheses, self.depth) = (None, 0, 0);
        self.words.clear();
        let is_copy = text.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("copy "))
            && text.to_ascii_lowercase().ends_with(" from stdin;");
        if !is_copy {
            return Ok(Piece::Statement(text));
        }
        // The rows begin on the next line.
        let rest = self.held[self.at..].iter().position(|byte| *byte == b'\n');
        self.at = rest.map_or(self.held.len(), |rest| self.at + rest + 1);
        self.state = State::Rows;
        Ok(Piece::Copy(text))
    }
}

/// Whether a byte is of a word of SQL; those of other alphabets are.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The length of `$tag$`, when that is what it begins with.
fn tag(text: &[u8]) -> Option<usize> {
    let length = text[1..].iter().take_while(|byte| is_word(**byte)).count();
    let begins_well = text.get(1).is_some_and(|byte| !byte.is_ascii_digit());
    (begins_well && text.get(length + 1) == Some(&b'$')).then_some(length + 2)
}

fn is_restrict(line: &[u8]) -> bool {
    [&b"\\restrict "[..], b"\\unrestrict "]
        .iter()
        .any(|word| line.starts_with(word))
        && line[1..]
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace())
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
