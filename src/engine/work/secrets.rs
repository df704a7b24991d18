//! Passwords of sources and targets, read where the configuration says, at the moment they are needed.

use secrecy::SecretString;

use crate::config::secret;
use crate::domain::recovery::RecoveryTarget;
use crate::domain::run::Failure;
use crate::domain::source::{SecretRef, Source, SourceKind};
use crate::source::Secrets;

/// The passwords of a source.
pub(super) async fn of_source(source: &Source) -> Result<Secrets, Failure> {
    let (own, other) = match &source.kind {
        SourceKind::Files(_) => return Ok(Secrets::default()),
        SourceKind::PostgresDump(database) => (&database.connection, &database.scratch),
        SourceKind::PostgresPhysical(cluster) => (&cluster.connection, &cluster.standby),
    };
    let other = other.as_ref().and_then(|connection| connection.password.as_ref());
    let (own, other) = (read(own.password.as_ref(), source).await?, read(other, source).await?);
    let physical = matches!(source.kind, SourceKind::PostgresPhysical(_));
    let (scratch, standby) = if physical { (None, other) } else { (other, None) };
    Ok(Secrets {
        source: own,
        scratch,
        standby,
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
