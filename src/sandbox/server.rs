//! A PostgreSQL server of a sandbox: a new cluster on a private server, or a copy that follows one; gone when its handle is.
//!
//! The server itself (its socket, its user, its end, the reaper) is [`crate::source::postgres::server`]'s; this file makes the
//! cluster and chooses settings that fit a throw-away one. The cluster lies in `data` below the given directory, which is
//! also the server's home.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use secrecy::{ExposeSecret, SecretString};

use crate::clock::Clock;
use crate::domain::source::PostgresConnection;
use crate::source::postgres::server::{Launch, PORT, PrivateServer, Programs, RunAs, clean_command, make_private};
pub use crate::source::postgres::server::{ServerError, reap};
use crate::source::postgres::{Login, execute};

/// The superuser of the server.
pub(super) const SUPERUSER: &str = "lifeboat";

/// How the server is set up.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// Whether commits survive a crash of the machine; off makes tests faster.
    pub durable: bool,
    /// A password every connection must give; none lets everybody in who can reach the socket.
    pub password: Option<SecretString>,
    /// The port, which otherwise only names the socket's file.
    pub port: Option<u16>,
    /// The directory of its programs; found when absent.
    pub bin_dir: Option<PathBuf>,
    /// Further settings, `name=value`; for tests of what the sandbox itself never needs.
    pub settings: Vec<String>,
}

/// A running server. Dropped means stopped; its files stay until whoever made the directory removes it.
#[derive(Debug)]
pub struct PostgresServer {
    server: PrivateServer,
    /// The first number of its version.
    pub major: u32,
    /// The directory of its programs.
    pub bin_dir: PathBuf,
}

impl ServerOptions {
    /// Everything that is set on its command line, `name=value`; the last of one name counts.
    pub(super) fn all_settings(&self) -> Vec<String> {
        let on_or_off = if self.durable { "on" } else { "off" };
        let always = [
            "max_connections=40",
            "shared_buffers=64MB",
            "max_wal_size=512MB",
            "min_wal_size=32MB",
        ];
        let durable = ["fsync", "full_page_writes", "synchronous_commit"].map(|name| format!("{name}={on_or_off}"));
        let always = always.into_iter().map(str::to_owned);
        always.chain(durable).chain(self.settings.iter().cloned()).collect()
    }
}

impl PostgresServer {
    /// Makes a new cluster below `dir` and starts a server on it; returns when it answers.
    pub async fn start(dir: &Path, options: ServerOptions, clock: &Clock) -> Result<Self, ServerError> {
        let configured = options.bin_dir.clone();
        let programs = tokio::task::spawn_blocking(move || Programs::find(None, configured.as_deref()));
        let programs = programs.await.map_err(|_| ServerError::NoUser)??;
        let user = RunAs::server_user()?;
        let data = dir.join("data");
        make_private(&data, user)?;
        initialise(&programs.bin_dir, &data, &options, user)?;
        Self::launch(dir, programs, &options, clock).await
    }

    /// Copies a running server below `dir` and starts the copy as its standby, which uses the slot `name` on it; returns when
    /// it answers.
    pub async fn follow(
        dir: &Path,
        primary: &Login,
        name: &str,
        options: &ServerOptions,
        clock: &Clock,
    ) -> Result<Self, ServerError> {
        let configured = options.bin_dir.clone();
        let programs = tokio::task::spawn_blocking(move || Programs::find(None, configured.as_deref()));
        let programs = programs.await.map_err(|_| ServerError::NoUser)??;
        let user = RunAs::server_user()?;
        let data = dir.join("data");
        make_private(&data, user)?;
        let failed = |why: String| ServerError::DidNotStart { why };
        let slot = format!("select pg_create_physical_replication_slot('{name}', true)");
        execute(primary, "postgres", &slot, clock)
            .await
            .map_err(|error| failed(error.to_string()))?;
        copy(&programs.bin_dir, &data, primary, name, user).await?;
        let auto = data.join("postgresql.auto.conf");
        fs::OpenOptions::new()
            .append(true)
            .open(&auto)
            .and_then(|mut file| writeln!(file, "primary_slot_name = '{name}'"))
            .map_err(|error| local("write", &auto, error))?;
        Self::launch(dir, programs, options, clock).await
    }

