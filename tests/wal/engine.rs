//! A world with an engine: its configuration, the program with the engine inside, an agent and a client of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use lifeboat::api::Client;
use lifeboat::domain::command::{Actor, Command};
use lifeboat::domain::follow_up::LeftServer;
use lifeboat::domain::id::RecoveryId;
use lifeboat::domain::recovery::{RecoveryRecord, RecoveryRequest};
use lifeboat::domain::view::{Overview, Query};
use serde_json::Value;

use crate::ledger::SUM;
use crate::world::{Killed, World, code, give_away, said};

/// A configuration with a cluster, a job and two drills; its user is the server's.
pub fn configure(world: &World, sum: i64) -> PathBuf {
    configure_with(world, sum, "")
}

/// The same, with more about the source.
pub fn configure_with(world: &World, sum: i64, more: &str) -> PathBuf {
    let own = world.own();
    let connection = world.server.connection();
    let path = own.join("lifeboat.toml");
    let text = format!(
        r#"
[agent]
state_dir = "{own}/state"
[repository.near]
url = "{own}/repo"
password = {{ file = "{own}/password" }}
trash = "0s"
grace = "0s"
[source.orders]
kind = "postgres-physical"
host = "{host}"
port = {port}
user = "lifeboat"
tls = "disable"
bin_dir = "{bin}"
scratch_dir = "{own}"
{more}
[job.orders]
source = "orders"
repository = "near"
[drill.any]
source = "orders"
point = "random"
probes = [{{ name = "the sum is one that was", sql = "select count(*) > 0 from account", expect = {{ equals = "t" }} }}]
[drill.exact]
source = "orders"
probes = [{{ name = "the sum", sql = "{SUM}", expect = {{ equals = "{sum}" }} }}]
[drill.strict]
source = "orders"
limit = "1ms"
probes = [{{ name = "nobody spent", sql = "select count(*) from account", expect = {{ at_most = 0 }} }}]
[service.orders]
sources = ["orders"]
rpo = "1h"
"#,
        own = own.display(),
        host = connection.host,
        port = connection.port,
        bin = world.server.bin_dir.display(),
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    give_away(&path);
    path
}

/// The program with that configuration and its engine inside; what it printed, and its exit code.
pub fn engine(world: &World, config: &str, args: &[&str]) -> (Value, i32) {
    let mut all = vec!["--json", "--config", config, "--embedded"];
    all.extend(args);
    let output = world.lifeboat(&world.own(), &all);
    // A record comes last, behind the lines of progress.
    let text = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&text).or_else(|_| serde_json::from_str(text.lines().last().unwrap_or_default()));
    (value.unwrap_or_else(|_| Value::String(said(&output))), code(&output))
}

/// Starts a recovery and waits for its end.
pub async fn carried_out(world: &World, client: &Client, request: RecoveryRequest) -> RecoveryRecord {
    let began = client.command(Command::StartRecovery { request }).await.unwrap();
    let query = Query {
        id: began.recovery.as_ref().map(ToString::to_string),
        ..Query::default()
    };
    for _ in 0..1200 {
        if let Some(record) = client.recoveries(&query).await.unwrap().items.pop() {
            return record;
        }
        world.clock.sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it does not end within a minute");
}

/// The server a recovery has left, as its record says.
pub async fn left_by(client: &Client, recovery: &RecoveryId) -> LeftServer {
    let query = Query {
        id: Some(recovery.to_string()),
        ..Query::default()
    };
    let record = client.recoveries(&query).await.unwrap().items.pop().unwrap();
    record.left.unwrap()
}

/// An agent as the server's user, and a client of it.
pub fn agent(world: &World, config: &str) -> (Killed, Client) {
    let log = fs::File::create(world.own().join("agent.out")).unwrap();
    let args = ["--config", config, "agent", "run"];
    let agent = Killed(world.command(&world.own(), &args).stderr(log).spawn().unwrap());
    let actor = Actor {
        name: "ana".to_owned(),
        host: "here".to_owned(),
        via: "console".to_owned(),
    };
    (agent, Client::connect(&world.own().join("state/agent.sock"), actor))
}

/// Waits for a picture.
pub async fn seen(world: &World, client: &Client, what: &str, holds: impl Fn(&Overview) -> bool) -> Overview {
    let mut last = None;
    for _ in 0..1200 {
        if let Ok(overview) = client.overview().await {
            if holds(&overview) {
                return overview;
            }
            last = Some(overview.logs);
        }
        world.clock.sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("waited a minute in vain: {what}; {last:?}");
}
