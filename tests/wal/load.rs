//! A minute of `pgbench`, `wal receive`, kill -9 of the server, and three random instants of that minute brought back.
//!
//! Every transaction moves money in the tables of pgbench and writes a row of the ledger. What must be there at an instant
//! is known three times over, and no two of the three come from the same hand:
//!
//! - pgbench's own log has the begin and the acknowledgement of every transaction: what was acknowledged before the instant
//!   must be there, what began after it must not, and each client's rows are those up to some number, without a hole.
//! - The log the killed server left behind, read by `pg_waldump`: recovery to an instant ends before the first commit that
//!   is later than it, so the exact set of transactions follows from the order of the commits. Nothing of it passed
//!   through the repository.
//! - A row's amount follows from its client and number alone, so the sum is known without having asked any server; and
//!   each of the four tables of pgbench must add up to the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::ledger::{ask, recover, servers_on, target};
use crate::world::{Killed, World, as_server, said};

const CLIENTS: u64 = 4;
/// Transactions a second, all clients together: plenty for a server, little enough for what else is tested beside it.
const RATE: &str = "--rate=400";
/// How long the load runs before the server is killed.
const LOAD: Duration = Duration::from_secs(60);
/// How far the clock that times transactions may have drifted from the one that dates commits.
const DRIFT: TimeDelta = TimeDelta::milliseconds(100);

/// The amount of a transaction; the same sum as in [`SCRIPT`].
fn amount(client: u64, n: u64) -> i64 {
    i64::try_from(1 + (client * 7919 + n * 104_729) % 997).unwrap()
}

const SCRIPT: &str = r"
\set n :n + 1
\set amount 1 + (:client_id * 7919 + :n * 104729) % 997
\set account random(1, 100000)
\set teller random(1, 10)
begin;
update pgbench_accounts set abalance = abalance + :amount where aid = :account;
update pgbench_tellers set tbalance = tbalance + :amount where tid = :teller;
update pgbench_branches set bbalance = bbalance + :amount where bid = 1;
insert into pgbench_history (tid, bid, aid, delta, mtime) values (:teller, 1, :account, :amount, current_timestamp);
insert into spent (client, n, amount) values (:client_id, :n, :amount);
commit;
";

/// A transaction as its client saw it.
struct Seen {
    client: u64,
    n: u64,
    begun: DateTime<Utc>,
    acknowledged: DateTime<Utc>,
}

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    client: u64,
    n: u64,
    amount: i64,
    xid: u32,
}

const ROWS: &str = "select client, n, amount, xmin from spent order by client, n";

fn rows(text: &str) -> BTreeSet<Row> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split('|').collect();
        Row {
            client: words[0].parse().unwrap(),
            n: words[1].parse().unwrap(),
            amount: words[2].parse().unwrap(),
            xid: words[3].parse().unwrap(),
        }
    };
    text.lines().map(row).collect()
}

fn pgbench(world: &World) -> Command {
    let mut command = as_server(&world.server.bin_dir.join("pgbench"));
    command
        // The server of these tests commits asynchronously unless it is asked not to; what is acknowledged here is written.
        .env("PGOPTIONS", "-c synchronous_commit=on")
        .env("PGHOST", world.server.connection().host)
        .args(["-U", "lifeboat"])
        .current_dir(world.own())
        .stdin(Stdio::null());
    command
}

fn start_load(world: &World) -> Killed {
    let script = world.own().join("spend.sql");
    fs::write(&script, SCRIPT).unwrap();
    let child = pgbench(world)
        .args(["-n", "-l", "-D", "n=0", "-T", "600", RATE, "-c", &CLIENTS.to_string()])
        .arg(format!("--log-prefix={}", world.own().join("spent").display()))
        .arg("-f")
        .arg(script)
        .arg("postgres")
        .stdout(Stdio::null())
        .stderr(fs::File::create(world.own().join("pgbench.log")).unwrap())
        .spawn();
    Killed(child.unwrap())
}

/// What pgbench noted: client, number, microseconds it took, script, and when it was done.
fn noted(world: &World) -> Vec<Seen> {
    let files = fs::read_dir(world.own()).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("spent.");
    let logs: Vec<PathBuf> = files.filter(named).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    let text = fs::read_to_string(&logs[0]).unwrap();
    let mut counted = BTreeMap::<u64, u64>::new();
    let mut seen = Vec::new();
    for line in text.lines() {
        let words: Vec<i64> = line.split(' ').map_while(|word| word.parse().ok()).collect();
        // With a rate, how late it began is the last.
        let [client, _, took, _, seconds, micros, _] = words.as_slice() else {
            panic!("{line}")
        };
        let client = u64::try_from(*client).unwrap();
        let n = counted.entry(client).or_default();
        *n += 1;
        let acknowledged = DateTime::from_timestamp_micros(seconds * 1_000_000 + micros).unwrap();
        let begun = acknowledged - TimeDelta::microseconds(*took);
        let n = *n;
        seen.push(Seen {
            client,
            n,
            begun,
            acknowledged,
        });
    }
    seen
}

