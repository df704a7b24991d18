//! Hands for the tests of the core: they succeed at once, unless they are told otherwise.

use super::*;

/// Hands that succeed, unless the job's name says otherwise.
pub(super) struct Puppet {
    pub(super) clock: Clock,
    pub(super) digest: Mutex<String>,
    pub(super) held: Mutex<Result<Vec<SnapshotRecord>, Failure>>,
    /// What was forgotten and lies in the trash.
    pub(super) trash: Mutex<Vec<SnapshotRecord>>,
    /// What maintenance was done, and whether it is to fail or to hang until it is stopped.
    pub(super) kept: Mutex<Vec<Maintenance>>,
    pub(super) keeping: Mutex<upkeep::Mood>,
    /// The server a recovery leaves.
    pub(super) stage: Mutex<servers::Stage>,
    /// What a look at a cluster sees.
    pub(super) cluster: Mutex<Option<ClusterLook>>,
    /// What was asked for steps and of clusters, in order.
    pub(super) asked: Mutex<Vec<String>>,
}

impl Puppet {
    pub(super) fn snapshot(&self, job: &Job, run: &Run) -> SnapshotRecord {
        SnapshotRecord {
            id: SnapshotId(hex::encode([u8::try_from(run.id.0.len() % 7).unwrap() + 1; 32])),
            repository: job.repository.clone(),
            source: Some(job.source.clone()),
            job: Some(job.name.clone()),
            run: Some(run.id.clone()),
            kind: "files".into(),
            taken_at: self.clock.now(),
            committed_at: self.clock.now(),
            host: "h".into(),
            paths: Vec::new(),
            tags: Vec::new(),
            comment: None,
            size: Bytes(10),
            added: Bytes(5),
            files: 1,
            changes: None,
            duration: crate::domain::Millis(1),
            partial: false,
            errors: 0,
            database: None,
            evidence: written_evidence(self.clock.now()),
            cluster: None,
            vanished_at: None,
            pinned: None,
            forgotten: None,
            replaced_by: None,
            expiry: None,
        }
    }
}

impl Hands for Puppet {
    fn look_at_cluster(&self, cluster: Cluster, _: Duration) -> Doing<'_, Result<ClusterLook, Failure>> {
        self.asked.lock().unwrap().push(format!("cluster {}", cluster.name));
        let look = self.cluster.lock().unwrap().clone();
        let now = self.clock.now();
        Box::pin(async move {
            let mut look = look.ok_or_else(|| Failure::transient("nobody looks here"))?;
            look.seen.at = now;
            Ok(look)
        })
    }

    fn step(&self, work: Work, order: StepOrder) -> Doing<'_, StepSeen> {
        Box::pin(runbooks::step(self, work, order))
    }

    fn back_up(&self, work: Work, job: Job, run: Run) -> Doing<'_, RunResult> {
        Box::pin(async move {
            if job.name.as_str() == "slow" {
                work.cancel.cancelled().await;
                let error = Failure::transient("stopped");
                return RunResult::failed(Outcome::Cancelled, error);
            }
            let snapshot = self.snapshot(&job, &run);
            self.held.lock().unwrap().as_mut().unwrap().push(snapshot.clone());
            RunResult {
                outcome: Outcome::Succeeded,
                stats: RunStats::default(),
                snapshot: Some(snapshot),
                error: None,
                item_errors: Vec::new(),
            }
        })
    }

    fn plan(
        &self,
        _: Arc<Definitions>,
        request: RecoveryRequest,
        snapshot: SnapshotRecord,
        _: Option<SourceFacts>,
    ) -> Doing<'_, Result<RecoveryPlan, Failure>> {
        let digest = self.digest.lock().unwrap().clone();
        Box::pin(async move {
            Ok(RecoveryPlan {
                kind: snapshot.kind,
                source: snapshot.source,
                recover_to: snapshot.taken_at,
                evidence: snapshot.evidence.level,
                from: String::new(),
                target_identity: String::new(),
                items: 1,
                fetch: Bytes(1),
                write: Bytes(1),
                overwrites: 0,
                overwrites_sample: Vec::new(),
                target_free: None,
                estimate: None,
                estimate_p90: None,
                estimate_samples: 0,
                estimate_phases: Vec::new(),
                replay: None,
                blockers: Vec::new(),
                warnings: Vec::new(),
                undo: String::new(),
                command: String::new(),
                restic_command: String::new(),
                digest,
                request,
            })
        })
    }

    fn recover(&self, _: Work, recovery: Recovery, _: SnapshotRecord) -> Doing<'_, RecoveryRecord> {
        let mut record = ended_recovery(&recovery, Outcome::Succeeded, None, self.clock.now());
        record.left = servers::left(&recovery, self.clock.now());
        Box::pin(async move { record })
    }

    fn follow_up(&self, work: Work, waiting: Waiting) -> Doing<'_, FollowUpResult> {
        Box::pin(servers::follow_up(self, work, waiting))
    }

    fn look_at_server(&self, waiting: Waiting) -> Doing<'_, Result<Option<ServerSeen>, Failure>> {
        Box::pin(async move { Ok(Some(servers::look(self, &waiting))) })
    }

    fn restore_point(&self, _: Cluster, name: String, _: String) -> Doing<'_, Result<(MemberName, Lsn), Failure>> {
        Box::pin(async move { servers::restore_point(&name) })
    }

    fn list(&self, _: RepositoryDefinition, known: Known) -> Doing<'_, Result<Listing, Failure>> {
        let held = self.held.lock().unwrap().clone();
        Box::pin(async move {
            held.map(|snapshots| Listing {
                held: snapshots.iter().map(|snapshot| snapshot.id.clone()).collect(),
                appeared: snapshots
                    .into_iter()
                    .filter(|snapshot| !known.listed.contains(&snapshot.id))
                    .collect(),
                changes: Vec::new(),
                room: Some(crate::domain::capacity::Room {
                    used: Bytes(7),
                    limit: Bytes(100),
                    bound: crate::domain::capacity::Bound::Disk,
                }),
            })
        })
    }

    fn look_at_log(
        &self,
        _: Source,
        _: RepositoryDefinition,
        _: Vec<crate::domain::pitr::Base>,
        _: bool,
    ) -> Doing<'_, Result<crate::domain::pitr::Looked, Failure>> {
        Box::pin(async { Err(Failure::permanent("there is no log", "")) })
    }

    fn receive(
        &self,
        _: Work,
        _: Source,
        _: RepositoryDefinition,
        _: Arc<dyn Fn(Option<String>) + Send + Sync>,
    ) -> Doing<'_, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn maintain(&self, work: Work, maintenance: Maintenance) -> Doing<'_, MaintenanceResult> {
        Box::pin(upkeep::maintain(self, work, maintenance))
    }

    fn tree(&self, _: RepositoryDefinition, _: String, _: String) -> Doing<'_, Result<Vec<TreeEntryView>, Failure>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn content(&self, _: RepositoryDefinition, _: String, _: String, _: Bytes) -> Doing<'_, Result<Vec<u8>, Failure>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn reap(&self, _: Arc<Definitions>) -> Doing<'_, ()> {
        Box::pin(async {})
    }
}
