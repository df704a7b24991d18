//! The command line as scripts and people meet it: help, errors, exit codes, JSON.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs the program in an empty directory, with nothing in its environment that could help it.
fn lifeboat(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeboat"));
    command.args(args).current_dir(dir).stdin(Stdio::null());
    command
        .env_clear()
        .env("HOME", dir)
        .env("COLUMNS", "80")
        .env("PATH", "/usr/bin:/bin");
    command.output().unwrap()
}

/// What it said, with the directory's name taken out.
fn said(dir: &Path, output: &Output) -> String {
    let code = output.status.code().unwrap_or(-1);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("exit {code}\n{out}{err}").replace(&dir.display().to_string(), "DIR")
}

#[test]
fn the_help_is_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = String::new();
    for args in [
        &["-h"][..],
        &["job", "-h"],
        &["job", "add", "-h"],
        &["snapshot", "-h"],
        &["restore", "-h"],
        &["repo", "-h"],
        &["wal", "-h"],
        &["wal", "push", "-h"],
        &["wal", "receive", "-h"],
        &["alert", "-h"],
        &["journal", "-h"],
        &["agent", "-h"],
        &["demo", "-h"],
    ] {
        let output = lifeboat(dir.path(), args);
        let _ = writeln!(all, "$ lifeboat {}\n{}", args.join(" "), said(dir.path(), &output));
    }
    assert!(
        all.lines().all(|line| line.chars().count() <= 100),
        "a line that does not fit"
    );
    insta::assert_snapshot!(all);
}

#[test]
fn errors_say_what_why_and_what_next() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("password"), "secret\n").unwrap();
    std::fs::write(dir.path().join("garbled.toml"), "site = [\n").unwrap();
    std::fs::set_permissions(dir.path().join("garbled.toml"), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(dir.path().join("open.toml"), "site = \"x\"\n").unwrap();
    std::fs::set_permissions(dir.path().join("open.toml"), PermissionsExt::from_mode(0o644)).unwrap();
    let mut all = String::new();
    for args in [
        &["--no-such-option"][..],
        &["--config", "open.toml", "config", "check"],
        &["no-such-verb"],
        &["status"],
        &["--json", "status"],
        &["--config", "garbled.toml", "config", "check"],
        &["repo", "check"],
        &["snapshot", "list", "--repository", "nowhere"],
        &["restore", "latest"],
        &["snapshot", "verify", "latest", "--level", "certain"],
        &["--read-only", "backup", "/etc/hostname", "--repository", "nowhere"],
        &["--read-only", "init", "--yes"],
        &["init", "--yes"],
    ] {
        let output = lifeboat(dir.path(), args);
        let _ = writeln!(all, "$ lifeboat {}\n{}", args.join(" "), said(dir.path(), &output));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn errors_in_json_are_one_object_with_the_same_three_things() {
    let dir = tempfile::tempdir().unwrap();
    let output = lifeboat(dir.path(), &["--json", "repo", "check"]);
    assert_eq!(output.status.code(), Some(2));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(
        error["error"].is_string() && error["why"].is_string() && error["hint"].is_string(),
        "{error}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    for verb in ["man", "completions"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lifeboat"));
        command
            .arg(verb)
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if verb == "completions" {
            command.arg("bash");
        }
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{verb}");
    }
}

