//! A runbook led by hands in a terminal, through a real agent that is killed on the way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use lifeboat::api::Client;
use lifeboat::domain::command::Actor;
use lifeboat::domain::runbook::Saying;
use nix::sys::signal::{Signal, kill};
use portable_pty::CommandBuilder;

use crate::seat::Seat;

const PROGRAM: &str = env!("CARGO_BIN_EXE_lifeboat");

/// A site with one runbook of its own, and an agent.
pub struct Site {
    dir: tempfile::TempDir,
    agent: Child,
}

impl Site {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        let config = dir.path().join("lifeboat.toml");
        let text = format!("site = \"test\"\nenvironment = \"TEST\"\n[agent]\nstate_dir = \"{path}/state\"\n");
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, PermissionsExt::from_mode(0o600)).unwrap();
        fs::create_dir(dir.path().join("runbooks")).unwrap();
        let wait = format!("echo two >> {path}/done; while [ ! -e {path}/free ]; do sleep 0.1; done");
        let runbook = format!(
            "title = \"Mend it\"\nwhy = \"It is broken.\"\nobjective = \"60m\"\n\
             [[step]]\nid = \"one\"\ntitle = \"Write one\"\nkind = \"command\"\nclass = \"once\"\n\
             command = [\"sh\", \"-c\", \"echo one >> {path}/done\"]\nundo = \"none needed\"\n\
             [[step]]\nid = \"two\"\ntitle = \"Write two\"\nkind = \"command\"\nclass = \"once\"\n\
             command = [\"sh\", \"-c\", \"{wait}\"]\nneeds = {{ typed = \"two\" }}\nundo = \"none needed\"\n\
             [[step]]\nid = \"tell\"\ntitle = \"Tell everybody\"\nkind = \"manual\"\ninstruction = \"Tell everybody\"\n"
        );
        let file = dir.path().join("runbooks/mend-it.toml");
        fs::write(&file, runbook).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let agent = Self::start(dir.path().join("lifeboat.toml"));
        Self { dir, agent }
    }

    fn start(config: PathBuf) -> Child {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(config).args(["agent", "run"]);
        for name in ["LIFEBOAT_SOCKET", "LIFEBOAT_LOG"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    fn seat(&self) -> Seat {
        self.seat_of(&[], (80, 24))
    }

    /// A console with options of its own in a terminal of that size.
    pub fn seat_of(&self, options: &[&str], size: (u16, u16)) -> Seat {
        let mut command = CommandBuilder::new(PROGRAM);
        command.arg("--config");
        command.arg(self.dir.path().join("lifeboat.toml"));
        command.args(options);
        for name in ["NO_COLOR", "COLORTERM", "SSH_TTY", "LIFEBOAT_SOCKET", "LIFEBOAT_LOG"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm-256color");
        command.env("LC_ALL", "C.UTF-8");
        command.env("XDG_CONFIG_HOME", self.dir.path());
        // What is saved is saved where the console was begun.
        command.cwd(self.dir.path());
        Seat::of(size.0, size.1, command)
    }

    /// Begins a run of a runbook from elsewhere.
    pub fn begin(&self, runbook: &str) {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(self.dir.path().join("lifeboat.toml"));
        command.args(["runbook", "run", runbook, "--no-wait"]);
        for name in ["LIFEBOAT_SOCKET", "LIFEBOAT_LOG"] {
            command.env_remove(name);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Has somebody else lead the only run from here on, as their own console would.
    pub fn take_over_as(&self, name: &str, reason: &str) {
        let actor = Actor {
            name: name.to_owned(),
            host: "elsewhere".to_owned(),
            via: "test".to_owned(),
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let client = Client::connect(&self.dir.path().join("state/agent.sock"), actor);
            let run = client.overview().await.unwrap().executions[0].run.id.clone();
            let saying = Saying::Take {
                reason: reason.to_owned(),
            };
            let command = lifeboat::domain::command::Command::SayInRunbook { run, saying };
            client.command(command).await.unwrap();
        });
    }

    /// Lets the second step of the runbook end.
    pub fn let_go(&self) {
        fs::write(self.dir.path().join("free"), "").unwrap();
    }

    pub fn done(&self) -> String {
        fs::read_to_string(self.dir.path().join("done")).unwrap_or_default()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // What the killed agent had begun goes on until it is let go.
        let _ = fs::write(self.dir.path().join("free"), "");
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

/// From the Overview to a run of the runbook that has begun.
fn begin(seat: &mut Seat) {
    seat.press("5");
    seat.until_shows("mend-it");
    seat.press("/mend-it\r");
    seat.until_shows("shows 1");
    seat.press("a");
    seat.until_shows("Run mend-it for real");
    seat.press("1");
    seat.until_shows("When did it happen?");
    seat.press("25:99\r");
    seat.until_shows("is not a time");
    seat.press("\x15");
    seat.press("17m\r");
    seat.until_shows("the clock counts from there");
    seat.press("\r");
    seat.until_shows("Type mend-it to go on");
    seat.pause(700);
    seat.press("mend-it\r");
}

/// Presses Enter until something shows: a key right after the question changed is not heard, and when that was is the
/// console's to say.
fn enter_until(seat: &mut Seat, text: &str) {
    for _ in 0..20 {
        seat.pause(800);
        if seat.text().contains(text) {
            return;
        }
        seat.press("\r");
    }
    seat.until_shows(text);
}

#[test]
fn two_consoles_press_enter_at_once_and_one_of_them_acts() {
    let site = Site::new();
    let (mut first, mut second) = (site.seat(), site.seat());
    for seat in [&first, &second] {
        seat.until_shows("TEST test");
        seat.until_shows("live");
    }
    begin(&mut first);
    first.until_shows("Press enter to run it");
    second.press("5");
    second.until_shows("led by");
    second.press("gg\r");
    second.until_shows("Press enter to run it");
    // The second console sees what was there when both hands came down, and not what the first has done meanwhile.
    second.pause(800);
    second.press("f");
    second.until_shows("frozen");
    enter_until(&mut first, "Step 2: Write two");
    assert_eq!(site.done(), "one\n");
    assert!(second.text().contains("Step 1: Write one"), "{}", second.text());
    enter_until(&mut second, "Refused:");
    assert!(second.text().contains("Write one"), "{}", second.text());
    second.press("f");
    second.until_shows("Step 2: Write two");
    assert_eq!(site.done(), "one\n", "it was done once");
}

#[test]
fn a_runbook_is_led_by_hands_and_survives_the_agent() {
    let mut site = Site::new();
    let mut seat = site.seat();
    seat.until_shows("TEST test");
    seat.until_shows("live");
    begin(&mut seat);
    // Nothing acts before somebody says so.
    seat.until_shows("Press enter to run it");
    assert_eq!(site.done(), "");
    enter_until(&mut seat, "Step 2: Write two");
    assert_eq!(site.done(), "one\n");
    seat.until_shows("then type  two");
    enter_until(&mut seat, "to run:");
    seat.pause(700);
    seat.press("tw\r");
    seat.until_shows("type two first");
    assert_eq!(site.done(), "one\n");
    seat.press("o\r");
    seat.until_shows("RUN ");
    seat.until("it is at work", |_| site.done() == "one\ntwo\n");

    site.agent.kill().unwrap();
    site.agent.wait().unwrap();
    seat.until_shows("STALE");
    assert!(
        seat.text().contains("Write two"),
        "what was known stays: {}",
        seat.text()
    );
    seat.pause(700);
    seat.press("p");
    seat.until_shows("there is no contact");
    site.agent = Site::start(site.dir.path().join("lifeboat.toml"));
    seat.until_shows("UNKNOWN");
    assert_eq!(site.done(), "one\ntwo\n", "it is not repeated");
    seat.pause(700);
    seat.press("w");
    seat.until_shows("How do you know");
    seat.pause(700);
    seat.press("it is in the file\r");
    seat.until_shows("done");
    seat.until_shows("Step 3: Tell everybody");
    seat.until_shows("Do it, then");
    seat.pause(700);
    seat.press("\r");
    seat.until_shows("REAL: Mend it completed");
    assert_eq!(site.done(), "one\ntwo\n");
    seat.press("S");
    seat.until_shows("written to");
    seat.press("\x1b");
    seat.until_shows("RUNBOOK");
    seat.press("H");
    seat.until_shows("OUTCOME");
    seat.until_shows("mend-it");
}

/// From the Overview into the wizard of the only run.
fn look(seat: &mut Seat) {
    seat.until_shows("TEST test");
    seat.until_shows("live");
    seat.press("5");
    seat.until_shows("led by");
    seat.press("gg\r");
}

#[test]
fn a_line_that_dies_ends_nothing_and_another_console_goes_on() {
    let site = Site::new();
    site.begin("mend-it");
    // One console is killed in the middle of a word, one loses its line.
    for (signal, half) in [(Signal::SIGKILL, "t"), (Signal::SIGHUP, "tw")] {
        let mut seat = site.seat();
        look(&mut seat);
        enter_until(&mut seat, "Step 2: Write two");
        seat.until_shows("then type  two");
        enter_until(&mut seat, "to run:");
        seat.pause(700);
        seat.press(half);
        seat.until_shows(&format!("to run: {half}"));
        kill(seat.pid(), signal).unwrap();
        seat.until_ended();
        assert_eq!(site.done(), "one\n", "half a word says nothing");
    }
    let mut seat = site.seat();
    look(&mut seat);
    seat.until_shows("then type  two");
    assert!(
        !seat.text().contains("to run: t"),
        "nothing is typed yet: {}",
        seat.text()
    );
    enter_until(&mut seat, "to run:");
    seat.pause(700);
    seat.press("two\r");
    seat.until("it is at work", |_| site.done() == "one\ntwo\n");
}

#[test]
fn sizes_and_control_c_in_the_wizard_say_nothing() {
    let site = Site::new();
    site.begin("mend-it");
    let mut seat = site.seat();
    look(&mut seat);
    enter_until(&mut seat, "Step 2: Write two");
    enter_until(&mut seat, "to run:");
    seat.pause(700);
    seat.press("tw");
    seat.until_shows("to run: tw");
    for round in 0u16..40 {
        seat.resize(20 + round * 7 % 150, 4 + round * 3 % 50);
        seat.pause(5);
    }
    seat.resize(60, 16);
    // What was typed is still there, where there is room for one thing only.
    seat.until("one thing at 60x16", |seat| {
        let text = seat.text();
        text.contains("2/3 [WAIT] Write two") && text.contains("to run: tw")
    });
    // The first Ctrl-C takes back what is typed, the second leaves; the run stays as it is.
    seat.press("\x03");
    seat.until_shows("nothing was said");
    seat.press("\t");
    seat.until_shows("Tell everybody");
    seat.press("\x03");
    seat.until_ended();
    assert_eq!(site.done(), "one\n");
    let mut again = site.seat();
    look(&mut again);
    again.until_shows("then type  two");
}
