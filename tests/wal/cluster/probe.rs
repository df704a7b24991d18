//! Those who find out what was lost and who took writes: a writer whose rows are acknowledged only when they are replicated, and
//! one prober a server that keeps its connection and writes all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::world::Pair;

/// Rows whose numbers no round has used.
static NEXT: AtomicI64 = AtomicI64::new(1_000_000);
/// A statement that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(2);

async fn connect(host: &str) -> Option<(tokio_postgres::Client, JoinHandle<()>)> {
    let parameters = format!("host={host} user=lifeboat dbname=postgres connect_timeout=2");
    let connecting = tokio_postgres::connect(&parameters, tokio_postgres::NoTls);
    let (client, driver) = tokio::time::timeout(PATIENCE, connecting).await.ok()?.ok()?;
    let driver = tokio::spawn(async move {
        let _ = driver.await;
    });
    Some((client, driver))
}

/// Writes to whichever server lets it.
pub struct Ledger {
    acknowledged: Arc<Mutex<BTreeSet<i64>>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Ledger {
    pub fn begin(pair: &Pair) -> Self {
        let (acknowledged, stop) = (Arc::<Mutex<BTreeSet<i64>>>::default(), Arc::<AtomicBool>::default());
        let hosts = pair
            .members
            .iter()
            .map(|member| pair.host(member).display().to_string());
        let hosts: Vec<String> = hosts.collect();
        let (rows, end, clock) = (acknowledged.clone(), stop.clone(), pair.clock.clone());
        let task = tokio::spawn(async move {
            for host in hosts.iter().cycle() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                if let Some((client, driver)) = connect(host).await {
                    while !end.load(Ordering::Relaxed) {
                        let n = NEXT.fetch_add(1, Ordering::Relaxed);
                        let written = async { client.execute("insert into ledger values ($1)", &[&n]).await };
                        // Whoever waits too long was told nothing.
                        let Ok(Ok(_)) = tokio::time::timeout(PATIENCE, written).await else {
                            break;
                        };
                        rows.lock().unwrap().insert(n);
                    }
                    driver.abort();
                }
                clock.sleep(Duration::from_millis(20)).await;
            }
        });
        Self {
            acknowledged,
            stop,
            task,
        }
    }

    pub fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Ends it; everything that was acknowledged has to be on this server; how much that was.
    pub async fn end(self, pair: &Pair, member: &str) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        let text = pair.sql(member, "select n from ledger");
        let there: BTreeSet<i64> = text.lines().map(|line| line.parse().unwrap()).collect();
        let acknowledged = self.acknowledged.lock().unwrap();
        let lost: Vec<&i64> = acknowledged.difference(&there).collect();
        assert!(
            lost.is_empty(),
            "{} of {} acknowledged rows are lost: {lost:?}",
            lost.len(),
            acknowledged.len()
        );
        acknowledged.len()
    }
}

/// When a write began, and when it was accepted.
type Accepted = (Instant, Instant);

/// Writes to all servers all the time, and remembers who accepted.
pub struct Prober {
    accepted: Arc<Mutex<BTreeMap<&'static str, Vec<Accepted>>>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Prober {
    /// Begins; returns when the first write was accepted.
    pub async fn begin(pair: &Pair) -> Self {
        let mut prober = Self {
            accepted: Arc::default(),
            stop: Arc::default(),
            tasks: Vec::new(),
        };
        for member in pair.members.iter().copied() {
            let host = pair.host(member).display().to_string();
            let (accepted, stop, clock) = (prober.accepted.clone(), prober.stop.clone(), pair.clock.clone());
            prober.tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    if let Some((client, driver)) = connect(&host).await {
                        let local = "set synchronous_commit = local; set statement_timeout = '2s'";
                        let mut open = client.batch_execute(local).await.is_ok();
                        while open && !stop.load(Ordering::Relaxed) {
                            let began = clock.monotonic();
                            let write = async { client.execute("insert into probe values ($1)", &[&member]).await };
                            match tokio::time::timeout(PATIENCE, write).await {
                                Ok(Ok(_)) => {
                                    let mut all = accepted.lock().unwrap();
                                    all.entry(member).or_default().push((began, clock.monotonic()));
                                }
                                // A standby, or a fenced primary: it may become one that takes writes.
                                Ok(Err(_)) => open = !client.is_closed(),
                                Err(_) => open = false,
                            }
                            clock.sleep(Duration::from_millis(50)).await;
                        }
                        driver.abort();
                    }
                    clock.sleep(Duration::from_millis(50)).await;
                }
            }));
        }
        pair.until("a write is accepted", || {
            pair.members.iter().any(|member| prober.accepted(member) > 0)
        })
        .await;
        prober
    }

    pub fn accepted(&self, member: &str) -> usize {
        self.accepted.lock().unwrap().get(member).map_or(0, Vec::len)
    }

    /// When a server first took a write.
    pub fn first(&self, member: &str) -> Option<Instant> {
        let accepted = self.accepted.lock().unwrap();
        accepted.get(member)?.first().map(|(_, at)| *at)
    }

    /// Ends it; no other server may have taken a write after this one took its first.
    pub async fn end(self, primary: &str) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let accepted = self.accepted.lock().unwrap();
        let first = accepted.get(primary).and_then(|all| all.first()).map(|(_, at)| *at);
        let first = first.expect("the primary took writes");
        for (member, all) in accepted.iter().filter(|(member, _)| **member != primary) {
            let late: Vec<_> = all.iter().filter(|(began, _)| *began > first).collect();
            assert!(
                late.is_empty(),
                "{member} took {} writes after {primary} had begun to: two primaries",
                late.len()
            );
        }
    }
}