#[test]
fn a_first_configuration_works_and_shows_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let made = lifeboat(dir.path(), &["--json", "init", "--yes", "--path", "."]);
    assert!(made.status.success(), "{}", said(dir.path(), &made));
    let secret = std::fs::read_to_string(dir.path().join("lifeboat.password")).unwrap();
    let again = lifeboat(dir.path(), &["init", "--yes", "--path", "."]);
    assert_eq!(
        again.status.code(),
        Some(2),
        "it is never overwritten: {}",
        said(dir.path(), &again)
    );
    for args in [
        &["config", "check"][..],
        &["config", "show"],
        &["--json", "config", "show"],
        &["-v", "doctor"],
    ] {
        let output = lifeboat(dir.path(), args);
        assert!(!said(dir.path(), &output).contains(secret.trim()), "{args:?}");
    }
    assert!(lifeboat(dir.path(), &["config", "check"]).status.success());
    let added = lifeboat(
        dir.path(),
        &["job", "add", "etc", "--path", "/etc/hostname", "--schedule", "@daily"],
    );
    assert!(added.status.success(), "{}", said(dir.path(), &added));
    let shown: Value = serde_json::from_slice(&lifeboat(dir.path(), &["--json", "config", "show"]).stdout).unwrap();
    assert_eq!(shown["jobs"]["etc"]["source"], "etc");
    let nonsense = lifeboat(
        dir.path(),
        &["job", "add", "bad", "--path", "/etc", "--schedule", "sometimes"],
    );
    assert_eq!(nonsense.status.code(), Some(2));
    assert!(lifeboat(dir.path(), &["job", "remove", "etc"]).status.success());
    let gone: Value = serde_json::from_slice(&lifeboat(dir.path(), &["--json", "config", "show"]).stdout).unwrap();
    assert!(gone["jobs"]["etc"].is_null() && gone["sources"]["etc"].is_null());
}

#[test]
fn choosing_what_is_not_there_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::create_dir(at("data")).unwrap();
    std::fs::write(at("data/here"), "x").unwrap();
    std::fs::write(at("password"), "p").unwrap();
    std::fs::set_permissions(at("password"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let run = |args: &[&str]| {
        let (repository, password) = (at("repository"), at("password"));
        let place = [
            "--repository",
            repository.as_str(),
            "--password-file",
            password.as_str(),
        ];
        lifeboat(dir.path(), &[args, &place[..]].concat())
    };
    assert!(run(&["repo", "init"]).status.success());
    assert!(run(&["backup", &at("data")]).status.success());
    let missed = run(&["restore", "latest", "--target", &at("out"), "--include", "elsewhere"]);
    let said = said(dir.path(), &missed);
    assert!(
        said.starts_with("exit 2") && said.contains("nothing in the snapshot matches"),
        "{said}"
    );
    let hit = run(&["restore", "latest", "--target", &at("out"), "--include", "here"]);
    assert!(hit.status.success());
}

/// The texts of a document, one by one; the words of a command as one line.
fn texts(value: &toml::Value, found: &mut Vec<String>) {
    match value {
        toml::Value::String(text) => found.push(text.clone()),
        toml::Value::Array(words) if words.first().and_then(toml::Value::as_str) == Some("lifeboat") => {
            let words: Vec<&str> = words.iter().filter_map(toml::Value::as_str).collect();
            found.push(words.iter().map(|word| word.replace(' ', "-") + " ").collect());
        }
        toml::Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        toml::Value::Table(table) => table.iter().for_each(|(_, value)| texts(value, found)),
        _ => {}
    }
}

#[test]
fn what_a_shipped_runbook_tells_people_to_type_is_a_command() {
    use clap::Parser as _;
    let mut lines = 0;
    let entries = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/runbooks")).unwrap();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let mut found = Vec::new();
        texts(
            &std::fs::read_to_string(&path)
                .unwrap()
                .parse::<toml::Table>()
                .unwrap()
                .into(),
            &mut found,
        );
        for text in &found {
            for (at, _) in text.match_indices("lifeboat ") {
                let line = &text[at..];
                let ends = [". ", ", ", "; ", "? ", ")"].iter().filter_map(|end| line.find(end));
                let line = line[..ends.min().unwrap_or(line.len())].trim_end_matches('.');
                let line = line.replace(['{', '}'], "");
                let parsed = lifeboat::cli::Cli::try_parse_from(line.split_whitespace());
                assert!(parsed.is_ok(), "{}: {line}: {}", path.display(), parsed.unwrap_err());
                lines += 1;
            }
        }
    }
    assert!(lines > 12, "only {lines} lines were found");
}
