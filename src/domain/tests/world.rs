//! A small world whose events are decided, applied and settled as the engine does it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::domain::alert::AlertKind;
use crate::domain::apply::apply;
use crate::domain::command::{Actor, Command, Observation, RunResult, written_evidence};
use crate::domain::decide::{self, Context, LookedUp};
use crate::domain::event::{EVENT_VERSION, Event, EventRecord};
use crate::domain::gauge;
use crate::domain::id::{JobName, RunId, SnapshotId};
use crate::domain::job::{Definitions, Job, Limits, MissedPolicy, RetryPolicy, VerifyPolicy};
use crate::domain::objective::{Objective, Service};
use crate::domain::observe;
use crate::domain::react::{self, Effect};
use crate::domain::run::{Failure, Outcome, RunStats};
use crate::domain::schedule::Schedule;
use crate::domain::seen::Seen;
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::source::{FilesSource, Source, SourceKind};
use crate::domain::state::State;
use crate::domain::units::{Bytes, Millis, Timestamp};

pub(super) struct World {
    pub(super) state: State,
    pub(super) definitions: Definitions,
    pub(super) now: Timestamp,
    pub(super) unique: u32,
    pub(super) log: Vec<EventRecord>,
    pub(super) seen: Seen,
}

pub(super) fn definitions(schedule: &str) -> Definitions {
    let source = Source {
        name: "docs".into(),
        kind: SourceKind::Files(FilesSource {
            paths: vec![PathBuf::from("/srv")],
            ..FilesSource::default()
        }),
    };
    let job = Job {
        name: "docs".into(),
        source: "docs".into(),
        repository: "near".into(),
        schedule: Some(Schedule::parse(schedule, "").unwrap()),
        missed: MissedPolicy::RunOnce,
        retry: RetryPolicy {
            attempts: 2,
            backoff: Millis::from_secs(10),
        },
        timeout: None,
        verify: VerifyPolicy::default(),
        hooks: crate::domain::job::Hooks::default(),
        tags: Vec::new(),
        retention: None,
    };
    let objective = Objective {
        rpo: Millis::from_secs(3600),
        rto: Millis::from_secs(600),
    };
    let service = Service {
        name: "files".into(),
        sources: vec!["docs".into()],
        objective,
    };
    Definitions {
        site: "here".into(),
        environment: "TEST".into(),
        repositories: BTreeMap::new(),
        sources: BTreeMap::from([("docs".into(), source)]),
        jobs: BTreeMap::from([("docs".into(), job)]),
        services: BTreeMap::from([("files".into(), service)]),
        clusters: BTreeMap::new(),
        drills: BTreeMap::new(),
        runbooks: std::collections::BTreeMap::new(),
        limits: Limits::default(),
    }
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            state: State::default(),
            definitions: definitions("*/15 * * * *"),
            now: "2026-03-01T00:01:00Z".parse().unwrap(),
            unique: 0,
            log: Vec::new(),
            seen: Seen::default(),
        };
        world.start();
        world
    }

    pub(super) fn start(&mut self) {
        self.observe(Observation::AgentStarted {
            version: "1".into(),
            host: "h".into(),
            pid: 1,
        });
    }

    pub(super) fn commit(&mut self, events: Vec<Event>) {
        for event in events {
            let record = EventRecord {
                seq: self.state.seq + 1,
                at: self.now,
                actor: Actor::agent("h"),
                version: EVENT_VERSION,
                event,
                previous_hash: String::new(),
                hash: String::new(),
            };
            apply(&mut self.state, &record);
            self.log.push(record);
        }
        let mut replayed = State::default();
        self.log.iter().for_each(|record| apply(&mut replayed, record));
        assert_eq!(replayed, self.state, "state is nothing but the events applied in order");
    }

    pub(super) fn context<T>(&mut self, ask: impl FnOnce(&Context<'_>) -> T) -> T {
        self.unique += 257;
        ask(&Context {
            state: &self.state,
            seen: &self.seen,
            definitions: &self.definitions,
            now: self.now,
            unique: self.unique,
        })
    }

    pub(super) fn observe(&mut self, observation: Observation) {
        let events = self.context(|context| observe::observation(context, observation));
        self.commit(events);
        self.settle();
    }

    pub(super) fn settle(&mut self) {
        for _ in 0..10 {
            let events = self.context(react::settle);
            if events.is_empty() {
                return;
            }
            self.commit(events);
        }
        panic!("the rules do not settle: {:?}", self.log.last());
    }

    pub(super) fn command(&mut self, command: &Command) -> Result<(), crate::domain::command::Refusal> {
        let ana = Actor {
            name: "ana".into(),
            host: "h".into(),
            via: "cli".into(),
        };
        let events = self.context(|context| decide::command(context, &ana, command, LookedUp::default()))?;
        self.commit(events);
        self.settle();
        Ok(())
    }

    pub(super) fn wait(&mut self, seconds: i64) {
        self.now += chrono::Duration::seconds(seconds);
        self.settle();
    }

    pub(super) fn effects(&self) -> Vec<Effect> {
        react::effects(&self.state, &self.definitions, self.now)
    }

    /// Begins what is ready and returns the run.
    pub(super) fn begin(&mut self) -> RunId {
        let Some(Effect::ExecuteRun(run)) = self.effects().first().cloned() else {
            panic!("nothing to begin")
        };
        self.observe(Observation::RunStarting { run: run.clone() });
        run
    }

    pub(super) fn end(&mut self, run: &RunId, outcome: Outcome) {
        let ok = matches!(outcome, Outcome::Succeeded | Outcome::Partial);
        let result = RunResult {
            outcome,
            stats: RunStats::default(),
            snapshot: ok.then(|| self.snapshot(outcome == Outcome::Partial)),
            error: (outcome != Outcome::Succeeded).then(|| Failure::transient("it broke")),
            item_errors: Vec::new(),
        };
        self.observe(Observation::RunEnded {
            run: run.clone(),
            result: Box::new(result),
        });
    }

    pub(super) fn snapshot(&self, partial: bool) -> SnapshotRecord {
        SnapshotRecord {
            id: SnapshotId(format!("{:064x}", self.state.seq)),
            repository: "near".into(),
            source: Some("docs".into()),
            job: Some("docs".into()),
            run: None,
            kind: "files".into(),
            taken_at: self.now,
            committed_at: self.now,
            host: "h".into(),
            paths: Vec::new(),
            tags: Vec::new(),
            comment: None,
            size: Bytes(1 << 30),
            added: Bytes(1),
            files: 1,
            changes: None,
            duration: Millis(1),
            partial,
            errors: 0,
            database: None,
            evidence: written_evidence(self.now),
            cluster: None,
            vanished_at: None,
            pinned: None,
            forgotten: None,
            replaced_by: None,
            expiry: None,
        }
    }

    pub(super) fn back_up(&mut self, outcome: Outcome) {
        self.command(&Command::RunJob { job: "docs".into() }).unwrap();
        let run = self.begin();
        self.end(&run, outcome);
    }

    pub(super) fn open(&self) -> Vec<AlertKind> {
        self.state.alerts.values().map(|alert| alert.kind).collect()
    }

    pub(super) fn job(&self) -> &crate::domain::state::JobFacts {
        &self.state.jobs[&JobName::from("docs")]
    }

    pub(super) fn rpo(&self) -> crate::domain::objective::RpoGauge {
        gauge::rpo(
            &self.state,
            &self.seen,
            &self.definitions,
            self.definitions.services.values().next().unwrap(),
            self.now,
        )
    }
}
