//! Lines instead of screens: a runbook led by numbered answers, with the refusals of the wizard.

use lifeboat::domain::runbook::check::CheckOutcome;
use lifeboat::domain::runbook::{RunbookRun, StepState};
use lifeboat::tui::plain::lead::Talk;

use crate::fixture::ago;
use crate::runbooks::{RUN, console_at, night, record, result, run, word};
use crate::runner::{Eye, Runner};

/// A conversation, and everything that was printed.
struct Lines {
    console: Runner,
    talk: Talk,
    printed: Vec<String>,
}

impl Lines {
    fn new(run: Option<RunbookRun>) -> Self {
        let console = console_at((100, 50), Eye::Mono, run);
        let mut lines = Self {
            console,
            talk: Talk::default(),
            printed: Vec::new(),
        };
        lines.printed = lines.talk.picture(&lines.console.app);
        lines
    }

    /// Types a line; what is printed because of it.
    fn say(&mut self, text: &str) -> String {
        self.console.wait(700);
        let (mut lines, effects) = self.talk.line(&mut self.console.app, text);
        self.console.perform(effects);
        lines.extend(self.talk.heard(&mut self.console.app));
        self.printed.extend(lines.clone());
        lines.join("\n")
    }

    fn picture(&mut self, run: Option<RunbookRun>) -> String {
        self.console.wait(700);
        self.console.picture(night(run));
        let mut lines = self.talk.heard(&mut self.console.app);
        lines.extend(self.talk.picture(&self.console.app));
        lines.join("\n")
    }

    fn said(&self) -> Vec<serde_json::Value> {
        let commands = self.console.commands();
        let parsed = commands
            .iter()
            .map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
        parsed.map(|command| command["saying"].clone()).collect()
    }
}

fn doubtful() -> RunbookRun {
    let mut run = run();
    run.steps[2].state = StepState::InDoubt;
    run.steps[2].attempt = 1;
    run.steps[2].started_at = Some(ago(1));
    run.steps[2].evidence = vec![result("db2 is writable", CheckOutcome::Unknown, "it does not answer")];
    run
}

#[test]
fn what_is_under_way_is_printed_once_and_again_when_it_changes() {
    let mut lines = Lines::new(Some(run()));
    let first = lines.printed.join("\n");
    let summary =
        format!("runbook 1: REAL of failover-orders, {RUN}, led by ana, step 3 of 6: Promote db2; waits for somebody");
    assert!(first.contains(&summary), "{first}");
    assert_eq!(lines.picture(Some(run())), "", "nothing is new");
    let mut paused = run();
    paused.paused = Some(word("ben", 1, "wait for the DBA"));
    assert!(lines.picture(Some(paused)).contains("; paused"));
    let none = Lines::new(None).say("1");
    assert!(none.contains("lifeboat runbook run NAME"), "{none}");
}

#[test]
fn a_step_is_led_by_numbers_and_its_target_is_typed() {
    let mut lines = Lines::new(Some(run()));
    let question = lines.say("1");
    for words in [
        "step 3 of 6, pending: Promote db2",
        "lifeboat cluster promote orders db2",
        "NOT REVERSIBLE",
        "[ok] db2 of orders is a standby",
        "1 or enter: Go, or done: step 3",
    ] {
        assert!(question.contains(words), "{words}: {question}");
    }
    assert!(
        !question.contains("not now"),
        "what is refused is shown when it is asked for: {question}"
    );
    assert!(
        lines
            .say("0")
            .contains("Say that step 3 was done; not now: step 3 is not in doubt")
    );
    let asked = lines.say("1");
    assert!(asked.contains("Type  db2  to run:"), "{asked}");
    assert!(lines.say("db1").contains("type db2 first"));
    assert!(lines.said().is_empty(), "another name is none");
    lines.say("db2");
    assert_eq!(lines.said()[0]["say"], "go");
    assert_eq!(lines.said()[0]["typed"], "db2");
    // An empty line says nothing, and neither do nonsense and a line for another question.
    assert_eq!(lines.say(""), "");
    assert!(lines.say("ninety").contains("no answer here"));
    assert_eq!(lines.said().len(), 1);
}

