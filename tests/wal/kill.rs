//! Pushes that are killed, at any moment.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::World;

#[tokio::test]
async fn pushes_killed_at_random_moments_lose_nothing() {
    let world = World::new(true).await;
    let base = world.base_backup("base");
    let (mut rows, mut killed) = (0, 0);
    for round in 0..6 {
        for _ in 0..3 {
            world.fill(rows, rows + 500);
            rows += 500;
            world.switch();
        }
        world
            .until("something pushes", || !world.processes("push").is_empty())
            .await;
        let pause = getrandom::u64().unwrap() % 300;
        world.clock.sleep(Duration::from_millis(pause)).await;
        // The call itself seldom: when a signal ends it, the server waits ten seconds before it calls again.
        let all = round % 4 == 3;
        let victims = if all { world.processes("push") } else { world.pushers() };
        for pid in victims {
            killed += usize::from(kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok());
        }
    }
    assert!(killed >= 4, "hardly anything was killed: {killed}");
    let last = world.switch();
    world.archived(&last).await;
    let (report, exit) = world.json(&[
        "wal",
        "verify",
        "--data",
        &world.data().display().to_string(),
        "--read-data",
    ]);
    assert_eq!(exit, 0, "{report:#}");
    assert_eq!(report[0]["timelines"][0]["last"], last.as_str());
    let recovered = world.recover(&base, "latest", "").await;
    assert_eq!(recovered.sql("select count(*) from ledger"), rows.to_string());
}
