//! One request over one connection.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use super::{Answer, Client, ClientError, ErrorKind, Route};
use crate::api::types::Problem;
use crate::api::{READ_ONLY_HEADER, VERSION, VERSION_HEADER};

/// The longest answer that is taken in one piece.
const ANSWER_LIMIT: usize = 256 << 20;
const START_HINT: &str = "start one with: lifeboat agent run";

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Client {
    /// Sends a request and waits for the head of a successful answer.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        patience: Duration,
    ) -> Answer<Response<Incoming>> {
        let response = tokio::select! {
            response = self.exchange(method, path, body) => response?,
            () = self.clock.sleep(patience) => return Err(self.silent(patience)),
        };
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.problem(response).await)
    }

    /// Sends a request and takes the whole answer.
    pub(super) async fn bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        patience: Duration,
    ) -> Answer<Vec<u8>> {
        let response = self.send(method, path, body, patience).await?;
        self.collect(response, patience).await
    }

    /// Sends a request and reads the answer as JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        patience: Duration,
    ) -> Answer<T> {
        let response = self.send(method, path, body, patience).await?;
        let version = version_of(&response);
        let bytes = self.collect(response, patience).await?;
        serde_json::from_slice(&bytes).map_err(|error| not_understood(version.as_deref(), &error.to_string()))
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Answer<Response<Incoming>> {
        let wire = self.open().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(wire))
            .await
            .map_err(|error| lost(&error.to_string()))?;
        // The task ends with the answer's body, or when that is dropped.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "lifeboat")
            .header(VERSION_HEADER, VERSION);
        if self.read_only {
            request = request.header(READ_ONLY_HEADER, "true");
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| ClientError {
                kind: ErrorKind::Invalid,
                message: format!("the request cannot be sent: {error}"),
                hint: None,
            })?;
        sender
            .send_request(request)
            .await
            .map_err(|error| lost(&error.to_string()))
    }

    async fn open(&self) -> Answer<Box<dyn Wire>> {
        match &self.route {
            Route::Pipe(pipe) => match pipe.connect().await {
                Some(wire) => Ok(Box::new(wire)),
                None => Err(ClientError::unreachable(
                    "the engine in this process has stopped",
                    "start the program again",
                )),
            },
            Route::Socket(path) => {
                let shown = path.display();
                let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                        ClientError::unreachable(format!("no agent answers on {shown}"), START_HINT)
                    }
                    io::ErrorKind::PermissionDenied => ClientError::unreachable(
                        format!("may not connect to {shown}: permission denied"),
                        "the agent belongs to another user; run this as that user or as root",
                    ),
                    _ => ClientError::unreachable(format!("cannot connect to {shown}: {error}"), START_HINT),
                })?;
                check_owner(&stream, &shown.to_string())?;
                Ok(Box::new(stream))
            }
        }
    }

    async fn collect(&self, response: Response<Incoming>, patience: Duration) -> Answer<Vec<u8>> {
        let body = Limited::new(response.into_body(), ANSWER_LIMIT);
        let collected = tokio::select! {
            collected = body.collect() => collected,
            () = self.clock.sleep(patience) => return Err(self.silent(patience)),
        };
        let collected = collected.map_err(|error| lost(&error.to_string()))?;
        Ok(collected.to_bytes().into())
    }

    async fn problem(&self, response: Response<Incoming>) -> ClientError {
        let version = version_of(&response);
        let status = response.status();
        let body = match self.collect(response, Duration::from_secs(10)).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if status != StatusCode::NOT_FOUND || problem.kind == "not_found" => problem.into(),
            _ => not_understood(version.as_deref(), &format!("it answered {status}")),
        }
    }

    fn silent(&self, patience: Duration) -> ClientError {
        let seconds = patience.as_secs();
        let place = match &self.route {
            Route::Socket(path) => path.display().to_string(),
            Route::Pipe(_) => "the pipe".to_owned(),
        };
        ClientError::unreachable(
            format!("the agent on {place} did not answer for {seconds} s"),
            "look at it with: lifeboat agent status",
        )
    }
}

/// Refuses to talk to a socket that somebody else has put there.
fn check_owner(stream: &UnixStream, place: &str) -> Answer<()> {
    let own = nix::unistd::geteuid().as_raw();
    let peer = stream
        .peer_cred()
        .map_err(|error| ClientError::unreachable(format!("cannot tell whose socket {place} is: {error}"), START_HINT))?
        .uid();
    if peer == own || peer == 0 || own == 0 {
        return Ok(());
    }
    Err(ClientError::unreachable(
        format!("{place} belongs to user {peer}, not to you"),
        "somebody else listens there; choose another place with agent.socket or --socket",
    ))
}

fn version_of<B>(response: &Response<B>) -> Option<String> {
    let value = response.headers().get(VERSION_HEADER)?;
    value.to_str().ok().map(str::to_owned)
}

/// What to say of a connection that broke.
pub(super) fn lost(why: &str) -> ClientError {
    ClientError::unreachable(format!("the connection to the agent broke: {why}"), START_HINT)
}

/// What to say of an answer that makes no sense.
pub(super) fn not_understood(version: Option<&str>, why: &str) -> ClientError {
    match version {
        Some(version) if version != VERSION => ClientError {
            kind: ErrorKind::VersionMismatch,
            message: format!(
                "the agent is version {version}, this is {VERSION}, and they do not understand each other"
            ),
            hint: Some("restart the agent with this version: lifeboat agent stop".to_owned()),
        },
        Some(_) => ClientError {
            kind: ErrorKind::Failed,
            message: format!("the agent's answer is not understood: {why}"),
            hint: Some("this is a defect; please report it with the output of: lifeboat agent status".to_owned()),
        },
        None => ClientError {
            kind: ErrorKind::VersionMismatch,
            message: format!("what listens there is no lifeboat agent: {why}"),
            hint: Some("choose another place with agent.socket or --socket".to_owned()),
        },
    }
}
