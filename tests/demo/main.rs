//! `lifeboat demo` as a person meets it: the whole drill, and everything taken down however it ends.

mod runbooks;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lifeboat::clock::Clock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn demo(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeboat"));
    command
        .args(["demo", "--headless", "--dir"])
        .arg(dir)
        .stdin(Stdio::null());
    command
}

/// Starts a demo and waits for a line that holds `word`.
fn demo_until(dir: &Path, word: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = demo(dir).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while out.read_line(&mut line).unwrap() > 0 {
        if line.contains(word) {
            return (child, out);
        }
        line.clear();
    }
    let status = child.wait().unwrap();
    panic!("the demo ended ({status}) before it said {word:?}");
}

/// Processes that have the directory in their command line, zombies excepted.
fn processes_in(dir: &Path) -> Vec<String> {
    let dir = dir.display().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let words = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    words
        .filter(|words| words.contains(&dir))
        .map(|words| words.replace('\0', " "))
        .collect()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        Clock::system().block(Duration::from_millis(20));
    }
    panic!("waited ten seconds in vain: {what}");
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn everything_comes_back_identical_and_nothing_is_left() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("world");
    let output = demo(&dir).output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for words in [
        "IDENTICAL   every table and every file",
        "RPO ",
        "RTO ",
        "restic -r ",
        "public.order_items",
        "DELETE FROM payments",
        "recovered   to one second before",
        "same  public.payments",
        "$ lifeboat cluster promote shop db2 --yes db2",
        "$ lifeboat cluster promote shop db1 --yes db1",
        "same  db1: ",
        "same  db2: ",
        "no acknowledged order was lost",
        "probed",
    ] {
        assert!(said.contains(words), "no {words:?} in:\n{said}");
    }
    assert!(
        !said.contains("none: no PostgreSQL"),
        "apt-get install postgresql\n{said}"
    );
    assert!(!dir.exists());
    assert_eq!(processes_in(&dir), Vec::<String>::new());
}

#[test]
fn a_demo_that_is_asked_to_end_takes_everything_down() {
    for (signal, word) in [
        (Signal::SIGTERM, "INCIDENT"),
        (Signal::SIGINT, "server "),
        (Signal::SIGHUP, "back up"),
    ] {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("world");
        let (mut child, out) = demo_until(&dir, word);
        assert_ne!(processes_in(&dir), Vec::<String>::new());
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let rest: Vec<String> = out.lines().map_while(Result::ok).collect();
        assert_eq!(child.wait().unwrap().code(), Some(5), "{signal} at {word}: {rest:#?}");
        assert!(!dir.exists(), "{signal} at {word}");
        until("every process is gone", || processes_in(&dir).is_empty());
    }
}

#[test]
fn a_demo_that_was_killed_is_cleared_away_by_the_next() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("world");
    let (mut child, _out) = demo_until(&dir, "database ");
    child.kill().unwrap();
    child.wait().unwrap();
    let left = ["server", "standby"].map(|home| {
        let mark = std::fs::read_to_string(dir.join(home).join("server.json")).unwrap();
        let mark: serde_json::Value = serde_json::from_str(&mark).unwrap();
        mark["pid"].to_string()
    });
    for pid in &left {
        assert!(
            Path::new("/proc").join(pid).exists(),
            "the server must have outlived its parent for this test to mean anything"
        );
    }
    let (mut next, _out) = demo_until(&dir, "server ");
    for pid in &left {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!words.contains("postgres"), "the old server still runs: {words}");
    }
    kill(Pid::from_raw(next.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    next.wait().unwrap();
    assert!(!dir.exists());
}

#[test]
fn somebody_else_s_directory_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    std::fs::write(parent.path().join("thesis.tex"), "ten years").unwrap();
    let output = demo(parent.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("not a sandbox") && text(&output).contains("hint:"),
        "{}",
        text(&output)
    );
    assert_eq!(
        std::fs::read_to_string(parent.path().join("thesis.tex")).unwrap(),
        "ten years"
    );
}

