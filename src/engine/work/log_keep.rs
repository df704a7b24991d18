//! The log of clusters at a prune: what no base backup and no window of time needs any more goes, in two steps.
//!
//! Only of clusters that the configuration names as sources in this repository; another program's archive is left alone. What
//! keeps it from being pruned is told in the result of the prune, and is no reason for that to fail.

use std::collections::BTreeMap;

use super::Worker;
use crate::domain::id::RepositoryName;
use crate::domain::job::{Definitions, RepositoryDefinition};
use crate::domain::pitr::keep;
use crate::domain::source::SourceKind;
use crate::domain::units::{Bytes, Millis};
use crate::domain::wal::SystemId;
use crate::engine::hands::Work;
use crate::repo::Repository;
use crate::source::postgres::recovery::catalogue::{bases, bases_ever};
use crate::source::postgres::wal::WalArchive;

/// What pruning logs came to.
#[derive(Debug, Default)]
pub(super) struct Pruned {
    /// What became free.
    pub(super) freed: Bytes,
    /// What was done, and what was left alone and why.
    pub(super) findings: Vec<String>,
}

/// Prunes the logs of the clusters that this repository has base backups of.
pub(super) async fn prune(
    worker: &Worker,
    work: &Work,
    definition: &RepositoryDefinition,
    repo: &Repository,
) -> Pruned {
    let mut pruned = Pruned::default();
    for (system, window) in windows(&work.definitions, &definition.name, repo, &mut pruned).await {
        match one(worker, work, (definition, repo), system, window).await {
            Ok((freed, words)) => {
                pruned.freed.0 += freed.0;
                pruned.findings.extend(words);
            }
            Err(why) => pruned
                .findings
                .push(format!("the log of cluster {system} was left alone: {why}")),
        }
    }
    pruned
}

/// The clusters, each with the window that its log is kept for; the longest, when several sources are of one cluster.
async fn windows(
    definitions: &Definitions,
    name: &RepositoryName,
    repo: &Repository,
    pruned: &mut Pruned,
) -> BTreeMap<SystemId, Option<Millis>> {
    let mut all: BTreeMap<SystemId, Option<Millis>> = BTreeMap::new();
    for source in definitions.sources.values() {
        let SourceKind::PostgresPhysical(cluster) = &source.kind else {
            continue;
        };
        if !definitions.jobs_of(&source.name).any(|job| job.repository == *name) {
            continue;
        }
        match bases(repo, Some(&source.name), None).await {
            Ok(found) => {
                for system in found.found.iter().map(|base| base.facts.system) {
                    let window = all.entry(system).or_insert(cluster.log_window);
                    // Without a window everything is kept from the oldest base backup on, which is more than any window.
                    *window = match (*window, cluster.log_window) {
                        (Some(one), Some(other)) => Some(one.max(other)),
                        _ => None,
                    };
                }
            }
            Err(error) => pruned
                .findings
                .push(format!("the log of {} was left alone: {error}", source.name)),
        }
    }
    all
}

async fn one(
    worker: &Worker,
    work: &Work,
    (definition, repo): (&RepositoryDefinition, &Repository),
    system: SystemId,
    window: Option<Millis>,
) -> Result<(Bytes, Option<String>), String> {
    let bases = bases_ever(repo, system).await.map_err(|error| error.to_string())?;
    if let Some(first) = bases.unreadable.first() {
        return Err(format!("it is not known which log this snapshot needs: {first}"));
    }
    let archive = WalArchive::new(repo.clone(), system);
    let Some(size) = archive.segment_size().await.map_err(|error| error.to_string())? else {
        return Ok((Bytes(0), None));
    };
    let floor = keep::floor(&bases.found, &work.in_use, window, worker.clock.now(), size);
    let floor = floor.map_err(|error| error.to_string())?;
    let planned = archive.plan_prune(floor, definition.upkeep.grace).await;
    let done = archive.prune(planned.map_err(|error| error.to_string())?).await;
    let done = done.map_err(|error| error.to_string())?;
    let words = match (done.goes.len(), done.waits) {
        (0, 0) => None,
        (0, waits) => Some(format!(
            "{waits} files of the log of cluster {system} go when the grace period is over"
        )),
        (gone, _) => Some(format!(
            "{gone} files of the log of cluster {system} removed, {}",
            done.frees
        )),
    };
    Ok((done.frees, words))
}
