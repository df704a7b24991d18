//! Decide → journal → react → effects: the only room that acts.
//!
//! One task owns the state ([`core`]). It takes commands and observations one at a time, decides them with the pure
//! functions of [`crate::domain`], appends the events, applies them, and begins the work the new state calls for. Work
//! runs beside it and only ever sends observations back.
//!
//! **Promises.** A command that was answered is durable. Work that has begun is in the journal as begun. One run per job
//! at a time, no more runs and recoveries at once than the limits say. After `kill -9`, the next start records what was
//! running as interrupted and goes on. Stopping takes at most a few seconds.
//!
//! **Never.** It never acts directly on something from outside, never lets an effect change the state, and never waits
//! for a console: pictures and events are handed out, and who is slow sees fewer of them.

mod clusters;
mod core;
pub mod error;
mod failure;
pub mod hands;
mod keep;
mod listing;
mod log;
mod look_up;
mod overview;
mod runbooks;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use self::core::{Core, Input, Parts};
pub use error::EngineError;
use hands::{Hands, Practice};

use crate::clock::Clock;
use crate::domain::Bytes;
use crate::domain::alert::AlertRecord;
use crate::domain::cluster::ClusterView;
use crate::domain::command::{Actor, Command, Observation, Refusal};
use crate::domain::event::EventRecord;
use crate::domain::job::{Definitions, RepositoryDefinition};
use crate::domain::recovery::{RecoveryPlan, RecoveryRecord, RecoveryRequest};
use crate::domain::run::RunRecord;
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::state::State;
use crate::domain::view::{AgentView, Overview, Page, Query, Receipt, TreeEntryView};
use crate::journal::{Journal, JournalError};

/// How many events a slow listener may lag behind before it misses some.
const EVENTS_KEPT: usize = 1024;

/// What an engine is started with.
#[derive(Clone)]
pub struct EngineOptions {
    /// What is configured.
    pub definitions: Definitions,
    /// Where it was read.
    pub config_path: Option<PathBuf>,
    /// The journal's file.
    pub journal: PathBuf,
    /// Where run logs and scratch directories go.
    pub state_dir: PathBuf,
    /// The clock.
    pub clock: Clock,
    /// The name of this machine.
    pub host: String,
    /// What it acts with; the real thing when absent.
    pub hands: Option<Arc<dyn Hands>>,
    /// What breaks things on purpose; only in the sandbox.
    pub practice: Option<Arc<dyn Practice>>,
}

impl std::fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineOptions")
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

/// A handle on the running engine; cheap to clone. All that the API may do goes through it.
#[derive(Clone)]
pub struct Engine {
    overview: watch::Receiver<Arc<Overview>>,
    state: watch::Receiver<Arc<State>>,
    definitions: watch::Receiver<Arc<Definitions>>,
    events: broadcast::Sender<Arc<EventRecord>>,
    inbox: mpsc::UnboundedSender<Input>,
    journal: Journal,
    hands: Arc<dyn Hands>,
    practice: Option<Arc<dyn Practice>>,
    clients: Arc<AtomicU64>,
    logs: PathBuf,
    clusters: Arc<clusters::Clusters>,
    clock: Clock,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("journal", &self.journal.path())
            .finish_non_exhaustive()
    }
}

type Answer<T> = Result<T, EngineError>;

