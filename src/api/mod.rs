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
//! | `GET /v1/journal?…` | page of `EventRecord` |
//! | `POST /v1/plan` (`RecoveryRequest`) | `RecoveryPlan` |
//! | `POST /v1/commands` ([`types::CommandRequest`]) | [`types::Receipt`] |
//! | `POST /v1/practice` (`{"incident": "…"}`) | only in the sandbox: breaks something on purpose |
//! | `POST /v1/stop` | the agent ends in good order |
//!
//! What is not a success carries a [`types::Problem`].

pub use crate::domain::view as types;
