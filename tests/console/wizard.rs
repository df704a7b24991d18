//! The wizard: what each key says and when it says nothing, and how every state of an execution looks.

use std::sync::Arc;

use lifeboat::domain::command::Actor;
use lifeboat::domain::event::{EVENT_VERSION, Event, EventRecord};
use lifeboat::domain::runbook::{RunbookFact, RunbookRun, StepState};
use lifeboat::domain::view::StreamItem;
use lifeboat::tui::message::{Effect, Message};
use lifeboat::tui::place::Place;

use crate::fixture::now;
use crate::runbooks::{RUN, console_at, night, record, run, word};
use crate::runner::{Eye, Runner};
use crate::states::{acting, approval, failed, failing, held, in_doubt, paused, undoing};

pub fn wizard_at(size: (u16, u16), eye: Eye, run: RunbookRun) -> Runner {
    let mut console = console_at(size, eye, Some(run));
    console.press("5 gg enter").wait(600);
    console
}

fn wizard(run: RunbookRun) -> Runner {
    wizard_at((80, 24), Eye::Mono, run)
}

/// The words said to the agent.
fn said(console: &Runner) -> Vec<String> {
    let prefix = format!(r#"{{"command":"say_in_runbook","run":"{RUN}","saying":"#);
    let commands = console.commands();
    commands
        .iter()
        .map(|command| command.strip_prefix(&prefix).unwrap().trim_end_matches('}').to_owned())
        .collect()
}

/// Types words into a prompt.
fn type_in(console: &mut Runner, text: &str) {
    for (place, word) in text.split(' ').enumerate() {
        if place > 0 {
            console.press("space");
        }
        console.press(word);
    }
}

pub fn finish(console: &mut Runner) {
    let record = Box::new(record());
    tell(console, RunbookFact::Finished { record });
    console.picture(night(None));
}

fn tell(console: &mut Runner, fact: RunbookFact) {
    let event = Event::Runbook { run: RUN.into(), fact };
    let record = EventRecord {
        seq: 1300,
        at: now(),
        actor: Actor::agent("vault-1"),
        version: EVENT_VERSION,
        event,
        previous_hash: String::new(),
        hash: String::new(),
    };
    let record = Box::new(record);
    console.tell(Message::Stream(Arc::new(StreamItem::Event { record })));
}

#[test]
fn the_target_is_typed_before_anything_runs() {
    let mut console = wizard(run());
    for words in [
        "Promote db2",
        "NOT REVERSIBLE",
        "lifeboat cluster promote orders db2",
        "[ok]",
        "REAL",
    ] {
        assert!(console.shows(words), "{words}: {}", console.text());
    }
    console.press("enter");
    assert!(console.shows("Type  db2  to run:"), "{}", console.text());
    console.wait(600).press("enter enter d b enter");
    assert!(said(&console).is_empty(), "half a name is none");
    assert!(console.shows("type db2 first"), "{}", console.text());
    console.tell(Message::Paste("2".to_owned()));
    console.press("enter");
    assert!(said(&console).is_empty(), "a name is typed, not pasted");
    console.press("2 enter");
    assert_eq!(
        said(&console),
        [r#"{"say":"go","step":"promote","attempt":0,"typed":"db2""#]
    );
}

#[test]
fn keys_that_led_here_do_not_lead_through() {
    // A manual step needs no more than Enter: that is where a key held too long would do harm.
    let mut first = run();
    first.steps[0] = lifeboat::domain::runbook::StepRun::default();
    first.steps[1] = lifeboat::domain::runbook::StepRun::default();
    let mut console = console_at((80, 24), Eye::Mono, Some(first));
    console.press("5 gg enter enter enter");
    assert!(said(&console).is_empty(), "within half a second of arriving");
    console.wait(600).press("enter enter enter");
    assert_eq!(
        said(&console).len(),
        1,
        "the second Enter comes too soon after the first"
    );
    // The next question comes: Enter for the one before is on its way.
    console.wait(600);
    console.picture(night(Some(run())));
    console.press("enter d b 2 enter");
    assert_eq!(said(&console).len(), 1);
    console.wait(600).press("enter");
    assert!(console.shows("Type  db2  to run:"), "{}", console.text());
    // Letters right after the prompt opened are those of the step before.
    console.press("db2 enter");
    assert_eq!(said(&console).len(), 1);
    assert!(!console.shows("to run: db2"), "{}", console.text());
}

#[test]
fn what_is_typed_is_not_said_of_another_question() {
    let mut console = wizard(run());
    console.press("enter").wait(600).press("db2");
    console.picture(night(Some(acting())));
    assert!(console.shows("was not said"), "{}", console.text());
    console.wait(600).press("enter");
    assert!(said(&console).is_empty());
    // A check that turns while one types stops the hand.
    let mut console = wizard(run());
    console.press("enter").wait(600).press("db2");
    console.picture(night(Some(failing())));
    console.press("enter");
    assert!(said(&console).is_empty(), "{:?}", said(&console));
}

#[test]
fn a_check_that_fails_stops_enter_and_is_set_aside_only_with_a_reason() {
    let mut console = wizard(failing());
    assert!(console.shows("[!!] db2 of orders is a standby"), "{}", console.text());
    console.press("enter");
    assert!(console.shows("Refused: a check does not hold"), "{}", console.text());
    console.press("c").wait(600).press("o").wait(600).press("enter");
    assert!(console.shows("a reason is needed"), "{}", console.text());
    type_in(&mut console, "known, INC-77");
    console.press("enter");
    assert_eq!(
        said(&console),
        [
            r#"{"say":"recheck","step":"promote""#,
            r#"{"say":"override","step":"promote","reason":"known, INC-77""#
        ]
    );
}

#[test]
fn a_step_in_doubt_is_unknown_and_a_person_settles_it() {
    let mut console = wizard(in_doubt());
    assert!(
        console.shows("UNKNOWN") && console.shows("[??  ]"),
        "{}",
        console.text()
    );
    console.press("enter");
    assert!(console.shows("Refused: look at it first"), "{}", console.text());
    console.press("w").wait(600);
    type_in(&mut console, "the log says so");
    console.press("enter");
    assert_eq!(
        said(&console),
        [r#"{"say":"was_done","step":"promote","reason":"the log says so""#]
    );
}

#[test]
fn a_failure_is_done_again_passed_over_or_ended() {
    let mut console = wizard(failed());
    assert!(console.shows("db2 was not promoted"), "{}", console.text());
    console.press("r").wait(600).press("s").wait(600).press("later enter");
    assert_eq!(
        said(&console),
        [
            r#"{"say":"retry","step":"promote""#,
            r#"{"say":"skip","step":"promote","reason":"later""#
        ]
    );
}

#[test]
fn a_refusal_of_the_agent_is_said_where_the_eye_is() {
    let mut console = wizard(run());
    console.press("s").wait(600).press("refuse enter");
    assert!(
        console.shows("Refused: step promote is already under way, begun by ben"),
        "{}",
        console.text()
    );
}

#[test]
fn who_does_not_lead_sees_who_does_and_takes_over_with_a_reason() {
    let mut console = wizard(held());
    assert!(console.shows("Held by ben"), "{}", console.text());
    for key in ["enter", "c", "o", "s", "r", "w", "u", "e", "X", "A"] {
        console.press(key).wait(600).press("enter");
    }
    assert!(said(&console).is_empty(), "{:?}", said(&console));
}

#[test]
fn taking_over_needs_a_reason() {
    let mut console = wizard(held());
    console.press("T").wait(600).press("enter");
    assert!(said(&console).is_empty());
    type_in(&mut console, "ben lost his line");
    console.press("enter");
    assert_eq!(said(&console), [r#"{"say":"take","reason":"ben lost his line""#]);
}

#[test]
fn who_has_led_hears_of_it_when_somebody_takes_over() {
    let mut console = wizard(run());
    tell(
        &mut console,
        RunbookFact::Taken {
            word: word("ben", 0, "ana lost her line"),
        },
    );
    assert!(
        console.shows("ben leads failover-orders from here on: ana lost her line"),
        "{}",
        console.text()
    );
    let mut taken = held();
    taken
        .words
        .push(("taken over".to_owned(), word("ben", 0, "ana lost her line")));
    console.picture(night(Some(taken)));
    console.wait(9_000);
    assert!(
        console.shows("Held by ben since 03:12 (ana lost her line); T takes it over"),
        "{}",
        console.text()
    );
}

#[test]
fn the_footer_names_what_helps_and_not_what_does_nothing() {
    // A manual step has no checks to ask again.
    let mut first = run();
    first.steps[0] = lifeboat::domain::runbook::StepRun::default();
    let mut console = wizard(first);
    assert!(!console.shows("check again"), "{}", console.text());
    console.press("c");
    assert!(console.shows("Refused: it has no checks"), "{}", console.text());
    // In doubt, what settles it comes first, and where only one thing fits, so does the way to the other.
    let console = wizard_at((60, 16), Eye::Mono, in_doubt());
    let text = console.text();
    let footer = text.lines().last().unwrap_or_default();
    assert!(
        footer
            .trim_start()
            .starts_with("w was done  r again  s skip  tab steps"),
        "{footer}"
    );
}

#[test]
fn the_key_that_tries_again_is_named_as_it_is_pressed() {
    let mut stuck = failed();
    stuck.ending = undoing().ending;
    stuck.steps[1].state = StepState::UndoFailed;
    let mut console = wizard(stuck);
    // `R` asks the agent for everything anew, and takes nothing back.
    assert!(console.shows("back: r tries again, u leaves it"), "{}", console.text());
    console.press("r");
    assert_eq!(said(&console), [r#"{"say":"undo_again","step":"fence""#]);
}

#[test]
fn the_second_engineer_agrees_and_whoever_leads_cannot() {
    let mut console = wizard(approval());
    console.press("A");
    assert!(console.shows("you lead it, so somebody else"), "{}", console.text());
    assert!(said(&console).is_empty());
    let mut run = approval();
    "ben".clone_into(&mut run.held_by);
    let mut console = wizard(run);
    assert!(console.shows("Your word is wanted"), "{}", console.text());
    console.press("A");
    assert_eq!(said(&console), [r#"{"say":"approve","step":"agree""#]);
}

#[test]
fn a_pause_has_a_reason_and_ends_with_a_key() {
    let mut console = wizard(run());
    console.press("p").wait(600).press("lunch enter");
    assert_eq!(said(&console), [r#"{"say":"pause","reason":"lunch""#]);
    let mut console = wizard(paused());
    assert!(console.shows("PAUSED by ben: wait for the DBA"), "{}", console.text());
    console.press("p");
    assert_eq!(said(&console), [r#"{"say":"resume""#]);
}

#[test]
fn an_abort_says_what_was_done_and_needs_a_reason_and_the_name() {
    let mut console = wizard(failed());
    console.press("X");
    for words in [
        "Promote db2: no undo",
        "taken back by: fence-orders --lift",
        "leave it as it is",
    ] {
        assert!(console.shows(words), "{words}: {}", console.text());
    }
    console.press("enter enter enter").wait(600).press("space enter enter");
    assert!(console.shows("a reason is needed"), "{}", console.text());
    console.press("broken enter failover-order enter");
    assert!(said(&console).is_empty(), "{:?}", said(&console));
    console.press("s enter");
    assert_eq!(said(&console), [r#"{"say":"abort","reason":"broken","undo":true"#]);
}

#[test]
fn leaving_is_not_ending_and_looking_says_nothing() {
    let mut console = wizard(run());
    console.press("k k j G gg tab C-d C-u v esc L esc ? esc");
    assert!(console.shows("Step 1"), "{}", console.text());
    console.press("esc");
    assert!(console.shows("Step 3"), "back to its turn: {}", console.text());
    console.press("esc");
    assert_eq!(console.app.place, Place::Runbooks);
    assert!(console.commands().is_empty());
}

#[test]
fn everything_is_in_the_menu_with_its_reason() {
    let mut console = wizard(run());
    console.press("a");
    assert!(
        console.shows("Go, or done: step 3") && console.shows("not now: you lead it"),
        "{}",
        console.text()
    );
    console.press("1");
    assert!(console.shows("Type  db2  to run:"), "{}", console.text());
    console.press("esc");
    // From elsewhere a choice leads into the wizard first.
    console.press("1 5 gg a 1").wait(600).press("db2 enter");
    assert_eq!(said(&console).len(), 1);
}

#[test]
fn nothing_is_said_without_contact_or_from_a_read_only_console() {
    let mut console = wizard(run());
    console.lose();
    console.press("enter");
    assert!(
        console.shows("there is no contact with the agent"),
        "{}",
        console.text()
    );
    console.tell(Message::Attached);
    console.wait(600).press("enter");
    assert!(console.shows("Type  db2  to run:"), "{}", console.text());
    assert!(said(&console).is_empty());
    let mut console = Runner::blank((80, 24), Eye::Mono, true, 10);
    console.tell(Message::Attached);
    console.picture(night(Some(failing())));
    console.press("5 gg enter").wait(600);
    for key in ["enter", "c", "o", "s", "p", "T", "X"] {
        console.press(key).wait(600);
    }
    assert!(console.shows("this console is read-only"), "{}", console.text());
    assert!(console.commands().is_empty());
}

#[test]
fn at_the_end_there_is_the_report_to_copy_and_save() {
    let mut console = wizard(acting());
    finish(&mut console);
    assert!(console.shows("completed with deviations"), "{}", console.text());
    console.press("y S");
    let text = |effect: &Effect| match effect {
        Effect::Copy(text) | Effect::Save(_, text) => text.contains("Fail orders over"),
        _ => false,
    };
    assert_eq!(console.effects.iter().filter(|effect| text(effect)).count(), 2);
    console.press("G gg").press("j j");
    assert!(console.commands().is_empty());
}
