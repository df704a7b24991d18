//! Texts with places for values: `promote {standby}`.
//!
//! A value goes into exactly the place where its name stood: a template is split into words before the values are put in,
//! so a value never becomes two arguments, and in a statement it must say how it is to be written.
//!
//! | written | becomes |
//! | --- | --- |
//! | `{name}` | the value |
//! | `{name:ident}` | an SQL identifier, quoted |
//! | `{name:literal}` | an SQL text, quoted |
//! | `{name:json}` | a JSON text, quoted |
//! | `{name:url}` | percent-encoded |
//! | `{{`, `}}` | a brace |

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::units::Timestamp;

/// The values of a runbook's variables and of what its steps have found out, by name.
pub type Values = BTreeMap<String, String>;

/// A text with places for values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template(Vec<Piece>);

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Stands for itself.
    Text(String),
    /// A value is put here.
    Place { name: String, how: Quoting },
}

/// How a value is written in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    /// As it is.
    Plain,
    /// As an SQL identifier.
    Ident,
    /// As an SQL text.
    Literal,
    /// As a JSON text.
    Json,
    /// Percent-encoded.
    Url,
}

impl Quoting {
    const ALL: [(&'static str, Self); 4] = [
        ("ident", Self::Ident),
        ("literal", Self::Literal),
        ("json", Self::Json),
        ("url", Self::Url),
    ];

    fn write(self, value: &str) -> String {
        match self {
            Self::Plain => value.to_owned(),
            Self::Ident => format!("\"{}\"", value.replace('"', "\"\"")),
            // The E form reads the same whatever `standard_conforming_strings` says.
            Self::Literal if value.contains('\\') => {
                format!("E'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
            }
            Self::Literal => format!("'{}'", value.replace('\'', "''")),
            Self::Json => serde_json::Value::from(value).to_string(),
            Self::Url => value.bytes().fold(String::new(), |mut out, byte| {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    out.push(char::from(byte));
                } else {
                    let _ = write!(out, "%{byte:02X}");
                }
                out
            }),
        }
    }
}

impl Template {
    /// A text without places.
    pub fn plain(text: impl Into<String>) -> Self {
        Self(vec![Piece::Text(text.into())])
    }

    /// Reads a template.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(format!("a }} without a {{ in \"{text}\"; write }}}} for a brace"));
            }
            let Some(end) = rest.find('}') else {
                return Err(format!("a {{ without a }} in \"{text}\"; write {{{{ for a brace"));
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(place(&rest[..end])?);
            rest = &rest[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The names of the values it needs, and how each is written.
    pub fn places(&self) -> impl Iterator<Item = (&str, Quoting)> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Place { name, how } => Some((name.as_str(), *how)),
            Piece::Text(_) => None,
        })
    }

    /// The name of the only value it consists of, written as it is.
    pub fn alone(&self) -> Option<&str> {
        match self.0.as_slice() {
            [
                Piece::Place {
                    name,
                    how: Quoting::Plain,
                },
            ] => Some(name),
            _ => None,
        }
    }

    /// Gives every name another, for a runbook that becomes part of another.
    pub fn rename(&mut self, new: &dyn Fn(&str) -> String) {
        for piece in &mut self.0 {
            if let Piece::Place { name, .. } = piece {
                *name = new(name);
            }
        }
    }

    /// The text with all values in place.
    ///
    /// # Errors
    /// The name of the first value that is not known.
    pub fn resolve(&self, values: &Values) -> Result<String, String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Place { name, how } => {
                    let value = values.get(name).ok_or_else(|| name.clone())?;
                    text.push_str(&how.write(value));
                }
            }
        }
        Ok(text)
    }

    /// The same with the values that are known in place; the other places stay.
    #[must_use]
    pub fn filled(&self, values: &Values) -> Self {
        let fill = |piece: &Piece| match piece {
            Piece::Place { name, how } => values
                .get(name)
                .map_or_else(|| piece.clone(), |value| Piece::Text(how.write(value))),
            Piece::Text(_) => piece.clone(),
        };
        Self(self.0.iter().map(fill).collect())
    }

    /// The text of a template whose values are in place; places that are left stand as they were written.
    pub fn text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, piece| {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Place { .. } => {
                    let _ = write!(text, "{}", Self(vec![piece.clone()]));
                }
            }
            text
        })
    }

    /// The sentence people read, with the values that are known: as [`spoken`] has it.
    pub fn sentence(&self, values: &Values) -> String {
        spoken(&self.filled(values).text())
    }

    /// Whether it is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An instant as steps find it out and hand it on, to the millisecond: what `recover` takes for `to`.
