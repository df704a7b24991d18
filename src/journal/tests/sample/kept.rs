//! Made-up recoveries, and events of the keeping of repositories and of the servers that recoveries leave.

use super::*;

pub(in crate::journal::tests) fn request(n: usize) -> RecoveryRequest {
    RecoveryRequest {
        snapshot: snapshot_id(n),
        repository: "near".into(),
        target: RecoveryTarget::Scratch {
            level: EvidenceLevel::Probed,
        },
        instant: None,
        reason: Some("drill".to_owned()),
        plan_digest: None,
    }
}

pub(in crate::journal::tests) fn recovery(n: usize) -> Recovery {
    Recovery {
        id: recovery_id(n),
        request: request(n),
        source: Some(job(n).0.into()),
        job: Some(job(n)),
        kind: "files".to_owned(),
        requested_by: "mira".to_owned(),
        requested_at: at(0),
        started_at: None,
        state: RecoveryState::Queued,
        phase: RecoveryPhase::Plan,
        estimate: Some(Millis(5000)),
        cancel_requested: None,
        drill: None,
    }
}

pub(in crate::journal::tests) fn recovered(n: usize, outcome: Outcome) -> RecoveryRecord {
    RecoveryRecord {
        id: recovery_id(n),
        request: request(n),
        source: Some(job(n).0.into()),
        job: Some(job(n)),
        kind: "files".to_owned(),
        requested_by: "mira".to_owned(),
        requested_at: at(0),
        started_at: Some(at(1)),
        finished_at: at(i64::try_from(n).unwrap() * 60 + 20),
        outcome,
        evidence: (outcome == Outcome::Succeeded).then_some(EvidenceLevel::Restored),
        written: Bytes(1 << 20),
        items: 42,
        phases: vec![PhaseTime {
            phase: RecoveryPhase::Restore,
            took: Millis(700),
        }],
        findings: vec![Finding {
            what: "files".to_owned(),
            ok: true,
            detail: "42 of 42".to_owned(),
        }],
        error: outcome.is_failure().then(failure),
        replayed: Bytes(0),
        drill: None,
        left: (n % 4 == 2).then(|| left(Fate::Waiting)),
    }
}

pub(in crate::journal::tests) fn maintenance_id(n: usize) -> MaintenanceId {
    MaintenanceId(format!("mnt-{n:04}"))
}

pub(in crate::journal::tests) fn task(n: usize) -> Task {
    match n % 4 {
        0 => Task::Prune,
        1 => Task::Forget {
            snapshots: vec![snapshot_id(n), snapshot_id(n + 3)],
            reason: "retention".to_owned(),
            job: Some(job(n)),
        },
        2 => Task::Check {
            subset: Some("1/7".to_owned()),
        },
        _ => Task::Pin {
            snapshot: snapshot_id(n),
            reason: None,
        },
    }
}

pub(in crate::journal::tests) fn maintenance(n: usize) -> Maintenance {
    Maintenance {
        id: maintenance_id(n),
        repository: "near".into(),
        task: task(n),
        requested_by: "agent".to_owned(),
        requested_at: at(0),
        due: Some(at(0)),
        started_at: None,
        attempt: 0,
        state: MaintenanceState::Queued,
        cancel_requested: None,
    }
}

pub(in crate::journal::tests) fn maintained(n: usize, outcome: Outcome) -> MaintenanceRecord {
    MaintenanceRecord {
        id: maintenance_id(n),
        repository: "near".into(),
        task: task(n),
        requested_by: "agent".to_owned(),
        requested_at: at(0),
        started_at: Some(at(1)),
        finished_at: at(i64::try_from(n).unwrap() * 60 + 50),
        outcome,
        summary: "2 in the trash, 0 left alone".to_owned(),
        freed: Bytes(4096),
        findings: vec!["one pack is not in any index".to_owned()],
        error: outcome.is_failure().then(failure),
    }
}

pub(in crate::journal::tests) fn mark(reason: &str) -> Mark {
    Mark {
        by: "mira".to_owned(),
        at: at(60),
        reason: Some(reason.to_owned()),
        until: None,
    }
}

