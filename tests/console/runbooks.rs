//! Runbooks: the list, the document, the way to an execution, and the night that the tests of the wizard share.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::OnceLock;

use lifeboat::config;
use lifeboat::domain::Millis;
use lifeboat::domain::runbook::check::{CheckOutcome, CheckResult};
use lifeboat::domain::runbook::run::{Cause, Checked, Word};
use lifeboat::domain::runbook::show;
use lifeboat::domain::runbook::view::{ExecutionView, Readiness, Ready, RunbookLine, RunbookPlan};
use lifeboat::domain::runbook::{
    LastRun, Runbook, RunbookOutcome, RunbookRecord, RunbookRun, Saying, StartRunbook, StepRun, StepState,
};
use lifeboat::domain::view::{Overview, Receipt};
use lifeboat::tui::link::{Answer, Trouble};

use crate::fixture::{self, ago, now};
use crate::runner::{Eye, Runner};

/// The execution of the night.
pub const RUN: &str = "rb-01hd3kb7c2x9q4";

const DOCUMENT: &str = r#"
title = "Fail orders over to its standby"
why = "The primary of orders is failing, or is to be replaced. What the standby has not received is lost."
objective = "60m"
before = ["Somebody who can say whether the shop may be interrupted", "A second engineer for the promotion"]
during = ["Two primaries at one time are worse than none"]
after = ["Watch the lag of the rebuilt standby"]

[variable.cluster]
type = "cluster"
ask = "Which cluster fails over?"

[variable.standby]
type = "member"
ask = "Which standby takes over?"

[variable.ticket]
type = "text"
ask = "Under which ticket?"
default = "INC-77"

[[step]]
id = "declare"
title = "Declare the incident, page the DBA"
kind = "manual"
instruction = "Open {ticket} and page the database on-call"

[[step]]
id = "fence"
title = "Keep writers from the old primary"
why = "From here on nothing is committed that the standby could miss."
kind = "command"
command = ["fence-orders", "--cluster", "{cluster}"]
needs = { auto = true }
undo = { kind = "command", command = ["fence-orders", "--lift", "--cluster", "{cluster}"] }
verify = [{ check = "path", path = "/run/fence-{cluster}" }]

[[step]]
id = "promote"
title = "Promote {standby}"
why = "It takes writes from here on. The old primary can only follow it."
kind = "promote"
cluster = "{cluster}"
member = "{standby}"
precheck = [{ check = "path", path = "/run/fence-{cluster}" }, { check = "member", cluster = "{cluster}", member = "{standby}", is = "standby" }]
verify = [{ check = "member", cluster = "{cluster}", member = "{standby}", is = "writable" }]
timeout = "10m"
needs = { typed = "{standby}" }
undo = "rebuild the old primary from a snapshot"

[[step]]
id = "agree"
title = "A second engineer looks at it"
kind = "approve"
question = "Does {standby} take writes?"
needs = { two_person = true }

[[step]]
id = "repoint"
title = "Repoint DNS at {standby}"
kind = "command"
command = ["repoint", "orders", "{standby}"]

[[step]]
id = "close"
title = "Verify, and close {ticket}"
kind = "manual"
instruction = "Say in {ticket} that the shop sells again"
"#;

/// The document, read as the agent reads it.
pub fn book() -> Runbook {
    static BOOK: OnceLock<Runbook> = OnceLock::new();
    BOOK.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("lifeboat.toml");
        let text = format!(
            "site = \"eu-west\"\nenvironment = \"PROD\"\n[agent]\nstate_dir = \"{}/state\"\n",
            dir.path().display()
        );
        fs::write(&main, text).unwrap();
        fs::set_permissions(&main, PermissionsExt::from_mode(0o600)).unwrap();
        fs::create_dir(dir.path().join("runbooks")).unwrap();
        let file = dir.path().join("runbooks/failover-orders.toml");
        fs::write(&file, DOCUMENT).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let config = config::load(Some(&main)).unwrap_or_else(|error| panic!("{error}"));
        let mut book = config.definitions.runbooks[&"failover-orders".into()].clone();
        book.file = Some("/etc/lifeboat/runbooks/failover-orders.toml".to_owned());
        book
    })
    .clone()
}

pub fn word(by: &str, minutes: i64, text: &str) -> Word {
    Word {
        by: by.to_owned(),
        at: ago(minutes),
        text: text.to_owned(),
    }
}

pub fn result(title: &str, outcome: CheckOutcome, detail: &str) -> CheckResult {
    CheckResult {
        title: title.to_owned(),
        outcome,
        detail: detail.to_owned(),
    }
}

fn done(by: Option<&str>, minutes: i64) -> StepRun {
    StepRun {
        state: StepState::Done,
        attempt: 1,
        released: by.map(|by| word(by, minutes, "")),
        started_at: Some(ago(minutes)),
        ended_at: Some(ago(minutes)),
        ..StepRun::default()
    }
}

/// The execution, before its third step: the promotion, whose checks hold.
pub fn run() -> RunbookRun {
    let book = book();
    let mut steps = vec![StepRun::default(); book.steps.len()];
    steps[0] = done(Some("ana"), 10);
    steps[1] = done(None, 9);
    steps[1].did = Some("fence-orders --cluster orders".to_owned());
    steps[1].evidence = vec![result("/run/fence-orders exists", CheckOutcome::Holds, "it is there")];
    steps[2].checked = Some(Checked {
        at: ago(1),
        results: vec![
            result("/run/fence-orders exists", CheckOutcome::Holds, "it is there"),
            result("db2 of orders is a standby", CheckOutcome::Holds, "standby, timeline 7"),
        ],
    });
    let values = [
        ("cluster", "orders"),
        ("standby", "db2"),
        ("ticket", "INC-77"),
        ("mode", "real"),
    ];
    RunbookRun {
        id: RUN.into(),
        objective: book.objective,
        runbook: book,
        drill: false,
        unattended: false,
        cause: Cause::Person,
        started_by: "ana".to_owned(),
        started_at: ago(11),
        incident_at: None,
        values: values.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        steps,
        held_by: "ana".to_owned(),
        paused: None,
        ending: None,
        words: Vec::new(),
    }
}

