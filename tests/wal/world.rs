//! A server, a repository and the program, all as the user the server runs as.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lifeboat::clock::Clock;
use lifeboat::sandbox::server::{PostgresServer, ServerOptions};
use serde_json::Value;

pub struct World {
    pub server: PostgresServer,
    pub clock: Clock,
    bin: PathBuf,
    dir: tempfile::TempDir,
}

impl World {
    /// A server that archives through `wal push`, or one that does not archive.
    pub async fn new(archives: bool) -> Self {
        Self::of(archives, None).await
    }

    /// The same of another version, whose programs are there.
    pub async fn of(archives: bool, bin_dir: Option<PathBuf>) -> Self {
        Self::with(archives, bin_dir, &[]).await
    }

    /// The same with settings of its own, `name=value`; they overrule those every server here has.
    pub async fn with(archives: bool, bin_dir: Option<PathBuf>, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        fs::set_permissions(top, fs::Permissions::from_mode(0o711)).unwrap();
        let own = top.join("own");
        fs::create_dir(&own).unwrap();
        give_away(&own);
        let password = own.join("password");
        fs::write(&password, "a password\n").unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        give_away(&password);
        let mut settings = vec!["wal_keep_size=0".to_owned(), "log_min_messages=info".to_owned()];
        if archives {
            let words = environment(&own).map(|(name, value)| format!("{name}={value}"));
            let program = env!("CARGO_BIN_EXE_lifeboat");
            settings.push("archive_mode=on".to_owned());
            settings.push(format!("archive_command=env {} {program} wal push %p", words.join(" ")));
        }
        settings.extend(more.iter().map(|setting| (*setting).to_owned()));
        let options = ServerOptions {
            settings,
            bin_dir,
            ..ServerOptions::default()
        };
        let clock = Clock::system();
        let place = top.join("srv");
        fs::create_dir(&place).unwrap();
        let world = Self {
            // The repository is there before the server first archives.
            bin: {
                let made = lifeboat(&own, &own, &["repo", "init"]).output().unwrap();
                assert!(made.status.success(), "{}", said(&made));
                own.clone()
            },
            server: PostgresServer::start(&place, options, &clock)
                .await
                .unwrap_or_else(|error| panic!("{error}; apt-get install postgresql")),
            clock,
            dir,
        };
        world.sql("create table ledger (n bigint primary key, filler text)");
        world
    }

    /// A directory that belongs to the user of the server.
    pub fn own(&self) -> PathBuf {
        self.dir.path().join("own")
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("srv/data")
    }

    /// The folder of the archive in the repository, of this server's first timeline.
    pub fn folder(&self) -> PathBuf {
        let system = self.sql("select system_identifier from pg_control_system()");
        self.own().join("repo/wal").join(system).join("00000001")
    }

    /// The program, in a directory.
    pub fn command(&self, place: &Path, args: &[&str]) -> Command {
        lifeboat(&self.bin, place, args)
    }

    pub fn lifeboat(&self, place: &Path, args: &[&str]) -> Output {
        self.command(place, args).output().unwrap()
    }

    /// The program as the user the tests run as, who may be root.
    pub fn as_ourselves(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lifeboat"));
        command
            .args(args)
            .envs(environment(&self.own()))
            .current_dir("/")
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    /// What it printed as JSON, and its exit code.
    pub fn json(&self, args: &[&str]) -> (Value, i32) {
        let mut all = vec!["--json"];
        all.extend(args);
        let output = self.lifeboat(&self.own(), &all);
        let value = serde_json::from_slice(&output.stdout);
        (
            value.unwrap_or_else(|error| panic!("{error}: {}", said(&output))),
            code(&output),
        )
    }

    pub fn sql(&self, sql: &str) -> String {
        psql(&self.server.bin_dir, &self.server.connection().host, sql)
    }

    /// Inserts rows from one number up to another.
    pub fn fill(&self, from: u64, to: u64) {
        self.sql(&format!(
            "insert into ledger select n, repeat(md5(n::text), 8) from generate_series({from}, {to} - 1) n"
        ));
    }

    /// Ends the segment that is being written, and returns its name.
    pub fn switch(&self) -> String {
        let name = self.sql("select pg_walfile_name(pg_current_wal_lsn())");
        self.sql("select pg_switch_wal()");
        name
    }

    /// Waits until the server says that a segment is archived.
    pub async fn archived(&self, name: &str) {
        let sql = format!("select coalesce(last_archived_wal >= '{name}', false) from pg_stat_archiver");
        self.until(&format!("{name} is archived"), || self.sql(&sql) == "t")
            .await;
    }

    pub async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..1200 {
            if holds() {
                return;
            }
            self.clock.sleep(Duration::from_millis(50)).await;
        }
        let (said, log) = (self.said(), self.server.log_tail());
        panic!("waited a minute in vain: {what}; the receiver said: {said}; the server: {log}");
    }

    /// A new file for what a receiver says.
    pub fn words(&self) -> std::fs::File {
        std::fs::File::create(self.own().join("receiver.log")).unwrap()
    }

    /// Receives the log of the server, closing what is written at least as often as that.
    pub fn receiver(&self, partial_every: &str, more: &[&str]) -> Killed {
        let host = self.server.connection().host.replace('/', "%2F");
        let server = format!("postgres://lifeboat@{host}/postgres");
        let dir = self.own().join("receiver").display().to_string();
        let mut command = self.command(
            &self.own(),
            &["wal", "receive", "-v", "--server", &server, "--dir", &dir],
        );
        command.args(["--partial-every", partial_every]).args(more);
        Killed(command.stderr(self.words()).spawn().unwrap())
    }

