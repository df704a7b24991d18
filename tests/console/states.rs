//! Every state of an execution, and how the wizard looks in each.

use lifeboat::domain::run::Failure;
use lifeboat::domain::runbook::check::CheckOutcome;
use lifeboat::domain::runbook::run::{Ending, Override};
use lifeboat::domain::runbook::{RunbookRun, StepState};

use crate::fixture::{ago, now};
use crate::runbooks::{night, result, run, word};
use crate::runner::Eye;
use crate::screens::{SIZES, render, settings};
use crate::wizard::{finish, wizard_at};

pub fn failing() -> RunbookRun {
    let mut run = run();
    let checked = run.steps[2].checked.as_mut().unwrap();
    checked.results[1].outcome = CheckOutcome::Fails;
    "db2 lags by 41m".clone_into(&mut checked.results[1].detail);
    run
}

pub fn overridden() -> RunbookRun {
    let mut run = failing();
    run.steps[2].overridden = Some(Override {
        word: word("ana", 1, "the lag is known, INC-77"),
        checks: vec!["db2 of orders is a standby".to_owned()],
    });
    run
}

pub fn acting() -> RunbookRun {
    let mut run = run();
    let step = &mut run.steps[2];
    step.state = StepState::Acting;
    step.attempt = 1;
    step.released = Some(word("ana", 1, "db2"));
    step.started_at = Some(ago(1));
    step.did = Some("lifeboat cluster promote orders db2".to_owned());
    run
}

pub fn in_doubt() -> RunbookRun {
    let mut run = acting();
    run.steps[2].state = StepState::InDoubt;
    run.steps[2].evidence = vec![result(
        "db2 of orders is writable",
        CheckOutcome::Unknown,
        "it does not answer",
    )];
    run
}

pub fn failed() -> RunbookRun {
    let mut run = acting();
    run.steps[2].state = StepState::Failed;
    run.steps[2].ended_at = Some(now());
    run.steps[2].error = Some(Failure::permanent(
        "db2 was not promoted: it is still in recovery",
        "look at its log",
    ));
    run
}

pub fn approval() -> RunbookRun {
    let mut run = run();
    run.steps[2].state = StepState::Done;
    run.steps[2].started_at = Some(ago(2));
    run.steps[2].ended_at = Some(ago(1));
    run
}

pub fn undoing() -> RunbookRun {
    let mut run = failed();
    run.ending = Some(Ending {
        word: word("ana", 1, "the standby is broken"),
        undo: true,
        failed: false,
    });
    run.steps[1].state = StepState::Undoing;
    run
}

pub fn held() -> RunbookRun {
    let mut run = run();
    "ben".clone_into(&mut run.held_by);
    run
}

pub fn paused() -> RunbookRun {
    let mut run = run();
    run.paused = Some(word("ben", 1, "wait for the DBA"));
    run
}

#[test]
fn every_state_of_the_wizard_as_it_looks() {
    type Stage = (&'static str, fn() -> RunbookRun, &'static str);
    let stages: [Stage; 13] = [
        ("go", run, ""),
        ("typed-half", run, "enter"),
        ("check-failing", failing, ""),
        ("override", failing, "o"),
        ("overridden", overridden, ""),
        ("acting", acting, ""),
        ("in-doubt", in_doubt, ""),
        ("failed", failed, ""),
        ("held", held, ""),
        ("approval", approval, ""),
        ("paused", paused, ""),
        ("undoing", undoing, ""),
        ("abort", failed, "X"),
    ];
    settings().bind(|| {
        for (eye, name) in [(Eye::Sixteen, "16"), (Eye::Mono, "mono")] {
            for size in SIZES {
                for (stage, run, keys) in stages {
                    let mut overview = night(Some(run()));
                    if stage == "acting" {
                        let lines = [
                            "03:11:58 promote: pg_promote on db2",
                            "03:12:01 promote: waiting for timeline 8",
                        ];
                        overview.executions[0].said = lines.map(str::to_owned).to_vec();
                    }
                    let mut console = wizard_at(size, eye, run());
                    console.picture(overview);
                    console.wait(600).press(keys).wait(600);
                    match stage {
                        "typed-half" => drop(console.press("db")),
                        "override" => drop(console.press("known,")),
                        _ => {}
                    }
                    console.wait(9_000);
                    insta::assert_snapshot!(
                        format!("wizard-{stage}-{}x{}-{name}", size.0, size.1),
                        render(&console.buffer())
                    );
                    if eye == Eye::Mono {
                        let strange = console.text().chars().find(|letter| !letter.is_ascii());
                        assert_eq!(strange, None, "{stage} at {size:?}");
                    }
                }
                let mut console = wizard_at(size, eye, acting());
                finish(&mut console);
                console.wait(9_000);
                insta::assert_snapshot!(
                    format!("wizard-ended-{}x{}-{name}", size.0, size.1),
                    render(&console.buffer())
                );
            }
        }
    });
}

#[test]
fn over_its_objective_it_says_so_and_goes_no_further_by_itself() {
    let mut run = run();
    run.started_at = ago(75);
    let mut console = wizard_at((80, 24), Eye::Mono, run);
    assert!(console.shows("75:00 of 60:00 OVER"), "{}", console.text());
    console.wait(120_000);
    assert!(console.commands().is_empty());
}

#[test]
fn no_size_breaks_the_wizard() {
    for columns in [20u16, 59, 60, 61, 72, 79, 99, 100, 101, 200] {
        for rows in [5u16, 16, 17, 18, 20, 24, 60] {
            for run in [run, failing, acting, in_doubt, undoing] {
                let mut console = wizard_at((columns, rows), Eye::Mono, run());
                console.press("enter").wait(600).press("X").wait(600);
                console.buffer();
            }
        }
    }
    let mut looked = wizard_at((60, 16), Eye::Mono, run());
    looked.press("tab");
    assert!(looked.shows("Verify, and close INC-77"), "{}", looked.text());
}
