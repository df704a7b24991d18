//! Looking at a cluster for its health, and keeping what the primary was when it last answered.
//!
//! That is one small file of this machine, replaced whole. It is written at every look at which the primary answers, so it is
//! not synced: a crash of the machine may lose it, and then an automatic failover is refused because nobody knows what was lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Worker;
use super::failure::of_cluster;
use crate::domain::cluster::Cluster;
use crate::domain::cluster::health::{Known, Primary, primary};
use crate::domain::run::Failure;
use crate::engine::hands::ClusterLook;
use crate::source::postgres::cluster::ClusterHandle;

/// Looks once.
pub(super) async fn look(worker: &Worker, cluster: Cluster, patience: Duration) -> Result<ClusterLook, Failure> {
    let path = worker
        .state_dir
        .join("clusters")
        .join(format!("{}.known.json", cluster.name));
    let (clock, cancel) = (worker.clock.clone(), CancellationToken::new());
    let mut handle = ClusterHandle::reach(cluster, &worker.state_dir, String::new(), clock, cancel).await;
    handle.patience = Some(patience);
    let seen = handle.look().await;
    let record = handle.record().map_err(|error| of_cluster(&error))?;
    let kept = tokio::task::spawn_blocking(move || {
        let known = read(&path);
        if let Primary::Answers(now) = primary(&handle.cluster, &seen, &record, known.as_ref()) {
            write(&path, &now);
        }
        ClusterLook { seen, record, known }
    });
    kept.await
        .map_err(|error| Failure::permanent(format!("it broke off: {error}"), "look into the agent's log"))
}

/// What cannot be read is not known, which only ever speaks against acting.
fn read(path: &Path) -> Option<Known> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn write(path: &PathBuf, known: &Known) {
    let Ok(text) = serde_json::to_vec(known) else { return };
    let new = path.with_extension("new");
    let parent = path.parent().unwrap_or(Path::new("/"));
    let written = fs::create_dir_all(parent)
        .and_then(|()| fs::write(&new, text))
        .and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        tracing::warn!("{} cannot be written: {error}", path.display());
    }
}
