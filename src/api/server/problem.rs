//! What is not a success, as an HTTP answer.

use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::types::Problem;
use crate::domain::command::RefusalKind;
use crate::engine::EngineError;

/// A [`Problem`] and the status that goes with it.
#[derive(Debug)]
pub struct ProblemAnswer(pub StatusCode, pub Problem);

impl ProblemAnswer {
    /// The request itself is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message, None)
    }

    /// The client or the agent may not change anything.
    pub fn read_only(message: &str, hint: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "read_only", message, Some(hint))
    }

    /// There is no such route.
    pub fn no_route(message: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, "invalid", message, None)
    }

    pub(super) fn new(status: StatusCode, kind: &str, message: impl Into<String>, hint: Option<&str>) -> Self {
        let problem = Problem {
            kind: kind.to_owned(),
            message: message.into(),
            hint: hint.map(str::to_owned),
        };
        Self(status, problem)
    }
}

impl From<EngineError> for ProblemAnswer {
    fn from(error: EngineError) -> Self {
        let (status, kind) = match &error {
            EngineError::Refused(refusal) => match refusal.kind {
                RefusalKind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
                RefusalKind::Conflict => (StatusCode::CONFLICT, "conflict"),
                RefusalKind::Interlock => (StatusCode::PRECONDITION_FAILED, "interlock"),
                RefusalKind::Invalid => (StatusCode::BAD_REQUEST, "invalid"),
            },
            EngineError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
            EngineError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        Self::new(status, kind, error.to_string(), error.hint())
    }
}

impl From<BytesRejection> for ProblemAnswer {
    fn from(rejection: BytesRejection) -> Self {
        Self::invalid(format!("the request's body was not taken: {rejection}"))
    }
}

impl From<PathRejection> for ProblemAnswer {
    fn from(rejection: PathRejection) -> Self {
        Self::invalid(format!("the request's path is not understood: {rejection}"))
    }
}

impl IntoResponse for ProblemAnswer {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}
