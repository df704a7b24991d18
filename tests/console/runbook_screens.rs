//! Runbooks on the screens: the list, the detail, the way to an execution, and the history.

use lifeboat::domain::alert::AlertKind;
use lifeboat::domain::id::RunbookRunId;
use lifeboat::tui::link::Question;
use lifeboat::tui::place::Place;

use crate::fixture::now;
use crate::runbooks::{RUN, book, console_at, night, run};
use crate::runner::{Eye, Runner};
use crate::screens::{SIZES, render, settings};

fn console() -> Runner {
    console_at((80, 24), Eye::Mono, None)
}

#[test]
fn the_list_says_what_is_ready_and_the_detail_is_the_document() {
    let mut console = console();
    console.press("5");
    for words in ["asks 2", "NO", "not here", "3d completed", "5w FAILED", "never"] {
        assert!(console.shows(words), "{words}: {}", console.text());
    }
    console.press("gg j enter");
    for words in [
        "Runbook failover-orders",
        "has to be said first",
        "cluster: ",
        "standby: ",
    ] {
        assert!(console.shows(words), "{words}: {}", console.text());
    }
    console.press("G");
    assert!(
        console.shows("When it is over") || console.shows("when it is over"),
        "{}",
        console.text()
    );
    console.press("gg C-d C-d");
    assert!(console.shows("undo"), "{}", console.text());
    assert!(console.commands().is_empty());
}

#[test]
fn why_a_runbook_is_not_ready_is_said_and_it_is_asked_again_with_a_key() {
    let mut console = console_at((160, 50), Eye::Mono, None);
    console.press("5 gg");
    assert!(console.shows("looked at"), "{}", console.text());
    assert!(console.shows("again in 18m; c asks now"), "{}", console.text());
    console.press("c");
    let asked = console
        .asked
        .iter()
        .any(|question| matches!(question, Question::Readiness(_)));
    assert!(asked, "{:?}", console.asked);
    assert!(
        console.shows("is not ready: look: db2 is a standby"),
        "{}",
        console.text()
    );
    assert!(console.commands().is_empty(), "asking changes nothing");
    // Where the cursor is on no runbook, it is said what the key is for.
    console.wait(20_000).press("1 c");
    assert!(console.shows("asked on screen 5"), "{}", console.text());
}

#[test]
fn an_execution_under_way_stands_first_on_the_overview_and_in_the_list() {
    let mut console = console_at((80, 24), Eye::Mono, Some(run()));
    assert!(console.shows("failover-orders  REAL WAITS"), "{}", console.text());
    console.press("5 gg");
    assert!(console.shows("led by ana"), "{}", console.text());
    console.press("enter");
    assert_eq!(console.app.place, Place::Wizard(RunbookRunId::from(RUN)));
}

#[test]
fn what_is_not_here_cannot_be_begun() {
    let mut console = console();
    console.press("5 G k a 1");
    assert!(
        console.shows("not now: there is no source of kind redis"),
        "{}",
        console.text()
    );
    assert!(
        console
            .asked
            .iter()
            .all(|question| !format!("{question:?}").contains("PlanRunbook"))
    );
}

#[test]
fn the_real_thing_begins_only_from_its_plan_and_after_its_name_was_typed() {
    let mut console = console();
    console.press("7 5 gg j a 1");
    assert!(
        console.shows("REAL") && console.shows("Which cluster fails over?"),
        "{}",
        console.text()
    );
    // Tab offers the names the console has seen.
    console.press("tab");
    assert!(console.shows("orders"), "{}", console.text());
    console.press("enter");
    assert!(console.shows("Still to be said: standby"), "{}", console.text());
    console.press("enter");
    assert!(console.shows("say standby first"), "{}", console.text());
    console.press("esc down").press("db2").press("enter");
    for words in ["bound to", "1 check not met now", "fence-orders --cluster orders"] {
        assert!(console.shows(words), "{words}: {}", console.text());
    }
    assert!(console.commands().is_empty());
    console.press("enter");
    console.press("failover-orders enter");
    assert!(console.commands().is_empty(), "keys on their way are not an answer");
    console.wait(600);
    assert!(console.shows("Run failover-orders for real"), "{}", console.text());
    console.press("failover-order enter");
    assert!(console.commands().is_empty(), "almost is not typed");
    console.press("s enter");
    let hash = book().hash;
    let wanted = format!(
        r#"{{"command":"start_runbook","wish":{{"runbook":"failover-orders","drill":false,"unattended":false,"set":{{"cluster":"orders","standby":"db2","ticket":"INC-77"}},"hash":"{hash}","incident_at":null}}}}"#
    );
    assert_eq!(console.commands(), [wanted]);
    assert_eq!(console.app.place, Place::Wizard(RunbookRunId::from(RUN)));
}

#[test]
fn a_drill_begins_from_its_plan() {
    let mut console = console();
    console.press("5 gg j a 2");
    console.press("orders down").press("db2 enter enter");
    let commands = console.commands();
    assert!(
        commands.len() == 1 && commands[0].contains(r#""drill":true"#),
        "{commands:?}"
    );
}

#[test]
fn a_value_that_is_refused_is_said_in_the_form() {
    let mut console = console();
    console.press("5 gg j a 2");
    console
        .press("orders down")
        .press("db2 down C-u")
        .press("nonsense enter");
    assert!(console.shows("is not a ticket"), "{}", console.text());
    assert!(console.shows("Under which ticket?"), "{}", console.text());
}

#[test]
fn an_alert_leads_to_the_runbook_that_fits() {
    let mut overview = night(None);
    for alert in &mut overview.alerts {
        alert.kind = AlertKind::PageChecksum;
    }
    let mut console = Runner::new((80, 24), Eye::Mono);
    console.press("6");
    console.picture(overview);
    console.press("gg enter");
    assert!(console.shows("database-corruption: Bring back"), "{}", console.text());
    console.press("esc a");
    assert!(console.shows("Run database-corruption for real"), "{}", console.text());
}

#[test]
fn the_history_of_executions_leads_to_their_reports() {
    let mut console = console();
    console.press("5 H");
    assert!(
        console.shows("DRILL") && console.shows("completed"),
        "{}",
        console.text()
    );
    console.press("enter");
    assert!(
        console.shows("not as the document says") || console.shows("DRILL:"),
        "{}",
        console.text()
    );
    console.press("S");
    let saved = console
        .effects
        .iter()
        .any(|effect| format!("{effect:?}").contains(".md"));
    assert!(saved, "{:?}", console.effects);
}

#[test]
fn runbooks_as_they_look() {
    settings().bind(|| {
        for (eye, name) in [(Eye::Sixteen, "16"), (Eye::Mono, "mono")] {
            for size in SIZES {
                for (screen, keys) in [
                    ("runbooks", "5 gg j j"),
                    ("runbook-document", "5 gg j j enter"),
                    ("runbook-history", "5 H"),
                    ("runbook-form", "7 5 gg j j a tab enter o"),
                    ("runbook-plan", "7 5 gg j j a tab enter orders down db2 enter"),
                ] {
                    let mut console = console_at(size, eye, Some(run()));
                    // The menu's first choice is the real thing.
                    console.press(&keys.replace("tab enter", "1"));
                    console.wait(9_000);
                    let _ = now();
                    insta::assert_snapshot!(
                        format!("{screen}-{}x{}-{name}", size.0, size.1),
                        render(&console.buffer())
                    );
                }
            }
        }
    });
}