/// One event about the keeping of repositories.
pub(in crate::journal::tests) fn keeping_event(variant: usize, n: usize) -> Event {
    let snapshot = snapshot_id(n);
    match variant {
        28 => Event::MaintenanceRequested {
            maintenance: maintenance(n),
        },
        29 => Event::MaintenanceStarted {
            maintenance: maintenance_id(n),
        },
        30 => Event::MaintenanceCancelRequested {
            maintenance: maintenance_id(n),
            by: "mira".to_owned(),
        },
        31 => Event::MaintenanceFinished {
            record: maintained(n, [Outcome::Succeeded, Outcome::Failed][n / 2 % 2]),
            sound: (n % 4 == 2).then_some(n % 8 == 2),
        },
        32 => Event::RetentionApplied {
            job: job(n),
            kept: 12,
            forgotten: 2,
        },
        33 => Event::RetentionRefused {
            job: job(n),
            over: TooMany {
                forget: 9,
                of: 12,
                allowed: 6,
            },
        },
        34 => Event::SnapshotForgotten {
            snapshot,
            mark: Mark {
                until: Some(at(86_400)),
                ..mark("too many")
            },
        },
        35 => Event::SnapshotUnforgotten { snapshot },
        36 => Event::SnapshotPurged { snapshot },
        37 => Event::SnapshotPinned {
            snapshot,
            mark: mark("before the migration"),
        },
        38 => Event::SnapshotUnpinned { snapshot },
        39 => Event::SnapshotRetagged {
            old: snapshot,
            new: snapshot_id(n + 100),
            tags: vec!["audited".to_owned()],
        },
        40 => Event::DrillAppeared {
            drill: "monthly".into(),
        },
        41 => Event::DrillDisappeared {
            drill: "monthly".into(),
        },
        42 => Event::DrillBegun {
            drill: "monthly".into(),
            recovery: recovery_id(n),
            due: Some(at(5)),
        },
        43 => Event::DrillSkipped {
            drill: "monthly".into(),
            due: at(5),
            reason: "nothing can be restored".to_owned(),
        },
        44 => Event::Runbook {
            run: RunbookRunId("rb-0001".to_owned()),
            fact: RunbookFact::Paused {
                word: Word {
                    by: "mira".to_owned(),
                    at: at(5),
                    text: "somebody is on the phone".to_owned(),
                },
            },
        },
        about_servers => server_event(about_servers, n),
    }
}

pub(in crate::journal::tests) fn left(fate: Fate) -> LeftServer {
    LeftServer {
        directory: "/srv/at-an-instant".into(),
        seen: ServerSeen {
            fate,
            target: Target::Time(at(30)),
            inclusive: true,
            lsn: Some(Lsn(0x300_0028)),
            last_commit: Some(at(29)),
            psql: Some("psql -h /srv/at-an-instant.lifeboat/s -p 5432 -U postgres postgres".to_owned()),
        },
        since: at(70),
        by: "mira".to_owned(),
        steps: vec![Step {
            what: FollowUp::Move {
                to: Target::Time(at(30)),
                inclusive: true,
            },
            by: "mira".to_owned(),
            at: at(70),
            outcome: Outcome::Failed,
            error: Some(failure()),
        }],
    }
}

/// One event about recovered servers and restore points.
pub(in crate::journal::tests) fn server_event(variant: usize, n: usize) -> Event {
    let (recovery, by) = (recovery_id(n), "mira".to_owned());
    let (cluster, name) = ("orders".into(), "before the deploy".to_owned());
    match variant {
        45 => Event::FollowUpRequested {
            recovery,
            what: FollowUp::Promote,
            by,
        },
        46 => Event::FollowUpStarted { recovery },
        47 => Event::FollowUpDoubted { recovery },
        48 => Event::FollowUpCancelRequested { recovery, by },
        49 => Event::FollowUpEnded {
            recovery,
            server: left([Fate::Promoted, Fate::Waiting, Fate::Discarded][n % 3]),
        },
        50 => Event::RecoveredServerSeen {
            recovery,
            server: left(Fate::Gone),
        },
        51 => Event::RestorePointRequested { cluster, name, by },
        52 => Event::RestorePointCreated {
            cluster,
            name,
            member: "db1".into(),
            lsn: Lsn(0x300_0028),
            by,
        },
        _ => Event::RestorePointFailed {
            cluster,
            name,
            error: failure(),
        },
    }
}
