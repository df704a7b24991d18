//! The throw-away world of `lifeboat demo`: a real PostgreSQL server, made data, incidents on purpose.
//!
//! Everything it makes lies in one directory with a mark in it, and is gone afterwards: after success, failure, Ctrl-C and
//! SIGTERM at once, after a kill -9 at the start of the next demo. The engine in it is the real one, and both the console
//! and the drill see it through the API only; what breaks things and what proves them intact again knows nothing of it.
//!
//! | file | what it does |
//! | --- | --- |
//! | `world`, `settings` | builds everything with an ordinary configuration, and takes it down |
//! | `dir` | the directory and its mark; the reaper of those left behind |
//! | `bucket` | the S3 server of the far region, shared with the tests |
//! | `server` | a private PostgreSQL server, shared with the tests |
//! | `pair`, `member`, `relay` | the shop's primary and standby, its name, and the ways to them, which can be cut |
//! | `reload` | puts a changed configuration in force |
//! | `shop`, `documents` | the data: a shop, a tree of files with odd names |
//! | `orders` | the service that takes the shop's orders, and the customers |
//! | `incidents/` | what can be broken for practice, and how it would be noticed |
//! | `score`, `keeper` | what practice came to: the book, and who looks whether things hold again |
//! | `drill` | the whole story as a log: back up, verify, break, recover, prove |
//! | `drill/scenario/` | one incident, its runbook gone through by two engineers, the proof, the score |
//! | `proof` | before and after, table by table and file by file |
//!
//! What this room never does: touch a directory that lacks its mark, run a server as root, or listen on anything that another
//! machine could reach. All of it talks over Unix sockets but for the bucket, which nobody could use as a program does who
//! has to: it is on the loopback address, on a port of the system's choice, and answers only who signs with a key that was
//! made up for this one sandbox.

pub mod bucket;
mod dir;
mod documents;
mod drill;
mod incidents;
mod keeper;
mod member;
mod orders;
mod pair;
mod proof;
mod relay;
mod reload;
mod score;
pub mod server;
mod settings;
mod shop;
mod world;

use std::future::Future;
use std::path::PathBuf;

pub use drill::{Scenario, Verdict, drill};
pub use world::World;

/// What somebody asked of the demo.
#[derive(Debug, Clone, Default)]
pub struct DemoOptions {
    /// Where to build it; a fresh temporary directory when absent.
    pub dir: Option<PathBuf>,
    /// Whether to leave the files in place afterwards. The server is stopped in any case.
    pub keep: bool,
    /// Which incident is played with its runbook; the whole drill when absent.
    pub scenario: Option<Scenario>,
    /// Where the report of a scenario goes; a file in the temporary directory when absent.
    pub report: Option<PathBuf>,
}

/// Ends when somebody presses Ctrl-C, the system asks us to end, or the terminal is gone.
pub fn interruption() -> Result<impl Future<Output = ()>, SandboxError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| SandboxError::local("listen for", "signals".as_ref(), error));
    let mut int = listen(SignalKind::interrupt())?;
    let mut term = listen(SignalKind::terminate())?;
    let mut hup = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
    })
}

/// Why the demo could not be built or played.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The directory is somebody else's.
    #[error("{path} is not empty and not a sandbox of an earlier demo")]
    ForeignDirectory {
        /// Which.
        path: PathBuf,
    },
    /// Another demo lives there.
    #[error("another demo, process {pid}, is using {path}")]
    InUse {
        /// Which.
        path: PathBuf,
        /// Whose.
        pid: u32,
    },
    /// The machine this runs on failed.
    #[error("cannot {action} {path}: {error}")]
    Local {
        /// The verb.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The reason.
        error: std::io::Error,
    },
    /// The server could not be started.
    #[error(transparent)]
    Server(#[from] server::ServerError),
    /// The data could not be made or read.
    #[error(transparent)]
    Source(#[from] crate::source::SourceError),
    /// The repository could not be made.
    #[error(transparent)]
    Repo(#[from] crate::repo::RepoError),
    /// The far region's bucket has nowhere to listen.
    #[error("no port of 127.0.0.1 can be listened on, which the bucket of the far region needs: {error}")]
    NoPort {
        /// The reason.
        error: std::io::Error,
    },
    /// The engine refused or failed.
    #[error("{message}")]
    Engine {
        /// What failed.
        message: String,
        /// What to do next.
        hint: Option<String>,
    },
    /// Somebody pressed Ctrl-C, or the system asked us to end.
    #[error("interrupted")]
    Interrupted,
    /// Something took longer than it may.
    #[error("{what} took longer than {seconds} s")]
    TooLong {
        /// What.
        what: String,
        /// How long it was given.
        seconds: u64,
    },
}

impl SandboxError {
    /// What the operator should do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::ForeignDirectory { .. } => Some("choose another --dir, or none for a temporary one".to_owned()),
            Self::InUse { .. } => Some("end it first, or choose another --dir".to_owned()),
            Self::Server(error) => Some(error.hint()),
            Self::Source(error) => error.hint(),
            Self::Repo(error) => error.hint().map(str::to_owned),
            Self::NoPort { .. } => Some("bring the loopback interface up: ip link set lo up".to_owned()),
            Self::Engine { hint, .. } => hint.clone(),
            Self::Interrupted => None,
            Self::Local { .. } => Some("check the permissions of that place and what is free there".to_owned()),
            Self::TooLong { .. } => Some("try again with --keep and look into the logs in the sandbox".to_owned()),
        }
    }

    fn local(action: &'static str, path: &std::path::Path, error: std::io::Error) -> Self {
        let path = path.to_owned();
        Self::Local { action, path, error }
    }
}

impl From<crate::api::ClientError> for SandboxError {
    fn from(error: crate::api::ClientError) -> Self {
        Self::Engine {
            message: error.message,
            hint: error.hint,
        }
    }
}

impl From<crate::engine::EngineError> for SandboxError {
    fn from(error: crate::engine::EngineError) -> Self {
        Self::Engine {
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        }
    }
}
