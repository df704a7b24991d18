//! Forgetting that can be undone: a forgotten snapshot goes to the trash, with its exact stored bytes.
//!
//! **What it promises.** `untrash` brings back the same bytes under the same id. A prune keeps everything that a
//! snapshot in the trash needs until the trash period has passed, and longer for a pinned one. A pinned snapshot is
//! refused, not forgotten.
//!
//! **Crash windows.** Forgetting writes the trash entry and then deletes the snapshot; bringing back writes the snapshot
//! and then deletes the trash entry. In between it is in both places, and *a snapshot that is listed counts as listed*:
//! [`Repository::trash`] leaves it out, forgetting it again replaces the entry (so that its period begins anew), and the
//! next `untrash` only removes what is left over. There is no moment at which it is in neither.
//!
//! **Others.** Both take a shared lock, so that no prune runs meanwhile; backups may. For stock restic a snapshot in the
//! trash does not exist, and its prune takes the data away. `untrash` therefore looks whether everything is still there
//! before it lists the snapshot again: a listed snapshot always restores.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use chrono::{DateTime, FixedOffset};
use futures_util::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::Repository;
use super::beside::{Beside, Note, PARALLEL_READS, Sealed};
use super::error::RepoError;
use super::files::FileKind;
use super::id::{Id, short};
use super::snapshot::{SnapshotFile, SnapshotInfo};
use crate::store::ErrorKind;

/// What forgetting did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Forgotten {
    /// The snapshots that are in the trash now.
    pub trashed: Vec<SnapshotInfo>,
    /// The ids that were left alone, each with the reason.
    pub refused: Vec<(String, String)>,
}

/// A snapshot in the trash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trashed {
    /// The id it had and will have again.
    pub id: String,
    /// What is stored.
    pub snapshot: SnapshotFile,
    /// When it was forgotten.
    pub at: DateTime<FixedOffset>,
    /// By whom and why.
    pub note: Note,
}

/// The particular part of a trash entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    /// The stored bytes of the snapshot, base64.
    stored: String,
}

/// What became of one id on the way to the trash.
enum Step {
    Kept(Box<SnapshotInfo>),
    Refused(String, String),
}

impl Repository {
    /// Moves snapshots, by their whole ids, to the trash; pinned ones and those that are not there are listed as refused.
    pub async fn forget(&self, ids: &[String], note: &Note) -> Result<Forgotten, RepoError> {
        let lock = self.lock(false).await?;
        let done = self.forget_locked(ids, note).await;
        let released = lock.release().await;
        done.and_then(|done| released.map(|()| done))
    }

    async fn forget_locked(&self, ids: &[String], note: &Note) -> Result<Forgotten, RepoError> {
        let pinned = self.list_beside(Beside::Pin).await?;
        let in_trash = self.list_beside(Beside::Trash).await?;
        let mut ids: Vec<&String> = ids.iter().collect();
        ids.sort();
        ids.dedup();
        let (pinned_ref, in_trash_ref) = (&pinned, &in_trash);
        let steps = ids.into_iter().map(|id| async move {
            if pinned_ref.contains(id) {
                return Ok(Step::Refused(id.clone(), "it is pinned".to_owned()));
            }
            self.keep_in_trash(id, in_trash_ref.contains(id), note).await
        });
        // Collected first, for the same reason as below.
        let steps: Vec<_> = steps.collect();
        let mut steps = futures_util::stream::iter(steps).buffered(PARALLEL_READS);
        let mut done = Forgotten::default();
        while let Some(step) = steps.next().await {
            match step? {
                Step::Kept(info) => done.trashed.push(*info),
                Step::Refused(id, why) => done.refused.push((id, why)),
            }
        }
        drop(steps);
        // Pinned since the first look: it stays listed, and its new entry is not needed.
        let pinned = self.list_beside(Beside::Pin).await?;
        let (refused, trashed): (Vec<_>, Vec<_>) = done.trashed.into_iter().partition(|info| pinned.contains(&info.id));
        for info in refused {
            self.remove_beside(Beside::Trash, &info.id).await?;
            done.refused.push((info.id, "it is pinned".to_owned()));
        }
        done.trashed = trashed;
        let keys = done.trashed.iter().map(|info| snapshot_key(&info.id));
        let deletes = keys.map(|key| async move { self.delete_gone(&key).await });
        // Collected first: the iterator with its closures could not move between threads.
        let deletes: Vec<_> = deletes.collect();
        futures_util::stream::iter(deletes)
            .buffer_unordered(PARALLEL_READS)
            .try_collect::<()>()
            .await?;
        Ok(done)
    }

