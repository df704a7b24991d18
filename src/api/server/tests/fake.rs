//! An engine that remembers what it was asked and answers something recognisable.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{broadcast, watch};

use crate::api::backend::Backend;
use crate::api::types::{AgentView, Overview, Page, Query, Receipt, RetentionPlan, TreeEntryView};
use crate::domain::Bytes;
use crate::domain::alert::AlertRecord;
use crate::domain::command::{Actor, Command, Refusal};
use crate::domain::event::{EVENT_VERSION, Event, EventRecord};
use crate::domain::id::RunId;
use crate::domain::maintenance::MaintenanceRecord;
use crate::domain::recovery::{RecoveryPlan, RecoveryRecord, RecoveryRequest};
use crate::domain::run::{Failure, RunRecord};
use crate::domain::runbook::view::{Readiness, RunbookPlan};
use crate::domain::runbook::{Runbook, RunbookRecord, StartRunbook};
use crate::domain::snapshot::SnapshotRecord;
use crate::engine::EngineError;

type Answer<T> = Result<T, EngineError>;

#[derive(Debug)]
pub struct Fake {
    pub pictures: watch::Sender<Arc<Overview>>,
    pub events: broadcast::Sender<Arc<EventRecord>>,
    pub asked: Mutex<Vec<String>>,
    pub attached: AtomicUsize,
}

impl Fake {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            pictures: watch::channel(Arc::new(overview(1))).0,
            events: broadcast::channel(64).0,
            asked: Mutex::default(),
            attached: AtomicUsize::new(0),
        })
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }
}

pub fn overview(seq: u64) -> Overview {
    Overview {
        seq,
        at: "2026-03-01T12:00:00Z".parse().unwrap(),
        site: "eu-west".to_owned(),
        environment: "PROD".to_owned(),
        agent: AgentView {
            version: "0.1.0".to_owned(),
            host: "db1".to_owned(),
            pid: 42,
            started_at: "2026-03-01T11:00:00Z".parse().unwrap(),
            config_path: None,
            clients: 0,
            guards: Vec::new(),
        },
        read_only: false,
        services: vec![],
        alerts: vec![],
        jobs: vec![],
        runs: vec![],
        recoveries: vec![],
        maintenance: vec![],
        logs: Vec::new(),
        waiting: Vec::new(),
        restore_points: std::collections::BTreeMap::new(),
        drills: Vec::new(),
        runbooks: Vec::new(),
        executions: Vec::new(),
        repositories: vec![],
        config_error: None,
        journal_error: None,
        practice: None,
    }
}

pub fn event(seq: u64) -> Arc<EventRecord> {
    Arc::new(EventRecord {
        seq,
        at: "2026-03-01T12:00:00Z".parse().unwrap(),
        actor: Actor::agent("db1"),
        version: EVENT_VERSION,
        event: Event::AgentStopped {
            reason: "test".to_owned(),
        },
        previous_hash: "0".repeat(64),
        hash: "1".repeat(64),
    })
}

#[derive(Debug)]
pub struct Attached(Arc<Fake>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.attached.fetch_sub(1, Ordering::SeqCst);
    }
}

fn empty<T>() -> Page<T> {
    Page {
        items: vec![],
        next: Some("next".to_owned()),
    }
}

impl Backend for Arc<Fake> {
    type Guard = Attached;

