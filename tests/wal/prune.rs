//! Log that no base backup needs goes, and what is left restores.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::ledger::{SUM, ask, recover, servers_on, spend, target};
use crate::world::{World, code, said};

/// Nothing goes before the oldest base backup, nor at the first call; what may go does, and all that is left restores.
#[tokio::test]
async fn log_goes_that_no_base_needs() {
    let world = World::new(true).await;
    world.sql("create table account (id bigint generated always as identity primary key, amount bigint not null)");
    let mut entries = Vec::new();
    let prune = |more: &[&str]| {
        let mut all = vec!["wal", "prune"];
        all.extend(more);
        world.json(&all)
    };
    for _ in 0..2 {
        spend(&world, &mut entries, 2);
        let last = world.switch();
        world.archived(&last).await;
    }
    let refused = world.lifeboat(&world.own(), &["wal", "prune"]);
    assert_eq!(code(&refused), 4, "there is no base backup: {}", said(&refused));
    world.snapshot("only").await;
    spend(&world, &mut entries, 2);
    let last = world.switch();
    world.archived(&last).await;
    let (noted, exit) = prune(&["--grace", "1ms"]);
    assert_eq!((exit, noted["goes"].as_array().unwrap().len()), (0, 0), "{noted:#}");
    let waits = noted["waits"].as_u64().unwrap();
    assert!(waits >= 2, "{noted:#}");
    let unsure = world.lifeboat(&world.own(), &["wal", "prune", "--grace", "1ms"]);
    assert_eq!(code(&unsure), 4, "nobody confirmed it: {}", said(&unsure));
    let system = world.sql("select system_identifier from pg_control_system()");
    let (early, _) = prune(&["--grace", "1h", "--yes", &system]);
    assert_eq!(early["goes"].as_array().unwrap().len(), 0, "{early:#}");
    let (pruned, exit) = prune(&["--grace", "1ms", "--yes", &system]);
    assert_eq!(
        (exit, pruned["goes"].as_array().unwrap().len() as u64),
        (0, waits),
        "{pruned:#}"
    );
    let (report, exit) = world.json(&["wal", "verify"]);
    assert_eq!(exit, 0, "{report:#}");
    assert_eq!(report[0]["restorable"].as_array().unwrap().len(), 1, "{report:#}");
    assert!(report[0]["restorable"][0]["to_at"].is_string(), "{report:#}");
    let (rows, _) = world.json(&["wal", "list"]);
    assert_eq!(rows[0]["restorable"][0]["to"], report[0]["restorable"][0]["to"]);
    let place = target(&world, "after");
    let (all, exit) = recover(&world, &["--latest", "--target", &place, "--pause"]);
    assert_eq!(exit, 0, "{all:#}");
    assert_eq!(ask(&world, &all, SUM), entries.last().unwrap().sum.to_string());
    let (gone, exit) = recover(&world, &["--discard", &place, "--yes", "after"]);
    assert_eq!(exit, 0, "{gone:#}");
    // By root, perhaps: the server runs as somebody else, and the copy is that user's.
    let output = world.as_ourselves(&["--json", "recover", "--latest", "--target", &place, "--start"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(ask(&world, &all, SUM), entries.last().unwrap().sum.to_string());
    a_timeline_without_a_history(&world, &all).await;
    for pid in servers_on(&place) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let uid = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
        assert!(!uid.split_whitespace().any(|word| word == "0"), "{uid}");
        kill(Pid::from_raw(pid), Signal::SIGQUIT).unwrap();
    }
}

/// An archive that begins on a later timeline: a base backup on it is enough, whatever it descends from.
async fn a_timeline_without_a_history(world: &World, opened: &Value) {
    let host = opened["socket"].as_str().unwrap();
    let rules = ask(world, opened, "show hba_file");
    let mut file = std::fs::OpenOptions::new().append(true).open(rules).unwrap();
    std::io::Write::write_all(&mut file, b"local replication all trust\n").unwrap();
    let before = ask(world, opened, "select pg_conf_load_time()");
    ask(world, opened, "select pg_reload_conf()");
    let loaded = || ask(world, opened, "select pg_conf_load_time()") != before;
    world.until("the rules are loaded", loaded).await;
    world.snapshot_at("second", host).await;
    ask(world, opened, "insert into account (amount) values (1000000)");
    let segment = ask(world, opened, "select pg_walfile_name(pg_current_wal_lsn())");
    assert!(segment.starts_with("00000002"), "{segment}");
    ask(world, opened, "select pg_switch_wal()");
    let path = format!("{}/pg_wal/{segment}", target(world, "after"));
    let pushed = world.lifeboat(&world.own(), &["wal", "push", &path]);
    assert_eq!(code(&pushed), 0, "{}", said(&pushed));
    let place = target(world, "no-history");
    let (all, exit) = recover(world, &["--latest", "--timeline", "2", "--target", &place, "--pause"]);
    assert_eq!(exit, 0, "{all:#}");
    assert_eq!(ask(world, &all, SUM), ask(world, opened, SUM));
    let (gone, exit) = recover(world, &["--discard", &place, "--yes", "no-history"]);
    assert_eq!(exit, 0, "{gone:#}");
}
