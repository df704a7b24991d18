//! Which entries of a dump belong to some of its tables: rows, keys, indexes, sequences, triggers, grants, and what those need.
//!
//! | kind of entry | comes along |
//! | --- | --- |
//! | a table that was chosen, and the partitions of one | always |
//! | what hangs on it (rows, defaults, constraints, indexes, triggers, policies, comments, grants) | when every table it touches does |
//! | a sequence its columns take numbers from, and where it stands | always |
//! | types, functions, extensions, schemas it needs | always |
//! | a table it inherits from | its definition, without rows |
//!
//! A foreign key to a table that was not chosen cannot come along; it is named, never left out in silence.

use std::collections::{BTreeMap, BTreeSet};

use super::probe::key_of;
use super::toc::Entry;
use crate::domain::source::DumpSelection;

/// What hangs on a table, or on something that does.
const HANGING: [&str; 20] = [
    "TABLE DATA",
    "DEFAULT",
    "CONSTRAINT",
    "CHECK CONSTRAINT",
    "NOT NULL CONSTRAINT",
    "FK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "TABLE ATTACH",
    "TRIGGER",
    "RULE",
    "POLICY",
    "ROW SECURITY",
    "STATISTICS",
    "STATISTICS DATA",
    "SEQUENCE",
    "SEQUENCE SET",
    "COMMENT",
    "ACL",
    "SECURITY LABEL",
];
/// What something that hangs on a table may touch only when that comes along by itself.
const RELATIONS: [&str; 7] = [
    "TABLE",
    "FOREIGN TABLE",
    "VIEW",
    "MATERIALIZED VIEW",
    "CONSTRAINT",
    "INDEX",
    "FK CONSTRAINT",
];

/// A part of a dump.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Picked {
    /// The numbers of its entries, in the order of the dump.
    pub(super) ids: Vec<i64>,
    /// Its tables, by the names manifests have for them.
    pub(super) tables: BTreeSet<String>,
    /// What belongs to them and cannot come along.
    pub(super) left_out: Vec<String>,
}

/// Picks what belongs to the tables that patterns name.
///
/// # Errors
/// The pattern that names none.
pub(super) fn pick(entries: &[Entry], patterns: &[String]) -> Result<Picked, String> {
    let chosen = chosen(entries, patterns)?;
    let by_id: BTreeMap<i64, &Entry> = entries.iter().map(|entry| (entry.id, entry)).collect();
    let mut taken: BTreeSet<i64> = chosen.clone();
    loop {
        let before = taken.len();
        let mut roots = taken.clone();
        // What is taken only because something needs it brings nothing along: no rows of a table that is inherited from.
        roots.retain(|id| {
            let entry = by_id.get(id);
            chosen.contains(id) || entry.is_some_and(|entry| HANGING.contains(&entry.kind.as_str()))
        });
        let hanging = entries.iter().filter(|entry| hangs(entry, &roots, &by_id, &chosen));
        taken.extend(hanging.map(|entry| entry.id));
        let needed: Vec<i64> = entries
            .iter()
            .filter(|entry| taken.contains(&entry.id))
            .flat_map(|entry| &entry.needs)
            .copied()
            .filter(|id| by_id.contains_key(id))
            .collect();
        taken.extend(needed);
        if taken.len() == before {
            break;
        }
    }
    let lost = |entry: &&Entry| {
        let kinds = ["FK CONSTRAINT", "TRIGGER", "RULE", "POLICY"];
        !taken.contains(&entry.id)
            && kinds.contains(&entry.kind.as_str())
            && entry.needs.iter().any(|id| chosen.contains(id))
    };
    let is_table = |entry: &&Entry| chosen.contains(&entry.id);
    Ok(Picked {
        left_out: entries
            .iter()
            .filter(lost)
            .map(|entry| format!("{} {}", entry.kind.to_lowercase(), entry.name))
            .collect(),
        tables: entries.iter().filter(is_table).map(key).collect(),
        ids: entries
            .iter()
            .map(|entry| entry.id)
            .filter(|id| taken.contains(id))
            .collect(),
    })
}

fn key(entry: &Entry) -> String {
    key_of(entry.schema.as_deref().unwrap_or_default(), &entry.name)
}

/// The tables that patterns name, and the partitions of those.
fn chosen(entries: &[Entry], patterns: &[String]) -> Result<BTreeSet<i64>, String> {
    let is_table = |entry: &&Entry| matches!(entry.kind.as_str(), "TABLE" | "FOREIGN TABLE");
    let keys: Vec<String> = entries.iter().filter(is_table).map(key).collect();
    let selection = DumpSelection {
        tables: patterns.to_vec(),
        ..DumpSelection::default()
    };
    if let Some(pattern) = selection.idle(&keys) {
        return Err(pattern.to_owned());
    }
    let named = entries
        .iter()
        .filter(is_table)
        .filter(|entry| selection.takes(&[&key(entry)]));
    let mut chosen: BTreeSet<i64> = named.map(|entry| entry.id).collect();
    // A partition is tied to its table by an entry of its own, that has the partition's name and needs both.
    let ties: Vec<&Entry> = entries.iter().filter(|entry| entry.kind == "TABLE ATTACH").collect();
    let tables: BTreeMap<String, i64> = entries
        .iter()
        .filter(is_table)
        .map(|entry| (key(entry), entry.id))
        .collect();
    loop {
        let before = chosen.len();
        for tie in &ties {
            let partition = tables.get(&key(tie)).copied();
            let of_chosen = tie.needs.iter().any(|id| Some(*id) != partition && chosen.contains(id));
            chosen.extend(partition.filter(|_| of_chosen));
        }
        if chosen.len() == before {
            return Ok(chosen);
        }
    }
}

