//! A night with something of everything: what the screens are looked at and tested with. Nothing in it moves.

use crate::alarms::log_sight;
pub use crate::alarms::{alerts, clusters};
pub use crate::history::{content, journal, plan, recoveries, runs, snapshot, trashed, tree};
pub use crate::kept::retention;
use crate::kept::{maintenance_live, upkeep};

use lifeboat::domain::drill::{DrillResult, DrillView};
use lifeboat::domain::id::SnapshotId;
use lifeboat::domain::objective::{GaugeLevel, RpoGauge, RtoGauge};
use lifeboat::domain::recovery::{Recovery, RecoveryPhase, RecoveryRequest, RecoveryState, RecoveryTarget};
use lifeboat::domain::run::{Failure, Outcome, Run, RunState, Trigger};
use lifeboat::domain::snapshot::{Evidence, EvidenceLevel};
use lifeboat::domain::state::RetentionFacts;
use lifeboat::domain::view::{
    AgentView, JobView, Overview, ProgressView, RecoveryView, RepositoryView, RunView, ServiceView,
};
use lifeboat::domain::{Bytes, Millis, Timestamp};

/// The moment everything is seen from.
pub fn now() -> Timestamp {
    "2026-11-20T03:12:07Z".parse().unwrap()
}

/// Some minutes ago.
pub fn ago(minutes: i64) -> Timestamp {
    now() - chrono::Duration::minutes(minutes)
}

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

/// The id of one snapshot of many.
pub fn snapshot_id(number: u64) -> SnapshotId {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678);
    let mut word = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    };
    SnapshotId((0..4).map(&mut word).collect())
}

/// The picture of the night.
pub fn overview() -> Overview {
    Overview {
        seq: 1207,
        at: now(),
        site: "eu-west".to_owned(),
        environment: "prod".to_owned(),
        agent: AgentView {
            version: "0.1.0".to_owned(),
            host: "vault-1".to_owned(),
            pid: 4711,
            started_at: ago(60 * 24 * 12),
            config_path: Some("/etc/lifeboat/lifeboat.toml".to_owned()),
            clients: 2,
            guards: Vec::new(),
        },
        read_only: false,
        services: services(),
        alerts: alerts()
            .into_iter()
            .filter(|record| record.resolved_at.is_none())
            .map(|record| record.alert)
            .collect(),
        jobs: jobs(),
        runs: runs_live(),
        recoveries: vec![recovery_live()],
        maintenance: vec![maintenance_live()],
        repositories: vec![
            repository("offsite-b", "/mnt/offsite/lifeboat", Some(false), 388, None),
            repository("vault-a", "/srv/backup/vault-a", Some(true), 412, Some(61)),
        ],
        logs: vec![log_sight()],
        drills: vec![drill()],
        runbooks: Vec::new(),
        executions: Vec::new(),
        waiting: Vec::new(),
        restore_points: std::collections::BTreeMap::new(),
        config_error: None,
        journal_error: None,
        practice: None,
    }
}

fn repository(name: &str, url: &str, reachable: Option<bool>, snapshots: u64, used: Option<u8>) -> RepositoryView {
    let failure = (reachable == Some(false)).then(|| {
        Failure::permanent(
            "mount point /mnt/offsite is empty",
            "mount it, then: lifeboat repo check offsite-b",
        )
    });
    RepositoryView {
        name: name.into(),
        url: url.to_owned(),
        reachable,
        failure,
        snapshots,
        used_percent: used,
        room: None,
        days_to_full: None,
        upkeep: Some(upkeep(name)),
    }
}

/// A drill that was done well two days ago.
fn drill() -> DrillView {
    DrillView {
        name: "orders-monthly".into(),
        source: "orders-db".into(),
        schedule: Some("05:00 on the first of the month".to_owned()),
        point: "random".to_owned(),
        level: EvidenceLevel::Probed,
        next_due: Some(now() + chrono::Duration::days(11)),
        running: None,
        limit: Some(Millis::from_secs(HOUR / 2)),
        last: Some(DrillResult {
            recovery: "rec-01hd3k5t9x2m4".into(),
            at: ago(60 * 49),
            outcome: Outcome::Succeeded,
            took: Millis::from_secs(252),
            error: None,
            phases: Vec::new(),
        }),
        last_success_at: Some(ago(60 * 49)),
        overdue_since: None,
    }
}

