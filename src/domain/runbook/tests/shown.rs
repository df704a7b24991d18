//! What people are shown: plans with the values that are known, reports that say what was reached, text that stays text.

use super::play::*;
use crate::domain::runbook::report::report;
use crate::domain::runbook::show::planned;

#[test]
fn a_plan_says_what_is_known_even_where_something_is_found_out_on_the_way() {
    let mut one = step("a");
    one.action = Action::Command(Program {
        command: ["cp", "{save.snapshot}", "{path}"]
            .map(|word| Template::parse(word).unwrap())
            .into(),
        shell: false,
    });
    one.parallel = Some("both".to_owned());
    one.needs.typed = Some(Template::parse("{path}").unwrap());
    let values = [("path".to_owned(), "/srv/new place".to_owned())].into();
    let planned = planned(&one, &values, false);
    assert_eq!(planned.does, "cp {save.snapshot} '/srv/new place'");
    assert_eq!(planned.proofs, ["the file is there"]);
    assert!(planned.needs.contains("/srv/new place typed"), "{}", planned.needs);
    assert_eq!(
        (planned.parallel.as_deref(), planned.timeout),
        (Some("both"), Some(one.timeout))
    );
}

#[test]
fn nobody_agrees_to_what_needs_no_word() {
    let mut asks = step("asks");
    asks.needs.approval = true;
    let mut play = Play::of(vec![asks, step("free")]);
    play.begin(&wish()).unwrap();
    play.perform("asks", Doing::Look, CheckOutcome::Holds);
    let approve = |step: &str| Saying::Approve { step: step.to_owned() };
    play.say("ben", &approve("asks")).unwrap();
    play.go("asks");
    play.along();
    let refusal = play.say("ben", &approve("free")).unwrap_err();
    assert!(refusal.reason.contains("needs nobody's word"), "{refusal:?}");
}

#[test]
fn a_report_says_what_was_reached_and_its_text_is_no_markup() {
    let mut play = Play::of(vec![step("a"), step("b")]);
    play.begin(&wish()).unwrap();
    play.perform("a", Doing::Look, CheckOutcome::Holds);
    play.go("a");
    play.perform("a", Doing::Look, CheckOutcome::Holds);
    let did = "echo `x`".to_owned();
    play.see("a", StepSeen::Starting { did });
    let outputs = [
        ("output", "one `two`\n# no heading"),
        ("empty", ""),
        ("point", "2026-03-01T02:55:00.250Z"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let end = StepEnd {
        outputs,
        ..StepEnd::default()
    };
    play.see("a", StepSeen::Ended(Box::new(end)));
    let reason = "enough".to_owned();
    play.say("ana", &Saying::Abort { reason, undo: true }).unwrap();
    let Some(RunbookFact::Finished { record }) = play.facts.last() else {
        panic!("it has not ended")
    };
    let text = report(record);
    assert!(
        text.contains("The objective of 10m00s was **not reached**: it was aborted."),
        "{text}"
    );
    assert!(
        text.contains(": the data is of 2026-03-01 02:55:00Z, 16m59s") && text.contains(" before this began\n"),
        "{text}"
    );
    assert!(text.contains("did: `` echo `x` ``"), "{text}");
    assert!(
        text.contains("   - output:\n\n         one `two`\n         # no heading\n"),
        "{text}"
    );
    assert!(!text.contains("empty"), "{text}");
}
