//! Keeping and forgetting with a real agent on a real repository, with restic as the judge of both.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use lifeboat::clock::Clock;
use lifeboat::domain::retention::{Decision, RetentionPolicy, SnapshotFacts, plan as plan_retention};
use lifeboat::domain::snapshot::EvidenceLevel;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(1);

/// A repository, some files and an agent of its own.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new(retention: &str) -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(world.path("data")).unwrap();
        fs::write(world.path("data/a.txt"), "one\n").unwrap();
        fs::write(world.path("password"), "secret\n").unwrap();
        let dir = world.dir.path().display();
        let text = format!(
            "site = \"test\"\nenvironment = \"TEST\"\n[agent]\nstate_dir = \"{dir}/state\"\n\
             [repository.vault]\nurl = \"{dir}/vault\"\npassword = {{ file = \"{dir}/password\" }}\n\
             [source.files]\nkind = \"files\"\npaths = [\"{dir}/data\"]\n\
             [job.files]\nsource = \"files\"\nrepository = \"vault\"\nretention = {{ {retention} }}\n"
        );
        fs::write(world.path("lifeboat.toml"), text).unwrap();
        for name in ["password", "lifeboat.toml"] {
            fs::set_permissions(world.path(name), PermissionsExt::from_mode(0o600)).unwrap();
        }
        world.restic(&["init"]);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lifeboat"));
        command.arg("--config").arg(self.path("lifeboat.toml")).args(args);
        command.stdin(Stdio::null()).env("RUST_BACKTRACE", "0");
        for name in ["LIFEBOAT_REPOSITORY", "LIFEBOAT_SOCKET", "LIFEBOAT_LOG"] {
            command.env_remove(name);
        }
        command.output().unwrap()
    }

    /// Runs a command that must succeed and reads what it prints.
    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[&["--json"], args].concat());
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {}", said(&output)))
    }

    fn restic(&self, args: &[&str]) -> Vec<u8> {
        let mut command = Command::new("restic");
        command
            .arg("-r")
            .arg(self.path("vault"))
            .arg("--password-file")
            .arg(self.path("password"));
        command
            .args(args)
            .env("TZ", "UTC")
            .env("RESTIC_CACHE_DIR", self.path("cache"));
        let output = command
            .output()
            .expect("restic; install it with: apt-get install restic");
        assert!(output.status.success(), "restic {args:?}: {}", said(&output));
        output.stdout
    }

    fn back_up(&self, content: &str) {
        fs::write(self.path("data/a.txt"), content).unwrap();
        self.json(&["job", "run", "files", "--wait"]);
    }

    /// The ids of the snapshots that are listed, or of those in the trash, newest first.
    fn ids(&self, trash: bool) -> Vec<String> {
        let args: &[&str] = if trash {
            &["snapshot", "list", "--trash"]
        } else {
            &["snapshot", "list"]
        };
        let all = self.json(args);
        let ids = all.as_array().unwrap().iter();
        ids.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let clock = Clock::system();
        let begun = clock.monotonic();
        while !holds(self) {
            assert!(clock.elapsed(begun) < PATIENCE, "{what} did not come about");
            std::thread::yield_now();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.run(&["agent", "stop"]);
    }
}

fn said(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{} {out}{err}", output.status)
}

