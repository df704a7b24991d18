//! The one task that owns the state: it takes commands and observations in turn, decides, appends, applies, reacts.
//!
//! **Durable before acting.** Events are in the journal before they change the state, and the start of a piece of work is
//! in the journal before the work begins. **Nothing is lost when the journal cannot be written**: a command is answered
//! with the error, an observation waits and is tried again.

mod begin;
mod commit;
#[cfg(debug_assertions)]
mod crash;
mod drills;
mod ends;
mod follow_ups;
mod given;
mod health;
mod keep;
pub(super) mod readiness;
mod receivers;
mod shown;
mod sight;
mod steps;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use self::ends::is_cut_off;
use self::given::Live;
pub(super) use self::given::{Input, Parts};
use super::overview::Beside;
use crate::domain::command::{Actor, Observation};
use crate::domain::decide::Context;
use crate::domain::id::{MaintenanceId, RecoveryId, RepositoryName, RunId};
use crate::domain::job::Definitions;
use crate::domain::observe;
use crate::domain::react;
use crate::domain::state::State;
use crate::domain::units::{Millis, Timestamp};

/// How often progress is drawn while somebody watches.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// How long work may take to end when the agent stops.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// The wait before an observation that could not be journalled is tried again.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);
/// How often a repository that answers is listed.
const LIST_EVERY: chrono::Duration = chrono::Duration::seconds(300);
/// How often one that does not is tried.
const LIST_AGAIN: chrono::Duration = chrono::Duration::seconds(60);
/// A clock that is kept right by small steps was not set back.
const CLOCK_SLEWS: Millis = Millis::from_secs(1);
/// How often the state may call for more at one moment; more is a rule that never settles.
const SETTLE_ROUNDS: usize = 32;

/// The owner of the state.
pub(super) struct Core {
    parts: Parts,
    state: State,
    beside: Beside,
    unique: u32,
    runs: BTreeMap<RunId, Live>,
    recoveries: BTreeMap<RecoveryId, Live>,
    follow_ups: follow_ups::FollowUps,
    maintenance: BTreeMap<MaintenanceId, Live>,
    /// How often maintenance began or ended, by repository: a listing that saw only half of it is known by this.
    touched: BTreeMap<RepositoryName, u64>,
    waiting: VecDeque<Observation>,
    next_listing: BTreeMap<RepositoryName, Timestamp>,
    watches: sight::Watches,
    receivers: receivers::Receivers,
    steps: steps::Steps,
    readiness: readiness::Looks,
    healths: health::Healths,
    tasks: TaskTracker,
    stopping: bool,
    /// The wall clock at the last turn.
    latest: Timestamp,
}

impl Core {
    /// Takes over a state that was just read from the journal.
    pub fn new(parts: Parts, state: State, beside: Beside, unique: u32) -> Self {
        Self {
            latest: parts.clock.now(),
            parts,
            state,
            beside,
            unique,
            runs: BTreeMap::new(),
            recoveries: BTreeMap::new(),
            follow_ups: follow_ups::FollowUps::default(),
            maintenance: BTreeMap::new(),
            touched: BTreeMap::new(),
            waiting: VecDeque::new(),
            next_listing: BTreeMap::new(),
            watches: sight::Watches::default(),
            receivers: receivers::Receivers::default(),
            steps: steps::Steps::default(),
            readiness: readiness::Looks::default(),
            healths: health::Healths::default(),
            tasks: TaskTracker::new(),
            stopping: false,
        }
    }