fn services() -> Vec<ServiceView> {
    let gauge = |loss_minutes: i64, objective: u64, level, evidence, source: &str, number| RpoGauge {
        objective: Millis::from_secs(objective),
        loss: Some(Millis::from_secs(u64::try_from(loss_minutes).unwrap() * MINUTE)),
        recoverable_to: Some(ago(loss_minutes)),
        worst_source: Some(source.into()),
        snapshot: Some(snapshot_id(number)),
        evidence: Some(Evidence {
            level: evidence,
            at: ago(loss_minutes),
            failure: None,
        }),
        by_log: source == "orders-db",
        breach_in: Some(Millis::from_secs(
            objective.saturating_sub(u64::try_from(loss_minutes).unwrap() * MINUTE),
        )),
        level,
    };
    let rto = |measured: Option<u64>, objective: u64, samples, level| RtoGauge {
        objective: Millis::from_secs(objective),
        measured: measured.map(Millis::from_secs),
        measured_p90: measured.map(|seconds| Millis::from_secs(seconds * 3 / 2)),
        samples,
        last_at: measured.map(|_| ago(60 * 49)),
        last_recovery: measured.map(|_| "rec-01hd3k5t9x2m4".into()),
        level,
    };
    vec![
        ServiceView {
            name: "documents".into(),
            sources: vec!["documents".into()],
            rpo: gauge(
                432,
                6 * HOUR,
                GaugeLevel::Breached,
                EvidenceLevel::Written,
                "documents",
                40,
            ),
            rto: rto(None, 4 * HOUR, 0, GaugeLevel::Unknown),
        },
        ServiceView {
            name: "orders".into(),
            sources: vec!["orders-db".into(), "orders-uploads".into()],
            rpo: gauge(17, HOUR, GaugeLevel::Met, EvidenceLevel::Probed, "orders-db", 1),
            rto: rto(Some(252), 30 * MINUTE, 6, GaugeLevel::Met),
        },
        ServiceView {
            name: "catalog".into(),
            sources: vec!["catalog-db".into()],
            rpo: gauge(
                310,
                6 * HOUR,
                GaugeLevel::AtRisk,
                EvidenceLevel::Decoded,
                "catalog-db",
                3,
            ),
            rto: rto(Some(3312), HOUR, 2, GaugeLevel::AtRisk),
        },
    ]
}

fn job(name: &str, kind: &str, subject: &str, schedule: &str, next: Option<i64>) -> JobView {
    JobView {
        name: name.into(),
        source: name.into(),
        kind: kind.to_owned(),
        subject: subject.to_owned(),
        repository: "vault-a".into(),
        schedule: Some("*/15 * * * *".to_owned()),
        schedule_words: Some(schedule.to_owned()),
        enabled: true,
        disabled_reason: None,
        next_due: next.map(|minutes| ago(-minutes)),
        running: None,
        outcomes: vec![Outcome::Succeeded; 20],
        durations: (0..20u64)
            .map(|n| Millis(40_000 + n * n % 7 * 1500 + n * 300))
            .collect(),
        sizes: (0..20u64).map(|n| Bytes((1 << 30) + n * n * (1 << 20))).collect(),
        last_finished_at: Some(ago(17)),
        last_success_at: Some(ago(17)),
        failures_in_a_row: 0,
        last_error: None,
        verify: EvidenceLevel::Probed,
        retention: Some("last 3, daily 7, weekly 4".to_owned()),
        retained: Some(RetentionFacts {
            at: ago(17),
            kept: 14,
            forgotten: 1,
            refused: None,
        }),
    }
}

