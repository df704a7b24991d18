//! The live picture, drawn from the state, the definitions and what is beside the journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::capacity::days_to_full;
use crate::domain::drill::{self, Drill, DrillView};
use crate::domain::gauge;
use crate::domain::id::{MaintenanceId, RecoveryId, RepositoryName, RunId, RunbookName, RunbookRunId};
use crate::domain::job::{Definitions, Job, RepositoryDefinition};
use crate::domain::objective::Service;
use crate::domain::retention::RetentionPolicy;
use crate::domain::runbook::Runbook;
use crate::domain::runbook::view::{ExecutionView, Readiness, RunbookLine};
use crate::domain::schedule::Schedule;
use crate::domain::seen::Seen;
use crate::domain::source::{Source, SourceKind};
use crate::domain::state::{JobFacts, State};
use crate::domain::units::Timestamp;
use crate::domain::upkeep::UpkeepFacts;
use crate::domain::view::{
    AgentView, JobView, MaintenanceView, Overview, ProgressView, RecoveryView, RepositoryView, RunView, ServiceView,
    UpkeepView, WaitingView,
};
use crate::domain::{decide, id};

/// What the picture shows that is neither state nor definition.
#[derive(Debug, Clone)]
pub struct Beside {
    /// The agent.
    pub agent: AgentView,
    /// Why the configuration on disk could not be loaded.
    pub unloaded: Option<String>,
    /// Why the journal could not be written the last time.
    pub unwritten: Option<String>,
    /// What the sandbox says.
    pub practice: Option<String>,
    /// What was measured a moment ago.
    pub seen: Seen,
    /// Snapshots per repository.
    pub snapshots: BTreeMap<RepositoryName, u64>,
    /// Progress of runs.
    pub runs: BTreeMap<RunId, ProgressView>,
    /// Progress of recoveries.
    pub recoveries: BTreeMap<RecoveryId, ProgressView>,
    /// Whether runbooks could be begun.
    pub ready: BTreeMap<RunbookName, Readiness>,
    /// What the steps of executions of runbooks said.
    pub said: BTreeMap<RunbookRunId, Vec<String>>,
    /// Progress of follow-ups.
    pub follow_ups: BTreeMap<RecoveryId, ProgressView>,
    /// Progress of maintenance.
    pub maintenance: BTreeMap<MaintenanceId, ProgressView>,
}

impl Beside {
    /// What is beside the journal when an agent begins.
    pub fn new(agent: AgentView, snapshots: BTreeMap<RepositoryName, u64>) -> Self {
        Self {
            agent,
            unloaded: None,
            unwritten: None,
            practice: None,
            seen: Seen::default(),
            snapshots,
            runs: BTreeMap::new(),
            recoveries: BTreeMap::new(),
            follow_ups: BTreeMap::new(),
            maintenance: BTreeMap::new(),
            said: BTreeMap::new(),
            ready: BTreeMap::new(),
        }
    }
}

