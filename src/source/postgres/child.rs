//! The client programs of PostgreSQL as child processes: explicit arguments, a clean environment, no shell, no zombie.
//!
//! A password reaches a child through a file only its owner can read (`PGPASSFILE`), which is gone when the child is.
//! What a child says on its error output is kept up to a bound. A child never outlives its handle: dropped means killed.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::connect::{Login, within};
use crate::clock::Clock;
use crate::domain::source::TlsMode;
use crate::source::SourceError;

/// What is kept of a child's error output.
const STDERR_KEPT: usize = 16 << 10;

/// How much of a child's output may wait to be read, in bytes: what anybody may have, unless the administrator said less.
const PIPE_ROOM: i32 = 1 << 20;

/// How long a child that is asked to end may take before it is killed.
const GRACE: Duration = Duration::from_millis(500);

/// A client program about to be started.
#[derive(Debug)]
pub(super) struct Program {
    name: &'static str,
    path: PathBuf,
    subject: String,
    arguments: Vec<OsString>,
    user: Option<(u32, u32)>,
}

impl Program {
    /// A program, by its name and place, and what it will work on, for error texts.
    pub(super) fn new(name: &'static str, path: &Path, subject: impl Into<String>) -> Self {
        Self {
            name,
            path: path.to_owned(),
            subject: subject.into(),
            arguments: Vec::new(),
            user: None,
        }
    }

    /// Has it run as another user and group, by their numbers; only root may.
    pub(super) fn of_user(mut self, user: Option<(u32, u32)>) -> Self {
        self.user = user;
        self
    }

    /// Adds an argument.
    pub(super) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds an argument when `wanted`.
    pub(super) fn arg_if(self, wanted: bool, argument: &str) -> Self {
        if wanted { self.arg(argument) } else { self }
    }

    /// Adds what every program needs to connect; the database is given as a quoted connection string, because a bare
    /// name with an equals sign or a slash in it would be read as one.
    pub(super) fn connect(self, login: &Login, database: Option<&str>) -> Self {
        let connection = &login.connection;
        let program = self
            .arg(format!("--host={}", connection.host))
            .arg(format!("--port={}", connection.port))
            .arg(format!("--username={}", connection.user))
            .arg("--no-password");
        match database {
            Some(name) => program.arg(format!("--dbname={}", connection_string(name))),
            None => program,
        }
    }

    /// Starts it with its input and output piped; `login` is for those that connect.
    pub(super) fn start(self, login: Option<&Login>) -> Result<Running, SourceError> {
        let failed = |error: std::io::Error| SourceError::local("start", &self.path, &error);
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("PGCONNECT_TIMEOUT", "10")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // Ctrl-C at a terminal reaches the whole foreground group; the caller decides when children end, not the terminal.
        command.process_group(0);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group).current_dir("/");
        }
        let pass_file = match login {
            Some(login) => {
                command.env("PGAPPNAME", &login.application);
                command.env("PGSSLMODE", ssl_mode(login));
                command.env("PGSSLROOTCERT", ssl_authorities(login));
                let write = |password| PassFile::write(password, self.user);
                let file = login.password.as_ref().map(write).transpose()?;
                let path = file
                    .as_ref()
                    .map_or(Path::new("/nonexistent/pgpass"), |file| &file.path);
                command.env("PGPASSFILE", path);
                file
            }
            None => None,
        };
        let mut child = command.spawn().map_err(failed)?;
        let stderr = child.stderr.take().map(|pipe| tokio::spawn(tail_of(pipe)));
        Ok(Running {
            name: self.name,
            subject: self.subject,
            child,
            stderr,
            _pass_file: pass_file,
        })
    }
}

/// The TLS words of libpq; a Unix socket has none.
pub(super) fn ssl_mode(login: &Login) -> &'static str {
    if login.connection.host.starts_with('/') {
        return "disable";
    }
    match login.connection.tls {
        TlsMode::Disable => "disable",
        TlsMode::Prefer => "prefer",
        TlsMode::Require => "require",
        TlsMode::VerifyFull => "verify-full",
    }
}

/// The file of the authorities whose certificates libpq takes. One that is not there where none is checked: any that is, even
/// that of the user, would make it check certificates that `require` takes unseen.
pub(super) fn ssl_authorities(login: &Login) -> PathBuf {
    let checked = login.connection.tls == TlsMode::VerifyFull;
    let bundle = super::tls::authority_bundle().filter(|_| checked);
    bundle.unwrap_or_else(|| "/nonexistent/authorities".into())
}

