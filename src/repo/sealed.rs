//! Sealed objects of other rooms in the repository's store: the same keys, the same envelope, folders of their own.
//!
//! restic lists only the folders it knows, so an object here is nothing to it. What is inside is the business of the room
//! that put it; this file promises the envelope, durability and whole listings.
//!
//! **Consistency.** An object is created, never changed. A put that meets an object is not an error and not a success:
//! [`Put::Exists`] leaves it to the caller to compare, because here, other than for files named by their hash, the same
//! name may hold something else. That is also what a repeated request finds whose first attempt did succeed.
//!
//! **Crash windows.** A put that did not return may have happened. A put that returned [`Put::Stored`] is durable and was
//! seen in the store with every byte.
//!
//! What this file never does: touch a folder that is not in [`FOLDERS`], or take an unreadable object for an absent one.

use bytes::Bytes;

use super::error::RepoError;
use super::id::Id;
use super::{Repository, crypto, off_runtime};
use crate::store::{ErrorKind, ObjectInfo};

/// The folders that other rooms may use, with the slash.
const FOLDERS: [&str; 1] = ["wal/"];

/// How a put ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is new, and durable.
    Stored,
    /// There is an object of that name, ours or not; it was left as it is.
    Exists,
}

impl Repository {
    /// Seals `plain` and stores it under a new key; durable and verified when it returns [`Put::Stored`].
    pub async fn put_sealed(&self, key: &str, plain: Vec<u8>) -> Result<Put, RepoError> {
        check_folder(key)?;
        let cipher = self.key().clone();
        let sealed = off_runtime(move || {
            let sealed = cipher
                .seal(&plain)
                .map_err(|error| RepoError::internal(format!("no randomness: {error}")))?;
            let id = Id::of(&sealed);
            Ok::<_, RepoError>((Bytes::from(sealed), id))
        });
        let (sealed, id) = sealed.await??;
        if self.store().capabilities().remote {
            self.is_here().await?;
        } else {
            self.is_here_now().await?;
        }
        match self.retry(None, || self.store().put(key, sealed.clone())).await {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::AlreadyExists => return Ok(Put::Exists),
            Err(error) => return Err(error.into()),
        }
        self.verify_sealed(key, sealed.len() as u64, id).await?;
        Ok(Put::Stored)
    }

    /// Looks whether what was put is there. A remote store has checked every byte on arrival; a disk has not.
    async fn verify_sealed(&self, key: &str, size: u64, id: Id) -> Result<(), RepoError> {
        let damaged = || RepoError::damaged(key, "what was written is not what is there");
        if self.store().capabilities().remote {
            let found = self.retry(None, || self.store().head(key)).await?;
            return if found == size { Ok(()) } else { Err(damaged()) };
        }
        let found = self.retry(None, || self.store().get(key)).await?;
        let same = off_runtime(move || Id::of(&found) == id).await?;
        // Where a disk was unmounted, an empty directory is left, and takes anything.
        self.is_here_now().await?;
        if same { Ok(()) } else { Err(damaged()) }
    }

