//! Holds the house to its map: a room uses the rooms below it, never one above or beside it.
//!
//! The sources are read word by word (without comments and texts), so `use crate::a::b`, groups over several lines,
//! paths inside expressions and climbing with `super::` are all seen. Test modules are held to the same rule.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and the rooms it may use. A folder or file of `src` that is not here fails the test: decide where it stands.
const ROOMS: [(&str, &[&str]); 14] = [
    ("clock", &[]),
    ("domain", &[]),
    ("config", &["clock", "domain"]),
    ("store", &["clock", "config", "domain"]),
    ("repo", &["clock", "config", "domain", "store"]),
    ("source", &["clock", "config", "domain", "repo", "store"]),
    ("journal", &["clock", "config", "domain"]),
    ("notify", &["clock", "config", "domain"]),
    (
        "engine",
        &[
            "clock", "config", "domain", "journal", "notify", "repo", "source", "store",
        ],
    ),
    (
        "api",
        &[
            "clock", "config", "domain", "engine", "journal", "notify", "repo", "source", "store",
        ],
    ),
    (
        "tui",
        &[
            "api", "clock", "config", "domain", "engine", "journal", "notify", "repo", "source", "store",
        ],
    ),
    (
        "sandbox",
        &[
            "api", "clock", "config", "domain", "engine", "journal", "notify", "repo", "source", "store",
        ],
    ),
    (
        "cli",
        &[
            "api", "clock", "config", "domain", "engine", "journal", "notify", "repo", "source", "store",
        ],
    ),
    // The ways people see and say things do not know each other; the program wires them together.
    ("main", &["api", "cli", "clock", "sandbox", "tui"]),
];

/// What a pure room has no business with: input and output, processes, threads, and waiting.
const IMPURE: [&str; 9] = [
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
    "tokio",
    "async",
    "await",
];

/// A word or sign of a source file, and its line.
type Token = (String, usize);

/// One use of a room by another.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: String,
    to: String,
    line: usize,
}

/// Splits a source text into words, `::` and single signs, leaving out comments, texts and characters.
fn tokens(text: &str) -> Vec<Token> {
    let letters: Vec<char> = text.chars().collect();
    let (mut at, mut line) = (0, 1);
    let mut found = Vec::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    while at < letters.len() {
        let (c, next) = (letters[at], letters.get(at + 1).copied().unwrap_or(' '));
        let start = at;
        at = match (c, next) {
            ('/', '/') => (at..letters.len())
                .find(|&i| letters[i] == '\n')
                .unwrap_or(letters.len()),
            ('/', '*') => end_of_comment(&letters, at),
            ('"', _) => end_of_text(&letters, at),
            ('r' | 'b', '"' | '#') | ('b', 'r') if raw_text(&letters, at).is_some() => {
                raw_text(&letters, at).unwrap_or(at + 1)
            }
            ('\'', '\\') => (at + 3..letters.len())
                .find(|&i| letters[i] == '\'')
                .map_or(letters.len(), |i| i + 1),
            ('\'', _) if letters.get(at + 2) == Some(&'\'') => at + 3,
            (':', ':') => {
                found.push(("::".to_owned(), line));
                at + 2
            }
            (c, _) if is_word(c) => {
                let end = (at..letters.len())
                    .find(|&i| !is_word(letters[i]))
                    .unwrap_or(letters.len());
                found.push((letters[at..end].iter().collect(), line));
                end
            }
            (c, _) => {
                if !c.is_whitespace() {
                    found.push((c.to_string(), line));
                }
                at + 1
            }
        };
        line += letters[start..at.min(letters.len())]
            .iter()
            .filter(|c| **c == '\n')
            .count();
    }
    found
}

