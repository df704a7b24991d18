//! A receiver follows the cluster through a switchover and the failback: the archive is whole, on every timeline.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use lifeboat::domain::wal::Lsn;
use serde_json::Value;

use super::world::Pair;
use crate::world::{Killed, as_server, code, give_away, said};

/// What the receiver connects to: a name that means one server or the other.
fn route(pair: &Pair, member: &str) {
    let (name, new) = (pair.at("own/shop"), pair.at("own/shop-new"));
    std::os::unix::fs::symlink(pair.host(member), &new).unwrap();
    std::fs::rename(&new, &name).unwrap();
}

fn with_repository(pair: &Pair, args: &[&str]) -> Command {
    let mut command = pair.command(args);
    command
        .env("LIFEBOAT_REPOSITORY", pair.at("own/repo"))
        .env("LIFEBOAT_PASSWORD_FILE", pair.at("own/password"));
    command
}

fn json(pair: &Pair, args: &[&str]) -> (Value, i32) {
    let output: Output = with_repository(pair, args).output().unwrap();
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    (value, code(&output))
}

fn archived(pair: &Pair) -> Lsn {
    let (rows, _) = json(pair, &["--json", "wal", "list"]);
    let ends = rows.as_array().unwrap().iter().filter_map(|row| row["end"].as_str());
    ends.map(|end| end.parse().unwrap()).max().unwrap_or(Lsn(0))
}