    async fn launch(
        dir: &Path,
        programs: Programs,
        options: &ServerOptions,
        clock: &Clock,
    ) -> Result<Self, ServerError> {
        let mut launch = Launch::of_own(&dir.join("data"), dir, programs.clone(), SUPERUSER)?
            .password(options.password.clone())
            .port(options.port.unwrap_or(PORT));
        for setting in options.all_settings() {
            launch = launch.set(setting);
        }
        Ok(Self {
            server: PrivateServer::start(launch, clock).await?,
            major: programs.major,
            bin_dir: programs.bin_dir,
        })
    }

    /// How to reach it.
    pub fn connection(&self) -> PostgresConnection {
        self.server.connection()
    }

    /// Who we are on it.
    pub fn login(&self) -> Login {
        self.server.login()
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Stops it in good order; after ten seconds, not in good order.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Whether it has ended by itself. Takes note of its end, without which its process stays in the way of the next.
    pub fn has_ended(&mut self) -> bool {
        self.server.has_ended()
    }

    /// Kills it as a crash would.
    pub fn crash(&mut self) {
        self.server.crash();
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        self.server.log_tail()
    }
}

fn local(action: &'static str, path: &Path, error: std::io::Error) -> ServerError {
    let path = path.to_owned();
    ServerError::Local { action, path, error }
}

/// Copies a running cluster, and has the copy follow it.
async fn copy(
    bin_dir: &Path,
    data: &Path,
    primary: &Login,
    name: &str,
    user: Option<RunAs>,
) -> Result<(), ServerError> {
    let program = bin_dir.join("pg_basebackup");
    let connection = &primary.connection;
    let mut command = tokio::process::Command::from(clean_command(&program, user));
    let ended = command
        .arg("--pgdata")
        .arg(data)
        .args(["--host", &connection.host, "--port", &connection.port.to_string()])
        .args(["--username", &connection.user, "--no-password"])
        .args(["--dbname", &format!("application_name={name}")])
        // What it needs of the log is kept by the slot, and it starts no second process that would have to be ended, too.
        .args(["--wal-method=fetch", "--write-recovery-conf"])
        .args(["--checkpoint=fast", "--no-sync"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| local("run", &program, error))?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr).trim().replace('\n', "; ");
    Err(ServerError::DidNotStart { why: said })
}

fn initialise(bin_dir: &Path, data: &Path, options: &ServerOptions, user: Option<RunAs>) -> Result<(), ServerError> {
    let program = bin_dir.join("initdb");
    let mut command = clean_command(&program, user);
    command
        .arg("--pgdata")
        .arg(data)
        .args(["--username", SUPERUSER, "--encoding", "UTF8", "--locale", "C"])
        .arg("--no-instructions")
        .stdin(Stdio::null());
    if !options.durable {
        command.arg("--no-sync");
    }
    let secret = data.with_file_name("password");
    match &options.password {
        None => command.args(["--auth", "trust"]),
        Some(password) => {
            fs::write(&secret, password.expose_secret()).map_err(|error| local("write", &secret, error))?;
            if let Some(user) = user {
                user.give(&secret)?;
            }
            fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))
                .map_err(|error| local("write", &secret, error))?;
            command.args(["--auth", "scram-sha-256"]).arg("--pwfile").arg(&secret)
        }
    };
    let output = command.output().map_err(|error| local("run", &program, error));
    if options.password.is_some() {
        // It has served; a failure to remove it shows when the whole directory is removed.
        let _ = fs::remove_file(&secret);
    }
    let output = output?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(ServerError::DidNotStart {
        why: said
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect::<Vec<_>>()
            .join("; "),
    })
}
