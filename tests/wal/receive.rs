//! Receiving: the recovery point under load, kills, refusals, a clean end.

use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lifeboat::domain::wal::Lsn;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{Killed, World};

fn receiver(world: &World) -> Killed {
    world.receiver("1s", &[])
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

fn archived(world: &World) -> Lsn {
    let (rows, _) = world.json(&["wal", "list"]);
    let end = rows
        .as_array()
        .and_then(|rows| rows.last()?["end"].as_str().map(str::to_owned));
    end.map_or(Lsn(0), |end| end.parse().unwrap())
}

fn live(world: &World) -> Lsn {
    world.sql("select pg_current_wal_flush_lsn()").parse().unwrap()
}

/// Writes to the ledger until it is told to stop; counts what was committed.
fn load(world: &World, stop: &Arc<AtomicBool>, rows: &Arc<AtomicU64>) -> std::thread::JoinHandle<()> {
    let (stop, rows) = (Arc::clone(stop), Arc::clone(rows));
    let (program, host) = (world.server.bin_dir.join("psql"), world.server.connection().host);
    std::thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            let from = rows.load(Ordering::SeqCst);
            let sql = format!(
                "insert into ledger select n, repeat(md5(n::text), 8) from generate_series({from}, {from} + 1999) n"
            );
            let args = ["-XAtq", "-h", &host, "-U", "lifeboat", "-d", "postgres", "-c", &sql];
            let done = std::process::Command::new(&program)
                .env_clear()
                .args(args)
                .status()
                .unwrap();
            assert!(done.success());
            rows.fetch_add(2000, Ordering::SeqCst);
        }
    })
}

#[tokio::test]
async fn the_recovery_point_is_seconds_old_under_load_and_nothing_is_lost_when_it_is_killed() {
    let world = World::new(false).await;
    let mut running = receiver(&world);
    // The slot is there before the base backup, so that the server keeps its log from then on.
    world
        .until("the slot is in use", || {
            world.sql("select count(*) from pg_replication_slots where slot_name = 'lifeboat' and active") == "1"
        })
        .await;
    let base = world.base_backup("base");
    let (stop, rows) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = load(&world, &stop, &rows);
    let mut lags = Vec::new();
    for round in 0..5 {
        let (wanted, begun) = (live(&world), world.clock.monotonic());
        world
            .until("what was written then is archived", || archived(&world) >= wanted)
            .await;
        lags.push(world.clock.elapsed(begun));
        if round == 1 || round == 3 {
            world
                .clock
                .sleep(Duration::from_millis(getrandom::u64().unwrap() % 1500))
                .await;
            signal(&running.0, Signal::SIGKILL);
            running.0.wait().unwrap();
            running = receiver(&world);
        }
    }
    stop.store(true, Ordering::SeqCst);
    writer.join().unwrap();
    lags.sort();
    eprintln!(
        "from the live to the archived position: {lags:?}, {} rows",
        rows.load(Ordering::SeqCst)
    );
    assert!(lags[2] <= Duration::from_secs(5), "{lags:?}");

    // The server commits asynchronously: only behind a commit that waited is everything before it written.
    world.sql("set synchronous_commit = on; create table written ()");
    let end = live(&world);
    world.until("all is archived", || archived(&world) >= end).await;
    signal(&running.0, Signal::SIGINT);
    assert_eq!(running.0.wait().unwrap().code(), Some(5));
    let said = world.said();
    assert!(said.contains("receiving from") && said.contains("stopped"), "{said}");
    assert!(
        world.processes("directory=").is_empty(),
        "pg_receivewal is left running"
    );
    let (report, exit) = world.json(&["wal", "verify", "--read-data"]);
    assert_eq!(exit, 0, "{report:#}");
    let recovered = world.recover(&base, "latest", "").await;
    assert_eq!(
        recovered.sql("select count(*) from ledger"),
        rows.load(Ordering::SeqCst).to_string(),
        "the newest, unfinished segment counts too"
    );
}

#[tokio::test]
async fn a_new_directory_continues_where_the_archive_ends_and_another_cluster_is_refused() {
    let world = World::new(false).await;
    let mut running = receiver(&world);
    world.fill(0, 2000);
    let first = world.switch();
    let has = |name: &str| world.folder().join(name).exists();
    world.until("the first is archived", || has(&first)).await;
    signal(&running.0, Signal::SIGTERM);
    assert_eq!(running.0.wait().unwrap().code(), Some(5));
    std::fs::remove_dir_all(world.own().join("receiver")).unwrap();
    world.fill(2000, 4000);
    world.switch();
    world.fill(4000, 6000);
    let third = world.switch();
    running = receiver(&world);
    world.until("the third is archived", || has(&third)).await;
    let (report, exit) = world.json(&["wal", "verify"]);
    assert_eq!(
        (exit, report[0]["timelines"][0]["ranges"].as_array().unwrap().len()),
        (0, 1),
        "{report:#}"
    );
    signal(&running.0, Signal::SIGINT);
    running.0.wait().unwrap();

    std::fs::write(world.own().join("receiver/system"), "7\n").unwrap();
    let mut refused = receiver(&world);
    assert_eq!(refused.0.wait().unwrap().code(), Some(4));
    let said = world.said();
    assert!(said.contains("another cluster"), "{said}");
}

#[tokio::test]
async fn a_server_waits_when_the_store_does_and_a_gap_that_cannot_be_helped_is_told() {
    let world = World::new(false).await;
    let mut running = world.receiver("1s", &["--limit", "16MiB"]);
    world.fill(0, 2000);
    let first = world.switch();
    let has = |name: &str| world.folder().join(name).exists();
    world.until("the first is archived", || has(&first)).await;
    let (repo, away) = (world.own().join("repo"), world.own().join("away"));
    std::fs::rename(&repo, &away).unwrap();
    let mut last = String::new();
    for step in 1..6 {
        world.fill(step * 2000, (step + 1) * 2000);
        last = world.switch();
    }
    let active = || world.sql("select active from pg_replication_slots where slot_name = 'lifeboat'") == "t";
    world.until("the server is made to wait", || !active()).await;
    assert!(running.0.try_wait().unwrap().is_none(), "the receiver goes on");
    std::fs::rename(&away, &repo).unwrap();
    world.until("all is archived", || has(&last)).await;
    assert_eq!(world.json(&["wal", "verify"]).1, 0);
    signal(&running.0, Signal::SIGINT);
    running.0.wait().unwrap();
    let said = world.said();
    assert!(said.contains("paused:") && said.contains("trouble"), "{said}");

    // Somebody drops the slot while nobody receives: the server removes its log.
    world.sql("select pg_drop_replication_slot('lifeboat')");
    for step in 6..14 {
        world.fill(step * 2000, (step + 1) * 2000);
        world.switch();
        world.sql("checkpoint");
    }
    let mut running = receiver(&world);
    world.fill(14 * 2000, 15 * 2000);
    let last = world.switch();
    world.until("it goes on behind the gap", || has(&last)).await;
    signal(&running.0, Signal::SIGINT);
    running.0.wait().unwrap();
    let said = world.said();
    assert!(said.contains("GAP: "), "{said}");
    let (report, exit) = world.json(&["wal", "verify"]);
    assert_eq!(
        (exit, report[0]["timelines"][0]["lost"].as_array().unwrap().len()),
        (1, 1),
        "{report:#}"
    );
}