impl Engine {
    /// Opens the journal, records what an earlier agent left running as interrupted, and begins to work.
    ///
    /// # Errors
    /// When the journal cannot be opened: another agent holds it, its file is damaged, the disk is full.
    pub async fn start(options: EngineOptions) -> Answer<Self> {
        let (journal, state) = Journal::open(&options.journal).await.map_err(|error| failed(&error))?;
        let snapshots = journal.snapshot_counts().await.map_err(|error| failed(&error))?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let clock = options.clock.clone();
        let agent = AgentView {
            version: version.clone(),
            host: options.host.clone(),
            pid: std::process::id(),
            started_at: clock.now(),
            config_path: options.config_path.as_ref().map(|path| path.display().to_string()),
            clients: 0,
            guards: Vec::new(),
        };
        let own_clock = options.clock.clone();
        let looks = clusters::Clusters::new(options.state_dir.clone(), clock.clone());
        let beside = overview::Beside::new(agent, snapshots);
        let definitions = Arc::new(options.definitions);
        let picture = overview::draw(&state, &definitions, &beside, clock.now());
        let hands = options
            .hands
            .unwrap_or_else(|| work::Worker::boxed(&options.state_dir, clock.clone(), &options.host));
        let (overview_out, overview) = watch::channel(picture);
        let (state_out, state_in) = watch::channel(Arc::new(state.clone()));
        let (definitions_out, definitions_in) = watch::channel(definitions);
        let events = broadcast::channel(EVENTS_KEPT).0;
        let (inbox, inputs) = mpsc::unbounded_channel();
        let clients = Arc::new(AtomicU64::new(0));
        let engine = Self {
            overview,
            state: state_in,
            definitions: definitions_in,
            events: events.clone(),
            inbox: inbox.clone(),
            journal: journal.clone(),
            hands: hands.clone(),
            practice: options.practice.clone(),
            clients: clients.clone(),
            logs: log::directory(&options.state_dir),
            clusters: Arc::new(looks),
            clock: own_clock,
        };
        let parts = Parts {
            journal,
            hands,
            practice: options.practice,
            clock,
            agent: Actor::agent(&options.host),
            clients,
            definitions: definitions_out,
            state: state_out,
            overview: overview_out,
            events,
            inbox: inputs,
            outbox: inbox,
            engine: engine.clone(),
            reports: options.state_dir.join("reports"),
        };
        let unique = getrandom::u32().unwrap_or(std::process::id());
        let started = Observation::AgentStarted {
            version,
            host: options.host,
            pid: std::process::id(),
        };
        let (ready, began) = oneshot::channel();
        tokio::spawn(Core::new(parts, state, beside, unique).run(started, ready));
        began.await.map_err(|_| EngineError::Stopping)?;
        Ok(engine)
    }

    /// The latest picture; the receiver wakes when there is a new one.
    pub fn overview(&self) -> watch::Receiver<Arc<Overview>> {
        self.overview.clone()
    }

    /// What is live, as it is.
    pub fn state(&self) -> Arc<State> {
        self.state.borrow().clone()
    }

    /// Events from now on, as they are appended.
    pub fn events(&self) -> broadcast::Receiver<Arc<EventRecord>> {
        self.events.subscribe()
    }

    /// Decides a person's command; when this returns, its events are durable.
    ///
    /// # Errors
    /// Refused with a reason, or the journal could not be written.
    pub async fn submit(&self, actor: Actor, command: Command) -> Answer<Receipt> {
        let looked_up = self.look_up(&command).await?;
        let (reply, answer) = oneshot::channel();
        let input = Input::Command {
            actor,
            command: Box::new(command),
            looked_up: Box::new(looked_up),
            reply,
        };
        self.inbox.send(input).map_err(|_| EngineError::Stopping)?;
        answer.await.map_err(|_| EngineError::Stopping)?
    }

    /// Says what a recovery would do.
    ///
    /// # Errors
    /// When there is no such snapshot, or its repository or the target cannot be reached.
    pub async fn plan(&self, request: RecoveryRequest) -> Answer<RecoveryPlan> {
        let snapshot = self.snapshot(request.snapshot.as_str()).await?;
        let request = RecoveryRequest {
            snapshot: snapshot.id.clone(),
            ..request
        };
        let definitions = self.definitions.borrow().clone();
        let facts = snapshot
            .source
            .as_ref()
            .and_then(|source| self.state.borrow().sources.get(source).cloned());
        self.hands
            .plan(definitions, request, snapshot, facts)
            .await
            .map_err(EngineError::Failed)
    }

    /// One snapshot, by its id or the beginning of it.
    ///
    /// # Errors
    /// When there is none, or several.
    pub async fn snapshot(&self, id: &str) -> Answer<SnapshotRecord> {
        self.journal.snapshot(id).await.map_err(|error| failed(&error))
    }

    /// A page of runs that have ended.
    pub async fn runs(&self, query: Query) -> Answer<Page<RunRecord>> {
        self.journal.runs(&query).await.map_err(|error| failed(&error))
    }

    /// A page of snapshots, each with what retention says of it.
    pub async fn snapshots(&self, query: Query) -> Answer<Page<SnapshotRecord>> {
        let page = self.journal.snapshots(&query).await.map_err(|error| failed(&error))?;
        self.with_expiry(page).await
    }

