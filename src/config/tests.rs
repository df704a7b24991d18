//! Tests of the configuration: what is read, what is refused and how that is said, and what is written.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::dropin::{self, Kind};
use super::load::{Surroundings, find, load};
use super::raw::every_key;
use super::{Config, ConfigError, LogLevel};
use crate::domain::id::JobName;
use crate::domain::job::{Expectation, MissedPolicy};
use crate::domain::snapshot::EvidenceLevel;
use crate::domain::source::{SecretRef, SourceKind, TlsMode};
use crate::domain::units::{Bytes, Millis};

mod failover;
mod keep;
mod write;

const EXAMPLE: &str = include_str!("../../config.example.toml");

const SMALL: &str = r#"
[agent]
state_dir = "/var/lib/lifeboat-test"
[repository.near]
url = "/srv/backup"
password = { env = "PW" }
[source.documents]
kind = "files"
paths = ["/srv/documents"]
[job.documents]
source = "documents"
repository = "near"
"#;

fn world() -> Surroundings {
    Surroundings {
        variable: |name| (name == "HOME").then(|| OsString::from("/home/mira")),
        root: false,
        host: "db1".to_owned(),
    }
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A configuration in a directory of its own, with drop-ins.
fn written(main: &str, dropins: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("lifeboat.toml");
    put(&path, main);
    for (name, text) in dropins {
        put(&dir.path().join("conf.d").join(name), text);
    }
    (dir, path)
}

fn read(main: &str) -> Result<Config, ConfigError> {
    let (_dir, path) = written(main, &[]);
    load(&path, None, &world())
}

/// The problems of a configuration, a line each, without the directory it is in.
fn problems(main: &str, dropins: &[(&str, &str)]) -> Vec<String> {
    let (dir, path) = written(main, dropins);
    let prefix = format!("{}/", dir.path().display());
    match load(&path, None, &world()) {
        Err(ConfigError::Invalid { problems }) => problems
            .iter()
            .map(|problem| problem.to_string().replace(&prefix, ""))
            .collect(),
        other => panic!("{other:?}"),
    }
}

/// The example with every option that is commented out taken in.
fn uncommented() -> String {
    let option = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_alphabetic()) => rest.to_owned(),
        _ => line.to_owned(),
    };
    EXAMPLE.lines().map(option).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_read_with_and_without_what_may_be_left_out() {
    for text in [EXAMPLE.to_owned(), uncommented()] {
        let config = read(&text).unwrap_or_else(|error| panic!("{error}"));
        let all = &config.definitions;
        assert_eq!((all.site.as_str(), all.environment.as_str()), ("eu-west", "PROD"));
        let shop = &all.jobs[&JobName::from("shop")];
        assert_eq!(shop.verify.level, EvidenceLevel::Probed);
        assert_eq!(shop.verify.probes[0].expect, Expectation::AtLeast(1));
        assert_eq!(shop.verify.probes[1].expect, Expectation::NotEmpty);
        assert!(shop.hooks.after_failure.as_ref().unwrap().shell);
        assert_eq!(shop.missed, MissedPolicy::RunOnce);
        let SourceKind::PostgresDump(source) = &all.sources[&"shop".into()].kind else {
            panic!("shop is a database")
        };
        let scratch = source.scratch.as_ref().unwrap();
        assert_eq!((scratch.port, scratch.tls), (5433, TlsMode::Disable));
        assert_eq!(all.services[&"orders".into()].objective.rpo, Millis::from_secs(900));
        assert_eq!(all.limits.memory_budget, Bytes(128 << 20));
    }
}

