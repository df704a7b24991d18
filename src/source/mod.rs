//! What can be protected, and how it comes back: files, and databases of PostgreSQL.
//!
//! The engine calls six functions and nothing else:
//!
//! | function | promise |
//! | --- | --- |
//! | [`back_up`] | a snapshot is committed whole, or none is |
//! | [`plan`] | says what a recovery would do; changes nothing |
//! | [`restore`] | the target is complete, or absent or as it was (a database), or listed as partial (files) |
//! | [`verify`] | raises evidence level by level; what it made for that is gone afterwards |
//! | [`reap_leftovers`] | what a killed agent left behind is gone |
//! | [`Manifest::read`] | what a snapshot says of itself, for those found in a repository |
//!
//! **Consistency.** A snapshot's `taken_at` is never later than the data it holds. Row counts and fingerprints are taken in
//! the transaction of the dump.
//!
//! **Cancellation.** Everything takes a token and ends within a second of it, children and server statements included.
//!
//! **Secrets** come resolved, in [`Secrets`]; they never reach an argument vector, a log line or an error text.
//!
//! **Evidence and environment.** A verification tells a bad snapshot (an [`EvidenceFailure`](crate::domain::snapshot::EvidenceFailure))
//! from a place where it could not be tried (a [`SourceError`]): a scratch server that is down says nothing about a backup.
//!
//! What this room never does: restore over a database that exists without a safety backup of it that was read back, decide when
//! something runs, retry behind its caller's back, or touch a scratch thing that is not its own.

mod backup;
mod error;
mod files;
mod hook;
mod manifest;
pub mod postgres;
mod recovery;
mod scratch_dir;
mod verify;

use std::future::Future;
use std::sync::Arc;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

pub use backup::{BackedUp, BackupJob, back_up};
pub use error::SourceError;
pub(crate) use hook::{hook_command, kill_group};
pub use manifest::{
    Artifact, ClusterManifest, DamagedPage, DatabaseManifest, MANIFEST_NAME, Manifest, PhysicalMethod, Tablespace,
    label, labels,
};
pub use recovery::{PlanParts, Restored, plan, quote, restore};
pub use verify::{Verified, VerifiedStep, VerifyJob, verify};

use crate::clock::Clock;
use crate::domain::recovery::{Finding, InstantWish, RecoveryPhase, RecoveryTarget};
use crate::domain::snapshot::{EvidenceFailure, EvidenceLevel, SnapshotRecord};
use crate::domain::source::{PostgresConnection, Source, SourceKind};
use crate::repo::{Progress, Repository};

/// Passwords, already read from wherever the configuration says.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// Of the source's connection.
    pub source: Option<SecretString>,
    /// Of the connection scratch databases are made on, when the source names one.
    pub scratch: Option<SecretString>,
    /// Of the standby of a cluster, when the source names one.
    pub standby: Option<SecretString>,
    /// Of the connection a recovery's target names, when it names one.
    pub target: Option<SecretString>,
}

/// The snapshot a recovery or a verification is about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The snapshot.
    pub snapshot: SnapshotRecord,
    /// The instant behind it that is meant, when it is one of a cluster.
    pub instant: Option<InstantWish>,
    /// The source it protects, when it is still defined.
    pub source: Option<Source>,
    /// Passwords.
    pub secrets: Secrets,
    /// The address of the repository, for the commands that do the same without us.
    pub repository_url: String,
    /// Who this is done for: what was begun for the same is gone on with.
    pub owner: Option<String>,
    /// This machine, to mark scratch things as ours.
    pub host: String,
}

/// Something a recovery or a verification has reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Milestone {
    /// It moved on.
    Phase(RecoveryPhase),
    /// The snapshot is proved up to a level; on these grounds.
    Proved(EvidenceLevel, Vec<Finding>),
    /// The snapshot could not be proved.
    Refuted(EvidenceFailure),
}

