//! Decide → journal → react → effects: the only room that acts.

pub mod error;

use std::sync::Arc;

use tokio::sync::{broadcast, watch};

pub use error::EngineError;

use crate::domain::alert::AlertRecord;
use crate::domain::command::{Actor, Command};
use crate::domain::event::EventRecord;
use crate::domain::recovery::{RecoveryPlan, RecoveryRecord, RecoveryRequest};
use crate::domain::run::RunRecord;
use crate::domain::snapshot::SnapshotRecord;
use crate::domain::view::{Overview, Page, Query, Receipt, TreeEntryView};

/// A handle on the running engine; cheap to clone. All that the API may do goes through it.
#[derive(Debug, Clone)]
pub struct Engine {
    overview: watch::Receiver<Arc<Overview>>,
    events: broadcast::Sender<Arc<EventRecord>>,
}

type Answer<T> = Result<T, EngineError>;

#[expect(clippy::unused_async, reason = "the signatures other rooms build on")]
impl Engine {
    /// The latest picture; the receiver wakes when there is a new one.
    pub fn overview(&self) -> watch::Receiver<Arc<Overview>> {
        self.overview.clone()
    }

    /// Events from now on, as they are appended.
    pub fn events(&self) -> broadcast::Receiver<Arc<EventRecord>> {
        self.events.subscribe()
    }

    /// Decides a person's command; when this returns, its events are durable.
    pub async fn submit(&self, _actor: Actor, _command: Command) -> Answer<Receipt> {
        Err(EngineError::Stopping)
    }

    /// Says what a recovery would do.
    pub async fn plan(&self, _request: RecoveryRequest) -> Answer<RecoveryPlan> {
        Err(EngineError::Stopping)
    }

    /// A page of runs that have ended.
    pub async fn runs(&self, _query: Query) -> Answer<Page<RunRecord>> {
        Err(EngineError::Stopping)
    }

    /// A page of snapshots.
    pub async fn snapshots(&self, _query: Query) -> Answer<Page<SnapshotRecord>> {
        Err(EngineError::Stopping)
    }

    /// A page of recoveries that have ended.
    pub async fn recoveries(&self, _query: Query) -> Answer<Page<RecoveryRecord>> {
        Err(EngineError::Stopping)
    }

    /// A page of alerts, resolved ones included.
    pub async fn alerts(&self, _query: Query) -> Answer<Page<AlertRecord>> {
        Err(EngineError::Stopping)
    }

    /// A page of the journal.
    pub async fn journal(&self, _query: Query) -> Answer<Page<EventRecord>> {
        Err(EngineError::Stopping)
    }

    /// The log of a run, a line each.
    pub async fn run_log(&self, _run: &str) -> Answer<String> {
        Err(EngineError::Stopping)
    }

    /// One directory of a snapshot.
    pub async fn snapshot_tree(&self, _snapshot: &str, _path: &str) -> Answer<Vec<TreeEntryView>> {
        Err(EngineError::Stopping)
    }

    /// The first bytes of a file in a snapshot.
    pub async fn snapshot_content(&self, _snapshot: &str, _path: &str, _limit: u64) -> Answer<Vec<u8>> {
        Err(EngineError::Stopping)
    }

    /// Breaks something on purpose; refused outside the sandbox.
    pub async fn practice(&self, _incident: &str) -> Answer<String> {
        Err(EngineError::Stopping)
    }

    /// Counts a client in for as long as the guard lives.
    pub fn attach_client(&self) -> ClientGuard {
        ClientGuard
    }

    /// Ends the engine in good order: running work is stopped as interrupted, the journal closed.
    pub async fn stop(&self, _reason: &str) -> Answer<()> {
        Err(EngineError::Stopping)
    }
}

/// One attached client.
#[derive(Debug)]
pub struct ClientGuard;
