//! The routes: each reads its request, asks the engine one thing and renders the answer.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::{HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Shared;
use super::problem::ProblemAnswer;
use super::stream::stream;
use crate::api::backend::Backend;
use crate::api::types::{CommandRequest, Overview, Page, Query, Receipt, RetentionPlan, TreeEntryView};
use crate::api::{
    PlanRunbook, PracticeAnswer, PracticeRequest, READ_ONLY_HEADER, StopRequest, VERSION, VERSION_HEADER,
};
use crate::domain::alert::AlertRecord;
use crate::domain::cluster::ClusterView;
use crate::domain::event::EventRecord;
use crate::domain::maintenance::MaintenanceRecord;
use crate::domain::recovery::{RecoveryPlan, RecoveryRecord, RecoveryRequest};
use crate::domain::run::RunRecord;
use crate::domain::runbook::view::{Readiness, RunbookPlan};
use crate::domain::runbook::{Runbook, RunbookRecord};
use crate::domain::snapshot::SnapshotRecord;

/// The longest request body that is read.
const BODY_LIMIT: usize = 1 << 20;
/// The longest piece of a file that is handed out.
const CONTENT_LIMIT: u64 = 64 << 20;
/// The most rows of a page.
const PAGE_LIMIT: u32 = 1000;

type Id = Result<Path<String>, PathRejection>;
type Answer<T> = Result<Json<T>, ProblemAnswer>;

/// Builds the router that the table in [`crate::api`] describes.
pub(super) fn router<B: Backend>(shared: Shared<B>) -> Router {
    Router::new()
        .route("/v1/overview", get(overview))
        .route("/v1/stream", get(stream))
        .route("/v1/runs", get(runs))
        .route("/v1/runs/{id}/log", get(run_log))
        .route("/v1/snapshots", get(snapshots))
        .route("/v1/snapshots/{id}/tree", get(snapshot_tree))
        .route("/v1/snapshots/{id}/content", get(snapshot_content))
        .route("/v1/recoveries", get(recoveries))
        .route("/v1/alerts", get(alerts))
        .route("/v1/maintenance", get(maintenance))
        .route("/v1/jobs/{job}/retention", get(retention))
        .route("/v1/clusters", get(clusters))
        .route("/v1/journal", get(journal))
        .route("/v1/runbooks/{id}", get(runbook))
        .route("/v1/runbooks/{id}/ready", get(ask_readiness))
        .route("/v1/executions", get(executions))
        .route("/v1/runbooks/plan", post(plan_runbook))
        .route("/v1/plan", post(plan))
        .route("/v1/commands", post(command))
        .route("/v1/practice", post(practice))
        .route("/v1/stop", post(stop))
        .fallback(no_route)
        .method_not_allowed_fallback(no_route)
        .layer(from_fn_with_state(shared.clone(), guard))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(shared)
}

/// Whether this request may change anything.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadOnly(pub bool);

/// Holds read-only clients to it and names our version in every answer.
async fn guard<B: Backend>(State(shared): State<Shared<B>>, mut request: Request, next: Next) -> Response {
    let read_only = shared.read_only || request.headers().contains_key(READ_ONLY_HEADER);
    request.extensions_mut().insert(ReadOnly(read_only));
    let changes = request.method() != Method::GET && !matches!(request.uri().path(), "/v1/plan" | "/v1/runbooks/plan");
    let mut response = if read_only && changes {
        refuse_change(shared.read_only).into_response()
    } else {
        next.run(request).await
    };
    response
        .headers_mut()
        .insert(VERSION_HEADER, HeaderValue::from_static(VERSION));
    response
}

fn refuse_change(whole_agent: bool) -> ProblemAnswer {
    if whole_agent {
        ProblemAnswer::read_only("this agent is read-only", "start the agent without --read-only")
    } else {
        ProblemAnswer::read_only("this client is read-only", "try again without --read-only")
    }
}

async fn no_route(method: Method, uri: Uri) -> ProblemAnswer {
    ProblemAnswer::no_route(format!("there is no {method} {}", uri.path()))
}

async fn overview<B: Backend>(State(shared): State<Shared<B>>, Extension(only): Extension<ReadOnly>) -> Json<Overview> {
    let mut overview = Overview::clone(&shared.backend.overview().borrow());
    overview.read_only |= only.0;
    Json(overview)
}

async fn runs<B: Backend>(State(shared): State<Shared<B>>, query: RawQuery) -> Answer<Page<RunRecord>> {
    Ok(Json(shared.backend.runs(page_query(query)?).await?))
}

async fn snapshots<B: Backend>(State(shared): State<Shared<B>>, query: RawQuery) -> Answer<Page<SnapshotRecord>> {
    Ok(Json(shared.backend.snapshots(page_query(query)?).await?))
}

async fn recoveries<B: Backend>(State(shared): State<Shared<B>>, query: RawQuery) -> Answer<Page<RecoveryRecord>> {
    Ok(Json(shared.backend.recoveries(page_query(query)?).await?))
}

