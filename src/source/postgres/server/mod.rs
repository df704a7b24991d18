//! A private PostgreSQL server: on a Unix socket only, never as root, gone when its handle is.
//!
//! **Who may reach it.** Nobody but its own user and root: the socket's directory is 0700, `listen_addresses` is empty, and
//! no setting in the data directory can change that, because what is on the command line wins over every file.
//!
//! **What it may do to others.** Nothing. A server on a *copy* of somebody's data ([`Launch::of_copy`]) reads neither the
//! copy's `postgresql.conf` nor its `pg_hba.conf`; it archives nothing, follows no primary, applies no subscription, loads
//! no library that might start jobs (`pg_cron`), and waits for no standby. The command line overrules `postgresql.auto.conf`.
//!
//! **Who it runs as.** As ourselves; when we are root, as the owner of the data, or, when root owns it, as the user
//! `postgres`, who is then given the data.
//!
//! **Crash windows.** It has a process group of its own, so that Ctrl-C at a terminal reaches us and not it; we decide when
//! it ends. Its mark is written right after it is started: a process killed in between leaves a server without a mark, which
//! the next start on the same data finds by its `postmaster.pid` ([`end_on`]). One killed later leaves a server that
//! [`reap`] ends.
//!
//! **Left running on purpose.** [`PrivateServer::keep`] lets go of it, [`PrivateServer::attach`] takes hold of it again; a
//! handle that was taken in this way and is dropped leaves it running.
//!
//! | file | what it does |
//! | --- | --- |
//! | `mod` | the handle: start, wait, stop, crash, keep, attach |
//! | `launch` | its command line |
//! | `place` | whose it is, and its private directories |
//! | `mark` | the note beside it, and how one that was left is ended |
//!
//! What this room never does: listen on a network, end a process that does not name the data directory, or keep a password
//! in a file or an argument.

mod launch;
mod mark;
mod place;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use nix::sys::signal::Signal;
use secrecy::SecretString;

pub use launch::{Launch, Programs};
pub use mark::{end_on, reap, reap_below, refuse_in_use};
pub use place::RunAs;
pub(crate) use place::{clean_command, make_private, socket_dir as sockets};

use super::{Login, identify};
use crate::clock::Clock;
use crate::domain::source::{PostgresConnection, TlsMode};
use mark::Mark;

/// The user the server runs as when we are root and root owns the data.
const SERVER_USER: &str = "postgres";
/// The port only names the socket's file, unless somebody has it listen.
pub const PORT: u16 = 5432;
/// How often it is looked whether something has ended or answers.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How much of a log is looked at, at its end, in bytes.
const LOG_TAIL: u64 = 64 << 10;

/// Why there is no server: what failed, on what; [`ServerError::hint`] says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// PostgreSQL is not installed, or not in this version.
    #[error("no PostgreSQL server{} is installed on this machine{}", of_version(*major), told(found))]
    NotInstalled {
        /// The major version that is needed; none when any will do.
        major: Option<u32>,
        /// What was found instead.
        found: Vec<String>,
    },
    /// We are root and there is nobody else to run it as.
    #[error("PostgreSQL refuses to run as root and there is no user {SERVER_USER}")]
    NoUser,
    /// The directory holds no cluster.
    #[error("{path} is not the data directory of a cluster: {why}")]
    NotACluster {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// Some server runs on that data.
    #[error("a server, process {pid}, is running on {path}")]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// Its process.
        pid: u32,
    },
    /// Whether a server runs on that data cannot be told.
    #[error("it cannot be told whether a server runs on {path}: {why}")]
    Unclear {
        /// The data directory.
        path: PathBuf,
        /// What stands in the way.
        why: String,
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
    /// It did not begin to answer.
    #[error("the PostgreSQL server did not start: {why}")]
    DidNotStart {
        /// The end of its log.
        why: String,
    },
}

fn of_version(major: Option<u32>) -> String {
    major.map(|major| format!(" of version {major}")).unwrap_or_default()
}

