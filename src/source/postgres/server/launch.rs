//! The command line of a private server.
//!
//! Everything that matters is an argument, because arguments win over every file in the data directory.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use secrecy::SecretString;

use super::mark::{Mark, refuse_in_use};
use super::place::{self, RunAs, clean_command, make_private};
use super::{PORT, ServerError, log_path};
use crate::source::postgres::tools::parse_version;
use crate::source::postgres::usual_places;

/// What holds for every server on a copy of somebody's data: it must not act on anything but that copy.
const COPY: [&str; 22] = [
    "archive_mode=off",
    "archive_command=",
    "primary_conninfo=",
    "primary_slot_name=",
    "restore_command=",
    "archive_cleanup_command=",
    "recovery_end_command=",
    // No job scheduler, no audit to elsewhere, and nothing that is not installed here.
    "shared_preload_libraries=",
    "session_preload_libraries=",
    "local_preload_libraries=",
    // A subscription would take the changes that the real subscriber is waiting for.
    "max_logical_replication_workers=0",
    // Nobody is there to confirm a commit.
    "synchronous_standby_names=",
    "ssl=off",
    "logging_collector=off",
    "log_destination=stderr",
    // Its words are read.
    "lc_messages=C",
    "log_timezone=UTC",
    "log_line_prefix=%m [%p] ",
    "log_min_messages=warning",
    "external_pid_file=",
    "unix_socket_group=",
    "default_transaction_read_only=off",
];

/// The programs of a PostgreSQL server of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// Their directory.
    pub bin_dir: PathBuf,
    /// The first number of their version.
    pub major: u32,
}

impl Programs {
    /// Finds the programs of exactly that major version, or the newest when any will do. Asks every candidate: blocks.
    pub fn find(major: Option<u32>, configured: Option<&Path>) -> Result<Self, ServerError> {
        let places = configured.map_or_else(usual_places, |place| vec![place.to_owned()]);
        let found: Vec<Self> = places.into_iter().filter_map(Self::in_directory).collect();
        let fits = |programs: &&Self| major.map_or(programs.major >= 13, |major| programs.major == major);
        if let Some(fit) = found.iter().filter(fits).max_by_key(|programs| programs.major) {
            return Ok(fit.clone());
        }
        let named = |programs: &Self| format!("{} in {}", programs.major, programs.bin_dir.display());
        Err(ServerError::NotInstalled {
            major,
            found: found.iter().map(named).collect(),
        })
    }

    fn in_directory(bin_dir: PathBuf) -> Option<Self> {
        let all = ["postgres", "initdb", "pg_controldata"];
        if !all.iter().all(|name| bin_dir.join(name).is_file()) {
            return None;
        }
        let output = clean_command(&bin_dir.join("postgres"), None).arg("--version").output();
        let (_, major) = parse_version(&String::from_utf8_lossy(&output.ok()?.stdout))?;
        Some(Self { bin_dir, major })
    }

    /// Finds the programs for a data directory, by its `PG_VERSION`.
    pub fn for_data(data: &Path, configured: Option<&Path>) -> Result<Self, ServerError> {
        let path = data.join("PG_VERSION");
        let not = |why: String| ServerError::NotACluster {
            path: data.to_owned(),
            why,
        };
        let text = fs::read_to_string(&path).map_err(|error| not(format!("PG_VERSION: {error}")))?;
        let major = text
            .trim()
            .parse()
            .map_err(|_| not("PG_VERSION is no number".to_owned()))?;
        Self::find(Some(major), configured)
    }
}

/// A server about to be started.
#[derive(Debug)]
pub struct Launch {
    pub(super) home: PathBuf,
    pub(super) password: Option<SecretString>,
    data: PathBuf,
    programs: Programs,
    role: String,
    port: u16,
    copy: bool,
    settings: Vec<String>,
    run_as: Option<RunAs>,
}

impl Launch {
    /// A server on a cluster of our own making; `home` is for its socket, its log and its mark.
    pub fn of_own(data: &Path, home: &Path, programs: Programs, role: &str) -> Result<Self, ServerError> {
        Ok(Self {
            home: home.to_owned(),
            password: None,
            data: data.to_owned(),
            programs,
            role: role.to_owned(),
            port: PORT,
            copy: false,
            settings: Vec::new(),
            run_as: RunAs::for_data(data)?,
        })
    }

