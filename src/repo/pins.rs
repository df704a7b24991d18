//! Pins: snapshots that must not be forgotten, by nobody and no rule, until somebody unpins them.
//!
//! A pin is an object `pins/<snapshot id>`. Forgetting refuses a pinned snapshot, and should one reach the trash all the
//! same (it was pinned in the very moment it was forgotten), no prune lets it expire there. Stock restic does not know
//! pins; [`super::prune`] notices when a pinned snapshot has vanished.
//!
//! Crash windows: none; a pin is one object.

use chrono::{DateTime, FixedOffset};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::Repository;
use super::beside::{Beside, Note, PARALLEL_READS, Sealed};
use super::error::RepoError;

/// A snapshot that must stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The whole id of the snapshot.
    pub snapshot: String,
    /// Since when.
    pub at: DateTime<FixedOffset>,
    /// By whom and why.
    pub note: Note,
}

/// A pin says nothing beyond its name and its note.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Nothing {}

impl From<Sealed<Nothing>> for Pin {
    fn from(sealed: Sealed<Nothing>) -> Self {
        Self {
            snapshot: sealed.name,
            at: sealed.at,
            note: sealed.note,
        }
    }
}

impl Repository {
    /// Pins a snapshot, by prefix or `latest`; one that is pinned keeps the pin it has.
    pub async fn pin(&self, id: &str, note: &Note) -> Result<Pin, RepoError> {
        let lock = self.lock(false).await?;
        let done = async {
            let info = self.snapshot(id).await?;
            self.pin_whole(&info.id, note).await
        }
        .await;
        let released = lock.release().await;
        done.and_then(|done| released.map(|()| done))
    }

    /// Pins a snapshot by its whole id.
    pub(super) async fn pin_whole(&self, id: &str, note: &Note) -> Result<Pin, RepoError> {
        if let Some(pin) = self.load_beside::<Nothing>(Beside::Pin, id).await? {
            return Ok(pin.into());
        }
        Ok(self.save_beside(Beside::Pin, id, note, Nothing {}).await?.into())
    }

    /// Removes a pin, by the beginning of the snapshot's id; the snapshot need not be listed any more.
    pub async fn unpin(&self, id: &str, note: &Note) -> Result<(), RepoError> {
        let mut names = self.list_beside(Beside::Pin).await?;
        if id == "latest" {
            let latest = self.snapshot(id).await?.id;
            names.retain(|name| *name == latest);
        } else {
            names.retain(|name| !id.is_empty() && name.starts_with(id));
        }
        match names.as_slice() {
            [] => Err(RepoError::NotPinned { query: id.to_owned() }),
            [name] => {
                self.remove_beside(Beside::Pin, name).await?;
                tracing::info!(snapshot = name, by = note.by, reason = note.reason, "unpinned");
                Ok(())
            }
            more => Err(RepoError::AmbiguousSnapshot {
                query: id.to_owned(),
                count: more.len(),
            }),
        }
    }

    /// Every pin, oldest first.
    pub async fn pins(&self) -> Result<Vec<Pin>, RepoError> {
        let names = self.list_beside(Beside::Pin).await?;
        let loads = names
            .into_iter()
            .map(|name| async move { self.load_beside::<Nothing>(Beside::Pin, &name).await });
        let mut loads = futures_util::stream::iter(loads).buffered(PARALLEL_READS);
        let mut pins: Vec<Pin> = Vec::new();
        while let Some(loaded) = loads.next().await {
            pins.extend(loaded?.map(Pin::from));
        }
        pins.sort_by(|a, b| (a.at, &a.snapshot).cmp(&(b.at, &b.snapshot)));
        Ok(pins)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{backup, fresh, small_tree};
    use super::*;

    #[tokio::test]
    async fn a_pin_says_who_and_why_and_stays_until_it_is_removed() {
        let (_, repo) = fresh().await;
        let dir = tempfile::tempdir().unwrap();
        small_tree(dir.path());
        let id = backup(&repo, dir.path()).await.unwrap().snapshot.id;
        let first = Note {
            by: "ana".into(),
            reason: Some("the audit of March".into()),
        };
        let pin = repo.pin("latest", &first).await.unwrap();
        assert_eq!((&pin.snapshot, &pin.note), (&id, &first));
        assert_eq!(
            repo.pin(&id[..5], &Note::default()).await.unwrap(),
            pin,
            "the first pin stays"
        );
        assert_eq!(repo.pins().await.unwrap(), [pin]);
        repo.unpin("latest", &first).await.unwrap();
        assert!(repo.pins().await.unwrap().is_empty());
        for id in ["latest", "", &id] {
            let error = repo.unpin(id, &first).await.unwrap_err();
            assert!(matches!(error, RepoError::NotPinned { .. }), "{id}: {error}");
        }
        assert!(repo.pin("ffff", &first).await.is_err());
    }
}
