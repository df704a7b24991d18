//! The search for the last clean snapshot: what it says, how it narrows, what is used at its end, and how it looks.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use lifeboat::config;
use lifeboat::domain::Bytes;
use lifeboat::domain::anomaly::Changes;
use lifeboat::domain::runbook::{Runbook, RunbookRun, StepRun, StepState};
use lifeboat::domain::snapshot::{Evidence, EvidenceLevel, SnapshotRecord};
use lifeboat::tui::place::Place;

use crate::fixture::{self, ago, now};
use crate::runbooks::{RUN, console_at, run};
use crate::runner::{Eye, Runner};
use crate::screens::{SIZES, render, settings};

const MIB: u64 = 1 << 20;
const DAY: i64 = 24 * 60;

/// Twelve days of a job: quiet, then encrypted on the tenth, and a quiet day over that. The oldest three have expired.
pub fn line(job: &str) -> Vec<SnapshotRecord> {
    let day = |number: u64| {
        let mut record = fixture::snapshot(number);
        let (new, packed, changed, removed) = match number {
            0 => (4000, 1600, 0, 0),
            10 => (3600, 3560, 4100, 3900),
            _ => (20 + number, 8, 12, 1),
        };
        let at = ago((12 - i64::try_from(number).unwrap()) * DAY);
        record.job = Some(job.into());
        (record.taken_at, record.committed_at) = (at, at);
        (record.size, record.added, record.files) = (Bytes(4000 * MIB), Bytes(packed * MIB), 4200);
        record.changes = Some(Changes {
            new: Bytes(new * MIB),
            files_new: removed,
            files_changed: changed - removed.min(changed),
            files_removed: removed,
        });
        record.partial = false;
        record.forgotten = None;
        record.replaced_by = None;
        record.evidence = Evidence {
            level: EvidenceLevel::Checksummed,
            at,
            failure: None,
        };
        record.vanished_at = (number < 3).then(now);
        record
    };
    (0..12).map(day).collect()
}

fn id(number: u64) -> String {
    fixture::snapshot_id(number).short().to_owned()
}

const DOCUMENT: &str = r#"
title = "Somebody encrypted documents"
why = "They cannot be read."

[variable.job]
type = "job"
ask = "Which job?"

[[step]]
id = "find"
title = "Find the last clean snapshot of {job}"
kind = "find-clean"
job = "{job}"

[[step]]
id = "agreed"
title = "A second engineer agrees to {find.snapshot}"
kind = "approve"
question = "Is {find.snapshot} of {find.time} the last clean one?"
needs = { two_person = true }
"#;

fn book() -> Runbook {
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("lifeboat.toml");
    let state = dir.path().join("state");
    let text = format!(
        "site = \"eu-west\"\nenvironment = \"PROD\"\n[agent]\nstate_dir = \"{}\"\n",
        state.display()
    );
    fs::create_dir(dir.path().join("runbooks")).unwrap();
    let file = dir.path().join("runbooks/ransom.toml");
    for (path, text) in [(&main, text.as_str()), (&file, DOCUMENT)] {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }
    let config = config::load(Some(&main)).unwrap_or_else(|error| panic!("{error}"));
    config.definitions.runbooks[&"ransom".into()].clone()
}

/// The execution whose search has found the tenth day, and that waits for a second engineer.
fn found() -> RunbookRun {
    let mut run = run();
    run.runbook = book();
    let found = fixture::snapshot_id(9).0;
    let outputs = [("snapshot", found.as_str()), ("time", "2026-11-17T03:12:00+00:00")];
    run.values = outputs
        .map(|(name, value)| (format!("find.{name}"), value.to_owned()))
        .into();
    run.values.insert("job".to_owned(), "documents".to_owned());
    run.steps = vec![StepRun::default(); 2];
    run.steps[0] = StepRun {
        state: StepState::Done,
        attempt: 1,
        started_at: Some(ago(3)),
        ended_at: Some(ago(2)),
        outputs: outputs.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..StepRun::default()
    };
    run
}

fn at(size: (u16, u16), eye: Eye, keys: &str) -> Runner {
    let mut console = Runner::new(size, eye);
    console.press("2 / documents enter a G enter").wait(9_000);
    console.press(keys);
    console
}

fn search() -> Runner {
    at((80, 24), Eye::Mono, "")
}

fn type_in(console: &mut Runner, text: &str) {
    for (place, word) in text.split(' ').enumerate() {
        if place > 0 {
            console.press("space");
        }
        console.press(word);
    }
    console.press("enter");
}

#[test]
fn the_line_says_what_speaks_for_each_and_where_the_bracket_is() {
    let console = search();
    assert!(matches!(console.app.place, Place::Finder(_)), "{}", console.text());
    let text = console.text();
    let row = |number: u64| {
        let rows = text.lines().skip(7);
        let found = rows.into_iter().find(|line| line.contains(&id(number)));
        found.unwrap_or_else(|| panic!("{number}: {text}")).to_owned()
    };
    assert!(row(10).contains("suspect: entropy 7.9"), "{text}");
    assert!(
        row(11).contains("after a bad one"),
        "quiet over encrypted data is not clean: {text}"
    );
    assert!(row(9).contains("clean by figures"), "{text}");
    assert!(
        row(2).contains("gone") && row(2).contains("99"),
        "the figures of the gone are kept: {text}"
    );
    let head = |label: &str| text.lines().find(|line| line.contains(label)).unwrap().to_owned();
    assert!(
        head("Last clean").contains(&id(9)) && head("Last clean").contains("nobody has looked"),
        "{text}"
    );
    assert!(head("First bad").contains(&id(10)), "{text}");
    assert!(head("Look next").contains(&id(9)), "{text}");
    assert!(console.shows("[]!"), "{text}");
}

