//! Automatic failover: a primary that is killed is replaced, one that only we do not reach is not.

use nix::sys::signal::Signal;

use lifeboat::domain::runbook::report::report;
use lifeboat::domain::runbook::{Cause, RunbookOutcome};
use lifeboat::domain::view::Overview;

use super::agent::{Agent, policy, signal, synchronous, writable};
use super::probe::{Ledger, Prober};
use super::world::Pair;

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
    // It comes back by itself, perhaps while it is being rewound: read-only, and then it follows.
    let fence = pair.sql("db2", "select pg_is_in_recovery()");
    assert_eq!(fence, "f");
    pair.try_start("db1");
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
