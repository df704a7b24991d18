//! Runbooks through the agent as a process: led by commands, killed in the middle, gone on with, reported.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use super::{World, said};

impl World {
    pub(super) fn runbook(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path("runbooks")).unwrap();
        let path = self.path(&format!("runbooks/{name}.toml"));
        let text = text.replace("DIR", &self.dir.path().display().to_string());
        fs::write(&path, format!("title = \"t\"\nwhy = \"w\"\n{text}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(super) fn begin_runbook(&self, name: &str, args: &[&str]) -> String {
        let begun = self.json(&[&["runbook", "run", name, "--no-wait"], args].concat());
        begun["run"].as_str().unwrap().to_owned()
    }

    pub(super) fn live(&self) -> Value {
        self.json(&["runbook", "status"])[0].clone()
    }

    pub(super) fn step(&self, at: usize) -> String {
        self.live()["steps"][at]["state"].as_str().unwrap_or("over").to_owned()
    }

    pub(super) fn report(&self, run: &str) -> Value {
        self.json(&["runbook", "report", run])["record"].clone()
    }

    pub(super) fn words(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

/// A step that notes that it acted, each time it does.
fn noting(id: &str, more: &str) -> String {
    format!(
        "[[step]]\nid = \"{id}\"\nkind = \"command\"\nshell = true\nclass = \"resumable\"\n\
         command = [\"echo {id} >> DIR/acted; {more} touch DIR/{id}.done\"]\n\
         verify = [{{ check = \"path\", path = \"DIR/{id}.done\" }}]\n"
    )
}

#[test]
fn a_run_without_people_goes_through_and_its_report_says_so() {
    let world = World::new(&[]);
    let tell = "[variable.word]\ntype = \"text\"\nask = \"which\"\n[[step]]\nid = \"tell\"\nkind = \"command\"\n\
                command = [\"sh\", \"-c\", \"printf '%s|%s' \\\"$1\\\" \\\"$LIFEBOAT_WORD\\\"\", \"x\", \"{word}\"]\n\
                [[step]]\nid = \"keep\"\nkind = \"notify\"\nmessage = \"{tell.output}\"\ncommand = [\"tee\", \"DIR/told\"]\n";
    world.runbook("fix", tell);
    let listed = world.json(&["runbook", "list"]);
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|line| line["name"].as_str())
        .collect();
    assert!(
        names.contains(&"fix") && names.contains(&"manual-failover"),
        "{names:?}"
    );
    let plan = world.json(&["runbook", "plan", "fix", "--set", "word=a'b \"c\" $(d)"]);
    assert!(plan["steps"][0]["does"].as_str().unwrap().contains("$(d)"), "{plan}");
    assert!(!world.path("told").exists(), "a plan does nothing");
    let output = world.run(&["runbook", "run", "fix", "--yes", "--set", "word=a'b \"c\" $(d)"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(
        world.words("told"),
        "a'b \"c\" $(d)|a'b \"c\" $(d)",
        "a value is one value, and no program"
    );
    let text = world.run(&["runbook", "report", "fix"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("# REAL: t completed") && text.contains("## Times"),
        "{text}"
    );
    assert_eq!(
        world.run(&["runbook", "run", "fix", "--yes"]).status.code(),
        Some(2),
        "a value is missing"
    );
    assert_eq!(world.run(&["runbook", "run", "gone", "--yes"]).status.code(), Some(2));
}

#[test]
fn killed_inside_every_step_a_run_goes_on_where_it_was() {
    // Killed while the second step acts: before it was done, after it was done but not yet ended, and while its program would
    // go on without the agent.
    let slow = [
        ("sleep 0.5; touch DIR/began; sleep 600;", 2),
        ("touch DIR/two.done; touch DIR/began; sleep 600;", 1),
        ("touch DIR/began; sleep 3; touch DIR/late; sleep 600;", 2),
    ];
    for (more, times) in slow {
        let world = World::new(&[]);
        // The second time, it does not hang.
        let once = format!("if [ ! -e DIR/began ]; then {more} fi;");
        world.runbook(
            "mend",
            &[noting("one", ""), noting("two", &once), noting("three", "")].concat(),
        );
        let run = world.begin_runbook("mend", &["--yes"]);
        world.wait_until("the second step acts", |world| world.path("began").exists());
        kill(world.agent_pid().unwrap(), Signal::SIGKILL).unwrap();
        let output = world.run(&["runbook", "resume", &run]);
        let status = output.status.code();
        assert!(status == Some(0) || status == Some(1), "{}", said(&output));
        world.wait_until("it has ended", |world| world.live().is_null());
        let record = world.report(&run);
        assert_eq!(record["outcome"], "completed", "{record:#}");
        let acted = world.words("acted");
        let count = |step: &str| acted.lines().filter(|line| *line == step).count();
        assert_eq!((count("one"), count("two"), count("three")), (1, times, 1), "{acted}");
        assert_eq!(record["run"]["steps"][1]["recovered"], times == 1);
        assert!(!world.path("late").exists(), "its program was ended with its agent");
    }
}

#[test]
fn an_execution_whose_agent_died_right_after_it_was_accepted_is_begun_once() {
    let world = World::new(&[]);
    world.runbook("mend", &noting("one", "sleep 600;"));
    let marks = world.path("marks");
    fs::create_dir(&marks).unwrap();
    // It dies when the beginning is durable, before anything follows from it and before anybody is told.
    let mut command = world.command(&["agent", "run"]);
    let mut agent = command.env("LIFEBOAT_CRASH", &marks).spawn().unwrap();
    world.wait_until("it answers", |world| world.agent_pid().is_some());
    let words = ["runbook", "run", "mend", "--yes", "--no-wait"];
    let first = world.run(&words);
    assert!(
        !first.status.success(),
        "nobody said that it was begun: {}",
        said(&first)
    );
    agent.wait().unwrap();
    assert!(marks.join("after.started.").exists() && world.words("acted").is_empty());
    // Whoever asked does not know, and asks again: another agent has it already.
    let again = world.run(&words);
    assert!(!again.status.success(), "{}", said(&again));
    assert!(said(&again).contains("already going through"), "{}", said(&again));
    world.wait_until("it acts", |world| !world.words("acted").is_empty());
    let third = world.run(&words);
    assert!(said(&third).contains("already going through"), "{}", said(&third));
    let begun = |record: &&Value| record["event"]["event"] == "runbook" && record["event"]["fact"]["fact"] == "started";
    assert_eq!(world.events().iter().filter(begun).count(), 1);
    assert_eq!(world.words("acted"), "one\n");
    let run = world.live()["id"].as_str().unwrap().to_owned();
    let ended = world.run(&["runbook", "abort", &run, "--reason", "enough"]);
    assert!(ended.status.success(), "{}", said(&ended));
    world.wait_until("it has ended", |world| world.live().is_null());
}

#[test]
fn what_a_person_does_is_waited_for_and_said_once() {
    let world = World::new(&[]);
    let text = "[[step]]\nid = \"call\"\nkind = \"manual\"\ninstruction = \"call the owner\"\n\
                [[step]]\nid = \"drop\"\nkind = \"command\"\ncommand = [\"touch\", \"DIR/dropped\"]\n\
                needs = { typed = \"orders\" }\nundo = { kind = \"command\", command = [\"rm\", \"DIR/dropped\"] }\n\
                [[step]]\nid = \"last\"\nkind = \"command\"\ncommand = [\"true\"]\n";
    world.runbook("lead", text);
    let output = world.run(&["runbook", "run", "lead"]);
    assert_eq!(
        output.status.code(),
        Some(3),
        "it waits for a person: {}",
        said(&output)
    );
    let run = world.live()["id"].as_str().unwrap().to_owned();
    let say = |words: &[&str]| world.run(&[&["runbook"], words].concat());
    assert!(say(&["go", &run]).status.success());
    world.wait_until("it is the turn of the second", |world| world.step(0) == "done");
    let output = say(&["go", &run, "call"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("done by now"), "{}", said(&output));
    let output = say(&["go", &run, "--typed", "order"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(!world.path("dropped").exists());
    assert!(say(&["go", &run, "--typed", "orders"]).status.success());
    world.wait_until("it was done", |world| world.step(1) == "done");
    assert!(world.path("dropped").exists());
    let output = say(&["abort", &run, "--reason", "enough", "--undo"]);
    assert!(output.status.success(), "{}", said(&output));
    world.wait_until("it has ended", |world| world.live().is_null());
    assert!(!world.path("dropped").exists(), "what was done was taken back");
    assert_eq!(world.report(&run)["outcome"], "undone");
}

#[test]
fn programs_that_hang_fail_prove_nothing_or_are_missing_end_their_step_with_a_reason() {
    let cases = [
        ("command = [\"sleep\", \"600\"]\ntimeout = \"1s\"", "did not end within"),
        ("command = [\"/no/such/program\"]", "cannot be started"),
        (
            "command = [\"sh\", \"-c\", \"echo no; exit 7\"]",
            "it ended with status 7: no",
        ),
        // What was said of the failure comes before what was printed, and the command stands elsewhere.
        (
            "command = [\"sh\", \"-c\", \"echo half; echo no room >&2; exit 7\"]",
            "it ended with status 7: no room",
        ),
        (
            "command = [\"sh\", \"-c\", \"kill -9 $$\"]",
            "it was killed by signal 9 and said nothing",
        ),
        // It succeeds, and what it was to bring about is not there.
        (
            "command = [\"true\"]\nverify = [{ check = \"path\", path = \"DIR/never\" }]\ntimeout = \"2s\"",
            "it was done, and is not proved",
        ),
        (
            "command = [\"true\"]\nprecheck = [{ check = \"path\", path = \"DIR/never\" }]",
            "does not hold",
        ),
    ];
    for (step, expected) in cases {
        let world = World::new(&[]);
        let text = format!("objective = \"10m\"\n[[step]]\nid = \"a\"\nkind = \"command\"\n{step}\n");
        world.runbook("bad", &text);
        let output = world.run(&["runbook", "run", "bad", "--yes"]);
        assert_eq!(output.status.code(), Some(1), "{step}: {}", said(&output));
        let record = world.report("bad");
        let error = record["run"]["steps"][0]["error"]["message"].as_str().unwrap();
        assert!(error.contains(expected), "{step}: {error}");
        assert!(!error.contains("sh -c"), "{step}: {error}");
        let text = world.run(&["runbook", "report", "bad"]);
        let text = String::from_utf8(text.stdout).unwrap();
        assert!(
            text.contains("The objective of 10m00s was **not reached**: it failed"),
            "{text}"
        );
    }
}

/// The processes of an execution, found by what is in their environment.
fn processes_of(run: &str) -> Vec<String> {
    let mark = format!("LIFEBOAT_EXECUTION={run}/");
    let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let environ = |entry: &fs::DirEntry| fs::read(entry.path().join("environ")).unwrap_or_default();
    all.filter(|entry| String::from_utf8_lossy(&environ(entry)).contains(&mark))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_program_that_hangs_is_ended_with_all_it_started() {
    let world = World::new(&[]);
    // One that does not listen, and one that has no father by then.
    let text = "[[step]]\nid = \"a\"\nkind = \"command\"\nshell = true\ntimeout = \"2s\"\n\
                command = [\"trap '' TERM INT HUP; (sleep 700 &); touch DIR/began; sleep 700; sleep 700\"]\n";
    world.runbook("hang", text);
    let run = world.begin_runbook("hang", &["--yes"]);
    world.wait_until("it began", |world| world.path("began").exists());
    assert!(processes_of(&run).len() >= 2, "{:?}", processes_of(&run));
    world.wait_until("it has ended", |world| world.live().is_null());
    let record = world.report(&run);
    let error = record["run"]["steps"][0]["error"]["message"].as_str().unwrap();
    assert!(error.contains("did not end within 2.0s"), "{error}");
    world.wait_until("nothing of it is left", |_| processes_of(&run).is_empty());
}

/// The most memory a process ever had, in KiB.
fn peak(world: &World) -> u64 {
    let pid = world.agent_pid().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

fn size(dir: &std::path::Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

#[test]
fn a_program_that_prints_a_gigabyte_ends_well_and_fills_neither_memory_nor_disk() {
    let world = World::new(&[]);
    let flood = "[[step]]\nid = \"a\"\nkind = \"command\"\nshell = true\n\
                 command = [\"yes lifeboat | head -c 1000000000; echo; echo end\"]\n";
    world.runbook("flood", flood);
    world.json(&["runbook", "status"]);
    let (memory, disk) = (peak(&world), size(&world.path("state")));
    let output = world.run(&["runbook", "run", "flood", "--yes"]);
    assert!(output.status.success(), "{}", said(&output));
    let output = world.report("flood")["run"]["steps"][0]["outputs"]["output"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(output.ends_with("\nend") && output.len() < 20_000, "{}", output.len());
    let grown = peak(&world).saturating_sub(memory);
    assert!(grown < 64 << 10, "its memory grew by {grown} KiB");
    let grown = size(&world.path("state")).saturating_sub(disk);
    assert!(grown < 8 << 20, "its state grew by {grown} bytes");
}

#[test]
fn what_a_program_prints_steers_no_terminal() {
    let world = World::new(&[]);
    let evil = r"printf '\033]0;owned\007\033[31mred\377\r\nsecond\302\233m\342\200\256`'";
    let step = |id: &str, more: &str| {
        format!("[[step]]\nid = \"{id}\"\nkind = \"command\"\nshell = true\ncommand = ['''{evil}{more}''']\n")
    };
    world.runbook("evil", &[step("a", ""), step("b", " >&2; exit 1")].concat());
    let output = world.run(&["runbook", "run", "evil", "--yes"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let report = world.run(&["runbook", "report", "evil"]);
    let journal = world.run(&["journal", "tail", "--json"]);
    let run = world.report("evil")["run"]["id"].as_str().unwrap().to_owned();
    let kept = fs::read(world.path(&format!("state/reports/{run}.md"))).unwrap();
    let log = fs::read(world.path("state/agent.log")).unwrap();
    for (what, bytes) in [
        ("the command line", output.stderr),
        ("the report", report.stdout),
        ("the kept report", kept),
        ("the journal", journal.stdout),
        ("the log", log),
    ] {
        let text = String::from_utf8(bytes).unwrap();
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.chars().any(steers), "{what}: {text:?}");
        assert!(!text.contains("\\u001b") && !text.contains("\\u009b"), "{what}: {text}");
    }
}

#[test]
fn an_edit_counts_at_once_and_a_broken_one_shuts_nobody_out() {
    let world = World::new(&[]);
    let waits = "[[step]]\nid = \"call\"\nkind = \"manual\"\ninstruction = \"WHAT\"\n\
                 [[step]]\nid = \"last\"\nkind = \"command\"\ncommand = [\"true\"]\n";
    world.runbook("lead", &waits.replace("WHAT", "the first version"));
    let plan = world.json(&["runbook", "plan", "lead"]);
    assert_eq!(plan["steps"][0]["does"], "the first version");
    // Whoever has just corrected a runbook is not led through the one before.
    world.runbook("lead", &waits.replace("WHAT", "the second version"));
    let plan = world.json(&["runbook", "plan", "lead"]);
    assert_eq!(plan["steps"][0]["does"], "the second version");
    let run = world.begin_runbook("lead", &[]);
    world.runbook("other", "[[step]]\nid = \"a\"\nkind = \"typo\"\n");
    let output = world.run(&["runbook", "resume", &run]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    for expected in [
        "the agent goes by the one before",
        "other.toml:",
        "does: the second version",
    ] {
        assert!(said(&output).contains(expected), "{expected}: {}", said(&output));
    }
    let output = world.run(&["--json", "runbook", "resume", &run]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        told["run"],
        run.as_str(),
        "who follows it by program is told which it is"
    );
    assert!(world.run(&["runbook", "go", &run]).status.success());
    world.wait_until("it is the turn of the last", |world| world.step(0) == "done");
    let output = world.run(&["runbook", "approve", &run, "last"]);
    assert!(said(&output).contains("needs nobody's word"), "{}", said(&output));
    let output = world.run(&["runbook", "abort", &run, "--reason", "enough"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(world.run(&["config", "check"]).status.code(), Some(2));
    // The document is there on paper when no agent can be had.
    fs::remove_file(world.path("runbooks/other.toml")).unwrap();
    assert!(world.run(&["agent", "stop"]).status.success());
    let shown = world.run(&["runbook", "show", "manual-failover"]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(
        text.contains("by hand: ") && text.contains("select pg_promote()"),
        "{text}"
    );
    assert!(world.agent_pid().is_none(), "nobody needed one");
}

#[test]
fn an_agent_whose_log_cannot_be_written_goes_on() {
    let world = World::new(&[]);
    world.runbook(
        "fix",
        "[[step]]\nid = \"a\"\nkind = \"command\"\ncommand = [\"true\"]\n",
    );
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut agent = world.command(&["agent", "run"]);
    let mut agent = agent.stderr(full).spawn().unwrap();
    world.wait_until("it answers", |world| world.path("state/agent.sock").exists());
    let output = world.run(&["runbook", "run", "fix", "--yes"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(world.run(&["agent", "stop"]).status.success());
    assert!(agent.wait().unwrap().success());
}
