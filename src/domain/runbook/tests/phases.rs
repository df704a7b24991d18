//! Where the time of an execution goes.

use super::play::*;

#[test]
fn the_time_before_it_began_is_that_of_noticing() {
    let mut play = Play::of(vec![step("a")]);
    let happened = play.now - chrono::Duration::minutes(17);
    let wish = StartRunbook {
        incident_at: Some(happened),
        ..wish()
    };
    play.begin(&wish).unwrap();
    play.along();
    play.go("a");
    play.along();
    let fact = play.facts.last().unwrap();
    let RunbookFact::Finished { record } = fact else {
        panic!("{fact:?}")
    };
    let phases = record.run.phases(record.finished_at);
    assert_eq!(phases[0], (Phase::Detect, Millis::from_secs(17 * 60)));
    assert_eq!(phases[1].0, Phase::Restore);
    let sum: u64 = phases.iter().map(|(_, took)| took.0).sum();
    assert_eq!(sum, record.took().0, "every second is accounted for");
    let report = super::super::report::report(record);
    assert!(report.contains("- incident: 2026-03-01 02:55:00Z"), "{report}");
}