    /// Writes the trash entry of a listed snapshot.
    async fn keep_in_trash(&self, id: &str, left_over: bool, note: &Note) -> Result<Step, RepoError> {
        let refused = |why: String| Ok(Step::Refused(id.to_owned(), why));
        if Id::parse(id).is_none() {
            return refused("it is not the whole id of a snapshot".to_owned());
        }
        let key = snapshot_key(id);
        let stored = match self.retry(None, || self.store().get(&key)).await {
            Err(error) if error.kind == ErrorKind::NotFound && left_over => {
                return refused("it is in the trash already".to_owned());
            }
            Err(error) if error.kind == ErrorKind::NotFound => return refused("there is no such snapshot".to_owned()),
            other => other?,
        };
        let info = match self.parse_snapshot(id, &stored) {
            Err(error @ RepoError::Damaged { .. }) => return refused(error.to_string()),
            other => other?,
        };
        if left_over {
            // Left by a crash; the snapshot is listed, and its period begins now.
            self.remove_beside(Beside::Trash, id).await?;
        }
        let kept = Kept {
            stored: BASE64_STANDARD.encode(&stored),
        };
        self.save_beside(Beside::Trash, id, note, kept).await?;
        Ok(Step::Kept(Box::new(info)))
    }

    fn parse_snapshot(&self, id: &str, stored: &[u8]) -> Result<SnapshotInfo, RepoError> {
        let label = || format!("snapshot {}", short(id));
        if Id::of(stored).hex() != id {
            return Err(RepoError::damaged(label(), "its bytes do not match its name"));
        }
        let plain = self.unseal(stored, label)?;
        let snapshot =
            serde_json::from_slice(&plain).map_err(|error| RepoError::damaged(label(), error.to_string()))?;
        Ok(SnapshotInfo {
            id: id.to_owned(),
            snapshot,
        })
    }

    /// Every snapshot in the trash, the last one forgotten first; those that are listed as well are not.
    pub async fn trash(&self) -> Result<Vec<Trashed>, RepoError> {
        let names = self.list_beside(Beside::Trash).await?;
        // Listed after the trash: what is brought back between the two is then seen in at least one of them.
        let listed = self.list_files(FileKind::Snapshot).await?;
        let gone = names
            .into_iter()
            .filter(|name| !listed.iter().any(|(id, _)| id == name))
            .collect::<Vec<_>>();
        let loads = gone
            .into_iter()
            .map(|name| async move { self.load_trashed(&name).await });
        let mut loads = futures_util::stream::iter(loads).buffered(PARALLEL_READS);
        let mut all = Vec::new();
        while let Some(loaded) = loads.next().await {
            // Removed by somebody else between the listing and now.
            all.extend(loaded?.map(|(trashed, _)| trashed));
        }
        all.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
        Ok(all)
    }

    /// An entry and the stored bytes of its snapshot.
    async fn load_trashed(&self, name: &str) -> Result<Option<(Trashed, Vec<u8>)>, RepoError> {
        let Some(Sealed { at, note, what, .. }) = self.load_beside::<Kept>(Beside::Trash, name).await? else {
            return Ok(None);
        };
        let label = || format!("trash entry {}", short(name));
        let stored = BASE64_STANDARD
            .decode(what.stored)
            .map_err(|error| RepoError::damaged(label(), error.to_string()))?;
        let SnapshotInfo { id, snapshot } = self.parse_snapshot(name, &stored)?;
        let trashed = Trashed { id, snapshot, at, note };
        Ok(Some((trashed, stored)))
    }

    /// Lists a snapshot again, by the beginning of its id: the same bytes under the same name.
    pub async fn untrash(&self, id: &str) -> Result<SnapshotInfo, RepoError> {
        let lock = self.lock(false).await?;
        let done = self.untrash_locked(id).await;
        let released = lock.release().await;
        done.and_then(|done| released.map(|()| done))
    }