fn end_of_comment(letters: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at + 1 < letters.len() {
        match (letters[at], letters[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    letters.len()
}

fn end_of_text(letters: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < letters.len() {
        match letters[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    letters.len()
}

/// The end of a raw or byte text (`r"…"`, `r#"…"#`, `b"…"`, `br#"…"#`) that begins here, if one does.
fn raw_text(letters: &[char], start: usize) -> Option<usize> {
    let mut at = start;
    let byte = letters.get(at) == Some(&'b');
    at += usize::from(byte);
    let raw = letters.get(at) == Some(&'r');
    at += usize::from(raw);
    let hashes = letters[at..].iter().take_while(|c| **c == '#').count();
    if letters.get(at + hashes) != Some(&'"') || (!raw && hashes > 0) {
        return None;
    }
    if !raw {
        return Some(end_of_text(letters, at));
    }
    let inside = at + hashes + 1;
    let closes =
        |i: usize| letters[i] == '"' && letters[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    Some(
        (inside..letters.len())
            .find(|&i| closes(i))
            .map_or(letters.len(), |i| i + 1 + hashes),
    )
}

/// The module a file is, from the top: `src/a/b.rs` and `src/a/b/mod.rs` are `[a, b]`.
fn module_of(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> = path
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// Every use of another room in one file; `path` is inside `src`.
fn edges(path: &Path, text: &str) -> Vec<Edge> {
    let module = module_of(path);
    let from = module.first().cloned().unwrap_or_default();
    let tokens = tokens(text);
    let word = |at: usize| tokens.get(at).map_or("", |(text, _)| text.as_str());
    let mut found = Vec::new();
    // Modules that are written inside the file: how deep in braces each begins.
    let (mut depth, mut inline) = (0_usize, Vec::new());
    for at in 0..tokens.len() {
        let continues = at > 0 && word(at - 1) == "::";
        match word(at) {
            "{" => {
                depth += 1;
                if at >= 2 && word(at - 2) == "mod" {
                    inline.push(depth);
                }
            }
            "}" => {
                if inline.last() == Some(&depth) {
                    inline.pop();
                }
                depth = depth.saturating_sub(1);
            }
            "crate" if !continues && word(at + 1) == "::" => reached(&tokens, at + 2, &from, &mut found),
            "super" if !continues => {
                let mut end = at;
                let mut climbed = 1;
                while word(end + 1) == "::" && word(end + 2) == "super" {
                    climbed += 1;
                    end += 2;
                }
                if climbed >= module.len() + inline.len() && word(end + 1) == "::" {
                    reached(&tokens, end + 2, &from, &mut found);
                }
            }
            _ => {}
        }
    }
    found.retain(|edge| edge.to != edge.from);
    found
}

/// Notes the room a path from the crate's top names at `at`, or every room of the group that begins there.
fn reached(tokens: &[Token], at: usize, from: &str, found: &mut Vec<Edge>) {
    let mut note = |(to, line): &Token| {
        found.push(Edge {
            from: from.to_owned(),
            to: to.clone(),
            line: *line,
        });
    };
    if tokens.get(at).is_none_or(|(text, _)| text != "{") {
        tokens.get(at).into_iter().for_each(note);
        return;
    }
    let mut depth = 0;
    let mut first = false;
    for token in &tokens[at..] {
        match token.0.as_str() {
            "{" => {
                depth += 1;
                first = depth == 1;
            }
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return;
                }
            }
            "," => first = depth == 1,
            _ if first => {
                note(token);
                first = false;
            }
            _ => {}
        }
    }
}

/// What is wrong with an edge, when something is.
fn objection(edge: &Edge) -> Option<String> {
    let rooms: BTreeMap<&str, &[&str]> = ROOMS.into_iter().collect();
    let Edge { from, to, .. } = edge;
    match rooms.get(from.as_str()) {
        None => Some(format!("{from} is not on the map of rooms in tests/layering.rs")),
        // What is no room is an item at the crate's top, and there are none but macros.
        Some(_) if !rooms.contains_key(to.as_str()) => {
            Some(format!("{to} is not a room on the map in tests/layering.rs"))
        }
        Some(allowed) if !allowed.contains(&to.as_str()) => Some(format!("{from} may not use {to}")),
        Some(_) => None,
    }
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

/// Every source file but the map itself, with its path inside `src`.
fn house() -> Vec<(PathBuf, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&top, &mut found);
    let inside = |path: PathBuf| {
        (
            path.strip_prefix(&top).unwrap().to_path_buf(),
            fs::read_to_string(&path).unwrap(),
        )
    };
    found
        .into_iter()
        .map(inside)
        .filter(|(path, _)| path != Path::new("lib.rs"))
        .collect()
}

#[test]
fn rooms_use_only_the_rooms_below_them() {
    let files = house();
    assert!(files.len() > 40, "only {} files were found", files.len());
    let mut objections = Vec::new();
    let mut seen = 0;
    for (path, text) in files {
        let room = module_of(&path).remove(0);
        if !ROOMS.iter().any(|(name, _)| *name == room) {
            objections.push(format!(
                "src/{}: {room} is not on the map in tests/layering.rs",
                path.display()
            ));
        }
        for edge in edges(&path, &text) {
            seen += 1;
            if let Some(objection) = objection(&edge) {
                objections.push(format!("src/{}:{}: {objection}", path.display(), edge.line));
            }
        }
    }
    assert!(seen > 50, "only {seen} uses were found");
    assert!(objections.is_empty(), "\n{}", objections.join("\n"));
}

#[test]
fn the_domain_is_pure() {
    for (path, text) in house().into_iter().filter(|(path, _)| path.starts_with("domain")) {
        if let Some((what, line)) = impurity(&text) {
            panic!("src/{}:{line}: the domain does no {what}", path.display());
        }
    }
}

fn impurity(text: &str) -> Option<(&'static str, usize)> {
    let words = tokens(text);
    (0..words.len()).find_map(|at| {
        let is = |impure: &&&str| {
            let wanted = impure.split("::").flat_map(|part| ["::", part]).skip(1);
            wanted
                .enumerate()
                .all(|(i, part)| words.get(at + i).is_some_and(|(text, _)| text == part))
        };
        IMPURE.iter().find(is).map(|impure| (*impure, words[at].1))
    })
}

#[test]
fn the_map_has_no_circles() {
    // Rooms come after all they may use, so following uses never leads back.
    for (place, (room, allowed)) in ROOMS.iter().enumerate() {
        for used in *allowed {
            let below = ROOMS[..place].iter().any(|(name, _)| name == used);
            assert!(below, "{room} may use {used}, which is not above it in the table");
        }
    }
}

#[test]
fn a_forbidden_use_is_seen_however_it_is_written() {
    let forbidden = [
        ("store/local.rs", "use crate::engine::Engine;"),
        (
            "store/local.rs",
            "use crate::{clock::Clock, engine::{Engine, EngineError}};",
        ),
        ("store/local.rs", "use crate::{\n    clock::Clock,\n    engine,\n};"),
        ("store/local.rs", "fn f() { let x = crate::engine::stop(); }"),
        ("store/local.rs", "pub(in crate::engine) fn f() {}"),
        ("store/local.rs", "use super::super::engine::Engine;"),
        ("store/mod.rs", "use super::engine::Engine;"),
        ("store/mod.rs", "use super::{clock::Clock, engine};"),
        (
            "store/local.rs",
            "mod tests { use super::super::super::engine::Engine; }",
        ),
        ("domain/job.rs", "use crate::clock::Clock;"),
        ("clock.rs", "use crate::domain::Timestamp;"),
        ("tui/app.rs", "use crate::cli::Cli;"),
        ("tui/app.rs", "use crate::sandbox;"),
        ("api/mod.rs", "type T<'a> = crate::tui::App<'a>;"),
        ("attic/mod.rs", "use crate::domain::Bytes;"),
        ("engine/mod.rs", "use crate::attic::Box;"),
    ];
    for (path, text) in forbidden {
        let found = edges(Path::new(path), text);
        assert!(
            found.iter().any(|edge| objection(edge).is_some()),
            "not seen in {path}: {text}"
        );
    }
}

#[test]
fn what_is_allowed_or_only_looks_forbidden_is_left_alone() {
    let allowed = [
        (
            "store/local.rs",
            "use crate::clock::Clock; use crate::domain::units::{Bytes, Millis};",
        ),
        (
            "store/local.rs",
            "// use crate::engine::Engine;\n/* crate::engine /* crate::tui */ */ //! [`crate::api`]",
        ),
        ("store/local.rs", "let x = \"crate::engine \\\" crate::api\";"),
        (
            "store/local.rs",
            "let x = r#\"crate::engine \" crate::api\"#; let y = br\"crate::api\"; let z = '\"';",
        ),
        (
            "store/local.rs",
            "use super::error::StoreError; use super::super::domain::Bytes;",
        ),
        (
            "store/local.rs",
            "mod tests { use super::engine::x; use super::super::engine::x; }",
        ),
        (
            "store/mod.rs",
            "use engine::x; use tokio::engine::crate_name; use self::engine::x;",
        ),
        (
            "domain/job.rs",
            "use super::units::Millis; use crate::domain::id::JobName;",
        ),
        ("main.rs", "fn main() { lifeboat::cli::main() }"),
    ];
    for (path, text) in allowed {
        let objections: Vec<_> = edges(Path::new(path), text).iter().filter_map(objection).collect();
        assert!(objections.is_empty(), "{path}: {text}: {objections:?}");
    }
    let found = edges(
        Path::new("store/x.rs"),
        "\n/* \n */ let a = \"\n\";\nuse crate::engine;",
    );
    assert_eq!(found[0].line, 5);
}

#[test]
fn impure_words_are_seen() {
    assert_eq!(impurity("use std::time::Duration; // std::fs"), None);
    assert_eq!(
        impurity("use std::collections::BTreeMap;\nlet x = std::fs::read(p);"),
        Some(("std::fs", 2))
    );
    assert_eq!(impurity("pub async fn f() {}"), Some(("async", 1)));
}
