//! What the line of a job says of each snapshot.

use chrono::DateTime;

use super::*;
use crate::domain::snapshot::{EvidenceFailure, EvidenceLevel, Mark};
use crate::domain::units::Millis;

const MIB: u64 = 1 << 20;

fn at(hour: i64) -> Timestamp {
    DateTime::from_timestamp(1_768_000_000 + hour * 3600, 0).unwrap()
}

fn id(hour: i64) -> SnapshotId {
    SnapshotId(format!("{hour:064}"))
}

/// A snapshot of 1000 MiB and 100 files: so many MiB new, packed to so many, so many files changed.
fn record(hour: i64, new: u64, packed: u64, changed: u64) -> SnapshotRecord {
    SnapshotRecord {
        id: id(hour),
        repository: "vault-a".into(),
        source: Some("documents".into()),
        job: Some("documents".into()),
        run: None,
        kind: "files".to_owned(),
        taken_at: at(hour),
        committed_at: at(hour),
        host: "db1".to_owned(),
        paths: Vec::new(),
        tags: Vec::new(),
        comment: None,
        size: Bytes(1000 * MIB),
        added: Bytes(packed * MIB),
        files: 100,
        changes: Some(Changes {
            new: Bytes(new * MIB),
            files_changed: changed,
            ..Changes::default()
        }),
        duration: Millis(1),
        partial: false,
        errors: 0,
        database: None,
        cluster: None,
        evidence: Evidence {
            level: EvidenceLevel::Written,
            at: at(hour),
            failure: None,
        },
        vanished_at: None,
        pinned: None,
        forgotten: None,
        replaced_by: None,
        expiry: None,
    }
}

/// Nine quiet hours, an encryption in the tenth, a quiet hour after it.
fn attacked() -> Vec<SnapshotRecord> {
    let first = record(0, 1000, 400, 0);
    let quiet = (1..=9).map(|hour| record(hour, 20, 8, 2));
    let mut all: Vec<SnapshotRecord> = std::iter::once(first).chain(quiet).collect();
    all.push(record(10, 900, 900, 90));
    all.push(record(11, 20, 8, 2));
    all
}

fn seen(records: &[SnapshotRecord], found: &[(i64, Found)]) -> Finding {
    let found = found.iter().map(|(hour, what)| (id(*hour), *what)).collect();
    find("documents", records, &found)
}

fn verdict_of(finding: &Finding, hour: i64) -> Verdict {
    let line = finding.snapshots.iter().find(|line| line.id == id(hour));
    line.unwrap_or_else(|| panic!("no {hour}")).verdict
}

#[test]
fn what_comes_after_a_suspect_one_is_not_called_clean() {
    let finding = seen(&attacked(), &[]);
    assert_eq!(
        (&finding.search.clean, &finding.search.bad),
        (&Some(id(9)), &Some(id(10)))
    );
    assert_eq!(verdict_of(&finding, 9), Verdict::Unsuspicious);
    assert_eq!(verdict_of(&finding, 10), Verdict::Suspect);
    assert_eq!(
        verdict_of(&finding, 11),
        Verdict::After,
        "quiet, but over encrypted data"
    );
    assert_eq!(finding.snapshots[10].words(), "suspect: entropy 8.0");
    assert_eq!(finding.snapshots[11].words(), "after a bad one");
    assert_eq!(finding.snapshots[9].words(), "clean by figures");
}

#[test]
fn what_people_found_counts_more_and_narrows_the_bracket() {
    let finding = seen(&attacked(), &[(9, Found::Bad)]);
    assert_eq!(
        (&finding.search.bad, finding.search.next.as_ref()),
        (&Some(id(9)), Some(&id(4)))
    );
    assert_eq!(verdict_of(&finding, 9), Verdict::Bad);
    assert_eq!(verdict_of(&finding, 8), Verdict::Between, "nothing speaks for either");
    let finding = seen(&attacked(), &[(9, Found::Bad), (4, Found::Clean), (6, Found::Clean)]);
    assert_eq!(verdict_of(&finding, 5), Verdict::Unsuspicious, "older than a clean one");
    assert_eq!(verdict_of(&finding, 7), Verdict::Between);
    assert_eq!(finding.search.next, Some(id(8)));
    let finding = seen(&attacked(), &[(8, Found::Clean), (9, Found::Bad)]);
    assert_eq!(
        (finding.search.clean.as_ref(), finding.search.looked_at),
        (Some(&id(8)), true)
    );
    assert_eq!(finding.search.next, None);
}

#[test]
fn the_gone_stay_in_the_line_and_are_no_candidates() {
    let mut records = attacked();
    records[9].vanished_at = Some(at(12));
    records[8].forgotten = Some(Mark {
        by: "ana".to_owned(),
        at: at(12),
        reason: None,
        until: None,
    });
    records[7].evidence.failure = Some(EvidenceFailure {
        level: EvidenceLevel::Restored,
        at: at(12),
        message: "a restore-test failed".to_owned(),
    });
    let finding = seen(&records, &[]);
    assert_eq!(finding.snapshots.len(), 12);
    assert_eq!(
        (finding.snapshots[9].gone, finding.snapshots[8].gone),
        (Some(Gone::Expired), Some(Gone::Trash))
    );
    assert_eq!(
        finding.search.clean,
        Some(id(6)),
        "what failed its restore-test is none"
    );
    assert_eq!(finding.search.bad, Some(id(10)));
}

#[test]
fn what_was_not_counted_is_unknown_until_somebody_looks() {
    let mut records = attacked();
    records[9].changes = None;
    records[8].partial = true;
    let finding = seen(&records, &[]);
    assert_eq!(
        finding.search.clean,
        Some(id(7)),
        "figures never speak for what has none"
    );
    assert_eq!(verdict_of(&finding, 9), Verdict::Uncounted);
    assert_eq!(verdict_of(&finding, 8), Verdict::Incomplete);
    assert_eq!(finding.snapshots[9].figures, None);
    let finding = seen(&records, &[(9, Found::Clean)]);
    assert_eq!((finding.search.clean, finding.search.looked_at), (Some(id(9)), true));
}

#[test]
fn one_whose_words_were_changed_counts_once_and_new_bytes_have_a_median() {
    let mut records = attacked();
    let mut renamed = records[5].clone();
    renamed.id = id(500);
    records[5].replaced_by = Some(id(500));
    records.push(renamed);
    let finding = seen(&records, &[]);
    assert_eq!(finding.snapshots.len(), 12);
    let usual = |place: usize| finding.snapshots[place].figures.unwrap().usual_new;
    assert_eq!(usual(3), None, "too few before it");
    assert_eq!(usual(10), Some(Bytes(20 * MIB)));
    // The document of `--json` keeps its words.
    let json = serde_json::to_value(&finding).unwrap();
    assert_eq!(json["snapshots"][10]["change_rate"], 900);
    assert_eq!(json["snapshots"][10]["encryption"], true);
    assert_eq!(json["snapshots"][10]["files_changed"], 90);
    assert_eq!(json["snapshots"][10]["verdict"], "suspect");
    let back: Finding = serde_json::from_value(json).unwrap();
    assert_eq!(back, finding);
}
