//! Drills and recoveries through the engine: any instant of an archived log, proved by a private server, measured, removed.

use std::fs;
use std::path::PathBuf;

use lifeboat::domain::follow_up::Fate;
use lifeboat::domain::pitr::{Target, TimelineChoice};
use lifeboat::domain::recovery::{InstantWish, RecoveryRequest, RecoveryTarget};
use lifeboat::domain::run::Outcome;
use lifeboat::domain::view::{Overview, Query};
use serde_json::Value;

use crate::engine::{agent, carried_out, configure, configure_with, engine, left_by, seen};
use crate::ledger::{SUM, ask, recover, servers_on, spend, target};
use crate::world::{World, code, psql, said};

fn phases(record: &Value) -> Vec<&str> {
    let phases = record["phases"].as_array().unwrap();
    phases.iter().map(|phase| phase["phase"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_drill_proves_any_instant_and_leaves_nothing() {
    let world = World::new(true).await;
    world.sql("create table account (id bigint generated always as identity, amount bigint not null)");
    let path = configure(&world, 0);
    let config = path.to_str().unwrap();
    let (refused, exit) = engine(&world, config, &["drill", "run", "any"]);
    assert_ne!(exit, 0, "nothing can be restored yet: {refused:#}");
    let mut entries = Vec::new();
    spend(&world, &mut entries, 3);
    let (run, exit) = engine(&world, config, &["job", "run", "orders", "--wait"]);
    assert_eq!(exit, 0, "{run:#}");
    spend(&world, &mut entries, 10);
    world.fill(0, 5000);
    spend(&world, &mut entries, 5);
    let last = world.switch();
    world.archived(&last).await;

    let (record, exit) = engine(&world, config, &["drill", "run", "any", "--wait"]);
    assert_eq!(exit, 0, "{record:#}");
    assert_eq!(record["drill"], "any");
    assert_eq!(record["evidence"], "probed");
    assert!(record["request"]["instant"]["to"]["value"].is_string(), "{record:#}");
    assert!(
        phases(&record).contains(&"replay") && phases(&record).contains(&"cleanup"),
        "{record:#}"
    );
    let exact = &entries[8];
    configure(&world, exact.sum);
    let (record, exit) = engine(
        &world,
        config,
        &["drill", "run", "exact", "--to", &exact.after, "--wait"],
    );
    assert_eq!(exit, 0, "{record:#}");
    let (record, exit) = engine(&world, config, &["drill", "run", "any", "--latest", "--wait"]);
    assert_eq!(exit, 0, "{record:#}");
    assert!(record["replayed"].as_u64().unwrap() > 0, "{record:#}");

    // One whose question is answered otherwise, and one that nobody can reach.
    let (record, exit) = engine(&world, config, &["drill", "run", "strict", "--wait"]);
    assert_eq!(exit, 1, "{record:#}");
    assert!(
        record["error"]["message"].as_str().unwrap().contains("nobody spent"),
        "{record:#}"
    );
    let (refused, exit) = engine(&world, config, &["drill", "run", "any", "--to", "2001-01-01T00:00:00Z"]);
    assert_ne!(exit, 0, "{refused:#}");
    let (drills, _) = engine(&world, config, &["drill", "list"]);
    let last = |name: &str| {
        drills
            .as_array()
            .unwrap()
            .iter()
            .find(|drill| drill["name"] == name)
            .unwrap()["last"]
            .clone()
    };
    assert_eq!(
        (last("any")["outcome"].as_str(), last("strict")["outcome"].as_str()),
        (Some("succeeded"), Some("failed"))
    );
    let (alerts, _) = engine(&world, config, &["alert", "list"]);
    let kinds: Vec<&str> = alerts
        .as_array()
        .unwrap()
        .iter()
        .map(|alert| alert["kind"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"drill-failed"), "{alerts:#}");
    let left: Vec<_> = fs::read_dir(world.own())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !left.iter().any(|name| name.to_string_lossy().contains("scratch")),
        "{left:?}"
    );
    // What was measured says how long the next will take.
    let (services, _) = engine(&world, config, &["objectives"]);
    assert!(services[0]["rto"]["samples"].as_u64().unwrap() >= 3, "{services:#}");
}

#[tokio::test]
async fn a_prune_through_the_engine_removes_log_that_no_base_backup_needs() {
    let world = World::new(true).await;
    world.sql("create table account (id bigint generated always as identity, amount bigint not null)");
    let path = configure(&world, 0);
    let config = path.to_str().unwrap();
    let back_up = || {
        let (run, exit) = engine(&world, config, &["job", "run", "orders", "--wait"]);
        assert_eq!(exit, 0, "{run:#}");
    };
    back_up();
    world.fill(0, 1000);
    let early = world.switch();
    world.archived(&early).await;
    let has = |name: &str| world.folder().join(name).exists();
    let prune = || {
        let (done, exit) = engine(&world, config, &["maintenance", "prune", "near"]);
        assert_eq!(exit, 0, "{done:#}");
        done
    };
    prune();
    prune();
    assert!(has(&early), "the only base backup needs it");
    back_up();
    world.fill(1000, 2000);
    let late = world.switch();
    world.archived(&late).await;
    let (snapshots, _) = engine(&world, config, &["snapshot", "list"]);
    let first = snapshots.as_array().unwrap().last().unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let (forgotten, exit) = engine(&world, config, &["snapshot", "forget", &first, "--reason", "a test"]);
    assert_eq!(exit, 0, "{forgotten:#}");
    let noted = prune();
    assert!(has(&early), "the first prune only notes it: {noted:#}");
    let done = prune();
    assert!(!has(&early) && has(&late), "{done:#}");
    assert!(done.to_string().contains("of the log of cluster"), "{done:#}");
    let (report, exit) = world.json(&["wal", "verify"]);
    assert_eq!(exit, 0, "{report:#}");
}

#[tokio::test]
async fn the_agent_recovers_to_the_instant_that_was_planned_and_waits_there() {
    let world = World::new(true).await;
    world.sql("create table account (id bigint generated always as identity, amount bigint not null)");
    let path = configure(&world, 0);
    let config = path.to_str().unwrap();
    let mut entries = Vec::new();
    spend(&world, &mut entries, 3);
    let (run, exit) = engine(&world, config, &["job", "run", "orders", "--wait"]);
    assert_eq!(exit, 0, "{run:#}");
    spend(&world, &mut entries, 10);
    let last = world.switch();
    world.archived(&last).await;
    let (_agent, client) = agent(&world, config);
    // The gauge goes by the log within seconds, and the snapshot it begins from is known.
    let overview = seen(&world, &client, "the log is seen", |overview| {
        overview.services.iter().any(|service| service.rpo.by_log)
    })
    .await;
    assert!(
        overview.logs[0].recoverable_to.is_some() && overview.logs[0].gap.is_none(),
        "{:?}",
        overview.logs
    );
    let snapshots = client.snapshots(&Query::default()).await.unwrap().items;
    let place = target(&world, "at-an-instant");
    let wanted = &entries[6];
    let request = |to: &str| RecoveryRequest {
        snapshot: snapshots[0].id.clone(),
        repository: snapshots[0].repository.clone(),
        target: RecoveryTarget::Directory {
            path: place.clone().into(),
            include: Vec::new(),
            subpath: None,
            delta: false,
            quick: false,
            tablespaces: Vec::new(),
        },
        instant: Some(Box::new(InstantWish {
            to: Target::Time(format!("{}:00", to.replacen(' ', "T", 1)).parse().unwrap()),
            inclusive: true,
            timeline: TimelineChoice::default(),
            any_base: true,
            open: false,
        })),
        reason: None,
        plan_digest: None,
    };
    let impossible = client.plan(&request("2001-01-01 00:00:00+00")).await.unwrap();
    assert!(
        impossible.blockers[0].contains("before the first restorable instant"),
        "{impossible:?}"
    );
    let plan = client.plan(&request(&wanted.after)).await.unwrap();
    assert!(plan.blockers.is_empty() && plan.replay.is_some(), "{plan:?}");
    let confirmed = RecoveryRequest {
        plan_digest: Some(plan.digest.clone()),
        ..plan.request.clone()
    };
    let record = carried_out(&world, &client, confirmed).await;
    assert_eq!(record.outcome, Outcome::Succeeded, "{record:?}");
    let found = |what: &str| {
        record
            .findings
            .iter()
            .find(|finding| finding.what == what)
            .map(|finding| finding.detail.clone())
    };
    let words = found("look at it").unwrap_or_else(|| panic!("{record:?}"));
    let socket = words.split_whitespace().nth(2).unwrap();
    assert_eq!(psql(&world.server.bin_dir, socket, SUM), wanted.sum.to_string());
    assert_eq!(
        psql(&world.server.bin_dir, socket, "select pg_is_in_recovery()"),
        "t",
        "paused, to look first"
    );
    assert!(found("throw it away").unwrap().contains("--discard"));
    let left = record.left.clone().unwrap();
    assert_eq!((left.seen.fate, left.by.as_str()), (Fate::Waiting, "ana"));
    assert_eq!(left.seen.psql.as_deref(), Some(words.as_str()));
    // Thrown away by command, beside the agent: the agent sees it.
    let (discarded, exit) = recover(&world, &["--discard", &place, "--yes", "at-an-instant"]);
    assert_eq!(exit, 0, "{discarded:#}");
    assert!(servers_on(&place).is_empty() && !PathBuf::from(&place).exists());
    seen(&world, &client, "it is seen to be gone", |overview| {
        overview.waiting.is_empty()
    })
    .await;
    assert_eq!(left_by(&client, &record.id).await.seen.fate, Fate::Discarded);
}

#[tokio::test]
async fn the_agent_receives_the_log_itself_and_goes_on_after_it_was_killed() {
    let world = World::new(false).await;
    world.sql("create table account (id bigint generated always as identity, amount bigint not null)");
    let path = configure_with(&world, 0, "receive_slot = \"lifeboat\"");
    let config = path.to_str().unwrap();
    let (first, client) = agent(&world, config);
    seen(&world, &client, "the agent answers", |_| true).await;
    world
        .until("the slot is used", || {
            world.sql("select count(*) from pg_replication_slots where active") == "1"
        })
        .await;
    let run = world.lifeboat(&world.own(), &["--config", config, "job", "run", "orders", "--wait"]);
    assert_eq!(code(&run), 0, "{}", said(&run));
    let mut entries = Vec::new();
    spend(&world, &mut entries, 5);
    let reached = |since: lifeboat::domain::Timestamp| {
        move |overview: &Overview| {
            overview
                .logs
                .iter()
                .any(|log| log.recoverable_to.is_some_and(|to| to > since))
        }
    };
    let since = world.clock.now();
    let overview = seen(&world, &client, "what was spent is recoverable", reached(since)).await;
    assert_eq!(
        overview.logs[0]
            .receiver
            .as_ref()
            .map(|receiver| receiver.trouble.clone()),
        Some(None)
    );
    drop(first);
    spend(&world, &mut entries, 5);
    let (_second, client) = agent(&world, config);
    let since = world.clock.now();
    seen(&world, &client, "the second agent went on", reached(since)).await;
    let place = target(&world, "latest");
    let (all, exit) = recover(&world, &["--latest", "--target", &place, "--pause"]);
    assert_eq!(exit, 0, "{all:#}");
    assert_eq!(ask(&world, &all, SUM), entries.last().unwrap().sum.to_string());
    let (discarded, exit) = recover(&world, &["--discard", &place, "--yes", "latest"]);
    assert_eq!(exit, 0, "{discarded:#}");
}