/// What work is done with: the repository, the time, who watches, who may stop it.
#[derive(Clone)]
pub struct Work<'a> {
    /// The open repository.
    pub repo: &'a Repository,
    /// Time.
    pub clock: &'a Clock,
    /// Counters, sampled by whoever watches.
    pub progress: Arc<Progress>,
    /// Stops the work.
    pub cancel: CancellationToken,
    /// Told what was reached, in order.
    pub reached: &'a (dyn Fn(Milestone) + Send + Sync),
}

impl std::fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").field("repo", &self.repo).finish_non_exhaustive()
    }
}

impl Work<'_> {
    /// Does `work` unless it is cancelled, before or meanwhile.
    async fn cancellable<T>(&self, work: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(SourceError::Cancelled),
            result = work => result,
        }
    }
}

impl Subject {
    /// The instant that is to be reached in a target.
    fn wish(&self, target: &RecoveryTarget) -> Result<&InstantWish, SourceError> {
        let wish = self
            .instant
            .as_ref()
            .filter(|_| postgres::physical::is_whole(self, target));
        wish.ok_or_else(|| SourceError::Invalid {
            what: format!("snapshot {} cannot go on to an instant", self.snapshot.id.short()),
            hint: Some("only a whole cluster can, with its archived log".to_owned()),
        })
    }

    /// Who we are on the server a dump goes to: the one the target names, else the source's own.
    fn target_login(&self, connection: Option<&PostgresConnection>) -> Result<postgres::Login, SourceError> {
        if let Some(connection) = connection {
            return Ok(postgres::Login::new(connection.clone(), self.secrets.target.clone()));
        }
        let database = self.postgres_source()?;
        Ok(postgres::Login::new(
            database.connection.clone(),
            self.secrets.source.clone(),
        ))
    }

    /// Who we are on the server scratch databases are made on.
    fn scratch_login(&self) -> Result<postgres::Login, SourceError> {
        let database = self.postgres_source()?;
        Ok(match &database.scratch {
            Some(connection) => postgres::Login::new(connection.clone(), self.secrets.scratch.clone()),
            None => postgres::Login::new(database.connection.clone(), self.secrets.source.clone()),
        })
    }

    fn postgres_source(&self) -> Result<&crate::domain::source::PostgresSource, SourceError> {
        match self.source.as_ref().map(|source| &source.kind) {
            Some(SourceKind::PostgresDump(database)) => Ok(database),
            _ => Err(SourceError::Invalid {
                what: format!(
                    "it is not known which server the dump in snapshot {} may go to",
                    self.snapshot.id.short()
                ),
                hint: Some("name the target server, or define the source in the configuration".to_owned()),
            }),
        }
    }
}

/// Removes what killed agents of this machine left behind: scratch databases of these sources, scratch directories.
///
/// Whatever cannot be looked at now (a server that is down) is left for the next start and listed in the answer.
pub async fn reap_leftovers(
    sources: &[(Source, Secrets)],
    scratch_dir: &std::path::Path,
    host: &str,
    clock: &Clock,
) -> Vec<Result<String, SourceError>> {
    // Clusters are proved, and spooled, where their source says; else where the user of servers can reach.
    let chosen = sources.iter().filter_map(|(source, _)| match &source.kind {
        SourceKind::PostgresPhysical(cluster) => Some(cluster.scratch_dir.clone().unwrap_or_else(std::env::temp_dir)),
        _ => None,
    });
    let places: std::collections::BTreeSet<_> = chosen.chain([scratch_dir.to_owned()]).collect();
    let mut found: Vec<_> = places
        .iter()
        .flat_map(|place| scratch_dir::reap(place, host, clock))
        .collect();
    for (source, secrets) in sources {
        let SourceKind::PostgresDump(database) = &source.kind else {
            continue;
        };
        let mut logins = vec![postgres::Login::new(
            database.connection.clone(),
            secrets.source.clone(),
        )];
        logins.extend(
            database
                .scratch
                .clone()
                .map(|connection| postgres::Login::new(connection, secrets.scratch.clone())),
        );
        for login in logins {
            match postgres::reap(&login, host, clock).await {
                Ok(names) => found.extend(names.into_iter().map(Ok)),
                Err(error) => found.push(Err(error)),
            }
        }
    }
    found
}