    fn overview(&self) -> watch::Receiver<Arc<Overview>> {
        self.pictures.subscribe()
    }
    fn events(&self) -> broadcast::Receiver<Arc<EventRecord>> {
        self.events.subscribe()
    }
    fn attach_client(&self) -> Attached {
        self.attached.fetch_add(1, Ordering::SeqCst);
        Attached(Self::clone(self))
    }
    async fn submit(&self, actor: Actor, command: Command) -> Answer<Receipt> {
        self.note(format!("{} {}", actor.name, command.word()));
        match command {
            Command::RunJob { job } if job.as_str() == "missing" => Err(EngineError::Refused(Refusal::not_found(
                "there is no job missing",
                "look",
            ))),
            Command::RunJob { job } if job.as_str() == "busy" => {
                Err(EngineError::Refused(Refusal::conflict("job busy is running", None)))
            }
            Command::RunJob { job } if job.as_str() == "danger" => Err(EngineError::Refused(Refusal::interlock(
                "that would overwrite a live server",
                "choose another target",
            ))),
            Command::RunJob { job } if job.as_str() == "broken" => {
                Err(EngineError::Failed(Failure::permanent("the disk is full", "make room")))
            }
            _ => Ok(Receipt {
                seq: 7,
                run: Some(RunId::from("run-1")),
                ..Receipt::default()
            }),
        }
    }
    async fn plan(&self, request: RecoveryRequest) -> Answer<RecoveryPlan> {
        self.note(format!("plan {}", request.snapshot));
        Err(EngineError::Stopping)
    }
    async fn plan_runbook(&self, _actor: Actor, wish: StartRunbook) -> Answer<RunbookPlan> {
        self.note(format!("plan runbook {}", wish.runbook));
        Err(EngineError::Stopping)
    }
    async fn runbook(&self, name: &str) -> Answer<Runbook> {
        self.note(format!("runbook {name}"));
        Err(EngineError::Stopping)
    }
    async fn ask_readiness(&self, name: &str) -> Answer<Readiness> {
        self.note(format!("readiness of {name}"));
        Err(EngineError::Stopping)
    }
    async fn executions(&self, _query: Query) -> Answer<Page<RunbookRecord>> {
        Ok(empty())
    }
    async fn runs(&self, query: Query) -> Answer<Page<RunRecord>> {
        self.note(format!("runs {query:?}"));
        Ok(empty())
    }
    async fn snapshots(&self, query: Query) -> Answer<Page<SnapshotRecord>> {
        self.note(format!("snapshots {query:?}"));
        Ok(empty())
    }
    async fn recoveries(&self, _query: Query) -> Answer<Page<RecoveryRecord>> {
        Ok(empty())
    }
    async fn alerts(&self, _query: Query) -> Answer<Page<AlertRecord>> {
        Ok(empty())
    }
    async fn maintenance(&self, query: Query) -> Answer<Page<MaintenanceRecord>> {
        self.note(format!("maintenance {query:?}"));
        Ok(empty())
    }
    async fn retention(&self, job: &str) -> Answer<RetentionPlan> {
        Ok(RetentionPlan {
            job: job.into(),
            policy: None,
            decisions: vec![],
            over: None,
        })
    }
    async fn journal(&self, _query: Query) -> Answer<Page<EventRecord>> {
        Ok(Page {
            items: vec![event(3).as_ref().clone()],
            next: None,
        })
    }
    async fn run_log(&self, run: &str) -> Answer<String> {
        Ok(format!("log of {run}\n"))
    }
    async fn clusters(&self) -> Answer<Vec<crate::domain::cluster::ClusterView>> {
        Ok(Vec::new())
    }

    async fn snapshot_tree(&self, snapshot: &str, path: &str) -> Answer<Vec<TreeEntryView>> {
        Ok(vec![TreeEntryView {
            name: format!("{snapshot}:{path}"),
            kind: "file".to_owned(),
            size: Bytes(3),
            mode: "-rw-r--r--".to_owned(),
            modified: None,
            link_target: None,
        }])
    }
    async fn snapshot_content(&self, _snapshot: &str, path: &str, limit: u64) -> Answer<Vec<u8>> {
        Ok([path.as_bytes(), &[0, 0xff], limit.to_string().as_bytes()].concat())
    }
    async fn practice(&self, incident: &str) -> Answer<String> {
        self.note(format!("practice {incident}"));
        Ok(format!("broke {incident}"))
    }
    fn stop(&self, reason: &str) -> impl Future<Output = Answer<()>> + Send {
        self.note(format!("stop {reason}"));
        std::future::ready(Ok(()))
    }
}