pub fn record() -> RunbookRecord {
    let mut run = run();
    for (at, step) in run.steps.iter_mut().enumerate() {
        if step.state == StepState::Pending {
            *step = done(Some("ana"), 8 - i64::try_from(at).unwrap());
        }
    }
    run.steps[4].state = StepState::Skipped;
    run.steps[4].note = Some("DNS follows by itself".to_owned());
    RunbookRecord {
        run,
        outcome: RunbookOutcome::Deviated,
        finished_at: ago(2),
    }
}

/// What history holds.
pub fn ended() -> Vec<RunbookRecord> {
    let mut older = record();
    older.run.id = "rb-01hd2aa0000001".into();
    older.run.drill = true;
    older.outcome = RunbookOutcome::Completed;
    older.run.started_at = ago(60 * 24 * 3 + 31);
    older.finished_at = ago(60 * 24 * 3);
    vec![older]
}

/// What the agent answers to a plan; a ticket called `nonsense` is refused.
pub fn plan(wish: &StartRunbook) -> Result<RunbookPlan, Trouble> {
    if wish.set.get("ticket").is_some_and(|ticket| ticket == "nonsense") {
        return Err(Trouble::new("ticket: \"nonsense\" is not a ticket"));
    }
    let book = book();
    let mut values = wish.set.clone();
    values.entry("ticket".to_owned()).or_insert_with(|| "INC-77".to_owned());
    let missing = ["cluster", "standby"]
        .into_iter()
        .filter(|name| !values.contains_key(*name));
    let missing: Vec<String> = missing.map(str::to_owned).collect();
    let mut steps: Vec<_> = book
        .steps
        .iter()
        .map(|step| show::planned(step, &values, wish.drill))
        .collect();
    if missing.is_empty() {
        steps[2].checks = vec![result(
            "/run/fence-orders exists",
            CheckOutcome::Fails,
            "it is not there",
        )];
    }
    Ok(RunbookPlan {
        runbook: book.name.clone(),
        title: book.title.clone(),
        hash: book.hash.clone(),
        drill: wish.drill,
        objective: book.objective,
        variables: book.variables.clone(),
        values,
        missing,
        steps,
    })
}

/// What the agent answers to a word; one that skips because of `refuse` is refused.
pub fn say(saying: &Saying) -> Result<Answer, Trouble> {
    match saying {
        Saying::Skip { reason, .. } if reason == "refuse" => Err(Trouble {
            message: "step promote is already under way, begun by ben".to_owned(),
            hint: Some("look at it again".to_owned()),
        }),
        _ => Ok(Answer::Receipt(Receipt::default())),
    }
}

/// What a look at a runbook comes to that is asked for now.
pub fn not_ready() -> Readiness {
    let because = vec!["look: db2 is a standby: it does not answer".to_owned()];
    Readiness {
        at: now(),
        hash: book().hash,
        next: None,
        state: Ready::No { because },
    }
}

fn line(name: &str, title: &str, steps: usize, state: Option<Ready>) -> RunbookLine {
    let book = book();
    RunbookLine {
        name: name.into(),
        title: title.to_owned(),
        hash: book.hash.clone(),
        file: None,
        steps,
        readiness: state.map(|state| Readiness {
            at: ago(12),
            hash: book.hash,
            next: Some(now() + chrono::Duration::minutes(18)),
            state,
        }),
        last_drill: None,
        last_real: None,
    }
}

fn last(minutes: i64, outcome: RunbookOutcome) -> LastRun {
    LastRun {
        run: "rb-01hd2aa0000001".into(),
        at: ago(minutes),
        outcome,
        took: Millis::from_secs(31 * 60),
        hash: book().hash,
    }
}

/// The night with runbooks, and an execution when there is one.
pub fn night(run: Option<RunbookRun>) -> Overview {
    let mut overview = fixture::overview();
    let asks = vec!["cluster".to_owned(), "standby".to_owned()];
    let mut failover = line(
        "failover-orders",
        "Fail orders over to its standby",
        6,
        Some(Ready::Yes { asks }),
    );
    failover.last_drill = Some(last(60 * 24 * 3, RunbookOutcome::Completed));
    let mut corruption = line(
        "database-corruption",
        "Bring back a database whose pages are damaged",
        6,
        Some(Ready::Yes { asks: Vec::new() }),
    );
    corruption.last_drill = Some(last(60 * 24 * 41, RunbookOutcome::Failed));
    corruption.last_real = Some(last(60 * 24 * 200, RunbookOutcome::Deviated));
    let because = vec!["step promote: no standby of orders answers".to_owned()];
    overview.runbooks = vec![
        corruption,
        failover,
        line(
            "manual-failover",
            "Fail over to a standby",
            9,
            Some(Ready::No { because }),
        ),
        line(
            "redis-loss",
            "Bring Redis back",
            5,
            Some(Ready::NotHere {
                because: "there is no source of kind redis".to_owned(),
            }),
        ),
        line("regional-failure", "Serve from the other region", 14, None),
    ];
    overview.executions = run
        .into_iter()
        .map(|run| ExecutionView { run, said: Vec::new() })
        .collect();
    overview
}

pub fn console_at(size: (u16, u16), eye: Eye, run: Option<RunbookRun>) -> Runner {
    let mut console = Runner::new(size, eye);
    console.picture(night(run));
    console
}
