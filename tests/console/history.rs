//! The history of that night: snapshots, runs, recoveries, the journal, files and plans.

use std::collections::BTreeMap;

use lifeboat::domain::alert::AlertKind;
use lifeboat::domain::command::Actor;
use lifeboat::domain::event::{Event, EventRecord};
use lifeboat::domain::id::JobName;
use lifeboat::domain::recovery::{
    Finding, PhaseTime, RecoveryPhase, RecoveryPlan, RecoveryRecord, RecoveryRequest, RecoveryTarget,
};
use lifeboat::domain::run::{Failure, Outcome, RunRecord, RunStats, Trigger};
use lifeboat::domain::snapshot::{
    DatabaseFacts, Evidence, EvidenceFailure, EvidenceLevel, Expiry, Mark, SnapshotRecord,
};
use lifeboat::domain::{Bytes, Millis};

pub use crate::contents::{content, tree};
use crate::fixture::{ago, alerts, request, snapshot_id};

fn database_facts() -> DatabaseFacts {
    let tables = [
        ("public.customers", 48_210),
        ("public.order_lines", 1_204_881),
        ("public.orders", 310_402),
    ];
    DatabaseFacts {
        name: "orders".to_owned(),
        server_version: "15.14".to_owned(),
        tool_version: "15.14".to_owned(),
        system_identifier: Some("7412098812345678901".to_owned()),
        row_counts: tables
            .into_iter()
            .map(|(name, rows)| (name.to_owned(), rows))
            .collect::<BTreeMap<_, _>>(),
        tables: 23,
    }
}

/// One snapshot of many; the number decides everything about it.
pub fn snapshot(number: u64) -> SnapshotRecord {
    let minutes = i64::try_from(number * 15 + 2).unwrap();
    let (job, kind) = match number % 4 {
        0 => ("documents", "files"),
        1 => ("orders-db", "postgres-dump"),
        2 => ("orders-uploads", "files"),
        _ => ("catalog-db", "postgres-dump"),
    };
    let level = match number % 7 {
        0 => EvidenceLevel::Written,
        1 => EvidenceLevel::Probed,
        2 => EvidenceLevel::Checksummed,
        3 => EvidenceLevel::Decoded,
        _ => EvidenceLevel::Restored,
    };
    let failure = (number % 11 == 4).then(|| EvidenceFailure {
        level: EvidenceLevel::Decoded,
        at: ago(minutes - 1),
        message: "blob 3f2a91c0 has another hash than its name; pack a81e4420 is damaged".to_owned(),
    });
    let level = if failure.is_some() {
        EvidenceLevel::Written
    } else {
        level
    };
    let partial = number % 13 == 6;
    SnapshotRecord {
        id: snapshot_id(number),
        repository: "vault-a".into(),
        source: Some(job.into()),
        job: Some(job.into()),
        run: Some("run-01hd3k9v2q8r4".into()),
        kind: kind.to_owned(),
        taken_at: ago(minutes),
        committed_at: ago(minutes - 1),
        host: "db1".to_owned(),
        paths: vec![if kind == "files" {
            format!("/srv/{job}")
        } else {
            "/orders".to_owned()
        }],
        tags: vec!["nightly".to_owned()],
        comment: (number == 1).then(|| "before the migration of INC-77".to_owned()),
        size: Bytes((1 << 30) + number * 37 * (1 << 20)),
        added: Bytes(if number == 5 {
            700 << 20
        } else {
            (3 << 20) + number * 111_111
        }),
        files: 1204 + number,
        changes: None,
        duration: Millis(42_000 + number * 97),
        partial,
        errors: if partial { 3 } else { 0 },
        database: (kind == "postgres-dump").then(database_facts),
        cluster: None,
        evidence: Evidence {
            level,
            at: ago((minutes - 3).max(1)),
            failure,
        },
        vanished_at: (number == 9).then(|| ago(60)),
        pinned: (number == 2).then(|| Mark {
            by: "ana".to_owned(),
            at: ago(20),
            reason: Some("evidence for INC-77".to_owned()),
            until: None,
        }),
        forgotten: None,
        replaced_by: None,
        expiry: (number != 2).then(|| Expiry {
            due: number == 8,
            at: (number != 8 && number > 3).then(|| ago(-60 * 24 * 3)),
            why: if number == 8 {
                "no rule keeps it"
            } else {
                "last 1/3, daily 2/7"
            }
            .to_owned(),
        }),
    }
}