    async fn untrash_locked(&self, query: &str) -> Result<SnapshotInfo, RepoError> {
        let mut names = self.list_beside(Beside::Trash).await?;
        names.retain(|name| !query.is_empty() && name.starts_with(query));
        let none = || RepoError::NotInTrash {
            query: query.to_owned(),
        };
        let name = match names.as_slice() {
            [] => return Err(none()),
            [name] => name,
            more => {
                return Err(RepoError::AmbiguousSnapshot {
                    query: query.to_owned(),
                    count: more.len(),
                });
            }
        };
        let (trashed, stored) = self.load_trashed(name).await?.ok_or_else(none)?;
        self.refuse_lost(&trashed).await?;
        self.put_new(&snapshot_key(name), stored.into(), None).await?;
        self.remove_beside(Beside::Trash, name).await?;
        let Trashed { id, snapshot, .. } = trashed;
        Ok(SnapshotInfo { id, snapshot })
    }

    /// Refuses to list a snapshot whose data another program has removed.
    async fn refuse_lost(&self, trashed: &Trashed) -> Result<(), RepoError> {
        let index = self.load_index().await?;
        let mut seen = std::collections::HashSet::new();
        let mut todo = vec![trashed.snapshot.tree];
        let lost = |blob: Id| RepoError::LostInTrash {
            snapshot: short(&trashed.id).to_owned(),
            blob: blob.short(),
        };
        while let Some(tree) = todo.pop() {
            if !seen.insert(tree) {
                continue;
            }
            let nodes = match self.load_tree(&index, &tree).await {
                Err(RepoError::MissingBlob { .. }) => return Err(lost(tree)),
                other => other?,
            };
            for node in nodes {
                todo.extend(node.subtree);
                let missing = |id: &&Id| !index.has(super::pack::BlobKind::Data, id);
                if let Some(id) = node.content.iter().find(missing) {
                    return Err(lost(*id));
                }
            }
        }
        self.0.trees.clear();
        Ok(())
    }
}