/// A value of a connection string: in quotes, whatever is in it.
pub(super) fn in_quotes(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A connection string that names nothing but a database, whatever characters are in it.
fn connection_string(database: &str) -> String {
    format!("dbname={}", in_quotes(database))
}

/// A client program that runs.
#[derive(Debug)]
pub(super) struct Running {
    name: &'static str,
    subject: String,
    child: Child,
    stderr: Option<JoinHandle<String>>,
    _pass_file: Option<PassFile>,
}

impl Running {
    /// Its input; once. Dropping it is the end of input.
    pub(super) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its output; once.
    pub(super) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its output as a file that is read blocking, with room for what comes while nobody reads; once.
    pub(super) fn take_output(&mut self) -> Result<fs::File, SourceError> {
        let failed = |error: std::io::Error| SourceError::local("read the output of", Path::new(self.name), &error);
        let Some(output) = self.child.stdout.take() else {
            return Err(SourceError::Cancelled);
        };
        let file = fs::File::from(output.into_owned_fd().map_err(failed)?);
        fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).map_err(|errno| failed(errno.into()))?;
        // More room only saves waiting; an administrator may have made it scarce.
        let _ = fcntl(&file, FcntlArg::F_SETPIPE_SZ(PIPE_ROOM));
        Ok(file)
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end; anything but success is an error with the end of what it said.
    pub(super) async fn finish(mut self) -> Result<(), SourceError> {
        drop(self.child.stdin.take());
        let status = self
            .child
            .wait()
            .await
            .map_err(|error| SourceError::local("wait for", Path::new(self.name), &error))?;
        if status.success() {
            return Ok(());
        }
        let stderr = match self.stderr.take() {
            Some(task) => task.await.unwrap_or_default(),
            None => String::new(),
        };
        Err(SourceError::Child {
            program: self.name,
            subject: self.subject.clone(),
            status: status.to_string(),
            stderr: if stderr.is_empty() {
                "it said nothing".to_owned()
            } else {
                stderr
            },
        })
    }

    /// Ends it now and waits until it is gone. Asked first, because a client program that is asked to end tells its server
    /// to stop; one that is killed leaves a backend waiting for a lock, or building an index, for nobody.
    pub(super) async fn kill(mut self) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // One that has ended already needs no signal.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        if within(&Clock::system(), GRACE, self.child.wait()).await.is_some() {
            return;
        }
        // It may have ended by itself; either way nothing is left of it afterwards.
        let _ = self.child.kill().await;
    }
}

/// Reads everything and returns the end of it, on one line.
async fn tail_of(mut pipe: impl AsyncRead + Unpin) -> String {
    let mut kept: Vec<u8> = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > 2 * STDERR_KEPT {
            kept.drain(..kept.len() - STDERR_KEPT);
        }
    }
    let text = String::from_utf8_lossy(&kept);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // The last lines say why; a long list of details before them does not help at three in the morning.
    lines[lines.len().saturating_sub(6)..].join("; ")
}

/// A password file of its own, in a directory of its own, both removed when dropped.
#[derive(Debug)]
struct PassFile {
    path: PathBuf,
}

impl PassFile {
    fn write(password: &SecretString, user: Option<(u32, u32)>) -> Result<Self, SourceError> {
        let directory = std::env::temp_dir().join(format!("lifeboat-{}", random_word()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|error| SourceError::local("create", &directory, &error))?;
        let file = Self {
            path: directory.join("pgpass"),
        };
        let secret = escaped(password);
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file.path)
            .and_then(|mut out| writeln!(out, "*:*:*:*:{secret}"))
            .map_err(|error| SourceError::local("write", &file.path, &error))?;
        if let Some((user, group)) = user {
            for path in [&file.path, &directory] {
                std::os::unix::fs::chown(path, Some(user), Some(group))
                    .map_err(|error| SourceError::local("give away", path, &error))?;
            }
        }
        Ok(file)
    }
}

/// A password as a password file has it.
pub(super) fn escaped(password: &SecretString) -> String {
    password.expose_secret().replace('\\', "\\\\").replace(':', "\\:")
}

impl Drop for PassFile {
    fn drop(&mut self) {
        // Nothing to be done when removal fails: the directory is private to this user either way.
        let _ = fs::remove_file(&self.path);
        if let Some(directory) = self.path.parent() {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Sixteen hexadecimal digits nobody can guess.
pub(crate) fn random_word() -> String {
    let mut bytes = [0; 8];
    // The kernel's generator does not fail once the system is up; zeros would only make the name less unique,
    // and the directory is created exclusively.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn names_cannot_become_connection_strings() {
        assert_eq!(connection_string("shop"), "dbname='shop'");
        assert_eq!(connection_string("a' host=evil"), "dbname='a\\' host=evil'");
        assert_eq!(connection_string("back\\slash"), "dbname='back\\\\slash'");
    }

    #[test]
    fn the_password_file_is_private_and_goes_away() {
        let file = PassFile::write(&SecretString::from("se:cr\\et"), None).unwrap();
        let path = file.path.clone();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), "*:*:*:*:se\\:cr\\\\et\n");
        drop(file);
        assert!(!path.exists() && !path.parent().unwrap().exists());
    }

    #[tokio::test]
    async fn a_failing_child_is_quoted_and_a_killed_one_is_gone() {
        let failing = Program::new("pg_dump", Path::new("/bin/sh"), "database \"x\"")
            .arg("-c")
            .arg("echo because >&2; exit 3");
        let error = failing.start(None).unwrap().finish().await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("because") && text.contains("pg_dump of database"),
            "{text}"
        );

        let sleeper = Program::new("pg_dump", Path::new("/bin/sleep"), "").arg("600");
        let running = sleeper.start(None).unwrap();
        let pid = running.child.id().unwrap();
        running.kill().await;
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "a zombie is left");
    }
}
