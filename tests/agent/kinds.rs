//! Every kind of step that needs no database, and every such check, against real parts: one runbook of more than twenty steps.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::{World, said};

/// A server that notes every request, answers `/teapot` with 418 and everything else with 200.
struct Web {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                noted.lock().unwrap().push(answer(stream));
            }
        });
        Self { address, seen }
    }

    fn count(&self, request: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|one| *one == request).count()
    }
}

/// Answers one request; returns it as `METHOD PATH BODY`.
fn answer(mut stream: TcpStream) -> String {
    let mut read = Vec::new();
    let (head, length) = loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        read.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text.to_lowercase();
            let length = length.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.split("\r\n").next()?.trim().parse().ok());
            break (end + 4, length.unwrap_or(0));
        }
        assert!(count > 0, "half a request");
    };
    while read.len() < head + length {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        read.extend_from_slice(&buffer[..count]);
    }
    let text = String::from_utf8(read).unwrap();
    let line: Vec<&str> = text.split(' ').take(2).collect();
    let status = if line[1] == "/teapot" {
        "418 I'm a teapot"
    } else {
        "200 OK"
    };
    let body = "all is well";
    let reply = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(reply.as_bytes()).unwrap();
    format!("{} {} {}", line[0], line[1], &text[head..])
}

const RUNBOOK: &str = r#"
objective = "10m"
[variable.job]
type = "job"
ask = "Which job?"
[variable.best]
type = "text"
ask = "Which is the best?"

[[step]]
id = "backup"
kind = "backup"
job = "{job}"
verify = [{ check = "snapshot", source = "files", max_age = "1h" }]
[[step]]
id = "prove"
kind = "verify"
snapshot = "{backup.snapshot}"
level = "restored"
verify = [{ check = "snapshot", source = "files", level = "restored" }, { check = "recoverable", source = "files", max_loss = "1h" }]
[[step]]
id = "practise"
kind = "drill"
name = "weekly"
[[step]]
id = "clean"
kind = "find-clean"
job = "{job}"
[[step]]
id = "restore"
kind = "restore"
snapshot = "{clean.snapshot}"
target = "DIR/out"
precheck = [{ check = "path", path = "DIR/out", exists = false }, { check = "repository", name = "vault" }]
verify = [{ check = "path", path = "DIR/out" }]
[[step]]
id = "again"
kind = "restore"
snapshot = "latest:files"
target = "DIR/out"
delta = true
[[step]]
id = "ask"
kind = "http"
url = "WEB/health"
verify = [{ check = "value", value = "{ask.status} {ask.output}", expect = { equals = "200 all is well" } }]
[[step]]
id = "teapot"
kind = "http"
url = "WEB/teapot"
method = "PUT"
body = "tea for {by}"
status = 418
[[step]]
id = "look"
kind = "check"
verify = [{ check = "answers", url = "WEB/health", contains = "well" }, { check = "answers", url = "WEB/teapot", status = 418 }]
[[step]]
id = "route"
kind = "route"
to = "the spare"
url = "WEB/route"
body = "{ask.status}"
[[step]]
id = "route-by-program"
kind = "route"
to = "the spare"
command = ["tee", "-a", "DIR/routed"]
[[step]]
id = "tell"
kind = "notify"
message = "restored {clean.snapshot}"
url = "WEB/tell"
[[step]]
id = "tell-by-program"
kind = "notify"
message = "restored {clean.snapshot}"
command = ["tee", "DIR/told"]
[[step]]
id = "start"
kind = "service"
do = "restart"
unit = "shop.service"
[[step]]
id = "later"
kind = "command"
shell = true
command = ["(sleep 1; touch DIR/late) >/dev/null 2>&1 &"]
[[step]]
id = "until"
kind = "wait"
verify = [{ check = "path", path = "DIR/late" }, { check = "runs", command = ["echo", "fine"], contains = "fine" }]
[[step]]
id = "a-moment"
kind = "wait"
for = "100ms"
[[step]]
id = "left"
kind = "command"
command = ["touch", "DIR/left"]
parallel = "both"
[[step]]
id = "right"
kind = "command"
command = ["touch", "DIR/right"]
parallel = "both"
[[step]]
id = "inner"
kind = "runbook"
runbook = "inner"
set = { word = "{ask.status}" }
[[step]]
id = "choose"
kind = "choose"
variable = "best"
question = "Which is the best?"
[[step]]
id = "chosen"
kind = "command"
command = ["touch", "DIR/{best}"]
[[step]]
id = "never"
kind = "command"
command = ["touch", "DIR/never"]
when = ["{best} = worst"]
"#;