async fn all_arrives(pair: &Pair, member: &str) {
    let live = pair.sql(
        member,
        "set synchronous_commit = on; create table if not exists written (); select pg_current_wal_flush_lsn()",
    );
    let live: Lsn = live.lines().last().unwrap().parse().unwrap();
    let receiver = || std::fs::read_to_string(pair.at("own/receiver.log")).unwrap_or_default();
    for _ in 0..600 {
        // Zeros at the end of a page are not stored, and alignment may be all there is.
        if archived(pair).0 + 8 >= live.0 {
            return;
        }
        pair.clock.sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the log of {member} up to {live} does not arrive: {}", receiver());
}

/// Where the timeline of a server began.
fn began(pair: &Pair, member: &str, timeline: u32) -> (String, Lsn) {
    let text = pair.sql(member, &format!("select pg_read_file('pg_wal/{timeline:08X}.history')"));
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap().to_owned();
    let at: Lsn = last.split('\t').nth(1).unwrap().parse().unwrap();
    let size = 16 << 20;
    let name = format!("{timeline:08X}{:08X}{:08X}", at.0 >> 32, (at.0 & 0xffff_ffff) / size);
    (name, at)
}

#[tokio::test]
async fn a_receiver_follows_a_switchover_and_the_failback() {
    let pair = Pair::new().await;
    let password = pair.at("own/password");
    std::fs::write(&password, "a password\n").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    give_away(&password);
    let made = with_repository(&pair, &["repo", "init"]).output().unwrap();
    assert_eq!(code(&made), 0, "{}", said(&made));
    route(&pair, "db1");
    let name = pair.at("own/shop").display().to_string().replace('/', "%2F");
    let (server, dir) = (format!("postgres://lifeboat@{name}/postgres"), pair.at("own/receiver"));
    let dir = dir.display().to_string();
    let args = [
        "wal",
        "receive",
        "--server",
        &server,
        "--dir",
        &dir,
        "--partial-every",
        "200ms",
        "-v",
    ];
    let log = std::fs::File::create(pair.at("own/receiver.log")).unwrap();
    let _receiver = Killed(with_repository(&pair, &args).stderr(log).spawn().unwrap());
    pair.until("the slot is in use", || {
        pair.sql(
            "db1",
            "select count(*) from pg_replication_slots where slot_name = 'lifeboat' and active",
        ) == "1"
    })
    .await;
    // What is recovered from the archive alone has to come through both timelines.
    let base = base_backup(&pair);
    pair.sql("db1", "insert into ledger values (1)");
    all_arrives(&pair, "db1").await;
    for (from, to, timeline) in [("db1", "db2", 2), ("db2", "db1", 3)] {
        pair.done(&["cluster", "fence", "orders", "--yes", from]);
        pair.done(&["cluster", "wait", "orders", to]);
        pair.done(&["cluster", "promote", "orders", to, "--yes", to]);
        route(&pair, to);
        pair.sql(to, &format!("insert into ledger values ({timeline})"));
        pair.done(&["cluster", "rewind", "orders", from, "--stop", "--yes", from]);
        all_arrives(&pair, to).await;
        // The new timeline is there from its first segment on.
        let (first, at) = began(&pair, to, timeline);
        pair.sql(to, "select pg_switch_wal()");
        pair.sql(to, &format!("insert into ledger values (10 * {timeline})"));
        all_arrives(&pair, to).await;
        let folder = folder(&pair, timeline);
        assert!(
            folder.join(&first).exists(),
            "{first}, which holds {at}, is missing in {}",
            folder.display()
        );
    }
    let (report, exit) = json(&pair, &["--json", "wal", "verify", "--read-data"]);
    assert_eq!(exit, 0, "{report:#}");
    let said = std::fs::read_to_string(pair.at("own/receiver.log")).unwrap();
    assert!(said.contains("the server was promoted"), "{said}");
    assert!(!said.contains("GAP"), "{said}");
    assert_eq!(recovered_rows(&pair, &base).await, "1,2,3,20,30");
}

fn folder(pair: &Pair, timeline: u32) -> PathBuf {
    let system = pair.sql("db1", "select system_identifier from pg_control_system()");
    pair.at("own/repo/wal").join(system).join(format!("{timeline:08X}"))
}

fn base_backup(pair: &Pair) -> PathBuf {
    let target = pair.at("own/base");
    let output = as_server(&pair.bin.join("pg_basebackup"))
        .arg("-D")
        .arg(&target)
        .arg("-h")
        .arg(pair.host("db1"))
        .args(["-U", "lifeboat", "-X", "none", "--checkpoint=fast", "--no-sync"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    target
}

/// Recovers a base backup from the archive, along the newest timeline, and says what is in the ledger.
async fn recovered_rows(pair: &Pair, base: &std::path::Path) -> String {
    let program = env!("CARGO_BIN_EXE_lifeboat");
    let settings = format!(
        "restore_command = 'env LIFEBOAT_REPOSITORY={} LIFEBOAT_PASSWORD_FILE={} LIFEBOAT_SPOOL={} HOME={} {program} wal fetch %f %p'\n\
         recovery_target_timeline = latest\nrecovery_target_action = promote\n",
        pair.at("own/repo").display(),
        pair.at("own/password").display(),
        pair.at("own/spool").display(),
        pair.at("own").display(),
    );
    std::fs::write(base.join("postgresql.auto.conf"), settings).unwrap();
    std::fs::write(base.join("recovery.signal"), "").unwrap();
    give_away(&base.join("recovery.signal"));
    let sockets = pair.at("s-recovered");
    std::fs::create_dir(&sockets).unwrap();
    give_away(&sockets);
    let log = pair.at("own/recovered.log");
    let control = |words: &[&str]| {
        let mut command = as_server(&pair.bin.join("pg_ctl"));
        command.arg("-D").arg(base).args(words).stdout(Stdio::null());
        command.status().unwrap().success()
    };
    let options = format!("-k {} -c listen_addresses= -c fsync=off", sockets.display());
    let started = control(&[
        "-w",
        "-t",
        "60",
        "-l",
        &log.display().to_string(),
        "-o",
        &options,
        "start",
    ]);
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    assert!(started, "{}", text());
    let host = sockets.display().to_string();
    pair.until("the recovery has ended", || {
        crate::world::psql(&pair.bin, &host, "select pg_is_in_recovery()") == "f"
    })
    .await;
    let rows = crate::world::psql(
        &pair.bin,
        &host,
        "select string_agg(n::text, ',' order by n) from ledger",
    );
    control(&["-m", "immediate", "-w", "stop"]);
    rows
}
