//! Runbooks: those that come with the program and those in `runbooks/*.toml` beside the main file.
//!
//! A file is a runbook, its name that of the runbook; one of the user's own takes the place of one that comes with the program.
//! Reading happens in three passes: each file into steps ([`step`]), the runbooks a runbook uses into their places
//! ([`flatten`]), and then everything a step refers to is looked up ([`rules`]). Every mistake is reported with its file and
//! line, before anybody needs it.

mod flatten;
mod rules;
mod shipped;
mod step;

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::raw::Duration;
use super::section::{self, Place, Problems, SourceFile, read, suggestion};
use crate::domain::id::{RunbookName, is_valid_name};
use crate::domain::runbook::template::Template;
use crate::domain::runbook::{Runbook, Step, Variable, VariableKind};

/// The head of a runbook.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHead {
    title: String,
    why: String,
    objective: Option<Duration>,
    #[serde(default)]
    before: Vec<String>,
    #[serde(default)]
    during: Vec<String>,
    #[serde(default)]
    after: Vec<String>,
}

/// `[variable.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVariable {
    ask: String,
    #[serde(rename = "type")]
    kind: Spanned<String>,
    default: Option<Template>,
    of: Option<Vec<String>>,
    cluster: Option<String>,
}

/// A step, or another runbook in its place; with where it is written.
enum Item {
    Step(Box<Step>, usize),
    Use(Use),
}

/// Another runbook that is used as a step.
struct Use {
    id: String,
    runbook: Spanned<String>,
    set: BTreeMap<String, Template>,
    when: Vec<crate::domain::runbook::Condition>,
    offset: usize,
}

/// A runbook as its file has it.
struct Book<'f> {
    file: &'f SourceFile,
    shipped: bool,
    head: RawHead,
    variables: Vec<Variable>,
    items: Vec<Item>,
}

/// Reads all runbooks; every problem goes to `problems`.
pub(super) fn build(own: &[SourceFile], problems: &mut Problems) -> BTreeMap<RunbookName, Runbook> {
    let shipped = shipped::files();
    let mut books: BTreeMap<String, Book<'_>> = BTreeMap::new();
    for (file, is_shipped) in shipped
        .iter()
        .map(|file| (file, true))
        .chain(own.iter().map(|file| (file, false)))
    {
        let name = file
            .path
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        if !is_valid_name(&name) || name.contains('.') {
            let hint = "name the file in letters, digits, - and _, ending in .toml";
            problems.add(
                file,
                0,
                name,
                "this cannot be the name of a runbook",
                Some(hint.to_owned()),
            );
            continue;
        }
        if let Some(book) = parse(file, is_shipped, &name, problems) {
            books.insert(name, book);
        }
    }
    let mut built = BTreeMap::new();
    for (name, book) in &books {
        let before = problems.0.len();
        let flat = flatten::flatten(&books, name, problems);
        if problems.0.len() > before {
            continue;
        }
        rules::check(book, &flat, problems);
        if problems.0.len() == before {
            built.insert(RunbookName::from(name.as_str()), finish(name, book, flat));
        }
    }
    built
}

fn finish(name: &str, book: &Book<'_>, flat: flatten::Flat) -> Runbook {
    let head = &book.head;
    let mut runbook = Runbook {
        name: name.into(),
        title: head.title.clone(),
        why: head.why.clone(),
        file: None,
        objective: head.objective.as_ref().map(|objective| objective.0),
        before: head.before.clone(),
        during: head.during.clone(),
        after: head.after.clone(),
        variables: flat.variables,
        steps: flat.steps,
        hash: String::new(),
    };
    // The same words in another file are the same runbook.
    let text = serde_json::to_vec(&runbook).unwrap_or_default();
    runbook.hash = hex::encode(Sha256::digest(&text));
    runbook.file = (!book.shipped).then(|| book.file.path.display().to_string());
    runbook
}