/// The snapshots in the trash.
pub fn trashed() -> Vec<SnapshotRecord> {
    let one = |number: u64| SnapshotRecord {
        forgotten: Some(Mark {
            by: if number == 41 { "ana" } else { "agent" }.to_owned(),
            at: ago(i64::try_from(number).unwrap() * 9),
            reason: Some(if number == 41 {
                "taken before the disk was full; of no use".to_owned()
            } else {
                "retention of job orders-db: last 3, daily 7, weekly 4".to_owned()
            }),
            until: Some(ago(-60 * 24 * 6)),
        }),
        vanished_at: None,
        expiry: None,
        ..snapshot(number)
    };
    [41, 45, 49].map(one).into()
}

/// The runs of a job, newest first.
pub fn runs(job: &JobName) -> Vec<RunRecord> {
    let run = |number: u64| {
        let outcome = match number {
            1 if job.0 == "documents" => Outcome::Failed,
            5 => Outcome::Partial,
            9 => Outcome::Cancelled,
            _ => Outcome::Succeeded,
        };
        let end = ago(i64::try_from(number * 15 + 2).unwrap());
        RunRecord {
            id: format!("run-01hd3k{number:07}").into(),
            job: job.clone(),
            trigger: if number == 3 {
                Trigger::Manual { by: "ana".to_owned() }
            } else {
                Trigger::Schedule { due: end }
            },
            queued_at: end,
            started_at: Some(end),
            finished_at: end,
            outcome,
            attempts: if number == 4 { 2 } else { 1 },
            duration: Millis(42_100 + number * 310),
            stats: RunStats {
                files: 1204 + number,
                files_changed: 17,
                size: Bytes(1230 << 20),
                read: Bytes(40 << 20),
                added: Bytes(3 << 20),
                errors: u64::from(outcome == Outcome::Partial) * 3,
            },
            snapshot: (outcome == Outcome::Succeeded).then(|| snapshot_id(number)),
            error: (outcome == Outcome::Failed)
                .then(|| Failure::permanent("/srv/documents: Input/output error (os error 5)", "look at the disk")),
            item_errors: if outcome == Outcome::Partial {
                vec!["/srv/orders/uploads/a.pdf: Permission denied".to_owned()]
            } else {
                Vec::new()
            },
        }
    };
    (1..40).map(run).collect()
}

/// The recoveries that have ended.
pub fn recoveries() -> Vec<RecoveryRecord> {
    let record = |number: u64| {
        let verification = number != 2;
        let target = if verification {
            RecoveryTarget::Scratch {
                level: EvidenceLevel::Probed,
            }
        } else {
            RecoveryTarget::Directory {
                path: "/var/tmp/restore-docs".into(),
                include: Vec::new(),
                subpath: None,
                delta: false,
                quick: false,
                tablespaces: Vec::new(),
            }
        };
        let failed = number == 3;
        let start = ago(i64::try_from(number * 95).unwrap());
        RecoveryRecord {
            id: format!("rec-01hd3k{number:07}").into(),
            drill: None,
            left: None,
            replayed: Bytes(0),
            request: request(target, number),
            source: Some("orders-db".into()),
            job: Some(if verification { "orders-db" } else { "documents" }.into()),
            kind: "postgres-dump".to_owned(),
            requested_by: if verification { "agent" } else { "luis" }.to_owned(),
            requested_at: start,
            started_at: Some(start),
            finished_at: start + chrono::Duration::seconds(252),
            outcome: if failed { Outcome::Failed } else { Outcome::Succeeded },
            evidence: Some(if failed {
                EvidenceLevel::Restored
            } else {
                EvidenceLevel::Probed
            }),
            written: Bytes(1230 << 20),
            items: 23,
            phases: vec![
                PhaseTime {
                    phase: RecoveryPhase::Plan,
                    took: Millis(1_200),
                },
                PhaseTime {
                    phase: RecoveryPhase::Restore,
                    took: Millis(198_000),
                },
                PhaseTime {
                    phase: RecoveryPhase::Verify,
                    took: Millis(48_000),
                },
                PhaseTime {
                    phase: RecoveryPhase::Cleanup,
                    took: Millis(4_800),
                },
            ],
            findings: vec![
                Finding {
                    what: "rows of public.orders".to_owned(),
                    ok: true,
                    detail: "310,402, as recorded with the dump".to_owned(),
                },
                Finding {
                    what: "probe: newest order".to_owned(),
                    ok: !failed,
                    detail: "expected at most 1 h before the dump, found 3 h 12 min".to_owned(),
                },
            ],
            error: failed
                .then(|| Failure::permanent("the probe \"newest order\" did not hold", "look at the source's clock")),
        }
    };
    (1..12).map(record).collect()
}

