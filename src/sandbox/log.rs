//! The log of the sandbox's server, streamed into its repository for as long as the sandbox stands.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::shop::DATABASE;
use crate::clock::Clock;
use crate::domain::units::Bytes;
use crate::domain::wal::Lsn;
use crate::repo::Repository;
use crate::source::postgres::Login;
use crate::source::postgres::wal::receive::{self, Note, ReceiveOptions};

/// How often the growing segment is archived.
const GROWING_EVERY: Duration = Duration::from_secs(1);

/// The directory of the receiver in a sandbox.
pub(super) fn directory(sandbox: &Path) -> PathBuf {
    sandbox.join("receiver")
}

/// Receives until it is stopped or dropped.
#[derive(Debug)]
pub(super) struct LogStream {
    stop: CancellationToken,
    task: JoinHandle<()>,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    reached: Lsn,
    trouble: Option<String>,
}

impl LogStream {
    /// Begins.
    pub(super) fn start(sandbox: &Path, login: Login, repo: Repository, clock: Clock) -> Self {
        let options = ReceiveOptions {
            login,
            database: DATABASE.to_owned(),
            slot: "lifeboat".to_owned(),
            dir: directory(sandbox),
            growing_every: GROWING_EVERY,
            limit: Bytes(256 << 20),
        };
        let stop = CancellationToken::new();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let task = tokio::spawn({
            let (stop, heard) = (stop.clone(), Arc::clone(&heard));
            async move {
                let tell = |note: Note| {
                    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                    match note {
                        Note::Reached(lsn) => heard.reached = heard.reached.max(lsn),
                        Note::Trouble(why) | Note::Gap(why) => heard.trouble = Some(why),
                        _ => {}
                    }
                };
                let ended = receive::run(&options, &repo, &tell, &clock, &stop).await;
                if let Err(error) = ended {
                    heard.lock().unwrap_or_else(PoisonError::into_inner).trouble = Some(error.to_string());
                }
            }
        });
        Self { stop, task, heard }
    }

    /// Up to where the log is in the repository.
    pub(super) fn reached(&self) -> Lsn {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).reached
    }

    /// What was the matter last.
    pub(super) fn trouble(&self) -> Option<String> {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .trouble
            .clone()
    }

    /// Stops in good order: what was received is archived.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for LogStream {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}