#[test]
fn the_example_names_every_option() {
    let commented = EXAMPLE
        .lines()
        .filter(|line| line.starts_with('#') && !line.starts_with("# "))
        .count();
    assert!(
        commented > 8,
        "the options that may be left out are found by their missing blank"
    );
    let text = uncommented();
    for (section, keys) in every_key() {
        assert!(!keys.is_empty(), "{section}");
        for key in keys {
            let named = [
                format!("{key} ="),
                format!("[{key}."),
                format!("[{key}]"),
                format!(".{key}]"),
            ];
            let code = text.lines().filter(|line| !line.starts_with('#'));
            assert!(
                code.into_iter()
                    .any(|line| named.iter().any(|name| line.contains(name.as_str()))),
                "{key} of {section} is not in config.example.toml"
            );
        }
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = read(SMALL).unwrap();
    assert_eq!(
        (
            config.definitions.site.as_str(),
            config.definitions.environment.as_str()
        ),
        ("db1", "PROD")
    );
    assert_eq!(config.agent.socket, Path::new("/var/lib/lifeboat-test/agent.sock"));
    assert_eq!(config.agent.journal, Path::new("/var/lib/lifeboat-test/journal.db"));
    assert_eq!((config.agent.log_level, config.agent.idle_exit), (LogLevel::Info, None));
    let job = &config.definitions.jobs[&JobName::from("documents")];
    assert_eq!(
        (job.retry.attempts, job.schedule.as_ref(), job.timeout),
        (3, None, None)
    );

    let without_agent = SMALL.replace("state_dir = \"/var/lib/lifeboat-test\"", "");
    let config = read(&without_agent).unwrap();
    assert_eq!(config.agent.state_dir, Path::new("/home/mira/.local/state/lifeboat"));
    let (_dir, path) = written(&without_agent, &[]);
    let root = Surroundings { root: true, ..world() };
    assert_eq!(
        load(&path, None, &root).unwrap().agent.state_dir,
        Path::new("/var/lib/lifeboat")
    );
    let homeless = Surroundings {
        variable: |_| None,
        ..world()
    };
    let error = load(&path, None, &homeless).unwrap_err();
    assert!(error.to_string().contains("agent.state_dir"), "{error}");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = r#"
sight = "x"
environment = 3
[agent]
log_level = "loud"
socket = "run/agent.sock"
concurrent_runs = 0
memory_budget = "12 parsecs"
idle_exit = 15
[repository.near]
url = "srv/backup"
password = "hunter2"
[repository."../etc"]
url = "/srv"
password = { env = "PW" }
[source.documents]
kind = "files"
paths = []
exclud = ["x"]
exclude = ["[z-a]"]
[source.shop]
kind = "postgres-dump"
port = 0
user = "x"
[source.bucket]
kind = "s3"
[job.documents]
source = "document"
repository = "near"
schedule = "61 * * * *"
zone = "Mars/Olympus"
timeout = "4"
tags = ["a,b"]
retry = { attempts = 0 }
verify = { level = "restored", probes = [{ name = "x", sql = "SELECT 1", expect = "not_empty" }] }
hooks.before = { command = [] }
hooks.after_failure = { command = ["a", "b"], shell = true }
[service.orders]
sources = ["documents", "ledger"]
rpo = "0s"
"#;
    let found = problems(text, &[]);
    let all = found.join("\n");
    insta::assert_snapshot!(all);
    assert!(!all.contains("hunter2"), "a secret is never repeated");
}

#[test]
fn what_is_wrong_further_in_is_placed_there() {
    let text = format!(
        "{SMALL}retry = {{ attemps = 2 }}\nhooks.before = {{ shell = true }}\n\n[job.documents.verify]\nlevel = \"sure\"\n"
    );
    let found = problems(&text, &[]);
    let starts = [
        "lifeboat.toml:13: job.documents.retry: unknown field `attemps`",
        "lifeboat.toml:14: job.documents.hooks: missing field `command`",
        "lifeboat.toml:17: job.documents.verify: unknown variant `sure`",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (problem, start) in found.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem} does not start with {start}");
    }
}

#[test]
fn a_garbled_file_is_refused_with_its_line() {
    let found = problems("[agent]\nstate_dir = /var\n[job\n", &[]);
    assert!(found[0].starts_with("lifeboat.toml:2: this is not TOML"), "{found:?}");
    let twice = problems("[agent]\nlog_level = \"info\"\nlog_level = \"info\"\n", &[]);
    assert!(twice[0].starts_with("lifeboat.toml:3:"), "{twice:?}");
    let (_dir, path) = written("", &[]);
    fs::write(&path, b"site = \"\xff\"").unwrap();
    let error = load(&path, None, &world()).unwrap_err();
    assert!(error.to_string().contains("byte 8 is not UTF-8"), "{error}");
}

#[test]
fn dropins_add_in_the_order_of_their_names() {
    let (_dir, path) = written(
        SMALL,
        &[
            (
                "20-far.toml",
                "[repository.far]\nurl = \"/mnt/far\"\npassword = { env = \"PW\" }",
            ),
            ("10-job.toml", "[job.far]\nsource = \"documents\"\nrepository = \"far\""),
            (".hidden.toml", "nonsense"),
            ("notes.txt", "nonsense"),
        ],
    );
    let config = load(&path, None, &world()).unwrap();
    let names: Vec<_> = config
        .files
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, ["lifeboat.toml", "10-job.toml", "20-far.toml"]);
    assert_eq!(config.definitions.jobs.len(), 2);
}

