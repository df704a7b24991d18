//! The live stream: pictures, events and signs of life, at the client's own pace.
//!
//! One task a client sits between the engine's channels and the connection. While the client does not read, that task
//! waits and nothing else does: pictures replace one another in the watch, and of the events the oldest are dropped for
//! this client alone. Who needs every event reads the journal.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::Shared;
use super::routes::ReadOnly;
use crate::api::backend::Backend;
use crate::api::types::{Overview, StreamItem};
use crate::clock::Clock;

/// Pictures come at most this often.
const PICTURE_INTERVAL: Duration = Duration::from_millis(250);
/// Something comes at least this often.
const ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Lines that may wait for the connection.
const WAITING_LINES: usize = 8;

type Lines = mpsc::Sender<Bytes>;

/// `GET /v1/stream`.
pub(super) async fn stream<B: Backend>(
    State(shared): State<Shared<B>>,
    Extension(ReadOnly(read_only)): Extension<ReadOnly>,
) -> Response {
    let (lines, receiver) = mpsc::channel(WAITING_LINES);
    tokio::spawn(async move {
        let stopped = shared.stopped.clone();
        tokio::select! {
            () = lines.closed() => {}
            () = stopped.cancelled() => {}
            () = follow(&shared, read_only, &lines) => {}
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// Writes until the engine ends. Dropped when the client hangs up.
async fn follow<B: Backend>(shared: &Shared<B>, read_only: bool, lines: &Lines) {
    let _attached = shared.backend.attach_client();
    let clock = &shared.clock;
    let mut events = shared.backend.events();
    let mut pictures = shared.backend.overview();
    pictures.mark_changed();
    let mut pace = Pace::new(clock.clone());
    loop {
        // A biased choice: a picture that is due comes before the events that led to it, so that the first line is one.
        let sent = tokio::select! {
            biased;
            changed = pace.next(&mut pictures) => {
                if changed.is_err() {
                    return;
                }
                let picture = Arc::clone(&pictures.borrow_and_update());
                pace.drawn();
                send(lines, &picture_item(&picture, read_only)).await
            }
            event = events.recv() => match event {
                Ok(record) => send(lines, &StreamItem::Event { record: Box::new(record.as_ref().clone()) }).await,
                Err(RecvError::Lagged(_)) => true,
                Err(RecvError::Closed) => return,
            },
            () = clock.sleep(ALIVE_INTERVAL) => send(lines, &StreamItem::Alive { at: clock.now() }).await,
        };
        if !sent {
            return;
        }
    }
}

fn picture_item(picture: &Overview, read_only: bool) -> StreamItem {
    let mut overview = Box::new(picture.clone());
    overview.read_only |= read_only;
    StreamItem::Overview { overview }
}

async fn send(lines: &Lines, item: &StreamItem) -> bool {
    let Ok(mut line) = serde_json::to_vec(item) else {
        // Only maps with keys that are not text cannot be written, and an item has none.
        return false;
    };
    line.push(b'\n');
    lines.send(line.into()).await.is_ok()
}

/// Keeps pictures from coming more often than [`PICTURE_INTERVAL`].
struct Pace {
    clock: Clock,
    last: Option<std::time::Instant>,
}

impl Pace {
    fn new(clock: Clock) -> Self {
        Self { clock, last: None }
    }

    fn drawn(&mut self) {
        self.last = Some(self.clock.monotonic());
    }

    /// Waits until there is a new picture and it is time for one.
    async fn next(&self, pictures: &mut watch::Receiver<Arc<Overview>>) -> Result<(), watch::error::RecvError> {
        pictures.changed().await?;
        // `changed` marks the picture as seen; should this future be dropped while it waits, the next must see it again.
        pictures.mark_changed();
        if let Some(last) = self.last {
            let left = PICTURE_INTERVAL.saturating_sub(self.clock.elapsed(last));
            if !left.is_zero() {
                self.clock.sleep(left).await;
            }
        }
        Ok(())
    }
}
