//! The server: HTTP/1 over a Unix socket or the in-memory pipe.

mod problem;
mod routes;
mod socket;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use socket::{BindError, Socket};

use super::backend::Backend;
use super::pipe::PipeListener;
use crate::clock::Clock;

/// How long connections get to finish what they are doing when the server ends.
const GRACE: Duration = Duration::from_secs(5);
/// Connections at one time; one more waits.
const CONNECTIONS: usize = 512;

/// What every route can reach.
#[derive(Debug, Clone)]
struct Shared<B> {
    backend: B,
    clock: Clock,
    read_only: bool,
    stopped: CancellationToken,
}

/// Answers clients until it is told to stop; cheap to clone.
#[derive(Debug, Clone)]
pub struct Server<B> {
    shared: Shared<B>,
}

impl<B: Backend> Server<B> {
    /// Makes a server of an engine. With `read_only`, no client may change anything.
    pub fn new(backend: B, clock: Clock, read_only: bool) -> Self {
        Self {
            shared: Shared {
                backend,
                clock,
                read_only,
                stopped: CancellationToken::new(),
            },
        }
    }

    /// Cancelled when a client has stopped the engine; cancelling it ends the server.
    pub fn stopped(&self) -> CancellationToken {
        self.shared.stopped.clone()
    }

    /// Serves a Unix socket until stopped, then removes it.
    pub async fn serve_socket(&self, socket: Socket) {
        self.serve_admitting(socket, admits).await;
    }

    async fn serve_admitting(&self, socket: Socket, admits: fn(u32) -> bool) {
        let connections = Connections::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = self.shared.stopped.cancelled() => break,
            };
            match accepted {
                Ok(stream) if peer(&stream).is_ok_and(admits) => connections.serve(stream).await,
                Ok(_) => tracing::warn!("refused a connection from another user"),
                Err(error) => {
                    // Out of descriptors, most likely: others will be given back.
                    tracing::warn!(%error, "cannot accept a connection");
                    self.shared.clock.sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(socket);
        connections.finish(&self.shared.clock).await;
    }

    /// Serves the in-memory pipe until stopped or every client is gone.
    pub async fn serve_pipe(&self, mut listener: PipeListener) {
        let connections = Connections::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.shared.stopped.cancelled() => break,
            };
            match accepted {
                Some(stream) => connections.serve(stream).await,
                None => break,
            }
        }
        connections.finish(&self.shared.clock).await;
    }
}

/// The tasks of the open connections.
struct Connections {
    router: Router,
    places: std::sync::Arc<tokio::sync::Semaphore>,
    tasks: TaskTracker,
    stopped: CancellationToken,
}

impl Connections {
    fn new<B: Backend>(server: &Server<B>) -> Self {
        Self {
            router: routes::router(server.shared.clone()),
            places: std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS)),
            tasks: TaskTracker::new(),
            stopped: server.stopped(),
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(&self, stream: S) {
        let Ok(place) = std::sync::Arc::clone(&self.places).acquire_owned().await else {
            return;
        };
        let service = TowerToHyperService::new(self.router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(30))
            .serve_connection(TokioIo::new(stream), service);
        let stopped = self.stopped.clone();
        self.tasks.spawn(async move {
            let _place = place;
            let mut connection = std::pin::pin!(connection);
            let result = tokio::select! {
                result = connection.as_mut() => result,
                () = stopped.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = result {
                tracing::debug!(%error, "a connection ended badly");
            }
        });
    }

    async fn finish(self, clock: &Clock) {
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => {}
            () = clock.sleep(GRACE) => tracing::warn!("some connections did not end in time"),
        }
    }
}

fn peer(stream: &UnixStream) -> io::Result<u32> {
    stream.peer_cred().map(|credentials| credentials.uid())
}

/// Whether that user gets an answer: the agent's own, and root.
fn admits(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}
