//! The proof of a snapshot of a cluster, level by level: understood, laid down and recovered by a private server, asked.
//!
//! **Decoded.** Label, control file, map and log agree with one another and with the manifest, and every segment from start to stop
//! is there. **Restored.** A private server of the same version recovers the copy and opens, which it does only behind the stop.
//! **Probed.** Questions are answered as expected; `pg_amcheck` finds nothing wrong with tables and indexes.
//!
//! A page that was damaged on the server already is told at every level and refutes none: the copy is what the server had.
//!
//! **Environment.** A server that is not installed or may not enter the scratch place says nothing about a snapshot.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::amcheck;
use super::control::Control;
use super::label::{self, BackupLabel};
use super::lay_down::{LayDownOptions, cluster_of, lay_down};
use super::segments::Stretch;
use crate::domain::job::SqlProbe;
use crate::domain::recovery::{Finding, InstantWish, RecoveryPhase};
use crate::domain::source::SourceKind;
use crate::domain::units::{Bytes, Millis};
use crate::domain::wal::WalName;
use crate::repo::{NodeKind, SnapshotInfo, off_runtime};
use crate::source::files::free_space;
use crate::source::manifest::ClusterManifest;
use crate::source::postgres::probe;
use crate::source::postgres::recovery::instant;
use crate::source::postgres::server::{Launch, PrivateServer, Programs, ServerError};
use crate::source::scratch_dir::ScratchDir;
use crate::source::verify::VerifyJob;
use crate::source::{Milestone, SourceError, Subject, Work};

/// Labels, maps and control files are smaller than this.
const SMALL: u64 = 1 << 20;
/// How often a recovering server is asked whether it is open.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A cluster that is being proved; server and scratch place go with it.
pub(in crate::source) struct Proof {
    snapshot: SnapshotInfo,
    cluster: ClusterManifest,
    files: u64,
    server: Option<PrivateServer>,
    replayed: Option<(Millis, Bytes)>,
    scratch: Option<ScratchDir>,
}

impl Proof {
    /// Reads what the snapshot says of its cluster.
    pub(in crate::source) async fn begin(subject: &Subject, work: &Work<'_>) -> Result<Self, SourceError> {
        let looking = async {
            let snapshot = work.repo.snapshot(subject.snapshot.id.as_str()).await?;
            Ok((cluster_of(&snapshot, work).await?, snapshot))
        };
        let (cluster, snapshot) = work.cancellable(looking).await?;
        Ok(Self {
            snapshot,
            cluster,
            files: subject.snapshot.files,
            server: None,
            replayed: None,
            scratch: None,
        })
    }

    /// How much it restores.
    pub(in crate::source) fn size(&self) -> (Bytes, u64) {
        (self.cluster.size, self.files)
    }

    /// Holds what the snapshot has against what it says.
    pub(in crate::source) async fn decode(&self, work: &Work<'_>) -> Result<Vec<Finding>, SourceError> {
        work.progress.set_current("reading the cluster's own words");
        work.cancellable(async {
            let read = async |path: &str| work.repo.read_file_of(&self.snapshot, path, SMALL).await;
            let mut findings = vec![self.version(&read("/data/PG_VERSION").await?)];
            findings.push(self.label(&read("/data/backup_label").await?)?);
            findings.push(self.control(&read("/data/global/pg_control").await?)?);
            if !self.cluster.tablespaces.is_empty() {
                findings.push(self.map(&read("/data/tablespace_map").await?)?);
            }
            findings.push(self.log(work).await?);
            findings.extend(self.damage());
            Ok(findings)
        })
        .await
    }

    fn version(&self, text: &[u8]) -> Finding {
        let text = String::from_utf8_lossy(text).trim().to_owned();
        Finding {
            what: "version of the files".to_owned(),
            ok: text == self.cluster.major.to_string(),
            detail: format!("{text}, the server was {}", self.cluster.server_version),
        }
    }

    fn label(&self, text: &[u8]) -> Result<Finding, SourceError> {
        let label = BackupLabel::parse(&String::from_utf8_lossy(text))?;
        let cluster = &self.cluster;
        let same =
            label.start == cluster.start_lsn && label.timeline == cluster.timeline && label.standby == cluster.standby;
        Ok(Finding {
            what: "backup_label".to_owned(),
            ok: same && label.checkpoint >= label.start && cluster.stop_lsn >= label.start,
            detail: format!(
                "begins at {} on timeline {}, checkpoint at {}; recorded: {} to {} on timeline {}",
                label.start, label.timeline, label.checkpoint, cluster.start_lsn, cluster.stop_lsn, cluster.timeline
            ),
        })
    }

