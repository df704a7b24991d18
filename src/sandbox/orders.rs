//! The shop's service: takes orders over HTTP, writes them through whatever server its database's name means, and remembers
//! which it acknowledged.
//!
//! ```text
//!   POST /orders   201 {"order": 80017}, or 503 with the reason
//!   GET  /health   200 when an order would be taken, else 503 with the reason
//! ```
//!
//! What was acknowledged is kept apart from every database: it is what a failover is held against. It is remembered as runs of
//! numbers, so that a demo that stands for days stays small.
//!
//! What it never does: listen anywhere but on a Unix socket, or take an order the database has not committed.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::SandboxError;
use super::shop::{DATABASE, ORDER};
use crate::clock::Clock;
use crate::source::SourceError;
use crate::source::postgres::{Login, ask};

/// How often a customer orders.
const ORDER_EVERY: Duration = Duration::from_millis(100);
/// How long a customer waits before trying again: in the middle of an incident there is no shop to order in.
const TRY_AGAIN: Duration = Duration::from_millis(250);
/// How long the database may take over one order before the customer is told so.
const PATIENCE: Duration = Duration::from_secs(5);
/// Whether the server takes writes.
const WRITABLE: &str =
    "select (not pg_is_in_recovery() and current_setting('default_transaction_read_only') = 'off')::text";

/// What was acknowledged.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken {
    /// The numbers, as runs from one to another, both of them included.
    pub(super) runs: Vec<(u64, u64)>,
    /// How many there are.
    pub(super) count: u64,
    /// The longest time nothing was taken, between two that were.
    pub(super) longest_pause: Duration,
    last: Option<Instant>,
}

impl Taken {
    fn add(&mut self, order: u64, now: Instant) {
        match self.runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(order) => *last = order,
            _ => self.runs.push((order, order)),
        }
        self.count += 1;
        if let Some(last) = self.last.replace(now) {
            self.longest_pause = self.longest_pause.max(now.saturating_duration_since(last));
        }
    }
}

/// The service. Dropped means closed.
#[derive(Debug, Clone)]
pub(super) struct Service {
    login: Login,
    clock: Clock,
    taken: Arc<Mutex<Taken>>,
}

impl Service {
    /// A service that writes through a name.
    pub(super) fn new(login: Login, clock: Clock) -> Self {
        Self {
            login,
            clock,
            taken: Arc::default(),
        }
    }

    /// Answers on a socket until what is returned is dropped.
    pub(super) fn listen(&self, socket: &Path) -> Result<AbortOnDropHandle<()>, SandboxError> {
        let failed = |error| SandboxError::local("listen on", socket, error);
        let listener = UnixListener::bind(socket).map_err(failed)?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(socket, private).map_err(failed)?;
        let routes = Router::new()
            .route("/orders", post(take_order))
            .route("/health", get(health))
            .with_state(self.clone());
        Ok(AbortOnDropHandle::new(tokio::spawn(async move {
            // It only ends with the listener.
            let _ = axum::serve(listener, routes).await;
        })))
    }

    /// Takes an order; its number, once it is committed.
    pub(super) async fn take(&self) -> Result<u64, String> {
        let order = self.question(ORDER).await?;
        let order = order.and_then(|text| text.parse().ok()).ok_or("nothing was ordered")?;
        self.lock().add(order, self.clock.monotonic());
        Ok(order)
    }

    /// What was acknowledged since it was last counted anew.
    pub(super) fn taken(&self) -> Taken {
        self.lock().clone()
    }

    /// Counts anew: for what comes from here on.
    pub(super) fn count_anew(&self) {
        *self.lock() = Taken::default();
    }

    /// Whether it takes orders, or why it does not.
    pub(super) async fn is_well(&self) -> Result<(), String> {
        match self.question(WRITABLE).await?.as_deref() {
            Some("true") => Ok(()),
            _ => Err("the server takes no writes".to_owned()),
        }
    }

    async fn question(&self, sql: &str) -> Result<Option<String>, String> {
        tokio::select! {
            answer = ask(&self.login, DATABASE, sql, &self.clock) => answer.map_err(|error| error.to_string()),
            () = self.clock.sleep(PATIENCE) => Err(format!("the database has not answered within {} s", PATIENCE.as_secs())),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many of some orders a server does not have now.
pub(super) async fn missing(login: &Login, taken: &Taken, clock: &Clock) -> Result<u64, SourceError> {
    if taken.runs.is_empty() {
        return Ok(0);
    }
    let runs: Vec<String> = taken.runs.iter().map(|(from, to)| format!("({from}, {to})")).collect();
    let sql = format!(
        "select count(*) from orders o join (values {}) run (first, last) on o.id between run.first and run.last",
        runs.join(", ")
    );
    let there = ask(login, DATABASE, &sql, clock).await?;
    let there = there.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Ok(taken.count.saturating_sub(there))
}

async fn take_order(State(service): State<Service>) -> (StatusCode, Json<Value>) {
    match service.take().await {
        Ok(order) => (StatusCode::CREATED, Json(json!({ "order": order }))),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": why }))),
    }
}

async fn health(State(service): State<Service>) -> (StatusCode, Json<Value>) {
    match service.is_well().await {
        Ok(()) => (StatusCode::OK, Json(json!({ "takes_orders": true }))),
        Err(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "takes_orders": false, "error": why })),
        ),
    }
}

/// Customers who keep ordering until this is dropped.
#[derive(Debug)]
pub(super) struct Customers {
    open: CancellationToken,
    _ordering: AbortOnDropHandle<()>,
}

impl Customers {
    /// Lets them in.
    pub(super) fn start(service: Service) -> Self {
        let open = CancellationToken::new();
        let closed = open.clone();
        let ordering = tokio::spawn(async move {
            while !closed.is_cancelled() {
                let pause = if service.take().await.is_ok() {
                    ORDER_EVERY
                } else {
                    TRY_AGAIN
                };
                tokio::select! {
                    () = closed.cancelled() => {}
                    () = service.clock.sleep(pause) => {}
                }
            }
        });
        Self {
            open,
            _ordering: AbortOnDropHandle::new(ordering),
        }
    }
}

impl Drop for Customers {
    fn drop(&mut self) {
        self.open.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_kept_as_runs_and_the_longest_pause_between_two() {
        let start = Clock::system().monotonic();
        let mut taken = Taken::default();
        for (order, at) in [(7, 0), (8, 100), (9, 200), (41, 1_900), (42, 2_000), (42, 2_100)] {
            taken.add(order, start + Duration::from_millis(at));
        }
        assert_eq!(taken.runs, [(7, 9), (41, 42), (42, 42)]);
        assert_eq!((taken.count, taken.longest_pause), (6, Duration::from_millis(1_700)));
    }
}
