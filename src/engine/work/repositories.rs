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
        open.remove(&definition.name);
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
        if let Some((_, changed)) = before {
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
