//! The typed client: one method a route, the same over a Unix socket and over the in-memory pipe.
//!
//! A client holds no connection between requests, so it survives the agent: the next request after a restart simply
//! works. It never waits for ever: an agent that accepts but does not answer is reported as unreachable.

mod connection;
mod error;
mod stream;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::{ClientError, ErrorKind};
pub use stream::Stream;

use super::pipe::Pipe;
use super::types::{CommandRequest, Overview, Page, Query, Receipt, RetentionPlan, TreeEntryView};
use super::{PlanRunbook, PracticeAnswer, PracticeRequest, StopRequest};
use crate::clock::Clock;
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

type Answer<T> = Result<T, ClientError>;

/// How long the agent may take to begin an answer.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long it may take where it first reads a repository.
const LONG_PATIENCE: Duration = Duration::from_mins(10);

/// A client of one agent; cheap to clone, usable from many tasks at once.
#[derive(Debug, Clone)]
pub struct Client {
    route: Route,
    actor: Actor,
    read_only: bool,
    clock: Clock,
}

/// The way to the agent.
#[derive(Debug, Clone)]
enum Route {
    Socket(PathBuf),
    Pipe(Pipe),
}

impl Client {
    /// Makes a client of the agent behind a Unix socket. Nothing is sent before the first request.
    pub fn connect(socket: &Path, actor: Actor) -> Self {
        Self::new(Route::Socket(socket.to_owned()), actor)
    }

    /// Makes a client of the engine in this process.
    pub fn in_memory(pipe: Pipe, actor: Actor) -> Self {
        Self::new(Route::Pipe(pipe), actor)
    }

    fn new(route: Route, actor: Actor) -> Self {
        Self {
            route,
            actor,
            read_only: false,
            clock: Clock::system(),
        }
    }

    /// Gives up the right to change anything, for this client and its clones; the agent holds it to that.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Whether it has given up that right.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// On whose behalf it asks.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Fetches the live picture.
    pub async fn overview(&self) -> Answer<Overview> {
        self.get("/v1/overview", PATIENCE).await
    }

    /// Follows the live picture and the events; the first item is an overview. Ends when the agent does.
    pub async fn stream(&self) -> Answer<Stream> {
        let response = self.send(Method::GET, "/v1/stream", None, PATIENCE).await?;
        Ok(Stream::new(response, self.clock.clone()))
    }

    /// Fetches a page of runs that have ended.
    pub async fn runs(&self, query: &Query) -> Answer<Page<RunRecord>> {
        self.page("/v1/runs", query).await
    }