async fn alerts<B: Backend>(State(shared): State<Shared<B>>, query: RawQuery) -> Answer<Page<AlertRecord>> {
    Ok(Json(shared.backend.alerts(page_query(query)?).await?))
}

async fn maintenance<B: Backend>(State(shared): State<Shared<B>>, query: RawQuery) -> Answer<Page<MaintenanceRecord>> {
    Ok(Json(shared.backend.maintenance(page_query(query)?).await?))
}

async fn retention<B: Backend>(State(shared): State<Shared<B>>, job: Id) -> Answer<RetentionPlan> {
    Ok(Json(shared.backend.retention(&job?).await?))
}

async fn clusters<B: Backend>(State(shared): State<Shared<B>>) -> Answer<Vec<ClusterView>> {
    Ok(Json(shared.backend.clusters().await?))
}

async fn journal<B: Backend>(State(shared): State<Shared<B>>, query: RawQuery) -> Answer<Page<EventRecord>> {
    Ok(Json(shared.backend.journal(page_query(query)?).await?))
}

async fn run_log<B: Backend>(State(shared): State<Shared<B>>, run: Id) -> Result<String, ProblemAnswer> {
    Ok(shared.backend.run_log(&run?).await?)
}

/// What `tree` and `content` ask for.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Place {
    path: String,
    limit: u64,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            limit: 64 * 1024,
        }
    }
}

async fn snapshot_tree<B: Backend>(
    State(shared): State<Shared<B>>,
    snapshot: Id,
    query: RawQuery,
) -> Answer<Vec<TreeEntryView>> {
    let place: Place = parse_query(query)?;
    Ok(Json(shared.backend.snapshot_tree(&snapshot?, &place.path).await?))
}

async fn snapshot_content<B: Backend>(
    State(shared): State<Shared<B>>,
    snapshot: Id,
    query: RawQuery,
) -> Result<Response, ProblemAnswer> {
    let place: Place = parse_query(query)?;
    let limit = place.limit.min(CONTENT_LIMIT);
    let content = shared.backend.snapshot_content(&snapshot?, &place.path, limit).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], content).into_response())
}

async fn plan<B: Backend>(
    State(shared): State<Shared<B>>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<RecoveryPlan> {
    let request: RecoveryRequest = parse_body(&body?)?;
    Ok(Json(shared.backend.plan(request).await?))
}

async fn runbook<B: Backend>(State(shared): State<Shared<B>>, name: Id) -> Answer<Runbook> {
    Ok(Json(shared.backend.runbook(&name?).await?))
}

async fn ask_readiness<B: Backend>(State(shared): State<Shared<B>>, name: Id) -> Answer<Readiness> {
    Ok(Json(shared.backend.ask_readiness(&name?).await?))
}

async fn executions<B: Backend>(State(shared): State<Shared<B>>, query: RawQuery) -> Answer<Page<RunbookRecord>> {
    Ok(Json(shared.backend.executions(page_query(query)?).await?))
}

async fn plan_runbook<B: Backend>(
    State(shared): State<Shared<B>>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<RunbookPlan> {
    let PlanRunbook { actor, wish } = parse_body(&body?)?;
    Ok(Json(shared.backend.plan_runbook(actor, wish).await?))
}

async fn command<B: Backend>(State(shared): State<Shared<B>>, body: Result<Bytes, BytesRejection>) -> Answer<Receipt> {
    let request: CommandRequest = parse_body(&body?)?;
    Ok(Json(shared.backend.submit(request.actor, request.command).await?))
}

async fn practice<B: Backend>(
    State(shared): State<Shared<B>>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<PracticeAnswer> {
    let request: PracticeRequest = parse_body(&body?)?;
    let message = shared.backend.practice(&request.incident).await?;
    Ok(Json(PracticeAnswer { message }))
}

async fn stop<B: Backend>(State(shared): State<Shared<B>>, body: Result<Bytes, BytesRejection>) -> Answer<()> {
    let StopRequest { actor } = parse_body(&body?)?;
    let reason = format!("asked by {}@{}", actor.name, actor.host);
    shared.backend.stop(&reason).await?;
    // Connections end in good order: this answer still goes out.
    shared.stopped.cancel();
    Ok(Json(()))
}

fn page_query(query: RawQuery) -> Result<Query, ProblemAnswer> {
    let mut query: Query = parse_query(query)?;
    query.limit = query.limit.map(|limit| limit.clamp(1, PAGE_LIMIT));
    Ok(query)
}

fn parse_query<T: DeserializeOwned>(RawQuery(query): RawQuery) -> Result<T, ProblemAnswer> {
    serde_urlencoded::from_str(query.as_deref().unwrap_or_default())
        .map_err(|error| ProblemAnswer::invalid(format!("the query is not understood: {error}")))
}

fn parse_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, ProblemAnswer> {
    serde_json::from_slice(body)
        .map_err(|error| ProblemAnswer::invalid(format!("the request's body is not understood: {error}")))
}