/// The commits in the log of a server that is no more, in their order.
fn commits(world: &World) -> Vec<(u32, DateTime<Utc>)> {
    let log = world.data().join("pg_wal");
    let names = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| name.len() == 24);
    let (first, last) = (names.iter().min().unwrap(), names.iter().max().unwrap());
    // It ends with an error where the log does: in the middle of a segment, or at one that is to be used again.
    let output = as_server(&world.server.bin_dir.join("pg_waldump"))
        .env("TZ", "UTC")
        .args(["-r", "Transaction", "-p"])
        .arg(&log)
        .args([first, last])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let commit = |line: &str| {
        let (head, tail) = line.split_once(" COMMIT ")?;
        let xid = head.split_once("tx:")?.1.split_once(',')?.0.trim().parse().unwrap();
        let when = tail.split(" UTC").next().unwrap();
        let when = DateTime::parse_from_str(&format!("{when} +0000"), "%Y-%m-%d %H:%M:%S%.f %z");
        Some((xid, when.unwrap_or_else(|error| panic!("{error}: {line}")).to_utc()))
    };
    let found: Vec<_> = text.lines().filter_map(commit).collect();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(found.len() > 1000, "only {} commits: {words}", found.len());
    found
}

/// What is in the ledger of the killed server once it has been started again and has mended itself.
async fn mended(world: &World) -> BTreeSet<Row> {
    let data = world.data();
    let log = world.own().join("mended.log");
    let server = |verb: &[&str]| {
        let mut command = as_server(&world.server.bin_dir.join("pg_ctl"));
        command.arg("-D").arg(&data).args(verb).stdout(Stdio::null());
        let done = command.status().unwrap().success();
        assert!(done, "{verb:?}: {}", fs::read_to_string(&log).unwrap_or_default());
    };
    // Its processes end by themselves once they notice; until the last has, it cannot be started.
    world
        .until("the killed server's processes are gone", || {
            servers_on(&data.display().to_string()).is_empty() && sessions(&data).is_empty()
        })
        .await;
    let options = format!("-k {} -c listen_addresses=", world.server.connection().host);
    let said = log.display().to_string();
    server(&["-w", "-l", &said, "-o", &options, "start"]);
    let found = rows(&world.sql(ROWS));
    server(&["-w", "-m", "immediate", "stop"]);
    found
}

/// Processes whose working directory is a cluster's: whatever is left of its server.
fn sessions(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let places = entries.filter_map(|entry| fs::read_link(entry.path().join("cwd")).ok());
    places.filter(|place| place == data).collect()
}

/// Holds a recovered server to everything that is known of an instant.
fn check(world: &World, paused: &Value, instant: DateTime<Utc>, truth: &Truth) {
    let there = rows(&ask(world, paused, ROWS));
    let by_then = truth.by(instant);
    assert_eq!(
        there.symmetric_difference(&by_then).collect::<Vec<_>>(),
        Vec::<&Row>::new(),
        "not what the killed server had committed by {instant}"
    );
    let names: BTreeSet<(u64, u64)> = there.iter().map(|row| (row.client, row.n)).collect();
    let mut acknowledged = 0;
    for seen in &truth.seen {
        let there = names.contains(&(seen.client, seen.n));
        if seen.acknowledged < instant - DRIFT {
            acknowledged += 1;
            assert!(
                there,
                "acknowledged before {instant} and lost: {} {}",
                seen.client, seen.n
            );
        }
        if seen.begun > instant + DRIFT {
            assert!(!there, "begun after {instant}, and there: {} {}", seen.client, seen.n);
        }
    }
    let mut sum = 0;
    for client in 0..CLIENTS {
        let last = names.range((client, 0)..=(client, u64::MAX)).next_back();
        let last = last.map_or(0, |(_, n)| *n);
        let holes: Vec<u64> = (1..=last).filter(|n| !names.contains(&(client, *n))).collect();
        assert!(holes.is_empty(), "client {client} has holes: {holes:?}");
        sum += (1..=last).map(|n| amount(client, n)).sum::<i64>();
    }
    let sums =
        "select (select coalesce(sum(amount), 0) from spent), (select coalesce(sum(delta), 0) from pgbench_history),
        (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers),
        (select sum(bbalance) from pgbench_branches)";
    assert_eq!(ask(world, paused, sums), [sum.to_string().as_str(); 5].join("|"));
    eprintln!(
        "{instant}: {} transactions, {acknowledged} of them acknowledged well before, sum {sum}",
        there.len()
    );
}

