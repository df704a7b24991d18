//! An upload that knows how far it is, so that one that stands still can be told from one that is slow.
//!
//! The bytes are handed to the connection in slices of the caller's buffer; each slice taken is a sign of life. When
//! the last one is taken it may still wait in the buffers of the connection, so the server has a whole minute to answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::answer::Failure;
use crate::clock::Clock;

/// The bytes handed over at one time.
const SLICE: usize = 256 << 10;
/// How long nothing may move.
const STILL: Duration = Duration::from_secs(60);
/// How often is looked whether anything moved.
const LOOK: Duration = Duration::from_secs(5);

/// A body in memory that counts what was taken of it.
#[derive(Debug)]
struct Counted {
    left: Bytes,
    taken: Arc<AtomicU64>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.left.len().min(SLICE);
        let slice = self.left.split_to(length);
        // Counted in slices and not in bytes, so that the last, short one counts too.
        self.taken.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

/// Makes a body of `data`, and the future that ends when it has stood still for too long.
pub(super) fn upload(data: Bytes, clock: &Clock) -> (ByteStream, impl Future<Output = Failure>) {
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Counted {
        left: data,
        taken: Arc::clone(&taken),
    };
    let clock = clock.clone();
    let stalled = async move {
        let mut seen = taken.load(Ordering::Relaxed);
        let mut since = clock.monotonic();
        loop {
            clock.sleep(LOOK).await;
            let now = taken.load(Ordering::Relaxed);
            if now != seen {
                (seen, since) = (now, clock.monotonic());
            } else if clock.elapsed(since) >= STILL {
                return Failure::silence("the upload stood still", STILL);
            }
        }
    };
    (ByteStream::new(SdkBody::from_body_1_x(counted)), stalled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};

    #[tokio::test]
    async fn every_byte_is_handed_over_once() {
        let data = Bytes::from((0..=255u8).cycle().take(3 * SLICE + 17).collect::<Vec<u8>>());
        let (body, _) = upload(data.clone(), &Clock::system());
        assert_eq!(body.size_hint(), (data.len() as u64, Some(data.len() as u64)));
        let read = body.collect().await.unwrap().into_bytes();
        assert_eq!(read, data);
        let (empty, _) = upload(Bytes::new(), &Clock::system());
        assert_eq!(empty.collect().await.unwrap().into_bytes(), Bytes::new());
    }

    #[tokio::test]
    async fn only_an_upload_that_stands_still_is_given_up() {
        let clock = Clock::manual(DateTime::<Utc>::UNIX_EPOCH);
        let (mut body, stalled) = upload(Bytes::from(vec![0; 4 * SLICE]), &clock);
        tokio::pin!(stalled);
        for _ in 0..4 {
            assert!(body.next().await.is_some());
            for _ in 0..5 {
                assert!(futures_util::poll!(&mut stalled).is_pending(), "it moves");
                clock.advance(LOOK);
            }
        }
        for _ in 0..20 {
            if futures_util::poll!(&mut stalled).is_ready() {
                return;
            }
            clock.advance(LOOK);
        }
        panic!("an upload that stands still was not given up");
    }
}
