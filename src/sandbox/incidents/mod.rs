//! What can be broken for practice, and the few steps of repair that are the operator's own.
//!
//! Each incident says what it broke and how that would be noticed where nobody had broken it on purpose. What it breaks is in
//! the sandbox's directory, so that taking the demo down undoes all of them.
//!
//! | incident | what happens |
//! | --- | --- |
//! | `drop-table` | a table of the shop is gone, the shop takes no more orders |
//! | `delete-rows` | all payments are deleted, by a DELETE without WHERE |
//! | `encrypt-rows` | what customers are called and wrote is noise |
//! | `overwrite-files`, `delete-files` | documents hold noise; documents are gone |
//! | `encrypt-files` | every document holds noise under another name, and there is a note |
//! | `kill-primary` | the server that the shop writes to is killed |
//! | `split-network` | nobody but the shop reaches its primary: not the standby, not those who look |
//! | `lose-region` | `db1` with its data, the documents and the near repository are gone |
//! | `disk-full` | the near repository has as much as it may have, because of a file somebody put there |
//! | `damage-repository` | some of what the near repository stores is not what was written |
//! | `swap-database`, `mend-network` | repairs: the restored database takes the place of the broken one; the way is open again |

mod database;
mod files;
mod region;

use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::domain::run::Failure;
use crate::engine::hands::{Doing, Practice};
use crate::sandbox::score::Scores;
use crate::sandbox::settings::near_repository;
use crate::source::postgres::Login;

/// Breaks a table.
pub(super) const DROP_TABLE: &str = "drop-table";
/// Deletes rows, without saying which.
pub(super) const DELETE_ROWS: &str = "delete-rows";
/// Makes rows noise.
pub(super) const ENCRYPT_ROWS: &str = "encrypt-rows";
/// Kills the server the shop writes to.
pub(super) const KILL_PRIMARY: &str = "kill-primary";
/// Loses everything near.
pub(super) const LOSE_REGION: &str = "lose-region";
/// Cuts the way to the primary.
pub(super) const SPLIT_NETWORK: &str = "split-network";
/// Opens it again.
pub(super) const MEND_NETWORK: &str = "mend-network";
/// Changes what a repository stores.
pub(super) const DAMAGE_REPOSITORY: &str = "damage-repository";
/// Leaves a repository no room.
pub(super) const DISK_FULL: &str = "disk-full";
/// Makes every file unreadable and renames it, as ransomware does.
pub(super) const ENCRYPT_FILES: &str = "encrypt-files";
/// Makes some files unreadable.
pub(super) const OVERWRITE_FILES: &str = "overwrite-files";
/// Loses files and a directory.
pub(super) const DELETE_FILES: &str = "delete-files";
/// Puts the restored database in the place of the broken one.
pub(super) const SWAP_DATABASE: &str = "swap-database";
/// The name a restored database has until then.
pub(super) const RESTORED: &str = "shop_restored";

pub(super) use region::filler;

/// Something that can be done here.
struct Incident {
    name: &'static str,
    /// Whether it takes a database server.
    needs_server: bool,
    /// How it would be noticed; empty for a repair.
    noticed: &'static str,
    /// The runbook that cures it; empty where there is none.
    cure: &'static str,
}

/// What can be done here, as it is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub name: String,
    /// What brings it back: the words for it.
    pub cure: String,
}

