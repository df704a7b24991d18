//! What Lifeboat keeps beside restic's own files: small encrypted objects in folders that restic does not look into.
//!
//! | folder | one object is |
//! | --- | --- |
//! | `trash/<snapshot id>` | a snapshot that was forgotten and can come back ([`super::trash`]) |
//! | `pins/<snapshot id>` | a snapshot that must not be forgotten ([`super::pins`]) |
//! | `marks/<id>` | what the last prune saw and found unneeded, and the next one may delete ([`super::prune`]) |
//!
//! They are JSON in the envelope of every other file, and like every other file they are created once and never changed.
//! Unlike restic's they are named by what they speak of, not by the hash of their bytes; so the name is repeated inside,
//! under the seal, and an object that was moved to another name is damaged.
//!
//! Somebody who only has restic loses nothing by these folders and nothing without them: a snapshot in the trash is gone
//! for restic, as if it had forgotten it.

use chrono::{DateTime, FixedOffset};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Repository;
use super::error::RepoError;
use super::id::{Id, short};
use crate::store::ErrorKind;

/// How many of these small files are read or written at once.
pub(crate) const PARALLEL_READS: usize = 8;

/// A folder of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Forgotten snapshots.
    Trash,
    /// Snapshots that must stay.
    Pin,
    /// What the last prune left.
    Marks,
}

impl Beside {
    /// The folder, with the slash.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Trash => "trash/",
            Self::Pin => "pins/",
            Self::Marks => "marks/",
        }
    }

    /// The word for people.
    fn word(self) -> &'static str {
        match self {
            Self::Trash => "trash entry",
            Self::Pin => "pin",
            Self::Marks => "list of marked packs",
        }
    }

    /// The key of an object.
    pub(crate) fn key(self, name: &str) -> String {
        format!("{}{name}", self.prefix())
    }
}

/// Who did something and why; kept in the file that it made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Who: a person, or a job.
    pub by: String,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What every object of ours holds: its own name, when and by whom it was made, and what is particular to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sealed<T> {
    /// The name of the object.
    pub(crate) name: String,
    /// When it was made, by the clock of the store where it has one.
    pub(crate) at: DateTime<FixedOffset>,
    /// Who made it and why.
    #[serde(flatten)]
    pub(crate) note: Note,
    /// What is particular to its folder.
    pub(crate) what: T,
}

impl Repository {
    /// The time by which ages in this repository are measured: the store's own, where it has a clock.
    pub(crate) fn time(&self) -> DateTime<FixedOffset> {
        let now = || self.clock().now();
        self.store().server_time().unwrap_or_else(now).fixed_offset()
    }

    /// The names in a folder of ours, whole or an error.
    pub(crate) async fn list_beside(&self, folder: Beside) -> Result<Vec<String>, RepoError> {
        let objects = self.retry(None, || self.store().list(folder.prefix())).await?;
        let names = objects.into_iter().filter_map(|object| {
            let name = object.key.strip_prefix(folder.prefix())?;
            Id::parse(name).map(|_| name.to_owned())
        });
        Ok(names.collect())
    }

    /// Reads an object of ours; `None` when there is none.
    pub(crate) async fn load_beside<T: DeserializeOwned>(
        &self,
        folder: Beside,
        name: &str,
    ) -> Result<Option<Sealed<T>>, RepoError> {
        let key = folder.key(name);
        let label = || format!("{} {}", folder.word(), short(name));
        let sealed = match self.retry(None, || self.store().get(&key)).await {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let plain = self.unseal(&sealed, label)?;
        let value: Sealed<T> =
            serde_json::from_slice(&plain).map_err(|error| RepoError::damaged(label(), error.to_string()))?;
        if value.name == name {
            Ok(Some(value))
        } else {
            Err(RepoError::damaged(label(), "it was written for another name"))
        }
    }

    /// Writes an object of ours; one that is already there is an error.
    pub(crate) async fn save_beside<T: Serialize>(
        &self,
        folder: Beside,
        name: &str,
        note: &Note,
        what: T,
    ) -> Result<Sealed<T>, RepoError> {
        let value = Sealed {
            name: name.to_owned(),
            at: self.time(),
            note: note.clone(),
            what,
        };
        let sealed = self.seal_json(&value, folder.word())?;
        self.put_new(&folder.key(name), sealed.into(), None).await?;
        Ok(value)
    }

    /// Removes an object of ours; that it is gone already is what was wanted.
    pub(crate) async fn remove_beside(&self, folder: Beside, name: &str) -> Result<(), RepoError> {
        self.delete_gone(&folder.key(name)).await
    }
}
