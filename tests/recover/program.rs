//! The program itself: killed while it copies, run again, asked to restore.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::world::{World, as_server, ballast, ledger};

struct Program {
    place: PathBuf,
}

impl Program {
    fn new(world: &World) -> Self {
        let place = world.place("program");
        let program = Self { place };
        let write = |name: &str, text: &str| {
            let path = program.place.join(name);
            fs::write(&path, text).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(&path, mode).unwrap();
            world.give(&path);
        };
        write("password", "a password\n");
        let below = |name: &str| program.place.join(name).display().to_string();
        write(
            "lifeboat.toml",
            &format!(
                "[agent]\nstate_dir = \"{}\"\n[repository.near]\nurl = \"{}\"\npassword = {{ file = \"{}\" }}\n\
                 [source.orders]\nkind = \"postgres-physical\"\nhost = \"{}\"\nuser = \"lifeboat\"\nscratch_dir = \"{}\"\n\
                 [job.orders]\nsource = \"orders\"\nrepository = \"near\"\nretry = {{ attempts = 1 }}\n\
",
                below("state"),
                below("vault"),
                below("password"),
                world.server.connection().host,
                below("scratch"),
            ),
        );
        let made = program.init().output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        program
    }

    fn init(&self) -> Command {
        let mut command = as_server(std::path::Path::new(env!("CARGO_BIN_EXE_lifeboat")));
        let below = |name: &str| self.place.join(name).display().to_string();
        let (vault, password) = (below("vault"), below("password"));
        command.args(["repo", "init", "--repository", &vault, "--password-file", &password]);
        command.env("HOME", &self.place).current_dir(&self.place);
        command
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = as_server(std::path::Path::new(env!("CARGO_BIN_EXE_lifeboat")));
        command
            .arg("--embedded")
            .arg("--config")
            .arg(self.place.join("lifeboat.toml"))
            .args(args)
            .env("HOME", &self.place)
            .current_dir(&self.place)
            .stdin(Stdio::null());
        command
    }

    /// What it printed as JSON, and its exit code.
    fn json(&self, args: &[&str]) -> (Value, i32) {
        let output = self.command(&[&["--json"], args].concat()).output().unwrap();
        let value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let value = if value.is_null() { Value::String(said) } else { value };
        (value, output.status.code().unwrap_or(-1))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_copies_it_leaves_nothing_and_the_next_run_is_whole() {
    let world = World::new().await;
    let program = Program::new(&world);
    let heavy = ballast(&world.data());
    let mut running = program.command(&["job", "run", "orders", "--wait"]).spawn().unwrap();
    let open = "select count(*)::text from pg_stat_activity where application_name like 'lifeboat %'";
    let slots = "select count(*)::text from pg_replication_slots";
    world.until("the backup is open", open, "1").await;
    world.until("the log is held", slots, "1").await;
    running.kill().unwrap();
    running.wait().unwrap();
    world.until("the backup is closed", open, "0").await;
    world.until("the log is let go", slots, "0").await;
    heavy.drop_it();
    let (listed, code) = program.json(&["snapshot", "list"]);
    assert_eq!((listed.as_array().map(Vec::len), code), (Some(0), 0), "{listed}");

    // At any moment: what is listed then is whole, and nothing is left open on the server.
    for _ in 0..8 {
        let mut running = program.command(&["job", "run", "orders", "--wait"]).spawn().unwrap();
        let moment = u64::from(getrandom::u32().unwrap() % 1500);
        world.clock.sleep(Duration::from_millis(moment)).await;
        // It may have ended by itself.
        let _ = running.kill();
        running.wait().unwrap();
        world.until("the backup is closed", open, "0").await;
        world.until("the log is let go", slots, "0").await;
    }
    let (listed, _) = program.json(&["snapshot", "list"]);
    for snapshot in listed.as_array().unwrap() {
        let id = snapshot["id"].as_str().unwrap();
        let (proved, code) = program.json(&["snapshot", "verify", id, "--level", "checksummed"]);
        assert_eq!(code, 0, "{proved}");
    }

    let (done, code) = program.json(&["job", "run", "orders", "--wait"]);
    assert_eq!(code, 0, "{done}");
    let (listed, _) = program.json(&["snapshot", "list"]);
    let snapshot = &listed[0];
    assert_eq!(snapshot["kind"], "postgres-physical", "{listed}");
    assert!(snapshot["cluster"]["stop_lsn"].is_string(), "{listed}");
    let (proved, code) = program.json(&["snapshot", "verify", "latest", "--level", "restored"]);
    assert_eq!(code, 0, "{proved}");

    let onto = world.data().display().to_string();
    let (refused, code) = program.json(&["restore", "latest", "--target", &onto, "--delta"]);
    assert_eq!(code, 4, "{refused}");
    let target = program.place.join("laid");
    let to = target.display().to_string();
    let (restored, code) = program.json(&["restore", "latest", "--target", &to]);
    assert_eq!(code, 0, "{restored}");
    assert!(restored.to_string().contains("what remains to be done"), "{restored}");
    let copy = world.start(&target, "laid").await;
    assert!(ledger(&copy, &world.clock).await.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_named_as_the_cause() {
    let world = World::new().await;
    let program = Program::new(&world);
    let closed = world.data().join("base/closed");
    fs::write(&closed, vec![7; 3 << 20]).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o0);
    fs::set_permissions(&closed, mode).unwrap();
    let (failed, code) = program.json(&["job", "run", "orders", "--wait"]);
    let said = failed.to_string();
    assert!(
        code != 0 && said.contains("base/closed") && said.contains("ermission denied"),
        "{code}: {said}"
    );
    let (listed, _) = program.json(&["snapshot", "list"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(0), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_configuration_can_protect_a_whole_cluster() {
    let world = World::new().await;
    let place = world.place("first");
    let config = place.join("lifeboat.toml").display().to_string();
    let sockets = world.server.connection().host.replace('/', "%2F");
    let url = format!("postgres://lifeboat@{sockets}");
    let run = |args: &[&str]| {
        let mut command = as_server(std::path::Path::new(env!("CARGO_BIN_EXE_lifeboat")));
        let output = command
            .args(args)
            .env("HOME", &place)
            .current_dir(&place)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {said}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let made = run(&["--json", "init", "--yes", "--output", &config, "--physical", &url]);
    assert_eq!(made["jobs"], serde_json::json!(["cluster"]), "{made}");
    let embedded = ["--embedded", "--json", "--config", &config];
    let done = run(&[&embedded[..], &["job", "run", "cluster", "--wait"]].concat());
    assert_eq!(done["outcome"], "succeeded", "{done}");
    let listed = run(&[&embedded[..], &["snapshot", "list"]].concat());
    assert_eq!(listed[0]["kind"], "postgres-physical", "{listed}");
}
