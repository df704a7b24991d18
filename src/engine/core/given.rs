//! What the core is given when it begins, what it is told while it runs, and what it keeps of work that goes on.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::command::{Actor, Command, Observation};
use crate::domain::decide::LookedUp;
use crate::domain::event::EventRecord;
use crate::domain::follow_up::ServerSeen;
use crate::domain::id::{ClusterName, RecoveryId, RepositoryName, RunbookName, RunbookRunId, SourceName};
use crate::domain::job::Definitions;
use crate::domain::pitr::Looked;
use crate::domain::run::Failure;
use crate::domain::runbook::view::Readiness;
use crate::domain::state::State;
use crate::domain::units::Timestamp;
use crate::domain::view::{Overview, Receipt};
use crate::engine::hands::{ClusterLook, Hands, Listing, Practice, Work};
use crate::engine::{Engine, EngineError};
use crate::journal::Journal;
use crate::repo::rate::Sampler;

/// What the core is told.
pub enum Input {
    Command {
        actor: Actor,
        command: Box<Command>,
        looked_up: Box<LookedUp>,
        reply: oneshot::Sender<Result<Receipt, EngineError>>,
    },
    Observed(Observation),
    Listed {
        repository: RepositoryName,
        /// How often the repository had been touched when the listing began.
        touched: u64,
        result: Result<(Listing, Observation), Failure>,
    },
    LookedAtServer {
        recovery: RecoveryId,
        result: Result<Option<ServerSeen>, Failure>,
    },
    LookedAtLog {
        which: super::sight::Which,
        began: std::time::Instant,
        result: Result<Looked, Failure>,
    },
    LookedAtCluster {
        cluster: ClusterName,
        began: Timestamp,
        result: Result<Box<ClusterLook>, Failure>,
    },
    Receiver {
        source: SourceName,
        number: u64,
        trouble: Option<String>,
    },
    ReceiverEnded {
        source: SourceName,
        number: u64,
        result: Result<(), Failure>,
    },
    Ready {
        name: RunbookName,
        found: Option<Readiness>,
    },
    StepTold {
        run: RunbookRunId,
        line: String,
    },
    Definitions(Result<Box<Definitions>, String>),
    ClientsChanged,
    Stop {
        reason: String,
        reply: oneshot::Sender<()>,
    },
}

/// A piece of work that is going on.
pub struct Live {
    pub cancel: CancellationToken,
    pub progress: Arc<std::sync::OnceLock<Sampler>>,
}

impl Live {
    /// What is kept of work while it goes on.
    pub fn of(work: &Work) -> Self {
        Self {
            cancel: work.cancel.clone(),
            progress: work.progress.clone(),
        }
    }
}

/// What the core is given.
pub struct Parts {
    pub journal: Journal,
    pub hands: Arc<dyn Hands>,
    pub practice: Option<Arc<dyn Practice>>,
    pub clock: Clock,
    pub agent: Actor,
    pub clients: Arc<AtomicU64>,
    pub definitions: watch::Sender<Arc<Definitions>>,
    pub state: watch::Sender<Arc<State>>,
    pub overview: watch::Sender<Arc<Overview>>,
    pub events: broadcast::Sender<Arc<EventRecord>>,
    pub inbox: mpsc::UnboundedReceiver<Input>,
    pub outbox: mpsc::UnboundedSender<Input>,
    pub engine: Engine,
    /// Where reports of runbooks go.
    pub reports: std::path::PathBuf,
}