fn parse<'f>(file: &'f SourceFile, shipped: bool, name: &str, problems: &mut Problems) -> Option<Book<'f>> {
    let table = section::parse(file, name, problems)?;
    let mut head = DeTable::new();
    let (mut variables, mut steps) = (None, None);
    let span = table.span();
    for (key, value) in table.into_inner() {
        match key.get_ref().as_ref() {
            "variable" => variables = Some(value),
            "step" => steps = Some(value),
            _ => drop(head.insert(key, value)),
        }
    }
    let place = Place {
        file,
        key: name.to_owned(),
        offset: 0,
    };
    let head = read::<RawHead>(&place, Spanned::new(span, DeValue::Table(head)), problems);
    let variables = variables.map_or_else(Vec::new, |value| self::variables(file, value, problems));
    let items = match steps.map(|value| (value.span().start, value.into_inner())) {
        Some((_, DeValue::Array(steps))) if !steps.is_empty() => steps
            .into_iter()
            .enumerate()
            .filter_map(|(at, value)| step::parse(file, at, value, problems))
            .collect(),
        other => {
            let offset = other.map_or(0, |(offset, _)| offset);
            let hint = "write each as a table under [[step]]".to_owned();
            problems.add(file, offset, format!("{name}.step"), "a runbook has steps", Some(hint));
            return None;
        }
    };
    Some(Book {
        file,
        shipped,
        head: head?,
        variables,
        items,
    })
}

fn variables(file: &SourceFile, value: Spanned<DeValue<'_>>, problems: &mut Problems) -> Vec<Variable> {
    let offset = value.span().start;
    let DeValue::Table(table) = value.into_inner() else {
        let hint = Some("write [variable.NAME]".to_owned());
        problems.add(file, offset, "variable", "it needs a name", hint);
        return Vec::new();
    };
    // A default may refer to what is written before it, so the order of the file counts.
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut known: Vec<Variable> = Vec::new();
    for (key, value) in entries {
        let name = key.get_ref().to_string();
        let place = Place {
            file,
            key: format!("variable.{name}"),
            offset: key.span().start,
        };
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || !name.chars().all(letters) || rules::is_built_in(&name) {
            let hint =
                Some("use small letters, digits and _; and none of run, mode, by, host, site, environment".to_owned());
            problems.add(
                file,
                place.offset,
                place.key,
                "this cannot be the name of a variable",
                hint,
            );
            continue;
        }
        let Some(raw) = read::<RawVariable>(&place, value, problems) else {
            continue;
        };
        if let Some(kind) = variable_kind(&place, &raw, &known, problems) {
            known.push(Variable {
                name,
                ask: raw.ask,
                kind,
                default: raw.default,
                chosen: false,
            });
        }
    }
    known
}

/// The kinds of variable that need nothing more said.
const SIMPLE: [VariableKind; 13] = [
    VariableKind::Text,
    VariableKind::Number,
    VariableKind::Flag,
    VariableKind::Duration,
    VariableKind::Path,
    VariableKind::Service,
    VariableKind::Source,
    VariableKind::Job,
    VariableKind::Drill,
    VariableKind::Repository,
    VariableKind::Cluster,
    VariableKind::Snapshot,
    VariableKind::Instant,
];

fn variable_kind(
    place: &Place<'_>,
    raw: &RawVariable,
    known: &[Variable],
    problems: &mut Problems,
) -> Option<VariableKind> {
    let word = raw.kind.get_ref().as_str();
    let offset = raw.kind.span().start;
    let mut wrong = |key: &str, message: String, hint: Option<String>| {
        place.problem(problems, offset, key, message, hint);
        None
    };
    match word {
        "choice" => match &raw.of {
            Some(of) if !of.is_empty() => Some(VariableKind::Choice { of: of.clone() }),
            _ => wrong(
                "of",
                "there is nothing to choose from".to_owned(),
                Some("write of = [\"a\", \"b\"]".to_owned()),
            ),
        },
        "member" => {
            let cluster = raw.cluster.clone().unwrap_or_else(|| "cluster".to_owned());
            let names_one = |known: &&Variable| known.name == cluster && known.kind == VariableKind::Cluster;
            if known.iter().any(|known| names_one(&known)) {
                return Some(VariableKind::Member { cluster });
            }
            let hint = "write a variable of type cluster before it, and cluster = \"its name\"";
            wrong(
                "cluster",
                format!("there is no variable \"{cluster}\" of type cluster before it"),
                Some(hint.to_owned()),
            )
        }
        _ => {
            let simple = SIMPLE.iter().find(|kind| kind.word() == word);
            let words: Vec<&str> = SIMPLE
                .iter()
                .map(VariableKind::word)
                .chain(["choice", "member"])
                .collect();
            match simple {
                Some(kind) => Some(kind.clone()),
                None => wrong(
                    "type",
                    format!("there is no type \"{word}\""),
                    suggestion(word, words.into_iter()),
                ),
            }
        }
    }
}

#[cfg(test)]
mod prefixes;
#[cfg(test)]
mod tests;
