//! Which server is copied and which way, and that it is the cluster it was.

use std::path::PathBuf;

use super::PhysicalError;
use super::cluster::Cluster;
use crate::clock::Clock;
use crate::domain::source::{PhysicalSource, ReadFrom, Source};
use crate::repo::{SnapshotInfo, off_runtime};
use crate::source::manifest::{ClusterManifest, Manifest, PhysicalMethod, label};
use crate::source::postgres::connect::Login;
use crate::source::postgres::wal;
use crate::source::{BackupJob, Secrets, SourceError, Work};

/// Chooses the server that is read.
pub(super) async fn choose(
    settings: &PhysicalSource,
    secrets: &Secrets,
    job: &BackupJob,
    notes: &mut Vec<String>,
    work: &Work<'_>,
) -> Result<Cluster, SourceError> {
    let name = format!("lifeboat {}", job.run);
    let standby = settings.standby.as_ref().filter(|_| settings.from != ReadFrom::Primary);
    if let Some(connection) = standby {
        let login = Login::new(connection.clone(), secrets.standby.clone()).named(name.clone());
        let opened = async {
            let cluster = Cluster::open(&login, &settings.database, work.clock).await?;
            cluster.check_standby().await.map(|()| cluster)
        };
        match opened.await {
            Ok(cluster) => {
                notes.push(format!("read from the standby at {}", connection.display()));
                return Ok(cluster);
            }
            Err(error) if settings.from == ReadFrom::Standby => return Err(error),
            Err(error) => notes.push(format!("the primary was read, because {error}")),
        }
    }
    let login = Login::new(settings.connection.clone(), secrets.source.clone()).named(name);
    Cluster::open(&login, &settings.database, work.clock).await
}

/// The newest snapshot of this source; refuses a server that is another cluster than the one in it.
pub(super) async fn previous(
    source: &Source,
    cluster: &Cluster,
    work: &Work<'_>,
) -> Result<Option<(SnapshotInfo, ClusterManifest)>, SourceError> {
    let (known, _) = work.repo.snapshots_lossy().await?;
    let ours = |info: &SnapshotInfo| {
        let tags = &info.snapshot.tags;
        label(tags, "source") == Some(source.name.as_str()) && label(tags, "kind") == Some(source.kind.word())
    };
    for info in known.into_iter().rev().filter(ours) {
        // One that cannot be read must not keep the next from being made.
        let Ok(Some(manifest)) = Manifest::read_of(work.repo, &info).await else {
            continue;
        };
        let Some(found) = manifest.cluster else { continue };
        if found.system != cluster.system {
            return Err(PhysicalError::OtherSystem {
                server: cluster.session.server.clone(),
                source_name: source.name.to_string(),
                found: cluster.system,
                expected: found.system,
            }
            .into());
        }
        return Ok(Some((info, found)));
    }
    Ok(None)
}

/// Says how a cluster can be copied by this role from this machine; changes nothing.
///
/// # Errors
/// The server cannot be reached, or its files can neither be read here nor be sent to this role.
pub async fn way(settings: &PhysicalSource, secrets: &Secrets, clock: &Clock) -> Result<PhysicalMethod, SourceError> {
    let login = Login::new(settings.connection.clone(), secrets.source.clone()).named("lifeboat".to_owned());
    let cluster = Cluster::open(&login, &settings.database, clock).await?;
    let (may_begin, may_replicate) = cluster.rights().await?;
    let local = is_local(settings, &cluster).await;
    match local {
        Ok(_) if may_begin => Ok(PhysicalMethod::Local),
        _ if may_replicate => Ok(PhysicalMethod::Remote),
        Ok(_) => Err(SourceError::Denied {
            server: cluster.session.server.clone(),
            why: "the role may neither begin a backup nor replicate (grant REPLICATION)".to_owned(),
        }),
        Err(error) => Err(error),
    }
}

/// Where the cluster's files can be read on this machine.
pub(super) async fn is_local(settings: &PhysicalSource, cluster: &Cluster) -> Result<PathBuf, SourceError> {
    let place = settings
        .data_directory
        .clone()
        .or_else(|| cluster.data_directory.clone());
    let place = place.ok_or_else(|| PhysicalError::NotLocal {
        why: "the role may not ask where they are (grant pg_read_all_settings, or write data_directory)".to_owned(),
    })?;
    let looked = place.clone();
    let found = off_runtime(move || {
        let not_local = |why: String| SourceError::from(PhysicalError::NotLocal { why });
        // Whoever may list the databases may read them: PostgreSQL gives all its files the same rights.
        let listed = std::fs::read_dir(looked.join("base"));
        listed.map_err(|error| not_local(format!("{}: {error}", looked.display())))?;
        match wal::file::system_of(&looked) {
            Ok(Some(system)) => Ok(system),
            Ok(None) => Err(not_local(format!("{} holds no cluster", looked.display()))),
            Err(error) => Err(not_local(error.to_string())),
        }
    })
    .await??;
    if found != cluster.system {
        return Err(PhysicalError::OtherDirectory {
            directory: place,
            server: cluster.session.server.clone(),
            found,
            expected: cluster.system,
        }
        .into());
    }
    Ok(place)
}