fn told(found: &[String]) -> String {
    if found.is_empty() {
        return String::new();
    }
    format!("; there is {}", found.join(", "))
}

impl ServerError {
    /// Whether an interlock refused it, so that nothing was changed.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::InUse { .. } | Self::Unclear { .. })
    }

    /// What the operator should do next.
    pub fn hint(&self) -> String {
        let fixed = match self {
            Self::NotInstalled { major: Some(major), .. } => {
                return format!(
                    "install that version (Debian: apt-get install postgresql-{major}), or say where its programs are with bin_dir"
                );
            }
            Self::NotInstalled { .. } | Self::NoUser => {
                "install one: apt-get install postgresql (Debian, Ubuntu), dnf install postgresql-server (Fedora), \
                 brew install postgresql (macOS)"
            }
            Self::NotACluster { .. } => "give the directory that holds PG_VERSION and global",
            Self::InUse { .. } => "stop that server first, or choose another directory",
            Self::Unclear { .. } => "make sure that no server runs on it, then remove its postmaster.pid",
            Self::Local { .. } => "check the permissions of that place and what is free there",
            Self::DidNotStart { .. } => "look into the server's log, which is kept beside its data",
        };
        fixed.to_owned()
    }

    /// Whether the same request may succeed when it is repeated.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::DidNotStart { .. })
    }

    fn local(action: &'static str, path: &Path, error: std::io::Error) -> Self {
        let path = path.to_owned();
        Self::Local { action, path, error }
    }
}

/// The process of a server: our child, or one that an earlier process of ours started.
#[derive(Debug)]
enum Process {
    Child(Child),
    Found,
}

/// A running server. Dropped means stopped; its files stay until whoever made them removes them.
#[derive(Debug)]
pub struct PrivateServer {
    process: Option<Process>,
    home: PathBuf,
    mark: Mark,
    password: Option<SecretString>,
    clock: Clock,
}

impl PrivateServer {
    /// Starts a server and returns when it answers.
    pub async fn start(launch: Launch, clock: &Clock) -> Result<Self, ServerError> {
        let mut server = Self::spawn(launch, clock)?;
        server.wait_until_it_answers().await?;
        Ok(server)
    }

    /// Starts a server and returns at once; it may end again before it answers.
    pub fn spawn(launch: Launch, clock: &Clock) -> Result<Self, ServerError> {
        let home = launch.home.clone();
        let password = launch.password.clone();
        let (child, mark) = launch.run()?;
        let server = Self {
            process: Some(Process::Child(child)),
            home,
            mark,
            password,
            clock: clock.clone(),
        };
        // From here on it is stopped when this fails: the handle is dropped.
        server.mark.write(&server.home)?;
        Ok(server)
    }

    /// Takes hold of a server that [`PrivateServer::keep`] let go of; none when it has ended since.
    pub fn attach(home: &Path, clock: &Clock) -> Result<Option<Self>, ServerError> {
        let Some(mark) = Mark::read(home)? else { return Ok(None) };
        if !mark.is_running() {
            return Ok(None);
        }
        Ok(Some(Self {
            process: Some(Process::Found),
            home: home.to_owned(),
            mark,
            password: None,
            clock: clock.clone(),
        }))
    }

    /// How to reach the server whose home this is; none when none runs. Nobody takes hold of it.
    pub fn running(home: &Path) -> Result<Option<PostgresConnection>, ServerError> {
        let mark = Mark::read(home)?.filter(Mark::is_running);
        Ok(mark.map(|mark| connection_of(&mark)))
    }

    /// Lets go of it: it goes on running when this process has ended, and the reaper leaves it alone.
    pub fn keep(mut self) -> Result<(), ServerError> {
        self.mark.kept = true;
        // When that cannot be written down it is stopped, because nobody would find it again.
        self.mark.write(&self.home)?;
        self.process = None;
        Ok(())
    }

    /// How to reach it.
    pub fn connection(&self) -> PostgresConnection {
        connection_of(&self.mark)
    }

