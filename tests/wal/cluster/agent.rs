//! The agent that watches a cluster, as a process that can be killed; and what is done to servers.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use lifeboat::api::Client;
use lifeboat::domain::command::Actor;
use lifeboat::domain::runbook::RunbookRecord;
use lifeboat::domain::view::{Overview, Query};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::world::Pair;
use crate::world::Killed;

/// The agent, and who asks it.
pub struct Agent {
    process: Option<Killed>,
    pub client: Client,
}

impl Agent {
    pub fn start(pair: &Pair) -> Self {
        let mut agent = Self {
            process: None,
            client: client(pair),
        };
        agent.again(pair);
        agent
    }

    /// Starts it, when it does not run.
    pub fn again(&mut self, pair: &Pair) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(pair.at("own/agent.out"));
        let process = pair.command(&["agent", "run"]).stderr(log.unwrap()).spawn().unwrap();
        self.process = Some(Killed(process));
    }

    pub fn kill(&mut self) {
        self.process = None;
    }

    pub async fn seen(&self, pair: &Pair, what: &str, holds: impl Fn(&Overview) -> bool) -> Overview {
        let mut last = String::new();
        for _ in 0..1800 {
            match self.client.overview().await {
                Ok(overview) if holds(&overview) => return overview,
                Ok(overview) => last = format!("{:?} {:#?}", overview.alerts, overview.executions),
                Err(error) => last = error.to_string(),
            }
            pair.clock.sleep(Duration::from_millis(50)).await;
        }
        panic!("waited 90 s in vain: {what}; {last}\n{}", agent_log(pair));
    }

    /// Waits until it knows who is the primary, and that the other streams from it: without that it would rightly do nothing.
    pub async fn watches(&self, pair: &Pair, primary: &str, standby: &str) {
        let known = pair.at("own/state/clusters/orders.known.json");
        let written = || std::fs::metadata(&known).and_then(|meta| meta.modified()).ok();
        let before = written();
        self.seen(pair, "the cluster is looked at", |_| {
            let text = std::fs::read(&known).unwrap_or_default();
            let known: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
            written() > before && known["primary"] == primary && !known["followers"][standby].is_null()
        })
        .await;
    }

    /// Waits until an execution has come to a step, at most some seconds: not every execution has every step.
    pub async fn reaches(&self, pair: &Pair, step: &str) {
        let there = |picture: &Overview| {
            let mut rows = picture.executions.iter().flat_map(|view| view.run.rows());
            rows.any(|(known, done)| known.id == step && done.started_at.is_some())
        };
        for _ in 0..1000 {
            if self.client.overview().await.is_ok_and(|picture| there(&picture)) {
                return;
            }
            pair.clock.sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn ended(&self) -> Vec<RunbookRecord> {
        self.client
            .executions(&Query::default())
            .await
            .map(|page| page.items)
            .unwrap_or_default()
    }
}

fn client(pair: &Pair) -> Client {
    let actor = Actor {
        name: "ana".to_owned(),
        host: "here".to_owned(),
        via: "console".to_owned(),
    };
    Client::connect(&pair.at("own/state/agent.sock"), actor)
}

pub fn agent_log(pair: &Pair) -> String {
    let text = std::fs::read_to_string(pair.at("own/agent.out")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

pub fn policy(more: &str) -> String {
    format!("failover = {{ automatic = true, every = \"1s\", failures = 3, cooling_off = \"0s\"{more} }}")
}

/// Commits on one wait until the other has them.
pub fn synchronous(pair: &Pair, primary: &str, standby: &str) {
    pair.sql(
        primary,
        &format!("alter system set synchronous_standby_names = '{standby}'"),
    );
    pair.sql(primary, "select pg_reload_conf()");
    pair.sql(standby, "alter system reset synchronous_standby_names");
    pair.sql(standby, "select pg_reload_conf()");
}

/// Every process of a server.
pub fn processes(data: &Path) -> Vec<Pid> {
    let place = std::fs::metadata(data).unwrap();
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let there = |pid: &i32| {
        let at = std::fs::metadata(format!("/proc/{pid}/cwd"));
        at.is_ok_and(|at| (at.dev(), at.ino()) == (place.dev(), place.ino()))
    };
    pids.filter(there).map(Pid::from_raw).collect()
}

/// Waits until nothing is left of a killed server: to PostgreSQL a process whose parent has not noticed its end still runs.
pub async fn reaped(pair: &Pair, member: &str) {
    let lock = std::fs::read_to_string(pair.data(member).join("postmaster.pid")).unwrap_or_default();
    let pid = lock.lines().next().unwrap_or("none").to_owned();
    let gone = || !Path::new("/proc").join(&pid).exists();
    pair.until("the killed server is gone", gone).await;
}

pub fn signal(data: &Path, signal: Signal) {
    for pid in processes(data) {
        let _ = kill(pid, signal);
    }
}

pub async fn writable(pair: &Pair, member: &str) {
    let write = "set synchronous_commit = local; insert into probe values ('is it?')";
    for _ in 0..1200 {
        if pair.try_sql(member, write).is_ok() {
            return;
        }
        pair.clock.sleep(Duration::from_millis(50)).await;
    }
    let known = std::fs::read_to_string(pair.at("own/state/clusters/orders.known.json"));
    let (status, _) = pair.status();
    panic!("{member} takes no writes: {known:?}\n{status:#}\n{}", agent_log(pair));
}
