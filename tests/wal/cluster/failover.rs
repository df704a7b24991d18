//! Automatic failover: a primary that is killed is replaced, one that only we do not reach is not, and whatever is done at
//! random moments, at no time do two servers take writes and nothing that was acknowledged and replicated is lost.
//!
//! More rounds by hand: `LIFEBOAT_FAILOVER_ROUNDS=100 cargo nextest run -E 'test(random_faults)'`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use lifeboat::api::Client;
use lifeboat::domain::command::Actor;
use lifeboat::domain::runbook::report::report;
use lifeboat::domain::runbook::{Cause, RunbookOutcome, RunbookRecord, StepState};
use lifeboat::domain::view::{Overview, Query};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::probe::{Ledger, Prober};
use super::world::Pair;
use crate::world::Killed;

/// The agent, and who asks it.
struct Agent {
    process: Option<Killed>,
    client: Client,
}

impl Agent {
    fn start(pair: &Pair) -> Self {
        let mut agent = Self {
            process: None,
            client: client(pair),
        };
        agent.again(pair);
        agent
    }

    /// Starts it, when it does not run.
    fn again(&mut self, pair: &Pair) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(pair.at("own/agent.out"));
        let process = pair.command(&["agent", "run"]).stderr(log.unwrap()).spawn().unwrap();
        self.process = Some(Killed(process));
    }

    fn kill(&mut self) {
        self.process = None;
    }

    async fn seen(&self, pair: &Pair, what: &str, holds: impl Fn(&Overview) -> bool) -> Overview {
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
    async fn watches(&self, pair: &Pair, primary: &str, standby: &str) {
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

    async fn ended(&self) -> Vec<RunbookRecord> {
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

fn agent_log(pair: &Pair) -> String {
    let text = std::fs::read_to_string(pair.at("own/agent.out")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

fn policy(more: &str) -> String {
    format!("failover = {{ automatic = true, every = \"1s\", failures = 3, cooling_off = \"0s\"{more} }}")
}

/// Commits on one wait until the other has them.
fn synchronous(pair: &Pair, primary: &str, standby: &str) {
    pair.sql(
        primary,
        &format!("alter system set synchronous_standby_names = '{standby}'"),
    );
    pair.sql(primary, "select pg_reload_conf()");
    pair.sql(standby, "alter system reset synchronous_standby_names");
    pair.sql(standby, "select pg_reload_conf()");
}

/// Every process of a server.
fn processes(data: &Path) -> Vec<Pid> {
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
async fn reaped(pair: &Pair, member: &str) {
    let lock = std::fs::read_to_string(pair.data(member).join("postmaster.pid")).unwrap_or_default();
    let pid = lock.lines().next().unwrap_or("none").to_owned();
    let gone = || !Path::new("/proc").join(&pid).exists();
    pair.until("the killed server is gone", gone).await;
}

fn signal(data: &Path, signal: Signal) {
    for pid in processes(data) {
        let _ = kill(pid, signal);
    }
}

async fn writable(pair: &Pair, member: &str) {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_replaced_without_anybody() {
    let pair = Pair::new().await;
    pair.sql("db1", "create table probe (who text)");
    pair.configure(&policy(""));
    synchronous(&pair, "db1", "db2");
    let agent = Agent::start(&pair);
    agent.watches(&pair, "db1", "db2").await;
    let ledger = Ledger::begin(&pair);
    pair.until("rows are written", || ledger.count() > 50).await;
    let killed = pair.clock.monotonic();
    signal(&pair.data("db1"), Signal::SIGKILL);
    writable(&pair, "db2").await;
    println!(
        "killed, and writable again after {:.1} s",
        pair.clock.elapsed(killed).as_secs_f32()
    );
    let overview = agent.seen(&pair, "told", |picture| !picture.alerts.is_empty()).await;
    assert!(
        overview.alerts.iter().any(|alert| alert.key.0 == "primary-down/orders"),
        "{:?}",
        overview.alerts
    );
    let then = ledger.count();
    pair.until("rows are written to the new primary", || ledger.count() > then + 50)
        .await;
    ledger.end(&pair, "db2").await;
    // It comes back by itself: read-only, and then it follows.
    let fence = pair.sql("db2", "select pg_is_in_recovery()");
    assert_eq!(fence, "f");
    pair.start("db1");
    let refused = pair.try_sql("db1", "insert into ledger values (-1)");
    assert!(refused.is_err(), "the old primary took a write");
    agent
        .seen(&pair, "the execution has ended", |picture| {
            picture.executions.is_empty()
        })
        .await;
    let record = agent.ended().await.remove(0);
    let text = report(&record);
    assert_eq!(record.outcome, RunbookOutcome::Completed, "{text}");
    assert!(
        matches!(&record.run.cause, Cause::Auto { why } if why.contains("3 times in a row")),
        "{text}"
    );
    assert!(record.run.incident_at.is_some() && record.run.unattended);
    for wanted in [
        "new primary of orders: `db2`",
        "after the incident began",
        "begun by the agent itself",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    println!(
        "{}",
        text.lines()
            .filter(|line| line.contains("it took writes"))
            .collect::<String>()
    );
    assert_eq!(pair.sql("db1", "select pg_is_in_recovery()"), "t");
    agent
        .seen(&pair, "all is well", |picture| picture.alerts.is_empty())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_only_we_do_not_reach_is_left_alone() {
    let pair = Pair::new().await;
    pair.sql("db1", "create table probe (who text)");
    pair.configure(&policy(""));
    let agent = Agent::start(&pair);
    agent.watches(&pair, "db1", "db2").await;
    let prober = Prober::begin(&pair).await;
    let (socket, away) = (pair.host("db1").join(".s.PGSQL.5432"), pair.at("own/socket"));
    std::fs::rename(&socket, &away).unwrap();
    let down = |picture: &Overview| picture.alerts.iter().any(|alert| alert.key.0 == "primary-down/orders");
    let overview = agent.seen(&pair, "the alert", down).await;
    let alert = overview
        .alerts
        .iter()
        .find(|alert| alert.key.0 == "primary-down/orders")
        .unwrap();
    assert!(alert.message.contains("db2 still streams from it"), "{}", alert.message);
    let then = prober.accepted("db1");
    pair.until("writers who reach it go on", || prober.accepted("db1") > then + 20)
        .await;
    assert!(
        overview.executions.is_empty() && agent.ended().await.is_empty(),
        "{:?}",
        overview.executions
    );
    std::fs::rename(&away, &socket).unwrap();
    agent.seen(&pair, "the alert is over", |picture| !down(picture)).await;
    assert_eq!(pair.sql("db2", "select pg_is_in_recovery()"), "t");
    prober.end("db1").await;
}

/// A small generator, so that a seed says which round went wrong.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    async fn wait(&mut self, pair: &Pair, most_millis: u64) {
        pair.clock.sleep(Duration::from_millis(self.below(most_millis))).await;
    }
}

/// Breaks something at random moments, and says whether the primary is lost by it.
async fn fault(pair: &Pair, agent: &mut Agent, dice: &mut Dice, which: u64, primary: &str, standby: &str) -> bool {
    let kills_agent = dice.below(2) == 0;
    dice.wait(pair, 800).await;
    let lost = match which {
        0 => {
            signal(&pair.data(primary), Signal::SIGKILL);
            true
        }
        1 => {
            signal(&pair.data(standby), Signal::SIGSTOP);
            dice.wait(pair, 500).await;
            signal(&pair.data(primary), Signal::SIGKILL);
            dice.wait(pair, 4000).await;
            signal(&pair.data(standby), Signal::SIGCONT);
            true
        }
        _ => {
            let (socket, away) = (pair.host(primary).join(".s.PGSQL.5432"), pair.at("own/socket"));
            std::fs::rename(&socket, &away).unwrap();
            dice.wait(pair, 6000).await;
            std::fs::rename(&away, &socket).unwrap();
            false
        }
    };
    if kills_agent {
        dice.wait(pair, 6000).await;
        agent.kill();
        dice.wait(pair, 1500).await;
        agent.again(pair);
    }
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_faults_never_make_two_primaries_nor_lose_what_was_replicated() {
    let rounds = std::env::var("LIFEBOAT_FAILOVER_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(5_u64);
    let seed = std::env::var("LIFEBOAT_FAILOVER_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("LIFEBOAT_FAILOVER_SEED={seed}");
    let mut dice = Dice(seed);
    let pair = Pair::new().await;
    pair.sql("db1", "create table probe (who text)");
    pair.configure(&policy(", set = { rebuild = \"false\" }"));
    let mut agent = Agent::start(&pair);
    let (mut primary, mut standby) = ("db1", "db2");
    let mut times = Vec::new();
    for round in 0..rounds {
        synchronous(&pair, primary, standby);
        agent.watches(&pair, primary, standby).await;
        let (ledger, prober) = (Ledger::begin(&pair), Prober::begin(&pair).await);
        pair.until("rows are written", || ledger.count() > 20).await;
        let began = pair.clock.monotonic();
        let which = round % 3;
        let lost = fault(&pair, &mut agent, &mut dice, which, primary, standby).await;
        let expected = if lost { standby } else { primary };
        writable(&pair, expected).await;
        let took = pair.clock.elapsed(began).as_secs_f32();
        println!("round {round}: fault {which}, {expected} takes writes {took:.1} s after it began");
        agent
            .seen(&pair, "executions have ended", |picture| picture.executions.is_empty())
            .await;
        let then = ledger.count();
        pair.until("rows are written", || ledger.count() > then + 20).await;
        ledger.end(&pair, expected).await;
        prober.end(expected).await;
        if lost {
            times.push(took);
            let record = agent.ended().await.remove(0);
            let promoted = record
                .run
                .rows()
                .any(|(step, done)| step.id == "promote" && done.state == StepState::Done);
            assert!(promoted, "{}", report(&record));
            std::mem::swap(&mut primary, &mut standby);
            reaped(&pair, standby).await;
            pair.done(&["cluster", "rewind", "orders", standby, "--yes", standby]);
        }
    }
    times.sort_by(f32::total_cmp);
    println!(
        "{rounds} rounds, {} failovers, from the fault to the answer: {times:.1?}",
        times.len()
    );
}