const ALL: [Incident; 13] = [
    of_server(
        DROP_TABLE,
        "the shop takes no orders, and its error names the table",
        "single-table-recovery",
    ),
    of_server(
        DELETE_ROWS,
        "orders without a payment; the shop itself goes on",
        "partial-data-loss",
    ),
    of_server(
        ENCRYPT_ROWS,
        "customers read noise; the next dump stores as much as the first, because nothing is known",
        "database-corruption",
    ),
    of_files(
        OVERWRITE_FILES,
        "people cannot open documents; the next snapshot stores far more than usual",
        "ransomware",
    ),
    of_files(
        ENCRYPT_FILES,
        "nobody can open anything; the agent says so after the next snapshot, by its figures",
        "ransomware",
    ),
    of_files(DELETE_FILES, "people miss documents; the next snapshot is smaller", ""),
    of_server(
        KILL_PRIMARY,
        "the shop takes no orders, and Topology has a primary that does not answer",
        "manual-failover",
    ),
    of_server(
        SPLIT_NETWORK,
        "Topology says the primary does not answer and the standby does not stream, and yet orders are taken",
        "split-network",
    ),
    of_server(
        LOSE_REGION,
        "the primary does not answer, the near repository cannot be read, every job fails",
        "regional-failure",
    ),
    of_files(
        DAMAGE_REPOSITORY,
        "by nobody until data is read: the next verification, restore or check --read-data",
        "repository-damaged",
    ),
    of_files(
        DISK_FULL,
        "the next backup fails for want of room, and an alert says which repository is full",
        "repository-full",
    ),
    of_server(SWAP_DATABASE, "", ""),
    of_server(MEND_NETWORK, "", ""),
];

const fn of_server(name: &'static str, noticed: &'static str, cure: &'static str) -> Incident {
    Incident {
        name,
        needs_server: true,
        noticed,
        cure,
    }
}

const fn of_files(name: &'static str, noticed: &'static str, cure: &'static str) -> Incident {
    Incident {
        name,
        needs_server: false,
        noticed,
        cure,
    }
}

impl Incident {
    /// What brings it back, in a few words.
    fn cured_by(&self) -> String {
        match (self.noticed, self.cure) {
            ("", _) => "a repair".to_owned(),
            (_, "") => "restore the newest snapshot".to_owned(),
            (_, runbook) => format!("runbook {runbook}"),
        }
    }
}

/// The incidents of the sandbox.
#[derive(Debug, Clone)]
pub(super) struct Incidents {
    /// The server the shop's name means, when there is one.
    pub(super) login: Option<Login>,
    /// The directory of the sandbox.
    pub(super) sandbox: PathBuf,
    /// What cuts the ways to `db1` and `db2`, when there are servers.
    pub(super) ways: Option<[watch::Sender<bool>; 2]>,
    /// What practice came to.
    pub(super) scores: Scores,
    /// Time.
    pub(super) clock: Clock,
}

impl Incidents {
    /// What can be done here, and what cures it.
    pub(super) fn offers(&self) -> Vec<Offer> {
        let possible = |incident: &&Incident| !incident.needs_server || self.login.is_some();
        let offer = |incident: &Incident| Offer {
            name: incident.name.to_owned(),
            cure: incident.cured_by(),
        };
        ALL.iter().filter(possible).map(offer).collect()
    }

    /// Where the documents are.
    pub(super) fn documents(&self) -> PathBuf {
        self.sandbox.join("documents")
    }

    async fn happen(&self, incident: &Incident) -> Result<String, Failure> {
        match (incident.name, &self.login) {
            (DROP_TABLE, Some(login)) => self.drop_table(login).await,
            (DELETE_ROWS, Some(login)) => self.delete_rows(login).await,
            (ENCRYPT_ROWS, Some(login)) => self.encrypt_rows(login).await,
            (SWAP_DATABASE, Some(login)) => self.swap(login).await,
            (OVERWRITE_FILES, _) => self.on_disk(self.documents(), files::overwrite).await,
            (ENCRYPT_FILES, _) => self.on_disk(self.documents(), files::encrypt).await,
            (DELETE_FILES, _) => self.on_disk(self.documents(), files::delete).await,
            (DISK_FULL, _) => self.on_disk(self.sandbox.clone(), region::fill).await,
            (DAMAGE_REPOSITORY, _) => self.on_disk(near_repository(&self.sandbox), region::damage).await,
            (KILL_PRIMARY, Some(_)) => self.on_disk(self.sandbox.clone(), region::kill_primary).await,
            (SPLIT_NETWORK, Some(_)) => self.cut(true),
            (MEND_NETWORK, Some(_)) => self.cut(false),
            (LOSE_REGION, Some(_)) => {
                if let Some([way, _]) = &self.ways {
                    way.send_replace(true);
                }
                self.on_disk(self.sandbox.clone(), region::lose).await
            }
            _ => Err(Failure::permanent(
                "there is no database server here",
                "install PostgreSQL",
            )),
        }
    }

