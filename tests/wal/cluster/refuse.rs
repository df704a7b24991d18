//! What is refused, and that it says why and how to get there.

use super::world::Pair;
use crate::world::{code, said};

#[tokio::test]
async fn a_promotion_is_refused_until_it_is_safe() {
    let pair = Pair::new().await;
    let promote = [
        "cluster",
        "promote",
        "orders",
        "db2",
        "--yes",
        "db2",
        "--patience",
        "0s",
    ];
    // The primary takes writes.
    let why = pair.refused(&promote);
    assert!(
        why.contains("db1 is a primary and is not fenced") && why.contains("cluster fence orders db1"),
        "{why}"
    );
    // A standby has nothing to be fenced from, and cannot be rewound while it runs.
    pair.refused(&["cluster", "fence", "orders", "db2", "--yes", "db2"]);
    let why = pair.refused(&["cluster", "rewind", "orders", "db2", "--yes", "db2"]);
    assert!(why.contains("a server runs on"), "{why}");
    let why = pair.refused(&["cluster", "rewind", "orders", "db1", "--yes", "db1"]);
    assert!(why.contains("db1 is the primary"), "{why}");
    // The wrong name, or nobody to type it.
    pair.refused(&["cluster", "fence", "orders", "--yes", "db2"]);
    pair.refused(&["cluster", "fence", "orders"]);
    assert_eq!(pair.sql("db1", "show default_transaction_read_only"), "off");
    // A plan changes nothing.
    pair.done(&["cluster", "fence", "orders", "--plan"]);
    assert_eq!(pair.sql("db1", "show default_transaction_read_only"), "off");
    // A transaction that is prepared could be committed behind the fence; a role could have a setting of its own.
    pair.sql(
        "db1",
        "create role sneak login; alter role sneak set default_transaction_read_only = off",
    );
    let why = pair.refused(&["cluster", "fence", "orders", "--yes", "db1"]);
    assert!(why.contains("role sneak"), "{why}");
    pair.sql("db1", "alter role sneak reset all");
    // Behind: the standby does not replay what the fenced primary wrote.
    pair.sql("db2", "alter system set primary_conninfo = 'host=/nowhere'");
    pair.sql("db2", "select pg_reload_conf()");
    pair.until("it has lost its primary", || {
        pair.sql("db1", "select count(*) from pg_stat_replication") == "0"
    })
    .await;
    pair.sql("db2", "select pg_wal_replay_pause()");
    pair.sql("db1", "insert into ledger select generate_series(1, 20000)");
    // What was set before is put back in the end, in whichever of its words somebody typed it.
    pair.sql("db1", "alter system set default_transaction_read_only = no");
    pair.done(&["cluster", "fence", "orders", "--yes", "db1"]);
    let why = pair.refused(&promote);
    assert!(
        why.contains("db2 lacks") && why.contains("cluster wait orders db2"),
        "{why}"
    );
    let why = pair.refused(&["cluster", "wait", "orders", "db2"]);
    assert!(why.contains("paused"), "{why}");
    pair.sql("db2", "select pg_wal_replay_resume()");
    let slow = pair.lifeboat(&["cluster", "wait", "orders", "db2", "--timeout", "500ms"]);
    assert_eq!(code(&slow), 1, "{}", said(&slow));
    // A loss that is accepted is said; and a session that writes in spite of the fence is found.
    let plan = pair.done(&["cluster", "promote", "orders", "db2", "--plan", "--allow-loss", "1GiB"]);
    assert!(plan.contains("up to"), "{plan}");
    let mut sneak = std::process::Command::new(pair.bin.join("psql"))
        .args(["-XAtq", "-U", "lifeboat", "-d", "postgres", "-h"])
        .arg(pair.host("db1"))
        .args([
            "-c",
            "begin read write; insert into ledger values (-7); select pg_sleep(60)",
        ])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    pair.until("it writes", || {
        pair.sql(
            "db1",
            "select count(*) from pg_stat_activity where backend_xid is not null",
        ) == "1"
    })
    .await;
    let why = pair.refused(&[
        "cluster",
        "promote",
        "orders",
        "db2",
        "--yes",
        "db2",
        "--allow-loss",
        "any",
    ]);
    assert!(why.contains("in spite of its fence"), "{why}");
    sneak.kill().unwrap();
    sneak.wait().unwrap();
    // Fencing again ends it; then all that was written is waited for.
    pair.done(&["cluster", "fence", "orders", "db1", "--yes", "db1"]);
    pair.sql("db2", "alter system reset primary_conninfo");
    let conninfo = format!("host={} user=lifeboat", pair.host("db1").display());
    pair.sql("db2", &format!("alter system set primary_conninfo = '{conninfo}'"));
    pair.sql("db2", "select pg_reload_conf()");
    pair.done(&["cluster", "wait", "orders", "db2"]);
    // Undone, it takes writes as before.
    let lifted = pair.done(&["cluster", "unfence", "orders", "--yes", "db1"]);
    assert!(lifted.contains("db1 takes writes"), "{lifted}");
    pair.sql("db1", "insert into ledger values (-8)");
    assert_eq!(pair.status().1, 0, "{:#}", pair.status().0);
}

