//! A private PostgreSQL server: on a Unix socket only, never as root, gone when its handle is.
//!
//! It runs in its own process group, so that Ctrl-C at a terminal reaches us and not it; we decide when it ends. A pid file
//! beside its data lets [`reap`] end a server whose parent was killed.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use secrecy::{ExposeSecret, SecretString};

use crate::clock::Clock;
use crate::domain::source::{PostgresConnection, TlsMode};
use crate::source::postgres::{Login, identify, parse_version, usual_places};

/// The user the server runs as when we are root.
const SERVER_USER: &str = "postgres";
/// The longest path of a Unix socket, with its terminator.
const SOCKET_PATH_LIMIT: usize = 107;
/// The port only names the socket's file, unless somebody has it listen.
const PORT: u16 = 5432;
/// The superuser of the server.
const SUPERUSER: &str = "lifeboat";

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// PostgreSQL is not installed.
    #[error("no PostgreSQL server is installed on this machine")]
    NotInstalled,
    /// We are root and there is nobody else to run it as.
    #[error("PostgreSQL refuses to run as root and there is no user {SERVER_USER}")]
    NoUser,
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

impl ServerError {
    /// What the operator should do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotInstalled | Self::NoUser => {
                "install one: apt-get install postgresql (Debian, Ubuntu), dnf install postgresql-server (Fedora), \
                 brew install postgresql (macOS)"
            }
            Self::Local { .. } => "check the permissions of that place and what is free there",
            Self::DidNotStart { .. } => "try again with --keep and look into the server's log",
        }
    }
}

/// How the server is set up.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// Whether commits survive a crash of the machine; off makes tests faster.
    pub durable: bool,
    /// A password every connection must give; none lets everybody in who can reach the socket.
    pub password: Option<SecretString>,
    /// The port, which otherwise only names the socket's file.
    pub port: Option<u16>,
    /// Further settings, `name=value`; for tests of what the sandbox itself never needs.
    pub settings: Vec<String>,
}

/// A running server. Dropped means stopped; its files stay until whoever made the directory removes it.
#[derive(Debug)]
pub struct PostgresServer {
    child: Option<Child>,
    data: PathBuf,
    sockets: PathBuf,
    /// The first number of its version.
    pub major: u32,
    /// The directory of its programs.
    pub bin_dir: PathBuf,
    port: u16,
    password: Option<SecretString>,
    clock: Clock,
}

impl PostgresServer {
    /// Makes a new cluster below `dir` and starts a server on it; returns when it answers.
    pub async fn start(dir: &Path, options: ServerOptions, clock: &Clock) -> Result<Self, ServerError> {
        let (bin_dir, major) = find_server().ok_or(ServerError::NotInstalled)?;
        let user = server_user()?;
        let data = dir.join("data");
        let sockets = socket_dir(dir);
        make_private(&data, user.as_ref())?;
        make_private(&sockets, user.as_ref())?;
        initialise(&bin_dir, &data, &options, user.as_ref())?;
        let mut server = Self {
            child: None,
            data,
            sockets,
            major,
            bin_dir,
            port: options.port.unwrap_or(PORT),
            password: options.password.clone(),
            clock: clock.clone(),
        };
        server.spawn(&options, user.as_ref())?;
        server.wait_until_it_answers().await?;
        Ok(server)
    }

    /// How to reach it.
    pub fn connection(&self) -> PostgresConnection {
        PostgresConnection {
            host: self.sockets.display().to_string(),
            port: self.port,
            user: SUPERUSER.to_owned(),
            password: None,
            tls: TlsMode::Disable,
            bin_dir: Some(self.bin_dir.clone()),
        }
    }

    /// Who we are on it.
    pub fn login(&self) -> Login {
        Login::new(self.connection(), self.password.clone())
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Stops it in good order; after ten seconds, not in good order.
    pub fn stop(&mut self) {
        // A fast shutdown first: sessions are ended, the cluster is left consistent.
        self.end(&[(Signal::SIGINT, 10_000), (Signal::SIGQUIT, 2000)]);
    }

    /// Kills it as a crash would.
    pub fn crash(&mut self) {
        self.end(&[(Signal::SIGQUIT, 2000)]);
    }

    fn end(&mut self, steps: &[(Signal, u64)]) {
        let Some(mut child) = self.child.take() else { return };
        for (signal, patience) in steps {
            signal_process(child.id(), *signal);
            for _ in 0..patience / 20 {
                if !matches!(child.try_wait(), Ok(None)) {
                    return;
                }
                self.clock.block(Duration::from_millis(20));
            }
        }
        // Neither can fail in a way that leaves it running: it is our child and SIGKILL cannot be refused.
        let _ = child.kill();
        let _ = child.wait();
    }

    fn spawn(&mut self, options: &ServerOptions, user: Option<&User>) -> Result<(), ServerError> {
        let program = self.bin_dir.join("postgres");
        let log = self.data.with_file_name("server.log");
        let local = |action, path: &Path, error| ServerError::Local {
            action,
            path: path.to_owned(),
            error,
        };
        let out = fs::File::create(&log).map_err(|error| local("create", &log, error))?;
        let err = out.try_clone().map_err(|error| local("open", &log, error))?;
        let on_or_off = if options.durable { "on" } else { "off" };
        let mut command = clean_command(&program, user);
        command
            .arg("-D")
            .arg(&self.data)
            .arg("-k")
            .arg(&self.sockets)
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses="])
            .args(["-c", "unix_socket_permissions=0700"])
            .args(["-c", &format!("fsync={on_or_off}")])
            .args(["-c", &format!("full_page_writes={on_or_off}")])
            .args(["-c", &format!("synchronous_commit={on_or_off}")])
            .args(["-c", "max_connections=40", "-c", "shared_buffers=64MB"])
            .args(["-c", "max_wal_size=512MB", "-c", "min_wal_size=32MB"])
            .args(options.settings.iter().flat_map(|setting| ["-c", setting]))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0);
        let child = command.spawn().map_err(|error| local("start", &program, error))?;
        let pid_file = self.data.with_file_name("server.pid");
        fs::write(&pid_file, child.id().to_string()).map_err(|error| local("write", &pid_file, error))?;
        self.child = Some(child);
        Ok(())
    }

