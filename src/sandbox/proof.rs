//! Before and after: is what came back what was there?

use std::path::PathBuf;

use super::SandboxError;
use super::documents::{Inventory, inventory};
use super::shop::DATABASE;
use crate::clock::Clock;
use crate::source::postgres::{Login, contents};
use crate::source::{DatabaseManifest, SourceError};

/// One thing that was compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Whether it is identical.
    pub(super) same: bool,
    /// What it is and what was seen.
    pub(super) text: String,
}

/// Compares every table of the shop with what was recorded in the transaction the dump was taken in.
pub(super) async fn tables(
    login: &Login,
    recorded: &DatabaseManifest,
    clock: &Clock,
) -> Result<Vec<Line>, SourceError> {
    let found = contents(login, DATABASE, clock).await?;
    let mut lines = Vec::new();
    for (table, rows) in &recorded.facts.row_counts {
        let expected = recorded.fingerprints.get(table);
        let (same, seen) = match found.get(table) {
            None => (false, "is missing".to_owned()),
            Some(content) if content.rows != *rows => (false, format!("has {} rows, expected {rows}", content.rows)),
            // A table whose content was not recorded cannot be proved identical.
            Some(content) if expected.is_none() || content.fingerprint.as_ref() != expected => {
                (false, format!("{rows} rows, but the content differs"))
            }
            Some(_) => (
                true,
                format!("{rows} rows, checksum {}", expected.map_or("", String::as_str)),
            ),
        };
        lines.push(Line {
            same,
            text: format!("{table}: {seen}"),
        });
    }
    for table in found
        .keys()
        .filter(|table| !recorded.facts.row_counts.contains_key(*table))
    {
        lines.push(Line {
            same: false,
            text: format!("{table}: was not there before"),
        });
    }
    Ok(lines)
}

/// Reads a tree, off the runtime.
pub(super) async fn look(root: PathBuf) -> Result<Inventory, SandboxError> {
    let path = root.clone();
    let looked = tokio::task::spawn_blocking(move || inventory(&root)).await;
    looked
        .map_err(std::io::Error::other)
        .flatten()
        .map_err(|error| SandboxError::local("read", &path, error))
}

/// What is not as it was: at most ten entries by name, and how many in all.
pub(super) fn differences(before: &Inventory, after: &Inventory) -> (usize, Vec<String>) {
    let mut wrong = Vec::new();
    for (path, entry) in before {
        match after.get(path) {
            None => wrong.push(format!("{}: is missing", path.display())),
            Some(found) if found != entry => wrong.push(format!("{}: {found:?}, expected {entry:?}", path.display())),
            Some(_) => {}
        }
    }
    let surplus = after.keys().filter(|path| !before.contains_key(*path));
    wrong.extend(surplus.map(|path| format!("{}: was not there before", path.display())));
    let count = wrong.len();
    wrong.truncate(10);
    (count, wrong)
}

#[cfg(test)]
mod tests {
    use super::super::documents::Entry;
    use super::super::server::{PostgresServer, ServerOptions};
    use super::*;
    use crate::source::postgres::execute;

    #[tokio::test]
    async fn a_row_that_differs_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let server = PostgresServer::start(dir.path(), ServerOptions::default(), &clock).await;
        let server = server.expect("apt-get install postgresql");
        let login = server.login();
        let sql = async |sql| execute(&login, DATABASE, sql, &clock).await.unwrap();
        execute(&login, "postgres", "create database shop", &clock)
            .await
            .unwrap();
        sql("create table a as select n, 'x' || n as x from generate_series(1, 9) n; create table b (n int)").await;
        let mut recorded = DatabaseManifest::default();
        for (table, content) in contents(&login, DATABASE, &clock).await.unwrap() {
            recorded.facts.row_counts.insert(table.clone(), content.rows);
            recorded
                .fingerprints
                .extend(content.fingerprint.map(|fingerprint| (table, fingerprint)));
        }
        let wrong = async || -> Vec<String> {
            let lines = tables(&login, &recorded, &clock).await.unwrap();
            lines
                .into_iter()
                .filter(|line| !line.same)
                .map(|line| line.text)
                .collect()
        };
        assert_eq!(wrong().await, Vec::<String>::new());
        sql("update a set x = 'y' where n = 5").await;
        assert_eq!(wrong().await, ["public.a: 9 rows, but the content differs"]);
        sql("update a set x = 'x5' where n = 5; insert into b values (1); create table c (n int)").await;
        assert_eq!(
            wrong().await,
            ["public.b: has 1 rows, expected 0", "public.c: was not there before"]
        );
    }

    #[test]
    fn a_missing_a_changed_and_a_surplus_entry_are_told() {
        let entry = |mode| Entry::Directory(mode, (0, 0));
        let tree = |entries: &[(&str, u32)]| -> Inventory {
            entries
                .iter()
                .map(|(path, mode)| (PathBuf::from(path), entry(*mode)))
                .collect()
        };
        let before = tree(&[("a", 0o755), ("b", 0o755), ("c", 0o755)]);
        assert_eq!(differences(&before, &before.clone()), (0, Vec::new()));
        let (count, told) = differences(&before, &tree(&[("a", 0o755), ("b", 0o700), ("d", 0o755)]));
        assert_eq!(count, 3);
        assert!(
            told[0].starts_with("b: ") && told[1].starts_with("c: is missing") && told[2].starts_with("d: was not")
        );
    }
}