/// Whether an entry hangs on what is taken, and touches nothing that is not.
fn hangs(entry: &Entry, roots: &BTreeSet<i64>, by_id: &BTreeMap<i64, &Entry>, chosen: &BTreeSet<i64>) -> bool {
    let whole = |id: &i64| {
        let kind = by_id.get(id).map(|entry| entry.kind.as_str());
        roots.contains(id) || kind.is_none_or(|kind| !RELATIONS.contains(&kind))
    };
    let touches = entry.needs.iter().any(|id| roots.contains(id)) && entry.needs.iter().all(whole);
    if entry.kind == "SEQUENCE OWNED BY" {
        let owner = |id: &i64| by_id.get(id).is_some_and(|table| owns(table, entry));
        return touches && chosen.iter().any(owner);
    }
    touches && HANGING.contains(&entry.kind.as_str())
}

/// Whether the SQL of `SEQUENCE OWNED BY` names a table; quotes are left aside, keywords have some.
fn owns(table: &Entry, owned: &Entry) -> bool {
    let schema = table.schema.as_deref().unwrap_or_default();
    let name = format!("{schema}.{}.", table.name).replace('"', "");
    let sql = owned.sql.replace('"', "");
    sql.rsplit_once(" OWNED BY ")
        .is_some_and(|(_, column)| column.starts_with(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: i64, kind: &str, name: &str, needs: &[i64]) -> Entry {
        Entry {
            id,
            kind: kind.to_owned(),
            name: name.to_owned(),
            schema: (kind != "SCHEMA").then(|| "public".to_owned()),
            sql: String::new(),
            needs: needs.to_vec(),
        }
    }

    fn shop() -> Vec<Entry> {
        let mut owned = entry(12, "SEQUENCE OWNED BY", "orders_id_seq", &[11]);
        owned.sql = "ALTER SEQUENCE public.orders_id_seq OWNED BY public.\"orders\".id;".to_owned();
        vec![
            entry(1, "SCHEMA", "public", &[]),
            entry(2, "TYPE", "state", &[1]),
            entry(3, "FUNCTION", "touch()", &[1]),
            entry(10, "TABLE", "orders", &[1, 2]),
            entry(11, "SEQUENCE", "orders_id_seq", &[1]),
            owned,
            entry(13, "DEFAULT", "orders id", &[10, 11]),
            entry(14, "TABLE DATA", "orders", &[10]),
            entry(15, "SEQUENCE SET", "orders_id_seq", &[11]),
            entry(16, "CONSTRAINT", "orders orders_pkey", &[10]),
            entry(17, "INDEX", "by_customer", &[10]),
            entry(18, "TRIGGER", "orders touched", &[10, 3]),
            entry(20, "TABLE", "customers", &[1]),
            entry(21, "TABLE DATA", "customers", &[20]),
            entry(22, "CONSTRAINT", "customers customers_pkey", &[20]),
            entry(23, "FK CONSTRAINT", "orders of_customer", &[10, 22]),
            entry(24, "COMMENT", "CONSTRAINT orders_pkey", &[16]),
            entry(25, "VIEW", "totals", &[10]),
            entry(26, "ACL", "TABLE orders", &[10]),
            // A sequence that only takes its numbers from the same place.
            entry(30, "TABLE", "parts", &[1]),
            entry(31, "DEFAULT", "parts n", &[30, 11]),
            // A partitioned table, its partition, and one that inherits.
            entry(40, "TABLE", "log", &[1]),
            entry(41, "TABLE", "log_1", &[1]),
            entry(42, "TABLE ATTACH", "log_1", &[40, 41]),
            entry(43, "TABLE DATA", "log_1", &[41]),
            entry(50, "TABLE", "child", &[20]),
        ]
    }

    fn picked(patterns: &[&str]) -> Picked {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        pick(&shop(), &patterns).unwrap()
    }

    #[test]
    fn all_that_belongs_to_a_table_comes_along() {
        let orders = picked(&["public.orders"]);
        assert_eq!(orders.ids, [1, 2, 3, 10, 11, 12, 13, 14, 15, 16, 17, 18, 24, 26]);
        assert_eq!(orders.left_out, ["fk constraint orders of_customer"]);
        assert_eq!(orders.tables, BTreeSet::from(["public.orders".to_owned()]));
        let both = picked(&["public.orders", "public.cust*"]);
        assert!(both.ids.contains(&23) && both.left_out.is_empty(), "{both:?}");
        // A sequence that belongs to another table comes along, and who it belongs to does not.
        assert_eq!(picked(&["public.parts"]).ids, [1, 11, 15, 30, 31]);
    }

    #[test]
    fn partitions_come_with_their_table_and_parents_without_rows() {
        assert_eq!(picked(&["public.log"]).ids, [1, 40, 41, 42, 43]);
        assert_eq!(picked(&["public.log_1"]).ids, [1, 41, 43]);
        assert_eq!(picked(&["public.child"]).ids, [1, 20, 50]);
        assert_eq!(
            pick(&shop(), &["public.ordres".to_owned()]).unwrap_err(),
            "public.ordres"
        );
    }
}
