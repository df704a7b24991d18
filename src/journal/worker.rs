//! A thread that owns something blocking, and the way to ask it.

use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::error::JournalError;

/// How many requests may wait; more callers than that wait to ask.
const QUEUE: usize = 64;

type Work<C> = Box<dyn FnOnce(&mut C) + Send>;

enum Request<C> {
    Do(Work<C>),
    Stop(oneshot::Sender<()>),
}

/// A handle on a thread that owns a `C`; the thread ends with the last handle, or when it is stopped.
pub(super) struct Worker<C>(mpsc::Sender<Request<C>>);

impl<C> Clone for Worker<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> std::fmt::Debug for Worker<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Worker")
    }
}

impl<C: 'static> Worker<C> {
    /// Starts a thread that opens a `C`, and waits until it has.
    pub(super) async fn start<T: Send + 'static>(
        name: &str,
        open: impl FnOnce() -> Result<(C, T), JournalError> + Send + 'static,
    ) -> Result<(Self, T), JournalError> {
        let (requests, mut queue) = mpsc::channel::<Request<C>>(QUEUE);
        let (opened, outcome) = oneshot::channel();
        let body = move || {
            let mut owned = match open() {
                Ok((owned, answer)) => {
                    // Nobody waits any more: the caller gave up, and the queue is closed too.
                    let _ = opened.send(Ok(answer));
                    owned
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            while let Some(request) = queue.blocking_recv() {
                match request {
                    Request::Do(work) => work(&mut owned),
                    Request::Stop(done) => {
                        drop(owned);
                        let _ = done.send(());
                        return;
                    }
                }
            }
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .map_err(|source| JournalError::io("start a thread for", std::path::Path::new(name), source))?;
        let answer = outcome.await.map_err(|_| JournalError::Closed)??;
        Ok((Self(requests), answer))
    }

    /// Has the thread do `work` after all that was asked before. Once sent it is done, even when the caller stops waiting.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut C) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (answer, outcome) = oneshot::channel();
        let boxed: Work<C> = Box::new(move |owned| {
            let _ = answer.send(work(owned));
        });
        self.0
            .send(Request::Do(boxed))
            .await
            .map_err(|_| JournalError::Closed)?;
        outcome.await.map_err(|_| JournalError::Closed)?
    }

    /// Ends the thread after all that was asked before, and waits until what it owned is dropped.
    pub(super) async fn stop(&self) {
        let (done, ended) = oneshot::channel();
        if self.0.send(Request::Stop(done)).await.is_ok() {
            let _ = ended.await;
        }
    }
}
