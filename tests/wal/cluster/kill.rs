//! Steps that are killed in the middle: `status` finds what was begun, and the same step again ends it.

use std::process::Stdio;
use std::time::Duration;

use super::world::Pair;
use crate::world::give_away;

/// Starts a verb and kills it once `when` holds.
async fn killed(pair: &Pair, args: &[&str], mut when: impl FnMut() -> bool) {
    let mut child = pair
        .command(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..15_000 {
        if when() || child.try_wait().unwrap().is_some() {
            break;
        }
        pair.clock.sleep(Duration::from_millis(2)).await;
    }
    assert!(
        child.try_wait().unwrap().is_none(),
        "it has ended before it could be killed"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

fn note(pair: &Pair) -> serde_json::Value {
    let text = std::fs::read(pair.at("own/state/clusters/orders.json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

#[tokio::test]
async fn steps_that_are_killed_are_found_and_ended() {
    let pair = Pair::new().await;
    pair.sql("db1", "insert into ledger values (1)");
    // A fence that never gets past its command is not proved, whatever the setting says.
    pair.configure("fence = { command = [\"/bin/sleep\", \"600\"], timeout = \"20m\" }");
    let fence = ["cluster", "fence", "orders", "db1", "--yes", "db1"];
    // A fence that is at work sends this session away as it does all others.
    let read_only = || pair.try_sql("db1", "show default_transaction_read_only").as_deref() == Ok("on");
    killed(&pair, &fence, read_only).await;
    assert!(
        pair.signs().contains(&"fence-unfinished".to_owned()),
        "{:#}",
        pair.status().0
    );
    let why = pair.refused(&["cluster", "promote", "orders", "db2", "--yes", "db2"]);
    assert!(why.contains("is not proved"), "{why}");
    pair.configure("");
    pair.done(&fence);
    assert!(!pair.signs().contains(&"fence-unfinished".to_owned()));
    pair.done(&["cluster", "wait", "orders", "db2"]);
    // Killed after the note of the promotion, before or after it happened.
    let promote = ["cluster", "promote", "orders", "db2", "--yes", "db2"];
    killed(&pair, &promote, || !note(&pair)["promotion"].is_null()).await;
    assert!(
        pair.signs().contains(&"promotion-unfinished".to_owned()),
        "{:#}",
        pair.status().0
    );
    // Nobody may let the old primary go now.
    pair.refused_or_promoted();
    pair.done(&promote);
    assert_eq!(note(&pair)["promotion"]["to"], 2);
    pair.sql("db2", "insert into ledger values (2)");
    // And once more, when all is done already.
    pair.done(&promote);
    assert!(!pair.signs().contains(&"promotion-unfinished".to_owned()));
    // A rewind that was cut off leaves a directory that only a clone may replace.
    pair.stop("db1");
    let mut begun = note(&pair);
    begun["rebuild"] =
        serde_json::json!({ "member": "db1", "kind": "rewind", "by": "a@b", "begun": "2026-01-01T00:00:00Z" });
    std::fs::write(pair.at("own/state/clusters/orders.json"), begun.to_string()).unwrap();
    // Its own settings were put aside, and the primary's were copied over them.
    let (settings, kept) = (
        pair.data("db1").join("postgresql.auto.conf"),
        pair.at("one/data.lifeboat-own"),
    );
    std::fs::create_dir(&kept).unwrap();
    let aside = kept.join("postgresql.auto.conf");
    std::fs::copy(&settings, &aside).unwrap();
    std::fs::write(&settings, "work_mem = '7MB'\n").unwrap();
    for path in [&settings, &aside, &kept] {
        give_away(path);
    }
    assert!(pair.signs().contains(&"rebuild-unfinished".to_owned()));
    let why = pair.refused(&["cluster", "rewind", "orders", "db1", "--yes", "db1"]);
    assert!(why.contains("cannot be trusted"), "{why}");
    // A clone that was cut off, too: what it had copied is thrown away.
    let reclone = ["cluster", "reclone", "orders", "db1", "--discard-old", "--yes", "db1"];
    let building = pair.at("one/data.lifeboat-new");
    killed(&pair, &reclone, || building.join("base").exists()).await;
    assert!(
        pair.data("db1").join("PG_VERSION").exists(),
        "the old directory is as it was"
    );
    pair.done(&reclone);
    assert!(!building.exists());
    let left = std::fs::read_dir(pair.at("one")).unwrap().count();
    assert_eq!(left, 1, "the old directory was to be discarded");
    let own = std::fs::read_to_string(&settings).unwrap();
    assert!(
        !own.contains("work_mem"),
        "the primary's settings were taken for its own: {own}"
    );
    pair.until("it follows", || pair.sql("db1", "select count(*) from ledger") == "2")
        .await;
    assert_eq!(pair.status().1, 0, "{:#}", pair.status().0);
}

impl Pair {
    /// Letting the old primary go is refused once the other was promoted; before that it is only a fence that is lifted.
    fn refused_or_promoted(&self) {
        if self.sql("db2", "select pg_is_in_recovery()") == "f" {
            self.refused(&["cluster", "unfence", "orders", "db1", "--yes", "db1"]);
        }
    }
}
