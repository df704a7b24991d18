//! Open repositories, kept: opening derives a key from the password, which is slow on purpose.
//!
//! **Whose it is.** One that was kept is looked at before it is used again: when another repository is at its address, or its key
//! was removed, it is opened anew with the password of the configuration, and that is told: by the error when it cannot be, and
//! by the next listing, so that it stands in the journal, when it can.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::config::secret;
use crate::domain::id::RepositoryName;
use crate::domain::job::RepositoryDefinition;
use crate::domain::run::Failure;
use crate::repo::{RepoError, Repository, short};
use crate::store;

/// Open repositories by name; one that is defined anew is opened anew.
#[derive(Default)]
pub(super) struct Repositories {
    open: Mutex<HashMap<RepositoryName, (RepositoryDefinition, Repository)>>,
    /// What was at each address when it was opened last, also when it was forgotten since.
    seen: Mutex<HashMap<RepositoryName, (String, String)>>,
    /// Those that are not what they were, until somebody was told.
    changed: Mutex<HashMap<RepositoryName, Failure>>,
}

impl Repositories {
    /// The repository, opened when it is not yet.
    ///
    /// # Errors
    /// When the password cannot be read, the store not be reached, or the repository not be opened with it.
    pub async fn get(&self, definition: &RepositoryDefinition, clock: &Clock) -> Result<Repository, Failure> {
        let named = |message: String, hint: Option<&str>, retryable| Failure {
            message: format!("repository {} cannot be opened: {message}", definition.name),
            hint: hint.map(str::to_owned),
            retryable,
        };
        let known = self.open.lock().await.get(&definition.name).cloned();
        // Asked without the lock: one that does not answer keeps nobody from another.
        let known = match known {
            Some((as_opened, repository)) if as_opened == *definition => {
                Some((repository.look_again().await, repository))
            }
            _ => None,
        };
        let before = match known {
            Some((Ok(()), repository)) => return Ok(repository),
            Some((Err(changed @ (RepoError::Replaced { .. } | RepoError::KeyRemoved { .. })), repository)) => {
                Some((repository, changed))
            }
            Some((Err(error), _)) => return Err(named(error.to_string(), error.hint(), error.retryable())),
            None => None,
        };
        // The lock is held while opening, so that two runs that start together derive the key once.
        let mut open = self.open.lock().await;
        if let Some((as_opened, repository)) = open.get(&definition.name)
            && as_opened == definition
            && before.as_ref().is_none_or(|(before, _)| !before.is_same(repository))
        {
            return Ok(repository.clone());
        }
        let password = secret::resolve(&definition.password).await.map_err(|error| Failure {
            message: format!("the password of repository {} cannot be read: {error}", definition.name),
            hint: error.hint(),
            retryable: false,
        })?;
        let store: Arc<dyn store::Store> = store::open_defined(definition, clock)
            .await
            .map_err(|error| named(error.to_string(), error.hint(), error.retryable()))?;
        let repository = Repository::open(store, &password, clock.clone())
            .await
            .map_err(|error| match &before {
                // Why it was opened again is what somebody has to know.
                Some((_, changed)) => named(format!("{changed}; and {error}"), changed.hint(), false),
                None => named(error.to_string(), error.hint(), error.retryable()),
            })?;
        let now = (definition.url.clone(), repository.id().to_owned());
        let last = self.seen.lock().await.insert(definition.name.clone(), now.clone());
        let replaced = last
            .filter(|last| last.0 == now.0 && last.1 != now.1)
            .map(|last| RepoError::Replaced {
                location: now.0,
                id: short(&last.1).to_owned(),
            });
        if let Some(changed) = before.map(|(_, changed)| changed).or(replaced) {
            let words = format!("{changed}; it was opened again, and is {}", short(repository.id()));
            tracing::warn!("repository {}: {words}", definition.name);
            let told = Failure {
                message: words,
                hint: changed.hint().map(str::to_owned),
                retryable: true,
            };
            self.changed.lock().await.insert(definition.name.clone(), told);
        }
        open.insert(definition.name.clone(), (definition.clone(), repository.clone()));
        Ok(repository)
    }

    /// The repository for a listing, which is where it is told once that it is not the one it was.
    ///
    /// # Errors
    /// The same, and that it is another one; the next listing is one of that.
    pub async fn get_to_list(&self, definition: &RepositoryDefinition, clock: &Clock) -> Result<Repository, Failure> {
        let repository = self.get(definition, clock).await?;
        match self.changed.lock().await.remove(&definition.name) {
            Some(told) => Err(told),
            None => Ok(repository),
        }
    }

    /// Forgets an open repository, so that the next use looks at it afresh.
    pub async fn forget(&self, name: &RepositoryName) {
        self.open.lock().await.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use secrecy::SecretString;

    use super::*;
    use crate::domain::job::{StoreAccess, UpkeepPolicy};
    use crate::domain::source::SecretRef;

    async fn init(place: &Path, password: &str) -> Repository {
        let _ = std::fs::remove_dir_all(place);
        let store = store::open(&place.display().to_string()).unwrap();
        let password = SecretString::from(password.to_owned());
        Repository::init(store, &password, Clock::system()).await.unwrap()
    }

    #[tokio::test]
    async fn another_repository_at_the_same_address_is_opened_anew_and_told() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::system());
        let (place, password) = (dir.path().join("vault"), dir.path().join("password"));
        std::fs::write(&password, "secret\n").unwrap();
        std::fs::set_permissions(&password, PermissionsExt::from_mode(0o600)).unwrap();
        let definition = RepositoryDefinition {
            name: "vault".into(),
            url: place.display().to_string(),
            password: SecretRef::File(password),
            upkeep: UpkeepPolicy::default(),
            access: StoreAccess::default(),
        };
        let kept = Repositories::default();
        let mut last = init(&place, "secret").await.id().to_owned();
        assert_eq!(kept.get_to_list(&definition, &clock).await.unwrap().id(), last);
        // Found while it is kept open, and found when it was forgotten meanwhile.
        for forgotten in [false, true] {
            let now = init(&place, "secret").await.id().to_owned();
            if forgotten {
                kept.forget(&definition.name).await;
            }
            assert_eq!(kept.get(&definition, &clock).await.unwrap().id(), now);
            let told = kept.get_to_list(&definition, &clock).await.unwrap_err().message;
            assert!(told.contains(short(&last)) && told.contains(short(&now)), "{told}");
            assert_eq!(
                kept.get_to_list(&definition, &clock).await.unwrap().id(),
                now,
                "it is told once"
            );
            last = now;
        }
        // With a password that opens it not: nobody gets the one from before, and everybody is told why.
        let other = init(&place, "another").await;
        for _ in 0..2 {
            let refused = kept.get(&definition, &clock).await.unwrap_err().message;
            assert!(refused.contains("another repository is at"), "{refused}");
            assert!(refused.contains("opens none of the keys"), "{refused}");
        }
        // The same repository, and the key that it was opened with is gone.
        let word = SecretString::from("secret".to_owned());
        let added = other.add_key(&word).await.unwrap();
        kept.get(&definition, &clock).await.unwrap();
        other.remove_key(&added).await.unwrap();
        let refused = kept.get(&definition, &clock).await.unwrap_err().message;
        assert!(refused.contains("was removed"), "{refused}");
    }
}