/// What is known of the load without the repository.
struct Truth {
    seen: Vec<Seen>,
    commits: Vec<(u32, DateTime<Utc>)>,
    all: BTreeSet<Row>,
}

impl Truth {
    /// What was committed when the first commit later than an instant was written.
    fn by(&self, instant: DateTime<Utc>) -> BTreeSet<Row> {
        let before = self.commits.iter().take_while(|(_, when)| *when <= instant);
        let before: BTreeSet<u32> = before.map(|(xid, _)| *xid).collect();
        self.all
            .iter()
            .filter(|row| before.contains(&row.xid))
            .cloned()
            .collect()
    }
}

#[tokio::test]
async fn a_minute_of_pgbench_comes_back_at_three_random_instants_after_kill_9() {
    // The killed server's own log is evidence: all of it is kept.
    let mut world = World::with(false, None, &["wal_keep_size=8GB"]).await;
    let made = pgbench(&world).args(["-i", "-q", "-s", "1", "postgres"]).output();
    let made = made.unwrap();
    assert!(made.status.success(), "apt-get install postgresql: {}", said(&made));
    world.sql("create table spent (client int, n bigint, amount bigint not null, primary key (client, n))");
    let mut receiver = world.receiver("1s", &[]);
    world
        .until("the slot is there", || {
            world.sql("select count(*) from pg_replication_slots where active") == "1"
        })
        .await;
    world.snapshot("first").await;
    let begun = world.clock.now();
    let mut load = start_load(&world);
    // One base backup before the load and one in the middle of it, so that instants are reached from either.
    world.clock.sleep(LOAD / 2).await;
    world.snapshot("second").await;
    let rest = (begun + LOAD - world.clock.now()).to_std().unwrap_or_default();
    world.clock.sleep(rest).await;
    assert!(load.0.try_wait().unwrap().is_none(), "the load has ended early");
    let killed = world.clock.now();
    kill(
        Pid::from_raw(i32::try_from(world.server.pid().unwrap()).unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();
    // Takes note of its end: as long as nobody has, the number of its process is in use.
    world.server.crash();
    assert_eq!(load.0.wait().unwrap().code(), Some(2), "pgbench was to lose its server");
    // What was received is archived before it ends.
    kill(Pid::from_raw(i32::try_from(receiver.0.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(receiver.0.wait().unwrap().code(), Some(5), "{}", world.said());

    let truth = Truth {
        seen: noted(&world),
        commits: commits(&world),
        all: mended(&world).await,
    };
    let wrong = truth.all.iter().find(|row| row.amount != amount(row.client, row.n));
    assert_eq!(wrong, None, "the amounts are not those of the script");
    let (known, exit) = recover(&world, &["--list"]);
    assert_eq!(
        (exit, known["intervals"].as_array().unwrap().len()),
        (0, 1),
        "{known:#}"
    );
    let last = known["intervals"][0]["to_at"].as_str().unwrap();
    let last: DateTime<Utc> = last.parse().unwrap();
    eprintln!(
        "{} transactions acknowledged in a minute; the server was killed at {killed}, restorable is everything up to {last}",
        truth.seen.len()
    );
    // One in each third of the load, so that some are before the second base backup and some behind it.
    let third = u64::try_from((last - begun).num_microseconds().unwrap()).unwrap() / 3;
    for number in 0..3 {
        let micros = number * third + getrandom::u64().unwrap() % third;
        let instant = begun + TimeDelta::microseconds(i64::try_from(micros).unwrap());
        let (to, place) = (
            instant.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string(),
            target(&world, "instant"),
        );
        eprintln!("to {to}, {} s of load", (instant - begun).num_seconds());
        let instant = to.replace(' ', "T").replace("+00", "Z").parse().unwrap();
        let (paused, exit) = recover(&world, &["--to", &to, "--target", &place, "--pause"]);
        assert_eq!(exit, 0, "{to}: {paused:#}");
        check(&world, &paused, instant, &truth);
        let (discarded, exit) = recover(&world, &["--discard", &place, "--yes", "instant"]);
        assert_eq!(exit, 0, "{discarded:#}");
    }
}
