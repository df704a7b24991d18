//! The rules of the console, each without a terminal.

use std::sync::Arc;

use lifeboat::domain::command::Actor;
use lifeboat::domain::event::{Event, EventRecord};
use lifeboat::domain::view::StreamItem;
use lifeboat::tui::message::{Effect, Message};
use lifeboat::tui::place::Place;

use crate::fixture;
use crate::runner::{Eye, Runner};

pub fn console() -> Runner {
    Runner::new((80, 24), Eye::Sixteen)
}

pub fn event(runner: &mut Runner, event: Event) {
    let record = EventRecord {
        seq: 1300,
        at: fixture::now(),
        actor: Actor::agent("vault-1"),
        version: 1,
        event,
        previous_hash: String::new(),
        hash: String::new(),
    };
    runner.tell(Message::Stream(Arc::new(StreamItem::Event {
        record: Box::new(record),
    })));
}

#[test]
fn no_key_outside_the_menu_and_the_palette_changes_anything() {
    let mut console = console();
    for screen in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        console.press(screen);
        for key in "hjklGnNsSfRdLvyzqgg*- []".chars() {
            console.press(&key.to_string());
            console.press("esc");
        }
        console.press("space enter tab C-d C-u enter esc esc");
    }
    assert_eq!(console.commands(), Vec::<String>::new());
}

#[test]
fn a_job_is_run_from_the_menu() {
    let mut console = console();
    console.press("2 gg a");
    assert!(console.shows("Run archive-2019 now"), "{}", console.text());
    console.press("enter");
    assert_eq!(console.commands(), [r#"{"command":"run_job","job":"archive-2019"}"#]);
    assert!(console.shows("job archive-2019 has been started"));
}

#[test]
fn what_cannot_be_done_is_shown_with_its_reason_and_not_done() {
    let mut console = console();
    console.press("2 /").press("orders-db enter a");
    assert!(
        console.shows("not now: run-01hd3k9v2q8r4 is under way"),
        "{}",
        console.text()
    );
    console.press("1");
    assert_eq!(console.commands(), Vec::<String>::new());
    assert!(console.shows("not now"));
}

#[test]
fn a_read_only_console_offers_and_refuses() {
    let mut console = Runner::blank((80, 24), Eye::Sixteen, true, 10);
    console.tell(Message::Attached);
    console.picture(fixture::overview());
    assert!(console.shows(" RO "));
    console.press("2 a 1 2 3 4 enter");
    assert!(console.shows("this console is read-only"), "{}", console.text());
    console.press("esc 6 a 1 2 enter");
    assert_eq!(console.commands(), Vec::<String>::new());
}

#[test]
fn a_dangerous_thing_needs_its_name_typed_and_half_a_second() {
    let mut console = console();
    console.press("2 /").press("catalog enter a 4");
    assert!(
        console.shows("Disable the schedule of catalog-db"),
        "{}",
        console.text()
    );
    // Keys that were on their way are not taken for an answer.
    console.press("catalog-db enter");
    assert!(console.shows("Type catalog-db to go on:"));
    assert_eq!(console.commands(), Vec::<String>::new());
    console.wait(600);
    // The focus is on Cancel: Enter alone cancels.
    console.press("enter");
    assert!(!console.shows("Type catalog-db to go on:"));
    console.press("a 4").wait(600).press("catalog-d enter");
    assert!(
        console.shows("Type catalog-db to go on:"),
        "an almost right name does nothing"
    );
    assert_eq!(console.commands(), Vec::<String>::new());
    console.press("b enter");
    assert_eq!(console.commands().len(), 1);
    assert!(console.commands()[0].contains("disable_job"));
}

#[test]
fn a_name_cannot_be_pasted_into_a_dialog() {
    let mut console = console();
    console.press("2 /").press("catalog enter a 4").wait(600);
    console.tell(Message::Paste("catalog-db".to_owned()));
    console.press("tab enter");
    assert!(console.shows("Type catalog-db to go on:"), "{}", console.text());
    assert_eq!(console.commands(), Vec::<String>::new());
}

#[test]
fn a_restore_is_planned_shown_confirmed_and_then_watched() {
    let mut console = console();
    console.press("3 j a enter");
    assert!(console.shows("step 1 of 2"), "{}", console.text());
    console.press("enter");
    assert!(console.shows("overwrites"), "{}", console.text());
    console.press("G");
    assert!(
        console.shows("restic -r /srv/backup/vault-a dump"),
        "{}",
        console.text()
    );
    assert_eq!(console.commands(), Vec::<String>::new());
    console.press("enter").wait(600);
    assert!(console.shows("system identifier"), "{}", console.text());
    console.press("orders_restored_1120_0312 enter");
    let commands = console.commands();
    assert_eq!(commands.len(), 1);
    assert!(
        commands[0].contains("start_recovery") && commands[0].contains("5f1c0a9e"),
        "bound to the plan: {commands:?}"
    );
    assert_eq!(console.app.place, Place::Recoveries);
    assert!(console.shows("rec-01hd3k9x7a0b2"), "{}", console.text());
}

#[test]
fn a_plan_with_blockers_cannot_be_started() {
    let mut console = console();
    console.press("3 j a enter tab");
    for _ in 0..40 {
        console.press("bs");
    }
    console.press("orders enter");
    assert!(console.shows("This cannot start"), "{}", console.text());
    console.press("enter").wait(600).press("orders enter");
    assert_eq!(console.commands(), Vec::<String>::new());
    console.press("esc");
    assert!(console.shows("step 1 of 2"), "the form is still there");
}

#[test]
fn marked_files_are_restored_together() {
    let mut console = console();
    console.press("3 enter enter enter");
    assert!(console.shows("readme.md"), "{}", console.text());
    console.press("G space").press("k space a enter");
    assert!(console.shows("/srv/documents/readme.md"), "{}", console.text());
    console.press("enter");
    let planned = console
        .asked
        .iter()
        .any(|question| format!("{question:?}").contains("/srv/documents/readme.md"));
    assert!(planned);
}

#[test]
fn silence_is_called_stale_and_nothing_can_be_changed_then() {
    let mut console = console();
    console.wait(11_000);
    assert!(console.shows(" live ") && !console.shows("live 1"));
    console.wait(3_000);
    assert!(console.shows("live 14s"), "{}", console.text());
    console.wait(12_000);
    assert!(console.shows("STALE 26s"), "{}", console.text());
    console.press("2 a 1");
    assert!(
        console.shows("there is no contact with the agent"),
        "{}",
        console.text()
    );
    assert_eq!(console.commands(), Vec::<String>::new());
}

#[test]
fn a_lost_agent_never_ends_the_console_and_is_asked_again_when_it_is_back() {
    let mut console = console();
    console.press("3");
    let before = console.asked.len();
    console.lose();
    assert!(console.shows("STALE"));
    assert!(console.shows("snapshots"), "what was known is still shown");
    console.tell(Message::Attached);
    assert!(console.shows("live") && console.asked.len() > before);
    assert!(
        !console
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Quit { .. }))
    );
}

