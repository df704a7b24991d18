//! What can be broken for practice, and the one step of repair that is the operator's own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::documents::Dice;
use super::shop::DATABASE;
use crate::clock::Clock;
use crate::domain::run::Failure;
use crate::engine::hands::{Doing, Practice};
use crate::source::postgres::{Login, execute};

/// The incidents of the sandbox.
#[derive(Debug, Clone)]
pub(super) struct Incidents {
    /// The server, when there is one.
    pub(super) login: Option<Login>,
    /// The tree of documents.
    pub(super) documents: PathBuf,
    /// Time.
    pub(super) clock: Clock,
}

/// Breaks a table.
pub(super) const DROP_TABLE: &str = "drop-table";
/// Makes files unreadable, as ransomware would.
pub(super) const OVERWRITE_FILES: &str = "overwrite-files";
/// Loses files and a directory.
pub(super) const DELETE_FILES: &str = "delete-files";
/// Puts the restored database in the place of the broken one.
pub(super) const SWAP_DATABASE: &str = "swap-database";
/// The name a restored database has until then.
pub(super) const RESTORED: &str = "shop_restored";

impl Incidents {
    /// The names of what can be done here.
    pub(super) fn names(&self) -> Vec<String> {
        let of_files = [OVERWRITE_FILES, DELETE_FILES];
        let all = [DROP_TABLE, OVERWRITE_FILES, DELETE_FILES, SWAP_DATABASE];
        let names: &[&str] = if self.login.is_some() { &all } else { &of_files };
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}

impl Practice for Incidents {
    fn words(&self) -> String {
        let names = self.names().join(", ");
        format!("a sandbox: break things from the palette ({names}), then restore them")
    }

    fn act(&self, incident: String) -> Doing<'_, Result<String, Failure>> {
        Box::pin(async move {
            match (incident.as_str(), &self.login) {
                (DROP_TABLE, Some(login)) => {
                    let sql = "drop table order_items cascade";
                    self.sql(login, DATABASE, sql).await?;
                    Ok("table order_items is gone; the shop takes no more orders".to_owned())
                }
                (SWAP_DATABASE, Some(login)) => self.swap(login).await,
                (OVERWRITE_FILES, _) => self.files(overwrite).await,
                (DELETE_FILES, _) => self.files(delete).await,
                _ => Err(Failure::permanent(
                    format!("there is no incident {incident:?} here"),
                    format!("choose one of: {}", self.words()),
                )),
            }
        })
    }
}

impl Incidents {
    async fn sql(&self, login: &Login, database: &str, sql: &str) -> Result<(), Failure> {
        execute(login, database, sql, &self.clock)
            .await
            .map_err(|error| Failure::from(&error))
    }

    /// After everybody was shown out, in one transaction: the broken database steps aside, the restored one takes its place.
    async fn swap(&self, login: &Login) -> Result<String, Failure> {
        let aside = format!("{DATABASE}_broken_{}", self.clock.now().format("%H%M%S"));
        let close = format!(
            "alter database {DATABASE} allow_connections false;
             select pg_terminate_backend(pid) from pg_stat_activity where datname in ('{DATABASE}', '{RESTORED}')"
        );
        let rename = format!(
            "begin;
             alter database {DATABASE} rename to {aside};
             alter database {RESTORED} rename to {DATABASE};
             commit;"
        );
        self.sql(login, "postgres", &close).await?;
        let swapped = self.sql(login, "postgres", &rename).await;
        // Whichever it is called now, people may look into it again.
        let broken = if swapped.is_ok() { &aside } else { DATABASE };
        self.sql(
            login,
            "postgres",
            &format!("alter database {broken} allow_connections true"),
        )
        .await?;
        swapped.map(|()| format!("{RESTORED} is now {DATABASE}; the broken one is kept as {aside}"))
    }

    async fn files(&self, act: fn(&Path) -> io::Result<String>) -> Result<String, Failure> {
        let root = self.documents.clone();
        let done = tokio::task::spawn_blocking(move || act(&root)).await;
        let failed = |error: String| Failure::transient(format!("cannot break {}: {error}", self.documents.display()));
        done.map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))
    }
}

/// Every regular file, in a steady order; links are not followed.
fn all_files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut todo) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn overwrite(root: &Path) -> io::Result<String> {
    let mut dice = Dice(666);
    let mut count = 0;
    for path in all_files(root)?.into_iter().step_by(7) {
        let length = usize::try_from(fs::metadata(&path)?.len()).unwrap_or(0);
        let noise: Vec<u8> = (0..=length / 8)
            .flat_map(|_| dice.roll().to_le_bytes())
            .take(length.max(32))
            .collect();
        // A file that even its owner may not write is replaced instead, as a determined intruder would.
        if fs::write(&path, &noise).is_err() {
            fs::remove_file(&path)?;
            fs::write(&path, &noise)?;
        }
        count += 1;
    }
    Ok(format!("{count} files hold noise now, as after an encryption"))
}

fn delete(root: &Path) -> io::Result<String> {
    let mut count = 0;
    for path in all_files(root)?.into_iter().skip(3).step_by(5) {
        fs::remove_file(path)?;
        count += 1;
    }
    let whole = root.join("contracts");
    if whole.is_dir() {
        count += all_files(&whole)?.len();
        fs::remove_dir_all(whole)?;
    }
    Ok(format!("{count} files are gone, the whole of contracts among them"))
}

#[cfg(test)]
mod tests {
    use super::super::documents::{create, inventory};
    use super::*;

    #[tokio::test]
    async fn incidents_hurt_and_unknown_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path(), &tokio_util::sync::CancellationToken::new()).unwrap();
        let incidents = Incidents {
            login: None,
            documents: dir.path().to_owned(),
            clock: Clock::system(),
        };
        let before = inventory(dir.path()).unwrap();
        assert!(
            incidents
                .act("drop-table".to_owned())
                .await
                .unwrap_err()
                .message
                .contains("no incident")
        );
        assert_eq!(inventory(dir.path()).unwrap(), before);
        incidents.act(OVERWRITE_FILES.to_owned()).await.unwrap();
        let overwritten = inventory(dir.path()).unwrap();
        let changed = before
            .iter()
            .filter(|(path, entry)| overwritten.get(*path) != Some(entry))
            .count();
        assert!(changed > 400, "{changed}");
        incidents.act(DELETE_FILES.to_owned()).await.unwrap();
        let left = inventory(dir.path()).unwrap();
        assert!(left.len() < before.len() - 900, "{} of {}", left.len(), before.len());
        assert!(!left.contains_key(Path::new("contracts")));
    }
}
