//! The alerts, the clusters and the log of the made-up site.

use lifeboat::domain::Bytes;
use lifeboat::domain::alert::{Acknowledgement, Alert, AlertKind, AlertRecord, AlertSubject};
use lifeboat::domain::pitr::{Interval, LogSight, Missing};
use lifeboat::domain::wal::{Lsn, SystemId, TimelineId};

use crate::fixture::{ago, now, snapshot_id};

/// The alerts, resolved ones too.
pub fn alerts() -> Vec<AlertRecord> {
    let alert = |kind: AlertKind, about: &str, message: &str, next: &str, minutes| Alert {
        key: kind.key(about),
        kind,
        severity: kind.severity(),
        subject: AlertSubject {
            service: None,
            job: Some(about.into()),
            snapshot: None,
        },
        message: message.to_owned(),
        next_step: next.to_owned(),
        opened_at: ago(minutes),
        acknowledged: None,
    };
    let open = |alert| AlertRecord {
        alert,
        resolved_at: None,
        resolution: None,
    };
    let mut uploads = alert(
        AlertKind::BackupPartial,
        "orders-uploads",
        "3 files of orders-uploads could not be read",
        "look at the run's list of files, fix their permissions, run the job again",
        12,
    );
    uploads.acknowledged = Some(Acknowledgement {
        by: "ana".to_owned(),
        at: ago(9),
        note: Some("permissions, on it".to_owned()),
    });
    vec![
        open(alert(
            AlertKind::RpoBreached,
            "documents",
            "documents would lose 7h12m, 6h are promised",
            "run job documents now; if it fails again, restore the disk first: dmesg shows I/O errors",
            72,
        )),
        open(alert(
            AlertKind::BackupFailedTwice,
            "documents",
            "job documents failed twice: Input/output error (os error 5) after 18,204 files",
            "look at the disk: dmesg | tail; then run the job again",
            132,
        )),
        open(uploads),
        open(alert(
            AlertKind::RpoAtRisk,
            "catalog",
            "catalog would lose 5h10m, 6h are promised",
            "run job catalog-db now",
            21,
        )),
        AlertRecord {
            alert: alert(
                AlertKind::BackupFailed,
                "orders-db",
                "connection refused",
                "is the server up?",
                60 * 20,
            ),
            resolved_at: Some(ago(60 * 19)),
            resolution: Some("the next run succeeded".to_owned()),
        },
        AlertRecord {
            alert: alert(
                AlertKind::RepositoryUnreachable,
                "vault-a",
                "vault-a does not answer",
                "mount it",
                60 * 50,
            ),
            resolved_at: Some(ago(60 * 48)),
            resolution: Some("vault-a answers".to_owned()),
        },
    ]
}

/// A cluster of three: a fenced primary, a standby that has everything, and one that does not answer.
pub fn clusters() -> Vec<lifeboat::domain::cluster::ClusterView> {
    use lifeboat::domain::cluster::{Answer, Cluster, ClusterView, Member, MemberSeen, Record, Seen};
    let names = ["db1", "db2", "db3-madrid"];
    let server = |text: &str| Answer::Answers(Box::new(serde_json::from_str(text).unwrap()));
    let member = |name: &&str| Member {
        name: (*name).into(),
        connection: lifeboat::domain::source::PostgresConnection {
            host: format!("{name}.example.org"),
            port: 5432,
            user: "lifeboat".to_owned(),
            password: None,
            tls: lifeboat::domain::source::TlsMode::Prefer,
            bin_dir: None,
        },
        database: "postgres".to_owned(),
        data_directory: None,
        config_file: None,
        slot: None,
        service: None,
    };
    let cluster = Cluster {
        name: "orders".into(),
        members: names.iter().map(member).collect(),
        fence: None,
        max_loss: lifeboat::domain::Bytes(0),
        max_lag: lifeboat::domain::Millis(60_000),
        failover: lifeboat::domain::cluster::Failover::default(),
    };
    let answers = [
        server(include_str!("cluster-primary.json")),
        server(include_str!("cluster-standby.json")),
        Answer::Silent {
            why: "cannot connect to PostgreSQL at lifeboat@db3.example.org:5432: connection refused".to_owned(),
            refuses: false,
        },
    ];
    let seen = |(name, answer): (&&str, Answer)| MemberSeen {
        name: (*name).into(),
        answer,
        local: None,
    };
    let seen = Seen {
        at: now(),
        members: names.iter().zip(answers).map(seen).collect(),
    };
    vec![ClusterView::new(&cluster, seen, &Record::default(), None)]
}

/// The log of the orders: two stretches with a gap between them, the newer one up to four seconds ago.
pub fn log_sight() -> LogSight {
    let stretch = |from: i64, to: i64, number, gap| Interval {
        timeline: TimelineId(7),
        from: Lsn(0x16_0000_0000),
        from_at: ago(from),
        to: Lsn(0x16_b374_d848),
        to_at: Some(ago(to)),
        bases: vec![snapshot_id(number)],
        gap,
    };
    let gap = Missing {
        first: "000000070000001600000061".parse().unwrap(),
        resumes: "000000070000001600000063".parse().ok(),
    };
    LogSight {
        source: "orders-db".into(),
        repository: "vault-a".into(),
        system: Some(SystemId(7_301_884_412)),
        looked_at: now(),
        recoverable_to: Some(now() - chrono::Duration::seconds(4)),
        stretches: vec![stretch(60 * 26, 60 * 9, 9, Some(gap)), stretch(60 * 7, 1, 1, None)],
        gap: None,
        live: Some(Lsn(0x16_b375_0000)),
        behind: Some(Bytes(1976)),
        waiting_since: Some(now() - chrono::Duration::seconds(2)),
        silent: None,
        failure: None,
        receiver: None,
    }
}
