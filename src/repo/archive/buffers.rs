//! The buffers of packs: a fixed number, handed round and used again.
//!
//! Whoever opens a pack waits for a free buffer; a buffer is free again when its upload has ended, however it ended. This
//! is what bounds the memory of packs, and it keeps the allocator from keeping pages for packs long gone.

use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};

use crate::repo::stop::{Stop, Stopped};

/// The buffers that are free, and the way home for those that are not.
#[derive(Debug, Clone)]
pub(super) struct Buffers {
    free: Receiver<Vec<u8>>,
    home: Sender<Vec<u8>>,
}

impl Buffers {
    pub(super) fn new(count: usize) -> Self {
        let (home, free) = crossbeam_channel::bounded(count);
        for _ in 0..count {
            // There is room for each.
            let _ = home.try_send(Vec::new());
        }
        Self { free, home }
    }

    /// Waits for a free buffer and gives it room for `capacity` bytes.
    pub(super) fn take(&self, capacity: usize, stop: &Stop) -> Result<Vec<u8>, Stopped> {
        loop {
            stop.check()?;
            if let Ok(mut buffer) = self.free.recv_timeout(Duration::from_millis(100)) {
                if buffer.capacity() > capacity * 2 {
                    // It held one very large tree; not every buffer should stay that large.
                    buffer = Vec::new();
                }
                buffer.reserve_exact(capacity);
                return Ok(buffer);
            }
        }
    }

    /// Makes the buffer of an upload that has ended free again; a new one takes its place when the store kept the bytes.
    pub(super) fn give_back(&self, data: Bytes) {
        let mut buffer = data.try_into_mut().map_or_else(|_| Vec::new(), Vec::from);
        buffer.clear();
        let _ = self.home.try_send(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::sync::CancellationToken;

    #[test]
    fn a_buffer_is_used_again_unless_somebody_kept_it() {
        let (buffers, stop) = (Buffers::new(1), Stop::new(CancellationToken::new()));
        let mut buffer = buffers.take(100, &stop).unwrap();
        buffer.extend_from_slice(b"pack");
        let address = buffer.as_ptr();
        buffers.give_back(Bytes::from(buffer));
        let mut again = buffers.take(100, &stop).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (address, 0), "the same memory, empty");
        again.extend_from_slice(b"next");
        let kept = Bytes::from(again);
        buffers.give_back(kept.clone());
        assert!(buffers.take(100, &stop).unwrap().is_empty());
        assert_eq!(kept, Bytes::from_static(b"next"));
        stop.fail(crate::repo::RepoError::Cancelled);
        assert!(buffers.take(1, &stop).is_err());
    }
}