    async fn wait_until_it_answers(&mut self) -> Result<(), ServerError> {
        let mut last = "it did not answer within 30 s".to_owned();
        for _ in 0..600 {
            let ended = self
                .child
                .as_mut()
                .is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if ended {
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
        let log = fs::read(self.data.with_file_name("server.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("; ")
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Nobody will start it again, so there is nothing to leave in good order.
        self.end(&[(Signal::SIGQUIT, 3000)]);
        // A socket directory outside the sandbox, because the sandbox's path is too long for one, is ours alone.
        if self.sockets.parent() != self.data.parent() {
            let _ = fs::remove_dir_all(&self.sockets);
        }
    }
}

/// Ends the server of a sandbox directory whose parent was killed, if it still runs.
pub fn reap(dir: &Path, clock: &Clock) {
    let Ok(text) = fs::read_to_string(dir.join("server.pid")) else {
        return;
    };
    let Ok(pid) = text.trim().parse::<u32>() else { return };
    // The number may have been given to somebody else since: only a process that names this data directory is ours.
    let named = |pid: u32| {
        let mut words = Vec::new();
        let read = fs::File::open(format!("/proc/{pid}/cmdline")).and_then(|mut file| file.read_to_end(&mut words));
        let data = dir.join("data");
        read.is_ok()
            && String::from_utf8_lossy(&words)
                .split('\0')
                .any(|word| Path::new(word) == data)
    };
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL] {
        if !named(pid) {
            break;
        }
        signal_process(pid, signal);
        for _ in 0..100 {
            if !named(pid) {
                break;
            }
            clock.block(Duration::from_millis(30));
        }
    }
    let outside = socket_dir(dir);
    if outside.parent() != Some(dir) {
        // Gone already in most cases.
        let _ = fs::remove_dir_all(outside);
    }
}

/// Where PostgreSQL's server is, and the first number of its version; the newest when there are several.
pub fn find_server() -> Option<(PathBuf, u32)> {
    let version = |directory: &Path| {
        let output = clean_command(&directory.join("postgres"), None)
            .arg("--version")
            .output()
            .ok()?;
        parse_version(&String::from_utf8_lossy(&output.stdout)).map(|(_, major)| major)
    };
    usual_places()
        .into_iter()
        .filter(|directory| {
            ["postgres", "initdb", "pg_dump"]
                .iter()
                .all(|name| directory.join(name).is_file())
        })
        .filter_map(|directory| version(&directory).map(|major| (directory, major)))
        .filter(|(_, major)| *major >= 13)
        .max_by_key(|(_, major)| *major)
}

/// The user to run the server as: ourselves, or when we are root somebody who may.
fn server_user() -> Result<Option<User>, ServerError> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    User::from_name(SERVER_USER)
        .ok()
        .flatten()
        .map(Some)
        .ok_or(ServerError::NoUser)
}

/// A directory for the socket: beside the data, or in the system's temporary directory when that path would be too long.
fn socket_dir(dir: &Path) -> PathBuf {
    let near = dir.join("s");
    if near.as_os_str().len() + "/.s.PGSQL.5432.lock".len() < SOCKET_PATH_LIMIT {
        return near;
    }
    let name = crate::repo::Id::of(dir.as_os_str().as_encoded_bytes()).short();
    std::env::temp_dir().join(format!("lifeboat-s-{name}"))
}

fn make_private(path: &Path, user: Option<&User>) -> Result<(), ServerError> {
    let failed = |error| ServerError::Local {
        action: "create",
        path: path.to_owned(),
        error,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed)?;
    if let Some(user) = user {
        std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(failed)?;
        open_way_to(path);
    }
    Ok(())
}

/// Lets others pass, not look, through the sandbox's own directory; what is further up is not ours to change.
fn open_way_to(path: &Path) {
    let Some(parent) = path.parent() else { return };
    if let Ok(found) = fs::metadata(parent) {
        let mode = found.permissions().mode() | 0o001;
        // When it cannot be opened, the server says so in its log, which the error shows.
        let _ = fs::set_permissions(parent, fs::Permissions::from_mode(mode));
    }
}

fn initialise(bin_dir: &Path, data: &Path, options: &ServerOptions, user: Option<&User>) -> Result<(), ServerError> {
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
                std::os::unix::fs::chown(&secret, Some(user.uid.as_raw()), None)
                    .map_err(|error| local("write", &secret, error))?;
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

/// A command with a clean environment, in a directory everybody may be in, as `user` when one is given.
fn clean_command(program: &Path, user: Option<&User>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/");
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

fn signal_process(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        // A process that is gone already is what was wanted.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}