    fn control(&self, bytes: &[u8]) -> Result<Finding, SourceError> {
        let control = Control::parse(bytes)?;
        let cluster = &self.cluster;
        // The control file was read after the backup began, so it knows no older checkpoint; and it was in use then.
        let ok = control.system == cluster.system
            && control.timeline <= cluster.timeline
            && control.redo >= cluster.start_lsn
            && control.in_use;
        Ok(Finding {
            what: "pg_control".to_owned(),
            ok,
            detail: format!(
                "cluster {}, checkpoint {} with redo {} on timeline {}",
                control.system, control.checkpoint, control.redo, control.timeline
            ),
        })
    }

    fn map(&self, text: &[u8]) -> Result<Finding, SourceError> {
        let map = label::parse_map(&String::from_utf8_lossy(text))?;
        let known = |oid: u32| self.cluster.tablespaces.iter().any(|tablespace| tablespace.oid == oid);
        Ok(Finding {
            what: "tablespace_map".to_owned(),
            ok: map.len() == self.cluster.tablespaces.len() && map.iter().all(|(oid, _)| known(*oid)),
            detail: format!("{} tablespaces, {} recorded", map.len(), self.cluster.tablespaces.len()),
        })
    }

    /// Looks for every segment from start to stop.
    async fn log(&self, work: &Work<'_>) -> Result<Finding, SourceError> {
        let cluster = &self.cluster;
        let entries = work.repo.ls(&self.snapshot.id, "/data/pg_wal").await?;
        let has = |name: WalName| {
            let name = name.to_string();
            let whole = |size: u64| size == cluster.segment_size.bytes();
            entries
                .iter()
                .any(|entry| entry.name == name && entry.kind == NodeKind::File && whole(entry.size))
        };
        let stretch = Stretch {
            system: cluster.system,
            timeline: cluster.timeline,
            size: cluster.segment_size,
            start: cluster.start_lsn,
            stop: cluster.stop_lsn,
        };
        let wanted: Vec<WalName> = stretch.segments().map(WalName::Segment).collect();
        let missing: Vec<String> = wanted
            .iter()
            .filter(|name| !has(**name))
            .map(ToString::to_string)
            .collect();
        Ok(Finding {
            what: "log from start to stop".to_owned(),
            ok: missing.is_empty(),
            detail: if missing.is_empty() {
                format!("{} segments, whole", wanted.len())
            } else {
                format!("missing or cut: {}", missing.join(", "))
            },
        })
    }

    fn damage(&self) -> Option<Finding> {
        let cluster = &self.cluster;
        let detail = match (cluster.checksums, cluster.damaged_pages.first()) {
            (false, _) => return None,
            (true, None) => "every page that was read is as it was written".to_owned(),
            (true, Some(first)) => format!(
                "WARNING: {} pages were damaged on the server when it was copied, the first: page {} of {}",
                cluster.damaged_total, first.block, first.file
            ),
        };
        Some(Finding {
            what: "page checksums".to_owned(),
            ok: true,
            detail,
        })
    }

    /// Lays the cluster down and has a private server recover it.
    pub(in crate::source) async fn restore(
        &mut self,
        subject: &Subject,
        job: &VerifyJob,
        work: &Work<'_>,
    ) -> Result<Vec<Finding>, SourceError> {
        let settings = subject.source.as_ref().and_then(|source| match &source.kind {
            SourceKind::PostgresPhysical(cluster) => Some(cluster),
            _ => None,
        });
        let configured = settings.and_then(|settings| settings.scratch_dir.clone());
        let place = configured.unwrap_or_else(|| reachable(&job.scratch_dir));
        let needed = self.cluster.size;
        if let Some(free) = free_space(&place).filter(|free| free.0 < needed.0) {
            return Err(SourceError::NoRoom { place, free, needed });
        }
        let bin_dir = settings.and_then(|settings| settings.connection.bin_dir.clone());
        let major = self.cluster.major;
        let programs =
            off_runtime(move || Programs::find(Some(major), bin_dir.as_deref()).map_err(environment)).await??;
        let scratch = ScratchDir::create(&place, &job.id, &subject.host, work.clock)?;
        let (data, home) = (scratch.data(), scratch.beside("home"));
        let spaces = self.cluster.tablespaces.iter();
        let options = LayDownOptions {
            delta: false,
            tablespaces: spaces
                .map(|space| (space.oid.to_string(), scratch.beside(&format!("space-{}", space.oid))))
                .collect(),
        };
        scratch.let_servers_in()?;
        self.scratch = Some(scratch);
        let laid = lay_down(&subject.snapshot.id, &data, &options, work).await?;
        if let Some(instant) = &subject.instant {
            return self.replay(subject, instant, &data, &home, work).await;
        }
        work.progress.set_current("recovering the copy");
        let mut roles = vec!["postgres".to_owned()];
        roles.extend(settings.map(|settings| settings.connection.user.clone()));
        let server = self.open(&data, &home, programs, roles, work).await?;
        self.server = Some(server);
        Ok(vec![Finding {
            what: "recovered by a private server".to_owned(),
            ok: true,
            detail: format!(
                "{} in {} files laid down in {}; consistent at {} and opened",
                laid.written, laid.files, laid.took, self.cluster.stop_lsn
            ),
        }])
    }

