//! A runbook led by lines in a terminal, to its end, while another engineer takes it over on the way.

use crate::led::Site;

#[test]
fn a_runbook_is_led_to_its_end_by_numbered_answers() {
    let site = Site::new();
    let mut seat = site.seat_of(&["--plain"], (100, 50));
    seat.until_heard("Events follow as they happen");
    site.begin("mend-it");
    seat.until_heard("Type the number of a runbook to lead it");
    seat.press("1\r");
    seat.until_heard("step 1 of 3, pending: Write one");
    // What is no answer now is refused with the words of the wizard, and does nothing.
    seat.press("5\r");
    seat.until_heard("Refused: step 1 has not failed");
    seat.press("0\r");
    seat.until_heard("not now: you lead it");
    assert_eq!(site.done(), "");
    seat.press("1\r");
    seat.until_heard("step 2 of 3, pending: Write two");
    assert_eq!(site.done(), "one\n");
    seat.press("1\r");
    seat.until_heard("Type  two  to run:");
    seat.press("tw\r");
    seat.until_heard("type two first");
    assert_eq!(site.done(), "one\n", "half a name is none");

    // Another engineer takes over meanwhile: what was half typed is not said, and the lead comes back only with a reason.
    site.take_over_as("ben", "ana does not answer");
    seat.until_heard("Held by ben since");
    seat.press("two\r");
    seat.until_heard("What is asked has changed; nothing was said.");
    seat.press("1\r");
    seat.until_heard("Refused: held by ben; T takes it over");
    seat.press("T\r");
    seat.until_heard("Reason to take it over:");
    seat.press("I am back\r");
    seat.until_heard_again("Press enter, then type  two");
    seat.press("1\r");
    seat.until_heard_again("Type  two  to run:");
    assert_eq!(site.done(), "one\n");

    seat.press("two\r");
    seat.until("it is at work", |_| site.done() == "one\ntwo\n");
    site.let_go();
    seat.until_heard("step 3 of 3, pending: Tell everybody");
    seat.press("1\r");
    seat.until_heard("has ended; its report: lifeboat runbook report rb-");
    assert_eq!(site.done(), "one\ntwo\n", "each was done once");
    assert!(!seat.heard().contains("\u{1b}["), "lines, and nothing that draws");
}