#[test]
fn without_an_agent_from_the_start_the_console_says_so_and_what_to_do() {
    let mut console = Runner::blank((80, 24), Eye::Sixteen, false, 0);
    console.lose();
    assert!(
        console.shows("NO AGENT") || console.shows("STALE"),
        "{}",
        console.text()
    );
    assert!(console.shows("the agent closed the connection") && console.shows("trying again"));
}

#[test]
fn q_and_esc_never_leave() {
    let mut console = console();
    console.press("3 enter q q q q q esc esc esc");
    assert!(console.effects.is_empty());
    assert_eq!(console.app.place, Place::Overview);
    console.press("C-c");
    assert_eq!(console.effects, [Effect::Quit { leave_screen: false }]);
}

#[test]
fn colon_q_leaves() {
    let mut console = console();
    console.press(": q enter");
    assert_eq!(console.effects, [Effect::Quit { leave_screen: false }]);
}

#[test]
fn the_palette_finds_things_and_actions_by_a_few_letters() {
    let mut console = console();
    console.press(":").press("jobcat enter");
    assert_eq!(console.app.place, Place::Job("catalog-db".into()));
    console.press(":").press("turn order enter");
    assert!(console.app.runs.reverse);
}

#[test]
fn practice_is_offered_in_the_sandbox_only() {
    let mut console = console();
    console.press(":").press("practice");
    assert!(!console.shows("Practice: drop-table"), "{}", console.text());
    let mut overview = fixture::overview();
    overview.practice = Some("This is a sandbox: break something from the palette, then restore it.".to_owned());
    console.press("esc");
    console.picture(overview);
    assert!(console.shows("This is a sandbox"));
    console
        .press(":")
        .press("practice drop enter")
        .wait(600)
        .press("drop-table enter");
    assert_eq!(console.commands(), ["practice drop-table"]);
}

#[test]
fn copying_and_json_are_of_the_row_under_the_cursor() {
    let mut console = console();
    console.press("3 y");
    let id = console.app.snapshots.selected().unwrap().id.0.clone();
    assert_eq!(console.effects, [Effect::Copy(id)]);
    console.press("v");
    assert!(console.shows("\"taken_at\""), "{}", console.text());
}

#[test]
fn any_size_of_terminal_is_survived_on_every_screen() {
    for columns in [0, 1, 2, 7, 19, 20, 21, 40, 59, 60, 61, 79, 99, 100, 101, 300] {
        for rows in [0, 1, 2, 3, 4, 5, 15, 16, 17, 100] {
            let mut console = Runner::new((columns, rows), Eye::Sixteen);
            for keys in [
                "1",
                "2",
                "2 enter",
                "3",
                "3 enter enter enter",
                "4 enter",
                "5 d",
                "6",
                "?",
                ":",
                "3 a",
                "3 a enter enter",
            ] {
                console.press("esc esc esc");
                console.press(keys);
                assert_eq!(console.buffer().area.width, columns);
            }
        }
    }
}

#[test]
fn a_small_terminal_still_says_how_bad_it_is() {
    let mut console = Runner::new((20, 5), Eye::Sixteen);
    for words in ["PROD eu-west", "2 crit  2 warn", "live"] {
        assert!(console.shows(words), "{}", console.text());
    }
    console.press("3 j a");
    console.buffer();
}