    /// Records that the agent began, says so, and runs until it is told to stop.
    pub async fn run(mut self, started: Observation, ready: oneshot::Sender<()>) {
        let definitions = self.definitions();
        self.waiting.push_back(started);
        let reaper = self.parts.hands.clone();
        self.tasks.spawn(async move { reaper.reap(definitions).await });
        self.turn().await;
        let (reports, engine) = (self.parts.reports.clone(), self.parts.engine.clone());
        self.tasks.spawn(steps::keep_missing_reports(reports, engine));
        let _ = ready.send(());
        let mut progress = None;
        loop {
            let wake = self.next_wake();
            let watched = self.parts.clients.load(Ordering::Relaxed) > 0;
            let idle = self.runs.is_empty()
                && self.recoveries.is_empty()
                && self.follow_ups.are_idle()
                && self.maintenance.is_empty();
            let busy = !idle || self.steps.is_busy();
            if !(watched && busy) {
                progress = None;
            } else if progress.is_none() {
                progress = Some(Box::pin(self.parts.clock.clone().sleep_owned(PROGRESS_EVERY)));
            }
            let clock = self.parts.clock.clone();
            tokio::select! {
                biased;
                input = self.parts.inbox.recv() => match input {
                    Some(Input::Stop { reason, reply }) => {
                        self.stop(reason).await;
                        let _ = reply.send(());
                        return;
                    }
                    Some(input) => self.take(input).await,
                    None => return,
                },
                () = clock.sleep_until_or_set_back(wake) => {}
                () = async { match progress.as_mut() { Some(tick) => tick.await, None => std::future::pending().await } } => {
                    progress = None;
                    self.publish();
                    continue;
                }
            }
            self.turn().await;
        }
    }

    fn definitions(&self) -> Arc<Definitions> {
        self.parts.definitions.borrow().clone()
    }

    /// The next moment at which something is due although nobody says anything.
    fn next_wake(&self) -> Timestamp {
        let now = self.parts.clock.now();
        if !self.waiting.is_empty() {
            return now + chrono::Duration::from_std(JOURNAL_RETRY).unwrap_or_default();
        }
        let due = react::wake_at(&self.state, &self.definitions(), now);
        let listing = self.next_listing.values().min().copied();
        due.into_iter()
            .chain(listing)
            .chain(self.watches.next())
            .chain(self.receivers.next())
            .chain(self.readiness.next())
            .chain(self.healths.next())
            .chain(self.follow_ups.next())
            .min()
            .unwrap_or(now + LIST_EVERY)
            .max(now)
    }

    async fn take(&mut self, input: Input) {
        match input {
            Input::Command {
                actor,
                command,
                looked_up,
                reply,
            } => {
                let answer = self.command(&actor, &command, *looked_up).await;
                let _ = reply.send(answer);
            }
            Input::Observed(observation) => {
                if let Observation::MaintenanceEnded { maintenance, .. } = &observation
                    && let Some(live) = self.state.maintenance.get(maintenance)
                {
                    let repository = live.repository.clone();
                    self.touch(&repository);
                    // What it holds and how much room it has may not be what it was.
                    self.next_listing.remove(&repository);
                }
                if let Observation::RunEnded { run, result } = &observation {
                    self.look_after(run, result.outcome);
                }
                if let Observation::Step { run, step, .. } = &observation {
                    self.step_ended(run, step);
                }
                self.waiting.push_back(observation);
            }
            Input::Listed {
                repository,
                touched,
                result,
            } => self.listed(repository, touched, result),
            Input::LookedAtLog { which, began, result } => self.looked(&which, began, result),
            Input::LookedAtCluster { cluster, began, result } => self.looked_at_cluster(&cluster, began, result),
            Input::LookedAtServer { recovery, result } => self.looked_at_server(recovery, result),
            Input::Receiver {
                source,
                number,
                trouble,
            } => self.receiver_told(&source, number, trouble),
            Input::ReceiverEnded { source, number, result } => self.receiver_ended(&source, number, result),
            Input::Ready { name, found } => self.ready(name, found),
            Input::StepTold { run, line } => self.step_told(&run, line),
            Input::Definitions(Ok(definitions)) => {
                self.parts.definitions.send_replace(Arc::new(*definitions));
                self.beside.unloaded = None;
            }
            Input::Definitions(Err(message)) => {
                self.beside.unloaded = Some(message);
            }
            Input::ClientsChanged => {
                self.beside.agent.clients = self.parts.clients.load(Ordering::Relaxed);
            }
            Input::Stop { .. } => {}
        }
    }