    /// A page of recoveries that have ended.
    pub async fn recoveries(&self, query: Query) -> Answer<Page<RecoveryRecord>> {
        self.journal.recoveries(&query).await.map_err(|error| failed(&error))
    }

    /// A page of alerts, resolved ones included.
    pub async fn alerts(&self, query: Query) -> Answer<Page<AlertRecord>> {
        self.journal.alerts(&query).await.map_err(|error| failed(&error))
    }

    /// A page of the journal.
    pub async fn journal(&self, query: Query) -> Answer<Page<EventRecord>> {
        self.journal.events(&query).await.map_err(|error| failed(&error))
    }

    /// The log of a run, a line each.
    ///
    /// # Errors
    /// When there is no such run, or its log has been removed.
    pub async fn run_log(&self, run: &str) -> Answer<String> {
        log::read(&self.logs, run).await.map_err(EngineError::Refused)
    }

    /// What the clusters look like now.
    pub async fn clusters(&self) -> Answer<Vec<ClusterView>> {
        let definitions = self.definitions.borrow().clone();
        Ok(self.clusters.look(&definitions).await)
    }

    /// One directory of a snapshot.
    pub async fn snapshot_tree(&self, snapshot: &str, path: &str) -> Answer<Vec<TreeEntryView>> {
        let (repository, id) = self.repository_of(snapshot).await?;
        self.hands
            .tree(repository, id, path.to_owned())
            .await
            .map_err(EngineError::Failed)
    }

    /// The first bytes of a file in a snapshot.
    pub async fn snapshot_content(&self, snapshot: &str, path: &str, limit: u64) -> Answer<Vec<u8>> {
        let (repository, id) = self.repository_of(snapshot).await?;
        self.hands
            .content(repository, id, path.to_owned(), Bytes(limit))
            .await
            .map_err(EngineError::Failed)
    }

    async fn repository_of(&self, snapshot: &str) -> Answer<(RepositoryDefinition, String)> {
        let record = self.snapshot(snapshot).await?;
        let repository = self.definitions.borrow().repositories.get(&record.repository).cloned();
        let repository = repository.ok_or_else(|| {
            EngineError::Refused(Refusal::not_found(
                format!("repository {} is no longer in the configuration", record.repository),
                "add it again, or read it with --repository",
            ))
        })?;
        Ok((repository, record.id.0))
    }

    /// Breaks something on purpose; refused outside the sandbox.
    pub async fn practice(&self, incident: &str) -> Answer<String> {
        let Some(practice) = &self.practice else {
            return Err(EngineError::Refused(Refusal::interlock(
                "this is not a sandbox; nothing is broken here on purpose",
                "practise with: lifeboat demo",
            )));
        };
        practice.act(incident.to_owned()).await.map_err(EngineError::Failed)
    }

    /// Puts new definitions in force, or shows why they could not be read; the ones before stay in force then.
    pub fn reload(&self, definitions: Result<Definitions, String>) {
        let _ = self.inbox.send(Input::Definitions(definitions.map(Box::new)));
    }

    /// Counts a client in for as long as the guard lives.
    pub fn attach_client(&self) -> ClientGuard {
        self.clients.fetch_add(1, Ordering::Relaxed);
        let _ = self.inbox.send(Input::ClientsChanged);
        ClientGuard {
            clients: self.clients.clone(),
            inbox: self.inbox.clone(),
        }
    }

    /// Ends the engine in good order: running work is stopped as interrupted, the journal closed.
    pub async fn stop(&self, reason: &str) -> Answer<()> {
        let (reply, done) = oneshot::channel();
        self.inbox
            .send(Input::Stop {
                reason: reason.to_owned(),
                reply,
            })
            .map_err(|_| EngineError::Stopping)?;
        done.await.map_err(|_| EngineError::Stopping)
    }
}

fn failed(error: &JournalError) -> EngineError {
    failure::journal_refusal(error)
        .map_or_else(|| EngineError::Failed(failure::of_journal(error)), EngineError::Refused)
}

/// One attached client; counts itself out when dropped.
#[derive(Debug)]
pub struct ClientGuard {
    clients: Arc<AtomicU64>,
    inbox: mpsc::UnboundedSender<Input>,
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
        let _ = self.inbox.send(Input::ClientsChanged);
    }
}

#[cfg(test)]
mod tests;
