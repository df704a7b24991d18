//! The client and the server against each other, over both transports, on an engine made for the purpose.

mod fake;
mod requests;
mod sockets;
mod streams;

use std::path::Path;
use std::sync::Arc;

use fake::Fake;

use super::{Server, Socket};
use crate::api::{Client, pipe};
use crate::clock::Clock;
use crate::domain::command::Actor;

fn ana() -> Actor {
    Actor {
        name: "ana".to_owned(),
        host: "laptop".to_owned(),
        via: "cli".to_owned(),
    }
}

/// A server on the in-memory pipe and a client of it.
fn in_memory(fake: &Arc<Fake>, clock: Clock) -> (Client, Server<Arc<Fake>>) {
    let server = Server::new(Arc::clone(fake), clock, false);
    let (pipe, listener) = pipe();
    let serving = server.clone();
    tokio::spawn(async move { serving.serve_pipe(listener).await });
    (Client::in_memory(pipe, ana()), server)
}

/// A server on a real socket and a client of it.
async fn on_socket(fake: &Arc<Fake>, path: &Path) -> (Client, Server<Arc<Fake>>) {
    let server = Server::new(Arc::clone(fake), Clock::system(), false);
    let socket = Socket::bind(path).await.unwrap();
    let serving = server.clone();
    tokio::spawn(async move { serving.serve_socket(socket).await });
    (Client::connect(path, ana()), server)
}