    /// Fetches the log of a run, a line each.
    pub async fn run_log(&self, run: &str) -> Answer<String> {
        let path = format!("/v1/runs/{}/log", encode(run));
        let bytes = self.bytes(Method::GET, &path, None, PATIENCE).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Fetches a page of snapshots.
    pub async fn snapshots(&self, query: &Query) -> Answer<Page<SnapshotRecord>> {
        self.page("/v1/snapshots", query).await
    }

    /// Fetches one directory of a snapshot.
    pub async fn snapshot_tree(&self, snapshot: &str, path: &str) -> Answer<Vec<TreeEntryView>> {
        let path = format!("/v1/snapshots/{}/tree?path={}", encode(snapshot), encode(path));
        self.get(&path, LONG_PATIENCE).await
    }

    /// Fetches the first `limit` bytes of a file in a snapshot.
    pub async fn snapshot_content(&self, snapshot: &str, path: &str, limit: u64) -> Answer<Vec<u8>> {
        let (snapshot, path) = (encode(snapshot), encode(path));
        let path = format!("/v1/snapshots/{snapshot}/content?path={path}&limit={limit}");
        self.bytes(Method::GET, &path, None, LONG_PATIENCE).await
    }

    /// Fetches a page of recoveries that have ended.
    pub async fn recoveries(&self, query: &Query) -> Answer<Page<RecoveryRecord>> {
        self.page("/v1/recoveries", query).await
    }

    /// Fetches a page of alerts, resolved ones included.
    pub async fn alerts(&self, query: &Query) -> Answer<Page<AlertRecord>> {
        self.page("/v1/alerts", query).await
    }

    /// Fetches a page of maintenance that has ended.
    pub async fn maintenance(&self, query: &Query) -> Answer<Page<MaintenanceRecord>> {
        self.page("/v1/maintenance", query).await
    }

    /// Asks what the retention of a job keeps, rule by rule; changes nothing.
    pub async fn retention(&self, job: &str) -> Answer<RetentionPlan> {
        self.get(&format!("/v1/jobs/{}/retention", encode(job)), PATIENCE).await
    }

    /// Fetches what the clusters look like now.
    pub async fn clusters(&self) -> Answer<Vec<ClusterView>> {
        self.get("/v1/clusters", LONG_PATIENCE).await
    }

    /// Fetches a page of the journal.
    pub async fn journal(&self, query: &Query) -> Answer<Page<EventRecord>> {
        self.page("/v1/journal", query).await
    }

    /// Asks what a recovery would do; changes nothing.
    pub async fn plan(&self, request: &RecoveryRequest) -> Answer<RecoveryPlan> {
        self.post("/v1/plan", request, LONG_PATIENCE).await
    }

    /// Fetches the document of a runbook.
    pub async fn runbook(&self, name: &str) -> Answer<Runbook> {
        self.get(&format!("/v1/runbooks/{}", encode(name)), PATIENCE).await
    }

    /// Asks whether a runbook could be begun now; its checks are asked for that, nothing is done.
    pub async fn ask_readiness(&self, name: &str) -> Answer<Readiness> {
        self.get(&format!("/v1/runbooks/{}/ready", encode(name)), LONG_PATIENCE)
            .await
    }

    /// Fetches a page of executions of runbooks that have ended.
    pub async fn executions(&self, query: &Query) -> Answer<Page<RunbookRecord>> {
        self.page("/v1/executions", query).await
    }

    /// Asks what an execution of a runbook would do; changes nothing.
    pub async fn plan_runbook(&self, wish: StartRunbook) -> Answer<RunbookPlan> {
        let actor = self.actor.clone();
        self.post("/v1/runbooks/plan", &PlanRunbook { actor, wish }, LONG_PATIENCE)
            .await
    }

    /// Gives a command; when this returns, what it led to is durable.
    pub async fn command(&self, command: Command) -> Answer<Receipt> {
        let actor = self.actor.clone();
        self.post("/v1/commands", &CommandRequest { actor, command }, LONG_PATIENCE)
            .await
    }

    /// Breaks something on purpose and says what; refused outside the sandbox.
    pub async fn practice(&self, incident: &str) -> Answer<String> {
        let incident = incident.to_owned();
        let answer: PracticeAnswer = self
            .post("/v1/practice", &PracticeRequest { incident }, LONG_PATIENCE)
            .await?;
        Ok(answer.message)
    }

    /// Asks the agent to end in good order.
    pub async fn stop(&self) -> Answer<()> {
        let actor = self.actor.clone();
        self.post("/v1/stop", &StopRequest { actor }, PATIENCE).await
    }

    async fn page<T: DeserializeOwned>(&self, path: &str, query: &Query) -> Answer<Page<T>> {
        let query = serde_urlencoded::to_string(query).map_err(|error| ClientError {
            kind: ErrorKind::Invalid,
            message: format!("the query cannot be sent: {error}"),
            hint: None,
        })?;
        self.get(&format!("{path}?{query}"), PATIENCE).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, patience: Duration) -> Answer<T> {
        self.json(Method::GET, path, None, patience).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize, patience: Duration) -> Answer<T> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError {
            kind: ErrorKind::Invalid,
            message: format!("the request cannot be sent: {error}"),
            hint: None,
        })?;
        self.json(Method::POST, path, Some(body), patience).await
    }
}

/// Percent-encodes one segment of a path or one value of a query.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&hex::encode_upper([byte]));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_plain_is_encoded() {
        assert_eq!(encode("run-0ab.1"), "run-0ab.1");
        assert_eq!(encode("a/b ?%ä"), "a%2Fb%20%3F%25%C3%A4");
    }
}