#[test]
fn looks_narrow_the_bracket_and_need_a_reason() {
    let mut console = search();
    console.press("b").wait(600).press("enter");
    assert!(console.shows("a reason is needed"), "{}", console.text());
    type_in(&mut console, "a note in every directory");
    assert!(console.shows("BAD, looked at"), "{}", console.text());
    assert!(console.shows("at most 3 looks are left"), "{}", console.text());
    // The cursor is on the one in the middle of what can be looked at: three to eight.
    let next = console
        .app
        .finder
        .finding
        .as_ref()
        .unwrap()
        .search
        .next
        .clone()
        .unwrap();
    assert_eq!(next, fixture::snapshot_id(6));
    console.press("c").wait(600);
    type_in(&mut console, "opened ten files");
    console.press("c").wait(600);
    type_in(&mut console, "opened ten files");
    let search = console.app.finder.finding.as_ref().unwrap().search.clone();
    assert_eq!(search.clean, Some(fixture::snapshot_id(8)));
    assert_eq!((search.next, search.looked_at), (None, true));
    assert!(console.shows("looked at: opened ten files"), "{}", console.text());
    assert!(
        console.commands().is_empty(),
        "what is said here changes nothing: {:?}",
        console.commands()
    );
    let command = console.app.finder.command();
    let said = format!("--clean {}", id(8));
    assert!(
        command.starts_with("lifeboat snapshot find-clean documents") && command.contains(&said),
        "{command}"
    );
    // What was said is taken back.
    console.press("x");
    assert!(console.app.finder.finding.as_ref().unwrap().search.next.is_some());
    // It stays when one goes away and comes back.
    console.press("1 2 a G enter");
    assert!(console.shows("BAD, looked at"), "{}", console.text());
}

#[test]
fn the_candidate_is_restore_tested_opened_and_restored() {
    let mut console = search();
    console.press("G m t");
    let verify = format!(
        r#"{{"command":"verify_snapshot","snapshot":"{}","level":"restored"}}"#,
        fixture::snapshot_id(9)
    );
    assert_eq!(console.commands(), [verify]);
    console.press("enter");
    assert!(matches!(&console.app.place, Place::Tree(id, _) if *id == fixture::snapshot_id(9)));
    console.press("esc");
    assert!(
        matches!(console.app.place, Place::Finder(_)),
        "files lead back to the search"
    );
    // What is gone can neither be tested nor opened nor used.
    console.press("G");
    for key in ["t", "enter", "u"] {
        console.press(key).wait(9_000);
    }
    assert_eq!(console.commands().len(), 1);
    assert!(matches!(console.app.place, Place::Finder(_)));
    console.press("m u");
    assert!(
        console.shows("Restore") || console.shows("choose it again"),
        "{}",
        console.text()
    );
}

#[test]
fn the_step_of_a_runbook_is_told_another_snapshot_with_a_reason() {
    let mut console = console_at((80, 24), Eye::Mono, Some(found()));
    console.press("5 gg enter").wait(600);
    assert!(console.shows("F find clean"), "{}", console.text());
    console.press("F");
    assert!(console.shows("Look next"), "{}", console.text());
    console.press("u");
    assert!(console.shows("that is what it found"), "{}", console.text());
    console.press("b").wait(600);
    type_in(&mut console, "unreadable");
    console.press("u").wait(600);
    assert!(console.shows("Step find of"), "{}", console.text());
    assert!(
        console.shows("unreadable"),
        "what was looked at stands there: {}",
        console.text()
    );
    type_in(&mut console, ", by ana");
    let said = console.commands();
    assert_eq!(said.len(), 1, "{said:?}");
    let word: serde_json::Value = serde_json::from_str(&said[0]).unwrap();
    assert_eq!(
        (word["run"].as_str(), word["saying"]["say"].as_str()),
        (Some(RUN), Some("instead"))
    );
    assert_eq!(word["saying"]["snapshot"], fixture::snapshot_id(6).0);
    assert!(
        word["saying"]["reason"].as_str().unwrap().contains("bad: unreadable"),
        "{word}"
    );
    assert!(
        matches!(&console.app.place, Place::Wizard(_)),
        "and back to where it counts"
    );
}

#[test]
fn who_does_not_lead_looks_and_does_not_use() {
    let mut run = found();
    "ben".clone_into(&mut run.held_by);
    let mut console = console_at((80, 24), Eye::Mono, Some(run));
    console.press("5 gg enter").wait(600);
    console.press("F j u");
    assert!(console.shows("not now: held by ben"), "{}", console.text());
    assert!(console.commands().is_empty());
    console.press("esc");
    assert!(matches!(&console.app.place, Place::Wizard(_)));
}

#[test]
fn the_search_as_it_looks() {
    for (eye, name) in [(Eye::Sixteen, "16"), (Eye::Mono, "mono")] {
        settings().bind(|| {
            for size in SIZES {
                let shot = |screen: &str, console: &Runner| {
                    let (columns, rows) = size;
                    insta::assert_snapshot!(format!("{screen}-{columns}x{rows}-{name}"), render(&console.buffer()));
                };
                shot("finder", &at(size, eye, ""));
                shot("finder-detail", &at(size, eye, "d"));
                let mut console = at(size, eye, "b");
                shot("finder-bad", &console);
                type_in(&mut console, "a note in every directory");
                console.wait(9_000);
                shot("finder-narrowed", &console);
                let mut console = console_at(size, eye, Some(found()));
                console.press("5 gg enter").wait(600).press("F j");
                console.wait(9_000).press("u");
                shot("finder-use", &console);
            }
        });
    }
}
