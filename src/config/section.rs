//! Reading one section of a TOML file so that everything wrong with it is found, not only the first thing.

use std::path::PathBuf;

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::error::Problem;

/// A file and what is in it.
#[derive(Debug, Clone)]
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl SourceFile {
    /// The line a byte of the file is on, from one.
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        before.matches('\n').count() + 1
    }
}

/// Reads a file; everything that is not TOML is noted under the key that is given.
pub(super) fn parse<'f>(file: &'f SourceFile, key: &str, problems: &mut Problems) -> Option<Spanned<DeTable<'f>>> {
    let (table, errors) = DeTable::parse_recoverable(&file.text);
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        let message = format!("this is not TOML: {}", error.message());
        problems.add(file, offset, key, message, None);
    }
    errors.is_empty().then_some(table)
}

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn add(
        &mut self,
        file: &SourceFile,
        offset: usize,
        key: impl Into<String>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.0.push(Problem {
            file: file.path.clone(),
            line: file.line(offset),
            key: key.into(),
            message: message.into(),
            hint,
        });
    }
}

/// Where a section stands.
#[derive(Debug, Clone)]
pub(super) struct Place<'f> {
    pub(super) file: &'f SourceFile,
    /// Its full name, such as `job.documents`.
    pub(super) key: String,
    pub(super) offset: usize,
}

impl Place<'_> {
    /// Notes a problem with one key of the section.
    pub(super) fn problem(
        &self,
        problems: &mut Problems,
        offset: usize,
        key: &str,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        problems.add(self.file, offset, format!("{}.{key}", self.key), message, hint);
    }
}

/// Reads a section. What cannot be read is noted and left out, so that the rest is read too; none when too little is left.
pub(super) fn read<T: DeserializeOwned>(
    place: &Place<'_>,
    value: Spanned<DeValue<'_>>,
    problems: &mut Problems,
) -> Option<T> {
    let span = value.span();
    let DeValue::Table(mut table) = value.into_inner() else {
        problems.add(
            place.file,
            place.offset,
            place.key.clone(),
            "a table was expected here",
            None,
        );
        return None;
    };
    unknown_keys(place, &mut table, fields::<T>(), problems);
    let mut invented: Vec<String> = Vec::new();
    let mut given_up: Vec<String> = Vec::new();
    loop {
        let attempt = Spanned::new(span.clone(), DeValue::Table(table.clone()));
        let error = match T::deserialize(ValueDeserializer::from(attempt)) {
            // With an invented value the section is not what anybody wrote.
            Ok(section) => return invented.is_empty().then_some(section),
            Err(error) => error,
        };
        // A field that a table further in lacks is not this section's; the place of that error is.
        let own = |name: &String| fields::<T>().contains(&name.as_str()) && !table.contains_key(name.as_str());
        if let Some(missing) = missing_field(error.message()).filter(own) {
            if !given_up.contains(&missing) {
                place.problem(
                    problems,
                    place.offset,
                    &missing,
                    "it is missing, and has no default",
                    None,
                );
            }
            if invented.contains(&missing) {
                return None;
            }
            // An empty text in its place lets the reading go on to what else is wrong.
            let empty = Spanned::new(span.clone(), DeValue::String("".into()));
            table.insert(Spanned::new(span.clone(), missing.clone().into()), empty);
            invented.push(missing);
            continue;
        }
        let (offset, culprit) = culprit(&table, error.span()).unwrap_or((place.offset, None));
        let Some(culprit) = culprit.filter(|key| !invented.contains(key)) else {
            if invented.is_empty() {
                problems.add(place.file, offset, place.key.clone(), error.message(), None);
            }
            return None;
        };
        place.problem(problems, offset, &culprit, error.message(), None);
        table.remove(culprit.as_str());
        given_up.push(culprit);
    }
}

fn unknown_keys(place: &Place<'_>, table: &mut DeTable<'_>, known: &[&str], problems: &mut Problems) {
    for (key, value) in std::mem::take(table) {
        let name = key.get_ref().as_ref();
        if known.contains(&name) {
            table.insert(key, value);
        } else {
            let hint = suggestion(name, known.iter().copied());
            place.problem(problems, key.span().start, name, "there is no such option", hint);
        }
    }
}

fn missing_field(message: &str) -> Option<String> {
    let name = message.strip_prefix("missing field `")?.strip_suffix('`')?;
    Some(name.to_owned())
}

/// The key whose text, or whose value's text, an error points at.
fn culprit(table: &DeTable<'_>, span: Option<std::ops::Range<usize>>) -> Option<(usize, Option<String>)> {
    let at = span?.start;
    let inside = |span: std::ops::Range<usize>| span.contains(&at) || span.start == at;
    let found = table
        .iter()
        .find(|(key, value)| inside(key.span()) || inside(value.span()) || holds(value.get_ref(), at));
    Some((at, found.map(|(key, _)| key.get_ref().to_string())))
}

/// Whether a value that was written over several headers holds the place somewhere.
fn holds(value: &DeValue<'_>, at: usize) -> bool {
    match value {
        DeValue::Table(table) => table
            .iter()
            .any(|(key, value)| key.span().contains(&at) || value.span().contains(&at) || holds(value.get_ref(), at)),
        DeValue::Array(items) => items
            .iter()
            .any(|value| value.span().contains(&at) || holds(value.get_ref(), at)),
        _ => false,
    }
}

/// What was perhaps meant, else what there is.
pub(super) fn suggestion<'k>(found: &str, known: impl Iterator<Item = &'k str> + Clone) -> Option<String> {
    let closest = known
        .clone()
        .map(|name| (distance(found, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4);
    if let Some((_, name)) = closest {
        return Some(format!("did you mean {name}?"));
    }
    let all: Vec<&str> = known.collect();
    (!all.is_empty()).then(|| format!("known are {}", all.join(", ")))
}

/// How many letters must be changed, added or taken away to make one word of another.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

/// The names of the fields of a struct, as serde reads them.
pub(super) fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut found: &'static [&'static str] = &[];
    // The probe answers every question with an error; it only looks at what is asked.
    let _ = T::deserialize(FieldProbe(&mut found));
    found
}

struct FieldProbe<'p>(&'p mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldProbe<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("only looking"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::RawProbe;

    #[test]
    fn fields_are_those_of_the_struct() {
        assert_eq!(fields::<RawProbe>(), ["name", "sql", "expect"]);
    }

    #[test]
    fn suggestions_are_close_or_complete() {
        let known = ["schedule", "source", "zone"];
        assert_eq!(
            suggestion("shedule", known.into_iter()).unwrap(),
            "did you mean schedule?"
        );
        assert_eq!(
            suggestion("password", known.into_iter()).unwrap(),
            "known are schedule, source, zone"
        );
        assert_eq!(suggestion("x", std::iter::empty()), None);
    }
}