    /// Breaks something on the disk, off the runtime.
    async fn on_disk(&self, place: PathBuf, act: fn(&Path) -> io::Result<String>) -> Result<String, Failure> {
        let failed =
            |place: &Path, error: String| Failure::transient(format!("cannot break {}: {error}", place.display()));
        let (root, told) = (place.clone(), place);
        let done = tokio::task::spawn_blocking(move || act(&root)).await;
        done.map_err(|error| failed(&told, error.to_string()))?
            .map_err(|error| failed(&told, error.to_string()))
    }
}

impl Practice for Incidents {
    fn words(&self) -> String {
        let what = "a sandbox: break things from the palette (press : and type practice), then bring them back";
        match self.scores.words(self.clock.now()) {
            score if score.is_empty() => what.to_owned(),
            score => format!("a sandbox · {score}"),
        }
    }

    fn act(&self, incident: String) -> Doing<'_, Result<String, Failure>> {
        Box::pin(async move {
            let Some(known) = ALL.iter().find(|known| known.name == incident) else {
                return Err(Failure::permanent(
                    format!("there is no incident {incident:?} here"),
                    format!("choose one of: {}", names(&self.offers()).join(", ")),
                ));
            };
            let began = self.clock.now();
            let what = self.happen(known).await?;
            if !known.noticed.is_empty() {
                self.scores.broke(known.name, began);
            }
            Ok(match known.noticed {
                "" => what,
                noticed => format!("{what}. Noticed: {noticed}. Cure: {}", known.cured_by()),
            })
        })
    }
}

fn names(offers: &[Offer]) -> Vec<&str> {
    offers.iter().map(|offer| offer.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::sandbox::documents::{create, inventory};

    fn without_server(sandbox: &Path) -> Incidents {
        Incidents {
            login: None,
            sandbox: sandbox.to_owned(),
            ways: None,
            scores: Scores::default(),
            clock: Clock::system(),
        }
    }

    #[test]
    fn every_cure_is_a_runbook_that_comes_with_the_program() {
        for incident in ALL.iter().filter(|incident| !incident.cure.is_empty()) {
            let path = format!("{}/assets/runbooks/{}.toml", env!("CARGO_MANIFEST_DIR"), incident.cure);
            assert!(Path::new(&path).exists(), "{}: {path}", incident.name);
        }
    }

    #[tokio::test]
    async fn incidents_hurt_and_unknown_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let incidents = without_server(dir.path());
        let root = incidents.documents();
        create(&root, &CancellationToken::new()).unwrap();
        let before = inventory(&root).unwrap();
        let refused = async |name: &str| incidents.act(name.to_owned()).await.unwrap_err().message;
        assert!(refused("drop-tables").await.contains("no incident"));
        for name in ALL.iter().filter(|incident| incident.needs_server) {
            assert!(refused(name.name).await.contains("no database server"), "{}", name.name);
        }
        assert_eq!(inventory(&root).unwrap(), before);
        let said = incidents.act(OVERWRITE_FILES.to_owned()).await.unwrap();
        assert!(
            said.contains("Noticed: ") && said.contains("Cure: runbook ransomware"),
            "{said}"
        );
        let overwritten = inventory(&root).unwrap();
        let changed = before
            .iter()
            .filter(|(path, entry)| overwritten.get(*path) != Some(entry))
            .count();
        assert!(changed > 400, "{changed}");
        incidents.act(DELETE_FILES.to_owned()).await.unwrap();
        let left = inventory(&root).unwrap();
        assert!(left.len() < before.len() - 900, "{} of {}", left.len(), before.len());
        assert!(!left.contains_key(Path::new("contracts")));
    }
}