const INNER: &str = r#"
[variable.word]
type = "text"
ask = "Which word?"
[[step]]
id = "keep"
kind = "command"
command = ["touch", "DIR/inner-{word}"]
"#;

#[test]
fn every_kind_of_step_does_what_it_says() {
    let world = World::new(&[]);
    world.init_repository();
    let config = fs::read_to_string(world.path("lifeboat.toml")).unwrap();
    let drill = "[drill.weekly]\nsource = \"files\"\n";
    fs::write(world.path("lifeboat.toml"), config + drill).unwrap();
    let web = Web::start();
    world.runbook("inner", INNER);
    world.runbook("all", &RUNBOOK.replace("WEB", &web.address));
    // What stands for the system's own services: it notes what it was told.
    fs::create_dir(world.path("bin")).unwrap();
    let systemctl = world.path("bin/systemctl");
    let text = format!("#!/bin/sh\necho \"$@\" >> {}\n", world.path("units").display());
    fs::write(&systemctl, text).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", world.path("bin").display(), std::env::var("PATH").unwrap());
    let listed = world.command(&["job", "list"]).env("PATH", path).output().unwrap();
    assert!(listed.status.success(), "the agent knows the way: {}", said(&listed));

    let plan = world.json(&["runbook", "plan", "all", "--set", "job=files"]);
    assert_eq!(plan["steps"].as_array().unwrap().len(), 23, "the inner one included");
    assert!(web.seen.lock().unwrap().is_empty() && !world.path("out").exists());

    let output = world.run(&["runbook", "run", "all", "--set", "job=files", "--yes"]);
    assert_eq!(output.status.code(), Some(3), "a person chooses: {}", said(&output));
    let run = world.live()["id"].as_str().unwrap().to_owned();
    let chosen = world.run(&["runbook", "set", &run, "best=this"]);
    assert!(chosen.status.success(), "{}", said(&chosen));
    world.wait_until("its end", |world| world.live().is_null());

    let record = world.report(&run);
    assert_eq!(record["outcome"], "completed", "{record:#}");
    let state = |id: &str| {
        let steps = record["run"]["runbook"]["steps"].as_array().unwrap();
        let at = steps.iter().position(|step| step["id"] == id).unwrap();
        record["run"]["steps"][at]["state"].clone()
    };
    assert_eq!(state("never"), Value::from("not_needed"));
    let restored = world
        .path("out")
        .join(world.path("data/a.txt").strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(restored).unwrap(), "one\n");
    for made in ["left", "right", "late", "inner-200", "this"] {
        assert!(world.path(made).exists(), "{made}");
    }
    assert!(!world.path("never").exists());
    assert_eq!(world.words("units"), "restart shop.service\n");
    let newest = world.json(&["snapshot", "list"])[0].clone();
    let (point, taken) = (&record["run"]["values"]["restore.point"], &newest["taken_at"]);
    assert_eq!(
        point.as_str().unwrap()[..23],
        taken.as_str().unwrap()[..23],
        "{newest:#}"
    );
    let snapshot = newest["id"].as_str().unwrap().to_owned();
    assert_eq!(world.words("told"), format!("restored {snapshot}"));
    let told = format!("POST /tell {{\"text\":\"restored {snapshot}\"}}");
    let by = record["run"]["started_by"].as_str().unwrap();
    let tea = format!("PUT /teapot tea for {by}");
    for once in [told.as_str(), tea.as_str(), "POST /route 200"] {
        assert_eq!(web.count(once), 1, "{once}: {:#?}", web.seen.lock().unwrap());
    }
    let drilled = world.json(&["drill", "list"]);
    assert_eq!(drilled[0]["last"]["outcome"], "succeeded", "{drilled:#}");
}