/// Plays a scenario; what it said, and the report it wrote.
fn scenario(name: &str) -> (Output, String, String) {
    let parent = tempfile::tempdir().unwrap();
    let (dir, report) = (parent.path().join("world"), parent.path().join("report.md"));
    let output = demo(&dir)
        .args(["--scenario", name, "--report"])
        .arg(&report)
        .output()
        .unwrap();
    assert!(!dir.exists());
    assert_eq!(processes_in(&dir), Vec::<String>::new());
    let said = text(&output);
    (output, said, std::fs::read_to_string(&report).unwrap_or_default())
}

#[test]
fn a_killed_primary_is_cured_by_its_runbook_and_proved_by_the_ledger() {
    let (output, said, report) = scenario("failover");
    assert!(output.status.success(), "{said}");
    for words in [
        "Cure: runbook manual-failover",
        "bruno agrees to agreed",
        "same  db2: ",
        "same  db1: ",
        "score       detect ",
        "PROVED      failover",
    ] {
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
    }
    for words in [
        "# REAL: Fail over to a standby completed",
        "led by alma",
        "bruno",
        "## Score",
        "| data lost |",
    ] {
        assert!(report.contains(words), "{words:?} is not in:\n{report}");
    }
}

#[test]
fn overwritten_rows_are_cured_by_their_runbook_and_proved_table_by_table() {
    let (output, said, report) = scenario("corruption");
    assert!(output.status.success(), "{said}");
    for words in [
        "same  public.customers: ",
        "orders, all that were taken since the dump",
        "PROVED      corruption",
    ] {
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
    }
    assert!(report.contains("## Proof from outside"), "{report}");
}

#[test]
fn a_repository_without_room_loses_nothing_and_is_cured_by_its_runbook() {
    let (output, said, report) = scenario("disk-full");
    assert!(output.status.success(), "{said}");
    for words in [
        "the repository is full: ",
        "alert: repository sandbox runs out of room: 10",
        "Cure: runbook repository-full",
        "same  the backup without room failed, and said that and what to do",
        "same  the alerts are closed",
        "same  the snapshot of before the incident restores: ",
        "same  the backup made after the cure restores: ",
        "score       detect ",
        "PROVED      disk-full",
    ] {
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
    }
    assert!(report.contains("lifeboat repo stats --repository sandbox"), "{report}");
}

#[test]
fn an_unknown_scenario_is_refused_with_the_list_of_those_there_are() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("world");
    let output = demo(&dir).args(["--scenario", "flood"]).output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for name in [
        "failover",
        "pitr",
        "corruption",
        "ransomware",
        "region-loss",
        "split-network",
        "repository-damaged",
        "disk-full",
    ] {
        assert!(said.contains(name), "{said}");
    }
    assert!(!dir.exists());
}

/// Plays the drill of a runbook, first as one and then in earnest.
fn played(runbook: &str) {
    let parent = tempfile::tempdir().unwrap();
    let (dir, report) = (parent.path().join("world"), parent.path().join("report.md"));
    let output = demo(&dir)
        .args(["--drill", runbook, "--report"])
        .arg(&report)
        .output()
        .unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("PROVED      "), "{said}");
    assert!(said.contains(&format!("completed   drill of {runbook} in ")), "{said}");
    assert!(said.contains(&format!("completed   {runbook} in ")), "{said}");
    assert!(fs_read(&report).contains("# REAL: "), "{said}");
    assert!(!dir.exists());
}

fn fs_read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn the_drill_of_a_runbook_is_rehearsed_and_then_played() {
    for runbook in ["single-table-recovery", "automatic-failover"] {
        played(runbook);
    }
}

#[test]
fn an_unknown_drill_is_refused_with_the_list_of_those_there_are() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("world");
    let output = demo(&dir).args(["--drill", "flood"]).output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for name in ["all", "automatic-failover", "break-glass", "single-table-recovery"] {
        assert!(said.contains(name), "{said}");
    }
    let output = demo(&dir)
        .args(["--drill", "all", "--report", "x.md"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(!dir.exists());
}
