//! When the agent may fail over by itself: off unless somebody says so, and never what could not work.

use super::*;
use crate::domain::cluster::{Allowance, Failover};

/// A pair, with options of its own.
fn pair(more: &str) -> String {
    let member = |name: &str| {
        format!("[[cluster.orders.members]]\nname = \"{name}\"\nhost = \"{name}.example\"\nuser = \"u\"\n")
    };
    format!("{SMALL}[cluster.orders]\n{more}\n{}{}", member("db1"), member("db2"))
}

fn failover(more: &str) -> Failover {
    let config = read(&pair(more)).unwrap_or_else(|error| panic!("{error}"));
    config.definitions.clusters[&"orders".into()].failover.clone()
}

const FENCE: &str = "fence = { command = [\"/bin/cut\"] }\n";

#[test]
fn it_is_off_unless_somebody_says_so() {
    assert_eq!(failover(""), Failover::default());
    assert!(!failover("failover = { failures = 5 }").automatic);
    let all = failover(&format!(
        "{FENCE}max_loss = \"1MiB\"\nfailover = {{ automatic = true, every = \"2s\", standby = \"db2\", set = {{ route = \"/bin/r\" }} }}"
    ));
    assert!(all.automatic);
    assert_eq!((all.every, all.failures), (Millis::from_secs(2), 3));
    assert_eq!(all.max_loss, Allowance::AtMost(Bytes(1 << 20)), "that of the cluster");
    assert_eq!(all.standby, Some("db2".into()));
    assert_eq!(all.runbook, "automatic-failover".into());
    assert_eq!(failover("failover = { max_loss = \"any\" }").max_loss, Allowance::Any);
}

#[test]
fn what_could_never_work_is_said_now() {
    let said = |more: &str| problems(&pair(more), &[]).join("\n");
    let never = said("failover = { automatic = true }");
    assert!(
        never.contains("lifeboat.toml:14: cluster.orders.failover.automatic"),
        "{never}"
    );
    assert!(never.contains("could never be proved to be fenced"), "{never}");
    for (more, wanted) in [
        ("failover = { every = \"100ms\" }", "cannot be asked every"),
        ("failover = { failures = 0 }", "0 failures in a row"),
        ("failover = { standby = \"db7\" }", "there is no member \"db7\""),
        ("failover = { max_loss = \"much\" }", "is not a size"),
        ("failover = { automatik = true }", "automatik"),
        (
            &*format!("{FENCE}failover = {{ automatic = true, runbook = \"automatic-failove\" }}"),
            "there is no runbook",
        ),
        (
            &*format!("{FENCE}failover = {{ automatic = true, set = {{ rote = \"x\" }} }}"),
            "has no variable \"rote\"",
        ),
        (
            &*format!("{FENCE}failover = {{ automatic = true, runbook = \"manual-failover\" }}"),
            "does not ask for allow_loss",
        ),
    ] {
        let said = said(more);
        assert!(said.contains(wanted), "{more}: {said}");
    }
    let alone = pair(&format!("{FENCE}failover = {{ automatic = true }}"));
    let alone = alone
        .split("[[cluster.orders.members]]\nname = \"db2\"")
        .next()
        .unwrap()
        .to_owned();
    assert!(problems(&alone, &[]).join("\n").contains("nobody to fail over to"));
}