/// The newest events, newest first.
pub fn journal() -> Vec<EventRecord> {
    let event = |number: u64| match number % 8 {
        0 => Event::RunQueued {
            run: "run-01hd3k9v2q8r4".into(),
            job: "orders-db".into(),
            trigger: Trigger::Schedule { due: ago(1) },
        },
        1 => Event::RunStarted {
            run: "run-01hd3k9v2q8r4".into(),
            attempt: 1,
        },
        2 => Event::SnapshotRecorded {
            snapshot: snapshot(number),
        },
        3 => Event::EvidenceRaised {
            snapshot: snapshot_id(number),
            level: EvidenceLevel::Probed,
        },
        4 => Event::AlertAcknowledged {
            key: AlertKind::BackupPartial.key("orders-uploads"),
            by: "ana".to_owned(),
            note: Some("permissions, on it".to_owned()),
        },
        5 => Event::RunFinished {
            record: runs(&"documents".into())[0].clone(),
        },
        6 => Event::AlertOpened {
            alert: alerts()[0].alert.clone(),
        },
        _ => Event::CommandRefused {
            command: "start recovery".to_owned(),
            reason: "database orders exists on backup@db1:5432".to_owned(),
        },
    };
    let record = |number: u64| EventRecord {
        seq: 1207 - number,
        at: ago(i64::try_from(number * 3).unwrap()),
        actor: match number % 8 {
            4 | 7 => Actor {
                name: "ana".to_owned(),
                host: "laptop-7".to_owned(),
                via: "console".to_owned(),
            },
            _ => Actor::agent("vault-1"),
        },
        version: 1,
        event: event(number),
        previous_hash: snapshot_id(5000 + number).0,
        hash: snapshot_id(4999 + number).0,
    };
    (0..120).map(record).collect()
}

/// The plan of any request.
pub fn plan(request: &RecoveryRequest) -> RecoveryPlan {
    let overwrites = match &request.target {
        RecoveryTarget::Directory { delta: true, .. } => 214,
        _ => 0,
    };
    let short = request.snapshot.short();
    RecoveryPlan {
        request: request.clone(),
        kind: "postgres-dump".to_owned(),
        source: Some("orders-db".into()),
        recover_to: ago(17),
        evidence: EvidenceLevel::Probed,
        from: "vault-a, /srv/backup/vault-a".to_owned(),
        target_identity: "db1, PostgreSQL 15.14, primary, system identifier 7412098812345678901".to_owned(),
        items: 23,
        fetch: Bytes(310 << 20),
        write: Bytes(1230 << 20),
        overwrites,
        overwrites_sample: if overwrites > 0 {
            vec![
                "/var/tmp/restore/readme.md".to_owned(),
                "/var/tmp/restore/inventory.csv".to_owned(),
            ]
        } else {
            Vec::new()
        },
        target_free: Some(Bytes(84 << 30)),
        estimate: Some(Millis::from_secs(252)),
        estimate_p90: Some(Millis::from_secs(380)),
        estimate_samples: 6,
        estimate_phases: Vec::new(),
        replay: None,
        blockers: match &request.target {
            RecoveryTarget::Database { database, .. } if database == "orders" => {
                vec!["database orders exists on db1; a restore never writes into an existing database".to_owned()]
            }
            _ => Vec::new(),
        },
        warnings: vec!["orders-db is being written to; what came after 02:55 is not in this snapshot".to_owned()],
        undo: "drop database orders_restored_1120_0312".to_owned(),
        command: format!("lifeboat restore {short} --target {}", request.target.display()),
        restic_command: format!(
            "restic -r /srv/backup/vault-a dump {short} /orders/orders.dump | pg_restore -d orders_restored"
        ),
        digest: "5f1c0a9e".to_owned(),
    }
}