/// Draws the picture.
pub fn draw(state: &State, definitions: &Definitions, beside: &Beside, now: Timestamp) -> Arc<Overview> {
    let mut services: Vec<ServiceView> = definitions
        .services
        .values()
        .map(|service| service_view(state, &beside.seen, definitions, service, now))
        .collect();
    services.sort_by_key(|service| {
        let worst = std::cmp::Reverse(service.rpo.level.max(service.rto.level));
        (worst, service.name.clone())
    });
    let mut alerts: Vec<_> = state.alerts.values().cloned().collect();
    alerts.sort_by_key(|alert| (std::cmp::Reverse(alert.severity), alert.opened_at));
    let runs = state.runs.values().map(|run| RunView {
        run: run.clone(),
        progress: beside.runs.get(&run.id).cloned(),
    });
    let recoveries = state.recoveries.values().map(|recovery| RecoveryView {
        recovery: recovery.clone(),
        progress: beside.recoveries.get(&recovery.id).cloned(),
        objective: recovery
            .source
            .as_ref()
            .and_then(|source| gauge::objective_of(definitions, source)),
    });
    let waiting = state.waiting.values().map(|waiting| WaitingView {
        waiting: waiting.clone(),
        progress: beside.follow_ups.get(&waiting.recovery).cloned(),
    });
    let maintenance = state.maintenance.values().map(|maintenance| MaintenanceView {
        maintenance: maintenance.clone(),
        progress: beside.maintenance.get(&maintenance.id).cloned(),
    });
    let guarded = definitions.clusters.values().filter(|one| one.failover.automatic);
    let agent = AgentView {
        guards: guarded.map(|cluster| cluster.name.clone()).collect(),
        started_at: state
            .agent
            .as_ref()
            .map_or(beside.agent.started_at, |agent| agent.started_at),
        ..beside.agent.clone()
    };
    Arc::new(Overview {
        seq: state.seq,
        at: now,
        site: definitions.site.clone(),
        environment: definitions.environment.clone(),
        agent,
        read_only: false,
        services,
        alerts,
        jobs: definitions
            .jobs
            .values()
            .map(|job| job_view(state, definitions, job, now))
            .collect(),
        runs: runs.collect(),
        recoveries: recoveries.collect(),
        waiting: waiting.collect(),
        maintenance: maintenance.collect(),
        repositories: repository_views(state, definitions, beside, now),
        drills: definitions
            .drills
            .values()
            .map(|drill| drill_view(state, definitions, drill, now))
            .collect(),
        logs: beside.seen.logs.clone(),
        runbooks: definitions
            .runbooks
            .values()
            .map(|runbook| runbook_line(state, beside, runbook))
            .collect(),
        executions: state
            .runbooks
            .values()
            .map(|run| ExecutionView {
                run: run.clone(),
                said: beside.said.get(&run.id).cloned().unwrap_or_default(),
            })
            .collect(),
        restore_points: state.restore_points.clone(),
        config_error: beside.unloaded.clone(),
        journal_error: beside.unwritten.clone(),
        practice: beside.practice.clone(),
    })
}

fn service_view(
    state: &State,
    seen: &Seen,
    definitions: &Definitions,
    service: &Service,
    now: Timestamp,
) -> ServiceView {
    ServiceView {
        name: service.name.clone(),
        sources: service.sources.clone(),
        rpo: gauge::rpo(state, seen, definitions, service, now),
        rto: gauge::rto(state, service),
    }
}

fn job_view(state: &State, definitions: &Definitions, job: &Job, now: Timestamp) -> JobView {
    let source = definitions.sources.get(&job.source);
    let facts = state
        .jobs
        .get(&job.name)
        .cloned()
        .unwrap_or_else(|| JobFacts::appeared(now));
    JobView {
        name: job.name.clone(),
        source: job.source.clone(),
        kind: source.map_or_else(String::new, |source| source.kind.word().to_owned()),
        subject: source.map_or_else(String::new, subject),
        repository: job.repository.clone(),
        schedule: job.schedule.as_ref().map(|schedule| schedule.expression().to_owned()),
        schedule_words: job.schedule.as_ref().map(Schedule::in_words),
        enabled: facts.enabled,
        disabled_reason: facts.disabled_reason,
        next_due: job
            .schedule
            .as_ref()
            .filter(|_| facts.enabled)
            .and_then(|schedule| schedule.next_after(now)),
        running: decide::live_run(state, &job.name).map(|run| run.id.clone()),
        outcomes: facts.outcomes.into(),
        durations: facts.durations.into(),
        sizes: facts.sizes.into(),
        last_finished_at: facts.last_finished_at,
        last_success_at: facts.last_success_at,
        failures_in_a_row: facts.failures_in_a_row,
        last_error: facts.last_error,
        verify: job.verify.level,
        retention: job.retention.as_ref().map(RetentionPolicy::words),
        retained: facts.retention,
    }
}

