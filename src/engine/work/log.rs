//! Looking at the log of a cluster: the server first, then its archive, in this order.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::Worker;
use super::failure::of_recovery;
use crate::domain::id::SourceName;
use crate::domain::job::RepositoryDefinition;
use crate::domain::pitr::{Base, Looked, Written};
use crate::domain::run::Failure;
use crate::domain::source::{PhysicalSource, Source, SourceKind};
use crate::domain::wal::SystemId;
use crate::source::postgres::Login;
use crate::source::postgres::recovery::Known;
use crate::source::postgres::wal::WalArchive;
use crate::source::postgres::wal::live::Live;

/// A connection, and what it was made for.
type Kept = (PhysicalSource, Arc<Mutex<Live>>);

/// Connections to servers that are asked every few seconds; one that is defined anew is made anew.
#[derive(Default)]
pub(super) struct Lives {
    open: Mutex<HashMap<SourceName, Kept>>,
}

impl Lives {
    async fn of(&self, source: &Source, cluster: &PhysicalSource) -> Result<Arc<Mutex<Live>>, Failure> {
        let mut open = self.open.lock().await;
        if let Some((as_made, live)) = open.get(&source.name)
            && as_made == cluster
        {
            return Ok(live.clone());
        }
        let secrets = super::secrets::of_source(source).await?;
        let login = Login::new(cluster.connection.clone(), secrets.source);
        let live = Arc::new(Mutex::new(Live::new(login, &cluster.database)));
        open.insert(source.name.clone(), (cluster.clone(), live.clone()));
        Ok(live)
    }

    /// Forgets a connection, so that its password is read again.
    async fn forget(&self, source: &Source) {
        self.open.lock().await.remove(&source.name);
    }
}

/// Looks at the log of a cluster.
///
/// # Errors
/// When the repository cannot be opened or the archive not be listed. That the server does not answer is no error: then it
/// counts what is known of it.
pub(super) async fn look(
    worker: &Worker,
    source: Source,
    repository: RepositoryDefinition,
    bases: Vec<Base>,
    read: bool,
) -> Result<Looked, Failure> {
    let (SourceKind::PostgresPhysical(cluster), Some(newest)) = (&source.kind, bases.last()) else {
        return Err(Failure::permanent(
            format!("{} has no base backup whose log could be looked at", source.name),
            "run its job first",
        ));
    };
    let system = newest.facts.system;
    let live = asked(worker, &source, cluster, system).await;
    let repo = worker.repositories.get(&repository, &worker.clock).await?;
    // Looked at every few seconds: what never changes is read once.
    let archive = WalArchive::new(repo, system).remembering(worker.archives.clone());
    let known = Known::of(bases, &archive).await.map_err(|error| of_recovery(&error))?;
    let archived = !known.log.continuity.timelines.is_empty() || !known.log.growing.is_empty();
    let mut ends = Vec::new();
    if read && archived {
        let stretches = known.intervals(&archive).await.map_err(|error| of_recovery(&error))?;
        ends.extend(stretches.iter().filter_map(|stretch| {
            Some(Written {
                at: stretch.to_at?,
                timeline: stretch.timeline,
                lsn: stretch.to,
            })
        }));
    }
    Ok(Looked {
        system,
        live,
        log: archived.then_some(known.log),
        ends,
    })
}

async fn asked(
    worker: &Worker,
    source: &Source,
    cluster: &PhysicalSource,
    system: SystemId,
) -> Result<Written, String> {
    let live = worker
        .lives
        .of(source, cluster)
        .await
        .map_err(|error| error.to_string())?;
    let answer = live.lock().await.written(system, &worker.clock).await;
    if answer.is_err() {
        worker.lives.forget(source).await;
    }
    answer.map_err(|error| error.to_string())
}
