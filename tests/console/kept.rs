//! How things are kept that night: upkeep, running maintenance, a plan of retention.

use lifeboat::domain::maintenance::{Maintenance, MaintenanceState, Task};
use lifeboat::domain::retention::{Decision, Period, Reason};
use lifeboat::domain::run::Outcome;
use lifeboat::domain::upkeep::UpkeepRun;
use lifeboat::domain::view::{MaintenanceView, ProgressView, RetentionPlan, UpkeepView};
use lifeboat::domain::{Bytes, Millis};

use crate::fixture::{ago, now, snapshot_id};

/// How a repository is kept in order.
pub fn upkeep(repository: &str) -> UpkeepView {
    let run = |minutes, outcome, summary: &str| UpkeepRun {
        at: ago(minutes),
        outcome,
        summary: summary.to_owned(),
        freed: Bytes(3 << 30),
        error: None,
    };
    UpkeepView {
        trash: Millis::from_secs(7 * 86_400),
        prune_schedule: Some("0 4 * * 0 UTC".to_owned()),
        prune_next: Some(ago(-60 * 40)),
        check_schedule: (repository == "vault-a").then(|| "daily at 05:00 UTC".to_owned()),
        check_next: None,
        prune: Some(run(60 * 24 * 5, Outcome::Succeeded, "12 packs deleted, 3.0 GiB free")),
        check: None,
        damage: None,
    }
}

/// A check that is going on.
pub fn maintenance_live() -> MaintenanceView {
    MaintenanceView {
        maintenance: Maintenance {
            id: "mnt-01hd3k9v2q8r5".into(),
            repository: "vault-a".into(),
            task: Task::Check {
                subset: Some("1/7".to_owned()),
            },
            requested_by: "agent".to_owned(),
            requested_at: ago(9),
            due: Some(ago(9)),
            started_at: Some(ago(9)),
            attempt: 1,
            state: MaintenanceState::Running,
            cancel_requested: None,
        },
        progress: Some(ProgressView {
            phase: "verifying".to_owned(),
            bytes_done: Bytes(21 << 30),
            bytes_total: Some(Bytes(58 << 30)),
            rate: Bytes(180 << 20),
            eta: Some(Millis::from_secs(210)),
            ..ProgressView::default()
        }),
    }
}

/// What the retention of a job keeps.
pub fn retention(job: &str) -> RetentionPlan {
    let one = |number: u64, keep: bool, reasons: Vec<Reason>, days: Option<i64>| Decision {
        snapshot: snapshot_id(number),
        repository: "vault-a".into(),
        taken_at: ago(60 * 24 * i64::try_from(number).unwrap_or(0) + 17),
        keep,
        reasons,
        until: days.map(|days| ago(-60 * 24 * days)),
    };
    let daily = |place| Reason::Period {
        period: Period::Daily,
        from: now().naive_utc().date().into(),
        place,
        of: 7,
    };
    RetentionPlan {
        job: job.into(),
        policy: Some("last 3, daily 7, weekly 4".to_owned()),
        decisions: vec![
            one(
                0,
                true,
                vec![
                    Reason::LastGood,
                    Reason::LastVerified,
                    Reason::Last { place: 1, of: 3 },
                    daily(1),
                ],
                None,
            ),
            one(1, true, vec![Reason::Last { place: 2, of: 3 }, daily(2)], None),
            one(2, true, vec![Reason::Pinned], None),
            one(3, true, vec![daily(3)], Some(4)),
            one(4, false, vec![Reason::NoRule], None),
            one(5, false, vec![Reason::NoRule], None),
        ],
        over: None,
    }
}