    /// Reads and opens an object; none when there is none.
    pub async fn get_sealed(&self, key: &str) -> Result<Option<Vec<u8>>, RepoError> {
        check_folder(key)?;
        let sealed = match self.retry(None, || self.store().get(key)).await {
            Ok(sealed) => sealed,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (cipher, label) = (self.key().clone(), key.to_owned());
        let opened = off_runtime(move || {
            let mut sealed = Vec::from(sealed);
            let length = match cipher.open_in_place(&mut sealed) {
                Ok(plain) => plain.len(),
                Err(crypto::NotAuthentic) => return Err(RepoError::damaged(label, "it does not authenticate")),
            };
            sealed.copy_within(crypto::IV_SIZE..crypto::IV_SIZE + length, 0);
            sealed.truncate(length);
            Ok(sealed)
        });
        opened.await?.map(Some)
    }

    /// Every object whose key begins with `prefix`, sorted, whole or an error.
    pub async fn list_sealed(&self, prefix: &str) -> Result<Vec<ObjectInfo>, RepoError> {
        check_folder(prefix)?;
        Ok(self.retry(None, || self.store().list(prefix)).await?)
    }

    /// Removes an object; that it is gone already is what was wanted.
    pub async fn delete_sealed(&self, key: &str) -> Result<(), RepoError> {
        check_folder(key)?;
        self.delete_gone(key).await
    }

    /// The time by which such objects are dated: the store's own, where it has a clock.
    pub fn store_time(&self) -> chrono::DateTime<chrono::Utc> {
        self.time().to_utc()
    }
}

fn check_folder(key: &str) -> Result<(), RepoError> {
    if FOLDERS.iter().any(|folder| key.starts_with(folder)) {
        return Ok(());
    }
    let what = format!("{key:?} is not in a folder beside the repository's own");
    Err(RepoError::Invalid { what })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{fresh, open};
    use super::*;
    use crate::clock::Clock;
    use crate::store::Store;
    use crate::store::fault::{Fault, FaultStore, Op, Rule};

    #[tokio::test]
    async fn what_was_put_comes_back_and_is_never_replaced() {
        let (store, repo) = fresh().await;
        assert_eq!(repo.put_sealed("wal/1/a", b"one".to_vec()).await.unwrap(), Put::Stored);
        assert_eq!(repo.put_sealed("wal/1/a", b"two".to_vec()).await.unwrap(), Put::Exists);
        assert_eq!(repo.get_sealed("wal/1/a").await.unwrap().unwrap(), b"one");
        assert_eq!(repo.get_sealed("wal/1/b").await.unwrap(), None);
        assert!(
            !store
                .get("wal/1/a")
                .await
                .unwrap()
                .windows(3)
                .any(|part| part == b"one")
        );
        assert_eq!(repo.list_sealed("wal/").await.unwrap().len(), 1);
        repo.delete_sealed("wal/1/a").await.unwrap();
        repo.delete_sealed("wal/1/a").await.unwrap();
        for key in ["snapshots/a", "data/aa/aa", "walrus/1"] {
            assert!(repo.put_sealed(key, Vec::new()).await.is_err(), "{key}");
            assert!(repo.delete_sealed(key).await.is_err(), "{key}");
        }
    }

    #[tokio::test]
    async fn a_store_that_keeps_something_else_is_found_out_before_anybody_is_told_that_it_is_safe() {
        let (store, _) = fresh().await;
        for fault in [Fault::FlipBit(77), Fault::Truncate(10)] {
            let rule = Rule {
                op: Some(Op::Get),
                prefix: "wal/".to_owned(),
                nth: 1,
                fault,
            };
            let faulty = FaultStore::new(store.clone(), Clock::system(), vec![rule]);
            let repo = open(Arc::new(faulty)).await.unwrap();
            let key = format!("wal/{}", store.list("wal/").await.unwrap().len());
            let error = repo.put_sealed(&key, b"one".to_vec()).await.unwrap_err();
            assert!(error.to_string().contains("not what is there"), "{error}");
            assert!(repo.get_sealed(&key).await.is_ok(), "the fault is over");
        }
    }

    #[tokio::test]
    async fn a_directory_that_is_not_the_repository_any_more_takes_nothing() {
        let (store, repo) = fresh().await;
        store.delete("config").await.unwrap();
        let error = repo.put_sealed("wal/1/a", b"one".to_vec()).await.unwrap_err();
        assert!(matches!(error, RepoError::NotARepository { .. }), "{error}");
        assert!(store.list("wal/").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_changed_object_is_damaged_and_not_absent() {
        let (store, repo) = fresh().await;
        repo.put_sealed("wal/1/a", b"one".to_vec()).await.unwrap();
        let mut bytes = store.get("wal/1/a").await.unwrap().to_vec();
        bytes[20] ^= 1;
        store.delete("wal/1/a").await.unwrap();
        store.put("wal/1/a", bytes.into()).await.unwrap();
        let error = repo.get_sealed("wal/1/a").await.unwrap_err();
        assert!(matches!(error, RepoError::Damaged { .. }), "{error}");
    }
}
