//! A recovered server that several want to end at the same moment, that vanishes while it waits, and whose log is wanted by a prune.

use std::path::Path;

use lifeboat::domain::alert::AlertKind;
use lifeboat::domain::command::Command;
use lifeboat::domain::follow_up::{Fate, FollowUp};
use lifeboat::domain::run::Outcome;
use lifeboat::source::postgres::recovery::Hold;

use crate::engine::{left_by, seen};
use crate::follow_up::Scene;
use crate::ledger::{servers_on, target};
use crate::world::said;

#[tokio::test]
async fn one_process_at_a_time_ends_a_recovered_server_and_the_others_are_told_who() {
    let scene = Scene::new().await;
    let place = target(&scene.world, "wanted");
    let record = scene.recover(&place, 5).await;
    let id = record.id.clone();
    let hold = Hold::take(Path::new(&place), "being looked at", &scene.world.clock)
        .await
        .unwrap();
    let us = format!("process {} on", std::process::id());
    for args in [
        ["recover", "--promote", &place, "--start", "--json"],
        ["recover", "--resume", &place, "--latest", "--json"],
        ["recover", "--discard", &place, "--yes", "wanted"],
    ] {
        let (refused, exit) = scene.program(&args);
        assert_eq!(exit, 4, "{args:?}: {refused:#}");
        let words = refused.to_string();
        assert!(words.contains(&us) && words.contains("being looked at"), "{words}");
    }
    // The agent is refused in the same words, and knows that nothing was done.
    for what in [FollowUp::Discard, FollowUp::Promote] {
        scene.order(&id, what).await;
        let server = scene.settled(&id).await;
        let step = server.steps.last().unwrap();
        assert_eq!(
            (server.seen.fate, step.outcome),
            (Fate::Waiting, Outcome::Failed),
            "{server:?}"
        );
        assert!(step.error.as_ref().unwrap().message.contains(&us), "{step:?}");
    }
    assert_eq!(
        scene.ask(&left_by(&scene.client, &id).await, "select pg_is_in_recovery()"),
        "t"
    );
    drop(hold);

    // Two at the same moment: one of them does it, whoever that is, and the other one nothing.
    let run = |args: Vec<&str>| {
        let mut command = scene.world.command(&scene.world.own(), &args);
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let opened = run(vec!["recover", "--promote", &place, "--start"]);
    let removed = run(vec!["recover", "--discard", &place, "--yes", "wanted"]);
    let (opened, removed) = (opened.wait_with_output().unwrap(), removed.wait_with_output().unwrap());
    let words = || format!("{}; {}", said(&opened), said(&removed));
    assert_ne!(opened.status.success(), removed.status.success(), "{}", words());
    let fate = if opened.status.success() {
        Fate::Promoted
    } else {
        Fate::Discarded
    };
    seen(&scene.world, &scene.client, "the agent sees it", |overview| {
        overview.waiting.is_empty()
    })
    .await;
    assert_eq!(left_by(&scene.client, &id).await.seen.fate, fate, "{}", words());
    assert_eq!(Path::new(&place).exists(), opened.status.success());
    for pid in servers_on(&place) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGQUIT).unwrap();
    }
}

#[tokio::test]
async fn a_server_that_vanishes_is_told_and_what_it_needs_is_kept_until_somebody_has_decided() {
    let scene = Scene::new().await;
    let place = target(&scene.world, "vanishing");
    let record = scene.recover(&place, 5).await;
    let id = record.id.clone();
    let base = record.request.snapshot.to_string();
    let (run, exit) = scene.program(&["job", "run", "orders", "--wait"]);
    assert_eq!(exit, 0, "{run:#}");
    let needed = || {
        let (plan, exit) = scene.program(&["wal", "prune", "--plan", "--window", "1ms"]);
        assert_eq!(exit, 0, "{plan:#}");
        plan["floor"]["base"]["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        needed(),
        base,
        "a newer base would do for the window, and not for the server that waits"
    );
    let forget = Command::ForgetSnapshots {
        snapshots: vec![record.request.snapshot.clone()],
        reason: "old".to_owned(),
    };
    let refused = scene.client.command(forget).await.unwrap_err();
    assert!(refused.message.contains(id.as_str()), "{refused:?}");

    let alert = async |what: &str, open: bool| {
        let overview = seen(&scene.world, &scene.client, what, |overview| {
            let mut kinds = overview.alerts.iter().map(|alert| alert.kind);
            kinds.any(|kind| kind == AlertKind::RecoveredServerGone) == open
        });
        let overview = overview.await;
        let found = overview
            .alerts
            .into_iter()
            .find(|alert| alert.kind == AlertKind::RecoveredServerGone);
        found.map(|alert| alert.next_step).unwrap_or_default()
    };
    for pid in servers_on(&place) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
    }
    let next = alert("its end is told", true).await;
    assert!(next.contains(&format!("lifeboat recovery resume {id}")), "{next}");
    scene.order(&id, FollowUp::Resume).await;
    assert_eq!(scene.settled(&id).await.seen.fate, Fate::Waiting);
    alert("it waits again", false).await;

    // Away, and back: nothing of it was touched meanwhile.
    let aside = format!("{place}.aside");
    std::fs::rename(&place, &aside).unwrap();
    let next = alert("its directory is missed", true).await;
    assert!(next.contains(&format!("lifeboat recovery discard {id}")), "{next}");
    assert_eq!(left_by(&scene.client, &id).await.seen.fate, Fate::Lost);
    assert_eq!(needed(), base, "it may come back");
    std::fs::rename(&aside, &place).unwrap();
    alert("it is there again", false).await;
    std::fs::remove_dir_all(&place).unwrap();
    alert("its directory is missed again", true).await;
    scene.order(&id, FollowUp::Discard).await;
    assert_eq!(scene.settled(&id).await.seen.fate, Fate::Discarded);
    alert("it is thrown away", false).await;
    let home = format!("{place}.lifeboat");
    assert!(
        !Path::new(&home).exists() && servers_on(&place).is_empty(),
        "nothing is left of it"
    );
    assert_ne!(needed(), base, "nobody needs it any more");
}