    /// Has a private server go on to an instant.
    async fn replay(
        &mut self,
        subject: &Subject,
        instant: &InstantWish,
        data: &Path,
        home: &Path,
        work: &Work<'_>,
    ) -> Result<Vec<Finding>, SourceError> {
        (work.reached)(Milestone::Phase(RecoveryPhase::Replay));
        let (replayed, findings) = instant::prove(subject, instant, data, home, work).await?;
        self.replayed = Some((replayed.took, replayed.seen.done));
        self.server = Some(replayed.server);
        Ok(findings)
    }

    /// How long replaying took, and how much of it there was.
    pub(in crate::source) fn replayed(&self) -> Option<(Millis, Bytes)> {
        self.replayed
    }

    /// Starts a server on the copy and waits until it has recovered it; as long as it works it may take its time.
    async fn open(
        &self,
        data: &Path,
        home: &Path,
        programs: Programs,
        mut roles: Vec<String>,
        work: &Work<'_>,
    ) -> Result<PrivateServer, SourceError> {
        let role = roles.pop().unwrap_or_default();
        let launch = Launch::of_copy(data, home, programs, &role).map_err(environment)?;
        // What a scratch copy writes need not survive anything.
        let launch = launch.set("fsync=off").set("max_connections=20");
        let mut server = PrivateServer::spawn(launch, work.clock).map_err(environment)?;
        work.cancellable(async {
            loop {
                if server.has_ended() {
                    return Err(SourceError::Snapshot {
                        snapshot: self.cluster.label.clone(),
                        why: format!("could not be recovered: {}", server.log_tail()),
                    });
                }
                match crate::source::postgres::identify(&server.login(), "postgres", work.clock).await {
                    Ok(facts) if !facts.standby => break,
                    Err(SourceError::Denied { .. }) => match roles.pop() {
                        Some(next) => server.set_role(&next).map_err(environment)?,
                        None => break,
                    },
                    _ => {}
                }
                work.clock.sleep(LOOK_EVERY).await;
            }
            // The role that was there first may do everything, whatever it is called.
            let sql = "select rolname::text from pg_catalog.pg_roles where oid = 10";
            let first = crate::source::postgres::ask(&server.login(), "postgres", sql, work.clock).await?;
            match first {
                Some(first) => server.set_role(&first).map_err(environment),
                None => Ok(()),
            }
        })
        .await?;
        Ok(server)
    }

    /// Puts the probes to the recovered copy, and has its tables and indexes checked.
    pub(in crate::source) async fn probe(
        &self,
        subject: &Subject,
        probes: &[SqlProbe],
        work: &Work<'_>,
    ) -> Result<Vec<Finding>, SourceError> {
        let Some(server) = &self.server else {
            return Ok(Vec::new());
        };
        let database = subject.source.as_ref().and_then(|source| match &source.kind {
            SourceKind::PostgresPhysical(cluster) => Some(cluster.database.as_str()),
            _ => None,
        });
        let session = server.login().open(database.unwrap_or("postgres"), work.clock).await?;
        let mut findings = probe::ask_all(&session, probes, work).await?;
        drop(session);
        findings.extend(amcheck::run(server, work).await?);
        Ok(findings)
    }

    /// Ends the server and removes the scratch place.
    pub(in crate::source) async fn clean_up(&mut self) -> Result<(), SourceError> {
        let (server, scratch) = (self.server.take(), self.scratch.take());
        off_runtime(move || {
            drop(server);
            scratch.map_or(Ok(()), ScratchDir::remove)
        })
        .await?
    }
}

impl Drop for Proof {
    fn drop(&mut self) {
        // The server first: what it works in is removed afterwards.
        drop(self.server.take());
    }
}

/// Why a server could not be had; says nothing about the snapshot.
fn environment(error: ServerError) -> SourceError {
    match error {
        ServerError::Local { action, path, error } => SourceError::local(action, &path, &error),
        error => SourceError::Invalid {
            what: error.to_string(),
            hint: Some(error.hint()),
        },
    }
}

/// A place like `wanted` that the user of servers can reach: our own directories are closed to others when we are root.
fn reachable(wanted: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let open = |place: &Path| std::fs::metadata(place).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0);
    let all = wanted.ancestors().filter(|place| place.exists()).all(open);
    if all || !nix::unistd::Uid::effective().is_root() {
        wanted.to_owned()
    } else {
        std::env::temp_dir()
    }
}