/// The jobs.
pub fn jobs() -> Vec<JobView> {
    let mut orders = job(
        "orders-db",
        "postgres-dump",
        "orders on backup@db1:5432",
        "every 15 min",
        Some(3),
    );
    orders.running = Some("run-01hd3k9v2q8r4".into());
    orders.outcomes[12] = Outcome::Failed;
    let mut documents = job(
        "documents",
        "files",
        "/srv/documents",
        "daily at 20:00 UTC",
        Some(60 * 16 + 48),
    );
    documents.outcomes[18] = Outcome::Failed;
    documents.outcomes[19] = Outcome::Failed;
    documents.failures_in_a_row = 2;
    documents.last_error = Some(Failure::permanent(
        "/srv/documents: Input/output error (os error 5) after 18,204 files",
        "look at the disk: dmesg | tail; then run the job again",
    ));
    documents.last_finished_at = Some(ago(432 - 60));
    documents.last_success_at = Some(ago(60 * 31));
    let mut uploads = job(
        "orders-uploads",
        "files",
        "/srv/orders/uploads",
        "every 30 min",
        Some(18),
    );
    uploads.outcomes[19] = Outcome::Partial;
    uploads.outcomes[4] = Outcome::Interrupted;
    let mut catalog = job(
        "catalog-db",
        "postgres-dump",
        "catalog on backup@db2:5432",
        "every 6 h",
        Some(170),
    );
    catalog.last_finished_at = Some(ago(310));
    let mut archive = job("archive-2019", "files", "/srv/archive/2019", "monthly", None);
    archive.enabled = false;
    archive.disabled_reason = Some("moved to cold storage, INC-41".to_owned());
    archive.last_finished_at = Some(ago(60 * 24 * 40));
    vec![archive, catalog, documents, orders, uploads]
}

fn runs_live() -> Vec<RunView> {
    let run = |id: &str, job: &str, state, started| Run {
        id: id.into(),
        job: job.into(),
        trigger: Trigger::Schedule { due: ago(1) },
        queued_at: ago(1),
        started_at: started,
        attempt: 1,
        state,
        cancel_requested: None,
        last_error: None,
    };
    vec![
        RunView {
            run: run("run-01hd3k9v2q8r4", "orders-db", RunState::Running, Some(ago(1))),
            progress: Some(ProgressView {
                phase: "dump".to_owned(),
                current: "public.order_lines".to_owned(),
                bytes_done: Bytes(640 << 20),
                bytes_total: Some(Bytes(1230 << 20)),
                items_done: 7,
                items_total: Some(23),
                rate: Bytes(118 << 20),
                eta: Some(Millis(42_000)),
                errors: 0,
                retries: 0,
            }),
        },
        RunView {
            run: run(
                "run-01hd3k9v31c7e",
                "orders-uploads",
                RunState::WaitingRetry { at: ago(-2) },
                None,
            ),
            progress: None,
        },
    ]
}

/// A request for a recovery, as somebody made it that night.
pub fn request(target: RecoveryTarget, snapshot: u64) -> RecoveryRequest {
    RecoveryRequest {
        snapshot: snapshot_id(snapshot),
        repository: "vault-a".into(),
        target,
        instant: None,
        reason: Some("INC-77".to_owned()),
        plan_digest: Some("5f1c0a9e".to_owned()),
    }
}

fn database_target() -> RecoveryTarget {
    RecoveryTarget::Database {
        connection: None,
        database: "orders_restored_1120_0309".to_owned(),
        how: Box::default(),
    }
}

fn recovery_live() -> RecoveryView {
    RecoveryView {
        recovery: Recovery {
            id: "rec-01hd3k9x7a0b2".into(),
            request: request(database_target(), 1),
            source: Some("orders-db".into()),
            job: Some("orders-db".into()),
            kind: "postgres-dump".to_owned(),
            requested_by: "ana".to_owned(),
            requested_at: ago(2),
            started_at: Some(ago(2)),
            state: RecoveryState::Running,
            phase: RecoveryPhase::Restore,
            estimate: Some(Millis::from_secs(250)),
            cancel_requested: None,
            drill: None,
        },
        progress: Some(ProgressView {
            phase: "load".to_owned(),
            current: "public.customers".to_owned(),
            bytes_done: Bytes(402 << 20),
            bytes_total: Some(Bytes(1230 << 20)),
            items_done: 5,
            items_total: Some(23),
            rate: Bytes(9 << 20),
            eta: Some(Millis(92_000)),
            errors: 0,
            retries: 1,
        }),
        objective: Some(("orders".into(), Millis::from_secs(30 * MINUTE))),
    }
}
