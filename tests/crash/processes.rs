//! Several processes at once on one repository in a directory: two back up while a third prunes; then with restic as one
//! of those that back up.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lifeboat::clock::Clock;

use super::world::{PASSWORD, files_of, restic, write_version};

/// How long somebody may wait for a lock of the others.
const PATIENCE: Duration = Duration::from_secs(60);

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let this = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let made = this.lifeboat(&["repo", "init"]);
        assert!(made.status.success(), "{}", told(&made));
        this
    }

    fn repository(&self) -> PathBuf {
        self.dir.path().join("repository")
    }

    fn source(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn lifeboat(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lifeboat"));
        command.args(args).arg("--repository").arg(self.repository());
        command.env("LIFEBOAT_PASSWORD", PASSWORD).env("HOME", self.dir.path());
        command.current_dir(self.dir.path()).output().unwrap()
    }

    fn backups(&self, name: &str, by_restic: bool) {
        let source = self.source(name);
        for version in 0..4 {
            write_version(&source, version);
            patiently(|| {
                if by_restic {
                    return restic(&self.repository(), &["backup", source.to_str().unwrap()]).map(drop);
                }
                succeeded(&self.lifeboat(&["backup", source.to_str().unwrap()]))
            });
        }
    }

    /// Forgets what is old and prunes at once, as often as it gets the lock, until the others have finished.
    fn prune_until(&self, done: &AtomicBool) -> usize {
        let mut pruned = 0;
        while !done.load(Ordering::SeqCst) || pruned == 0 {
            let made = self.lifeboat(&[
                "repo",
                "prune",
                "--grace",
                "0",
                "--trash",
                "0",
                "--accept-shrink",
                "--yes",
                &self.id(),
            ]);
            match succeeded(&made) {
                Ok(()) => pruned += 1,
                // Before the first snapshot there is nothing to keep, and it rightly refuses.
                Err(why) if why.contains("locked") || why.contains("there is no snapshot") => {}
                Err(why) => panic!("{why}"),
            }
        }
        pruned
    }

    fn id(&self) -> String {
        let config = restic(&self.repository(), &["cat", "config", "--no-lock"]).unwrap();
        let at = config.find("\"id\"").unwrap();
        config[at + 4..].split('"').nth(1).unwrap()[..8].to_owned()
    }

    fn restores(&self, name: &str) {
        let snapshots = self.lifeboat(&["snapshot", "list", "--json"]);
        let listed: Vec<serde_json::Value> = serde_json::from_slice(&snapshots.stdout).unwrap();
        let source = self.source(name);
        let newest = listed
            .iter()
            .find(|one| one["paths"][0] == source.to_str().unwrap())
            .unwrap();
        for (number, one) in listed.iter().enumerate() {
            let target = self.dir.path().join(format!("out-{name}-{number}"));
            let id = one["id"].as_str().unwrap();
            let made = self.lifeboat(&["restore", id, "--target", target.to_str().unwrap()]);
            assert!(made.status.success(), "{}", told(&made));
            if one["id"] == newest["id"] {
                let restored = target.join(source.strip_prefix("/").unwrap());
                assert!(files_of(&restored) == files_of(&source), "{name}");
            }
        }
    }
}

/// Runs it again while somebody else's lock is in the way.
fn patiently(work: impl Fn() -> Result<(), String>) {
    let clock = Clock::system();
    let begun = clock.monotonic();
    loop {
        match work() {
            Ok(()) => return,
            // Each try is a process of its own, and gives the others time enough.
            Err(why) if why.contains("locked") && clock.elapsed(begun) < PATIENCE => {}
            Err(why) => panic!("{why}"),
        }
    }
}

fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn succeeded(output: &Output) -> Result<(), String> {
    if output.status.success() {
        Ok(())
    } else {
        Err(told(output))
    }
}

/// Says that it has finished also when it panics, so that the others do not wait for ever.
struct Finally<F: Fn()>(F);
impl<F: Fn()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn round(second_by_restic: bool) {
    let place = Place::new();
    let (done, left) = (AtomicBool::new(false), AtomicUsize::new(2));
    let finished = || {
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            done.store(true, Ordering::SeqCst);
        }
    };
    std::thread::scope(|scope| {
        for (name, by_restic) in [("one", false), ("two", second_by_restic)] {
            let (place, finished) = (&place, &finished);
            scope.spawn(move || {
                let _finally = Finally(finished);
                place.backups(name, by_restic);
            });
        }
        scope.spawn(|| assert!(place.prune_until(&done) > 0));
    });
    place.restores("one");
    place.restores("two");
    let made = place.lifeboat(&["repo", "check", "--read-data"]);
    assert!(made.status.success(), "{}", told(&made));
    restic(&place.repository(), &["check", "--read-data"]).unwrap();
}

#[test]
fn two_processes_back_up_while_one_prunes() {
    round(false);
}

#[test]
fn restic_backs_up_beside_us_while_one_prunes() {
    round(true);
}
