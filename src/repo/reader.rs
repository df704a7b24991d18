//! A file of a snapshot as a stream: blobs are fetched ahead, in order, and verified one by one.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::JoinHandle;

use super::Repository;
use super::error::RepoError;
use super::id::Id;
use super::index::Index;
use super::pack::BlobKind;

/// How many blobs are fetched ahead; at about a mebibyte each.
const AHEAD: usize = 4;

type Fetch = JoinHandle<Result<Vec<u8>, RepoError>>;

/// The content of one file; an error of a blob is an error of the read, with a [`RepoError`] inside.
#[derive(Debug)]
pub struct BlobReader {
    repo: Repository,
    index: Arc<Index>,
    left: VecDeque<Id>,
    ahead: VecDeque<Fetch>,
    current: Vec<u8>,
    at: usize,
    size: u64,
}

impl BlobReader {
    pub(crate) fn new(repo: Repository, index: Arc<Index>, content: Vec<Id>, size: u64) -> Self {
        let (left, ahead) = (content.into(), VecDeque::new());
        Self {
            repo,
            index,
            left,
            ahead,
            current: Vec::new(),
            at: 0,
            size,
        }
    }

    /// The size of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn fetch_ahead(&mut self) {
        while self.ahead.len() < AHEAD {
            let Some(id) = self.left.pop_front() else { return };
            let (repo, index) = (self.repo.clone(), Arc::clone(&self.index));
            self.ahead.push_back(tokio::spawn(async move {
                repo.load_blob(&index, BlobKind::Data, &id).await
            }));
        }
    }

    fn poll_blob(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, RepoError>> {
        self.fetch_ahead();
        let Some(next) = self.ahead.front_mut() else {
            return Poll::Ready(Ok(None));
        };
        let fetched = ready!(Pin::new(next).poll(context));
        self.ahead.pop_front();
        Poll::Ready(
            fetched
                .map_err(|error| RepoError::internal(error.to_string()))
                .flatten()
                .map(Some),
        )
    }

    /// The next blob, or `None` at the end.
    pub async fn next_blob(&mut self) -> Result<Option<Vec<u8>>, RepoError> {
        std::future::poll_fn(|context| self.poll_blob(context)).await
    }
}

impl AsyncRead for BlobReader {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.at == this.current.len() {
            match ready!(this.poll_blob(context)) {
                Ok(Some(data)) => (this.current, this.at) = (data, 0),
                Ok(None) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let rest = &this.current[this.at..];
        let length = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..length]);
        this.at += length;
        Poll::Ready(Ok(()))
    }
}

impl Drop for BlobReader {
    fn drop(&mut self) {
        self.ahead.iter().for_each(JoinHandle::abort);
    }
}
