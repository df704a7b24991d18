//! Passwords of sources and targets, read where the configuration says, at the moment they are needed.

use secrecy::SecretString;

use crate::config::secret;
use crate::domain::recovery::RecoveryTarget;
use crate::domain::run::Failure;
use crate::domain::source::{SecretRef, Source, SourceKind};
use crate::source::Secrets;

/// The passwords of a source.
pub(super) async fn of_source(source: &Source) -> Result<Secrets, Failure> {
    let SourceKind::PostgresDump(database) = &source.kind else {
        return Ok(Secrets::default());
    };
    let scratch = database
        .scratch
        .as_ref()
        .and_then(|connection| connection.password.as_ref());
    Ok(Secrets {
        source: read(database.connection.password.as_ref(), source).await?,
        scratch: read(scratch, source).await?,
        target: None,
    })
}

/// The passwords a recovery needs.
pub(super) async fn of_recovery(source: Option<&Source>, target: &RecoveryTarget) -> Result<Secrets, Failure> {
    let mut secrets = match source {
        Some(source) => of_source(source).await?,
        None => Secrets::default(),
    };
    if let RecoveryTarget::Database {
        connection: Some(connection),
        ..
    } = target
    {
        secrets.target = match &connection.password {
            Some(reference) => Some(resolve(reference, "the target").await?),
            None => None,
        };
    }
    Ok(secrets)
}

async fn read(reference: Option<&SecretRef>, source: &Source) -> Result<Option<SecretString>, Failure> {
    match reference {
        Some(reference) => Ok(Some(resolve(reference, &format!("source {}", source.name)).await?)),
        None => Ok(None),
    }
}

async fn resolve(reference: &SecretRef, of: &str) -> Result<SecretString, Failure> {
    secret::resolve(reference).await.map_err(|error| Failure {
        message: format!("the password of {of} cannot be read: {error}"),
        hint: error.hint(),
        retryable: false,
    })
}
