//! Requests of a step.

use std::time::Duration;

use super::{Site, cancelled};
use crate::domain::run::Failure;
use crate::domain::runbook::template::Values;
use crate::notify::http::{self, Answer, Request};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is kept of an answer, in bytes.
const KEPT: usize = 16 << 10;

/// Sends a request; the answer has to be a success, or the status that was expected.
pub(super) async fn send(
    site: &Site<'_>,
    method: &str,
    url: &str,
    body: Option<String>,
    status: Option<u16>,
) -> Result<Values, Failure> {
    let answer = answer(site, method, url, body, PATIENCE).await?;
    if !is_expected(answer.status, status) {
        let said = answer.body.lines().next().unwrap_or_default();
        return Err(Failure {
            message: format!("{method}: the answer is {}: {said}", answer.status),
            hint: Some("look at the log of whoever was asked".to_owned()),
            retryable: true,
        });
    }
    let mut output = answer.body;
    output.truncate(output.floor_char_boundary(KEPT));
    Ok(Values::from([
        ("status".to_owned(), answer.status.to_string()),
        ("output".to_owned(), output),
    ]))
}

/// Whether a status is a success, or the one that was expected.
pub(super) fn is_expected(status: u16, expected: Option<u16>) -> bool {
    expected.map_or((200..300).contains(&status), |expected| expected == status)
}

/// Sends a request and returns whatever is answered.
pub(super) async fn answer(
    site: &Site<'_>,
    method: &str,
    url: &str,
    body: Option<String>,
    limit: Duration,
) -> Result<Answer, Failure> {
    let request = Request {
        method: method.to_owned(),
        url: url.to_owned(),
        body,
        content_type: None,
    };
    tokio::select! {
        biased;
        () = site.work.cancel.cancelled() => Err(cancelled()),
        answer = http::send(&request, limit) => answer.map_err(|error| Failure {
            message: error.to_string(),
            hint: Some("check the address, and whether anybody listens there".to_owned()),
            retryable: error.retryable(),
        }),
    }
}
