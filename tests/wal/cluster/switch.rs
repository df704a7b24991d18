//! A switchover and a failback under load: nothing that was committed is lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::world::Pair;
use crate::world::{code, said};

/// Writes numbers to whichever server lets it, and remembers those that were acknowledged.
#[derive(Clone, Default)]
pub struct Writer {
    acknowledged: Arc<Mutex<BTreeSet<u64>>>,
    next: Arc<AtomicU64>,
    pub stop: Arc<AtomicBool>,
}

impl Writer {
    pub async fn run(self, hosts: Vec<String>) {
        for host in hosts.iter().cycle() {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let parameters = format!("host={host} user=lifeboat dbname=postgres connect_timeout=2");
            if let Ok((client, driver)) = tokio_postgres::connect(&parameters, tokio_postgres::NoTls).await {
                let driver = tokio::spawn(driver);
                self.write(&client).await;
                driver.abort();
            }
            tokio::task::yield_now().await;
        }
    }

    async fn write(&self, client: &tokio_postgres::Client) {
        while !self.stop.load(Ordering::Relaxed) {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let number = i64::try_from(n).unwrap();
            if client
                .execute("insert into ledger values ($1)", &[&number])
                .await
                .is_err()
            {
                return;
            }
            self.acknowledged.lock().unwrap().insert(n);
        }
    }

    pub fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    pub fn check(&self, pair: &Pair, member: &str) {
        let text = pair.sql(member, "select n from ledger");
        let there: BTreeSet<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
        let acknowledged = self.acknowledged.lock().unwrap();
        let lost: Vec<&u64> = acknowledged.difference(&there).collect();
        assert!(
            lost.is_empty(),
            "{} acknowledged rows are lost on {member}: {lost:?}",
            lost.len()
        );
    }
}

async fn switch(pair: &Pair, writer: &Writer, from: &str, to: &str) {
    let before = writer.count();
    pair.until("rows are written", || writer.count() > before + 50).await;
    pair.done(&["cluster", "fence", "orders", "--yes", from]);
    assert!(
        pair.try_sql(from, "insert into ledger values (-1)")
            .unwrap_err()
            .contains("read-only")
    );
    pair.done(&["cluster", "wait", "orders", to]);
    let promoted = pair.done(&["cluster", "promote", "orders", to, "--yes", to]);
    assert!(promoted.contains("nothing that was committed"), "{promoted}");
    let then = writer.count();
    pair.until("rows are written to the new primary", || writer.count() > then + 50)
        .await;
    // The old primary may come back at any time: it stays read-only.
    assert!(pair.signs().contains(&"old-primary".to_owned()));
    pair.refused(&["cluster", "unfence", "orders", from, "--yes", from]);
    let rewound = pair.done(&["cluster", "rewind", "orders", from, "--stop", "--yes", from]);
    assert!(rewound.contains("streams"), "{rewound}");
    assert_eq!(pair.sql(from, "select pg_is_in_recovery()"), "t");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_switchover_and_the_failback_lose_nothing_under_load() {
    let pair = Pair::new().await;
    assert_eq!(pair.status().1, 0, "{:#}", pair.status().0);
    let writer = Writer::default();
    let hosts = ["db1", "db2"]
        .map(|member| pair.host(member).display().to_string())
        .to_vec();
    let writing = tokio::spawn(writer.clone().run(hosts));
    switch(&pair, &writer, "db1", "db2").await;
    let (status, exit) = pair.status();
    assert_eq!(exit, 0, "{status:#}");
    assert_eq!(status["primary"], "db2");
    switch(&pair, &writer, "db2", "db1").await;
    writer.stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    writer.check(&pair, "db1");
    let (status, exit) = pair.status();
    assert_eq!(exit, 0, "{status:#}");
    assert_eq!(
        (status["primary"].as_str(), status["lines"][0]["timeline"].as_u64()),
        (Some("db1"), Some(3))
    );
    let rows = pair.sql("db1", "select count(*) from ledger");
    pair.until("the standby has all", || {
        pair.sql("db2", "select count(*) from ledger") == rows
    })
    .await;
    writer.check(&pair, "db2");
    // Its own settings survived being copied over twice, and nothing of a fence is left in them.
    let auto = std::fs::read_to_string(pair.data("db2").join("postgresql.auto.conf")).unwrap();
    assert!(!auto.contains("lifeboat.fence") && auto.contains("s-db1"), "{auto}");
    let point = pair.lifeboat(&[
        "--json",
        "cluster",
        "restore-point",
        "orders",
        "before the \"big\" change",
    ]);
    assert_eq!(code(&point), 0, "{}", said(&point));
    assert!(said(&point).contains("\"member\": \"db1\""));
}