#[test]
fn what_is_kept_forgotten_and_brought_back_is_so_in_the_repository_too() {
    let world = World::new("last = 2");
    for content in ["one", "two", "three"] {
        world.back_up(content);
    }
    world.wait_until("retention", |world| world.ids(false).len() == 2);
    let (kept, trashed) = (world.ids(false), world.ids(true));
    assert_eq!(trashed.len(), 1);
    world.json(&["snapshot", "pin", &kept[1], "--reason", "the audit"]);
    world.back_up("four");
    world.back_up("five");
    world.wait_until("retention", |world| world.ids(true).len() == 2);
    let listed = world.ids(false);
    assert!(listed.contains(&kept[1]), "what is pinned stays");
    assert_eq!(listed.len(), 3);
    let plan = world.json(&["retention", "plan", "--job", "files"]);
    let pinned = plan[0]["decisions"].as_array().unwrap().iter();
    let why: Vec<_> = pinned.filter(|one| one["snapshot"] == kept[1].as_str()).collect();
    assert_eq!(why[0]["reasons"][0]["rule"], "pinned");

    let refused = world.run(&["snapshot", "forget", &listed[0], "--reason", "space"]);
    assert_eq!(refused.status.code(), Some(4), "the last good one: {}", said(&refused));
    let refused = world.run(&["snapshot", "forget", &kept[1], "--reason", "space"]);
    assert_eq!(refused.status.code(), Some(4), "a pinned one: {}", said(&refused));

    world.json(&["snapshot", "untrash", &trashed[0][..10]]);
    assert!(world.ids(false).contains(&trashed[0]));
    world.json(&["snapshot", "tag", &trashed[0], "--add", "audited"]);
    assert_eq!(
        world
            .json(&["snapshot", "list", "--tag", "audited"])
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let pruned = world.json(&["maintenance", "prune", "vault"]);
    assert_eq!(pruned["outcome"], "succeeded", "{pruned}");
    let checked = world.json(&["maintenance", "check", "vault", "--read-data-subset", "all"]);
    assert_eq!(checked["outcome"], "succeeded", "{checked}");
    world.restic(&["check", "--read-data"]);
    let theirs: Value = serde_json::from_slice(&world.restic(&["snapshots", "--json"])).unwrap();
    let mut theirs: Vec<_> = theirs
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect();
    let mut ours = world.ids(false);
    theirs.sort();
    ours.sort();
    assert_eq!(ours, theirs);
    let journal = String::from_utf8(world.run(&["journal", "export"]).stdout).unwrap();
    assert!(!journal.contains("snapshot_vanished"), "what we forget does not vanish");
}

#[test]
fn the_calendar_rules_keep_what_restic_keeps() {
    let world = World::new("last = 2, hourly = 2, daily = 3, weekly = 2, monthly = 3, yearly = 1");
    let data = world.path("data").display().to_string();
    for time in [
        "2024-12-30 10:00:00",
        "2025-12-31 23:59:59",
        "2026-01-01 00:00:01",
        "2026-02-28 12:00:00",
        "2026-03-01 06:00:00",
        "2026-03-01 18:00:00",
        "2026-03-08 01:30:00",
        "2026-03-09 02:00:00",
        "2026-03-09 02:59:00",
        "2026-03-09 03:00:00",
        "2026-03-09 22:00:00",
        "2026-03-10 08:15:00",
        "2026-03-10 08:45:00",
    ] {
        world.restic(&["backup", "--quiet", "--time", time, "--tag", "job=files", &data]);
    }
    world.wait_until("the listing", |world| world.ids(false).len() == 13);
    let plan = world.json(&["retention", "plan", "--job", "files"]);
    let decisions: Vec<Decision> = serde_json::from_value(plan[0]["decisions"].clone()).unwrap();
    let facts: Vec<SnapshotFacts> = decisions
        .iter()
        .map(|one| SnapshotFacts {
            id: one.snapshot.clone(),
            repository: one.repository.clone(),
            taken_at: one.taken_at,
            tags: vec![],
            partial: false,
            refuted: false,
            level: EvidenceLevel::Written,
            pinned: false,
        })
        .collect();
    let mut sizes = Vec::new();
    for [last, hourly, daily, weekly, monthly, yearly] in [
        [2, 2, 3, 2, 3, 1],
        [0, 0, 9, 0, 0, 0],
        [0, 0, 0, 0, 4, 0],
        [1, 3, 0, 2, 0, 9],
        [0, 1, 0, 1, 0, 1],
    ] {
        let policy = RetentionPolicy {
            keep_last: last,
            keep_hourly: hourly,
            keep_daily: daily,
            keep_weekly: weekly,
            keep_monthly: monthly,
            keep_yearly: yearly,
            ..RetentionPolicy::default()
        };
        let mut args = vec!["forget".to_owned(), "--dry-run".to_owned(), "--json".to_owned()];
        args.push("--group-by=host".to_owned());
        let rules = [
            ("last", last),
            ("hourly", hourly),
            ("daily", daily),
            ("weekly", weekly),
            ("monthly", monthly),
            ("yearly", yearly),
        ];
        args.extend(
            rules
                .iter()
                .filter(|rule| rule.1 > 0)
                .map(|(rule, count)| format!("--keep-{rule}={count}")),
        );
        let out = world.restic(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let theirs: Value = serde_json::Deserializer::from_slice(&out)
            .into_iter()
            .next()
            .unwrap()
            .unwrap();
        let keep = theirs[0]["keep"].as_array().unwrap().iter();
        // Old versions print short ids.
        let kept: BTreeSet<String> = keep.map(|one| one["id"].as_str().unwrap()[..8].to_owned()).collect();
        let ours = plan_retention(&policy, &facts, &BTreeSet::new());
        let ours: BTreeSet<String> = ours
            .iter()
            .filter(|one| one.keep)
            .map(|one| one.snapshot.short().to_owned())
            .collect();
        assert_eq!(ours, kept, "{}", policy.words());
        sizes.push(ours.len());
    }
    assert!(
        sizes.iter().all(|size| (1..13).contains(size)),
        "rules that decide something: {sizes:?}"
    );
}

/// What a reader of the file cannot tell from chance.
fn encrypt(path: &std::path::Path, seed: u64) {
    let mut state = seed | 1;
    let mut bytes = fs::read(path).unwrap();
    for byte in &mut bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte ^= state.to_le_bytes()[3];
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn files_that_are_encrypted_in_place_raise_an_alert_and_the_last_clean_snapshot_is_found() {
    let world = World::new("last = 3");
    let file = |number: u64| world.path(&format!("data/{number}.txt"));
    let text = |number: u64| format!("line after line of file {number}\n").repeat(4000);
    for number in 1..=40 {
        fs::write(file(number), text(number)).unwrap();
    }
    let alerts = || -> Vec<Value> {
        let alerts = world.json(&["alert", "list"]);
        let of_job = |alert: &&Value| alert["subject"]["job"] == "files";
        alerts.as_array().unwrap().iter().filter(of_job).cloned().collect()
    };
    for day in ["one", "two", "three", "four"] {
        world.back_up(day);
    }
    let (clean, quiet) = (world.ids(false)[0].clone(), alerts());
    assert!(quiet.is_empty(), "{quiet:?}");
    for number in 1..=40 {
        encrypt(&file(number), number);
    }
    world.back_up("five");
    let bad = world.ids(false)[0].clone();
    world.back_up("six");
    world.wait_until("the alert", |_| !alerts().is_empty());
    let alert = &alerts()[0];
    assert_eq!(
        (&alert["kind"], &alert["severity"]),
        (&"mass-encryption".into(), &"critical".into())
    );
    assert_eq!(
        alert["subject"]["snapshot"], bad,
        "a quiet day later it is still about that one"
    );
    world.wait_until("retention", |world| world.ids(false).len() == 3);
    let finding = world.json(&["snapshot", "find-clean", "files"]);
    assert_eq!(finding["snapshots"].as_array().unwrap().len(), 6, "what expired counts");
    let changed = finding["snapshots"][4]["files_changed"].as_u64().unwrap();
    assert!(changed >= 41, "{changed} files");
    assert_eq!(
        (&finding["clean"], &finding["bad"]),
        (&clean.clone().into(), &bad.into())
    );
    assert_eq!(
        (&finding["next"], &finding["looked_at"]),
        (&clean.clone().into(), &false.into())
    );
    let restored = world.restic(&["dump", &clean, &file(7).display().to_string()]);
    assert!(
        restored == text(7).into_bytes(),
        "the candidate holds what was there before"
    );
    let done = world.json(&["snapshot", "find-clean", "files", "--clean", &clean[..10]]);
    assert_eq!((&done["clean"], &done["looked_at"]), (&clean.into(), &true.into()));
    assert_eq!(done["next"], Value::Null);
    let refused = world.run(&["snapshot", "find-clean", "nothing"]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
}
