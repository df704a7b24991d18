//! What the server asks of the engine; a trait, so that the server is tested without one.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{broadcast, watch};

use super::types::{Overview, Page, Query, Receipt, RetentionPlan, TreeEntryView};
use crate::domain::alert::AlertRecord;
use crate::domain::cluster::ClusterView;
use crate::domain::command::{Actor, Command};
use crate::domain::event::EventRecord;
use crate::domain::maintenance::MaintenanceRecord;
use crate::domain::recovery::{RecoveryPlan, RecoveryRecord, RecoveryRequest};
use crate::domain::run::RunRecord;
use crate::domain::runbook::view::{Readiness, RunbookPlan};
use crate::domain::runbook::{Runbook, RunbookRecord, StartRunbook};
use crate::domain::snapshot::SnapshotRecord;
use crate::engine::{ClientGuard, Engine, EngineError};

type Answer<T> = Result<T, EngineError>;

macro_rules! backend {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)+) => {
        /// The engine as the server sees it.
        pub trait Backend: Clone + Send + Sync + 'static {
            /// Held for as long as a client is attached.
            type Guard: Send + 'static;

            /// The latest picture; the receiver wakes when there is a new one.
            fn overview(&self) -> watch::Receiver<Arc<Overview>>;
            /// Events from now on.
            fn events(&self) -> broadcast::Receiver<Arc<EventRecord>>;
            /// Counts a client in.
            fn attach_client(&self) -> Self::Guard;
            $($(#[$doc])* fn $name(&self, $($argument: $type),*) -> impl Future<Output = Answer<$result>> + Send;)+
        }

        impl Backend for Engine {
            type Guard = ClientGuard;

            fn overview(&self) -> watch::Receiver<Arc<Overview>> {
                Engine::overview(self)
            }

            fn events(&self) -> broadcast::Receiver<Arc<EventRecord>> {
                Engine::events(self)
            }

            fn attach_client(&self) -> ClientGuard {
                Engine::attach_client(self)
            }

            $(fn $name(&self, $($argument: $type),*) -> impl Future<Output = Answer<$result>> + Send {
                Engine::$name(self, $($argument),*)
            })+
        }
    };
}

backend! {
    /// Decides a person's command.
    fn submit(actor: Actor, command: Command) -> Receipt;
    /// Says what a recovery would do.
    fn plan(request: RecoveryRequest) -> RecoveryPlan;
    /// Says what an execution of a runbook would do.
    fn plan_runbook(actor: Actor, wish: StartRunbook) -> RunbookPlan;
    /// The document of a runbook.
    fn runbook(name: &str) -> Runbook;
    /// Whether a runbook could be begun, asked now.
    fn ask_readiness(name: &str) -> Readiness;
    /// A page of executions of runbooks that have ended.
    fn executions(query: Query) -> Page<RunbookRecord>;
    /// A page of runs that have ended.
    fn runs(query: Query) -> Page<RunRecord>;
    /// A page of snapshots.
    fn snapshots(query: Query) -> Page<SnapshotRecord>;
    /// A page of recoveries that have ended.
    fn recoveries(query: Query) -> Page<RecoveryRecord>;
    /// A page of alerts.
    fn alerts(query: Query) -> Page<AlertRecord>;
    /// A page of maintenance that has ended.
    fn maintenance(query: Query) -> Page<MaintenanceRecord>;
    /// What the retention of a job keeps.
    fn retention(job: &str) -> RetentionPlan;
    /// A page of the journal.
    fn journal(query: Query) -> Page<EventRecord>;
    /// The log of a run.
    fn run_log(run: &str) -> String;
    /// What the clusters look like now.
    fn clusters() -> Vec<ClusterView>;
    /// One directory of a snapshot.
    fn snapshot_tree(snapshot: &str, path: &str) -> Vec<TreeEntryView>;
    /// The first bytes of a file in a snapshot.
    fn snapshot_content(snapshot: &str, path: &str, limit: u64) -> Vec<u8>;
    /// Breaks something on purpose.
    fn practice(incident: &str) -> String;
    /// Ends the engine in good order.
    fn stop(reason: &str) -> ();
}
