//! Creating a repository, opening one, and making sure that what was opened is what is there.
//!
//! **One and the same.** The config of a repository is written once. Whoever writes looks whether the one at the address is
//! still the one that was opened, not longer ago than [`FRESH`]: an open repository outlives the disk that is unmounted below it,
//! and the one that somebody put in its place has another key, with which nothing of ours could be read.
//!
//! **A key that was removed** opens nothing any more; [`Repository::look_again`] says so to whoever keeps a repository open.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::crypto::CipherKey;
use super::error::RepoError;
use super::id::{Id, short};
use super::key::{KeyFailure, KeyFile};
use super::{Inner, Repository, blob, keys, off_runtime, polynomial};
use crate::clock::Clock;
use crate::store::{ErrorKind, ObjectInfo, Store};

/// For how long it is believed that the repository at the address is the one that was opened.
const FRESH: Duration = Duration::from_secs(2);

/// What is known of the config that was opened.
pub(super) struct Here {
    /// The hash of its bytes as they are stored.
    config: Id,
    /// When it was seen last.
    seen: Mutex<Instant>,
}

/// The `config` file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) version: u32,
    pub(super) id: String,
    pub(super) chunker_polynomial: String,
}

impl Config {
    /// The settings of a new repository of the version that is written.
    pub(super) fn fresh(polynomial: u64) -> Result<Self, RepoError> {
        let mut id = [0; 32];
        getrandom::fill(&mut id).map_err(|error| RepoError::internal(format!("no randomness: {error}")))?;
        Ok(Self {
            version: 2,
            id: hex::encode(id),
            chunker_polynomial: format!("{polynomial:x}"),
        })
    }
}

impl Repository {
    /// Creates a repository in an empty store.
    pub async fn init(store: Arc<dyn Store>, password: &SecretString, clock: Clock) -> Result<Self, RepoError> {
        let random = |error: getrandom::Error| RepoError::internal(format!("no randomness: {error}"));
        let master = CipherKey::random().map_err(random)?;
        let polynomial = polynomial::random_irreducible().map_err(random)?;
        Self::init_with(store, master, polynomial, password, clock).await
    }

