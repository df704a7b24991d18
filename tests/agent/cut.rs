//! A restore of a runbook that is cut off in the middle: gone on with by the same step, and by nobody else.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;

use super::{World, said};

const RESTORE: &str = "[variable.place]\ntype = \"path\"\nask = \"where to\"\n[[step]]\nid = \"restore\"\n\
                       kind = \"restore\"\nsnapshot = \"latest:files\"\ntarget = \"{place}\"\n\
                       precheck = [{ check = \"path\", path = \"{place}\", exists = false }]\n";

impl World {
    /// The largest of the packs, which is the one with the contents.
    fn pack(&self) -> PathBuf {
        let folders = fs::read_dir(self.path("vault/data")).unwrap().filter_map(Result::ok);
        let files = folders.flat_map(|folder| fs::read_dir(folder.path()).unwrap().filter_map(Result::ok));
        let largest = files.max_by_key(|entry| entry.metadata().unwrap().len());
        largest.unwrap().path()
    }
}

#[test]
fn a_restore_that_was_cut_off_is_gone_on_with_by_its_step_and_refused_to_others() {
    let world = World::new(&[]);
    world.init_repository();
    world.runbook("back", RESTORE);
    world.runbook("other", RESTORE);
    fs::write(world.path("data/large"), vec![7; 300_000]).unwrap();
    let mut noise = vec![0; 600_000];
    getrandom::fill(&mut noise).unwrap();
    fs::write(world.path("data/noise"), &noise).unwrap();
    let output = world.run(&["job", "run", "files", "--wait"]);
    assert!(output.status.success(), "{}", said(&output));
    let place = world.path("restored");
    let to = format!("place={}", place.display());

    // A pack that is never read to its end.
    let (pack, aside) = (world.pack(), world.path("aside"));
    fs::rename(&pack, &aside).unwrap();
    nix::unistd::mkfifo(&pack, Mode::from_bits_truncate(0o600)).unwrap();
    let run = world.begin_runbook("back", &["--yes", "--set", &to]);
    world.wait_until("the restore has begun to write", |_| {
        fs::read_dir(&place).is_ok_and(|mut entries| entries.next().is_some())
    });
    kill(world.agent_pid().unwrap(), Signal::SIGKILL).unwrap();

    // Another execution finds the place taken, and is told how to clear it away; the one that began it goes on meanwhile.
    let other = world.run(&["runbook", "run", "other", "--yes", "--set", &to]);
    assert!(!other.status.success(), "{}", said(&other));
    let words = world.report("other")["run"]["steps"][0]["error"].to_string();
    let command = format!("rm -r -- {}", place.display());
    assert!(words.contains(&run) && words.contains(&command), "{words}");
    world.wait_until("it is gone on with", |world| {
        world.live()["steps"][0]["attempt"] == 2 && world.step(0) == "acting"
    });
    kill(world.agent_pid().unwrap(), Signal::SIGKILL).unwrap();
    fs::remove_file(&pack).unwrap();
    fs::rename(&aside, &pack).unwrap();

    // By nobody's hand but its own, and to the end.
    let _ = world.run(&["runbook", "resume", &run]);
    world.wait_until("it has ended", |world| world.live().is_null());
    let record = world.report(&run);
    assert_eq!(record["outcome"], "completed", "{record:#}");
    let restored = place.join(world.path("data/noise").strip_prefix("/").unwrap());
    assert!(fs::read(restored).unwrap() == noise);

    // What somebody else made there is nobody's beginning.
    let letter = world.path("letters");
    fs::create_dir(&letter).unwrap();
    fs::write(letter.join("a"), "dear").unwrap();
    let to = format!("place={}", letter.display());
    let refused = world.run(&["runbook", "run", "back", "--yes", "--set", &to]);
    assert!(!refused.status.success(), "{}", said(&refused));
    assert_eq!(fs::read_dir(&letter).unwrap().count(), 1);
}