    /// What the last receiver has said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.own().join("receiver.log")).unwrap_or_default()
    }

    /// A base backup without the log, for a recovery that has to bring it.
    pub fn base_backup(&self, name: &str) -> PathBuf {
        let target = self.own().join(name);
        let output = as_server(&self.server.bin_dir.join("pg_basebackup"))
            .arg("-D")
            .arg(&target)
            .args([
                "-h",
                &self.server.connection().host,
                "-U",
                "lifeboat",
                "-X",
                "none",
                "--checkpoint=fast",
                "--no-sync",
            ])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
        target
    }

    /// Starts a server on a copy of a base backup, which recovers from the archive as `settings` say, and opens.
    pub async fn recover(&self, base: &Path, name: &str, settings: &str) -> Recovered {
        let data = self.own().join(name);
        let copied = as_server(Path::new("/bin/cp"))
            .arg("-a")
            .arg(base)
            .arg(&data)
            .status()
            .unwrap();
        assert!(copied.success());
        let words = environment(&self.own()).map(|(name, value)| format!("{name}={value}"));
        let program = env!("CARGO_BIN_EXE_lifeboat");
        let command = format!(
            "restore_command = 'env {} {program} wal fetch %f %p'\n",
            words.join(" ")
        );
        let conf = data.join("postgresql.auto.conf");
        fs::write(&conf, command + settings + "\nrecovery_target_action = promote\n").unwrap();
        fs::write(data.join("recovery.signal"), "").unwrap();
        give_away(&data.join("recovery.signal"));
        let sockets = self.dir.path().join(format!("s-{name}"));
        fs::create_dir(&sockets).unwrap();
        give_away(&sockets);
        let log = self.own().join(format!("{name}.log"));
        let started = as_server(&self.server.bin_dir.join("pg_ctl"))
            .arg("-D")
            .arg(&data)
            .arg("-l")
            .arg(&log)
            .args(["-w", "-t", "90", "-o"])
            .arg(format!("-k {} -c listen_addresses= -c fsync=off", sockets.display()))
            .arg("start")
            .stdout(Stdio::null())
            .status()
            .unwrap();
        let log_text = || fs::read_to_string(&log).unwrap_or_default();
        assert!(started.success(), "{}", log_text());
        let recovered = Recovered {
            bin_dir: self.server.bin_dir.clone(),
            data,
            sockets,
        };
        self.until("the recovery has ended", || {
            recovered.sql("select pg_is_in_recovery()") == "f"
        })
        .await;
        recovered
    }

    /// The pushers in the background.
    pub fn pushers(&self) -> Vec<i32> {
        let mut found = self.processes("push");
        let environ = |pid: &i32| fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        found.retain(|pid| String::from_utf8_lossy(&environ(pid)).contains("LIFEBOAT_WAL_PUSHER=true"));
        found
    }

    /// Processes of ours that have a word of this world and another in their arguments.
    pub fn processes(&self, word: &str) -> Vec<i32> {
        let top = self.dir.path().display().to_string();
        let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let read = |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        entries
            .filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok())
            .filter(|pid| {
                let place = PathBuf::from(format!("/proc/{pid}"));
                let words = read(place.join("cmdline"));
                let program = words.split('\0').next().unwrap_or_default().to_owned();
                let ours = program.ends_with("lifeboat") || program.ends_with("pg_receivewal");
                let of_world = || words.contains(&top) || read(place.join("environ")).contains(&top);
                ours && words.split('\0').any(|one| one.contains(word)) && of_world()
            })
            .collect()
    }
}

/// A server that recovered; gone when dropped.
pub struct Recovered {
    bin_dir: PathBuf,
    data: PathBuf,
    sockets: PathBuf,
}

impl Recovered {
    pub fn sql(&self, sql: &str) -> String {
        psql(&self.bin_dir, &self.sockets.display().to_string(), sql)
    }
}

impl Drop for Recovered {
    fn drop(&mut self) {
        let _ = as_server(&self.bin_dir.join("pg_ctl"))
            .arg("-D")
            .arg(&self.data)
            .args(["-m", "immediate", "-w", "stop"])
            .stdout(Stdio::null())
            .status();
    }
}

/// A child that is killed when dropped.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn psql(bin_dir: &Path, host: &str, sql: &str) -> String {
    let output = Command::new(bin_dir.join("psql"))
        .env_clear()
        .args([
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            host,
            "-U",
            "lifeboat",
            "-d",
            "postgres",
            "-c",
            sql,
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{sql}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn environment(own: &Path) -> [(&'static str, String); 4] {
    let below = |name: &str| own.join(name).display().to_string();
    [
        ("LIFEBOAT_REPOSITORY", below("repo")),
        ("LIFEBOAT_PASSWORD_FILE", below("password")),
        ("LIFEBOAT_SPOOL", below("spool")),
        ("HOME", below("")),
    ]
}

fn lifeboat(own: &Path, place: &Path, args: &[&str]) -> Command {
    let mut command = as_server(Path::new(env!("CARGO_BIN_EXE_lifeboat")));
    command
        .args(args)
        .envs(environment(own))
        .current_dir(place)
        .stdin(Stdio::null());
    command
}

/// A command as the user the server runs as.
pub fn as_server(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/");
    if let Some(user) = server_user() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

fn server_user() -> Option<nix::unistd::User> {
    let root = nix::unistd::geteuid().is_root();
    root.then(|| {
        nix::unistd::User::from_name("postgres")
            .unwrap()
            .expect("there is a user postgres")
    })
}

pub fn give_away(path: &Path) {
    if let Some(user) = server_user() {
        std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "exit {}: {}{}",
        code(output),
        text(&output.stdout),
        text(&output.stderr)
    )
}
