//! The live stream, line by line.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;

use super::connection::{lost, not_understood};
use super::{Answer, ClientError};
use crate::api::types::StreamItem;
use crate::api::{VERSION, VERSION_HEADER};
use crate::clock::Clock;

/// The agent says something every ten seconds; after this long it is gone.
const SILENCE: Duration = Duration::from_secs(25);
/// The longest line that is believed.
const LINE_LIMIT: usize = 64 << 20;

/// The live picture and the events, as they come. Dropping it hangs up.
#[derive(Debug)]
pub struct Stream {
    body: Incoming,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
    version: String,
    clock: Clock,
    /// When the agent last said something.
    heard: Instant,
    ended: bool,
}

impl Stream {
    pub(super) fn new(response: Response<Incoming>, clock: Clock) -> Self {
        let version = response.headers().get(VERSION_HEADER).and_then(|v| v.to_str().ok());
        Self {
            version: version.unwrap_or(VERSION).to_owned(),
            body: response.into_body(),
            buffer: BytesMut::new(),
            searched: 0,
            heard: clock.monotonic(),
            clock,
            ended: false,
        }
    }

    /// Waits for the next item; none when the agent has ended. After an error there is nothing more.
    ///
    /// Nothing is lost when the future is dropped before it is ready, so it may stand in a `select!`.
    pub async fn next(&mut self) -> Option<Answer<StreamItem>> {
        if self.ended {
            return None;
        }
        let item = self.read().await.transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }

    /// The same as a `futures_util` stream.
    pub fn into_stream(self) -> impl futures_util::Stream<Item = Result<StreamItem, ClientError>> + Send {
        futures_util::stream::unfold(self, |mut stream| async move {
            let item = stream.next().await?;
            Some((item, stream))
        })
    }

    async fn read(&mut self) -> Answer<Option<StreamItem>> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end + 1);
                self.searched = 0;
                let item = serde_json::from_slice(&line);
                return item
                    .map(Some)
                    .map_err(|error| not_understood(Some(&self.version), &error.to_string()));
            }
            self.searched = self.buffer.len();
            if self.searched > LINE_LIMIT {
                return Err(not_understood(Some(&self.version), "a line without end"));
            }
            // Counted from the last word, not from this call: callers drop this future and ask again every second.
            let patience = SILENCE.saturating_sub(self.clock.elapsed(self.heard));
            let frame = tokio::select! {
                biased;
                frame = self.body.frame() => frame,
                () = self.clock.sleep(patience) => {
                    let seconds = SILENCE.as_secs();
                    return Err(lost(&format!("it has been silent for {seconds} s")));
                }
            };
            self.heard = self.clock.monotonic();
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(lost(&error.to_string())),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
            }
        }
    }
}
