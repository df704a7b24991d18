//! HTTP/JSON and an event stream over a Unix socket, and the typed client of it.
//!
//! The console and the command line see the engine through this room only, whether the agent is another process or, with
//! `--embedded`, the same one behind an in-memory pipe. One code path, so what is tested once holds for both.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/overview` | [`types::Overview`] |
//! | `GET /v1/stream` | newline-delimited [`types::StreamItem`] |
//! | `GET /v1/runs?…` | page of `RunRecord` |
//! | `GET /v1/runs/{id}/log` | text, a line each |
//! | `GET /v1/snapshots?…` | page of `SnapshotRecord` |
//! | `GET /v1/snapshots/{id}/tree?path=/` | list of [`types::TreeEntryView`] |
//! | `GET /v1/snapshots/{id}/content?path=/a&limit=65536` | the first bytes of a file |
//! | `GET /v1/recoveries?…` | page of `RecoveryRecord` |
//! | `GET /v1/alerts?…` | page of `AlertRecord`, resolved ones included |
//! | `GET /v1/maintenance?…` | page of `MaintenanceRecord` |
//! | `GET /v1/jobs/{job}/retention` | [`types::RetentionPlan`] |
//! | `GET /v1/clusters` | list of `ClusterView`: asked of the servers, at most two seconds old |
//! | `GET /v1/journal?…` | page of `EventRecord` |
//! | `GET /v1/runbooks/{name}` | `Runbook` |
//! | `GET /v1/executions?…` | page of `RunbookRecord` |
//! | `POST /v1/runbooks/plan` (`PlanRunbook`) | `RunbookPlan` |
//! | `POST /v1/plan` (`RecoveryRequest`) | `RecoveryPlan` |
//! | `POST /v1/commands` ([`types::CommandRequest`]) | [`types::Receipt`] |
//! | `POST /v1/practice` (`{"incident": "…"}`) | only in the sandbox: breaks something on purpose |
//! | `POST /v1/stop` | the agent ends in good order |
//!
//! What is not a success carries a [`types::Problem`]. Every answer names the agent's version in a header, so that a
//! client of another version can say so instead of stumbling over a field.
//!
//! Promises: only the agent's own user and root get an answer; a client that reads slowly or not at all slows nobody
//! down but itself; a client that says it is read-only is held to it on this side of the socket; no request, however
//! garbled, ends in anything but an answer.

pub mod backend;
pub mod client;
pub mod pipe;
pub mod server;

pub use client::{Client, ClientError, ErrorKind, Stream};
pub use pipe::{Pipe, PipeListener, pipe};
pub use server::{BindError, Server, Socket};

pub use crate::domain::view as types;

use serde::{Deserialize, Serialize};

use crate::domain::command::Actor;
use crate::domain::runbook::StartRunbook;

/// The header in which an agent names its version.
pub const VERSION_HEADER: &str = "lifeboat-version";
/// The header with which a client gives up its right to change anything.
pub const READ_ONLY_HEADER: &str = "lifeboat-read-only";
/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `POST /v1/runbooks/plan` takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanRunbook {
    /// Who asks.
    pub actor: Actor,
    /// What would be begun.
    pub wish: StartRunbook,
}

/// What `POST /v1/practice` takes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PracticeRequest {
    /// The incident's name.
    pub incident: String,
}

/// What `POST /v1/practice` answers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PracticeAnswer {
    /// What was broken, in words.
    pub message: String,
}

/// What `POST /v1/stop` takes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StopRequest {
    /// Who asks.
    pub actor: crate::domain::command::Actor,
}
