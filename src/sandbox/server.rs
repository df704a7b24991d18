//! The PostgreSQL server of a sandbox: a new cluster on a private server, gone when its handle is.
//!
//! The server itself (its socket, its user, its end, the reaper) is [`crate::source::postgres::server`]'s; this file makes the
//! cluster and chooses settings that fit a throw-away one. The cluster lies in `data` below the given directory, which is
//! also the server's home.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use secrecy::{ExposeSecret, SecretString};

use crate::clock::Clock;
use crate::domain::source::PostgresConnection;
use crate::source::postgres::Login;
use crate::source::postgres::server::{Launch, PORT, PrivateServer, Programs, RunAs, clean_command, make_private};
pub use crate::source::postgres::server::{ServerError, reap};

/// The superuser of the server.
const SUPERUSER: &str = "lifeboat";

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
        let on_or_off = if options.durable { "on" } else { "off" };
        let mut launch = Launch::of_own(&data, dir, programs.clone(), SUPERUSER)?
            .password(options.password.clone())
            .port(options.port.unwrap_or(PORT))
            .set("max_connections=40")
            .set("shared_buffers=64MB")
            .set("max_wal_size=512MB")
            .set("min_wal_size=32MB");
        for name in ["fsync", "full_page_writes", "synchronous_commit"] {
            launch = launch.set(format!("{name}={on_or_off}"));
        }
        for setting in options.settings {
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

    /// Kills it as a crash would.
    pub fn crash(&mut self) {
        self.server.crash();
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        self.server.log_tail()
    }
}

fn initialise(bin_dir: &Path, data: &Path, options: &ServerOptions, user: Option<RunAs>) -> Result<(), ServerError> {
    let program = bin_dir.join("initdb");
    let local = |action, path: &Path, error| ServerError::Local {
        action,
        path: path.to_owned(),
        error,
    };
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
