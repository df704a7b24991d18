//! Open repositories, kept: opening derives a key from the password, which is slow on purpose.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::config::secret;
use crate::domain::id::RepositoryName;
use crate::domain::job::RepositoryDefinition;
use crate::domain::run::Failure;
use crate::repo::Repository;
use crate::store;

/// Open repositories by name; one that is defined anew is opened anew.
#[derive(Default)]
pub(super) struct Repositories {
    open: Mutex<HashMap<RepositoryName, (RepositoryDefinition, Repository)>>,
}

impl Repositories {
    /// The repository, opened when it is not yet.
    ///
    /// # Errors
    /// When the password cannot be read, the store not be reached, or the repository not be opened with it.
    pub async fn get(&self, definition: &RepositoryDefinition, clock: &Clock) -> Result<Repository, Failure> {
        // The lock is held while opening, so that two runs that start together derive the key once.
        let mut open = self.open.lock().await;
        if let Some((as_opened, repository)) = open.get(&definition.name)
            && as_opened == definition
        {
            return Ok(repository.clone());
        }
        let password = secret::resolve(&definition.password).await.map_err(|error| Failure {
            message: format!("the password of repository {} cannot be read: {error}", definition.name),
            hint: error.hint(),
            retryable: false,
        })?;
        let named = |message: String, hint: Option<&str>, retryable| Failure {
            message: format!("repository {} cannot be opened: {message}", definition.name),
            hint: hint.map(str::to_owned),
            retryable,
        };
        let store: Arc<dyn store::Store> = store::open_defined(definition, clock)
            .await
            .map_err(|error| named(error.to_string(), error.hint(), error.retryable()))?;
        let repository = Repository::open(store, &password, clock.clone())
            .await
            .map_err(|error| named(error.to_string(), error.hint(), error.retryable()))?;
        open.insert(definition.name.clone(), (definition.clone(), repository.clone()));
        Ok(repository)
    }

    /// Forgets an open repository, so that the next use looks at it afresh.
    pub async fn forget(&self, name: &RepositoryName) {
        self.open.lock().await.remove(name);
    }
}