    /// A server on a copy of somebody's cluster, which must not act on anything else; whoever reaches its socket is let in.
    pub fn of_copy(data: &Path, home: &Path, programs: Programs, role: &str) -> Result<Self, ServerError> {
        let own = Self::of_own(data, home, programs, role)?;
        Ok(Self { copy: true, ..own })
    }

    /// Adds a setting, `name=value`; the last of one name counts.
    #[must_use]
    pub fn set(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }

    /// Gives the password that every connection needs.
    #[must_use]
    pub fn password(mut self, password: Option<SecretString>) -> Self {
        self.password = password;
        self
    }

    /// Chooses the port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Who it will run as; none means ourselves.
    pub fn run_as(&self) -> Option<RunAs> {
        self.run_as
    }

    /// Makes the directory of its socket, which only its user and root may enter.
    pub fn prepare_sockets(&self) -> Result<PathBuf, ServerError> {
        make_private(&self.home, None).and_then(|()| self.open_home())?;
        let sockets = place::socket_dir(&self.home);
        make_private(&sockets, self.run_as)?;
        Ok(sockets)
    }

    /// Starts it.
    pub(super) fn run(self) -> Result<(Child, Mark), ServerError> {
        refuse_in_use(&self.data)?;
        let sockets = self.prepare_sockets()?;
        if self.copy {
            // Notes of a server that is gone would keep ours from starting once its number has been given out again.
            let name = format!(".s.PGSQL.{}", self.port);
            let lock = sockets.join(format!("{name}.lock"));
            for stale in [self.data.join("postmaster.pid"), sockets.join(name), lock] {
                match fs::remove_file(&stale) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(ServerError::local("remove", &stale, error));
                    }
                    _ => {}
                }
            }
        }
        let log = log_path(&self.home);
        let out = fs::OpenOptions::new().create(true).append(true).open(&log);
        let out = out.map_err(|error| ServerError::local("create", &log, error))?;
        let err = out
            .try_clone()
            .map_err(|error| ServerError::local("open", &log, error))?;
        let program = self.programs.bin_dir.join("postgres");
        let mut command = clean_command(&program, self.run_as);
        command
            .arg("-D")
            .arg(&self.data)
            .arg("-k")
            .arg(&sockets)
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses="])
            .args(["-c", "unix_socket_permissions=0700"]);
        for setting in self.copy_settings()?.iter().chain(&self.settings) {
            command.args(["-c", setting]);
        }
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        let child = command
            .spawn()
            .map_err(|error| ServerError::local("start", &program, error))?;
        let mark = Mark {
            pid: child.id(),
            data: self.data,
            sockets,
            port: self.port,
            role: self.role,
            bin_dir: self.programs.bin_dir,
            major: self.programs.major,
            kept: false,
        };
        Ok((child, mark))
    }

    /// Lets the server's user pass through its home.
    fn open_home(&self) -> Result<(), ServerError> {
        use std::os::unix::fs::PermissionsExt;
        let mode = if self.run_as.is_some() { 0o711 } else { 0o700 };
        fs::set_permissions(&self.home, fs::Permissions::from_mode(mode))
            .map_err(|error| ServerError::local("open", &self.home, error))
    }

    /// What keeps a copy to itself; none for a cluster of our own.
    fn copy_settings(&self) -> Result<Vec<String>, ServerError> {
        if !self.copy {
            return Ok(Vec::new());
        }
        let mut settings: Vec<String> = COPY.iter().map(|setting| (*setting).to_owned()).collect();
        if self.programs.major >= 15 {
            settings.push("archive_library=".to_owned());
        }
        let files = [
            (
                "config_file",
                "postgresql.conf",
                "# Of the private server; everything is on its command line.\n",
            ),
            ("hba_file", "pg_hba.conf", "local all all trust\n"),
            ("ident_file", "pg_ident.conf", ""),
        ];
        for (setting, name, text) in files {
            let path = self.home.join(name);
            fs::write(&path, text).map_err(|error| ServerError::local("write", &path, error))?;
            if let Some(user) = self.run_as {
                user.give(&path)?;
            }
            settings.push(format!("{setting}={}", path.display()));
        }
        Ok(settings)
    }
}