    /// Several ids may be made in one decision; each decision gets a range of its own.
    fn next_ids(&mut self) -> u32 {
        self.unique = self.unique.wrapping_add(257);
        self.unique
    }

    /// What a decision may look at; `unique` comes from [`Core::next_ids`].
    fn context<'a>(&'a self, definitions: &'a Definitions, unique: u32) -> Context<'a> {
        Context {
            state: &self.state,
            seen: &self.beside.seen,
            definitions,
            now: self.parts.clock.now(),
            unique,
        }
    }

    /// Takes in what was observed, lets the state settle, begins the work it calls for, shows the result.
    async fn turn(&mut self) {
        self.notice_the_clock();
        let agent = self.parts.agent.clone();
        while let Some(observation) = self.waiting.pop_front() {
            let Ok(observation) = self.completed(observation.clone()).await else {
                self.waiting.push_front(observation);
                break;
            };
            let (definitions, unique) = (self.definitions(), self.next_ids());
            let events = observe::observation(&self.context(&definitions, unique), observation.clone());
            if self.commit(&agent, events).await.is_err() {
                self.waiting.push_front(observation);
                break;
            }
        }
        if self.waiting.is_empty() && !self.stopping {
            // Before the rules look, so that they see what it came to.
            self.apply_retention(&agent).await;
            self.settle(&agent).await;
            self.begin_drills(&agent).await;
            self.begin_failovers(&agent).await;
            self.begin_work(&agent).await;
            self.begin_listings();
            self.begin_looks();
            self.begin_receivers();
            self.begin_readiness();
            self.begin_health();
            self.begin_server_looks();
        }
        self.publish();
    }

    /// When somebody set the clock back, what was to be looked at in a moment would be hours away: all of it is due now.
    fn notice_the_clock(&mut self) {
        let now = self.parts.clock.now();
        let back = Millis::between(now, self.latest);
        if back > CLOCK_SLEWS {
            tracing::warn!("the clock of this machine was set back by {back}: everything is looked at again");
            self.next_listing.clear();
            self.watches.make_due(now);
            self.receivers.make_due(now);
            self.readiness.make_due(now);
            self.healths.make_due(now);
            self.follow_ups.make_due(now);
        }
        self.latest = now;
    }

    async fn settle(&mut self, agent: &Actor) {
        for _ in 0..SETTLE_ROUNDS {
            let (definitions, unique) = (self.definitions(), self.next_ids());
            let events = react::settle(&self.context(&definitions, unique));
            if events.is_empty() || self.commit(agent, events).await.is_err() {
                return;
            }
        }
        tracing::error!("the rules do not settle; looking again at the next change");
    }

    /// Stops all work and begins no other.
    fn let_go(&mut self) {
        self.stopping = true;
        let work = self.runs.values().chain(self.recoveries.values());
        for live in work.chain(self.maintenance.values()) {
            live.cancel.cancel();
        }
        self.receivers.stop();
        self.steps.stop();
        self.follow_ups.stop();
    }

    /// Ends in good order: work is stopped, what it was is recorded as interrupted, the journal is closed.
    async fn stop(&mut self, reason: String) {
        self.let_go();
        self.tasks.close();
        let clock = self.parts.clock.clone();
        tokio::select! {
            () = self.tasks.wait() => {}
            () = clock.sleep(STOP_WITHIN) => tracing::warn!("some work did not end in time"),
        }
        self.parts.inbox.close();
        while let Some(input) = self.parts.inbox.recv().await {
            // What ended well in the meantime counts; what was cut off is interrupted, not cancelled.
            if let Input::Observed(observation) = input
                && !is_cut_off(&observation)
            {
                self.waiting.push_back(observation);
            }
        }
        self.waiting.push_back(Observation::AgentStopping { reason });
        self.turn().await;
        self.parts.journal.clone().close().await;
    }
}