    /// Who we are on it.
    pub fn login(&self) -> Login {
        Login::new(self.connection(), self.password.clone())
    }

    /// Logs in as somebody else from now on.
    pub fn set_role(&mut self, role: &str) -> Result<(), ServerError> {
        role.clone_into(&mut self.mark.role);
        self.mark.write(&self.home)
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.mark.data
    }

    /// The first number of its version.
    pub fn major(&self) -> u32 {
        self.mark.major
    }

    /// The directory of its programs.
    pub fn bin_dir(&self) -> &Path {
        &self.mark.bin_dir
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|_| self.mark.pid)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        match &mut self.process {
            None => true,
            Some(Process::Child(child)) => !matches!(child.try_wait(), Ok(None)),
            Some(Process::Found) => !self.mark.is_running(),
        }
    }

    /// Sends it a signal; nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) {
        if self.process.is_some() {
            mark::signal_process(self.mark.pid, signal);
        }
    }

    /// Stops it in good order; after `patience`, not in good order. Blocks: not for the async runtime.
    pub fn stop_within(&mut self, patience: Duration) {
        // A fast shutdown first: sessions are ended, the cluster is left consistent.
        self.end(&[(Signal::SIGINT, patience), (Signal::SIGQUIT, Duration::from_secs(2))]);
    }

    /// Stops it in good order; after ten seconds, not in good order.
    pub fn stop(&mut self) {
        self.stop_within(Duration::from_secs(10));
    }

    /// Kills it as a crash would.
    pub fn crash(&mut self) {
        self.end(&[(Signal::SIGQUIT, Duration::from_secs(2))]);
    }

    fn end(&mut self, steps: &[(Signal, Duration)]) {
        for (signal, patience) in steps {
            self.signal(*signal);
            let begun = self.clock.monotonic();
            while self.clock.elapsed(begun) < *patience {
                if self.has_ended() {
                    break;
                }
                self.clock.block(LOOK_EVERY);
            }
        }
        match self.process.take() {
            // Neither can fail in a way that leaves it running: it is our child and SIGKILL cannot be refused.
            Some(Process::Child(mut child)) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Some(Process::Found) => mark::end(&self.mark, &self.clock),
            None => return,
        }
        Mark::remove(&self.home);
        place::remove_far_sockets(&self.mark.sockets, &self.home);
    }

    async fn wait_until_it_answers(&mut self) -> Result<(), ServerError> {
        let mut last = "it did not answer within 30 s".to_owned();
        for _ in 0..600 {
            if self.has_ended() {
                last = self.log_tail();
                break;
            }
            match identify(&self.login(), "postgres", &self.clock).await {
                Ok(_) => return Ok(()),
                Err(error) => last = error.to_string(),
            }
            self.clock.sleep(Duration::from_millis(50)).await;
        }
        self.crash();
        Err(ServerError::DidNotStart { why: last })
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let text = log_end(&self.home);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("; ")
    }
}

fn connection_of(mark: &Mark) -> PostgresConnection {
    PostgresConnection {
        host: mark.sockets.display().to_string(),
        port: mark.port,
        user: mark.role.clone(),
        password: None,
        tls: TlsMode::Disable,
        bin_dir: Some(mark.bin_dir.clone()),
    }
}

/// Where a server with that home writes its log.
pub fn log_path(home: &Path) -> PathBuf {
    home.join("server.log")
}

/// The end of the log of a server with that home, from the beginning of a line; empty when there is none.
pub fn log_end(home: &Path) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(log_path(home))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut bytes)?;
        if length > LOG_TAIL {
            let line = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            bytes.drain(..line);
        }
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        // One that was left running on purpose was taken hold of for a while only: it goes on, whatever became of that.
        if self.mark.kept && matches!(self.process, Some(Process::Found)) {
            return;
        }
        // Nobody will start it again, so there is nothing to leave in good order.
        if self.process.is_some() {
            self.end(&[(Signal::SIGQUIT, Duration::from_secs(3))]);
        }
    }
}
