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

    /// The bytes of a finished pack; when the last clone is dropped, the buffer is free again.
    pub(super) fn lend(&self, data: Vec<u8>) -> Bytes {
        let home = self.home.clone();
        Bytes::from_owner(Lent { data, home })
    }
}

struct Lent {
    data: Vec<u8>,
    home: Sender<Vec<u8>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        let _ = self.home.try_send(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::sync::CancellationToken;

    #[test]
    fn a_buffer_comes_back_when_its_last_bytes_are_dropped() {
        let (buffers, stop) = (Buffers::new(1), Stop::new(CancellationToken::new()));
        let mut buffer = buffers.take(100, &stop).unwrap();
        buffer.extend_from_slice(b"pack");
        let address = buffer.as_ptr();
        let bytes = buffers.lend(buffer);
        let clone = bytes.clone();
        drop(bytes);
        assert!(buffers.free.is_empty());
        drop(clone);
        let again = buffers.take(100, &stop).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (address, 0), "the same memory, empty");
        stop.fail(crate::repo::RepoError::Cancelled);
        assert!(buffers.take(1, &stop).is_err());
    }
}
