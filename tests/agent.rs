//! The agent as a process: found or started by whoever needs it, stopped by nothing but its own end.
//!
//! Every test runs the program itself in a directory of its own. Times in it are generous, and nothing is asserted about
//! them; what is asserted is what the journal says afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lifeboat::clock::Clock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

#[path = "agent/cut.rs"]
mod cut;
#[path = "agent/kinds.rs"]
mod kinds;
#[path = "agent/runbook.rs"]
mod runbook;

const PATIENCE: Duration = Duration::from_mins(1);

/// A configuration of its own, with a repository, some files and an agent of its own.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// One job, `files`, whose runs take at least as long as `before` does.
    fn new(before: &[&str]) -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(world.path("data")).unwrap();
        fs::write(world.path("data/a.txt"), "one\n").unwrap();
        fs::write(world.path("password"), "secret\n").unwrap();
        fs::set_permissions(world.path("password"), PermissionsExt::from_mode(0o600)).unwrap();
        world.configure(before);
        world
    }

    fn configure(&self, before: &[&str]) {
        let dir = self.dir.path().display();
        let hooks = if before.is_empty() {
            String::new()
        } else {
            format!("hooks = {{ before = {{ command = {before:?}, timeout = \"5m\" }} }}\n")
        };
        let text = format!(
            "site = \"test\"\nenvironment = \"TEST\"\n[agent]\nstate_dir = \"{dir}/state\"\n\
             [repository.vault]\nurl = \"{dir}/vault\"\npassword = {{ file = \"{dir}/password\" }}\n\
             [source.files]\nkind = \"files\"\npaths = [\"{dir}/data\"]\n\
             [job.files]\nsource = \"files\"\nrepository = \"vault\"\nretry = {{ attempts = 1, backoff = \"1s\" }}\n{hooks}"
        );
        fs::write(self.path("lifeboat.toml"), text).unwrap();
        fs::set_permissions(self.path("lifeboat.toml"), PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lifeboat"));
        command.arg("--config").arg(self.path("lifeboat.toml")).args(args);
        command.stdin(Stdio::null()).env("RUST_BACKTRACE", "0");
        for name in ["LIFEBOAT_REPOSITORY", "LIFEBOAT_SOCKET", "LIFEBOAT_LOG"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed and reads what it prints.
    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[&["--json"], args].concat());
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {}", said(&output)))
    }

    /// Begins a command and leaves it running.
    fn begin(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn init_repository(&self) {
        let (url, password, data) = (self.path("vault"), self.path("password"), self.path("data"));
        let config = self.path("unused.toml");
        let mut command = self.command(&["init", "--yes"]);
        command.arg("--output").arg(config).arg("--repository").arg(url);
        command.arg("--password-file").arg(password).arg("--path").arg(data);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }

    fn agent_pid(&self) -> Option<Pid> {
        let output = self.run(&["--json", "agent", "status"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        let pid = status["agent"]["pid"].as_i64()?;
        Some(Pid::from_raw(i32::try_from(pid).unwrap()))
    }

    /// The events of the journal, oldest first.
    fn events(&self) -> Vec<Value> {
        let output = self.run(&["journal", "export"]);
        assert!(output.status.success(), "{}", said(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn count(&self, event: &str) -> usize {
        let is = |record: &&Value| record["event"]["event"] == event;
        self.events().iter().filter(is).count()
    }

    /// How the runs ended, oldest first.
    fn outcomes(&self) -> Vec<String> {
        let ended = |record: &Value| Some(record["event"]["record"]["outcome"].as_str()?.to_owned());
        let finished = |record: &&Value| record["event"]["event"] == "run_finished";
        self.events().iter().filter(finished).filter_map(ended).collect()
    }

    fn wait_until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let begun = Clock::system().monotonic();
        while !holds(self) {
            assert!(Clock::system().elapsed(begun) < PATIENCE, "{what} did not come about");
            pause(50);
        }
    }

    fn is_running(&self) -> bool {
        !self.json(&["status"])["runs"].as_array().unwrap().is_empty()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(pid) = self.agent_pid() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

fn pause(millis: u64) {
    Clock::system().block(Duration::from_millis(millis));
}

fn said(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{}\n{out}\n{err}", output.status)
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

fn fill(path: &Path, mut seed: u64, length: usize) {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        // xorshift: cheap, and nothing that compresses or repeats.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bytes.extend_from_slice(&seed.to_le_bytes());
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn many_commands_at_once_start_one_agent() {
    let world = World::new(&[]);
    let children: Vec<Child> = (0..8).map(|_| world.begin(&["job", "list"])).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    assert_eq!(world.count("agent_started"), 1);
}

#[test]
fn an_agent_that_cannot_start_says_why_where_it_was_needed() {
    let world = World::new(&[]);
    fs::create_dir_all(world.path("state/journal.db")).unwrap();
    let output = world.run(&["status"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("journal") && said.contains("hint:"), "{said}");
}

#[test]
fn a_second_agent_is_refused_and_the_first_goes_on() {
    let world = World::new(&[]);
    world.json(&["status"]);
    let output = world.run(&["agent", "run"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("already running"), "{}", said(&output));
    assert_eq!(world.count("agent_started"), 1);
}

#[test]
fn whoever_waits_for_a_run_may_be_killed_and_the_run_ends_well() {
    for signal in [Signal::SIGHUP, Signal::SIGKILL, Signal::SIGTERM] {
        let world = World::new(&["sleep", "2"]);
        world.init_repository();
        let mut waiting = world.begin(&["job", "run", "--wait", "files"]);
        world.wait_until("the run", World::is_running);
        send(&waiting, signal);
        assert_eq!(waiting.wait().unwrap().signal(), Some(signal as i32));
        world.wait_until("the end of the run", |world| !world.is_running());
        assert_eq!(world.outcomes(), ["succeeded"], "{signal}");
        assert_eq!(world.count("agent_started"), 1, "{signal}");
    }
}

#[test]
fn a_console_may_be_killed_and_the_agent_it_started_goes_on() {
    use portable_pty::{CommandBuilder, PtySize, native_pty_system};

    // The first is what the kernel sends when a terminal goes away.
    for signal in [Signal::SIGHUP, Signal::SIGKILL] {
        let world = World::new(&["sleep", "3"]);
        world.init_repository();
        let terminal = native_pty_system().openpty(PtySize::default()).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_lifeboat"));
        command.arg("--config");
        command.arg(world.path("lifeboat.toml"));
        command.env("TERM", "xterm-256color");
        let mut console = terminal.slave.spawn_command(command).unwrap();
        drop(terminal.slave);
        let mut screen = terminal.master.try_clone_reader().unwrap();
        // Nobody looks at it, but a terminal that is not read stops who writes to it.
        let reader = std::thread::spawn(move || std::io::copy(&mut screen, &mut std::io::sink()));
        world.wait_until("the agent", |world| world.agent_pid().is_some());
        let agent = world.agent_pid();
        // A session of its own: what the kernel tells the terminal's session when it goes away does not reach it.
        assert_eq!(nix::unistd::getsid(agent).ok(), agent);
        world.wait_until("the console", |world| world.json(&["status"])["agent"]["clients"] == 1);
        world.json(&["job", "run", "files"]);
        world.wait_until("the run", World::is_running);
        let pid = i32::try_from(console.process_id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
        console.wait().unwrap();
        world.wait_until("the end of the run", |world| !world.is_running());
        assert_eq!(world.outcomes(), ["succeeded"], "{signal}");
        assert_eq!(world.agent_pid(), agent, "{signal}");
        drop(reader);
    }
}

#[test]
fn one_ctrl_c_stops_the_run_cleanly() {
    let world = World::new(&["sleep", "60"]);
    world.init_repository();
    let waiting = world.begin(&["job", "run", "--wait", "files"]);
    world.wait_until("the run", World::is_running);
    pause(200);
    send(&waiting, Signal::SIGINT);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert_eq!(world.outcomes(), ["cancelled"]);
}

#[test]
fn a_second_ctrl_c_leaves_the_run_to_the_agent() {
    // A hook that takes its time to stop keeps the run alive between the two.
    let world = World::new(&["sh", "-c", "trap '' TERM; sleep 3; exit 1"]);
    world.init_repository();
    let waiting = world.begin(&["job", "run", "--wait", "files"]);
    world.wait_until("the run", World::is_running);
    pause(200);
    send(&waiting, Signal::SIGINT);
    pause(200);
    send(&waiting, Signal::SIGINT);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(world.agent_pid().is_some());
}

#[test]
fn hanging_up_on_the_agent_reads_the_configuration_again() {
    let world = World::new(&[]);
    world.json(&["status"]);
    let pid = world.agent_pid().unwrap();
    let config = world.path("lifeboat.toml");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{good}\nnonsense = [")).unwrap();
    kill(pid, Signal::SIGHUP).unwrap();
    world.wait_until("the error", |world| {
        let output = world.run(&[
            "--json",
            "--socket",
            world.path("state/agent.sock").to_str().unwrap(),
            "status",
        ]);
        serde_json::from_slice::<Value>(&output.stdout).is_ok_and(|status| status["config_error"].is_string())
    });
    fs::write(&config, good.replace("site = \"test\"", "site = \"elsewhere\"")).unwrap();
    // Without a signal, too: the files are looked at.
    world.wait_until("the new site", |world| {
        let status = world.json(&["status"]);
        status["site"] == "elsewhere" && status["config_error"].is_null()
    });
    assert_eq!(world.agent_pid(), Some(pid));
}

#[test]
fn a_terminated_agent_ends_in_good_order() {
    let world = World::new(&["sleep", "60"]);
    world.init_repository();
    world.json(&["job", "run", "files"]);
    world.wait_until("the run", World::is_running);
    kill(world.agent_pid().unwrap(), Signal::SIGTERM).unwrap();
    world.wait_until("its end", |world| world.agent_pid().is_none());
    assert!(!world.path("state/agent.sock").exists());
    assert_eq!(world.outcomes(), ["interrupted"]);
    assert_eq!(world.count("agent_stopped"), 1);
}

#[test]
fn an_agent_killed_at_any_moment_of_a_backup_harms_nothing() {
    let world = World::new(&[]);
    world.init_repository();
    for round in 0..10_u64 {
        for file in 0..4 {
            fill(&world.path(&format!("data/{file}.bin")), 1 + round * 10 + file, 4 << 20);
        }
        // An interrupted run is asked for again by the next agent, which may be faster than we are.
        let begun = world.run(&["job", "run", "files"]);
        assert!(
            begun.status.success() || said(&begun).contains("already running"),
            "{}",
            said(&begun)
        );
        pause(40 * round);
        kill(world.agent_pid().unwrap(), Signal::SIGKILL).unwrap();
        world.wait_until("its end", |world| world.agent_pid().is_none());
    }
    world.wait_until("the end of the last run", |world| !world.is_running());
    let interrupted = world
        .outcomes()
        .iter()
        .filter(|outcome| *outcome == "interrupted")
        .count();
    assert!(interrupted > 0, "no run was hit: {:?}", world.outcomes());
    assert_eq!(world.outcomes().len(), world.count("run_queued"), "every run has ended");
    let run = world.json(&["job", "run", "--wait", "files"]);
    assert_eq!(run["outcome"], "succeeded");
    let mut restic = Command::new("restic");
    restic
        .arg("-r")
        .arg(world.path("vault"))
        .arg("--password-file")
        .arg(world.path("password"));
    restic.args(["--no-cache", "check", "--read-data"]);
    let check = restic.output().expect("restic, from: apt-get install restic");
    assert!(check.status.success(), "{}", said(&check));
    let snapshots = world.json(&["snapshot", "list"]);
    for (number, snapshot) in snapshots.as_array().unwrap().iter().enumerate() {
        let target = world.path(&format!("out-{number}"));
        let id = snapshot["id"].as_str().unwrap();
        let restored = world.run(&["restore", id, "--target", target.to_str().unwrap()]);
        assert!(restored.status.success(), "{}", said(&restored));
    }
    let restored = world.path("out-0").join(world.path("data").strip_prefix("/").unwrap());
    for file in 0..4 {
        let name = format!("{file}.bin");
        assert_eq!(
            fs::read(restored.join(&name)).unwrap(),
            fs::read(world.path("data").join(&name)).unwrap()
        );
    }
    assert_eq!(world.json(&["journal", "verify"])["broken"], Value::Null);
}

#[test]
fn an_agent_that_nobody_needs_ends_unless_a_cluster_counts_on_it() {
    let cluster = "[cluster.shop]\nfailover = { automatic = true }\nfence = { command = [\"false\"] }\n\
                   [[cluster.shop.members]]\nname = \"db1\"\nhost = \"/nowhere\"\nuser = \"x\"\n\
                   [[cluster.shop.members]]\nname = \"db2\"\nhost = \"/elsewhere\"\nuser = \"x\"\n";
    let worlds = ["", cluster].map(|more| {
        let world = World::new(&[]);
        let path = world.path("lifeboat.toml");
        let text = fs::read_to_string(&path).unwrap() + more;
        fs::write(path, text.replace("[agent]\n", "[agent]\nidle_exit = \"1s\"\n")).unwrap();
        world.json(&["job", "list"]);
        world
    });
    let stays = worlds[1].agent_pid().expect("its agent");
    worlds[0].wait_until("its end", |world| world.agent_pid().is_none());
    // As long again: it began at the same time, and would have ended by now.
    pause(1500);
    assert_eq!(worlds[1].agent_pid(), Some(stays));
}
