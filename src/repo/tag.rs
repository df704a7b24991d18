//! Changing the labels of a snapshot, as restic does: a new snapshot file replaces the old one.
//!
//! Snapshot files never change, so other labels mean another file and another id. The new one remembers in `original`
//! the first id it ever had. Everything else in the file is taken over as it stands, also fields that this program does
//! not know.
//!
//! **Crash windows.** New snapshot, pin of the new one, deletion of the old snapshot, deletion of its pin. After a crash
//! the snapshot is listed twice, once with the old and once with the new labels, or the pin of a snapshot that is gone is
//! left over; it is never listed not at all and never unpinned.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Repository;
use super::beside::Beside;
use super::error::RepoError;
use super::files::FileKind;
use super::snapshot::SnapshotInfo;
use super::trash::snapshot_key;

/// How labels change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagChange {
    /// Labels to add, behind those that are there.
    #[serde(default)]
    pub add: Vec<String>,
    /// Labels to remove.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// A snapshot before and after its labels changed; the same twice when there was nothing to change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retagged {
    /// As it was; gone now, unless it is the same as `new`.
    pub old: SnapshotInfo,
    /// As it is.
    pub new: SnapshotInfo,
}

impl TagChange {
    /// The labels after the change.
    fn apply(&self, tags: &[String]) -> Vec<String> {
        let mut after: Vec<String> = Vec::new();
        for tag in tags.iter().chain(&self.add) {
            if !self.remove.contains(tag) && !after.contains(tag) {
                after.push(tag.clone());
            }
        }
        after
    }

    fn check(&self) -> Result<(), RepoError> {
        let invalid = |what: String| Err(RepoError::Invalid { what });
        if let Some(tag) = self.add.iter().find(|tag| self.remove.contains(tag)) {
            return invalid(format!("the tag {tag:?} cannot be added and removed at once"));
        }
        // restic splits its tag options at commas, and could not name such a tag.
        match self.add.iter().find(|tag| tag.is_empty() || tag.contains(',')) {
            Some(tag) => invalid(format!("{tag:?} cannot be a tag: it is empty or has a comma")),
            None => Ok(()),
        }
    }
}

impl Repository {
    /// Changes the labels of a snapshot, by prefix or `latest`; its pin follows.
    pub async fn tag(&self, id: &str, change: &TagChange) -> Result<Retagged, RepoError> {
        change.check()?;
        let lock = self.lock(false).await?;
        let done = self.tag_locked(id, change).await;
        let released = lock.release().await;
        done.and_then(|done| released.map(|()| done))
    }

    async fn tag_locked(&self, id: &str, change: &TagChange) -> Result<Retagged, RepoError> {
        let old = self.snapshot(id).await?;
        let tags = change.apply(&old.snapshot.tags);
        if tags == old.snapshot.tags {
            return Ok(Retagged { new: old.clone(), old });
        }
        let mut file: Value = self.load_json(FileKind::Snapshot, &old.id).await?;
        let first = old.snapshot.original.map_or_else(|| old.id.clone(), |id| id.hex());
        if let Some(fields) = file.as_object_mut() {
            if tags.is_empty() {
                fields.remove("tags");
            } else {
                fields.insert("tags".to_owned(), tags.into());
            }
            fields.insert("original".to_owned(), first.into());
        }
        let snapshot = serde_json::from_value(file.clone())
            .map_err(|error| RepoError::internal(format!("a snapshot with other tags: {error}")))?;
        let new = SnapshotInfo {
            id: self.save_json(FileKind::Snapshot, &file).await?,
            snapshot,
        };
        let pin = self.pins().await?.into_iter().find(|pin| pin.snapshot == old.id);
        if let Some(pin) = &pin {
            self.pin_whole(&new.id, &pin.note).await?;
        }
        self.delete_gone(&snapshot_key(&old.id)).await?;
        if pin.is_some() {
            self.remove_beside(Beside::Pin, &old.id).await?;
        }
        Ok(Retagged { old, new })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{backup, fresh, small_tree};
    use super::super::{Id, Note};
    use super::*;

    fn change(add: &[&str], remove: &[&str]) -> TagChange {
        let owned = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect();
        TagChange {
            add: owned(add),
            remove: owned(remove),
        }
    }

    #[tokio::test]
    async fn the_first_id_is_remembered_and_the_pin_follows() {
        let (_, repo) = fresh().await;
        let dir = tempfile::tempdir().unwrap();
        small_tree(dir.path());
        let first = backup(&repo, dir.path()).await.unwrap().snapshot;
        let pin = repo.pin("latest", &Note::default()).await.unwrap();
        let once = repo.tag("latest", &change(&["a", "b", "a"], &[])).await.unwrap();
        assert_eq!(
            (&once.old, &once.new.snapshot.tags[..]),
            (&first, &["a".to_owned(), "b".to_owned()][..])
        );
        let twice = repo.tag("latest", &change(&[], &["a"])).await.unwrap();
        assert_eq!(twice.new.snapshot.original, Id::parse(&first.id));
        let listed = repo.snapshots().await.unwrap();
        assert_eq!((listed.len(), &listed[0]), (1, &twice.new));
        let pins = repo.pins().await.unwrap();
        assert_eq!(
            (pins.len(), &pins[0].snapshot, &pins[0].note),
            (1, &twice.new.id, &pin.note)
        );
        let same = repo.tag("latest", &change(&["b"], &["x"])).await.unwrap();
        assert_eq!((same.old.id, same.new.id), (twice.new.id.clone(), twice.new.id));
    }

    #[tokio::test]
    async fn fields_of_other_programs_survive() {
        let (_, repo) = fresh().await;
        let file = serde_json::json!({
            "time": "2026-01-02T03:04:05.123456789+01:00", "tree": "ab".repeat(32), "paths": ["/srv"],
            "delete": "Never", "summary": {"total_bytes_processed": 7, "later": 9},
        });
        repo.save_json(FileKind::Snapshot, &file).await.unwrap();
        let new = repo.tag("latest", &change(&["x"], &[])).await.unwrap().new;
        let mut now: Value = repo.load_json(FileKind::Snapshot, &new.id).await.unwrap();
        assert_eq!(now["tags"], serde_json::json!(["x"]));
        let fields = now.as_object_mut().unwrap();
        fields.retain(|name, _| name != "tags" && name != "original");
        assert_eq!(now, file);
    }

    #[tokio::test]
    async fn impossible_changes_are_refused() {
        let (_, repo) = fresh().await;
        for bad in [change(&["a"], &["a"]), change(&[""], &[]), change(&["a,b"], &[])] {
            assert!(matches!(repo.tag("latest", &bad).await, Err(RepoError::Invalid { .. })));
        }
    }
}
