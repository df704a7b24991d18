//! Two servers or three, all but one a copy of the first, and the program with a configuration that knows them.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use lifeboat::clock::Clock;
use lifeboat::source::postgres::server::Programs;
use serde_json::Value;

use crate::world::{as_server, code, give_away, said};

pub struct Pair {
    pub bin: PathBuf,
    pub clock: Clock,
    pub members: &'static [&'static str],
    dir: tempfile::TempDir,
}

impl Pair {
    /// A primary `db1`, and a standby `db2` that was made with `cluster reclone`.
    pub async fn new() -> Self {
        Self::of(&["db1", "db2"]).await
    }

    /// The same with these members, the first of them the primary.
    pub async fn of(members: &'static [&'static str]) -> Self {
        let pair = Self::only_first(members);
        for member in &members[1..] {
            let made = pair.lifeboat(&["cluster", "reclone", "orders", member, "--yes", member]);
            assert_eq!(code(&made), 0, "{}", said(&made));
            pair.until("the standby has all", || {
                pair.sql(member, "select count(*) from ledger") == "0"
            })
            .await;
        }
        pair
    }

    fn only_first(members: &'static [&'static str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let bin = Programs::find(None, None).expect("apt-get install postgresql").bin_dir;
        let pair = Self {
            bin,
            clock: Clock::system(),
            members,
            dir,
        };
        for name in ["own", "one", "two", "three", "s-db1", "s-db2", "s-db3"] {
            let path = pair.at(name);
            fs::create_dir(&path).unwrap();
            give_away(&path);
        }
        pair.configure("");
        pair.make("db1", true);
        pair.sql("db1", "create table ledger (n bigint primary key)");
        pair
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn data(&self, member: &str) -> PathBuf {
        self.at(match member {
            "db1" => "one/data",
            "db2" => "two/data",
            _ => "three/data",
        })
    }

    /// A program that stops a server as a service manager does: it asks, and what is left after a while is killed.
    fn stop_script(&self, member: &str) -> PathBuf {
        let data = self.data(member);
        let ask = self.pg_ctl(member, "stop").join(" ");
        let text = format!(
            "#!/bin/sh\n{ask} -t 2 && exit 0\nleft() {{ for p in /proc/[0-9]*; do [ \"$(readlink $p/cwd)\" = {data} ] && echo ${{p#/proc/}}; done; }}\n\
             while [ -n \"$(left)\" ]; do kill -KILL $(left) 2>/dev/null; sleep 0.1; done\nexit 0\n",
            data = data.display()
        );
        self.script(&format!("stop-{member}"), &text)
    }

    /// A program the user of the servers can run.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.at("own").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        give_away(&path);
        path
    }

    pub fn host(&self, member: &str) -> PathBuf {
        self.at(&format!("s-{member}"))
    }

    /// Makes a new cluster of servers, and starts its first.
    pub fn make(&self, member: &str, checksums: bool) {
        let made = as_server(&self.bin.join("initdb"))
            .arg("-D")
            .arg(self.data(member))
            .args([
                "-U",
                "lifeboat",
                "-A",
                "trust",
                "--no-sync",
                "--no-locale",
                "-E",
                "UTF8",
            ])
            .args(checksums.then_some("--data-checksums"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", said(&made));
        self.start(member);
    }

    fn pg_ctl(&self, member: &str, verb: &str) -> Vec<String> {
        let text = |path: PathBuf| path.display().to_string();
        let log = self.at("own").join(format!("{member}.log"));
        let options = format!(
            "-k {} -c listen_addresses= -c fsync=off -c shared_buffers=32MB -c wal_keep_size=64MB -c max_connections=30 \
             -c autovacuum=off -c wal_receiver_status_interval=1 -c wal_retrieve_retry_interval=200 -c wal_receiver_timeout=5s",
            self.host(member).display()
        );
        let mut words = vec![text(self.bin.join("pg_ctl")), "-D".to_owned(), text(self.data(member))];
        words.extend([
            "-l".to_owned(),
            text(log),
            "-w".to_owned(),
            "-m".to_owned(),
            "fast".to_owned(),
        ]);
        if verb == "start" {
            words.extend(["-o".to_owned(), options]);
        }
        words.push(verb.to_owned());
        words
    }

    /// Writes the configuration; `more` belongs to the cluster.
    pub fn configure(&self, more: &str) {
        self.write_configuration(more, true);
    }

    /// The same of a cluster whose servers are on other machines, as far as the configuration goes.
    pub fn configure_elsewhere(&self, more: &str) {
        self.write_configuration(more, false);
    }

    fn write_configuration(&self, more: &str, here: bool) {
        let mut text = format!(
            "[agent]\nstate_dir = \"{}\"\n[cluster.orders]\n{more}\n",
            self.at("own/state").display()
        );
        for member in self.members {
            let _ = write!(
                text,
                "[[cluster.orders.members]]\nname = \"{member}\"\nhost = \"{}\"\nuser = \"lifeboat\"\ntls = \"disable\"\n\
                 bin_dir = \"{}\"\nslot = \"{member}\"\n",
                self.host(member).display(),
                self.bin.display(),
            );
            if here {
                let _ = write!(
                    text,
                    "data_directory = \"{}\"\nstart = {{ command = {:?} }}\nstop = {{ command = [\"{}\"] }}\n",
                    self.data(member).display(),
                    self.pg_ctl(member, "start"),
                    self.stop_script(member).display(),
                );
            }
        }
        let path = self.at("own/lifeboat.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        give_away(&path);
    }

    pub fn run_pg_ctl(&self, member: &str, verb: &str) {
        assert!(self.try_pg_ctl(member, verb), "{verb} {member}: {}", self.log(member));
    }

    fn try_pg_ctl(&self, member: &str, verb: &str) -> bool {
        let words = self.pg_ctl(member, verb);
        let status = as_server(Path::new(&words[0]))
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.unwrap().success()
    }

    pub fn start(&self, member: &str) {
        self.run_pg_ctl(member, "start");
    }

    /// Starts a server that somebody else may be starting, or stopping, at this moment.
    pub fn try_start(&self, member: &str) {
        self.try_pg_ctl(member, "start");
    }

    pub fn stop(&self, member: &str) {
        self.run_pg_ctl(member, "stop");
    }

    /// Ends a server as a crash would.
    pub fn crash(&self, member: &str) {
        let stopped = as_server(&self.bin.join("pg_ctl"))
            .arg("-D")
            .arg(self.data(member))
            .args(["-m", "immediate", "-w", "stop"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(stopped.unwrap().success(), "{}", self.log(member));
    }

    pub fn log(&self, member: &str) -> String {
        let text = fs::read_to_string(self.at("own").join(format!("{member}.log"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        // A run of hours by hand goes on with the program it began with while the sources are built again.
        let other = std::env::var_os("LIFEBOAT_TEST_PROGRAM");
        let program = other.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_lifeboat")), PathBuf::from);
        let mut command = as_server(&program);
        command
            .args(args)
            .env("LIFEBOAT_CONFIG", self.at("own/lifeboat.toml"))
            .env("HOME", self.at("own"))
            .stdin(Stdio::null());
        command
    }

    pub fn lifeboat(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a verb that has to succeed.
    pub fn done(&self, args: &[&str]) -> String {
        let output = self.lifeboat(args);
        assert_eq!(code(&output), 0, "{args:?}: {}", said(&output));
        said(&output)
    }

    /// Runs a verb that has to be refused, and returns why.
    pub fn refused(&self, args: &[&str]) -> String {
        let output = self.lifeboat(args);
        assert_eq!(code(&output), 4, "{args:?}: {}", said(&output));
        said(&output)
    }

    pub fn status(&self) -> (Value, i32) {
        let output = self.lifeboat(&["--json", "cluster", "status", "orders"]);
        let value: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
        (value[0].clone(), code(&output))
    }

    /// The signs of trouble, by their words.
    pub fn signs(&self) -> Vec<String> {
        let (status, _) = self.status();
        let signs = status["signs"].as_array().unwrap();
        signs
            .iter()
            .map(|sign| sign["sign"].as_str().unwrap().to_owned())
            .collect()
    }

    pub fn try_sql(&self, member: &str, sql: &str) -> Result<String, String> {
        let output = Command::new(self.bin.join("psql"))
            .env_clear()
            .args([
                "-XAtq",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "lifeboat",
                "-d",
                "postgres",
                "-h",
            ])
            .arg(self.host(member))
            .args(["-c", sql])
            .output()
            .unwrap();
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(said(&output))
        }
    }

    pub fn sql(&self, member: &str, sql: &str) -> String {
        self.try_sql(member, sql)
            .unwrap_or_else(|error| panic!("{member}: {sql}: {error}\n{}", self.log(member)))
    }

    pub async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..600 {
            if holds() {
                return;
            }
            self.clock.sleep(Duration::from_millis(50)).await;
        }
        let logs: Vec<String> = self.members.iter().map(|member| self.log(member)).collect();
        panic!("waited in vain: {what}\n{}", logs.join("\n"));
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for member in self.members {
            let data = self.data(member);
            if !data.join("postmaster.pid").exists() {
                continue;
            }
            let _ = as_server(&self.bin.join("pg_ctl"))
                .arg("-D")
                .arg(data)
                .args(["-m", "immediate", "-w", "stop"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}
