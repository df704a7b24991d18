//! Which files of a cluster belong into a copy of it, and which of them have pages.
//!
//! The rules are those of PostgreSQL's own base backup. Left out is what a server makes anew when it starts, and what would
//! be wrong there: locks, replication slots, statistics in the making, the log itself (the segments that are needed are added
//! by name), temporary files and relations, and unlogged relations but for the fork they are reset from.

use std::collections::HashSet;

/// What to do with an entry of a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// It is part of the copy.
    Yes,
    /// It is not.
    No,
    /// The directory is, what is in it is not.
    Emptied,
}

/// Directories a server starts with empty.
const EMPTIED: [&str; 7] = [
    "pg_dynshmem",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
];

/// Files at the top that belong to the running server.
const OWN: [&str; 11] = [
    "backup_label",
    "backup_label.old",
    "tablespace_map",
    "tablespace_map.old",
    "backup_manifest",
    "postmaster.pid",
    "postmaster.opts",
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
    "recovery.signal",
    // A standby's own signal says that it is one; what comes out of a snapshot decides anew what it will be.
    "standby.signal",
];

/// What to do with an entry; `path` is below the data directory or a tablespace, with `/` between names.
pub(super) fn keep(path: &str, is_dir: bool) -> Keep {
    let name = path.rsplit('/').next().unwrap_or(path);
    let top = !path.contains('/');
    // Files and directories of sorts that did not fit into memory, wherever they are; what caches the catalogue.
    if name.starts_with("pgsql_tmp") {
        return Keep::No;
    }
    if !is_dir && name.starts_with("pg_internal.init") {
        return Keep::No;
    }
    if top && is_dir && EMPTIED.contains(&name) {
        return Keep::Emptied;
    }
    if top && !is_dir && OWN.contains(&name) {
        return Keep::No;
    }
    if !is_dir && is_database(parent(path)) && is_temporary(name) {
        return Keep::No;
    }
    Keep::Yes
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Whether a directory holds relations: `global`, `base/5`, `PG_15_202209061/5` of a tablespace.
pub(super) fn is_database(path: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match path.split_once('/') {
        None => path == "global",
        Some((first, rest)) => (first == "base" || first.starts_with("PG_")) && number(rest),
    }
}

/// The parts of the name of a file of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Relation<'a> {
    /// Its number.
    pub(super) node: &'a str,
    /// `fsm`, `vm`, `init`; empty for the main one.
    pub(super) fork: &'a str,
    /// Which of its files it is.
    pub(super) segment: u32,
}

/// Reads the name of a file of a relation, such as `16384`, `16384_fsm`, `16384.3`.
pub(super) fn relation(name: &str) -> Option<Relation<'_>> {
    let (rest, segment) = match name.split_once('.') {
        Some((rest, digits)) => (rest, digits.parse().ok().filter(|_| !digits.starts_with(['0', '+']))?),
        None => (name, 0),
    };
    let (node, fork) = rest.split_once('_').unwrap_or((rest, ""));
    let digits = !node.is_empty() && node.bytes().all(|byte| byte.is_ascii_digit());
    let known = ["fsm", "vm", "init"].contains(&fork) || fork.is_empty() && !rest.contains('_');
    (digits && known).then_some(Relation { node, fork, segment })
}

/// Whether a name is that of a temporary relation, such as `t3_16384_fsm.1`.
fn is_temporary(name: &str) -> bool {
    let after = name.strip_prefix('t').and_then(|rest| rest.split_once('_'));
    after.is_some_and(|(backend, rest)| {
        !backend.is_empty() && backend.bytes().all(|byte| byte.is_ascii_digit()) && relation(rest).is_some()
    })
}

/// The unlogged relations among the names of a database's directory: those with an init fork.
pub(super) fn unlogged<'a>(names: impl Iterator<Item = &'a str>) -> HashSet<&'a str> {
    names
        .filter_map(relation)
        .filter(|relation| relation.fork == "init")
        .map(|relation| relation.node)
        .collect()
}

/// Whether a file is one of an unlogged relation that is reset when a server starts.
pub(super) fn is_reset(name: &str, unlogged: &HashSet<&str>) -> bool {
    relation(name).is_some_and(|relation| relation.fork != "init" && unlogged.contains(relation.node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_running_server_stays_there() {
        for path in [
            "postmaster.pid",
            "backup_label",
            "standby.signal",
            "base/5/t3_16384",
            "base/5/t3_16384_fsm.1",
        ] {
            assert_eq!(keep(path, false), Keep::No, "{path}");
        }
        for path in [
            "base/pgsql_tmp",
            "base/5/pg_internal.init",
            "global/pg_internal.init.77",
            "base/pgsql_tmp/pgsql_tmp7.0",
        ] {
            assert_eq!(keep(path, path == "base/pgsql_tmp"), Keep::No, "{path}");
        }
        for path in ["pg_replslot", "pg_stat_tmp", "pg_notify"] {
            assert_eq!(keep(path, true), Keep::Emptied, "{path}");
        }
        let kept = [
            "PG_VERSION",
            "base/5/16384",
            "base/5/16384_init",
            "postgresql.conf",
            "mine/backup_label",
            "base/5/t_x",
        ];
        for path in kept {
            assert_eq!(keep(path, false), Keep::Yes, "{path}");
        }
    }

    #[test]
    fn names_of_relations_are_read() {
        let read = |name| relation(name).map(|found| (found.node, found.fork, found.segment));
        assert_eq!(read("16384"), Some(("16384", "", 0)));
        assert_eq!(read("16384_vm.12"), Some(("16384", "vm", 12)));
        for name in [
            "pg_filenode.map",
            "PG_VERSION",
            "16384_",
            "16384_x",
            "t3_16384",
            "16384.",
            "16384.01",
            "_vm",
        ] {
            assert_eq!(read(name), None, "{name}");
        }
        assert!(is_database("base/5") && is_database("global") && is_database("PG_15_202209061/16384"));
        assert!(!is_database("base") && !is_database("pg_xact") && !is_database("base/5/x") && !is_database("base/x"));
    }

    #[test]
    fn an_unlogged_relation_keeps_only_what_it_is_reset_from() {
        let names = ["20", "20_init", "20_fsm", "20.1", "21"];
        let found = unlogged(names.into_iter());
        let left: Vec<&str> = names.into_iter().filter(|name| !is_reset(name, &found)).collect();
        assert_eq!(left, ["20_init", "21"]);
    }
}
