//! A server archives, and comes back to a chosen instant.

use crate::world::{World, code, said};

#[tokio::test]
async fn a_server_archives_through_push_and_comes_back_to_a_chosen_instant() {
    let world = World::new(true).await;
    let base = world.base_backup("base");
    let mut instants = Vec::new();
    for step in 0..4 {
        world.fill(step * 1000, (step + 1) * 1000);
        // Several segments at a time, so that there is something to ship, and to fetch, in parallel.
        for _ in 0..3 {
            world.sql("create table if not exists noise (n int); insert into noise values (1)");
            world.switch();
        }
        world.sql("select pg_sleep(0.02)");
        instants.push(world.sql("select clock_timestamp()"));
        world.sql("select pg_sleep(0.02)");
    }
    world.sql("delete from ledger");
    let last = world.switch();
    world.archived(&last).await;
    assert_eq!(world.sql("select failed_count from pg_stat_archiver"), "0");

    let (report, exit) = world.json(&[
        "wal",
        "verify",
        "--data",
        &world.data().display().to_string(),
        "--read-data",
    ]);
    assert_eq!(exit, 0, "{report:#}");
    let line = &report[0]["timelines"][0];
    // The server may have switched once more by itself since.
    assert!(line["last"].as_str().unwrap() >= last.as_str(), "{report:#}");
    assert_eq!(line["ranges"].as_array().unwrap().len(), 1, "{report:#}");
    let (rows, _) = world.json(&["wal", "list"]);
    assert!(rows[0]["segments"].as_u64() >= line["segments"].as_u64(), "{rows:#}");
    assert_eq!(rows[0]["gaps"], 0);

    for (step, rows) in [(0, 1000), (2, 3000)] {
        let target = format!("recovery_target_time = '{}'", instants[step]);
        let recovered = world.recover(&base, &format!("at-{step}"), &target).await;
        assert_eq!(
            recovered.sql("select count(*), coalesce(max(n), 0) from ledger"),
            format!("{rows}|{}", rows - 1)
        );
    }

    // restic sees a repository, and nothing of the archive in it.
    let restic = std::process::Command::new("restic")
        .args([
            "-r",
            &world.own().join("repo").display().to_string(),
            "--no-cache",
            "check",
            "--read-data",
        ])
        .env("RESTIC_PASSWORD_FILE", world.own().join("password"))
        .output()
        .expect("restic is installed: apt-get install restic");
    assert_eq!(code(&restic), 0, "{}", said(&restic));
}