#[test]
fn a_name_defined_twice_names_both_files() {
    let again = "[job.documents]\nsource = \"documents\"\nrepository = \"near\"\n[agent]\n";
    let found = problems(SMALL, &[("again.toml", again)]);
    assert_eq!(found.len(), 2, "{found:?}");
    let expected = "conf.d/again.toml:1: job.documents: it is defined twice: also in ";
    assert!(
        found[0].starts_with(expected) && found[0].contains("lifeboat.toml:10"),
        "{found:?}"
    );
    assert!(found[1].contains("agent: this belongs in the main file"), "{found:?}");
}

#[test]
fn a_file_that_others_could_use_is_refused() {
    for (mode, expected) in [(0o602, "written"), (0o620, "written"), (0o644, "read"), (0o604, "read")] {
        for exposed in ["lifeboat.toml", "conf.d/more.toml"] {
            let (dir, path) = written(SMALL, &[("more.toml", "")]);
            fs::set_permissions(dir.path().join(exposed), fs::Permissions::from_mode(mode)).unwrap();
            let error = load(&path, None, &world()).unwrap_err();
            assert!(matches!(error, ConfigError::Exposed { .. }), "{error}");
            assert!(
                error.to_string().contains(expected) && error.to_string().contains(exposed),
                "{error}"
            );
            assert!(error.hint().unwrap().contains("chmod 600"));
        }
    }
    // Read by its group: how a team of operators shares it.
    let (_dir, path) = written(SMALL, &[]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    load(&path, None, &world()).unwrap();
}

#[test]
fn the_socket_must_fit() {
    let long = SMALL.replace("/var/lib/lifeboat-test", &format!("/{}", "x".repeat(110)));
    let found = problems(&long, &[]);
    assert!(
        found[0].contains("too long for a socket") && found[0].contains("hint"),
        "{found:?}"
    );
    let short = long.replace("[agent]", "[agent]\nsocket = \"/run/lifeboat.sock\"");
    assert_eq!(read(&short).unwrap().agent.socket, Path::new("/run/lifeboat.sock"));
}

#[test]
fn the_file_is_looked_for_in_order() {
    let (dir, path) = written(SMALL, &[]);
    assert_eq!(find(Some(&path), &world()).unwrap(), path);
    let nowhere = Surroundings {
        variable: |name| (name == "HOME").then(|| "/nonexistent".into()),
        ..world()
    };
    // The tests run in the crate's directory, where there is only the example.
    let error = find(None, &nowhere).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("/nonexistent/.config/lifeboat/lifeboat.toml"), "{text}");
    assert!(text.ends_with("/etc/lifeboat/lifeboat.toml"), "{text}");
    assert!(error.hint().unwrap().contains("lifeboat init"));
    let named = Surroundings {
        variable: |name| (name == "LIFEBOAT_CONFIG").then(|| "/nonexistent/named.toml".into()),
        ..world()
    };
    // What was named is taken or missed, never replaced by another.
    assert_eq!(find(None, &named).unwrap(), Path::new("/nonexistent/named.toml"));
    let error = load(&dir.path().join("none.toml"), None, &world()).unwrap_err();
    assert!(error.to_string().contains("none.toml"), "{error}");
}

#[test]
fn secrets_are_named_in_three_ways() {
    let config = read(EXAMPLE).unwrap();
    let secret = |name: &str| config.definitions.repositories[&name.into()].password.clone();
    assert_eq!(secret("near"), SecretRef::File("/etc/lifeboat/near.password".into()));
    assert_eq!(
        secret("far"),
        SecretRef::Command(vec!["pass".into(), "show".into(), "backup/far".into()])
    );
    assert_eq!(secret("scratch"), SecretRef::Env("LIFEBOAT_SCRATCH_PASSWORD".into()));
    let bad = [
        "123456",
        "{ file = \"relative\" }",
        "{ env = \"\" }",
        "{ command = [] }",
        "{ fil = \"/x\" }",
        "{}",
    ];
    for found in bad {
        let text = SMALL.replace("{ env = \"PW\" }", found);
        let found = problems(&text, &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("lifeboat.toml:6: repository.near.password: "),
            "{found:?}"
        );
        assert!(!found[0].contains("123456"), "{found:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever stands in the file, it is read or refused.
    #[test]
    fn garbage_never_panics(noise in ".{0,40}", place in 0..1200_usize, cut in 0..1200_usize) {
        let text = uncommented();
        let floor = |mut at: usize| { at = at.min(text.len()); while !text.is_char_boundary(at) { at -= 1; } at };
        let (from, to) = (floor(place.min(cut)), floor(place.max(cut)));
        let _ = read(&format!("{}{noise}{}", &text[..from], &text[to..]));
    }
}