#[tokio::test]
async fn silence_strangers_and_two_primaries_are_told_apart() {
    let pair = Pair::new().await;
    let promote = [
        "cluster",
        "promote",
        "orders",
        "db2",
        "--yes",
        "db2",
        "--patience",
        "0s",
    ];
    // Two primaries of one system: loud, and nobody is rewound to either.
    pair.sql("db2", "select pg_promote()");
    let (status, exit) = pair.status();
    assert_eq!(exit, 1);
    assert_eq!(status["signs"][0]["sign"], "split-brain", "{status:#}");
    let text = said(&pair.lifeboat(&["cluster", "status", "orders"]));
    assert!(text.contains("CRITICAL: SPLIT BRAIN: db1 and db2"), "{text}");
    pair.refused(&promote);
    pair.stop("db1");
    pair.stop("db2");
    // The primary does not answer: whether it is gone is known here, because its directory is on this machine …
    let plan = pair.done(&["cluster", "fence", "orders", "db1", "--plan"]);
    assert!(plan.contains("read-only on its disk"), "{plan}");
    // … and a directory of another cluster is nobody's to overwrite.
    std::fs::rename(pair.data("db2"), pair.at("two/away")).unwrap();
    pair.make("db2", false);
    pair.start("db1");
    assert!(pair.signs().contains(&"foreign-system".to_owned()));
    let why = pair.refused(&promote);
    assert!(why.contains("of system"), "{why}");
    pair.stop("db2");
    let why = pair.refused(&["cluster", "reclone", "orders", "db2", "--yes", "db2"]);
    assert!(why.contains("of system"), "{why}");
    std::fs::remove_dir_all(pair.data("db2")).unwrap();
    std::fs::rename(pair.at("two/away"), pair.data("db2")).unwrap();
    // What was promoted by hand follows again, and its old directory is kept.
    let done = pair.done(&["cluster", "reclone", "orders", "db2", "--yes", "db2"]);
    assert!(
        done.contains("the old directory is kept") && done.contains("streams"),
        "{done}"
    );
    assert_eq!(pair.status().1, 0, "{:#}", pair.status().0);
}

#[tokio::test]
async fn a_dead_primary_is_replaced_only_when_it_is_surely_gone() {
    let pair = Pair::new().await;
    pair.sql("db1", "insert into ledger values (1)");
    pair.until("it is there", || pair.sql("db2", "select count(*) from ledger") == "1")
        .await;
    let promote = ["cluster", "promote", "orders", "db2", "--patience", "0s"];
    // Its process is alive and its socket is gone: nobody knows who else still reaches it.
    let socket = pair.host("db1").join(".s.PGSQL.5432");
    std::fs::rename(&socket, pair.at("own/socket")).unwrap();
    let why = pair.refused(&promote);
    assert!(why.contains("db1 does not answer, and may be a primary"), "{why}");
    let why = pair.refused(&[
        "cluster",
        "promote",
        "orders",
        "db2",
        "--allow-loss",
        "any",
        "--patience",
        "0s",
    ]);
    assert!(why.contains("may be a primary"), "{why}");
    std::fs::rename(pair.at("own/socket"), &socket).unwrap();
    pair.run_pg_ctl("db1", "stop");
    // Down, in good order, on this machine: it is known where its log ended, and nothing is lost.
    let plan = pair.done(&["cluster", "promote", "orders", "db2", "--plan"]);
    assert!(plan.contains("nothing that was committed"), "{plan}");
    // From elsewhere only a person can say so.
    pair.done(&["cluster", "fence", "orders", "db1", "--gone", "--yes", "db1"]);
    let promoted = pair.done(&["cluster", "promote", "orders", "db2", "--yes", "db2"]);
    assert!(promoted.contains("db2 is the primary"), "{promoted}");
    pair.sql("db2", "insert into ledger values (2)");
    pair.done(&["cluster", "rewind", "orders", "db1", "--yes", "db1"]);
    pair.until("it follows", || pair.sql("db1", "select count(*) from ledger") == "2")
        .await;
    assert_eq!(pair.status().1, 0, "{:#}", pair.status().0);
}

#[tokio::test]
async fn a_crashed_primary_that_wrote_what_nobody_got_is_rewound() {
    let pair = Pair::new().await;
    pair.sql("db2", "alter system set primary_conninfo = 'host=/nowhere'");
    pair.sql("db2", "select pg_reload_conf()");
    pair.until("it has lost its primary", || {
        pair.sql("db1", "select count(*) from pg_stat_replication") == "0"
    })
    .await;
    pair.sql("db1", "insert into ledger values (1)");
    pair.crash("db1");
    // It was not shut down in good order, so nobody knows what is lost.
    let promote = [
        "cluster",
        "promote",
        "orders",
        "db2",
        "--yes",
        "db2",
        "--patience",
        "0s",
    ];
    let why = pair.refused(&promote);
    assert!(why.contains("nobody knows how much db2 lacks"), "{why}");
    let promoted = pair.done(&[
        "cluster",
        "promote",
        "orders",
        "db2",
        "--yes",
        "db2",
        "--allow-loss",
        "any",
    ]);
    assert!(promoted.contains("NOT KNOWN"), "{promoted}");
    pair.sql("db2", "insert into ledger values (2)");
    let rewound = pair.done(&["cluster", "rewind", "orders", "db1", "--yes", "db1"]);
    assert!(rewound.contains("streams"), "{rewound}");
    pair.until("it has what the new primary has", || {
        pair.sql("db1", "select n from ledger") == "2"
    })
    .await;
}
