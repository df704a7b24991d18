//! Who takes over, and how the one before is kept out: the most advanced of several standbys; a fence that is a command.

use lifeboat::domain::runbook::{RunbookOutcome, StepState};
use nix::sys::signal::Signal;

use super::agent::{Agent, policy, signal, synchronous, writable};
use super::probe::{Ledger, Prober};
use super::world::Pair;
use crate::world::said;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_the_most_advanced_takes_over_and_the_other_is_named_until_it_follows() {
    let pair = Pair::of(&["db1", "db2", "db3"]).await;
    pair.sql("db1", "create table probe (who text)");
    pair.configure(&policy(", set = { rebuild = \"false\" }"));
    synchronous(&pair, "db1", "db2");
    let agent = Agent::start(&pair);
    agent.watches(&pair, "db1", "db2").await;
    agent.watches(&pair, "db1", "db3").await;
    // The third loses its way to the primary a moment before the primary is lost: it is healthy, and behind.
    let conninfo = pair.sql("db3", "show primary_conninfo");
    pair.sql("db3", "alter system set primary_conninfo = 'host=/nowhere'");
    pair.sql("db3", "select pg_reload_conf()");
    pair.until("db3 is cut off", || {
        pair.sql("db1", "select count(*) from pg_stat_replication") == "1"
    })
    .await;
    let (ledger, prober) = (Ledger::begin(&pair), Prober::begin(&pair).await);
    pair.until("rows are written", || ledger.count() > 50).await;
    signal(&pair.data("db1"), Signal::SIGKILL);
    writable(&pair, "db2").await;
    let then = ledger.count();
    pair.until("rows are written to db2", || ledger.count() > then + 20)
        .await;
    agent
        .seen(&pair, "the execution has ended", |picture| {
            picture.executions.is_empty()
        })
        .await;
    ledger.end(&pair, "db2").await;
    prober.end("db2").await;
    assert_eq!(pair.sql("db3", "select pg_is_in_recovery()"), "t");
    // It is behind a primary that is gone: it is named, with what to do.
    let (status, _) = pair.status();
    let signs = status["signs"].as_array().unwrap();
    let of_third = signs
        .iter()
        .find(|sign| sign["member"] == "db3")
        .unwrap_or_else(|| panic!("{status:#}"));
    assert_eq!(of_third["sign"], "not-streaming", "{status:#}");
    let next = of_third["next"].as_str().unwrap();
    assert!(next.contains("cluster rewind orders db3 --stop"), "{of_third:#}");
    assert!(conninfo.contains("s-db1"), "{conninfo}");
    pair.done(&["cluster", "rewind", "orders", "db3", "--stop", "--yes", "db3"]);
    let rows = pair.sql("db2", "select count(*) from ledger");
    pair.until("the third follows the new primary", || {
        pair.sql("db3", "select count(*) from ledger") == rows
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_that_is_a_command_is_proved_before_anybody_is_promoted() {
    let pair = Pair::new().await;
    pair.sql("db1", "create table probe (who text)");
    // The servers are somewhere else as far as the agent knows: only the command can keep the primary out.
    let data = pair.data("db1");
    let (allowed, ran) = (pair.at("own/allowed"), pair.at("own/ran"));
    let script = pair.script(
        "fence",
        &format!(
            "#!/bin/sh\necho \"$LIFEBOAT_CLUSTER $LIFEBOAT_MEMBER\" >> {ran}\n[ -e {allowed} ] || {{ echo the switch does not answer; exit 1; }}\n\
             for p in /proc/[0-9]*; do [ \"$(readlink $p/cwd)\" = {data} ] && kill -KILL ${{p#/proc/}}; done\nexit 0\n",
            ran = ran.display(),
            allowed = allowed.display(),
            data = data.display()
        ),
    );
    let fence = format!("fence = {{ command = [\"{}\"] }}\n", script.display());
    pair.configure_elsewhere(&(fence + &policy(", set = { rebuild = \"false\" }")));
    synchronous(&pair, "db1", "db2");
    let agent = Agent::start(&pair);
    agent.watches(&pair, "db1", "db2").await;
    let (ledger, prober) = (Ledger::begin(&pair), Prober::begin(&pair).await);
    pair.until("rows are written", || ledger.count() > 50).await;
    // It hangs, and comes back unless somebody sees to it that it does not.
    signal(&data, Signal::SIGSTOP);
    let mut failed = Vec::new();
    for _ in 0..900 {
        failed = agent.ended().await;
        if !failed.is_empty() {
            break;
        }
        pair.clock.sleep(std::time::Duration::from_millis(50)).await;
    }
    let first = failed
        .pop()
        .unwrap_or_else(|| panic!("nothing was tried: {}", super::agent::agent_log(&pair)));
    assert_eq!(first.outcome, RunbookOutcome::Failed);
    let states: Vec<(&str, StepState)> = first
        .run
        .rows()
        .map(|(step, done)| (step.id.as_str(), done.state))
        .collect();
    assert!(states.contains(&("fence", StepState::Failed)), "{states:?}");
    assert!(states.contains(&("promote", StepState::Pending)), "{states:?}");
    assert_eq!(
        pair.sql("db2", "select pg_is_in_recovery()"),
        "t",
        "nobody is promoted without the fence"
    );
    let why = pair.lifeboat(&["runbook", "report", first.run.id.as_str()]);
    assert!(said(&why).contains("the switch does not answer"), "{}", said(&why));
    // The next attempt can prove it.
    std::fs::write(&allowed, "").unwrap();
    writable(&pair, "db2").await;
    assert!(
        super::agent::processes(&data).is_empty(),
        "the fence command has ended it"
    );
    agent
        .seen(&pair, "the execution has ended", |picture| {
            picture.executions.is_empty()
        })
        .await;
    let text = std::fs::read_to_string(&ran).unwrap();
    assert!(
        text.lines().count() >= 2 && text.lines().all(|line| line == "orders db1"),
        "{text}"
    );
    ledger.end(&pair, "db2").await;
    prober.end("db2").await;
}