/// The key of a snapshot.
pub(super) fn snapshot_key(id: &str) -> String {
    format!("{}{id}", FileKind::Snapshot.prefix())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{backup, check, fresh, open, small_tree};
    use super::*;
    use crate::store::Store;
    use crate::store::local::LocalStore;
    use crate::store::memory::MemoryStore;

    pub(super) fn note() -> Note {
        Note {
            by: "ana".to_owned(),
            reason: Some("space".to_owned()),
        }
    }

    async fn with_snapshots(count: usize) -> (Arc<MemoryStore>, Repository, Vec<String>) {
        let (store, repo) = fresh().await;
        let dir = tempfile::tempdir().unwrap();
        small_tree(dir.path());
        let mut ids = Vec::new();
        for number in 0..count {
            std::fs::write(dir.path().join("number"), number.to_string()).unwrap();
            ids.push(backup(&repo, dir.path()).await.unwrap().snapshot.id);
        }
        (store, repo, ids)
    }

    #[tokio::test]
    async fn what_is_forgotten_comes_back_with_the_same_bytes_and_id() {
        let (store, repo, ids) = with_snapshots(2).await;
        let before = store.get(&snapshot_key(&ids[0])).await.unwrap();
        let done = repo.forget(&ids[..1], &note()).await.unwrap();
        assert_eq!((done.trashed[0].id.as_str(), done.refused.len()), (ids[0].as_str(), 0));
        assert_eq!(repo.snapshots().await.unwrap().len(), 1);
        let trash = repo.trash().await.unwrap();
        assert_eq!((trash[0].id.as_str(), &trash[0].note), (ids[0].as_str(), &note()));
        let back = repo.untrash(&ids[0][..6]).await.unwrap();
        assert_eq!((&back, repo.trash().await.unwrap().len()), (&done.trashed[0], 0));
        assert_eq!(store.get(&snapshot_key(&ids[0])).await.unwrap(), before);
        assert!(check(&repo).await.is_sound());
        assert!(repo.locks().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn pinned_unknown_and_damaged_snapshots_are_refused_and_the_rest_goes() {
        let (store, repo, ids) = with_snapshots(4).await;
        repo.pin(&ids[0], &note()).await.unwrap();
        assert!(store.damage(&snapshot_key(&ids[1]), |data| data[20] ^= 1));
        repo.forget(&ids[2..3], &note()).await.unwrap();
        let unknown = "ab".repeat(32);
        let mut all = ids.clone();
        all.extend([unknown.clone(), ids[3][..8].to_owned()]);
        let done = repo.forget(&all, &note()).await.unwrap();
        assert_eq!(done.trashed.iter().map(|info| &info.id).collect::<Vec<_>>(), [&ids[3]]);
        let why = |id: &str| &done.refused.iter().find(|(refused, _)| refused == id).unwrap().1;
        assert_eq!(why(&ids[0]), "it is pinned");
        assert!(why(&ids[1]).contains("damaged"));
        assert_eq!(why(&ids[2]), "it is in the trash already");
        assert_eq!(why(&unknown), "there is no such snapshot");
        assert_eq!(why(&ids[3][..8]), "it is not the whole id of a snapshot");
        repo.unpin(&ids[0][..8], &note()).await.unwrap();
        assert_eq!(repo.forget(&ids[..1], &note()).await.unwrap().trashed.len(), 1);
    }

    #[tokio::test]
    async fn a_snapshot_both_listed_and_in_the_trash_counts_as_listed() {
        let (store, repo, ids) = with_snapshots(1).await;
        let key = snapshot_key(&ids[0]);
        let bytes = store.get(&key).await.unwrap();
        repo.forget(&ids, &note()).await.unwrap();
        let first = repo.trash().await.unwrap()[0].at;
        // What a crash between the two steps leaves.
        store.put(&key, bytes).await.unwrap();
        assert!(repo.trash().await.unwrap().is_empty());
        assert_eq!(repo.forget(&ids, &note()).await.unwrap().trashed.len(), 1);
        assert!(repo.trash().await.unwrap()[0].at > first, "its period begins anew");
        repo.untrash(&ids[0]).await.unwrap();
        assert!(repo.trash().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_snapshot_whose_data_was_removed_does_not_come_back() {
        let (store, repo, ids) = with_snapshots(1).await;
        repo.forget(&ids, &note()).await.unwrap();
        for object in store.list("index/").await.unwrap() {
            store.delete(&object.key).await.unwrap();
        }
        let error = repo.untrash(&ids[0]).await.unwrap_err();
        assert!(matches!(error, RepoError::LostInTrash { .. }), "{error}");
        assert!(repo.snapshots().await.unwrap().is_empty());
        assert_eq!(repo.trash().await.unwrap().len(), 1);
        assert!(matches!(repo.untrash("ffff").await, Err(RepoError::NotInTrash { .. })));
    }

    #[tokio::test]
    async fn an_entry_under_another_name_is_damaged() {
        let (store, repo, ids) = with_snapshots(2).await;
        repo.forget(&ids, &note()).await.unwrap();
        let moved = store.get(&Beside::Trash.key(&ids[0])).await.unwrap();
        store.delete(&Beside::Trash.key(&ids[1])).await.unwrap();
        store.put(&Beside::Trash.key(&ids[1]), moved).await.unwrap();
        assert!(matches!(repo.trash().await, Err(RepoError::Damaged { .. })));
        assert!(matches!(repo.untrash(&ids[1]).await, Err(RepoError::Damaged { .. })));
    }

    #[tokio::test]
    async fn a_directory_gets_the_folders_when_they_are_needed() {
        let (dir, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        small_tree(source.path());
        let store = Arc::new(LocalStore::new(dir.path().join("repo")));
        let password = super::super::testing::password();
        let clock = crate::clock::Clock::system();
        Repository::init(store.clone(), &password, clock).await.unwrap();
        let repo = open(store).await.unwrap();
        assert!(repo.trash().await.unwrap().is_empty() && repo.pins().await.unwrap().is_empty());
        let id = backup(&repo, source.path()).await.unwrap().snapshot.id;
        repo.forget(std::slice::from_ref(&id), &note()).await.unwrap();
        assert!(dir.path().join("repo/trash").join(&id).is_file());
        repo.untrash(&id).await.unwrap();
        repo.pin("latest", &note()).await.unwrap();
        assert!(dir.path().join("repo/pins").join(&id).is_file());
    }
}
