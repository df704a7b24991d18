//! The runbook of a failover on two real servers, its agent killed inside every step: it is gone on with, nothing that was
//! committed is lost, and at no time do two servers take writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::switch::Writer;
use super::world::Pair;
use crate::world::{code, said};

impl Pair {
    fn json(&self, args: &[&str]) -> Value {
        let output = self.lifeboat(&[&["--json"], args].concat());
        assert_eq!(code(&output), 0, "{args:?}: {}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn kill_agent(&self) {
        let output = self.lifeboat(&["--json", "agent", "status"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if let Some(pid) = status["agent"]["pid"].as_i64() {
            kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
        }
    }

    fn live_step(&self, step: &str) -> Option<String> {
        let live = self.json(&["runbook", "status"]);
        let run = live.get(0)?;
        let steps = run["runbook"]["steps"].as_array()?;
        let at = steps.iter().position(|known| known["id"] == step)?;
        run["steps"][at]["state"].as_str().map(str::to_owned)
    }
}

/// Asks both servers all the time who would take a write, and counts the times that both would.
async fn watch(hosts: [String; 2], clock: lifeboat::clock::Clock, stop: Arc<AtomicBool>, both: Arc<AtomicU64>) {
    let mut clients: [Option<tokio_postgres::Client>; 2] = [None, None];
    while !stop.load(Ordering::Relaxed) {
        let mut writable = 0;
        for (client, host) in clients.iter_mut().zip(&hosts) {
            if client.as_ref().is_none_or(tokio_postgres::Client::is_closed) {
                let parameters = format!("host={host} user=lifeboat dbname=postgres connect_timeout=1");
                *client = match tokio_postgres::connect(&parameters, tokio_postgres::NoTls).await {
                    Ok((client, driver)) => {
                        tokio::spawn(driver);
                        Some(client)
                    }
                    Err(_) => None,
                };
            }
            let Some(asked) = client else { continue };
            let sql = "select not pg_is_in_recovery() and current_setting('default_transaction_read_only') = 'off'";
            // A session from before the fence would know the old setting; each question is put in a new one.
            match asked.query_one(sql, &[]).await {
                Ok(row) if row.get::<_, bool>(0) => writable += 1,
                Ok(_) => {}
                Err(_) => *client = None,
            }
        }
        if writable == 2 {
            both.fetch_add(1, Ordering::Relaxed);
        }
        clock.sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_is_gone_on_with_wherever_its_agent_was_killed() {
    let pair = Pair::new().await;
    let hosts = ["db1", "db2"].map(|member| pair.host(member).display().to_string());
    let writer = Writer::default();
    let writing = tokio::spawn(writer.clone().run(hosts.to_vec()));
    let (stop, both) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watching = tokio::spawn(watch(hosts, pair.clock.clone(), stop.clone(), both.clone()));
    let (mut from, mut to) = ("db1", "db2");
    for step in ["fence", "replay", "promote", "stop-old", "rebuild"] {
        let before = writer.count();
        pair.until("rows are written", || writer.count() > before + 20).await;
        let set = [
            format!("primary={from}"),
            format!("standby={to}"),
            "cluster=orders".to_owned(),
        ];
        let mut words = vec!["runbook", "run", "manual-failover", "--yes", "--no-wait"];
        words.extend(set.iter().flat_map(|one| ["--set", one.as_str()]));
        let run = pair.json(&words)["run"].as_str().unwrap().to_owned();
        pair.until(&format!("{step} is reached"), || {
            pair.live_step(step).is_none_or(|state| state != "pending")
        })
        .await;
        pair.kill_agent();
        // Whoever comes back finds it going on.
        let output = pair.lifeboat(&["runbook", "resume", &run]);
        let ended = pair.json(&["runbook", "report", &run]);
        assert_eq!(
            ended["record"]["outcome"],
            "completed",
            "{step}: {}\n{ended:#}",
            said(&output)
        );
        let mut last = Vec::new();
        pair.until("the old primary follows", || {
            let signs = pair.signs();
            if signs != last {
                println!("after {step}: {signs:?}");
            }
            last = signs;
            last.is_empty()
        })
        .await;
        assert_eq!(pair.status().0["primary"], to, "{step}");
        (from, to) = (to, from);
    }
    writer.stop.store(true, Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    watching.await.unwrap();
    writer.check(&pair, from);
    assert_eq!(both.load(Ordering::Relaxed), 0, "two servers took writes at one time");
    pair.kill_agent();
}