pub fn instant(at: Timestamp) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// A sentence with the ids of snapshots as short as they are everywhere else on screens, and with times to the second. Commands
/// are not put through this: they stand as they are carried out.
pub fn spoken(text: &str) -> String {
    let short = |word: &str| {
        let core = word.trim_end_matches(['.', ',', ';', ':', '?', '!', ')']);
        let tail = &word[core.len()..];
        if core.len() == 64 && core.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return format!("{}{tail}", &core[..8]);
        }
        match chrono::DateTime::parse_from_rfc3339(core) {
            Ok(time) => format!("{}{tail}", time.to_utc().format("%Y-%m-%d %H:%M:%SZ")),
            Err(_) => word.to_owned(),
        }
    };
    text.split_inclusive(char::is_whitespace)
        .fold(String::new(), |mut sentence, piece| {
            let word = piece.trim_end();
            sentence.push_str(&short(word));
            sentence.push_str(&piece[word.len()..]);
            sentence
        })
}

fn place(inside: &str) -> Result<Piece, String> {
    let (name, how) = inside
        .split_once(':')
        .map_or((inside, None), |(name, how)| (name, Some(how)));
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(letters) {
        return Err(format!(
            "{{{inside}}} is not the name of a value; write {{{{ and }}}} for braces"
        ));
    }
    let how = match how {
        None => Quoting::Plain,
        Some(word) => match Quoting::ALL.iter().find(|(known, _)| *known == word) {
            Some((_, how)) => *how,
            None => {
                return Err(format!(
                    "{{{inside}}}: a value is written as ident, literal, json or url"
                ));
            }
        },
    };
    let name = name.to_owned();
    Ok(Piece::Place { name, how })
}

impl fmt::Display for Template {
    /// Writes the template as it is written in a runbook.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Piece::Place { name, how } => {
                    let word = Quoting::ALL.iter().find(|(_, known)| known == how);
                    match word {
                        Some((word, _)) => write!(f, "{{{name}:{word}}}")?,
                        None => write!(f, "{{{name}}}")?,
                    }
                }
            }
        }
        Ok(())
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        [("a.b", "it's \\ {x}"), ("n", "plain")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn people_read_short_ids_and_times_to_the_second() {
        let id = "d0a7c563".repeat(8);
        let said = spoken(&format!(
            "Snapshot {id}, of\n  2026-11-21T07:24:06.441172973+00:00: agreed? {id}0"
        ));
        assert_eq!(
            said,
            format!("Snapshot d0a7c563, of\n  2026-11-21 07:24:06Z: agreed? {id}0")
        );
        assert_eq!(
            Template::parse("{n} of {gone}").unwrap().sentence(&values()),
            "plain of {gone}"
        );
    }

    #[test]
    fn a_value_stays_one_value_however_it_looks() {
        let put = |text: &str| Template::parse(text).unwrap().resolve(&values()).unwrap();
        assert_eq!(put("x {n} y"), "x plain y");
        assert_eq!(put("{a.b}"), "it's \\ {x}");
        assert_eq!(put("{a.b:literal}"), "E'it''s \\\\ {x}'");
        assert_eq!(put("{n:literal}{n:ident}"), "'plain'\"plain\"");
        assert_eq!(put("{a.b:json}"), r#""it's \\ {x}""#);
        assert_eq!(put("{a.b:url}"), "it%27s%20%5C%20%7Bx%7D");
        assert_eq!(put("{{n}} }}{{"), "{n} }{");
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        for text in ["", "x {n:ident} {{y}} {a-1.b}", "{x}{y}"] {
            assert_eq!(Template::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for text in ["{", "a } b", "{a b}", "{}", "{a:sql}", "{a"] {
            Template::parse(text).unwrap_err();
        }
        assert_eq!(
            Template::parse("{gone}").unwrap().resolve(&values()),
            Err("gone".to_owned())
        );
    }
}
