//! Programs of a step that outlived their agent: found by the note that was left when they were started, ended before anybody
//! asks whether they were done. A program that goes on while its step is done once more would be there twice.
//!
//! A service that a program has started is not the program: it is in a group of its own and stays.

use std::fs;
use std::path::{Path, PathBuf};

use crate::domain::id::RunbookRunId;
use crate::source::kill_group;

/// That a program runs for a step; taken back when dropped.
#[derive(Debug)]
pub(super) struct Note(Option<PathBuf>);

fn place(state_dir: &Path, run: &RunbookRunId, step: &str) -> PathBuf {
    state_dir.join("steps").join(format!("{run}.{step}"))
}

/// What every process of a step has in its environment.
fn mark(run: &RunbookRunId, step: &str) -> Vec<u8> {
    format!("LIFEBOAT_EXECUTION={run}/{step}").into_bytes()
}

/// The name and value that mark the processes of a step.
pub(super) fn variable(run: &RunbookRunId, step: &str) -> (String, String) {
    ("LIFEBOAT_EXECUTION".to_owned(), format!("{run}/{step}"))
}

impl Note {
    /// Notes the group of a program that was just started.
    pub(super) fn leave(state_dir: &Path, run: &RunbookRunId, step: &str, group: Option<u32>) -> Self {
        let path = place(state_dir, run, step);
        let written = group.is_some_and(|group| {
            let directory = path
                .parent()
                .is_none_or(|directory| fs::create_dir_all(directory).is_ok());
            directory && fs::write(&path, group.to_string()).is_ok()
        });
        Self(written.then_some(path))
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Ends what an agent that died has left at work for a step; whether there was anything.
pub(super) async fn ended(state_dir: &Path, run: &RunbookRunId, step: &str) -> bool {
    let (state_dir, run, step) = (state_dir.to_owned(), run.clone(), step.to_owned());
    tokio::task::spawn_blocking(move || end(&state_dir, &run, &step))
        .await
        .unwrap_or(false)
}

fn end(state_dir: &Path, run: &RunbookRunId, step: &str) -> bool {
    let path = place(state_dir, run, step);
    let noted = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
    let Some(group) = noted else { return false };
    let mark = mark(run, step);
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    // A number may be somebody else's by now; only who has our mark and is in that group is meant.
    let ours = processes
        .filter(|entry| group_of(&entry.path()) == Some(group))
        .any(|entry| {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark)
        });
    if ours {
        kill_group(Some(group));
    }
    let _ = fs::remove_file(path);
    ours
}

/// The group of a process, as `/proc/PID/stat` has it.
fn group_of(process: &Path) -> Option<u32> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name of the program stands in brackets and may hold anything.
    let after = &stat[stat.rfind(')')? + 1..];
    after.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn only_the_program_that_was_noted_and_marked_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunbookRunId::from("rb-1");
        let start = |value: &str| {
            let mut command = Command::new("sleep");
            command.arg("60").env("LIFEBOAT_EXECUTION", value).process_group(0);
            command.spawn().unwrap()
        };
        let (mut ours, mut other) = (start("rb-1/a"), start("rb-1/b"));
        std::mem::forget(Note::leave(dir.path(), &run, "a", Some(ours.id())));
        assert!(end(dir.path(), &run, "a"));
        assert!(!ours.wait().unwrap().success());
        assert!(!end(dir.path(), &run, "a"), "the note is gone");
        // The number was given to somebody else since.
        std::mem::forget(Note::leave(dir.path(), &run, "a", Some(other.id())));
        assert!(!end(dir.path(), &run, "a"));
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
