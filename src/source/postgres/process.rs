//! Processes of this machine as far as data directories go: whether a server runs on one, and who has it among its arguments.
//!
//! **Whether a server runs** decides over what is replaced, so it is answered in one place and nobody takes "not known" for
//! "no": a `postmaster.pid` that cannot be read or names no process is [`Occupant::Unclear`], a process that is there and
//! cannot be looked at counts as the server. A process number may have been given out again since; a server works in its data
//! directory, so a process that works elsewhere is another one. That is compared by device and inode, because a server in a
//! container sees its directory under another name.
//!
//! What is not seen: a server on another machine (a shared disk), and one whose process number means somebody else here (a
//! container with numbers of its own).

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// Who is on a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) enum Occupant {
    /// No server.
    Nobody,
    /// A server, or what has to be taken for one.
    Server(u32),
    /// It cannot be told; why.
    Unclear(String),
}

/// Looks whether a server runs on a data directory, by its `postmaster.pid`.
pub(in crate::source) fn server_on(directory: &Path) -> Occupant {
    let lock = match fs::read_to_string(directory.join("postmaster.pid")) {
        Ok(lock) => lock,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Occupant::Nobody;
        }
        Err(error) => return Occupant::Unclear(format!("its postmaster.pid cannot be read: {error}")),
    };
    // A server in single-user mode writes its number with a minus.
    let pid = lock.lines().next().and_then(|line| line.trim().parse::<i32>().ok());
    match pid.map(i32::unsigned_abs).filter(|pid| *pid > 0) {
        Some(pid) if works_in(pid, directory) => Occupant::Server(pid),
        Some(_) => Occupant::Nobody,
        None => Occupant::Unclear("its postmaster.pid names no process: a server may be starting on it".to_owned()),
    }
}

/// Whether a process runs and works in a directory; one that cannot be looked at counts.
fn works_in(pid: u32, directory: &Path) -> bool {
    let Ok(number) = i32::try_from(pid) else { return false };
    if kill(Pid::from_raw(number), None) == Err(Errno::ESRCH) {
        return false;
    }
    match (fs::metadata(format!("/proc/{pid}/cwd")), fs::metadata(directory)) {
        (Ok(at), Ok(place)) => (at.dev(), at.ino()) == (place.dev(), place.ino()),
        _ => !has_ended(pid),
    }
}

/// Whether a process has ended and only waits for its parent to notice.
fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before the state stands in brackets, and may hold any character.
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, Some('Z' | 'X'))
}

/// Every process that can be seen here.
pub(in crate::source) fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Every process of a server that works in a directory: also what a server that was killed has left behind for a moment.
pub(in crate::source) fn servers_in(directory: &Path) -> Vec<u32> {
    let Ok(place) = fs::metadata(directory) else {
        return Vec::new();
    };
    let there = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let at = fs::metadata(format!("/proc/{pid}/cwd"));
        name.starts_with("post")
            && at.is_ok_and(|at| (at.dev(), at.ino()) == (place.dev(), place.ino()))
            && !has_ended(*pid)
    };
    processes().filter(there).collect()
}

/// Every process that is about to start a server on a directory, or to stop one, or that is one: a start that outlived whoever
/// asked for it has no `postmaster.pid` for a moment.
pub(in crate::source) fn at_work_on(directory: &Path) -> Vec<u32> {
    let mut found = servers_in(directory);
    let place = directory.as_os_str().as_bytes();
    let names = |words: &[u8], name: &[u8]| words.windows(name.len()).any(|window| window == name);
    let starts = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        (names(&words, b"pg_ctl") || names(&words, b"postgres")) && mentions(&words, place)
    };
    found.extend(processes().filter(|pid| *pid != std::process::id()).filter(starts));
    found
}

/// Whether a command line speaks of a directory, and not of one whose name only begins like it.
fn mentions(words: &[u8], place: &[u8]) -> bool {
    let ends = |after: Option<&u8>| after.is_none_or(|byte| matches!(byte, 0 | b' ' | b'"' | b'\'' | b'/'));
    let mut windows = words.windows(place.len()).enumerate();
    !place.is_empty() && windows.any(|(at, window)| window == place && ends(words.get(at + place.len())))
}

/// Whether a process has this word among its arguments; nothing that has ended has arguments.
pub(in crate::source) fn has_argument(pid: u32, word: &OsStr) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words.split(|byte| *byte == 0).any(|found| found == word.as_bytes())
}

/// Every process that has this word among its arguments.
pub(in crate::source) fn pids_with_argument(word: &OsStr) -> Vec<u32> {
    processes().filter(|pid| has_argument(*pid, word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_has_no_server_yet_is_seen_by_its_command_line() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let run = |directory: &Path| {
            let mut shell = std::process::Command::new("sh");
            let script = format!("read line; : pg_ctl -D \"{}\"", directory.display());
            let shell = shell.args(["-c", &script]).stdin(std::process::Stdio::piped());
            shell.spawn().unwrap()
        };
        let mut other = run(&place.path().join("data2"));
        assert!(at_work_on(&data).is_empty());
        let mut starter = run(&data);
        // The child is a copy of this process until it has become the shell.
        while at_work_on(&data).is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(at_work_on(&data), [starter.id()]);
        for child in [&mut other, &mut starter] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(at_work_on(&data).is_empty());
    }

    #[test]
    fn a_server_is_seen_by_the_place_it_works_in_and_doubt_is_not_nobody() {
        let place = tempfile::tempdir().unwrap();
        let (path, lock) = (place.path(), place.path().join("postmaster.pid"));
        assert_eq!(server_on(&path.join("none")), Occupant::Nobody);
        assert_eq!(server_on(path), Occupant::Nobody);
        for text in ["", "\n", "none\n", "0\n"] {
            fs::write(&lock, text).unwrap();
            assert!(matches!(server_on(path), Occupant::Unclear(_)), "{text:?}");
        }
        let mut sleeper = std::process::Command::new("sleep")
            .arg("60")
            .current_dir(path)
            .spawn()
            .unwrap();
        let pid = sleeper.id();
        fs::write(&lock, format!("{pid}\n/x\n")).unwrap();
        assert_eq!(server_on(path), Occupant::Server(pid));
        fs::write(&lock, format!("-{pid}\n/x\n")).unwrap();
        assert_eq!(server_on(path), Occupant::Server(pid));
        assert!(pids_with_argument(OsStr::new("60")).contains(&pid) && !has_argument(pid, OsStr::new("6")));
        // A process that works elsewhere has only taken over the number.
        fs::write(&lock, format!("{}\n/x\n", std::process::id())).unwrap();
        assert_eq!(server_on(path), Occupant::Nobody);
        fs::write(&lock, format!("{pid}\n/x\n")).unwrap();
        sleeper.kill().unwrap();
        // Ended, its parent has not noticed yet; then gone.
        while !has_ended(pid) {
            std::thread::yield_now();
        }
        assert_eq!(server_on(path), Occupant::Nobody);
        sleeper.wait().unwrap();
        assert_eq!(server_on(path), Occupant::Nobody);
        fs::remove_file(&lock).unwrap();
        fs::create_dir(&lock).unwrap();
        assert!(matches!(server_on(path), Occupant::Unclear(_)));
    }
}