    pub(super) async fn init_with(
        store: Arc<dyn Store>,
        master: CipherKey,
        polynomial: u64,
        password: &SecretString,
        clock: Clock,
    ) -> Result<Self, RepoError> {
        let location = store.location().to_owned();
        match store.head("config").await {
            Ok(_) => return Err(RepoError::AlreadyInitialised { location }),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        store.create().await?;
        let file = off_runtime({
            let (master, password, clock) = (master.clone(), password.clone(), clock.clone());
            move || KeyFile::create(&master, &password, &clock)
        })
        .await??;
        let key_id = keys::store_key(store.as_ref(), &file).await?;
        let config = Config::fresh(polynomial)?;
        let plain = serde_json::to_vec(&config).map_err(|error| RepoError::internal(error.to_string()))?;
        let sealed = master
            .seal(&plain)
            .map_err(|error| RepoError::internal(format!("no randomness: {error}")))?;
        let sealed = Bytes::from(sealed);
        // The config is written last: before it, the store is not a repository and may be initialised again.
        store
            .put("config", sealed.clone())
            .await
            .map_err(|error| match error.kind {
                ErrorKind::AlreadyExists => RepoError::AlreadyInitialised { location },
                _ => error.into(),
            })?;
        Ok(Self::assemble(store, (master, key_id), (config, &sealed), clock))
    }

    /// Opens a repository with one of its passwords.
    pub async fn open(store: Arc<dyn Store>, password: &SecretString, clock: Clock) -> Result<Self, RepoError> {
        let location = store.location().to_owned();
        let not_found = |error: &crate::store::StoreError| error.kind == ErrorKind::NotFound;
        // Asked together: far away, each question takes a twentieth of a second.
        let (sealed, keys) = tokio::join!(store.get("config"), store.list("keys/"));
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) if not_found(&error) => {
                return Err(RepoError::NotARepository {
                    location,
                    why: "it has no config file".to_owned(),
                });
            }
            Err(error) => return Err(error.into()),
        };
        let (key_id, key) = open_keys(store.as_ref(), keys?, password).await?;
        let plain = key
            .open(&sealed)
            .map_err(|_| RepoError::damaged("config", "it does not authenticate"))?;
        let config: Config =
            serde_json::from_slice(&plain).map_err(|error| RepoError::damaged("config", error.to_string()))?;
        if !(1..=2).contains(&config.version) {
            return Err(RepoError::UnsupportedVersion {
                location,
                version: config.version,
            });
        }
        Ok(Self::assemble(store, (key, key_id), (config, &sealed), clock))
    }

    fn assemble(
        store: Arc<dyn Store>,
        (key, key_id): (CipherKey, String),
        (config, sealed): (Config, &[u8]),
        clock: Clock,
    ) -> Self {
        let here = Here {
            config: Id::of(sealed),
            seen: Mutex::new(clock.monotonic()),
        };
        let (index, trees) = (Mutex::default(), blob::TreePacks::default());
        Self(Arc::new(Inner {
            store,
            key,
            key_id,
            config,
            here,
            clock,
            index,
            trees,
        }))
    }

    /// Looks whether what is at the address is still what was opened, and with a key that is still there.
    ///
    /// # Errors
    /// Replaced, when it is another repository or none; key removed. Then it has to be opened anew.
    pub async fn look_again(&self) -> Result<(), RepoError> {
        let key = format!("keys/{}", self.current_key());
        let (config, key) = tokio::join!(
            self.still_here(Duration::ZERO),
            self.retry(None, || self.0.store.head(&key))
        );
        config?;
        match key {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => Err(RepoError::KeyRemoved {
                location: self.location().to_owned(),
                key: short(self.current_key()).to_owned(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks the same up before something is written, unless that was seen a moment ago.
    pub(super) async fn is_here(&self) -> Result<(), RepoError> {
        self.still_here(FRESH).await
    }

    /// The same, however long ago it was seen.
    pub(super) async fn is_here_now(&self) -> Result<(), RepoError> {
        self.still_here(Duration::ZERO).await
    }

    async fn still_here(&self, fresh: Duration) -> Result<(), RepoError> {
        let here = &self.0.here;
        // Whoever comes meanwhile waits for this answer instead of asking too.
        let mut seen = here.seen.lock().await;
        if !fresh.is_zero() && self.0.clock.elapsed(*seen) < fresh {
            return Ok(());
        }
        let at = self.0.clock.monotonic();
        let location = || self.location().to_owned();
        match self.retry(None, || self.0.store.get("config")).await {
            Ok(config) if Id::of(&config) == here.config => {
                *seen = at;
                Ok(())
            }
            Ok(_) => Err(RepoError::Replaced {
                location: location(),
                id: short(self.id()).to_owned(),
            }),
            Err(error) if error.kind == ErrorKind::NotFound => Err(RepoError::NotARepository {
                location: location(),
                why: "its config file is gone; is the disk mounted?".to_owned(),
            }),
            Err(error) => Err(error.into()),
        }
    }
}

/// Tries every key file with the password.
async fn open_keys(
    store: &dyn Store,
    keys: Vec<ObjectInfo>,
    password: &SecretString,
) -> Result<(String, CipherKey), RepoError> {
    let mut damaged = None;
    let mut sound = 0;
    for object in keys {
        let name = object.key.trim_start_matches("keys/").to_owned();
        let label = format!("key {}", short(&name));
        let data = store.get(&object.key).await?;
        let file = match serde_json::from_slice::<KeyFile>(&data) {
            Ok(file) if Id::of(&data).hex() == name => file,
            Ok(_) => {
                damaged = Some(RepoError::damaged(label, "its bytes do not match its name"));
                continue;
            }
            Err(error) => {
                damaged = Some(RepoError::damaged(label, error.to_string()));
                continue;
            }
        };
        let password = password.clone();
        match off_runtime(move || file.open(&password)).await? {
            Ok(key) => return Ok((name, key)),
            Err(KeyFailure::Password) => sound += 1,
            Err(KeyFailure::Damaged(why)) => damaged = Some(RepoError::damaged(label, why)),
        }
    }
    let location = store.location().to_owned();
    match damaged {
        Some(error) if sound == 0 => Err(error),
        _ if sound == 0 => Err(RepoError::NotARepository {
            location,
            why: "it has no key files".to_owned(),
        }),
        _ => Err(RepoError::WrongPassword { location }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::FileKind;
    use super::super::testing::{fresh, password};
    use super::*;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn nothing_is_written_to_another_repository_in_the_place_of_the_one_that_was_opened() {
        let clock = Clock::manual(chrono::DateTime::UNIX_EPOCH);
        let store = Arc::new(MemoryStore::new());
        let init = async || Repository::init(store.clone(), &password(), clock.clone()).await;
        let opened = init().await.unwrap();
        opened.save_json(FileKind::Index, &"ours").await.unwrap();
        for object in store.list("").await.unwrap() {
            store.delete(&object.key).await.unwrap();
        }
        clock.advance(FRESH);
        let gone = opened.save_json(FileKind::Index, &"nowhere").await.unwrap_err();
        assert!(matches!(gone, RepoError::NotARepository { .. }), "{gone}");
        let other = init().await.unwrap();
        let held = store.list("").await.unwrap();
        for refused in [
            opened
                .save_json(FileKind::Index, &"under the wrong key")
                .await
                .map(drop),
            opened.put_sealed("wal/1/a", b"log".to_vec()).await.map(drop),
            opened.add_key(&password()).await.map(drop),
            opened.look_again().await,
        ] {
            let error = refused.unwrap_err();
            assert!(
                matches!(error, RepoError::Replaced { .. }) && error.retryable(),
                "{error}"
            );
        }
        assert_eq!(store.list("").await.unwrap(), held, "nothing of ours is in it");
        other.look_again().await.unwrap();
    }

    #[tokio::test]
    async fn a_key_that_was_removed_is_noticed_by_whoever_keeps_the_repository_open() {
        let (store, first) = fresh().await;
        let other = SecretString::from("another".to_owned());
        first.add_key(&other).await.unwrap();
        let second = Repository::open(store, &other, Clock::system()).await.unwrap();
        second.look_again().await.unwrap();
        first.remove_key(second.current_key()).await.unwrap();
        let noticed = second.look_again().await.unwrap_err();
        assert!(matches!(noticed, RepoError::KeyRemoved { .. }), "{noticed}");
        first.look_again().await.unwrap();
    }
}
