//! Point-in-time recovery with the program itself: every result is held against what was committed by then.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::ledger::{Entry, SUM, ask, recover, servers_on, spend, target};
use crate::world::{Killed, World, as_server, code, said};

#[tokio::test]
async fn a_killed_server_comes_back_as_it_was_at_any_instant() {
    let world = World::new(false).await;
    world.sql("create table account (id bigint generated always as identity, amount bigint not null)");
    let _receiver = world.receiver("200ms", &[]);
    let mut entries = Vec::new();
    world
        .until("the slot is there", || {
            world.sql("select count(*) from pg_replication_slots where active") == "1"
        })
        .await;
    spend(&world, &mut entries, 5);
    world.snapshot("first").await;
    let first = entries.len();
    for round in 0..3 {
        spend(&world, &mut entries, 15);
        world.fill(round * 20_000, round * 20_000 + 20_000);
    }
    world.snapshot("second").await;
    let second = entries.len();
    spend(&world, &mut entries, 20);
    let live: lifeboat::domain::wal::Lsn = world.sql("select pg_current_wal_flush_lsn()").parse().unwrap();
    let archived = || {
        let (rows, _) = world.json(&["wal", "list"]);
        let end = rows
            .as_array()
            .and_then(|rows| rows.last()?["end"].as_str()?.parse().ok());
        end.unwrap_or(lifeboat::domain::wal::Lsn(0))
    };
    // Zeros at the end of a page are not stored, and alignment may be all there is.
    world
        .until("the end of the log is archived", || archived().0 + 8 >= live.0)
        .await;
    kill(
        Pid::from_raw(i32::try_from(world.server.pid().unwrap()).unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();

    let (known, exit) = recover(&world, &["--list"]);
    assert_eq!(exit, 0, "{known:#}");
    assert_eq!(known["intervals"].as_array().unwrap().len(), 1, "{known:#}");
    assert_eq!(known["intervals"][0]["bases"].as_array().unwrap().len(), 2);
    for (lowest, highest) in [
        (first, second - 2),
        (second, entries.len() - 2),
        (first, entries.len() - 2),
    ] {
        let chosen = lowest + getrandom::u32().unwrap() as usize % (highest - lowest);
        let entry = &entries[chosen];
        let place = target(&world, &format!("at-{chosen}"));
        let (paused, exit) = recover(&world, &["--to", &entry.after, "--target", &place, "--pause"]);
        assert_eq!(exit, 0, "entry {chosen}: {paused:#}");
        assert_eq!(paused["standing"], "paused");
        assert_eq!(
            ask(&world, &paused, SUM),
            entry.sum.to_string(),
            "entry {chosen} at {}",
            entry.after
        );
        assert_eq!(ask(&world, &paused, "select pg_is_in_recovery()"), "t");
        let name = format!("at-{chosen}");
        let (discarded, exit) = recover(&world, &["--discard", &place, "--yes", &name]);
        assert_eq!(exit, 0, "{discarded:#}");
        assert!(!PathBuf::from(&place).exists() && !PathBuf::from(format!("{place}.lifeboat")).exists());
        assert!(servers_on(&place).is_empty());
    }
    killed_at_random_moments(&world, &entries[second]).await;
    // Everything that was ever committed, opened and stopped in good order.
    let place = target(&world, "latest");
    let (all, exit) = recover(&world, &["--latest", "--target", &place, "--start"]);
    assert_eq!(exit, 0, "{all:#}");
    assert_eq!(ask(&world, &all, SUM), entries.last().unwrap().sum.to_string());
    assert_eq!(all["timeline"], 2);
    ask(&world, &all, "insert into account (amount) values (1)");
    // It waits for no standby, archives nothing, and has none of our settings in it.
    assert_eq!(ask(&world, &all, "show archive_mode"), "off");
    let own = std::fs::read_to_string(format!("{place}/postgresql.auto.conf")).unwrap();
    assert!(!own.contains("restore_command"), "{own}");
    let (refused, exit) = recover(&world, &["--latest", "--target", &place]);
    assert_eq!(exit, 4, "a running server's directory: {refused:#}");
    for pid in servers_on(&place) {
        kill(Pid::from_raw(pid), Signal::SIGQUIT).unwrap();
    }
}

/// The program killed, again and again, at any moment of a recovery; then it goes through.
async fn killed_at_random_moments(world: &World, entry: &Entry) {
    let place = target(world, "killed");
    let args = ["--json", "recover", "--to", &entry.after, "--target", &place, "--pause"];
    for _ in 0..5 {
        let mut child = Killed(
            world
                .command(&world.own(), &args)
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap(),
        );
        let moment = u64::from(getrandom::u32().unwrap() % 2500);
        world.clock.sleep(Duration::from_millis(moment)).await;
        child.0.kill().unwrap();
        child.0.wait().unwrap();
    }
    let (paused, exit) = recover(world, &args[2..]);
    assert_eq!(exit, 0, "{paused:#}");
    assert_eq!(ask(world, &paused, SUM), entry.sum.to_string());
    let server = servers_on(&place);
    assert_eq!(server.len(), 1, "one server, and none of those before: {server:?}");
    // The machine goes down while it is paused: the same target again, then opened, and stopped in good order.
    kill(Pid::from_raw(server[0]), Signal::SIGKILL).unwrap();
    world.until("it is gone", || servers_on(&place).is_empty()).await;
    let (opened, exit) = recover(world, &["--promote", &place]);
    assert_eq!(exit, 0, "{opened:#}");
    assert_eq!(
        (&opened["standing"], &opened["running"]),
        (&"open".into(), &false.into())
    );
    assert!(servers_on(&place).is_empty());
    assert!(!PathBuf::from(format!("{place}/recovery.signal")).exists());
    let state = as_server(&world.server.bin_dir.join("pg_controldata"))
        .arg(&place)
        .output()
        .unwrap();
    let state = String::from_utf8_lossy(&state.stdout).into_owned();
    assert!(
        state.contains("Database cluster state:               shut down\n"),
        "{state}"
    );
    let (refused, exit) = recover(world, &["--to", &entry.after, "--target", &place]);
    assert_eq!(exit, 4, "what was opened is never touched again: {refused:#}");
}

#[tokio::test]
async fn pauses_moves_on_and_opens() {
    let world = World::new(true).await;
    world.sql("create table account (id bigint generated always as identity primary key, amount bigint not null check (amount > 0))");
    let mut entries = Vec::new();
    world.snapshot("first").await;
    spend(&world, &mut entries, 3);
    world.switch();
    spend(&world, &mut entries, 3);
    world.sql("select pg_create_restore_point('before the deploy')");
    let named = entries.len();
    spend(&world, &mut entries, 3);
    world.switch();
    spend(&world, &mut entries, 3);
    let last = world.switch();
    world.archived(&last).await;

    let place = target(&world, "stepwise");
    let step = |args: &[&str], sum: i64| {
        let (paused, exit) = recover(&world, args);
        assert_eq!(
            (exit, &paused["standing"]),
            (0, &"paused".into()),
            "{args:?}: {paused:#}"
        );
        assert_eq!(ask(&world, &paused, SUM), sum.to_string(), "{args:?}");
        paused
    };
    step(
        &["--to-xid", &entries[1].xid, "--target", &place, "--pause"],
        entries[1].sum,
    );
    step(
        &["--resume", &place, "--to-xid", &entries[3].xid, "--exclusive"],
        entries[2].sum,
    );
    step(
        &["--resume", &place, "--to-name", "before the deploy"],
        entries[named - 1].sum,
    );
    let (back, exit) = recover_refused(&world, &["--resume", &place, "--to-xid", &entries[0].xid]);
    assert_eq!(exit, 4, "{back}");
    assert!(back.contains("only replayed forward"), "{back}");
    // Nor when the server is gone: then its control file says how far it was.
    for pid in servers_on(&place) {
        kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
    }
    world.until("it has stopped", || servers_on(&place).is_empty()).await;
    let (back, exit) = recover_refused(&world, &["--resume", &place, "--to-xid", &entries[0].xid]);
    assert_eq!(exit, 4, "{back}");
    assert!(back.contains("only replayed forward"), "{back}");
    let lsn = &entries[8].lsn;
    let paused = step(&["--resume", &place, "--to-lsn", lsn, "--exclusive"], entries[7].sum);
    assert!(paused["psql"].as_str().unwrap().contains("psql -h "), "{paused:#}");
    let end = step(&["--resume", &place, "--latest"], entries[11].sum);
    assert_eq!(
        ask(&world, &end, "select pg_is_in_recovery()"),
        "t",
        "it waits at the end of the log"
    );
    let (opened, exit) = recover(&world, &["--promote", &place, "--start"]);
    assert_eq!(exit, 0, "{opened:#}");
    assert_eq!((&opened["timeline"], &opened["running"]), (&2.into(), &true.into()));
    let log = std::fs::read_to_string(format!("{place}.lifeboat/server.log")).unwrap();
    assert!(!log.contains("connection to client lost"), "we hang up rudely: {log}");
    ask(&world, &opened, "insert into account (amount) values (1)");
    let (gone, exit) = recover_refused(&world, &["--discard", &place, "--yes", "stepwise"]);
    assert_eq!(exit, 4, "what was opened is not removed: {gone}");
    for pid in servers_on(&place) {
        kill(Pid::from_raw(pid), Signal::SIGQUIT).unwrap();
    }
    refusals(&world, &entries);
    one_table(&world, &entries);
    an_archive_that_cannot_be_read(&world);
}

/// What it said, on the error stream, and its exit code.
fn recover_refused(world: &World, args: &[&str]) -> (String, i32) {
    let mut all = vec!["recover"];
    all.extend(args);
    let output = world.lifeboat(&world.own(), &all);
    (said(&output), code(&output))
}

fn refusals(world: &World, entries: &[Entry]) {
    let place = target(world, "refused");
    let refused = |args: &[&str], words: &[&str]| {
        let mut all = vec!["--target", &place];
        all.extend(args);
        let (text, exit) = recover_refused(world, &all);
        assert_eq!(exit, 4, "{text}");
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(!PathBuf::from(&place).exists(), "{text}");
    };
    refused(
        &["--to", "2020-01-01"],
        &["before the first restorable instant", "hint:"],
    );
    refused(
        &["--to", "2099-01-01"],
        &["after the last restorable instant", "--latest"],
    );
    refused(&["--to-xid", "4000000000"], &["not in the log from"]);
    refused(&["--to-name", "before the"], &["not in the log from"]);
    refused(&["--to-lsn", "FF/0"], &["after the last restorable instant"]);
    refused(&["--latest", "--timeline", "7"], &["nothing is known of timeline 7"]);
    // A segment in the middle is lost: everything behind it is, too, and it is named.
    let missing = world.sql(&format!("select pg_walfile_name('{}')", entries[7].lsn));
    let (object, aside) = (world.folder().join(&missing), world.own().join("aside"));
    std::fs::rename(&object, &aside).unwrap();
    refused(
        &["--to", &entries[8].after],
        &["segment", &missing, "is missing", "restorable is everything up to"],
    );
    refused(&["--to-lsn", &entries[8].lsn], &[&missing]);
    let (known, exit) = recover(world, &["--list"]);
    assert_eq!(
        (exit, &known["holes"][0]["missing"]["first"]),
        (0, &missing.as_str().into()),
        "{known:#}"
    );
    std::fs::rename(&aside, &object).unwrap();
    let other = world.own().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("letter"), "dear").unwrap();
    let (text, exit) = recover_refused(world, &["--latest", "--target", &other.display().to_string()]);
    assert_eq!(exit, 4, "{text}");
    let (text, exit) = recover_refused(world, &["--latest", "--target", &world.data().display().to_string()]);
    assert_eq!(exit, 4, "{text}");
    let (plan, exit) = recover(world, &["--to", &entries[4].before, "--plan"]);
    assert_eq!((exit, &plan["exact"]), (0, &true.into()), "{plan:#}");
}

/// Somebody deletes without a condition; the table as it was comes back beside the one that is there.
fn one_table(world: &World, entries: &[Entry]) {
    let host = world.server.connection().host.replace('/', "%2F");
    let live = format!("postgres://lifeboat@{host}/postgres");
    let place = target(world, "scratch");
    let args = [
        "--to",
        &entries[4].after,
        "--target",
        &place,
        "--table",
        "public.account",
        "--into",
        &live,
        "--as",
        "account_before",
    ];
    let (copied, exit) = recover(world, &args);
    assert_eq!(exit, 0, "{copied:#}");
    assert_eq!(copied["rows"], 5);
    assert_eq!(copied["constraints"], 2);
    assert_eq!(
        world.sql("select sum(amount) from account_before"),
        entries[4].sum.to_string()
    );
    assert!(!PathBuf::from(&place).exists() && servers_on(&place).is_empty());
    let (text, exit) = recover_refused(world, &args);
    assert_eq!(exit, 2, "the name is taken: {text}");
    assert!(!PathBuf::from(&place).exists(), "{text}");
    // A recovery that fails leaves as little as one that went through; what was there before it stays.
    let mut failing = args.to_vec();
    failing.extend(["--set", "shared_preload_libraries=no_such_library"]);
    failing[9] = "account_again";
    let (text, exit) = recover_refused(world, &failing);
    assert_eq!(exit, 1, "{text}");
    assert!(!PathBuf::from(&place).exists() && !PathBuf::from(format!("{place}.lifeboat")).exists());
    std::fs::create_dir(&place).unwrap();
    std::fs::write(format!("{place}/letter"), "dear").unwrap();
    let (text, exit) = recover_refused(world, &failing);
    assert_eq!(exit, 4, "{text}");
    assert!(PathBuf::from(format!("{place}/letter")).exists());
    std::fs::remove_dir_all(&place).unwrap();
}

/// An archive that cannot be read is not the end of the log: the server stops, and is never opened too early.
fn an_archive_that_cannot_be_read(world: &World) {
    let segment = world
        .folder()
        .join(world.sql("select pg_walfile_name(pg_current_wal_lsn())"));
    let newest = std::fs::read_dir(world.folder())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let newest = newest
        .filter(|path| path.file_name().unwrap().len() == 24 && *path < segment)
        .max()
        .unwrap();
    let bytes = std::fs::read(&newest).unwrap();
    let mut bad = bytes.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    std::fs::set_permissions(&newest, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&newest, &bad).unwrap();
    let place = target(world, "unread");
    let (text, exit) = recover_refused(world, &["--latest", "--target", &place]);
    assert_eq!(exit, 1, "{text}");
    assert!(text.contains("the archive could not be read"), "{text}");
    assert!(servers_on(&place).is_empty());
    assert!(
        PathBuf::from(&place).join("recovery.signal").exists(),
        "it was not opened"
    );
    std::fs::write(&newest, &bytes).unwrap();
    let (all, exit) = recover(world, &["--latest", "--target", &place]);
    assert_eq!(
        (exit, &all["written"]),
        (0, &Value::Null),
        "it goes on with what is there: {all:#}"
    );
}
