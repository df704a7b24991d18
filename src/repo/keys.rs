//! Passwords: list, add, remove, change. The data is never encrypted again.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::error::RepoError;
use super::id::{Id, short};
use super::key::KeyFile;
use super::{Repository, off_runtime};
use crate::store::Store;

/// One password of a repository, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyInfo {
    /// The name of the key file.
    pub id: String,
    /// Who made it.
    pub username: String,
    /// On which machine.
    pub hostname: String,
    /// When.
    pub created: String,
    /// Whether it opened this repository now.
    pub current: bool,
}

pub(super) async fn store_key(store: &dyn Store, file: &KeyFile) -> Result<String, RepoError> {
    let data = serde_json::to_vec(file).map_err(|error| RepoError::internal(error.to_string()))?;
    let name = Id::of(&data).hex();
    store.put(&format!("keys/{name}"), data.into()).await?;
    Ok(name)
}

impl Repository {
    /// The passwords of the repository.
    pub async fn keys(&self) -> Result<Vec<KeyInfo>, RepoError> {
        let mut keys = Vec::new();
        for object in self.retry(None, || self.0.store.list("keys/")).await? {
            let id = object.key.trim_start_matches("keys/").to_owned();
            let data = self.retry(None, || self.0.store.get(&object.key)).await?;
            let file: KeyFile = serde_json::from_slice(&data)
                .map_err(|error| RepoError::damaged(format!("key {}", short(&id)), error.to_string()))?;
            let current = id == self.current_key();
            keys.push(KeyInfo {
                id,
                username: file.username,
                hostname: file.hostname,
                created: file.created,
                current,
            });
        }
        Ok(keys)
    }

    /// Adds a password and returns the name of its key file.
    pub async fn add_key(&self, password: &SecretString) -> Result<String, RepoError> {
        let (master, clock, password) = (self.key().clone(), self.clock().clone(), password.clone());
        let file = off_runtime(move || KeyFile::create(&master, &password, &clock)).await??;
        self.is_here_now().await?;
        store_key(self.0.store.as_ref(), &file).await
    }

    /// Removes a password by the beginning of its name; never the one in use, and so never the last.
    pub async fn remove_key(&self, prefix: &str) -> Result<String, RepoError> {
        let keys = self.keys().await?;
        let mut matching = keys
            .iter()
            .filter(|key| !prefix.is_empty() && key.id.starts_with(prefix));
        let invalid = |what: String| Err(RepoError::Invalid { what });
        let (Some(key), None) = (matching.next(), matching.next()) else {
            return invalid(format!("{prefix:?} does not name exactly one key"));
        };
        if key.current {
            return invalid(format!(
                "key {} opened this repository and stays; open it with another one first",
                &key.id[..8]
            ));
        }
        let path = format!("keys/{}", key.id);
        self.retry(None, || self.0.store.delete(&path)).await?;
        Ok(key.id.clone())
    }

    /// Replaces the password in use: adds the new one, checks that it opens, removes the old one.
    pub async fn change_password(&self, password: &SecretString) -> Result<Self, RepoError> {
        self.add_key(password).await?;
        let renewed = Self::open(self.store().clone(), password, self.clock().clone()).await?;
        if renewed.current_key() == self.current_key() {
            return Err(RepoError::Invalid {
                what: "the new password is the old one".to_owned(),
            });
        }
        renewed.remove_key(self.current_key()).await?;
        Ok(renewed)
    }
}