fn drill_view(state: &State, definitions: &Definitions, drill: &Drill, now: Timestamp) -> DrillView {
    let facts = state.drills.get(&drill.name);
    DrillView {
        name: drill.name.clone(),
        source: drill.source.clone(),
        schedule: drill.schedule.as_ref().map(Schedule::in_words),
        point: drill.point.words(),
        level: drill.level,
        next_due: drill.schedule.as_ref().and_then(|schedule| schedule.next_after(now)),
        running: drill::live(state, &drill.name).map(|recovery| recovery.id.clone()),
        limit: drill::limit(definitions, drill),
        last: facts.and_then(|facts| facts.last.clone()),
        last_success_at: facts.and_then(|facts| facts.last_success_at),
        overdue_since: facts
            .and_then(|facts| drill::overdue_at(drill, facts))
            .filter(|at| *at <= now),
    }
}

fn runbook_line(state: &State, beside: &Beside, runbook: &Runbook) -> RunbookLine {
    let facts = state.runbook_facts.get(&runbook.name).cloned().unwrap_or_default();
    // An edit voids what was found of the document before it.
    let readiness = beside
        .ready
        .get(&runbook.name)
        .filter(|ready| ready.hash == runbook.hash);
    RunbookLine {
        name: runbook.name.clone(),
        title: runbook.title.clone(),
        hash: runbook.hash.clone(),
        file: runbook.file.clone(),
        steps: runbook.steps.len(),
        readiness: readiness.cloned(),
        last_drill: facts.last_drill,
        last_real: facts.last_real,
    }
}

fn subject(source: &Source) -> String {
    match &source.kind {
        SourceKind::Files(files) => files
            .paths
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
            .join(", "),
        SourceKind::PostgresDump(database) => format!("{} on {}", database.database, database.connection.display()),
        SourceKind::PostgresPhysical(cluster) => format!("cluster at {}", cluster.connection.display()),
    }
}

fn upkeep_view(repository: &RepositoryDefinition, facts: Option<&UpkeepFacts>, now: Timestamp) -> UpkeepView {
    let policy = &repository.upkeep;
    let check = policy.check.as_ref().map(|check| &check.schedule);
    UpkeepView {
        trash: policy.trash,
        prune_schedule: policy.prune.as_ref().map(Schedule::in_words),
        prune_next: policy.prune.as_ref().and_then(|schedule| schedule.next_after(now)),
        check_schedule: check.map(Schedule::in_words),
        check_next: check.and_then(|schedule| schedule.next_after(now)),
        prune: facts.and_then(|facts| facts.prune.clone()),
        check: facts.and_then(|facts| facts.check.clone()),
        damage: facts.and_then(|facts| facts.damage.clone()),
    }
}

fn repository_views(state: &State, definitions: &Definitions, beside: &Beside, now: Timestamp) -> Vec<RepositoryView> {
    let view = |repository: &RepositoryDefinition| {
        let name: &id::RepositoryName = &repository.name;
        let facts = state.repositories.get(name);
        let mut rooms = beside.seen.rooms.iter();
        let room = rooms.find(|sight| sight.repository == *name).map(|sight| sight.room);
        RepositoryView {
            name: name.clone(),
            url: repository.url.clone(),
            reachable: facts.map(|facts| facts.failure.is_none()),
            failure: facts.and_then(|facts| facts.failure.clone()),
            snapshots: beside.snapshots.get(name).copied().unwrap_or(0),
            used_percent: room.map(|room| u8::try_from(room.percent()).unwrap_or(u8::MAX)),
            room,
            days_to_full: room.and_then(|room| days_to_full(state, definitions, name, room, now)),
            upkeep: Some(upkeep_view(repository, state.upkeep.get(name), now)),
        }
    };
    definitions.repositories.values().map(view).collect()
}
