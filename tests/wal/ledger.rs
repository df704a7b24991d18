//! What was committed when, and what a recovered copy has of it.

use serde_json::Value;

use crate::world::{World, code, psql, said};

/// One transaction of the ledger: what it added up to, and between which moments it was committed.
pub struct Entry {
    pub before: String,
    pub after: String,
    pub sum: i64,
    pub xid: String,
    pub lsn: String,
}

const CLOCK: &str = "to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'";

/// Adds to the account, one transaction an entry, and notes what was committed when.
pub fn spend(world: &World, entries: &mut Vec<Entry>, count: usize) {
    for _ in 0..count {
        let amount = i64::from(getrandom::u32().unwrap() % 1000) + 1;
        let sql = format!(
            "select {CLOCK};
             begin;
             set local synchronous_commit = on;
             with added as (insert into account (amount) values ({amount}) returning 1) select pg_current_xact_id() from added;
             select pg_current_wal_insert_lsn();
             commit;
             select {CLOCK};"
        );
        let text = world.sql(&sql);
        let lines: Vec<&str> = text.lines().collect();
        let [before, xid, lsn, after] = lines.as_slice() else {
            panic!("{text}")
        };
        let sum = entries.last().map_or(0, |entry| entry.sum) + amount;
        let [before, xid, lsn, after] = [before, xid, lsn, after].map(|text| (*text).to_owned());
        entries.push(Entry {
            before,
            after,
            sum,
            xid,
            lsn,
        });
    }
}

pub const SUM: &str = "select coalesce(sum(amount), 0) from account";

/// A recovered copy's server, by what the program printed.
pub fn ask(world: &World, outcome: &Value, sql: &str) -> String {
    psql(&world.server.bin_dir, outcome["socket"].as_str().unwrap(), sql)
}

pub fn recover(world: &World, args: &[&str]) -> (Value, i32) {
    let mut all = vec!["--json", "recover"];
    all.extend(args);
    let output = world.lifeboat(&world.own(), &all);
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| Value::String(said(&output)));
    (value, code(&output))
}

pub fn target(world: &World, name: &str) -> String {
    world.own().join(name).display().to_string()
}

/// Servers and programs of ours on a directory.
pub fn servers_on(directory: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok())
        .filter(|pid| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.split(|byte| *byte == 0).any(|word| word == directory.as_bytes())
        })
        .collect()
}
