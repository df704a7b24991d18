//! Receiving the log of a cluster for as long as the agent runs.

use std::sync::Arc;
use std::time::Duration;

use super::Worker;
use super::failure::of_wal;
use crate::domain::job::RepositoryDefinition;
use crate::domain::run::Failure;
use crate::domain::source::{Source, SourceKind};
use crate::domain::units::Bytes;
use crate::engine::hands::Work;
use crate::source::postgres::Login;
use crate::source::postgres::wal::receive::{self, Note, ReceiveOptions};

/// How often the growing segment is archived: the recovery point is at most so much older than the server.
const GROWING_EVERY: Duration = Duration::from_secs(1);
/// How much may wait to be archived before the server is made to keep its log.
const LIMIT: Bytes = Bytes(1 << 30);

/// Receives until it is cancelled, which is a good end.
///
/// # Errors
/// A password that cannot be read, a repository that cannot be opened, and refusals: another cluster, a directory that another
/// receiver uses. Everything else is told and tried again.
pub(super) async fn run(
    worker: &Worker,
    work: Work,
    source: Source,
    repository: RepositoryDefinition,
    tell: Arc<dyn Fn(Option<String>) + Send + Sync>,
) -> Result<(), Failure> {
    let SourceKind::PostgresPhysical(cluster) = &source.kind else {
        return Ok(());
    };
    let Some(slot) = &cluster.receive_slot else {
        return Ok(());
    };
    let secrets = super::secrets::of_source(&source).await?;
    let repo = worker.repositories.get(&repository, &worker.clock).await?;
    let options = ReceiveOptions {
        login: Login::new(cluster.connection.clone(), secrets.source),
        database: cluster.database.clone(),
        slot: slot.clone(),
        dir: worker.state_dir.join("wal").join(source.name.as_str()),
        growing_every: GROWING_EVERY,
        limit: LIMIT,
    };
    let name = source.name.clone();
    let told = move |note: Note| match note {
        Note::Trouble(_) | Note::Gap(_) | Note::Paused(_) => {
            tracing::warn!("log of {name}: {note}");
            tell(Some(note.to_string()));
        }
        Note::Receiving(_) | Note::Archived(_) | Note::Reached(_) => tell(None),
        Note::Reaped(_) | Note::Turned(_) => tracing::info!("log of {name}: {note}"),
    };
    let ended = receive::run(&options, &repo, &told, &worker.clock, &work.cancel).await;
    ended.map_err(|error| of_wal(&error))
}
