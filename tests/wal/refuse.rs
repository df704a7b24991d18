//! What must not be archived, what is missing, and what must not be taken for missing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::world::{World, as_server, code, give_away, said};

/// A directory like that of the server, with one of its segments, changed at some places.
fn copy(world: &World, name: &str, segment: &str, changes: &[(usize, u8)]) -> PathBuf {
    let place = world.own().join(name);
    for dir in ["", "pg_wal", "global"] {
        fs::create_dir(place.join(dir)).unwrap();
        give_away(&place.join(dir));
    }
    fs::copy(world.data().join("global/pg_control"), place.join("global/pg_control")).unwrap();
    give_away(&place.join("global/pg_control"));
    let mut bytes = fs::read(world.data().join("pg_wal").join(segment)).unwrap();
    for (at, value) in changes {
        bytes[*at] ^= value;
    }
    let path = place.join("pg_wal").join(segment);
    fs::write(&path, bytes).unwrap();
    give_away(&path);
    place
}

#[tokio::test]
async fn what_is_not_what_its_name_says_is_refused_and_what_is_lost_is_named() {
    let world = World::new(true).await;
    for step in 0..4 {
        world.fill(step * 100, (step + 1) * 100);
        world.switch();
    }
    let segment = world.switch();
    world.archived(&segment).await;
    let push = format!("pg_wal/{segment}");
    let pushed = |name: &str, changes: &[(usize, u8)]| {
        let place = copy(&world, name, &segment, changes);
        let output = world.lifeboat(&place, &["wal", "push", &push]);
        (code(&output), said(&output))
    };
    assert_eq!(pushed("same", &[]).0, 0, "the same content again is fine");
    for (name, changes, exit, word) in [
        ("torn", &[(1, 0xff)][..], 4, "corrupt"),
        ("moved", &[(11, 1)], 4, "corrupt"),
        ("foreign", &[(24, 1)], 4, "another cluster"),
        ("other", &[(100, 1)], 4, "two servers"),
    ] {
        let (found, text) = pushed(name, changes);
        assert_eq!(found, exit, "{name}: {text}");
        assert!(text.contains(word) && text.contains("hint:"), "{name}: {text}");
    }
    let (report, exit) = world.json(&["wal", "verify"]);
    assert_eq!(
        (exit, &report[0]["conflicts"][0]),
        (1, &segment.as_str().into()),
        "{report:#}"
    );
    let noted = fs::read_dir(world.folder()).unwrap().filter_map(Result::ok);
    for note in noted.filter(|entry| entry.file_name().to_string_lossy().contains("conflict")) {
        fs::remove_file(note.path()).unwrap();
    }

    let lost = world.json(&["wal", "list"]).0[0]["first"].as_str().unwrap().to_owned();
    let lost = format!(
        "{}{:08X}",
        &lost[..16],
        u32::from_str_radix(&lost[16..], 16).unwrap() + 1
    );
    fs::remove_file(world.folder().join(&lost)).unwrap();
    let output = world.lifeboat(&world.own(), &["wal", "verify"]);
    assert_eq!(code(&output), 1);
    assert!(said(&output).contains(&format!("LOST  {lost}\n")), "{}", said(&output));
    missing_is_not_unreadable(&world, &lost);
}

fn missing_is_not_unreadable(world: &World, lost: &str) {
    let place = copy(
        world,
        "restore",
        &fs::read_dir(world.folder())
            .unwrap()
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| world.data().join("pg_wal").join(name).exists())
            .max()
            .unwrap(),
        &[],
    );
    let fetch = |name: &str| world.lifeboat(&place, &["wal", "fetch", name, "pg_wal/RECOVERYXLOG"]);
    for name in [lost, "00000002.history", "0000000100000AAA000000AA"] {
        let output = fetch(name);
        assert_eq!(code(&output), 1, "{}", said(&output));
        assert!(
            output.stderr.is_empty() && output.stdout.is_empty(),
            "{}",
            said(&output)
        );
        assert!(!place.join("pg_wal/RECOVERYXLOG").exists());
    }
    // The same with a repository that cannot be read: PostgreSQL must not take that for the end of the log.
    let repo = world.own().join("repo");
    fs::rename(&repo, world.own().join("away")).unwrap();
    assert_eq!(code(&fetch(lost)), 200);
    fs::write(place.join("standby.signal"), "").unwrap();
    assert_eq!(code(&fetch(lost)), 1, "a standby asks again");
    let push = world.lifeboat(
        &world.data(),
        &["wal", "push", &format!("pg_wal/{}", newest(&world.data()))],
    );
    assert_eq!(code(&push), 1, "{}", said(&push));
    fs::rename(world.own().join("away"), &repo).unwrap();
}

fn newest(data: &Path) -> String {
    let names = fs::read_dir(data.join("pg_wal")).unwrap().filter_map(Result::ok);
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.len() == 24).min().unwrap()
}

#[tokio::test]
async fn an_unreachable_store_and_a_full_spool_cost_nothing_but_time() {
    let world = World::new(true).await;
    world.fill(0, 100);
    let first = world.switch();
    world.archived(&first).await;
    let repo = world.own().join("repo");
    fs::rename(&repo, world.own().join("away")).unwrap();
    world.fill(100, 200);
    let second = world.switch();
    world
        .until("the server is told", || {
            world.sql("select failed_count > 0 from pg_stat_archiver") == "t"
        })
        .await;
    assert!(world.data().join("pg_wal").join(&second).exists());
    fs::rename(world.own().join("away"), &repo).unwrap();
    // A spool that cannot be written: the push does without.
    let spool = world.own().join("spool");
    fs::rename(&spool, world.own().join("spool-away")).unwrap();
    fs::write(&spool, "no directory").unwrap();
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o600)).unwrap();
    world.sql("select pg_reload_conf()");
    world.archived(&second).await;
    assert_eq!(world.json(&["wal", "verify"]).1, 0);
    // A segment that waits for too long is late.
    let stop = as_server(Path::new("/bin/mv"))
        .arg(&repo)
        .arg(world.own().join("away"))
        .status()
        .unwrap();
    assert!(stop.success());
    world.fill(200, 300);
    let third = world.switch();
    let ready = world
        .data()
        .join("pg_wal/archive_status")
        .join(format!("{third}.ready"));
    world.until("it is ready", || ready.exists()).await;
    let away = world.own().join("away").display().to_string();
    let data = world.data().display().to_string();
    let late = [
        "wal",
        "--repository",
        &away,
        "verify",
        "--late-after",
        "0s",
        "--data",
        &data,
    ];
    let (report, exit) = world.json(&late);
    assert_eq!(
        (exit, &report[0]["late"][0]["name"]),
        (3, &third.as_str().into()),
        "{report:#}"
    );
}
