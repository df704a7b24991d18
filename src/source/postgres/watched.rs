//! Statements that nobody waits for any more are stopped on their server.
//!
//! A server notices that a connection is gone only when it has something to say: until then it goes on with a statement that was
//! thought to have failed, and commits it. What this never does: wait longer than a second for the server to agree.

use std::time::Duration;

use tokio_postgres::{CancelToken, NoTls};

use super::connect::{Session, Transport, within};
use crate::clock::Clock;

/// Work of a connection that is stopped on the server when it is given up before [`Watched::over`] was said.
pub(super) struct Watched {
    token: CancelToken,
    transport: Transport,
    clock: Clock,
    over: bool,
}

impl Watched {
    /// Watches what a connection is about to run.
    pub fn new(session: &Session, clock: &Clock) -> Self {
        Self {
            token: session.client.cancel_token(),
            transport: session.transport.clone(),
            clock: clock.clone(),
            over: false,
        }
    }

    /// It came to its end.
    pub fn over(mut self) {
        self.over = true;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let (false, Ok(runtime)) = (self.over, tokio::runtime::Handle::try_current()) else {
            return;
        };
        let (token, transport, clock) = (self.token.clone(), self.transport.clone(), self.clock.clone());
        runtime.spawn(async move { cancel(token, &transport, &clock).await });
    }
}

/// Asks a server to stop what a connection is running; gives up after a second.
pub(super) async fn cancel(token: CancelToken, transport: &Transport, clock: &Clock) {
    let cancel = async {
        // Best effort: closing the connection, which follows, is the other half.
        match transport {
            Transport::Plain => drop(token.cancel_query(NoTls).await),
            Transport::Tls(tls) => drop(token.cancel_query(tls.clone()).await),
        }
    };
    within(clock, Duration::from_secs(1), cancel).await;
}