#[test]
fn every_word_of_the_wizard_has_a_number_and_the_same_refusals() {
    let mut lines = Lines::new(Some(run()));
    lines.say("1");
    assert!(lines.say("w").contains("Refused: step 3 is not in doubt"));
    assert!(lines.say("3").contains("Refused: nothing stands in its way"));
    assert!(lines.say("4").contains("Reason to pass it over"));
    assert!(lines.say("").contains("Nothing was said"));
    lines.say("s");
    let refused = lines.say("refuse");
    assert!(
        refused.contains("Refused: step promote is already under way, begun by ben"),
        "{refused}"
    );
    lines.say("c");
    lines.say("p");
    lines.say("wait for the DBA");
    let words: Vec<String> = lines
        .said()
        .iter()
        .map(|said| said["say"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(words, ["skip", "recheck", "pause"]);
    let mut lines = Lines::new(Some(doubtful()));
    lines.say("1");
    assert!(lines.say("1").contains("Refused: look at it first"));
    lines.say("6");
    lines.say("its log says so");
    assert_eq!(lines.said()[0]["say"], "was_done");
    assert_eq!(lines.said()[0]["reason"], "its log says so");
}

#[test]
fn who_does_not_lead_agrees_and_takes_over() {
    let mut held = run();
    "ben".clone_into(&mut held.held_by);
    let mut lines = Lines::new(Some(held));
    let question = lines.say("1");
    assert!(question.contains("Held by ben"), "{question}");
    assert!(lines.say("1").contains("Refused: held by ben"));
    lines.say("T");
    lines.say("ben lost his line");
    assert_eq!(lines.said()[0]["say"], "take");
}

#[test]
fn a_text_is_not_said_of_another_question() {
    let mut lines = Lines::new(Some(run()));
    lines.say("1");
    lines.say("s");
    let mut failing = run();
    failing.steps[2].checked = None;
    lines.picture(Some(failing));
    let answer = lines.say("no time for it");
    assert!(
        answer.contains("What is asked has changed; nothing was said."),
        "{answer}"
    );
    assert!(lines.said().is_empty());
}

#[test]
fn an_abort_lists_what_was_done_and_needs_a_reason_and_the_name() {
    let mut lines = Lines::new(Some(run()));
    lines.say("1");
    let list = lines.say("X");
    assert!(
        list.contains("Keep writers from the old primary") && list.contains("taken back by"),
        "{list}"
    );
    assert!(lines.say("maybe").contains("y or n"));
    lines.say("y");
    lines.say("the standby is broken");
    assert!(lines.say("failover").contains("type failover-orders to end it"));
    assert!(lines.said().is_empty());
    lines.say("failover-orders");
    assert_eq!(lines.said()[0]["say"], "abort");
    assert_eq!(lines.said()[0]["undo"], true);
    lines.say("X");
    assert!(lines.say("").contains("Nothing was ended"));
    assert_eq!(lines.said().len(), 1);
}

#[test]
fn leaving_ends_nothing_and_the_end_is_said() {
    let mut lines = Lines::new(Some(run()));
    lines.say("1");
    assert!(lines.say("q").contains("it goes on"));
    assert!(lines.said().is_empty());
    lines.say("1");
    let ended = lines.picture(None);
    assert!(ended.contains(&format!("{RUN} has ended")), "{ended}");
    assert_eq!(record().run.id.as_str(), RUN);
    lines.console.lose();
    let mut lines = Lines::new(Some(run()));
    lines.say("1");
    lines.console.lose();
    assert!(
        lines.say("c").contains("there is no contact"),
        "nothing is said without an agent"
    );
    assert!(lines.said().is_empty());
}
